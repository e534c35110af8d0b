/*
 * copy_objects.c - one object after the other, there and verified; see copy_impl.h.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "metastore/copy_impl.h"
#include "metastore/maproot.h"
#include "metastore/node_cache.h"

/* Piece after piece from the source into an upload, to its finish. */
static enum ramet_rc
stream_object(struct ramet_copy_worker *worker, const char *key,
              uint64_t size_bytes, struct ramet_err *err)
{
    struct ramet_copying *const copy = worker->copy;
    struct ramet_upload *upload = NULL;
    enum ramet_rc rc;

    assert(size_bytes > RAMET_COPY_PIECE_BYTES);
    rc = ramet_objstore_upload_begin(copy->to->store, key, &upload, err);
    for (uint64_t at = 0; rc == RAMET_OK && at < size_bytes;) {
        const size_t n = size_bytes - at < RAMET_COPY_PIECE_BYTES
                             ? (size_t)(size_bytes - at)
                             : RAMET_COPY_PIECE_BYTES;

        if (ramet_copy_is_ended(copy))
            rc = RAMET_FAIL(err, RAMET_ECANCELLED, "interrupted");
        else
            rc = ramet_objstore_read_full(copy->from->store, key, at,
                                          worker->piece, n, err);
        if (rc == RAMET_OK)
            rc = ramet_objstore_upload_write(upload, worker->piece, n, err);
        at += n;
    }
    if (rc == RAMET_OK)
        return ramet_objstore_upload_finish(upload, err);
    if (upload != NULL)
        ramet_objstore_upload_abort(upload);
    return rc;
}

static enum ramet_rc
send_object(struct ramet_copy_worker *worker, const char *key,
            uint64_t size_bytes, struct ramet_err *err)
{
    struct ramet_copying *const copy = worker->copy;
    const struct iovec part = {worker->piece, (size_t)size_bytes};
    enum ramet_rc rc;

    assert(worker->piece != NULL);
    if (size_bytes > RAMET_COPY_PIECE_BYTES)
        return stream_object(worker, key, size_bytes, err);
    rc = ramet_objstore_read_full(copy->from->store, key, 0, worker->piece,
                                  part.iov_len, err);
    if (rc == RAMET_OK)
        rc = ramet_objstore_put(copy->to->store, key, &part, 1, err);
    return rc;
}

/*
 * Have the target hold `key`, of the source's `size_bytes`. *out_sent: it was
 * not there before, so that it may be taken away again if it arrived damaged.
 */
static enum ramet_rc
bring_object(struct ramet_copy_worker *worker, const char *key,
             uint64_t size_bytes, bool *out_sent, struct ramet_err *err)
{
    struct ramet_copying *const copy = worker->copy;
    uint64_t there;
    enum ramet_rc rc;

    assert(ramet_key_valid(key));
    *out_sent = false;
    rc = ramet_objstore_size(copy->to->store, key, &there, err);
    if (rc == RAMET_ENOTFOUND) {
        rc = send_object(worker, key, size_bytes, err);
        if (rc == RAMET_OK) {
            *out_sent = true;
            ramet_copy_count(copy, size_bytes);
            return RAMET_OK;
        }
        /* Another copy is at work, or the answer was lost: look. */
        if (rc != RAMET_EEXIST && rc != RAMET_EUNKNOWN)
            return rc;
        rc = ramet_objstore_size(copy->to->store, key, &there, err);
        if (rc == RAMET_ENOTFOUND)
            return RAMET_FAIL(err, RAMET_EUNREACHABLE, "%s: %s did not arrive",
                              copy->to->store->name, key);
    }
    if (rc == RAMET_OK && there != size_bytes)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "%s: %s is there with %" PRIu64
                        " bytes, should have %" PRIu64,
                        copy->to->store->name, key, there, size_bytes);
    return rc;
}

/* What was sent and found damaged is nobody's yet: the next try sends it anew.
 * A store that won't have it removed has the next try find it damaged. */
static enum ramet_rc
take_back(struct ramet_copy_worker *worker, const char *key, bool was_sent,
          enum ramet_rc rc)
{
    assert(ramet_key_valid(key));
    if (was_sent && (rc == RAMET_ECORRUPT || rc == RAMET_ENOTFOUND)) {
        const enum ramet_rc removed =
            ramet_objstore_remove(worker->copy->to->store, key, NULL);

        (void)removed;
    }
    return rc;
}

/* ---- page maps ----------------------------------------------------------- */

enum ramet_rc
ramet_copy_map(void *arg, uint64_t index, struct ramet_err *err)
{
    struct ramet_copy_worker *const worker = arg;
    struct ramet_copying *const copy = worker->copy;
    const struct ramet_map_item *const map = &copy->maps.items[index];
    char key[RAMET_KEY_MAX];
    bool sent;
    enum ramet_rc rc;

    assert(index < copy->maps.count);
    ramet_map_key(&copy->from->volume, map->lsn, &map->id, key);
    rc = bring_object(worker, key, map->size_bytes, &sent, err);
    if (rc == RAMET_OK && (sent || map->lsn > copy->trusted_map_lsn))
        rc =
            take_back(worker, key, sent,
                      ramet_verify_map(&worker->target, &copy->maps, map, err));
    return rc;
}

