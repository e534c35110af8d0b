/*
 * long_readers.h - readers that stay while checkpoints pass them: what the tests of
 * the past share.
 */
#ifndef RAMET_TESTS_CLIENT_STORE_LONG_READERS_H
#define RAMET_TESTS_CLIENT_STORE_LONG_READERS_H

#include "tests/client/store/store_place.h"

#define LOG_FILES 7  /* so many closed, and a reader is passed */
#define KEPT_FILES 9 /* by a checkpoint at most: one is written, eight wait */

/* Files of the replica's directory that begin so. */
struct long_usage {
    unsigned files;
    uint64_t bytes;
};
struct long_usage long_usage_of(const struct place *p, const char *prefix);

struct long_reader {
    struct ramet_session *session;
    struct image *seen;
};
/* Pinned to the newest snapshot, which is `newest`; `os` may be NULL. */
struct long_reader
long_pin_newest_on(struct place *p, const struct image *newest,
                   const struct ramet_os *os);
struct long_reader long_pin_newest(struct place *p, const struct image *newest);
void long_end_reader(struct long_reader *r);

void long_change_pages(struct image *image, uint64_t *rng, unsigned count);
/* A commit in a log file of its own. */
void
long_commit_log_file(struct ramet_session *writer, const struct image *image);
/* So many that whoever is pinned now is passed. */
void long_commit_log_files(struct ramet_session *writer, struct image *image,
                           uint64_t *rng, unsigned pages);

#endif
