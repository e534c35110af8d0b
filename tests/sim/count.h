/*
 * count.h - how often what happened: in the simulation, and in the product.
 *
 * A call of the product is counted where the image is linked (--wrap): each use of
 * the function from another file goes through a few instructions of image/count.c.
 * So the product has nothing for it, and functions are listed of which a call says
 * that something happens.
 */
#ifndef RAMET_TESTS_SIM_COUNT_H
#define RAMET_TESTS_SIM_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/sched.h"

/* What a handle does: begun, and cut off by a kill. */
#define SIM_DEEDS(X)                                                           \
    X(OPEN, "open")                                                            \
    X(READ, "read")                                                            \
    X(WRITE, "write")                                                          \
    X(COMMIT, "commit")                                                        \
    X(TAKE_BACK, "take back")                                                  \
    X(PUSH, "push")                                                            \
    X(PULL, "pull")                                                            \
    X(FETCH, "fetch")                                                          \
    X(SYNC, "sync")                                                            \
    X(HYDRATE, "hydrate")                                                      \
    X(RESET, "reset")                                                          \
    X(CHECKPOINT, "checkpoint")                                                \
    X(EVICT, "evict")                                                          \
    X(VERIFY, "verify")                                                        \
    X(REBIND, "rebind")                                                        \
    X(DETACH, "detach")                                                        \
    X(VIEW, "look at an LSN")                                                  \
    X(FOLLOW, "follow by a stateless reader")                                  \
    X(CLOSE, "close")                                                          \
    X(PAUSE, "pause")

/* What happens to them. */
#define SIM_EVENTS(X)                                                          \
    X(KILLS, "processes killed")                                               \
    X(POWER_CUTS, "power cuts")                                                \
    X(CALLS_REFUSED, "system calls refused")                                   \
    X(SYNCS_FAILED, "syncs that failed")                                       \
    X(LET_GO, "... after which older bytes were read")                         \
    X(RESTORES, "stores restored from a copy")                                 \
    X(RESTORES_TOLD, "verbs told that the store went back")                    \
    X(ROTTEN, "times that bits of a file or object flipped")                   \
    X(TOLD_DAMAGED, "calls told of damage")                                    \
    X(GIVEN_UP, "replicas given up for damage")                                \
    X(REBOUND, "replicas bound to another name of the store")                  \
    X(REFUSED, "... and refused, as it had not their line")                    \
    X(LEFT, "replicas that left their remote")                                 \
    X(REQUESTS_LOST, "requests lost, late, or without an answer")              \
    X(CONFLICTS, "commits that lost to another")                               \
    X(DIVERGENCES, "verbs told that lines parted")                             \
    X(SNAPSHOTS_GONE, "writers with an old snapshot")                          \
    X(BUSY, "calls that found it busy")

/* Of the product. */
#define SIM_CALLS(X)                                                           \
    X(ramet_recover, "replicas opened alone")                                  \
    X(ramet_log_search_damage, "ends of logs looked behind")                   \
    X(ramet_recover_prepared, "dead writers' records recovered")               \
    X(ramet_void_record, "records made void")                                  \
    X(ramet_log_unsync, "logs to be written again after a sync")               \
    X(ramet_log_files_recycle, "checkpoints that kept log files")              \
    X(ramet_checkpoint_move_pages, "checkpoints begun to write")               \
    X(ramet_checkpoint_publish_base, "checkpoints done")                       \
    X(ramet_retained_append, "versions kept for old readers")                  \
    X(ramet_clean_put_header_on, "clean closes")                               \
    X(ramet_drop_pages, "blocks looked through to evict or mend")              \
    X(ramet_fetched_append, "fetched pages kept")                              \
    X(ramet_placed_put, "pages placed in the base")                            \
    X(ramet_session_freeze, "pushes frozen")                                   \
    X(ramet_session_mark_durable, "pushes that landed")                        \
    X(ramet_session_abandon_intent, "intents abandoned")                       \
    X(ramet_session_pull, "pulls and resets recorded")                         \
    X(ramet_fence_slot, "slots fenced")                                        \
    X(ramet_durable_resolve, "commits in doubt looked at")                     \
    X(ramet_durable_take_back, "commits in doubt taken back")                  \
    X(ramet_delta_writer_take, "deltas sent")                                  \
    X(ramet_delta_apply, "deltas applied")                                     \
    X(ramet_news_pages_keep, "commits whose pages came along")                 \
    X(ramet_remote_client_told, "looks answered by news")                      \
    X(ramet_history_make_map, "maps made")                                     \
    X(ramet_piece_encode, "pieces of roll-ups made")                           \
    X(ramet_rollup_piece, "pages looked up in roll-ups")                       \
    X(ramet_map_find, "pages looked up in maps")                               \
    X(ramet_prefetch_take, "pages asked for ahead")                            \
    X(ramet_profile_write, "profiles written")                                 \
    X(ramet_profile_read, "profiles read")                                     \
    X(ramet_pagecache_put, "pages kept for stateless readers")                 \
    X(ramet_remote_client_forget, "remotes forgotten as they went back")

#define SIM_OF_DEED(name, text) SIM_DOES_##name,
#define SIM_OF_EVENT(name, text) SIM_COUNT_##name,
#define SIM_OF_CALL(name, text) SIM_CALL_##name,
enum sim_deed { SIM_DEEDS(SIM_OF_DEED) SIM_DEED_COUNT };
enum sim_count { SIM_EVENTS(SIM_OF_EVENT) SIM_EVENT_COUNT };
enum sim_call { SIM_CALLS(SIM_OF_CALL) SIM_CALL_COUNT };
#undef SIM_OF_DEED
#undef SIM_OF_EVENT
#undef SIM_OF_CALL

struct sim_counts {
    uint64_t begun[SIM_DEED_COUNT], killed_in[SIM_DEED_COUNT];
    uint64_t events[SIM_EVENT_COUNT];
    uint64_t calls[SIM_CALL_COUNT];
};

SIM_API void sim_count(enum sim_count what);
/* A handle begins it. Several of them may die in the midst of what they do. */
SIM_API void sim_count_deed(enum sim_deed deed, bool is_killed);
/* Of all schedules in this process of the system: added to `out`. */
void sim_counts_add(struct sim_counts *out);
void sim_counts_print(const struct sim_counts *counts);

#endif
