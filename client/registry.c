/*
 * registry.c - see registry.h.
 *
 *   (1) the list and the reference counts change under `mutex`, which a thread
 *       that forks holds across fork(), so that the child finds it free
 *   (2) a child's objects are its own: those of its parent are passed over
 */
#include "client/registry.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/path.h"
#include "core/alloc.h"

#define LOCK_NAME "lock"

static struct ramet_mutex mutex = RAMET_MUTEX_INIT;
static struct ramet_replica *replicas;

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&mutex);
}

/* ---- places -------------------------------------------------------------- */

enum ramet_rc
ramet_replica_place_find(const struct ramet_os *os, const char *path,
                         struct ramet_replica_place *out_place,
                         struct ramet_err *err)
{
    struct ramet_replica_place place = {
        .os = os, .parent_fd = -1, .dir_fd = -1, .lock_fd = -1};
    const char *slash;
    char *parent = NULL;
    enum ramet_rc rc = ramet_path_resolve(os, path, &place.path, NULL, err);

    if (rc != RAMET_OK)
        return rc;
    slash = strrchr(place.path, '/');
    if (slash[1] == '\0') {
        rc = RAMET_FAIL(err, RAMET_EINVAL, "'%s' is no file name", path);
        goto done;
    }
    parent =
        slash == place.path
            ? ramet_strdup("/")
            : ramet_asprintf("%.*s", (int)(slash - place.path), place.path);
    place.name = ramet_strdup(slash + 1);
    place.dir_name = ramet_asprintf("%s-ramet", slash + 1);
    if (parent == NULL || place.name == NULL || place.dir_name == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a path");
        goto done;
    }
    place.parent_fd =
        os->open(os->ctx, AT_FDCWD, parent, O_RDONLY | O_DIRECTORY, 0);
    if (place.parent_fd < 0)
        rc = RAMET_FAIL_SYS(err, ramet_rc_of_errno(-place.parent_fd),
                            -place.parent_fd, "open directory %s", parent);

done:
    ramet_free(parent);
    if (rc == RAMET_OK)
        *out_place = place;
    else
        ramet_replica_place_done(&place);
    return rc;
}

void
ramet_replica_place_done(struct ramet_replica_place *place)
{
    const struct ramet_os *const os = place->os;

    if (place->lock_fd >= 0)
        os->close(os->ctx, place->lock_fd);
    if (place->dir_fd >= 0)
        os->close(os->ctx, place->dir_fd);
    if (place->parent_fd >= 0)
        os->close(os->ctx, place->parent_fd);
    ramet_free(place->path);
    ramet_free(place->name);
    ramet_free(place->dir_name);
    place->lock_fd = place->dir_fd = place->parent_fd = -1;
    place->path = place->name = place->dir_name = NULL;
}

enum ramet_rc
ramet_replica_place_enter(struct ramet_replica_place *place, bool make,
                          struct ramet_err *err)
{
    const struct ramet_os *const os = place->os;
    int result;

    if (make) {
        result = os->mkdir(os->ctx, place->parent_fd, place->dir_name, 0777);
        if (result < 0 && result != -EEXIST)
            return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                                  "make directory %s-ramet", place->path);
    }
    place->dir_fd = os->open(os->ctx, place->parent_fd, place->dir_name,
                             O_RDONLY | O_DIRECTORY, 0);
    if (place->dir_fd < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-place->dir_fd),
                              -place->dir_fd, "open directory %s-ramet",
                              place->path);
    place->lock_fd = os->open(os->ctx, place->dir_fd, LOCK_NAME,
                              O_RDWR | (make ? O_CREAT : 0), 0666);
    if (place->lock_fd == -EACCES || place->lock_fd == -EROFS ||
        place->lock_fd == -EPERM) {
        place->is_readonly = true;
        place->lock_fd =
            os->open(os->ctx, place->dir_fd, LOCK_NAME, O_RDONLY, 0);
    }
    if (place->lock_fd < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-place->lock_fd),
                              -place->lock_fd, "open %s-ramet/%s", place->path,
                              LOCK_NAME);
    return RAMET_OK;
}

