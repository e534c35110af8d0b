/*
 * faultstore.h - an object store that goes wrong when told to.
 *
 * Wraps another store, which it does not own. Every call is counted; the n-th
 * call from now on that a fault can happen to meets it, once. Thread-safe.
 */
#ifndef RAMET_TESTS_FAULTSTORE_H
#define RAMET_TESTS_FAULTSTORE_H

#include "pagestore/objstore.h"

enum ramet_fault {
    RAMET_FAULT_NONE,
    /* Any call: refused with `rc`, nothing is done. */
    RAMET_FAULT_FAIL,
    /* Writes (put, upload_finish, remove): done, but RAMET_EUNKNOWN is said. */
    RAMET_FAULT_LOSE_REPLY,
    /* Writes but remove: RAMET_EUNKNOWN is said, and it is done only when
     * ramet_faultstore_land() is called: a request that hung in the network. */
    RAMET_FAULT_LATE,
    /* Reads that get at least one byte: */
    RAMET_FAULT_FLIP_BIT,  /* one bit in the middle is wrong */
    RAMET_FAULT_SHORT,     /* half of the bytes */
    RAMET_FAULT_OTHER_KEY, /* the bytes of another object, if there is one */
};

struct ramet_store_counts {
    uint64_t puts; /* put and upload_finish */
    uint64_t upload_begins;
    uint64_t upload_writes;
    uint64_t reads;
    uint64_t sizes;
    uint64_t lists;
    uint64_t removes;
    uint64_t exchanges; /* of all calls; parts that are read at once are one */
    uint64_t bytes_written; /* offered */
    uint64_t bytes_read;
};

/* `inner` must outlive the result. NULL on no memory. */
struct ramet_objstore *ramet_faultstore_new(struct ramet_objstore *inner);

/* The nth (0: the next) call that `fault` can happen to, counted from now on,
 * meets it. Replaces what was armed before; RAMET_FAULT_NONE disarms. `rc` is
 * for RAMET_FAULT_FAIL. */
void ramet_faultstore_arm(struct ramet_objstore *store, enum ramet_fault fault,
                          uint64_t nth, enum ramet_rc rc);
/* Did the armed fault happen? */
bool ramet_faultstore_fired(struct ramet_objstore *store);

/* Before the nth (0: the next) call of any kind from now on is done, `happen`
 * is run, once: what somebody else does at that moment. It may use the store
 * itself. */
void ramet_faultstore_meanwhile(struct ramet_objstore *store, uint64_t nth,
                                void (*happen)(void *ctx), void *ctx);

/* Until told otherwise (RAMET_OK) every call fails with `rc`. */
void ramet_faultstore_set_down(struct ramet_objstore *store, enum ramet_rc rc);

/* Let the late writes arrive, in the order in which they were sent. */
void ramet_faultstore_land(struct ramet_objstore *store);

struct ramet_store_counts ramet_faultstore_counts(struct ramet_objstore *store);
void ramet_faultstore_reset_counts(struct ramet_objstore *store);

#endif
