/*
 * store.h - the store from behind, a bucket or a directory: what of it is counted,
 * copied, put back and rots. None of it takes simulated time.
 */
#ifndef RAMET_TESTS_SIM_STORE_H
#define RAMET_TESTS_SIM_STORE_H

#include "tests/sim/bucket.h"
#include "tests/sim/disk.h"

/* Of a directory: where it is, in its disk. */
#define SIM_STORE_DIR "/store/objects"
#define SIM_STORE_OTHER_DIR "/store/./objects" /* the same */

/* `in_directory`: the store is that one, else it is the bucket. */
void sim_store_begin(struct sim_bucket *bucket, bool in_directory);
void sim_store_end(void);
/* Commits that the store has. */
SIM_API uint64_t sim_store_commits(void);
/* A copy is made; returns how many commits it has. */
uint64_t sim_store_copy(void);
/* The copy takes the store's place. Of a directory: another one stands there then,
 * or `in_place`: it is the same, and what was in it was taken out. */
void sim_store_put_back(bool in_place);

/* A store with a copy of the volume, perhaps of another line by now, to be named by a
 * client; NULL: there is none. */
const char *sim_store_other_line(void);

/* Bits of an object flip. */
void sim_store_rot(uint64_t *rng);
SIM_API bool sim_store_is_rotten(void);
/* What rotted is put back, if it is as it was left. */
void sim_store_mend(void);

#endif
