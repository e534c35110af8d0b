/*
 * lru.h - a bounded memory cache of decoded heads, map nodes and tables.
 *
 *   (1) The bytes of entries that nobody holds never exceed the maximum.
 *   (2) An entry that somebody holds stays valid until it is released, even
 *       if it was evicted or replaced meanwhile.
 *
 * Thread-safe; no I/O under its lock. Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_LRU_H
#define RAMET_METASTORE_LRU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/id.h"
#include "core/lru_table.h"
#include "core/thread.h"

#define RAMET_LRU_BUCKETS 1024u

struct ramet_lru_key {
    uint64_t kind;
    struct ramet_id id;
    uint64_t number;
};

struct ramet_lru_entry {
    struct ramet_lru_link link; /* first */
    void *value;                /* the cache's; don't change it */
    struct ramet_lru_key key;
    void (*free_value)(void *value);
    unsigned holders;
    bool listed; /* findable; else freed when the last holder lets go */
};

struct ramet_lru {
    struct ramet_mutex mutex;
    struct ramet_lru_link *buckets[RAMET_LRU_BUCKETS];
    struct ramet_lru_table table;
    size_t max_bytes;
};

void ramet_lru_init(struct ramet_lru *lru, size_t max_bytes);
void ramet_lru_done(struct ramet_lru *lru); /* nobody may hold an entry */

/* The entry, held, or NULL. */
struct ramet_lru_entry *
ramet_lru_get(struct ramet_lru *lru, const struct ramet_lru_key *key);
/* Add or replace; takes `value` over. The entry, held; NULL on no memory (then
 * `value` was freed). */
struct ramet_lru_entry *
ramet_lru_put(struct ramet_lru *lru, const struct ramet_lru_key *key,
              void *value, size_t bytes, void (*free_value)(void *value));
void ramet_lru_release(struct ramet_lru *lru,
                       struct ramet_lru_entry *entry); /* NULL is fine */
/* May so many bytes more be kept, and nothing be let go for them? */
bool ramet_lru_has_room(struct ramet_lru *lru, size_t bytes);
/* Forget an entry, if it is there: what it holds turned out to be stale. */
void ramet_lru_drop(struct ramet_lru *lru, const struct ramet_lru_key *key);
/* All of them. */
void ramet_lru_clear(struct ramet_lru *lru);

#endif
