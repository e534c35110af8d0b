/*
 * base.c - the plain file that a replica stands on.
 *
 *   (1) its first 100 bytes are the true ones only while it is clean; they are
 *       written by the clean close alone
 *   (2) no descriptor of the base is opened or closed here while the replica
 *       lives: that would drop the locks of a SQLite in this process
 */
#include "client/store/shared/base.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "core/alloc.h"

static const char mark_text[] =
    "This is a Ramet replica, not a database; use 'ramet export'.\n";
#define MARK_TOKEN_AT 61u /* three characters */
#define MARK_ID_AT 64u    /* text form of the id, 36 bytes: to byte 100 */
static_assert(sizeof(mark_text) - 1 == MARK_TOKEN_AT,
              "the text ends before it");
static_assert(MARK_ID_AT + RAMET_ID_TEXT_SIZE - 1 == RAMET_TRUE_HEADER_SIZE,
              "the mark fills the header");

static const char token_digits[] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

void
ramet_base_mark(const struct ramet_id *base_id, uint32_t token,
                uint8_t out[RAMET_TRUE_HEADER_SIZE])
{
    char text[RAMET_ID_TEXT_SIZE];

    assert(token <= RAMET_MARK_TOKEN_MAX);
    memset(out, ' ', RAMET_TRUE_HEADER_SIZE);
    memcpy(out, mark_text, sizeof(mark_text) - 1);
    for (unsigned i = 0; token != 0 && i < 3; i++)
        out[MARK_TOKEN_AT + i] =
            (uint8_t)token_digits[token >> (12 - 6 * i) & 63];
    ramet_id_format(base_id, text);
    memcpy(out + MARK_ID_AT, text, sizeof(text) - 1);
}

bool
ramet_base_mark_parse(const uint8_t first[RAMET_TRUE_HEADER_SIZE],
                      const struct ramet_id *base_id, uint32_t *out_token)
{
    uint8_t mark[RAMET_TRUE_HEADER_SIZE];
    uint32_t token = 0;

    for (unsigned i = 0; i < 3; i++) {
        const uint8_t digit = first[MARK_TOKEN_AT + i];
        const char *const at = digit == 0 ? NULL : strchr(token_digits, digit);

        token = token << 6 | (at == NULL ? 0 : (uint32_t)(at - token_digits));
    }
    ramet_base_mark(base_id, token, mark);
    assert(token <= RAMET_MARK_TOKEN_MAX);
    *out_token = token;
    return memcmp(first, mark, sizeof(mark)) == 0;
}

enum ramet_rc
ramet_mark_token_new(const struct ramet_os *os, uint32_t *out_token,
                     struct ramet_err *err)
{
    uint32_t token = 0;
    const int result = os->random(os->ctx, &token, sizeof(token));

    if (result < 0)
        return RAMET_FAIL_OS(err, result, "random number");
    *out_token = token % RAMET_MARK_TOKEN_MAX + 1;
    return RAMET_OK;
}

bool
ramet_base_is_any_mark(const uint8_t first[RAMET_TRUE_HEADER_SIZE])
{
    return memcmp(first, mark_text, sizeof(mark_text) - 1) == 0;
}

bool
ramet_base_is_spoilt_mark(const uint8_t first[RAMET_TRUE_HEADER_SIZE],
                          const struct ramet_id *base_id)
{
    uint8_t mark[RAMET_TRUE_HEADER_SIZE];
    unsigned same = 0;

    ramet_base_mark(base_id, 0, mark);
    for (unsigned i = 0; i < sizeof(mark); i++)
        same += first[i] == mark[i];
    assert(same <= RAMET_TRUE_HEADER_SIZE);
    return same >= RAMET_TRUE_HEADER_SIZE / 2;
}

/*
 * Is there anything in the file? What was finished is empty, or begins with
 * zeros: SQLite's own rule (hasHotJournal() in pager.c). One that is there and
 * may not be read is taken for unfinished; that it can't be looked for, for want
 * of descriptors, say, tells nothing of it.
 */
