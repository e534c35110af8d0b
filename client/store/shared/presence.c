/*
 * presence.c - see presence.h.
 *
 * Read and written under the base lock, so one descriptor of the process will
 * do. The file is sparse, and shorter than the base where all that follows is
 * the default.
 */
#include "client/store/shared/presence.h"
#include "client/store/shared/locks.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/shared/index.h"
#include "client/store/shared/replica.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define BATCH 4096u

/* ---- words --------------------------------------------------------------- */

uint64_t
ramet_presence_sum(uint32_t pgno, const uint8_t *page, uint32_t page_size)
{
    const uint32_t skip = pgno == 1 ? RAMET_TRUE_HEADER_SIZE : 0;

    assert(pgno >= 1 && page_size > RAMET_TRUE_HEADER_SIZE);
    return ramet_presence_of_hash(ramet_hash64(page + skip, page_size - skip));
}

/* CRC-16 (polynomial 0x1021) over 48 bits, four at a time: any one, two or three
 * flipped bits of value and check are noticed, and each burst of sixteen. */
static unsigned
check_of(uint64_t value)
{
    static const uint16_t of_nibble[16] = {
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    uint16_t crc = 0;

    assert(value <= RAMET_PRESENCE_MASK);
    for (int shift = 44; shift >= 0; shift -= 4) {
        const unsigned nibble = (unsigned)(value >> shift) & 15;

        crc = (uint16_t)((crc << 4) ^ of_nibble[(crc >> 12) ^ nibble]);
    }
    return crc;
}

/* So that a word is not taken for another page's. */
static unsigned
tint_of(uint32_t pgno)
{
    assert(pgno >= 1);
    return (pgno * UINT32_C(0x9e3779b1)) >> 16;
}

uint64_t
ramet_presence_encode(uint32_t pgno, uint64_t value, bool checked)
{
    assert(value < RAMET_PRESENCE_MASK ||
           (checked && value == RAMET_PRESENCE_DAMAGED)); /* it stays so */
    if (!checked ||
        value == RAMET_PRESENCE_DEFAULT || /* what a hole reads as */
        value == RAMET_PRESENCE_DAMAGED)
        return value;
    return value | (uint64_t)(check_of(value) ^ tint_of(pgno)) << 48;
}

uint64_t
ramet_presence_decode(uint32_t pgno, uint64_t word, bool checked)
{
    const uint64_t value = word & RAMET_PRESENCE_MASK;

    assert(pgno >= 1);
    if (!checked && word <= RAMET_PRESENCE_ABSENT)
        return word;
    if (!checked) /* the checksum had all of page 1 */
        return pgno == 1 ? RAMET_PRESENCE_HELD : ramet_presence_of_hash(word);
    if (word == 0)
        return RAMET_PRESENCE_DEFAULT;
    return value != RAMET_PRESENCE_DEFAULT && value != RAMET_PRESENCE_MASK &&
                   word == ramet_presence_encode(pgno, value, true)
               ? value
               : RAMET_PRESENCE_DAMAGED;
}

/* ---- the file ------------------------------------------------------------ */

/* Its name lasts before a word is in it: nobody syncs it later. Empty, it says
 * nothing of any page. */
static int
make_presence(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    int fd =
        ramet_rights_open(os, replica->dir_fd, RAMET_PRESENCE_NAME, O_RDWR);
    int result;

    assert(!replica->is_readonly);
    if (fd != -ENOENT)
        return fd;
    fd = ramet_dir_open_or_make(os, replica->dir_fd, RAMET_PRESENCE_NAME);
    if (fd < 0)
        return fd;
    result = os->sync(os->ctx, replica->dir_fd);
    replica->presence_is_named = result == 0;
    if (result == 0)
        return fd;
    os->unlink(os->ctx, replica->dir_fd, RAMET_PRESENCE_NAME, false);
    os->close(os->ctx, fd);
    return result;
}

/* RAMET_ENOTFOUND (no text) where it was never made. */
static enum ramet_rc
open_presence(struct ramet_replica *replica, bool create, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    enum ramet_rc rc = RAMET_OK;

    ramet_mutex_lock(&replica->mutex);
    if (replica->presence_fd < 0) {
        const int fd =
            create && !replica->is_readonly
                ? make_presence(replica)
                : ramet_rights_open(os, replica->dir_fd, RAMET_PRESENCE_NAME,
                                    replica->is_readonly ? O_RDONLY : O_RDWR);

        if (fd == -ENOENT)
            rc = RAMET_ENOTFOUND;
        else if (fd < 0)
            rc = RAMET_FAIL_OS(err, fd, "open %s", RAMET_PRESENCE_NAME);
        else
            replica->presence_fd = fd;
    }
    ramet_mutex_unlock(&replica->mutex);
    return rc;
}

/* Empty, it may be of somebody who died before he had synced its name. */
static enum ramet_rc
make_name_last(struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;
    int result;

    assert(replica->presence_fd >= 0);
    assert(ramet_may_write_base(replica));
    if (replica->presence_is_named)
        return RAMET_OK;
    result = os->stat(os->ctx, replica->presence_fd, &st);
    if (result == 0 && st.size_bytes == 0)
        result = os->sync(os->ctx, replica->dir_fd);
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "sync the name of %s",
                             RAMET_PRESENCE_NAME);
    replica->presence_is_named = true;
    return RAMET_OK;
}

