/*
 * recover.c - from what is on disk to an index that agrees with it.
 *
 *   (1) the caller is alone: it holds the live byte exclusively
 *   (2) the log is applied record by record, in order, up to the first that is
 *       not complete; if one behind it says that the log was on disk past that
 *       place, more is damaged than a crash damages: RAMET_ECORRUPT
 *   (3) what was found in it is on disk before another record is written, which
 *       says so: who died cannot tell up to where it was
 */
#include "client/store/life/recover.h"

#include <assert.h>
#include <string.h>

#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/life/identity.h"
#include "client/store/log/log_damage.h"
#include "client/store/log/log_sync.h"
#include "client/store/log/logscan.h"
#include "client/store/log/publish.h"
#include "client/store/log/void.h"
#include "client/store/page/fetched.h"
#include "client/store/shared/base.h"
#include "client/store/shared/base_check.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/mark.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/shared/super.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define LOOK_SIZE (64u << 10)

/* ---- the log ------------------------------------------------------------- */

/* *out_go: the record counts and was applied. *io_end: past it, if it stays as
 * it is without counting. */
static enum ramet_rc
recover_record(struct ramet_session *session, struct ramet_scan *scan,
               bool *out_go, struct ramet_pos *io_end, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_record_span span = ramet_record_span_of(&scan->trailer);
    enum ramet_rc rc;

    assert(ramet_may_publish(replica));
    *out_go = false;
    if (ramet_is_void_pending(replica, &scan->trailer)) {
        *io_end = scan->trailer.tail;
        return RAMET_OK; /* whoever writes next makes it void */
    }
    if (ramet_trailer_in_doubt(&scan->trailer)) {
        ramet_pos_store(&replica->head->header.log.doubt, scan->trailer.start);
        *io_end = scan->trailer.tail;
        return RAMET_OK; /* whoever asks the remote ends that */
    }
    rc = ramet_super_decide(replica, &scan->trailer, out_go, err);
    if (rc != RAMET_OK || *out_go)
        return rc != RAMET_OK ? rc : ramet_apply_record(session, scan, err);
    rc = ramet_void_record(replica, &span, err);
    return rc == RAMET_OK ? ramet_super_forget(replica, &scan->trailer, err)
                          : rc;
}

/* Does a frame stand past `pos`, in the next `len` bytes of that file? If it can't
 * be told, yes. */
static bool
has_frames(struct ramet_replica *replica, struct ramet_pos pos, uint64_t len)
{
    struct ramet_frame_file *file;
    uint8_t *buf;
    size_t got = LOOK_SIZE;
    bool found;

    assert(ramet_is_alone(replica));
    if (ramet_frame_file_get(replica, RAMET_FRAMES_LOG, ramet_pos_file(pos),
                             &file, NULL) != RAMET_OK)
        return false;
    buf = ramet_alloc(LOOK_SIZE);
    found = buf == NULL;
    for (uint64_t at = 0; !found && at < len && got == LOOK_SIZE; at += got) {
        struct ramet_logframe frame;

        if (ramet_os_read_some(replica->os, file->fd, buf, LOOK_SIZE,
                               ramet_pos_offset(pos) + at, &got, "log",
                               NULL) != RAMET_OK)
            found = true;
        for (size_t i = 0; !found && i + RAMET_LOGFRAME_HEADER_SIZE <= got;
             i += RAMET_POS_UNIT)
            found = ramet_logframe_decode(buf + i, ramet_pos_add(pos, at + i),
                                          &frame);
    }
    ramet_free(buf);
    return found;
}

/* The dead don't tell what they wrote: record.c, invariant (6). Who died before his
 * first record in a file left frames in that one, and so may several, one after the
 * other. `end`: of a record that does not count yet. */
