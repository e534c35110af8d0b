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
    assert(max_bytes > 0);
    memset(lru, 0, sizeof(*lru));
    ramet_mutex_init(&lru->mutex);
    ramet_lru_table_init(&lru->table, lru->buckets, RAMET_LRU_BUCKETS);
    lru->max_bytes = max_bytes;
}

static void
free_entry(struct ramet_lru_entry *entry)
{
    assert(entry->holders == 0 && !entry->listed); /* invariant (2) */
    entry->free_value(entry->value);
    ramet_free(entry);
}

/* Take an entry out of the cache; free it unless held (invariant (2)). */
static void
unlist(struct ramet_lru *lru, struct ramet_lru_entry *entry)
{
    assert(entry->listed);
    ramet_lru_table_remove(&lru->table, &entry->link);
    entry->listed = false;
    if (entry->holders == 0)
        free_entry(entry);
}

static struct ramet_lru_entry *
oldest(const struct ramet_lru *lru)
{
    assert(lru->max_bytes > 0);
    return (struct ramet_lru_entry *)lru->table.oldest;
}

void
ramet_lru_done(struct ramet_lru *lru)
{
    while (oldest(lru) != NULL) {
        assert(oldest(lru)->holders == 0);
        unlist(lru, oldest(lru));
    }
    ramet_mutex_done(&lru->mutex);
}

static bool
key_equal(const struct ramet_lru_key *a, const struct ramet_lru_key *b)
{
    assert(a != NULL && b != NULL);
    return a->kind == b->kind && a->number == b->number &&
           ramet_id_compare(&a->id, &b->id) == 0;
}

static uint64_t
hash_of(const struct ramet_lru_key *key)
{
    assert(key->kind != 0);
    return ramet_hash64(key, sizeof(*key));
}

static struct ramet_lru_entry *
find(const struct ramet_lru *lru, const struct ramet_lru_key *key)
{
    struct ramet_lru_link *link =
        ramet_lru_table_first(&lru->table, hash_of(key));

    while (link != NULL &&
           !key_equal(&((struct ramet_lru_entry *)link)->key, key))
        link = ramet_lru_table_next(link);
    assert(link == NULL || ((struct ramet_lru_entry *)link)->listed);
    return (struct ramet_lru_entry *)link;
}

struct ramet_lru_entry *
ramet_lru_get(struct ramet_lru *lru, const struct ramet_lru_key *key)
{
    struct ramet_lru_entry *entry;

    ramet_mutex_lock(&lru->mutex);
    entry = find(lru, key);
    if (entry != NULL) {
        entry->holders++;
        ramet_lru_table_use(&lru->table, &entry->link);
    }
    ramet_mutex_unlock(&lru->mutex);
    return entry;
}

struct ramet_lru_entry *
ramet_lru_put(struct ramet_lru *lru, const struct ramet_lru_key *key,
              void *value, size_t bytes, void (*free_value)(void *value))
{
    struct ramet_lru_entry *const entry = ramet_alloc(sizeof(*entry));
    struct ramet_lru_entry *old;

    assert(value != NULL && free_value != NULL);
    if (entry == NULL) {
        free_value(value);
        return NULL;
    }
    *entry = (struct ramet_lru_entry){.value = value,
                                      .key = *key,
                                      .free_value = free_value,
                                      .holders = 1,
                                      .listed = true};
    ramet_mutex_lock(&lru->mutex);
    old = find(lru, key);
    if (old != NULL)
        unlist(lru, old);
    ramet_lru_table_add(&lru->table, &entry->link, hash_of(key),
                        bytes + sizeof(*entry));
    while (lru->table.bytes > lru->max_bytes && oldest(lru) != NULL)
        unlist(lru, oldest(lru));
    assert(lru->table.bytes <= lru->max_bytes ||
           oldest(lru) == NULL); /* invariant (1) */
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

bool
ramet_lru_has_room(struct ramet_lru *lru, size_t bytes)
{
    bool has_room;

    ramet_mutex_lock(&lru->mutex);
    has_room = lru->table.bytes < lru->max_bytes &&
               bytes <= lru->max_bytes - lru->table.bytes;
    ramet_mutex_unlock(&lru->mutex);
    return has_room;
}

void
ramet_lru_drop(struct ramet_lru *lru, const struct ramet_lru_key *key)
{
    struct ramet_lru_entry *entry;

    assert(key->kind != 0);
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
    while (oldest(lru) != NULL)
        unlist(lru, oldest(lru));
    ramet_mutex_unlock(&lru->mutex);
}
