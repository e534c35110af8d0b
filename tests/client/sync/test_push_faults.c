/*
 * test_push_faults.c - exactly once: lost replies, requests that land late, a
 * store that is gone, and power cut between any two steps of a push, a pull
 * and a reset.
 */
#define _GNU_SOURCE
#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/store.h"
#include "tests/client/sync/world.h"
#include "tests/support/child.h"
#include "tests/support/faultstore.h"
#include "tests/support/powercut.h"

enum { SIZE = 40000 };

static uint8_t bytes[SIZE];

static struct ramet_file *
make_volume(struct world *world)
{
    struct ramet_file *file;

    world_fill(bytes, sizeof(bytes), 1);
    file = world_open(world, 0, "a");
    world_write(file, 0, bytes, SIZE);
    OK(ramet_file_push(file, NULL, e));
    return file;
}

static void
change(struct ramet_file *file, uint64_t seed)
{
    world_fill(bytes + 5000, 20000, seed);
    world_write(file, 5000, bytes + 5000, 20000);
}

/* Any one request goes wrong in any way; then a push in a new process. */
static void
push_with_fault(struct world *world, enum ramet_fault fault, uint64_t nth,
                bool reopen, bool *out_fired)
{
    struct ramet_file *file = world_open(world, 0, "a");
    const uint64_t before = world_status(file).durable_lsn;
    struct ramet_err err;
    enum ramet_rc rc;

    change(file, 100 + nth);
    ramet_faultstore_arm(world->faults[0], fault, nth, RAMET_EUNREACHABLE);
    rc = ramet_file_push(file, NULL, &err);
    *out_fired = ramet_faultstore_fired(world->faults[0]);
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
    if (!*out_fired)
        assert_int_equal(rc, RAMET_OK);
    change(file, 1000 + nth); /* a retry must not grow by this */
    if (reopen) {
        ramet_file_close(file);
        world_restart(world, 0);
        file = world_open(world, 0, "a");
    }
    OK(ramet_file_push(file, NULL, e));
    ramet_faultstore_land(world->faults[0]);
    assert_in_range(world_status(file).durable_lsn, before + 1, before + 2);
    world_expect(file, bytes, SIZE);
    OK(ramet_file_push(file, NULL, e));
    OK(ramet_file_pull(file, NULL, e));
    world_expect_remote(world, world_status(file).durable_lsn, bytes, SIZE);
    ramet_file_close(file);
}

static void
push__lands_once_whatever_request_fails(void **state)
{
    static const enum ramet_fault faults[] = {
        RAMET_FAULT_FAIL, RAMET_FAULT_LOSE_REPLY, RAMET_FAULT_LATE};
    struct world *const world = *state;

    ramet_file_close(make_volume(world));
    for (size_t f = 0; f < 3; f++)
        for (unsigned reopen = 0; reopen < 2; reopen++) {
            bool fired = true;

            for (uint64_t nth = 0; fired; nth++) {
                assert_true(nth < 30);
                push_with_fault(world, faults[f], nth, reopen, &fired);
            }
        }
}

/* Text of which a dictionary knows the words. */
static void
fill_with_words(uint8_t *out, size_t len, uint32_t seed)
{
    size_t at = 0;

    while (at < len) {
        char word[40];
        size_t n;

        seed = seed * UINT32_C(1664525) + UINT32_C(1013904223);
        n = (size_t)snprintf(word, sizeof(word), "customer-%u@example-%u.org;",
                             seed >> 22, seed >> 28);
        n = n < len - at ? n : len - at;
        memcpy(out + at, word, n);
        at += n;
    }
}

/* A new dictionary goes out while pages are compressed with it, where a request takes
 * its time: the commit that names it is not there before it. */
