/*
 * newsroom_impl.h - a room and its desks: what newsroom.c (rooms, and who follows),
 * newsroom_stream.c (the thread and its stream) and newsroom_desk.c (what is
 * heard of a volume) share.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_NEWSROOM_IMPL_H
#define RAMET_CLIENT_REMOTE_NEWSROOM_IMPL_H

#include <curl/curl.h>

#include "client/remote/http_conn.h"
#include "client/remote/news.h"
#include "client/remote/newsroom.h"
#include "core/bytes.h"
#include "core/os.h"
#include "core/thread.h"

struct attendant {
    struct attendant *next;
    const struct ramet_follower *follower;
};

/* A volume that somebody follows; all under the room's lock. */
struct desk {
    struct desk *next;
    const void *owner;
    struct ramet_news_taker taker;
    struct ramet_vid volume;
    struct attendant *attendants;
    unsigned waiters;
    uint64_t idle_since_ms;
    uint64_t after;          /* what is known of it otherwise */
    bool is_asked_for;       /* the stream that runs has it */
    bool is_gone;            /* the server says so */
    bool is_unknown;         /* the server can't read it: to be asked for */
    struct ramet_point told; /* the newest that was heard of; LSN 0: none */
    struct ramet_point confirmed;
    uint64_t confirmed_ms; /* by CLOCK_BOOTTIME; 0: never */
};

struct ramet_newsroom {
    struct ramet_newsroom *next; /* under the process lock, as refs */
    unsigned refs;
    unsigned fork_count;
    char *root;
    char *token; /* NULL: none */
    struct ramet_http_pool *pool;
    struct ramet_mutex lock;
    struct ramet_cond changed;
    struct ramet_thread thread;
    struct desk *desks; /* lock, as all that follows */
    bool stop, grown, anew, alive;
    uint64_t breaks; /* how often a stream ended */
    struct ramet_err why;
    CURLM *multi; /* made with the room: a wake-up may always be sent */

    /* The thread's. */
    CURL *curl;
    struct curl_slist *headers;
    struct ramet_buf body;
    struct ramet_vid *volumes; /* by their number in the stream */
    struct ramet_news_stream *stream;
    enum ramet_rc read_rc;
    struct ramet_err read_err;
    uint64_t opened_ms, heard_ms, flood_ms, flood_bytes;
    uint64_t asked_boot_ms, begin_time_ms;
    bool begun;
};

/* Of the clock for waits, and of the one that runs in suspend. */
static inline uint64_t
ramet_news_now_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

static inline uint64_t
ramet_news_boot_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->boot_ns(os->ctx) / 1000000u;
}

/* newsroom_desk.c; all but the last with the lock held. */
struct desk *ramet_desk_find(struct ramet_newsroom *room, const void *owner,
                             const struct ramet_vid *volume);
/* Made if it is not there. NULL: no memory. */
struct desk *ramet_desk_need(struct ramet_newsroom *room, const void *owner,
                             const struct ramet_news_taker *taker,
                             const struct ramet_vid *volume, uint64_t after);
/* Those of `owner`, or (NULL) those that nobody came back to. */
void ramet_desks_clear(struct ramet_newsroom *room, const void *owner);
void ramet_desks_free(struct ramet_newsroom *room);
void ramet_desk_tell(const struct desk *d);
/* Its thread has something to look at. */
void ramet_newsroom_wake(struct ramet_newsroom *room);
/* A ramet_news_visit: takes the lock. */
enum ramet_rc ramet_newsroom_hear(void *ctx, const struct ramet_news *news,
                                  struct ramet_err *err);

/* newsroom_stream.c: the thread's body, of a room. */
void *ramet_newsroom_run(void *room);

#endif
