/*
 * past.c - what a checkpoint keeps for readers that it passes.
 *
 * A reader that stays for long must not hold up the log. So a checkpoint moves
 * versions into the base that old pins don't see, and first copies what they
 * do see into a file of the past. An array in the index tells where the newest
 * frame of each page is, a frame where the one before it is, and for which
 * snapshots it holds.
 *
 *   (1) for each snapshot before `past_tail` that is read: where nothing is
 *       kept of a page, the base's version is its version too
 *   (2) so all that is to be kept is there before the first page of the base is
 *       overwritten, by whoever does it: a checkpoint that dies in between
 *       leaves nothing to be found out. Readers look at the base first
 *   (3) a frame is whole, and its place taken, before anything names it; then
 *       it never changes
 *   (4) nothing here outlives the readers: it is not synced, and the files go
 *       when the index is made anew
 */
#include "client/store/page/past.h"

#include <assert.h>
#include <string.h>

#include "client/store/format/logfile.h"
#include "client/store/page/version.h"
#include "client/store/shared/base.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/gens.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/pins.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"

#define SLACK_BYTES (16u << 20)
#define TRIES_MAX 1000u

/* Where the page's newest frame is; NULL: not mapped, or there is none. */
static _Atomic uint64_t *
word_of(struct ramet_replica *replica, uint32_t pgno)
{
    return ramet_index_slot_at(replica, ramet_index_past_place(pgno));
}

static bool
is_retired(const struct ramet_replica *replica, struct ramet_pos pos)
{
    atomic_thread_fence(memory_order_acquire); /* after what was read */
    return ramet_pos_gen(pos) < atomic_load(&replica->head->header.past.oldest);
}

static enum ramet_rc
damaged(const struct ramet_replica *replica, uint32_t pgno,
        struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "%s: page %u of an older snapshot fails its checksum",
                      replica->path, pgno);
}

static enum ramet_rc
read_header(struct ramet_replica *replica, uint32_t pgno, struct ramet_pos pos,
            struct ramet_pastframe *out, struct ramet_gen **out_gen,
            struct ramet_err *err)
{
    uint8_t raw[RAMET_PAST_HEADER_SIZE];
    enum ramet_rc rc = ramet_gen_get(replica, RAMET_GEN_PAST,
                                     ramet_pos_gen(pos), out_gen, err);

    if (rc == RAMET_OK)
        rc = ramet_os_read_full(replica->os, (*out_gen)->fd, raw, sizeof(raw),
                                ramet_pos_offset(pos), "past", err);
    if (rc == RAMET_OK &&
        (!ramet_pastframe_decode(raw, pos, (*out_gen)->salt, out) ||
         out->pgno != pgno))
        rc = damaged(replica, pgno, err);
    return rc;
}

static enum ramet_rc
read_image(struct ramet_replica *replica, const struct ramet_pastframe *frame,
           const struct ramet_gen *gen, uint32_t page_size, uint8_t *out,
           struct ramet_err *err)
{
    enum ramet_rc rc;

    if (gen->page_size != page_size)
        return damaged(replica, frame->pgno, err);
    rc = ramet_os_read_full(
        replica->os, gen->fd, out, page_size,
        ramet_pos_offset(frame->pos) + RAMET_PAST_HEADER_SIZE, "past", err);
    if (rc == RAMET_OK && ramet_hash64(out, page_size) != frame->page_hash)
        rc = damaged(replica, frame->pgno, err);
    return rc;
}

/* ---- looking ------------------------------------------------------------- */

struct search {
    struct ramet_replica *replica;
    struct ramet_pos tail;
    uint32_t page_size;
    uint32_t pgno;
    uint8_t *out;
    bool is_cut_off; /* the way led into a generation that is retired */
};

