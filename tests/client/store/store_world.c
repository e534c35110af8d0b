/*
 * store_world.c - see store_world.h.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_world.h"

#include "client/store/exchange.h"

#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const struct ramet_vid store_volume = {
    {{1, 2, 3, 4, 5, 6, 0x70, 8, 0x90, 10, 11, 12, 13, 14, 15, 16}}};

/* ---- random numbers -------------------------------------------------------- */

uint64_t
store_random(uint64_t *rng)
{
    uint64_t z = (*rng += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint64_t
store_below(uint64_t *rng, uint64_t bound)
{
    return store_random(rng) % bound;
}

bool
store_chance(uint64_t *rng, unsigned percent)
{
    return store_below(rng, 100) < percent;
}

void
store_random_bytes(uint64_t *rng, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        const uint64_t word = store_random(rng);

        memcpy(out + i, &word, len - i < 8 ? len - i : 8);
    }
}

uint64_t
store_seed(const char *test)
{
    const char *const text = getenv("RAMET_TEST_SEED");
    uint64_t seed = 1;

    if (text != NULL && strcmp(text, "clock") == 0) {
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        seed = ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 +
                (uint64_t)getpid()) %
               1000000000;
    } else if (text != NULL) {
        seed = strtoull(text, NULL, 10);
    }
    printf("%s: RAMET_TEST_SEED=%llu\n", test, (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

double
store_seconds(double usual)
{
    const char *const text = getenv("RAMET_TEST_SECONDS");

    return text != NULL ? strtod(text, NULL) : usual;
}

double
store_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- images ---------------------------------------------------------------- */

static void
reserve(struct image *image, uint64_t size)
{
    uint64_t capacity = image->capacity < 4096 ? 4096 : image->capacity;

    if (size <= image->capacity)
        return;
    while (capacity < size)
        capacity *= 2;
    image->bytes = realloc(image->bytes, capacity);
    if (image->bytes == NULL)
        abort();
    memset(image->bytes + image->capacity, 0, capacity - image->capacity);
    image->capacity = capacity;
}

struct image *
image_new(uint64_t size, uint32_t page_size)
{
    struct image *const image = calloc(1, sizeof(*image));

    if (image == NULL)
        abort();
    image->refs = 1;
    image->page_size = page_size;
    reserve(image, size == 0 ? 1 : size);
    image->size = size;
    return image;
}

struct image *
image_copy(const struct image *image)
{
    struct image *const copy = image_new(image->size, image->page_size);

    memcpy(copy->bytes, image->bytes, image->size);
    return copy;
}

struct image *
image_ref(struct image *image)
{
    image->refs++;
    return image;
}

void
image_unref(struct image *image)
{
    if (image == NULL || --image->refs > 0)
        return;
    free(image->bytes);
    free(image);
}

void
image_resize(struct image *image, uint64_t size)
{
    reserve(image, size);
    if (size < image->size)
        memset(image->bytes + size, 0, image->size - size);
    image->size = size;
}

void
image_write(struct image *image, uint64_t offset, const void *buf, uint64_t len)
{
    if (offset + len > image->size)
        image_resize(image, offset + len);
    memcpy(image->bytes + offset, buf, len);
}

uint32_t
image_pages(const struct image *image)
{
    return image->page_size == 0
               ? 0
               : (uint32_t)((image->size + image->page_size - 1) /
                            image->page_size);
}

void
image_page(const struct image *image, uint32_t pgno, uint8_t *out)
{
    const uint64_t at = (uint64_t)(pgno - 1) * image->page_size;
    uint64_t got = at < image->size ? image->size - at : 0;

    if (got > image->page_size)
        got = image->page_size;
    memcpy(out, image->bytes + (got == 0 ? 0 : at), got);
    memset(out + got, 0, image->page_size - got);
}

void
image_diff(const struct image *from, const struct image *to,
           struct ramet_pageset *out_set)
{
    uint8_t a[65536];
    uint8_t b[65536];

    ramet_pageset_clear(out_set);
    for (uint32_t pgno = 1; pgno <= image_pages(to); pgno++) {
        bool differs = from->page_size != to->page_size;

        if (!differs) {
            image_page(from, pgno, a);
            image_page(to, pgno, b);
            differs = memcmp(a, b, to->page_size) != 0;
        }
        /* The allocation that is to fail may be this one. */
        if (differs && ramet_pageset_add(out_set, pgno) != RAMET_OK &&
            ramet_pageset_add(out_set, pgno) != RAMET_OK)
            abort();
    }
}

uint32_t
image_named_page_size(const struct image *image)
{
    uint32_t size;

    if (image->size < 18 || memcmp(image->bytes, "SQLite format 3", 16) != 0)
        return 0;
    size = (uint32_t)image->bytes[16] << 8 | image->bytes[17];
    if (size == 1)
        size = 65536;
    return size >= 512 && (size & (size - 1)) == 0 ? size : 0;
}

void
image_put_header(struct image *image, uint32_t page_size, uint32_t counter)
{
    uint8_t header[28] = "SQLite format 3";

    header[16] = (uint8_t)(page_size >> 8);
    header[17] = page_size == 65536 ? 1 : 0;
    header[24] = (uint8_t)(counter >> 24);
    header[25] = (uint8_t)(counter >> 16);
    header[26] = (uint8_t)(counter >> 8);
    header[27] = (uint8_t)counter;
    image_write(image, 0, header, sizeof(header));
}

/* ---- the remote ------------------------------------------------------------ */

/* The one last made: for messages. */
static const struct remote *last_remote;

void
remote_init(struct remote *remote, uint64_t seed)
{
    last_remote = remote;
    memset(remote, 0, sizeof(*remote));
    remote->rng = seed;
    remote->brings_neighbours = true;
    remote->at[0] = image_new(0, 0);
    pthread_mutex_init(&remote->mutex, NULL);
}

void
remote_done(struct remote *remote)
{
    last_remote = NULL;
    for (uint64_t lsn = 0; lsn <= remote->newest; lsn++)
        image_unref(remote->at[lsn]);
    pthread_mutex_destroy(&remote->mutex);
}

uint64_t
remote_add(struct remote *remote, struct image *image)
{
    assert_true(remote->newest + 1 < REMOTE_MAX);
    remote->at[++remote->newest] = image;
    return remote->newest;
}

struct ramet_point
remote_at(const struct remote *remote, uint64_t lsn)
{
    struct ramet_point at = {.lsn = lsn};

    (void)remote; /* all of them have one line */
    memset(at.hash.bytes, 0x40, sizeof(at.hash.bytes));
    memcpy(at.hash.bytes, &lsn, sizeof(lsn));
    return at;
}

struct ramet_remote_point
remote_point(const struct remote *remote, uint64_t lsn)
{
    const struct image *const image = remote->at[lsn];
    struct ramet_remote_point point = {
        .lsn = lsn,
        .time_ms = 1700000000000 + lsn,
        .page_size = image->page_size,
        .page_count = image_pages(image),
        .byte_length = image->size,
    };

    point.hash = remote_at(remote, lsn).hash;
    return point;
}

static enum ramet_rc
deliver(const struct image *image, uint32_t pgno,
        struct ramet_page_request *sink, struct ramet_err *err)
{
    uint8_t page[65536];

    image_page(image, pgno, page);
    return ramet_fetch_deliver(sink, pgno, page, err);
}

enum ramet_rc
remote_fetch(void *ctx, const struct ramet_point *at, uint32_t pgno,
             struct ramet_page_request *sink, struct ramet_err *err)
{
    struct remote *const remote = ctx;
    const uint64_t lsn = at->lsn;
    struct ramet_point own;
    const struct image *image;
    uint32_t first = pgno;
    uint32_t last = pgno;
    bool is_down;
    enum ramet_rc rc = RAMET_OK;

    pthread_mutex_lock(&remote->mutex);
    remote->asked++;
    is_down = remote->is_down;
    if (lsn == 0 || lsn > remote->newest ||
        pgno > image_pages(remote->at[lsn]) || pgno == 0) {
        fprintf(stderr, "the remote has no page %u of LSN %llu\n", pgno,
                (unsigned long long)lsn);
        abort();
    }
    own = remote_at(remote, lsn);
    if (!ramet_point_equal(at, &own)) {
        fprintf(stderr, "page %u is asked for at another LSN %llu\n", pgno,
                (unsigned long long)lsn);
        abort();
    }
    image = remote->at[lsn];
    if (remote->brings_neighbours && store_chance(&remote->rng, 50)) {
        const uint32_t back = (uint32_t)store_below(&remote->rng, 4);

        first = pgno > back ? pgno - back : 1;
        last = pgno + (uint32_t)store_below(&remote->rng, 4);
        if (last > image_pages(image))
            last = image_pages(image);
    }
    pthread_mutex_unlock(&remote->mutex);
    if (is_down)
        return RAMET_FAIL(err, RAMET_EUNREACHABLE, "the remote is down");
    for (uint32_t p = first; rc == RAMET_OK && p <= last; p++)
        rc = deliver(image, p, sink, err);
    return rc;
}

/* ---- folders --------------------------------------------------------------- */

#define FOLDER_PREFIX "ramet-store-"

/* "ramet-store-<pid>-…" of a process of ours that is not there any more. */
static int
is_left_over(const struct dirent *entry)
{
    char *end;
    long pid;

    if (strncmp(entry->d_name, FOLDER_PREFIX, sizeof(FOLDER_PREFIX) - 1) != 0)
        return 0;
    pid = strtol(entry->d_name + sizeof(FOLDER_PREFIX) - 1, &end, 10);
    return *end == '-' && pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* What tests left that were killed, or failed where they stood. */
static void
sweep(const char *base)
{
    struct dirent **entries = NULL;
    const int count = scandir(base, &entries, is_left_over, NULL);

    for (int i = 0; i < count; i++) {
        char path[512];

        snprintf(path, sizeof(path), "%s/%s", base, entries[i]->d_name);
        store_folder_remove(path);
        free(entries[i]);
    }
    free(entries);
}

void
store_folder_make(char out[128])
{
    static bool is_swept; /* by this process */
    const char *base = getenv("RAMET_TEST_TMP");

    if (base == NULL)
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    if (!is_swept)
        sweep(base);
    is_swept = true;
    snprintf(out, 128, "%s/" FOLDER_PREFIX "%ld-XXXXXX", base, (long)getpid());
    if (mkdtemp(out) == NULL) {
        perror(out);
        abort();
    }
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void
store_folder_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct image *
store_read_plain(const char *path, uint32_t page_size)
{
    FILE *const file = fopen(path, "rb");
    struct image *image;
    struct stat st;

    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &st), 0);
    image = image_new((uint64_t)st.st_size, page_size);
    assert_int_equal(fread(image->bytes, 1, image->size, file), image->size);
    fclose(file);
    return image;
}

void
store_write_plain(const char *path, const struct image *image)
{
    FILE *const file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(image->bytes, 1, image->size, file), image->size);
    assert_int_equal(fclose(file), 0);
}

/* ---- comparisons ----------------------------------------------------------- */

/* *out_at: where they differ first; the size if they don't. */
static enum ramet_rc
find_difference(struct ramet_session *session, const struct image *image,
                uint64_t *out_at, struct ramet_err *err)
{
    const uint64_t size = ramet_session_size(session);
    uint8_t *const buf = malloc(size + 1);
    size_t got = 0;
    enum ramet_rc rc;

    if (buf == NULL)
        abort();
    rc = ramet_session_read(session, 0, buf, size, &got, err);
    if (rc == RAMET_OK && got != size)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "a short read of %zu", got);
    if (rc == RAMET_OK) {
        uint64_t at = 0;

        while (at < size && at < image->size && buf[at] == image->bytes[at])
            at++;
        *out_at = at;
    }
    free(buf);
    return rc;
}

enum ramet_rc
store_compare(struct ramet_session *session, const struct image *image,
              bool *out_equal, struct ramet_err *err)
{
    uint64_t at = 0;
    enum ramet_rc rc;

    *out_equal = false;
    if (ramet_session_size(session) != image->size)
        return RAMET_OK;
    rc = find_difference(session, image, &at, err);
    *out_equal = rc == RAMET_OK && at == image->size;
    return rc;
}

/* Where else the bytes of a wrong page were seen: for whoever looks into it. */
static void
tell_origin(struct ramet_session *session, const struct image *image,
            uint64_t at)
{
    const struct ramet_snapshot *const s = ramet_session_snapshot(session);
    uint8_t page[65536];
    uint8_t other[65536];
    size_t got;
    uint32_t pgno;

    if (image->page_size == 0 || last_remote == NULL)
        return;
    pgno = (uint32_t)(at / image->page_size) + 1;
    if (ramet_session_read(session, (uint64_t)(pgno - 1) * image->page_size,
                           page, image->page_size, &got, NULL) != RAMET_OK)
        return;
    printf("snapshot %llu, LSN %llu of %llu, %u pages remote, page begins "
           "%02x %02x %02x %02x\n",
           (unsigned long long)s->seq, (unsigned long long)s->lsn,
           (unsigned long long)last_remote->newest, s->remote_page_count,
           page[0], page[1], page[2], page[3]);
    for (uint64_t lsn = 1; lsn <= last_remote->newest; lsn++) {
        const struct image *const then = last_remote->at[lsn];

        if (then->page_size != image->page_size || pgno > image_pages(then))
            continue;
        image_page(then, pgno, other);
        if (memcmp(page, other, image->page_size) == 0)
            printf("it is what LSN %llu has\n", (unsigned long long)lsn);
    }
}

struct ramet_snapshot
store_newest(struct ramet_session *session)
{
    struct ramet_replica_state state = {.volume = {{{0}}}};
    struct ramet_err err = {.text = ""};
    struct ramet_snapshot newest;

    store_ok(ramet_session_state(session, &state, &err), &err, "state",
             __FILE__, __LINE__);
    newest = state.newest;
    ramet_replica_state_done(&state);
    return newest;
}

void
store_expect(struct ramet_session *session, const struct image *image, int line)
{
    const uint64_t size = ramet_session_size(session);
    uint64_t at = 0;

    OK(find_difference(session, image, &at, e));
    if (size != image->size || at != image->size) {
        tell_origin(session, image, at);
        fail_msg("line %d: the file has %llu bytes, expected %llu; they differ "
                 "at %llu (page %llu of %u bytes)",
                 line, (unsigned long long)size,
                 (unsigned long long)image->size, (unsigned long long)at,
                 (unsigned long long)(image->page_size == 0
                                          ? 0
                                          : at / image->page_size + 1),
                 image->page_size);
    }
}

void
store_ok(enum ramet_rc rc, const struct ramet_err *err, const char *what,
         const char *file, int line)
{
    if (rc != RAMET_OK)
        fail_msg("%s:%d: %s: %s (%s)", file, line, what, ramet_rc_name(rc),
                 err->text);
}
