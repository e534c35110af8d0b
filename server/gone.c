/*
 * gone.c - see gone.h for the contract.
 */
#include "server/gone.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "server/work.h"

/* A worker writes a commit, and within that a map. */
#define WRITERS_MAX (2u * RAMET_WORK_THREADS_MAX)

struct ramet_gone {
    struct ramet_mutex lock;
    struct ramet_cond left;
    /* Entries that are not nil: it only grows, under lock. Who sees 0 without it is
     * answered as of before the mark. */
    _Atomic unsigned marked;
    struct ramet_vid volumes[RAMET_GONE_MAX]; /* lock; a ring, nil: free */
    unsigned next;                            /* lock */
    struct ramet_vid writing[WRITERS_MAX];    /* lock */
    unsigned writers;                         /* lock */
};

enum ramet_rc
ramet_gone_new(struct ramet_gone **out_gone, struct ramet_err *err)
{
    struct ramet_gone *gone = ramet_calloc(1, sizeof(*gone));

    if (gone == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "volumes: out of memory");
    ramet_mutex_init(&gone->lock);
    ramet_cond_init(&gone->left);
    *out_gone = gone;
    return RAMET_OK;
}

void
ramet_gone_free(struct ramet_gone *gone)
{
    if (gone == NULL)
        return;
    assert(gone->writers == 0);
    ramet_cond_done(&gone->left);
    ramet_mutex_done(&gone->lock);
    ramet_free(gone);
}

/* With the lock held: NULL, or where it stands. */
static struct ramet_vid *
find(struct ramet_vid *list, unsigned count, const struct ramet_vid *volume)
{
    for (unsigned i = 0; i < count; i++) {
        if (ramet_id_compare(&list[i].id, &volume->id) == 0)
            return &list[i];
    }
    return NULL;
}

/* With the lock held. Nil is no volume: a free entry is, and what a name that was
 * taken away names. */
static bool
is_marked(struct ramet_gone *gone, const struct ramet_vid *volume)
{
    return !ramet_id_is_nil(&volume->id) &&
           find(gone->volumes, RAMET_GONE_MAX, volume) != NULL;
}

bool
ramet_gone_has(struct ramet_gone *gone, const struct ramet_vid *volume)
{
    bool has;

    if (atomic_load_explicit(&gone->marked, memory_order_acquire) == 0)
        return false;
    ramet_mutex_lock(&gone->lock);
    has = is_marked(gone, volume);
    ramet_mutex_unlock(&gone->lock);
    return has;
}

bool
ramet_gone_enter(struct ramet_gone *gone, const struct ramet_vid *volume)
{
    bool may;

    ramet_mutex_lock(&gone->lock);
    may = atomic_load_explicit(&gone->marked, memory_order_relaxed) == 0 ||
          !is_marked(gone, volume);
    if (may) {
        assert(gone->writers < WRITERS_MAX);
        gone->writing[gone->writers++] = *volume;
    }
    ramet_mutex_unlock(&gone->lock);
    return may;
}

void
ramet_gone_leave(struct ramet_gone *gone, const struct ramet_vid *volume)
{
    struct ramet_vid *at;

    ramet_mutex_lock(&gone->lock);
    at = find(gone->writing, gone->writers, volume);
    assert(at != NULL);
    *at = gone->writing[--gone->writers];
    ramet_cond_broadcast(&gone->left);
    ramet_mutex_unlock(&gone->lock);
}

void
ramet_gone_mark(struct ramet_gone *gone, const struct ramet_vid *volume)
{
    assert(!ramet_id_is_nil(&volume->id));
    ramet_mutex_lock(&gone->lock);
    if (!is_marked(gone, volume)) {
        struct ramet_vid *at = &gone->volumes[gone->next++ % RAMET_GONE_MAX];

        if (ramet_id_is_nil(&at->id))
            atomic_fetch_add_explicit(&gone->marked, 1, memory_order_release);
        *at = *volume;
    }
    while (find(gone->writing, gone->writers, volume) != NULL)
        ramet_cond_wait(&gone->left, &gone->lock);
    ramet_mutex_unlock(&gone->lock);
}
