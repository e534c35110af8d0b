/*
 * os.h - the operating system as one simulated process sees it: a struct
 * ramet_os over the disks and the clock of the simulation.
 *
 * Each call may be the moment at which another thread runs, and is made or
 * fails as a whole. What a process has open, mapped and locked goes when it
 * dies, as by a kernel.
 */
#ifndef RAMET_TESTS_SIM_OS_H
#define RAMET_TESTS_SIM_OS_H

#include "core/os.h"
#include "tests/sim/disk.h"
#include "tests/sim/sched.h"

/* Kinds of calls that can be made to fail. */
enum {
    SIM_OS_READ = 1,
    SIM_OS_WRITE = 2,
    SIM_OS_SYNC = 4,
    SIM_OS_NAME = 8,
    SIM_OS_OPEN = 16
};

/* What is wrong with a machine: calls on its own disk. */
struct sim_trouble {
    unsigned kinds;    /* that fail */
    uint64_t fail_in;  /* so many calls from now */
    uint64_t fail_for; /* so many of them */
    int errnum;
};

struct sim_os;

/* For a process of the machine whose disk and trouble these are. */
struct sim_os *
sim_os_new(struct sim_disk *disk, struct sim_trouble *trouble, uint64_t seed);
const struct ramet_os *sim_os_table(struct sim_os *os);
/* The process has ended. Returns how many descriptors it had left open. */
unsigned sim_os_free(struct sim_os *os);

#endif
