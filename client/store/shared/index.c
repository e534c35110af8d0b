/*
 * index.c - the memory that all sessions of a replica share; see
 * docs/replica.md, "The index".
 *
 *   (1) memory is written only where the file has disk blocks, and of entries
 *       read: the head's front is allocated when it is made, a step of bits
 *       before one is set in it, a block of entries before its bit is set
 *   (2) the file shrinks, and begins anew, only under somebody who is alone;
 *       of what it holds from before, `void_pending` and `supers` alone are kept.
 *       Slots of ring and pins say nothing before somebody fills them: what is
 *       cleared is the header and the bits
 *   (3) a ring slot is not rewritten before RAMET_RING_SLOTS publications;
 *       who copies one starts over when half of them went by meanwhile. Its words
 *       are atomic and in no order: the release fence before the first of them and
 *       the acquire fence after the last copied make who saw a new word see a
 *       `newest` of after the old number, too
 *   (4) where a chunk is mapped is stored once, with release, when it is there, and
 *       stays as long as the replica: an acquiring load is enough. A block's bit is
 *       set in the same way, after its disk blocks
 */
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/shared/base.h"
#include "client/store/shared/replica.h"
#include "core/bytes.h"

#define INDEX_NAME "index"
#define CHUNK_SIZE ((size_t)RAMET_CHUNK_ENTRIES * sizeof(uint64_t))
#define CHUNK_TABLE_SIZE (RAMET_CHUNK_COUNT * sizeof(_Atomic uint64_t *))
#define BLOCK_SIZE ((uint64_t)sizeof(uint64_t) << RAMET_BLOCK_BITS)
#define LAYOUT                                                                 \
    ((uint64_t)sizeof(struct ramet_index_head) << 32 |                         \
     sizeof(struct ramet_published) << 16 | 12)

static const uint8_t magic[8] = {'R', 'A', 'M', 'T', 'I', 'D', 'X', 1};

/* Where the chunk's memory is noted, for all of 2^32 pages. The replica's mutex;
 * NULL: no memory. */
static _Atomic(_Atomic uint64_t *) *
note_of_chunk(struct ramet_replica *replica, uint32_t chunk)
{
    const struct ramet_os *const os = replica->os;
    void *at = (void *)atomic_load(&replica->far_chunks);

    assert(chunk < RAMET_CHUNK_COUNT);
    if (chunk < RAMET_NEAR_CHUNKS)
        return &replica->near_chunks[chunk];
    if (at == NULL) { /* of memory that is there once it is touched */
        if (os->map(os->ctx, -1, 0, CHUNK_TABLE_SIZE, true, &at) < 0)
            return NULL;
        atomic_store_explicit(&replica->far_chunks, at, memory_order_release);
    }
    return &((_Atomic(_Atomic uint64_t *) *)at)[chunk];
}

static enum ramet_rc
map_head(struct ramet_replica *replica, int fd, bool writable,
         struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    void *at = NULL;
    const int result =
        os->map(os->ctx, fd, 0, RAMET_INDEX_ENTRIES_OFFSET, writable, &at);

    assert(replica->head == NULL);
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "map the index of %s", replica->path);
    replica->head = at;
    return RAMET_OK;
}

/* The front's blocks and no others: entries are not there before they are
 * reserved, and bits for so many pages neither. */
static int
resize_file(const struct ramet_replica *replica, int fd,
            const struct ramet_os_stat *st)
{
    const struct ramet_os *const os = replica->os;
    int result = 0;

    assert(fd >= 0);
    if (st->size_bytes == RAMET_INDEX_ENTRIES_OFFSET &&
        st->block_bytes >= RAMET_INDEX_FRONT)
        return 0;
    if (st->size_bytes > RAMET_INDEX_ENTRIES_OFFSET)
        result = os->truncate(os->ctx, fd, RAMET_INDEX_ENTRIES_OFFSET);
    if (result == 0)
        result = os->allocate(os->ctx, fd, 0, RAMET_INDEX_FRONT);
    if (result == 0 && st->size_bytes < RAMET_INDEX_ENTRIES_OFFSET)
        result = os->truncate(os->ctx, fd, RAMET_INDEX_ENTRIES_OFFSET);
    return result;
}

