/*
 * test_slots.c - the file whose content is replaced in place, and the
 * state in it, of this version and of those before.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/store/format/slots.h"
#include "client/store/format/state.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "tests/support/powercut.h"

#define SLOT RAMET_SLOT_SIZE
#define NAME "state"

static const uint8_t magic[8] = {'R', 'A', 'M', 'T', 'S', 'T', 'A', 3};

struct file {
    int dir_fd;
    uint8_t bytes[4 * SLOT];
    size_t size;
};

static void
look(struct file *f)
{
    const int fd = openat(f->dir_fd, NAME, O_RDONLY);
    ssize_t got;

    assert_true(fd >= 0);
    got = pread(fd, f->bytes, sizeof(f->bytes), 0);
    close(fd);
    assert_true(got >= 0);
    f->size = (size_t)got;
}

static void
change(struct file *f, const void *bytes, size_t len, off_t at)
{
    const int fd = openat(f->dir_fd, NAME, O_RDWR);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

/* In the folder of a replica, where access is taken from. */
static struct file *
make_file(struct place *p)
{
    struct file *const f = calloc(1, sizeof(*f));

    ramet_session_close(place_open(p, RAMET_OPEN_CREATE));
    f->dir_fd = open(p->dir, O_RDONLY | O_DIRECTORY);
    assert_true(f->dir_fd >= 0);
    assert_int_equal(unlinkat(f->dir_fd, NAME, 0), 0);
    return f;
}

static void
free_file(struct file *f)
{
    close(f->dir_fd);
    free(f);
}

static void
put(struct file *f, const char *text)
{
    OK(ramet_slots_write(ramet_os_system(), f->dir_fd, NAME, magic,
                         (const uint8_t *)text, strlen(text), e));
}

/* The file as it is in `bytes`. */
static void
expect_in(const struct file *f, const char *text)
{
    const uint8_t *content = NULL;
    size_t len = 0;
    unsigned copies;

    OK(ramet_slots_decode(magic, f->bytes, f->size, &content, &len, &copies,
                          e));
    assert_int_equal(len, strlen(text));
    assert_memory_equal(content, text, len);
}

static void
expect(struct file *f, const char *text)
{
    look(f);
    expect_in(f, text);
}

static void
slots__have_the_same_content__and_take_turns(void **state)
{
    struct file *const f = make_file(*state);

    put(f, "first");
    for (uint64_t number = 1; number < 6; number++) {
        char text[32];

        snprintf(text, sizeof(text), "content %d", (int)number);
        put(f, text);
        expect(f, text);
        assert_int_equal(f->size, 2 * SLOT);
        assert_memory_equal(f->bytes, f->bytes + SLOT, SLOT);
        assert_int_equal(ramet_get_le64(f->bytes + 8), number + 1);
    }
    free_file(f);
}

/* The bytes of a file with these slots: a crash between two writes, or in one. */
static void
slots__of_which_one_is_older_or_torn__give_the_newest_that_is_whole(
    void **state)
{
    struct file *const f = make_file(*state);
    struct file *const before = calloc(1, sizeof(*before));

    put(f, "old");
    look(f);
    *before = *f;
    put(f, "new and longer");
    look(f);
    for (unsigned slot = 0; slot < 2; slot++) {
        for (size_t torn = 0; torn <= SLOT; torn += 7) {
            struct file *const now = calloc(1, sizeof(*now));

            *now = *before;
            memcpy(now->bytes + slot * SLOT, f->bytes, torn);
            expect_in(now, torn < 24 + 14 + 8 ? "old" : "new and longer");
            free(now);
        }
    }
    free(before);
    free_file(f);
}

static void
slots__a_bit_flips_in_one__the_other_is_taken(void **state)
{
    struct file *const f = make_file(*state);

    put(f, "old");
    put(f, "content");
    look(f);
    for (size_t at = 0; at < 2 * SLOT; at++) {
        f->bytes[at] ^= 4;
        expect_in(f, "content"); /* never what was before */
        f->bytes[at] ^= 4;
    }
    f->bytes[30] ^= 1;
    f->bytes[SLOT + 30] ^= 1;
    assert_int_equal(ramet_slots_decode(magic, f->bytes, f->size,
                                        &(const uint8_t *){NULL}, &(size_t){0},
                                        &(unsigned){0}, NULL),
                     RAMET_ECORRUPT);
    free_file(f);
}

static bool sync_fails;

static int
datasync_or_fail(void *ctx, int fd)
{
    return sync_fails ? -EIO : ramet_os_system()->datasync(ctx, fd);
}

/* What may not be on disk is not read, and it is in the slot that is written to
 * next: the other one is all that is there for certain. */
