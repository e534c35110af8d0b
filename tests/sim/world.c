/*
 * world.c - see world.h. A schedule in order: a volume is made; processes on
 * several machines play, and fate kills them, cuts the power and the network;
 * then all is well again, replicas come together, and the model looks at every
 * LSN and for what was lost.
 */
#include "tests/sim/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/rot.h"
#include "tests/sim/store.h"
#include "tests/sim/world_impl.h"

#define KEPT_MAX 16u /* files that resets of a machine left */

static const struct sim_plan *played;
static struct sim_taken *taken;

bool
sim_takes(const struct sim_step_id *step)
{
    for (unsigned i = 0; i < played->skip_count; i++)
        if (memcmp(&played->skips[i], step, sizeof(*step)) == 0)
            return false;
    if (taken->count < SIM_STEPS_MAX)
        taken->steps[taken->count++] = *step;
    return true;
}

static unsigned
choose(struct world *world, unsigned least, unsigned most, unsigned bound)
{
    const unsigned chosen =
        least + (unsigned)sim_below(&world->rng, most - least + 1);

    return bound != 0 && chosen > bound ? bound : chosen;
}

bool
sim_world_may(const struct world *world, unsigned what)
{
    return (world->plan->may & what) != 0;
}

/* ---- machines ----------------------------------------------------------------- */

static void
make_machine(struct world *world, unsigned number)
{
    static const char *const paths[MACHINES_MAX + 1] = {
        "/m0/app.db", "/m1/app.db", "/m2/app.db", "/m3/app.db"};
    struct machine *const m = &world->machines[number];
    char name[8];

    snprintf(name, sizeof(name), "m%u", number);
    m->disk = sim_disk_new(name);
    m->link = sim_link_new(world->bucket, &m->weather, sim_random(&world->rng));
    m->place = sim_place_new(name, world->has_other);
    m->path = paths[number];
    m->url = world->usual_env.urls[0];
}

static void
make_server(struct world *world, unsigned number)
{
    struct server *const s = &world->servers[number];
    char name[8];

    snprintf(name, sizeof(name), "s%u", number);
    s->disk = sim_disk_new(name);
    s->link = sim_link_new(world->bucket, &s->weather, sim_random(&world->rng));
}

static void
start_server(struct world *world, struct server *s)
{
    static const char *const folders[SERVERS_MAX] = {"/s0/cache", "/s1/cache"};
    struct sim_env env = world->usual_env;
    char name[24];

    env.role = SIM_SERVES;
    env.path = folders[s - world->servers];
    env.bucket = s->link;
    env.seed = sim_random(&world->rng);
    snprintf(name, sizeof(name), "s%u.%u", (unsigned)(s - world->servers),
             world->begun++);
    s->process = sim_process_start(&env, name, s->disk, &s->trouble);
}

static void
kill_server(struct world *world, struct server *s)
{
    if (s->process == NULL)
        return;
    sim_process_kill(s->process);
    s->process = NULL;
    if (sim_world_may(world, SIM_MAY_CUT_POWER) && sim_chance(&world->rng, 30))
        sim_disk_crash(s->disk, sim_random(&world->rng));
}

/* As an operator stops it. */
static void
stop_server(struct server *s)
{
    if (s->process == NULL)
        return;
    sim_process_end(s->process);
    while (!sim_process_has_ended(s->process))
        sim_sleep_ns(10 * MS);
    sim_process_reap(s->process);
    s->process = NULL;
}

