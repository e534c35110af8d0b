/*
 * rescue.c - a replica again of what a deleted file left: orphan.c set it aside.
 *
 * What is left are the log and the state; the pages of the base went with the
 * file. So in the new base all are absent: those that the remote has come from
 * there, and those that local commits wrote are in the log.
 *
 *   (1) commits whose pages had gone into the file already can't be had again:
 *       that is refused, for a replica without them would show older pages
 *   (2) what was set aside stays as it is
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "client/store/exchange.h"
#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/life/identity.h"
#include "client/store/life/location.h"
#include "client/store/life/make.h"
#include "client/store/life/registry.h"
#include "client/store/life/remove.h"
#include "client/store/log/logscan.h"
#include "client/store/replicas.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"

#define COPY_SIZE (1u << 20)

struct rescue {
    const struct ramet_os *os;
    int from; /* the folder in lost/ */
    struct ramet_replica_location location;
    struct ramet_replica *replica;
    struct ramet_state_file state;
    struct ramet_pageset logged;
    uint8_t *buf;
    bool has_begun; /* there is a directory of ours */
    struct ramet_err *err;
};

static enum ramet_rc
open_source(struct rescue *r, const char *path, const char *name,
            struct ramet_err *err)
{
    struct ramet_replica_location location;
    enum ramet_rc rc = ramet_replica_location_find(r->os, path, &location, err);
    int lost = -1;

    assert(r->from < 0);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_replica_location_enter(&location, false, err);
    if (rc == RAMET_OK) {
        lost = ramet_rights_open_folder(r->os, location.dir_fd, RAMET_LOST);
        r->from = lost < 0 ? lost : ramet_rights_open_folder(r->os, lost, name);
        if (r->from < 0)
            rc = RAMET_FAIL_OS(err, r->from, "open %s-ramet/%s/%s", path,
                               RAMET_LOST, name);
    }
    if (lost >= 0)
        r->os->close(r->os->ctx, lost);
    ramet_replica_location_done(&location);
    return rc;
}

static enum ramet_rc
copy_bytes(struct rescue *r, int from, int to, const char *name,
           struct ramet_err *err)
{
    uint64_t at = 0;
    size_t got = COPY_SIZE;
    enum ramet_rc rc = RAMET_OK;
    int result;

    assert(from >= 0 && to >= 0 && r->buf != NULL);
    while (rc == RAMET_OK && got == COPY_SIZE) {
        rc = ramet_os_read_some(r->os, from, r->buf, COPY_SIZE, at, &got, name,
                                err);
        if (rc == RAMET_OK && got != 0)
            rc = ramet_os_write_full(r->os, to, r->buf, got, at, name, err);
        at += got;
    }
    if (rc != RAMET_OK)
        return rc;
    result = r->os->sync(r->os->ctx, to);
    return result == 0 ? RAMET_OK : RAMET_FAIL_OS(err, result, "sync %s", name);
}

static int
copy_log_file(void *ctx, const char *name, bool is_dir)
{
    struct rescue *const r = ctx;
    enum ramet_frames_type type;
    uint64_t number;
    enum ramet_rc rc;
    int from;
    int to;

    assert(r->from >= 0 && r->location.dir_fd >= 0);
    if (is_dir || !ramet_frame_file_name_parse(name, &type, &number) ||
        type != RAMET_FRAMES_LOG)
        return 0;
    from = ramet_rights_open(r->os, r->from, name, O_RDONLY);
    if (from < 0)
        return from;
    to = ramet_dir_make(r->os, r->location.dir_fd, name);
    rc = to < 0 ? RAMET_FAIL_OS(r->err, to, "make %s", name)
                : copy_bytes(r, from, to, name, r->err);
    r->os->close(r->os->ctx, from);
    if (to >= 0)
        r->os->close(r->os->ctx, to);
    return rc == RAMET_OK ? 0 : -ECANCELED;
}

static enum ramet_rc
note_page(void *ctx, const struct ramet_logframe *frame, struct ramet_err *err)
{
    struct rescue *const r = ctx;

    assert(frame->pgno >= 1);
    return frame->kind == RAMET_LOGFRAME_DEAD ||
                   ramet_pageset_add(&r->logged, frame->pgno) == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a set");
}

/* Pages of the set that the log does not have. */
static uint64_t
count_missing(const struct rescue *r, const struct ramet_pageset *set)
{
    uint64_t count = 0;

    assert(!r->replica->is_ready);
    for (size_t i = 0; i < set->run_count; i++)
        for (uint64_t p = set->runs[i].first; p <= set->runs[i].last; p++)
            count += !ramet_pageset_contains(&r->logged, (uint32_t)p);
    return count;
}

