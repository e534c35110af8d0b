/*
 * test_durable.c - sync=commit: what returns is durable, what is refused is
 * rolled back, and what is not known is resolved before anything else is
 * committed.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bytes.h"
#include "tests/client/sync/world.h"
#include "tests/support/faultstore.h"
#include "tests/support/powercut.h"

enum { SIZE = 40000 };

static uint8_t bytes[SIZE];

static struct ramet_file *
open_commit(struct world *world, unsigned machine, const char *path,
            const struct ramet_os *os)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    world_options(world, machine, &options);
    options.sync = RAMET_SYNC_COMMIT;
    options.os = os;
    OK(ramet_file_open(path, &options, &file, e));
    return file;
}

static struct ramet_file *
make_volume(struct world *world)
{
    struct ramet_file *const file =
        open_commit(world, 0, world_path(world, "a"), NULL);

    world_fill(bytes, SIZE, 1);
    world_write(file, 0, bytes, SIZE);
    return file;
}

static void
commit__returns_when_it_is_durable(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);

    for (unsigned i = 0; i < 20; i++) {
        const struct ramet_file_status status = world_status(a);

        /* LSN 1 is the empty volume's, or the first commit itself. */
        assert_int_equal(status.local_commits, 0);
        assert_int_equal(status.state, RAMET_STATE_CLEAN);
        world_expect_remote(world, status.durable_lsn, bytes, SIZE);
        world_fill(bytes + 300 * i, 5000, i + 2);
        world_write(a, 300 * i, bytes + 300 * i, 5000);
        assert_int_equal(world_status(a).durable_lsn, status.durable_lsn + 1);
    }
    ramet_file_close(a);
}

/* To a store that is asked by requests: as long as the images are here. */
static void
commit__of_a_few_bytes_sends_deltas(void **state)
{
    struct world *const world = *state;
    struct ramet_file *a;
    unsigned small = 0;

    ramet_remote_client_store(world->clients[0])->traits |=
        RAMET_STORE_CHECKS_COMMITS;
    a = make_volume(world);
    for (unsigned i = 0; i < 24; i++) {
        const size_t at = (i % 3) * 8192 + i * 7;

        if (i == 12) { /* what is known outlives the process */
            ramet_file_close(a);
            a = open_commit(world, 0, world_path(world, "a"), NULL);
        }
        world_fill(bytes + at, 20, i + 100);
        ramet_faultstore_reset_counts(world->faults[0]);
        world_write(a, at, bytes + at, 20);
        small += ramet_faultstore_counts(world->faults[0]).bytes_written < 1500;
        world_expect(a, bytes, SIZE);
        world_expect_remote(world, world_status(a).durable_lsn, bytes, SIZE);
    }
    assert_int_equal(small, 24);
    ramet_file_close(a);
}

static void
commit__that_lost_the_race_is_rolled_back(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_file *const b =
        open_commit(world, 1, world_path(world, "b"), NULL);
    struct ramet_err err;
    enum ramet_rc rc;

    world_expect(b, bytes, SIZE);
    world_write(a, 10, "first", 5);
    memcpy(bytes + 10, "first", 5);
    rc = world_try_write(b, 20000, "second", 6, &err);
    assert_true(rc == RAMET_ESNAPSHOT || rc == RAMET_ECONFLICT);
    assert_int_equal(world_status(b).local_commits, 0);
    OK(ramet_file_pull(b, NULL, e));
    world_expect(b, bytes, SIZE);
    world_write(b, 20000, "second", 6);
    memcpy(bytes + 20000, "second", 6);
    world_expect_remote(world, world_status(b).durable_lsn, bytes, SIZE);
    OK(ramet_file_pull(a, NULL, e));
    world_expect(a, bytes, SIZE);
    ramet_file_close(a);
    ramet_file_close(b);
}

static void
commit__without_the_remote_is_rolled_back(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    const uint64_t lsn = world_status(a).durable_lsn;
    struct ramet_err err;

    ramet_faultstore_set_down(world->faults[0], RAMET_EUNREACHABLE);
    assert_int_equal(world_try_write(a, 10, "never", 5, &err),
                     RAMET_EUNREACHABLE);
    world_expect(a, bytes, SIZE);
    assert_int_equal(world_status(a).local_commits, 0);
    ramet_faultstore_set_down(world->faults[0], RAMET_OK);
    world_write(a, 10, "later", 5);
    memcpy(bytes + 10, "later", 5);
    world_expect_remote(world, lsn + 1, bytes, SIZE);
    ramet_file_close(a);
}

