/*
 * test_lines.c - a remote that went another way: the same LSN, another commit.
 *
 * What stands on the commit that is gone may show what it has; it may not show
 * pages of the other line as its own.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/volume/stateless.h"
#include "metastore/catalog.h"
#include "tests/client/sync/world.h"
#include "tests/support/child.h"
#include "tests/support/faultstore.h"

enum { SIZE = 200000, PAGE = 4096 };

/* Of the one line and of the other, each at LSN 2. */
static uint8_t mine[SIZE];
static uint8_t theirs[SIZE];

/* What the line that is gone had in the store. */
enum { TAKEN_MAX = 16 };
static struct {
    char key[RAMET_KEY_MAX];
    uint8_t bytes[1 << 19];
    size_t len;
} taken[TAKEN_MAX];
static size_t taken_count, first_count; /* those of LSN 1 come first */

/* All bytes of `out`, from `from`, with `text` at the head of each page. */
static void
mark_pages(uint8_t *out, const uint8_t *from, const char *text)
{
    memcpy(out, from, SIZE);
    for (size_t at = 0; at < SIZE; at += PAGE)
        memcpy(out + at, text, strlen(text));
}

static struct ramet_file *
make_volume(struct world *world)
{
    struct ramet_file_options options;
    uint8_t first[SIZE];

    world_fill(first, SIZE, 1);
    mark_pages(mine, first, "mine");
    mark_pages(theirs, first, "theirs");
    world_write_plain(world_path(world, "a"), first, SIZE);
    world_options(world, 0, &options);
    OK(ramet_file_init(world_path(world, "a"), world->urls[0], &options, NULL,
                       NULL, NULL, e));
    return world_open(world, 0, "a");
}

static bool
note_key(void *ctx, const char *key, uint64_t size)
{
    (void)ctx;
    assert_true(taken_count < TAKEN_MAX && size < sizeof(taken[0].bytes));
    strcpy(taken[taken_count++].key, key);
    return true;
}

/* What there is now stays. */
static void
note_first(struct world *world)
{
    OK(ramet_objstore_list(world->store, "volumes/", "", note_key, NULL, e));
    first_count = taken_count;
}

static bool
is_of_first(const char *key)
{
    for (size_t i = 0; i < first_count; i++)
        if (strcmp(taken[i].key, key) == 0)
            return true;
    return false;
}

/* All that came after LSN 1 leaves the store, as one put back from a backup. */
static void
take_second(struct world *world)
{
    OK(ramet_objstore_list(world->store, "volumes/", "", note_key, NULL, e));
    for (size_t i = first_count; i < taken_count; i++) {
        if (is_of_first(taken[i].key))
            continue;
        OK(ramet_objstore_read(world->store, taken[i].key, 0, taken[i].bytes,
                               sizeof(taken[i].bytes), &taken[i].len, e));
        OK(ramet_objstore_remove(world->store, taken[i].key, e));
    }
}

/* ... and comes again. */
static void
put_back(struct world *world)
{
    for (size_t i = first_count; i < taken_count; i++) {
        const struct iovec part = {taken[i].bytes, taken[i].len};

        if (is_of_first(taken[i].key))
            continue;
        OK(ramet_objstore_remove(world->store, taken[i].key, e));
        OK(ramet_objstore_put(world->store, taken[i].key, &part, 1, e));
    }
}

/* LSN 2 is `mine`, and somebody on machine 1 has all of that that `see` makes
 * it have; then LSN 2 is `theirs`. */
static void
change_lines(struct world *world, void (*see)(struct world *world, void *ctx),
             void *ctx)
{
    struct ramet_file *const a = make_volume(world);
    struct ramet_file *const b = world_clone(world, 2, "b", true);

    taken_count = 0;
    note_first(world);
    world_write(a, 0, mine, SIZE);
    OK(ramet_file_push(a, NULL, e));
    see(world, ctx);
    take_second(world);
    world_write(b, 0, theirs, SIZE);
    OK(ramet_file_push(b, NULL, e));
    assert_int_equal(world_status(b).durable_lsn, 2);
    ramet_file_close(a);
    ramet_file_close(b);
}

/* ---- replicas --------------------------------------------------------------- */

/* A replica that stands on LSN 2 and has no page of it but the first. */
static void
clone_lazily(struct world *world, void *ctx)
{
    struct ramet_file **const out = ctx;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct ramet_session *session;

    *out = world_clone(world, 1, "lazy", false);
    OK(ramet_session_open(world_path(world, "lazy"), &options, &session, e));
    OK(ramet_session_evict(session, 0, e));
    ramet_session_close(session);
    assert_int_equal(world_status(*out).durable_lsn, 2);
    assert_int_equal(world_status(*out).cached_pages, 1);
}

