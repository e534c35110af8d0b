/*
 * point.c - see point.h.
 *
 * Layer: client, sync.
 */
#include "client/sync/point.h"

#include <assert.h>

#include "core/bytes.h"
#include "metastore/commit.h"

enum ramet_rc
ramet_sync_point(const uint8_t *object, size_t len,
                 const struct ramet_vid *volume,
                 struct ramet_remote_point *out_point, struct ramet_cid *out_id,
                 struct ramet_err *err)
{
    struct ramet_commit_object commit;
    struct ramet_hash hash;
    uint32_t head_len;
    enum ramet_rc rc;

    if (len < RAMET_COMMIT_PREFIX_SIZE)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "intent: ends at %zu", len);
    rc = ramet_commit_head_length(object, &head_len, err);
    if (rc != RAMET_OK)
        return rc;
    if (head_len > len)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "intent: ends at %zu", len);
    /* The LSN is at a fixed place in the prefix: docs/format.md. */
    ramet_commit_init(&commit);
    rc = ramet_commit_decode(object, head_len, volume,
                             ramet_get_le64(object + 16), len, &commit, &hash,
                             err);
    if (rc != RAMET_OK)
        return rc;
    assert(head_len <= len);
    *out_point = (struct ramet_remote_point){
        .lsn = commit.lsn,
        .hash = hash,
        .time_ms = commit.time_ms,
        .page_size = commit.page_size,
        .page_count = commit.page_count,
        .byte_length = commit.byte_length,
    };
    *out_id = commit.id;
    ramet_commit_done(&commit);
    return RAMET_OK;
}

void
ramet_sync_point_of(const struct ramet_head *head,
                    struct ramet_remote_point *out_point)
{
    assert(head->lsn > 0);
    *out_point = (struct ramet_remote_point){
        .lsn = head->lsn,
        .hash = head->hash,
        .time_ms = head->time_ms,
        .page_size = head->page_size,
        .page_count = head->page_count,
        .byte_length = head->byte_length,
    };
}
