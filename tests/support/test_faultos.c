/*
 * test_faultos.c - the double itself: that it fails where told, that what was
 * synced survives every crash, that what was not may go in each way the model
 * names, and that a seed gives the same again. The last test is an example of
 * use: ramet_os_replace_file() stopped after each operation.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/os.h"
#include "tests/support/faultos.h"

#define SEEDS 64u

struct fixture {
    char path[64];
    struct faultos *faults;
    const struct ramet_os *os;
    void *ctx;
    int dirfd;
};

static void
open_root(struct fixture *f)
{
    f->dirfd =
        f->os->open(f->ctx, AT_FDCWD, f->path, O_RDONLY | O_DIRECTORY, 0);
    assert_true(f->dirfd >= 0);
}

static int
setup(void **state)
{
    struct fixture *const f = calloc(1, sizeof(*f));

    strcpy(f->path, "/tmp/ramet-test-fault-XXXXXX");
    if (mkdtemp(f->path) == NULL)
        return -1;
    f->faults = faultos_new(f->path);
    f->os = faultos_os(f->faults);
    f->ctx = f->os->ctx;
    open_root(f);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *const f = *state;
    char command[100];

    f->os->close(f->ctx, f->dirfd);
    faultos_free(f->faults);
    snprintf(command, sizeof(command), "rm -rf %s", f->path);
    if (system(command) != 0)
        return -1;
    free(f);
    return 0;
}

/* Empty the folder, durably. */
static void
start_over(struct fixture *f)
{
    char command[100];

    snprintf(command, sizeof(command), "rm -rf %s/*", f->path);
    assert_int_equal(system(command), 0);
    faultos_settle(f->faults);
}

static int
make_file(struct fixture *f, const char *name)
{
    const int fd = f->os->open(f->ctx, f->dirfd, name, O_RDWR | O_CREAT, 0644);

    assert_true(fd >= 0);
    return fd;
}

static void
put(struct fixture *f, int fd, uint64_t offset, int byte, size_t len)
{
    char *const data = malloc(len);

    memset(data, byte, len);
    assert_int_equal(
        ramet_os_write_full(f->os, fd, data, len, offset, "f", NULL), RAMET_OK);
    free(data);
}

static bool
exists(struct fixture *f, const char *name)
{
    struct ramet_os_stat st;

    return f->os->stat_at(f->ctx, f->dirfd, name, &st) == 0;
}

/* The bytes of a file, to be freed; NULL if it is not there. */
static uint8_t *
get(struct fixture *f, const char *name, size_t *out_len)
{
    uint8_t *data = NULL;

    *out_len = 0;
    return ramet_os_read_file(f->os, f->dirfd, name, 1u << 24, &data, out_len,
                              NULL) == RAMET_OK
               ? data
               : NULL;
}

/* "file", durable with `len` bytes 'a' */
static int
make_durable(struct fixture *f, size_t len)
{
    const int fd = make_file(f, "file");

    put(f, fd, 0, 'a', len);
    assert_int_equal(f->os->sync(f->ctx, fd), 0);
    assert_int_equal(f->os->sync(f->ctx, f->dirfd), 0);
    return fd;
}

static void
crash__keeps_all_that_was_synced(void **state)
{
    struct fixture *const f = *state;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct ramet_os_stat before;
        struct ramet_os_stat after;
        uint8_t *data;
        size_t len;
        int fd;

        start_over(f);
        fd = make_durable(f, 10000);
        put(f, fd, 100, 'b', 5000);
        assert_int_equal(f->os->truncate(f->ctx, fd, 9000), 0);
        assert_int_equal(f->os->datasync(f->ctx, fd), 0);
        assert_int_equal(f->os->stat(f->ctx, fd, &before), 0);
        f->os->close(f->ctx, fd);
        faultos_crash(f->faults, seed);
        data = get(f, "file", &len);
        assert_int_equal(len, 9000);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(data[i], i >= 100 && i < 5100 ? 'b' : 'a');
        assert_int_equal(f->os->stat_at(f->ctx, f->dirfd, "file", &after), 0);
        assert_int_equal(before.inode, after.inode);
        assert_int_equal(before.mode, after.mode);
        assert_int_equal(after.link_count, 1);
        ramet_free(data);
    }
}

/* Three generations of a file: each sector is of one of them; and over all
 * seeds there are old, new, mixed and torn outcomes. */
