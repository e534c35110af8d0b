/*
 * identity.c - what tells a replica, its base and its machine from others.
 */
#include "client/store/life/identity.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/shared/base.h"
#include "client/store/shared/replica.h"
#include "client/store/store.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "sqliteformat/dbheader.h"

#define LOCK_BYTES 512u

/* It stays as it is for as long as the process does; 0: not known yet. */
static _Atomic uint64_t host_hash;

uint64_t
ramet_host_hash(const struct ramet_os *os)
{
    uint64_t hash = atomic_load_explicit(&host_hash, memory_order_relaxed);
    uint8_t *data = NULL;
    size_t len = 0;

    if (hash != 0)
        return hash;
    if (ramet_os_read_file(os, AT_FDCWD, "/etc/machine-id", 4096, &data, &len,
                           NULL) == RAMET_OK)
        hash = ramet_hash64(data, len);
    ramet_free(data);
    atomic_store_explicit(&host_hash, hash, memory_order_relaxed);
    return hash;
}

enum ramet_rc
ramet_state_stamp_place(struct ramet_replica *replica,
                        struct ramet_state_file *state, struct ramet_err *err)
{
    struct ramet_id id;
    enum ramet_rc rc = ramet_id_new(&id, err);

    assert(replica->inode != 0);
    if (rc != RAMET_OK)
        return rc;
    state->fold.replica.id = id;
    state->lock_device = replica->device;
    state->lock_inode = replica->inode;
    state->host = ramet_host_hash(replica->os);
    return RAMET_OK;
}

bool
ramet_is_database(const uint8_t *header, uint64_t size, uint32_t *out_page_size)
{
    uint32_t page_size;

    if (!ramet_dbheader_is(header, size))
        return false;
    page_size = ramet_dbheader_page_size(header);
    if (!ramet_page_size_ok(page_size))
        return false;
    *out_page_size = page_size;
    return true;
}

/*
 * What the file is, and all its pages pend. A database is whole pages: where a
 * part of one is left at its end, SQLite reads zeros behind it, and so do we.
 */
enum ramet_rc
ramet_state_describe_file(const struct ramet_replica_options *options,
                          const struct ramet_os_stat *st, const uint8_t *header,
                          struct ramet_state_file *state, struct ramet_err *err)
{
    struct ramet_snapshot *const s = &state->fold.newest;
    uint32_t page_size = options->page_size;
    const bool is_db = options->kind != RAMET_KIND_BLOB &&
                       ramet_is_database(header, st->size_bytes, &page_size);

    assert(state->fold.later.run_count == 0 || state->fold.newest.seq != 0);
    state->fold.kind = options->kind != 0             ? options->kind
                       : is_db || st->size_bytes == 0 ? RAMET_KIND_SQLITE
                                                      : RAMET_KIND_BLOB;
    if (page_size == 0 && st->size_bytes != 0)
        page_size = 4096;
    if (page_size != 0 && !ramet_page_size_ok(page_size))
        return RAMET_FAIL(
            err, RAMET_EINVAL,
            "page size %u is not a power of two from 512 to 65536", page_size);
    if (page_size != 0 && st->size_bytes > (uint64_t)UINT32_MAX * page_size)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "the file has too many pages");
    s->page_size = page_size;
    s->page_count = ramet_pages_of(st->size_bytes, page_size);
    s->byte_length =
        is_db ? (uint64_t)s->page_count * page_size : st->size_bytes;
    memcpy(s->header, header, RAMET_TRUE_HEADER_SIZE);
    if (is_db && state->fold.kind == RAMET_KIND_SQLITE) {
        s->counter = ramet_dbheader_counter(header);
        if (ramet_dbheader_is_wal(s->header))
            ramet_dbheader_leave_wal(s->header); /* there is none here */
    }
    assert(s->byte_length <= (uint64_t)s->page_count * page_size);
    ramet_state_choose_clean_header(state);
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

    assert(fd >= 0 && !replica->is_readonly);
    if (os->lock(os->ctx, fd, RAMET_PENDING_BYTE, LOCK_BYTES,
                 RAMET_LOCK_EXCLUSIVE) == -EAGAIN)
        return RAMET_FAIL(err, RAMET_EBUSY, "another program has %s open",
                          replica->path);
    rc = ramet_base_leftover(replica, &suffix, err);
    os->lock(os->ctx, fd, RAMET_PENDING_BYTE, LOCK_BYTES, RAMET_UNLOCK);
    if (rc == RAMET_OK && suffix != NULL)
        rc = RAMET_FAIL(err, RAMET_EFOREIGN,
                        "%s%s is there: a program was killed at its work; "
                        "finish it first: sqlite3 %s 'SELECT 1 FROM "
                        "sqlite_schema; PRAGMA journal_mode=DELETE'",
                        replica->path, suffix, replica->path);
    return rc;
}
