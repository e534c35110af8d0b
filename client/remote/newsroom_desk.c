/*
 * newsroom_desk.c - a desk for each volume that an owner follows: what was heard
 * of it, as of when, and who is told. By the invariants of newsroom.h.
 */
#include "client/remote/newsroom_impl.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"

#define DRIFT_PARTS 2000u /* clocks run apart by 1/2000 at most */
#define IDLE_MS 30000u    /* one that nobody follows any more */
/* What a stream may bring in FLOOD_MS that is of no use. */
#define FLOOD_BYTES (16u << 20)

struct desk *
ramet_desk_find(struct ramet_newsroom *room, const void *owner,
                const struct ramet_vid *volume)
{
    struct desk *d = room->desks;

    while (d != NULL && (d->owner != owner ||
                         ramet_id_compare(&d->volume.id, &volume->id) != 0))
        d = d->next;
    return d;
}

void
ramet_newsroom_wake(struct ramet_newsroom *room)
{
    ramet_cond_broadcast(&room->changed);
    (void)curl_multi_wakeup(room->multi);
}

struct desk *
ramet_desk_need(struct ramet_newsroom *room, const void *owner,
                const struct ramet_news_taker *taker,
                const struct ramet_vid *volume, uint64_t after)
{
    struct desk *d = ramet_desk_find(room, owner, volume);

    assert(owner != NULL);
    if (d == NULL) {
        d = ramet_calloc(1, sizeof(*d));
        if (d == NULL)
            return NULL;
        d->owner = owner;
        d->taker = *taker;
        d->volume = *volume;
        d->next = room->desks;
        room->desks = d;
        room->grown = true;
        ramet_newsroom_wake(room);
    }
    if (after > d->after)
        d->after = after;
    return d;
}

static bool
is_idle(const struct desk *d)
{
    return d->attendants == NULL && d->waiters == 0;
}

static void
free_desk(struct desk *d)
{
    assert(d->waiters == 0);
    while (d->attendants != NULL) {
        struct attendant *const a = d->attendants;

        d->attendants = a->next;
        ramet_free(a);
    }
    ramet_free(d);
}

void
ramet_desks_clear(struct ramet_newsroom *room, const void *owner)
{
    for (struct desk **link = &room->desks; *link != NULL;) {
        struct desk *const d = *link;
        const bool goes =
            owner != NULL
                ? d->owner == owner
                : is_idle(d) &&
                      ramet_news_now_ms() - d->idle_since_ms > IDLE_MS;

        if (goes) {
            assert(owner == NULL || d->waiters == 0);
            *link = d->next;
            free_desk(d);
        } else {
            link = &d->next;
        }
    }
}

void
ramet_desks_free(struct ramet_newsroom *room)
{
    while (room->desks != NULL) {
        struct desk *const d = room->desks;

        room->desks = d->next;
        free_desk(d);
    }
}

void
ramet_desk_tell(const struct desk *d)
{
    assert(d->owner != NULL);
    for (const struct attendant *a = d->attendants; a != NULL; a = a->next)
        a->follower->heard(a->follower->ctx);
}

/* ---- what is heard -------------------------------------------------------------------- */

/* Invariant (3): when by our clock that was so. */
static uint64_t
true_at_ms(const struct ramet_newsroom *room, uint64_t time_ms)
{
    const bool later = time_ms >= room->begin_time_ms;
    const uint64_t t =
        later ? time_ms - room->begin_time_ms : room->begin_time_ms - time_ms;

    if (later)
        return room->asked_boot_ms + (t - t / DRIFT_PARTS);
    return t + t / DRIFT_PARTS < room->asked_boot_ms
               ? room->asked_boot_ms - t - t / DRIFT_PARTS
               : 0;
}

static void
confirm(const struct ramet_newsroom *room, struct desk *d,
        const struct ramet_news *news)
{
    const uint64_t at_ms = true_at_ms(room, news->time_ms);

    if (news->time_ms == 0 || news->at.lsn < d->confirmed.lsn ||
        at_ms >
            ramet_news_boot_ms()) /* clocks that run so far apart say nothing */
        return;
    d->confirmed = news->at;
    if (at_ms > d->confirmed_ms)
        d->confirmed_ms = at_ms;
}

/* The newest there is not the one that was announced: the store went back in
 * time. Nothing of it is kept, and who follows asks. */
static bool
contradicts(const struct desk *d, const struct ramet_news *news)
{
    return news->type == RAMET_NEWS_BEAT &&
           (news->at.lsn < d->told.lsn ||
            (news->at.lsn == d->told.lsn &&
             !ramet_hash_equal(&news->at.hash, &d->told.hash)));
}

static void
contradict(struct desk *d, const struct ramet_news *news)
{
    d->told = news->at;
    memset(&d->confirmed, 0, sizeof(d->confirmed));
    d->confirmed_ms = 0;
    ramet_desk_tell(d);
}

/* Whether it was of use. */
static bool
take_news(struct ramet_newsroom *room, struct desk *d,
          const struct ramet_news *news)
{
    const bool is_new = news->at.lsn > d->told.lsn;
    bool useful = false;

    if (news->type == RAMET_NEWS_GONE || news->type == RAMET_NEWS_UNKNOWN) {
        d->is_gone = news->type == RAMET_NEWS_GONE;
        d->is_unknown = !d->is_gone;
        ramet_desk_tell(d);
        return false;
    }
    /* It may come back: a store that is mended, say. */
    d->is_gone = d->is_unknown = false;
    if (contradicts(d, news)) {
        contradict(d, news);
        return false;
    }
    if (news->object != NULL && is_new && d->taker.take != NULL)
        useful = d->taker.take(d->taker.ctx, &d->volume, &news->at,
                               news->object, news->object_len);
    if (is_new || d->told.lsn == 0)
        d->told = news->at;
    confirm(room, d, news);
    if (is_new && news->at.lsn > d->after)
        ramet_desk_tell(d);
    return useful;
}

enum ramet_rc
ramet_newsroom_hear(void *ctx, const struct ramet_news *news,
                    struct ramet_err *err)
{
    struct ramet_newsroom *const room = ctx;
    bool useful = false;

    ramet_mutex_lock(&room->lock);
    if (news->type == RAMET_NEWS_BEGIN) {
        room->begin_time_ms = news->time_ms;
        room->begun = room->alive = true;
    } else {
        for (struct desk *d = room->desks; d != NULL; d = d->next)
            if (d->is_asked_for &&
                ramet_id_compare(&d->volume.id,
                                 &room->volumes[news->volume].id) == 0)
                useful = take_news(room, d, news) || useful;
        ramet_cond_broadcast(&room->changed);
    }
    ramet_mutex_unlock(&room->lock);
    if (!useful)
        room->flood_bytes += 32u + news->object_len;
    return room->flood_bytes <= FLOOD_BYTES
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_EUNREACHABLE,
                            "server %s: sends a flood of empty news",
                            room->root);
}
