/*
 * kept.c - see kept.h.
 *
 * <file>-ramet/commit, replaced as a whole:
 *
 *   0   8   magic "RAMTDUR" and version 2
 *   8   8   LSN of the commit (so that one small read tells whether it counts)
 *   16  16  its id
 *   32  16  XXH3-128 of bytes 0 to 31 and of the object
 *   48  …   the commit object
 *
 * Version 1 had a hash of the content in place of the id; such a file is told
 * by no record to be its own, so its slot is fenced.
 *
 * Layer: client, sync.
 */
#include "client/sync/kept.h"

#include <assert.h>
#include <string.h>

#include "client/store/exchange.h"
#include "client/store/keep.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "core/hash.h"
#include "metastore/commit.h"
#include "pagestore/segment.h"

#define NAME "commit"
#define HEAD_SIZE 48u
#define SEALED_SIZE 32u
#define FILE_MAX                                                               \
    (HEAD_SIZE + (size_t)RAMET_COMMIT_HEAD_MAX + RAMET_SEGMENT_INLINE_MAX)

static const uint8_t magic[8] = {'R', 'A', 'M', 'T', 'D', 'U', 'R', 2};
static const uint8_t magic_1[8] = {'R', 'A', 'M', 'T', 'D', 'U', 'R', 1};

static struct ramet_hash
seal(const uint8_t *file, size_t len, struct ramet_hasher *hasher)
{
    assert(len > HEAD_SIZE);
    ramet_hasher_reset(hasher);
    ramet_hasher_update(hasher, file, SEALED_SIZE);
    ramet_hasher_update(hasher, file + HEAD_SIZE, len - HEAD_SIZE);
    return ramet_hasher_digest(hasher);
}

enum ramet_rc
ramet_kept_write(const struct ramet_replica_sync *replica_sync, uint64_t lsn,
                 const struct ramet_cid *id, const struct ramet_buf *object,
                 struct ramet_err *err)
{
    const size_t len = HEAD_SIZE + object->len;
    struct ramet_hasher *const hasher = ramet_hasher_new();
    uint8_t *const file = ramet_alloc(len);
    struct ramet_hash sum;
    enum ramet_rc rc;

    assert(lsn >= 1 && object->len > 0);
    if (hasher == NULL || file == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", replica_sync->path);
        goto done;
    }
    memcpy(file, magic, sizeof(magic));
    ramet_put_le64(file + 8, lsn);
    memcpy(file + 16, id->id.bytes, RAMET_ID_SIZE);
    memcpy(file + HEAD_SIZE, object->data, object->len);
    sum = seal(file, len, hasher);
    memcpy(file + SEALED_SIZE, sum.bytes, RAMET_HASH_SIZE);
    rc = ramet_keep_write(replica_sync->replica, NAME, file, len, err);

done:
    ramet_hasher_free(hasher);
    ramet_free(file);
    return rc;
}

void
ramet_kept_take_back(const struct ramet_replica_sync *replica_sync)
{
    ramet_keep_forget(replica_sync->replica, NAME);
}

enum ramet_rc
ramet_kept_look(const struct ramet_replica_sync *replica_sync,
                struct ramet_kept *out, struct ramet_err *err)
{
    uint8_t head[SEALED_SIZE];
    size_t got = 0;
    const enum ramet_rc rc = ramet_keep_peek(replica_sync->replica, NAME, head,
                                             sizeof(head), &got, err);

    *out = (struct ramet_kept){.lsn = 0};
    if (rc == RAMET_OK && got == sizeof(head)) {
        out->lsn = ramet_get_le64(head + 8);
        memcpy(out->id.id.bytes, head + 16, RAMET_ID_SIZE);
    }
    return rc;
}

static bool
is_kept(const struct ramet_replica_sync *replica_sync,
        const struct ramet_kept *kept)
{
    struct ramet_kept now;

    assert(kept->lsn >= 1);
    return ramet_kept_look(replica_sync, &now, NULL) == RAMET_OK &&
           now.lsn == kept->lsn &&
           ramet_id_compare(&now.id.id, &kept->id.id) == 0;
}

void
ramet_kept_forget(const struct ramet_replica_sync *replica_sync,
                  struct ramet_session *session, const struct ramet_kept *kept)
{
    /* Another one's writer has the lock while it is sent: he is not waited for. */
    if (!is_kept(replica_sync, kept) ||
        ramet_session_lock_write(session, NULL) != RAMET_OK)
        return;
    if (is_kept(replica_sync, kept)) /* invariant (1) */
        ramet_keep_forget(replica_sync->replica, NAME);
    ramet_session_unlock_write(session);
}

/* The whole of it, checked; *out_file the caller's. RAMET_ENOTFOUND. */
static enum ramet_rc
load(const struct ramet_replica_sync *replica_sync, uint8_t **out_file,
     size_t *out_len, struct ramet_err *err)
{
    struct ramet_hasher *const hasher = ramet_hasher_new();
    uint8_t *file = NULL;
    size_t len = 0;
    struct ramet_hash sum;
    enum ramet_rc rc;

    if (hasher == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory",
                          replica_sync->path);
    rc = ramet_keep_read(replica_sync->replica, NAME, FILE_MAX, &file, &len,
                         err);
    if (rc != RAMET_OK)
        goto done;
    if (len > HEAD_SIZE)
        sum = seal(file, len, hasher);
    if (len <= HEAD_SIZE ||
        (memcmp(file, magic, sizeof(magic)) != 0 &&
         memcmp(file, magic_1, sizeof(magic_1)) != 0) ||
        memcmp(file + SEALED_SIZE, sum.bytes, RAMET_HASH_SIZE) != 0) {
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "%s-ramet/" NAME ": is damaged",
                        replica_sync->path);
        goto done;
    }
    assert(len > HEAD_SIZE);
    *out_file = file;
    *out_len = len;
    file = NULL;

done:
    ramet_hasher_free(hasher);
    ramet_free(file);
    return rc;
}

static bool
is_of(const uint8_t *file, const struct ramet_cid *id)
{
    assert(!ramet_id_is_nil(&id->id));
    return memcmp(file, magic, sizeof(magic)) == 0 &&
           memcmp(file + 16, id->id.bytes, RAMET_ID_SIZE) == 0;
}

enum ramet_rc
ramet_kept_read(const struct ramet_replica_sync *replica_sync,
                const struct ramet_cid *id, uint8_t **out_object,
                size_t *out_len, struct ramet_err *err)
{
    uint8_t *file = NULL;
    size_t len = 0;
    enum ramet_rc rc = load(replica_sync, &file, &len, err);

    if (rc != RAMET_OK)
        return rc;
    if (!is_of(file, id)) {
        ramet_free(file);
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%s-ramet/" NAME ": is another commit",
                          replica_sync->path);
    }
    assert(len > HEAD_SIZE);
    memmove(file, file + HEAD_SIZE, len - HEAD_SIZE);
    *out_object = file;
    *out_len = len - HEAD_SIZE;
    return RAMET_OK;
}
