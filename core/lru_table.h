/*
 * lru_table.h - a hash table that knows in which order its entries were used: what
 * each cache is made of.
 *
 * The entries are their owner's, who has the link as their first member; keys,
 * memory, limits and locks are the owner's affair.
 *
 *   (1) an entry that was added and not removed is in one bucket, and once in the
 *       order of use
 *   (2) `bytes` is what these entries cost
 *
 * No I/O, no allocation; not thread-safe. Layer: core.
 */
#ifndef RAMET_CORE_LRU_TABLE_H
#define RAMET_CORE_LRU_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct ramet_lru_link {
    struct ramet_lru_link *chain; /* the next one in its bucket */
    struct ramet_lru_link *newer, *older;
    uint64_t hash;
    size_t cost;
};

struct ramet_lru_table {
    struct ramet_lru_link **buckets;
    size_t bucket_count;
    struct ramet_lru_link *newest, *oldest; /* NULL: it is empty */
    size_t bytes;
};

/* Empty; `buckets` are the owner's: NULLs, a power of two of them. */
void ramet_lru_table_init(struct ramet_lru_table *table,
                          struct ramet_lru_link **buckets, size_t bucket_count);

/* The entries with this hash, one after the other, and then NULL: which of them
 * has the key, the owner sees. */
struct ramet_lru_link *
ramet_lru_table_first(const struct ramet_lru_table *table, uint64_t hash);
struct ramet_lru_link *ramet_lru_table_next(const struct ramet_lru_link *link);

/* As the newest; it is not in there. */
void
ramet_lru_table_add(struct ramet_lru_table *table, struct ramet_lru_link *link,
                    uint64_t hash, size_t cost);
void ramet_lru_table_remove(struct ramet_lru_table *table,
                            struct ramet_lru_link *link);
/* It was used: it is the newest now. */
void
ramet_lru_table_use(struct ramet_lru_table *table, struct ramet_lru_link *link);

#endif
