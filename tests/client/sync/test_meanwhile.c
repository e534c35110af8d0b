/*
 * test_meanwhile.c - what a verb decided of a replica that somebody else moved
 * on before it was written down.
 *
 * The others are sessions of their own on the same replica, which do their work
 * while the verb waits for an answer of the remote: after its n-th request, for
 * each n. Who makes or clears the replica itself: test_places.c.
 */
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/client/sync/world.h"
#include "tests/support/child.h"
#include "tests/support/faultstore.h"

enum { SIZE = 80000, PAGES = 20 };

static uint8_t bytes[SIZE];

/* What the others have. */
struct meanwhile {
    struct world *world;
    struct ramet_file *a; /* on machine 0: makes commits of the remote */
    struct ramet_session *session; /* on the replica at which the verb is */
    unsigned moment;
    bool happened;
};

static struct ramet_file *
make_volume(struct world *world)
{
    struct ramet_file_options options;

    world_fill(bytes, SIZE, 1);
    world_write_plain(world_path(world, "a"), bytes, SIZE);
    world_options(world, 0, &options);
    OK(ramet_file_init(world_path(world, "a"), world->urls[0], &options, NULL,
                       NULL, NULL, e));
    return world_open(world, 0, "a");
}

static void
change(struct ramet_file *file, uint64_t offset, const char *text)
{
    memcpy(bytes + offset, text, strlen(text));
    world_write(file, offset, text, strlen(text));
    OK(ramet_file_push(file, NULL, e));
}

static struct ramet_session *
other_session(const char *path)
{
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct ramet_session *session = NULL;

    OK(ramet_session_open(path, &options, &session, e));
    return session;
}

static enum ramet_rc
pull_as(struct ramet_session *session, const struct ramet_snapshot *base,
        const struct ramet_remote_point *point, bool reset)
{
    struct ramet_pageset all;
    enum ramet_rc rc;

    ramet_pageset_init(&all);
    OK(ramet_pageset_add_run(&all, (struct ramet_run){1, point->page_count}));
    rc = ramet_session_pull(session, base, point, &all, NULL, reset, NULL);
    ramet_pageset_done(&all);
    return rc;
}

/* All of the page: somebody else would bring what is in it by himself, but this
 * may be done by the thread that is bringing it. */
