/*
 * writeset.c - see writeset.h.
 *
 * In the dense array a removed page keeps its place with entry 0, so that the
 * places in the table stay right.
 */
#include "client/store/format/writeset.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "client/store/format/dir.h"
#include "core/alloc.h"

#define DENSE_FIRST 64u
#define DENSE_MAX 4096u
#define DENSE_KEEP 1024u
#define LINEAR_MAX 8u /* so few are found by looking at each */
#define PIECE_BITS 17
#define PIECE_ENTRIES (1u << PIECE_BITS) /* 1 MiB */
#define PIECE_COUNT (1u << (32 - PIECE_BITS))
#define PIECE_SIZE ((size_t)PIECE_ENTRIES * sizeof(uint64_t))

void
ramet_writeset_init(struct ramet_writeset *set)
{
    memset(set, 0, sizeof(*set));
    set->fd = -1;
}

static void
drop_pieces(struct ramet_writeset *set, const struct ramet_os *os)
{
    if (set->pieces == NULL)
        return;
    assert(set->fd >= 0); /* invariant (3) */
    for (uint32_t i = 0; i < PIECE_COUNT; i++)
        if (set->pieces[i] != NULL)
            os->unmap(os->ctx, set->pieces[i], PIECE_SIZE);
    ramet_free(set->pieces);
    set->pieces = NULL;
    set->high = 0;
    os->close(os->ctx, set->fd);
    set->fd = -1;
}

void
ramet_writeset_done(struct ramet_writeset *set, const struct ramet_os *os)
{
    drop_pieces(set, os);
    ramet_free(set->dense);
    ramet_free(set->table);
    ramet_writeset_init(set);
}

void
ramet_writeset_clear(struct ramet_writeset *set, const struct ramet_os *os)
{
    if (set->pieces != NULL || set->capacity > DENSE_KEEP) {
        ramet_writeset_done(set, os);
        return;
    }
    if (set->count > LINEAR_MAX)
        memset(set->table, 0, set->table_size * sizeof(*set->table));
    assert(set->capacity <= DENSE_KEEP);
    set->count = 0;
}

static uint32_t
hash_of(const struct ramet_writeset *set, uint32_t pgno)
{
    assert(set->table_size != 0 &&
           (set->table_size & (set->table_size - 1)) == 0);
    assert(pgno >= 1);
    return (uint32_t)((pgno * UINT64_C(0x9E3779B97F4A7C15)) >> 32) &
           (set->table_size - 1);
}

static struct ramet_written_page *
find(const struct ramet_writeset *set, uint32_t pgno)
{
    assert(set->pieces == NULL); /* invariant (3) */
    if (set->count <= LINEAR_MAX) {
        for (uint32_t i = set->count; i-- > 0;)
            if (set->dense[i].pgno == pgno)
                return &set->dense[i];
        return NULL;
    }
    for (uint32_t at = hash_of(set, pgno); set->table[at] != 0;
         at = (at + 1) & (set->table_size - 1))
        if (set->dense[set->table[at] - 1].pgno == pgno)
            return &set->dense[set->table[at] - 1];
    return NULL;
}

struct ramet_entry
ramet_writeset_get(const struct ramet_writeset *set, uint32_t pgno)
{
    const struct ramet_written_page *write;

    assert(pgno != 0);
    if (set->pieces != NULL) {
        const struct ramet_entry *const piece =
            set->pieces[(pgno - 1) >> PIECE_BITS];

        return piece == NULL ? RAMET_NO_ENTRY
                             : piece[(pgno - 1) & (PIECE_ENTRIES - 1)];
    }
    write = find(set, pgno);
    return write == NULL ? RAMET_NO_ENTRY : write->entry;
}

static void
enter_in_table(struct ramet_writeset *set, uint32_t place)
{
    uint32_t at = hash_of(set, set->dense[place].pgno);

    assert(place < set->count);
    assert(set->count <= set->table_size / 2); /* invariant (2) */
    while (set->table[at] != 0)
        at = (at + 1) & (set->table_size - 1);
    set->table[at] = place + 1;
}

