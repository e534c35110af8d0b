/*
 * slots.c - see slots.h.
 */
#include "client/store/format/slots.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>

#include "client/store/format/dir.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "core/hash.h"

#define NUMBER_AT 8u
#define LENGTH_AT 16u
#define CONTENT_AT 24u
#define SUM_SIZE 8u
#define OVERHEAD (CONTENT_AT + SUM_SIZE)
#define CONTENT_MAX (RAMET_SLOT_SIZE - OVERHEAD) /* longer: invariant (3) */
#define FILE_SIZE (2 * RAMET_SLOT_SIZE)

struct slot {
    uint64_t number;
    const uint8_t *content;
    size_t len;
    unsigned copies; /* slots with this number */
};

/* Is there a whole one at the beginning of `data`? */
static bool
decode_slot(const uint8_t *magic, const uint8_t *data, size_t len,
            struct slot *out)
{
    size_t content_len;

    if (len < OVERHEAD || memcmp(data, magic, RAMET_SLOT_MAGIC_SIZE) != 0)
        return false;
    content_len = ramet_get_le32(data + LENGTH_AT);
    if (content_len > len - OVERHEAD ||
        ramet_get_le32(data + LENGTH_AT + 4) != 0 ||
        ramet_get_le64(data + CONTENT_AT + content_len) !=
            ramet_hash64(data, CONTENT_AT + content_len))
        return false;
    *out = (struct slot){ramet_get_le64(data + NUMBER_AT), data + CONTENT_AT,
                         content_len, 1};
    return true;
}

static void
encode_slot(const uint8_t *magic, const struct slot *slot, uint8_t *out)
{
    const size_t end = CONTENT_AT + slot->len;

    assert(slot->len <= UINT32_MAX && slot->content != NULL);
    memcpy(out, magic, RAMET_SLOT_MAGIC_SIZE);
    ramet_put_le64(out + NUMBER_AT, slot->number);
    ramet_put_le32(out + LENGTH_AT, (uint32_t)slot->len);
    ramet_put_le32(out + LENGTH_AT + 4, 0);
    memcpy(out + CONTENT_AT, slot->content, slot->len);
    ramet_put_le64(out + end, ramet_hash64(out, end));
}

/* The newest of both; false: neither is whole, or this file has one only. */
static bool
find_newest(const uint8_t *magic, const uint8_t *data, size_t len,
            struct slot *out)
{
    bool is_found = false;

    if (len != FILE_SIZE)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        struct slot slot;

        if (!decode_slot(magic, data + (size_t)i * RAMET_SLOT_SIZE,
                         RAMET_SLOT_SIZE, &slot))
            continue;
        if (is_found && slot.number == out->number)
            out->copies = 2;
        else if (!is_found || slot.number > out->number)
            *out = slot;
        is_found = true;
    }
    return is_found;
}

enum ramet_rc
ramet_slots_decode(const uint8_t magic[RAMET_SLOT_MAGIC_SIZE],
                   const uint8_t *data, size_t len, const uint8_t **out_content,
                   size_t *out_len, unsigned *out_copies, struct ramet_err *err)
{
    struct slot slot;

    if (!find_newest(magic, data, len, &slot)) {
        if (!decode_slot(magic, data, len, &slot) || slot.len != len - OVERHEAD)
            return RAMET_FAIL(err, RAMET_ECORRUPT, "checksum");
        slot.copies = 0;
    }
    *out_copies = slot.copies;
    *out_content = slot.content;
    *out_len = slot.len;
    return RAMET_OK;
}

/* ---- writing --------------------------------------------------------------
 */

struct file {
    const struct ramet_os *os;
    const char *name;
    int fd;
    uint8_t bytes[FILE_SIZE];
};

static enum ramet_rc
write_slot(struct file *file, uint64_t number, const uint8_t *slot,
           struct ramet_err *err)
{
    assert(file->fd >= 0);
    return ramet_os_write_full(file->os, file->fd, slot, RAMET_SLOT_SIZE,
                               number % 2 * RAMET_SLOT_SIZE, file->name, err);
}

