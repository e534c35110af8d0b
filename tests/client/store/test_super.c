/*
 * test_super.c - super-journals after a crash: what cannot be looked at decides
 * nothing, and deletes nothing.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/os.h"

#define PAGES 8u

/* ---- a system that refuses to tell of one file ------------------------------- */

static const char *refused_end; /* of the name of that file; NULL: none is */
static int refused_why;

static bool
is_refused(const char *path)
{
    const size_t len = strlen(path);
    const size_t end = refused_end != NULL ? strlen(refused_end) : 0;

    return refused_end != NULL && len >= end &&
           strcmp(path + len - end, refused_end) == 0;
}

static int
refuse_stat_at(void *ctx, int dirfd, const char *path,
               struct ramet_os_stat *out)
{
    return is_refused(path) ? -refused_why
                            : ramet_os_system()->stat_at(ctx, dirfd, path, out);
}

static int
refuse_open(void *ctx, int dirfd, const char *path, int flags, unsigned mode)
{
    return is_refused(path)
               ? -refused_why
               : ramet_os_system()->open(ctx, dirfd, path, flags, mode);
}

static struct ramet_os
refusing_os(void)
{
    struct ramet_os os = *ramet_os_system();

    os.stat_at = refuse_stat_at;
    os.open = refuse_open;
    return os;
}

static enum ramet_rc
try_open(struct place *p, const struct ramet_os *os, struct ramet_err *err)
{
    const struct ramet_replica_options options = {
        .os = os, .kind = RAMET_KIND_BLOB, .page_size = PLACE_PAGE};
    struct ramet_session *session;
    const enum ramet_rc rc =
        ramet_session_open(p->path, &options, &session, err);

    if (rc == RAMET_OK)
        ramet_session_close(session);
    return rc;
}

/* ---- a transaction across databases, whose writer died ------------------------ */

struct crash {
    char super[200];
    char other[200]; /* the journal of another database in it, a native one */
    struct image *before, *after;
};

static void
write_file(const char *path, const void *bytes, size_t len)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

/* Journals that the super-journal lists, each with its NUL. */
static void
write_super(const struct place *p, const struct crash *crash)
{
    char list[500];
    const int first = snprintf(list, sizeof(list), "%s-journal", p->path) + 1;
    const int second = snprintf(list + first, sizeof(list) - (size_t)first,
                                "%s", crash->other) +
                       1;

    write_file(crash->super, list, (size_t)(first + second));
}

/* As SQLite has it at the end of a journal that was begun; or of another replica,
 * whose journal has nothing else. */
static void
write_other(const struct crash *crash, bool is_native)
{
    static const uint8_t magic[8] = {0xd9, 0xd5, 0x05, 0xf9,
                                     0x20, 0xa1, 0x63, 0xd7};
    const size_t len = strlen(crash->super);
    const size_t at = is_native ? 100 : 4; /* a header, or a page number */
    uint8_t bytes[600] = {is_native ? 0xd9 : 0};
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum += (uint32_t)crash->super[i];
    memcpy(bytes + at, crash->super, len);
    ramet_put_be32(bytes + at + len, (uint32_t)len);
    ramet_put_be32(bytes + at + 4 + len, sum);
    memcpy(bytes + at + 8 + len, magic, sizeof(magic));
    write_file(crash->other, bytes, at + 16 + len);
}

static void
prepare_and_die(struct place *p, const struct crash *crash)
{
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_session *const writer = place_open_in_child(p);

        child_require(
            ramet_session_pin(writer, NULL) == RAMET_OK &&
                ramet_session_reserve(writer, NULL) == RAMET_OK &&
                ramet_session_write(writer, 0, crash->after->bytes,
                                    crash->after->size, NULL) == RAMET_OK &&
                ramet_session_prepare(writer, crash->super, NULL) == RAMET_OK &&
                ramet_session_sync(writer, NULL) == RAMET_OK,
            "prepare", NULL);
        _exit(0);
    }
    child_await(child);
}

static void
crash_begin(struct place *p, struct crash *crash)
{
    struct ramet_session *session;

    snprintf(crash->super, sizeof(crash->super), "%s-mj012345678", p->path);
    snprintf(crash->other, sizeof(crash->other), "%s/other.db-journal",
             p->folder);
    crash->before = place_image(1, PAGES * PLACE_PAGE);
    crash->after = place_image(2, PAGES * PLACE_PAGE);
    session = place_open(p, RAMET_OPEN_CREATE);
    OK(place_commit(session, crash->before, e));
    ramet_session_close(session);
    write_super(p, crash);
    prepare_and_die(p, crash);
}

static void
crash_end(struct place *p, struct crash *crash, const struct image *expected)
{
    struct ramet_session *const session = place_open(p, 0);

    place_expect(session, expected, __LINE__);
    ramet_session_close(session);
    image_unref(crash->before);
    image_unref(crash->after);
}

/* ---- the tests ----------------------------------------------------------------- */

/* Is it there or not? As long as nobody knows, the transaction is neither
 * committed nor taken back: either might be the contrary of what the other
 * databases of it did. */
static void
super_journal__that_cannot_be_looked_at__decides_nothing(void **state)
{
    static const int errors[] = {EACCES, EIO, ELOOP, ENOMEM, ESTALE, EPERM};
    struct place *const p = *state;
    const struct ramet_os os = refusing_os();

    for (unsigned gone = 0; gone < 2; gone++) {
        struct crash crash;
        struct ramet_err err;

        crash_begin(p, &crash);
        if (gone)
            assert_int_equal(unlink(crash.super), 0);
        refused_end = "-mj012345678";
        for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
            refused_why = errors[i];
            assert_int_not_equal(try_open(p, &os, &err), RAMET_OK);
            assert_non_null(strstr(err.text, "super-journal"));
        }
        refused_end = NULL;
        crash_end(p, &crash, gone ? crash.after : crash.before);
    }
}

/* The other database is rolled back only as long as the super-journal is there, by
 * whoever comes first to it: so it stays while nobody knows that none needs it. */
static void
super_journal__of_a_journal_that_cannot_be_read__stays(void **state)
{
    static const int errors[] = {EACCES, EIO, EMFILE, ENOMEM};
    struct place *const p = *state;
    const struct ramet_os os = refusing_os();
    struct ramet_err err;

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct crash crash;

        crash_begin(p, &crash);
        write_other(&crash, true);
        refused_end = "other.db-journal";
        refused_why = errors[i];
        assert_int_equal(try_open(p, &os, &err), RAMET_OK);
        refused_end = NULL;
        assert_int_equal(access(crash.super, F_OK), 0);
        crash_end(p, &crash, crash.before);
        assert_int_equal(unlink(crash.super), 0);
        assert_int_equal(unlink(crash.other), 0);
    }
}

static void
super_journal__that_a_journal_points_to__stays_until_it_does_not(void **state)
{
    struct place *const p = *state;

    for (unsigned needed = 0; needed < 3; needed++) {
        struct crash crash;

        crash_begin(p, &crash);
        if (needed != 0)
            write_other(&crash, needed == 1);
        crash_end(p, &crash, crash.before);
        assert_int_equal(access(crash.super, F_OK), needed != 0 ? 0 : -1);
    }
}

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(super_journal__that_cannot_be_looked_at__decides_nothing),
        TEST(super_journal__of_a_journal_that_cannot_be_read__stays),
        TEST(super_journal__that_a_journal_points_to__stays_until_it_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
