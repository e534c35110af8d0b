/*
 * retain.c - what a checkpoint keeps for the readers that it passes; by
 * the invariants of retained.c.
 */
#include "client/store/upkeep/retain.h"

#include <assert.h>

#include "client/store/page/retained.h"
#include "client/store/page/version.h"
#include "client/store/shared/base.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"

#define SLACK_BYTES (16u << 20)

/* ---- a page -------------------------------------------------------------- */

/* A version of a page, and the pins that see it. */
struct span {
    struct ramet_entry found; /* 0: one that is retained already, or none */
    struct ramet_pos least, most;
    bool is_wanted; /* the base won't have it */
};

static enum ramet_rc
locate(const struct ramet_retain_job *job, struct ramet_pos tail, uint32_t pgno,
       uint8_t *page, struct ramet_page_version *out, struct ramet_err *err)
{
    assert(ramet_holds(job->session, RAMET_LOCK_CHECKPOINT));
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
is_of_other_size(const struct ramet_retain_job *job, struct ramet_entry entry)
{
    const enum ramet_entry_kind kind = ramet_entry_kind(entry);
    struct ramet_frame_file *file;

    assert(ramet_page_size_ok(job->page_size));
    if (is_in_base(entry))
        return job->base_page_size != job->page_size;
    return ramet_frame_file_get(job->session->replica,
                                kind == RAMET_ENTRY_FETCHED
                                    ? RAMET_FRAMES_FETCHED
                                    : RAMET_FRAMES_LOG,
                                ramet_pos_file(ramet_entry_pos(entry)), &file,
                                NULL) == RAMET_OK &&
           file->page_size != job->page_size;
}

static enum ramet_rc
take_from_base(struct ramet_retain_job *job, struct ramet_retained_frame *frame,
               struct ramet_err *err)
{
    struct ramet_replica *const replica = job->session->replica;
    uint64_t value;
    enum ramet_rc rc =
        ramet_base_read(replica, job->page_size, frame->pgno, job->page, err);

    assert(ramet_holds(job->session, RAMET_LOCK_BASE));
    if (rc == RAMET_OK)
        rc = ramet_presence_read(replica, frame->pgno, 1, &value, err);
    if (rc != RAMET_OK)
        return rc;
    frame->kind = RAMET_ENTRY_IMAGE;
    frame->page_hash = ramet_hash64(job->page, job->page_size);
    /* What rotted in the base gets no right checksum here: its readers are told. */
    if (ramet_presence_is_sum(value) &&
        ramet_presence_sum(frame->pgno, job->page, job->page_size) != value)
        frame->page_hash = ~frame->page_hash;
    return RAMET_OK;
}

/* Kind and, of an image, page and hash. */
static enum ramet_rc
take_version(struct ramet_retain_job *job, const struct span *span,
             struct ramet_retained_frame *frame, struct ramet_err *err)
{
    struct ramet_page_version version;
    enum ramet_rc rc;

    assert(ramet_holds(job->session, RAMET_LOCK_CHECKPOINT));
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
keep_span(struct ramet_retain_job *job, uint32_t pgno, const struct span *span,
          struct ramet_err *err)
{
    struct ramet_replica *const replica = job->session->replica;
    struct ramet_retained_frame frame = {
        .pgno = pgno, .least = span->least, .most = span->most};
    _Atomic uint64_t *word;
    enum ramet_rc rc;

    assert(!span->is_wanted || !ramet_pos_before(span->most, span->least));
    assert(ramet_holds(job->session, RAMET_LOCK_BASE));
    if (!span->is_wanted)
        return RAMET_OK;
    rc = take_version(job, span, &frame, err);
    if (rc == RAMET_OK)
        rc = ramet_index_reserve_retained(replica, pgno, err);
    if (rc != RAMET_OK)
        return rc;
    word = ramet_retained_word(replica, pgno);
    frame.before = (struct ramet_pos){atomic_load(word)};
    if (ramet_retained_is_retired(replica, frame.before))
        frame.before = RAMET_NO_POS;
    rc = ramet_retained_append(job->session->replica, job->page_size, &frame,
                               job->page, err);
    if (rc == RAMET_OK)
        atomic_store(word, frame.pos.raw);
    return rc;
}

/* The entry of what the base will have; 0: that is retained itself, or the
 * page is cut off. */
static enum ramet_rc
locate_at_end(struct ramet_retain_job *job, uint32_t pgno,
              struct ramet_entry *out_found, struct ramet_err *err)
{
    struct ramet_page_version version;
    struct ramet_entry entry;
    /* Under the base lock, which a read would take to load the entry. */
    enum ramet_rc rc = ramet_index_load_locked(job->session, pgno, &entry, err);

    assert(pgno >= 1);
    *out_found = RAMET_NO_ENTRY;
    if (rc != RAMET_OK || pgno > job->page_count)
        return rc;
    rc = locate(job, job->end, pgno, NULL, &version, err);
    if (rc == RAMET_OK)
        *out_found = version.found;
    return rc;
}

static enum ramet_rc
keep_page(struct ramet_retain_job *job, uint32_t pgno, struct ramet_err *err)
{
    struct span span = {.is_wanted = false};
    struct ramet_entry at_end;
    enum ramet_rc rc = locate_at_end(job, pgno, &at_end, err);

    assert(ramet_holds(job->session, RAMET_LOCK_BASE));
    if (rc != RAMET_OK || is_in_base(at_end)) /* there it stays */
        return rc;
    for (unsigned i = 0; rc == RAMET_OK && i < job->pin_count; i++) {
        const struct ramet_pos tail = job->pins[i];
        struct ramet_page_version version;

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

/* ---- what is for readers that are gone ------------------------------------ */

static bool
is_needed(const struct ramet_retain_job *job,
          const struct ramet_retained_frame *frame)
{
    assert(job->pin_count <= RAMET_PIN_SLOTS + 1);
    for (unsigned i = 0; i < job->pin_count; i++)
        if (!ramet_pos_before(job->pins[i], frame->least) &&
            !ramet_pos_before(frame->most, job->pins[i]))
            return true;
    return false;
}

/* Those of the page's frames that somebody needs, in another order. */
static enum ramet_rc
pack_page(struct ramet_retain_job *job, uint32_t pgno, _Atomic uint64_t *word,
          struct ramet_err *err)
{
    struct ramet_replica *const replica = job->session->replica;
    struct ramet_pos at = (struct ramet_pos){atomic_load(word)};
    struct ramet_pos packed = RAMET_NO_POS;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(job->session, RAMET_LOCK_BASE));
    while (rc == RAMET_OK && !ramet_pos_is_none(at) &&
           !ramet_retained_is_retired(replica, at)) {
        struct ramet_retained_frame frame;
        struct ramet_frame_file *file;
        struct ramet_pos before = RAMET_NO_POS;

        rc = ramet_retained_read_header(replica, pgno, at, &frame, &file, err);
        if (rc == RAMET_OK)
            before = frame.before;
        if (rc == RAMET_OK && is_needed(job, &frame)) {
            if (frame.kind == RAMET_ENTRY_IMAGE)
                rc = ramet_retained_read_image(replica, &frame, file,
                                               job->page_size, job->page, err);
            frame.before = packed;
            if (rc == RAMET_OK)
                rc =
                    ramet_retained_append(job->session->replica, job->page_size,
                                          &frame, job->page, err);
            packed = frame.pos;
        }
        at = before;
    }
    if (rc == RAMET_OK)
        atomic_store(word, packed.raw);
    return rc;
}

static enum ramet_rc
pack_pages(struct ramet_retain_job *job, struct ramet_err *err)
{
    struct ramet_replica *const replica = job->session->replica;
    const uint64_t block = UINT64_C(1) << RAMET_BLOCK_BITS;
    enum ramet_rc rc = RAMET_OK;
    uint64_t p = 1;

    assert(ramet_holds(job->session, RAMET_LOCK_CHECKPOINT));
    while (rc == RAMET_OK && p <= UINT32_MAX) {
        const uint32_t pgno = (uint32_t)p;
        _Atomic uint64_t *word;

        if (!ramet_index_has_room(replica, ramet_index_retained_slot(pgno))) {
            p = ((p - 1) / block + 1) * block + 1;
            continue;
        }
        word = ramet_retained_word(replica, pgno);
        if (word == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "map the index of %s",
                            replica->path);
        else if (atomic_load(word) != 0)
            rc = pack_page(job, pgno, word, err);
        p++;
    }
    return rc;
}

/* What was kept for readers that are gone goes when it is most of the whole. */
static void
pack(struct ramet_retain_job *job)
{
    struct ramet_replica *const replica = job->session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const uint64_t size = atomic_load(&header->retained.size);
    uint64_t fresh;

    assert(ramet_holds(job->session, RAMET_LOCK_CHECKPOINT));
    if (size < 2 * atomic_load(&header->retained.packed) + SLACK_BYTES)
        return;
    fresh = ramet_retained_begin(header);
    if (pack_pages(job, NULL) != RAMET_OK) {
        /* As it was, and a little more: not again at once. */
        atomic_store(&header->retained.packed,
                     atomic_load(&header->retained.size));
        return;
    }
    ramet_retained_retire(replica, fresh);
    atomic_fetch_sub(&header->retained.size, size);
    atomic_store(&header->retained.packed, atomic_load(&header->retained.size));
}

/* ---- all of it ----------------------------------------------------------- */

enum ramet_rc
ramet_retain(struct ramet_retain_job *job, const struct ramet_pageset *pages,
             struct ramet_err *err)
{
    struct ramet_index_header *const header =
        &job->session->replica->head->header;
    enum ramet_rc rc = RAMET_OK;

    assert(job->page != NULL);
    assert(pages->run_count == 0 || ramet_page_size_ok(job->page_size));
    assert(ramet_holds(job->session, RAMET_LOCK_CHECKPOINT) &&
           ramet_holds(job->session, RAMET_LOCK_BASE));
    if (job->pin_count == 0)
        return RAMET_OK;
    assert(job->session->epoch != 0);
    /* From here on they look here, and find by (1) what is right. */
    ramet_pos_raise(&header->retained.tail, job->end);
    pack(job);
    for (size_t i = 0; rc == RAMET_OK && i < pages->run_count; i++)
        for (uint64_t p = pages->runs[i].first;
             rc == RAMET_OK && p <= pages->runs[i].last; p++)
            rc = keep_page(job, (uint32_t)p, err);
    atomic_thread_fence(memory_order_seq_cst); /* invariant (2) */
    return rc;
}