static void
commit__with_a_super_journal_is_refused(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    const uint64_t lsn = world_status(a).durable_lsn;
    struct ramet_err err;

    OK(ramet_file_pin(a, e));
    OK(ramet_file_reserve(a, e));
    OK(ramet_file_write(a, 0, "x", 1, e));
    assert_int_equal(ramet_file_prepare(a, "/x/super-journal", &err),
                     RAMET_EINVAL);
    ramet_file_release(a);
    ramet_file_unpin(a);
    world_expect(a, bytes, SIZE);
    world_expect_remote(world, lsn, bytes, SIZE);
    ramet_file_close(a);
}

static bool
is_there(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

/* What stands at the path by then is another's. */
static void
commit__kept_after_the_directory_was_renamed__is_in_it(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_err err;

    assert_int_equal(rename(world_path(world, "a"), world_path(world, "m")), 0);
    assert_int_equal(
        rename(world_path(world, "a-ramet"), world_path(world, "m-ramet")), 0);
    assert_int_equal(mkdir(world_path(world, "a-ramet"), 0700), 0);
    assert_int_equal(remove(world_path(world, "m-ramet/commit")), 0);
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(world_try_write(a, 0, "late", 4, &err), RAMET_EUNKNOWN);
    assert_true(is_there(world_path(world, "m-ramet/commit")));
    assert_false(is_there(world_path(world, "a-ramet/commit")));
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
    ramet_file_close(a);
}

/* Write again and again until it is taken: what a caller does on BUSY. */
static void
write_in_the_end(struct ramet_file *file, uint64_t offset, const void *data,
                 size_t len)
{
    struct ramet_err err;
    enum ramet_rc rc = RAMET_EUNKNOWN;

    for (unsigned i = 0; i < 4 && rc != RAMET_OK; i++) {
        rc = world_try_write(file, offset, data, len, &err);
        if (rc != RAMET_OK && rc != RAMET_ESNAPSHOT && rc != RAMET_ECONFLICT &&
            rc != RAMET_EUNKNOWN)
            fail_msg("%s: %s", ramet_rc_name(rc), err.text);
        if (rc != RAMET_OK)
            OK(ramet_file_pull(file, NULL, e));
    }
    assert_int_equal(rc, RAMET_OK);
}

/* Somebody in between says that another was first, and not who: nobody is named, nothing
 * is noted, and what was sent is kept until its slot is known to be another's. */
static void
commit__refused_for_nobody__names_nobody(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_err err;
    unsigned refused = 0;

    for (uint64_t nth = 0; nth < 4; nth++) {
        const uint64_t lsn = world_status(a).durable_lsn;
        enum ramet_rc rc;

        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, nth,
                             RAMET_ECONFLICT);
        rc = world_try_write(a, 40, "nobody", 6, &err);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
        if (rc != RAMET_OK) {
            refused++;
            assert_int_equal(rc, RAMET_ECONFLICT);
            assert_null(strstr(err.text, "somebody else"));
            assert_int_equal(world_status(a).durable_lsn, lsn);
            assert_int_equal(world_status(a).remote_lsn, lsn);
            write_in_the_end(a, 40, "nobody", 6);
        }
        memcpy(bytes + 40, "nobody", 6);
        world_expect(a, bytes, SIZE);
        world_expect_remote(world, world_status(a).durable_lsn, bytes, SIZE);
        write_in_the_end(a, 40, "others", 6);
    }
    assert_true(refused > 0);
    ramet_file_close(a);
}

/*
 * The reply is lost, or the request hangs and lands at some moment later: at
 * once, before the next transaction, or after everything was resolved.
 */
static void
commit__of_unknown_fate_is_resolved_first(void **state)
{
    struct world *const world = *state;
    struct ramet_file *a = make_volume(world);

    for (unsigned how = 0; how < 8; how++) {
        const bool late = how % 4 >= 1;
        const bool lands_before = how % 4 == 2;
        const bool reopen = how >= 4;
        char text[16];
        uint8_t before[SIZE];
        struct ramet_err err;
        enum ramet_rc rc;

        snprintf(text, sizeof(text), "unknown %u", how);
        memcpy(before, bytes, SIZE);
        ramet_faultstore_arm(world->faults[0],
                             late ? RAMET_FAULT_LATE : RAMET_FAULT_LOSE_REPLY,
                             0, RAMET_OK);
        rc = world_try_write(a, 100 * how, text, sizeof(text), &err);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
        if (rc == RAMET_OK) { /* it asked, and found its commit */
            assert_false(late);
            memcpy(bytes + 100 * how, text, sizeof(text));
        } else {
            assert_int_equal(rc, RAMET_EUNKNOWN);
            world_expect(a, before, SIZE); /* rolled back here */
            if (!late)
                memcpy(bytes + 100 * how, text, sizeof(text));
        }
        if (lands_before) {
            ramet_faultstore_land(world->faults[0]);
            memcpy(bytes + 100 * how, text, sizeof(text));
        }
        if (reopen) {
            ramet_file_close(a);
            world_restart(world, 0);
            a = open_commit(world, 0, world_path(world, "a"), NULL);
        }
        write_in_the_end(a, 30000 + how, "z", 1);
        bytes[30000 + how] = 'z';
        ramet_faultstore_land(world->faults[0]); /* too late, if not before */
        OK(ramet_file_pull(a, NULL, e));
        world_expect(a, bytes, SIZE);
        world_expect_remote(world, world_status(a).durable_lsn, bytes, SIZE);
        assert_int_equal(world_status(a).state, RAMET_STATE_CLEAN);
    }
    ramet_file_close(a);
}

