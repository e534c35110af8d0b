/*
 * model.h - what must hold: every version of the volume that anybody made, and
 * who may see which.
 *
 * A *version* is what a transaction makes: its parent's pages, some of them
 * written anew. A page's bytes follow from its number and the version that
 * wrote it, and page 1 is written by each: so whoever reads a snapshot knows by
 * page 1 which version it claims to be, and all else is compared with that.
 * Thus a snapshot that mixes versions, loses a page or shows half of a commit
 * is seen whoever reads it, at any LSN, at any time.
 *
 *   (1) a version that is being written, or was rolled back, shows nowhere;
 *       one whose maker died at its commit may show, or not
 *   (2) on a replica nobody sees less than was seen or committed there before,
 *       but for resets, and for what was not synced when the power went
 *   (3) each durable version comes from the one before: two that were
 *       acknowledged as durable are never of different lines
 *   (4) nobody is told that lines parted while they had not
 *   (5) a version that was acknowledged is in the end in the remote's line, or
 *       in what a reset kept
 *   (6) where the store was restored from a copy, what the copy lacks is excused
 *       of (3) and (5), and a pull on a place that was seen to stand on it fails:
 *       who has it is told. From then on the line goes on from the copy's end
 *       What is committed on what a restore took, a fence say, may be lost with it
 *       where a reset says that no whole copy can be had
 *   (7) where bits of a place's files flipped, calls there may fail for damage, and
 *       what nobody else has may be lost with a replica that is given up for it.
 *       Of the log's end that may be gone as if it had never been written of which
 *       no later record says that it was synced: a record says so of all that was,
 *       unless a sync failed since
 *   (8) of two databases that one transaction writes neither shows it without the
 *       other
 *
 * The model costs no simulated time: nothing here yields.
 */
#ifndef RAMET_TESTS_SIM_MODEL_H
#define RAMET_TESTS_SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/sched.h"

#define SIM_PAGES_MAX 512u
#define SIM_FILE_MAX (64u * 4096u) /* bytes */
#define SIM_NO_VERSION UINT32_MAX

struct sim_place; /* a replica, as the model knows it */

enum sim_state {
    SIM_BUILDING,  /* its transaction is open */
    SIM_PREPARED,  /* its commit was begun: where its maker dies, uncertain */
    SIM_SENDING,   /* with sync=commit: others may see it before its maker */
    SIM_COMMITTED, /* may be seen */
    SIM_UNCERTAIN, /* may be seen, or not */
    SIM_ROLLED_BACK
};

/* What a reader knew when it began to look. */
struct sim_look {
    uint32_t floor;
    uint32_t both;   /* was acknowledged in both databases */
    bool has_parted; /* one of them may be of before a reset */
    uint64_t upheavals;
    unsigned restores;
};

void sim_model_begin(uint32_t page_size, bool is_database);
void sim_model_end(void);
/* `has_other`: each transaction there writes a database beside it, too. */
struct sim_place *sim_place_new(const char *name, bool has_other);

/* ---- what is done -------------------------------------------------------------- */

/* Of a handle of a process, in the order in which those begin. */
struct sim_step_id {
    unsigned process, handle, step;
};
/* Is that step taken, in this schedule? */
SIM_API bool sim_takes(const struct sim_step_id *step);

/* ---- pages ------------------------------------------------------------------ */

SIM_API uint32_t sim_page_size(void);
/* That a file has at most. */
SIM_API uint32_t sim_pages_max(void);
/* The bytes of page `pgno` as version `stamp` wrote it. */
SIM_API void sim_page_fill(uint32_t stamp, uint32_t pgno, uint8_t *out);
/* Which version page 1 says it is of. Fails where it is none. */
SIM_API uint32_t sim_page1_version(const uint8_t *page, const char *who);
/* Fails unless it is page `pgno` of that version. */
SIM_API void sim_page_check(uint32_t version, uint32_t pgno,
                            const uint8_t *page, const char *who);

/* ---- versions --------------------------------------------------------------- */

SIM_API uint32_t sim_version_new(struct sim_place *place, uint32_t parent);
SIM_API void sim_version_write(uint32_t version, uint32_t pgno);
SIM_API void sim_version_resize(uint32_t version, uint32_t page_count);
SIM_API uint32_t sim_version_pages(uint32_t version);
/* Which version wrote that page of it; 0: none, or there is no such page. */
SIM_API uint32_t sim_version_stamp(uint32_t version, uint32_t pgno);
/* The one that it was made of; 0: the empty volume. */
SIM_API uint32_t sim_version_parent(uint32_t version);
SIM_API void sim_version_is(uint32_t version, enum sim_state state);
/* Is `old` the version or one that it comes from? */
SIM_API bool sim_comes_from(uint32_t version, uint32_t old);