static void
crash__tears_unsynced_writes_between_sectors(void **state)
{
    struct fixture *const f = *state;
    unsigned seen[3] = {0};
    unsigned mixed = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        unsigned here[3] = {0};
        uint8_t *data;
        size_t len;
        int fd;

        start_over(f);
        fd = make_durable(f, 8192);
        put(f, fd, 0, 'b', 8192);
        put(f, fd, 0, 'c', 8192);
        f->os->close(f->ctx, fd);
        faultos_crash(f->faults, seed);
        data = get(f, "file", &len);
        assert_int_equal(len, 8192);
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(data[i], data[i / 512 * 512]);
            assert_true(data[i] >= 'a' && data[i] <= 'c');
            here[data[i] - 'a']++;
        }
        if (seed % 8 == 0 || seed % 8 == 2)
            assert_int_equal(here[0], 8192);
        if (seed % 8 == 1 || seed % 8 == 3)
            assert_int_equal(here[2], 8192);
        for (size_t i = 0; i < 3; i++)
            seen[i] += here[i] > 0;
        mixed += here[0] % 8192 != 0 || here[2] % 8192 != 0;
        ramet_free(data);
    }
    assert_true(seen[0] > 5 && seen[1] > 5 && seen[2] > 5 && mixed > 5);
}

static void
crash__does_not_split_a_sector(void **state)
{
    struct fixture *const f = *state;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint8_t *data;
        size_t len;
        int fd;

        start_over(f);
        fd = make_durable(f, 1024);
        put(f, fd, 500, 'b', 24); /* 12 in one sector, 12 in the next */
        f->os->close(f->ctx, fd);
        faultos_crash(f->faults, seed);
        data = get(f, "file", &len);
        for (size_t i = 0; i < len; i++) {
            if (i < 500 || i >= 524)
                assert_int_equal(data[i], 'a');
            else
                assert_int_equal(data[i], i < 512 ? data[500] : data[512]);
        }
        ramet_free(data);
    }
}

/* Growth and truncation: a size of some moment, and right bytes within it. */
static void
crash__leaves_a_size_of_some_moment(void **state)
{
    struct fixture *const f = *state;
    unsigned sizes[4] = {0};

    for (uint64_t seed = 0; seed < 2 * SEEDS; seed++) {
        uint8_t *data;
        size_t len;
        int fd;

        start_over(f);
        fd = make_durable(f, 4096);
        assert_int_equal(f->os->truncate(f->ctx, fd, 1024), 0);
        put(f, fd, 2048, 'b', 512); /* 1024 to 2048 are zeros */
        f->os->close(f->ctx, fd);
        faultos_crash(f->faults, seed);
        data = get(f, "file", &len);
        assert_true(len == 4096 || len == 1024 || len == 2560);
        for (size_t i = 0; i < len; i++) {
            if (len == 4096 || i < 1024) /* the truncation never was */
                assert_int_equal(data[i], 'a');
            else if (i < 2048)
                assert_int_equal(data[i], 0);
            else
                assert_true(data[i] == 0 || data[i] == 'b');
        }
        sizes[0] += len == 4096;
        sizes[1] += len == 1024;
        sizes[2] += len == 2560 && data[2048] == 'b';
        sizes[3] += len == 2560 && data[2048] == 0;
        ramet_free(data);
    }
    for (size_t i = 0; i < 4; i++)
        assert_true(sizes[i] > 0);
}

static void
crash__may_lose_a_name_whose_folder_was_not_synced(void **state)
{
    struct fixture *const f = *state;
    unsigned kept = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        size_t len;
        uint8_t *data;
        int fd;

        start_over(f);
        fd = make_file(f, "new");
        put(f, fd, 0, 'n', 600);
        assert_int_equal(f->os->sync(f->ctx, fd), 0);
        f->os->close(f->ctx, fd);
        faultos_crash(f->faults, seed);
        data = get(f, "new", &len);
        if (data != NULL) {
            assert_int_equal(len, 600);
            kept++;
        }
        ramet_free(data);
    }
    assert_true(kept > 5 && kept < SEEDS - 5);
}