/* ---- words on disk -------------------------------------------------------- */

static enum ramet_rc
read_words(struct ramet_replica *replica, uint32_t first, uint32_t count,
           uint64_t *out_values, struct ramet_err *err)
{
    enum ramet_rc rc = open_presence(replica, false, err);
    size_t got = 0;

    assert(first >= 1 && count >= 1);
    memset(out_values, 0, count * sizeof(*out_values));
    if (rc != RAMET_OK)
        return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
    rc = ramet_os_read_some(replica->os, replica->presence_fd, out_values,
                            count * sizeof(*out_values),
                            (uint64_t)(first - 1) * sizeof(*out_values), &got,
                            RAMET_PRESENCE_NAME, err);
    if (got % sizeof(*out_values) != 0) /* torn by a crash: not written */
        memset((uint8_t *)out_values + got / 8 * 8, 0, got % 8);
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++)
        out_values[i] = ramet_presence_decode(
            first + i, ramet_get_le64((const uint8_t *)&out_values[i]),
            replica->presence_is_checked);
    return rc;
}

static enum ramet_rc
write_words(struct ramet_replica *replica, uint32_t first, uint32_t count,
            const uint64_t *values, struct ramet_err *err)
{
    uint8_t raw[BATCH * sizeof(*values) / 8];
    const uint32_t batch = sizeof(raw) / sizeof(*values);
    enum ramet_rc rc = open_presence(replica, true, err);

    assert(first >= 1);
    assert(ramet_may_write_base(replica));
    if (rc == RAMET_OK)
        rc = make_name_last(replica, err);
    while (rc == RAMET_OK && count != 0) {
        const uint32_t now = count < batch ? count : batch;

        for (uint32_t i = 0; i < now; i++)
            ramet_put_le64(raw + (size_t)i * 8,
                           ramet_presence_encode(first + i, values[i],
                                                 replica->presence_is_checked));
        rc = ramet_os_write_full(replica->os, replica->presence_fd, raw,
                                 (size_t)now * 8, (uint64_t)(first - 1) * 8,
                                 RAMET_PRESENCE_NAME, err);
        first += now;
        values += now;
        count -= now;
    }
    return rc;
}

/* ---- what the state carries: invariant (4) -------------------------------- */

static bool
has_unsynced(const struct ramet_replica *replica)
{
    return replica->head != NULL &&
           atomic_load(&replica->head->header.base.is_unsynced) != 0;
}

static void
free_state(struct ramet_state_file *state)
{
    if (state != NULL)
        ramet_state_file_done(state);
    ramet_free(state);
}

/* How many of the words from `at` on are of pages that follow one another. */
static uint32_t
count_neighbours(const struct ramet_unsynced *u, uint32_t at)
{
    uint32_t count = 1;

    assert(at < u->count);
    while (at + count < u->count &&
           u->pgnos[at + count] == u->pgnos[at] + count)
        count++;
    return count;
}

enum ramet_rc
ramet_presence_put(struct ramet_replica *replica,
                   const struct ramet_unsynced *unsynced, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;
    uint32_t count;

    assert(ramet_may_write_base(replica));
    for (uint32_t i = 0; rc == RAMET_OK && i < unsynced->count; i += count) {
        count = count_neighbours(unsynced, i);
        rc = write_words(replica, unsynced->pgnos[i], count,
                         unsynced->values + i, err);
    }
    if (rc == RAMET_OK && replica->head != NULL)
        atomic_store(&replica->head->header.base.is_unsynced, 0);
    return rc;
}

