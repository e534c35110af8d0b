/*
 * verify.c - every object of a volume, at every LSN, against its hash.
 *
 * From the oldest commit to the newest: the head, its place in the line, what it
 * names (verify_objects.c); then every page map in the store, node by node
 * (verify_maps.c).
 *
 *   (1) Findings are reported and the walk goes on; only what hinders it
 *       (no memory, a store out of reach) ends it.
 *   (2) No byte of an object that an LSN needs is left unread.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "metastore/first_page.h"
#include "metastore/maproot.h"
#include "metastore/node_cache.h"
#include "metastore/profile.h"
#include "metastore/verify.h"

/* How many commits in a row may be missing: a store may claim any number. */
#define MISSING_MAX 1000u

static enum ramet_rc
count_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct ramet_verify *const v = ctx;

    assert(page != NULL);
    v->deltas++;
    (void)pgno;
    (void)page;
    (void)err;
    return RAMET_OK;
}

/* Every page that a delta makes, with its base, and compared with its sum. */
static enum ramet_rc
make_pages(struct ramet_verify *v, const struct ramet_loaded_head *head,
           struct ramet_err *err)
{
    const struct ramet_commit_object *const commit = &head->commit;
    const struct ramet_point point = {commit->lsn, head->hash};
    uint32_t pgnos[RAMET_NODES_AT_ONCE];
    struct ramet_err found;
    uint32_t pgno = 0;
    enum ramet_rc rc = RAMET_OK;

    assert(head->raw != NULL);
    do {
        size_t count = 0;

        while (count < RAMET_NODES_AT_ONCE &&
               (pgno = ramet_pageset_next(&commit->deltas.pages, pgno)) != 0)
            pgnos[count++] = pgno;
        assert(count <= RAMET_NODES_AT_ONCE);
        if (count > 0)
            rc = ramet_verify_note(
                v,
                ramet_history_read_pages(v->history, &point, pgnos, count,
                                         false, count_page, v, &found),
                &found, err);
    } while (rc == RAMET_OK && pgno != 0);
    return rc;
}

/* ---- commits ------------------------------------------------------------- */

static enum ramet_rc
check_commit(struct ramet_verify *v, const struct ramet_loaded_head *head,
             const struct ramet_hash *predecessor, struct ramet_err *err)
{
    const struct ramet_commit_object *const commit = &head->commit;
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(head->raw != NULL);
    ramet_commit_key(&commit->volume, commit->lsn, key);
    if (!ramet_hash_equal(&commit->predecessor, predecessor))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: was not based on the commit before it", key);
    rc = ramet_verify_size(
        v, key, (uint64_t)head->head_length + commit->inline_length_bytes, err);
    if (rc == RAMET_OK)
        rc = ramet_map_root_check(v->history, &commit->map, err);
    return rc;
}

static enum ramet_rc
check_first_page(struct ramet_verify *v, const struct ramet_loaded_head *head,
                 struct ramet_err *err)
{
    const struct ramet_point at = {head->commit.lsn, head->hash};
    struct ramet_overlay overlay;
    enum ramet_rc rc;

    assert(head->raw != NULL);
    if (!head->commit.says_first_page)
        return RAMET_OK;
    rc = ramet_overlay_open(v->history, &at, &overlay, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_first_page_check(&overlay, &head->commit, err);
    ramet_overlay_close(&overlay);
    return rc;
}

/* *io_hash: in, of the commit before; out, of this one. */
static enum ramet_rc
verify_commit(struct ramet_verify *v, uint64_t lsn, struct ramet_hash *io_hash,
              struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    const struct ramet_loaded_head *head;
    struct ramet_err found;
    enum ramet_rc rc;

    assert(lsn >= 1);
    rc = ramet_history_load_head(v->history, lsn, true, &entry, &found);
    if (rc != RAMET_OK) {
        memset(io_hash, 0, sizeof(*io_hash)); /* the next one fails, too */
        return ramet_verify_note(v, rc, &found, err);
    }
    head = ramet_loaded_head(entry);
    rc = ramet_verify_note(v, check_commit(v, head, io_hash, &found), &found,
                           err);
    *io_hash = head->hash;
    for (uint32_t i = 0; rc == RAMET_OK && i < head->commit.segment_count;
         i++) {
        if (head->commit.segments[i].has_dict)
            rc = ramet_verify_note(
                v, ramet_verify_dict(v, &head->commit.segments[i].dict, &found),
                &found, err);
        if (rc == RAMET_OK)
            rc = ramet_verify_segment(v, head, i, err);
    }
    if (rc == RAMET_OK)
        rc = ramet_verify_deltas(v, head, err);
    if (rc == RAMET_OK)
        rc = make_pages(v, head, err);
    if (rc == RAMET_OK)
        rc = ramet_verify_note(v, check_first_page(v, head, &found), &found,
                               err);
    ramet_history_release(v->history, entry);
    return rc;
}

static void
report_step(struct ramet_verify *v, const char *what, uint64_t number)
{
    char text[64];

    assert(v->done < UINT64_MAX && what != NULL);
    v->done++;
    snprintf(text, sizeof(text), "%s %" PRIu64, what, number);
    v->report(v->ctx, false, text, v->done, v->total);
}

/* ---- all ----------------------------------------------------------------- */

static enum ramet_rc
verify_maps(struct ramet_verify *v, const struct ramet_map_list *list,
            struct ramet_err *err)
{
    struct ramet_err found;
    enum ramet_rc rc = RAMET_OK;

