/*
 * test_retained.c - readers that stay for long, and checkpoints that pass
 * them.
 *
 * A reader is passed when it is so many log files behind; to close one after
 * each commit, a checkpoint of all is asked for.
 */
#define _GNU_SOURCE
#include "tests/client/store/long_readers.h"

#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/replicas.h"
#include "client/store/shared/locks.h"
#include "core/os.h"

#define MIB UINT64_C(1048576)

/* ---- size --------------------------------------------------------------- */

static void
log__with_a_reader_that_stays__does_not_grow(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 300 * PLACE_PAGE);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct long_reader old;
    struct long_usage log;
    uint64_t rng = 1;

    OK(place_commit(writer, image, e));
    old = long_pin_newest(p, image);
    for (unsigned i = 0; i < 80; i++) { /* 94 MiB in all */
        store_random_bytes(&rng, image->bytes, image->size);
        OK(place_commit(writer, image, e));
    }
    for (unsigned i = 0; i < 1000; i++) { /* one may be at work elsewhere */
        OK(ramet_session_checkpoint(writer, false, e));
        log = long_usage_of(p, "log-");
        if (log.files <= KEPT_FILES)
            break;
        usleep(10000);
    }
    assert_true(log.files <= KEPT_FILES);
    assert_true(log.bytes < 50 * MIB);
    assert_true(long_usage_of(p, "past-").bytes < image->size * 2);
    store_expect(old.session, old.seen, __LINE__);
    place_expect(writer, image, __LINE__);
    long_end_reader(&old);
    ramet_session_close(writer);
    assert_int_equal(long_usage_of(p, "past-").files, 0);
    image_unref(image);
}

#define NOBODYS_BYTE UINT32_MAX

/* Somebody else is at a checkpoint, or reads where nothing can be written. */
static struct {
    pthread_t committer;
    int fd;                /* by which the byte is locked */
    _Atomic unsigned byte; /* the maintenance thread asks, too */
    unsigned tries;        /* of the committer, in one commit */
    unsigned tries_max;
} other;

/* It is done at the third look of a committer who waits for it. */
static int
lock_with_other(void *ctx, int fd, uint64_t offset, uint64_t len,
                enum ramet_lock_mode mode)
{
    const struct ramet_os *const os = ramet_os_system();

    if (offset == other.byte && mode == RAMET_LOCK_EXCLUSIVE &&
        pthread_equal(pthread_self(), other.committer) && ++other.tries == 3 &&
        other.byte == RAMET_LOCK_CHECKPOINT)
        assert_int_equal(os->lock(ctx, other.fd, other.byte, 1, RAMET_UNLOCK),
                         0);
    return os->lock(ctx, fd, offset, len, mode);
}

