/*
 * http_idle.c - see http_idle.h.
 */
#include "client/remote/http_idle.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "core/alloc.h"
#include "core/os.h"
#include "core/thread.h"

struct idle {
    char *server;
    CURL *curl;
};

static struct {
    struct ramet_mutex mutex;
    unsigned users;
    unsigned fork_count;
    struct idle idle[RAMET_HTTP_IDLE_MAX]; /* the last one put is the last */
    unsigned count;
} kept = {.mutex = RAMET_MUTEX_INIT};

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&kept.mutex);
}

/* Invariant (3): what the parent had leaks here. */
static void
lock(void)
{
    ramet_mutex_lock(&kept.mutex);
    if (kept.fork_count == ramet_os_fork_count())
        return;
    assert(kept.count <= RAMET_HTTP_IDLE_MAX); /* invariant 1 */
    kept.fork_count = ramet_os_fork_count();
    kept.users = 0;
    kept.count = 0;
}

static void
close_idle(struct idle *idle)
{
    curl_easy_cleanup(idle->curl); /* NULL is fine */
    ramet_free(idle->server);
}

static struct idle
remove_at(unsigned at)
{
    const struct idle removed = kept.idle[at];

    assert(at < kept.count);
    kept.count--;
    memmove(&kept.idle[at], &kept.idle[at + 1],
            (kept.count - at) * sizeof(kept.idle[0]));
    assert(kept.count < RAMET_HTTP_IDLE_MAX);
    return removed;
}

void
ramet_http_idle_join(void)
{
    lock();
    kept.users++;
    ramet_mutex_unlock(&kept.mutex);
}

void
ramet_http_idle_leave(void)
{
    struct idle left[RAMET_HTTP_IDLE_MAX];
    unsigned count = 0;

    lock();
    /* A child that closes what its parent opened was never a user. */
    if (kept.users > 0 && --kept.users == 0) {
        count = kept.count;
        memcpy(left, kept.idle, count * sizeof(left[0]));
        kept.count = 0;
    }
    assert(kept.users > 0 || kept.count == 0);
    ramet_mutex_unlock(&kept.mutex);
    for (unsigned i = 0; i < count; i++)
        close_idle(&left[i]);
}

CURL *
ramet_http_idle_take(const char *server)
{
    struct idle found = {.curl = NULL};
    bool is_found = false;

    lock();
    for (unsigned at = kept.count; at-- > 0 && !is_found;) {
        is_found = strcmp(kept.idle[at].server, server) == 0;
        if (is_found)
            found = remove_at(at);
    }
    ramet_mutex_unlock(&kept.mutex);
    if (!is_found)
        return curl_easy_init();
    ramet_free(found.server);
    return found.curl;
}

unsigned
ramet_http_idle_count(const char *server)
{
    unsigned count = 0;

    lock();
    for (unsigned at = 0; at < kept.count; at++)
        count += strcmp(kept.idle[at].server, server) == 0;
    ramet_mutex_unlock(&kept.mutex);
    return count;
}

void
ramet_http_idle_put(const char *server, CURL *curl)
{
    struct idle idle = {.server = ramet_strdup(server), .curl = curl};
    struct idle dropped = {.curl = NULL};

    assert(curl != NULL);
    curl_easy_reset(curl); /* keeps the connection */
    if (idle.server == NULL) {
        close_idle(&idle);
        return;
    }
    lock();
    if (kept.users == 0) /* invariant (4): the user is the parent's */
        dropped = idle;
    else if (kept.count == RAMET_HTTP_IDLE_MAX) /* invariant (1) */
        dropped = remove_at(0);
    if (kept.users > 0)
        kept.idle[kept.count++] = idle;
    assert(kept.count <= RAMET_HTTP_IDLE_MAX); /* invariant 1 */
    ramet_mutex_unlock(&kept.mutex);
    close_idle(&dropped);
}