static enum ramet_rc
sync_file(struct file *file, struct ramet_err *err)
{
    const int result = file->os->datasync(file->os->ctx, file->fd);

    assert(file->fd >= 0);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_OS(err, result, "sync %s", file->name);
}

/* Into an open file; *out_fits false: it is of another form. */
static enum ramet_rc
write_in_place(struct file *file, const uint8_t *magic, const uint8_t *content,
               size_t len, bool *out_fits, struct ramet_err *err)
{
    uint8_t fresh[RAMET_SLOT_SIZE] = {0};
    uint8_t old[RAMET_SLOT_SIZE] = {0};
    struct slot newest;
    size_t got = 0;
    enum ramet_rc other;
    enum ramet_rc rc;

    assert(len <= CONTENT_MAX); /* invariant (3) */
    rc = ramet_os_read_some(file->os, file->fd, file->bytes, FILE_SIZE, 0, &got,
                            file->name, err);
    *out_fits = rc == RAMET_OK && find_newest(magic, file->bytes, got, &newest);
    if (!*out_fits)
        return rc;
    encode_slot(magic, &newest, old);
    encode_slot(magic, &(struct slot){newest.number + 1, content, len, 1},
                fresh);
    if (newest.copies == 1) /* its writer died: was it synced? Invariant (1) */
        rc = sync_file(file, err);
    if (rc != RAMET_OK)
        return rc;
    assert(newest.copies == 1 || newest.copies == 2); /* invariant (2) */
    rc = write_slot(file, newest.number + 1, fresh, err);
    if (rc == RAMET_OK)
        rc = sync_file(file, err);
    /* By invariant (2); where that fails, after the next one. But if it may not
     * be on disk, its successor would go where the one is that is there: so it
     * is taken back, for those who read, and for (1); on disk, too, if that can be:
     * what is done next is not what it tells of. */
    other = rc == RAMET_OK ? write_slot(file, newest.number, fresh, NULL)
                           : write_slot(file, newest.number + 1, old, NULL);
    if (rc != RAMET_OK && other == RAMET_OK)
        other = sync_file(file, NULL);
    (void)other;
    return rc;
}

/* A whole new file under the name. */
static enum ramet_rc
write_anew(const struct ramet_os *os, int dir_fd, const char *name,
           const uint8_t *magic, const uint8_t *content, size_t len,
           struct ramet_err *err)
{
    const struct slot slot = {1, content, len, 1};
    const size_t size = len > CONTENT_MAX ? OVERHEAD + len : FILE_SIZE;
    uint8_t *const bytes = ramet_calloc(1, size);
    enum ramet_rc rc;

    assert(size >= OVERHEAD + len);
    if (bytes == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for %s", name);
    encode_slot(magic, &slot, bytes);
    if (len <= CONTENT_MAX)
        encode_slot(magic, &slot, bytes + RAMET_SLOT_SIZE);
    rc = ramet_dir_replace(os, dir_fd, name, bytes, size, err);
    ramet_free(bytes);
    return rc;
}

enum ramet_rc
ramet_slots_write(const struct ramet_os *os, int dir_fd, const char *name,
                  const uint8_t magic[RAMET_SLOT_MAGIC_SIZE],
                  const uint8_t *content, size_t len, struct ramet_err *err)
{
    struct file file = {.os = os, .name = name, .fd = -1};
    bool fits = false;
    enum ramet_rc rc = RAMET_OK;

    assert(content != NULL && ramet_is_one_name(name));
    assert(len <= UINT32_MAX);
    if (len <= CONTENT_MAX)
        file.fd = ramet_rights_open(os, dir_fd, name, O_RDWR);
    if (file.fd >= 0) {
        rc = write_in_place(&file, magic, content, len, &fits, err);
        os->close(os->ctx, file.fd);
    }
    if (rc != RAMET_OK || fits)
        return rc;
    return write_anew(os, dir_fd, name, magic, content, len, err);
}