static void
push__with_a_dictionary__lands_with_it_whatever_request_fails(void **state)
{
    enum { LENGTH = 2u << 20 };
    uint8_t *const words = malloc(LENGTH);
    bool fired = true;

    (void)state;
    assert_non_null(words);
    fill_with_words(words, LENGTH, 7);
    for (uint64_t nth = 0; fired; nth++) {
        struct ramet_file *file;
        struct world *world;
        void *fresh = NULL;
        struct ramet_err err;

        assert_true(nth < 30);
        assert_int_equal(world_setup(&fresh), 0);
        world = fresh;
        world->faults[0]->traits = RAMET_STORE_SENDS_AHEAD;
        file = world_open(world, 0, "a");
        world_write(file, 0, words, LENGTH);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, nth,
                             RAMET_EUNREACHABLE);
        if (ramet_file_push(file, NULL, &err) == RAMET_OK)
            world_expect_remote(world, 1, words, LENGTH);
        fired = ramet_faultstore_fired(world->faults[0]);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
        OK(ramet_file_push(file, NULL, e));
        world_expect_remote(world, 1, words, LENGTH);
        ramet_file_close(file);
        assert_int_equal(world_teardown(&fresh), 0);
    }
    free(words);
}

static void
flip_last_byte(const char *path)
{
    FILE *const file = fopen(path, "r+b");
    int byte;

    assert_non_null(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    byte = fgetc(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    assert_int_equal(fputc(byte ^ 1, file), byte ^ 1);
    assert_int_equal(fclose(file), 0);
}

/* Its head may be right: what is damaged are the pages that it carries. */
static void
intent__with_a_flipped_bit__is_not_sent(void **state)
{
    struct world *const world = *state;
    struct ramet_file *file = make_volume(world);
    uint8_t *const before = malloc(SIZE);
    struct ramet_err err;

    assert_non_null(before);
    memcpy(before, bytes, SIZE);
    change(file, 3);
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(ramet_file_push(file, NULL, &err), RAMET_EUNKNOWN);
    ramet_file_close(file);
    flip_last_byte(world_path(world, "a-ramet/intent"));
    file = world_open(world, 0, "a");
    assert_int_equal(ramet_file_push(file, NULL, &err), RAMET_ECORRUPT);
    world_expect_remote(world, 1, before, SIZE);
    world_expect(file, bytes, SIZE);
    ramet_file_close(file);
    free(before);
}

/* The intent's request hangs; somebody else wins the slot; then it lands. */
static void
push__that_lands_late_loses_to_whoever_won(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_file *const b = world_clone(world, 1, "b", false);
    struct ramet_err err;
    uint8_t others[SIZE];

    memcpy(others, bytes, SIZE);
    change(a, 2);
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EUNKNOWN);
    assert_int_equal(world_status(a).local_commits, 1);
    world_write(b, 7, "other", 5);
    memcpy(others + 7, "other", 5);
    OK(ramet_file_push(b, NULL, e));
    ramet_faultstore_land(world->faults[0]);
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EDIVERGED);
    world_expect(a, bytes, SIZE);
    OK(ramet_file_reset(a, false, NULL, 0, NULL, e));
    world_expect(a, others, SIZE);
    ramet_file_close(a);
    ramet_file_close(b);
}

/* A pull with an intent under way knows its own commit. */
static void
pull__does_not_take_ones_own_commit_for_anothers(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_err err;

    change(a, 2);
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    if (ramet_file_push(a, NULL, &err) != RAMET_OK)
        assert_int_equal(err.code, RAMET_EUNKNOWN);
    OK(ramet_file_pull(a, NULL, e));
    assert_int_equal(world_status(a).durable_lsn, 2);
    assert_int_equal(world_status(a).local_commits, 0);
    world_expect(a, bytes, SIZE);
    world_expect_remote(world, 2, bytes, SIZE);
    ramet_file_close(a);
}

static struct ramet_file *
open_on(const struct ramet_os *os, struct world *world, unsigned machine,
        const char *path)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    world_options(world, machine, &options);
    options.os = os;
    OK(ramet_file_open(path, &options, &file, e));
    return file;
}

/* ---- a disk ---------------------------------------------------------------- */

/* One bit of a file rots: nothing that the inode says tells of it. */
struct rotting {
    struct ramet_os os;
    uint64_t inode;
    uint64_t offset;
    bool is_rotten;
};