static enum ramet_rc
search_from(struct search *s, struct ramet_pos at,
            struct ramet_past_version *out, struct ramet_err *err)
{
    while (!ramet_pos_is_none(at)) {
        struct ramet_pastframe frame;
        struct ramet_gen *gen;
        bool is_it;
        enum ramet_rc rc;

        rc = read_header(s->replica, s->pgno, at, &frame, &gen, err);
        is_it = rc == RAMET_OK && !ramet_pos_before(s->tail, frame.least) &&
                !ramet_pos_before(frame.most, s->tail);
        if (is_it && s->out != NULL && frame.kind == RAMET_ENTRY_IMAGE)
            rc = read_image(s->replica, &frame, gen, s->page_size, s->out, err);
        s->is_cut_off = is_retired(s->replica, at);
        if (s->is_cut_off || rc != RAMET_OK)
            return rc;
        if (is_it) {
            out->kind = frame.kind;
            out->hash = frame.page_hash;
            return RAMET_OK;
        }
        at = frame.before;
    }
    s->is_cut_off = false;
    return RAMET_OK;
}

enum ramet_rc
ramet_past_find(struct ramet_replica *replica, struct ramet_pos tail,
                uint32_t page_size, uint32_t pgno, uint8_t *out,
                struct ramet_past_version *out_version, struct ramet_err *err)
{
    struct search s = {replica, tail, page_size, pgno, out, false};
    _Atomic uint64_t *word;
    enum ramet_rc rc;

    out_version->kind = RAMET_ENTRY_NONE;
    if (!ramet_past_counts(replica, tail))
        return RAMET_OK;
    if (!ramet_index_has_room(replica, ramet_index_past_place(pgno)))
        return RAMET_OK;
    word = word_of(replica, pgno);
    if (word == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "map the index of %s",
                          replica->path);
    for (unsigned i = 0; i < TRIES_MAX; i++) {
        const struct ramet_pos first = (struct ramet_pos){atomic_load(word)};

        rc = search_from(&s, first, out_version, err);
        if (!s.is_cut_off && rc != RAMET_ENOTFOUND)
            return rc;
        /* What was retired and not packed elsewhere is for nobody. */
        if (atomic_load(word) == first.raw)
            return s.is_cut_off ? RAMET_OK : damaged(replica, pgno, err);
    }
    return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: page %u can't be read in peace",
                      replica->path, pgno);
}

/* ---- appending ----------------------------------------------------------- */

/* The file that frames go to, made if need be. */
static enum ramet_rc
current_file(struct ramet_past_job *job, struct ramet_pos *out_pos,
             struct ramet_gen **out_gen, struct ramet_err *err)
{
    struct ramet_replica *const replica = job->session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_pos pos = ramet_pos_load(&header->past.pos);
    enum ramet_rc rc = RAMET_EEXIST;

    if (ramet_pos_offset(pos) < RAMET_GEN_OFFSET_MAX - 2 * RAMET_PAGE_SIZE_MAX)
        rc = ramet_gen_create(replica, RAMET_GEN_PAST, ramet_pos_gen(pos),
                              job->page_size, out_gen, err);
    if (rc == RAMET_EEXIST) { /* of another page size, or full */
        pos = ramet_pos_first(ramet_pos_gen(pos) + 1);
        ramet_pos_store(&header->past.pos, pos);
        rc = ramet_gen_create(replica, RAMET_GEN_PAST, ramet_pos_gen(pos),
                              job->page_size, out_gen, err);
    }
    *out_pos = pos;
    return rc;
}

/* Sets the frame's position. */
static enum ramet_rc
append(struct ramet_past_job *job, struct ramet_pastframe *frame,
       struct ramet_err *err)
{
    struct ramet_replica *const replica = job->session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const size_t size = ramet_pastframe_size(frame, job->page_size);
    uint8_t raw[RAMET_PAST_HEADER_SIZE];
    struct iovec iov[2] = {{raw, sizeof(raw)}, {job->page, job->page_size}};
    struct ramet_gen *gen;
    enum ramet_rc rc = current_file(job, &frame->pos, &gen, err);

    assert(ramet_holds(job->session, RAMET_LOCK_BASE));
    if (rc != RAMET_OK)
        return rc;
    ramet_pastframe_encode(raw, frame, gen->salt);
    rc = ramet_os_writev_full(replica->os, gen->fd, iov,
                              frame->kind == RAMET_ENTRY_IMAGE ? 2 : 1,
                              ramet_pos_offset(frame->pos), "past", err);
    if (rc != RAMET_OK)
        return rc;
    ramet_pos_store(&header->past.pos,
                    ramet_pos_add(frame->pos, size)); /* (3) */
    atomic_fetch_add(&header->past.size, size);
    return RAMET_OK;
}

