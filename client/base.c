/*
 * base.c - the plain file that a replica stands on.
 *
 *   (1) its first 100 bytes are the true ones only while it is clean; they are
 *       written by the clean close alone
 *   (2) the replica mark is on disk before any page is written: after a crash
 *       in the midst of that the base is known to be ours
 *   (3) no descriptor of the base is opened or closed here while the replica
 *       lives: that would drop the locks of a SQLite in this process
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/replica_impl.h"
#include "core/alloc.h"

#define PENDING_BYTE UINT64_C(0x40000000)
#define SHARED_REST (PENDING_BYTE + 3) /* byte ...02 is ours and shared */
#define SHARED_REST_LEN 509u

static const char mark_text[] =
    "This is a Ramet replica, not a database; use 'ramet export'.\n";
#define MARK_ID_AT 64u /* text form of the id, 36 bytes: to byte 100 */
static_assert(sizeof(mark_text) - 1 <= MARK_ID_AT, "the text ends before it");
static_assert(MARK_ID_AT + RAMET_ID_TEXT_SIZE - 1 == RAMET_TRUE_HEADER_SIZE,
              "the mark fills the header");

void
ramet_base_mark(const struct ramet_id *base_id,
                uint8_t out[RAMET_TRUE_HEADER_SIZE])
{
    char text[RAMET_ID_TEXT_SIZE];

    memset(out, ' ', RAMET_TRUE_HEADER_SIZE);
    memcpy(out, mark_text, sizeof(mark_text) - 1);
    ramet_id_format(base_id, text);
    memcpy(out + MARK_ID_AT, text, sizeof(text) - 1);
}

bool
ramet_base_is_any_mark(const uint8_t first[RAMET_TRUE_HEADER_SIZE])
{
    return memcmp(first, mark_text, sizeof(mark_text) - 1) == 0;
}

/* Is there anything in the file? What was finished is empty, or begins with
 * zeros: SQLite's own rule (hasHotJournal() in pager.c). */
static bool
is_unfinished(struct ramet_replica *replica, const char *name)
{
    const struct ramet_os *const os = replica->os;
    const int fd =
        os->open(os->ctx, replica->parent_fd, name, O_RDONLY | O_NONBLOCK, 0);
    uint8_t first = 0;
    size_t got = 0;
    bool is_known;

    if (fd < 0)
        return fd != -ENOENT;
    is_known =
        ramet_os_read_some(os, fd, &first, 1, 0, &got, name, NULL) == RAMET_OK;
    os->close(os->ctx, fd);
    return !is_known || first != 0;
}

enum ramet_rc
ramet_base_leftover(struct ramet_replica *replica, const char **out_suffix,
                    struct ramet_err *err)
{
    static const char *const suffixes[] = {"-wal", "-journal"};

    *out_suffix = NULL;
    for (unsigned i = 0; i < 2 && *out_suffix == NULL; i++) {
        char *const name = ramet_asprintf("%s%s", replica->name, suffixes[i]);

        if (name == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
        if (is_unfinished(replica, name))
            *out_suffix = suffixes[i];
        ramet_free(name);
    }
    return RAMET_OK;
}

/* Keep native SQLite out for the moment: no reader, no writer. */
static enum ramet_rc
lock_natives(struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    int result = os->lock(os->ctx, replica->base_fd, PENDING_BYTE, 1,
                          RAMET_LOCK_EXCLUSIVE);

    if (result == 0) {
        result = os->lock(os->ctx, replica->base_fd, SHARED_REST,
                          SHARED_REST_LEN, RAMET_LOCK_EXCLUSIVE);
        if (result != 0)
            os->lock(os->ctx, replica->base_fd, PENDING_BYTE, 1, RAMET_UNLOCK);
    }
    if (result == 0)
        return RAMET_OK;
    if (result == -EAGAIN)
        return RAMET_FAIL(err, RAMET_EBUSY,
                          "%s is in use by a program that does not know Ramet",
                          replica->path);
    return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result, "lock %s",
                          replica->path);
}

static void
unlock_natives(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;

    os->lock(os->ctx, replica->base_fd, SHARED_REST, SHARED_REST_LEN,
             RAMET_UNLOCK);
    os->lock(os->ctx, replica->base_fd, PENDING_BYTE, 1, RAMET_UNLOCK);
}

static bool
is_marked(const struct ramet_replica *replica)
{
    return atomic_load_explicit(&replica->head->header.is_marked,
                                memory_order_acquire) != 0;
}