/* Every subset of: remove a, rename b to c, link d to e, make folder g. */
static void
crash__keeps_any_subset_of_unsynced_names(void **state)
{
    struct fixture *const f = *state;
    unsigned seen[16] = {0};
    unsigned distinct = 0;

    for (uint64_t seed = 0; seed < 4 * SEEDS; seed++) {
        unsigned outcome;

        start_over(f);
        f->os->close(f->ctx, make_file(f, "a"));
        f->os->close(f->ctx, make_file(f, "b"));
        f->os->close(f->ctx, make_file(f, "d"));
        assert_int_equal(f->os->sync(f->ctx, f->dirfd), 0);
        assert_int_equal(f->os->unlink(f->ctx, f->dirfd, "a", false), 0);
        assert_int_equal(f->os->rename(f->ctx, f->dirfd, "b", f->dirfd, "c"),
                         0);
        assert_int_equal(f->os->link(f->ctx, f->dirfd, "d", f->dirfd, "e"), 0);
        assert_int_equal(f->os->mkdir(f->ctx, f->dirfd, "g", 0755), 0);
        faultos_crash(f->faults, seed);
        assert_int_not_equal(exists(f, "b"), exists(f, "c"));
        assert_true(exists(f, "d"));
        outcome = (unsigned)exists(f, "a") | (unsigned)exists(f, "b") << 1 |
                  (unsigned)exists(f, "e") << 2 | (unsigned)exists(f, "g") << 3;
        distinct += seen[outcome]++ == 0;
    }
    assert_int_equal(distinct, 16);
}

static void
crash__restores_what_a_lost_rename_replaced(void **state)
{
    struct fixture *const f = *state;
    unsigned old = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint8_t *data;
        size_t len;
        int fd;

        start_over(f);
        f->os->close(f->ctx, make_durable(f, 100));
        fd = make_file(f, "tmp");
        put(f, fd, 0, 'b', 200);
        assert_int_equal(f->os->sync(f->ctx, fd), 0);
        f->os->close(f->ctx, fd);
        assert_int_equal(
            f->os->rename(f->ctx, f->dirfd, "tmp", f->dirfd, "file"), 0);
        faultos_crash(f->faults, seed);
        data = get(f, "file", &len);
        assert_non_null(data);
        assert_true((len == 100 && data[0] == 'a') ||
                    (len == 200 && data[0] == 'b'));
        old += len == 100;
        ramet_free(data);
    }
    assert_true(old > 5 && old < SEEDS - 5);
}

static void
crash__loses_a_folder_with_all_that_is_in_it(void **state)
{
    struct fixture *const f = *state;
    unsigned kept = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int dir;
        int fd;

        start_over(f);
        assert_int_equal(f->os->mkdir(f->ctx, f->dirfd, "dir", 0755), 0);
        dir = f->os->open(f->ctx, f->dirfd, "dir", O_RDONLY | O_DIRECTORY, 0);
        fd = f->os->open(f->ctx, dir, "x", O_RDWR | O_CREAT, 0644);
        assert_int_equal(f->os->sync(f->ctx, fd), 0);
        assert_int_equal(f->os->sync(f->ctx, dir), 0);
        f->os->close(f->ctx, fd);
        f->os->close(f->ctx, dir);
        faultos_crash(f->faults, seed);
        assert_int_equal(exists(f, "dir"), exists(f, "dir/x"));
        kept += exists(f, "dir");
    }
    assert_true(kept > 5 && kept < SEEDS - 5);
}

static void
crash__treats_a_mapping_like_writes(void **state)
{
    struct fixture *const f = *state;
    unsigned changed = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        void *at = NULL;
        uint8_t *data;
        size_t len;
        int fd;

        start_over(f);
        fd = make_durable(f, 8192);
        assert_int_equal(f->os->map(f->ctx, fd, 0, 8192, true, &at), 0);
        memset(at, 'm', 4096);
        assert_int_equal(f->os->datasync(f->ctx, fd), 0);
        memset((char *)at + 4096, 'm', 4096);
        assert_int_equal(f->os->unmap(f->ctx, at, 8192), 0);
        f->os->close(f->ctx, fd);
        faultos_crash(f->faults, seed);
        data = get(f, "file", &len);
        for (size_t i = 0; i < 4096; i++)
            assert_int_equal(data[i], 'm');
        for (size_t i = 4096; i < 8192; i++)
            assert_int_equal(data[i], data[i / 512 * 512]);
        changed += data[4096] == 'm';
        ramet_free(data);
    }
    assert_true(changed > 5 && changed < SEEDS - 5);
}

/* After a sync that failed, a good one does not bring back what it lost. */
static void
crash__may_lose_what_a_failed_sync_was_to_save(void **state)
{
    struct fixture *const f = *state;
    unsigned kept = 0;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint8_t *data;
        size_t len;
        int fd;

        start_over(f);
        fd = make_durable(f, 1536);
        put(f, fd, 0, 'b', 1024);
        faultos_fail_at(f->faults, FAULTOS_SYNC, 0, EIO, false);
        assert_int_equal(f->os->datasync(f->ctx, fd), -EIO);
        assert_true(faultos_has_failed(f->faults));
        put(f, fd, 512, 'b', 1024); /* the first sector is not written again */
        assert_int_equal(f->os->datasync(f->ctx, fd), 0);
        f->os->close(f->ctx, fd);
        faultos_crash(f->faults, seed);
        data = get(f, "file", &len);
        for (size_t i = 512; i < 1536; i++)
            assert_int_equal(data[i], 'b');
        kept += data[0] == 'b';
        ramet_free(data);
    }
    assert_true(kept > 5 && kept < SEEDS - 5);
}