/* ---- keeping ------------------------------------------------------------- */

/* A version of a page, and the pins that see it. */
struct span {
    struct ramet_entry found; /* 0: one that is in the past already, or none */
    struct ramet_pos least, most;
    bool is_wanted; /* the base won't have it */
};

static enum ramet_rc
locate(const struct ramet_past_job *job, struct ramet_pos tail, uint32_t pgno,
       uint8_t *page, struct ramet_version *out, struct ramet_err *err)
{
    return ramet_read_version(job->session, tail, job->page_size, pgno, page,
                              out, err);
}

static bool
is_in_base(struct ramet_entry entry)
{
    const enum ramet_entry_kind kind = ramet_entry_kind(entry);

    return kind == RAMET_ENTRY_HELD || kind == RAMET_ENTRY_ZERO ||
           kind == RAMET_ENTRY_ABSENT;
}

/* From before the page size changed. Who still has a pin from then sees an
 * empty file, and does not care. */
static bool
is_of_other_size(const struct ramet_past_job *job, struct ramet_entry entry)
{
    const enum ramet_entry_kind kind = ramet_entry_kind(entry);
    struct ramet_gen *gen;

    if (is_in_base(entry))
        return job->base_page_size != job->page_size;
    return ramet_gen_get(
               job->session->replica,
               kind == RAMET_ENTRY_FILL ? RAMET_GEN_FILL : RAMET_GEN_LOG,
               ramet_pos_gen(ramet_entry_pos(entry)), &gen, NULL) == RAMET_OK &&
           gen->page_size != job->page_size;
}

static enum ramet_rc
take_from_base(struct ramet_past_job *job, struct ramet_pastframe *frame,
               struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_base_read(
        job->session->replica, job->page_size, frame->pgno, job->page, err);

    if (rc != RAMET_OK)
        return rc;
    frame->kind = RAMET_ENTRY_IMAGE;
    frame->page_hash = ramet_hash64(job->page, job->page_size);
    return RAMET_OK;
}

/* Kind and, of an image, page and hash. */
static enum ramet_rc
take_version(struct ramet_past_job *job, const struct span *span,
             struct ramet_pastframe *frame, struct ramet_err *err)
{
    struct ramet_version version;
    enum ramet_rc rc;

    frame->kind = RAMET_ENTRY_ZERO;
    if (is_of_other_size(job, span->found))
        return RAMET_OK;
    if (ramet_entry_kind(span->found) == RAMET_ENTRY_HELD) /* (2): unchanged */
        return take_from_base(job, frame, err);
    rc = locate(job, span->most, frame->pgno, job->page, &version, err);
    if (rc != RAMET_OK || version.kind == RAMET_ENTRY_ZERO ||
        version.kind == RAMET_ENTRY_LOG_ZERO)
        return rc;
    if (version.kind == RAMET_ENTRY_ABSENT ||
        version.kind == RAMET_ENTRY_REMOTE) {
        frame->kind = RAMET_ENTRY_ABSENT;
        return RAMET_OK;
    }
    frame->kind = RAMET_ENTRY_IMAGE;
    frame->page_hash = version.has_hash
                           ? version.hash
                           : ramet_hash64(job->page, job->page_size);
    return RAMET_OK;
}

static enum ramet_rc
keep_span(struct ramet_past_job *job, uint32_t pgno, const struct span *span,
          struct ramet_err *err)
{
    struct ramet_replica *const replica = job->session->replica;
    struct ramet_pastframe frame = {
        .pgno = pgno, .least = span->least, .most = span->most};
    _Atomic uint64_t *word;
    enum ramet_rc rc;

    if (!span->is_wanted)
        return RAMET_OK;
    rc = take_version(job, span, &frame, err);
    if (rc == RAMET_OK)
        rc = ramet_index_reserve_past(replica, pgno, err);
    if (rc != RAMET_OK)
        return rc;
    word = word_of(replica, pgno);
    frame.before = (struct ramet_pos){atomic_load(word)};
    if (is_retired(replica, frame.before))
        frame.before = RAMET_NO_POS;
    rc = append(job, &frame, err);
    if (rc == RAMET_OK)
        atomic_store(word, frame.pos.raw);
    return rc;
}

