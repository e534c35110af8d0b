/*
 * image.h - what the simulator and a simulated process know of each other.
 *
 * An *image* is the whole product in one shared object, server and all, with
 * some of its files exchanged: core/thread.c, core/os.c and core/alloc.c, the
 * doors to the system that it has anyway, server/listen.c, and
 * client/remote/remote.c, where another kind of remote would go; and with others'
 * libcurl and libmicrohttpd. The simulator loads a copy of it for each process that
 * runs at a time, so that each has variables of its own; what they held when
 * the copy was loaded is put back before the next process begins in it.
 */
#ifndef RAMET_TESTS_SIM_IMAGE_IMAGE_H
#define RAMET_TESTS_SIM_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/volume/file.h"
#include "core/os.h"
#include "pagestore/objstore.h"
#include "tests/sim/count.h"
#include "tests/sim/model.h"
#include "tests/sim/sched.h"

enum sim_role {
    SIM_SETS_UP, /* makes the volume */
    SIM_PLAYS,
    SIM_AUDITS,  /* looks at every LSN */
    SIM_LOOKS,   /* at the newest, for who copies the store */
    SIM_SETTLES, /* brings a replica to the newest */
    SIM_MENDS,   /* a replica of which pages rotted, by `verify` */
    SIM_SERVES,  /* HTTP; `path` is its cache's folder */
    SIM_READS,   /* a database that a reset kept, a plain file at `path` */
    SIM_REBINDS, /* to `to` */
    SIM_ASKS,    /* whether it is bound to that */
    SIM_LEAVES,  /* its remote */
    SIM_BINDS    /* what left to a volume of its own: `to` */
};

#define SIM_HANDLES_MAX 4u

/* What a process is to do. Valid for as long as it lives. */
struct sim_env {
    const struct ramet_os *os;
    struct ramet_objstore *bucket; /* as its machine reaches it */
    struct sim_process *process;
    struct sim_place *place;
    enum sim_role role;
    unsigned number;        /* of the process, in its schedule */
    const char *path;       /* of the replica */
    const char *url;        /* of the volume; NULL: none is named */
    const char *urls[2];    /* all that it has, of the same bytes */
    const char *to;         /* for who moves */
    const char *other_line; /* a store with a copy; NULL: there is none */
    const char *store;      /* of a server */
    const struct sim_weather *weather; /* between it and servers */
    bool is_sql;                       /* by the VFS, else by pages */
    bool keeps_books;  /* by SQL: a bank, and a list of versions */
    const char *other; /* a database that is attached, and written in each
                          transaction; NULL: none */
    bool pushes_late;  /* the volume comes into being while others play */
    enum ramet_volume_kind kind;
    enum ramet_sync_mode sync;
    unsigned handles;
    unsigned steps;                   /* of each handle */
    unsigned weights[SIM_DEED_COUNT]; /* how often it does what */
    uint32_t first_pages;             /* of the volume, at its first commit */
    unsigned first_commits;           /* that it has when others come */
    bool hydrates_auto;
    const char *profile; /* of a warm start; NULL: none */
    uint64_t cache_limit;
    uint64_t seed;
    const struct sim_trouble *trouble;  /* its machine's */
    uintptr_t shared_begin, shared_end; /* where files are mapped */
    bool is_to_end;                     /* set by the world: for who serves */
    bool is_done;    /* set by the process: it ended by itself */
    bool is_damaged; /* as well: it was told so, and could not go on */
    bool is_asked;   /* as well: its replica could be asked, */
    bool is_there;   /* and is bound to `to` */
    uint32_t found;  /* as well: the version of a plain file */
    /* Set by it as well, of each handle: one more than what it is at. */
    unsigned doing[SIM_HANDLES_MAX];
};

struct sim_image {
    void (*run)(struct sim_env *env);
    /* Blocks that are not freed; frees them all. */
    size_t (*heap_count)(void);
    void (*heap_free)(void);
};

/* Within an image: whose process it is now. */
extern struct sim_env *sim_env;

#endif
