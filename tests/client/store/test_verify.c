/*
 * test_verify.c - pages that rot in the base, and readers of older
 * snapshots: what one of them brings is nobody else's, and what mends the page
 * is right for all.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PAGES 20u
#define ROTTEN 7u /* the page */

/* What the remote has as LSN 1 and as LSN 2; they differ in each page. */
struct two {
    struct image *old, *new;
};

static void
push(struct place *p, struct ramet_session *session, struct image *image)
{
    const uint64_t lsn = remote_add(&p->remote, image_ref(image));
    const struct ramet_remote_point point = remote_point(&p->remote, lsn);
    struct ramet_snapshot base;
    struct ramet_cid id;

    if (lsn == 1)
        OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    OK(ramet_session_lock_push(session, e));
    OK(ramet_id_new(&id.id, e));
    base = store_newest(session);
    OK(ramet_session_freeze(session, &base, &id, e));
    ramet_session_unpin(session);
    base = store_newest(session);
    OK(ramet_session_mark_durable(session, &base, &point, e));
    ramet_session_unlock_push(session);
}

static void
rot_page(struct place *p, uint32_t pgno)
{
    const off_t at = (off_t)(pgno - 1) * PLACE_PAGE + 50;
    const int fd = open(p->path, O_RDWR);
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void
rot(struct place *p)
{
    rot_page(p, ROTTEN);
}

/* `reader` is pinned where LSN 1 is the newest, and what becomes LSN 2 is here
 * as local commits, in the base already. Then LSN 2 comes to be. */
static struct two
make_reader(struct place *p, struct ramet_session *session,
            struct ramet_session *reader)
{
    struct two two = {place_image(1, PAGES * PLACE_PAGE),
                      place_image(2, PAGES * PLACE_PAGE)};

    OK(place_commit(session, two.old, e));
    push(p, session, two.old);
    OK(place_commit(session, two.new, e));
    OK(ramet_session_checkpoint(session, true, e));
    OK(ramet_session_pin(reader, e));
    push(p, session, two.new);
    return two;
}

static void
free_two(struct two *two)
{
    image_unref(two->old);
    image_unref(two->new);
}

static bool
has_page(struct ramet_session *session, const struct image *image)
{
    uint8_t page[PLACE_PAGE];
    const uint64_t at = (uint64_t)(ROTTEN - 1) * PLACE_PAGE;
    size_t got;

    OK(ramet_session_read(session, at, page, sizeof(page), &got, e));
    return memcmp(page, image->bytes + at, sizeof(page)) == 0;
}

static uint64_t
verify(struct ramet_session *session)
{
    uint64_t checked = 0;
    uint64_t bad = 0;

    OK(ramet_session_verify(session, &checked, &bad, e));
    return bad;
}

static void
rotten_page__that_the_remote_has__is_right_for_readers_of_older_lsns(
    void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, 0);
    struct two two = make_reader(p, session, reader);

    rot(p);
    assert_false(has_page(reader, two.new));
    assert_int_equal(verify(session), 1);
    assert_true(has_page(reader, two.new));
    ramet_session_unpin(reader);
    place_expect(session, two.new, __LINE__);
    assert_int_equal(verify(session), 0);
    ramet_session_close(reader);
    ramet_session_close(session);
    free_two(&two);
}

static void
rotten_page__with_the_remote_away__is_not_given_up_under_older_readers(
    void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, 0);
    struct two two = make_reader(p, session, reader);

    rot(p);
    p->remote.is_down = true;
    assert_int_equal(verify(session), 1);
    p->remote.is_down = false;
    p->remote.asked = 0;
    assert_false(has_page(reader, two.old)); /* of another snapshot */
    assert_int_equal(p->remote.asked, 0);
    ramet_session_unpin(reader);

    p->remote.is_down = true; /* nobody is in the way now */
    assert_int_equal(verify(session), 1);
    p->remote.is_down = false;
    place_expect(session, two.new, __LINE__);
    assert_int_equal(verify(session), 0);
    ramet_session_close(reader);
    ramet_session_close(session);
    free_two(&two);
}

/* Nor under the pin of the one who verifies: in the midst of a transaction of
 * his he goes on reading by it. */
