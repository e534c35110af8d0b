/*
 * store.c - see store.h. None of it takes simulated time.
 */
#include "tests/sim/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/count.h"
#include "tests/sim/rot.h"

#define COPY_DIR "/store/copy"
#define FORMER_DIR "/store/former"
#define PATH_MAX_HERE 400u
#define ROTTEN_MAX 16u

/* An object that rotted, before and after. */
struct rotten {
    char name[PATH_MAX_HERE]; /* its key, or the path of its file */
    uint8_t *before, *after;
    size_t len;
};

static struct {
    struct sim_bucket *bucket;
    bool in_directory;
    struct rotten rotten[ROTTEN_MAX];
    unsigned rotten_count;
} store;

void
sim_store_begin(struct sim_bucket *bucket, bool in_directory)
{
    store.bucket = bucket;
    store.in_directory = in_directory;
    store.rotten_count = 0;
}

static void
forget_rotten(void)
{
    for (unsigned i = 0; i < store.rotten_count; i++) {
        free(store.rotten[i].before);
        free(store.rotten[i].after);
    }
    store.rotten_count = 0;
}

void
sim_store_end(void)
{
    forget_rotten();
}

static void
must(int result, const char *what, const char *path)
{
    if (result < 0)
        sim_fail("the store's copy: can't %s %s: %d", what, path, result);
}

static struct sim_node *
folder(const char *path)
{
    struct sim_node *node = NULL;

    must(sim_find(NULL, path, &node), "find", path);
    return node;
}

/* ---- commits ---------------------------------------------------------------- */

static struct sim_node *
child(const struct sim_node *dir, const char *name)
{
    for (size_t i = 0; dir != NULL && i < dir->entry_count; i++)
        if (strcmp(dir->entries[i].name, name) == 0)
            return dir->entries[i].node;
    return NULL;
}

static uint64_t
commits_in_directory(void)
{
    struct sim_node *root = NULL;
    const struct sim_node *volumes;
    uint64_t count = 0;

    if (sim_find(NULL, SIM_STORE_DIR, &root) != 0)
        return 0;
    volumes = child(root, "volumes");
    for (size_t i = 0; volumes != NULL && i < volumes->entry_count; i++) {
        const struct sim_node *const commits =
            child(volumes->entries[i].node, "commits");

        count += commits != NULL ? commits->entry_count : 0;
    }
    return count;
}

uint64_t
sim_store_commits(void)
{
    return store.in_directory ? commits_in_directory()
                              : sim_bucket_commits(store.bucket);
}

/* ---- copies ----------------------------------------------------------------- */

static void
path_below(const char *dir, const char *name, char out[PATH_MAX_HERE])
{
    snprintf(out, PATH_MAX_HERE, "%s/%s", dir, name);
}

static void
copy_file(const struct sim_node *from, const char *to)
{
    uint8_t *const bytes = malloc(from->size + 1);
    struct sim_node *node = NULL;

    if (bytes == NULL)
        abort();
    sim_file_read(from, 0, bytes, from->size);
    must(sim_make(NULL, to, false, from->mode, &node), "make", to);
    sim_file_write(node, 0, bytes, from->size);
    sim_node_sync(node, true);
    free(bytes);
}

static void
copy_folder(const struct sim_node *from, const char *to)
{
    struct sim_node *made = NULL;

    must(sim_make(NULL, to, true, from->mode, &made), "make", to);
    for (size_t i = 0; i < from->entry_count; i++) {
        const struct sim_entry *const entry = &from->entries[i];
        char path[PATH_MAX_HERE];

        path_below(to, entry->name, path);
        if (entry->node->is_dir)
            copy_folder(entry->node, path);
        else
            copy_file(entry->node, path);
    }
}

uint64_t
sim_store_copy(void)
{
    if (!store.in_directory)
        return sim_bucket_copy(store.bucket);
    sim_remove_below(COPY_DIR); /* one that was not good enough */
    copy_folder(folder(SIM_STORE_DIR), COPY_DIR);
    return commits_in_directory();
}

void
sim_store_put_back(bool in_place)
{
    const struct sim_node *copy;

    if (!store.in_directory) {
        sim_bucket_restore(store.bucket);
        return;
    }
    if (!in_place) {
        must(sim_rename(NULL, SIM_STORE_DIR, NULL, FORMER_DIR), "move",
             SIM_STORE_DIR);
        must(sim_rename(NULL, COPY_DIR, NULL, SIM_STORE_DIR), "move", COPY_DIR);
        return;
    }
    sim_empty_folder(SIM_STORE_DIR);
    copy = folder(COPY_DIR);
    while (copy->entry_count > 0) {
        char from[PATH_MAX_HERE], to[PATH_MAX_HERE];

        path_below(COPY_DIR, copy->entries[0].name, from);
        path_below(SIM_STORE_DIR, copy->entries[0].name, to);
        must(sim_rename(NULL, from, NULL, to), "move", from);
    }
    must(sim_unlink(NULL, COPY_DIR, true), "remove", COPY_DIR);
}