static void
commit_as(struct ramet_session *session, uint64_t offset, const char *text)
{
    const uint64_t first = offset / 4096 * 4096;
    uint8_t page[4096];

    memcpy(page, bytes + first, sizeof(page));
    memcpy(page + (offset - first), text, strlen(text));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, first, page, sizeof(page), e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* ---- the store refuses what was decided of another moment ------------------ */

static void
records__on_another_base__are_refused(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_file *const b = world_clone(world, 1, "b", true);
    struct ramet_session *const session = other_session(world_path(world, "b"));
    const struct ramet_snapshot old = *ramet_session_snapshot(session);
    struct ramet_snapshot other_line;
    struct ramet_remote_point second, third;
    const struct ramet_cid id = {{{7}}};

    change(a, 10, "second");
    second = world_newest_point(world);
    change(a, 9000, "third");
    third = world_newest_point(world);
    OK(ramet_file_pull(b, NULL, e));
    OK(ramet_session_lock_push(session, e));
    assert_int_equal(pull_as(session, &old, &second, false), RAMET_ESNAPSHOT);
    assert_int_equal(pull_as(session, &old, &second, true), RAMET_ESNAPSHOT);
    assert_int_equal(ramet_session_freeze(session, &old, &id, NULL),
                     RAMET_ESNAPSHOT);
    assert_int_equal(ramet_session_mark_durable(session, &old, &second, NULL),
                     RAMET_ESNAPSHOT);
    /* The same LSN of another line is another place. */
    other_line = *ramet_session_snapshot(session);
    other_line.lsn_hash.bytes[3] ^= 1;
    assert_int_equal(pull_as(session, &other_line, &third, false),
                     RAMET_ESNAPSHOT);
    assert_int_equal(ramet_session_freeze(session, &other_line, &id, NULL),
                     RAMET_ESNAPSHOT);
    ramet_session_close(session);
    assert_int_equal(world_status(b).durable_lsn, 3);
    world_expect(b, bytes, SIZE);
    ramet_file_close(a);
    ramet_file_close(b);
}

/* ---- verbs decide anew ------------------------------------------------------ */

/* A clone on machine 1 that is one commit behind, and `happen` at the request
 * `m->moment` of the verb that comes. */
static struct ramet_file *
begin_moment(struct meanwhile *m, void (*happen)(void *ctx))
{
    struct ramet_file *b;
    char name[16];

    snprintf(name, sizeof(name), "b%u", m->moment);
    b = world_clone(m->world, 1, name, false);
    m->session = other_session(world_path(m->world, name));
    m->happened = false;
    snprintf(name, sizeof(name), "commit %u", m->moment);
    change(m->a, 4096 * (m->moment % PAGES), name);
    ramet_faultstore_meanwhile(m->world->faults[1], m->moment, happen, m);
    return b;
}

static void
end_moment(struct meanwhile *m, struct ramet_file *b)
{
    ramet_faultstore_meanwhile(m->world->faults[1], 0, NULL, NULL);
    ramet_session_close(m->session);
    ramet_file_close(b);
    m->moment++;
}

/* The remote moves on, and another process pulls that. */
static void
pass(void *ctx)
{
    struct meanwhile *const m = ctx;
    const struct ramet_snapshot base = *ramet_session_snapshot(m->session);
    struct ramet_remote_point point;
    char text[24];

    m->happened = true;
    snprintf(text, sizeof(text), "passed at %u", m->moment);
    change(m->a, 500, text);
    point = world_newest_point(m->world);
    assert_int_equal(pull_as(m->session, &base, &point, false), RAMET_OK);
}

static void
pull__while_another_one_passes_it__does_not_go_back(void **state)
{
    struct meanwhile m = {.world = *state, .happened = true};

    m.a = make_volume(m.world);
    while (m.happened) {
        struct ramet_file *const b = begin_moment(&m, pass);

        OK(ramet_file_pull(b, NULL, e));
        assert_int_equal(world_status(b).durable_lsn,
                         world_status(m.a).durable_lsn);
        world_expect(b, bytes, SIZE);
        end_moment(&m, b);
    }
    assert_true(m.moment > 2);
    ramet_file_close(m.a);
}

static void
commit_late(void *ctx)
{
    struct meanwhile *const m = ctx;

    m->happened = true;
    commit_as(m->session, 300, "late");
}

static void
pull__while_somebody_commits__says_what_diverged(void **state)
{
    struct meanwhile m = {.world = *state, .happened = true};
    unsigned diverged = 0;

    m.a = make_volume(m.world);
    while (m.happened) {
        struct ramet_file *const b = begin_moment(&m, commit_late);
        struct ramet_err err = {.text = ""};
        const enum ramet_rc rc = ramet_file_pull(b, NULL, &err);

        assert_int_equal(world_status(b).local_commits, m.happened);
        if (rc == RAMET_EDIVERGED) {
            assert_non_null(strstr(err.text, "1 local commit"));
            diverged++;
        } else {
            assert_int_equal(rc, RAMET_OK); /* it came when all was adopted */
        }
        end_moment(&m, b);
    }
    assert_true(diverged > 1);
    ramet_file_close(m.a);
}

static bool
is_bound(struct ramet_session *session)
{
    struct ramet_replica_state state = {.whole = false};
    bool bound;

    OK(ramet_session_state(session, &state, e));
    bound = !ramet_id_is_nil(&state.volume.id);
    ramet_replica_state_done(&state);
    return bound;
}

static void
commit_unless_bound(void *ctx)
{
    struct meanwhile *const m = ctx;

    m->happened = !is_bound(m->session);
    if (m->happened)
        commit_as(m->session, 300, "late");
}

/* Replicas that were made before there was a volume of the name, and have content of
 * their own by the time that they are to be of that volume. */
static void
pull__while_somebody_makes_a_first_commit__binds_to_no_other_content(
    void **state)
{
    enum { MOMENTS = 12 };
    struct meanwhile m = {.world = *state, .happened = true};
    struct ramet_file *files[MOMENTS];
    char names[MOMENTS][16];

    for (unsigned i = 0; i < MOMENTS; i++) {
        struct ramet_file_options options;

        snprintf(names[i], sizeof(names[i]), "b%u", i);
        world_options(m.world, 1, &options);
        options.remote = m.world->urls[1];
        OK(ramet_file_open(world_path(m.world, names[i]), &options, &files[i],
                           e));
    }
    m.a = make_volume(m.world);
    while (m.happened) {
        struct ramet_err err = {.text = ""};
        struct ramet_file *b;
        enum ramet_rc rc;

        assert_true(m.moment < MOMENTS);
        b = files[m.moment];
        m.session = other_session(world_path(m.world, names[m.moment]));
        m.happened = false;
        ramet_faultstore_meanwhile(m.world->faults[1], m.moment,
                                   commit_unless_bound, &m);
        rc = ramet_file_pull(b, NULL, &err);
        assert_int_equal(rc, m.happened ? RAMET_EEXIST : RAMET_OK);
        assert_int_equal(is_bound(m.session), !m.happened);
        assert_int_equal(world_status(b).local_commits, m.happened);
        end_moment(&m, b);
    }
    assert_true(m.moment > 2);
    for (unsigned i = m.moment; i < MOMENTS; i++)
        ramet_file_close(files[i]);
    ramet_file_close(m.a);
}

static bool
holds_late(const char *path)
{
    FILE *const file = fopen(path, "rb");
    char text[4];
    bool is_there;

    assert_non_null(file);
    is_there = fseek(file, 300, SEEK_SET) == 0 &&
               fread(text, 1, sizeof(text), file) == sizeof(text) &&
               memcmp(text, "late", sizeof(text)) == 0;
    fclose(file);
    return is_there;
}

static void
reset__while_somebody_commits__keeps_that_too(void **state)
{
    struct meanwhile m = {.world = *state, .happened = true};

    m.a = make_volume(m.world);
    while (m.happened) {
        struct ramet_file *const b = begin_moment(&m, commit_late);
        char kept[512] = "";
        uint8_t got[4];
        size_t n;

        world_write(b, 70000, "mine", 4);
        /* So that the copy has to ask for pages. */
        OK(ramet_session_evict(m.session, 0, e));
        OK(ramet_file_reset(b, false, kept, sizeof(kept), NULL, e));
        OK(ramet_file_pin(b, e));
        OK(ramet_file_read(b, 300, got, sizeof(got), &n, e));
        ramet_file_unpin(b);
        if (m.happened)
            assert_true(memcmp(got, "late", 4) == 0 || holds_late(kept));
        assert_int_equal(world_status(b).local_commits,
                         memcmp(got, "late", 4) == 0);
        end_moment(&m, b);
    }
    assert_true(m.moment > 2);
    ramet_file_close(m.a);
}

static void
try_to_push(void *ctx)
{
    struct meanwhile *const m = ctx;

    m->happened = true;
    assert_int_equal(ramet_session_lock_push(m->session, NULL), RAMET_EBUSY);
}

/* What it gives up could be on its way else, and land after it. */
static void
reset__lets_nobody_push(void **state)
{
    struct meanwhile m = {.world = *state};
    struct ramet_file *b;

    m.a = make_volume(m.world);
    b = begin_moment(&m, try_to_push);
    OK(ramet_file_reset(b, false, NULL, 0, NULL, e));
    assert_true(m.happened);
    world_expect(b, bytes, SIZE);
    end_moment(&m, b);
    ramet_file_close(m.a);
}

/* ---- an intent that nobody saw yet -------------------------------------------- */

static int
die(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
    _exit(0);
}

/* A pusher that dies with its intent in the log, and not published. */
static void
leave_intent(const char *path)
{
    const struct ramet_cid id = {{{8}}};
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_os os = *ramet_os_system();
        const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB,
                                                      .os = &os};
        struct ramet_session *session = NULL;

        if (ramet_session_open(path, &options, &session, NULL) != RAMET_OK ||
            ramet_session_lock_push(session, NULL) != RAMET_OK)
            _exit(1);
        os.sync = os.datasync = die;
        (void)!ramet_session_freeze(session, ramet_session_snapshot(session),
                                    &id, NULL);
        _exit(2);
    }
    child_await(child);
}

