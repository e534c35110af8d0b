/*
 * frame_locations.c - see frame_locations.h. Sets of four entries, the oldest goes first.
 */
#include "server/frame_locations.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/thread.h"

#define WAYS 4u
#define LOCKS 64u

struct entry {
    struct ramet_vid volume;
    uint64_t lsn;  /* 0: empty */
    uint64_t line; /* tells commits of one LSN apart: from the hash */
    struct ramet_sid segment;
    struct ramet_hash hash; /* of the bytes there */
    uint64_t place_lsn;
    uint64_t offset_bytes;
    uint32_t length_bytes;
    uint32_t pgno;
    uint32_t first_pgno;
    uint8_t kind;
    uint8_t page_count;
    uint8_t hash_algo;
};

struct ramet_frame_locations {
    struct ramet_mutex locks[LOCKS];
    size_t set_mask;
    uint8_t *next_way; /* of each set */
    struct entry *entries;
};

struct ramet_frame_locations *
ramet_frame_locations_new(size_t entries)
{
    struct ramet_frame_locations *locations =
        ramet_calloc(1, sizeof(*locations));
    size_t sets = LOCKS;

    if (locations == NULL)
        return NULL;
    while (sets * WAYS < entries)
        sets *= 2;
    locations->set_mask = sets - 1;
    for (unsigned i = 0; i < LOCKS; i++)
        ramet_mutex_init(&locations->locks[i]);
    locations->next_way = ramet_calloc(sets, 1);
    locations->entries = ramet_calloc(sets * WAYS, sizeof(struct entry));
    if (locations->next_way != NULL && locations->entries != NULL)
        return locations;
    ramet_frame_locations_free(locations);
    return NULL;
}

void
ramet_frame_locations_free(struct ramet_frame_locations *locations)
{
    if (locations == NULL)
        return;
    for (unsigned i = 0; i < LOCKS; i++)
        ramet_mutex_done(&locations->locks[i]);
    ramet_free(locations->next_way);
    ramet_free(locations->entries);
    ramet_free(locations);
}

static size_t
set_of(const struct ramet_frame_locations *locations,
       const struct ramet_vid *volume, uint64_t lsn, uint32_t pgno)
{
    uint64_t h;

    assert((locations->set_mask & (locations->set_mask + 1)) == 0);
    /* The last 8 bytes of an id are random. */
    memcpy(&h, volume->id.bytes + 8, sizeof(h));
    h = (h ^ lsn) * 0x9e3779b97f4a7c15u;
    h = (h ^ (h >> 32) ^ pgno) * 0xff51afd7ed558ccdu;
    return (size_t)(h >> 24) & locations->set_mask;
}

static uint64_t
line_of(const struct ramet_point *at)
{
    return ramet_get_le64(at->hash.bytes) * 0x9e3779b97f4a7c15u ^
           ramet_get_le64(at->hash.bytes + 8);
}

static struct entry *
find(struct entry *set, const struct ramet_vid *volume,
     const struct ramet_point *at, uint32_t pgno)
{
    assert(pgno > 0);
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].lsn == at->lsn && set[i].pgno == pgno &&
            set[i].line == line_of(at) &&
            memcmp(&set[i].volume, volume, sizeof(*volume)) == 0)
            return &set[i];
    }
    return NULL;
}

void
ramet_frame_locations_put(struct ramet_frame_locations *locations,
                          const struct ramet_vid *volume,
                          const struct ramet_point *at, uint32_t pgno,
                          const struct ramet_frame *frame)
{
    const size_t set = set_of(locations, volume, at->lsn, pgno);
    struct entry *entries = &locations->entries[set * WAYS];
    const struct ramet_extent *extent = &frame->extent;

    assert(set <= locations->set_mask && pgno > 0);
    if (frame->page_count > 0 &&
        memcmp(&extent->volume, volume, sizeof(*volume)) != 0)
        return; /* an ancestor's: looked up each time */
    ramet_mutex_lock(&locations->locks[set % LOCKS]);
    if (find(entries, volume, at, pgno) == NULL) {
        struct entry *e = &entries[locations->next_way[set]++ % WAYS];

        *e = (struct entry){
            .volume = *volume,
            .lsn = at->lsn,
            .line = line_of(at),
            .segment = extent->segment,
            .place_lsn = extent->lsn,
            .offset_bytes = extent->offset_bytes,
            .length_bytes = extent->length_bytes,
            .pgno = pgno,
            .first_pgno = frame->first_pgno,
            .hash = extent->hash,
            .hash_algo = extent->hash_algo,
            .kind = (uint8_t)extent->kind,
            .page_count = (uint8_t)frame->page_count,
        };
    }
    ramet_mutex_unlock(&locations->locks[set % LOCKS]);
}

bool
ramet_frame_locations_get(struct ramet_frame_locations *locations,
                          const struct ramet_vid *volume,
                          const struct ramet_point *at, uint32_t pgno,
                          struct ramet_frame *out_frame)
{
    const size_t set = set_of(locations, volume, at->lsn, pgno);
    const struct entry *e;
    bool found = false;

    assert(set <= locations->set_mask);
    ramet_mutex_lock(&locations->locks[set % LOCKS]);
    e = find(&locations->entries[set * WAYS], volume, at, pgno);
    if (e != NULL && at->lsn != 0) {
        memset(out_frame, 0, sizeof(*out_frame));
        out_frame->extent.volume = e->volume;
        out_frame->extent.kind = (enum ramet_object_kind)e->kind;
        out_frame->extent.segment = e->segment;
        out_frame->extent.lsn = e->place_lsn;
        out_frame->extent.offset_bytes = e->offset_bytes;
        out_frame->extent.length_bytes = e->length_bytes;
        out_frame->extent.hash = e->hash;
        out_frame->extent.hash_algo = e->hash_algo;
        out_frame->first_pgno = e->first_pgno;
        out_frame->page_count = e->page_count;
        found = true;
    }
    ramet_mutex_unlock(&locations->locks[set % LOCKS]);
    return found;
}
