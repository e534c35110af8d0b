/*
 * powercut.h - the power goes after the n-th change of a disk, for n = 0, 1,
 * 2 ... until what is tried is done before that.
 *
 *     powercut_begin(&cut, faults);
 *     while (powercut_next(&cut)) {
 *         ... make ready ...
 *         powercut_arm(&cut);
 *         ... what is tried; close all that is open on the disk ...
 *         powercut_strike(&cut);
 *         ... open again, and compare ...
 *     }
 *
 * What survives is another choice in each round, and the same in each run
 * (faultos.h has what a disk may lose).
 */
#ifndef RAMET_TESTS_SUPPORT_POWERCUT_H
#define RAMET_TESTS_SUPPORT_POWERCUT_H

#include "tests/support/faultos.h"

/* No act here makes so many changes: a loop that comes there has no end. */
#define POWERCUT_ROUNDS_MAX 500

struct powercut {
    struct faultos *faults; /* another from round to round, if the test likes */
    long round;             /* so many changes happen in this one */
    bool stopped;           /* the power went in the last one that was struck */
};

void powercut_begin(struct powercut *cut, struct faultos *faults);
/* Is there another round? Not once the power found nothing to interrupt. */
bool powercut_next(struct powercut *cut);
/* From here on only the round's number of changes happens. */
void powercut_arm(const struct powercut *cut);
/* The power goes, if it did not find all done; the disk works again. */
void powercut_strike(struct powercut *cut);
/* It goes in any case; `seed` chooses what survives. */
void powercut_strike_always(struct powercut *cut, uint64_t seed);

#endif