/* A request that came to nothing in time may have been sent: where it was that of the
 * commit itself, the fate is not known, and that is what is said. */
static void
commit__whose_answer_is_late__is_of_unknown_fate(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_objstore *const store = world->faults[0];
    unsigned unknown = 0;
    bool fired = true;

    for (uint64_t nth = 0; fired; nth++) {
        struct ramet_err err;
        enum ramet_rc rc;

        assert_true(nth < 20);
        ramet_faultstore_reset_counts(store);
        ramet_faultstore_arm(store, RAMET_FAULT_FAIL, nth, RAMET_ETIMEOUT);
        rc = world_try_write(a, nth, "t", 1, &err);
        fired = ramet_faultstore_fired(store);
        ramet_faultstore_arm(store, RAMET_FAULT_NONE, 0, RAMET_OK);
        if (rc != RAMET_OK)
            assert_int_equal(rc, ramet_faultstore_counts(store).puts > 0
                                     ? RAMET_EUNKNOWN
                                     : RAMET_ETIMEOUT);
        unknown += rc == RAMET_EUNKNOWN;
        write_in_the_end(a, nth, "t", 1);
        bytes[nth] = 't';
    }
    assert_true(unknown > 0);
    world_expect_remote(world, world_status(a).durable_lsn, bytes, SIZE);
    ramet_file_close(a);
}

/* What was committed in another mode before goes first. */
static void
commit__pushes_what_is_pending_first(void **state)
{
    struct world *const world = *state;
    struct ramet_file *a = make_volume(world);
    uint64_t lsn;

    ramet_file_close(a);
    a = world_open(world, 0, "a");
    world_write(a, 5, "pending", 7);
    memcpy(bytes + 5, "pending", 7);
    lsn = world_status(a).durable_lsn;
    ramet_file_close(a);
    a = open_commit(world, 0, world_path(world, "a"), NULL);
    write_in_the_end(a, 20000, "durable", 7);
    memcpy(bytes + 20000, "durable", 7);
    world_expect_remote(world, lsn + 2, bytes, SIZE);
    ramet_file_close(a);
}

static void
expect_size(struct ramet_file *file, uint64_t size)
{
    OK(ramet_file_pin(file, e));
    assert_true(ramet_file_size(file) == size);
    ramet_file_unpin(file);
}

static void
commit__can_be_cut_to_the_size_in_the_header(void **state)
{
    struct world *const world = *state;
    uint8_t page[4096] = "SQLite format 3";
    struct ramet_file_options options;
    struct ramet_file *a = NULL;

    world_options(world, 0, &options);
    options.sync = RAMET_SYNC_COMMIT;
    options.kind = RAMET_KIND_SQLITE;
    OK(ramet_file_open(world_path(world, "a"), &options, &a, e));
    page[16] = 4096 >> 8;
    ramet_put_be32(page + 24, 1);
    ramet_put_be32(page + 92, 1);
    ramet_put_be32(page + 28, 3);
    OK(ramet_file_pin(a, e));
    OK(ramet_file_reserve(a, e));
    for (unsigned i = 0; i < 10; i++)
        OK(ramet_file_write(a, i * 4096u, page, 4096, e));
    OK(ramet_file_prepare(a, NULL, e));
    OK(ramet_file_truncate(a, 3 * 4096, e)); /* as SQLite does */
    ramet_file_publish(a);
    ramet_file_release(a);
    ramet_file_unpin(a);
    expect_size(a, 3 * 4096);
    ramet_file_close(a);
    a = world_clone(world, 1, "b", false);
    expect_size(a, 3 * 4096);
    ramet_file_close(a);
}