static void
server_happens(struct world *world)
{
    struct server *const s =
        &world->servers[sim_below(&world->rng, world->server_count)];

    switch (sim_below(&world->rng, 8)) {
    case 0:
    case 1:
        if (!sim_world_may(world, SIM_MAY_KILL_SERVERS))
            break;
        if (s->process != NULL)
            sim_wait_for_steps(s->process, 1 + sim_below(&world->rng, 2000),
                               sim_now_ns() + 1000 * MS);
        kill_server(world, s);
        break;
    case 2:
        if (sim_world_may(world, SIM_MAY_KILL_SERVERS))
            stop_server(s);
        break;
    case 3:
        if (sim_world_may(world, SIM_MAY_LOSE_REQUESTS))
            s->weather = world->usual;
        break;
    case 4:
        if (sim_world_may(world, SIM_MAY_CUT_NETWORK))
            s->weather.is_cut = sim_chance(&world->rng, 50);
        break;
    default:
        s->weather = (struct sim_weather){.is_cut = false};
        break;
    }
}

/* A schedule has a taste: some deeds are done often, some never. */
static void
choose_weights(struct world *world)
{
    static const unsigned factors[] = {0, 1, 1, 1, 4};
    unsigned *const weights = world->usual_env.weights;

    for (unsigned i = 0; i < SIM_DEED_COUNT; i++)
        weights[i] = factors[sim_below(&world->rng, 5)];
    if (weights[SIM_DOES_READ] == 0)
        weights[SIM_DOES_READ] = 1;
    if (weights[SIM_DOES_WRITE] == 0)
        weights[SIM_DOES_WRITE] = 1;
    if (weights[SIM_DOES_PUSH] + weights[SIM_DOES_PULL] == 0)
        weights[SIM_DOES_PUSH] = weights[SIM_DOES_PULL] = 1;
}

/* Of a machine's replica; NULL: it has none, as who audits, and what is no replica. */
static const char *
other_of(const struct world *world, const struct machine *m)
{
    static const char *const others[MACHINES_MAX] = {
        "/m0/other.db", "/m1/other.db", "/m2/other.db"};
    const size_t number = (size_t)(m - world->machines);

    return world->has_other && number < world->machine_count ? others[number]
                                                             : NULL;
}

struct sim_process *
sim_world_start(struct world *world, struct machine *m, enum sim_role role)
{
    struct sim_env env = world->usual_env;
    char name[24];

    env.role = role;
    env.place = m->place;
    env.path = m->path;
    env.url = m->url;
    env.bucket = m->link;
    env.weather = &m->weather;
    env.seed = sim_random(&world->rng);
    if (role == SIM_PLAYS || role == SIM_SETS_UP || role == SIM_SETTLES)
        env.other = other_of(world, m);
    if (role == SIM_PLAYS) {
        static const enum ramet_sync_mode modes[] = {
            RAMET_SYNC_MANUAL, RAMET_SYNC_MANUAL, RAMET_SYNC_AUTO,
            RAMET_SYNC_COMMIT};

        /* Two remotes can't commit as one. */
        env.sync = modes[sim_below(&world->rng, world->has_other ? 3 : 4)];
        env.handles = choose(world, 1, 3, world->plan->handles_max);
        env.steps = choose(world, 3, 14, world->plan->steps_max);
        env.cache_limit = sim_chance(&world->rng, 20)
                              ? sim_below(&world->rng, 20) * sim_page_size()
                              : 0;
        env.hydrates_auto = sim_chance(&world->rng, 15);
        env.profile = sim_chance(&world->rng, 15) ? "warm" : NULL;
    }
    if (m->url == NULL)
        sim_moves_stay_local(&env);
    if (role == SIM_MENDS)
        env.is_sql = false; /* SQLite reads pages as it opens */
    env.number = world->begun;
    snprintf(name, sizeof(name), "%.2s.%u", m->path + 1, world->begun++);
    return sim_process_start(&env, name, m->disk, &m->trouble);
}

bool
sim_world_run_alone(struct world *world, struct machine *m, enum sim_role role)
{
    struct sim_process *const process = sim_world_start(world, m, role);
    bool is_well;

    while (!sim_process_has_ended(process))
        sim_sleep_ns(10 * MS);
    world->alone = *sim_process_env(process);
    is_well = !world->alone.is_damaged;
    m->was_cut = false;
    sim_process_reap(process);
    return is_well;
}

