/*
 * test_placed.c - pages that are brought in bulk go straight into the base, and are
 * here once they are on disk: whatever happens in between.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/life/registry.h"
#include "client/store/shared/locks.h"

#define PAGE PLACE_PAGE
#define PAGES 100u /* more than are given at a time */

static const struct ramet_run all_pages = {1, PAGES};

/* Pull LSN `lsn`, where those pages changed; they are absent in the base then. */
static enum ramet_rc
try_pull(struct place *p, struct ramet_session *session, uint64_t lsn,
         struct ramet_run changed, struct ramet_err *err)
{
    const struct ramet_remote_point point = remote_point(&p->remote, lsn);
    struct ramet_snapshot base;
    struct ramet_pageset pages;
    enum ramet_rc rc = ramet_session_pin(session, err);

    if (rc != RAMET_OK)
        return rc;
    base = *ramet_session_snapshot(session);
    ramet_session_unpin(session);
    ramet_pageset_init(&pages);
    rc = ramet_pageset_add_run(&pages, changed);
    if (rc == RAMET_OK)
        rc = ramet_session_pull(session, &base, &point, &pages, NULL, false,
                                err);
    ramet_pageset_done(&pages);
    return rc == RAMET_OK ? ramet_session_checkpoint(session, true, err) : rc;
}

static void
pull(struct place *p, struct ramet_session *session, uint64_t lsn,
     struct ramet_run changed)
{
    OK(try_pull(p, session, lsn, changed, e));
}

/* A replica of which nothing is here, at LSN 1. */
static struct ramet_session *
lazy_clone(struct place *p, struct image *image, const struct ramet_os *os)
{
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, os);

    remote_add(&p->remote, image_ref(image));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    pull(p, session, 1, all_pages);
    return session;
}

/* Pages from `first` on, as the LSN has them. */
static enum ramet_rc
place_pages(struct place *p, struct ramet_session *session, uint64_t lsn,
            uint32_t first, uint32_t count, struct ramet_err *err)
{
    const struct ramet_point at = remote_at(&p->remote, lsn);
    const struct image *const image = p->remote.at[lsn];
    uint32_t pgnos[PAGES];

    assert_true(first >= 1 && first + count - 1 <= PAGES);
    for (uint32_t i = 0; i < count; i++)
        pgnos[i] = first + i;
    return ramet_session_place_fetched_run(
        session, &at, pgnos, count, image->bytes + (size_t)(first - 1) * PAGE,
        PAGE, err);
}

static bool
settle(struct ramet_session *session)
{
    bool settled = false;

    OK(ramet_session_settle(session, &settled, e));
    return settled;
}

static uint64_t
count_absent(struct ramet_session *session)
{
    struct ramet_pageset absent;
    uint64_t count;

    ramet_pageset_init(&absent);
    OK(ramet_session_pin(session, e));
    OK(ramet_session_absent(session, 0, SIZE_MAX, &absent, e));
    ramet_session_unpin(session);
    count = ramet_pageset_count(&absent);
    ramet_pageset_done(&absent);
    return count;
}

