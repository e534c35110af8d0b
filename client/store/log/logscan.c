/*
 * logscan.c - reading the log record by record; hostile bytes.
 *
 *   (1) a record counts only if each frame stands at its own position under
 *       the file's salt, and the trailer's count, sum and start agree
 *   (2) it follows another only if it names that one's sum: what a crash left
 *       of an older history behind the end can't be taken for its successor
 */
#include "client/store/log/logscan.h"

#include <assert.h>
#include <string.h>

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/log/recent.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/replica.h"
#include "client/store/store.h"
#include "core/alloc.h"

#define WINDOW_SIZE (256u << 10)

void
ramet_scan_init(struct ramet_scan *scan, struct ramet_replica *replica)
{
    assert(replica != NULL);
    memset(scan, 0, sizeof(*scan));
    scan->replica = replica;
}

void
ramet_scan_done(struct ramet_scan *scan)
{
    ramet_free(scan->window);
    memset(scan, 0, sizeof(*scan));
}

/* Of what was read for an earlier record only what no longer changes. */
static void
keep_final_bytes(struct ramet_scan *scan, uint64_t number)
{
    const struct ramet_pos until = scan->final_until;
    const uint64_t end_offset = ramet_pos_offset(until);

    assert(scan->window_len <= WINDOW_SIZE);
    if (ramet_pos_is_none(until) || scan->window_number != number ||
        number > ramet_pos_file(until))
        scan->window_len = 0;
    else if (number == ramet_pos_file(until) &&
             scan->window_offset + scan->window_len > end_offset)
        scan->window_len = end_offset > scan->window_offset
                               ? (size_t)(end_offset - scan->window_offset)
                               : 0;
}