static void
crash__gives_the_same_for_the_same_seed(void **state)
{
    struct fixture *const f = *state;

    for (uint64_t seed = 4; seed < 8; seed++) {
        uint8_t *first = NULL;
        size_t first_len = 0;

        for (int run = 0; run < 2; run++) {
            uint8_t *data;
            size_t len;
            int fd;

            start_over(f);
            fd = make_durable(f, 20000);
            for (int i = 0; i < 40; i++)
                put(f, fd, (uint64_t)i * 500, 'b' + i % 20, 700);
            f->os->close(f->ctx, fd);
            faultos_crash(f->faults, seed);
            data = get(f, "file", &len);
            if (run == 0) {
                first = data;
                first_len = len;
                continue;
            }
            assert_int_equal(len, first_len);
            assert_memory_equal(data, first, len);
            ramet_free(data);
        }
        ramet_free(first);
    }
}

static void
crash__handles_large_sparse_files_and_holes(void **state)
{
    struct fixture *const f = *state;
    const uint64_t giga = UINT64_C(1) << 30;
    struct ramet_os_stat st;
    char byte = 0;
    int fd;

    fd = make_durable(f, 8192);
    put(f, fd, giga, 'z', 1);
    assert_int_equal(f->os->punch(f->ctx, fd, 0, 4096), 0);
    assert_int_equal(f->os->sync(f->ctx, fd), 0);
    f->os->close(f->ctx, fd);
    faultos_crash(f->faults, 0);
    fd = f->os->open(f->ctx, f->dirfd, "file", O_RDWR, 0);
    assert_int_equal(f->os->stat(f->ctx, fd, &st), 0);
    assert_true(st.size_bytes == giga + 1);
    assert_true(st.block_bytes < 1u << 20);
    assert_int_equal(ramet_os_read_full(f->os, fd, &byte, 1, giga, "f", NULL),
                     RAMET_OK);
    assert_int_equal(byte, 'z');
    assert_int_equal(ramet_os_read_full(f->os, fd, &byte, 1, 0, "f", NULL),
                     RAMET_OK);
    assert_int_equal(byte, 0);
    f->os->close(f->ctx, fd);
}

static void
fail_at__counts_operations_of_its_classes_only(void **state)
{
    struct fixture *const f = *state;
    const int fd = make_file(f, "file");
    struct ramet_os_stat st;
    struct iovec iov = {"x", 1};

    faultos_fail_at(f->faults, FAULTOS_WRITE, 1, ENOSPC, false);
    assert_int_equal(f->os->stat(f->ctx, fd, &st), 0);
    assert_int_equal(f->os->pwritev(f->ctx, fd, &iov, 1, 0), 1);
    assert_false(faultos_has_failed(f->faults));
    assert_int_equal(f->os->truncate(f->ctx, fd, 5), -ENOSPC);
    assert_true(faultos_has_failed(f->faults));
    assert_int_equal(f->os->truncate(f->ctx, fd, 5), 0);

    faultos_fail_at(f->faults, FAULTOS_ALL, 0, EDQUOT, true);
    assert_int_equal(f->os->pwritev(f->ctx, fd, &iov, 1, 0), -EDQUOT);
    assert_int_equal(f->os->mkdir(f->ctx, f->dirfd, "d", 0700), -EDQUOT);
    assert_int_equal(f->os->open(f->ctx, f->dirfd, "file", O_RDONLY, 0),
                     -EDQUOT);
    assert_int_equal(f->os->lock(f->ctx, fd, 0, 1, RAMET_LOCK_SHARED), -EDQUOT);
    assert_int_equal(f->os->lock(f->ctx, fd, 0, 1, RAMET_UNLOCK), 0);
    faultos_fail_at(f->faults, 0, -1, 0, false);
    assert_int_equal(f->os->mkdir(f->ctx, f->dirfd, "d", 0700), 0);
    assert_int_equal(f->os->close(f->ctx, fd), 0);
}