    assert(v->report != NULL);
    for (size_t i = 0; rc == RAMET_OK && i < list->count; i++) {
        rc = ramet_verify_note(
            v, ramet_verify_map(v, list, &list->items[i], &found), &found, err);
        report_step(v, "page map of LSN", list->items[i].lsn);
    }
    return rc;
}

/* A damaged profile harms nobody: it is reported as such, with the way out. */
static bool
note_profile(void *ctx, const char *name, const struct ramet_profile *profile,
             enum ramet_rc rc, const struct ramet_err *err)
{
    struct ramet_err found = *err;

    assert(ctx != NULL);
    (void)profile;
    if (rc == RAMET_ECORRUPT || rc == RAMET_EVERSION)
        (void)!RAMET_FAIL(&found, rc,
                          "%.300s; readers go without it: 'ramet profiles "
                          "URL --delete %s' takes it away",
                          err->text, name);
    return ramet_verify_note(ctx, rc, &found, NULL) == RAMET_OK;
}

static enum ramet_rc
check_not_ended(struct ramet_verify *v, uint64_t newest, struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    bool ended;
    const enum ramet_rc rc =
        ramet_history_load_head(v->history, newest, false, &entry, err);

    assert(newest >= 1);
    if (rc == RAMET_ECORRUPT || rc == RAMET_EVERSION || rc == RAMET_ENOTFOUND)
        return RAMET_OK; /* told in its turn */
    if (rc != RAMET_OK)
        return rc;
    ended = ramet_loaded_head(entry)->commit.role == RAMET_COMMIT_END;
    ramet_history_release(v->history, entry);
    if (ended)
        return RAMET_FAIL(err, RAMET_EWENTBACK, "the volume was deleted");
    return RAMET_OK;
}

static enum ramet_rc
verify_all(struct ramet_verify *v, struct ramet_err *err)
{
    struct ramet_map_list list = {0};
    static const struct ramet_hash nothing;
    struct ramet_hash hash = nothing;
    struct ramet_hash told;
    unsigned missing = 0;
    uint64_t newest;
    enum ramet_rc rc;

    assert(v->done == 0 && v->damaged == 0);
    rc = ramet_history_find_newest(v->history, 0, &newest, &told, err);
    if (rc == RAMET_OK)
        rc = ramet_map_list_read(&list, v->history, err);
    if (rc == RAMET_OK && newest > 0)
        rc = check_not_ended(v, newest, err);
    v->total = rc == RAMET_OK ? newest + list.count : 0;
    for (uint64_t lsn = 1; rc == RAMET_OK && lsn <= newest; lsn++) {
        rc = verify_commit(v, lsn, &hash, err);
        report_step(v, "LSN", lsn);
        missing = ramet_hash_equal(&hash, &nothing) ? missing + 1 : 0;
        if (rc == RAMET_OK && missing == MISSING_MAX)
            rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                            "LSN %" PRIu64 " and the %u before it can't be "
                            "read: the rest was not looked at",
                            lsn, MISSING_MAX - 1);
    }
    if (rc == RAMET_OK)
        rc = verify_maps(v, &list, err);
    ramet_map_list_done(&list);
    if (rc == RAMET_OK)
        rc = ramet_profile_list(v->history->store, &v->history->volume,
                                note_profile, v, err);
    return rc;
}

enum ramet_rc
ramet_history_verify(struct ramet_history *history, ramet_verify_report *report,
                     void *ctx, uint64_t *out_deltas, struct ramet_err *err)
{
    struct ramet_history *own = NULL;
    struct ramet_verify v;
    enum ramet_rc rc;

    assert(report != NULL);
    /* A history of its own: what a cache holds proves nothing. */
    rc = ramet_history_open(history->store, &history->volume, NULL, &own, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_verify_begin(&v, own, own, report, ctx, err);
    if (rc == RAMET_OK)
        rc = verify_all(&v, err);
    if (out_deltas != NULL)
        *out_deltas = v.deltas;
    ramet_verify_done(&v);
    ramet_history_close(own);
    if (rc == RAMET_OK && v.damaged > 0)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "%" PRIu64 " damaged or missing pieces", v.damaged);
    return rc;
}
