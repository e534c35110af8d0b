/*
 * make.c - a replica comes into being: from nothing, from a plain file, or as
 * a clone of a remote volume; and goes.
 *
 *   (1) until `state` is there, there is no replica: a crash leaves a directory
 *       that the next opener takes up or removes
 *   (2) nothing is copied, and the file is not changed, when it is adopted
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/dir.h"
#include "client/path.h"
#include "client/recover.h"
#include "client/registry.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define BASE_TEMPORARY "base.tmp"
#define PENDING_BYTE UINT64_C(0x40000000)
#define LOCK_BYTES 512u

bool
ramet_is_database(const uint8_t *header, uint64_t size, uint32_t *out_page_size)
{
    uint32_t page_size;

    if (size < RAMET_TRUE_HEADER_SIZE ||
        memcmp(header, "SQLite format 3", 16) != 0)
        return false;
    page_size = ramet_get_be16(header + 16);
    if (page_size == 1)
        page_size = 65536;
    if (!ramet_page_size_ok(page_size))
        return false;
    *out_page_size = page_size;
    return true;
}

static enum ramet_rc
start_state(struct ramet_replica *replica, struct ramet_state_file *state,
            struct ramet_err *err)
{
    enum ramet_rc rc;

    memset(state, 0, sizeof(*state));
    rc = ramet_id_new(&state->base_id, err);
    if (rc == RAMET_OK)
        rc = ramet_state_stamp_place(replica, state, err);
    if (rc == RAMET_OK)
        rc = ramet_mark_token_new(replica->os, &state->mark_next, err);
    state->default_held = true;
    state->presence_is_checked = true;
    state->is_clean = true;
    state->oldest_gen = 1;
    state->oldest_fill = 1;
    state->fold.newest.tail = ramet_pos_make(1, RAMET_GEN_HEADER_SIZE);
    return rc;
}

/*
 * What the file is, and all its pages pend. A database is whole pages: where a
 * part of one is left at its end, SQLite reads zeros behind it, and so do we.
 */
enum ramet_rc
ramet_state_describe_file(const struct ramet_replica_options *options,
                          const struct ramet_stat *st, const uint8_t *header,
                          struct ramet_state_file *state, struct ramet_err *err)
{
    struct ramet_snapshot *const s = &state->fold.newest;
    uint32_t page_size = options->page_size;
    const bool is_db = options->kind != RAMET_KIND_BLOB &&
                       ramet_is_database(header, st->size_bytes, &page_size);

    state->fold.kind = options->kind != 0             ? options->kind
                       : is_db || st->size_bytes == 0 ? RAMET_KIND_SQLITE
                                                      : RAMET_KIND_BLOB;
    if (page_size == 0 && st->size_bytes != 0)
        page_size = 4096;
    if (page_size != 0 && !ramet_page_size_ok(page_size))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "a page size of %u: powers of two from 512 to 65536",
                          page_size);
    if (page_size != 0 && st->size_bytes > (uint64_t)UINT32_MAX * page_size)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "the file has too many pages");
    s->page_size = page_size;
    s->page_count = ramet_pages_of(st->size_bytes, page_size);
    s->byte_length =
        is_db ? (uint64_t)s->page_count * page_size : st->size_bytes;
    memcpy(s->header, header, RAMET_TRUE_HEADER_SIZE);
    if (is_db && state->fold.kind == RAMET_KIND_SQLITE) {
        s->counter = ramet_get_be32(header + 24);
        if (s->header[18] == 2 && s->header[19] == 2)
            s->header[18] = s->header[19] = 1; /* no WAL here */
    }
    ramet_state_bear(state);
    state->base_page_count = s->page_count;
    state->base_page_size = page_size;
    state->is_unsummed = s->page_count != 0;
    state->base_device = st->device;
    state->base_inode = st->inode;
    state->base_size = st->size_bytes;
    state->base_mtime_ns = st->mtime_ns;
    state->base_ctime_ns = st->ctime_ns;
    if (s->page_count != 0 &&
        ramet_pageset_add_run(&state->fold.later,
                              (struct ramet_run){1, s->page_count}) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to adopt a file");
    return RAMET_OK;
}