static enum ramet_rc
look_unfinished(struct ramet_replica *replica, const char *name,
                bool *out_unfinished, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const int fd =
        os->open(os->ctx, replica->parent_fd, name, O_RDONLY | O_NONBLOCK, 0);
    uint8_t first = 0;
    size_t got = 0;
    enum ramet_rc rc;

    assert(replica->parent_fd >= 0 && name[0] != '\0');
    *out_unfinished = fd == -EACCES || fd == -EPERM || fd == -ELOOP;
    if (fd == -ENOENT || *out_unfinished)
        return RAMET_OK;
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "look for %s", name);
    rc = ramet_os_read_some(os, fd, &first, 1, 0, &got, name, err);
    os->close(os->ctx, fd);
    *out_unfinished = first != 0;
    return rc;
}

enum ramet_rc
ramet_base_leftover(struct ramet_replica *replica, const char **out_suffix,
                    struct ramet_err *err)
{
    static const char *const suffixes[] = {"-wal", "-journal"};
    enum ramet_rc rc = RAMET_OK;

    *out_suffix = NULL;
    for (unsigned i = 0; i < 2 && rc == RAMET_OK && *out_suffix == NULL; i++) {
        char *const name = ramet_asprintf("%s%s", replica->name, suffixes[i]);
        bool unfinished = false;

        if (name == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
        rc = look_unfinished(replica, name, &unfinished, err);
        if (rc == RAMET_OK && unfinished)
            *out_suffix = suffixes[i];
        ramet_free(name);
    }
    assert(rc == RAMET_OK || *out_suffix == NULL);
    return rc;
}

/* After a sync that failed the system may take for written what it did not write,
 * the mark with it. Pages are moved anew by whoever tries again; the mark is
 * written again because no token is known to be on the base. */
static enum ramet_rc
sync_failed(const struct ramet_replica *replica, int result,
            struct ramet_err *err)
{
    struct ramet_index_header *const header = &replica->head->header;

    assert(result < 0);
    atomic_store(&header->base.mark_token, RAMET_MARK_IN_DOUBT);
    atomic_store(&header->base.mark_synced, 0);
    atomic_fetch_add(&header->base.failed_syncs, 1);
    return RAMET_FAIL_OS(err, result, "sync %s", replica->path);
}

enum ramet_rc
ramet_base_sync(const struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const int result = os->sync(os->ctx, replica->base_fd);

    assert(!replica->is_readonly);
    return result == 0 ? RAMET_OK : sync_failed(replica, result, err);
}

enum ramet_rc
ramet_base_datasync(const struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    int result;

    assert(!replica->is_readonly && replica->base_fd >= 0);
    if (atomic_load(&replica->head->header.base.is_unsummed) != 0)
        return ramet_base_sync(replica, err);
    result = os->datasync(os->ctx, replica->base_fd);
    return result == 0 ? RAMET_OK : sync_failed(replica, result, err);
}

enum ramet_rc
ramet_base_leave(struct ramet_replica *replica, struct ramet_state_file *state,
                 struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;
    const int result = os->stat(os->ctx, replica->base_fd, &st);

    assert(ramet_may_write_base(replica));
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "stat %s", replica->path);
    state->base_device = st.device;
    state->base_inode = st.inode;
    state->base_size = st.size_bytes;
    state->base_mtime_ns = st.mtime_ns;
    state->base_ctime_ns = st.ctime_ns;
    state->mark_now = state->mark_next;
    return ramet_mark_token_new(os, &state->mark_next, err);
}

void
ramet_base_rest(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;

    assert(replica->base_fd >= 0);
    if (os->stat(os->ctx, replica->base_fd, &st) == 0) /* else: not known */
        ramet_base_rest_as(replica, &st);
}

