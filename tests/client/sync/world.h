/*
 * world.h - machines with replicas, and one store that they share.
 *
 * Each machine reaches the store by a URL of its own, through a faultstore of
 * its own: what happens to one machine's requests does not happen to another's,
 * and what one has in its caches the other has not. All of it lives in one
 * folder, which is removed at the end.
 */
#ifndef RAMET_TESTS_CLIENT_SYNC_WORLD_H
#define RAMET_TESTS_CLIENT_SYNC_WORLD_H

#include "client/remote/remote_client.h"
#include "client/volume/file.h"
#include "pagestore/objstore.h"

#define WORLD_MACHINES 3u

struct world {
    char dir[200];
    struct ramet_objstore *store;
    struct ramet_objstore *faults[WORLD_MACHINES];
    struct ramet_remote_client *clients[WORLD_MACHINES];
    char urls[WORLD_MACHINES][64]; /* of the volume "vol" */
};

/* cmocka setup and teardown; *state is the world. world_setup_dir has the
 * store in a directory, world_setup in memory. */
int world_setup(void **state);
int world_setup_dir(void **state);
int world_teardown(void **state);

/* "<dir>/<name>"; the last eight of these are valid. */
const char *world_path(const struct world *world, const char *name);
/* Manual sync, remote of that machine, everything allowed. */
void world_options(const struct world *world, unsigned machine,
                   struct ramet_file_options *options);
struct ramet_file *
world_open(const struct world *world, unsigned machine, const char *name);
struct ramet_file *world_clone(const struct world *world, unsigned machine,
                               const char *name, bool hydrate);
/* Forget what the machine's client knows, as a new process would. No file of
 * the machine may be open. */
void world_restart(struct world *world, unsigned machine);

/* A write transaction of its own: begin, one piece, commit. */
enum ramet_rc
world_try_write(struct ramet_file *file, uint64_t offset, const void *data,
                size_t len, struct ramet_err *err);
void world_write(struct ramet_file *file, uint64_t offset, const void *data,
                 size_t len);
void world_truncate(struct ramet_file *file, uint64_t byte_length);
/* Fill with bytes made from a seed. */
void world_fill(void *out, size_t len, uint64_t seed);

/* The newest snapshot equals these bytes; read through the file. */
void world_expect(struct ramet_file *file, const void *bytes, size_t len);
/* The remote has exactly `lsn` commits and the newest holds these bytes, as a
 * process on machine 2 sees it that knows nothing yet. */
void world_expect_remote(struct world *world, uint64_t lsn, const void *bytes,
                         size_t len);
/* The plain file at `path` equals these bytes. */
void world_expect_plain(const char *path, const void *bytes, size_t len);
/* So does the one that a clean close left, but for the numbers it may bear. */
void world_expect_base(const char *path, const void *bytes, size_t len);
void world_write_plain(const char *path, const void *bytes, size_t len);

/* The newest commit, as whoever pulls it knows it. */
struct ramet_remote_point world_newest_point(const struct world *world);

struct ramet_file_status world_status(struct ramet_file *file);

/* Fails the test with the error's text unless RAMET_OK. */
void world_ok(enum ramet_rc rc, const struct ramet_err *err, const char *what,
              int line);
#define OK(expr)                                                               \
    do {                                                                       \
        struct ramet_err ok_err = {.text = ""};                                \
        struct ramet_err *const e = &ok_err;                                   \
        world_ok((expr), e, #expr, __LINE__);                                  \
    } while (0)

#endif
