/*
 * mapfind.c - page maps that no commit refers to yet: made by this process, or by
 * another one and found in the store.
 *
 *   (1) A map is given out only if it says that it is of the commit that this
 *       history has at its LSN.
 *   (2) What is known of only moves forward, but for a forget.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metastore/head_cache.h"
#include "metastore/map.h"
#include "metastore/mapnode.h"
#include "metastore/node_cache.h"

#define FOUND_MAX 8u

void
ramet_map_remember(struct ramet_history *history,
                   const struct ramet_map_ref *map,
                   const struct ramet_hash *commit_hash)
{
    assert(map->lsn >= 1);
    ramet_mutex_lock(&history->mutex);
    if (map->lsn > history->known_map.ref.lsn)
        history->known_map =
            (struct ramet_known_map){.ref = *map, .commit_hash = *commit_hash};
    ramet_mutex_unlock(&history->mutex);
}

/* Is `hash` the hash of the commit that this history has at `lsn`? */
static enum ramet_rc
is_of_this_line(struct ramet_history *history, uint64_t lsn,
                const struct ramet_hash *hash, bool *out_is,
                struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    const enum ramet_rc rc =
        ramet_history_load_head(history, lsn, false, &entry, err);

    assert(lsn >= 1);
    if (rc != RAMET_OK)
        return rc;
    *out_is = ramet_hash_equal(&ramet_loaded_head(entry)->hash, hash);
    ramet_history_release(history, entry);
    return RAMET_OK;
}

/* The newest keys of a listing of maps. */
struct listed_maps {
    const struct ramet_vid *volume;
    uint64_t after, last_lsn; /* others are of no use */
    struct {
        uint64_t lsn;
        struct ramet_mid id;
        uint64_t size_bytes;
    } maps[FOUND_MAX];
    size_t count; /* all that were seen; the ring keeps the last */
};

static bool
take_map(void *ctx, const char *key, uint64_t size_bytes)
{
    struct listed_maps *const listed = ctx;
    char expected[RAMET_KEY_MAX];
    const char *const name = strrchr(key, '/') + 1;
    struct ramet_mid id;
    uint64_t lsn;

    assert(strrchr(key, '/') != NULL);
    if (strlen(name) != 17 + RAMET_ID_TEXT_SIZE - 1 ||
        !ramet_id_parse(name + 17, &id.id))
        return true; /* not a map: none of our business */
    lsn = strtoull(name, NULL, 16);
    ramet_map_key(listed->volume, lsn, &id, expected);
    if (strcmp(key, expected) != 0)
        return true;
    if (lsn <= listed->after) /* who lists was asked for none of these */
        return true;
    if (lsn > listed->last_lsn)
        return false;
    listed->maps[listed->count % FOUND_MAX].lsn = lsn;
    listed->maps[listed->count % FOUND_MAX].id = id;
    listed->maps[listed->count % FOUND_MAX].size_bytes = size_bytes;
    listed->count++;
    return true;
}

/* lsn 0 in *out_map if this map is of no use. */
static enum ramet_rc
try_map(struct ramet_history *history, uint64_t lsn, const struct ramet_mid *id,
        uint64_t size_bytes, struct ramet_known_map *out_map,
        struct ramet_err *err)
{
    struct ramet_map_trailer trailer;
    struct ramet_err damage;
    bool is_ours = false;
    enum ramet_rc rc;

    out_map->ref.lsn = 0;
    rc = ramet_history_read_trailer(history, lsn, id, size_bytes, &trailer,
                                    &damage);
    /* A damaged one is no reason not to commit: pass it over. */
    if (rc == RAMET_ECORRUPT || rc == RAMET_EVERSION)
        return RAMET_OK;
    if (rc != RAMET_OK) {
        if (err != NULL)
            *err = damage;
        return rc;
    }
    rc = is_of_this_line(history, lsn, &trailer.commit_hash, &is_ours, err);
    if (rc != RAMET_OK || !is_ours)
        return rc;
    out_map->commit_hash = trailer.commit_hash;
    out_map->ref = (struct ramet_map_ref){
        .volume = history->volume,
        .lsn = lsn,
        .id = *id,
        .root_offset_bytes = trailer.root.offset_bytes,
        .root_length_bytes = trailer.root.length_bytes,
        .hash_algo = RAMET_HASH_XXH3_128,
        .root_hash = trailer.root.hash,
    };
    ramet_map_remember(history, &out_map->ref, &trailer.commit_hash);
    return RAMET_OK;
}

static enum ramet_rc
find_in_store(struct ramet_history *history, uint64_t after, uint64_t lsn,
              struct ramet_known_map *out_map, struct ramet_err *err)
{
    struct listed_maps listed = {
        .volume = &history->volume, .after = after, .last_lsn = lsn};
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX], from[RAMET_KEY_MAX];
    size_t tried = 0;
    enum ramet_rc rc;

    assert(out_map->ref.lsn == 0 && after <= lsn);
    ramet_id_format(&history->volume.id, vid);
    snprintf(prefix, sizeof(prefix), "volumes/%s/maps/", vid);
    /* 'z' sorts after all ids of the maps of that LSN. */
    snprintf(from, sizeof(from), "volumes/%s/maps/%016" PRIx64 ".z", vid,
             after);
    rc = ramet_objstore_list(history->store, prefix, from, take_map, &listed,
                             err);
    while (rc == RAMET_OK && out_map->ref.lsn == 0 && tried < listed.count &&
           tried < FOUND_MAX) {
        const size_t i = (listed.count - 1 - tried) % FOUND_MAX;

        rc = try_map(history, listed.maps[i].lsn, &listed.maps[i].id,
                     listed.maps[i].size_bytes, out_map, err);
        tried++;
    }
    return rc;
}

void
ramet_map_forget(struct ramet_history *history,
                 const struct ramet_known_map *map)
{
    assert(map->ref.lsn >= 1);
    ramet_mutex_lock(&history->mutex);
    if (ramet_hash_equal(&history->known_map.commit_hash, &map->commit_hash))
        history->known_map.ref.lsn = 0;
    ramet_mutex_unlock(&history->mutex);
}

enum ramet_rc
ramet_map_find(struct ramet_history *history, uint64_t after, uint64_t lsn,
               bool look_in_store, struct ramet_known_map *out_map,
               struct ramet_err *err)
{
    struct ramet_known_map found = {.ref = {.lsn = 0}};
    struct ramet_known_map known;
    bool is_ours = false;
    enum ramet_rc rc = RAMET_OK;

    assert(after <= lsn);
    ramet_mutex_lock(&history->mutex);
    known = history->known_map;
    ramet_mutex_unlock(&history->mutex);
    if (known.ref.lsn > after && known.ref.lsn <= lsn) {
        rc = is_of_this_line(history, known.ref.lsn, &known.commit_hash,
                             &is_ours, err);
        if (rc == RAMET_OK && is_ours)
            found = known;
    }
    if (rc == RAMET_OK && found.ref.lsn == 0 && look_in_store)
        rc = find_in_store(history, after, lsn, &found, err);
    if (rc == RAMET_OK)
        *out_map = found;
    return rc;
}