static void
expect_refused(struct ramet_file *file)
{
    struct ramet_err err = {.text = ""};
    uint8_t got[8];
    size_t n;

    OK(ramet_file_pin(file, e));
    for (uint64_t at = PAGE; at < SIZE; at += 7 * PAGE) {
        assert_int_equal(ramet_file_read(file, at, got, sizeof(got), &n, &err),
                         RAMET_EWENTBACK);
        assert_non_null(strstr(err.text, "another way"));
    }
    ramet_file_unpin(file);
    assert_int_equal(ramet_file_hydrate(file, NULL, &err), RAMET_EWENTBACK);
    assert_non_null(strstr(err.text, "another way"));
    assert_int_equal(world_status(file).cached_pages, 1);
    assert_int_equal(world_status(file).durable_lsn, 2);
}

static void
absent_pages__are_not_taken_from_another_line(void **state)
{
    struct world *const world = *state;
    struct ramet_err err = {.text = ""};
    struct ramet_file *lazy = NULL;

    change_lines(world, clone_lazily, &lazy);
    expect_refused(lazy); /* who has seen LSN 2 as it was */
    ramet_file_close(lazy);
    world_restart(world, 1);
    lazy = world_open(world, 1, "lazy"); /* and who has not */
    expect_refused(lazy);
    assert_int_equal(ramet_file_reset(lazy, false, NULL, 0, NULL, &err),
                     RAMET_EWENTBACK); /* no copy could be whole */
    assert_non_null(strstr(err.text, "--discard"));
    OK(ramet_file_reset(lazy, true, NULL, 0, NULL, e));
    world_expect(lazy, theirs, SIZE);
    ramet_file_close(lazy);
}

/* What was seen of the other line is no reason to refuse the right one. */
static void
absent_pages__come_when_the_line_is_back(void **state)
{
    struct world *const world = *state;
    struct ramet_file *lazy = NULL;

    change_lines(world, clone_lazily, &lazy);
    ramet_file_close(lazy);
    world_restart(world, 1);
    lazy = world_open(world, 1, "lazy");
    expect_refused(lazy);
    put_back(world);
    world_expect(lazy, mine, SIZE);
    OK(ramet_file_hydrate(lazy, NULL, e));
    ramet_file_close(lazy);
    world_expect_plain(world_path(world, "lazy"), mine, SIZE);
}

/* ---- readers ------------------------------------------------------------------ */

static struct ramet_stateless_reader *
open_stateless(struct world *world, bool fixed)
{
    const struct ramet_stateless_point place = {.fixed = fixed,
                                                .lsn = fixed ? 2 : 0};
    struct ramet_stateless_reader *stateless = NULL;

    OK(ramet_stateless_open(world->clients[1], NULL, &place, 0,
                            ramet_os_system(), &stateless, e));
    return stateless;
}

/* One reader that follows and one that does not, both with page 1. */
static void
open_readers(struct world *world, void *ctx)
{
    struct ramet_stateless_reader **const readers = ctx;

    for (unsigned i = 0; i < 2; i++) {
        uint8_t got[8];
        size_t n;

        readers[i] = open_stateless(world, i == 1);
        OK(ramet_stateless_pin(readers[i], e));
        OK(ramet_stateless_read(readers[i], 0, got, sizeof(got), &n, e));
        assert_memory_equal(got, mine, sizeof(got));
        ramet_stateless_unpin(readers[i]);
    }
}

static void
stateless_readers__show_nothing_of_another_line(void **state)
{
    struct world *const world = *state;
    struct ramet_stateless_reader *readers[2] = {NULL, NULL};
    struct ramet_err err = {.text = ""};
    uint8_t got[8];
    size_t n;
    enum ramet_rc rc;

    change_lines(world, open_readers, readers);
    for (unsigned i = 0; i < 2; i++) {
        struct ramet_stateless_reader *const stateless = readers[i];

        OK(ramet_stateless_pin(stateless, e)); /* it looked a moment ago */
        for (uint64_t at = 20 * PAGE; at < SIZE; at += 7 * PAGE) {
            rc =
                ramet_stateless_read(stateless, at, got, sizeof(got), &n, &err);
            assert_int_equal(rc, RAMET_EWENTBACK);
            assert_non_null(strstr(err.text, "another way"));
        }
        OK(ramet_stateless_read(stateless, 0, got, sizeof(got), &n, e));
        assert_memory_equal(got, mine, sizeof(got));
        ramet_stateless_unpin(stateless);
    }
    rc = ramet_stateless_fetch(readers[0], &err);
    assert_true(rc == RAMET_EWENTBACK);
    assert_non_null(strstr(err.text, "back in time"));
    ramet_stateless_close(readers[0]);
    ramet_stateless_close(readers[1]);
}

/* ---- commits ------------------------------------------------------------------ */

/* Each of its commits goes to the remote. */
static void
open_committer(struct world *world, void *ctx)
{
    struct ramet_file **const out = ctx;
    struct ramet_file_options options;

    world_options(world, 1, &options);
    options.sync = RAMET_SYNC_COMMIT;
    OK(ramet_file_open(world_path(world, "committer"), &options, out, e));
}

static void
clone_for_commits(struct world *world, void *ctx)
{
    ramet_file_close(world_clone(world, 1, "committer", true));
    open_committer(world, ctx);
}

