/*
 * disk_crash.c - what a sync makes sure of, and what is left of a disk when
 * the power went; see disk.h.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/disk.h"
#include "tests/sim/sched.h"

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

void
sim_change_blocks(const struct sim_change *c, size_t *out_first,
                  size_t *out_end)
{
    uint64_t begin = c->offset;
    uint64_t end = c->offset + c->len;

    if (c->kind == SIM_RESIZED) {
        begin = c->len < c->offset ? c->len : c->offset;
        end = c->len < c->offset ? c->offset : begin;
    }
    *out_first = (size_t)(begin / SIM_BLOCK);
    *out_end = (size_t)((end + SIM_BLOCK - 1) / SIM_BLOCK);
}

/* What is kept is what there is. */
static void
keep_content(struct sim_node *node)
{
    size_t last = SIZE_MAX;

    for (size_t i = 0; i < node->change_count; i++) {
        size_t index, end;

        sim_change_blocks(&node->changes[i], &index, &end);
        for (; index < end; index++)
            if (index != last) {
                sim_block_set(&node->kept, index, sim_block(&node->now, index));
                last = index;
            }
    }
    for (size_t i = 0; node->mapping != NULL && i * SIM_BLOCK < node->size; i++)
        sim_block_set(&node->kept, i, node->mapping + i * SIM_BLOCK);
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

static void
set_adrift(struct sim_node *node, size_t index)
{
    const size_t count = index + 1;

    if (count > node->adrift_count) {
        node->adrift = realloc(node->adrift, count * sizeof(*node->adrift));
        if (node->adrift == NULL)
            abort();
        memset(node->adrift + node->adrift_count, 0,
               (count - node->adrift_count) * sizeof(*node->adrift));
        node->adrift_count = count;
    }
    node->adrift[index] = true;
}

/* Blocks that are to be written are, or are not: then they are adrift. */
static void
keep_some(struct sim_node *node, uint64_t *rng)
{
    const unsigned percent = (unsigned)sim_below(rng, 101);

    for (size_t i = 0; i < node->change_count; i++) {
        size_t index, end;

        sim_change_blocks(&node->changes[i], &index, &end);
        for (; index < end; index++)
            if (sim_chance(rng, percent))
                sim_block_set(&node->kept, index, sim_block(&node->now, index));
            else
                set_adrift(node, index);
    }
}

static void
forget_adrift(struct sim_node *node)
{
    free(node->adrift);
    node->adrift = NULL;
    node->adrift_count = 0;
}

bool
sim_node_lets_go(struct sim_node *node)
{
    bool any = false;

    for (size_t i = 0; node->mapping == NULL && i < node->adrift_count; i++) {
        if (!node->adrift[i])
            continue;
        sim_block_set(&node->now, i, sim_block(&node->kept, i));
        any = true;
    }
    forget_adrift(node);
    return any;
}

bool
sim_disk_lets_go(const struct sim_disk *disk)
{
    bool any = false;

    for (struct sim_node *n = disk->nodes; n != NULL; n = n->older)
        if (n->adrift_count > 0)
            any |= sim_node_lets_go(n);
    return any;
}

void
sim_node_sync_fails(struct sim_node *node, uint64_t seed)
{
    uint64_t rng = seed;

    if (node->disk == NULL || node->is_dir)
        return; /* names are in doubt until a sync of them succeeds */
    keep_some(node, &rng);
    node->kept_size = node->size;
    node->sync_failed = true;
    drop_changes(node);
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
    return fate->content_chance == 0 ? 0
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
    const uint8_t *const kept =
        sim_block(&node->kept, (size_t)(begin / SIM_BLOCK));
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
    if (kept != NULL)
        memcpy(out, kept + begin % SIM_BLOCK, SIM_SECTOR);
    else
        memset(out, 0, SIM_SECTOR);
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

/* What is left of a block, of which something may be lost. */
static void
crash_block(struct fate *fate, const struct sim_node *node, size_t index,
            size_t sized, uint64_t size, uint8_t left[SIM_BLOCK])
{
    const uint64_t begin = (uint64_t)index * SIM_BLOCK;

    for (uint32_t at = 0; at < SIM_BLOCK; at += SIM_SECTOR) {
        decide_sector(fate, node, begin + at, sized, left + at);
        /* (5): what else there is came through a mapping. */
        if (node->mapping != NULL && begin + at + SIM_SECTOR <= node->size &&
            survives(fate, fate->content_chance))
            memcpy(left + at, node->mapping + begin + at, SIM_SECTOR);
    }
    if (begin >= size)
        memset(left, 0, SIM_BLOCK);
    else if (size - begin < SIM_BLOCK)
        memset(left + (size - begin), 0, SIM_BLOCK - (size_t)(size - begin));
}

static bool
is_touched(const struct sim_node *node, size_t index)
{
    if (node->mapping != NULL)
        return true;
    for (size_t i = 0; i < node->change_count; i++) {
        size_t first, end;

        sim_change_blocks(&node->changes[i], &first, &end);
        if (index >= first && index < end)
            return true;
    }
    return false;
}

static void
crash_file(struct fate *fate, struct sim_node *node)
{
    static const uint8_t zeros[SIM_BLOCK];
    const size_t sized = steps_done(fate, node->change_count);
    size_t count =
        node->now.count > node->kept.count ? node->now.count : node->kept.count;
    uint64_t size = node->kept_size;

    /* Blocks that were written through a mapping are told by the size alone. */
    if (node->mapping != NULL && count * SIM_BLOCK < node->size)
        count = (size_t)((node->size + SIM_BLOCK - 1) / SIM_BLOCK);
    for (size_t i = 0; i < sized; i++)
        if (node->changes[i].kind == SIM_RESIZED)
            size = node->changes[i].len;
    for (size_t i = 0; i < count; i++) {
        uint8_t left[SIM_BLOCK];

        if (!is_touched(node, i))
            continue;
        crash_block(fate, node, i, sized, size, left);
        sim_block_set(&node->kept, i,
                      memcmp(left, zeros, SIM_BLOCK) != 0 ? left : NULL);
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *const left = sim_block(&node->kept, i);

        sim_block_clear(node, i);
        if (left != NULL)
            memcpy(sim_block_make(node, i), left, SIM_BLOCK);
    }
    drop_changes(node);
    forget_adrift(node);
    node->sync_failed = false;
    node->size = node->kept_size = size;
    node->ctime_ns = sim_file_time();
    if (!survives(fate, fate->content_chance))
        node->mtime_ns = node->kept_mtime_ns;
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

    fate.content_chance =
        kind < 4 ? chances[kind][0] : 1 + (unsigned)sim_below(&fate.rng, 99);
    fate.name_chance =
        kind < 4 ? chances[kind][1] : 1 + (unsigned)sim_below(&fate.rng, 99);
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
        else if (n->change_count > 0 || n->mapping != NULL || n->sync_failed)
            crash_file(&fate, n);
    }
}
