/*
 * test_mark.c - the mark on the base: in which order it is written, synced, and
 * what it covers comes after it.
 *
 * What is done to the base is noted as letters: M the mark was written, P a page,
 * S all was synced, F a sync failed.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/format/state.h"
#include "client/store/shared/index.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"

#define DONE_MAX 256u

static char done[DONE_MAX + 1];
static bool fails; /* the next sync of the base */

static void
note(char letter)
{
    const size_t len = strlen(done);

    assert_in_range(len, 0, DONE_MAX - 1);
    done[len] = letter;
    done[len + 1] = '\0';
}

static bool
is_base(int fd)
{
    static const char end[] = "/app.db";
    char link[64];
    char path[512];
    ssize_t got;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    got = readlink(link, path, sizeof(path) - 1);
    if (got < (ssize_t)sizeof(end))
        return false;
    path[got] = '\0';
    return strcmp(path + got - strlen(end), end) == 0;
}

static ssize_t
noting_pwritev(void *ctx, int fd, const struct iovec *iov, int count,
               uint64_t offset)
{
    if (is_base(fd))
        note(offset == 0 ? 'M' : 'P');
    return ramet_os_system()->pwritev(ctx, fd, iov, count, offset);
}

static int
end_of_sync(int fd, int result)
{
    if (!is_base(fd))
        return result;
    note(fails ? 'F' : 'S');
    if (fails)
        result = -EIO;
    fails = false;
    return result;
}

static int
noting_datasync(void *ctx, int fd)
{
    return end_of_sync(fd, ramet_os_system()->datasync(ctx, fd));
}

static int
noting_sync(void *ctx, int fd)
{
    return end_of_sync(fd, ramet_os_system()->sync(ctx, fd));
}

static struct ramet_os
noting_os(void)
{
    struct ramet_os os = *ramet_os_system();

    os.pwritev = noting_pwritev;
    os.datasync = noting_datasync;
    os.sync = noting_sync;
    done[0] = '\0';
    fails = false;
    return os;
}

static void
mark__whose_sync_failed__is_written_and_synced_before_a_page(void **state)
{
    struct place *const p = *state;
    const struct ramet_os os = noting_os();
    struct image *const image = place_image(1, 5 * PLACE_PAGE);
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, &os);

    OK(place_commit(session, image, e));
    fails = true;
    assert_int_equal(ramet_session_checkpoint(session, true, NULL), RAMET_EIO);
    assert_false(fails);
    assert_null(strchr(done, 'P')); /* it was the mark's */
    done[0] = '\0';
    OK(ramet_session_checkpoint(session, true, e));
    assert_memory_equal(done, "MSP", 3);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

static void
page__after_a_sync_that_failed__is_covered_by_a_mark_that_lasts(void **state)
{
    struct place *const p = *state;
    const struct ramet_os os = noting_os();
    struct image *const image = place_image(1, 5 * PLACE_PAGE);
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, &os);

    OK(place_commit(session, image, e));
    OK(ramet_session_checkpoint(session, true, e));
    image->bytes[3 * PLACE_PAGE] ^= 1;
    OK(place_commit(session, image, e));
    /* The pages': the mark may have gone with them. */
    done[0] = '\0';
    while (strchr(done, 'F') == NULL) {
        fails = strchr(done, 'P') != NULL;
        if (ramet_session_checkpoint(session, true, NULL) == RAMET_OK) {
            image->bytes[3 * PLACE_PAGE] ^= 2;
            OK(place_commit(session, image, e));
        }
    }
    done[0] = '\0';
    OK(ramet_session_checkpoint(session, true, e));
    assert_memory_equal(done, "MSP", 3);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* Without checksums nothing else would tell whose the base is. */
static void
mark__of_a_base_without_checksums__lasts_before_a_commit(void **state)
{
    struct place *const p = *state;
    const struct ramet_os os = noting_os();
    struct image *const image = place_image(1, 5 * PLACE_PAGE);
    struct ramet_session *session;

    store_write_plain(p->path, image);
    session = place_open_on(p, RAMET_OPEN_ADOPT, &os);
    atomic_store(&session->replica->head->header.base.is_unsummed, 1);
    done[0] = '\0';
    image->bytes[3 * PLACE_PAGE] ^= 1;
    OK(place_commit(session, image, e));
    assert_memory_equal(done, "MS", 2);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(mark__whose_sync_failed__is_written_and_synced_before_a_page),
        T(page__after_a_sync_that_failed__is_covered_by_a_mark_that_lasts),
        T(mark__of_a_base_without_checksums__lasts_before_a_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