/* A word of the file's head; 0 if that can't be had. */
static uint64_t
read_word(const struct ramet_replica *replica, uint64_t offset)
{
    const struct ramet_os *const os = replica->os;
    const int fd = ramet_rights_open(os, replica->dir_fd, INDEX_NAME, O_RDONLY);
    uint64_t word = 0;
    size_t got = 0;

    assert(offset % sizeof(word) == 0 &&
           offset + sizeof(word) <= RAMET_INDEX_ENTRIES_OFFSET);
    if (fd < 0)
        return 0;
    if (ramet_os_read_some(os, fd, &word, sizeof(word), offset, &got,
                           INDEX_NAME, NULL) != RAMET_OK ||
        got != sizeof(word))
        word = 0;
    os->close(os->ctx, fd);
    return word;
}

uint64_t
ramet_index_void_pending(const struct ramet_replica *replica)
{
    /* What an index of another layout has there is the word of no record. */
    return read_word(
        replica, offsetof(struct ramet_index_head, header.log.void_pending));
}

int64_t
ramet_index_seen_ctime(const struct ramet_replica *replica)
{
    /* ... and no time at which anything happened. */
    return (int64_t)read_word(
        replica, offsetof(struct ramet_index_head, header.base.seen_ctime));
}

static bool
is_head_right(const struct ramet_replica *replica)
{
    const struct ramet_index_header *const header = &replica->head->header;

    assert(replica->head != NULL);
    return memcmp(header->magic, magic, sizeof(magic)) == 0 &&
           header->layout == LAYOUT &&
           memcmp(header->base_id, replica->base_id.bytes, RAMET_ID_SIZE) == 0;
}

/* No block of entries is there any more. Most bits are 0 already: to read is
 * cheaper than to write, and to ask for holes cheaper still. */
static void
clear_bits(const struct ramet_replica *replica, int fd)
{
    static const uint8_t zeros[RAMET_BITS_STEP];
    const struct ramet_os *const os = replica->os;
    uint8_t *const bytes = (uint8_t *)replica->head->blocks;
    size_t end = sizeof(replica->head->blocks);

    if (os->seek_data(os->ctx, fd, RAMET_INDEX_FRONT) == -ENXIO)
        end = RAMET_BITS_STEP;
    for (size_t at = 0; at < end; at += RAMET_BITS_STEP)
        if (memcmp(bytes + at, zeros, RAMET_BITS_STEP) != 0)
            memset(bytes + at, 0, RAMET_BITS_STEP);
}

/* A void that is pending stays so (void.c), without a moment in between. */
static void
begin_head(struct ramet_replica *replica)
{
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_index_header begun;

    assert(replica->has_own_index ||
           ramet_is_alone(replica)); /* invariant (2) */
    memset(&begun, 0, sizeof(begun));
    memcpy(begun.magic, magic, sizeof(magic));
    begun.layout = LAYOUT;
    memcpy(begun.base_id, replica->base_id.bytes, RAMET_ID_SIZE);
    if (is_head_right(replica)) {
        atomic_init(&begun.log.void_pending,
                    atomic_load(&header->log.void_pending));
        atomic_init(&begun.all.supers, atomic_load(&header->all.supers));
    }
    memcpy((void *)header, (const void *)&begun, sizeof(begun));
}

enum ramet_rc
ramet_index_create(struct ramet_replica *replica, int *out_fd,
                   int64_t *out_seen_ctime, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st = {.size_bytes = 0};
    int fd = -1;
    enum ramet_rc rc = RAMET_OK;

    assert(replica->head == NULL);
    if (!replica->has_own_index) {
        int result;

        fd = ramet_dir_open_or_make_look(os, replica->dir_fd, INDEX_NAME, &st);
        result = fd < 0 ? fd : resize_file(replica, fd, &st);
        if (result < 0)
            rc = RAMET_FAIL_OS(err, result, "create the index of %s",
                               replica->path);
    }
    if (rc == RAMET_OK)
        rc = map_head(replica, fd, true, err);
    if (rc != RAMET_OK) {
        if (fd >= 0)
            os->close(os->ctx, fd);
        return rc;
    }
    *out_seen_ctime =
        is_head_right(replica)
            ? (int64_t)atomic_load(&replica->head->header.base.seen_ctime)
            : 0;
    if (st.size_bytes != 0)
        clear_bits(replica, fd);
    begin_head(replica);
    *out_fd = fd;
    return RAMET_OK;
}

