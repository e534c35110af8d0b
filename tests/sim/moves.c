/*
 * moves.c - replicas that go over to another name of the store, and one that leaves its
 * remote, goes on for itself, becomes a volume of its own in the end, and comes back as a
 * new clone.
 *
 * All names of the store lead to the same bytes: so nothing that must hold changes by
 * a move, wherever it was cut off. What a replica is bound to is asked of itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/store.h"
#include "tests/sim/world_impl.h"

void
sim_moves_choose(struct world *world, bool is_served)
{
    struct sim_env *const env = &world->usual_env;

    env->urls[0] = is_served             ? "http://servers:80/vol"
                   : world->in_directory ? "file://" SIM_STORE_DIR "/vol"
                                         : "s3://bucket/vol";
    env->urls[1] = is_served             ? "http://mirror:80/vol"
                   : world->in_directory ? "file://" SIM_STORE_OTHER_DIR "/vol"
                                         : "s3://mirror/vol";
    world->own_url = is_served             ? "http://servers:80/own"
                     : world->in_directory ? "file://" SIM_STORE_DIR "/own"
                                           : "s3://bucket/own";
    /* Where a store is restored to another directory, the former one has another line. */
    world->rebinds =
        sim_chance(&world->rng,
                   world->in_directory && world->backup != NEVER ? 80 : 20) &&
        !world->rots && sim_world_may(world, SIM_MAY_REBIND);
    /* A clean database has a change counter of its own (docs/sqlite.md), which SQLite
     * goes by, and who compares page 1 takes for another page. */
    world->leaves = sim_chance(&world->rng, 25) && !world->rots &&
                    (env->is_sql || env->kind == RAMET_KIND_BLOB) &&
                    !world->has_other && sim_world_may(world, SIM_MAY_LEAVE);
}

void
sim_moves_stay_local(struct sim_env *env)
{
    static const enum sim_deed remote[] = {
        SIM_DOES_PUSH,  SIM_DOES_PULL, SIM_DOES_FETCH,  SIM_DOES_HYDRATE,
        SIM_DOES_RESET, SIM_DOES_VIEW, SIM_DOES_FOLLOW, SIM_DOES_EVICT};

    for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++)
        env->weights[remote[i]] = 0;
    env->sync = RAMET_SYNC_MANUAL;
    env->hydrates_auto = false;
    env->profile = NULL;
}

static bool
is_replica(const struct machine *m)
{
    struct sim_node *node;
    char path[80];

    snprintf(path, sizeof(path), "%s-ramet/state", m->path);
    return sim_find(NULL, path, &node) == 0;
}

/* A process in the role; perhaps somebody ends it in the midst. */
static void
run_in_danger(struct world *world, struct machine *m, enum sim_role role)
{
    const uint64_t most = UINT64_C(1) << sim_below(&world->rng, 14);
    struct sim_process *process;

    if (!sim_world_may(world, SIM_MAY_KILL | SIM_MAY_CUT_POWER) ||
        sim_chance(&world->rng, 50)) {
        sim_world_run_alone(world, m, role);
        return;
    }
    process = m->slots[0].process = sim_world_start(world, m, role);
    sim_wait_for_steps(process, 1 + sim_below(&world->rng, most),
                       sim_now_ns() + 3000 * MS);
    if (sim_world_may(world, SIM_MAY_CUT_POWER) && sim_chance(&world->rng, 50))
        sim_world_take_power(world, m);
    else
        sim_world_end_programs(m);
}

/* Nobody is at it any more, and its disk does as it is told. */
static void
quiet(struct machine *m)
{
    sim_world_end_programs(m);
    m->trouble = (struct sim_trouble){.kinds = 0};
    m->slots[0].lives++;
}

void
sim_moves_rebind(struct world *world, struct machine *m)
{
    struct sim_env *const env = &world->usual_env;
    const char *const to = env->urls[m->url == env->urls[0]];

    if (!is_replica(m) || sim_place_is_rotten(m->place))
        return;
    sim_trace("the replica of %s goes over to %s", m->path, to);
    quiet(m);
    env->to = to;
    env->other_line = sim_store_other_line();
    run_in_danger(world, m, SIM_REBINDS);
    /* Nobody knows what the dead have done; who comes next looks. */
    env->other_line = NULL;
    world->alone.is_asked = false;
    sim_world_run_alone(world, m, SIM_ASKS);
    if (world->alone.is_asked && world->alone.is_there)
        m->url = to;
}

/* ---- leaving ------------------------------------------------------------------- */

/* The version of the plain file that the replica became. */
static uint32_t
version_left(struct world *world, struct machine *m)
{
    struct sim_node *node;
    uint32_t version;
    uint8_t *bytes;

    if (world->usual_env.is_sql) {
        sim_world_run_alone(world, m, SIM_READS);
        return world->alone.found;
    }
    if (sim_find(NULL, m->path, &node) != 0 || node->size == 0)
        return 0;
    bytes = malloc(node->size);
    if (bytes == NULL)
        abort();
    sim_file_read(node, 0, bytes, node->size);
    version = sim_version_of(bytes, node->size);
    free(bytes);
    if (version == SIM_NO_VERSION)
        sim_fail("%s left its remote, and is no version", m->path);
    return version;
}

void
sim_moves_leave(struct world *world, struct machine *m)
{
    if (!is_replica(m) || sim_place_is_rotten(m->place))
        return;
    sim_trace("the replica of %s leaves its remote", m->path);
    quiet(m);
    run_in_danger(world, m, SIM_LEAVES);
    if (is_replica(m))
        return;
    sim_count(SIM_COUNT_LEFT);
    m->url = NULL;
    sim_place_left(m->place, version_left(world, m));
}

void
sim_moves_come_back(struct world *world, struct machine *m)
{
    char folder[80];

    world->usual_env.to = world->own_url;
    sim_world_run_alone(world, m, SIM_BINDS);
    snprintf(folder, sizeof(folder), "%s-ramet", m->path);
    sim_remove_below(m->path);
    sim_remove_below(folder);
    sim_place_came_back(m->place);
    m->url = world->usual_env.urls[0];
}