static enum ramet_rc
grow_dense(struct ramet_writeset *set, struct ramet_err *err)
{
    const uint32_t capacity =
        set->capacity == 0 ? DENSE_FIRST : set->capacity * 2;
    uint32_t *const table = ramet_calloc((size_t)capacity * 2, sizeof(*table));
    struct ramet_written_page *dense;

    assert(set->count == set->capacity && set->capacity < DENSE_MAX);
    if (table == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a transaction");
    dense = ramet_realloc(set->dense, capacity * sizeof(*dense));
    if (dense == NULL) {
        ramet_free(table);
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a transaction");
    }
    ramet_free(set->table);
    set->table = table;
    set->table_size = capacity * 2;
    set->dense = dense;
    set->capacity = capacity;
    if (set->count > LINEAR_MAX)
        for (uint32_t i = 0; i < set->count; i++)
            enter_in_table(set, i);
    return RAMET_OK;
}

static enum ramet_rc
put_piece(struct ramet_writeset *set, const struct ramet_os *os, uint32_t pgno,
          struct ramet_entry entry, struct ramet_err *err)
{
    const uint32_t at = (pgno - 1) >> PIECE_BITS;

    assert(pgno >= 1 && set->fd >= 0); /* invariant (3) */
    if (set->pieces[at] == NULL) {
        void *mapped = NULL;
        /* Allocated first: a full disk is an error, not a signal. */
        int result = os->allocate(os->ctx, set->fd, (uint64_t)at * PIECE_SIZE,
                                  PIECE_SIZE);

        if (result == 0)
            result = os->map(os->ctx, set->fd, (uint64_t)at * PIECE_SIZE,
                             PIECE_SIZE, true, &mapped);
        if (result < 0)
            return RAMET_FAIL_OS(err, result,
                                 "temporary file of a large transaction");
        set->pieces[at] = mapped;
    }
    set->pieces[at][(pgno - 1) & (PIECE_ENTRIES - 1)] = entry;
    if (pgno > set->high)
        set->high = pgno;
    return RAMET_OK;
}

/* From the dense array to the file. */
static enum ramet_rc
go_large(struct ramet_writeset *set, const struct ramet_os *os, int dir_fd,
         uint32_t slot, struct ramet_err *err)
{
    char name[32];
    enum ramet_rc rc = RAMET_OK;

    assert(set->pieces == NULL && set->count == DENSE_MAX);
    snprintf(name, sizeof(name), "pages-%u.tmp", slot);
    set->fd = ramet_dir_make_anew(os, dir_fd, name);
    if (set->fd < 0)
        return RAMET_FAIL_OS(err, set->fd, "create %s", name);
    os->unlink(os->ctx, dir_fd, name, false);
    set->pieces = ramet_calloc(PIECE_COUNT, sizeof(*set->pieces));
    if (set->pieces == NULL) {
        os->close(os->ctx, set->fd);
        set->fd = -1;
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a transaction");
    }
    for (uint32_t i = 0; i < set->count && rc == RAMET_OK; i++)
        if (!ramet_entry_is_none(set->dense[i].entry))
            rc = put_piece(set, os, set->dense[i].pgno, set->dense[i].entry,
                           err);
    if (rc != RAMET_OK)
        drop_pieces(set, os);
    return rc;
}

enum ramet_rc
ramet_writeset_put(struct ramet_writeset *set, const struct ramet_os *os,
                   int dir_fd, uint32_t slot, uint32_t pgno,
                   struct ramet_entry entry, struct ramet_err *err)
{
    struct ramet_written_page *write;
    enum ramet_rc rc;

    assert(pgno != 0 && !ramet_entry_is_none(entry));
    if (set->pieces != NULL)
        return put_piece(set, os, pgno, entry, err);
    write = find(set, pgno);
    if (write != NULL) {
        write->entry = entry;
        return RAMET_OK;
    }
    if (set->count == DENSE_MAX) {
        rc = go_large(set, os, dir_fd, slot, err);
        return rc != RAMET_OK ? rc : put_piece(set, os, pgno, entry, err);
    }
    if (set->count == set->capacity) {
        rc = grow_dense(set, err);
        if (rc != RAMET_OK)
            return rc;
    }
    assert(set->count < set->capacity && set->pieces == NULL);
    set->dense[set->count++] =
        (struct ramet_written_page){.entry = entry, .pgno = pgno};
    if (set->count == LINEAR_MAX + 1)
        for (uint32_t i = 0; i < set->count; i++)
            enter_in_table(set, i);
    else if (set->count > LINEAR_MAX)
        enter_in_table(set, set->count - 1);
    return RAMET_OK;
}

void
ramet_writeset_remove(struct ramet_writeset *set, uint32_t pgno)
{
    struct ramet_written_page *write;

    assert(pgno >= 1);
    if (set->pieces != NULL) {
        struct ramet_entry *const piece = set->pieces[(pgno - 1) >> PIECE_BITS];

        if (piece != NULL)
            piece[(pgno - 1) & (PIECE_ENTRIES - 1)] = RAMET_NO_ENTRY;
        return;
    }
    write = find(set, pgno);
    if (write != NULL)
        write->entry = RAMET_NO_ENTRY;
}

void
ramet_writeset_truncate(struct ramet_writeset *set, uint32_t last)
{
    for (uint32_t i = 0; set->pieces == NULL && i < set->count; i++)
        if (set->dense[i].pgno > last)
            set->dense[i].entry = RAMET_NO_ENTRY;
    if (set->pieces == NULL)
        return;
    assert(set->fd >= 0); /* invariant (3) */
    for (uint64_t pgno = (uint64_t)last + 1; pgno <= set->high; pgno++) {
        const uint32_t piece = (uint32_t)((pgno - 1) >> PIECE_BITS);

        if (set->pieces[piece] == NULL)
            pgno = ((uint64_t)(piece + 1) << PIECE_BITS);
        else
            set->pieces[piece][(pgno - 1) & (PIECE_ENTRIES - 1)] =
                RAMET_NO_ENTRY;
    }
    if (set->high > last)
        set->high = last;
}

bool
ramet_writeset_next(const struct ramet_writeset *set, uint64_t *io_cursor,
                    uint32_t *out_pgno, struct ramet_entry *out_entry)
{
    if (set->pieces == NULL) {
        while (*io_cursor < set->count) {
            const struct ramet_written_page *const write =
                &set->dense[*io_cursor];

            (*io_cursor)++;
            if (ramet_entry_is_none(write->entry))
                continue;
            *out_pgno = write->pgno;
            *out_entry = write->entry;
            return true;
        }
        return false;
    }
    while (*io_cursor < set->high) {
        const uint64_t at = *io_cursor;
        const struct ramet_entry *const piece = set->pieces[at >> PIECE_BITS];

        if (piece == NULL) {
            *io_cursor = ((at >> PIECE_BITS) + 1) << PIECE_BITS;
            continue;
        }
        (*io_cursor)++;
        if (ramet_entry_is_none(piece[at & (PIECE_ENTRIES - 1)]))
            continue;
        *out_pgno = (uint32_t)at + 1;
        *out_entry = piece[at & (PIECE_ENTRIES - 1)];
        return true;
    }
    return false;
}
