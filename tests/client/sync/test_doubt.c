/*
 * test_doubt.c - sync=commit that is cut off: what nobody was told of shows
 * nowhere, until the remote is known to have it.
 *
 * The power goes after each change that the commit makes on disk, with the
 * request that carries it done, or on its way still. Then somebody else is
 * first, or nobody, or the remote is away, or another mode comes.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/client/sync/world.h"
#include "tests/support/faultstore.h"
#include "tests/support/powercut.h"

enum { SIZE = 40000, AT = 5000, LEN = 9000 };

struct cut {
    struct world *world;
    struct faultos *fault;
    struct powercut power;
    char path[400];
    uint8_t before[SIZE]; /* the commit, and what was there */
    uint8_t after[SIZE];
    uint64_t lsn; /* before */
    bool told;    /* the commit was acknowledged */
    bool landed;  /* ... is in the remote now */
    bool shown;   /* ... is shown without asking the remote */
};

/* ---- before ------------------------------------------------------------------ */

static unsigned doubts;                 /* that a status told of */
static const struct ramet_os *writable; /* of open_for_reading() */

static struct ramet_file *
open_on(const struct cut *c, const struct ramet_os *os,
        enum ramet_sync_mode sync, unsigned flags)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    world_options(c->world, 0, &options);
    options.sync = sync;
    options.os = os;
    if (flags != 0)
        options.flags = flags;
    OK(ramet_file_open(c->path, &options, &file, e));
    return file;
}

static struct ramet_file *
open_as(const struct cut *c, enum ramet_sync_mode sync, unsigned flags)
{
    return open_on(c, faultos_os(c->fault), sync, flags);
}

static void
cut_init(struct cut *c, struct world *world)
{
    const char *const folder = world_path(world, "disk");
    struct ramet_file *a;

    memset(c, 0, sizeof(*c));
    c->world = world;
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(c->path, sizeof(c->path), "%s/a", folder);
    c->fault = faultos_new(folder);
    powercut_begin(&c->power, c->fault);
    a = open_as(c, RAMET_SYNC_COMMIT, 0);
    world_fill(c->before, SIZE, 1);
    world_write(a, 0, c->before, SIZE);
    ramet_file_close(a);
}

static uint64_t
remote_lsn(struct world *world)
{
    struct ramet_history *history;
    struct ramet_vid volume;
    struct ramet_head head;

    world_restart(world, 2);
    OK(ramet_remote_client_resolve(world->clients[2], &volume, e));
    OK(ramet_remote_client_history(world->clients[2], &volume, &history, e));
    OK(ramet_history_newest(history, &head, e));
    return head.lsn;
}

static bool
shows(struct ramet_file *file, const uint8_t *content)
{
    static uint8_t got[SIZE];
    size_t n = 0;

    OK(ramet_file_pin(file, e));
    OK(ramet_file_read(file, 0, got, SIZE, &n, e));
    ramet_file_unpin(file);
    assert_int_equal(n, SIZE);
    return memcmp(got, content, SIZE) == 0;
}

/* One commit, of which the round's changes on disk happen. `late`: its
 * request arrives when ramet_faultstore_land() says so. */
