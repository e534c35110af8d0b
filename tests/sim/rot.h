/*
 * rot.h - bits of files at rest that flip, one to three in one word. At rest is what
 * was written long ago: the system has brought all of that file to the disk since.
 */
#ifndef RAMET_TESTS_SIM_ROT_H
#define RAMET_TESTS_SIM_ROT_H

#include "tests/sim/disk.h"

enum sim_rotten {
    SIM_ROT_NOTHING, /* there was nothing to rot */
    SIM_ROT_BASE, /* pages, which `verify` alone compares with what is known */
    SIM_ROT_LOG,  /* where the last record may be taken for one never written */
    SIM_ROT_OTHER
};

/* Where bits flipped. */
struct sim_flip {
    struct sim_node *node;
    uint64_t offset;
    uint8_t before[8], after[8];
};

/* In bytes that are not all zeros, if there are such. */
void sim_flip_bits(uint8_t *bytes, size_t len, uint64_t *rng);
/* Some file of the replica at `path`; of what is rebuilt, or believed, while it is
 * open only where it `is_idle`. */
enum sim_rotten sim_rot_replica(const char *path, bool is_idle, uint64_t *rng,
                                struct sim_flip *out_flip);
/* Some file below the folder. */
void sim_rot_below(const char *folder, uint64_t *rng);
/* As it was before, if nobody has written there. */
void sim_rot_undo(const struct sim_flip *flip);

#endif