/* The entry of what the base will have; 0: that is in the past itself, or the
 * page is cut off. */
static enum ramet_rc
locate_at_end(struct ramet_past_job *job, uint32_t pgno,
              struct ramet_entry *out_found, struct ramet_err *err)
{
    struct ramet_version version;
    struct ramet_entry entry;
    /* Under the base lock, which a read would take to load the entry. */
    enum ramet_rc rc = ramet_index_load_locked(job->session, pgno, &entry, err);

    *out_found = RAMET_NO_ENTRY;
    if (rc != RAMET_OK || pgno > job->page_count)
        return rc;
    rc = locate(job, job->end, pgno, NULL, &version, err);
    if (rc == RAMET_OK)
        *out_found = version.found;
    return rc;
}

static enum ramet_rc
keep_page(struct ramet_past_job *job, uint32_t pgno, struct ramet_err *err)
{
    struct span span = {.is_wanted = false};
    struct ramet_entry at_end;
    enum ramet_rc rc = locate_at_end(job, pgno, &at_end, err);

    if (rc != RAMET_OK || is_in_base(at_end)) /* there it stays */
        return rc;
    for (unsigned i = 0; rc == RAMET_OK && i < job->pin_count; i++) {
        const struct ramet_pos tail = job->pins[i];
        struct ramet_version version;

        if (!ramet_pos_before(tail, job->end))
            continue;
        if (!ramet_entry_in_log(span.found) ||
            !ramet_pos_before(ramet_entry_pos(span.found), tail)) {
            rc = locate(job, tail, pgno, NULL, &version, err);
            if (rc == RAMET_OK &&
                !ramet_entry_same(version.found, span.found)) {
                rc = keep_span(job, pgno, &span, err);
                span = (struct span){
                    .found = version.found,
                    .most = tail,
                    .is_wanted = !ramet_entry_is_none(version.found) &&
                                 !ramet_entry_same(version.found, at_end)};
            }
        }
        span.least = tail;
    }
    return rc == RAMET_OK ? keep_span(job, pgno, &span, err) : rc;
}

/* ---- packing ------------------------------------------------------------- */

static bool
is_needed(const struct ramet_past_job *job, const struct ramet_pastframe *frame)
{
    for (unsigned i = 0; i < job->pin_count; i++)
        if (!ramet_pos_before(job->pins[i], frame->least) &&
            !ramet_pos_before(frame->most, job->pins[i]))
            return true;
    return false;
}

/* Those of the page's frames that somebody needs, in another order. */
static enum ramet_rc
pack_page(struct ramet_past_job *job, uint32_t pgno, _Atomic uint64_t *word,
          struct ramet_err *err)
{
    struct ramet_replica *const replica = job->session->replica;
    struct ramet_pos at = (struct ramet_pos){atomic_load(word)};
    struct ramet_pos packed = RAMET_NO_POS;
    enum ramet_rc rc = RAMET_OK;

    while (rc == RAMET_OK && !ramet_pos_is_none(at) &&
           !is_retired(replica, at)) {
        struct ramet_pastframe frame;
        struct ramet_gen *gen;
        struct ramet_pos before = RAMET_NO_POS;

        rc = read_header(replica, pgno, at, &frame, &gen, err);
        if (rc == RAMET_OK)
            before = frame.before;
        if (rc == RAMET_OK && is_needed(job, &frame)) {
            if (frame.kind == RAMET_ENTRY_IMAGE)
                rc = read_image(replica, &frame, gen, job->page_size, job->page,
                                err);
            frame.before = packed;
            if (rc == RAMET_OK)
                rc = append(job, &frame, err);
            packed = frame.pos;
        }
        at = before;
    }
    if (rc == RAMET_OK)
        atomic_store(word, packed.raw);
    return rc;
}