/* Nobody who knows nothing of us may be at work in the file, nor have died at
 * it. */
enum ramet_rc
ramet_base_look_for_users(struct ramet_replica *replica, int fd,
                          struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const char *suffix = NULL;
    enum ramet_rc rc;

    if (os->lock(os->ctx, fd, PENDING_BYTE, LOCK_BYTES, RAMET_LOCK_EXCLUSIVE) ==
        -EAGAIN)
        return RAMET_FAIL(err, RAMET_EBUSY, "another program has %s open",
                          replica->path);
    rc = ramet_base_leftover(replica, &suffix, err);
    os->lock(os->ctx, fd, PENDING_BYTE, LOCK_BYTES, RAMET_UNLOCK);
    if (rc == RAMET_OK && suffix != NULL)
        rc = RAMET_FAIL(err, RAMET_EFOREIGN,
                        "%s%s is there: a program was killed at its work; "
                        "finish it first: sqlite3 %s 'SELECT 1 FROM "
                        "sqlite_schema; PRAGMA journal_mode=DELETE'",
                        replica->path, suffix, replica->path);
    return rc;
}

/* Base, directory and lock file have names that last, before the state makes a
 * replica of them. */
static enum ramet_rc
sync_parent(struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    int result = os->sync(os->ctx, replica->dir_fd);

    if (result == 0)
        result = os->sync(os->ctx, replica->parent_fd);
    return result == 0
               ? RAMET_OK
               : RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                                "sync the directory of %s", replica->path);
}

enum ramet_rc
ramet_make_replica(struct ramet_replica *replica,
                   const struct ramet_replica_options *options,
                   struct ramet_state_file *state, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const bool create = (options->flags & RAMET_OPEN_CREATE) != 0;
    uint8_t header[RAMET_TRUE_HEADER_SIZE] = {0};
    struct ramet_stat st;
    size_t got = 0;
    enum ramet_rc rc;
    int fd;

    fd = os->open(os->ctx, replica->parent_fd, replica->name,
                  O_RDWR | O_NOFOLLOW | (create ? O_CREAT : 0), 0666);
    if (fd < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-fd), -fd, "open %s",
                              replica->path);
    replica->base_fd = fd; /* and stays open: see base.c */
    if (os->stat(os->ctx, fd, &st) < 0 || (st.mode & 0170000u) != 0100000u)
        return RAMET_FAIL(err, RAMET_EINVAL, "%s is no plain file",
                          replica->path);
    if (st.size_bytes != 0 && (options->flags & RAMET_OPEN_ADOPT) == 0)
        return ramet_fail_no_replica(replica->path, true, err);
    rc = ramet_os_read_some(os, fd, header, sizeof(header), 0, &got,
                            replica->path, err);
    if (rc == RAMET_OK && ramet_base_is_any_mark(header))
        rc = RAMET_FAIL(err, RAMET_ENOTFOUND,
                        "%s belongs to a replica whose directory %s-ramet is "
                        "not complete; it holds nothing by itself",
                        replica->path, replica->path);
    if (rc == RAMET_OK)
        rc = start_state(replica, state, err);
    if (rc == RAMET_OK)
        rc = ramet_state_describe_file(options, &st, header, state, err);
    if (rc == RAMET_OK && state->fold.newest.page_count != 0)
        state->fold.oldest_later_ms = os->wall_ms(os->ctx);
    if (rc == RAMET_OK && state->fold.kind == RAMET_KIND_SQLITE)
        rc = ramet_base_look_for_users(replica, fd, err);
    if (rc == RAMET_OK && os->lock(os->ctx, fd, PENDING_BYTE + 2, 1,
                                   RAMET_LOCK_SHARED) == -EAGAIN)
        rc = RAMET_FAIL(err, RAMET_EBUSY, "another program has %s open",
                        replica->path);
    if (rc == RAMET_OK) {
        const int result = os->sync(os->ctx, fd);

        if (result < 0)
            rc = RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                                "sync %s", replica->path);
    }
    if (rc == RAMET_OK)
        rc = sync_parent(replica, err);
    return rc == RAMET_OK
               ? ramet_state_file_write(os, replica->dir_fd, state, err)
               : rc;
}

