/*
 * store_world.h - what the tests of the local store share: files as plain
 * memory, a remote that is an array of them, and a folder to work in.
 *
 * An *image* is what a file is at one moment: bytes, and the size of a page.
 * A *remote* keeps one image for each LSN and serves pages of them as the
 * replica's fetcher; it fails the test when it is asked for what no replica
 * should ask for. Nothing here knows how the store works.
 */
#ifndef RAMET_TESTS_CLIENT_STORE_STORE_WORLD_H
#define RAMET_TESTS_CLIENT_STORE_STORE_WORLD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/store/store.h"

/* ---- random numbers: splitmix64 -------------------------------------------- */

uint64_t store_random(uint64_t *rng);
uint64_t store_below(uint64_t *rng, uint64_t bound); /* 0 .. bound - 1 */
bool store_chance(uint64_t *rng, unsigned percent);
void store_random_bytes(uint64_t *rng, uint8_t *out, size_t len);
/* The seed to use: that of the environment variable RAMET_TEST_SEED, or 1, so that
 * CI plays the same each time; where it is "clock", a new one. It is printed with the
 * name of the test. */
uint64_t store_seed(const char *test);
/* Seconds to spend: those of RAMET_TEST_SECONDS, or `usual`. */
double store_seconds(double usual);
double store_now(void); /* monotonic, seconds */

/* ---- images ---------------------------------------------------------------- */

struct image {
    uint8_t *bytes;
    uint64_t size;
    uint64_t capacity; /* what is between size and capacity is zero */
    uint32_t page_size;
    unsigned refs;
};

struct image *image_new(uint64_t size, uint32_t page_size); /* zeros */
struct image *image_copy(const struct image *image);
struct image *image_ref(struct image *image);
void image_unref(struct image *image); /* NULL is fine */
void image_resize(struct image *image, uint64_t size);
void image_write(struct image *image, uint64_t offset, const void *buf,
                 uint64_t len);
uint32_t image_pages(const struct image *image);
/* A whole page, zeros past the end. */
void image_page(const struct image *image, uint32_t pgno, uint8_t *out);
/* Pages that `to` does not get from `from`, where what `from` lacks is zero. */
void image_diff(const struct image *from, const struct image *to,
                struct ramet_pageset *out_set);
/* The page size that page 1 names as SQLite does; 0: none. */
uint32_t image_named_page_size(const struct image *image);
/* Write SQLite's magic, a page size and a change counter into page 1. */
void
image_put_header(struct image *image, uint32_t page_size, uint32_t counter);

/* ---- the remote ------------------------------------------------------------ */

#define REMOTE_MAX 4096u

struct remote {
    struct image *at[REMOTE_MAX]; /* by LSN; 0: empty */
    uint64_t newest;
    bool is_down;
    bool brings_neighbours;
    uint64_t rng;
    uint64_t asked;
    pthread_mutex_t mutex;
};

void remote_init(struct remote *remote, uint64_t seed);
void remote_done(struct remote *remote);
/* Takes the reference; returns the LSN. */
uint64_t remote_add(struct remote *remote, struct image *image);
/* The commit that is at `lsn`, there or not. */
struct ramet_point remote_at(const struct remote *remote, uint64_t lsn);
struct ramet_remote_point
remote_point(const struct remote *remote, uint64_t lsn);
/* The fetcher; its ctx is the remote. */
enum ramet_rc
remote_fetch(void *ctx, const struct ramet_point *at, uint32_t pgno,
             struct ramet_page_request *sink, struct ramet_err *err);
extern const struct ramet_vid store_volume;
#define STORE_REMOTE_URL "file:///nowhere/volume"

/* ---- folders and comparisons ----------------------------------------------- */

/* A new folder, in memory where that can be; the path into `out`. */
void store_folder_make(char out[128]);
void store_folder_remove(const char *path);
/* The file at `path` as it lies on the disk. */
struct image *store_read_plain(const char *path, uint32_t page_size);
void store_write_plain(const char *path, const struct image *image);

/* Does the pinned session have exactly this? An error's code is returned. */
enum ramet_rc
store_compare(struct ramet_session *session, const struct image *image,
              bool *out_equal, struct ramet_err *err);
/* The newest snapshot, whatever the session has pinned. */
struct ramet_snapshot store_newest(struct ramet_session *session);
/* Fails the test if not, saying where. */
void store_expect(struct ramet_session *session, const struct image *image,
                  int line);
/* Fails the test with the error's text unless `rc` is RAMET_OK. */
void store_ok(enum ramet_rc rc, const struct ramet_err *err, const char *what,
              const char *file, int line);
#define OK(expr)                                                               \
    do {                                                                       \
        struct ramet_err ok_err = {.text = ""};                                \
        struct ramet_err *const e = &ok_err;                                   \
        store_ok((expr), e, #expr, __FILE__, __LINE__);                        \
    } while (0)

#endif