/* What was cut off comes back as zeros, there as here. */
static void
commit__that_cuts_off_and_regrows__sends_zeros(void **state)
{
    struct world *const world = *state;
    struct ramet_file *a = make_volume(world);

    OK(ramet_file_pin(a, e));
    OK(ramet_file_reserve(a, e));
    OK(ramet_file_write(a, 0, "x", 1, e));
    OK(ramet_file_truncate(a, 3 * 4096, e));
    OK(ramet_file_truncate(a, SIZE, e));
    OK(ramet_file_write(a, 7 * 4096 + 5, "y", 1, e));
    OK(ramet_file_prepare(a, NULL, e));
    ramet_file_publish(a);
    ramet_file_release(a);
    ramet_file_unpin(a);
    bytes[0] = 'x';
    memset(bytes + 3 * 4096, 0, SIZE - 3 * 4096);
    bytes[7 * 4096 + 5] = 'y';
    world_expect(a, bytes, SIZE);
    world_expect_remote(world, world_status(a).durable_lsn, bytes, SIZE);
    ramet_file_close(a);
}

/* All pages are others then, and whole pages of zeros among them are zeros. */
static void
commit__in_pages_of_another_size__is_sent_whole(void **state)
{
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_file *a = NULL;
    uint8_t *const after = bytes;

    memset(bytes, 0, SIZE);
    world_options(world, 0, &options);
    options.sync = RAMET_SYNC_COMMIT;
    options.kind = RAMET_KIND_SQLITE;
    OK(ramet_file_open(world_path(world, "a"), &options, &a, e));
    for (unsigned size = 4096; size >= 512; size /= 8) {
        world_fill(after, 8 * 4096, size);
        memset(after + 3 * 4096, 0, 2 * 4096);
        memcpy(after, "SQLite format 3", 16);
        memset(after + 16, 0, 84);
        after[16] = (uint8_t)(size >> 8);
        ramet_put_be32(after + 24, size);
        ramet_put_be32(after + 92, size);
        ramet_put_be32(after + 28, 8 * 4096 / size);
        OK(ramet_file_pin(a, e));
        OK(ramet_file_reserve(a, e));
        for (unsigned at = 0; at < 8 * 4096; at += size)
            OK(ramet_file_write(a, at, after + at, size, e));
        OK(ramet_file_prepare(a, NULL, e));
        ramet_file_publish(a);
        ramet_file_release(a);
        ramet_file_unpin(a);
        world_expect_remote(world, world_status(a).durable_lsn, after,
                            8 * 4096);
    }
    ramet_file_close(a);
}

/* What the base has in a place says nothing of what is written there now. */
static void
commit__into_a_hole_of_the_base__is_sent(void **state)
{
    struct world *const world = *state;
    struct ramet_file *a = make_volume(world);

    memset(bytes + 2 * 4096, 0, SIZE - 2 * 4096);
    world_truncate(a, 2 * 4096);
    world_truncate(a, SIZE); /* ... and the close makes a hole of it */
    ramet_file_close(a);
    a = open_commit(world, 0, world_path(world, "a"), NULL);
    OK(ramet_file_pin(a, e));
    OK(ramet_file_reserve(a, e));
    OK(ramet_file_truncate(a, 4096, e));
    OK(ramet_file_truncate(a, SIZE, e));
    OK(ramet_file_write(a, 6 * 4096, "written", 7, e));
    OK(ramet_file_prepare(a, NULL, e));
    ramet_file_publish(a);
    ramet_file_release(a);
    ramet_file_unpin(a);
    memset(bytes + 4096, 0, 4096);
    memcpy(bytes + 6 * 4096, "written", 7);
    world_expect(a, bytes, SIZE);
    world_expect_remote(world, world_status(a).durable_lsn, bytes, SIZE);
    ramet_file_close(a);
}

/*
 * Power goes after the n-th change on disk: the commit is durable or it is
 * not there at all, and the replica and the remote agree in the end.
 */