enum ramet_rc
ramet_presence_take_up(struct ramet_replica *replica,
                       const struct ramet_state_file *state,
                       struct ramet_err *err)
{
    /* Else it may be older than the file. */
    return replica->head == NULL || has_unsynced(replica)
               ? ramet_presence_put(replica, &state->unsynced, err)
               : RAMET_OK;
}

static void
put_over(const struct ramet_unsynced *u, uint32_t first, uint32_t count,
         uint64_t *values)
{
    for (uint32_t i = 0; i < u->count; i++)
        if (u->pgnos[i] >= first && u->pgnos[i] - first < count)
            values[u->pgnos[i] - first] = u->values[i];
}

/* They go into the file; or, where that may not be written, or can't be (a full
 * disk keeps nobody from reading), *out_over is a state of which they are to be put
 * over what is read there from now on (else NULL). Who adopts a file has no index
 * yet, and took them up. */
static enum ramet_rc
bring_unsynced(struct ramet_replica *replica,
               struct ramet_state_file **out_over, struct ramet_err *err)
{
    /* With the mark lock alone one may read; others may write meanwhile. */
    const bool may_write = ramet_may_write_base(replica) &&
                           !ramet_is_held(replica, RAMET_LOCK_MARK);
    struct ramet_state_file *state;
    enum ramet_rc rc;

    assert(ramet_may_read_base(replica));
    *out_over = NULL;
    if (!has_unsynced(replica))
        return RAMET_OK;
    state = ramet_calloc(1, sizeof(*state));
    if (state == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for the state");
    rc = ramet_state_file_read(replica->os, replica->dir_fd, state, err);
    if (rc == RAMET_OK &&
        (!may_write ||
         ramet_presence_take_up(replica, state, NULL) != RAMET_OK)) {
        *out_over = state;
        return RAMET_OK;
    }
    free_state(state);
    return rc;
}

/* ... for whoever writes. */
static enum ramet_rc
settle_unsynced(struct ramet_replica *replica, struct ramet_err *err)
{
    struct ramet_state_file *over;
    enum ramet_rc rc;

    assert(ramet_may_write_base(replica));
    rc = bring_unsynced(replica, &over, err);
    if (rc == RAMET_OK && over != NULL)
        rc = ramet_presence_take_up(replica, over, err);
    free_state(over);
    return rc;
}

enum ramet_rc
ramet_presence_read(struct ramet_replica *replica, uint32_t first,
                    uint32_t count, uint64_t *out_values, struct ramet_err *err)
{
    struct ramet_state_file *over;
    enum ramet_rc rc = bring_unsynced(replica, &over, err);

    assert(first >= 1 && count >= 1);
    if (rc == RAMET_OK)
        rc = read_words(replica, first, count, out_values, err);
    if (rc == RAMET_OK && over != NULL)
        put_over(&over->unsynced, first, count, out_values);
    free_state(over);
    return rc;
}

enum ramet_rc
ramet_presence_write(struct ramet_replica *replica, uint32_t first,
                     uint32_t count, const uint64_t *values,
                     struct ramet_err *err)
{
    const enum ramet_rc rc = settle_unsynced(replica, err);

    assert(ramet_may_write_base(replica));
    return rc == RAMET_OK ? write_words(replica, first, count, values, err)
                          : rc;
}

static enum ramet_rc
sync_presence(struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    enum ramet_rc rc = open_presence(replica, false, err);
    int result;

    if (rc != RAMET_OK)
        return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
    result = os->datasync(os->ctx, replica->presence_fd);
    return result == 0
               ? RAMET_OK
               : RAMET_FAIL_OS(err, result, "sync %s", RAMET_PRESENCE_NAME);
}

/* A sync that failed may have lost words that it was to make last, and the next
 * one does not bring them back. */
static enum ramet_rc
write_again(struct ramet_replica *replica, uint32_t first, uint32_t count,
            struct ramet_err *err)
{
    uint64_t values[BATCH / 8];
    const uint32_t batch = sizeof(values) / sizeof(*values);
    enum ramet_rc rc = RAMET_OK;

    while (rc == RAMET_OK && count != 0) {
        const uint32_t now = count < batch ? count : batch;

        rc = ramet_presence_read(replica, first, now, values, err);
        if (rc == RAMET_OK)
            rc = ramet_presence_write(replica, first, now, values, err);
        first += now;
        count -= now;
    }
    return rc;
}

enum ramet_rc
ramet_presence_sync(struct ramet_replica *replica,
                    struct ramet_state_file *state, struct ramet_err *err)
{
    struct ramet_unsynced *const u = &state->unsynced;
    enum ramet_rc rc = settle_unsynced(replica, err);
    uint32_t count;

