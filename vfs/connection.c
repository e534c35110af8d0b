/*
 * connection.c - see connection.h.
 */
#include "vfs/connection.h"

#include <assert.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/thread.h"

struct ramet_connection {
    struct ramet_connection *next;
    sqlite3 *handle;
    unsigned refs;
    bool has_question;
    char last[RAMET_ERR_TEXT_MAX];
};

static struct ramet_mutex mutex = RAMET_MUTEX_INIT; /* of all below */
static struct ramet_connection *connections;

static struct ramet_connection *
find(const sqlite3 *handle)
{
    struct ramet_connection *at = connections;

    while (at != NULL && at->handle != handle)
        at = at->next;
    return at;
}

struct ramet_connection *
ramet_connection_get(sqlite3 *handle)
{
    struct ramet_connection *fresh = ramet_calloc(1, sizeof(*fresh));
    struct ramet_connection *found;

    assert(handle != NULL);
    ramet_mutex_lock(&mutex);
    found = find(handle);
    if (found == NULL && fresh != NULL) {
        found = fresh;
        fresh->handle = handle;
        fresh->next = connections;
        connections = fresh;
        fresh = NULL;
    }
    if (found != NULL)
        found->refs++;
    ramet_mutex_unlock(&mutex);
    ramet_free(fresh);
    return found;
}

void
ramet_connection_drop(void *connection)
{
    struct ramet_connection *const mine = connection;
    struct ramet_connection **from = &connections;

    ramet_mutex_lock(&mutex);
    assert(mine->refs > 0 && connections != NULL);
    if (--mine->refs > 0) {
        ramet_mutex_unlock(&mutex);
        return;
    }
    while (*from != mine)
        from = &(*from)->next;
    *from = mine->next;
    ramet_mutex_unlock(&mutex);
    ramet_free(mine);
}

bool
ramet_connection_is_known(const sqlite3 *handle)
{
    bool is_known;

    assert(handle != NULL);
    ramet_mutex_lock(&mutex);
    is_known = find(handle) != NULL;
    ramet_mutex_unlock(&mutex);
    return is_known;
}

void
ramet_connection_note(sqlite3 *handle, const char *text)
{
    struct ramet_connection *found;

    assert(text != NULL);
    ramet_mutex_lock(&mutex);
    found = find(handle);
    if (found != NULL)
        (void)snprintf(found->last, sizeof(found->last), "%s", text);
    ramet_mutex_unlock(&mutex);
}

void
ramet_connection_last(struct ramet_connection *connection, char *out,
                      size_t out_size)
{
    ramet_mutex_lock(&mutex);
    assert(connection->refs > 0 && out_size > 0);
    (void)snprintf(out, out_size, "%s", connection->last);
    ramet_mutex_unlock(&mutex);
}

bool
ramet_connection_begin_question(sqlite3 *handle)
{
    struct ramet_connection *found;
    bool begins;

    assert(handle != NULL);
    ramet_mutex_lock(&mutex);
    found = find(handle);
    begins = found != NULL && !found->has_question;
    if (begins)
        found->has_question = true;
    ramet_mutex_unlock(&mutex);
    return begins;
}

void
ramet_connection_end_question(sqlite3 *handle)
{
    struct ramet_connection *found;

    ramet_mutex_lock(&mutex);
    found = find(handle);
    assert(found == NULL || found->has_question);
    if (found != NULL)
        found->has_question = false;
    ramet_mutex_unlock(&mutex);
}

bool
ramet_connection_has_question(const sqlite3 *handle)
{
    const struct ramet_connection *found;
    bool has;

    assert(handle != NULL);
    ramet_mutex_lock(&mutex);
    found = find(handle);
    has = found != NULL && found->has_question;
    ramet_mutex_unlock(&mutex);
    return has;
}