static void
cut_transfers__loses_nothing_that_a_loop_does_not_mend(void **state)
{
    struct fixture *const f = *state;
    const int fd = make_file(f, "file");
    struct iovec iov = {NULL, 0};
    uint8_t data[5000];
    uint8_t back[5000];
    unsigned cut = 0;

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 13 + i / 251);
    faultos_cut_transfers(f->faults, 99);
    for (int i = 0; i < 20; i++) {
        iov = (struct iovec){back, sizeof(back)};
        assert_int_equal(
            ramet_os_write_full(f->os, fd, data, sizeof(data), 0, "f", NULL),
            RAMET_OK);
        assert_int_equal(
            ramet_os_read_full(f->os, fd, back, sizeof(back), 0, "f", NULL),
            RAMET_OK);
        assert_memory_equal(data, back, sizeof(data));
        cut += f->os->preadv(f->ctx, fd, &iov, 1, 0) < 5000;
    }
    assert_true(cut > 10);
    f->os->close(f->ctx, fd);
}

static void
stop_at__lets_that_many_changes_happen(void **state)
{
    struct fixture *const f = *state;
    const int fd = make_file(f, "file");
    const long before = faultos_changes(f->faults);
    struct iovec iov = {"x", 1};
    char byte;
    struct iovec in = {&byte, 1};

    faultos_stop_at(f->faults, 2);
    assert_int_equal(f->os->pwritev(f->ctx, fd, &iov, 1, 0), 1);
    assert_int_equal(f->os->preadv(f->ctx, fd, &in, 1, 0), 1);
    assert_int_equal(f->os->datasync(f->ctx, fd), 0);
    assert_false(faultos_has_stopped(f->faults));
    assert_int_equal(f->os->pwritev(f->ctx, fd, &iov, 1, 1), -EIO);
    assert_true(faultos_has_stopped(f->faults));
    assert_int_equal(f->os->preadv(f->ctx, fd, &in, 1, 0), -EIO);
    assert_int_equal(f->os->open(f->ctx, f->dirfd, "file", O_RDONLY, 0), -EIO);
    assert_int_equal(faultos_changes(f->faults), before + 2);
    assert_int_equal(f->os->close(f->ctx, fd), 0);
}

/* The example: old or new, whole, after a stop at every operation. */
static void
replace_file__is_old_or_new_after_any_crash(void **state)
{
    struct fixture *const f = *state;
    unsigned old = 0;
    unsigned new = 0;

    for (uint64_t seed = 0; seed < 40; seed++) {
        bool stopped = true;

        for (long stop = 0; stopped; stop++) {
            enum ramet_rc rc;
            uint8_t *data;
            size_t len;

            start_over(f);
            assert_int_equal(ramet_os_replace_file(f->os, f->dirfd, "r", NULL,
                                                   "old text", 8, NULL),
                             RAMET_OK);
            faultos_stop_at(f->faults, stop);
            rc = ramet_os_replace_file(f->os, f->dirfd, "r", NULL, "new", 3,
                                       NULL);
            stopped = faultos_has_stopped(f->faults);
            assert_int_equal(rc == RAMET_OK, !stopped);
            faultos_crash(f->faults, seed);
            data = get(f, "r", &len);
            assert_non_null(data);
            if (len == 3 && memcmp(data, "new", 3) == 0) {
                new ++;
            } else {
                assert_true(len == 8 && memcmp(data, "old text", 8) == 0);
                assert_int_not_equal(rc, RAMET_OK);
                old++;
            }
            ramet_free(data);

            /* And what a crash left is no hindrance to the next. */
            assert_int_equal(ramet_os_replace_file(f->os, f->dirfd, "r", NULL,
                                                   "next", 4, NULL),
                             RAMET_OK);
            assert_false(exists(f, "r.tmp"));
        }
    }
    assert_true(old > 40 && new > 40);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(crash__keeps_all_that_was_synced),
        TEST(crash__tears_unsynced_writes_between_sectors),
        TEST(crash__does_not_split_a_sector),
        TEST(crash__leaves_a_size_of_some_moment),
        TEST(crash__may_lose_a_name_whose_folder_was_not_synced),
        TEST(crash__keeps_any_subset_of_unsynced_names),
        TEST(crash__restores_what_a_lost_rename_replaced),
        TEST(crash__loses_a_folder_with_all_that_is_in_it),
        TEST(crash__treats_a_mapping_like_writes),
        TEST(crash__may_lose_what_a_failed_sync_was_to_save),
        TEST(crash__gives_the_same_for_the_same_seed),
        TEST(crash__handles_large_sparse_files_and_holes),
        TEST(fail_at__counts_operations_of_its_classes_only),
        TEST(cut_transfers__loses_nothing_that_a_loop_does_not_mend),
        TEST(stop_at__lets_that_many_changes_happen),
        TEST(replace_file__is_old_or_new_after_any_crash),
    };
    return cmocka_run_group_tests_name("faultos", tests, NULL, NULL);
}
