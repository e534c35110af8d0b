/*
 * base_check.c - see base_check.h.
 *
 * The mark on a dirty base has a token. `state` knows two of them: the one that
 * the base has since the last checkpoint was done, and the one that whoever
 * changes it next puts there first (base.c). Under that one pages may differ from
 * what presence says, but only those that the log has: nothing is to be compared.
 * Under the other all must be as they were left. A third is a copy's, from
 * another time.
 */
#include "client/store/shared/base_check.h"
#include "client/store/shared/locks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/shared/base.h"
#include "client/store/shared/base_sum.h"
#include "client/store/shared/index.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "core/alloc.h"

/* Bytes 18 and 19 say "WAL" in a database that was adopted as it was. */
static bool
is_same_header(const uint8_t *base, const uint8_t *ours)
{
    return memcmp(base, ours, 18) == 0 &&
           memcmp(base + 20, ours + 20, RAMET_TRUE_HEADER_SIZE - 20) == 0 &&
           (memcmp(base + 18, ours + 18, 2) == 0 ||
            (base[18] == 2 && base[19] == 2 && ours[18] == 1 && ours[19] == 1));
}

/* What native SQLite leaves beside a database that it has not finished with. */
static enum ramet_rc
look_for_native_files(struct ramet_replica *replica, struct ramet_err *err)
{
    const char *suffix = NULL;
    enum ramet_rc rc = RAMET_OK;

    if (replica->kind == RAMET_KIND_SQLITE)
        rc = ramet_base_leftover(replica, &suffix, err);
    if (rc == RAMET_OK && suffix != NULL)
        rc = RAMET_FAIL(err, RAMET_EFOREIGN,
                        "%s%s is there: another program changed the database; "
                        "'ramet adopt' takes it as it is",
                        replica->path, suffix);
    return rc;
}

/*
 * A file shorter than the mark grows by it, and until that is synced a crash may
 * leave the length without the bytes, or the bytes without the length. A clean
 * close writes the true bytes over the mark and then cuts off the rest of it.
 */
static bool
is_mark_in_part(const struct ramet_state_file *state, const uint8_t *first,
                size_t got, const uint8_t *mark)
{
    const uint64_t old = state->base_size;

    assert(got <= RAMET_TRUE_HEADER_SIZE);
    if (!state->is_clean || old >= RAMET_TRUE_HEADER_SIZE || got == 0)
        return false;
    if (memcmp(first, mark, got) == 0)
        return true;
    if (got <= old || memcmp(first, state->fold.newest.header, old) != 0)
        return false;
    for (uint64_t i = old; i < got; i++)
        if (first[i] != 0 && first[i] != mark[i])
            return false;
    return true;
}

/* What neither size nor content could change. */
static enum ramet_rc
foreign(const struct ramet_replica *replica, const char *what,
        struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_EFOREIGN,
                      "%s %s; 'ramet adopt' takes it as it is, 'ramet restore' "
                      "brings back what was there",
                      replica->path, what);
}

/* ---- what the inode says --------------------------------------------------- */

bool
ramet_base_was_written(const struct ramet_state_file *state,
                       const struct ramet_os_stat *st)
{
    return st->size_bytes != state->base_size ||
           st->inode != state->base_inode ||
           st->mtime_ns != state->base_mtime_ns;
}

static void
look_at_inode(const struct ramet_state_file *state, int64_t ctime_ns,
              struct ramet_base_look *look)
{
    const struct ramet_os_stat *const st = &look->st;

    look->is_strict = ramet_base_was_written(state, st);
    look->has_happened = look->is_strict || st->device != state->base_device ||
                         st->ctime_ns != ctime_ns;
}

static void
look_at_mark(const struct ramet_state_file *state, struct ramet_base_look *look)
{
    const struct ramet_os_stat *const st = &look->st;

    assert(look->token <= RAMET_MARK_TOKEN_MAX);
    look->form = RAMET_BASE_MARKED;
    if (look->token == state->mark_next)
        return;
    look->has_happened = look->is_strict = true;
    if (look->token != state->mark_now)
        return;
    if (!state->is_clean)
        look_at_inode(state, state->base_ctime_ns, look);
    else /* the true header, and its time, were about to follow */
        look->is_strict = st->inode != state->base_inode ||
                          (st->size_bytes != state->base_size &&
                           st->size_bytes > RAMET_TRUE_HEADER_SIZE);
}