/* ---- fate --------------------------------------------------------------------- */

/* A process of the machine, in the midst of whatever it does; what comes between
 * two waits is short, so that moments are not chosen by time alone. */
static struct sim_process **
someone_at_work(struct world *world, struct machine *m)
{
    const unsigned i = (unsigned)sim_below(&world->rng, PROCESSES_MAX);
    struct sim_process *const process = m->slots[i].process;

    if (process != NULL && sim_chance(&world->rng, 75)) {
        const uint64_t most = UINT64_C(1) << sim_below(&world->rng, 12);

        sim_wait_for_steps(process, 1 + sim_below(&world->rng, most),
                           sim_now_ns() + 2000 * MS);
    }
    return &m->slots[i].process;
}

void
sim_world_end_programs(struct machine *m)
{
    for (unsigned i = 0; i < PROCESSES_MAX; i++)
        if (m->slots[i].process != NULL) {
            sim_process_kill(m->slots[i].process);
            m->slots[i].process = NULL;
        }
}

void
sim_world_take_power(struct world *world, struct machine *m)
{
    sim_world_end_programs(m);
    sim_trace("the power of %s goes", m->path);
    sim_count(SIM_COUNT_POWER_CUTS);
    sim_disk_crash(m->disk, sim_random(&world->rng));
    sim_place_cut(m->place);
    m->was_cut = true;
}

static void
cut_power(struct world *world, struct machine *m)
{
    someone_at_work(world, m);
    sim_world_take_power(world, m);
}

static void
kill_one(struct world *world, struct machine *m)
{
    struct sim_process **const process = someone_at_work(world, m);

    if (*process == NULL)
        return;
    sim_process_kill(*process);
    *process = NULL;
}

/* Something has begun, or ended: who did it dies, or the power goes, a little
 * later. */
static void
strike(struct world *world, const struct sim_process *process)
{
    const uint64_t most = UINT64_C(1) << sim_below(&world->rng, 11);
    const bool whole =
        sim_world_may(world, SIM_MAY_CUT_POWER) &&
        (!sim_world_may(world, SIM_MAY_KILL) || sim_chance(&world->rng, 40));

    sim_wait_for_steps(process, 1 + sim_below(&world->rng, most),
                       sim_now_ns() + 3000 * MS);
    for (unsigned i = 0; i < world->machine_count; i++)
        for (unsigned j = 0; j < PROCESSES_MAX; j++) {
            struct machine *const m = &world->machines[i];

            if (m->slots[j].process != process)
                continue;
            if (whole) {
                sim_world_take_power(world, m);
            } else if (sim_world_may(world, SIM_MAY_KILL)) {
                sim_process_kill(m->slots[j].process);
                m->slots[j].process = NULL;
            }
            return;
        }
}

static void
make_trouble(struct world *world, struct machine *m)
{
    static const int errnums[] = {EIO, ENOSPC, ENOSPC, EIO, EIO, EIO, EMFILE};
    static const unsigned kinds[] = {SIM_OS_WRITE,
                                     SIM_OS_WRITE,
                                     SIM_OS_NAME,
                                     SIM_OS_READ | SIM_OS_OPEN,
                                     SIM_OS_SYNC,
                                     SIM_OS_SYNC,
                                     SIM_OS_OPEN | SIM_OS_NAME};
    const uint64_t kind = sim_below(&world->rng, 7);

    m->trouble = (struct sim_trouble){
        .kinds = kinds[kind],
        .fail_in = sim_below(&world->rng, 60),
        .fail_for = 1 + sim_below(&world->rng, 5),
        .errnum = errnums[kind],
    };
}

/* Some have it from the beginning on. */
static void
bad_weather(struct world *world)
{
    for (unsigned i = 0; i < world->machine_count; i++)
        if (sim_chance(&world->rng, 40))
            world->machines[i].weather = world->usual;
    for (unsigned i = 0; i < world->server_count; i++)
        if (sim_chance(&world->rng, 40))
            world->servers[i].weather = world->usual;
}

