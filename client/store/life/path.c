/*
 * path.c - see path.h.
 *
 *   (1) `done` is absolute, without links, "." and ".."; "" stands for "/"
 *   (2) `rest` is what of the path is still to be looked at, links that were
 *       followed put in their place
 */
#include "client/store/path.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"

#define PATH_BYTES 4096u /* PATH_MAX of Linux */
#define LINKS_MAX 100u

struct walk {
    const struct ramet_os *os;
    const char *path;       /* as it was asked for */
    char done[PATH_BYTES];  /* invariant (1) */
    char rest[PATH_BYTES];  /* invariant (2) */
    char aside[PATH_BYTES]; /* the first link that has a replica beside it */
    unsigned links;
    bool is_link;
};

static enum ramet_rc
too_long(const struct walk *walk, struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_EINVAL, "%.200s: the path is too long",
                      walk->path);
}

/* Take the next element out of `rest`, its length in *out_len; 0: none. */
static const char *
next_element(const struct walk *walk, size_t *out_len)
{
    const char *const element = walk->rest + strspn(walk->rest, "/");

    *out_len = strcspn(element, "/");
    assert(element[0] != '/');
    return element;
}

static void
drop_element(struct walk *walk)
{
    char *const slash = strrchr(walk->done, '/');

    assert(walk->done[0] == '\0' || walk->done[0] == '/'); /* invariant (1) */
    if (slash != NULL)
        *slash = '\0';
}

static enum ramet_rc
push_element(struct walk *walk, const char *element, size_t len,
             struct ramet_err *err)
{
    const size_t at = strlen(walk->done);

    assert(len != 0 && memchr(element, '/', len) == NULL); /* invariant (1) */
    if (at + 1 + len >= PATH_BYTES)
        return too_long(walk, err);
    walk->done[at] = '/';
    memcpy(walk->done + at + 1, element, len);
    walk->done[at + 1 + len] = '\0';
    return RAMET_OK;
}

/* Older versions of the command kept the replica there. */
static bool
has_replica(const struct walk *walk, const char *file)
{
    char *const state = ramet_asprintf("%s-ramet/state", file);
    struct ramet_os_stat st;
    const bool has = state != NULL && walk->os->stat_at(walk->os->ctx, AT_FDCWD,
                                                        state, &st) == 0;

    assert(file[0] == '/');
    ramet_free(state);
    return has;
}

/* `done` is a link to `target`: put that in its place. */
static enum ramet_rc
follow(struct walk *walk, const char *target, size_t len, struct ramet_err *err)
{
    const bool is_last = walk->rest[strspn(walk->rest, "/")] == '\0';
    const size_t rest_len = strlen(walk->rest);

    assert(len != 0 && len <= PATH_BYTES);
    if (++walk->links > LINKS_MAX)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%.200s: too many symbolic links, or a circle of "
                          "them",
                          walk->path);
    if (is_last) {
        walk->is_link = true;
        if (walk->aside[0] == '\0' && has_replica(walk, walk->done))
            memcpy(walk->aside, walk->done, sizeof(walk->aside));
    }
    if (len + 1 + rest_len >= PATH_BYTES)
        return too_long(walk, err);
    memmove(walk->rest + len + 1, walk->rest, rest_len + 1);
    memcpy(walk->rest, target, len);
    walk->rest[len] = '/';
    if (target[0] == '/')
        walk->done[0] = '\0';
    else
        drop_element(walk);
    return RAMET_OK;
}

static enum ramet_rc
step(struct walk *walk, const char *element, size_t len, struct ramet_err *err)
{
    const bool is_up = len == 2 && memcmp(element, "..", 2) == 0;
    const bool is_here = len == 1 && element[0] == '.';
    char target[PATH_BYTES];
    enum ramet_rc rc = RAMET_OK;
    int link_len;

    assert(element >= walk->rest && element < walk->rest + PATH_BYTES);
    if (is_up)
        drop_element(walk);
    else if (!is_here)
        rc = push_element(walk, element, len, err);
    memmove(walk->rest, element + len, strlen(element + len) + 1);
    if (rc != RAMET_OK || is_up || is_here)
        return rc;
    link_len = walk->os->read_link(walk->os->ctx, AT_FDCWD, walk->done, target,
                                   sizeof(target));
    return link_len > 0 ? follow(walk, target, (size_t)link_len, err)
                        : RAMET_OK;
}

static enum ramet_rc
start(struct walk *walk, struct ramet_err *err)
{
    assert(walk->done[0] == '\0' && walk->rest[0] == '\0');
    if (walk->path[0] == '\0')
        return RAMET_FAIL(err, RAMET_EINVAL, "the file name is empty");
    if (strlen(walk->path) >= PATH_BYTES)
        return too_long(walk, err);
    memcpy(walk->rest, walk->path, strlen(walk->path) + 1);
    if (walk->path[0] == '/')
        return RAMET_OK;
    if (getcwd(walk->done, PATH_BYTES) == NULL)
        return RAMET_FAIL_SYS(err, RAMET_EIO, errno,
                              "%.200s: no current directory", walk->path);
    if (strcmp(walk->done, "/") == 0)
        walk->done[0] = '\0';
    return RAMET_OK;
}

static enum ramet_rc
refuse_second(const struct walk *walk, struct ramet_err *err)
{
    assert(walk->is_link && walk->aside[0] == '/');
    if (has_replica(walk, walk->done))
        return RAMET_FAIL(err, RAMET_EEXIST,
                          "%.160s leads to %.160s, and both have a replica's "
                          "directory: two replicas over one file spoil it; "
                          "move the one away that has nothing to push",
                          walk->aside, walk->done);
    return RAMET_FAIL(err, RAMET_EEXIST,
                      "%.160s leads to %.160s, and the replica's directory "
                      "stands beside the link, where an older ramet put it; "
                      "`mv LINK-ramet FILE-ramet`, then go on",
                      walk->aside, walk->done);
}

enum ramet_rc
ramet_path_resolve(const struct ramet_os *os, const char *path, char **out_path,
                   bool *out_is_link, struct ramet_err *err)
{
    struct walk *const walk = ramet_calloc(1, sizeof(*walk));
    const char *element;
    char *found = NULL;
    size_t len = 0;
    enum ramet_rc rc;

    if (walk == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%.200s: no memory", path);
    walk->os = os;
    walk->path = path;
    rc = start(walk, err);
    while (rc == RAMET_OK && (element = next_element(walk, &len), len > 0))
        rc = step(walk, element, len, err);
    if (rc == RAMET_OK && walk->aside[0] != '\0')
        rc = refuse_second(walk, err);
    if (rc == RAMET_OK) {
        found = ramet_strdup(walk->done[0] != '\0' ? walk->done : "/");
        if (found == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "%.200s: no memory", path);
    }
    if (rc == RAMET_OK) {
        *out_path = found;
        if (out_is_link != NULL)
            *out_is_link = walk->is_link;
    }
    ramet_free(walk);
    return rc;
}