static enum ramet_rc
look_at_header(struct ramet_replica *replica,
               const struct ramet_state_file *state, int64_t seen_ctime,
               const uint8_t *first, struct ramet_base_look *look,
               struct ramet_err *err)
{
    uint8_t ours[RAMET_TRUE_HEADER_SIZE];
    enum ramet_rc rc;

    assert(first != NULL);
    look->form = RAMET_BASE_CLEAN;
    if (ramet_base_is_spoilt_mark(first, &state->base_id))
        return RAMET_FAIL(err, RAMET_EFOREIGN,
                          "the mark at the beginning of %s is damaged: the "
                          "disk corrupted it, or another program wrote there; "
                          "the file holds nothing without %s-ramet, so 'ramet "
                          "adopt' can't take it: put the right file back, or "
                          "'ramet restore' what the remote has",
                          replica->path, replica->path);
    ramet_state_true_header(state, ours);
    if (!state->is_clean || !is_same_header(first, ours))
        return foreign(replica, "was changed or replaced by another program",
                       err);
    rc = look_for_native_files(replica, err);
    if (rc != RAMET_OK)
        return rc;
    look_at_inode(state,
                  state->base_ctime_ns != 0 ? state->base_ctime_ns : seen_ctime,
                  look);
    return look->st.size_bytes == state->base_size
               ? RAMET_OK
               : foreign(replica,
                         "has another size: another program changed it", err);
}

enum ramet_rc
ramet_base_check(struct ramet_replica *replica,
                 const struct ramet_state_file *state, int64_t seen_ctime,
                 struct ramet_base_look *out, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    uint8_t first[RAMET_TRUE_HEADER_SIZE] = {0};
    uint8_t mark[RAMET_TRUE_HEADER_SIZE];
    size_t got = 0;
    int result;
    enum ramet_rc rc;

    assert(replica->base_fd >= 0);
    memset(out, 0, sizeof(*out));
    rc = ramet_os_read_some(os, replica->base_fd, first, sizeof(first), 0, &got,
                            replica->path, err);
    if (rc != RAMET_OK)
        return rc;
    if (state->is_adopting)
        return foreign(replica, "was being adopted, and that was interrupted",
                       err);
    result = os->stat(os->ctx, replica->base_fd, &out->st);
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "stat %s", replica->path);
    if (ramet_base_mark_parse(first, &state->base_id, &out->token)) {
        look_at_mark(state, out);
        return RAMET_OK;
    }
    for (unsigned i = 0; i < 2; i++) {
        ramet_base_mark(&state->base_id,
                        i == 0 ? state->mark_next : state->mark_now, mark);
        if (out->st.size_bytes <= RAMET_TRUE_HEADER_SIZE &&
            is_mark_in_part(state, first, got, mark)) {
            out->form = RAMET_BASE_MARKED_IN_PART;
            return RAMET_OK;
        }
    }
    return look_at_header(replica, state, seen_ctime, first, out, err);
}

/* ---- what the content says ------------------------------------------------- */

struct comparison {
    struct ramet_replica *replica;
    uint32_t page_size;
    uint64_t zeros;       /* checksum of a page of zeros */
    uint64_t first_zeros; /* ... of page 1 */
    uint64_t different;
    uint64_t unconfirmed;
    uint8_t *block; /* RAMET_BASE_BLOCK_BYTES */
};

/* `sum` is of what the base has. */
static void
compare_page(struct comparison *c, uint32_t pgno, uint64_t value, uint64_t sum)
{
    const uint64_t zeros = pgno == 1 ? c->first_zeros : c->zeros;

    assert(sum < RAMET_PRESENCE_MASK);
    assert(pgno >= 1);
    if (ramet_presence_is_sum(value)) {
        c->different += sum != value;
    } else if (value == RAMET_PRESENCE_ZERO) {
        c->different += sum != zeros;
    } else if (sum == zeros) {
        return; /* a hole tells nothing, and loses nothing */
    } else if (ramet_is_unsummed(c->replica)) {
        c->unconfirmed++;
    } else if (value == RAMET_PRESENCE_DEFAULT) { /* nobody wrote there */
        c->different++;
    }
}