/* Somebody looks at what is the newest; the copy is of that, or is made later. */
static void
copy_store(struct world *world)
{
    uint32_t version;
    uint64_t commits;

    sim_world_run_alone(world, &world->machines[world->machine_count],
                        SIM_LOOKS);
    commits = sim_store_copy();
    if (!sim_newest_is(commits, &version))
        return;
    sim_store_copied(commits, version);
    sim_trace("the store is copied, with %llu commits",
              (unsigned long long)commits);
    world->backup = COPIED;
}

/* Out of the reach of clients that are at it by themselves, for longer than they
 * count on what they saw. */
static void
keep_from_bucket(struct world *world)
{
    for (unsigned i = 0; i < world->machine_count; i++)
        world->machines[i].weather.is_cut = true;
    sim_bucket_drain(world->bucket);
    sim_sleep_ns(61000 * MS);
    for (unsigned i = 0; i < world->machine_count; i++)
        world->machines[i].weather.is_cut = false;
}

/* As docs/sync.md wants it: with its servers stopped, and clients kept from it;
 * where another directory takes its place they may go on. */
static void
restore_store(struct world *world)
{
    const bool in_place = sim_chance(&world->rng, 40);

    for (unsigned i = 0; i < world->server_count; i++)
        stop_server(&world->servers[i]);
    if (world->server_count == 0 && !world->in_directory)
        keep_from_bucket(world);
    for (unsigned i = 0; i < world->machine_count; i++)
        if (world->server_count == 0 && world->in_directory && in_place)
            sim_world_end_programs(&world->machines[i]);
    sim_trace("the store is restored from its copy%s",
              in_place ? ", in its place" : "");
    sim_count(SIM_COUNT_RESTORES);
    sim_store_put_back(in_place);
    sim_store_restored();
    for (unsigned i = 0; i < world->machine_count; i++)
        for (unsigned j = 0; j < world->process_count; j++)
            world->machines[i].slots[j].lives++;
    world->backup = RESTORED;
}

/* What is not mended by `verify` is by whoever looks after the disk. */
static void
rot_replica(struct world *world, struct machine *m)
{
    struct sim_flip flip;
    bool is_idle;
    enum sim_rotten what;

    /* Times that the power took say that somebody wrote. */
    is_idle = !m->was_cut;
    for (unsigned i = 0; i < PROCESSES_MAX; i++)
        is_idle &= m->slots[i].process == NULL;
    what = sim_rot_replica(m->path, is_idle, &world->rng, &flip);
    if (what == SIM_ROT_NOTHING)
        return;
    sim_place_rots(m->place, what == SIM_ROT_LOG);
    if (what == SIM_ROT_BASE && !sim_world_run_alone(world, m, SIM_MENDS))
        sim_rot_undo(&flip);
}

/* Bits of files at rest flip. Of what a server caches on its disk nobody is to
 * notice. */
static void
something_rots(struct world *world, struct machine *m)
{
    static const char *const folders[SERVERS_MAX] = {"/s0/cache", "/s1/cache"};

    switch (sim_below(&world->rng, 6)) {
    case 0:
        if (world->server_count > 0)
            sim_rot_below(folders[sim_below(&world->rng, world->server_count)],
                          &world->rng);
        break;
    case 1:
    case 2:
        sim_store_rot(&world->rng);
        break;
    default:
        rot_replica(world, m);
        break;
    }
}

