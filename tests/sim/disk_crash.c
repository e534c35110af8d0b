/*
 * disk_crash.c - what a sync makes sure of, and what is left of a disk when
 * the power went; see disk.h.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/disk.h"
#include "tests/sim/sched.h"

#define BLOCK 4096u /* as disk.c has holes */

/* How one crash decides; chances in percent. */
struct fate {
    uint64_t rng;
    unsigned content_chance;
    unsigned name_chance;
};

/* ---- syncs ----------------------------------------------------------------- */

static void
drop_changes(struct sim_node *node)
{
    for (size_t i = 0; i < node->change_count; i++)
        free(node->changes[i].data);
    free(node->changes);
    node->changes = NULL;
    node->change_count = 0;
}

/* What is kept is what there is. */
static void
keep_content(struct sim_node *node)
{
    uint64_t begin = node->is_mapped ? 0 : UINT64_MAX;
    uint64_t end = node->is_mapped ? node->size : 0;

    for (size_t i = 0; i < node->change_count; i++) {
        const struct sim_change *const c = &node->changes[i];
        const bool resized = c->kind == SIM_RESIZED;
        const uint64_t from =
            resized && c->len < c->offset ? c->len : c->offset;
        const uint64_t to = resized ? (c->len > c->offset ? c->len : c->offset)
                                    : c->offset + c->len;

        begin = from < begin ? from : begin;
        end = to > end ? to : end;
    }
    if (node->size > node->kept_capacity) {
        node->kept = realloc(node->kept, node->capacity);
        if (node->kept == NULL)
            abort();
        memset(node->kept + node->kept_capacity, 0,
               node->capacity - node->kept_capacity);
        node->kept_capacity = node->capacity;
    }
    if (end > node->kept_capacity)
        end = node->kept_capacity;
    if (begin < end)
        memcpy(node->kept + begin, node->bytes + begin, end - begin);
    node->kept_size = node->size;
    drop_changes(node);
}

static void
apply(const struct sim_renaming *r)
{
    if (r->from != NULL)
        sim_entry_remove(r->from->kept_entries, &r->from->kept_entry_count,
                         r->from_name, r->node);
    if (r->to != NULL)
        sim_entry_set(&r->to->kept_entries, &r->to->kept_entry_count,
                      r->to_name, r->node);
}

static void
keep_names(struct sim_node *dir)
{
    struct sim_disk *const disk = dir->disk;
    struct sim_renaming *const old = disk->renamings;
    const size_t count = disk->renaming_count;

    disk->renamings = NULL;
    disk->renaming_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (old[i].to == dir || (old[i].to == NULL && old[i].from == dir)) {
            apply(&old[i]);
            continue;
        }
        disk->renamings = sim_grow(disk->renamings, disk->renaming_count,
                                   sizeof(*disk->renamings));
        disk->renamings[disk->renaming_count++] = old[i];
    }
    free(old);
}

void
sim_node_sync(struct sim_node *node, bool whole)
{
    if (node->disk == NULL)
        return;
    if (node->is_dir) {
        keep_names(node);
        return;
    }
    keep_content(node);
    if (whole)
        node->kept_mtime_ns = node->mtime_ns;
}

/* ---- the power goes --------------------------------------------------------- */

static bool
survives(struct fate *fate, unsigned chance)
{
    return sim_chance(&fate->rng, chance);
}

/* Of `count` steps those that took place: all, none, or any number between. */
static size_t
steps_done(struct fate *fate, size_t count)
{
    if (count == 0 || survives(fate, fate->content_chance))
        return count;
    return fate->content_chance == 0
               ? 0
               : (size_t)sim_below(&fate->rng, count + 1);
}

static bool
touches(const struct sim_change *c, uint64_t begin)
{
    const uint64_t end = begin + SIM_SECTOR;

    if (c->kind == SIM_RESIZED)
        return c->len < c->offset && c->len < end && begin < c->offset;
    return c->offset < end && begin < c->offset + c->len;
}

/* One change, as far as it concerns the bytes at [begin, begin + SECTOR). */
static void
redo(const struct sim_change *c, uint8_t *bytes, uint64_t begin)
{
    const uint64_t end = begin + SIM_SECTOR;
    uint64_t from = c->kind == SIM_RESIZED ? c->len : c->offset;
    uint64_t to = c->kind == SIM_RESIZED ? end : c->offset + c->len;

    from = from < begin ? begin : from;
    to = to > end ? end : to;
    if (c->kind == SIM_WROTE)
        memcpy(bytes + (from - begin), c->data + (from - c->offset), to - from);
    else
        memset(bytes + (from - begin), 0, to - from);
}