static ssize_t
preadv_rotten(void *ctx, int fd, const struct iovec *iov, int iovcnt,
              uint64_t offset)
{
    const struct rotting *const rotting = ctx;
    const struct ramet_os *const system = ramet_os_system();
    const ssize_t got = system->preadv(system->ctx, fd, iov, iovcnt, offset);
    struct stat st;
    uint64_t at = rotting->offset - offset;

    if (!rotting->is_rotten || got <= 0 || rotting->offset < offset ||
        at >= (uint64_t)got || fstat(fd, &st) != 0 ||
        st.st_ino != rotting->inode)
        return got;
    while (at >= iov->iov_len)
        at -= iov++->iov_len;
    ((uint8_t *)iov->iov_base)[at] ^= 1;
    return got;
}

static void
rotting_init(struct rotting *rotting, uint64_t offset)
{
    rotting->os = *ramet_os_system();
    rotting->os.ctx = rotting; /* which the system's functions don't look at */
    rotting->os.preadv = preadv_rotten;
    rotting->offset = offset;
    rotting->is_rotten = false;
}

/* What is to be pushed was moved into the base, and one bit of page 3 rotted. */
static struct ramet_file *
open_rotten(struct world *world, struct rotting *rotting)
{
    const char *const path = world_path(world, "a");
    struct ramet_file *file = make_volume(world);
    struct stat st;

    change(file, 3);
    ramet_file_close(file);
    assert_int_equal(stat(path, &st), 0);
    rotting_init(rotting, 9000);
    rotting->inode = st.st_ino;
    file = open_on(&rotting->os, world, 0, path);
    rotting->is_rotten = true;
    return file;
}

static void
page__that_rots_before_it_is_pushed__is_not_sent(void **state)
{
    struct world *const world = *state;
    uint8_t *const before = malloc(SIZE);
    struct ramet_file *file;
    struct rotting rotting;
    struct ramet_err err;

    assert_non_null(before);
    world_fill(before, SIZE, 1); /* as make_volume() does */
    file = open_rotten(world, &rotting);
    assert_int_equal(ramet_file_push(file, NULL, &err), RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "page 3 "));
    assert_non_null(strstr(err.text, "ramet verify"));
    world_expect_remote(world, 1, before, SIZE);
    assert_int_equal(world_status(file).local_commits, 1);
    rotting.is_rotten = false; /* put right, it goes as it was committed */
    OK(ramet_file_push(file, NULL, e));
    world_expect_remote(world, 2, bytes, SIZE);
    ramet_file_close(file);
    free(before);
}

/* Page `pgno` of a file becomes a hole; or is what it was. */
static void
punch(const char *path, uint32_t pgno, const uint8_t *page)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    const off_t offset = (off_t)(pgno - 1) * 4096;

    assert_true(fd >= 0);
    if (page == NULL)
        assert_int_equal(fallocate(fd,
                                   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                   offset, 4096),
                         0);
    else
        assert_int_equal(pwrite(fd, page, 4096, offset), 4096);
    close(fd);
}

/* Page 12 is new, so that zeros would need no image, and its blocks are gone. */
static void
page__that_became_a_hole__is_not_sent_as_zeros(void **state)
{
    struct world *const world = *state;
    const char *const path = world_path(world, "a");
    struct ramet_file *file = make_volume(world);
    uint8_t grown[SIZE + 10 * 4096];
    struct ramet_err err;

    world_fill(grown, sizeof(grown), 7);
    memcpy(grown, bytes, SIZE);
    memset(grown + SIZE, 0, 2 * 4096); /* a hole that is right */
    world_write(file, SIZE + 2 * 4096, grown + SIZE + 2 * 4096, 8 * 4096);
    ramet_file_close(file);
    file = world_open(world, 0, "a"); /* which would have noticed */
    world_write(file, 0, "new", 3);   /* and does not look again from here on */
    memcpy(grown, "new", 3);
    world_expect(file, grown, sizeof(grown));
    punch(path, 12, NULL);
    assert_int_equal(ramet_file_push(file, NULL, &err), RAMET_EFOREIGN);
    world_expect_remote(world, 1, bytes, SIZE);
    punch(path, 12, grown + 11 * 4096);
    OK(ramet_file_push(file, NULL, e));
    world_expect_remote(world, 2, grown, sizeof(grown));
    ramet_file_close(file);
}