/* 36 commits of more than a log file each, and readers of some of them. */
static void
commit_beside(struct place *p, unsigned byte, enum ramet_lock_mode mode)
{
    struct image *const image = place_image(1, 1100 * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *writer;
    struct long_reader old;
    uint64_t rng = 1;
    char path[300];

    os.lock = lock_with_other;
    other.byte = NOBODYS_BYTE;
    other.committer = pthread_self();
    writer = place_open_on(p, RAMET_OPEN_CREATE, &os);
    OK(place_commit(writer, image, e));
    old = long_pin_newest_on(p, image, &os);
    snprintf(path, sizeof(path), "%s/lock", p->dir);
    other.fd = open(path, O_RDWR);
    other.tries_max = 0;
    OK(ramet_session_checkpoint(writer, true, e));
    for (unsigned i = 0;
         ramet_os_system()->lock(NULL, other.fd, byte, 1, mode) != 0;
         i++) { /* the maintenance thread may be at one */
        assert_true(i < 10000);
        usleep(1000);
    }
    other.byte = byte;
    for (unsigned i = 0; i < 36; i++) {
        store_random_bytes(&rng, image->bytes, image->size);
        other.tries = 0;
        OK(place_commit(writer, image, e));
        if (other.tries > other.tries_max)
            other.tries_max = other.tries;
    }
    other.byte = NOBODYS_BYTE;
    close(other.fd);
    store_expect(old.session, old.seen, __LINE__);
    place_expect(writer, image, __LINE__);
    long_end_reader(&old);
    ramet_session_close(writer);
    image_unref(image);
}

static void
log__that_outgrows_a_checkpoint__makes_committers_wait_for_it(void **state)
{
    commit_beside(*state, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE);
    assert_true(other.tries_max >= 3); /* else it is held to the end */
}

static void
log__with_a_reader_in_the_way__makes_nobody_wait(void **state)
{
    commit_beside(*state, RAMET_LOCK_UNPINNED, RAMET_LOCK_SHARED);
    assert_int_equal(other.tries_max, 1);
}

/* Readers that come and go, while one stays: what was kept for those that went
 * does not add up. */
static void
retained_versions__of_closed_readers__are_packed_away(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(2, 500 * PLACE_PAGE);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct long_reader first;
    struct long_reader passing = {NULL, NULL};
    uint64_t rng = 2;
    uint64_t most = 0;

    OK(place_commit(writer, image, e));
    first = long_pin_newest(p, image);
    for (unsigned i = 0; i < 24; i++) {
        struct long_usage past;

        store_random_bytes(&rng, image->bytes, image->size);
        OK(place_commit(writer, image, e));
        if (passing.session != NULL)
            long_end_reader(&passing);
        passing = long_pin_newest(p, image);
        store_random_bytes(&rng, image->bytes, image->size);
        long_commit_log_files(writer, image, &rng, 1);
        store_expect(passing.session, passing.seen, __LINE__);
        past = long_usage_of(p, "past-");
        assert_true(past.files > 0);
        if (past.bytes > most)
            most = past.bytes;
    }
    assert_true(most > 16 * MIB); /* there was something to pack */
    assert_true(most < 32 * MIB);
    store_expect(first.session, first.seen, __LINE__);
    long_end_reader(&passing);
    long_end_reader(&first);
    ramet_session_close(writer);
    image_unref(image);
}

/* ---- what readers see --------------------------------------------------- */

/* No other reader is there, whose pin would keep it. */
static void
checkpoint__by_the_reader_itself__keeps_what_it_sees(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(4, 12 * PLACE_PAGE);
    struct image *const seen = image_copy(image);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, 0);
    uint64_t rng = 4;

    OK(place_commit(writer, image, e));
    OK(ramet_session_pin(reader, e));
    for (unsigned i = 0; i < 24; i++) {
        store_random_bytes(&rng, image->bytes, image->size);
        OK(place_commit(writer, image, e));
        OK(ramet_session_checkpoint(reader, true, e));
        store_expect(reader, seen, __LINE__);
    }
    assert_true(long_usage_of(p, "past-").files > 0); /* it was passed */
    ramet_session_unpin(reader);
    place_expect(reader, image, __LINE__);
    ramet_session_close(reader);
    ramet_session_close(writer);
    image_unref(seen);
    image_unref(image);
}

static void
readers__passed_at_several_snapshots__see_each_its_own(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(3, 40 * PLACE_PAGE);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct long_reader readers[12];
    const unsigned count = sizeof(readers) / sizeof(readers[0]);
    uint64_t rng = 3;

    long_commit_log_file(writer, image);
    for (unsigned i = 0; i < count; i++) {
        readers[i] = long_pin_newest(p, image);
        long_change_pages(image, &rng, 4);
        if (i % 3 != 2)
            OK(place_commit(writer, image, e));
        else
            long_commit_log_files(writer, image, &rng, 3);
        for (unsigned j = 0; j <= i; j++)
            store_expect(readers[j].session, readers[j].seen, __LINE__);
    }
    long_commit_log_files(writer, image, &rng, 3);
    assert_true(long_usage_of(p, "past-").files > 0);
    for (unsigned i = 0; i < count; i++) { /* the middle ones first */
        struct long_reader *const r = &readers[(i + count / 2) % count];

        store_expect(r->session, r->seen, __LINE__);
        long_end_reader(r);
        long_commit_log_files(writer, image, &rng, 1);
    }
    assert_int_equal(long_usage_of(p, "past-").files, 0);
    place_expect(writer, image, __LINE__);
    ramet_session_close(writer);
    image_unref(image);
}