/* ---- clones -------------------------------------------------------------- */

/* The mark, durable, in a file as long as the volume. */
static enum ramet_rc
write_clone_base(struct ramet_replica *replica,
                 const struct ramet_state_file *state, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const uint64_t length = state->fold.newest.byte_length;
    uint8_t mark[RAMET_TRUE_HEADER_SIZE];
    int result;
    enum ramet_rc rc;

    ramet_base_mark(&state->base_id, state->mark_next, mark);
    rc = ramet_os_write_full(os, replica->base_fd, mark, sizeof(mark), 0,
                             replica->path, err);
    if (rc != RAMET_OK)
        return rc;
    result = length > sizeof(mark)
                 ? os->truncate(os->ctx, replica->base_fd, length)
                 : 0;
    if (result == 0)
        result = os->sync(os->ctx, replica->base_fd);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result),
                                        -result, "make %s", replica->path);
}

/* The base of a clone gets its name when it bears the mark: what a crash leaves
 * is known for what it is. */
enum ramet_rc
ramet_make_absent_base(struct ramet_replica *replica,
                       const struct ramet_state_file *state,
                       struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    int result;
    enum ramet_rc rc;

    replica->base_fd = ramet_dir_make_anew(os, replica->dir_fd, BASE_TEMPORARY);
    if (replica->base_fd < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-replica->base_fd),
                              -replica->base_fd, "create %s-ramet/%s",
                              replica->path, BASE_TEMPORARY);
    rc = write_clone_base(replica, state, err);
    if (rc != RAMET_OK)
        return rc;
    /* The directory first: that tells it from a file that lost its own. */
    result = os->sync(os->ctx, replica->dir_fd);
    if (result == 0)
        result = os->sync(os->ctx, replica->parent_fd);
    if (result == 0)
        result = os->link(os->ctx, replica->dir_fd, BASE_TEMPORARY,
                          replica->parent_fd, replica->name);
    os->unlink(os->ctx, replica->dir_fd, BASE_TEMPORARY, false);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result),
                                        -result, "create %s", replica->path);
}

static int
is_log_file(void *ctx, const char *name, bool is_dir)
{
    enum ramet_gen_type type;
    uint64_t gen;

    (void)ctx;
    return !is_dir && ramet_gen_name_parse(name, &type, &gen) ? -EEXIST : 0;
}

/* A clone that was cut off left a base that holds nothing, and no state. With a
 * log it was more than that, and lost its state otherwise. */
static enum ramet_rc
look_at_leftover(const struct ramet_replica_place *place, bool *out_is_there,
                 struct ramet_err *err)
{
    const struct ramet_os *const os = place->os;
    uint8_t first[RAMET_TRUE_HEADER_SIZE] = {0};
    size_t got = 0;
    enum ramet_rc rc;
    const int fd = os->open(os->ctx, place->parent_fd, place->name,
                            O_RDONLY | O_NOFOLLOW, 0);

    *out_is_there = fd != -ENOENT;
    if (fd == -ENOENT)
        return RAMET_OK;
    if (fd < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-fd), -fd, "open %s",
                              place->path);
    rc = ramet_os_read_some(os, fd, first, sizeof(first), 0, &got, place->path,
                            err);
    os->close(os->ctx, fd);
    if (rc == RAMET_OK &&
        (!ramet_base_is_any_mark(first) ||
         os->list(os->ctx, place->dir_fd, ".", is_log_file, NULL) != 0))
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s is there already", place->path);
    return rc;
}

