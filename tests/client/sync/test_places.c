/*
 * test_places.c - a replica's place that others make, clear or set aside while a
 * verb is at it.
 *
 * The system is the machine's own, but for one call: before or after it somebody
 * else does his work.
 */
#include "client/store/replicas.h"
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/client/sync/world.h"
#include "tests/support/faultos.h"

enum { SIZE = 80000 };

static uint8_t bytes[SIZE];

/* The system, but that somebody clones "b" after it was not found. */
static struct {
    struct ramet_os os;
    struct world *world;
    unsigned left; /* until it happens */
    bool happened;
    bool at_lock;
    unsigned made; /* by somebody else */
} late;

static void
clone_database(struct world *world, const char *name)
{
    struct ramet_file_options options;

    world_options(world, 1, &options);
    options.kind = RAMET_KIND_SQLITE;
    OK(ramet_file_clone(world->urls[1], world_path(world, name), &options, NULL,
                        NULL, NULL, e));
}

static int
open_late(void *ctx, int dirfd, const char *path, int flags, unsigned mode)
{
    const int fd = ramet_os_system()->open(ctx, dirfd, path, flags, mode);

    if (fd == -ENOENT && strcmp(path, "b-ramet") == 0 && !late.happened) {
        late.happened = true;
        clone_database(late.world, "b");
    }
    return fd;
}

static void
open__while_somebody_clones__joins_him(void **state)
{
    static const uint8_t header[] = "SQLite format 3\0\x10\0\1\1\0\x40\x20\x20";
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    world_fill(bytes, SIZE, 1);
    memcpy(bytes, header, sizeof(header) - 1);
    world_write_plain(world_path(world, "a"), bytes, 19 * 4096);
    world_options(world, 0, &options);
    options.kind = RAMET_KIND_SQLITE;
    OK(ramet_file_init(world_path(world, "a"), world->urls[0], &options, NULL,
                       NULL, NULL, e));
    late.os = *ramet_os_system();
    late.os.open = open_late;
    late.world = world;
    late.happened = false;
    world_options(world, 1, &options);
    options.kind = RAMET_KIND_SQLITE;
    options.remote = world->urls[1];
    options.os = &late.os;
    OK(ramet_file_open(world_path(world, "b"), &options, &file, e));
    assert_true(late.happened);
    world_expect(file, bytes, 19 * 4096);
    ramet_file_close(file);
}

/* Who removes what a deleted file left takes the directory, empty as it is still. */
static int
open_removed(void *ctx, int dirfd, const char *path, int flags, unsigned mode)
{
    const int fd = ramet_os_system()->open(ctx, dirfd, path, flags, mode);

    if (fd == -ENOENT && strcmp(path, "lock") == 0 && !late.happened) {
        late.happened = true;
        assert_int_equal(rmdir(world_path(late.world, "b-ramet")), 0);
    }
    return fd;
}

static void
open__while_the_directory_is_removed__makes_it_again(void **state)
{
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    late.os = *ramet_os_system();
    late.os.open = open_removed;
    late.world = world;
    late.happened = false;
    world_options(world, 1, &options);
    options.os = &late.os;
    OK(ramet_file_open(world_path(world, "b"), &options, &file, e));
    assert_true(late.happened);
    world_write(file, 0, "x", 1);
    world_expect(file, "x", 1);
    ramet_file_close(file);
}

/* Somebody who does the same was faster. */
static int
unlink_removed(void *ctx, int dirfd, const char *path, bool is_dir)
{
    if (late.left-- == 0) {
        late.happened = true;
        assert_int_equal(ramet_os_system()->unlink(ctx, dirfd, path, is_dir),
                         0);
    }
    return ramet_os_system()->unlink(ctx, dirfd, path, is_dir);
}

