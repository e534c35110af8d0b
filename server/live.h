/*
 * live.h - the volumes that are in use: their histories, who waits for their
 * commits, and the maps to be made for them.
 *
 * A live volume is made when it is first asked for and dropped when nobody
 * has used it and others need the room.
 *
 *   (1) Events of one volume ascend by LSN; each subscriber sees ascending
 *       LSNs only.
 *   (2) At most one map is being made for a volume.
 *   (3) Memory: RAMET_LIVE_IDLE_MAX histories that nobody uses, for each
 *       volume at most RAMET_LIVE_EVENTS rendered events, and 16 MiB of commit
 *       objects in all. Where more volumes
 *       are in use than that, those that nobody asks for (somebody listens, or
 *       reads slowly) keep nothing of what was read of them.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_LIVE_H
#define RAMET_SERVER_LIVE_H

#include "metastore/history.h"
#include "server/cache.h"
#include "server/gone.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/work.h"

#define RAMET_LIVE_IDLE_MAX 32u
#define RAMET_LIVE_EVENTS 64u
/* A commit object up to here goes along with its event (news.h). */
#define RAMET_NEWS_OBJECT_MAX 8192u

/*
 * How long after a look for commits of others the next one is due, when the last
 * commit (or subscriber) came `quiet_ms` ago. A directory is looked at every
 * second. A bucket is paid by the request: an eighth of the time for which
 * nothing came, from 1 s to RAMET_LIVE_LOOK_MAX_MS, which is the bound within
 * which a commit made elsewhere becomes known (docs/stores.md has the price).
 */
#define RAMET_LIVE_LOOK_MIN_MS 1000u
#define RAMET_LIVE_LOOK_MAX_MS 10000u
uint64_t ramet_live_look_after_ms(bool is_paid, uint64_t quiet_ms);

struct ramet_lives;
struct ramet_live;

RAMET_NODISCARD enum ramet_rc
ramet_lives_new(struct ramet_objstore *base, struct ramet_cache *cache,
                struct ramet_work *work, struct ramet_gone *gone,
                struct ramet_metrics *metrics, struct ramet_lives **out,
                struct ramet_err *err);
/* After the last put; waits for maps under way (they are the workers'). */
void ramet_lives_free(struct ramet_lives *lives);

RAMET_NODISCARD enum ramet_rc
ramet_live_get(struct ramet_lives *lives, const struct ramet_vid *volume,
               struct ramet_live **out_live, struct ramet_err *err);
void ramet_live_put(struct ramet_live *live); /* NULL is fine */
struct ramet_history *ramet_live_history(struct ramet_live *live);
const struct ramet_vid *ramet_live_volume(const struct ramet_live *live);

/* The clock of what subscribers are told: one that does not stop. */
uint64_t ramet_live_clock_ms(void);
/* A commit exists, and was the newest at `true_ms` or later: tell subscribers, and
 * see to maps. `object` is all of it. */
void
ramet_live_committed(struct ramet_live *live, const struct ramet_head *head,
                     uint64_t true_ms, const void *object, size_t len);
/* Forget a volume that was deleted, or whose history is not what it was; its
 * event streams end, with `event: gone` if it was deleted. */
void ramet_lives_drop(struct ramet_lives *lives, const struct ramet_vid *volume,
                      bool deleted);

/* Answer with the stream of events past `after`; on failure there is no answer
 * yet. Worker; may read heads. */
RAMET_NODISCARD enum ramet_rc
ramet_live_subscribe(struct ramet_live *live, uint64_t after,
                     struct ramet_http_request *rq, struct ramet_err *err);
/* Look for commits of others where somebody waits and a look is due (the idle
 * cost nothing), heartbeats. To be called at least once a second. */
void ramet_lives_tick(struct ramet_lives *lives, uint64_t now_ms);

struct ramet_lives_stats {
    uint64_t volumes, subscribers;
};
void
ramet_lives_get_stats(struct ramet_lives *lives, struct ramet_lives_stats *out);

#endif
