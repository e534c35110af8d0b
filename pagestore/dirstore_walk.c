/*
 * dirstore_walk.c - depth-first over directories, names sorted.
 *
 * A directory's name is compared with '/' behind it, for that is what follows
 * it in a key: "a-b" < "a/c" < "a0".
 *
 * (1) names[] of a level holds at most 2 * BATCH names while it is filled and
 * BATCH afterwards, sorted, all > level->last; if `more`, the directory has
 * names beyond the last of them. (2) path[] is the directory of the top level,
 * with its slash, or empty; path_len of each level says how much of it is its.
 *
 * Layer: pagestore.
 */
#include "pagestore/dirstore_walk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/alloc.h"
#include "core/rights.h"

#define BATCH 16384u

struct level {
    struct level *parent;
    int fd;          /* of its directory; -1: there is none */
    size_t path_len; /* invariant (2) */
    char **names;    /* invariant (1); directories end in '/' */
    size_t count;
    size_t capacity;
    size_t index; /* next to be handed out */
    bool more;
    bool cut; /* names[BATCH - 1] is known to bound what is still wanted */
    char last[RAMET_KEY_MAX + 1]; /* names up to here were handed out */
};

struct walk {
    const struct ramet_os *os;
    int root_fd;
    const char *store_name;
    const char *prefix;
    const char *after;
    struct level *top;
    char path[RAMET_KEY_MAX + 1];
};

static bool
begins_with(const char *text, const char *head)
{
    assert(text != NULL && head != NULL);
    return strncmp(text, head, strlen(head)) == 0;
}

