/*
 * play.h - a handle of a simulated process, and what it may do.
 */
#ifndef RAMET_TESTS_SIM_IMAGE_PLAY_H
#define RAMET_TESTS_SIM_IMAGE_PLAY_H

#include "tests/sim/image/image.h"

#define SIM_FILE_MAX (SIM_PAGES_MAX * 4096u)

struct sim_handle {
    struct ramet_file *file;
    uint64_t rng;
    uint8_t *bytes; /* SIM_FILE_MAX */
    char name[16];
};

/* Opens, waiting for what is in the way; NULL: it can't be had now. */
struct ramet_file *sim_open(struct sim_handle *h, const char *at);
/* Fails the schedule unless `rc` is what may happen to this call. */
void sim_expect_rc(const struct sim_handle *h, const char *call,
                   enum ramet_rc rc, const struct ramet_err *err);
/* A whole pinned snapshot is read and checked. SIM_NO_VERSION: the remote, or
 * the disk, did not give it. */
uint32_t sim_read_all(struct sim_handle *h, struct ramet_file *file);
/* The version of the pinned snapshot, by page 1. */
uint32_t sim_read_version(struct sim_handle *h, struct ramet_file *file);

/* image/acts.c: one step. */
void sim_act(struct sim_handle *h);
void sim_write(struct sim_handle *h);
bool sim_push(struct sim_handle *h);

#endif
