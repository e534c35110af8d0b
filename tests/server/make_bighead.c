/*
 * make_bighead.c - make a volume whose one commit has a head of many MiB: page
 * after page changed, each alone, and none of them stored. Prints its id.
 *
 *   make_bighead PORT RUNS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "tests/server/fixture.h"

#define PAGE_SIZE_BITS 9u

static void
put_hash(uint8_t *out, const void *data, size_t len)
{
    const struct ramet_hash hash = ramet_hash128(data, len);

    memcpy(out, hash.bytes, sizeof(hash.bytes));
}

/* docs/format.md, "Body": pages 1, 3, 5 … and one segment without a table. */
static void
append_body(struct ramet_buf *out, uint64_t runs, const struct ramet_sid *sid,
            uint64_t segment_bytes)
{
    ramet_buf_varint(out, runs);
    for (uint64_t i = 0; i < runs; i++) {
        ramet_buf_u8(out, i > 0);
        ramet_buf_u8(out, 0);
    }
    ramet_buf_u8(out, 0); /* no deltas */
    ramet_buf_u8(out, 1); /* segments */
    ramet_buf_u8(out, 0); /* flags */
    ramet_buf_bytes(out, sid, sizeof(*sid));
    ramet_buf_varint(out, segment_bytes);
    ramet_buf_u8(out, 1); /* frames */
    ramet_buf_u8(out, 0); /* from page 1 */
    ramet_buf_u8(out, 0); /* to page 1 */
}

static void
fill_core(uint8_t *head, size_t head_len, const struct ramet_vid *volume,
          const struct ramet_cid *id, uint32_t page_count)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    memcpy(head, "RAMTCMT\x04", 8);
    ramet_put_le32(head + 8, (uint32_t)head_len);
    ramet_put_le64(head + 16, 1); /* LSN */
    head[26] = PAGE_SIZE_BITS;
    head[27] = 2; /* blob */
    head[28] = 1; /* XXH3-128 */
    memcpy(head + 32, volume, sizeof(*volume));
    memcpy(head + 48, id, sizeof(*id));
    ramet_put_le64(head + 96, (uint64_t)now.tv_sec * 1000u);
    ramet_put_le32(head + 104, page_count);
    ramet_put_le64(head + 112, (uint64_t)page_count << PAGE_SIZE_BITS);
    ramet_put_le64(head + 164, 1); /* floor */
    put_hash(head + 276, head + RAMET_COMMIT_CORE_SIZE,
             head_len - RAMET_COMMIT_CORE_SIZE);
    put_hash(head + 292, head, 292);
}

static void
put_segment(struct ramet_objstore *store, const struct ramet_vid *volume,
            const struct ramet_sid *sid, uint64_t *out_bytes)
{
    uint8_t segment[132] = "RAMTSEG\x02";
    const struct iovec part = {segment, sizeof(segment)};
    char id[RAMET_ID_TEXT_SIZE], name[RAMET_ID_TEXT_SIZE], key[RAMET_KEY_MAX];

    memcpy(segment + 8, sid, sizeof(*sid));
    ramet_put_le32(segment + 24, 1u << PAGE_SIZE_BITS);
    ramet_id_format(&volume->id, id);
    ramet_id_format(&sid->id, name);
    (void)snprintf(key, sizeof(key), "volumes/%s/segments/%s", id, name);
    assert_int_equal(ramet_objstore_put(store, key, &part, 1, NULL), RAMET_OK);
    *out_bytes = sizeof(segment);
}

int
main(int argc, char **argv)
{
    const uint64_t runs = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    const struct ramet_cid id = model_new_cid();
    struct ramet_remote *remote;
    struct ramet_history *history;
    struct ramet_vid volume;
    struct ramet_sid sid;
    struct ramet_buf head;
    struct ramet_err err;
    uint64_t segment_bytes;
    char text[RAMET_ID_TEXT_SIZE];

    if (runs == 0) {
        (void)fprintf(stderr, "usage: make_bighead PORT RUNS\n");
        return 2;
    }
    remote = fixture_connect_port((unsigned)atoi(argv[1]), NULL);
    assert_int_equal(ramet_id_new(&volume.id, NULL), RAMET_OK);
    assert_int_equal(ramet_id_new(&sid.id, NULL), RAMET_OK);
    put_segment(remote->store, &volume, &sid, &segment_bytes);
    ramet_buf_init(&head, 64u << 20);
    memset(ramet_buf_extend(&head, RAMET_COMMIT_CORE_SIZE), 0,
           RAMET_COMMIT_CORE_SIZE);
    append_body(&head, runs, &sid, segment_bytes);
    assert_int_equal(head.failed, RAMET_OK);
    fill_core(head.data, head.len, &volume, &id, (uint32_t)runs * 2);
    assert_int_equal(
        ramet_history_open(remote->store, &volume, NULL, &history, NULL),
        RAMET_OK);
    if (ramet_history_append(history, head.data, head.len, NULL, &err) !=
        RAMET_OK) {
        (void)fprintf(stderr, "make_bighead: %s\n", err.text);
        return 1;
    }
    ramet_id_format(&volume.id, text);
    (void)printf("%s\n", text);
    ramet_history_close(history);
    ramet_buf_done(&head);
    remote->ops->close(remote);
    return 0;
}