/* Is what the base has of the page what presence speaks of? Not if the log has
 * the page, nor where a word is damaged. */
static bool
is_compared(const struct comparison *c, uint32_t pgno, uint64_t value)
{
    const enum ramet_entry_kind kind =
        ramet_entry_kind(ramet_index_peek(c->replica, pgno));
    const enum ramet_entry_kind in_base =
        ramet_presence_kind(value, c->replica->default_held);

    assert(pgno >= 1);
    return (kind == RAMET_ENTRY_NONE || kind == RAMET_ENTRY_HELD ||
            kind == RAMET_ENTRY_ZERO) &&
           (in_base == RAMET_ENTRY_HELD || in_base == RAMET_ENTRY_ZERO);
}

static enum ramet_rc
compare_block(struct comparison *c, uint32_t first, uint32_t count,
              struct ramet_err *err)
{
    uint64_t values[RAMET_BASE_BLOCK_PAGES];
    uint64_t sums[RAMET_BASE_BLOCK_PAGES];
    enum ramet_rc rc =
        ramet_presence_read(c->replica, first, count, values, err);

    assert(count >= 1 && count <= RAMET_BASE_BLOCK_PAGES);
    if (rc == RAMET_OK)
        rc = ramet_base_sums(c->replica, c->page_size, first, count, c->block,
                             sums, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++)
        if (is_compared(c, first + i, values[i]))
            compare_page(c, first + i, values[i], sums[i]);
    return rc;
}

/* All pages of the base that the newest snapshot has. */
static enum ramet_rc
compare_all(struct comparison *c, struct ramet_err *err)
{
    const struct ramet_index_header *const header = &c->replica->head->header;
    const uint32_t at_once = ramet_base_block_pages(c->page_size);
    uint64_t count = atomic_load(&header->checkpoint.page_count);
    struct ramet_published newest;
    enum ramet_rc rc = RAMET_OK;

    assert(c->block != NULL && ramet_page_size_ok(c->page_size));
    ramet_index_newest(c->replica, &newest);
    if (newest.snapshot.page_size != c->page_size)
        return RAMET_OK; /* all of them are in the log */
    if (newest.snapshot.page_count < count)
        count = newest.snapshot.page_count;
    memset(c->block, 0, c->page_size);
    c->zeros = ramet_presence_sum(2, c->block, c->page_size);
    c->first_zeros = ramet_presence_sum(1, c->block, c->page_size);
    for (uint64_t at = 0; rc == RAMET_OK && at < count; at += at_once)
        rc = compare_block(
            c, (uint32_t)at + 1,
            count - at < at_once ? (uint32_t)(count - at) : at_once, err);
    return rc;
}

/* An adopted file that we never wrote to, nor sent, is what it is. */
static bool
is_anything_right(const struct ramet_replica *replica)
{
    struct ramet_published newest;

    ramet_index_newest(replica, &newest);
    return newest.snapshot.lsn == 0 && ramet_log_is_empty(replica) &&
           atomic_load(&replica->head->header.base.is_marked) == 0;
}

static enum ramet_rc
fail_foreign(const struct comparison *c, const struct ramet_base_look *look,
             struct ramet_err *err)
{
    const struct ramet_replica *const replica = c->replica;
    const char *const rot =
        look->is_strict
            ? ""
            : " (but its modification time has not changed: 'ramet verify' "
              "repairs what the disk corrupted)";

    assert(c->different != 0 || c->unconfirmed != 0);
    if (look->form == RAMET_BASE_MARKED)
        return RAMET_FAIL(
            err, RAMET_EFOREIGN,
            "%s is not as it was left (a copy of another time?): %llu of its "
            "pages differ%s; it holds nothing without %s-ramet, so 'ramet "
            "adopt' can't take it: put the right file back, or 'ramet restore' "
            "what the remote has",
            replica->path, (unsigned long long)(c->different + c->unconfirmed),
            rot, replica->path);
    return RAMET_FAIL(
        err, RAMET_EFOREIGN,
        "%s was changed or replaced by another program: %llu pages %s%s; "
        "'ramet adopt' takes it as it is, 'ramet restore' brings back what was "
        "there",
        replica->path,
        (unsigned long long)(c->different != 0 ? c->different : c->unconfirmed),
        c->different != 0 ? "differ" : "have no checksum yet to tell by", rot);
}

