/*
 * newsroom.c - see newsroom.h.
 */
#include "client/remote/newsroom_impl.h"

#include <assert.h>
#include <string.h>

#include "client/remote/process.h"
#include "core/alloc.h"

#define SLICE_MS 100u /* how soon a waiter's cancel is seen */

static struct ramet_newsroom *rooms; /* under the process lock */

/* ---- rooms --------------------------------------------------------------------------------- */

static bool
is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
free_room(struct ramet_newsroom *room)
{
    if (room == NULL)
        return;
    assert(room->refs <= 1);
    if (room->thread.running) {
        ramet_mutex_lock(&room->lock);
        room->stop = true;
        ramet_newsroom_wake(room);
        ramet_mutex_unlock(&room->lock);
        ramet_thread_join(&room->thread);
    }
    assert(room->curl == NULL);
    ramet_desks_free(room);
    if (room->multi != NULL)
        (void)curl_multi_cleanup(room->multi);
    ramet_http_pool_free(room->pool);
    ramet_cond_done(&room->changed);
    ramet_mutex_done(&room->lock);
    ramet_free(room->volumes);
    ramet_free(room->stream);
    ramet_free(room->root);
    ramet_free(room->token);
    ramet_free(room);
}

static struct ramet_newsroom *
new_room(const char *root, const struct ramet_remote_options *options,
         struct ramet_err *err)
{
    struct ramet_newsroom *const room = ramet_calloc(1, sizeof(*room));

    assert(root != NULL);
    if (room == NULL)
        goto failed;
    room->refs = 1;
    room->fork_count = ramet_os_fork_count();
    ramet_mutex_init(&room->lock);
    ramet_cond_init(&room->changed);
    if (ramet_http_pool_new(root, options, &room->pool, err) != RAMET_OK) {
        free_room(room);
        return NULL;
    }
    room->root = ramet_strdup(root);
    if (options->token != NULL)
        room->token = ramet_strdup(options->token);
    room->volumes =
        ramet_calloc(RAMET_NEWS_VOLUMES_MAX, sizeof(*room->volumes));
    room->stream = ramet_calloc(1, sizeof(*room->stream));
    room->multi = curl_multi_init();
    if (room->root != NULL && room->volumes != NULL && room->stream != NULL &&
        room->multi != NULL && (options->token == NULL || room->token != NULL))
        return room;
    free_room(room);

failed:
    (void)RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    return NULL;
}

/* Needs the process lock. */
static struct ramet_newsroom *
find_room(const struct ramet_newsroom *like)
{
    assert(like->root != NULL);
    for (struct ramet_newsroom *r = rooms; r != NULL; r = r->next)
        if (r->fork_count == like->fork_count &&
            strcmp(r->root, like->root) == 0 &&
            is_same_text(r->token, like->token))
            return r;
    return NULL;
}

enum ramet_rc
ramet_newsroom_join(const char *root,
                    const struct ramet_remote_options *options,
                    struct ramet_newsroom **out_room, struct ramet_err *err)
{
    struct ramet_err own = {.code = RAMET_ENOMEM};
    struct ramet_newsroom *const fresh =
        new_room(root, options, err != NULL ? err : &own);
    struct ramet_newsroom *found;

    if (fresh == NULL)
        return err != NULL ? err->code : own.code;
    ramet_process_lock();
    found = find_room(fresh);
    if (found != NULL) {
        found->refs++;
    } else {
        fresh->next = rooms;
        rooms = fresh;
    }
    ramet_process_unlock();
    if (found != NULL)
        free_room(fresh);
    *out_room = found != NULL ? found : fresh;
    return RAMET_OK;
}

void
ramet_newsroom_leave(struct ramet_newsroom *room, const void *owner)
{
    bool last;

    if (room == NULL || room->fork_count != ramet_os_fork_count())
        return;
    ramet_mutex_lock(&room->lock);
    ramet_desks_clear(room, owner);
    ramet_mutex_unlock(&room->lock);
    ramet_process_lock();
    assert(room->refs > 0);
    last = --room->refs == 0;
    for (struct ramet_newsroom **r = &rooms; last && *r != NULL;
         r = &(*r)->next)
        if (*r == room) {
            *r = room->next;
            break;
        }
    ramet_process_unlock();
    if (last)
        free_room(room);
}

/* ---- following ------------------------------------------------------------------------------- */

/* With the lock held. */
static enum ramet_rc
need_thread(struct ramet_newsroom *room, struct ramet_err *err)
{
    if (room->thread.running)
        return RAMET_OK;
    return ramet_thread_start(&room->thread, "ramet-news", ramet_newsroom_run,
                              room, err);
}

/* The desk of a volume, and the thread that serves all of them. With the lock. */
static enum ramet_rc
need_desk(struct ramet_newsroom *room, const void *owner,
          const struct ramet_news_taker *taker, const struct ramet_vid *volume,
          uint64_t after, struct desk **out_desk, struct ramet_err *err)
{
    const enum ramet_rc rc = need_thread(room, err);

    assert(owner != NULL && taker != NULL);
    if (rc != RAMET_OK)
        return rc;
    *out_desk = ramet_desk_need(room, owner, taker, volume, after);
    return *out_desk != NULL
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
}

enum ramet_rc
ramet_newsroom_follow(struct ramet_newsroom *room, const void *owner,
                      const struct ramet_news_taker *taker,
                      const struct ramet_vid *volume, uint64_t after,
                      const struct ramet_follower *follower,
                      struct ramet_err *err)
{
    struct attendant *const attendant = ramet_calloc(1, sizeof(*attendant));
    struct desk *desk = NULL;
    enum ramet_rc rc;

