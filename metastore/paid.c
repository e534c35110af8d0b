/*
 * paid.c - knowing the newest commit of a store that is paid by the request,
 * for less than a LIST each time.
 *
 *   (1) A look at the next slot says whether something is new. It does not say
 *       whether what was seen is still there, so it counts only for PROOF_MS
 *       after the store itself was seen to have that: a store that was set back
 *       is noticed within that time, and nothing is committed above a gap
 *       later than that.
 *   (2) A volume whose id this process made, and gave a name to that meant nothing,
 *       can have been ended by nobody but who found that name since; it is taken
 *       for new as long as a proof counts.
 */
#include "metastore/history.h"

#include <assert.h>

#include "metastore/head_cache.h"

#define PROOF_MS 60000u
#define STEPS 2u /* one new commit is two reads; more are cheaper by a LIST */

static uint64_t
now_ms(const struct ramet_history *history)
{
    assert(history->os != NULL);
    return history->os->mono_ns(history->os->ctx) / 1000000u;
}

void
ramet_history_proven(struct ramet_history *history)
{
    const uint64_t now = now_ms(history);

    ramet_mutex_lock(&history->mutex);
    history->proven_ms = now > 0 ? now : 1;
    ramet_mutex_unlock(&history->mutex);
}

bool
ramet_history_is_proven(struct ramet_history *history)
{
    uint64_t proven_ms;

    assert(history->store != NULL);
    if ((history->store->traits & RAMET_STORE_IS_PAID) == 0)
        return false;
    ramet_mutex_lock(&history->mutex);
    proven_ms = history->newest_lsn > 0 ? history->proven_ms : 0;
    ramet_mutex_unlock(&history->mutex);
    return proven_ms != 0 && now_ms(history) - proven_ms < PROOF_MS;
}

void
ramet_history_made(struct ramet_history *history)
{
    const uint64_t now = now_ms(history);

    ramet_mutex_lock(&history->mutex);
    history->made_ms = now > 0 ? now : 1;
    ramet_mutex_unlock(&history->mutex);
}

bool
ramet_history_is_new(struct ramet_history *history)
{
    uint64_t made_ms;

    ramet_mutex_lock(&history->mutex);
    made_ms = history->newest_lsn == 0 ? history->made_ms : 0;
    ramet_mutex_unlock(&history->mutex);
    return made_ms != 0 && now_ms(history) - made_ms < PROOF_MS;
}

enum ramet_rc
ramet_history_step(struct ramet_history *history, uint64_t seen,
                   uint64_t *out_newest, bool *out_decided,
                   struct ramet_err *err)
{
    assert(seen >= 1);
    *out_decided = false;
    for (uint64_t lsn = seen + 1; lsn <= seen + STEPS; lsn++) {
        struct ramet_lru_entry *entry;
        /* A cache may have it of a line that the store lost. */
        const enum ramet_rc rc =
            ramet_history_load_anew(history, lsn, false, &entry, err);

        if (rc == RAMET_ENOTFOUND) {
            *out_newest = lsn - 1;
            *out_decided = true;
            return RAMET_OK;
        }
        if (rc != RAMET_OK)
            return rc;
        ramet_history_release(history, entry);
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_history_base(struct ramet_history *history,
                   const struct ramet_point *point, struct ramet_head *out_head,
                   struct ramet_err *err)
{
    const bool is_proven = ramet_history_is_proven(history);
    struct ramet_lru_entry *entry;
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(point->lsn > 0);
    if (!is_proven) { /* the store's word, not the cache's */
        const struct ramet_lru_key cached = {.kind = LRU_HEAD,
                                             .number = point->lsn};

        ramet_commit_key(&history->volume, point->lsn, key);
        ramet_objstore_refresh(history->store, key);
        ramet_lru_drop(&history->lru, &cached);
    }
    rc = ramet_history_load_point(history, point, false, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_history_fill_head(ramet_loaded_head(entry), out_head);
    ramet_history_release(history, entry);
    if (!is_proven)
        ramet_history_proven(history);
    return RAMET_OK;
}
