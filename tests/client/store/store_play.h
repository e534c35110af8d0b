/*
 * store_play.h - one replica, several sessions, and what each must see.
 *
 * A play does random operations on a replica and the same on images. All of
 * it follows from its seed. Operations that are refused as the contract says
 * are part of it; any other failure, and any byte that differs, fails the test.
 */
#ifndef RAMET_TESTS_CLIENT_STORE_STORE_PLAY_H
#define RAMET_TESTS_CLIENT_STORE_STORE_PLAY_H

#include "client/store/exchange.h"
#include "tests/client/store/store_world.h"

#define PLAY_SLOTS 5
#define NO_WRITER (-1)
#define PLAY_PAGE_SIZES 8u

extern const uint32_t play_page_sizes[PLAY_PAGE_SIZES];

struct play_slot {
    struct ramet_session *session; /* NULL: closed */
    struct image *seen;            /* what it is pinned to, NULL: not pinned */
    uint64_t epoch;                /* when it was pinned */
};

struct play {
    uint64_t seed;
    uint64_t rng;
    enum ramet_volume_kind kind;
    char folder[128];
    char path[160];
    uint64_t size_max; /* of the file */
    struct play_slot slots[PLAY_SLOTS];
    struct image *newest;
    uint64_t epoch; /* counts records that change a page */
    uint32_t counter;
    struct image *borne; /* the plain file as a close left it; NULL: none */

    bool had_deaths; /* of other processes */
    bool is_old;     /* it draws what plays drew before they wrote pages back */
    unsigned acts;   /* that were chosen */

    int writer;         /* slot, or NO_WRITER */
    struct image *work; /* the writer's file */
    bool has_work;      /* it wrote since reserve, publish or discard */
    bool touched_page1;
    struct image *prepared; /* NULL: nothing */
    bool is_stale;          /* written to since it was prepared */

    struct remote remote;
    bool is_bound;
    bool is_pending; /* local commits since the LSN */
    uint64_t lsn;
    struct image *frozen; /* under an intent; NULL: none */
    uint64_t frozen_epoch;
    bool wrote_since_freeze;
    struct ramet_replica_state kept; /* a state brought up again and again */
    int kept_slot;                   /* whose session brings it up */
};

void play_begin(struct play *play, uint64_t seed);
/* Closes all, opens again, compares, removes the folder. */
void play_end(struct play *play);
/* Leave no session open, as after a failure. */
void play_drop(struct play *play);

/* ---- operations: each does one thing, or nothing where it makes no sense --- */

void play_open(struct play *play);
void play_close(struct play *play);
void play_close_all(struct play *play);
void play_pin(struct play *play);
void play_unpin(struct play *play);
void play_read(struct play *play);
void play_read_all(struct play *play);

void play_reserve(struct play *play);
void play_reserve_newest(struct play *play); /* unless somebody writes */
void play_write(struct play *play);
void play_truncate(struct play *play);
void play_prepare(struct play *play);
void play_publish(struct play *play);
void play_discard(struct play *play);
void play_release(struct play *play);

void play_remote_commit(struct play *play);
void play_pull(struct play *play);
void play_freeze(struct play *play);
void play_resolve_intent(struct play *play);
void play_state(struct play *play);
void play_fetched(struct play *play);
void play_absent(struct play *play);
void play_upkeep(struct play *play); /* checkpoint, evict, sum, verify */

/* ---- what upkeep meets (store_play_upkeep.c) ------------------------------- */

void play_commit(struct play *play); /* a whole one */
/* So many that checkpoints pass whoever stays pinned; mostly by one session, so
 * that others do. */
void play_log_files(struct play *play);
/* Commits that cut the file and let it grow, to sizes that have something of
 * their own. */
void play_cuts(struct play *play);
/* Each cut goes less far down than the one before; many of them, now and then. */
void play_stairs(struct play *play);
/* Another process opens the replica, commits perhaps, checkpoints, evicts, and is
 * gone after so many changes of the disk; the play's sessions go on. */
void play_death(struct play *play);
/* It was alone, from its opening to its last close. */
void play_lonely_death(struct play *play);

/* ---- choosing -------------------------------------------------------------- */

struct play_choice {
    unsigned weight;
    const char *name;
    void (*act)(struct play *play);
};
#define PLAY_CHOICE(weight, act)                                               \
    {                                                                          \
        weight, #act, act                                                      \
    }
/* One of them, which RAMET_TEST_TRACE tells; now and then the disk is looked at. */
void
play_choose(struct play *play, const struct play_choice *choices, size_t count);

/* ---- many plays -------------------------------------------------------------- */

/* One, from a seed; RAMET_TEST_SEED repeats it. */
typedef void play_one(uint64_t seed);

void play_first(play_one *one, uint64_t count); /* seeds 1, 2, … */
void play_seeds(play_one *one, const uint64_t *seeds, size_t count);
/* From store_seed() on, until store_seconds() are over; `program` for its words. */
void play_on(play_one *one, const char *program, double seconds);
/* For a teardown: what failed is told and dropped. */
void play_told_and_dropped(struct play *play);

/* A slot with an open session; one is opened, or pinned, if there is none. */
struct play_slot *play_any(struct play *play);
struct play_slot *play_any_pinned(struct play *play);
struct play_slot *play_any_idle(struct play *play); /* not the writer */
/* Nobody but `except` (NULL: nobody) stays pinned. */
void play_unpin_all(struct play *play, const struct play_slot *except);
void play_unpin_slot(struct play_slot *slot);
void play_pin_slot(struct play *play, struct play_slot *slot);
/* What a transaction had written is nothing any more. */
void play_forget_work(struct play *play);
void play_adopted(struct play *play, struct image *newest);

#endif