void
ramet_base_rest_as(struct ramet_replica *replica,
                   const struct ramet_os_stat *st)
{
    struct ramet_index_header *const header = &replica->head->header;

    assert(ramet_may_publish(replica) || ramet_may_write_base(replica));
    atomic_store(&header->base.seen_size, st->size_bytes);
    atomic_store(&header->base.seen_mtime, (uint64_t)st->mtime_ns);
    atomic_store(&header->base.seen_ctime, (uint64_t)st->ctime_ns);
}

enum ramet_rc
ramet_base_write(struct ramet_replica *replica, uint32_t page_size,
                 uint32_t first, uint32_t count, const uint8_t *pages,
                 struct ramet_err *err)
{
    const uint32_t skip = first == 1 ? RAMET_TRUE_HEADER_SIZE : 0;

    assert(count >= 1 && ramet_page_size_ok(page_size));
    assert(ramet_may_write_base(replica));
    assert(first != 0);
    assert(atomic_load(&replica->head->header.base.mark_synced) != 0);
    return ramet_os_write_full(replica->os, replica->base_fd, pages + skip,
                               (size_t)count * page_size - skip,
                               (uint64_t)(first - 1) * page_size + skip,
                               replica->path, err);
}

enum ramet_rc
ramet_base_punch(struct ramet_replica *replica, uint32_t page_size,
                 uint32_t pgno, struct ramet_err *err)
{
    static const uint8_t zeros[RAMET_PAGE_SIZE_MAX];
    const struct ramet_os *const os = replica->os;
    const uint32_t skip = pgno == 1 ? RAMET_TRUE_HEADER_SIZE : 0;

    assert(ramet_page_size_ok(page_size));
    assert(ramet_may_write_base(replica));
    assert(pgno != 0);
    assert(atomic_load(&replica->head->header.base.mark_synced) != 0);
    if (os->punch(os->ctx, replica->base_fd,
                  (uint64_t)(pgno - 1) * page_size + skip,
                  page_size - skip) == 0)
        return RAMET_OK;
    return ramet_base_write(replica, page_size, pgno, 1, zeros, err);
}

void
ramet_base_header_get(struct ramet_replica *replica,
                      uint8_t out[RAMET_TRUE_HEADER_SIZE])
{
    uint64_t words[RAMET_BASE_HEADER_WORDS];

    assert(replica->head != NULL);
    for (unsigned i = 0; i < RAMET_BASE_HEADER_WORDS; i++)
        words[i] = atomic_load_explicit(&replica->head->header.base.header[i],
                                        memory_order_relaxed);
    memcpy(out, words, RAMET_TRUE_HEADER_SIZE);
}

void
ramet_base_header_set(struct ramet_replica *replica,
                      const uint8_t in[RAMET_TRUE_HEADER_SIZE])
{
    uint64_t words[RAMET_BASE_HEADER_WORDS] = {0};

    assert(replica->has_own_index || ramet_may_write_base(replica));
    memcpy(words, in, RAMET_TRUE_HEADER_SIZE);
    for (unsigned i = 0; i < RAMET_BASE_HEADER_WORDS; i++)
        atomic_store_explicit(&replica->head->header.base.header[i], words[i],
                              memory_order_relaxed);
}

enum ramet_rc
ramet_base_read(struct ramet_replica *replica, uint32_t page_size,
                uint32_t pgno, uint8_t *out, struct ramet_err *err)
{
    size_t got = 0;
    enum ramet_rc rc;

    assert(ramet_page_size_ok(page_size) && pgno >= 1);
    if (replica->base_fd < 0)
        return RAMET_FAIL(err, RAMET_EFOREIGN, "%s: the base is gone",
                          replica->path);
    rc = ramet_os_read_some(replica->os, replica->base_fd, out, page_size,
                            (uint64_t)(pgno - 1) * page_size, &got,
                            replica->path, err);
    if (rc == RAMET_OK && got < page_size)
        memset(out + got, 0, page_size - got);
    if (rc == RAMET_OK && pgno == 1)
        ramet_base_header_get(replica, out);
    return rc;
}
