/*
 * test_store_review.c - what a hostile reading of the local store found.
 *
 * A process dies at a chosen operation while others live, or leaves what only
 * its death at that moment leaves.
 */
#define _GNU_SOURCE
#include "tests/client/store_world.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/os.h"

#define PAGE 4096u

struct place {
    char folder[128];
    char path[160];
    struct remote remote;
};

static int
setup(void **state)
{
    struct place *const p = calloc(1, sizeof(*p));

    store_folder_make(p->folder);
    snprintf(p->path, sizeof(p->path), "%s/app.db", p->folder);
    remote_init(&p->remote, 1);
    *state = p;
    return 0;
}

static int
teardown(void **state)
{
    struct place *const p = *state;

    store_folder_remove(p->folder);
    remote_done(&p->remote);
    free(p);
    return 0;
}

static struct ramet_session *
open_with(struct place *p, const struct ramet_os *os)
{
    const struct ramet_replica_options options = {
        .os = os,
        .flags = RAMET_OPEN_CREATE,
        .kind = RAMET_KIND_BLOB,
        .page_size = PAGE,
    };
    struct ramet_session *session;

    OK(ramet_session_open(p->path, &options, &session, e));
    ramet_replica_set_fetcher(ramet_session_replica(session), remote_fetch,
                              &p->remote);
    return session;
}

