/*
 * test_doubt.c - records that count once the remote is known to have
 * them, as the local store keeps them when their writer is gone.
 */
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <string.h>
#include <unistd.h>

static const struct ramet_cid commit_id = {{{1, 2, 3, 4, 5, 6, 7, 8, 9}}};

static struct ramet_session *
open_database(struct place *p)
{
    const struct ramet_replica_options options = {.flags = RAMET_OPEN_CREATE,
                                                  .kind = RAMET_KIND_SQLITE};
    struct ramet_session *session = NULL;

    OK(ramet_session_open(p->path, &options, &session, e));
    ramet_replica_set_fetcher(ramet_session_replica(session), remote_fetch,
                              &p->remote);
    return session;
}

static struct image *
database_image(uint64_t seed, uint32_t page_size)
{
    struct image *const image = image_new(6 * 4096, page_size);

    store_random_bytes(&seed, image->bytes, image->size);
    image_put_header(image, page_size, (uint32_t)seed);
    return image;
}

/* As a commit that the remote has: nothing pends. */
static void
commit_durably(struct place *p, struct ramet_session *session,
               struct image *image)
{
    const struct ramet_cid id = {{{5}}};
    struct ramet_remote_point point;
    struct ramet_snapshot base;

    OK(place_commit(session, image, e));
    remote_add(&p->remote, image_ref(image));
    point = remote_point(&p->remote, p->remote.newest);
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    OK(ramet_session_lock_push(session, e));
    base = store_newest(session);
    OK(ramet_session_freeze(session, &base, &id, e));
    ramet_session_unpin(session);
    base = store_newest(session);
    OK(ramet_session_mark_durable(session, &base, &point, e));
    ramet_session_unlock_push(session);
}

/* A child that goes as far as `confirm` says, and dies. */
static void
leave_in_doubt(struct place *p, const struct image *image, bool confirm)
{
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_session *const session = open_database(p);
        struct ramet_err err = {.text = ""};
        enum ramet_rc rc = ramet_session_pin(session, &err);

        if (rc == RAMET_OK)
            rc = ramet_session_reserve(session, &err);
        for (unsigned i = 0; i < 2; i++) { /* the first is rolled back */
            ramet_session_discard(session);
            if (rc == RAMET_OK)
                rc = ramet_session_write(session, 0, image->bytes, image->size,
                                         &err);
            if (rc == RAMET_OK)
                rc = ramet_session_truncate(session, image->size, &err);
            if (rc == RAMET_OK)
                rc = ramet_session_prepare_in_doubt(session, &commit_id, &err);
            if (rc == RAMET_OK)
                rc = ramet_session_sync(session, &err);
        }
        if (rc == RAMET_OK && confirm)
            rc = ramet_session_confirm(session, &err);
        child_require(rc == RAMET_OK, "in doubt", &err);
        _exit(0);
    }
    child_await(child);
}

static void
expect_doubt(struct ramet_session *session, bool is_there)
{
    struct ramet_cid id;

    OK(ramet_session_doubt(session, &id, e));
    if (is_there)
        assert_memory_equal(&id, &commit_id, sizeof(id));
    else
        assert_true(ramet_id_is_nil(&id.id));
}

/* It shows `image`, and nobody can begin to write. */
static void
expect_in_doubt(struct ramet_session *session, const struct image *image)
{
    place_expect(session, image, __LINE__);
    expect_doubt(session, true);
    OK(ramet_session_pin(session, e));
    assert_int_equal(ramet_session_reserve(session, NULL), RAMET_ESNAPSHOT);
    ramet_session_unpin(session);
    OK(ramet_session_checkpoint(session, true, e));
    OK(ramet_session_evict(session, 0, e));
    place_expect(session, image, __LINE__);
    expect_doubt(session, true);
}

static void
end_doubt(struct ramet_session *session, bool landed)
{
    const struct ramet_cid other = {{{9}}};

    OK(ramet_session_lock_push(session, e));
    assert_int_equal(ramet_session_end_doubt(session, &other, landed, NULL),
                     RAMET_ESNAPSHOT);
    OK(ramet_session_end_doubt(session, &commit_id, landed, e));
    assert_int_equal(
        ramet_session_end_doubt(session, &commit_id, !landed, NULL),
        RAMET_ESNAPSHOT);
    ramet_session_unlock_push(session);
    expect_doubt(session, false);
}

/* At rest it must not look like a database: who wrote to it would do so beneath a
 * commit that may count. */
static void
expect_no_database(const struct place *p)
{
    struct image *const plain = store_read_plain(p->path, 4096);

    assert_memory_not_equal(plain->bytes, "SQLite format 3", 16);
    image_unref(plain);
}

/* Landed, it is an intent of its own; and whatever became of it, others follow. */
static void
expect_ended(struct place *p, struct ramet_session *session, bool landed,
             const struct image *image)
{
    struct image *const next = database_image(77, image->page_size);
    struct ramet_replica_state state = {.volume = {{{0}}}};

    place_expect(session, image, __LINE__);
    OK(ramet_session_state(session, &state, e));
    assert_int_equal(state.commits_in_flight, landed);
    assert_int_equal(ramet_id_compare(&state.intent.id, &commit_id.id) == 0,
                     landed);
    ramet_session_close(session);
    session = open_database(p);
    place_expect(session, image, __LINE__);
    expect_doubt(session, false);
    OK(place_commit(session, next, e));
    OK(ramet_session_state(session, &state, e));
    assert_int_equal(state.commits_in_flight, landed);
    ramet_replica_state_done(&state);
    ramet_session_close(session);
    session = open_database(p);
    place_expect(session, next, __LINE__);
    ramet_session_close(session);
    image_unref(next);
}