static void
note_used(struct ramet_replica *replica, struct ramet_pos end, bool was_clean)
{
    struct ramet_index_header *const header = &replica->head->header;
    const uint64_t most = was_clean ? LOOK_SIZE : UINT64_MAX;
    struct ramet_pos pos = ramet_pos_load(&header->log.write_pos);
    struct ramet_frame_file *file;

    if (!ramet_pos_is_none(end))
        ramet_pos_raise(&header->log.used, end);
    else if (ramet_pos_offset(pos) > RAMET_FRAME_FILE_HEADER_SIZE ||
             has_frames(replica, pos, most))
        ramet_pos_raise(&header->log.used,
                        ramet_pos_add(pos, RAMET_LOGFRAME_HEADER_SIZE));
    for (;;) {
        pos = ramet_pos_first(ramet_pos_file(pos) + 1);
        if (ramet_frame_file_get(replica, RAMET_FRAMES_LOG, ramet_pos_file(pos),
                                 &file, NULL) != RAMET_OK)
            return;
        if (has_frames(replica, pos, most))
            ramet_pos_raise(&header->log.used,
                            ramet_pos_add(pos, RAMET_LOGFRAME_HEADER_SIZE));
    }
}

/* From where the state ends into the index. */
static enum ramet_rc
recover_log(struct ramet_session *session, bool was_clean,
            struct ramet_pos *out_proven, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_published newest;
    struct ramet_scan scan;
    struct ramet_pos end = RAMET_NO_POS;
    bool go = true;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_is_alone(replica)); /* invariant (1) */
    ramet_scan_init(&scan, replica);
    scan.oldest = atomic_load(&header->checkpoint.oldest);
    while (rc == RAMET_OK && go) {
        ramet_index_newest(replica, &newest);
        rc = ramet_scan_next(&scan, newest.snapshot.tail, newest.sum, &go, err);
        if (rc == RAMET_OK && go)
            rc = recover_record(session, &scan, &go, &end, err);
        if (rc == RAMET_OK && go)
            *out_proven = scan.trailer.synced;
    }
    if (rc == RAMET_OK)
        rc = ramet_log_search_damage(
            replica,
            !ramet_pos_is_none(end) ? end
                                    : ramet_pos_load(&header->log.write_pos),
            err);
    if (rc == RAMET_OK)
        note_used(replica, end, was_clean);
    atomic_store(&header->all.was_written, 0);
    ramet_scan_done(&scan);
    return rc;
}

/* ---- files ---------------------------------------------------------------- */

/* What is in the directory, so that nothing is looked for that is not there. */
struct files {
    struct ramet_replica *replica;
    bool has_log;   /* from the oldest log file on */
    bool has_later; /* ... past the oldest */
    bool has_fetched;
    bool has_stray;
};

static bool
is_temporary(const char *name)
{
    const size_t length = strlen(name);

    return length > 4 && strcmp(name + length - 4, ".tmp") == 0;
}

static int
note_file(void *ctx, const char *name, bool is_dir)
{
    struct files *const files = ctx;
    const struct ramet_index_header *const header =
        &files->replica->head->header;
    enum ramet_frames_type type;
    uint64_t number;

    assert(ramet_is_alone(files->replica));
    if (is_dir)
        return 0;
    if (!ramet_frame_file_name_parse(name, &type, &number)) {
        files->has_stray |= is_temporary(name);
    } else if (type == RAMET_FRAMES_FETCHED) {
        files->has_fetched = files->has_stray = true;
    } else if (type == RAMET_FRAMES_RETAINED ||
               number < atomic_load(&header->checkpoint.oldest)) {
        files->has_stray = true;
    } else {
        files->has_log = true;
        files->has_later |= number > atomic_load(&header->checkpoint.oldest);
    }
    return 0;
}

static struct files
list_files(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    struct files files = {.replica = replica};

    if (os->list(os->ctx, replica->dir_fd, ".", note_file, &files) != 0)
        files.has_log = files.has_fetched = files.has_stray = true;
    return files;
}

