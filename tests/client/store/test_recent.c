/*
 * test_recent.c - records that this process knows are folded as the log has them, and
 * without reading it.
 */
#include "client/store/exchange.h"
#include "client/store/log/recent.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/os.h"

#define PAGES 40u
#define COMMITS 200u
#define MOST 9u /* pages of a commit: more than is noted */

static uint64_t bytes_read;

static ssize_t
count_preadv(void *ctx, int fd, const struct iovec *iov, int iovcnt,
             uint64_t offset)
{
    const ssize_t got = ramet_os_system()->preadv(ctx, fd, iov, iovcnt, offset);

    bytes_read += got > 0 ? (uint64_t)got : 0;
    return got;
}

/* ---- commits ----------------------------------------------------------------- */

/* Some pages, and at times another length. */
static void
commit_some(struct ramet_session *session, uint64_t *rng, unsigned most)
{
    const unsigned count = 1 + (unsigned)store_below(rng, most);
    uint8_t page[PLACE_PAGE];

    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    if (store_chance(rng, 20))
        OK(ramet_session_truncate(
            session, (PAGES / 2 + store_below(rng, PAGES / 2)) * PLACE_PAGE,
            e));
    for (unsigned i = 0; i < count; i++) {
        store_random_bytes(rng, page, sizeof(page));
        OK(ramet_session_write(session, store_below(rng, PAGES) * PLACE_PAGE,
                               page, sizeof(page), e));
    }
    OK(ramet_session_prepare(session, NULL, e));
    if (store_chance(rng, 10)) /* after the commit point: a record of its own */
        OK(ramet_session_truncate(session, PAGES / 2 * PLACE_PAGE, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* By another process: nothing is known of it here. */
static void
commit_elsewhere(struct place *p, uint64_t seed)
{
    const pid_t child = child_fork();

    if (child == 0) {
        uint64_t rng = seed;
        struct ramet_session *const session = place_open_in_child(p);

        commit_some(session, &rng, MOST);
        _exit(0);
    }
    child_await(child);
}

/* ---- what a fold says ----------------------------------------------------------- */

static void
expect_same(const struct ramet_replica_state *a,
            const struct ramet_replica_state *b)
{
    assert_memory_equal(&a->newest, &b->newest, sizeof(a->newest));
    assert_true(ramet_pageset_equal(&a->in_flight, &b->in_flight));
    assert_true(ramet_pageset_equal(&a->later, &b->later));
    assert_int_equal(a->record_sum, b->record_sum);
    assert_int_equal(a->commits_later, b->commits_later);
    assert_int_equal(a->oldest_later_ms, b->oldest_later_ms);
    assert_int_equal(a->least_page_count_later, b->least_page_count_later);
    assert_int_equal(a->lsn_time_ms, b->lsn_time_ms);
    assert_int_equal(a->page_size_changed, b->page_size_changed);
    assert_true(ramet_pos_same(a->frozen_tail, b->frozen_tail));
    assert_true(ramet_pos_same(a->remote_tail, b->remote_tail));
}

/* What is known here, and what the log says, of the same records. */
static void
expect_logs_word(struct ramet_session *session, uint64_t *out_known_bytes,
                 uint64_t *out_log_bytes)
{
    struct ramet_replica_state known = {.newest = {0}};
    struct ramet_replica_state read = {.newest = {0}};

    bytes_read = 0;
    OK(ramet_session_state(session, &known, e));
    *out_known_bytes = bytes_read;
    ramet_recent_forget_all(ramet_session_replica(session));
    bytes_read = 0;
    OK(ramet_session_state(session, &read, e));
    *out_log_bytes = bytes_read;
    expect_same(&known, &read);
    ramet_replica_state_done(&known);
    ramet_replica_state_done(&read);
}

static struct ramet_session *
open_pulled(struct place *p, const struct ramet_os *os)
{
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, os);
    struct ramet_remote_point point;
    struct ramet_pageset all;

    remote_add(&p->remote, image_ref(image));
    point = remote_point(&p->remote, 1);
    ramet_pageset_init(&all);
    OK(ramet_pageset_add_run(&all, (struct ramet_run){1, PAGES}));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    OK(ramet_session_pull(session, ramet_session_snapshot(session), &point,
                          &all, NULL, false, e));
    ramet_pageset_done(&all);
    image_unref(image);
    return session;
}

/* ---- tests ------------------------------------------------------------------------ */

static void
fold__of_what_was_committed_here__is_the_logs(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_pulled(p, NULL);
    uint64_t rng = 88172645463325252u;
    uint64_t known, log;

    for (unsigned i = 0; i < COMMITS; i++) {
        if (i % 50 == 49)
            commit_elsewhere(p, i);
        else
            commit_some(session, &rng, MOST);
        if (i % 20 == 19)
            expect_logs_word(session, &known, &log);
    }
    ramet_session_close(session);
}

static void
fold__of_what_was_committed_here__reads_nothing_of_it(void **state)
{
    struct place *const p = *state;
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *session;
    uint64_t rng = 2;
    uint64_t known, log;

    os.preadv = count_preadv;
    session = open_pulled(p, &os);
    OK(ramet_session_checkpoint(session, true, e)); /* the pull is read else */
    for (unsigned i = 0; i < 50; i++) {
        uint8_t page[PLACE_PAGE];

        store_random_bytes(&rng, page, sizeof(page));
        OK(ramet_session_pin(session, e));
        OK(ramet_session_reserve(session, e));
        OK(ramet_session_write(session, i % PAGES * PLACE_PAGE, page,
                               sizeof(page), e));
        OK(ramet_session_prepare(session, NULL, e));
        ramet_session_publish(session);
        ramet_session_release(session);
        ramet_session_unpin(session);
    }
    expect_logs_word(session, &known, &log);
    assert_in_range(log, known + 50 * PLACE_PAGE / 2, UINT64_MAX);
    ramet_session_close(session);
}

static void
commit__that_is_in_the_base__is_forgotten(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_pulled(p, NULL);
    struct ramet_replica *const replica = ramet_session_replica(session);
    struct ramet_replica_state before = {.newest = {0}};
    struct ramet_recent_record record;
    uint64_t rng = 3;

    OK(ramet_session_state(session, &before, e));
    commit_some(session, &rng, 1);
    assert_true(ramet_recent_find(replica, before.newest.seq + 1,
                                  before.record_sum, &record));
    assert_false(ramet_recent_find(replica, before.newest.seq + 1,
                                   before.record_sum + 1, &record));
    assert_false(ramet_recent_find(replica, before.newest.seq + 2,
                                   before.record_sum, &record));
    OK(ramet_session_checkpoint(session, true, e));
    assert_false(ramet_recent_find(replica, before.newest.seq + 1,
                                   before.record_sum, &record));
    ramet_replica_state_done(&before);
    ramet_session_close(session);
}

/* What others do as `state` is opened, once. */
static struct ramet_session *passing;

static int
open_as_others_pass(void *ctx, int dirfd, const char *path, int flags,
                    unsigned mode)
{
    struct ramet_session *const other = passing;
    uint64_t rng = 5;

    if (other != NULL && strcmp(path, "state") == 0) {
        passing = NULL;
        commit_some(other, &rng, 1);
        commit_some(other, &rng, MOST);
        OK(ramet_session_checkpoint(other, true, e));
    }
    return ramet_os_system()->open(ctx, dirfd, path, flags, mode);
}

/* The file has more then than was the newest as it was looked for. */
static void
fold__of_a_state_that_a_checkpoint_writes_meanwhile__is_of_one_moment(
    void **state)
{
    struct place *const p = *state;
    struct ramet_os os = *ramet_os_system();
    struct ramet_replica_state fold = {.newest = {0}};
    struct ramet_session *session, *other;
    uint64_t rng = 6;
    uint64_t known, log;

    os.open = open_as_others_pass;
    session = open_pulled(p, &os);
    other = place_open_on(p, 0, &os);
    commit_some(session, &rng, 2);
    passing = other;
    OK(ramet_session_state(session, &fold, e));
    assert_null(passing);
    assert_int_equal(fold.newest.seq, store_newest(session).seq);
    commit_some(other, &rng, 2);
    OK(ramet_session_state(session, &fold, e)); /* goes on from there */
    ramet_replica_state_done(&fold);
    expect_logs_word(session, &known, &log);
    ramet_session_close(other);
    ramet_session_close(session);
}

/* A child that closes what it inherited must not wait for a thread that it has not. */
static void
fork__while_a_thread_notes__lets_the_child_close(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_pulled(p, NULL);
    struct ramet_mutex *const mutex = &ramet_session_replica(session)->mutex;
    uint64_t rng = 4;
    pid_t child;

    commit_some(session, &rng, 1);
    ramet_mutex_lock(mutex);
    child = child_fork();
    if (child == 0) {
        alarm(120); /* it waits for ever else */
        ramet_session_close(session);
        _exit(0);
    }
    ramet_mutex_unlock(mutex);
    child_await(child);
    ramet_session_close(session);
}

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(fold__of_what_was_committed_here__is_the_logs),
        TEST(fold__of_what_was_committed_here__reads_nothing_of_it),
        TEST(
            fold__of_a_state_that_a_checkpoint_writes_meanwhile__is_of_one_moment),
        TEST(commit__that_is_in_the_base__is_forgotten),
        TEST(fork__while_a_thread_notes__lets_the_child_close),
    };

    return cmocka_run_group_tests_name("recent", tests, NULL, NULL);
}