static enum ramet_rc
pack_pages(struct ramet_past_job *job, struct ramet_err *err)
{
    struct ramet_replica *const replica = job->session->replica;
    const uint64_t block = UINT64_C(1) << RAMET_BLOCK_BITS;
    enum ramet_rc rc = RAMET_OK;
    uint64_t p = 1;

    while (rc == RAMET_OK && p <= UINT32_MAX) {
        const uint32_t pgno = (uint32_t)p;
        _Atomic uint64_t *word;

        if (!ramet_index_has_room(replica, ramet_index_past_place(pgno))) {
            p = ((p - 1) / block + 1) * block + 1;
            continue;
        }
        word = word_of(replica, pgno);
        if (word == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "map the index of %s",
                            replica->path);
        else if (atomic_load(word) != 0)
            rc = pack_page(job, pgno, word, err);
        p++;
    }
    return rc;
}

/* Generations before `fresh` are done with: no word leads there any more, or
 * nobody goes by it. Whoever dies in between leaves them to the next. */
static void
retire(struct ramet_replica *replica, uint64_t fresh)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_index_header *const header = &replica->head->header;
    const uint64_t oldest = atomic_load(&header->past.oldest);
    char name[32];

    for (uint64_t g = oldest; g < fresh; g++) {
        ramet_gen_name(RAMET_GEN_PAST, g, name);
        os->unlink(os->ctx, replica->dir_fd, name, false);
    }
    atomic_store(&header->past.oldest, fresh);
    ramet_gens_trim(replica);
}

/* A generation to begin with; returns its number. */
static uint64_t
begin_generation(struct ramet_index_header *header)
{
    const uint64_t fresh = ramet_pos_gen(ramet_pos_load(&header->past.pos)) + 1;

    ramet_pos_store(&header->past.pos, ramet_pos_first(fresh));
    return fresh;
}

/* What was kept for readers that are gone goes when it is most of the whole. */
static void
pack(struct ramet_past_job *job)
{
    struct ramet_replica *const replica = job->session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const uint64_t size = atomic_load(&header->past.size);
    uint64_t fresh;

    assert(ramet_holds(job->session, RAMET_LOCK_CHECKPOINT));
    if (size < 2 * atomic_load(&header->past.packed) + SLACK_BYTES)
        return;
    fresh = begin_generation(header);
    if (pack_pages(job, NULL) != RAMET_OK) {
        /* As it was, and a little more: not again at once. */
        atomic_store(&header->past.packed, atomic_load(&header->past.size));
        return;
    }
    retire(replica, fresh);
    atomic_fetch_sub(&header->past.size, size);
    atomic_store(&header->past.packed, atomic_load(&header->past.size));
}

/* ---- all of it ----------------------------------------------------------- */

enum ramet_rc
ramet_past_keep(struct ramet_past_job *job, const struct ramet_pageset *pages,
                struct ramet_err *err)
{
    struct ramet_index_header *const header =
        &job->session->replica->head->header;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(job->session, RAMET_LOCK_CHECKPOINT) &&
           ramet_holds(job->session, RAMET_LOCK_BASE));
    if (job->pin_count == 0)
        return RAMET_OK;
    assert(job->session->era != 0);
    /* From here on they look here, and find by (1) what is right. */
    ramet_pos_raise(&header->past.tail, job->end);
    pack(job);
    for (size_t i = 0; rc == RAMET_OK && i < pages->run_count; i++)
        for (uint64_t p = pages->runs[i].first;
             rc == RAMET_OK && p <= pages->runs[i].last; p++)
            rc = keep_page(job, (uint32_t)p, err);
    atomic_thread_fence(memory_order_seq_cst); /* invariant (2) */
    return rc;
}

void
ramet_past_trim(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const struct ramet_pos tail = ramet_pos_load(&header->past.tail);

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT) ||
           ramet_is_alone(replica));
    if (ramet_pos_same(ramet_pos_load(&header->past.pos),
                       ramet_pos_first(atomic_load(&header->past.oldest))) ||
        (session->is_pinned &&
         ramet_pos_before(session->pin.snapshot.tail, tail)) ||
        ramet_pos_before(ramet_index_least_pin(session, RAMET_NO_POS), tail))
        return;
    retire(replica, begin_generation(header));
    atomic_store(&header->past.size, 0);
    atomic_store(&header->past.packed, 0);
}