static void
rotten_page__is_not_given_up_under_the_reader_who_verifies(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, 0);
    struct two two = make_reader(p, session, reader);

    rot(p);
    p->remote.is_down = true;
    assert_int_equal(verify(reader), 1);
    p->remote.is_down = false;
    p->remote.asked = 0;
    assert_false(has_page(reader, two.old)); /* of another snapshot */
    assert_int_equal(p->remote.asked, 0);
    ramet_session_close(reader);
    ramet_session_close(session);
    free_two(&two);
}

static enum ramet_rc
check(struct ramet_session *session, const struct image *image)
{
    return ramet_session_check_pages(session, 1, PAGES, image->bytes, NULL);
}

/* Who sends pages knows one that rotted from one that is another snapshot's. */
static void
pages__that_are_to_be_sent__are_compared_with_those_of_the_base(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, 0);
    struct two two = {place_image(1, PAGES * PLACE_PAGE),
                      place_image(2, PAGES * PLACE_PAGE)};

    OK(place_commit(session, two.old, e));
    OK(ramet_session_pin(reader, e));
    OK(check(reader, two.old)); /* in the log, where frames are checked */
    OK(ramet_session_checkpoint(session, true, e));
    OK(check(reader, two.old));
    assert_int_equal(check(reader, two.new), RAMET_ECORRUPT);
    OK(place_commit(session, two.new, e)); /* over what the base has */
    OK(check(reader, two.old));
    assert_int_equal(check(reader, two.new), RAMET_ECORRUPT);
    ramet_session_unpin(reader);
    OK(ramet_session_pin(reader, e));
    OK(check(reader, two.new));
    OK(ramet_session_checkpoint(session, true, e));
    OK(check(reader, two.new));
    rot(p);
    OK(check(reader, two.new)); /* what was read before that is right */
    ramet_session_unpin(reader);
    ramet_session_close(reader);
    ramet_session_close(session);
    free_two(&two);
}

/* Nor is it zeros, unread, because the file has nothing there any more. */
static void
hole__that_somebody_punched__is_no_page_of_zeros(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    uint32_t count = 1;
    int fd;

    OK(place_commit(session, image, e));
    OK(ramet_session_checkpoint(session, true, e));
    fd = open(p->path, O_RDWR);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               (off_t)(ROTTEN - 1) * PLACE_PAGE,
                               3 * PLACE_PAGE),
                     0);
    close(fd);
    OK(ramet_session_pin(session, e));
    OK(ramet_session_hole(session, ROTTEN, 3, &count, e));
    assert_int_equal(count, 0);
    ramet_session_close(session);
    image_unref(image);
}

/* The remote's page is another one: presence tells which is right. */
static void
corrupt_page__is_not_repaired_with_another(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, 0);
    struct two two = make_reader(p, session, reader);
    uint8_t *const at =
        p->remote.at[2]->bytes + (size_t)(ROTTEN - 1) * PLACE_PAGE;

    rot(p);
    at[7] ^= 1;
    assert_int_equal(verify(session), 1);
    assert_false(has_page(reader, two.new)); /* whose bytes those are */
    at[7] ^= 1;
    assert_int_equal(verify(session), 1);
    assert_true(has_page(reader, two.new));
    ramet_session_close(reader);
    ramet_session_close(session);
    free_two(&two);
}

static void
corrupt_page__with_a_local_commit__stays_and_is_reported_each_time(void **state)
{
    struct place *const p = *state;
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    struct image *const old = place_image(1, PAGES * PLACE_PAGE);
    struct image *const new = place_image(2, PAGES * PLACE_PAGE);

    OK(place_commit(session, old, e));
    push(p, session, old);
    OK(place_commit(session, new, e));
    OK(ramet_session_checkpoint(session, true, e));
    rot(p);
    p->remote.asked = 0;
    assert_int_equal(verify(session), 1);
    assert_int_equal(verify(session), 1);
    assert_int_equal(p->remote.asked, 0);
    ramet_session_close(session);
    image_unref(old);
    image_unref(new);
}

/* A disk that rots tells nobody: until the next page is written, files are said
 * to be as they were. */
static struct ramet_os_stat before;
static bool is_frozen;