/* Frozen over it, what it has in flight would never be sent. */
static void
freeze__over_an_intent_that_was_not_seen__is_refused(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_session *const pusher = other_session(world_path(world, "a"));
    struct ramet_session *const writer = other_session(world_path(world, "a"));
    const struct ramet_cid id = {{{7}}};
    struct ramet_remote_point point = world_newest_point(world);
    struct ramet_replica_state seen = {.volume = {{{0}}}};

    commit_as(writer, 10, "in flight");
    leave_intent(world_path(world, "a"));
    OK(ramet_session_lock_push(pusher, e));
    OK(ramet_session_state(pusher, &seen, e));
    assert_true(ramet_id_is_nil(&seen.intent.id));
    commit_as(writer, 9000, "later"); /* and resolves what the dead one left */
    assert_int_equal(ramet_session_freeze(pusher, &seen.newest, &id, NULL),
                     RAMET_ESNAPSHOT);
    assert_int_equal(
        ramet_session_mark_durable(pusher, &seen.newest, &point, NULL),
        RAMET_ESNAPSHOT);
    OK(ramet_session_state(pusher, &seen, e));
    assert_false(ramet_id_is_nil(&seen.intent.id));
    ramet_replica_state_done(&seen);
    ramet_session_close(pusher);
    ramet_session_close(writer);
    memcpy(bytes + 10, "in flight", 9);
    memcpy(bytes + 9000, "later", 5);
    OK(ramet_file_push(a, NULL, e));
    world_expect_remote(world, 2, bytes, SIZE);
    ramet_file_close(a);
}