enum ramet_rc
ramet_index_map(struct ramet_replica *replica, bool writable,
                struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;
    enum ramet_rc rc;
    const int fd = ramet_rights_open_look(os, replica->dir_fd, INDEX_NAME,
                                          writable ? O_RDWR : O_RDONLY, &st);

    assert(replica->head == NULL && replica->index_fd < 0);
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "open the index of %s", replica->path);
    if (st.size_bytes < RAMET_INDEX_ENTRIES_OFFSET) {
        os->close(os->ctx, fd);
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%s: the index file is too short", replica->path);
    }
    replica->index_fd = fd;
    rc = map_head(replica, fd, writable, err);
    if (rc == RAMET_OK && !is_head_right(replica))
        rc = RAMET_FAIL(err, RAMET_ENOTFOUND,
                        "%s: the index is of another version", replica->path);
    if (rc != RAMET_OK)
        ramet_index_unmap(replica);
    return rc;
}

void
ramet_index_unmap(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    void *const far_chunks = (void *)atomic_load(&replica->far_chunks);

    assert(replica->chunk_end <= RAMET_CHUNK_COUNT);
    for (uint32_t i = 0; i < replica->chunk_end; i++) {
        _Atomic uint64_t *const chunk = ramet_index_chunk(replica, i);

        if (chunk != NULL)
            os->unmap(os->ctx, (void *)(uintptr_t)chunk, CHUNK_SIZE);
    }
    if (far_chunks != NULL)
        os->unmap(os->ctx, far_chunks, CHUNK_TABLE_SIZE);
    atomic_store(&replica->far_chunks, NULL);
    for (uint32_t i = 0; i < RAMET_NEAR_CHUNKS; i++)
        atomic_init(&replica->near_chunks[i], NULL);
    replica->chunk_end = 0;
    if (replica->head != NULL)
        os->unmap(os->ctx, replica->head, RAMET_INDEX_ENTRIES_OFFSET);
    replica->head = NULL;
    if (replica->index_fd >= 0)
        os->close(os->ctx, replica->index_fd);
    replica->index_fd = -1;
}

/* Its descriptor, under the mutex: it is opened again where it was let go of. */
static int
index_file(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;
    int fd;

    assert(!replica->has_own_index);
    if (replica->index_fd >= 0)
        return replica->index_fd;
    fd = ramet_rights_open(os, replica->dir_fd, INDEX_NAME,
                           replica->is_readonly ? O_RDONLY : O_RDWR);
    if (fd < 0)
        return fd;
    if (os->stat(os->ctx, fd, &st) < 0 || st.inode != replica->index_inode ||
        st.device != replica->index_device) {
        os->close(os->ctx, fd);
        return -ESTALE; /* somebody replaced it under us */
    }
    replica->index_fd = fd;
    return fd;
}

void
ramet_index_sync(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    int fd = -1;

    ramet_mutex_lock(&replica->mutex);
    if (!replica->has_own_index)
        fd = index_file(replica);
    ramet_mutex_unlock(&replica->mutex);
    if (fd >= 0 && os->sync(os->ctx, fd) == 0)
        os->sync(os->ctx, replica->dir_fd); /* its name may be new */
}

void
ramet_index_let_go(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;

    assert(ramet_may_publish(replica) && ramet_may_write_base(replica));
    ramet_mutex_lock(&replica->mutex);
    if (replica->index_fd >= 0 && !replica->has_own_index &&
        os->stat(os->ctx, replica->index_fd, &st) == 0) {
        replica->index_device = st.device;
        replica->index_inode = st.inode;
        os->close(os->ctx, replica->index_fd);
        replica->index_fd = -1;
    }
    ramet_mutex_unlock(&replica->mutex);
}

_Atomic uint64_t *
ramet_index_far_chunk(const struct ramet_replica *replica, uint32_t chunk)
{
    _Atomic(_Atomic uint64_t *) *const far_chunks =
        atomic_load_explicit(&replica->far_chunks, memory_order_acquire);

    assert(chunk >= RAMET_NEAR_CHUNKS && chunk < RAMET_CHUNK_COUNT);
    return far_chunks == NULL
               ? NULL
               : atomic_load_explicit(&far_chunks[chunk], memory_order_acquire);
}

