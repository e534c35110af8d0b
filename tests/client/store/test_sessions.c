/*
 * test_sessions.c - what a session may count on of the others of its replica:
 * of those at work, of those that died, and of those that can only read.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/os.h"

#define PAGES 8u
#define SPILLED 700u /* more than is kept in memory of a transaction */

/* ---- the dead --------------------------------------------------------------- */

/* The base has all but its first bytes, which are a mark while it is in use. */
static void
expect_in_base(const struct place *p, const struct image *image)
{
    struct image *const plain = store_read_plain(p->path, PLACE_PAGE);

    assert_int_equal(plain->size, image->size);
    assert_memory_equal(plain->bytes + 100, image->bytes + 100,
                        image->size - 100);
    image_unref(plain);
}

static void
reader__dies_with_its_pin__holds_up_no_checkpoint(void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, PAGES * PLACE_PAGE);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    pid_t child;

    OK(place_commit(session, first, e));
    child = child_fork();
    if (child == 0) {
        struct ramet_session *const reader = place_open_in_child(p);

        child_require(ramet_session_pin(reader, NULL) == RAMET_OK, "pin", NULL);
        _exit(0);
    }
    child_await(child);
    OK(place_commit(session, second, e));
    OK(ramet_session_checkpoint(session, true, e));
    expect_in_base(p, second);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

/* It is a commit across databases, and its super-journal is gone: the others have
 * it, and who is here must see it, too, whether he writes or not. */
static void
commit__prepared_by_a_dead_writer__is_seen_by_open_sessions(void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, PAGES * PLACE_PAGE);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    char super[300];
    pid_t child;

    snprintf(super, sizeof(super), "%s-mj0123456789", p->path);
    OK(place_commit(session, first, e));
    child = child_fork();
    if (child == 0) {
        struct ramet_session *const writer = place_open_in_child(p);

        child_require(ramet_session_pin(writer, NULL) == RAMET_OK &&
                          ramet_session_reserve(writer, NULL) == RAMET_OK &&
                          ramet_session_write(writer, 0, second->bytes,
                                              second->size, NULL) == RAMET_OK &&
                          ramet_session_prepare(writer, super, NULL) ==
                              RAMET_OK &&
                          ramet_session_sync(writer, NULL) == RAMET_OK,
                      "prepare", NULL);
        _exit(0);
    }
    child_await(child);
    place_expect(session, second, __LINE__);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

/* As ROLLBACK TO does with a page that was spilled: what is in the log of it first
 * counts no more, to who is here and to who comes after a kill. */
static void
page__written_back_after_a_spill__is_what_it_was_after_a_kill(void **state)
{
    struct place *const p = *state;
    struct image *const before = place_image(1, SPILLED * PLACE_PAGE);
    struct image *const after = place_image(2, SPILLED * PLACE_PAGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    pid_t child;

    OK(place_commit(session, before, e));
    ramet_session_close(session);
    child = child_fork();
    if (child == 0) {
        struct ramet_session *const writer = place_open_in_child(p);

        child_require(ramet_session_pin(writer, NULL) == RAMET_OK &&
                          ramet_session_reserve(writer, NULL) == RAMET_OK &&
                          ramet_session_write(writer, 0, after->bytes,
                                              after->size, NULL) == RAMET_OK &&
                          ramet_session_write(writer, PLACE_PAGE,
                                              before->bytes + PLACE_PAGE,
                                              PLACE_PAGE, NULL) == RAMET_OK &&
                          ramet_session_prepare(writer, NULL, NULL) ==
                              RAMET_OK &&
                          ramet_session_sync(writer, NULL) == RAMET_OK,
                      "write", NULL);
        ramet_session_publish(writer);
        _exit(0);
    }
    child_await(child);
    memcpy(after->bytes + PLACE_PAGE, before->bytes + PLACE_PAGE, PLACE_PAGE);
    session = place_open(p, 0);
    place_expect(session, after, __LINE__);
    ramet_session_close(session);
    image_unref(before);
    image_unref(after);
}

/* ---- what happens at the same time ---------------------------------------------- */

/* Once, before a page that was fetched is written to its file. */
static void (*meanwhile)(void *ctx);
static void *meanwhile_ctx;

static const char *
path_of(int fd)
{
    static char path[300];
    char link[64];

    memset(path, 0, sizeof(path));
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof(path) - 1) > 0 ? path : "";
}

