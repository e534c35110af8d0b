/*
 * registry.c - see registry.h.
 *
 *   (1) the list and the reference counts change under `mutex`, which a thread
 *       that forks holds across fork(), so that the child finds it free
 *   (2) a child's objects are its own: those of its parent are passed over
 *   (3) a parent directory's descriptor may be that of several replicas: the last
 *       one in the list closes it
 */
#include "client/store/life/registry.h"

#include <assert.h>
#include <fcntl.h>

#include "client/store/life/location.h"
#include "client/store/log/recent.h"
#include "client/store/page/placed.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/replica.h"
#include "core/alloc.h"
#include "core/os_room.h"

static struct ramet_mutex mutex = RAMET_MUTEX_INIT;
static struct ramet_replica *replicas;
/* How many there are; stored under `mutex`. */
static atomic_uint replica_count;
static unsigned reference_count; /* sessions, under `mutex` */

/* From so many on each does with few descriptors: it is then that they may run
 * out, at the usual limit of 1,024, and opening again what a busy one needs costs
 * some microseconds. */
#define CROWD 16u
/* Descriptors of a session that reads, with those of its replica; and what else a
 * process has, connections among it. Where that is more than
 * the usual limit, more is asked for. */
#define SESSION_DESCRIPTORS 4u
#define OTHER_DESCRIPTORS 256u
#define SESSIONS_UNNOTICED 192u /* the usual limit is 1,024 */

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&mutex);
}

/* ---- the list ------------------------------------------------------------ */

static struct ramet_replica *
find_replica(const struct ramet_replica_location *location)
{
    const struct ramet_os_stat *const st = &location->lock;
    struct ramet_replica *at = replicas;

    assert(location->os != NULL);
    while (at != NULL && (at->os != location->os || at->device != st->device ||
                          at->inode != st->inode ||
                          at->is_readonly != location->is_readonly ||
                          at->fork_count != ramet_os_fork_count()))
        at = at->next;
    return at;
}

bool
ramet_registry_is_crowded(void)
{
    return atomic_load_explicit(&replica_count, memory_order_relaxed) >= CROWD;
}

/* Another one in the same directory: its descriptor will do. Invariant (3). */
static void
share_parent(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;

    assert(replica->parent_fd >= 0);
    if (!ramet_registry_is_crowded() ||
        os->stat(os->ctx, replica->parent_fd, &st) < 0)
        return;
    replica->parent_device = st.device;
    replica->parent_inode = st.inode;
    for (const struct ramet_replica *r = replicas; r != NULL; r = r->next)
        if (r->os == os && r->fork_count == replica->fork_count &&
            r->parent_inode == st.inode && r->parent_device == st.device) {
            os->close(os->ctx, replica->parent_fd);
            replica->parent_fd = r->parent_fd;
            return;
        }
}

/* Under the mutex; `replica` is in the list no more. */
static bool
is_parent_shared(const struct ramet_replica *replica)
{
    for (const struct ramet_replica *r = replicas; r != NULL; r = r->next)
        if (r->os == replica->os && r->fork_count == replica->fork_count &&
            r->parent_fd == replica->parent_fd)
            return true;
    return false;
}

static struct ramet_replica *
new_replica(struct ramet_replica_location *location)
{
    struct ramet_replica *const replica = ramet_calloc(1, sizeof(*replica));

    assert(location->dir_fd >= 0 && location->lock_fd >= 0);
    if (replica == NULL)
        return NULL;
    replica->path = ramet_strdup(location->path);
    if (replica->path == NULL) {
        ramet_free(replica);
        return NULL;
    }
    replica->os = location->os;
    replica->fork_count = ramet_os_fork_count();
    replica->name = location->name;
    replica->parent_fd = location->parent_fd;
    replica->dir_fd = location->dir_fd;
    replica->is_readonly = location->is_readonly;
    location->name = NULL;
    location->parent_fd = location->dir_fd = -1;
    replica->base_fd = replica->index_fd = replica->presence_fd = -1;
    replica->device = location->lock.device;
    replica->inode = location->lock.inode;
    atomic_init(&replica->epoch, 1);
    ramet_mutex_init(&replica->base_mutex);
    ramet_mutex_init(&replica->life_mutex);
    ramet_mutex_init(&replica->mutex);
    return replica;
}

enum ramet_rc
ramet_registry_get(struct ramet_replica_location *location,
                   struct ramet_replica **out_replica, struct ramet_err *err)
{
    struct ramet_replica *replica;

    ramet_mutex_lock(&mutex);
    replica = find_replica(location);
    if (replica == NULL) {
        replica = new_replica(location);
        if (replica != NULL) {
            share_parent(replica);
            replica->next = replicas;
            replicas = replica;
            atomic_fetch_add(&replica_count, 1);
        }
    }
    if (replica != NULL) {
        replica->refs++;
        reference_count++;
    }
    if (reference_count > SESSIONS_UNNOTICED)
        ramet_os_want_descriptors(reference_count * SESSION_DESCRIPTORS +
                                  OTHER_DESCRIPTORS);
    assert(replica == NULL || replica->os == location->os);
    ramet_mutex_unlock(&mutex);
    if (replica == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to open %s",
                          location->path);
    *out_replica = replica;
    return RAMET_OK;
}

bool
ramet_registry_has(const struct ramet_replica_location *location)
{
    bool has;

    ramet_mutex_lock(&mutex);
    has = find_replica(location) != NULL;
    ramet_mutex_unlock(&mutex);
    return has;
}

static void
close_fd(struct ramet_replica *replica, int fd)
{
    if (fd >= 0)
        replica->os->close(replica->os->ctx, fd);
}

void
ramet_registry_put(struct ramet_replica *replica)
{
    struct ramet_replica **from = &replicas;
    bool is_shared;

    ramet_mutex_lock(&mutex);
    assert(replica->refs > 0 && reference_count > 0);
    replica->refs--;
    reference_count--;
    if (replica->refs != 0) {
        ramet_mutex_unlock(&mutex);
        return;
    }
    while (*from != replica)
        from = &(*from)->next;
    *from = replica->next;
    atomic_fetch_sub(&replica_count, 1);
    is_shared = is_parent_shared(replica);
    ramet_mutex_unlock(&mutex);

    ramet_frame_files_close_all(replica);
    ramet_recent_done(replica);
    ramet_placed_done(replica);
    ramet_index_unmap(replica);
    close_fd(replica, replica->presence_fd);
    close_fd(replica, replica->base_fd);
    close_fd(replica, replica->dir_fd);
    if (!is_shared)
        close_fd(replica, replica->parent_fd);
    if (replica->fork_count == ramet_os_fork_count()) {
        ramet_mutex_done(&replica->base_mutex);
        ramet_mutex_done(&replica->life_mutex);
        ramet_mutex_done(&replica->mutex);
    }
    ramet_free(replica->path);
    ramet_free(replica->name);
    ramet_free(replica);
}
