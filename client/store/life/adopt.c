/*
 * adopt.c - `ramet adopt`: a base that somebody else edited becomes a local
 * commit.
 *
 *   (1) `is_adopting` is in the state while presence is brought up to the file;
 *       interrupted, nothing but adopting again opens the replica, and then
 *       every page counts as changed
 *   (2) what the log had is given up: the file is what the user wants
 */
#include <assert.h>
#include <fcntl.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/life/explain.h"
#include "client/store/life/identity.h"
#include "client/store/life/location.h"
#include "client/store/life/registry.h"
#include "client/store/log/logscan.h"
#include "client/store/shared/base.h"
#include "client/store/shared/base_check.h"
#include "client/store/shared/base_sum.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "sqliteformat/dbheader.h"

struct adoption {
    struct ramet_session *session;
    struct ramet_replica *replica;
    struct ramet_state_file state; /* as it is, then as it will be */
    struct ramet_state_file found; /* what the file is */
    bool all;                      /* every page counts as changed */
    struct ramet_pageset logged;   /* what presence says of them is past */
    uint32_t least_page_count;     /* ... and of those behind it */
    bool has_commits;              /* the log */
    uint64_t zeros;                /* checksum of a page of zeros */
    uint64_t changed;
};

static enum ramet_rc
note_frame(void *ctx, const struct ramet_logframe *frame, struct ramet_err *err)
{
    struct adoption *const a = ctx;

    assert(frame->pgno >= 1);
    return frame->kind == RAMET_LOGFRAME_DEAD ||
                   ramet_pageset_add(&a->logged, frame->pgno) == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a set");
}

/* Local commits that only the log knows pend too; and what it knows of pages,
 * by a commit or a pull, the file does not have. */
static enum ramet_rc
fold_log(struct adoption *a, struct ramet_err *err)
{
    struct ramet_scan scan;
    bool found = true;
    enum ramet_rc rc = RAMET_OK;

    assert(!a->has_commits && a->logged.run_count == 0);
    a->least_page_count = UINT32_MAX;
    ramet_scan_init(&scan, a->replica);
    scan.oldest = a->state.oldest_log;
    while (rc == RAMET_OK && found) {
        struct ramet_replica_state *const fold = &a->state.fold;

        rc = ramet_scan_next(&scan, fold->newest.tail, fold->record_sum, &found,
                             err);
        if (rc != RAMET_OK || !found || ramet_trailer_in_doubt(&scan.trailer))
            break;
        a->has_commits |= scan.trailer.type == RAMET_RECORD_COMMIT;
        if (scan.trailer.least_page_count < a->least_page_count)
            a->least_page_count = scan.trailer.least_page_count;
        rc =
            ramet_scan_fold(&scan, fold, scan.trailer.tail, note_frame, a, err);
    }
    ramet_scan_done(&scan);
    return rc;
}

/* The checksum of page 1 does not cover it. */
static bool
is_header_same(const struct adoption *a)
{
    return memcmp(a->found.fold.newest.header, a->state.fold.newest.header,
                  RAMET_TRUE_HEADER_SIZE) == 0;
}

/* Is the page, whose checksum is `sum`, what the remote has of it, or what pends
 * already? `known` is from presence. */
static bool
is_page_same(const struct adoption *a, uint32_t pgno, uint64_t known,
             uint64_t sum)
{
    assert(pgno >= 1 && sum < RAMET_PRESENCE_MASK);
    if (a->all || pgno > a->state.base_page_count ||
        pgno > a->least_page_count ||
        ramet_pageset_contains(&a->logged, pgno) ||
        (pgno == 1 && !is_header_same(a)))
        return false;
    return sum == known ||
           (known == RAMET_PRESENCE_ZERO && pgno != 1 && sum == a->zeros);
}

static enum ramet_rc
compare_block(struct adoption *a, uint32_t first, uint32_t count,
              uint8_t *block, struct ramet_err *err)
{
    uint64_t values[RAMET_BASE_BLOCK_PAGES];
    uint64_t sums[RAMET_BASE_BLOCK_PAGES];
    enum ramet_rc rc =
        ramet_presence_read(a->replica, first, count, values, err);

    assert(a->state.is_adopting); /* invariant (1) */
    assert(first >= 1 && count >= 1);
    if (rc == RAMET_OK)
        rc = ramet_base_sums(a->replica, a->found.fold.newest.page_size, first,
                             count, block, sums, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++) {
        if (is_page_same(a, first + i, values[i], sums[i]))
            continue;
        a->changed++;
        if (ramet_pageset_add(&a->state.fold.later, first + i) != RAMET_OK)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a set");
    }
    return rc == RAMET_OK
               ? ramet_presence_write(a->replica, first, count, sums, err)
               : rc;
}