/* With others alive, or opened anew by the first who comes. */
static void
play(struct place *p, uint32_t page_size, bool alive, bool landed)
{
    struct image *const before = database_image(1, 4096);
    struct image *const after = database_image(2, page_size);
    struct ramet_session *session = open_database(p);

    commit_durably(p, session, before);
    if (!alive)
        ramet_session_close(session);
    leave_in_doubt(p, after, false);
    for (unsigned i = 0; i < 2; i++) {
        if (!alive)
            session = open_database(p);
        expect_in_doubt(session, before);
        if (!alive) {
            ramet_session_close(session);
            expect_no_database(p);
        }
    }
    if (!alive)
        session = open_database(p);
    end_doubt(session, landed);
    expect_ended(p, session, landed, landed ? after : before);
    OK(ramet_replica_delete(ramet_os_system(), p->path, e));
    image_unref(before);
    image_unref(after);
}

static void
in_doubt__commit_is_invisible_until_it_is_resolved(void **state)
{
    for (unsigned i = 0; i < 4; i++)
        play(*state, 4096, i % 2 != 0, i / 2 != 0);
}

/* Its record stands in a log file of its own. */
static void
in_doubt__in_pages_of_another_size__is_no_damage(void **state)
{
    for (unsigned i = 0; i < 4; i++)
        play(*state, i < 2 ? 1024 : 8192, i % 2 != 0, i / 2 != 0);
}

/* Once it is published, they go by the entries that its frames replaced. */
static void
in_doubt__pages_are_not_dropped_under_readers_of_before(void **state)
{
    struct place *const p = *state;
    struct image *const before = database_image(1, 4096);
    struct image *const after = database_image(2, 4096);
    struct ramet_session *const session = open_database(p);
    struct ramet_session *const reader = open_database(p);

    commit_durably(p, session, before);
    OK(ramet_session_checkpoint(session, true, e));
    leave_in_doubt(p, after, false);
    expect_doubt(session, true);
    OK(ramet_session_evict(session, 0, e));
    OK(ramet_session_pin(reader, e));
    end_doubt(session, true);
    store_expect(reader, before, __LINE__);
    ramet_session_unpin(reader);
    place_expect(session, after, __LINE__);
    ramet_session_close(reader);
    ramet_session_close(session);
    image_unref(before);
    image_unref(after);
}

/* A child prepares it, and dies before it is published. */
static void
leave_prepared(struct place *p, const struct image *image)
{
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_session *const session = open_database(p);
        struct ramet_err err = {.text = ""};

        child_require(ramet_session_pin(session, &err) == RAMET_OK &&
                          ramet_session_reserve(session, &err) == RAMET_OK &&
                          ramet_session_write(session, 0, image->bytes,
                                              image->size, &err) == RAMET_OK &&
                          ramet_session_prepare(session, NULL, &err) ==
                              RAMET_OK &&
                          ramet_session_sync(session, &err) == RAMET_OK,
                      "prepare", &err);
        _exit(0);
    }
    child_await(child);
}

/* Nor under those of before one that nobody has published yet: whoever gives pages
 * up publishes it first, and sees that they have a local commit. */
static void
prepared__pages_are_not_dropped_under_readers_of_before(void **state)
{
    struct place *const p = *state;
    struct image *const before = database_image(1, 4096);
    struct image *const after = database_image(2, 4096);
    struct ramet_session *const session = open_database(p);
    struct ramet_session *const reader = open_database(p);

    commit_durably(p, session, before);
    OK(ramet_session_checkpoint(session, true, e));
    OK(ramet_session_pin(reader, e));
    leave_prepared(p, after);
    OK(ramet_session_evict(session, 0, e));
    place_expect(session, after, __LINE__);
    store_expect(reader, before, __LINE__);
    ramet_session_close(reader);
    ramet_session_close(session);
    image_unref(before);
    image_unref(after);
}

static void
confirmed__it_is_published_by_whoever_comes(void **state)
{
    struct place *const p = *state;
    struct image *const before = database_image(1, 4096);
    struct image *const after = database_image(2, 4096);
    struct ramet_session *session = open_database(p);

    commit_durably(p, session, before);
    leave_in_doubt(p, after, true);
    place_expect(session, after, __LINE__);
    expect_doubt(session, false);
    expect_ended(p, session, true, after);
    image_unref(before);
    image_unref(after);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            in_doubt__commit_is_invisible_until_it_is_resolved, place_setup,
            place_teardown),
        cmocka_unit_test_setup_teardown(
            in_doubt__in_pages_of_another_size__is_no_damage, place_setup,
            place_teardown),
        cmocka_unit_test_setup_teardown(
            in_doubt__pages_are_not_dropped_under_readers_of_before,
            place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(
            prepared__pages_are_not_dropped_under_readers_of_before,
            place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(
            confirmed__it_is_published_by_whoever_comes, place_setup,
            place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
