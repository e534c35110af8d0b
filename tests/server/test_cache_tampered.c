/*
 * test_cache_tampered.c - whatever is done to a cache's file on disk, between two servers
 * and under one that runs: what is read through it is what the store has.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/cache.h"
#include "tests/support/cmocka_all.h"

#define FIRST                                                                  \
    "volumes/0192b7c5-2d2a-7000-8000-000000000001/segments/"                   \
    "0192b7c5-2d2a-7000-8000-000000000002"
#define SECOND                                                                 \
    "volumes/0192b7c5-2d2a-7000-8000-000000000003/segments/"                   \
    "0192b7c5-2d2a-7000-8000-000000000004"
#define HEADER 64 /* cache_disk.c */
#define SLOT (HEADER + (off_t)RAMET_CACHE_BLOCK_BYTES)
#define SLOTS 24
#define SIZE ((size_t)(SLOTS / 2) * RAMET_CACHE_BLOCK_BYTES - 1000)
#define MEMORY (1u << 20)
#define DISK ((uint64_t)SLOTS * SLOT)

struct setup {
    char dir[64], path[96];
    struct ramet_objstore *store;
    struct ramet_cache *cache;
    uint8_t *content[2]; /* of FIRST and SECOND, unlike each other everywhere */
};

static const char *const keys[2] = {FIRST, SECOND};

static enum ramet_rc
open_cache(struct setup *s, struct ramet_err *err)
{
    const struct ramet_cache_options options = {
        .memory_bytes = MEMORY, .disk_dir = s->dir, .disk_bytes = DISK};

    return ramet_cache_open(s->store, &options, &s->cache, err);
}

static void
reopen(struct setup *s)
{
    struct ramet_err err;

    ramet_cache_close(s->cache);
    s->cache = NULL;
    if (open_cache(s, &err) != RAMET_OK)
        fail_msg("%s", err.text);
}

/* All of both, block after block and across their borders. */
static void
read_all(struct setup *s)
{
    static uint8_t buf[20000];
    struct ramet_err err;

    for (unsigned o = 0; o < 2; o++)
        for (size_t at = 0; at < SIZE; at += 13000) {
            const size_t len =
                SIZE - at < sizeof(buf) ? SIZE - at : sizeof(buf);
            size_t got;

            assert_int_equal(ramet_objstore_read(ramet_cache_store(s->cache),
                                                 keys[o], at, buf, len, &got,
                                                 &err),
                             RAMET_OK);
            assert_int_equal(got, len);
            assert_memory_equal(buf, s->content[o] + at, len);
        }
}

static void
begin(struct setup *s)
{
    struct ramet_err err;

    memset(s, 0, sizeof(*s));
    strcpy(s->dir, "/tmp/ramet-tampered-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->path, sizeof(s->path), "%s/blocks", s->dir);
    assert_int_equal(ramet_memstore_open(&s->store, &err), RAMET_OK);
    for (unsigned o = 0; o < 2; o++) {
        struct iovec part;

        s->content[o] = malloc(SIZE);
        assert_non_null(s->content[o]);
        for (size_t i = 0; i < SIZE; i++)
            s->content[o][i] = (uint8_t)((i * 31 + i / 255) * 2 + o);
        part = (struct iovec){s->content[o], SIZE};
        assert_int_equal(ramet_objstore_put(s->store, keys[o], &part, 1, &err),
                         RAMET_OK);
    }
    assert_int_equal(open_cache(s, &err), RAMET_OK);
    read_all(s);
}

static void
end(struct setup *s)
{
    char command[128];

    ramet_cache_close(s->cache);
    ramet_objstore_close(s->store);
    free(s->content[0]);
    free(s->content[1]);
    (void)snprintf(command, sizeof(command), "rm -rf %s", s->dir);
    assert_int_equal(system(command), 0);
}

/* ---- what is done to the file ----------------------------------------------- */

static void
copy_bytes(int fd, off_t from, off_t to, size_t len)
{
    uint8_t *const bytes = malloc(len);

    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, len, from), len);
    assert_int_equal(pwrite(fd, bytes, len, to), len);
    free(bytes);
}

static void
empty_it(int fd)
{
    assert_int_equal(ftruncate(fd, 0), 0);
}

static void
cut_in_a_header(int fd)
{
    assert_int_equal(ftruncate(fd, 3 * SLOT + HEADER / 2), 0);
}

static void
cut_in_a_block(int fd)
{
    assert_int_equal(ftruncate(fd, 5 * SLOT + SLOT / 2), 0);
}

static void
lengthen_it(int fd)
{
    assert_int_equal(ftruncate(fd, 100 * SLOT), 0);
}

static void
fill_with_zeros(int fd)
{
    empty_it(fd);
    assert_int_equal(ftruncate(fd, SLOTS * SLOT), 0);
}

static void
fill_with_noise(int fd)
{
    unsigned seed = 5;

    for (off_t at = 0; at < SLOTS * SLOT; at += 4) {
        const int noise = rand_r(&seed);

        assert_int_equal(pwrite(fd, &noise, 4, at), 4);
    }
}