static int
remove_stray(void *ctx, const char *name, bool is_dir)
{
    struct ramet_replica *const replica = ctx;
    const struct ramet_os *const os = replica->os;
    const struct ramet_index_header *const header = &replica->head->header;
    enum ramet_frames_type type;
    uint64_t number;
    bool is_stray;

    assert(ramet_is_alone(replica)); /* invariant (1) */
    if (is_dir)
        return 0;
    if (!ramet_frame_file_name_parse(name, &type, &number))
        is_stray = is_temporary(name);
    else if (type == RAMET_FRAMES_LOG)
        is_stray = number < atomic_load(&header->checkpoint.oldest);
    else if (type == RAMET_FRAMES_RETAINED) /* its readers are gone */
        is_stray = true;
    else /* those to come were not recovered: they must not be taken up later */
        is_stray =
            number < atomic_load(&header->fetched.oldest) ||
            number >= ramet_pos_file(ramet_pos_load(&header->fetched.pos));
    if (is_stray)
        os->unlink(os->ctx, replica->dir_fd, name, false);
    return 0;
}

/* ---- all of it ----------------------------------------------------------- */

/* A copy of a replica is another replica; and a base that was moved, or touched,
 * is looked at once. */
static enum ramet_rc
notice_copy(struct ramet_replica *replica, struct ramet_state_file *state,
            const struct ramet_base_look *look, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const struct ramet_os_stat *const st = &look->st;
    const bool is_copy = state->lock_inode != replica->inode ||
                         state->lock_device != replica->device ||
                         state->host != ramet_host_hash(os);
    const bool has_moved =
        look->form == RAMET_BASE_CLEAN &&
        (st->device != state->base_device || st->inode != state->base_inode ||
         st->mtime_ns != state->base_mtime_ns ||
         (state->base_ctime_ns != 0 && st->ctime_ns != state->base_ctime_ns));
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_is_alone(replica) && replica->inode != 0);
    if (!is_copy && !has_moved)
        return RAMET_OK;
    if (is_copy)
        rc = ramet_state_stamp_place(replica, state, err);
    if (has_moved) {
        state->base_device = st->device;
        state->base_inode = st->inode;
        state->base_mtime_ns = st->mtime_ns;
        state->base_ctime_ns = st->ctime_ns;
    }
    return rc == RAMET_OK
               ? ramet_state_file_write(os, replica->dir_fd, state, err)
               : rc;
}

/*
 * Who goes on after records that somebody left does so in a log file of its own.
 * A clean close whose state was said to have failed may have left it on disk, too,
 * to come back with the power: that one takes the file, as it was then, for one
 * that it keeps and nobody has begun, and goes on to the next.
 */
static void
leave_log_file(struct ramet_replica *replica,
               const struct ramet_state_file *state)
{
    struct ramet_index_header *const header = &replica->head->header;
    const struct ramet_pos pos = ramet_pos_load(&header->log.write_pos);
    /* Of a state that was renamed nobody knows whether that lasts. */
    const bool is_kept_for_certain = state->copies == 2;

    assert(state->copies <= 2);
    assert(ramet_is_alone(replica));
    if ((ramet_pos_offset(pos) > RAMET_FRAME_FILE_HEADER_SIZE ||
         (ramet_pos_file(pos) == state->kept_log && !is_kept_for_certain)) &&
        !ramet_is_in_doubt(replica) && ramet_is_recovered(replica) &&
        atomic_load(&header->log.void_pending) == 0)
        ramet_pos_store(&header->log.write_pos,
                        ramet_pos_first(ramet_pos_file(pos) + 1));
}