static enum ramet_rc
remove_leftover(const struct ramet_replica_place *place, struct ramet_err *err)
{
    const struct ramet_os *const os = place->os;
    bool is_there;
    enum ramet_rc rc = look_at_leftover(place, &is_there, err);
    int result = 0;

    if (rc == RAMET_OK && is_there)
        result = os->unlink(os->ctx, place->parent_fd, place->name, false);
    return result == 0 ? rc
                       : RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result),
                                        -result, "remove %s", place->path);
}

bool
ramet_replica_is_leftover(const struct ramet_os *os, const char *path)
{
    struct ramet_replica_place place;
    bool is_there = false;

    if (ramet_replica_place_find(os, path, &place, NULL) != RAMET_OK)
        return false;
    if (ramet_replica_place_has(&place, "state") != 0 ||
        ramet_replica_place_has(&place, RAMET_TOMBSTONE) != 0 ||
        ramet_replica_place_has(&place, RAMET_DIR_LOCK) != 1 ||
        ramet_replica_place_enter(&place, false, NULL) != RAMET_OK ||
        look_at_leftover(&place, &is_there, NULL) != RAMET_OK)
        is_there = false;
    ramet_replica_place_done(&place);
    return is_there;
}

static enum ramet_rc
describe_clone(const struct ramet_replica_options *options, const char *remote,
               const struct ramet_vid *volume,
               const struct ramet_remote_point *point, const uint8_t *page1,
               struct ramet_state_file *state, struct ramet_err *err)
{
    struct ramet_snapshot *const s = &state->fold.newest;

    if (strlen(remote) >= RAMET_URL_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "a remote's URL is too long");
    if (point->page_count != 0 && !ramet_page_size_ok(point->page_size))
        return RAMET_FAIL(err, RAMET_EINVAL, "a page size of %u",
                          point->page_size);
    strcpy(state->fold.remote, remote);
    state->fold.volume = *volume;
    state->fold.kind = options->kind != 0 ? options->kind : RAMET_KIND_SQLITE;
    state->fold.lsn_time_ms = point->time_ms;
    state->fold.least_page_count_later = point->page_count;
    s->page_size = point->page_size;
    s->page_count = point->page_count;
    s->byte_length = point->byte_length;
    s->lsn = point->lsn;
    s->lsn_hash = point->hash;
    s->remote_page_count = point->page_count;
    if (page1 != NULL) {
        memcpy(s->header, page1, RAMET_TRUE_HEADER_SIZE);
        s->counter = ramet_get_be32(page1 + 24);
    }
    state->default_held = false;
    state->is_clean = false;
    state->base_page_count = point->page_count;
    state->base_page_size = point->page_size;
    state->base_absent = point->page_count;
    return RAMET_OK;
}

/* Page 1 goes into the base at once: everybody reads it first. */
static enum ramet_rc
keep_first_page(struct ramet_replica *replica, struct ramet_state_file *state,
                const uint8_t *page1, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const uint32_t page_size = state->base_page_size;
    uint64_t value;
    int result;
    enum ramet_rc rc;

    if (page1 == NULL || state->base_page_count == 0)
        return RAMET_OK;
    rc = ramet_os_write_full(os, replica->base_fd,
                             page1 + RAMET_TRUE_HEADER_SIZE,
                             page_size - RAMET_TRUE_HEADER_SIZE,
                             RAMET_TRUE_HEADER_SIZE, replica->path, err);
    if (rc != RAMET_OK)
        return rc;
    result = os->sync(os->ctx, replica->base_fd);
    if (result < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                              "sync %s", replica->path);
    value = ramet_presence_sum(1, page1, page_size);
    rc = ramet_presence_write(replica, 1, 1, &value, err);
    if (rc == RAMET_OK)
        rc = ramet_presence_sync(replica, err);
    state->base_absent--;
    return rc;
}

static enum ramet_rc
fill_clone(struct ramet_replica *replica,
           const struct ramet_replica_options *options, const char *remote,
           const struct ramet_vid *volume,
           const struct ramet_remote_point *point, const uint8_t *page1,
           struct ramet_err *err)
{
    struct ramet_state_file *const state = ramet_calloc(1, sizeof(*state));
    enum ramet_rc rc;