static void
detach__beside_who_clears_too__is_done(void **state)
{
    struct world *const world = *state;
    unsigned nth = 0;

    late.os = *ramet_os_system();
    late.os.unlink = unlink_removed;
    do {
        struct ramet_file *const file = world_open(world, 1, "b");
        struct ramet_detached detached;

        world_write(file, 0, "x", 1);
        ramet_file_close(file);
        late.happened = false;
        late.left = nth++;
        OK(ramet_replica_detach(&late.os, world_path(world, "b"), &detached,
                                e));
        world_expect_plain(world_path(world, "b"), "x", 1);
        assert_int_equal(unlink(world_path(world, "b")), 0);
        assert_int_not_equal(access(world_path(world, "b-ramet/state"), F_OK),
                             0);
    } while (late.happened);
    assert_true(nth > 3);
}

/* Who clears it too removes its lock, and dies. */
static int
lock_removed(void *ctx, int fd, uint64_t offset, uint64_t len,
             enum ramet_lock_mode mode)
{
    if (!late.happened)
        assert_int_equal(unlink(world_path(late.world, "b-ramet/lock")), 0);
    late.happened = true;
    return ramet_os_system()->lock(ctx, fd, offset, len, mode);
}

static void
detach__beside_who_dies_clearing__clears_the_rest(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const file = world_open(world, 1, "b");
    struct ramet_detached detached;

    world_write(file, 0, "x", 1);
    ramet_file_close(file);
    assert_int_equal(rename(world_path(world, "b-ramet/state"),
                            world_path(world, "b-ramet/detached")),
                     0);
    late.os = *ramet_os_system();
    late.os.lock = lock_removed;
    late.world = world;
    late.happened = false;
    OK(ramet_replica_detach(&late.os, world_path(world, "b"), &detached, e));
    assert_true(late.happened);
    assert_int_not_equal(access(world_path(world, "b-ramet"), F_OK), 0);
    world_expect_plain(world_path(world, "b"), "x", 1);
}

/* A file is gone that a program has open still. Somebody sets aside what was beside
 * it, and makes the file anew, before the lock is there; and that is deleted, too, if
 * he keeps it open. */
static struct ramet_file *was_open;
static struct ramet_file *kept_open;
static bool keeps_open;

static int
lock_set_aside(void *ctx, int fd, uint64_t offset, uint64_t len,
               enum ramet_lock_mode mode)
{
    if (!late.happened) {
        late.happened = true;
        OK(ramet_replica_clear_orphan(NULL, world_path(late.world, "b"), e));
        kept_open = world_open(late.world, 1, "b");
        world_write(kept_open, 0, "new", 3);
        if (keeps_open)
            assert_int_equal(unlink(world_path(late.world, "b")), 0);
        else
            ramet_file_close(kept_open);
    }
    return ramet_os_system()->lock(ctx, fd, offset, len, mode);
}

static void
come_late(struct world *world, bool keeps)
{
    was_open = world_open(world, 1, "b");
    world_write(was_open, 0, "x", 1);
    assert_int_equal(unlink(world_path(world, "b")), 0);
    late.os = *ramet_os_system();
    late.os.lock = lock_set_aside;
    late.world = world;
    late.happened = false;
    keeps_open = keeps;
}

static void
expect_set_aside(struct world *world)
{
    glob_t found;

    assert_int_equal(glob(world_path(world, "b-ramet/lost/deleted-*/state"), 0,
                          NULL, &found),
                     0);
    assert_int_equal(found.gl_pathc, 1);
    globfree(&found);
    world_expect(was_open, "x", 1);
    ramet_file_close(was_open);
}

static void
delete__beside_who_sets_aside__removes_nothing_of_that(void **state)
{
    struct world *const world = *state;

    come_late(world, false);
    OK(ramet_replica_delete(&late.os, world_path(world, "b"), e));
    assert_true(late.happened);
    expect_set_aside(world);
    assert_int_not_equal(access(world_path(world, "b"), F_OK), 0);
    assert_int_not_equal(access(world_path(world, "b-ramet/state"), F_OK), 0);
}

static void
clear_orphan__beside_who_makes_it_again__leaves_the_new_one(void **state)
{
    struct world *const world = *state;

    come_late(world, true);
    assert_int_equal(
        ramet_replica_clear_orphan(&late.os, world_path(world, "b"), NULL),
        RAMET_EBUSY);
    assert_true(late.happened);
    expect_set_aside(world);
    assert_int_equal(access(world_path(world, "b-ramet/state"), F_OK), 0);
    ramet_file_close(kept_open);
}