static enum ramet_rc
judge(const struct comparison *c, const struct ramet_base_look *look,
      bool is_lenient, struct ramet_err *err)
{
    assert(look->has_happened); /* invariant (1) */
    if (c->different != 0 && is_lenient && !look->is_strict)
        return RAMET_OK; /* so rotten pages are found */
    if (c->different == 0 && (c->unconfirmed == 0 || !look->is_strict ||
                              is_anything_right(c->replica)))
        return RAMET_OK;
    return fail_foreign(c, look, err);
}

enum ramet_rc
ramet_base_compare(struct ramet_replica *replica,
                   const struct ramet_base_look *look, bool is_lenient,
                   struct ramet_err *err)
{
    struct comparison c = {.replica = replica};
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_may_read_base(replica));
    if (!look->has_happened)
        return RAMET_OK;
    c.page_size =
        (uint32_t)atomic_load(&replica->head->header.checkpoint.page_size);
    if (c.page_size == 0)
        return RAMET_OK;
    c.block = ramet_alloc(RAMET_BASE_BLOCK_BYTES);
    if (c.block == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to compare %s",
                          replica->path);
    rc = compare_all(&c, err);
    ramet_free(c.block);
    return rc == RAMET_OK ? judge(&c, look, is_lenient, err) : rc;
}

/* ---- while it is in use ---------------------------------------------------- */

/* Compare with what was seen; false: nothing has happened, or it isn't known. */
static bool
look_again(const struct ramet_replica *replica, struct ramet_base_look *out)
{
    const struct ramet_os *const os = replica->os;
    const struct ramet_index_header *const header = &replica->head->header;
    const uint64_t ctime = atomic_load(&header->base.seen_ctime);

    memset(out, 0, sizeof(*out));
    out->form = atomic_load(&header->base.is_marked) != 0 ? RAMET_BASE_MARKED
                                                          : RAMET_BASE_CLEAN;
    if (ctime == 0 || os->stat(os->ctx, replica->base_fd, &out->st) < 0)
        return false;
    out->is_strict =
        out->st.size_bytes != atomic_load(&header->base.seen_size) ||
        (uint64_t)out->st.mtime_ns != atomic_load(&header->base.seen_mtime);
    out->has_happened = out->is_strict || (uint64_t)out->st.ctime_ns != ctime;
    return out->has_happened;
}

bool
ramet_base_is_at_rest(const struct ramet_replica *replica)
{
    struct ramet_base_look look;

    return !look_again(replica, &look);
}

/* What would be written to a file that no name leads to is lost. */
static bool
has_its_name(const struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    const struct ramet_index_header *const header = &replica->head->header;
    struct ramet_os_stat st;

    assert(replica->parent_fd >= 0);
    return os->stat_at(os->ctx, replica->parent_fd, replica->name, &st) == 0 &&
           st.inode == header->base_inode && st.device == header->base_device;
}

enum ramet_rc
ramet_base_confirm(struct ramet_replica *replica, struct ramet_err *err)
{
    struct ramet_base_look look;
    enum ramet_rc rc;

    assert(ramet_is_held(replica, RAMET_LOCK_MARK) ||
           ramet_may_write_base(replica));
    if (!has_its_name(replica))
        return RAMET_FAIL(err, RAMET_EFOREIGN,
                          "%s was moved or replaced while it was in use; the "
                          "log keeps what was committed; see 'ramet adopt' and "
                          "'ramet restore'",
                          replica->path);
    if (!look_again(replica, &look))
        return RAMET_OK;
    rc = ramet_base_compare(replica, &look, false, err);
    if (rc == RAMET_OK)
        ramet_base_rest(replica);
    return rc;
}