/* `len` bytes of the log file at `offset`; NULL in *out: it ends before. */
static enum ramet_rc
get_bytes(struct ramet_scan *scan, uint64_t offset, size_t len,
          const uint8_t **out, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(scan->file != NULL && scan->window_len <= WINDOW_SIZE);
    assert(len <= WINDOW_SIZE);
    *out = NULL;
    if (scan->window == NULL) {
        scan->window = ramet_alloc(WINDOW_SIZE);
        if (scan->window == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to read the log");
    }
    if (offset < scan->window_offset ||
        offset + len > scan->window_offset + scan->window_len) {
        scan->window_len = 0;
        scan->window_offset = offset;
        rc = ramet_os_read_some(scan->replica->os, scan->file->fd, scan->window,
                                WINDOW_SIZE, offset, &scan->window_len, "log",
                                err);
        if (rc != RAMET_OK)
            return rc;
        scan->window_number = scan->file->number;
    }
    *out = len <= scan->window_len - (size_t)(offset - scan->window_offset)
               ? scan->window + (offset - scan->window_offset)
               : NULL;
    return RAMET_OK;
}

/* False: no such log file (any more). */
static enum ramet_rc
enter_file(struct ramet_scan *scan, uint64_t number, bool *out_found,
           struct ramet_err *err)
{
    enum ramet_rc rc;

    keep_final_bytes(scan, number);
    rc = ramet_frame_file_get(scan->replica, RAMET_FRAMES_LOG, number,
                              &scan->file, err);
    *out_found = rc == RAMET_OK;
    return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
}

struct walk {
    struct ramet_pos pos;
    uint64_t count;
    uint64_t sum;
};

/* One frame, and its page if `verify`; *out_next is 0 if it is not one. */
static enum ramet_rc
check_frame(struct ramet_scan *scan, struct ramet_pos pos, bool verify,
            struct ramet_logframe *frame, struct ramet_pos *out_next,
            struct ramet_err *err)
{
    const uint64_t offset = ramet_pos_offset(pos);
    const uint32_t page_size = scan->file->page_size;
    uint64_t hash = 0;
    const uint8_t *at;
    bool has_page;
    enum ramet_rc rc;

    assert(scan->file->number == ramet_pos_file(pos)); /* invariant (1) */
    *out_next = RAMET_NO_POS;
    rc = get_bytes(scan, offset, RAMET_LOGFRAME_HEADER_SIZE, &at, err);
    if (rc != RAMET_OK || at == NULL || !ramet_logframe_decode(at, pos, frame))
        return rc;
    has_page = ramet_logframe_has_page(frame->kind);
    if (has_page && verify) {
        rc = get_bytes(scan, offset, RAMET_LOGFRAME_HEADER_SIZE + page_size,
                       &at, err);
        if (rc != RAMET_OK || at == NULL)
            return rc;
        hash = ramet_hash64(at + RAMET_LOGFRAME_HEADER_SIZE, page_size);
    }
    if ((verify || !has_page) &&
        ramet_logframe_page_hash(at, scan->file->salt) != hash)
        return RAMET_OK;
    *out_next = ramet_pos_add(pos, RAMET_LOGFRAME_HEADER_SIZE +
                                       (has_page ? page_size : 0));
    return RAMET_OK;
}

/* The trailer at `walk`'s end; *out_found only if all of it agrees. */
static enum ramet_rc
check_trailer(struct ramet_scan *scan, const struct walk *walk,
              struct ramet_pos start, size_t size, bool *out_found,
              struct ramet_err *err)
{
    const uint8_t *at;
    enum ramet_rc rc =
        get_bytes(scan, ramet_pos_offset(walk->pos), size, &at, err);

    assert(!ramet_pos_before(walk->pos, start) && size <= WINDOW_SIZE);
    if (rc != RAMET_OK || at == NULL)
        return rc;
    *out_found = ramet_trailer_decode(at, size, walk->pos, scan->file->salt,
                                      &scan->trailer) &&
                 ramet_pos_same(scan->trailer.start, start) &&
                 scan->trailer.frame_count == walk->count &&
                 scan->trailer.frames_sum == walk->sum;
    return RAMET_OK;
}

enum ramet_rc
ramet_scan_record(struct ramet_scan *scan, struct ramet_pos pos,
                  bool *out_found, struct ramet_err *err)
{
    struct walk walk = {.pos = pos};
    bool found = false;
    enum ramet_rc rc;

    assert(scan->replica != NULL);
    *out_found = false;
    rc = enter_file(scan, ramet_pos_file(pos), &found, err);
    if (rc != RAMET_OK || !found)
        return rc;
    for (;;) {
        struct ramet_logframe frame;
        const uint8_t *at;
        struct ramet_pos next;
        size_t size;

        rc = get_bytes(scan, ramet_pos_offset(walk.pos),
                       RAMET_LOGFRAME_HEADER_SIZE, &at, err);
        if (rc != RAMET_OK || at == NULL)
            return rc;
        size = ramet_trailer_peek_size(at);
        if (size != 0)
            return check_trailer(scan, &walk, pos, size, out_found, err);
        rc = check_frame(scan, walk.pos, true, &frame, &next, err);
        if (rc != RAMET_OK || ramet_pos_is_none(next))
            return rc;
        walk.pos = next;
        walk.count++;
        walk.sum = ramet_logframes_sum(walk.sum, frame.sum);
    }
}

enum ramet_rc
ramet_scan_frames(struct ramet_scan *scan, ramet_logframe_visit *visit,
                  void *ctx, struct ramet_err *err)
{
    const struct ramet_pos end = scan->trailer.pos;
    struct ramet_pos pos = scan->trailer.start;
    bool found = true;
    enum ramet_rc rc = RAMET_OK;

    assert(!ramet_pos_before(end, scan->trailer.start));
    if (scan->file == NULL || scan->file->number != ramet_pos_file(pos))
        rc = enter_file(scan, ramet_pos_file(pos), &found, err);
    while (rc == RAMET_OK && found && ramet_pos_before(pos, end)) {
        struct ramet_logframe frame;
        struct ramet_pos next;

        rc = check_frame(scan, pos, false, &frame, &next, err);
        if (rc == RAMET_OK && ramet_pos_is_none(next))
            found = false;
        else if (rc == RAMET_OK)
            rc = visit(ctx, &frame, err);
        pos = next;
    }
    if (rc == RAMET_OK && !found)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "log-%016llx changed while it was read",
                        (unsigned long long)ramet_pos_file(end));
    return rc;
}