int
ramet_replica_place_has(const struct ramet_replica_place *place,
                        const char *name)
{
    const struct ramet_os *const os = place->os;
    char *const path = ramet_asprintf("%s/%s", place->dir_name, name);
    struct ramet_stat st;
    int result;

    if (path == NULL)
        return -ENOMEM;
    result = os->stat_at(os->ctx, place->parent_fd, path, &st);
    ramet_free(path);
    return result == 0                               ? 1
           : result == -ENOENT || result == -ENOTDIR ? 0
                                                     : result;
}

bool
ramet_replica_place_is_current(const struct ramet_replica_place *place,
                               const struct ramet_replica *replica)
{
    const struct ramet_os *const os = place->os;
    char *const path = ramet_asprintf("%s/%s", place->dir_name, LOCK_NAME);
    struct ramet_stat named;
    bool is_current;

    if (path == NULL)
        return false;
    is_current = os->stat_at(os->ctx, replica->parent_fd, path, &named) == 0 &&
                 replica->device == named.device &&
                 replica->inode == named.inode;
    ramet_free(path);
    return is_current;
}

/* ---- the list ------------------------------------------------------------ */

static struct ramet_replica *
find_replica(const struct ramet_replica_place *place,
             const struct ramet_stat *st)
{
    struct ramet_replica *at = replicas;

    while (at != NULL &&
           (at->os != place->os || at->device != st->device ||
            at->inode != st->inode || at->is_readonly != place->is_readonly ||
            at->fork_count != ramet_os_fork_count()))
        at = at->next;
    return at;
}

static struct ramet_replica *
new_replica(struct ramet_replica_place *place, const struct ramet_stat *st)
{
    struct ramet_replica *const replica = ramet_calloc(1, sizeof(*replica));

    if (replica == NULL)
        return NULL;
    replica->path = ramet_strdup(place->path);
    if (replica->path == NULL) {
        ramet_free(replica);
        return NULL;
    }
    replica->os = place->os;
    replica->fork_count = ramet_os_fork_count();
    replica->name = place->name;
    replica->parent_fd = place->parent_fd;
    replica->dir_fd = place->dir_fd;
    replica->is_readonly = place->is_readonly;
    place->name = NULL;
    place->parent_fd = place->dir_fd = -1;
    replica->base_fd = replica->index_fd = replica->presence_fd = -1;
    replica->device = st->device;
    replica->inode = st->inode;
    atomic_init(&replica->era, 1);
    ramet_mutex_init(&replica->base_mutex);
    ramet_mutex_init(&replica->life_mutex);
    ramet_mutex_init(&replica->mutex);
    return replica;
}

enum ramet_rc
ramet_registry_get(struct ramet_replica_place *place,
                   struct ramet_replica **out_replica, struct ramet_err *err)
{
    struct ramet_replica *replica;
    struct ramet_stat st;
    const int result = place->os->stat(place->os->ctx, place->lock_fd, &st);

    if (result < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                              "stat %s-ramet/%s", place->path, LOCK_NAME);
    ramet_mutex_lock(&mutex);
    replica = find_replica(place, &st);
    if (replica == NULL) {
        replica = new_replica(place, &st);
        if (replica != NULL) {
            replica->next = replicas;
            replicas = replica;
        }
    }
    if (replica != NULL)
        replica->refs++;
    ramet_mutex_unlock(&mutex);
    if (replica == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to open %s",
                          place->path);
    *out_replica = replica;
    return RAMET_OK;
}

bool
ramet_registry_has(const struct ramet_replica_place *place)
{
    struct ramet_stat st;
    bool has;

    if (place->os->stat(place->os->ctx, place->lock_fd, &st) < 0)
        return false;
    ramet_mutex_lock(&mutex);
    has = find_replica(place, &st) != NULL;
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

    ramet_mutex_lock(&mutex);
    assert(replica->refs > 0);
    replica->refs--;
    if (replica->refs != 0) {
        ramet_mutex_unlock(&mutex);
        return;
    }
    while (*from != replica)
        from = &(*from)->next;
    *from = replica->next;
    ramet_mutex_unlock(&mutex);

    ramet_gens_close_all(replica);
    ramet_index_unmap(replica);
    close_fd(replica, replica->presence_fd);
    close_fd(replica, replica->base_fd);
    close_fd(replica, replica->dir_fd);
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