static void
slots__sync_fails__what_was_there_counts_and_is_spared(void **state)
{
    struct file *const f = make_file(*state);
    struct ramet_os os = *ramet_os_system();
    struct file *const failed = calloc(1, sizeof(*failed));
    size_t kept;

    put(f, "first");
    put(f, "durable");
    os.datasync = datasync_or_fail;
    for (unsigned i = 0; i < 3; i++) {
        sync_fails = true;
        assert_int_equal(ramet_slots_write(&os, f->dir_fd, NAME, magic,
                                           (const uint8_t *)"lost", 4, NULL),
                         RAMET_EIO);
        sync_fails = false;
        expect(f, "durable");
    }
    *failed = *f;
    kept = ramet_get_le64(f->bytes + 8) % 2 * SLOT; /* the slot of the newest */
    sync_fails = true;
    assert_int_equal(ramet_slots_write(&os, f->dir_fd, NAME, magic,
                                       (const uint8_t *)"lost", 4, NULL),
                     RAMET_EIO);
    look(f);
    assert_memory_equal(f->bytes + kept, failed->bytes + kept, SLOT);
    put(f, "next");
    expect(f, "next");
    free(failed);
    free_file(f);
}

/* What is written into a slot, and syncs, in order. */
static char events[16];

static void
note_event(char what)
{
    const size_t len = strlen(events);

    assert_true(len + 1 < sizeof(events));
    events[len] = what;
}

static int
datasync_and_note(void *ctx, int fd)
{
    note_event('s');
    return ramet_os_system()->datasync(ctx, fd);
}