/*
 * The bytes that a sector is left with. `sized` is how many changes the size
 * knows of: cuts among them took place, later ones did not, by (3).
 */
static void
decide_sector(struct fate *fate, const struct sim_node *node, uint64_t begin,
              size_t sized, uint8_t out[SIM_SECTOR])
{
    size_t sure = 0; /* changes that took place for certain */
    size_t end = node->change_count;
    size_t possible = 0;
    size_t done;

    for (size_t i = 0; i < node->change_count; i++) {
        const struct sim_change *const c = &node->changes[i];

        if (c->kind != SIM_RESIZED || !touches(c, begin))
            continue;
        if (i < sized)
            sure = i + 1;
        else if (i < end)
            end = i;
    }
    memset(out, 0, SIM_SECTOR);
    if (begin < node->kept_size)
        memcpy(out, node->kept + begin,
               node->kept_size - begin < SIM_SECTOR
                   ? (size_t)(node->kept_size - begin)
                   : SIM_SECTOR);
    for (size_t i = sure; i < end; i++)
        possible += touches(&node->changes[i], begin);
    done = steps_done(fate, possible);
    for (size_t i = 0; i < end; i++) {
        const struct sim_change *const c = &node->changes[i];

        if (!touches(c, begin))
            continue;
        if (i >= sure && done-- == 0)
            break;
        redo(c, out, begin);
    }
}

static void
crash_file(struct fate *fate, struct sim_node *node)
{
    static const uint8_t zeros[BLOCK];
    const size_t sized = steps_done(fate, node->change_count);
    uint64_t size = node->kept_size;
    uint8_t *left;

    for (size_t i = 0; i < sized; i++)
        if (node->changes[i].kind == SIM_RESIZED)
            size = node->changes[i].len;
    left = calloc(1, size + SIM_SECTOR);
    if (left == NULL)
        abort();
    for (uint64_t at = 0; at < size; at += SIM_SECTOR) {
        decide_sector(fate, node, at, sized, left + at);
        /* (5): what else there is came through a mapping. */
        if (node->is_mapped && at + SIM_SECTOR <= node->size &&
            survives(fate, fate->content_chance))
            memcpy(left + at, node->bytes + at, SIM_SECTOR);
    }
    drop_changes(node);
    sim_file_resize(node, 0);
    sim_file_resize(node, size);
    for (uint64_t at = 0; at < size; at += BLOCK) {
        const size_t len = size - at < BLOCK ? (size_t)(size - at) : BLOCK;

        if (memcmp(left + at, zeros, len) != 0)
            sim_file_write(node, at, left + at, len);
    }
    if (!survives(fate, fate->content_chance))
        node->mtime_ns = node->kept_mtime_ns;
    keep_content(node);
    free(left);
}

static void
crash_folder(struct sim_node *dir)
{
    free(dir->entries);
    dir->entries = NULL;
    dir->entry_count = 0;
    for (size_t i = 0; i < dir->kept_entry_count; i++) {
        struct sim_node *const node = dir->kept_entries[i].node;

        sim_entry_set(&dir->entries, &dir->entry_count,
                      dir->kept_entries[i].name, node);
        node->link_count++;
        if (node->is_dir)
            node->parent = dir;
    }
}

void
sim_disk_crash(struct sim_disk *disk, uint64_t seed)
{
    static const unsigned chances[][2] = {
        {0, 0}, {100, 100}, {0, 100}, {100, 0}};
    struct fate fate = {.rng = seed};
    const uint64_t kind = sim_below(&fate.rng, 8);

    fate.content_chance = kind < 4 ? chances[kind][0]
                                   : 1 + (unsigned)sim_below(&fate.rng, 99);
    fate.name_chance = kind < 4 ? chances[kind][1]
                                : 1 + (unsigned)sim_below(&fate.rng, 99);
    for (size_t i = 0; i < disk->renaming_count; i++)
        if (survives(&fate, fate.name_chance))
            apply(&disk->renamings[i]);
    free(disk->renamings);
    disk->renamings = NULL;
    disk->renaming_count = 0;
    for (struct sim_node *n = disk->nodes; n != NULL; n = n->older) {
        n->link_count = n == disk->root;
        n->lock_count = 0;
    }
    for (struct sim_node *n = disk->nodes; n != NULL; n = n->older) {
        if (n->is_dir)
            crash_folder(n);
        else if (n->change_count > 0 || n->is_mapped)
            crash_file(&fate, n);
    }
}