const char *
sim_store_other_line(void)
{
    struct sim_node *node;

    if (!store.in_directory)
        return NULL;
    return sim_find(NULL, FORMER_DIR, &node) == 0 ? "file://" FORMER_DIR "/vol"
           : sim_find(NULL, COPY_DIR, &node) == 0 ? "file://" COPY_DIR "/vol"
                                                  : NULL;
}

/* ---- what rots -------------------------------------------------------------- */

/* One object of all, by chance: the nth that is seen takes the place of the one
 * before with a chance of 1 in n. */
struct choice {
    uint64_t *rng;
    uint64_t seen;
    char name[PATH_MAX_HERE];
};

static bool
choose_object(void *ctx, const char *name, uint64_t size_bytes)
{
    struct choice *const choice = ctx;

    if (size_bytes > 0 && sim_below(choice->rng, ++choice->seen) == 0)
        snprintf(choice->name, sizeof(choice->name), "%s", name);
    return true;
}

static void
choose_below(struct choice *choice, const struct sim_node *dir,
             const char *path)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        const struct sim_node *const node = dir->entries[i].node;
        char below[PATH_MAX_HERE];

        path_below(path, dir->entries[i].name, below);
        if (node->is_dir)
            choose_below(choice, node, below);
        else
            choose_object(choice, below, node->size);
    }
}

/* The bytes of an object, to be freed; NULL: there is none. */
static uint8_t *
load(const char *name, size_t *out_len)
{
    struct sim_node *node;
    uint8_t *bytes;

    if (!store.in_directory)
        return sim_bucket_load(store.bucket, name, out_len);
    if (sim_find(NULL, name, &node) != 0)
        return NULL;
    *out_len = node->size;
    bytes = malloc(node->size + 1);
    if (bytes == NULL)
        abort();
    sim_file_read(node, 0, bytes, node->size);
    return bytes;
}

/* Others in the place of as many that are there; times stay as they are. */
static void
replace(const char *name, const uint8_t *bytes, size_t len)
{
    struct sim_node *node;

    if (!store.in_directory) {
        sim_bucket_replace(store.bucket, name, bytes, len);
    } else if (sim_find(NULL, name, &node) == 0) {
        const int64_t mtime_ns = node->mtime_ns, ctime_ns = node->ctime_ns;

        sim_file_write(node, 0, bytes, len);
        sim_node_sync(node, false);
        node->mtime_ns = mtime_ns;
        node->ctime_ns = ctime_ns;
    }
}

void
sim_store_rot(uint64_t *rng)
{
    struct choice choice = {.rng = rng};
    struct rotten *rotten = &store.rotten[store.rotten_count];
    struct sim_node *root;

    if (!store.in_directory)
        sim_bucket_visit(store.bucket, choose_object, &choice);
    else if (sim_find(NULL, SIM_STORE_DIR, &root) == 0)
        choose_below(&choice, root, SIM_STORE_DIR);
    if (choice.seen == 0 || store.rotten_count == ROTTEN_MAX)
        return;
    strcpy(rotten->name, choice.name);
    rotten->before = load(choice.name, &rotten->len);
    rotten->after = malloc(rotten->len);
    if (rotten->before == NULL || rotten->after == NULL)
        abort();
    memcpy(rotten->after, rotten->before, rotten->len);
    sim_flip_bits(rotten->after, rotten->len, rng);
    replace(choice.name, rotten->after, rotten->len);
    store.rotten_count++;
    sim_count(SIM_COUNT_ROTTEN);
    sim_trace("bits flip in the store's %s", choice.name);
}

bool
sim_store_is_rotten(void)
{
    return store.rotten_count > 0;
}

void
sim_store_mend(void)
{
    /* One that rotted twice is put back twice. */
    for (unsigned i = store.rotten_count; i-- > 0;) {
        const struct rotten *const rotten = &store.rotten[i];
        size_t len = 0;
        uint8_t *const now = load(rotten->name, &len);

        if (now != NULL && len == rotten->len &&
            memcmp(now, rotten->after, len) == 0)
            replace(rotten->name, rotten->before, len);
        free(now);
    }
    forget_rotten();
}