static void
file__shrinks_and_grows__readers_see_what_was(void **state)
{
    static const unsigned pages[] = {30, 4, 50, 0, 20, 1, 60};
    const unsigned count = sizeof(pages) / sizeof(pages[0]);
    struct place *const p = *state;
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct image *const image = place_image(4, 10 * PLACE_PAGE);
    struct long_reader readers[sizeof(pages) / sizeof(pages[0])];
    uint64_t rng = 4;

    for (unsigned i = 0; i < count; i++) {
        image_resize(image, (uint64_t)pages[i] * PLACE_PAGE);
        long_change_pages(image, &rng, pages[i] / 2); /* others are zeros */
        long_commit_log_file(writer, image);
        readers[i] = long_pin_newest(p, image);
        if (i % 2 == 1)
            for (unsigned j = 0; j < LOG_FILES; j++)
                long_commit_log_file(writer, image);
    }
    for (unsigned j = 0; j < LOG_FILES; j++) {
        image_resize(image, (uint64_t)(10 + j) * PLACE_PAGE);
        long_change_pages(image, &rng, 3);
        long_commit_log_file(writer, image);
        for (unsigned i = 0; i < count; i++)
            store_expect(readers[i].session, readers[i].seen, __LINE__);
    }
    assert_true(long_usage_of(p, "past-").files > 0);
    for (unsigned i = 0; i < count; i++)
        long_end_reader(&readers[i]);
    place_expect(writer, image, __LINE__);
    ramet_session_close(writer);
    image_unref(image);
}

/* ---- pages of the remote ------------------------------------------------ */

static void
pull(struct place *p, struct ramet_session *session, struct image *to)
{
    const struct image *const from = p->remote.at[p->remote.newest];
    struct ramet_remote_point point;
    struct ramet_pageset changed;

    ramet_pageset_init(&changed);
    image_diff(from, to, &changed);
    remote_add(&p->remote, image_copy(to));
    point = remote_point(&p->remote, p->remote.newest);
    OK(ramet_session_pull(session, ramet_session_snapshot(session), &point,
                          &changed, NULL, false, e));
    OK(ramet_session_checkpoint(session, true, e));
    ramet_pageset_done(&changed);
}

static void
read_page_of(struct long_reader *r, uint32_t pgno)
{
    const uint64_t at = (uint64_t)(pgno - 1) * PLACE_PAGE;
    uint8_t page[PLACE_PAGE];
    size_t got;

    OK(ramet_session_read(r->session, at, page, sizeof(page), &got, e));
    assert_memory_equal(page, r->seen->bytes + at, sizeof(page));
}

/* An absent page is another one at another LSN: a reader that was passed must
 * not bring its own into the base, nor be given that of the base. */
static void
pulls__pass_a_reader__each_fetches_at_its_lsn(void **state)
{
    struct place *const p = *state;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *const image = place_image(5, 40 * PLACE_PAGE);
    struct ramet_remote_point point;
    struct ramet_session *session;
    struct long_reader old;
    uint64_t rng = 5;

    remote_add(&p->remote, image_copy(image));
    point = remote_point(&p->remote, 1);
    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    session = place_open(p, 0);
    old = long_pin_newest(p, image);
    for (uint32_t pgno = 1; pgno <= 40; pgno += 3)
        read_page_of(&old, pgno);
    for (unsigned i = 0; i < 2 * LOG_FILES; i++) {
        long_change_pages(image, &rng, 5);
        pull(p, session, image);
        if (i % 3 == 0)
            read_page_of(&old, 1 + (uint32_t)store_below(&rng, 40));
    }
    assert_true(long_usage_of(p, "past-").files > 0);
    store_expect(old.session, old.seen, __LINE__);
    place_expect(session, image, __LINE__);
    store_expect(old.session, old.seen, __LINE__);
    OK(ramet_session_checkpoint(session, true, e));
    place_expect(session, image, __LINE__);
    store_expect(old.session, old.seen, __LINE__);
    long_end_reader(&old);
    ramet_session_close(session);
    image_unref(image);
}

/* ---- a full disk -------------------------------------------------------- */

static bool is_full; /* for files of retained versions */

static bool
is_file(int fd, const char *name)
{
    char link[64];
    char path[256] = "";

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof(path) - 1) > 0 &&
           strstr(path, name) != NULL;
}