_Atomic uint64_t *
ramet_index_map_chunk(struct ramet_replica *replica, uint32_t chunk)
{
    const struct ramet_os *const os = replica->os;
    _Atomic(_Atomic uint64_t *) *note;
    void *at;

    ramet_mutex_lock(&replica->mutex);
    note = note_of_chunk(replica, chunk);
    at = note == NULL ? NULL : (void *)(uintptr_t)atomic_load(note);
    if (note != NULL && at == NULL) {
        const uint64_t offset =
            RAMET_INDEX_ENTRIES_OFFSET + (uint64_t)chunk * CHUNK_SIZE;
        const int fd = replica->has_own_index ? -1 : index_file(replica);

        if ((fd < 0 && !replica->has_own_index) ||
            os->map(os->ctx, fd, fd < 0 ? 0 : offset, CHUNK_SIZE,
                    replica->has_own_index || !replica->is_readonly, &at) < 0)
            at = NULL;
        else if (chunk >= replica->chunk_end)
            replica->chunk_end = chunk + 1;
        atomic_store_explicit(note, at, memory_order_release);
    }
    assert(at == NULL || chunk < replica->chunk_end);
    ramet_mutex_unlock(&replica->mutex);
    return at;
}

/* By invariant (1). */
static int
allocate_block(const struct ramet_replica *replica, int fd, uint64_t block)
{
    const struct ramet_os *const os = replica->os;
    const uint64_t bit_at = offsetof(struct ramet_index_head, blocks) +
                            block / 8 / RAMET_BITS_STEP * RAMET_BITS_STEP;
    int result = 0;

    assert(fd >= 0 && block / 64 < RAMET_BLOCK_WORDS);
    if (bit_at >= RAMET_INDEX_FRONT)
        result = os->allocate(os->ctx, fd, bit_at, RAMET_BITS_STEP);
    return result < 0
               ? result
               : os->allocate(os->ctx, fd,
                              RAMET_INDEX_ENTRIES_OFFSET + block * BLOCK_SIZE,
                              BLOCK_SIZE);
}

static enum ramet_rc
reserve_at(struct ramet_replica *replica, uint64_t at, struct ramet_err *err)
{
    const uint64_t block = at >> RAMET_BLOCK_BITS;
    _Atomic uint64_t *const word = &replica->head->blocks[block / 64];
    const uint64_t bit = UINT64_C(1) << (block % 64);

    assert(replica->has_own_index || !replica->is_readonly);
    if ((atomic_load_explicit(word, memory_order_acquire) & bit) == 0) {
        int result = 0;

        if (!replica->has_own_index) {
            ramet_mutex_lock(&replica->mutex);
            result = index_file(replica);
            ramet_mutex_unlock(&replica->mutex);
            if (result >= 0) /* it stays open: see ramet_index_let_go() */
                result = allocate_block(replica, result, block);
        }
        if (result < 0)
            return RAMET_FAIL_OS(err, result, "index of %s", replica->path);
        atomic_fetch_or_explicit(word, bit, memory_order_acq_rel);
    }
    if (ramet_index_slot_at(replica, at) == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "map the index of %s",
                          replica->path);
    return RAMET_OK;
}

enum ramet_rc
ramet_index_reserve(struct ramet_replica *replica, uint32_t pgno,
                    struct ramet_err *err)
{
    assert(pgno >= 1);
    return reserve_at(replica, ramet_index_entry_slot(pgno), err);
}

enum ramet_rc
ramet_index_reserve_retained(struct ramet_replica *replica, uint32_t pgno,
                             struct ramet_err *err)
{
    assert(pgno >= 1);
    return reserve_at(replica, ramet_index_retained_slot(pgno), err);
}

/* ---- the ring ------------------------------------------------------------ */

void
ramet_index_copy(const struct ramet_replica *replica, uint64_t number,
                 struct ramet_published *out)
{
    _Atomic uint64_t *const slot =
        replica->head->ring[number % RAMET_RING_SLOTS];

    assert(replica->head != NULL);
    for (size_t i = 0; i < sizeof(*out) / 8; i++) {
        const uint64_t word =
            atomic_load_explicit(&slot[i], memory_order_relaxed);

        memcpy((uint8_t *)out + i * 8, &word, 8);
    }
}

uint64_t
ramet_index_newest(const struct ramet_replica *replica,
                   struct ramet_published *out)
{
    const struct ramet_index_header *const header = &replica->head->header;

    for (;;) { /* invariant (3) */
        const uint64_t number =
            atomic_load_explicit(&header->log.newest, memory_order_acquire);

        ramet_index_copy(replica, number, out);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&header->log.newest, memory_order_relaxed) -
                number <
            RAMET_RING_SLOTS / 2)
            return number;
    }
}