/* The other line's newest has the same number, and another hash. */
static void
commit__on_a_line_that_is_gone__goes_onto_no_other(void **state)
{
    struct world *const world = *state;
    struct ramet_file *committer = NULL;
    struct ramet_err err = {.text = ""};

    change_lines(world, clone_for_commits, &committer);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(world_try_write(committer, 5 * PAGE, "lost", 4, &err),
                         RAMET_EWENTBACK);
        world_expect(committer, mine, SIZE);
        world_expect_remote(world, 2, theirs, SIZE);
        ramet_file_close(committer);
        world_restart(world, 1); /* who has not seen the line as it was */
        open_committer(world, &committer);
    }
    ramet_file_close(committer);
}

/* ---- pushes ------------------------------------------------------------------- */

/* A replica with a commit that nobody else has. */
static void
clone_and_commit(struct world *world, void *ctx)
{
    struct ramet_file **const out = ctx;

    *out = world_clone(world, 1, "pusher", true);
    world_write(*out, 5 * PAGE, "pending", 7);
}

/* ... and of which no answer came: it may land yet. */
static void
clone_and_send(struct world *world, void *ctx)
{
    struct ramet_file **const out = ctx;
    struct ramet_err err;

    clone_and_commit(world, ctx);
    ramet_faultstore_arm(world->faults[1], RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(ramet_file_push(*out, NULL, &err), RAMET_EUNKNOWN);
}

static void
expect_not_pushed(struct world *world, struct ramet_file *pusher)
{
    struct ramet_err err = {.text = ""};

    assert_int_equal(ramet_file_push(pusher, NULL, &err), RAMET_EWENTBACK);
    world_expect_remote(world, 2, theirs, SIZE);
    assert_int_equal(world_status(pusher).local_commits, 1);
    ramet_file_close(pusher);
}

/* A reader of this process has looked at the other line: what was seen as the newest
 * has the number of what the replica stands on, and is not it. */
static void
push__on_a_line_that_is_gone__goes_onto_no_other(void **state)
{
    struct world *const world = *state;
    struct ramet_file *pusher = NULL;

    change_lines(world, clone_and_commit, &pusher);
    ramet_remote_client_store(world->clients[1])->traits |=
        RAMET_STORE_CHECKS_COMMITS; /* which it asks nothing before a push */
    ramet_stateless_close(open_stateless(world, false));
    expect_not_pushed(world, pusher);
}

/* What this process knows of the line that is gone says nothing of the store. */
static void
push__sent_again__goes_onto_no_other_line(void **state)
{
    struct world *const world = *state;
    struct ramet_file *pusher = NULL;

    change_lines(world, clone_and_send, &pusher);
    expect_not_pushed(world, pusher);
}

static void
die(void *ctx)
{
    (void)ctx;
    _exit(0);
}

/* A process that commits with sync=commit, and is dead before the nth request. */
static void
commit_and_die(struct world *world, uint64_t nth)
{
    struct ramet_file *file = NULL;
    const pid_t child = child_fork();

    if (child == 0) {
        world_restart(world, 1);
        open_committer(world, &file);
        ramet_faultstore_meanwhile(world->faults[1], nth, die, NULL);
        (void)!world_try_write(file, 5 * PAGE, "doubt", 5, NULL);
        _exit(0);
    }
    child_await(child);
}

/* A replica with a commit of which its writer kept the bytes and never heard: they may
 * be sent again. */
static void
clone_in_doubt(struct world *world, void *ctx)
{
    struct ramet_file **const out = ctx;

    ramet_file_close(world_clone(world, 1, "committer", true));
    for (uint64_t nth = 0; nth < 10; nth++) {
        commit_and_die(world, nth);
        *out = world_open(world, 1, "committer");
        if (world_status(*out).in_doubt &&
            access(world_path(world, "committer-ramet/commit"), F_OK) == 0)
            return;
        ramet_file_close(*out);
    }
    fail_msg("nobody died in doubt");
}

static void
doubt__on_a_line_that_is_gone__goes_onto_no_other(void **state)
{
    struct world *const world = *state;
    struct ramet_file *pusher = NULL;
    struct ramet_err err = {.text = ""};

    change_lines(world, clone_in_doubt, &pusher);
    assert_int_equal(ramet_file_push(pusher, NULL, &err), RAMET_EWENTBACK);
    world_expect_remote(world, 2, theirs, SIZE);
    world_expect(pusher, mine, SIZE);
    ramet_file_close(pusher);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            absent_pages__are_not_taken_from_another_line, world_setup_dir,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            absent_pages__come_when_the_line_is_back, world_setup_dir,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            commit__on_a_line_that_is_gone__goes_onto_no_other, world_setup_dir,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            push__on_a_line_that_is_gone__goes_onto_no_other, world_setup_dir,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            push__sent_again__goes_onto_no_other_line, world_setup_dir,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            doubt__on_a_line_that_is_gone__goes_onto_no_other, world_setup_dir,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            stateless_readers__show_nothing_of_another_line, world_setup_dir,
            world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
