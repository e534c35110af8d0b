/*
 * http_shelf.c - see http_shelf.h.
 */
#include "client/remote/http_shelf.h"

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
    struct idle idle[RAMET_HTTP_SHELF]; /* the last one put is the last */
    unsigned count;
} shelf = {.mutex = RAMET_MUTEX_INIT};

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&shelf.mutex);
}

/* Invariant (3): what the parent had leaks here. */
static void
lock(void)
{
    ramet_mutex_lock(&shelf.mutex);
    if (shelf.fork_count == ramet_os_fork_count())
        return;
    assert(shelf.count <= RAMET_HTTP_SHELF); /* invariant 1 */
    shelf.fork_count = ramet_os_fork_count();
    shelf.users = 0;
    shelf.count = 0;
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
    const struct idle removed = shelf.idle[at];

    assert(at < shelf.count);
    shelf.count--;
    memmove(&shelf.idle[at], &shelf.idle[at + 1],
            (shelf.count - at) * sizeof(shelf.idle[0]));
    assert(shelf.count < RAMET_HTTP_SHELF);
    return removed;
}

void
ramet_http_shelf_join(void)
{
    lock();
    shelf.users++;
    ramet_mutex_unlock(&shelf.mutex);
}

void
ramet_http_shelf_leave(void)
{
    struct idle left[RAMET_HTTP_SHELF];
    unsigned count = 0;

    lock();
    /* A child that closes what its parent opened was never a user. */
    if (shelf.users > 0 && --shelf.users == 0) {
        count = shelf.count;
        memcpy(left, shelf.idle, count * sizeof(left[0]));
        shelf.count = 0;
    }
    assert(shelf.users > 0 || shelf.count == 0);
    ramet_mutex_unlock(&shelf.mutex);
    for (unsigned i = 0; i < count; i++)
        close_idle(&left[i]);
}

CURL *
ramet_http_shelf_take(const char *server)
{
    struct idle found = {.curl = NULL};
    bool is_found = false;

    lock();
    for (unsigned at = shelf.count; at-- > 0 && !is_found;) {
        is_found = strcmp(shelf.idle[at].server, server) == 0;
        if (is_found)
            found = remove_at(at);
    }
    ramet_mutex_unlock(&shelf.mutex);
    if (!is_found)
        return curl_easy_init();
    ramet_free(found.server);
    return found.curl;
}

void
ramet_http_shelf_put(const char *server, CURL *curl)
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
    if (shelf.users == 0) /* invariant (4): the user is the parent's */
        dropped = idle;
    else if (shelf.count == RAMET_HTTP_SHELF) /* invariant (1) */
        dropped = remove_at(0);
    if (shelf.users > 0)
        shelf.idle[shelf.count++] = idle;
    assert(shelf.count <= RAMET_HTTP_SHELF); /* invariant 1 */
    ramet_mutex_unlock(&shelf.mutex);
    close_idle(&dropped);
}