    if (state == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to clone");
    rc = start_state(replica, state, err);
    if (rc == RAMET_OK)
        rc = describe_clone(options, remote, volume, point, page1, state, err);
    if (rc == RAMET_OK) {
        ramet_replica_adopt_state(replica, state);
        rc = ramet_make_absent_base(replica, state, err);
    }
    if (rc == RAMET_OK)
        rc = keep_first_page(replica, state, page1, err);
    if (rc == RAMET_OK)
        rc = sync_parent(replica, err);
    if (rc == RAMET_OK)
        rc = ramet_state_file_write(replica->os, replica->dir_fd, state, err);
    ramet_state_file_done(state);
    ramet_free(state);
    return rc;
}

enum ramet_rc
ramet_replica_create_clone(const char *path,
                           const struct ramet_replica_options *options,
                           const char *remote, const struct ramet_vid *volume,
                           const struct ramet_remote_point *point,
                           const uint8_t *page1, struct ramet_err *err)
{
    static const struct ramet_replica_options none;
    struct ramet_replica_place place;
    struct ramet_replica *replica = NULL;
    struct ramet_stat st;
    const struct ramet_os *os;
    enum ramet_rc rc;

    if (options == NULL)
        options = &none;
    os = options->os != NULL ? options->os : ramet_os_system();
    rc = ramet_replica_place_find(os, path, &place, err);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_replica_place_has(&place, RAMET_TOMBSTONE) == 1)
        rc = ramet_replica_delete(os, path, err);
    /* Without a directory it can't be what a clone left. */
    if (rc == RAMET_OK &&
        (ramet_replica_place_has(&place, "state") == 1 ||
         (os->stat_at(os->ctx, place.parent_fd, place.name, &st) == 0 &&
          ramet_replica_place_has(&place, RAMET_DIR_LOCK) != 1)))
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s is there already", path);
    if (rc == RAMET_OK)
        rc = ramet_replica_place_enter(&place, true, err);
    if (rc == RAMET_OK && place.is_readonly)
        rc =
            RAMET_FAIL(err, RAMET_EREADONLY, "%s-ramet can't be written", path);
    if (rc == RAMET_OK)
        rc = ramet_lock_wait(os, place.lock_fd, 0, RAMET_LOCK_EXCLUSIVE,
                             RAMET_LOCK_WAIT_MS, "it is being opened", err);
    if (rc == RAMET_OK && ramet_replica_place_has(&place, "state") != 0)
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s is there already", path);
    if (rc == RAMET_OK)
        rc = remove_leftover(&place, err);
    if (rc == RAMET_OK)
        rc = ramet_registry_get(&place, &replica, err);
    if (rc == RAMET_OK) {
        rc = fill_clone(replica, options, remote, volume, point, page1, err);
        ramet_registry_put(replica);
    }
    ramet_replica_place_done(&place);
    return rc;
}

/* ---- the end ------------------------------------------------------------- */

bool
ramet_replica_exists(const struct ramet_os *os, const char *path)
{
    struct ramet_replica_place place;
    bool exists;

    if (os == NULL)
        os = ramet_os_system();
    if (ramet_replica_place_find(os, path, &place, NULL) != RAMET_OK)
        return false;
    exists = ramet_replica_place_has(&place, "state") == 1 ||
             ramet_replica_place_has(&place, RAMET_TOMBSTONE) == 1;
    ramet_replica_place_done(&place);
    return exists;
}

struct removal {
    const struct ramet_os *os;
    int dir_fd;
    unsigned depth; /* in folders of the directory: lost/, or a stranger's */
};
#define REMOVAL_DEPTH_MAX 16u