static ssize_t
pwritev_or_full(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                uint64_t offset)
{
    if (is_full && is_file(fd, "/past-"))
        return -ENOSPC;
    return ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

static void
retained_versions__full_disk__checkpoint_gives_up_unharmed(void **state)
{
    struct place *const p = *state;
    struct ramet_os os = *ramet_os_system();
    struct image *const image = place_image(6, 30 * PLACE_PAGE);
    struct ramet_session *writer;
    struct long_reader old;
    unsigned refused = 0;
    uint64_t rng = 6;

    os.pwritev = pwritev_or_full;
    writer = place_open_on(p, RAMET_OPEN_CREATE, &os);
    long_commit_log_file(writer, image);
    old = long_pin_newest(p, image);
    is_full = true;
    for (unsigned i = 0; i < 2 * LOG_FILES; i++) {
        struct ramet_err err = {.text = ""};
        enum ramet_rc rc;

        long_change_pages(image, &rng, 4);
        OK(place_commit(writer, image, e));
        rc = ramet_session_checkpoint(writer, true, &err);
        assert_true(rc == RAMET_OK || rc == RAMET_EFULL);
        refused += rc == RAMET_EFULL;
        store_expect(old.session, old.seen, __LINE__);
        place_expect(writer, image, __LINE__);
    }
    is_full = false;
    assert_true(refused >= LOG_FILES);
    assert_true(long_usage_of(p, "log-").files >= 2 * LOG_FILES);
    OK(ramet_session_checkpoint(writer, true, e));
    assert_true(long_usage_of(p, "log-").files <= KEPT_FILES);
    store_expect(old.session, old.seen, __LINE__);
    place_expect(writer, image, __LINE__);
    long_end_reader(&old);
    ramet_session_close(writer);
    image_unref(image);
}

/* ---- at the same moment ------------------------------------------------- */

/* Before the base is read next, a checkpoint comes that there was no room for
 * until then. */
static struct ramet_session *passes_late; /* NULL: nothing happens */

static ssize_t
preadv_late(void *ctx, int fd, const struct iovec *iov, int iovcnt,
            uint64_t offset)
{
    struct ramet_session *const writer = passes_late;

    if (writer != NULL && is_file(fd, "/app.db") && !is_file(fd, "-ramet/")) {
        passes_late = NULL;
        is_full = false;
        OK(ramet_session_checkpoint(writer, false, e));
    }
    return ramet_os_system()->preadv(ctx, fd, iov, iovcnt, offset);
}

/* The page's newest version is in the open log file, so its entry does not
 * change when the base does. */
static void
reader__passed_before_it_reads_the_base__sees_what_was(void **state)
{
    struct place *const p = *state;
    struct ramet_os os = *ramet_os_system();
    struct image *const image = place_image(8, 10 * PLACE_PAGE);
    struct ramet_session *writer;
    struct long_reader old;
    uint64_t rng = 8;

    os.preadv = preadv_late;
    os.pwritev = pwritev_or_full;
    writer = place_open_on(p, RAMET_OPEN_CREATE, &os);
    long_commit_log_file(writer, image);
    old = long_pin_newest_on(p, image, &os);
    is_full = true;
    for (unsigned i = 0; i <= 2 * LOG_FILES; i++) {
        store_random_bytes(&rng, image->bytes, image->size);
        OK(place_commit(writer, image, e));
        if (i < 2 * LOG_FILES)
            (void)!ramet_session_checkpoint(writer, true, NULL);
    }
    passes_late = writer;
    store_expect(old.session, old.seen, __LINE__);
    assert_null(passes_late);
    assert_true(long_usage_of(p, "log-").files <= KEPT_FILES);
    store_expect(old.session, old.seen, __LINE__);
    place_expect(writer, image, __LINE__);
    long_end_reader(&old);
    ramet_session_close(writer);
    image_unref(image);
}

/* ---- bytes -------------------------------------------------------------- */

static void
retained_frame__any_bit_flips__is_noticed(void **state)
{
    static const enum ramet_entry_kind kinds[] = {
        RAMET_ENTRY_IMAGE, RAMET_ENTRY_ZERO, RAMET_ENTRY_ABSENT};

    (void)state;
    for (unsigned k = 0; k < 3; k++) {
        const struct ramet_retained_frame frame = {
            .pgno = 77,
            .kind = kinds[k],
            .before = {3},
            .pos = {900},
            .least = {11},
            .most = {12},
            .page_hash = kinds[k] == RAMET_ENTRY_IMAGE ? 0xfeedbeef : 0,
        };
        uint8_t raw[RAMET_RETAINED_HEADER_SIZE];
        struct ramet_retained_frame read;

        ramet_retained_frame_encode(raw, &frame, 42);
        assert_true(ramet_retained_frame_decode(raw, frame.pos, 42, &read));
        assert_memory_equal(&read, &frame, sizeof(read));
        assert_false(ramet_retained_frame_decode(raw, (struct ramet_pos){901},
                                                 42, &read));
        for (unsigned bit = 0; bit < sizeof(raw) * 8; bit++) {
            raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(
                ramet_retained_frame_decode(raw, frame.pos, 42, &read) &&
                read.page_hash == frame.page_hash);
            raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

/* The bit at `offset` of the file, and back again. */
static void
flip_bit(int fd, uint64_t offset, unsigned bit)
{
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= (uint8_t)(1u << bit);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
}

static int
open_retained(const struct place *p)
{
    char path[256];
    int fd = -1;

    for (unsigned number = 1; fd < 0 && number < 1000; number++) {
        snprintf(path, sizeof(path), "%s/past-%016x", p->dir, number);
        fd = open(path, O_RDWR);
    }
    assert_true(fd >= 0);
    return fd;
}

static void
retained_versions__bits_flip__error_or_right_data(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(9, 6 * PLACE_PAGE);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct long_reader old;
    uint64_t size;
    uint64_t rng = store_seed("bits");
    unsigned errors = 0;
    int fd;

    long_commit_log_file(writer, image);
    old = long_pin_newest(p, image);
    store_random_bytes(&rng, image->bytes, image->size);
    long_commit_log_files(writer, image, &rng, 6);
    size = long_usage_of(p, "past-").bytes;
    fd = open_retained(p);
    for (unsigned i = 0; i < 400; i++) {
        const uint64_t offset = store_chance(&rng, 50)
                                    ? store_below(&rng, size)
                                    : 64 + store_below(&rng, 64);
        const unsigned bit = (unsigned)store_below(&rng, 8);
        bool equal = false;
        enum ramet_rc rc;

        flip_bit(fd, offset, bit);
        rc = store_compare(old.session, old.seen, &equal, NULL);
        assert_true(rc == RAMET_OK ? equal : rc == RAMET_ECORRUPT);
        errors += rc != RAMET_OK;
        flip_bit(fd, offset, bit);
    }
    assert_true(errors > 100);
    store_expect(old.session, old.seen, __LINE__);
    close(fd);
    long_end_reader(&old);
    ramet_session_close(writer);
    image_unref(image);
}

/* One bit of page 3 of the base rots: nothing that the inode says tells of it. */
static struct {
    ino_t inode;
    bool is_rotten;
} base;

static ssize_t
preadv_of_rotten_base(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                      uint64_t offset)
{
    const ssize_t got = ramet_os_system()->preadv(ctx, fd, iov, iovcnt, offset);
    struct stat st;
    uint64_t at = 2 * PLACE_PAGE + 100 - offset;

    if (!base.is_rotten || offset > 2 * PLACE_PAGE + 100 || got <= 0 ||
        at >= (uint64_t)got || fstat(fd, &st) != 0 || st.st_ino != base.inode)
        return got;
    while (at >= iov->iov_len)
        at -= iov++->iov_len;
    ((uint8_t *)iov->iov_base)[at] ^= 1;
    return got;
}

/* A copy of it would be right for good. */
static void
rotten_page__that_is_retained__is_an_error(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(9, 6 * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *writer;
    struct long_reader old;
    struct stat st;
    uint64_t rng = 1;
    bool equal = false;

    os.preadv = preadv_of_rotten_base;
    base.is_rotten = false;
    writer = place_open_on(p, RAMET_OPEN_CREATE, &os);
    OK(place_commit(writer, image, e));
    OK(ramet_session_checkpoint(writer, true, e)); /* into the base */
    assert_int_equal(stat(p->path, &st), 0);
    base.inode = st.st_ino;
    old = long_pin_newest_on(p, image, &os);
    base.is_rotten = true;
    store_random_bytes(&rng, image->bytes, image->size);
    long_commit_log_files(writer, image, &rng, 8);
    base.is_rotten = false;
    assert_true(long_usage_of(p, "past-").bytes > 0);
    assert_int_equal(store_compare(old.session, old.seen, &equal, NULL),
                     RAMET_ECORRUPT);
    place_expect(writer, image, __LINE__);
    long_end_reader(&old);
    ramet_session_close(writer);
    image_unref(image);
}

#define PLACE_TEST(f)                                                          \
    cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)

static unsigned
count_descriptors(void)
{
    DIR *const dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void
reader__that_stays_and_reads__keeps_no_retired_file_open(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(12, 4 * PLACE_PAGE);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct long_reader reader;
    unsigned before;
    uint64_t rng = 12;

    long_commit_log_file(writer, image);
    reader = long_pin_newest(p, image);
    long_commit_log_files(writer, image, &rng, 1);
    before = count_descriptors();
    for (unsigned i = 0; i < 12; i++) {
        long_commit_log_files(writer, image, &rng, 1);
        store_expect(reader.session, reader.seen, __LINE__);
    }
    assert_true(count_descriptors() < before + 3 * LOG_FILES);
    long_end_reader(&reader);
    ramet_session_close(writer);
    image_unref(image);
}

/* It has read once, and does nothing: the usual way to stay. */
static void
reader__that_stays_idle__keeps_no_retired_file_open(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(14, 4 * PLACE_PAGE);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct long_reader reader;
    unsigned before;
    uint64_t rng = 14;

    long_commit_log_file(writer, image);
    reader = long_pin_newest(p, image);
    store_expect(reader.session, reader.seen, __LINE__);
    long_commit_log_files(writer, image, &rng, 1);
    before = count_descriptors();
    for (unsigned i = 0; i < 12; i++)
        long_commit_log_files(writer, image, &rng, 1);
    assert_true(count_descriptors() < before + 3 * LOG_FILES);
    store_expect(reader.session, reader.seen, __LINE__);
    long_end_reader(&reader);
    ramet_session_close(writer);
    image_unref(image);
}

/* A remote that answers late: others write, and checkpoints pass, meanwhile. */
struct late_remote {
    struct remote *remote;
    struct ramet_session *writer;
    struct image *image;
    uint64_t rng;
    unsigned before, after; /* descriptors */
};

static enum ramet_rc
fetch_late(void *ctx, const struct ramet_point *at, uint32_t pgno,
           struct ramet_page_request *sink, struct ramet_err *err)
{
    struct late_remote *const late = ctx;

    long_commit_log_files(late->writer, late->image, &late->rng, 1);
    late->before = count_descriptors();
    for (unsigned i = 0; i < 12; i++)
        long_commit_log_files(late->writer, late->image, &late->rng, 1);
    late->after = count_descriptors();
    return remote_fetch(late->remote, at, pgno, sink, err);
}

static void
reader__that_waits_for_the_remote__keeps_no_retired_file_open(void **state)
{
    struct place *const p = *state;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *const image = place_image(13, 4 * PLACE_PAGE);
    struct late_remote late = {.remote = &p->remote, .image = image, .rng = 13};
    struct ramet_remote_point point;
    struct long_reader reader;

    remote_add(&p->remote, image_copy(image));
    point = remote_point(&p->remote, 1);
    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    late.writer = place_open(p, 0);
    reader = long_pin_newest(p, image);
    ramet_replica_set_fetcher(ramet_session_replica(late.writer), fetch_late,
                              &late);
    read_page_of(&reader, 3);
    assert_true(late.after < late.before + 3 * LOG_FILES);
    ramet_replica_set_fetcher(ramet_session_replica(late.writer), remote_fetch,
                              &p->remote);
    store_expect(reader.session, reader.seen, __LINE__);
    place_expect(late.writer, image, __LINE__);
    long_end_reader(&reader);
    ramet_session_close(late.writer);
    image_unref(image);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retained_frame__any_bit_flips__is_noticed),
        PLACE_TEST(log__with_a_reader_that_stays__does_not_grow),
        PLACE_TEST(
            log__that_outgrows_a_checkpoint__makes_committers_wait_for_it),
        PLACE_TEST(log__with_a_reader_in_the_way__makes_nobody_wait),
        PLACE_TEST(retained_versions__of_closed_readers__are_packed_away),
        PLACE_TEST(checkpoint__by_the_reader_itself__keeps_what_it_sees),
        PLACE_TEST(readers__passed_at_several_snapshots__see_each_its_own),
        PLACE_TEST(file__shrinks_and_grows__readers_see_what_was),
        PLACE_TEST(pulls__pass_a_reader__each_fetches_at_its_lsn),
        PLACE_TEST(retained_versions__full_disk__checkpoint_gives_up_unharmed),
        PLACE_TEST(reader__passed_before_it_reads_the_base__sees_what_was),
        PLACE_TEST(reader__that_stays_and_reads__keeps_no_retired_file_open),
        PLACE_TEST(reader__that_stays_idle__keeps_no_retired_file_open),
        PLACE_TEST(
            reader__that_waits_for_the_remote__keeps_no_retired_file_open),
        PLACE_TEST(retained_versions__bits_flip__error_or_right_data),
        PLACE_TEST(rotten_page__that_is_retained__is_an_error),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
