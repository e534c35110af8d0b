/*
 * placed.c - see placed.h. Sets of four entries, the oldest goes first.
 */
#include "server/placed.h"

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
    uint64_t place_lsn;
    uint64_t offset_bytes;
    uint32_t length_bytes;
    uint32_t pgno;
    uint32_t first_pgno;
    uint8_t kind;
    uint8_t page_count;
};

struct ramet_placed {
    struct ramet_mutex locks[LOCKS];
    size_t set_mask;
    uint8_t *next_way; /* of each set */
    struct entry *entries;
};

struct ramet_placed *
ramet_placed_new(size_t entries)
{
    struct ramet_placed *placed = ramet_calloc(1, sizeof(*placed));
    size_t sets = LOCKS;

    if (placed == NULL)
        return NULL;
    while (sets * WAYS < entries)
        sets *= 2;
    placed->set_mask = sets - 1;
    for (unsigned i = 0; i < LOCKS; i++)
        ramet_mutex_init(&placed->locks[i]);
    placed->next_way = ramet_calloc(sets, 1);
    placed->entries = ramet_calloc(sets * WAYS, sizeof(struct entry));
    if (placed->next_way != NULL && placed->entries != NULL)
        return placed;
    ramet_placed_free(placed);
    return NULL;
}

void
ramet_placed_free(struct ramet_placed *placed)
{
    if (placed == NULL)
        return;
    for (unsigned i = 0; i < LOCKS; i++)
        ramet_mutex_done(&placed->locks[i]);
    ramet_free(placed->next_way);
    ramet_free(placed->entries);
    ramet_free(placed);
}

static size_t
set_of(const struct ramet_placed *placed, const struct ramet_vid *volume,
       uint64_t lsn, uint32_t pgno)
{
    uint64_t h;

    /* The last 8 bytes of an id are random. */
    memcpy(&h, volume->id.bytes + 8, sizeof(h));
    h = (h ^ lsn) * 0x9e3779b97f4a7c15u;
    h = (h ^ (h >> 32) ^ pgno) * 0xff51afd7ed558ccdu;
    return (size_t)(h >> 24) & placed->set_mask;
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
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].lsn == at->lsn && set[i].pgno == pgno &&
            set[i].line == line_of(at) &&
            memcmp(&set[i].volume, volume, sizeof(*volume)) == 0)
            return &set[i];
    }
    return NULL;
}

void
ramet_placed_put(struct ramet_placed *placed, const struct ramet_vid *volume,
                 const struct ramet_point *at, uint32_t pgno,
                 const struct ramet_frame *frame)
{
    const size_t set = set_of(placed, volume, at->lsn, pgno);
    struct entry *entries = &placed->entries[set * WAYS];
    const struct ramet_place *place = &frame->place;

    if (frame->page_count > 0 &&
        memcmp(&place->volume, volume, sizeof(*volume)) != 0)
        return; /* an ancestor's: looked up each time */
    ramet_mutex_lock(&placed->locks[set % LOCKS]);
    if (find(entries, volume, at, pgno) == NULL) {
        struct entry *e = &entries[placed->next_way[set]++ % WAYS];

        *e = (struct entry){
            .volume = *volume,
            .lsn = at->lsn,
            .line = line_of(at),
            .segment = place->segment,
            .place_lsn = place->lsn,
            .offset_bytes = place->offset_bytes,
            .length_bytes = place->length_bytes,
            .pgno = pgno,
            .first_pgno = frame->first_pgno,
            .kind = (uint8_t)place->kind,
            .page_count = (uint8_t)frame->page_count,
        };
    }
    ramet_mutex_unlock(&placed->locks[set % LOCKS]);
}

bool
ramet_placed_get(struct ramet_placed *placed, const struct ramet_vid *volume,
                 const struct ramet_point *at, uint32_t pgno,
                 struct ramet_frame *out_frame)
{
    const size_t set = set_of(placed, volume, at->lsn, pgno);
    const struct entry *e;
    bool found = false;

    ramet_mutex_lock(&placed->locks[set % LOCKS]);
    e = find(&placed->entries[set * WAYS], volume, at, pgno);
    if (e != NULL && at->lsn != 0) {
        memset(out_frame, 0, sizeof(*out_frame));
        out_frame->place.volume = e->volume;
        out_frame->place.kind = (enum ramet_object_kind)e->kind;
        out_frame->place.segment = e->segment;
        out_frame->place.lsn = e->place_lsn;
        out_frame->place.offset_bytes = e->offset_bytes;
        out_frame->place.length_bytes = e->length_bytes;
        out_frame->first_pgno = e->first_pgno;
        out_frame->page_count = e->page_count;
        found = true;
    }
    ramet_mutex_unlock(&placed->locks[set % LOCKS]);
    return found;
}
