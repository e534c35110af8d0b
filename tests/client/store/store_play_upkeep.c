/*
 * store_play_upkeep.c - what upkeep meets, in a play: files that are cut and grow
 * again, many log files at once, and processes that die at any change of the
 * disk while the play's own sessions go on.
 */
#include "tests/client/store/store_play.h"

#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/client/store/store_mortal.h"
#include "tests/support/child.h"
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- transactions ---------------------------------------------------------- */

void
play_commit(struct play *play)
{
    if (play->writer < 0)
        play_reserve(play);
    if (play->writer < 0)
        return;
    for (uint64_t i = 1 + store_below(&play->rng, 4); i > 0; i--)
        play_write(play);
    play_publish(play);
    play_release(play);
}

void
play_log_files(struct play *play)
{
    for (uint64_t i = 5 + store_below(&play->rng, 6); i > 0; i--) {
        play_reserve_newest(play);
        if (store_chance(&play->rng, 20))
            play_truncate(play);
        play_write(play);
        play_publish(play);
        play_release(play);
        if (store_chance(&play->rng, 20))
            play_pull(play);
        if (store_chance(&play->rng, 10))
            play_pin(play);
        if (play->writer < 0)
            OK(ramet_session_checkpoint(play_any(play)->session, true, e));
        play_read(play);
    }
    play_read_all(play);
    play_read_all(play);
}

/* ---- sizes ----------------------------------------------------------------- */

static uint32_t
page_size_of(const struct play *play)
{
    return play->newest->page_size == 0 ? 4096 : play->newest->page_size;
}

/* The work has so many pages. */
static void
resize_work(struct play *play, uint32_t pages)
{
    struct ramet_session *const session = play->slots[play->writer].session;
    const uint64_t size = (uint64_t)pages * page_size_of(play);

    if (size == play->work->size)
        return;
    OK(ramet_session_truncate(session, size, e));
    if (play->work->page_size == 0)
        play->work->page_size = page_size_of(play);
    play->touched_page1 |= size < page_size_of(play);
    play->has_work = true;
    play->is_stale = true;
    image_resize(play->work, size);
}

static void
write_work(struct play *play, uint32_t first, uint32_t count)
{
    const uint32_t page_size = page_size_of(play);
    const uint64_t len = (uint64_t)count * page_size;
    uint8_t *const bytes = malloc(len);

    store_random_bytes(&play->rng, bytes, len);
    OK(ramet_session_write(play->slots[play->writer].session,
                           (uint64_t)(first - 1) * page_size, bytes, len, e));
    play->has_work = true;
    play->is_stale = true;
    image_write(play->work, (uint64_t)(first - 1) * page_size, bytes, len);
    free(bytes);
}

/* A size that has something of its own. */
static uint32_t
any_size(struct play *play, uint32_t most)
{
    const uint32_t pages = image_pages(play->work);

    switch (store_below(&play->rng, 6)) {
    case 0:
        return 1;
    case 1:
        return pages > 1 ? pages - 1 : 1;
    case 2:
        return pages < most ? pages + 1 : most;
    case 3:
        return most;
    default:
        return 1 + (uint32_t)store_below(&play->rng, most);
    }
}

static uint32_t
most_pages(const struct play *play)
{
    return (uint32_t)(play->size_max / page_size_of(play));
}

/* Nobody else writes, and the file is one of whole pages. */
static bool
begin(struct play *play)
{
    if (play->writer < 0)
        play_reserve_newest(play);
    return play->writer >= 0 && !play->has_work && play->newest->size > 0 &&
           play->newest->size % page_size_of(play) == 0 &&
           most_pages(play) >= 8;
}

void
play_cuts(struct play *play)
{
    const uint64_t rounds = 1 + store_below(&play->rng, 5);
    const uint32_t most = most_pages(play);

    for (uint64_t i = 0; i < rounds; i++) {
        uint32_t pages;

        if (!begin(play))
            return;
        pages = any_size(play, most);
        if (store_chance(&play->rng, 40)) /* cut and grow in one */
            resize_work(play, any_size(play, most));
        resize_work(play, pages);
        if (pages > 2 && store_chance(&play->rng, 50)) {
            const uint32_t first =
                2 + (uint32_t)store_below(&play->rng, pages - 1);

            write_work(
                play, first,
                1 + (uint32_t)store_below(&play->rng, pages - first + 1));
        }
        play_publish(play);
        play_release(play);
        if (store_chance(&play->rng, 25))
            play_upkeep(play);
    }
}

void
play_stairs(struct play *play)
{
    const uint32_t most = most_pages(play);
    const uint64_t steps = store_chance(&play->rng, 30) ? 40 : 6;

    for (uint32_t i = 1; i <= steps && i + 2 < most; i++) {
        if (!begin(play))
            return;
        resize_work(play, i + 1);
        resize_work(play, most);
        if (store_chance(&play->rng, 60))
            write_work(play, 2 + (uint32_t)store_below(&play->rng, most - 1),
                       1);
        play_publish(play);
        play_release(play);
    }
    play_read_all(play);
}

/* ---- who dies -------------------------------------------------------------- */

/* What a process does that dies. */
struct deed {
    uint64_t kind;
    long changes;
    bool closes;
    uint64_t rng;
    struct image *to; /* committed; NULL: nothing is */
};

