/*
 * world_impl.h - what a schedule consists of, for the files that make it happen.
 */
#ifndef RAMET_TESTS_SIM_WORLD_IMPL_H
#define RAMET_TESTS_SIM_WORLD_IMPL_H

#include "tests/sim/bucket.h"
#include "tests/sim/disk.h"
#include "tests/sim/net.h"
#include "tests/sim/process.h"
#include "tests/sim/world.h"

#define MACHINES_MAX 3u
#define PROCESSES_MAX 2u /* of a machine */
#define SERVERS_MAX 2u
#define MS UINT64_C(1000000)

struct machine {
    struct sim_disk *disk;
    struct sim_trouble trouble;
    struct sim_weather weather;
    struct ramet_objstore *link;
    struct sim_place *place;
    const char *path; /* of its replica */
    const char *url;  /* which that is bound to; NULL: it left its remote */
    bool was_cut;     /* and nobody has opened it since */
    struct {
        struct sim_process *process; /* NULL: none now */
        unsigned lives;              /* still to come */
    } slots[PROCESSES_MAX];
};

/* A machine with a server that keeps nothing but a cache. */
struct server {
    struct sim_disk *disk;
    struct sim_trouble trouble;
    struct sim_weather weather; /* between it and the bucket */
    struct ramet_objstore *link;
    struct sim_process *process; /* NULL: none now */
};

struct world {
    const struct sim_plan *plan;
    uint64_t rng;
    struct sim_bucket *bucket;
    struct sim_disk *store; /* where the remote is a directory on it */
    struct machine machines[MACHINES_MAX + 1]; /* the last one audits */
    unsigned machine_count;
    unsigned process_count;
    struct server servers[SERVERS_MAX];
    unsigned server_count;
    bool in_directory; /* the store */
    struct sim_weather usual;
    struct sim_env usual_env;
    unsigned begun; /* processes so far */
    enum { NEVER, TO_COPY, COPIED, RESTORED } backup;
    bool rots;      /* bits may, in this schedule */
    bool has_other; /* each replica of SQL has a database beside it */
    bool rebinds;   /* replicas go over to the store's other name, and back */
    bool leaves;    /* one replica leaves its remote */
    const char *own_url;  /* of the volume that it becomes */
    struct sim_env alone; /* as the last process that ran alone left it */
};

/* ---- world.c ---- */

bool sim_world_may(const struct world *world, unsigned what);
/* A process of the machine's, in the role. */
struct sim_process *
sim_world_start(struct world *world, struct machine *m, enum sim_role role);
/* One process alone, to its end; false: it was told of damage. */
bool
sim_world_run_alone(struct world *world, struct machine *m, enum sim_role role);
/* By kill -9. */
void sim_world_end_programs(struct machine *m);
void sim_world_take_power(struct world *world, struct machine *m);

/* ---- moves.c ---- */

/* The names by which the store is known, of the same bytes. */
void sim_moves_choose(struct world *world, bool is_served);
/* What a program does on a replica without a remote. */
void sim_moves_stay_local(struct sim_env *env);
/* The machine's replica goes over to the store's other name; or is refused by one that
 * is not its line's. Somebody may kill that. */
void sim_moves_rebind(struct world *world, struct machine *m);
/* It becomes a plain file; what follows is its own. */
void sim_moves_leave(struct world *world, struct machine *m);
/* At the end: what left becomes a volume of its own, and its machine comes back. */
void sim_moves_come_back(struct world *world, struct machine *m);

#endif