static void
open__of_an_orphan_that_is_made_again__is_of_the_new_one(void **state)
{
    struct world *const world = *state;
    const struct ramet_replica_options options = {.os = &late.os,
                                                  .flags = RAMET_OPEN_CREATE};
    struct ramet_session *session = NULL;

    come_late(world, false);
    OK(ramet_session_open(world_path(world, "b"), &options, &session, e));
    assert_true(late.happened);
    expect_set_aside(world);
    ramet_session_close(session);
}

/* Beside what somebody keeps the file is made and deleted again, and the lock with it,
 * before who clones has that. */
static int
lock_of_what_goes(void *ctx, int fd, uint64_t offset, uint64_t len,
                  enum ramet_lock_mode mode)
{
    if (!late.happened) {
        late.happened = true;
        ramet_file_close(world_open(late.world, 1, "b"));
        OK(ramet_replica_delete(NULL, world_path(late.world, "b"), e));
        assert_int_not_equal(
            access(world_path(late.world, "b-ramet/lock"), F_OK), 0);
    }
    return ramet_os_system()->lock(ctx, fd, offset, len, mode);
}

static void
clone__beside_who_deletes__has_the_lock_of_the_place(void **state)
{
    struct world *const world = *state;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB,
                                                  .os = &late.os};
    struct ramet_file *const a = world_open(world, 0, "a");
    struct ramet_remote_point point;
    struct ramet_vid volume;

    world_fill(bytes, SIZE, 1);
    world_write(a, 0, bytes, SIZE);
    OK(ramet_file_push(a, NULL, e));
    point = world_newest_point(world);
    OK(ramet_remote_client_resolve(world->clients[0], &volume, e));
    assert_int_equal(mkdir(world_path(world, "b-ramet"), 0755), 0);
    assert_int_equal(mkdir(world_path(world, "b-ramet/lost"), 0755), 0);
    world_write_plain(world_path(world, "b-ramet/lost/x"), bytes, 1);
    late.os = *ramet_os_system();
    late.os.lock = lock_of_what_goes;
    late.world = world;
    late.happened = false;
    OK(ramet_replica_create_clone(world_path(world, "b"), &options,
                                  world->urls[1], &volume, &point, NULL, e));
    assert_true(late.happened);
    assert_int_equal(access(world_path(world, "b-ramet/lock"), F_OK), 0);
    assert_int_equal(access(world_path(world, "b-ramet/lost/x"), F_OK), 0);
    ramet_file_close(a);
}

/* Who deletes is done, and the file is made again, before the lock that he had is
 * there for who found the tombstone. */
static void
make_again(void)
{
    struct ramet_file *file;

    late.happened = true;
    late.made++;
    OK(ramet_replica_delete(NULL, world_path(late.world, "b"), e));
    file = world_open(late.world, 1, "b");
    world_write(file, 0, "new", 3);
    ramet_file_close(file);
}

static int
stat_made_again(void *ctx, int dirfd, const char *path,
                struct ramet_os_stat *out)
{
    const int result = ramet_os_system()->stat_at(ctx, dirfd, path, out);

    if (result == 0 && strcmp(path, "deleted") == 0 && !late.happened &&
        !late.at_lock && late.left-- == 0)
        make_again();
    return result;
}

/* Once it has its lock nobody else comes in between. */
static int
lock_made_again(void *ctx, int fd, uint64_t offset, uint64_t len,
                enum ramet_lock_mode mode)
{
    if (!late.happened && late.at_lock)
        make_again();
    late.happened = true;
    return ramet_os_system()->lock(ctx, fd, offset, len, mode);
}