static ssize_t
pwritev_and_note(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                 uint64_t offset)
{
    note_event(offset == 0 ? '0' : '1');
    return ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

/* Content 3 is in one slot, and may be in memory alone: its successor goes where
 * content 2 is, which is all that is on disk for certain. */
static void
slots__whose_writer_died__are_synced_before_the_next(void **state)
{
    struct file *const f = make_file(*state);
    struct ramet_os os = *ramet_os_system();
    struct file *const before = calloc(1, sizeof(*before));

    put(f, "1");
    put(f, "2");
    look(f);
    *before = *f;
    put(f, "3");
    change(f, before->bytes, SLOT, 0); /* content 3 is in slot 1 */
    expect(f, "3");
    os.datasync = datasync_and_note;
    os.pwritev = pwritev_and_note;
    memset(events, 0, sizeof(events));
    OK(ramet_slots_write(&os, f->dir_fd, NAME, magic, (const uint8_t *)"4", 1,
                         e));
    assert_string_equal(events, "s0s1");
    memset(events, 0, sizeof(events));
    OK(ramet_slots_write(&os, f->dir_fd, NAME, magic, (const uint8_t *)"5", 1,
                         e));
    assert_string_equal(events, "1s0");
    expect(f, "5");
    free(before);
    free_file(f);
}

static void
content__longer_than_a_slot__is_a_file_of_its_own_and_comes_back(void **state)
{
    static char large[2 * SLOT];
    static char fits[SLOT - 32 + 1];
    struct file *const f = make_file(*state);

    memset(large, 'l', sizeof(large) - 1);
    memset(fits, 'f', sizeof(fits) - 1);
    put(f, "short");
    put(f, large);
    expect(f, large);
    put(f, large); /* again, and over it */
    expect(f, large);
    put(f, fits);
    expect(f, fits);
    assert_int_equal(f->size, 2 * SLOT);
    put(f, "short");
    expect(f, "short");
    free_file(f);
}

/* As that of a state with a long URL: it comes and goes by a rename. */
static const char *
nth_content(unsigned n)
{
    static char contents[4][2 * SLOT];
    static const size_t lengths[] = {2 * SLOT - 1, SLOT + 500, SLOT - 32,
                                     2 * SLOT - 9};

    memset(contents[n], (int)('a' + n), lengths[n]);
    return contents[n];
}

/* The contents, one over the other, until the power goes; how many were told to
 * be there. */
static unsigned
write_contents(const struct place *p, const struct ramet_os *os,
               const struct powercut *cut)
{
    const int dir_fd =
        os->open(os->ctx, AT_FDCWD, p->dir, O_RDONLY | O_DIRECTORY, 0);
    unsigned done = 0;

    assert_true(dir_fd >= 0);
    os->unlink(os->ctx, dir_fd, NAME, false);
    OK(ramet_slots_write(os, dir_fd, NAME, magic, (const uint8_t *)"old", 3,
                         e));
    powercut_arm(cut);
    while (done < 4 &&
           ramet_slots_write(os, dir_fd, NAME, magic,
                             (const uint8_t *)nth_content(done),
                             strlen(nth_content(done)), NULL) == RAMET_OK)
        done++;
    os->close(os->ctx, dir_fd);
    return done;
}

/* Which content is there: one that was told to be, or (true) the next. */
static bool
has_next(const struct place *p, unsigned done)
{
    const uint8_t *content = NULL;
    struct file f = {.dir_fd = open(p->dir, O_RDONLY | O_DIRECTORY)};
    size_t len = 0;
    unsigned copies;

    look(&f);
    close(f.dir_fd);
    OK(ramet_slots_decode(magic, f.bytes, f.size, &content, &len, &copies, e));
    if (done < 4 && len == strlen(nth_content(done)) &&
        memcmp(content, nth_content(done), len) == 0)
        return true;
    expect_in(&f, done > 0 ? nth_content(done - 1) : "old");
    return false;
}

static void
content__longer_than_a_slot__is_the_last_or_the_next_after_a_power_cut(
    void **state)
{
    struct place *const p = *state;
    struct faultos *faults;
    struct powercut cut;
    unsigned next = 0;

    ramet_session_close(place_open(p, RAMET_OPEN_CREATE));
    faults = faultos_new(p->dir);
    for (uint64_t seed = 0; seed < 8; seed++) {
        powercut_begin(&cut, faults);
        while (powercut_next(&cut)) {
            const unsigned done = write_contents(p, faultos_os(faults), &cut);

            powercut_strike_always(&cut, seed);
            next += has_next(p, done);
        }
    }
    assert_true(next >= 4); /* between a rename and its sync */
    faultos_free(faults);
}

/* ---- the state ------------------------------------------------------------ */

static size_t
encode_version_2(const struct file *f, uint8_t *out)
{
    size_t len = place_state_of_version_3(f->bytes, f->size, out + 8);

    memcpy(out, "RAMTSTA\2", 8);
    if ((ramet_get_le32(out + 8) & 512) != 0) { /* it has no kept log */
        ramet_put_le32(out + 8, ramet_get_le32(out + 8) & 511);
        len -= 8;
    }
    ramet_put_le64(out + 8 + len, ramet_hash64(out, 8 + len));
    return 8 + len + 8;
}

static size_t
encode_version_3(const struct file *f, uint8_t *out)
{
    const size_t len = place_state_of_version_3(f->bytes, f->size, out + 24);

    memcpy(out, "RAMTSTA\3", 8);
    ramet_put_le64(out + 8, 7);
    ramet_put_le32(out + 16, (uint32_t)len);
    ramet_put_le32(out + 20, 0);
    ramet_put_le64(out + 24 + len, ramet_hash64(out, 24 + len));
    memcpy(out + SLOT, out, SLOT);
    return (size_t)2 * SLOT;
}

/* It is opened, and the next state has the form of now. */
static void
read_earlier(struct place *p, size_t (*encode)(const struct file *, uint8_t *))
{
    struct image *const image = place_image(1, 9 * PLACE_PAGE + 77);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    struct file f = {.size = 0};
    uint8_t old[2 * SLOT] = {0};
    size_t len;

    OK(place_commit(session, image, e));
    ramet_session_close(session);
    f.dir_fd = open(p->dir, O_RDONLY | O_DIRECTORY);
    look(&f);
    len = encode(&f, old);
    assert_int_equal(unlinkat(f.dir_fd, NAME, 0), 0);
    close(openat(f.dir_fd, NAME, O_CREAT | O_RDWR, 0644));
    change(&f, old, len, 0);

    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    image->bytes[5000] ^= 1;
    OK(place_commit(session, image, e));
    ramet_session_close(session);
    look(&f);
    assert_int_equal(f.size, 2 * SLOT);
    assert_memory_equal(f.bytes, "RAMTSTA\4", 8);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    close(f.dir_fd);
    image_unref(image);
}

static void
state__of_version_2__is_read_and_then_has_slots(void **state)
{
    read_earlier(*state, encode_version_2);
}

static void
state__of_version_3__is_read_and_then_is_of_this(void **state)
{
    read_earlier(*state, encode_version_3);
}

static void
state__of_a_version_to_come__is_refused_as_that(void **state)
{
    struct place *const p = *state;
    struct ramet_err err = {.code = RAMET_OK};
    struct file f = {.size = 0};

    ramet_session_close(place_open(p, RAMET_OPEN_CREATE));
    f.dir_fd = open(p->dir, O_RDONLY | O_DIRECTORY);
    change(&f, "RAMTSTA\5", 8, 0);
    change(&f, "RAMTSTA\5", 8, SLOT);
    assert_int_equal(place_try_open(p->path, 0, &err), RAMET_EVERSION);
    assert_non_null(strstr(err.text, "version 5"));
    close(f.dir_fd);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(slots__have_the_same_content__and_take_turns),
        TEST(
            slots__of_which_one_is_older_or_torn__give_the_newest_that_is_whole),
        TEST(slots__a_bit_flips_in_one__the_other_is_taken),
        TEST(slots__sync_fails__what_was_there_counts_and_is_spared),
        TEST(slots__whose_writer_died__are_synced_before_the_next),
        TEST(content__longer_than_a_slot__is_a_file_of_its_own_and_comes_back),
        TEST(
            content__longer_than_a_slot__is_the_last_or_the_next_after_a_power_cut),
        TEST(state__of_version_2__is_read_and_then_has_slots),
        TEST(state__of_version_3__is_read_and_then_is_of_this),
        TEST(state__of_a_version_to_come__is_refused_as_that),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