static enum ramet_rc
put_mark_on(struct ramet_replica *replica, struct ramet_err *err)
{
    uint8_t mark[RAMET_TRUE_HEADER_SIZE];
    enum ramet_rc rc = lock_natives(replica, err);

    if (rc != RAMET_OK)
        return rc;
    ramet_base_mark(&replica->base_id, mark);
    rc = ramet_os_write_full(replica->os, replica->base_fd, mark, sizeof(mark),
                             0, replica->path, err);
    unlock_natives(replica);
    if (rc == RAMET_OK)
        atomic_store_explicit(&replica->head->header.is_marked, 1,
                              memory_order_release);
    return rc;
}

enum ramet_rc
ramet_base_unclean(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    enum ramet_rc rc;

    if (is_marked(replica))
        return RAMET_OK;
    /* One at a time: to another the first would look like a native reader. */
    rc = ramet_lock_wait(replica->os, session->lock_fd, RAMET_LOCK_MARK,
                         RAMET_LOCK_EXCLUSIVE, RAMET_LOCK_WAIT_MS,
                         "another session begins to write", err);
    if (rc != RAMET_OK)
        return rc;
    if (!is_marked(replica))
        rc = put_mark_on(replica, err);
    ramet_lock_drop(replica->os, session->lock_fd, RAMET_LOCK_MARK);
    return rc;
}

enum ramet_rc
ramet_base_begin(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    struct ramet_index_header *const header = &replica->head->header;
    enum ramet_rc rc = ramet_base_unclean(session, err);
    int result;

    if (rc != RAMET_OK || atomic_load(&header->mark_synced) != 0)
        return rc;
    result = os->sync(os->ctx, replica->base_fd);
    if (result < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                              "sync %s", replica->path);
    atomic_store(&header->mark_synced, 1);
    atomic_store(&header->was_written, 1);
    return RAMET_OK;
}

enum ramet_rc
ramet_base_write(struct ramet_replica *replica, uint32_t page_size,
                 uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    const uint32_t skip = pgno == 1 ? RAMET_TRUE_HEADER_SIZE : 0;

    assert(atomic_load(&replica->head->header.mark_synced) != 0);
    return ramet_os_write_full(
        replica->os, replica->base_fd, page + skip, page_size - skip,
        (uint64_t)(pgno - 1) * page_size + skip, replica->path, err);
}

enum ramet_rc
ramet_base_punch(struct ramet_replica *replica, uint32_t page_size,
                 uint32_t pgno, struct ramet_err *err)
{
    static const uint8_t zeros[RAMET_PAGE_SIZE_MAX];
    const struct ramet_os *const os = replica->os;
    const uint32_t skip = pgno == 1 ? RAMET_TRUE_HEADER_SIZE : 0;

    assert(atomic_load(&replica->head->header.mark_synced) != 0);
    if (os->punch(os->ctx, replica->base_fd,
                  (uint64_t)(pgno - 1) * page_size + skip,
                  page_size - skip) == 0)
        return RAMET_OK;
    return ramet_base_write(replica, page_size, pgno, zeros, err);
}

void
ramet_base_header_get(struct ramet_replica *replica,
                      uint8_t out[RAMET_TRUE_HEADER_SIZE])
{
    uint64_t words[RAMET_BASE_HEADER_WORDS];

    for (unsigned i = 0; i < RAMET_BASE_HEADER_WORDS; i++)
        words[i] = atomic_load_explicit(&replica->head->header.base_header[i],
                                        memory_order_relaxed);
    memcpy(out, words, RAMET_TRUE_HEADER_SIZE);
}

void
ramet_base_header_set(struct ramet_replica *replica,
                      const uint8_t in[RAMET_TRUE_HEADER_SIZE])
{
    uint64_t words[RAMET_BASE_HEADER_WORDS] = {0};

    memcpy(words, in, RAMET_TRUE_HEADER_SIZE);
    for (unsigned i = 0; i < RAMET_BASE_HEADER_WORDS; i++)
        atomic_store_explicit(&replica->head->header.base_header[i], words[i],
                              memory_order_relaxed);
}

enum ramet_rc
ramet_base_read(struct ramet_replica *replica, uint32_t page_size,
                uint32_t pgno, uint8_t *out, struct ramet_err *err)
{
    size_t got = 0;
    enum ramet_rc rc;

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