enum ramet_rc
ramet_scan_next(struct ramet_scan *scan, struct ramet_pos tail, uint64_t prev,
                bool *out_found, struct ramet_err *err)
{
    uint64_t number = ramet_pos_file(tail);
    struct ramet_pos pos = tail;

    assert(scan->replica != NULL);
    *out_found = false;
    if (number < scan->oldest) {
        number = scan->oldest;
        pos = ramet_pos_first(number);
    }
    for (;; number++, pos = ramet_pos_first(number)) {
        bool found = false;
        enum ramet_rc rc = ramet_scan_record(scan, pos, &found, err);

        if (rc != RAMET_OK)
            return rc;
        if (found && scan->trailer.prev == prev && /* invariant (2) */
            !scan->trailer.is_void) {
            *out_found = true;
            return RAMET_OK;
        }
        /* Files that are empty, or where all was void, may stand
         * between two records. */
        rc = enter_file(scan, number + 1, &found, err);
        if (rc != RAMET_OK || !found)
            return rc;
    }
}

/* ---- folding ------------------------------------------------------------- */

struct fold_visit {
    struct ramet_scan *scan;
    struct ramet_replica_state *fold;
    ramet_logframe_visit *visit;
    void *ctx;
    struct ramet_recent_record recent; /* if `is_recent` */
    bool is_recent;                    /* it was not read */
};

static enum ramet_rc
fold_frame(void *ctx, const struct ramet_logframe *frame, struct ramet_err *err)
{
    struct fold_visit *const v = ctx;
    const enum ramet_rc rc =
        ramet_fold_frame(v->fold, &v->scan->trailer, frame, err);

    assert(v->fold != NULL && v->scan != NULL);
    return rc != RAMET_OK || v->visit == NULL ? rc
                                              : v->visit(v->ctx, frame, err);
}

/* The record after the fold's newest, to scan->trailer: of what this process knows,
 * or from the log. */
static enum ramet_rc
find_next(struct fold_visit *v, struct ramet_err *err)
{
    struct ramet_scan *const scan = v->scan;
    const struct ramet_snapshot *const newest = &v->fold->newest;
    bool found;
    enum ramet_rc rc;

    v->is_recent = ramet_recent_find(scan->replica, newest->seq + 1,
                                     v->fold->record_sum, &v->recent);
    if (v->is_recent) {
        scan->trailer = v->recent.trailer;
        return RAMET_OK;
    }
    rc = ramet_scan_next(scan, newest->tail, v->fold->record_sum, &found, err);
    if (rc == RAMET_OK && !found)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "%s: record %llu of the log is damaged or missing",
                        scan->replica->path,
                        (unsigned long long)newest->seq + 1);
    return rc;
}

static enum ramet_rc
fold_frames(struct fold_visit *v, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    if (!v->is_recent)
        return ramet_scan_frames(v->scan, fold_frame, v, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < v->recent.frame_count; i++)
        rc = fold_frame(v, &v->recent.frames[i], err);
    return rc;
}

enum ramet_rc
ramet_scan_fold(struct ramet_scan *scan, struct ramet_replica_state *fold,
                struct ramet_pos until, ramet_logframe_visit *visit,
                void *visit_ctx, struct ramet_err *err)
{
    struct fold_visit v = {
        .scan = scan, .fold = fold, .visit = visit, .ctx = visit_ctx};
    enum ramet_rc rc = RAMET_OK;

    scan->window_len = 0;
    scan->final_until = until;
    while (rc == RAMET_OK && ramet_pos_before(fold->newest.tail, until)) {
        rc = find_next(&v, err);
        if (rc == RAMET_OK && ramet_pos_before(until, scan->trailer.tail))
            return RAMET_OK;
        assert(rc != RAMET_OK ||
               !ramet_pos_before(scan->trailer.start, fold->newest.tail));
        if (rc == RAMET_OK)
            rc = ramet_fold_begin(fold, &scan->trailer, err);
        if (rc == RAMET_OK)
            rc = fold_frames(&v, err);
        if (rc == RAMET_OK)
            rc = ramet_fold_end(fold, &scan->trailer, err);
    }
    return rc;
}