static void
something_happens(struct world *world)
{
    struct machine *const m =
        &world->machines[sim_below(&world->rng, world->machine_count)];

    if (world->backup == TO_COPY && sim_chance(&world->rng, 40)) {
        copy_store(world);
        return;
    }
    if (world->backup == COPIED && sim_chance(&world->rng, 20)) {
        restore_store(world);
        return;
    }
    if (world->rots && sim_chance(&world->rng, 8)) {
        something_rots(world, m);
        return;
    }
    if (world->rebinds && m->url != NULL &&
        sim_chance(&world->rng, world->backup == RESTORED ? 15 : 6)) {
        sim_moves_rebind(world, m);
        return;
    }
    if (world->leaves && sim_chance(&world->rng, 7)) {
        world->leaves = false;
        sim_moves_leave(world, m);
        return;
    }
    if (world->server_count > 0 && sim_chance(&world->rng, 25)) {
        server_happens(world);
        return;
    }
    switch (sim_below(&world->rng, 12)) {
    case 0:
        if (sim_world_may(world, SIM_MAY_KILL))
            kill_one(world, m);
        break;
    case 1:
        if (sim_world_may(world, SIM_MAY_CUT_POWER) &&
            sim_chance(&world->rng, 60))
            cut_power(world, m);
        break;
    case 2:
        if (sim_world_may(world, SIM_MAY_CUT_NETWORK))
            m->weather.is_cut = sim_chance(&world->rng, 50);
        if (m->weather.is_cut)
            sim_net_stall(&m->weather);
        break;
    case 3:
        if (sim_world_may(world, SIM_MAY_LOSE_REQUESTS | SIM_MAY_RESET))
            m->weather = world->usual;
        break;
    case 4:
        if (sim_world_may(world, SIM_MAY_FAIL_CALLS) &&
            sim_chance(&world->rng, 70))
            make_trouble(world, m);
        break;
    case 6: /* memory is short */
        if (sim_disk_lets_go(m->disk)) {
            sim_trace("%s's system lets go of what it did not write", m->path);
            sim_count(SIM_COUNT_LET_GO);
            sim_place_lets_go(m->place);
        }
        break;
    case 5:
        m->weather = (struct sim_weather){.is_cut = false};
        break;
    default:
        break;
    }
}

/* Processes that ended are buried, others begin. False: it is over. */
static bool
look_after(struct world *world)
{
    bool goes_on = false;

    for (unsigned i = 0; i < world->server_count; i++)
        if (world->servers[i].process == NULL && sim_chance(&world->rng, 40))
            start_server(world, &world->servers[i]);
    for (unsigned i = 0; i < world->machine_count; i++)
        for (unsigned j = 0; j < world->process_count; j++) {
            struct machine *const m = &world->machines[i];

            if (m->slots[j].process != NULL &&
                sim_process_has_ended(m->slots[j].process)) {
                sim_process_reap(m->slots[j].process);
                m->slots[j].process = NULL;
                m->was_cut = false;
            }
            if (m->slots[j].process == NULL && m->slots[j].lives > 0 &&
                sim_chance(&world->rng, 50)) {
                m->slots[j].lives--;
                m->slots[j].process = sim_world_start(world, m, SIM_PLAYS);
            }
            goes_on |= m->slots[j].process != NULL || m->slots[j].lives > 0;
        }
    return goes_on;
}

/* ---- what is left --------------------------------------------------------------- */

/* Files that resets of a machine kept, until they are looked at. */
struct kept {
    struct sim_node *dir;
    char names[KEPT_MAX][60];
    unsigned count;
};

static int
note_kept(void *ctx, const char *name, bool is_dir)
{
    struct kept *const kept = ctx;

    if (!is_dir && kept->count < KEPT_MAX)
        snprintf(kept->names[kept->count++], sizeof(kept->names[0]), "%s",
                 name);
    return 0;
}

static void
look_at_pages(struct sim_node *dir, const char *name)
{
    struct sim_node *node;
    uint8_t *bytes;

    if (sim_find(dir, name, &node) != 0)
        return;
    bytes = malloc(node->size + 1);
    if (bytes == NULL)
        abort();
    sim_file_read(node, 0, bytes, node->size);
    sim_trace("%s is %s", name,
              sim_kept(bytes, node->size) ? "a version" : "none");
    free(bytes);
}

