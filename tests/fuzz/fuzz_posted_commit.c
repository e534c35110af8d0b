/*
 * fuzz_posted_commit.c - what a server looks at when somebody posts a commit.
 *
 * A right commit on the newest of a small volume is changed as the input says, in
 * its core, its tables or its frames, and sealed again so that hashes hide nothing; or
 * the input is the commit as it is. What is accepted is appended, and every page of
 * it can be read or is told to be damaged: nothing else of the volume is harmed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/metastore/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OBJECT_MAX (64u << 10)
#define CHANGES_MAX 64u

static void
require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_posted_commit: %s\n", what);
        abort();
    }
}

/* As the head's own two hashes, where its length leaves room for them. */
static void
seal(uint8_t *object, size_t len)
{
    const uint32_t head =
        len < RAMET_COMMIT_CORE_SIZE ? 0 : ramet_get_le32(object + 8);
    struct ramet_hash hash;

    if (head < RAMET_COMMIT_CORE_SIZE || head > len)
        return;
    hash = ramet_hash128(object + RAMET_COMMIT_CORE_SIZE,
                         head - RAMET_COMMIT_CORE_SIZE);
    memcpy(object + 276, &hash, sizeof(hash));
    hash = ramet_hash128(object, 292);
    memcpy(object + 292, &hash, sizeof(hash));
}

/* The right commit with bytes of the input in the place of its own: each change is
 * an offset of two bytes and a byte. */
static size_t
change(const uint8_t *right, size_t right_len, const uint8_t *data, size_t size,
       uint8_t *out)
{
    const size_t len = right_len < OBJECT_MAX ? right_len : OBJECT_MAX;

    memcpy(out, right, len);
    for (unsigned i = 0; i < CHANGES_MAX && size >= 3; i++) {
        out[ramet_get_le16(data) % len] ^= data[2];
        data += 3;
        size -= 3;
    }
    seal(out, len);
    return len;
}

static enum ramet_rc
ignore_page(void *ctx, uint32_t pgno, const uint8_t *page,
            struct ramet_err *err)
{
    (void)ctx;
    (void)pgno;
    (void)page;
    (void)err;
    return RAMET_OK;
}

static void
read_some(struct line *line)
{
    struct ramet_history *const history = line->model.history;
    struct ramet_err err = {.text = ""};
    struct ramet_head head;
    enum ramet_rc rc = ramet_history_newest(history, &head, &err);

    require(rc == RAMET_OK, "the newest is gone");
    for (uint32_t pgno = 1; pgno <= head.page_count && pgno <= 12; pgno++) {
        const struct ramet_point at = ramet_head_point(&head);

        rc = ramet_history_read_pages(history, &at, &pgno, 1, false,
                                      ignore_page, NULL, &err);
        require(rc == RAMET_OK || rc == RAMET_ECORRUPT || rc == RAMET_EVERSION,
                "a page of a commit that was accepted");
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t object[OBJECT_MAX];
    struct ramet_err err = {.text = ""};
    struct ramet_buf right;
    struct ramet_head winner;
    struct ramet_cid id;
    struct line *line;
    void *state;
    size_t len;
    enum ramet_rc rc;

    if (size == 0 || size > OBJECT_MAX || line_setup(&state) != 0)
        return 0;
    line = state;
    line_encode_one(line, &id, &right);
    if (data[0] % 8 == 0) {
        len = size - 1;
        memcpy(object, data + 1, len);
    } else {
        len = change(right.data, right.len, data + 1, size - 1, object);
    }
    rc = ramet_history_validate(line->model.history, object, len, &err);
    require(rc == RAMET_OK || err.text[0] != '\0', "refused without words");
    if (rc == RAMET_OK) {
        rc = ramet_history_append(line->model.history, object, len, &winner,
                                  &err);
        require(rc == RAMET_OK, "valid, and not appended");
        read_some(line);
    }
    ramet_buf_done(&right);
    line_teardown(&state);
    return 0;
}