static ssize_t
write_after_others(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                   uint64_t offset)
{
    void (*const happen)(void *) = meanwhile;

    if (happen != NULL && iovcnt == 2 &&
        strstr(path_of(fd), "/fill-") != NULL) {
        meanwhile = NULL;
        happen(meanwhile_ctx);
    }
    return ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

struct committer {
    struct ramet_session *session;
    const struct image *image;
};

static void
commit_page_3(void *ctx)
{
    const struct committer *const c = ctx;
    const uint64_t at = 2 * PLACE_PAGE;

    OK(ramet_session_pin(c->session, e));
    OK(ramet_session_reserve(c->session, e));
    OK(ramet_session_write(c->session, at, c->image->bytes + at, PLACE_PAGE,
                           e));
    OK(ramet_session_prepare(c->session, NULL, e));
    OK(ramet_session_sync(c->session, e));
    ramet_session_publish(c->session);
    ramet_session_release(c->session);
    ramet_session_unpin(c->session);
}

static struct ramet_session *
clone_of(struct place *p, struct image *image, const struct ramet_os *os)
{
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct ramet_remote_point point;

    remote_add(&p->remote, image_ref(image));
    point = remote_point(&p->remote, p->remote.newest);
    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    return place_open_on(p, 0, os);
}

static void
fetched_page__is_committed_meanwhile__covers_nothing(void **state)
{
    struct place *const p = *state;
    struct ramet_os os = *ramet_os_system();
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct image *const after = image_copy(image);
    struct ramet_session *reader;
    struct committer committer = {.image = after};
    uint8_t page[PLACE_PAGE];
    uint64_t rng = 9;
    size_t got;

    os.pwritev = write_after_others;
    reader = clone_of(p, image, &os);
    committer.session = place_open_on(p, 0, &os);
    p->remote.brings_neighbours = false;
    store_random_bytes(&rng, after->bytes + 2 * PLACE_PAGE, PLACE_PAGE);
    meanwhile = commit_page_3;
    meanwhile_ctx = &committer;
    OK(ramet_session_pin(reader, e));
    OK(ramet_session_read(reader, 2 * PLACE_PAGE, page, sizeof(page), &got, e));
    assert_null(meanwhile); /* it came to that */
    assert_memory_equal(page, image->bytes + 2 * PLACE_PAGE, PLACE_PAGE);
    ramet_session_unpin(reader);
    place_expect(reader, after, __LINE__);
    OK(ramet_session_checkpoint(reader, true, e));
    place_expect(committer.session, after, __LINE__);
    ramet_session_close(committer.session);
    ramet_session_close(reader);
    image_unref(image);
    image_unref(after);
}

/* ---- a page that goes while it is read ------------------------------------------ */

/* All pages go from the base before the next read of it. */
static struct ramet_session *evictor;
static const char *evicted_path;

static ssize_t
read_after_eviction(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                    uint64_t offset)
{
    struct ramet_session *const session = evictor;

    if (session != NULL && strcmp(path_of(fd), evicted_path) == 0) {
        evictor = NULL;
        OK(ramet_session_evict(session, 0, e));
    }
    return ramet_os_system()->preadv(ctx, fd, iov, iovcnt, offset);
}

/* To who reads it the short way, and to who takes the long way at once. */
static void
page__is_evicted_while_it_is_read__is_not_read_as_zeros(void **state)
{
    struct place *const p = *state;
    struct ramet_os os = *ramet_os_system();
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    const uint8_t *const expected = image->bytes + 2 * PLACE_PAGE;
    struct ramet_session *reader, *other;
    struct ramet_point newest;
    uint8_t page[PLACE_PAGE];
    size_t got;

    os.preadv = read_after_eviction;
    reader = clone_of(p, image, &os);
    newest = remote_at(&p->remote, p->remote.newest);
    other = place_open_on(p, 0, &os);
    evicted_path = p->path;
    for (unsigned is_long = 0; is_long < 2; is_long++) {
        place_expect(reader, image, __LINE__);
        OK(ramet_session_checkpoint(reader, true, e));
        assert_true(ramet_session_peek(reader, &newest, 3, page, sizeof(page)));
        assert_memory_equal(page, expected, PLACE_PAGE);
        evictor = other;
        if (is_long) {
            assert_false(
                ramet_session_peek(reader, &newest, 3, page, sizeof(page)));
        } else {
            OK(ramet_session_pin(reader, e));
            OK(ramet_session_read(reader, 2 * PLACE_PAGE, page, sizeof(page),
                                  &got, e));
            assert_memory_equal(page, expected, PLACE_PAGE);
            ramet_session_unpin(reader);
        }
        assert_null(evictor); /* it came to that */
    }
    place_expect(reader, image, __LINE__);
    ramet_session_close(other);
    ramet_session_close(reader);
    image_unref(image);
}

/* ---- those that can only read ------------------------------------------------------ */

/* A child of nobody's, who answers with what it sees when it is asked, by a byte:
 * 1 for the first image, 2 for the second, 'x' where it may not be nobody. */
struct onlooker {
    pid_t pid;
    int ask, answer;
};

static char
seen_by(struct ramet_session *session, const struct image *first,
        const struct image *second)
{
    bool is_first = false, is_second = false;
    struct ramet_err err = {.text = ""};

    child_require(ramet_session_pin(session, &err) == RAMET_OK, "pin", &err);
    child_require(store_compare(session, first, &is_first, &err) == RAMET_OK &&
                      store_compare(session, second, &is_second, &err) ==
                          RAMET_OK,
                  "read", &err);
    ramet_session_unpin(session);
    child_require(is_first || is_second, "what was read", NULL);
    return is_first ? '1' : '2';
}

static void
look_on(struct place *p, int ask, int answer, const struct image *first,
        const struct image *second)
{
    const struct ramet_replica_options options = {.flags = RAMET_OPEN_READONLY};
    struct ramet_err err = {.text = ""};
    struct ramet_session *session = NULL;
    char byte = 'x';

    if (geteuid() == 0 &&
        (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) {
        child_require(write(answer, &byte, 1) == 1, "answer", NULL);
        _exit(0);
    }
    while (read(ask, &byte, 1) == 1) {
        if (session == NULL)
            child_require(ramet_session_open(p->path, &options, &session,
                                             &err) == RAMET_OK,
                          "open", &err);
        byte = seen_by(session, first, second);
        child_require(write(answer, &byte, 1) == 1, "answer", NULL);
    }
    if (session != NULL)
        ramet_session_close(session);
    _exit(0);
}

static struct onlooker
begin_onlooker(struct place *p, const struct image *first,
               const struct image *second)
{
    struct onlooker o;
    int ask[2], answer[2];

    assert_int_equal(pipe(ask), 0);
    assert_int_equal(pipe(answer), 0);
    o.pid = child_fork();
    assert_true(o.pid >= 0);
    if (o.pid == 0) {
        close(ask[1]);
        close(answer[0]);
        look_on(p, ask[0], answer[1], first, second);
    }
    close(ask[0]);
    close(answer[1]);
    o.ask = ask[1];
    o.answer = answer[0];
    return o;
}

static char
ask(const struct onlooker *o)
{
    char byte = '?';

    assert_int_equal(write(o->ask, "?", 1), 1);
    assert_int_equal(read(o->answer, &byte, 1), 1);
    return byte;
}

static void
end_onlooker(const struct onlooker *o)
{
    close(o->ask);
    child_await(o->pid);
    close(o->answer);
}

static void
let_nobody_write(const struct place *p)
{
    char command[1000];

    snprintf(command, sizeof(command),
             "chmod -R a+rX,go-w '%s' && chmod go-w '%s' '%s'", p->folder,
             p->folder, p->dir);
    assert_int_equal(system(command), 0);
}

/* A record is complete, and its writer may yet take it back. */
static void
reader_without_rights__counts_nothing_that_may_be_taken_back(void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, PAGES * PLACE_PAGE);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct onlooker onlooker = begin_onlooker(p, first, second);
    char seen;

    OK(place_commit(session, first, e));
    let_nobody_write(p);
    seen = ask(&onlooker);
    if (seen == 'x')
        skip();
    assert_int_equal(seen, '1');
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, second->bytes, second->size, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    assert_int_equal(ask(&onlooker), '1');
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    assert_int_equal(ask(&onlooker), '2');
    end_onlooker(&onlooker);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

/* One that was sent, and of which only the remote can tell, is whole in the log, and
 * nobody holds the lock. */
static void
reader_without_rights__counts_no_commit_in_doubt(void **state)
{
    static const struct ramet_cid commit = {{{1}}};
    struct place *const p = *state;
    struct image *const first = place_image(1, PAGES * PLACE_PAGE);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct onlooker onlooker = begin_onlooker(p, first, second);
    pid_t child;
    char seen;

    OK(place_commit(session, first, e));
    let_nobody_write(p);
    seen = ask(&onlooker);
    if (seen == 'x')
        skip();
    assert_int_equal(seen, '1');
    child = child_fork();
    if (child == 0) {
        struct ramet_session *const sender = place_open_in_child(p);

        child_require(ramet_session_pin(sender, NULL) == RAMET_OK &&
                          ramet_session_reserve(sender, NULL) == RAMET_OK &&
                          ramet_session_write(sender, 0, second->bytes,
                                              second->size, NULL) == RAMET_OK &&
                          ramet_session_prepare_in_doubt(sender, &commit,
                                                         NULL) == RAMET_OK &&
                          ramet_session_sync(sender, NULL) == RAMET_OK,
                      "send", NULL);
        _exit(0);
    }
    child_await(child);
    assert_int_equal(ask(&onlooker), '1');
    end_onlooker(&onlooker);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

static ssize_t
die_instead(void *ctx, int fd, const struct iovec *iov, int iovcnt,
            uint64_t offset)
{
    (void)ctx;
    (void)fd;
    (void)iov;
    (void)iovcnt;
    (void)offset;
    _exit(0);
}

/* After a checkpoint, which took away the file in which the log ended, somebody dies
 * as he is about to write a record without pages: nothing is there of it. */
static void
writer__dies_before_the_first_byte_of_a_new_file__others_go_on(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    pid_t child;

    OK(place_commit(session, image, e));
    OK(ramet_session_checkpoint(session, true, e));
    child = child_fork();
    if (child == 0) {
        struct ramet_os os = *ramet_os_system();
        struct ramet_session *const writer = place_open_on(p, 0, &os);

        OK(ramet_session_pin(writer, e));
        OK(ramet_session_reserve(writer, e));
        OK(ramet_session_truncate(writer, PLACE_PAGE, e));
        os.pwritev = die_instead;
        (void)!ramet_session_prepare(writer, NULL, NULL);
        _exit(1);
    }
    child_await(child);
    place_expect(session, image, __LINE__);
    image->bytes[0] ^= 1;
    OK(place_commit(session, image, e));
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* It has no pin to be seen. */
static void
reader_without_rights__keeps_the_base_as_it_is(void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, PAGES * PLACE_PAGE);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    struct onlooker onlooker = begin_onlooker(p, first, second);
    char seen;

    OK(place_commit(session, first, e));
    OK(ramet_session_checkpoint(session, true, e));
    let_nobody_write(p);
    seen = ask(&onlooker);
    if (seen == 'x')
        skip();
    assert_int_equal(seen, '1');
    OK(place_commit(session, second, e));
    OK(ramet_session_checkpoint(session, true, e));
    expect_in_base(p, first);
    end_onlooker(&onlooker);
    OK(ramet_session_checkpoint(session, true, e));
    expect_in_base(p, second);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(reader__dies_with_its_pin__holds_up_no_checkpoint),
        TEST(commit__prepared_by_a_dead_writer__is_seen_by_open_sessions),
        TEST(page__written_back_after_a_spill__is_what_it_was_after_a_kill),
        TEST(fetched_page__is_committed_meanwhile__covers_nothing),
        TEST(page__is_evicted_while_it_is_read__is_not_read_as_zeros),
        TEST(reader_without_rights__counts_nothing_that_may_be_taken_back),
        TEST(reader_without_rights__counts_no_commit_in_doubt),
        TEST(writer__dies_before_the_first_byte_of_a_new_file__others_go_on),
        TEST(reader_without_rights__keeps_the_base_as_it_is),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
