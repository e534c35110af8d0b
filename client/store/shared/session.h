/*
 * session.h - struct ramet_session: one handle on a replica.
 *
 *   (1) a session is used by one thread at a time; only `epoch` is read by others.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_SESSION_H
#define RAMET_CLIENT_STORE_SHARED_SESSION_H

#include <assert.h>

#include "client/store/format/writeset.h"
#include "client/store/shared/index.h"

struct ramet_ahead;
struct ramet_state_file;

/* Take ids and defaults from the state. */
void ramet_replica_adopt_state(struct ramet_replica *replica,
                               const struct ramet_state_file *state);

#define RAMET_NO_SLOT UINT32_MAX
#define RAMET_BUFFER_MAX (1u << 20)    /* then it is spilled */
#define RAMET_BUFFER_KEEP (160u << 10) /* an idle session's */

/* Where a complete record stands, and what makes it void. */
struct ramet_record_span {
    struct ramet_pos start;
    struct ramet_pos trailer_pos;
    struct ramet_pos tail;
    uint64_t void_offset; /* of the void word, in the trailer */
    uint64_t void_value;
};

static inline struct ramet_record_span
ramet_record_span_of(const struct ramet_trailer *trailer)
{
    return (struct ramet_record_span){
        .start = trailer->start,
        .trailer_pos = trailer->pos,
        .tail = trailer->tail,
        .void_offset = ramet_trailer_void_offset(trailer),
        .void_value = ramet_trailer_void_value(trailer),
    };
}

struct ramet_prepared {
    bool is_set;    /* a record is in the log, not published */
    bool is_synced; /* and on disk */
    bool is_void;   /* ... it was, and another one takes its place */
    struct ramet_record_span span;
    struct ramet_published after;
    uint32_t least_page_count; /* the record's */
    struct ramet_trailer trailer;
    bool raised_barrier; /* for a change of page size; to be lowered again */
    unsigned marks;      /* ramet_record_marks() */
};

struct ramet_session {
    struct ramet_replica *replica;
    struct ramet_session *next; /* replica's list */
    int lock_fd;
    uint32_t held; /* its exclusive locks, a bit for each byte; see locks.h */
    uint32_t slot;
    bool is_internal; /* the maintenance thread's: no live lock, no slot */
    bool is_readonly;
    const struct ramet_waiter *patience; /* NULL: its own */
    _Atomic uint64_t epoch;              /* 0: in no read */

    bool is_pinned;
    bool is_reserved;
    bool has_entered; /* an epoch, as it was reserved */
    bool has_barrier;
    bool is_closing; /* the last one: no file is made for the next */
    bool has_left;   /* there is no replica any more: detach.c */
    uint64_t number; /* of `pin` in the ring; 0: none copied yet */
    struct ramet_published pin;
    struct ramet_published peek;
    struct ramet_pos_word *pin_word;
    struct ramet_pos_word
        own_word;              /* stands in for the slot if there is none */
    uint8_t *scratch;          /* RAMET_PAGE_SIZE_MAX, made when needed */
    struct ramet_ahead *ahead; /* read ahead of a scan, while pinned */
    uint32_t scan_next;        /* the page that would continue the scan */
    uint32_t scan_count;       /* pages that were read at once last */

    /* A transaction: valid while is_reserved. */
    bool has_writes;
    bool must_compare;  /* pages equal to the snapshot's may be among them */
    bool has_record;    /* rec_start and buf_pos are set */
    uint32_t page_size; /* of the writes; 0: not chosen */
    uint64_t size;      /* bytes, as this session sees it */
    uint32_t least_page_count;
    struct ramet_cid doubt; /* the commit will be in doubt, as that; or nil */
    uint32_t own_high;      /* highest page written since reserve */
    struct ramet_pos rec_start;
    struct ramet_pos buf_pos; /* position of buf[0] */
    uint8_t *buf;
    size_t buf_len;
    size_t buf_capacity;
    size_t buf_fixed; /* bytes that were to be spilled, which failed: they are
                         not changed any more */
    uint64_t spilled_count; /* frames before buf_pos, and their sum */
    uint64_t spilled_sum;
    struct ramet_writeset writes;
    struct ramet_prepared prepared;
    bool prepared_is_stale; /* there are writes that it does not have */
    bool truncated_after;   /* ... the record was prepared */
    struct ramet_pos
        extended_to; /* position; the log's file is that long at least */
};

/* Has it written what is not published? Then what it reads is no snapshot's, and
 * says nothing of the base. */
static inline bool
ramet_session_has_own(const struct ramet_session *session)
{
    return session->has_writes || session->prepared.is_set;
}

RAMET_NODISCARD enum ramet_rc
ramet_fail_forked(const struct ramet_session *session, struct ramet_err *err);

/* A child of fork() has no business with its parent's sessions: whatever of
 * store.h acts on one asks this first. */
static inline bool
ramet_session_is_parents(const struct ramet_session *session)
{
    return session->replica->fork_count != ramet_os_fork_count();
}

RAMET_NODISCARD static inline enum ramet_rc
ramet_session_check_fork(const struct ramet_session *session,
                         struct ramet_err *err)
{
    return ramet_session_is_parents(session) ? ramet_fail_forked(session, err)
                                             : RAMET_OK;
}

/* In an epoch no descriptor that was looked up is closed. True: entered here,
 * to be left by ramet_epoch_leave(). A transaction is one; a pin is none, for it may
 * stay for hours, and what is retired meanwhile may be hundreds of files. */
bool ramet_epoch_enter(struct ramet_session *session);
void ramet_epoch_leave(struct ramet_session *session, bool entered);
uint8_t *
ramet_session_scratch(struct ramet_session *session, struct ramet_err *err);
/* In the replica's list, whose epochs keep descriptors open. */
void ramet_session_enter(struct ramet_session *session);
void ramet_session_leave(struct ramet_session *session);
RAMET_NODISCARD enum ramet_rc
ramet_session_new(struct ramet_replica *replica, bool is_internal,
                  struct ramet_session **out_session, struct ramet_err *err);
void ramet_session_free(struct ramet_session *session);
enum ramet_rc
ramet_session_take_slot(struct ramet_session *session, struct ramet_err *err);

#endif