static void
commit_image(struct ramet_session *session, const struct image *image)
{
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, image->bytes, image->size, e));
    OK(ramet_session_truncate(session, image->size, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

static struct image *
random_image(uint64_t seed, uint64_t size)
{
    struct image *const image = image_new(size, PAGE);

    store_random_bytes(&seed, image->bytes, size);
    return image;
}

/* ---- dying at an operation ------------------------------------------------ */

/* The n-th rename to "state" is the last thing that the process does; or the
 * truncation to that size the first that it does not. */
static unsigned renames_left;
static uint64_t fatal_size;

static int
rename_and_die(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
               const char *new_path)
{
    const int result = ramet_os_system()->rename(ctx, old_dirfd, old_path,
                                                 new_dirfd, new_path);

    if (strcmp(new_path, "state") == 0 && --renames_left == 0)
        _exit(0);
    return result;
}

static bool state_is_refused;

static int
rename_or_refuse(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
                 const char *new_path)
{
    if (state_is_refused && strcmp(new_path, "state") == 0)
        return -ENOSPC;
    return ramet_os_system()->rename(ctx, old_dirfd, old_path, new_dirfd,
                                     new_path);
}

static int
die_or_truncate(void *ctx, int fd, uint64_t size)
{
    if (size == fatal_size)
        _exit(0);
    return ramet_os_system()->truncate(ctx, fd, size);
}

static void
wait_for(pid_t child)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- tests ----------------------------------------------------------------- */

static void
gate__shut_by_the_dead__opens_though_its_slot_is_taken(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const first = open_with(p, NULL);
    struct ramet_session *next;
    const pid_t child = fork();

    if (child == 0) {
        struct ramet_session *const session = open_with(p, NULL);

        OK(ramet_session_shut_gate(session, e));
        _exit(0);
    }
    wait_for(child);
    next = open_with(p, NULL); /* takes the slot of the dead */
    OK(ramet_session_pin(first, e));
    ramet_session_unpin(first);
    ramet_session_close(next);
    ramet_session_close(first);
}

static void
clean_close__of_a_tiny_file_cut_off__opens(void **state)
{
    struct place *const p = *state;
    struct image *const image = random_image(3, 50);
    struct image *plain;
    struct ramet_session *session;
    const pid_t child = fork();

    if (child == 0) {
        struct ramet_os os = *ramet_os_system();

        fatal_size = image->size;
        session = open_with(p, &os);
        commit_image(session, image);
        os.truncate = die_or_truncate;
        ramet_session_close(session);
        _exit(1);
    }
    wait_for(child);
    session = open_with(p, NULL);
    OK(ramet_session_pin(session, e));
    store_expect(session, image, __LINE__);
    ramet_session_unpin(session);
    ramet_session_close(session);
    plain = store_read_plain(p->path, PAGE);
    assert_int_equal(plain->size, image->size);
    assert_memory_equal(plain->bytes, image->bytes, image->size);
    image_unref(plain);
    image_unref(image);
}

static void
checkpoint__dies_before_entries_are_swapped__fills_stay(void **state)
{
    struct place *const p = *state;
    struct image *const image = random_image(5, 4 * PAGE);
    struct ramet_session *const session = open_with(p, NULL);
    struct ramet_remote_point point;
    struct ramet_pageset all;
    uint8_t page[PAGE];
    pid_t child;

    remote_add(&p->remote, image_ref(image));
    point = remote_point(&p->remote, 1);
    ramet_pageset_init(&all);
    OK(ramet_pageset_add_run(&all, (struct ramet_run){1, 4}));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    OK(ramet_session_pull(session, &point, &all, NULL, false, e));
    ramet_pageset_done(&all);
    child = fork();
    if (child == 0) {
        struct ramet_os os = *ramet_os_system();
        struct ramet_session *other;

        renames_left = 1;
        other = open_with(p, &os);
        os.rename = rename_and_die;
        OK(ramet_session_checkpoint(other, true, e));
        _exit(1);
    }
    wait_for(child);
    image_page(image, 2, page);
    OK(ramet_session_fill(session, 1, 2, page, e));
    OK(ramet_session_checkpoint(session, true, e));
    OK(ramet_session_pin(session, e));
    store_expect(session, image, __LINE__);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
}

static void
checkpoint__refused_twice__fills_of_later_are_found(void **state)
{
    struct place *const p = *state;
    struct image *const image = random_image(6, 4 * PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *const session = open_with(p, &os);
    struct ramet_remote_point point;
    struct ramet_pageset all;
    uint8_t page[PAGE];

    os.rename = rename_or_refuse;
    remote_add(&p->remote, image_ref(image));
    point = remote_point(&p->remote, 1);
    ramet_pageset_init(&all);
    OK(ramet_pageset_add_run(&all, (struct ramet_run){1, 4}));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    OK(ramet_session_pull(session, &point, &all, NULL, false, e));
    ramet_pageset_done(&all);
    OK(ramet_session_checkpoint(session, true, e));
    image_page(image, 2, page);
    OK(ramet_session_fill(session, 1, 2, page, e));
    state_is_refused = true;
    for (unsigned i = 0; i < 2; i++) /* each begins a new file for fills */
        assert_int_not_equal(ramet_session_checkpoint(session, true, NULL),
                             RAMET_OK);
    state_is_refused = false;
    image_page(image, 3, page);
    OK(ramet_session_fill(session, 1, 3, page, e));
    OK(ramet_session_checkpoint(session, true, e));
    OK(ramet_session_pin(session, e));
    store_expect(session, image, __LINE__);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
}

static void
adoption__interrupted_with_a_long_log__can_be_done_again(void **state)
{
    struct place *const p = *state;
    struct image *const image = random_image(7, 5u << 20);
    struct image *const other = random_image(8, 9 * PAGE);
    struct ramet_session *session;
    uint64_t changed = 0;
    pid_t child = fork();

    if (child == 0) {
        session = open_with(p, NULL);
        commit_image(session, image);
        commit_image(session, other); /* in the next generation */
        _exit(0);
    }
    wait_for(child);
    image_write(other, 0, "edited", 6);
    store_write_plain(p->path, other);
    child = fork();
    if (child == 0) {
        struct ramet_os os = *ramet_os_system();
        const struct ramet_replica_options options = {.os = &os};

        renames_left = 1;
        os.rename = rename_and_die;
        OK(ramet_replica_adopt_base(p->path, &options, &changed, e));
        _exit(1);
    }
    wait_for(child);
    OK(ramet_replica_adopt_base(p->path, NULL, &changed, e));
    session = open_with(p, NULL);
    OK(ramet_session_pin(session, e));
    store_expect(session, other, __LINE__);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
    image_unref(other);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(gate__shut_by_the_dead__opens_though_its_slot_is_taken),
        TEST(clean_close__of_a_tiny_file_cut_off__opens),
        TEST(checkpoint__dies_before_entries_are_swapped__fills_stay),
        TEST(checkpoint__refused_twice__fills_of_later_are_found),
        TEST(adoption__interrupted_with_a_long_log__can_be_done_again),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