static enum ramet_rc
compare_all(struct adoption *a, struct ramet_err *err)
{
    const uint32_t page_size = a->found.fold.newest.page_size;
    const uint32_t page_count = a->found.fold.newest.page_count;
    uint8_t *const block = ramet_alloc(RAMET_BASE_BLOCK_BYTES);
    enum ramet_rc rc = RAMET_OK;
    uint32_t now;

    assert(a->state.is_adopting && ramet_may_write_base(a->replica));
    if (block == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to read %s",
                          a->replica->path);
    memset(block, 0, page_size);
    a->zeros = ramet_presence_of_hash(ramet_hash64(block, page_size));
    for (uint64_t at = 0; rc == RAMET_OK && at < page_count; at += now) {
        now = ramet_base_block_pages(page_size);
        if (page_count - at < now)
            now = (uint32_t)(page_count - at);
        rc = compare_block(a, (uint32_t)at + 1, now, block, err);
    }
    ramet_free(block);
    if (rc == RAMET_OK)
        rc = ramet_presence_truncate(a->replica, page_count, err);
    return rc == RAMET_OK ? ramet_presence_sync(a->replica, &a->state, err)
                          : rc;
}

static int
note_frame_file(void *ctx, const char *name, bool is_dir)
{
    struct ramet_state_file *const state = ctx;
    enum ramet_frames_type type;
    uint64_t number;

    if (is_dir || !ramet_frame_file_name_parse(name, &type, &number) ||
        number >= RAMET_FRAME_FILE_MAX)
        return 0;
    if (type == RAMET_FRAMES_LOG && number >= state->oldest_log)
        state->oldest_log = number + 1;
    if (type == RAMET_FRAMES_FETCHED && number >= state->oldest_fetched)
        state->oldest_fetched = number + 1;
    return 0;
}

/* The state that goes with the file, as one local commit. */
static void
describe_commit(struct adoption *a)
{
    const struct ramet_os *const os = a->replica->os;
    struct ramet_replica_state *const fold = &a->state.fold;
    const struct ramet_snapshot *const s = &a->found.fold.newest;
    const uint32_t counter = ramet_dbheader_count_on(fold->newest.counter,
                                                     s->header, s->byte_length);

    assert(a->state.is_adopting && a->replica->dir_fd >= 0);
    os->list(os->ctx, a->replica->dir_fd, ".", note_frame_file,
             &a->state); /* invariant (2) */
    if (s->page_size != fold->newest.page_size &&
        fold->newest.page_count != 0) {
        fold->page_size_changed_later = fold->page_size_changed = true;
        fold->least_page_count_later = 0;
    }
    if (s->page_count < fold->least_page_count_later)
        fold->least_page_count_later = s->page_count;
    ramet_pageset_truncate(&fold->later, s->page_count);
    if (a->changed != 0 || s->byte_length != fold->newest.byte_length) {
        fold->commits_later++;
        if (fold->oldest_later_ms == 0)
            fold->oldest_later_ms = os->wall_ms(os->ctx);
    }
    fold->newest.seq++;
    fold->newest.tail = ramet_pos_first(a->state.oldest_log);
    fold->newest.page_size = s->page_size;
    fold->newest.page_count = s->page_count;
    fold->newest.byte_length = s->byte_length;
    fold->newest.counter = counter;
    memcpy(fold->newest.header, s->header, sizeof(s->header));
    fold->schema_moved = false;
    a->state.clean_header = a->found.clean_header;
    a->state.clean_header.own_counter = counter;
    a->state.clean_header.own_cookie = ramet_dbheader_cookie(s->header);
    a->state.is_adopting = false;
    a->state.is_unsummed = false; /* each was read */
    a->state.is_clean = true;
    a->state.base_page_count = s->page_count;
    a->state.base_page_size = s->page_size;
    a->state.base_device = a->found.base_device;
    a->state.base_inode = a->found.base_inode;
    a->state.base_size = a->found.base_size;
    a->state.base_mtime_ns = a->found.base_mtime_ns;
    a->state.base_ctime_ns = a->found.base_ctime_ns;
    a->state.mark_now = 0; /* a base with it is older than this */
}

/* Is it our own base, as it was left? A marked one is no database, whichever, and
 * no edit of one, though its mark be damaged. */