static int
compare_names(const void *a, const void *b)
{
    assert(a != NULL && b != NULL);
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Is there a key wanted at, or (a directory) below, path + name? */
static bool
is_wanted(const struct walk *walk, const char *name, bool is_dir)
{
    char full[2 * RAMET_KEY_MAX + 2];
    const size_t path_len = walk->top->path_len;

    assert(path_len <= RAMET_KEY_MAX && strlen(name) <= RAMET_KEY_MAX);
    memcpy(full, walk->path, path_len);
    strcpy(full + path_len, name);
    if (strlen(full) >= RAMET_KEY_MAX)
        return false;
    if (!is_dir)
        return begins_with(full, walk->prefix) && strcmp(full, walk->after) > 0;
    if (!begins_with(full, walk->prefix) && !begins_with(walk->prefix, full))
        return false;
    return strcmp(full, walk->after) > 0 || begins_with(walk->after, full);
}

static void
drop_names(struct level *level, size_t from)
{
    assert(level->count <= level->capacity);
    for (size_t i = from; i < level->count; i++)
        ramet_free(level->names[i]);
    if (from < level->count)
        level->count = from;
}

static void
sort_and_cut(struct level *level)
{
    assert(level->count <= (size_t)2 * BATCH); /* invariant (1) */
    if (level->count > 1)
        qsort(level->names, level->count, sizeof(*level->names), compare_names);
    if (level->count > BATCH) {
        drop_names(level, BATCH);
        level->more = true;
        level->cut = true;
    }
}

static int
add_name(struct level *level, const char *name)
{
    char *copy;

    assert(level->count < (size_t)2 * BATCH); /* invariant (1) */
    if (level->count == level->capacity) {
        const size_t capacity = level->capacity == 0 ? 64 : level->capacity * 2;
        char **grown =
            ramet_realloc(level->names, capacity * sizeof(*level->names));

        if (grown == NULL)
            return -ENOMEM;
        level->names = grown;
        level->capacity = capacity;
    }
    copy = ramet_strdup(name);
    if (copy == NULL)
        return -ENOMEM;
    level->names[level->count++] = copy;
    if (level->count == (size_t)2 * BATCH)
        sort_and_cut(level);
    return 0;
}

/* ramet_dir_visit: a negative result stops the listing and is its result. */
static int
visit_entry(void *ctx, const char *entry, bool is_dir)
{
    struct walk *walk = ctx;
    struct level *level = walk->top;
    char name[RAMET_KEY_MAX + 1];
    const size_t len = strlen(entry);

    assert(!level->cut || level->count >= BATCH);
    if (len >= RAMET_KEY_MAX - 1 || !ramet_key_valid(entry))
        return 0; /* no name of ours */
    if (level->path_len == 0 && strcmp(entry, RAMET_DIRSTORE_TMP) == 0)
        return 0;
    memcpy(name, entry, len + 1);
    if (is_dir)
        memcpy(name + len, "/", 2);
    if (strcmp(name, level->last) <= 0 || !is_wanted(walk, name, is_dir))
        return 0;
    if (level->cut && strcmp(name, level->names[BATCH - 1]) > 0)
        return 0; /* one of those that `more` stands for */
    return add_name(level, name);
}

static enum ramet_rc
fail_list(const struct walk *walk, int negated, struct ramet_err *err)
{
    const size_t len = walk->top->path_len;

    assert(negated < 0 && walk->top != NULL);
    return RAMET_FAIL_OS(err, negated, "%s/%.*s: can't list", walk->store_name,
                         len > 0 ? (int)len - 1 : 0, walk->path);
}

/* Fill the top level with the next names after level->last. */
static enum ramet_rc
load_level(struct walk *walk, struct ramet_err *err)
{
    struct level *level = walk->top;
    int got;

    drop_names(level, 0);
    level->index = 0;
    level->more = false;
    level->cut = false;
    got = level->fd < 0 ? 0
                        : walk->os->list(walk->os->ctx, level->fd, ".",
                                         visit_entry, walk);
    if (got < 0 && got != -ENOENT)
        return fail_list(walk, got, err);
    sort_and_cut(level);
    assert(level->count <= BATCH &&
           (!level->more || level->count == BATCH)); /* invariant (1) */
    return RAMET_OK;
}

/* No link is followed: what it leads to is not the store's. A directory that
 * went, or was never made, has no keys. */
static int
open_level(const struct walk *walk)
{
    const struct level *level = walk->top;
    const struct level *above = level->parent;
    const size_t from = above == NULL ? 0 : above->path_len;
    char dir[RAMET_KEY_MAX + 1] = ".";

    assert(above == NULL || from < level->path_len); /* invariant (2) */
    if (level->path_len > 0) {
        memcpy(dir, walk->path + from, level->path_len - 1 - from);
        dir[level->path_len - 1 - from] = '\0';
    }
    return ramet_rights_open_below(walk->os,
                                   above == NULL ? walk->root_fd : above->fd,
                                   dir, O_RDONLY | O_DIRECTORY);
}

static enum ramet_rc
push_level(struct walk *walk, size_t path_len, struct ramet_err *err)
{
    struct level *level = ramet_calloc(1, sizeof(*level));

    if (level == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: listing", walk->store_name);
    assert(path_len == 0 || walk->path[path_len - 1] == '/');
    level->parent = walk->top;
    level->path_len = path_len;
    walk->top = level;
    level->fd = open_level(walk);
    if (level->fd < 0 && level->fd != -ENOENT && level->fd != -ENOTDIR)
        return fail_list(walk, level->fd, err);
    return load_level(walk, err);
}

static void
pop_level(struct walk *walk)
{
    struct level *level = walk->top;

    assert(level != NULL);
    walk->top = level->parent;
    if (level->fd >= 0)
        (void)walk->os->close(walk->os->ctx, level->fd);
    drop_names(level, 0);
    ramet_free(level->names);
    ramet_free(level);
}

/* Hand out the key in walk->path, if it is a file still. */
static enum ramet_rc
visit_file(struct walk *walk, ramet_objstore_visit *visit, void *ctx,
           bool *out_go_on, struct ramet_err *err)
{
    const struct level *level = walk->top;
    struct ramet_os_stat st;
    const int got = walk->os->stat_at(walk->os->ctx, level->fd,
                                      walk->path + level->path_len, &st);

    assert(level->fd >= 0); /* else it had no names */
    if (got == -ENOENT)
        return RAMET_OK;
    if (got < 0)
        return RAMET_FAIL_OS(err, got, "%s/%s: can't look at it",
                             walk->store_name, walk->path);
    if (S_ISREG(st.mode))
        *out_go_on = visit(ctx, walk->path, st.size_bytes);
    return RAMET_OK;
}

/* One step of the walk: the next name of the top level, or up. */
static enum ramet_rc
step(struct walk *walk, ramet_objstore_visit *visit, void *ctx, bool *out_go_on,
     struct ramet_err *err)
{
    struct level *level = walk->top;
    const char *name;
    size_t len;

    assert(level->index <= level->count);
    if (level->index == level->count) {
        if (level->more)
            return load_level(walk, err);
        pop_level(walk);
        return RAMET_OK;
    }
    name = level->names[level->index++];
    len = strlen(name);
    assert(strcmp(name, level->last) > 0);         /* invariant (1) */
    assert(level->path_len + len < RAMET_KEY_MAX); /* is_wanted() saw to it */
    memcpy(level->last, name, len + 1);
    memcpy(walk->path + level->path_len, name, len + 1);
    if (name[len - 1] == '/')
        return push_level(walk, level->path_len + len, err);
    return visit_file(walk, visit, ctx, out_go_on, err);
}

/* No key begins with a directory that is no valid path, nor do the temporary
 * files count: a prefix never leads out of the store, or to them. */
static bool
may_hold_keys(const char *prefix, size_t head)
{
    char dir[RAMET_KEY_MAX];

    assert(head < RAMET_KEY_MAX && (head == 0 || prefix[head - 1] == '/'));
    if (head == 0)
        return true;
    memcpy(dir, prefix, head - 1);
    dir[head - 1] = '\0';
    return ramet_key_valid(dir) && strcmp(dir, RAMET_DIRSTORE_TMP) != 0 &&
           !begins_with(dir, RAMET_DIRSTORE_TMP "/");
}

enum ramet_rc
ramet_dirstore_walk(const struct ramet_os *os, int root_fd,
                    const char *store_name, const char *prefix,
                    const char *after, ramet_objstore_visit *visit, void *ctx,
                    struct ramet_err *err)
{
    struct walk walk = {
        .os = os,
        .root_fd = root_fd,
        .store_name = store_name,
        .prefix = prefix,
        .after = after,
    };
    const char *slash = strrchr(prefix, '/');
    const size_t head = slash == NULL ? 0 : (size_t)(slash - prefix) + 1;
    bool go_on = true;
    enum ramet_rc rc;

    assert(root_fd >= 0 && after != NULL && visit != NULL);
    if (!may_hold_keys(prefix, head))
        return RAMET_OK;
    memcpy(walk.path, prefix, head); /* start as deep as the prefix goes */
    rc = push_level(&walk, head, err);
    while (rc == RAMET_OK && go_on && walk.top != NULL)
        rc = step(&walk, visit, ctx, &go_on, err);
    while (walk.top != NULL)
        pop_level(&walk);
    assert(walk.top == NULL);
    return rc;
}
