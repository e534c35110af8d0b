/*
 * play.h - a handle of a simulated process, and how it is driven: by pages
 * (client/volume/file.h), or by SQL (the VFS).
 */
#ifndef RAMET_TESTS_SIM_IMAGE_PLAY_H
#define RAMET_TESTS_SIM_IMAGE_PLAY_H

#include "tests/sim/image/image.h"

#define SIM_NEWEST "newest"

struct sim_handle {
    void *file; /* of the driver; NULL: it could not be opened */
    uint64_t seed, rng;
    unsigned number; /* in its process */
    uint8_t *bytes;  /* SIM_FILE_MAX */
    char name[16];
};

enum sim_verb {
    SIM_PUSH,
    SIM_PULL,
    SIM_FETCH,
    SIM_SYNC,
    SIM_HYDRATE,
    SIM_RESET,
    SIM_DISCARD, /* a reset that keeps no copy */
    SIM_CHECKPOINT,
    SIM_EVICT,
    SIM_VERIFY /* the number: of pages that were found rotten */
};
const char *sim_verb_name(enum sim_verb verb);

/* Errors are the product's own; what may not happen fails the schedule above
 * (sim_expect_rc()), and wrong data at once. */
struct sim_driver {
    void (*begin)(void); /* of the process */
    /* `at`: a past LSN, or the newest by a view (SIM_NEWEST), or NULL: the replica. */
    enum ramet_rc (*open)(struct sim_handle *h, const char *at, void **out_file,
                          struct ramet_err *err);
    void (*close)(void *file);
    /* A snapshot is pinned by the first read at the latest. */
    enum ramet_rc (*pin)(void *file, struct ramet_err *err);
    void (*unpin)(void *file);
    /* The version of the pinned snapshot; `all`: with every page compared. */
    enum ramet_rc (*read)(struct sim_handle *h, void *file, bool all,
                          uint32_t *out_version, struct ramet_err *err);
    /* A transaction on what is pinned; ended by unpin. */
    enum ramet_rc (*reserve)(void *file, struct ramet_err *err);
    enum ramet_rc (*write)(struct sim_handle *h, uint32_t version,
                           uint32_t pgno, struct ramet_err *err);
    enum ramet_rc (*resize)(struct sim_handle *h, uint32_t page_count,
                            struct ramet_err *err);
    /* The version is told what becomes of it as it goes. */
    enum ramet_rc (*commit)(struct sim_handle *h, uint32_t version, bool syncs,
                            struct ramet_err *err);
    void (*rollback)(void *file);
    /* Prepares, makes it durable, and then takes it back, as who commits to
     * several files does where another one fails. NULL: it has no such call. */
    enum ramet_rc (*reconsider)(struct sim_handle *h, struct ramet_err *err);
    enum ramet_rc (*verb)(struct sim_handle *h, enum sim_verb verb,
                          uint64_t *out_lsn, struct ramet_err *err);
    void (*end)(void); /* of the process */
};
/* A plain database, if it is whole; without the VFS. */
void sim_sql_read_plain(struct sim_handle *h, const char *path);

extern const struct sim_driver sim_pages_driver;
extern const struct sim_driver sim_sql_driver;
/* This process's. */
const struct sim_driver *sim_driver(void);

/* What a handle is at, from now on. */
void sim_begins(struct sim_handle *h, enum sim_deed deed);
/* Opens, waiting for what is in the way; NULL: it can't be had now. */
void *sim_open(struct sim_handle *h, const char *at);
/* The same of a past LSN, of which this process was told when there had been
 * `restores` of the store; NULL also where a later one took it. */
void *sim_open_lsn(struct sim_handle *h, uint64_t lsn, unsigned restores);
/* Fails the schedule unless `rc` is what may happen to this call. */
void sim_expect_rc(const struct sim_handle *h, const char *call,
                   enum ramet_rc rc, const struct ramet_err *err);
/* Of the pinned snapshot. SIM_NO_VERSION: the remote, or the disk, did not give
 * it. */
uint32_t sim_read(struct sim_handle *h, void *file, bool all);

/* image/moves.c: a replica goes over to a copy, leaves its remote, and becomes another
 * volume. */
void sim_rebind(struct sim_handle *h);
void sim_ask(struct sim_handle *h);
void sim_leave(struct sim_handle *h);
void sim_bind(struct sim_handle *h);

/* image/server.c: until it is to end. */
void sim_serve(void);
/* image/httpd.c */
void sim_httpd_shut(int fd);

/* image/acts.c: one step. */
void sim_act(struct sim_handle *h);
void sim_write(struct sim_handle *h);
bool sim_push(struct sim_handle *h);

#endif