/* ---- two copies --------------------------------------------------------------- */

static uint64_t
still_wall_ms(void *ctx)
{
    (void)ctx;
    return UINT64_C(1900000000000);
}

static void
expect_in_file(const char *path, long at, const char *text)
{
    FILE *const file = fopen(path, "rb");
    char got[8] = "";

    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fread(got, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    assert_string_equal(got, text);
}

/* On one LSN, too, so that time and LSN would give them one name. */
static void
reset__twice_in_one_moment__keeps_both(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_os os = *ramet_os_system();
    struct ramet_file_options options;
    struct ramet_file *b = NULL;
    char first[512] = "", second[512] = "";

    os.wall_ms = still_wall_ms;
    world_options(world, 1, &options);
    options.os = &os;
    OK(ramet_file_clone(world->urls[1], world_path(world, "twice"), &options,
                        NULL, NULL, NULL, e));
    OK(ramet_file_open(world_path(world, "twice"), &options, &b, e));
    world_write(b, 300, "one", 3);
    OK(ramet_file_reset(b, false, first, sizeof(first), NULL, e));
    world_write(b, 300, "two", 3);
    OK(ramet_file_reset(b, false, second, sizeof(second), NULL, e));
    assert_string_not_equal(first, second);
    expect_in_file(first, 300, "one");
    expect_in_file(second, 300, "two");
    ramet_file_close(b);
    world_restart(world, 1);
    ramet_file_close(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records__on_another_base__are_refused,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            pull__while_another_one_passes_it__does_not_go_back, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            pull__while_somebody_commits__says_what_diverged, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            pull__while_somebody_makes_a_first_commit__binds_to_no_other_content,
            world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            reset__while_somebody_commits__keeps_that_too, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(reset__twice_in_one_moment__keeps_both,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(reset__lets_nobody_push, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(
            freeze__over_an_intent_that_was_not_seen__is_refused, world_setup,
            world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