static int
remove_entry(void *ctx, const char *name, bool is_dir)
{
    const struct removal *const removal = ctx;
    const struct ramet_os *const os = removal->os;
    int result = 0;

    if (removal->depth == 0 && (strcmp(name, RAMET_TOMBSTONE) == 0 ||
                                strcmp(name, RAMET_DIR_LOCK) == 0))
        return 0;
    if (removal->depth == 0 && strcmp(name, RAMET_LOST) == 0) {
        result = os->unlink(os->ctx, removal->dir_fd, name, true);
        return result == -ENOTEMPTY || result == -EEXIST || result == -ENOENT
                   ? 0 /* what was set aside is the user's */
                   : result;
    }
    if (is_dir && removal->depth < REMOVAL_DEPTH_MAX) {
        struct removal inner = {os, -1, removal->depth + 1};

        inner.dir_fd = ramet_rights_open_folder(os, removal->dir_fd, name);
        if (inner.dir_fd < 0)
            return inner.dir_fd;
        result = os->list(os->ctx, inner.dir_fd, ".", remove_entry, &inner);
        os->close(os->ctx, inner.dir_fd);
    }
    if (result == 0)
        result = os->unlink(os->ctx, removal->dir_fd, name, is_dir);
    return result == -ENOENT ? 0 : result;
}

enum ramet_rc
ramet_replica_remove(struct ramet_replica_place *place, struct ramet_err *err)
{
    const struct ramet_os *const os = place->os;
    struct removal removal = {os, place->dir_fd, 0};
    int result = ramet_dir_open_or_make(os, place->dir_fd, RAMET_TOMBSTONE);

    if (result < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                              "delete %s", place->path);
    os->close(os->ctx, result);
    result = os->sync(os->ctx, place->dir_fd);
    if (result == 0) { /* from here on it is deleted */
        result = os->unlink(os->ctx, place->parent_fd, place->name, false);
        if (result == -ENOENT)
            result = 0;
    }
    if (result == 0)
        result = os->sync(os->ctx, place->parent_fd);
    if (result == 0)
        result = os->list(os->ctx, place->dir_fd, ".", remove_entry, &removal);
    if (result == 0)
        result = os->unlink(os->ctx, place->dir_fd, RAMET_DIR_LOCK, false);
    if (result == 0)
        result = os->sync(os->ctx, place->dir_fd);
    /* The tombstone goes when nothing is left that it speaks of. That need not
     * last: a directory that comes back holds nothing, or it alone. */
    if (result == 0)
        result = os->unlink(os->ctx, place->dir_fd, RAMET_TOMBSTONE, false);
    if (result == 0)
        result = os->unlink(os->ctx, place->parent_fd, place->dir_name, true);
    if (result == -ENOTEMPTY || result == -EEXIST) /* lost/ is in it */
        result = 0;
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result),
                                        -result, "delete %s", place->path);
}

enum ramet_rc
ramet_replica_delete(const struct ramet_os *os, const char *path,
                     struct ramet_err *err)
{
    struct ramet_replica_place place;
    int has_state;
    int has_tombstone;
    enum ramet_rc rc;

    if (os == NULL)
        os = ramet_os_system();
    rc = ramet_replica_place_find(os, path, &place, err);
    if (rc == RAMET_ENOTFOUND)
        return RAMET_OK;
    if (rc != RAMET_OK)
        return rc;
    has_state = ramet_replica_place_has(&place, "state");
    has_tombstone = ramet_replica_place_has(&place, RAMET_TOMBSTONE);
    if (has_state < 0 || has_tombstone < 0) {
        const int result = has_state < 0 ? has_state : has_tombstone;

        rc = RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                            "look into %s-ramet", path);
    } else if (has_state == 1 || has_tombstone == 1) {
        rc = ramet_replica_place_enter(&place, true, err);
        if (rc == RAMET_OK)
            rc = ramet_lock_wait(os, place.lock_fd, 0, RAMET_LOCK_EXCLUSIVE,
                                 RAMET_LOCK_WAIT_MS, "it is being opened", err);
        if (rc == RAMET_OK)
            rc = ramet_replica_remove(&place, err);
    }
    ramet_replica_place_done(&place);
    return rc;
}
