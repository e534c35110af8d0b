/*
 * past_readers.h - readers that stay while checkpoints pass them: what the tests of
 * the past share.
 */
#ifndef RAMET_TESTS_CLIENT_STORE_PAST_READERS_H
#define RAMET_TESTS_CLIENT_STORE_PAST_READERS_H

#include "tests/client/store/store_place.h"

#define GENERATIONS 7 /* so many closed, and a reader is passed */

/* Files of the replica's directory that begin so. */
struct past_usage {
    unsigned files;
    uint64_t bytes;
};
struct past_usage past_usage_of(const struct place *p, const char *prefix);

struct past_reader {
    struct ramet_session *session;
    struct image *seen;
};
/* Pinned to the newest snapshot, which is `newest`; `os` may be NULL. */
struct past_reader
past_pin_newest_on(struct place *p, const struct image *newest,
                   const struct ramet_os *os);
struct past_reader past_pin_newest(struct place *p, const struct image *newest);
void past_end_reader(struct past_reader *r);

void past_change_pages(struct image *image, uint64_t *rng, unsigned count);
/* A commit in a generation of its own. */
void
past_commit_generation(struct ramet_session *writer, const struct image *image);
/* So many that whoever is pinned now is passed. */
void past_commit_generations(struct ramet_session *writer, struct image *image,
                             uint64_t *rng, unsigned pages);

#endif
