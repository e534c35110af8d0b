/*
 * recent.c - see recent.h. A ring by number, in blocks that are made when they are
 * needed and freed when all that is in them is in the base: so it takes memory while
 * commits come fast, 350 bytes for each, and what a block has when they do not.
 */
#include "client/store/log/recent.h"

#include <assert.h>
#include <string.h>

#include "client/store/shared/locks.h"
#include "core/alloc.h"

#define BLOCK_RECORDS 16u
#define BLOCKS 1024u /* two checkpoints' worth of the smallest commits */

/* What a fold asks of a trailer, and of a frame. */
struct note {
    uint64_t seq; /* 0: none */
    uint64_t prev, sum;
    struct ramet_pos start, tail;
    uint64_t byte_length;
    uint64_t lsn, lsn_time_ms, time_ms;
    struct ramet_hash lsn_hash;
    uint32_t page_size, page_count, least_page_count;
    uint32_t counter, remote_page_count;
    uint32_t frame_count;
    struct ramet_entry entries[RAMET_RECENT_FRAMES];
    uint32_t pgnos[RAMET_RECENT_FRAMES];
    uint8_t header[RAMET_TRUE_HEADER_SIZE];
};

struct block {
    struct note notes[BLOCK_RECORDS];
};

struct ramet_recent {
    struct block *blocks[BLOCKS];
};

/* ---- a note --------------------------------------------------------------- */

/* False: it has too many frames. */
static bool
note_frames(struct note *note, const struct ramet_writeset *writes)
{
    uint64_t cursor = 0;
    struct ramet_entry entry;
    uint32_t pgno;

    note->frame_count = 0;
    while (ramet_writeset_next(writes, &cursor, &pgno, &entry)) {
        if (note->frame_count == RAMET_RECENT_FRAMES)
            return false;
        assert(ramet_entry_kind(entry) == RAMET_ENTRY_IMAGE ||
               ramet_entry_kind(entry) == RAMET_ENTRY_LOG_ZERO);
        note->pgnos[note->frame_count] = pgno;
        note->entries[note->frame_count++] = entry;
    }
    return true;
}

static bool
write_note(struct note *note, const struct ramet_trailer *t,
           const struct ramet_writeset *writes)
{
    if (!note_frames(note, writes))
        return false;
    note->prev = t->prev;
    note->sum = t->sum;
    note->start = t->start;
    note->tail = t->tail;
    note->byte_length = t->byte_length;
    note->lsn = t->lsn;
    note->lsn_time_ms = t->lsn_time_ms;
    note->time_ms = t->time_ms;
    note->lsn_hash = t->lsn_hash;
    note->page_size = t->page_size;
    note->page_count = t->page_count;
    note->least_page_count = t->least_page_count;
    note->counter = t->counter;
    note->remote_page_count = t->remote_page_count;
    memcpy(note->header, t->header, sizeof(note->header));
    note->seq = t->seq;
    return true;
}

static void
read_note(const struct note *note, struct ramet_recent_record *out)
{
    struct ramet_trailer *const t = &out->trailer;

    *t = (struct ramet_trailer){
        .type = RAMET_RECORD_COMMIT,
        .start = note->start,
        .tail = note->tail,
        .seq = note->seq,
        .prev = note->prev,
        .sum = note->sum,
        .byte_length = note->byte_length,
        .page_size = note->page_size,
        .page_count = note->page_count,
        .least_page_count = note->least_page_count,
        .counter = note->counter,
        .remote_page_count = note->remote_page_count,
        .lsn = note->lsn,
        .lsn_time_ms = note->lsn_time_ms,
        .time_ms = note->time_ms,
        .lsn_hash = note->lsn_hash,
    };
    memcpy(t->header, note->header, sizeof(t->header));
    out->frame_count = note->frame_count;
    for (uint32_t i = 0; i < note->frame_count; i++)
        out->frames[i] = (struct ramet_logframe){
            .pgno = note->pgnos[i],
            .kind = ramet_entry_kind(note->entries[i]) == RAMET_ENTRY_IMAGE
                        ? RAMET_LOGFRAME_IMAGE
                        : RAMET_LOGFRAME_ZERO,
            .replaced = RAMET_NO_ENTRY,
            .pos = ramet_entry_pos(note->entries[i])};
}

