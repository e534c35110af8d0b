/*
 * lru.c - see lru.h for the contract.
 */
#include "metastore/lru.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"

void
ramet_lru_init(struct ramet_lru *lru, size_t max_bytes)
{
    memset(lru, 0, sizeof(*lru));
    ramet_mutex_init(&lru->mutex);
    lru->max_bytes = max_bytes;
}

static void
free_entry(struct ramet_lru_entry *entry)
{
    entry->free_value(entry->value);
    ramet_free(entry);
}

void
ramet_lru_done(struct ramet_lru *lru)
{
    struct ramet_lru_entry *entry = lru->newest;

    while (entry != NULL) {
        struct ramet_lru_entry *const older = entry->older;

        assert(entry->holders == 0);
        free_entry(entry);
        entry = older;
    }
    ramet_mutex_done(&lru->mutex);
}

static bool
key_equal(const struct ramet_lru_key *a, const struct ramet_lru_key *b)
{
    return a->kind == b->kind && a->number == b->number &&
           ramet_id_compare(&a->id, &b->id) == 0;
}

static struct ramet_lru_entry **
bucket_of(struct ramet_lru *lru, const struct ramet_lru_key *key)
{
    return &lru->buckets[ramet_hash64(key, sizeof(*key)) % RAMET_LRU_BUCKETS];
}

static void
unlink_age(struct ramet_lru *lru, struct ramet_lru_entry *entry)
{
    if (entry->newer != NULL)
        entry->newer->older = entry->older;
    else
        lru->newest = entry->older;
    if (entry->older != NULL)
        entry->older->newer = entry->newer;
    else
        lru->oldest = entry->newer;
}

static void
link_newest(struct ramet_lru *lru, struct ramet_lru_entry *entry)
{
    entry->newer = NULL;
    entry->older = lru->newest;
    if (lru->newest != NULL)
        lru->newest->newer = entry;
    else
        lru->oldest = entry;
    lru->newest = entry;
}

/* Take an entry out of the cache; free it unless held (invariant (2)). */
static void
unlist(struct ramet_lru *lru, struct ramet_lru_entry *entry)
{
    struct ramet_lru_entry **link = bucket_of(lru, &entry->key);

    while (*link != entry)
        link = &(*link)->next_in_bucket;
    *link = entry->next_in_bucket;
    unlink_age(lru, entry);
    lru->bytes -= entry->bytes;
    entry->listed = false;
    if (entry->holders == 0)
        free_entry(entry);
}

static struct ramet_lru_entry *
find(struct ramet_lru *lru, const struct ramet_lru_key *key)
{
    struct ramet_lru_entry *entry = *bucket_of(lru, key);

    while (entry != NULL && !key_equal(&entry->key, key))
        entry = entry->next_in_bucket;
    return entry;
}

static void
shrink(struct ramet_lru *lru)
{
    struct ramet_lru_entry *entry = lru->oldest;

    while (lru->bytes > lru->max_bytes && entry != NULL) {
        struct ramet_lru_entry *const newer = entry->newer;

        unlist(lru, entry);
        entry = newer;
    }
}

struct ramet_lru_entry *
ramet_lru_get(struct ramet_lru *lru, const struct ramet_lru_key *key)
{
    struct ramet_lru_entry *entry;

    ramet_mutex_lock(&lru->mutex);
    entry = find(lru, key);
    if (entry != NULL) {
        entry->holders++;
        if (entry != lru->newest) {
            unlink_age(lru, entry);
            link_newest(lru, entry);
        }
    }
    ramet_mutex_unlock(&lru->mutex);
    return entry;
}

struct ramet_lru_entry *
ramet_lru_put(struct ramet_lru *lru, const struct ramet_lru_key *key,
              void *value, size_t bytes, void (*free_value)(void *value))
{
    struct ramet_lru_entry *const entry = ramet_alloc(sizeof(*entry));
    struct ramet_lru_entry **bucket, *old;

    if (entry == NULL) {
        free_value(value);
        return NULL;
    }
    *entry = (struct ramet_lru_entry){.value = value,
                                      .key = *key,
                                      .free_value = free_value,
                                      .bytes = bytes + sizeof(*entry),
                                      .holders = 1,
                                      .listed = true};
    ramet_mutex_lock(&lru->mutex);
    old = find(lru, key);
    if (old != NULL)
        unlist(lru, old);
    bucket = bucket_of(lru, key);
    entry->next_in_bucket = *bucket;
    *bucket = entry;
    link_newest(lru, entry);
    lru->bytes += entry->bytes;
    shrink(lru);
    ramet_mutex_unlock(&lru->mutex);
    return entry;
}

void
ramet_lru_release(struct ramet_lru *lru, struct ramet_lru_entry *entry)
{
    bool last;

    if (entry == NULL)
        return;
    ramet_mutex_lock(&lru->mutex);
    assert(entry->holders > 0);
    entry->holders--;
    last = entry->holders == 0 && !entry->listed;
    ramet_mutex_unlock(&lru->mutex);
    if (last)
        free_entry(entry);
}

void
ramet_lru_drop(struct ramet_lru *lru, const struct ramet_lru_key *key)
{
    struct ramet_lru_entry *entry;

    ramet_mutex_lock(&lru->mutex);
    entry = find(lru, key);
    if (entry != NULL)
        unlist(lru, entry);
    ramet_mutex_unlock(&lru->mutex);
}

void
ramet_lru_clear(struct ramet_lru *lru)
{
    ramet_mutex_lock(&lru->mutex);
    while (lru->newest != NULL)
        unlist(lru, lru->newest);
    ramet_mutex_unlock(&lru->mutex);
}
