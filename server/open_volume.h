/*
 * open_volume.h - the volumes that are in use: their histories, who waits for
 * their commits, and the maps to be made for them.
 *
 * An open volume is made when it is first asked for and dropped when nobody
 * has used it and others need the room.
 *
 *   (1) Events of one volume ascend by LSN; each subscriber sees ascending
 *       LSNs only.
 *   (2) At most one map is being made for a volume.
 *   (3) Memory: RAMET_OPEN_VOLUME_IDLE_MAX histories that nobody uses, for each
 *       volume at most RAMET_OPEN_VOLUME_EVENTS rendered events, and 16 MiB of
 *       commit objects in all. Where more volumes are in use than that, those
 *       that nobody asks for (somebody listens, or reads slowly) keep nothing
 *       of what was read of them.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_OPEN_VOLUME_H
#define RAMET_SERVER_OPEN_VOLUME_H

#include "metastore/history.h"
#include "server/cache.h"
#include "server/gone.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/work.h"

#define RAMET_OPEN_VOLUME_IDLE_MAX 32u
#define RAMET_OPEN_VOLUME_EVENTS 64u
/* A commit object up to here goes along with its event (news.h). */
#define RAMET_NEWS_OBJECT_MAX 8192u

/*
 * How long after a look for commits of others the next one is due, when the last
 * commit (or subscriber) came `quiet_ms` ago. A directory is looked at every
 * second. A bucket is paid by the request: an eighth of the time for which
 * nothing came, from 1 s to RAMET_OPEN_VOLUME_LOOK_MAX_MS, which is the bound within
 * which a commit made elsewhere becomes known (docs/stores.md has the price).
 */
#define RAMET_OPEN_VOLUME_LOOK_MIN_MS 1000u
#define RAMET_OPEN_VOLUME_LOOK_MAX_MS 10000u
uint64_t ramet_open_volume_look_after_ms(bool is_paid, uint64_t quiet_ms);

struct ramet_volume_table;
struct ramet_open_volume;

RAMET_NODISCARD enum ramet_rc
ramet_volume_table_new(struct ramet_objstore *base, struct ramet_cache *cache,
                       struct ramet_work *work, struct ramet_gone *gone,
                       struct ramet_metrics *metrics,
                       struct ramet_volume_table **out, struct ramet_err *err);
/* After the last put; waits for maps under way (they are the workers'). */
void ramet_volume_table_free(struct ramet_volume_table *table);

RAMET_NODISCARD enum ramet_rc
ramet_open_volume_get(struct ramet_volume_table *table,
                      const struct ramet_vid *volume,
                      struct ramet_open_volume **out_vol,
                      struct ramet_err *err);
void ramet_open_volume_put(struct ramet_open_volume *vol); /* NULL is fine */
struct ramet_history *ramet_open_volume_history(struct ramet_open_volume *vol);
const struct ramet_vid *
ramet_open_volume_id(const struct ramet_open_volume *vol);

/* The clock of what subscribers are told: one that does not stop. */
uint64_t ramet_open_volume_clock_ms(void);
/* A commit exists, and was the newest at `true_ms` or later: tell subscribers, and
 * see to maps. `object` is all of it. */
void
ramet_open_volume_committed(struct ramet_open_volume *vol,
                            const struct ramet_head *head, uint64_t true_ms,
                            const void *object, size_t len);
/* Forget a volume that was deleted, or whose history is not what it was; its
 * event streams end, with `event: gone` if it was deleted. */
void ramet_volume_table_drop(struct ramet_volume_table *table,
                             const struct ramet_vid *volume, bool deleted);

/* Answer with the stream of events past `after`; on failure there is no answer
 * yet. Worker; may read heads. */
RAMET_NODISCARD enum ramet_rc
ramet_open_volume_subscribe(struct ramet_open_volume *vol, uint64_t after,
                            struct ramet_http_request *rq,
                            struct ramet_err *err);
/* Look for commits of others where somebody waits and a look is due (the idle
 * cost nothing), heartbeats. To be called at least once a second. */
void ramet_volume_table_tick(struct ramet_volume_table *table, uint64_t now_ms);

struct ramet_volume_table_stats {
    uint64_t volumes, subscribers;
};
void ramet_volume_table_get_stats(struct ramet_volume_table *table,
                                  struct ramet_volume_table_stats *out);

#endif