static enum ramet_rc
look_for_mark(struct adoption *a, const uint8_t *header, bool *out_is_ours,
              struct ramet_err *err)
{
    struct ramet_replica *const replica = a->replica;
    struct ramet_base_look look;
    enum ramet_rc rc;

    assert(a->replica->base_fd >= 0);
    *out_is_ours = false;
    if (!ramet_base_is_any_mark(header) &&
        !ramet_base_is_spoilt_mark(header, &a->state.base_id))
        return RAMET_OK;
    if (!a->state.is_adopting) {
        rc = ramet_base_check(replica, &a->state, 0, &look, err);
        *out_is_ours = rc == RAMET_OK && look.form == RAMET_BASE_MARKED &&
                       !look.has_happened;
        if (*out_is_ours)
            return RAMET_OK;
    }
    return RAMET_FAIL(err, RAMET_EFOREIGN,
                      "%s has a replica's mark and is not as it was left: it "
                      "is not a database that could be adopted; put the right "
                      "file back, or 'ramet restore' what the remote has",
                      replica->path);
}

/* The header may be the one that a clean close gave the base: then what is
 * stored for it stays. */
static void
find_header(struct adoption *a, const uint8_t *header)
{
    uint8_t ours[RAMET_TRUE_HEADER_SIZE];

    assert(a->found.fold.kind == a->state.fold.kind);
    ramet_state_true_header(&a->state, ours);
    if (a->state.is_clean && memcmp(header, ours, sizeof(ours)) == 0)
        memcpy(a->found.fold.newest.header, a->state.fold.newest.header,
               RAMET_TRUE_HEADER_SIZE);
}

/* What no commit could carry is refused before anything changes. */
static enum ramet_rc
check_kind(const struct adoption *a, const struct ramet_os_stat *st,
           const uint8_t *header, struct ramet_err *err)
{
    uint32_t page_size;

    assert(a->replica->base_fd >= 0);
    if (a->state.fold.kind != RAMET_KIND_SQLITE || st->size_bytes == 0 ||
        ramet_is_database(header, st->size_bytes, &page_size))
        return RAMET_OK;
    return RAMET_FAIL(
        err, RAMET_EINVAL,
        "%s is not a SQLite database any more, which its volume is: "
        "'ramet restore' brings that back and keeps this file "
        "beside it",
        a->replica->path);
}

/* Not what gives up a commit, nor what rotted: that would go to the remote as if
 * somebody had written it. */
static enum ramet_rc
may_be_taken_unasked(const struct adoption *a, const struct ramet_os_stat *st,
                     struct ramet_err *err)
{
    const char *const path = a->replica->path;

    if (a->has_commits)
        return RAMET_FAIL(err, RAMET_EFOREIGN,
                          "%s was changed or replaced by another program, and "
                          "there are commits that are not in it: 'ramet adopt' "
                          "gives those up and takes the file as it is, 'ramet "
                          "restore' brings back what the remote has",
                          path);
    if (!a->state.is_adopting && !ramet_base_was_written(&a->state, st))
        return RAMET_FAIL(err, RAMET_EFOREIGN,
                          "%s is not as it was left, but its modification time "
                          "has not changed: 'ramet verify' repairs what the "
                          "disk corrupted, 'ramet adopt' takes the file as it "
                          "is",
                          path);
    return RAMET_OK;
}

static enum ramet_rc
take_file(struct adoption *a, const struct ramet_replica_options *given,
          struct ramet_err *err)
{
    struct ramet_replica *const replica = a->replica;
    const struct ramet_os *const os = replica->os;
    struct ramet_replica_options options = *given;
    uint8_t header[RAMET_TRUE_HEADER_SIZE] = {0};
    struct ramet_os_stat st;
    bool is_ours = false;
    size_t got = 0;
    enum ramet_rc rc;