/* ---- the ring --------------------------------------------------------------- */

/* Under the mutex. */
static struct block **
block_of(struct ramet_recent *recent, uint64_t seq)
{
    return &recent->blocks[seq / BLOCK_RECORDS % BLOCKS];
}

/* Where record `seq` is noted; NULL: no memory, so it is read. Under the mutex. */
static struct note *
have_note(struct ramet_replica *replica, uint64_t seq)
{
    struct block **block;

    if (replica->recent == NULL)
        replica->recent = ramet_calloc(1, sizeof(*replica->recent));
    if (replica->recent == NULL)
        return NULL;
    block = block_of(replica->recent, seq);
    if (*block == NULL)
        *block = ramet_calloc(1, sizeof(**block));
    return *block == NULL ? NULL : &(*block)->notes[seq % BLOCK_RECORDS];
}

void
ramet_recent_note(struct ramet_replica *replica,
                  const struct ramet_trailer *trailer,
                  const struct ramet_writeset *writes)
{
    struct note *note;

    assert(ramet_is_held(replica, RAMET_LOCK_WRITE));
    if (trailer->type != RAMET_RECORD_COMMIT || trailer->flags != 0 ||
        trailer->super_journal !=
            NULL) /* (3); one with a tail is two records */
        return;
    ramet_mutex_lock(&replica->mutex);
    note = have_note(replica, trailer->seq);
    if (note != NULL && !write_note(note, trailer, writes))
        note->seq = 0;
    ramet_mutex_unlock(&replica->mutex);
}

bool
ramet_recent_find(struct ramet_replica *replica, uint64_t seq, uint64_t prev,
                  struct ramet_recent_record *out)
{
    const struct block *block;
    const struct note *note = NULL;

    assert(seq != 0);
    ramet_mutex_lock(&replica->mutex);
    block = replica->recent == NULL ? NULL : *block_of(replica->recent, seq);
    if (block != NULL)
        note = &block->notes[seq % BLOCK_RECORDS];
    if (note != NULL && (note->seq != seq || note->prev != prev)) /* (2) */
        note = NULL;
    if (note != NULL && /* (5); who has no index yet has noted nothing */
        atomic_load(&replica->head->header.all.sync_failed) != 0)
        note = NULL;
    if (note != NULL)
        read_note(note, out);
    ramet_mutex_unlock(&replica->mutex);
    return note != NULL;
}

static bool
is_before(const struct block *block, struct ramet_pos end)
{
    for (unsigned i = 0; i < BLOCK_RECORDS; i++)
        if (block->notes[i].seq != 0 &&
            !ramet_pos_before(block->notes[i].start, end))
            return false;
    return true;
}

void
ramet_recent_forget(struct ramet_replica *replica, struct ramet_pos end)
{
    ramet_mutex_lock(&replica->mutex);
    for (unsigned i = 0; replica->recent != NULL && i < BLOCKS; i++) {
        struct block **const block = &replica->recent->blocks[i];

        if (*block != NULL && is_before(*block, end)) {
            ramet_free(*block);
            *block = NULL;
        }
    }
    ramet_mutex_unlock(&replica->mutex);
}

static void
free_recent(struct ramet_recent *recent)
{
    for (unsigned i = 0; recent != NULL && i < BLOCKS; i++)
        ramet_free(recent->blocks[i]);
    ramet_free(recent);
}

void
ramet_recent_forget_all(struct ramet_replica *replica)
{
    struct ramet_recent *recent;

    ramet_mutex_lock(&replica->mutex);
    recent = replica->recent;
    replica->recent = NULL;
    ramet_mutex_unlock(&replica->mutex);
    free_recent(recent);
}

/* Without the mutex, which a child may find locked for ever. */
void
ramet_recent_done(struct ramet_replica *replica)
{
    free_recent(replica->recent);
    replica->recent = NULL;
}