static void
child_commit(struct ramet_session *session, const struct image *to)
{
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc = ramet_session_reserve(session, &err);

    /* Page 1 is as it was. */
    if (rc == RAMET_OK && ramet_session_size(session) > to->size)
        rc = ramet_session_truncate(session, to->size, &err);
    if (rc == RAMET_OK && to->size > to->page_size)
        rc = ramet_session_write(session, to->page_size,
                                 to->bytes + to->page_size,
                                 to->size - to->page_size, &err);
    if (rc == RAMET_OK)
        rc = ramet_session_prepare(session, NULL, &err);
    if (rc == RAMET_OK)
        rc = ramet_session_sync(session, &err);
    child_require(rc == RAMET_OK, "commit", &err);
    if (ramet_session_has_prepared(session))
        ramet_session_publish(session);
    ramet_session_release(session);
}

static void
child_fetch(struct ramet_session *session)
{
    const uint64_t size = ramet_session_size(session);
    uint8_t *const bytes = malloc(size + 1);
    struct ramet_err err = {.text = ""};
    size_t got;

    child_require(ramet_session_read(session, 0, bytes, size, &got, &err) ==
                      RAMET_OK,
                  "read", &err);
    free(bytes);
}

static void
child_does(struct ramet_session *session, struct play *play, struct deed *deed)
{
    struct ramet_err err = {.text = ""};

    child_require(ramet_session_pin(session, &err) == RAMET_OK, "pin", &err);
    if (deed->to != NULL)
        child_commit(session, deed->to);
    else if (deed->kind % 2 == 1)
        child_fetch(session);
    ramet_session_unpin(session);
    if (deed->kind < 4)
        child_require(ramet_session_checkpoint(session, true, &err) == RAMET_OK,
                      "checkpoint", &err);
    else if (deed->kind < 7)
        child_require(
            ramet_session_evict(session,
                                store_chance(&deed->rng, 50)
                                    ? 0
                                    : store_below(&deed->rng, play->size_max),
                                &err) == RAMET_OK,
            "evict", &err);
    else
        child_require(ramet_session_sum(session, &err) == RAMET_OK, "sum",
                      &err);
}

/* Status 1: it did all. */
static void
child_run(struct play *play, struct deed *deed)
{
    const struct ramet_replica_options options = {.os = store_mortal_os()};
    struct ramet_session *session = NULL;
    struct ramet_err err = {.text = ""};

    if (deed->kind % 3 == 0)
        store_dies_after(deed->changes); /* at its opening, too */
    child_require(ramet_session_open(play->path, &options, &session, &err) ==
                      RAMET_OK,
                  "open", &err);
    ramet_replica_set_fetcher(ramet_session_replica(session), remote_fetch,
                              &play->remote);
    store_dies_after(deed->changes);
    child_does(session, play, deed);
    if (deed->closes)
        ramet_session_close(session);
    _exit(1);
}

/* Another image, its first page as it is. It differs: else nobody could tell what
 * became of it. */
static struct image *
next_image(struct play *play)
{
    const uint32_t page_size = page_size_of(play);
    struct image *const to = image_copy(play->newest);
    const uint32_t pages =
        1 + (uint32_t)store_below(&play->rng, play->size_max / page_size);

    image_resize(to, (uint64_t)pages * page_size);
    for (uint32_t i = 1; i < pages; i++)
        if (store_chance(&play->rng, 30))
            store_random_bytes(&play->rng, to->bytes + (uint64_t)i * page_size,
                               page_size);
    if (to->size == play->newest->size &&
        memcmp(to->bytes, play->newest->bytes, to->size) == 0)
        image_resize(to, ((uint64_t)pages + 1) * page_size);
    return to;
}

/* Whoever is here finishes, or takes back, what the dead had begun: which is it? */
static void
see_what_became_of_it(struct play *play, struct image *to, bool did_all)
{
    struct play_slot *const slot = play_any_idle(play);
    bool is_old, is_new;

    play_unpin_slot(slot);
    OK(ramet_session_pin(slot->session, e));
    OK(store_compare(slot->session, play->newest, &is_old, e));
    OK(store_compare(slot->session, to, &is_new, e));
    if (did_all)
        assert_true(is_new);
    assert_true(is_old || is_new);
    if (is_new) {
        const uint32_t counter = ramet_session_snapshot(slot->session)->counter;

        play_adopted(play, image_ref(to));
        play->is_pending = true;
        play->wrote_since_freeze = true;
        play->counter = counter;
    }
    ramet_session_unpin(slot->session);
}

static void
let_die(struct play *play, bool commits)
{
    struct deed deed = {
        .kind = store_below(&play->rng, 9),
        .changes = (long)store_below(&play->rng,
                                     UINT64_C(1) << store_below(&play->rng, 8)),
        .closes = store_chance(&play->rng, 50),
        .rng = store_random(&play->rng),
        .to = commits ? next_image(play) : NULL,
    };
    pid_t child = child_fork();
    int status;

    if (child == 0)
        child_run(play, &deed);
    play->had_deaths = true;
    status = child_status(child);
    assert_true(status == 0 || status == 1);
    if (commits)
        see_what_became_of_it(play, deed.to, status == 1);
    image_unref(deed.to);
}

static bool
may_commit(const struct play *play)
{
    return play->writer < 0 && play->newest->size > 0 &&
           play->newest->size % page_size_of(play) == 0;
}

void
play_death(struct play *play)
{
    play_any(play); /* somebody is here, and stays */
    let_die(play, may_commit(play) && store_chance(&play->rng, 50));
}

void
play_lonely_death(struct play *play)
{
    if (play->writer >= 0)
        return;
    play_close_all(play);
    let_die(play, may_commit(play) && store_chance(&play->rng, 50));
}
