/*
 * gone.c - see gone.h.
 */
#include "metastore/gone.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "metastore/catalog.h"
#include "metastore/commit.h"

/* A store in which nothing of the volume is listed has no end of it either: that one
 * would have stayed. */
static bool
is_ended(const struct ramet_history *history)
{
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX], first[RAMET_KEY_MAX];
    struct ramet_hash told;
    bool ended = false;

    assert(history->behind != NULL);
    ramet_id_format(&history->volume.id, vid);
    snprintf(prefix, sizeof(prefix), "volumes/%s/commits/", vid);
    return ramet_objstore_first(history->behind, prefix, first, &told, NULL) ==
               RAMET_OK &&
           first[0] != '\0' &&
           ramet_catalog_is_ended(history->behind, &history->volume, &ended,
                                  NULL) == RAMET_OK &&
           ended;
}

enum ramet_rc
ramet_history_was_deleted(const struct ramet_history *history,
                          struct ramet_err *err)
{
    char vid[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&history->volume.id, vid);
    return RAMET_FAIL(err, RAMET_EWENTBACK, "%s: volume %s was deleted",
                      history->store->name, vid);
}

enum ramet_rc
ramet_history_is_gone(const struct ramet_history *history, uint64_t lsn,
                      struct ramet_err *err)
{
    char vid[RAMET_ID_TEXT_SIZE];

    assert(lsn >= 1);
    if (is_ended(history))
        return ramet_history_was_deleted(history, err);
    ramet_id_format(&history->volume.id, vid);
    return RAMET_FAIL(err, RAMET_EWENTBACK,
                      "%s: volume %s went back in time: commit %" PRIu64
                      " was there and is not any more (was the store restored "
                      "from a backup?)",
                      history->store->name, vid, lsn);
}

enum ramet_rc
ramet_history_is_another(const struct ramet_history *history, uint64_t lsn,
                         struct ramet_err *err)
{
    char vid[RAMET_ID_TEXT_SIZE];

    assert(lsn >= 1);
    ramet_id_format(&history->volume.id, vid);
    return RAMET_FAIL(err, RAMET_EWENTBACK,
                      "%s: volume %s went back in time, and another way: its "
                      "commit %" PRIu64
                      " is not the one that was there (was the store restored "
                      "from a backup, and written since?)",
                      history->store->name, vid, lsn);
}