static void
commit_and_cut(struct cut *c, bool late)
{
    struct ramet_file *const a = open_as(c, RAMET_SYNC_COMMIT, 0);
    struct ramet_err err;

    assert_true(shows(a, c->before));
    c->lsn = world_status(a).durable_lsn;
    memcpy(c->after, c->before, SIZE);
    world_fill(c->after + AT, LEN, (uint64_t)c->power.round + 7);
    faultos_settle(c->fault);
    powercut_arm(&c->power);
    if (late)
        ramet_faultstore_arm(c->world->faults[0], RAMET_FAULT_LATE, 0,
                             RAMET_OK);
    c->told = world_try_write(a, AT, c->after + AT, LEN, &err) == RAMET_OK;
    ramet_faultstore_arm(c->world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
    ramet_file_close(a);
    world_restart(c->world, 0);
    powercut_strike(&c->power);
    c->landed = remote_lsn(c->world) > c->lsn;
    assert_true(!c->told || c->landed);
}

/* A disk that can't be written. */
static int
open_for_reading(void *ctx, int dirfd, const char *path, int flags,
                 unsigned mode)
{
    return (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0
               ? -EROFS
               : writable->open(ctx, dirfd, path, flags, mode);
}

/* Whoever opens it without the remote sees what was acknowledged, and nothing
 * that is not in the remote; whichever way, and however often. */
static void
look_offline(struct cut *c)
{
    static const unsigned ways[] = {RAMET_OPEN_READONLY, 0, RAMET_OPEN_READONLY,
                                    0};

    ramet_faultstore_set_down(c->world->faults[0], RAMET_EUNREACHABLE);
    for (size_t i = 0; i < 4; i++) {
        struct ramet_os os = *faultos_os(c->fault);
        struct ramet_file *a;
        bool shown;

        writable = faultos_os(c->fault);
        if (i == 0)
            os.open = open_for_reading;
        a = open_on(c, &os, RAMET_SYNC_MANUAL, ways[i]);
        shown = shows(a, c->after);

        assert_true(shown || shows(a, c->before));
        assert_true(i == 0 || shown == c->shown);
        c->shown = shown;
        assert_true(!c->told || c->shown);
        assert_true(!c->shown || c->landed);
        assert_true(world_status(a).local_commits <= c->shown);
        assert_true(!world_status(a).in_doubt || !c->shown);
        doubts += world_status(a).in_doubt;
        ramet_file_close(a);
    }
    ramet_faultstore_set_down(c->world->faults[0], RAMET_OK);
}

/* ---- after ------------------------------------------------------------------- */

/* The replica and the remote agree, have `content`, and go on. */
static void
expect_resolved(struct cut *c, struct ramet_file *a, const uint8_t *content)
{
    enum ramet_rc rc;

    assert_true(shows(a, content));
    assert_int_equal(world_status(a).state, RAMET_STATE_CLEAN);
    assert_int_equal(world_status(a).local_commits, 0);
    ramet_file_close(a);
    a = open_as(c, RAMET_SYNC_COMMIT, 0);
    memcpy(c->before, content, SIZE);
    c->before[0]++;
    rc = world_try_write(a, 0, c->before, 1, NULL);
    if (rc == RAMET_ESNAPSHOT) /* a fence came first */
        world_write(a, 0, c->before, 1);
    else
        assert_int_equal(rc, RAMET_OK);
    ramet_faultstore_land(c->world->faults[0]); /* too late, if not before */
    OK(ramet_file_pull(a, NULL, e));
    assert_true(shows(a, c->before));
    world_expect_remote(c->world, world_status(a).durable_lsn, c->before, SIZE);
    ramet_file_close(a);
}

/* Resolved by whatever asks the remote: it is there, or it is not, and the kept
 * bytes may make it be there. */
static void
nobody_was_first(struct cut *c)
{
    struct ramet_file *const a = open_as(c, RAMET_SYNC_MANUAL, 0);

    OK(ramet_file_pull(a, NULL, e));
    c->landed = remote_lsn(c->world) > c->lsn && shows(a, c->after);
    expect_resolved(c, a, c->landed ? c->after : c->before);
}

static void
somebody_was_first(struct cut *c)
{
    struct world *const world = c->world;
    uint8_t *const content = c->landed ? c->after : c->before;
    struct ramet_file *a, *b;
    char name[24];

    snprintf(name, sizeof(name), "b%llu", (unsigned long long)c->lsn);
    b = world_clone(world, 1, name, true);

    content[20000]++;
    world_write(b, 20000, content + 20000, 1);
    OK(ramet_file_push(b, NULL, e));
    ramet_file_close(b);
    a = open_as(c, RAMET_SYNC_MANUAL, 0);
    OK(ramet_file_pull(a, NULL, e));
    expect_resolved(c, a, content);
}

/* A commit of another mode does not wait for the remote. If what was in doubt
 * had landed after all, the two are of different lines. */
static void
another_mode_comes(struct cut *c)
{
    struct world *const world = c->world;
    uint8_t *const content = c->shown ? c->after : c->before;
    struct ramet_err err = {.text = ""};
    struct ramet_file *a;
    char kept[512];
    enum ramet_rc rc;

    ramet_faultstore_set_down(world->faults[0], RAMET_EUNREACHABLE);
    a = open_as(c, RAMET_SYNC_MANUAL, 0);
    content[30000]++;
    world_write(a, 30000, content + 30000, 1);
    assert_true(shows(a, content));
    ramet_file_close(a);
    ramet_faultstore_set_down(world->faults[0], RAMET_OK);
    a = open_as(c, RAMET_SYNC_MANUAL, 0);
    rc = ramet_file_push(a, NULL, &err);
    if (!c->landed || c->shown) {
        if (rc != RAMET_OK)
            fail_msg("%s", err.text);
        expect_resolved(c, a, content);
        return;
    }
    assert_int_equal(rc, RAMET_EDIVERGED);
    assert_true(shows(a, content));
    OK(ramet_file_reset(a, false, kept, sizeof(kept), NULL, e));
    world_expect_plain(kept, content, SIZE);
    expect_resolved(c, a, c->after);
}

static void
a_reset_comes(struct cut *c)
{
    struct ramet_file *const a = open_as(c, RAMET_SYNC_MANUAL, 0);

    OK(ramet_file_reset(a, false, NULL, 0, NULL, e));
    c->landed = remote_lsn(c->world) > c->lsn && shows(a, c->after);
    expect_resolved(c, a, c->landed ? c->after : c->before);
}

static void
play(void **state, void (*then)(struct cut *c), bool late)
{
    struct cut c;

    doubts = 0;
    cut_init(&c, *state);
    while (powercut_next(&c.power)) {
        commit_and_cut(&c, late);
        look_offline(&c);
        then(&c);
    }
    assert_true(doubts > 0);
    faultos_free(c.fault);
}

static void
doubt__nobody_was_first__is_resolved_by_the_remote(void **state)
{
    play(state, nobody_was_first, false);
}

static void
doubt__nobody_was_first__its_request_is_late(void **state)
{
    play(state, nobody_was_first, true);
}

static void
doubt__somebody_was_first__is_void(void **state)
{
    play(state, somebody_was_first, false);
}

static void
doubt__somebody_was_first__its_request_is_late(void **state)
{
    play(state, somebody_was_first, true);
}

static void
doubt__another_mode_comes__is_taken_back(void **state)
{
    play(state, another_mode_comes, false);
}

static void
doubt__another_mode_comes__its_request_is_late(void **state)
{
    play(state, another_mode_comes, true);
}

static void
doubt__a_reset_comes__is_given_up(void **state)
{
    play(state, a_reset_comes, false);
}

static void
doubt__a_reset_comes__its_request_is_late(void **state)
{
    play(state, a_reset_comes, true);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(doubt__nobody_was_first__is_resolved_by_the_remote),
        T(doubt__nobody_was_first__its_request_is_late),
        T(doubt__somebody_was_first__is_void),
        T(doubt__somebody_was_first__its_request_is_late),
        T(doubt__another_mode_comes__is_taken_back),
        T(doubt__another_mode_comes__its_request_is_late),
        T(doubt__a_reset_comes__is_given_up),
        T(doubt__a_reset_comes__its_request_is_late),
    };

    return cmocka_run_group_tests_name("doubt", tests, NULL, NULL);
}