/* Each bit of a header's, one in each slot. */
static void
flip_in_headers(int fd)
{
    for (off_t i = 0; i < SLOTS; i++) {
        const off_t at = i * SLOT + 8 + i * 2;
        uint8_t byte;

        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (uint8_t)(1u << i % 8);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
}

static void
flip_in_blocks(int fd)
{
    for (off_t i = 0; i < SLOTS; i++) {
        const off_t at = i * SLOT + HEADER + i * 600;
        uint8_t byte;

        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (uint8_t)(1u << i % 8);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
}

/* Each block under the header of the next one: of another object, or another place. */
static void
shift_blocks(int fd)
{
    for (off_t i = SLOTS - 1; i > 0; i--)
        copy_bytes(fd, (i - 1) * SLOT + HEADER, i * SLOT + HEADER,
                   RAMET_CACHE_BLOCK_BYTES);
}

static void
shift_headers(int fd)
{
    for (off_t i = SLOTS - 1; i > 0; i--)
        copy_bytes(fd, (i - 1) * SLOT, i * SLOT, HEADER);
}

/* Whole slots, each right in itself. */
static void
shift_slots(int fd)
{
    for (off_t i = SLOTS - 1; i > 0; i--)
        copy_bytes(fd, (i - 1) * SLOT, i * SLOT, (size_t)SLOT);
}

static void
one_slot_everywhere(int fd)
{
    for (off_t i = 0; i < SLOTS; i++)
        if (i != 4)
            copy_bytes(fd, 4 * SLOT, i * SLOT, (size_t)SLOT);
}

/* No longer than it says: what is missing is no end of the object. */
static void
shorten_blocks(int fd)
{
    for (off_t i = 0; i < SLOTS; i++) {
        const uint8_t len[4] = {100, 0, 0, 0};

        assert_int_equal(pwrite(fd, len, sizeof(len), i * SLOT + 40), 4);
    }
}

static void
lengths_beyond_all(int fd)
{
    for (off_t i = 0; i < SLOTS; i++)
        assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, i * SLOT + 40), 4);
}

static const struct {
    const char *name;
    void (*tamper)(int fd);
} cases[] = {
    {"empty", empty_it},
    {"cut in a header", cut_in_a_header},
    {"cut in a block", cut_in_a_block},
    {"longer", lengthen_it},
    {"zeros", fill_with_zeros},
    {"noise", fill_with_noise},
    {"flipped headers", flip_in_headers},
    {"flipped blocks", flip_in_blocks},
    {"blocks of other headers", shift_blocks},
    {"headers of other blocks", shift_headers},
    {"slots moved", shift_slots},
    {"one slot everywhere", one_slot_everywhere},
    {"shorter blocks", shorten_blocks},
    {"lengths beyond all", lengths_beyond_all},
};

static void
tamper(struct setup *s, void (*with)(int fd))
{
    const int fd = open(s->path, O_RDWR);

    assert_true(fd >= 0);
    with(fd);
    (void)close(fd);
}

/* ---- the tests ---------------------------------------------------------------- */

static void
tampered_cache__is_what_the_store_has_after_a_restart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct setup s;

        print_message("%s\n", cases[i].name);
        begin(&s);
        ramet_cache_close(s.cache);
        s.cache = NULL;
        tamper(&s, cases[i].tamper);
        reopen(&s);
        read_all(&s);
        read_all(&s);
        reopen(&s); /* and of what was kept since */
        read_all(&s);
        end(&s);
    }
}

/* Memory holds none of it: the server has just begun. */
static void
tampered_cache__is_what_the_store_has_while_it_runs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct setup s;

        print_message("%s\n", cases[i].name);
        begin(&s);
        reopen(&s);
        tamper(&s, cases[i].tamper);
        read_all(&s);
        read_all(&s);
        end(&s);
    }
}

/* The file is gone, or what is there is none: refused with its name, or made anew. */
static void
tampered_cache__that_is_no_file_is_named(void **state)
{
    struct ramet_err err;
    struct setup s;
    struct stat st;
    char other[96];

    (void)state;
    begin(&s);
    ramet_cache_close(s.cache);
    s.cache = NULL;
    assert_int_equal(unlink(s.path), 0);
    assert_int_equal(mkdir(s.path, 0700), 0);
    assert_int_not_equal(open_cache(&s, &err), RAMET_OK);
    assert_non_null(strstr(err.text, s.path));
    assert_int_equal(rmdir(s.path), 0);
    (void)snprintf(other, sizeof(other), "%s/other", s.dir);
    assert_int_equal(close(open(other, O_CREAT | O_WRONLY, 0600)), 0);
    assert_int_equal(symlink(other, s.path), 0);
    assert_int_not_equal(open_cache(&s, &err), RAMET_OK);
    assert_non_null(strstr(err.text, s.path));
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_size, 0); /* nor was it written */
    assert_int_equal(unlink(s.path), 0);
    assert_int_equal(open_cache(&s, &err), RAMET_OK);
    read_all(&s);
    end(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tampered_cache__is_what_the_store_has_after_a_restart),
        cmocka_unit_test(tampered_cache__is_what_the_store_has_while_it_runs),
        cmocka_unit_test(tampered_cache__that_is_no_file_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
