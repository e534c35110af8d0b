/*
 * lru_table.c - see lru_table.h.
 */
#include "core/lru_table.h"

#include <assert.h>

static struct ramet_lru_link **
bucket_of(const struct ramet_lru_table *table, uint64_t hash)
{
    /* The upper half: owners choose shards by the lower one. */
    return &table->buckets[hash >> 32 & (table->bucket_count - 1)];
}

void
ramet_lru_table_init(struct ramet_lru_table *table,
                     struct ramet_lru_link **buckets, size_t bucket_count)
{
    assert(bucket_count != 0 && (bucket_count & (bucket_count - 1)) == 0);
    *table = (struct ramet_lru_table){.buckets = buckets,
                                      .bucket_count = bucket_count};
}

/* From `link` on, the first in its chain with this hash. */
static struct ramet_lru_link *
with_hash(struct ramet_lru_link *link, uint64_t hash)
{
    while (link != NULL && link->hash != hash)
        link = link->chain;
    return link;
}

struct ramet_lru_link *
ramet_lru_table_first(const struct ramet_lru_table *table, uint64_t hash)
{
    return with_hash(*bucket_of(table, hash), hash);
}

struct ramet_lru_link *
ramet_lru_table_next(const struct ramet_lru_link *link)
{
    return with_hash(link->chain, link->hash);
}

static void
put_newest(struct ramet_lru_table *table, struct ramet_lru_link *link)
{
    link->newer = NULL;
    link->older = table->newest;
    *(table->newest != NULL ? &table->newest->newer : &table->oldest) = link;
    table->newest = link;
}

static void
take_out(struct ramet_lru_table *table, struct ramet_lru_link *link)
{
    *(link->newer != NULL ? &link->newer->older : &table->newest) = link->older;
    *(link->older != NULL ? &link->older->newer : &table->oldest) = link->newer;
}

void
ramet_lru_table_add(struct ramet_lru_table *table, struct ramet_lru_link *link,
                    uint64_t hash, size_t cost)
{
    struct ramet_lru_link **const bucket = bucket_of(table, hash);

    link->hash = hash;
    link->cost = cost;
    link->chain = *bucket;
    *bucket = link;
    put_newest(table, link);
    table->bytes += cost; /* invariant (2) */
}

void
ramet_lru_table_remove(struct ramet_lru_table *table,
                       struct ramet_lru_link *link)
{
    struct ramet_lru_link **at = bucket_of(table, link->hash);

    while (*at != link) {
        assert(*at != NULL); /* invariant (1) */
        at = &(*at)->chain;
    }
    *at = link->chain;
    take_out(table, link);
    assert(table->bytes >= link->cost); /* invariant (2) */
    table->bytes -= link->cost;
}

void
ramet_lru_table_use(struct ramet_lru_table *table, struct ramet_lru_link *link)
{
    if (table->newest == link)
        return;
    take_out(table, link);
    put_newest(table, link);
}