/* From state, log and fetched pages. */
static enum ramet_rc
fill_index(struct ramet_session *session, const struct ramet_state_file *state,
           const struct ramet_base_look *look, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    struct ramet_index_header *const header = &replica->head->header;
    const bool marked = look->form == RAMET_BASE_MARKED;
    struct ramet_pos proven = RAMET_NO_POS; /* to be on disk, of the log */
    struct files files;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_is_alone(replica));
    header->base_device = look->st.device;
    header->base_inode = look->st.inode;
    ramet_index_begin(replica, state);
    atomic_store(&header->base.is_marked, marked);
    atomic_store(&header->base.mark_token, look->token);
    /* Marked, the base is not what a clean state says: who was at it died. */
    if (!state->is_clean || marked) {
        uint64_t absent = 0;

        rc = ramet_presence_count_absent(replica, state->base_page_count,
                                         &absent, err);
        atomic_store(&header->base.absent, absent);
        atomic_store(&header->all.absent_now, absent);
    }
    files = list_files(replica);
    if (rc == RAMET_OK && files.has_log &&
        (files.has_later || !ramet_frame_file_is_kept(replica)))
        rc = recover_log(session, state->is_clean && !marked, &proven, err);
    if (rc == RAMET_OK)
        leave_log_file(replica, state);
    if (rc == RAMET_OK && !ramet_log_is_empty(replica)) /* invariant (3) */
        (void)!ramet_log_sync_found(session, proven, NULL);
    if (rc == RAMET_OK && files.has_fetched)
        rc = ramet_fetched_recover(session, err);
    if (rc == RAMET_OK)
        rc = ramet_super_clean(replica, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_super_sweep(replica, true);
    /* A crash may take the mark and leave what was logged under it. */
    atomic_store(&header->all.was_written,
                 marked || !ramet_log_is_empty(replica));
    if (files.has_stray)
        os->list(os->ctx, replica->dir_fd, ".", remove_stray, replica);
    return RAMET_OK;
}

/* The base is ours: what its page 1 is to have. */
static enum ramet_rc
mark_recovered_base(struct ramet_session *session,
                    const struct ramet_base_look *look, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;

    assert(ramet_is_alone(session->replica));
    /* Compared once, it gets a mark that spares the next comparison. */
    if (look->form == RAMET_BASE_MARKED && look->has_happened)
        return ramet_base_mark_anew(replica, err);
    ramet_base_rest_as(replica, &look->st);
    /* Of a mark in part: whole again, so that the clean close takes it off. */
    if (look->form == RAMET_BASE_MARKED_IN_PART)
        return ramet_base_unclean(session, err);
    /* While a native program reads the base, it stays; the close tries again. */
    if (look->form == RAMET_BASE_CLEAN && !ramet_log_is_empty(replica) &&
        ramet_base_unclean(session, NULL) != RAMET_OK)
        return RAMET_OK;
    return RAMET_OK;
}

/* Who wrote it may have died before the sync: what we do next, with the log's
 * files above all, must not last longer. */
static enum ramet_rc
make_durable(struct ramet_replica *replica, struct ramet_state_file *state,
             struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(state->copies <= 2);
    if (state->copies != 1)
        return RAMET_OK;
    rc = ramet_state_file_write(replica->os, replica->dir_fd, state, err);
    if (rc == RAMET_OK)
        state->copies = 2;
    return rc;
}

enum ramet_rc
ramet_recover(struct ramet_session *session, struct ramet_state_file *state,
              bool is_lenient, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_base_look look;
    int64_t seen_ctime = 0;
    enum ramet_rc rc;

    assert(ramet_is_alone(replica)); /* invariant (1) */
    ramet_replica_adopt_state(replica, state);
    rc = make_durable(replica, state, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_index_create(replica, &replica->index_fd, &seen_ctime, err);
    if (rc == RAMET_OK)
        rc = ramet_base_check(replica, state, seen_ctime, &look, err);
    if (rc == RAMET_OK)
        rc = fill_index(session, state, &look, err);
    if (rc == RAMET_OK)
        rc = ramet_base_compare(replica, &look, is_lenient, err);
    if (rc == RAMET_OK)
        rc = notice_copy(replica, state, &look, err);
    return rc == RAMET_OK ? mark_recovered_base(session, &look, err) : rc;
}
