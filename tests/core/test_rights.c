/*
 * test_rights.c - what is made beside a file is open to whom the file is, and
 * no link is followed.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/rights.h"
#include "tests/core/os_fixture.h"

static void
folder_mode__enters_where_anything_may_be_done(void **state)
{
    static const struct {
        uint32_t file;
        uint32_t folder;
    } cases[] = {{0600, 0700}, {0644, 0755}, {0660, 0770}, {0640, 0750},
                 {0444, 0555}, {0620, 0730}, {0666, 0777}, {0, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(ramet_rights_folder_mode(cases[i].file),
                         cases[i].folder);
}

static void
make__has_the_mode_whatever_the_umask(void **state)
{
    struct os_fixture *const f = *state;
    static const uint32_t modes[] = {0600, 0640, 0664, 0666, 0444};
    static const mode_t masks[] = {0, 022, 077};

    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 3; k++) {
            const struct ramet_rights rights = {modes[i], geteuid(), getegid()};
            const mode_t before = umask(masks[k]);
            struct ramet_os_stat st;
            const int fd =
                ramet_rights_make(f->os, f->dirfd, "new", O_RDWR, &rights);

            umask(before);
            assert_true(fd >= 0);
            assert_int_equal(f->os->stat(NULL, fd, &st), 0);
            assert_int_equal(st.mode & 07777, modes[i]);
            assert_int_equal(
                ramet_rights_make(f->os, f->dirfd, "new", O_RDWR, &rights),
                -EEXIST);
            assert_int_equal(f->os->close(NULL, fd), 0);
            assert_int_equal(f->os->unlink(NULL, f->dirfd, "new", false), 0);
        }
}

static unsigned
somebody(void *ctx)
{
    (void)ctx;
    return 12345;
}

static int
refuse_chown(void *ctx, int fd, unsigned uid, unsigned gid)
{
    (void)ctx;
    (void)fd;
    (void)uid;
    (void)gid;
    return -EPERM;
}

static void
make__for_a_group_that_cannot_be_had__gives_another_no_more(void **state)
{
    struct os_fixture *const f = *state;
    struct ramet_os os = *f->os;
    static const uint32_t modes[][2] = {
        {0660, 0600}, {0640, 0600}, {0664, 0644}, {0666, 0666}};

    os.user = somebody;
    os.chown = refuse_chown;
    for (size_t i = 0; i < 4; i++) {
        const struct ramet_rights rights = {modes[i][0], 1, 54321};
        struct ramet_os_stat st;
        const int fd = ramet_rights_make(&os, f->dirfd, "new", O_RDWR, &rights);

        assert_true(fd >= 0);
        assert_int_equal(os.stat(NULL, fd, &st), 0);
        assert_int_equal(st.mode & 07777, modes[i][1]);
        assert_int_equal(os.close(NULL, fd), 0);
        assert_int_equal(os.unlink(NULL, f->dirfd, "new", false), 0);
    }
}

static unsigned
root(void *ctx)
{
    (void)ctx;
    return 0;
}

static int given;

static int
count_chown(void *ctx, int fd, unsigned uid, unsigned gid)
{
    (void)ctx;
    (void)fd;
    (void)gid;
    assert_int_equal(uid, 54321);
    given++;
    return 0;
}

static void
apply__by_root__gives_away_what_is_empty_or_everybody_s(void **state)
{
    struct os_fixture *const f = *state;
    struct ramet_os os = *f->os;
    const struct ramet_rights rights = {0666, 54321, 54321};
    static const struct {
        const char *content;
        unsigned mode;
        unsigned after;
        int given;
    } cases[] = {{"", 0600, 0666, 1},
                 {"secret", 0600, 0600, 0},
                 {"secret", 0640, 0640, 0},
                 {"public", 0644, 0666, 1}};

    os.user = root;
    os.chown = count_chown;
    for (size_t i = 0; i < 4; i++) {
        const size_t len = strlen(cases[i].content);
        struct ramet_os_stat st;

        assert_int_equal(os.truncate(NULL, f->fd, 0), 0);
        if (len > 0)
            assert_int_equal(ramet_os_write_full(&os, f->fd, cases[i].content,
                                                 len, 0, "file", NULL),
                             RAMET_OK);
        assert_int_equal(os.chmod(NULL, f->fd, cases[i].mode), 0);
        assert_int_equal(os.stat(NULL, f->fd, &st), 0);
        given = 0;
        assert_int_equal(
            ramet_rights_apply(&os, f->fd, &st, &rights, rights.mode), 0);
        assert_int_equal(given, cases[i].given);
        assert_int_equal(os.stat(NULL, f->fd, &st), 0);
        assert_int_equal(st.mode & 0777, cases[i].after);
    }
}

static void
apply__by_root__gives_away_no_folder_with_something_in_it(void **state)
{
    struct os_fixture *const f = *state;
    struct ramet_os os = *f->os;
    const struct ramet_rights rights = {0600, 54321, 54321};
    struct ramet_os_stat st;
    int fd;

    os.user = root;
    os.chown = count_chown;
    assert_int_equal(mkdirat(f->dirfd, "folder", 0700), 0);
    fd = ramet_rights_open_folder(&os, f->dirfd, "folder");
    assert_true(fd >= 0);
    assert_int_equal(os.stat(NULL, fd, &st), 0);
    given = 0;
    assert_int_equal(ramet_rights_apply(&os, fd, &st, &rights, 0700), 0);
    assert_int_equal(given, 1);
    assert_int_equal(mkdirat(fd, "in", 0700), 0);
    assert_int_equal(ramet_rights_apply(&os, fd, &st, &rights, 0700), 0);
    assert_int_equal(given, 1);
    assert_int_equal(unlinkat(fd, "in", AT_REMOVEDIR), 0);
    assert_int_equal(os.close(NULL, fd), 0);
    assert_int_equal(unlinkat(f->dirfd, "folder", AT_REMOVEDIR), 0);
}

static void
open_below__follows_no_link_on_the_way(void **state)
{
    struct os_fixture *const f = *state;
    int fd;

    assert_int_equal(mkdirat(f->dirfd, "a", 0700), 0);
    assert_int_equal(mkdirat(f->dirfd, "a/b", 0700), 0);
    assert_int_equal(linkat(f->dirfd, "file", f->dirfd, "a/b/c", 0), 0);
    assert_int_equal(symlinkat("a", f->dirfd, "to-a"), 0);
    assert_int_equal(symlinkat("c", f->dirfd, "a/b/to-c"), 0);
    fd = ramet_rights_open_below(f->os, f->dirfd, "a/b/c", O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(f->os->close(NULL, fd), 0);
    assert_int_equal(
        ramet_rights_open_below(f->os, f->dirfd, "to-a/b/c", O_RDONLY),
        -ENOTDIR);
    assert_int_equal(
        ramet_rights_open_below(f->os, f->dirfd, "a/b/to-c", O_RDONLY), -ELOOP);
    assert_int_equal(
        ramet_rights_open_below(f->os, f->dirfd, "a/none/c", O_RDONLY),
        -ENOENT);
    assert_int_equal(
        ramet_rights_open_below(f->os, f->dirfd, "file/c", O_RDONLY), -ENOTDIR);
    assert_int_equal(unlinkat(f->dirfd, "a/b/c", 0), 0);
    assert_int_equal(unlinkat(f->dirfd, "a/b/to-c", 0), 0);
    assert_int_equal(unlinkat(f->dirfd, "a/b", AT_REMOVEDIR), 0);
    assert_int_equal(unlinkat(f->dirfd, "a", AT_REMOVEDIR), 0);
}

static void
open__refuses_what_is_no_plain_file_of_one_name(void **state)
{
    struct os_fixture *const f = *state;
    char path[100];

    assert_int_equal(symlinkat("file", f->dirfd, "link"), 0);
    assert_int_equal(mkfifoat(f->dirfd, "fifo", 0600), 0);
    assert_int_equal(linkat(f->dirfd, "file", f->dirfd, "second", 0), 0);
    assert_int_equal(ramet_rights_open(f->os, f->dirfd, "link", O_RDWR),
                     -ELOOP);
    assert_int_equal(ramet_rights_open(f->os, f->dirfd, "fifo", O_RDWR),
                     -ENXIO);
    assert_int_equal(ramet_rights_open(f->os, f->dirfd, "fifo", O_RDONLY),
                     -ENXIO);
    assert_int_equal(ramet_rights_open(f->os, f->dirfd, "second", O_RDWR),
                     -EMLINK);
    assert_int_equal(ramet_rights_open(f->os, f->dirfd, "none", O_RDWR),
                     -ENOENT);
    assert_int_equal(unlinkat(f->dirfd, "second", 0), 0);
    assert_int_equal(
        f->os->close(NULL, ramet_rights_open(f->os, f->dirfd, "file", O_RDWR)),
        0);
    assert_int_equal(mkdirat(f->dirfd, "folder", 0700), 0);
    assert_int_equal(symlinkat("folder", f->dirfd, "to-folder"), 0);
    assert_int_equal(ramet_rights_open_folder(f->os, f->dirfd, "to-folder"),
                     -ENOTDIR);
    snprintf(path, sizeof(path), "%s/folder", f->path);
    assert_int_equal(rmdir(path), 0);
}

static void
replace_file__through_a_link__leaves_its_target_alone(void **state)
{
    struct os_fixture *const f = *state;
    struct ramet_os_stat st;

    assert_int_equal(symlinkat("file", f->dirfd, "r.tmp"), 0);
    assert_int_not_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", NULL, "new", 3, NULL),
        RAMET_OK);
    assert_int_equal(f->os->stat(NULL, f->fd, &st), 0);
    assert_int_equal(st.size_bytes, 0);
    assert_int_equal(unlinkat(f->dirfd, "r.tmp", 0), 0);
    assert_int_equal(symlinkat("file", f->dirfd, "r"), 0);
    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", NULL, "new", 3, NULL),
        RAMET_OK); /* the link is what was replaced */
    assert_int_equal(f->os->stat(NULL, f->fd, &st), 0);
    assert_int_equal(st.size_bytes, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, os_setup, os_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folder_mode__enters_where_anything_may_be_done),
        TEST(make__has_the_mode_whatever_the_umask),
        TEST(make__for_a_group_that_cannot_be_had__gives_another_no_more),
        TEST(apply__by_root__gives_away_what_is_empty_or_everybody_s),
        TEST(apply__by_root__gives_away_no_folder_with_something_in_it),
        TEST(open_below__follows_no_link_on_the_way),
        TEST(open__refuses_what_is_no_plain_file_of_one_name),
        TEST(replace_file__through_a_link__leaves_its_target_alone),
    };
    return cmocka_run_group_tests_name("rights", tests, NULL, NULL);
}