static void
page__that_rotted__is_pushed_once_it_was_adopted(void **state)
{
    struct world *const world = *state;
    struct rotting rotting;
    struct ramet_file *file = open_rotten(world, &rotting);
    const struct ramet_replica_options options = {.os = &rotting.os};
    uint64_t changed = 0;
    struct ramet_err err;

    assert_int_equal(ramet_file_push(file, NULL, &err), RAMET_ECORRUPT);
    ramet_file_close(file);
    OK(ramet_replica_adopt_base(world_path(world, "a"), &options, &changed, e));
    assert_int_equal(changed, 1);
    file = open_on(&rotting.os, world, 0, world_path(world, "a"));
    OK(ramet_file_push(file, NULL, e));
    bytes[9000] ^= 1;
    world_expect_remote(world, 2, bytes, SIZE);
    ramet_file_close(file);
}

/* ---- power ---------------------------------------------------------------- */

static void
push__lands_once_wherever_the_power_goes(void **state)
{
    struct world *const world = *state;
    const char *const folder = world_path(world, "disk");
    struct faultos *fault;
    struct powercut cut;
    char path[400];
    uint64_t expected = 1;

    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/a", folder);
    fault = faultos_new(folder);
    {
        struct ramet_file *const file =
            open_on(faultos_os(fault), world, 0, path);

        world_fill(bytes, SIZE, 1);
        world_write(file, 0, bytes, SIZE);
        OK(ramet_file_push(file, NULL, e));
        ramet_file_close(file);
    }
    powercut_begin(&cut, fault);
    while (powercut_next(&cut)) {
        struct ramet_file *file = open_on(faultos_os(fault), world, 0, path);

        change(file, 10 + (uint64_t)cut.round);
        ramet_file_close(file);
        file = open_on(faultos_os(fault), world, 0, path);
        powercut_arm(&cut);
        (void)!ramet_file_push(file, NULL, NULL);
        ramet_file_close(file);
        world_restart(world, 0);
        powercut_strike(&cut);
        file = open_on(faultos_os(fault), world, 0, path);
        world_expect(file, bytes, SIZE);
        OK(ramet_file_push(file, NULL, e));
        expected++;
        assert_int_equal(world_status(file).durable_lsn, expected);
        assert_int_equal(world_status(file).state, RAMET_STATE_CLEAN);
        ramet_file_close(file);
        world_expect_remote(world, expected, bytes, SIZE);
    }
    faultos_free(fault);
}

static void
pull__ends_well_wherever_the_power_goes(void **state)
{
    struct world *const world = *state;
    const char *const folder = world_path(world, "disk");
    struct ramet_file *const b = make_volume(world);
    struct faultos *fault;
    struct powercut cut;
    char path[400];

    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/a", folder);
    fault = faultos_new(folder);
    ramet_file_close(open_on(faultos_os(fault), world, 1, path));
    powercut_begin(&cut, fault);
    while (powercut_next(&cut)) {
        struct ramet_file *file;

        change(b, 10 + (uint64_t)cut.round);
        OK(ramet_file_push(b, NULL, e));
        file = open_on(faultos_os(fault), world, 1, path);
        powercut_arm(&cut);
        (void)!ramet_file_pull(file, NULL, NULL);
        ramet_file_close(file);
        powercut_strike(&cut);
        file = open_on(faultos_os(fault), world, 1, path);
        OK(ramet_file_pull(file, NULL, e));
        world_expect(file, bytes, SIZE);
        ramet_file_close(file);
    }
    faultos_free(fault);
    ramet_file_close(b);
}