static int
stat_before(void *ctx, int fd, struct ramet_os_stat *out)
{
    const int result = ramet_os_system()->stat(ctx, fd, out);

    if (result == 0 && is_frozen && out->inode == before.inode)
        *out = before;
    return result;
}

static ssize_t
write_and_thaw(void *ctx, int fd, const struct iovec *iov, int iovcnt,
               uint64_t offset)
{
    if (iovcnt == 1 && iov[0].iov_len == PLACE_PAGE)
        is_frozen = false;
    return ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

static void
corrupt_pages__of_which_one_can_be_repaired__hinder_no_checkpoint(void **state)
{
    struct place *const p = *state;
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, &os);
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct image *pushed;

    OK(place_commit(session, image, e));
    pushed = image_copy(image);
    push(p, session, pushed);
    image->bytes[2 * PLACE_PAGE] ^= 1; /* page 3 is local */
    OK(place_commit(session, image, e));
    OK(ramet_session_checkpoint(session, true, e));
    assert_int_equal(os.stat_at(NULL, AT_FDCWD, p->path, &before), 0);
    os.stat = stat_before;
    os.pwritev = write_and_thaw;
    is_frozen = true;
    place_await_tick(p);
    rot_page(p, 3);
    rot(p);
    assert_int_equal(verify(session), 2);
    assert_int_equal(verify(session), 1);
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 9 * PLACE_PAGE, "more", 4, e));
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    OK(ramet_session_checkpoint(session, true, e));
    ramet_session_close(session);
    image_unref(pushed);
    image_unref(image);
}

static void
change_page(struct ramet_session *session, struct image *image, uint32_t pgno)
{
    image->bytes[(uint64_t)(pgno - 1) * PLACE_PAGE] ^= 1;
    OK(place_commit(session, image, e));
}

/* A pusher died as it wrote its intent: complete, and not published. Whoever
 * pushes next looked before that was recovered, and freezes on top of it. */
static void
intent__on_top_of_one_that_nobody_saw__covers_both(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    const struct ramet_cid first = {{{1}}}, second = {{{2}}};
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_replica_state fold;
    struct ramet_snapshot base;

    memset(&fold, 0, sizeof(fold));
    OK(place_commit(session, image, e));
    push(p, session, image);
    change_page(session, image, 3);
    OK(ramet_session_lock_push(session, e));
    base = store_newest(session);
    OK(ramet_session_freeze(session, &base, &first, e));
    ramet_session_unpin(session);
    change_page(session, image, 9);
    base = store_newest(session);
    OK(ramet_session_freeze(session, &base, &second, e));
    ramet_session_unpin(session);
    OK(ramet_session_state(session, &fold, e));
    assert_memory_equal(&fold.intent, &second, sizeof(second));
    assert_int_equal(ramet_pageset_count(&fold.in_flight), 2);
    assert_true(ramet_pageset_contains(&fold.in_flight, 3));
    assert_true(ramet_pageset_contains(&fold.in_flight, 9));
    assert_int_equal(fold.commits_in_flight, 2);
    OK(ramet_session_abandon_intent(session, e));
    OK(ramet_session_state(session, &fold, e));
    assert_int_equal(ramet_pageset_count(&fold.later), 2);
    assert_int_equal(fold.commits_later, 2);
    ramet_session_unlock_push(session);
    ramet_replica_state_done(&fold);
    ramet_session_close(session);
    image_unref(image);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(
            rotten_page__that_the_remote_has__is_right_for_readers_of_older_lsns),
        TEST(
            rotten_page__with_the_remote_away__is_not_given_up_under_older_readers),
        TEST(rotten_page__is_not_given_up_under_the_reader_who_verifies),
        TEST(pages__that_are_to_be_sent__are_compared_with_those_of_the_base),
        TEST(hole__that_somebody_punched__is_no_page_of_zeros),
        TEST(corrupt_page__is_not_repaired_with_another),
        TEST(
            corrupt_page__with_a_local_commit__stays_and_is_reported_each_time),
        TEST(corrupt_pages__of_which_one_can_be_repaired__hinder_no_checkpoint),
        TEST(intent__on_top_of_one_that_nobody_saw__covers_both),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