/* `has_lost`: the directory stays. */
static void
open_beside_deletion(struct world *world, bool at_lock, bool has_lost,
                     unsigned nth)
{
    struct ramet_file_options options;
    struct ramet_file *file = world_open(world, 1, "b");
    FILE *tombstone;

    world_write(file, 0, "old", 3);
    ramet_file_close(file);
    if (has_lost) {
        FILE *lost;

        (void)mkdir(world_path(world, "b-ramet/lost"), 0700);
        lost = fopen(world_path(world, "b-ramet/lost/x"), "w");
        assert_non_null(lost);
        assert_int_equal(fclose(lost), 0);
    }
    tombstone = fopen(world_path(world, "b-ramet/deleted"), "w");
    assert_non_null(tombstone);
    assert_int_equal(fclose(tombstone), 0);

    late.os = *ramet_os_system();
    late.world = world;
    late.happened = false;
    late.left = nth;
    late.made = 0;
    late.at_lock = at_lock;
    late.os.lock = lock_made_again;
    late.os.stat_at = stat_made_again;
    world_options(world, 1, &options);
    options.os = &late.os;
    OK(ramet_file_open(world_path(world, "b"), &options, &file, e));
    if (late.made > 0)
        world_expect(file, "new", 3);
    ramet_file_close(file);
    OK(ramet_replica_delete(NULL, world_path(world, "b"), e));
}

static void
open__beside_who_deletes_and_makes_it_again__leaves_the_new_one(void **state)
{
    struct world *const world = *state;

    for (unsigned i = 0; i < 2; i++) {
        const bool has_lost = i != 0;
        unsigned nth = 0;

        open_beside_deletion(world, true, has_lost, 0);
        assert_int_equal(late.made, 1);
        do
            open_beside_deletion(world, false, has_lost, nth++);
        while (late.made > 0);
        assert_true(nth > 2); /* as it looks, and as it looks again */
    }
}

/* ---- the power goes --------------------------------------------------------- */

/* A clone that was reported is there, and so is a commit made in it that was synced:
 * the names of both lasted before that. */
static void
clone_before_the_power_goes(struct world *world, struct faultos *faults,
                            const char *disk, uint64_t seed)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;
    char path[300];

    (void)snprintf(path, sizeof(path), "%s/b", world_path(world, disk));
    world_options(world, 1, &options);
    options.os = faultos_os(faults);
    OK(ramet_file_clone(world->urls[1], path, &options, NULL, NULL, NULL, e));
    if (seed % 2 != 0) {
        OK(ramet_file_open(path, &options, &file, e));
        world_write(file, 5000, &seed, sizeof(seed));
        memcpy(bytes + 5000, &seed, sizeof(seed));
        ramet_file_close(file);
    }
    faultos_crash(faults, seed);
    world_restart(world, 1);
    options.flags &= ~(unsigned)RAMET_OPEN_CREATE;
    OK(ramet_file_open(path, &options, &file, e));
    world_expect(file, bytes, SIZE);
    ramet_file_close(file);
}

static void
make_blob(struct world *world)
{
    struct ramet_file_options options;

    world_write_plain(world_path(world, "a"), bytes, SIZE);
    world_options(world, 0, &options);
    OK(ramet_file_init(world_path(world, "a"), world->urls[0], &options, NULL,
                       NULL, NULL, e));
}

static void
clone__that_was_reported__outlives_the_power(void **state)
{
    struct world *const world = *state;

    for (uint64_t seed = 0; seed < 8; seed++) {
        struct faultos *faults;
        char disk[16];

        (void)snprintf(disk, sizeof(disk), "disk%u", (unsigned)seed);
        assert_int_equal(mkdir(world_path(world, disk), 0700), 0);
        faults = faultos_new(world_path(world, disk));
        world_fill(bytes, SIZE, 1);
        if (seed == 0)
            make_blob(world);
        clone_before_the_power_goes(world, faults, disk, seed);
        world_restart(world, 1);
        faultos_free(faults);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(open__while_somebody_clones__joins_him,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            open__while_the_directory_is_removed__makes_it_again, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(detach__beside_who_clears_too__is_done,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            detach__beside_who_dies_clearing__clears_the_rest, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            clone__beside_who_deletes__has_the_lock_of_the_place, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            delete__beside_who_sets_aside__removes_nothing_of_that, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            clear_orphan__beside_who_makes_it_again__leaves_the_new_one,
            world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            open__of_an_orphan_that_is_made_again__is_of_the_new_one,
            world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            open__beside_who_deletes_and_makes_it_again__leaves_the_new_one,
            world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            clone__that_was_reported__outlives_the_power, world_setup,
            world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