/* ---- what is seen, promised and lost ------------------------------------------ */

/* Somebody sees it, by whatever way: (1). */
SIM_API void sim_visible(uint32_t version, const char *who);
SIM_API struct sim_look sim_look_begin(const struct sim_place *place);
SIM_API void sim_look_end(struct sim_place *place, const struct sim_look *look,
                          uint32_t version, const char *who);
/* Acknowledged here, by a commit that began with the look; `synced`: it outlives the
 * power, with all before it. */
SIM_API void
sim_acknowledged(struct sim_place *place, const struct sim_look *look,
                 uint32_t version, bool synced);
/* The database beside it that each transaction writes, too, says that `other` was
 * its last one; it was pinned before the place's, which was `version` then. */
SIM_API void
sim_other_seen(const struct sim_place *place, const struct sim_look *look,
               uint32_t other, uint32_t version, const char *who);
/* A reset begins, ends; what was here may be gone. */
SIM_API void sim_upheaval(struct sim_place *place, bool begins);
/* A plain file that a reset left: false where it is no whole version. */
bool sim_kept(const uint8_t *bytes, uint64_t size);
/* Which version the bytes are; SIM_NO_VERSION: none that is whole. */
uint32_t sim_version_of(const uint8_t *bytes, uint64_t size);
/* The replica left its remote, and is a plain file with that version: all that was here
 * is in it. It came back: as the volume has it. */
void sim_place_left(struct sim_place *place, uint32_t version);
void sim_place_came_back(struct sim_place *place);
/* The same of one that was read already. */
SIM_API void sim_kept_version(uint32_t version);
/* The remote was said to have it. */
SIM_API void sim_durable(uint32_t version, const char *who);
/* A verb says that the lines parted, and the remote had `newest` commits. */
SIM_API void sim_diverged(const struct sim_place *place,
                          const struct sim_look *look, uint64_t newest);
/* A push succeeded: what was seen on the place when it began. */
SIM_API void sim_pushed(struct sim_place *place, const struct sim_look *look,
                        const char *who);
/* The newest that the remote was said to have. */
SIM_API uint32_t sim_durable_floor(void);
/* From now on nobody on the place sees less: a pull that ended. */
SIM_API void sim_pulled(struct sim_place *place, const struct sim_look *look,
                        uint32_t version);
/* Somebody saw it as the commit of that LSN. */
SIM_API void sim_at_lsn(uint64_t lsn, uint32_t version, const char *who);

/* The store is copied, whose newest commit is that version; the copy takes its
 * place; how often that was. */
void sim_store_copied(uint64_t lsn, uint32_t version);
void sim_store_restored(void);
SIM_API unsigned sim_restores(void);
/* Who was told of that LSN when there had been `restores` may find that it is not
 * there: a restore has taken it since. */
SIM_API bool sim_lsn_was_taken(uint64_t lsn, unsigned restores);
/* Fails if who stands on what a restore took is told that all is well; the store
 * has `commits`. */
SIM_API void
sim_in_step(const struct sim_place *place, const struct sim_look *look,
            uint64_t commits, const char *what, const char *who);
/* A reset says that pages of it are neither here nor in the remote. */
SIM_API void sim_place_cannot_be_kept(const struct sim_place *place);
/* What a process saw as the newest, for the copy. */
SIM_API void sim_newest_seen(uint64_t lsn, uint32_t version);
bool sim_newest_is(uint64_t lsn, uint32_t *out_version);

/* A process of the place died, the power of its machine went. */
void sim_place_killed(const struct sim_process *process);
void sim_place_cut(struct sim_place *place);
/* A sync failed there. */
void sim_place_fails_sync(struct sim_place *place);
/* The system let go of what a sync that failed had not written: as if the power
 * had gone, but for those who read on, and may be told of damage. */
void sim_place_lets_go(struct sim_place *place);
/* (7): bits of it flipped, in its log; it was removed for that. */
void sim_place_rots(struct sim_place *place, bool in_log);
void sim_place_given_up(struct sim_place *place);
SIM_API bool sim_place_is_rotten(const struct sim_place *place);
/* At the end, when all was brought together: (4), (5). */
SIM_API void sim_model_settled(uint32_t newest);

#endif