    for (uint32_t i = 0; rc == RAMET_OK && i < u->count; i += count) {
        count = count_neighbours(u, i);
        rc = write_again(replica, u->pgnos[i], count, err);
    }
    if (rc == RAMET_OK)
        rc = sync_presence(replica, err);
    if (rc == RAMET_OK)
        ramet_unsynced_truncate(u, 0);
    return rc;
}

enum ramet_rc
ramet_presence_sync_all(struct ramet_replica *replica,
                        struct ramet_state_file *state, struct ramet_err *err)
{
    const enum ramet_rc rc =
        state->base_page_count == 0
            ? RAMET_OK
            : write_again(replica, 1, state->base_page_count, err);

    return rc == RAMET_OK ? ramet_presence_sync(replica, state, err) : rc;
}

enum ramet_rc
ramet_presence_truncate(struct ramet_replica *replica, uint32_t page_count,
                        struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const uint64_t size = (uint64_t)page_count * 8;
    enum ramet_rc rc = settle_unsynced(replica, err);
    struct ramet_os_stat st;
    int result;

    assert(ramet_may_write_base(replica));
    if (rc == RAMET_OK)
        rc = open_presence(replica, false, err);
    if (rc != RAMET_OK)
        return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
    result = os->stat(os->ctx, replica->presence_fd, &st);
    /* Also if it is as long already: whoever cut it may not have it on disk. */
    if (result == 0 && st.size_bytes >= size)
        result = os->truncate(os->ctx, replica->presence_fd, size);
    return result == 0
               ? RAMET_OK
               : RAMET_FAIL_OS(err, result, "truncate %s", RAMET_PRESENCE_NAME);
}

/* How many pages there may be words of: of those after them what is known is the
 * default. */
static enum ramet_rc
count_words(struct ramet_replica *replica, uint64_t *out_words,
            struct ramet_err *err)
{
    enum ramet_rc rc = open_presence(replica, false, err);
    struct ramet_os_stat st = {.size_bytes = 0};
    int failed;

    *out_words = has_unsynced(replica) ? UINT32_MAX : 0;
    if (rc != RAMET_OK || has_unsynced(replica))
        return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
    failed = replica->os->stat(replica->os->ctx, replica->presence_fd, &st);
    if (failed < 0)
        return RAMET_FAIL_OS(err, failed, "%s", RAMET_PRESENCE_NAME);
    *out_words = st.size_bytes / sizeof(uint64_t) + 1; /* one may be torn */
    return RAMET_OK;
}

enum ramet_rc
ramet_presence_count_absent(struct ramet_replica *replica, uint32_t page_count,
                            uint64_t *out_absent, struct ramet_err *err)
{
    uint64_t *const values = ramet_alloc(BATCH * sizeof(*values));
    uint64_t absent = 0, words = 0;
    enum ramet_rc rc;

    assert(ramet_may_read_base(replica));
    if (values == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to read %s",
                          RAMET_PRESENCE_NAME);
    rc = count_words(replica, &words, err);
    if (words > page_count)
        words = page_count;
    if (!replica->default_held)
        absent = page_count - words;
    for (uint64_t at = 0; rc == RAMET_OK && at < words; at += BATCH) {
        const uint32_t count =
            words - at < BATCH ? (uint32_t)(words - at) : BATCH;

        rc = ramet_presence_read(replica, (uint32_t)at + 1, count, values, err);
        for (uint32_t i = 0; rc == RAMET_OK && i < count; i++)
            absent +=
                ramet_presence_is_missing(values[i], replica->default_held);
    }
    ramet_free(values);
    if (rc == RAMET_OK)
        *out_absent = absent;
    return rc;
}

enum ramet_rc
ramet_presence_begin(struct ramet_replica *replica, uint32_t page_count,
                     uint64_t *out_absent, struct ramet_err *err)
{
    struct ramet_index_header *const header = &replica->head->header;
    uint64_t absent = atomic_load(&header->base.absent);
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_may_write_base(replica));
    if (atomic_exchange(&header->base.is_recounting, 1) != 0)
        rc = ramet_presence_count_absent(replica, page_count, &absent, err);
    if (rc == RAMET_OK)
        *out_absent = absent;
    return rc;
}

void
ramet_presence_end(struct ramet_replica *replica, uint64_t absent)
{
    struct ramet_index_header *const header = &replica->head->header;

    assert(ramet_may_write_base(replica));
    atomic_store(&header->base.absent, absent);
    atomic_store(&header->base.is_recounting, 0);
}
