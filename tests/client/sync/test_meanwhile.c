/*
 * test_meanwhile.c - what a verb decided of a replica that somebody else moved
 * on before it was written down.
 *
 * The others are sessions of their own on the same replica, which do their work
 * while the verb waits for an answer of the remote: after its n-th request, for
 * each n. Or they make the replica, while it is looked for.
 */
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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

/* The newest commit, as whoever pulls it knows it. */
static struct ramet_remote_point
newest_point(const struct world *world)
{
    struct ramet_remote_point point;
    struct ramet_history *history;
    struct ramet_vid volume;
    struct ramet_head head;

    OK(ramet_remote_client_resolve(world->clients[0], &volume, e));
    OK(ramet_remote_client_history(world->clients[0], &volume, &history, e));
    OK(ramet_history_newest(history, &head, e));
    point = (struct ramet_remote_point){
        .lsn = head.lsn,
        .hash = head.hash,
        .time_ms = head.time_ms,
        .page_size = head.page_size,
        .page_count = head.page_count,
        .byte_length = head.byte_length,
    };
    return point;
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
    second = newest_point(world);
    change(a, 9000, "third");
    third = newest_point(world);
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
    point = newest_point(m->world);
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
    struct ramet_remote_point point = newest_point(world);
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

/* ---- a replica that comes into being ---------------------------------------- */

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
    struct ramet_file *const a = make_volume(world);
    const struct ramet_remote_point point = newest_point(world);
    struct ramet_vid volume;

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
        cmocka_unit_test_setup_teardown(reset__lets_nobody_push, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(
            freeze__over_an_intent_that_was_not_seen__is_refused, world_setup,
            world_teardown),
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