    if (attendant == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    assert(follower != NULL);
    attendant->follower = follower;
    ramet_mutex_lock(&room->lock);
    rc = need_desk(room, owner, taker, volume, after, &desk, err);
    if (desk != NULL) {
        attendant->next = desk->attendants;
        desk->attendants = attendant;
    }
    assert((rc == RAMET_OK) == (desk != NULL));
    ramet_mutex_unlock(&room->lock);
    if (rc != RAMET_OK)
        ramet_free(attendant);
    return rc;
}

void
ramet_newsroom_unfollow(struct ramet_newsroom *room, const void *owner,
                        const struct ramet_vid *volume,
                        const struct ramet_follower *follower)
{
    struct attendant **link;
    struct attendant *gone = NULL;
    struct desk *desk;

    assert(follower != NULL);
    ramet_mutex_lock(&room->lock);
    desk = ramet_desk_find(room, owner, volume);
    for (link = desk != NULL ? &desk->attendants : NULL;
         link != NULL && *link != NULL; link = &(*link)->next)
        if ((*link)->follower == follower) {
            gone = *link;
            *link = gone->next;
            desk->idle_since_ms = ramet_news_now_ms();
            break;
        }
    ramet_mutex_unlock(&room->lock);
    ramet_free(gone);
}

void
ramet_newsroom_move(struct ramet_newsroom *from, struct ramet_newsroom *to,
                    const void *owner)
{
    struct desk *moved = NULL;

    ramet_mutex_lock(&from->lock);
    for (struct desk **link = &from->desks; *link != NULL;) {
        struct desk *const d = *link;

        if (d->owner == owner && d->waiters == 0) {
            *link = d->next;
            d->next = moved;
            d->is_asked_for = false;
            moved = d;
        } else {
            link = &d->next;
        }
    }
    ramet_mutex_unlock(&from->lock);
    ramet_mutex_lock(&to->lock);
    while (moved != NULL) {
        struct desk *const d = moved;

        moved = d->next;
        d->next = to->desks;
        to->desks = d;
        to->grown = true;
        (void)!need_thread(to, NULL); /* without, it is polled */
        ramet_newsroom_wake(to);
    }
    ramet_mutex_unlock(&to->lock);
}

bool
ramet_newsroom_heard(struct ramet_newsroom *room, const void *owner,
                     const struct ramet_vid *volume, struct ramet_heard *out)
{
    const struct desk *desk;
    bool is_there;

    ramet_mutex_lock(&room->lock);
    desk = ramet_desk_find(room, owner, volume);
    is_there = desk != NULL && desk->told.lsn > 0;
    if (is_there)
        *out = (struct ramet_heard){.is_alive =
                                        room->alive && desk->is_asked_for &&
                                        !desk->is_gone && !desk->is_unknown,
                                    .newest = desk->told,
                                    .confirmed = desk->confirmed,
                                    .confirmed_ms = desk->confirmed_ms};
    ramet_mutex_unlock(&room->lock);
    return is_there;
}

void
ramet_newsroom_forget(struct ramet_newsroom *room, const void *owner,
                      const struct ramet_vid *volume)
{
    struct desk *desk;

    ramet_mutex_lock(&room->lock);
    desk = ramet_desk_find(room, owner, volume);
    if (desk != NULL) {
        desk->after = 0;
        memset(&desk->told, 0, sizeof(desk->told));
        memset(&desk->confirmed, 0, sizeof(desk->confirmed));
        desk->confirmed_ms = 0;
        desk->is_asked_for = false;
        room->anew = true;
        ramet_newsroom_wake(room);
    }
    ramet_mutex_unlock(&room->lock);
}

/* With the lock held. */
static enum ramet_rc
wait_at(struct ramet_newsroom *room, const struct desk *desk, uint64_t after,
        uint64_t until_ms, const volatile bool *cancel, struct ramet_err *err)
{
    const uint64_t breaks = room->breaks;

    assert(desk->waiters > 0);
    for (;;) {
        const uint64_t now = ramet_news_now_ms();

        if (desk->told.lsn > after)
            return RAMET_OK;
        if (desk->is_gone)
            return RAMET_FAIL(err, RAMET_ENOTFOUND,
                              "server %s: the volume was deleted", room->root);
        if (desk->is_unknown)
            return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                              "server %s: can't read the volume", room->root);
        if (cancel != NULL && *cancel)
            return RAMET_ECANCELLED;
        if (room->breaks != breaks) {
            if (err != NULL)
                *err = room->why;
            return room->why.code;
        }
        if (now >= until_ms)
            return RAMET_ETIMEOUT;
        ramet_cond_wait_ms(&room->changed, &room->lock,
                           until_ms - now < SLICE_MS || cancel == NULL
                               ? until_ms - now
                               : SLICE_MS);
    }
}

enum ramet_rc
ramet_newsroom_wait(struct ramet_newsroom *room, const void *owner,
                    const struct ramet_news_taker *taker,
                    const struct ramet_vid *volume, uint64_t after,
                    uint64_t timeout_ms, const volatile bool *cancel,
                    struct ramet_err *err)
{
    struct desk *desk = NULL;
    enum ramet_rc rc;

    ramet_mutex_lock(&room->lock);
    rc = need_desk(room, owner, taker, volume, after, &desk, err);
    if (desk != NULL) {
        desk->waiters++;
        rc = wait_at(room, desk, after, ramet_news_now_ms() + timeout_ms,
                     cancel, err);
        assert(desk->waiters > 0);
        desk->waiters--;
        desk->idle_since_ms = ramet_news_now_ms();
    }
    ramet_mutex_unlock(&room->lock);
    return rc;
}