static uint64_t
size_of(const struct place *p, const char *name)
{
    char path[300];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void
begin(struct ramet_session *session)
{
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
}

static void
publish(struct ramet_session *session)
{
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* Behind Ramet's back. */
static void
overwrite_base(const struct place *p, const void *bytes, size_t len, off_t at)
{
    const int fd = open(p->path, O_RDWR);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

/* As somebody else would have it, until the file is closed. */
static int
hold_lock(const struct place *p, unsigned place)
{
    char path[300];
    int fd;

    snprintf(path, sizeof(path), "%s/lock", p->dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(
        ramet_os_system()->lock(NULL, fd, place, 1, RAMET_LOCK_SHARED), 0);
    return fd;
}

/* The remote's LSN 2, in which page 5 is another. */
static struct image *
change_page_5(struct place *p, const struct image *image)
{
    struct image *const next = image_copy(image);

    image_write(next, 4 * PAGE, "theirs", 6);
    remote_add(&p->remote, image_ref(next));
    return next;
}

/* In a child: LSN 2, which changed page 5, is pulled. */
static struct ramet_session *
pull_in_child(struct place *p)
{
    struct ramet_err err = {.text = ""};
    struct ramet_session *const session = place_open_in_child(p);

    child_require(try_pull(p, session, 2, (struct ramet_run){5, 5}, &err) ==
                      RAMET_OK,
                  "pull", &err);
    return session;
}

/* ---- well ------------------------------------------------------------------ */

/* But for page 1, whose first bytes stand elsewhere, none lies in a fetch file. */
static void
placed_pages__are_written_once_and_come_to_be_here(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, PAGES * PAGE);
    struct ramet_session *const session = lazy_clone(p, image, NULL);
    struct image *plain;

    OK(place_pages(p, session, 1, 1, PAGES, e));
    assert_true(size_of(p, "fill-0000000000000001") < 2 * PAGE);
    assert_true(size_of(p, "fill-0000000000000002") < 2 * PAGE);
    plain = store_read_plain(p->path, PAGE);
    assert_memory_equal(plain->bytes + PAGE, image->bytes + PAGE,
                        (PAGES - 1) * PAGE);
    assert_int_equal(count_absent(session), PAGES - 1);
    assert_true(settle(session));
    assert_int_equal(count_absent(session), 0);
    p->remote.is_down = true;
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(plain);
    plain = store_read_plain(p->path, PAGE); /* whole, and clean */
    assert_memory_equal(plain->bytes, image->bytes, image->size);
    image_unref(plain);
    image_unref(image);
}

static enum ramet_rc
find_here(void *ctx, const struct ramet_point *at, uint32_t pgno,
          struct ramet_page_request *sink, struct ramet_err *err)
{
    uint8_t page[PAGE];
    bool is_here = false;
    enum ramet_rc rc = ramet_fetch_look_again(sink, page, &is_here, err);

    (void)ctx;
    (void)at;
    (void)pgno;
    if (rc == RAMET_OK && !is_here)
        rc = RAMET_FAIL(err, RAMET_EUNREACHABLE, "it is not here");
    return rc;
}

/* Who would ask for one that is placed finds it here, unless it is no more what was
 * placed: then the remote has it. */
static void
placed_page__is_wanted__is_not_brought_twice(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(2, PAGES * PAGE);
    struct ramet_session *const session = lazy_clone(p, image, NULL);
    struct ramet_err err = {.text = ""};
    uint8_t page[PAGE];
    size_t got;

    OK(place_pages(p, session, 1, 2, 20, e));
    ramet_replica_set_fetcher(ramet_session_replica(session), find_here, NULL);
    OK(ramet_session_pin(session, e));
    for (uint32_t pgno = 2; pgno <= 21; pgno++) {
        const size_t at = (size_t)(pgno - 1) * PAGE;

        OK(ramet_session_read(session, at, page, PAGE, &got, e));
        assert_memory_equal(page, image->bytes + at, PAGE);
    }
    assert_int_equal(
        ramet_session_read(session, 21 * PAGE, page, PAGE, &got, &err),
        RAMET_EUNREACHABLE);
    overwrite_base(p, "lost", 4, 5 * PAGE);
    assert_int_equal(
        ramet_session_read(session, 5 * PAGE, page, PAGE, &got, &err),
        RAMET_EUNREACHABLE);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
}

/* ---- what moves on meanwhile ------------------------------------------------ */

static void
placed_page__is_committed_meanwhile__covers_nothing(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(3, PAGES * PAGE);
    struct ramet_session *const session = lazy_clone(p, image, NULL);
    struct image *const ours = image_copy(image);

    OK(place_pages(p, session, 1, 2, PAGES - 1, e));
    image_write(ours, 4 * PAGE, "ours", 4);
    begin(session);
    OK(ramet_session_write(session, 4 * PAGE, "ours", 4, e));
    publish(session);
    assert_true(settle(session));
    place_expect(session, ours, __LINE__);
    OK(ramet_session_checkpoint(session, true, e));
    place_expect(session, ours, __LINE__);
    ramet_session_close(session);
    image_unref(ours);
    image_unref(image);
}

/* Another process has made one absent again that was placed: the version before is
 * nobody's. */
static void
placed_page__is_pulled_meanwhile__is_the_newer_one(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(4, PAGES * PAGE);
    struct ramet_session *const session = lazy_clone(p, image, NULL);
    struct image *const next = change_page_5(p, image);
    pid_t child;

    OK(place_pages(p, session, 1, 2, PAGES - 1, e));
    child = child_fork();
    if (child == 0) {
        (void)pull_in_child(p);
        _exit(0);
    }
    child_await(child);
    assert_true(settle(session));
    assert_int_equal(count_absent(session), 2);
    place_expect(session, next, __LINE__);
    ramet_session_close(session);
    image_unref(next);
    image_unref(image);
}

/* In a child: what another process does to a replica of which one page was pulled,
 * and is here. */
static void
read_page(struct ramet_session *session, uint32_t pgno, const char *what)
{
    struct ramet_err err = {.text = ""};
    uint8_t page[PAGE];
    size_t got;

    child_require(ramet_session_pin(session, &err) == RAMET_OK, what, &err);
    child_require(ramet_session_read(session, (uint64_t)(pgno - 1) * PAGE, page,
                                     PAGE, &got, &err) == RAMET_OK,
                  what, &err);
    ramet_session_unpin(session);
}

static void
write_page(struct ramet_session *session, uint32_t pgno)
{
    struct ramet_err err = {.text = ""};

    child_require(ramet_session_pin(session, &err) == RAMET_OK &&
                      ramet_session_reserve(session, &err) == RAMET_OK &&
                      ramet_session_write(session, (uint64_t)(pgno - 1) * PAGE,
                                          "ours", 4, &err) == RAMET_OK &&
                      ramet_session_prepare(session, NULL, &err) == RAMET_OK,
                  "write", &err);
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* Whoever waits for the base lock next finds another process there first. */
static struct place *first_at; /* NULL: nobody is */
static void (*first_does)(struct place *p);

static int
lock_behind_another(void *ctx, int fd, uint64_t start, uint64_t len,
                    enum ramet_lock_mode mode)
{
    struct place *const p = first_at;

    if (p != NULL && start == RAMET_LOCK_BASE && mode != RAMET_UNLOCK) {
        const pid_t child = (first_at = NULL, child_fork());

        if (child == 0) {
            first_does(p);
            _exit(0);
        }
        child_await(child);
    }
    return ramet_os_system()->lock(ctx, fd, start, len, mode);
}

static void
checkpoint_all(struct ramet_session *session)
{
    struct ramet_err err = {.text = ""};

    child_require(ramet_session_checkpoint(session, true, &err) == RAMET_OK,
                  "checkpoint", &err);
}

static void
commit_page_5(struct place *p)
{
    struct ramet_session *const session = place_open_in_child(p);

    write_page(session, 5);
    checkpoint_all(session);
}

static void
pull_page_5(struct place *p)
{
    checkpoint_all(pull_in_child(p));
}

/* A page that was absent when it was looked for, and has a commit, in the base, when
 * it is to be written there. */
static void
page_to_be_placed__comes_into_the_base_first__covers_nothing(void **state)
{
    struct place *const p = *state;
    struct ramet_os os = *ramet_os_system();
    struct image *const image = place_image(14, PAGES * PAGE);
    struct image *const ours = image_copy(image);
    struct ramet_session *session;

    os.lock = lock_behind_another;
    session = lazy_clone(p, image, &os);
    OK(ramet_session_checkpoint(session, true, e));
    OK(place_pages(p, session, 1, 2, 3, e)); /* all entries are known */
    image_write(ours, 4 * PAGE, "ours", 4);
    first_does = commit_page_5;
    first_at = p;
    OK(place_pages(p, session, 1, 5, 4, e));
    assert_null(first_at);
    place_expect(session, ours, __LINE__);
    ramet_session_close(session);
    image_unref(ours);
    image_unref(image);
}

/* A page is absent, but of a later commit by now. */
static void
page_to_be_kept__is_pulled_while_it_is_looked_for__is_not_the_newer_one(
    void **state)
{
    struct place *const p = *state;
    struct ramet_os os = *ramet_os_system();
    struct image *const image = place_image(15, PAGES * PAGE);
    struct ramet_session *session = lazy_clone(p, image, NULL);
    const struct ramet_point at = remote_at(&p->remote, 1);
    struct image *const next = change_page_5(p, image);

    os.lock = lock_behind_another;
    OK(ramet_session_checkpoint(session, true, e));
    ramet_session_close(session);
    session = place_open_on(p, 0, &os); /* no entry is known */
    first_does = pull_page_5;
    first_at = p;
    OK(ramet_session_keep_fetched(session, &at, 5, image->bytes + 4 * PAGE, e));
    assert_null(first_at);
    place_expect(session, next, __LINE__);
    ramet_session_close(session);
    image_unref(next);
    image_unref(image);
}

/* A reader between a pull and a commit on top of it finds the way to the base, where
 * there is what was placed before the pull. */
static void
placed_page__is_pulled_fetched_and_written_meanwhile__is_not_read(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(10, PAGES * PAGE);
    struct ramet_session *session = lazy_clone(p, image, NULL);
    struct image *const next = change_page_5(p, image);
    struct ramet_err err = {.text = ""};
    uint8_t page[PAGE];
    size_t got;
    pid_t child;

    ramet_session_close(session);
    session = place_open(p, 0); /* entries as presence has them */
    OK(place_pages(p, session, 1, 2, PAGES - 1, e));
    child = child_fork();
    if (child == 0) {
        read_page(pull_in_child(p), 5, "fetch");
        _exit(0);
    }
    child_await(child);
    OK(ramet_session_pin(session, e));
    child = child_fork();
    if (child == 0) {
        struct ramet_session *const s = place_open_in_child(p);

        write_page(s, 5);
        read_page(s, 6, "fetch another");
        child_require(ramet_session_checkpoint(s, true, &err) == RAMET_OK,
                      "checkpoint", &err);
        _exit(0);
    }
    child_await(child);
    ramet_replica_set_fetcher(ramet_session_replica(session), find_here, NULL);
    assert_int_equal(
        ramet_session_read(session, 4 * PAGE, page, PAGE, &got, &err),
        RAMET_EUNREACHABLE);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(next);
    image_unref(image);
}

/* Cut off, and grown again as zeros: what was placed there is gone. */
static void
placed_page__is_cut_off_meanwhile__is_zeros_when_it_comes_back(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(5, PAGES * PAGE);
    struct ramet_session *const session = lazy_clone(p, image, NULL);
    struct image *const ours = image_copy(image);

    OK(place_pages(p, session, 1, 2, PAGES - 1, e));
    for (unsigned i = 0; i < 2; i++) {
        begin(session);
        OK(ramet_session_truncate(session, (i == 0 ? 20 : PAGES) * PAGE, e));
        publish(session);
    }
    image_resize(ours, 20 * PAGE);
    image_resize(ours, PAGES * PAGE);
    assert_true(settle(session));
    OK(ramet_session_checkpoint(session, true, e));
    place_expect(session, ours, __LINE__);
    ramet_session_close(session);
    image_unref(ours);
    image_unref(image);
}

/* ---- who dies, and what fails ------------------------------------------------ */

/* What a dead process placed is absent: the remote is asked, whatever it has by then. */
static void
placed_pages__of_a_process_that_died__are_absent(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(6, PAGES * PAGE);
    struct image *const next = image_copy(image);
    struct ramet_session *session = lazy_clone(p, image, NULL);
    struct image *plain;
    pid_t child;

    memset(next->bytes + 6 * PAGE, 0, PAGE); /* page 7 */
    remote_add(&p->remote, image_ref(next));
    ramet_session_close(session);
    child = child_fork();
    if (child == 0) {
        struct ramet_err err = {.text = ""};
        struct ramet_session *const s = place_open_in_child(p);

        child_require(place_pages(p, s, 1, 2, PAGES - 1, &err) == RAMET_OK,
                      "place", &err);
        _exit(0);
    }
    child_await(child);
    session = place_open(p, 0);
    assert_int_equal(count_absent(session), PAGES);
    pull(p, session, 2, (struct ramet_run){7, 7});
    OK(place_pages(p, session, 2, 1, PAGES, e));
    assert_true(settle(session));
    p->remote.is_down = true;
    place_expect(session, next, __LINE__);
    plain = store_read_plain(p->path, PAGE); /* no trace of what was there */
    assert_memory_equal(plain->bytes + PAGE, next->bytes + PAGE,
                        (PAGES - 1) * PAGE);
    ramet_session_close(session);
    image_unref(plain);
    image_unref(next);
    image_unref(image);
}

/* A thread that opens it keeps the object, while the last session closes, and others
 * go on: what was placed before is nobody's by then. */
static void
placed_pages__of_a_replica_that_was_closed__are_forgotten(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(11, PAGES * PAGE);
    struct ramet_session *session = lazy_clone(p, image, NULL);
    struct image *const next = change_page_5(p, image);
    struct ramet_replica_location location;
    struct ramet_replica *replica;
    pid_t child;
    int fd;

    ramet_session_close(session);
    session = place_open(p, 0); /* entries as presence has them */
    OK(ramet_replica_location_find(ramet_os_system(), p->path, &location, e));
    OK(ramet_replica_location_enter(&location, false, e));
    OK(ramet_registry_get(&location, &replica, e));
    ramet_replica_location_done(&location);
    assert_ptr_equal(replica, ramet_session_replica(session));
    OK(place_pages(p, session, 1, 2, PAGES - 1, e));
    fd = hold_lock(p, RAMET_LOCK_LIVE); /* it is open: no checkpoint */
    ramet_session_close(session);
    close(fd);
    child = child_fork();
    if (child == 0) {
        ramet_session_close(pull_in_child(p));
        _exit(0);
    }
    child_await(child);
    session = place_open(p, 0);
    assert_ptr_equal(replica, ramet_session_replica(session));
    assert_int_equal(count_absent(session),
                     PAGES); /* and all entries are there */
    assert_true(settle(session));
    assert_int_equal(count_absent(session), PAGES);
    place_expect(session, next, __LINE__);
    ramet_session_close(session);
    ramet_registry_put(replica);
    image_unref(next);
    image_unref(image);
}

/* The system's table, but that syncs fail while it is said so. */
static struct {
    struct ramet_os os;
    bool fails;
} disk;

static int
sync_or_fail(void *ctx, int fd)
{
    return disk.fails ? -EIO : ramet_os_system()->sync(ctx, fd);
}

static int
datasync_or_fail(void *ctx, int fd)
{
    return disk.fails ? -EIO : ramet_os_system()->datasync(ctx, fd);
}

static const struct ramet_os *
disk_that_fails(void)
{
    disk.os = *ramet_os_system();
    disk.os.sync = sync_or_fail;
    disk.os.datasync = datasync_or_fail;
    disk.fails = false;
    return &disk.os;
}

static void
settle_and_fail(struct ramet_session *session)
{
    bool settled;

    disk.fails = true;
    assert_int_not_equal(ramet_session_settle(session, &settled, NULL),
                         RAMET_OK);
    disk.fails = false;
}

/* The system lets go of what it did not write, and the next sync says nothing of
 * it. */
static void
placed_pages__of_which_a_sync_failed__are_brought_again(void **state)
{
    static const uint8_t nothing[4 * PAGE];
    struct place *const p = *state;
    struct image *const image = place_image(7, PAGES * PAGE);
    struct ramet_session *const session =
        lazy_clone(p, image, disk_that_fails());
    bool settled;

    OK(place_pages(p, session, 1, 2, PAGES - 1, e));
    settle_and_fail(session);
    overwrite_base(p, nothing, sizeof(nothing), 8 * PAGE);
    OK(ramet_session_settle(session, &settled, e));
    OK(ramet_session_checkpoint(session, true, e));
    assert_int_equal(count_absent(session), PAGES);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* It is to be done again first: what it had cut off may be taken for zeros. */
static void
placed_pages__after_a_checkpoint_that_failed__are_kept_in_a_file(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(9, PAGES * PAGE);
    struct ramet_session *const session =
        lazy_clone(p, image, disk_that_fails());

    OK(place_pages(p, session, 1, 2, 5, e));
    settle_and_fail(session);
    OK(place_pages(p, session, 1, 2, 10, e));
    assert_int_equal(count_absent(session), PAGES - 10);
    OK(ramet_session_checkpoint(session, true, e));
    OK(place_pages(p, session, 1, 12, 10, e));
    assert_int_equal(count_absent(session), PAGES - 10);
    assert_true(settle(session));
    assert_int_equal(count_absent(session), PAGES - 20);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* As a reader of a directory that can't be written does: then they are given up, and
 * can be kept the other way, or placed once it is gone. */
static void
placed_pages__that_no_checkpoint_may_settle__are_given_up(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(8, PAGES * PAGE);
    struct ramet_session *const session = lazy_clone(p, image, NULL);
    const int fd = hold_lock(p, RAMET_LOCK_UNPINNED);

    OK(place_pages(p, session, 1, 2, PAGES - 1, e));
    assert_false(settle(session));
    assert_int_equal(count_absent(session), PAGES);
    close(fd);
    assert_true(settle(session)); /* there is nothing */
    assert_int_equal(count_absent(session), PAGES);
    OK(place_pages(p, session, 1, 2, PAGES - 1, e));
    assert_true(settle(session));
    assert_int_equal(count_absent(session), 1);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* ---- of another line ---------------------------------------------------------- */

/* In a child: the commit `point`, which changed page 5, is pulled, and stays in the
 * log. */
static void
pull_and_die(struct place *p, const struct ramet_remote_point *point,
             const uint8_t *page5)
{
    const struct ramet_point at = {.lsn = point->lsn, .hash = point->hash};
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_session *const session = place_open_in_child(p);
        struct ramet_err err = {.text = ""};
        struct ramet_pageset pages;
        struct ramet_snapshot base;

        child_require(ramet_session_pin(session, &err) == RAMET_OK, "pin",
                      &err);
        base = *ramet_session_snapshot(session);
        ramet_session_unpin(session);
        ramet_pageset_init(&pages);
        child_require(ramet_pageset_add(&pages, 5) == RAMET_OK &&
                          ramet_session_pull(session, &base, point, &pages,
                                             NULL, false, &err) == RAMET_OK &&
                          (page5 == NULL ||
                           ramet_session_keep_fetched(session, &at, 5, page5,
                                                      &err) == RAMET_OK),
                      "pull", &err);
        _exit(0);
    }
    child_await(child);
}

/* The power took a pull and left what was fetched of it; a store that was restored
 * has another commit of that number, and its pull lies in the same place. */
static void
page_of_a_pull_that_is_lost__is_not_of_another_lines(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(16, PAGES * PAGE);
    struct ramet_session *session = lazy_clone(p, image, NULL);
    struct image *const next = change_page_5(p, image);
    struct ramet_remote_point point = remote_point(&p->remote, 2);
    char path[300];

    OK(ramet_session_checkpoint(session, true, e));
    ramet_session_close(session);
    pull_and_die(p, &point, next->bytes + 4 * PAGE);
    snprintf(path, sizeof(path), "%s/log-0000000000000002", p->dir);
    assert_int_equal(unlink(path), 0);
    point.hash.bytes[15] ^= 1;
    pull_and_die(p, &point, NULL);
    session = place_open(p, 0);
    assert_int_equal(count_absent(session), PAGES);
    ramet_session_close(session);
    image_unref(next);
    image_unref(image);
}

/* Nor is one that comes for another line's commit of that number. */
static void
page_that_comes_for_another_line__is_not_kept(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(17, PAGES * PAGE);
    struct ramet_session *const session = lazy_clone(p, image, NULL);
    struct ramet_point at = remote_at(&p->remote, 1);
    const uint32_t pgno = 6;

    at.hash.bytes[15] ^= 1;
    OK(ramet_session_keep_fetched(session, &at, 5, image->bytes + 4 * PAGE, e));
    OK(ramet_session_place_fetched_run(session, &at, &pgno, 1,
                                       image->bytes + 5 * PAGE, PAGE, e));
    assert_true(settle(session));
    assert_int_equal(count_absent(session), PAGES);
    ramet_session_close(session);
    image_unref(image);
}

/* Of several fetch files the power may take the name of one in the middle. Those
 * after it were not looked at: one that stayed would be gone on in, over pages of
 * then, when its number's turn comes. */
static void
fetch_files_after_a_lost_one__are_gone(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(18, PAGES * PAGE);
    struct ramet_session *session = lazy_clone(p, image, NULL);
    char path[300];
    uint64_t first = 1;

    OK(ramet_session_checkpoint(session, true, e));
    ramet_session_close(session);
    for (uint32_t pgno = 5; pgno < 8; pgno++) {
        const pid_t child = child_fork();

        if (child == 0) { /* each begins a file */
            read_page(place_open_in_child(p), pgno, "read");
            _exit(0);
        }
        child_await(child);
    }
    do {
        snprintf(path, sizeof(path), "%s/fill-%016llx", p->dir,
                 (unsigned long long)first);
    } while (access(path, F_OK) != 0 && first++ < 10);
    snprintf(path, sizeof(path), "%s/fill-%016llx", p->dir,
             (unsigned long long)first + 2);
    assert_int_equal(access(path, F_OK), 0);
    path[strlen(path) - 1]--;
    assert_int_equal(unlink(path), 0);
    session = place_open(p, 0);
    path[strlen(path) - 1]++;
    assert_int_not_equal(access(path, F_OK), 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

int
main(void)
{
#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        T(placed_pages__are_written_once_and_come_to_be_here),
        T(placed_page__is_wanted__is_not_brought_twice),
        T(placed_page__is_committed_meanwhile__covers_nothing),
        T(placed_page__is_pulled_meanwhile__is_the_newer_one),
        T(page_to_be_placed__comes_into_the_base_first__covers_nothing),
        T(page_to_be_kept__is_pulled_while_it_is_looked_for__is_not_the_newer_one),
        T(page_of_a_pull_that_is_lost__is_not_of_another_lines),
        T(page_that_comes_for_another_line__is_not_kept),
        T(fetch_files_after_a_lost_one__are_gone),
        T(placed_page__is_pulled_fetched_and_written_meanwhile__is_not_read),
        T(placed_page__is_cut_off_meanwhile__is_zeros_when_it_comes_back),
        T(placed_pages__of_a_process_that_died__are_absent),
        T(placed_pages__of_a_replica_that_was_closed__are_forgotten),
        T(placed_pages__of_which_a_sync_failed__are_brought_again),
        T(placed_pages__after_a_checkpoint_that_failed__are_kept_in_a_file),
        T(placed_pages__that_no_checkpoint_may_settle__are_given_up),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
