/*
 * store_crash.h - a replica on a disk that fails, and the versions it may have.
 *
 * A *scenario* is a set-up that goes well and an act that is cut off at some
 * operation. Acts note each version before they try to make it, and that it is
 * durable once the replica says so; afterwards the replica must have one of
 * the versions from the last durable one on, whole.
 */
#ifndef RAMET_TESTS_CLIENT_STORE_STORE_CRASH_H
#define RAMET_TESTS_CLIENT_STORE_STORE_CRASH_H

#include "tests/client/store/store_world.h"
#include "tests/support/faultos.h"

#define CRASH_VERSIONS 64u

struct crash_world {
    const char *scenario;
    long stop; /* for messages */
    uint64_t crash_seed;
    char folder[128];
    char disk[144]; /* what is watched */
    char path[176];
    struct faultos *faults;
    const struct ramet_os *os;
    uint64_t rng;
    enum ramet_volume_kind kind;
    unsigned open_flags; /* to open it again */
    struct ramet_session *session;
    struct ramet_session *other;
    struct remote remote;
    struct image *versions[CRASH_VERSIONS];
    unsigned acked;     /* this version is durable */
    unsigned attempted; /* the newest that may be there */
    unsigned published; /* what an open session sees */
    bool may_be_gone;   /* deletion has begun */
    bool must_be_gone;
    bool may_not_be;    /* making it has begun */
    bool must_be_plain; /* it was detached */
    uint8_t object[500];
    bool intent_kept;
    bool durable_tried;
    uint64_t durable_lsn; /* mark_durable() succeeded */
};

struct crash_scenario {
    const char *name;
    void (*set_up)(struct crash_world *w);
    enum ramet_rc (*act)(struct crash_world *w, struct ramet_err *err);
};
extern const struct crash_scenario crash_scenarios[];
extern const unsigned crash_scenario_count;

/* Ready for the act, all so far durable. */
void crash_begin(struct crash_world *w, const struct crash_scenario *scenario,
                 uint64_t seed);
void crash_end(struct crash_world *w);
void crash_close(struct crash_world *w);
enum ramet_rc crash_open(struct crash_world *w, unsigned flags,
                         struct ramet_session **out, struct ramet_err *err);

/* One transaction of about `pages` pages. */
enum ramet_rc crash_commit(struct crash_world *w, unsigned pages, bool sync,
                           struct ramet_err *err);
/* A new newest version, remembered. */
void crash_note(struct crash_world *w, struct image *image);

/* Open it with the system's table, compare, commit, close, open, compare. */
void crash_check(struct crash_world *w);
/* The open session sees exactly what was published. */
void crash_check_open(struct crash_world *w);

#define CRASH_OK(w, expr)                                                      \
    do {                                                                       \
        struct ramet_err crash_err = {.text = ""};                             \
        struct ramet_err *const e = &crash_err;                                \
        const enum ramet_rc crash_rc = (expr);                                 \
                                                                               \
        if (crash_rc != RAMET_OK)                                              \
            crash_fail((w), __LINE__, #expr, crash_err.text);                  \
    } while (0)
void crash_fail(const struct crash_world *w, int line, const char *what,
                const char *text);

#endif