/* By invariant (1). The fold of a copy: the state stays as it is. */
static enum ramet_rc
check_pages(struct rescue *r, struct ramet_err *err)
{
    struct ramet_replica_state fold = {0};
    struct ramet_scan scan;
    uint64_t missing;
    bool found = true;
    enum ramet_rc rc = ramet_fold_copy(&fold, &r->state.fold, err);

    assert(r->logged.run_count == 0);
    if (rc != RAMET_OK)
        return rc;
    ramet_scan_init(&scan, r->replica);
    scan.oldest = r->state.oldest_log;
    while (rc == RAMET_OK && found) {
        rc = ramet_scan_next(&scan, fold.newest.tail, fold.record_sum, &found,
                             err);
        if (rc == RAMET_OK && found)
            rc = ramet_scan_fold(&scan, &fold, scan.trailer.tail, note_page, r,
                                 err);
    }
    ramet_scan_done(&scan);
    ramet_replica_state_done(&fold);
    missing = count_missing(r, &r->state.fold.later) +
              count_missing(r, &r->state.fold.in_flight);
    if (rc == RAMET_OK && missing != 0)
        rc = RAMET_FAIL(err, RAMET_ENOTFOUND,
                        "%" PRIu64 " pages that were not pushed were only in "
                        "the file that was deleted",
                        missing);
    return rc;
}

/* A base without a page, and the state that says so: that comes last. */
static enum ramet_rc
make_base(struct rescue *r, struct ramet_err *err)
{
    struct ramet_state_file *const state = &r->state;
    enum ramet_rc rc;

    assert(r->has_begun && !r->replica->is_ready);
    state->default_held = false;
    state->is_unsummed = false;
    state->is_clean = false;
    state->is_adopting = false;
    state->base_device = state->base_inode = state->base_size = 0;
    state->base_mtime_ns = state->base_ctime_ns = 0;
    ramet_unsynced_truncate(&state->unsynced, 0);
    ramet_replica_adopt_state(r->replica, state);
    rc = ramet_state_stamp_place(r->replica, state, err);
    if (rc == RAMET_OK)
        rc = ramet_make_absent_base(r->replica, state, err);
    if (rc == RAMET_OK)
        rc = ramet_make_names_last(r->replica, err);
    if (rc == RAMET_OK)
        rc = ramet_state_file_write(r->os, r->replica->dir_fd, state, err);
    return rc;
}

static enum ramet_rc
run(struct rescue *r, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_replica_location_enter(&r->location, true, err);
    int result;

    assert(!r->has_begun && r->from >= 0); /* invariant (2) */
    if (rc == RAMET_OK)
        rc = ramet_lock_wait(r->os, r->location.lock_fd, RAMET_LOCK_OPEN,
                             RAMET_LOCK_EXCLUSIVE, RAMET_LOCK_WAIT_MS,
                             "it is being opened", err);
    if (rc == RAMET_OK &&
        !ramet_replica_location_has_lock(&r->location, r->location.parent_fd))
        rc = RAMET_FAIL(err, RAMET_EBUSY, "%s is being deleted",
                        r->location.path);
    if (rc != RAMET_OK)
        return rc;
    r->has_begun = true;
    r->err = err;
    result = r->os->list(r->os->ctx, r->from, ".", copy_log_file, r);
    if (result == -ECANCELED)
        return err != NULL && err->code != RAMET_OK ? err->code : RAMET_EIO;
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "copy the log");
    rc = ramet_registry_get(&r->location, &r->replica, err);
    if (rc == RAMET_OK)
        rc = check_pages(r, err);
    if (rc == RAMET_OK)
        rc = make_base(r, err);
    return rc;
}

/* What was made goes again; what can't be removed stays, and is in the way of
 * another try, which says so. */
static void
take_back(const struct ramet_os *os, const char *path)
{
    struct ramet_replica_location location;

    if (ramet_replica_location_find(os, path, &location, NULL) != RAMET_OK)
        return;
    if (ramet_replica_location_enter(&location, false, NULL) == RAMET_OK)
        (void)!ramet_replica_remove(&location, NULL);
    ramet_replica_location_done(&location);
}

enum ramet_rc
ramet_replica_rescue(const struct ramet_os *os, const char *path,
                     const char *name, const char *out_path,
                     struct ramet_err *err)
{
    struct rescue *const r = ramet_calloc(1, sizeof(*r));
    struct ramet_os_stat st;
    enum ramet_rc rc;

    if (r == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a rescue");
    r->os = os != NULL ? os : ramet_os_system();
    r->from = -1;
    ramet_pageset_init(&r->logged);
    r->buf = ramet_alloc(COPY_SIZE);
    rc = r->buf != NULL
             ? ramet_replica_location_find(r->os, out_path, &r->location, err)
             : RAMET_FAIL(err, RAMET_ENOMEM, "no memory to copy");
    if (rc != RAMET_OK)
        goto done;
    if (ramet_replica_exists(r->os, out_path) ||
        r->os->stat_at(r->os->ctx, r->location.parent_fd, r->location.name,
                       &st) == 0)
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s is there already", out_path);
    if (rc == RAMET_OK)
        rc = open_source(r, path, name, err);
    if (rc == RAMET_OK)
        rc = ramet_state_file_read(r->os, r->from, &r->state, err);
    if (rc == RAMET_OK) {
        rc = run(r, err);
        if (r->replica != NULL) {
            ramet_frame_files_close_all(r->replica);
            ramet_registry_put(r->replica);
        }
    }
    ramet_state_file_done(&r->state);
    ramet_replica_location_done(&r->location);
    if (rc != RAMET_OK && r->has_begun)
        take_back(r->os, out_path);

done:
    if (r->from >= 0)
        r->os->close(r->os->ctx, r->from);
    ramet_pageset_done(&r->logged);
    ramet_free(r->buf);
    ramet_free(r);
    return rc;
}