static void
commit__is_whole_or_absent_wherever_the_power_goes(void **state)
{
    struct world *const world = *state;
    const char *const folder = world_path(world, "disk");
    struct faultos *fault;
    struct powercut cut;
    char path[400];

    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/a", folder);
    fault = faultos_new(folder);
    {
        struct ramet_file *const a =
            open_commit(world, 0, path, faultos_os(fault));

        world_fill(bytes, SIZE, 1);
        world_write(a, 0, bytes, SIZE);
        ramet_file_close(a);
    }
    powercut_begin(&cut, fault);
    while (powercut_next(&cut)) {
        struct ramet_file *a = open_commit(world, 0, path, faultos_os(fault));
        uint8_t old[SIZE];
        struct ramet_err err;
        uint64_t lsn;
        enum ramet_rc rc;

        lsn = world_status(a).durable_lsn;
        memcpy(old, bytes, SIZE);
        world_fill(bytes + 5000, 9000, (uint64_t)cut.round + 7);
        powercut_arm(&cut);
        rc = world_try_write(a, 5000, bytes + 5000, 9000, &err);
        ramet_file_close(a);
        world_restart(world, 0);
        powercut_strike(&cut);
        a = open_commit(world, 0, path, faultos_os(fault));
        /* Resolves what is to be resolved: a push, then what is new there. */
        OK(ramet_file_sync(a, NULL, e));
        assert_in_range(world_status(a).durable_lsn, lsn, lsn + 1);
        if (world_status(a).durable_lsn == lsn) {
            assert_int_not_equal(rc, RAMET_OK);
            memcpy(bytes, old, SIZE);
        }
        world_expect(a, bytes, SIZE);
        assert_int_equal(world_status(a).state, RAMET_STATE_CLEAN);
        write_in_the_end(a, 0, &(uint8_t){(uint8_t)cut.round}, 1);
        bytes[0] = (uint8_t)cut.round;
        world_expect(a, bytes, SIZE);
        world_expect_remote(world, world_status(a).durable_lsn, bytes, SIZE);
        ramet_file_close(a);
    }
    faultos_free(fault);
}

static struct ramet_file *
open_manual(struct world *world, const char *path, const struct ramet_os *os)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    world_options(world, 0, &options);
    options.os = os;
    OK(ramet_file_open(path, &options, &file, e));
    return file;
}

/*
 * It was rolled back here and did not land: the fence changes nothing, so what
 * was committed since stands on it. Also where the power goes in the midst.
 */
static void
commit__of_unknown_fate__and_one_of_another_mode_on_top(void **state)
{
    struct world *const world = *state;
    const char *const folder = world_path(world, "disk");
    struct faultos *fault;
    struct powercut cut;
    char path[400];

    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/a", folder);
    fault = faultos_new(folder);
    world_fill(bytes, SIZE, 1);
    powercut_begin(&cut, fault);
    while (powercut_next(&cut)) {
        struct ramet_file *a = open_commit(world, 0, path, faultos_os(fault));
        struct ramet_err err;

        if (cut.round == 0)
            world_write(a, 0, bytes, SIZE);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LATE, 0, RAMET_OK);
        assert_int_equal(world_try_write(a, 100, "never", 5, &err),
                         RAMET_EUNKNOWN);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
        ramet_file_close(a);
        world_restart(world, 0);
        a = open_manual(world, path, faultos_os(fault));
        world_write(a, 20000, &(uint8_t){(uint8_t)cut.round}, 1);
        bytes[20000] = (uint8_t)cut.round;
        faultos_settle(fault);
        powercut_arm(&cut);
        (void)!ramet_file_push(a, NULL, NULL);
        ramet_file_close(a);
        world_restart(world, 0);
        powercut_strike(&cut);
        a = open_manual(world, path, faultos_os(fault));
        OK(ramet_file_push(a, NULL, e));
        ramet_faultstore_land(world->faults[0]); /* too late */
        OK(ramet_file_sync(a, NULL, e));
        world_expect(a, bytes, SIZE);
        assert_int_equal(world_status(a).state, RAMET_STATE_CLEAN);
        world_expect_remote(world, world_status(a).durable_lsn, bytes, SIZE);
        ramet_file_close(a);
    }
    faultos_free(fault);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(commit__returns_when_it_is_durable),
        T(commit__of_a_few_bytes_sends_deltas),
        T(commit__that_lost_the_race_is_rolled_back),
        T(commit__refused_for_nobody__names_nobody),
        T(commit__without_the_remote_is_rolled_back),
        T(commit__with_a_super_journal_is_refused),
        T(commit__kept_after_the_directory_was_renamed__is_in_it),
        T(commit__of_unknown_fate_is_resolved_first),
        T(commit__whose_answer_is_late__is_of_unknown_fate),
        T(commit__pushes_what_is_pending_first),
        T(commit__can_be_cut_to_the_size_in_the_header),
        T(commit__that_cuts_off_and_regrows__sends_zeros),
        T(commit__in_pages_of_another_size__is_sent_whole),
        T(commit__into_a_hole_of_the_base__is_sent),
        T(commit__is_whole_or_absent_wherever_the_power_goes),
        T(commit__of_unknown_fate__and_one_of_another_mode_on_top),
    };
    return cmocka_run_group_tests_name("durable", tests, NULL, NULL);
}
