/*
 * rot.c - see rot.h.
 */
#include "tests/sim/rot.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/count.h"
#include "tests/sim/sched.h"

#define CANDIDATES_MAX 64u
#define TRIES 64u

struct candidate {
    struct sim_node *node;
    char name[60];
    enum sim_rotten kind;
};

struct candidates {
    struct candidate of[CANDIDATES_MAX];
    unsigned count;
};

static void
add(struct candidates *all, struct sim_node *node, const char *name,
    enum sim_rotten kind)
{
    if (all->count == CANDIDATES_MAX || node->size == 0)
        return;
    all->of[all->count].node = node;
    all->of[all->count].kind = kind;
    snprintf(all->of[all->count++].name, sizeof(all->of[0].name), "%s", name);
}

/* A place of which the byte is not 0, if some tries find one. */
static size_t
place_in(const uint8_t *bytes, size_t len, uint64_t *rng)
{
    size_t at = 0;

    for (unsigned i = 0; i < TRIES; i++) {
        at = (size_t)sim_below(rng, len);
        if (bytes[at] != 0)
            break;
    }
    return at;
}

void
sim_flip_bits(uint8_t *bytes, size_t len, uint64_t *rng)
{
    const size_t at = place_in(bytes, len, rng) / 8 * 8;
    const size_t word = len - at < 8 ? len - at : 8;
    const uint64_t first = sim_below(rng, word * 8);
    const unsigned count = 1 + (unsigned)sim_below(rng, 3);

    for (unsigned i = 0; i < count; i++) { /* 13 is prime to all widths */
        const uint64_t bit = (first + i * 13) % (word * 8);

        bytes[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* ---- files ------------------------------------------------------------------ */

static bool
is_all_zero(const uint8_t *block)
{
    static const uint8_t zeros[SIM_BLOCK];

    return block == NULL || memcmp(block, zeros, SIM_BLOCK) == 0;
}

/* A block with something in it; false: none has. */
static bool
choose_block(const struct sim_node *node, uint64_t *rng, size_t *out_index)
{
    uint64_t seen = 0;

    for (size_t i = 0; i < node->now.count && i * SIM_BLOCK < node->size; i++)
        if (!is_all_zero(node->now.at[i]) && sim_below(rng, ++seen) == 0)
            *out_index = i;
    return seen > 0;
}

/* What the disk has and what is read of it: the same bits, where they were the same
 * word. */
static void
put_word(struct sim_node *node, uint64_t offset, const uint8_t old[8],
         const uint8_t word[8])
{
    const size_t index = (size_t)(offset / SIM_BLOCK);
    uint8_t *const now = sim_block(&node->now, index);
    uint8_t *const kept = sim_block(&node->kept, index);

    if (now != NULL && memcmp(now + offset % SIM_BLOCK, old, 8) == 0)
        memcpy(now + offset % SIM_BLOCK, word, 8);
    if (kept != NULL && memcmp(kept + offset % SIM_BLOCK, old, 8) == 0)
        memcpy(kept + offset % SIM_BLOCK, word, 8);
}

static bool
rot_node(struct sim_node *node, const char *name, uint64_t *rng,
         struct sim_flip *out)
{
    size_t index = 0;
    uint8_t block[SIM_BLOCK];
    size_t at = 0;

    if (!choose_block(node, rng, &index))
        return false;
    sim_node_sync(node, false); /* it has been there for long */
    memcpy(block, sim_block(&node->now, index), SIM_BLOCK);
    sim_flip_bits(block, SIM_BLOCK, rng);
    while (memcmp(block + at, sim_block(&node->now, index) + at, 8) == 0)
        at += 8;
    out->node = node;
    out->offset = index * SIM_BLOCK + at;
    memcpy(out->before, sim_block(&node->now, index) + at, 8);
    memcpy(out->after, block + at, 8);
    put_word(node, out->offset, out->before, out->after);
    sim_count(SIM_COUNT_ROTTEN);
    sim_trace("bits flip in %s at %llu", name, (unsigned long long)out->offset);
    return true;
}

void
sim_rot_undo(const struct sim_flip *flip)
{
    put_word(flip->node, flip->offset, flip->after, flip->before);
}

/* A state of which the power took the copy, or whose writer died before it, is in
 * one slot alone until somebody opens the replica: no bit of that may flip. */
static bool
is_in_one_slot(const struct sim_node *node, const char *name)
{
    const uint8_t *const first = node->now.count > 0 ? node->now.at[0] : NULL;
    const uint8_t *const second = node->now.count > 1 ? node->now.at[1] : NULL;

    static_assert(SIM_BLOCK == 4096, "a slot");
    return strcmp(name, "state") == 0 &&
           (first == NULL || second == NULL ||
            memcmp(first, second, SIM_BLOCK) != 0);
}

static void
gather_replica(const struct sim_node *dir, bool is_idle, struct candidates *all)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        const char *const name = dir->entries[i].name;
        struct sim_node *const node = dir->entries[i].node;
        const bool is_log =
            strncmp(name, "log-", 4) == 0 || strcmp(name, "ahead.tmp") == 0;

        if (!node->is_dir && (is_idle || node->mapping == NULL) &&
            !is_in_one_slot(node, name))
            add(all, node, name, is_log ? SIM_ROT_LOG : SIM_ROT_OTHER);
    }
}

enum sim_rotten
sim_rot_replica(const char *path, bool is_idle, uint64_t *rng,
                struct sim_flip *out_flip)
{
    struct candidates all = {.count = 0};
    struct sim_node *node;
    char folder[80];
    unsigned chosen;

    snprintf(folder, sizeof(folder), "%s-ramet", path);
    if (is_idle && sim_find(NULL, path, &node) == 0 && !node->is_dir)
        add(&all, node, path, SIM_ROT_BASE);
    if (sim_find(NULL, folder, &node) == 0 && node->is_dir)
        gather_replica(node, is_idle, &all);
    if (all.count == 0)
        return SIM_ROT_NOTHING;
    chosen = (unsigned)sim_below(rng, all.count);
    return rot_node(all.of[chosen].node, all.of[chosen].name, rng, out_flip)
               ? all.of[chosen].kind
               : SIM_ROT_NOTHING;
}

static void
gather_below(const struct sim_node *dir, struct candidates *all)
{
    for (size_t i = 0; i < dir->entry_count; i++)
        if (dir->entries[i].node->is_dir)
            gather_below(dir->entries[i].node, all);
        else
            add(all, dir->entries[i].node, dir->entries[i].name, SIM_ROT_OTHER);
}

void
sim_rot_below(const char *folder, uint64_t *rng)
{
    struct candidates all = {.count = 0};
    struct sim_node *dir;
    struct sim_flip flip;
    unsigned chosen;

    if (sim_find(NULL, folder, &dir) == 0 && dir->is_dir)
        gather_below(dir, &all);
    if (all.count == 0)
        return;
    chosen = (unsigned)sim_below(rng, all.count);
    rot_node(all.of[chosen].node, all.of[chosen].name, rng, &flip);
}