static void
look_at_kept(struct world *world, struct machine *m)
{
    struct kept kept = {.count = 0};
    char folder[60];
    char path[140];
    const char *const usual = m->path;

    snprintf(folder, sizeof(folder), "%s-ramet/lost", m->path);
    if (sim_find(NULL, folder, &kept.dir) != 0 || !kept.dir->is_dir)
        return;
    sim_list(kept.dir, note_kept, &kept);
    for (unsigned i = 0; i < kept.count; i++) {
        if (!world->usual_env.is_sql) {
            look_at_pages(kept.dir, kept.names[i]);
            continue;
        }
        snprintf(path, sizeof(path), "%s/%s", folder, kept.names[i]);
        m->path = path;
        sim_world_run_alone(world, m, SIM_READS);
        m->path = usual;
    }
}

/* To the newest; a replica that is too damaged for it is made anew. */
static void
settle(struct world *world, struct machine *m)
{
    char folder[80];

    if (sim_world_run_alone(world, m, SIM_SETTLES))
        return;
    sim_trace("the replica of %s is given up", m->path);
    sim_count(SIM_COUNT_GIVEN_UP);
    snprintf(folder, sizeof(folder), "%s-ramet", m->path);
    sim_remove_below(m->path);
    sim_remove_below(folder);
    sim_place_given_up(m->place);
    sim_world_run_alone(world, m, SIM_SETTLES);
}

static void
come_together(struct world *world)
{
    for (unsigned i = 0; i < world->machine_count; i++) {
        world->machines[i].weather = (struct sim_weather){.is_cut = false};
        world->machines[i].trouble = (struct sim_trouble){.kinds = 0};
    }
    for (unsigned i = 0; i < world->server_count; i++) {
        world->servers[i].weather = (struct sim_weather){.is_cut = false};
        if (world->servers[i].process == NULL)
            start_server(world, &world->servers[i]);
    }
    sim_bucket_drain(world->bucket);
    sim_store_mend();
    while (sim_net_listening() < world->server_count)
        sim_sleep_ns(10 * MS);
    sim_trace("all is well again");
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < world->machine_count; i++)
            if (world->machines[i].url != NULL)
                settle(world, &world->machines[i]);
    for (unsigned i = 0; i < world->machine_count; i++)
        if (world->machines[i].url == NULL) {
            look_at_kept(world, &world->machines[i]);
            sim_moves_come_back(world, &world->machines[i]);
            settle(world, &world->machines[i]);
        }
    for (unsigned i = 0; i < world->machine_count; i++)
        look_at_kept(world, &world->machines[i]);
    sim_world_run_alone(world, &world->machines[world->machine_count],
                        SIM_AUDITS);
    for (unsigned i = 0; i < world->server_count; i++)
        stop_server(&world->servers[i]);
}

/* ---- a schedule ------------------------------------------------------------------ */