/* ---- what a commit names ------------------------------------------------- */

/* What note_damage() has collected, as an error. */
static enum ramet_rc
damage_of(const struct ramet_copy_worker *worker, struct ramet_err *err)
{
    assert(worker->damage.code == RAMET_OK ||
           worker->damage.code == RAMET_ECORRUPT);
    if (worker->damage.code == RAMET_OK)
        return RAMET_OK;
    if (err != NULL)
        *err = worker->damage;
    return worker->damage.code;
}

static enum ramet_rc
copy_dict(struct ramet_copy_worker *worker, const struct ramet_extent *dict,
          struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    bool sent;
    enum ramet_rc rc;

    assert(dict->kind == RAMET_IN_SEGMENT && dict->length_bytes > 0);
    if (ramet_id_compare(&worker->last_dict.id, &dict->segment.id) == 0)
        return RAMET_OK;
    ramet_extent_key(dict, key);
    rc = bring_object(worker, key, dict->offset_bytes + dict->length_bytes,
                      &sent, err);
    if (rc == RAMET_OK)
        rc = take_back(worker, key, sent,
                       ramet_verify_dict(&worker->target, dict, err));
    if (rc == RAMET_OK)
        worker->last_dict = dict->segment;
    return rc;
}

static enum ramet_rc
copy_segment(struct ramet_copy_worker *worker,
             const struct ramet_loaded_head *head, uint32_t index,
             struct ramet_err *err)
{
    const struct ramet_segment_info *const segment =
        &head->commit.segments[index];
    const struct ramet_extent extent = {.volume = head->commit.volume,
                                        .segment = segment->id};
    char key[RAMET_KEY_MAX];
    bool sent;
    enum ramet_rc rc;

    assert(index < head->commit.segment_count &&
           !ramet_commit_is_inline(&head->commit, index));
    ramet_extent_key(&extent, key);
    rc = bring_object(worker, key, segment->size_bytes, &sent, err);
    if (rc == RAMET_OK)
        rc = ramet_verify_segment(&worker->target, head, index, err);
    if (rc == RAMET_OK)
        rc = take_back(worker, key, sent, damage_of(worker, err));
    return rc;
}

/* The blocks of a commit's deltas: a segment of their own, or a part of the inline
 * one. */
static enum ramet_rc
copy_deltas(struct ramet_copy_worker *worker,
            const struct ramet_loaded_head *head, struct ramet_err *err)
{
    const struct ramet_commit_deltas *const deltas = &head->commit.deltas;
    const struct ramet_extent extent = {.volume = head->commit.volume,
                                        .segment = deltas->extent.id};
    char key[RAMET_KEY_MAX];
    bool sent = false;
    enum ramet_rc rc;

    assert(head->raw != NULL);
    if (deltas->pages.run_count == 0)
        return RAMET_OK;
    if (deltas->extent.is_inline) {
        rc = ramet_verify_deltas(&worker->source, head, err);
        return rc == RAMET_OK ? damage_of(worker, err) : rc;
    }
    ramet_extent_key(&extent, key);
    rc = bring_object(worker, key, deltas->extent.size_bytes, &sent, err);
    if (rc == RAMET_OK)
        rc = ramet_verify_deltas(&worker->target, head, err);
    if (rc == RAMET_OK)
        rc = take_back(worker, key, sent, damage_of(worker, err));
    return rc;
}

enum ramet_rc
ramet_copy_named(struct ramet_copy_worker *worker,
                 const struct ramet_loaded_head *head, struct ramet_err *err)
{
    const struct ramet_commit_object *const commit = &head->commit;
    enum ramet_rc rc;

    assert(head->raw != NULL); /* its tables are known */
    if (commit->map.lsn > 0 && commit->map.root_length_bytes > 0 &&
        ramet_map_list_find(&worker->copy->maps, commit->map.lsn,
                            &commit->map.id) == NULL)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: the page map of LSN %" PRIu64
                          ", which LSN %" PRIu64 " needs, is not in its list",
                          worker->copy->from->store->name, commit->map.lsn,
                          commit->lsn);
    rc = ramet_map_root_check(worker->copy->to, &commit->map, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < commit->segment_count; i++) {
        if (commit->segments[i].has_dict)
            rc = copy_dict(worker, &commit->segments[i].dict, err);
        if (rc == RAMET_OK && ramet_commit_is_inline(commit, i)) {
            rc = ramet_verify_segment(&worker->source, head, i, err);
            if (rc == RAMET_OK)
                rc = damage_of(worker, err);
        } else if (rc == RAMET_OK) {
            rc = copy_segment(worker, head, i, err);
        }
    }
    return rc == RAMET_OK ? copy_deltas(worker, head, err) : rc;
}