/* Wherever the power goes: the local commits are here, or kept in a file. */
static void
reset__never_loses_what_it_gives_up(void **state)
{
    struct world *const world = *state;
    const char *const folder = world_path(world, "disk");
    struct ramet_file *const b = make_volume(world);
    uint8_t mine[SIZE];
    struct faultos *fault;
    struct powercut cut;
    char path[400];
    char command[700];

    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/a", folder);
    fault = faultos_new(folder);
    ramet_file_close(open_on(faultos_os(fault), world, 1, path));
    powercut_begin(&cut, fault);
    while (powercut_next(&cut)) {
        struct ramet_file *file = open_on(faultos_os(fault), world, 1, path);

        memcpy(mine, bytes, SIZE);
        snprintf((char *)mine + 100, 40, "local work %ld", cut.round);
        world_write(file, 100, mine + 100, 40);
        change(b, 10 + (uint64_t)cut.round);
        OK(ramet_file_push(b, NULL, e));
        powercut_arm(&cut);
        (void)!ramet_file_reset(file, false, NULL, 0, NULL, NULL);
        ramet_file_close(file);
        powercut_strike(&cut);
        file = open_on(faultos_os(fault), world, 1, path);
        if (world_status(file).local_commits > 0) {
            world_expect(file, mine, SIZE);
            OK(ramet_file_reset(file, false, NULL, 0, NULL, e));
        }
        OK(ramet_file_pull(file, NULL, e));
        world_expect(file, bytes, SIZE);
        ramet_file_close(file);
        /* The file that was kept holds the whole of it. */
        snprintf(command, sizeof(command),
                 "grep -q 'local work %ld' '%s'-ramet/lost/*", cut.round, path);
        assert_int_equal(system(command), 0);
    }
    faultos_free(fault);
    ramet_file_close(b);
}

/* No word of it is one that was written; and who comes counts what is here. */
static void
break_presence(struct world *world)
{
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_file *const file = world_open(world, 0, "a");
        FILE *presence;

        world_write(file, 1, "x", 1);
        OK(ramet_session_checkpoint(ramet_file_session(file), true, e));
        presence = fopen(world_path(world, "a-ramet/presence"), "r+b");
        assert_non_null(presence);
        for (unsigned i = 0; i < 64; i++)
            assert_int_equal(fputc(0x55, presence), 0x55);
        assert_int_equal(fclose(presence), 0);
        world_write(file, SIZE - 1, "y", 1);
        _exit(0);
    }
    child_await(child);
}

/* Nothing of it can be asked for, whether the volume was made already or not. */
static void
hydrate__of_what_never_landed_and_rotted__is_an_error(void **state)
{
    unsigned never_landed = 0;
    bool fired = true;

    (void)state;
    for (uint64_t nth = 0; fired; nth++) {
        struct ramet_file *file;
        struct world *world;
        void *fresh = NULL;
        struct ramet_err err;

        assert_true(nth < 30);
        assert_int_equal(world_setup(&fresh), 0);
        world = fresh;
        file = world_open(world, 0, "a");
        world_write(file, 0, bytes, SIZE);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, nth,
                             RAMET_EUNREACHABLE);
        (void)!ramet_file_push(file, NULL, &err);
        fired = ramet_faultstore_fired(world->faults[0]);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
        if (world_status(file).durable_lsn == 0) {
            never_landed++;
            ramet_file_close(file);
            break_presence(world);
            file = world_open(world, 0, "a");
            assert_int_equal(ramet_file_hydrate(file, NULL, &err),
                             RAMET_ECORRUPT);
        }
        ramet_file_close(file);
        assert_int_equal(world_teardown(&fresh), 0);
    }
    assert_true(never_landed > 1); /* also with the volume made */
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(push__lands_once_whatever_request_fails),
        cmocka_unit_test(
            push__with_a_dictionary__lands_with_it_whatever_request_fails),
        T(intent__with_a_flipped_bit__is_not_sent),
        T(push__that_lands_late_loses_to_whoever_won),
        T(pull__does_not_take_ones_own_commit_for_anothers),
        T(page__that_rots_before_it_is_pushed__is_not_sent),
        T(page__that_became_a_hole__is_not_sent_as_zeros),
        T(page__that_rotted__is_pushed_once_it_was_adopted),
        T(push__lands_once_wherever_the_power_goes),
        T(pull__ends_well_wherever_the_power_goes),
        T(reset__never_loses_what_it_gives_up),
        cmocka_unit_test(hydrate__of_what_never_landed_and_rotted__is_an_error),
    };
    return cmocka_run_group_tests_name("push_faults", tests, NULL, NULL);
}