static void
choose_world(struct world *world)
{
    static const uint32_t page_sizes[] = {512, 1024, 4096};
    const struct sim_plan *const plan = world->plan;
    const bool is_sql = sim_chance(&world->rng, 50);
    bool pushes_late;
    const bool is_database = is_sql || sim_chance(&world->rng, 50);
    const bool is_served = sim_chance(&world->rng, 35);

    world->in_directory = sim_chance(&world->rng, 30);
    world->machine_count = choose(world, 1, MACHINES_MAX, plan->machines_max);
    /* One machine alone may have a volume that nobody pushed yet. */
    pushes_late = world->machine_count == 1 && sim_chance(&world->rng, 50);
    world->process_count = choose(world, 1, PROCESSES_MAX, plan->processes_max);
    world->server_count = is_served ? choose(world, 1, SERVERS_MAX, 0) : 0;
    sim_model_begin(page_sizes[sim_below(&world->rng, 3)], is_database);
    world->usual_env = (struct sim_env){
        .pushes_late = pushes_late,
        .store = world->in_directory ? "file://" SIM_STORE_DIR : "s3://bucket",
        .is_sql = is_sql,
        .keeps_books = is_sql && sim_chance(&world->rng, 50),
        .kind = is_database ? RAMET_KIND_SQLITE : RAMET_KIND_BLOB,
        .sync = RAMET_SYNC_MANUAL,
        .handles = 1,
    };
    choose_weights(world);
    world->has_other = is_sql && sim_chance(&world->rng, 25);
    if (!pushes_late && sim_chance(&world->rng, 15) &&
        sim_world_may(world, SIM_MAY_RESTORE))
        world->backup = TO_COPY;
    world->rots =
        sim_chance(&world->rng, 15) && sim_world_may(world, SIM_MAY_ROT);
    sim_moves_choose(world, is_served);
    /* Enough of them that what is left is brought by itself. */
    world->usual_env.first_pages =
        sim_page_size() == 512 && sim_chance(&world->rng, 15) ? 340 : 0;
    /* Enough for page maps, and what is rolled up over them. */
    world->usual_env.first_commits =
        sim_chance(&world->rng, 10) ? 20 + sim_below(&world->rng, 80) : 1;
    if (sim_world_may(world, SIM_MAY_LOSE_REQUESTS))
        world->usual = (struct sim_weather){
            .refused = choose(world, 0, 8, 0),
            .lost_request = choose(world, 0, 5, 0),
            .lost_reply = choose(world, 0, 10, 0),
            .late = choose(world, 0, 8, 0),
            .twice = choose(world, 0, 8, 0),
            .slow = choose(world, 0, 10, 0),
        };
    if (sim_world_may(world, SIM_MAY_RESET))
        world->usual.reset = choose(world, 0, 10, 0);
}

void
sim_play_schedule(const struct sim_plan *plan, struct sim_taken *out_taken)
{
    static const unsigned calms[] = {3, 8, 30, 120};
    struct world *const world = calloc(1, sizeof(*world));

    if (world == NULL)
        abort();
    played = world->plan = plan;
    taken = out_taken;
    taken->count = 0;
    world->rng = plan->seed;
    sim_sched_begin(sim_random(&world->rng),
                    plan->calm != 0 ? plan->calm
                                    : calms[sim_below(&world->rng, 4)]);
    sim_disks_begin();
    sim_net_begin(sim_random(&world->rng));
    choose_world(world);
    world->bucket = sim_bucket_new();
    world->store = sim_disk_new("store");
    sim_store_begin(world->bucket, world->in_directory);
    for (unsigned i = 0; i <= world->machine_count; i++)
        make_machine(world, i);
    for (unsigned i = 0; i < world->server_count; i++) {
        make_server(world, i);
        start_server(world, &world->servers[i]);
    }
    sim_world_run_alone(world, &world->machines[0], SIM_SETS_UP);
    bad_weather(world);
    for (unsigned i = 0; i < world->machine_count; i++)
        for (unsigned j = 0; j < world->process_count; j++)
            world->machines[i].slots[j].lives = choose(world, 1, 2, 0);
    while (look_after(world)) {
        const struct sim_process *const chosen = sim_wait_for_moment(
            sim_now_ns() + 1 + sim_below(&world->rng, 120 * MS));

        if (chosen != NULL)
            strike(world, chosen);
        else
            something_happens(world);
    }
    come_together(world);
    sim_sched_end();
    for (unsigned i = 0; i <= world->machine_count; i++)
        sim_link_free(world->machines[i].link);
    for (unsigned i = 0; i < world->server_count; i++)
        sim_link_free(world->servers[i].link);
    sim_net_end();
    sim_store_end();
    sim_bucket_free(world->bucket);
    sim_disks_end();
    sim_model_end();
    free(world);
}