    assert(!replica->is_ready && replica->base_fd >= 0);
    options.kind = a->state.fold.kind;
    options.page_size = a->state.fold.newest.page_size;
    rc = ramet_os_read_some(os, replica->base_fd, header, sizeof(header), 0,
                            &got, replica->path, err);
    if (rc != RAMET_OK)
        return rc;
    rc = look_for_mark(a, header, &is_ours, err);
    if (rc != RAMET_OK || is_ours)
        return rc;
    if (options.kind == RAMET_KIND_SQLITE)
        rc = ramet_base_look_for_users(replica, replica->base_fd, err);
    if (rc == RAMET_OK && os->stat(os->ctx, replica->base_fd, &st) < 0)
        rc = RAMET_FAIL(err, RAMET_EIO, "stat %s", replica->path);
    if (rc == RAMET_OK)
        rc = check_kind(a, &st, header, err);
    if (rc == RAMET_OK)
        rc = ramet_state_describe_file(&options, &st, header, &a->found, err);
    if (rc == RAMET_OK)
        find_header(a, header);
    if (rc == RAMET_OK)
        rc = fold_log(a, err);
    if (rc == RAMET_OK && (given->flags & RAMET_OPEN_UNASKED) != 0)
        rc = may_be_taken_unasked(a, &st, err);
    if (rc != RAMET_OK)
        return rc;
    a->all = a->state.is_adopting ||
             a->found.fold.newest.page_size != a->state.base_page_size;
    a->state.is_adopting = true;
    /* The fold goes on from there, if this is interrupted. */
    if (ramet_pos_file(a->state.fold.newest.tail) > a->state.oldest_log)
        a->state.oldest_log = ramet_pos_file(a->state.fold.newest.tail);
    if (rc == RAMET_OK)
        rc = ramet_state_file_write(os, replica->dir_fd, &a->state, err);
    if (rc == RAMET_OK)
        rc = ramet_presence_take_up(replica, &a->state, err);
    if (rc == RAMET_OK)
        rc = compare_all(a, err);
    if (rc != RAMET_OK)
        return rc;
    if (os->sync(os->ctx, replica->base_fd) < 0)
        return RAMET_FAIL(err, RAMET_EIO, "sync %s", replica->path);
    describe_commit(a);
    rc = ramet_mark_token_new(os, &a->state.mark_next, err);
    if (rc != RAMET_OK)
        return rc;
    return ramet_state_file_write(os, replica->dir_fd, &a->state, err);
}

/* Under the open byte and alone. */
static enum ramet_rc
adopt_alone(struct adoption *a, const struct ramet_replica_options *options,
            struct ramet_err *err)
{
    struct ramet_replica *const replica = a->replica;
    const struct ramet_os *const os = replica->os;
    enum ramet_rc rc = ramet_replica_read_state(replica, &a->state, err);

    assert(!replica->is_ready);
    if (rc != RAMET_OK)
        return rc;
    ramet_replica_adopt_state(replica, &a->state);
    if (replica->base_fd < 0)
        replica->base_fd = os->open(os->ctx, replica->parent_fd, replica->name,
                                    O_RDWR | O_NOFOLLOW, 0);
    if (replica->base_fd < 0)
        return ramet_fail_base(replica, -replica->base_fd, err);
    return take_file(a, options, err);
}

enum ramet_rc
ramet_replica_adopt_base(const char *path,
                         const struct ramet_replica_options *options,
                         uint64_t *out_changed_pages, struct ramet_err *err)
{
    static const struct ramet_replica_options none;
    struct ramet_replica_location location;
    struct adoption *a = NULL;
    const struct ramet_os *os;
    enum ramet_rc rc;

    if (options == NULL)
        options = &none;
    os = options->os != NULL ? options->os : ramet_os_system();
    rc = ramet_replica_location_find(os, path, &location, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_replica_location_enter(&location, false, err);
    if (rc == RAMET_OK && ramet_registry_has(&location))
        rc = RAMET_FAIL(err, RAMET_EBUSY, "%s is open", path);
    if (rc == RAMET_OK)
        rc = ramet_lock_wait(os, location.lock_fd, RAMET_LOCK_OPEN,
                             RAMET_LOCK_EXCLUSIVE, RAMET_LOCK_WAIT_MS,
                             "it is being opened", err);
    if (rc == RAMET_OK &&
        !ramet_replica_location_has_lock(&location, location.parent_fd))
        rc = RAMET_FAIL(err, RAMET_EBUSY, "%s is being deleted", path);
    if (rc == RAMET_OK)
        rc = ramet_lock_try(os, location.lock_fd, RAMET_LOCK_LIVE,
                            RAMET_LOCK_EXCLUSIVE, "it is open elsewhere", err);
    if (rc == RAMET_OK) {
        a = ramet_calloc(1, sizeof(*a));
        if (a == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory to adopt");
    }
    if (rc == RAMET_OK)
        rc = ramet_registry_get(&location, &a->replica, err);
    if (rc == RAMET_OK) {
        assert(location.lock_fd >= 0);
        rc = adopt_alone(a, options, err);
        ramet_registry_put(a->replica);
    }
    if (rc == RAMET_OK)
        *out_changed_pages = a->changed;
    if (a != NULL) {
        ramet_state_file_done(&a->state);
        ramet_state_file_done(&a->found);
        ramet_pageset_done(&a->logged);
    }
    ramet_free(a);
    ramet_replica_location_done(&location);
    return rc;
}