void
ramet_index_publish(struct ramet_replica *replica,
                    const struct ramet_published *next)
{
    struct ramet_index_header *const header = &replica->head->header;
    const uint64_t number =
        atomic_load_explicit(&header->log.newest, memory_order_relaxed) + 1;
    _Atomic uint64_t *const slot =
        replica->head->ring[number % RAMET_RING_SLOTS];
    assert(ramet_may_publish(replica));
    assert(!ramet_pos_is_none(next->snapshot.tail)); /* a pin of 0 is none */
    /* Whoever sees a word of this slot sees that its old number is not valid any more. */
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < sizeof(*next) / 8; i++) {
        uint64_t word;

        memcpy(&word, (const uint8_t *)next + i * 8, 8);
        atomic_store_explicit(&slot[i], word, memory_order_relaxed);
    }
    atomic_store_explicit(&header->log.newest, number, memory_order_release);
}

bool
ramet_log_is_empty(const struct ramet_replica *replica)
{
    const struct ramet_index_header *const header = &replica->head->header;
    const struct ramet_pos pos = ramet_pos_load(&header->log.write_pos);

    return ramet_pos_file(pos) == atomic_load(&header->checkpoint.oldest) &&
           ramet_pos_offset(pos) == RAMET_FRAME_FILE_HEADER_SIZE &&
           ramet_pos_file(ramet_pos_load(&header->fetched.pos)) ==
               atomic_load(&header->fetched.oldest) &&
           ramet_pos_offset(ramet_pos_load(&header->fetched.pos)) ==
               RAMET_FRAME_FILE_HEADER_SIZE;
}

void
ramet_index_begin(struct ramet_replica *replica,
                  const struct ramet_state_file *state)
{
    struct ramet_index_header *const header = &replica->head->header;
    const struct ramet_snapshot *const s = &state->fold.newest;
    struct ramet_published first;

    assert(state->oldest_log >= 1 && state->oldest_fetched >= 1);
    assert(replica->has_own_index || ramet_is_alone(replica));
    memset(&first, 0, sizeof(first));
    first.snapshot.seq = s->seq;
    first.snapshot.tail = s->tail;
    first.snapshot.page_size = s->page_size;
    first.snapshot.page_count = s->page_count;
    first.snapshot.byte_length = s->byte_length;
    first.snapshot.counter = s->counter;
    first.snapshot.lsn = s->lsn;
    first.snapshot.lsn_hash = s->lsn_hash;
    first.snapshot.remote_page_count = s->remote_page_count;
    memcpy(first.snapshot.header, s->header, sizeof(s->header));
    first.snapshot.pages_seq = first.snapshot.schema_seq = s->seq;
    first.sum = state->fold.record_sum;
    first.lsn_time_ms = state->fold.lsn_time_ms;
    header->first_seq = s->seq;
    header->first_tail = s->tail;
    atomic_store(&header->checkpoint.oldest, state->oldest_log);
    atomic_store(&header->fetched.oldest, state->oldest_fetched);
    ramet_pos_store(&header->fetched.pos,
                    ramet_pos_first(state->oldest_fetched));
    ramet_pos_store(&header->log.write_pos,
                    ramet_pos_file(s->tail) >= state->oldest_log
                        ? s->tail
                        : ramet_pos_first(state->oldest_log));
    atomic_store(&header->all.named_log, state->kept_log);
    ramet_pos_store(&header->retained.pos, ramet_pos_first(1));
    atomic_store(&header->retained.oldest, 1);
    atomic_store(&header->base.stamp, 1);
    atomic_store(&header->checkpoint.page_count, state->base_page_count);
    atomic_store(&header->checkpoint.page_size, state->base_page_size);
    atomic_store(&header->base.is_unsummed, state->is_unsummed);
    atomic_store(&header->base.absent, 0); /* clean; else they are counted */
    atomic_store(&header->all.absent_now, 0);
    atomic_store(&header->base.is_unsynced, state->unsynced.count != 0);
    atomic_store(&header->log.high_water, s->page_count > state->base_page_count
                                              ? s->page_count
                                              : state->base_page_count);
    ramet_pos_store(&header->log.lsn_tail, s->tail);
    ramet_pos_store(&header->log.sync_tail, s->tail);
    atomic_store(&header->base.mark_next, state->mark_next);
    ramet_base_header_set(replica, s->header);
    ramet_index_publish(replica, &first);
}
