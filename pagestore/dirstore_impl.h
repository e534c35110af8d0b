/*
 * dirstore_impl.h - what dirstore.c and dirstore_folders.c share.
 *
 *   (1) Before the first report about a directory, it and every directory
 *       above it, those above the root included, was made (by whomever) and
 *       synced into its parent. durable[] remembers for which directories this
 *       handle did that, "" being the root.
 *   (2) No link in the store is followed, neither to read nor to write: folders
 *       are opened element by element, and all else goes by their descriptors.
 *       The root's own path may lead through links, as its keeper likes.
 *   (3) What root makes belongs to the root directory's owner and group, and
 *       what is made in a root that its group writes can be written by it.
 *
 * Layer: pagestore, internal.
 */
#ifndef RAMET_PAGESTORE_DIRSTORE_IMPL_H
#define RAMET_PAGESTORE_DIRSTORE_IMPL_H

#include "core/rights.h"
#include "core/thread.h"
#include "pagestore/dirstore_walk.h"
#include "pagestore/objstore.h"

#define RAMET_DIRSTORE_DURABLE_MAX 64u

struct dirstore {
    struct ramet_objstore base;
    const struct ramet_os *os;
    int root_fd;
    struct ramet_rights rights; /* of the root */
    bool gives;                 /* by invariant (3) */
    char *name; /* what texts call it: "file://" and the path, or another */
    char *path;
    struct ramet_mutex mutex;
    uint64_t durable
        [RAMET_DIRSTORE_DURABLE_MAX]; /* hashes of paths, invariant (1); 0: none */
    unsigned durable_next;
};

RAMET_NODISCARD enum ramet_rc
ramet_dirstore_fail(const struct dirstore *dir, int negated, const char *key,
                    const char *what, struct ramet_err *err);
/* The directory of `key`, "" for the root, and its name in there. */
void ramet_dirstore_directory_of(const char *key, char out[RAMET_KEY_MAX]);
const char *ramet_dirstore_name_of(const char *key);
/* A folder of the store, "" being the root: its descriptor or a negated errno;
 * invariant (2). */
int ramet_dirstore_folder(const struct dirstore *dir, const char *path);
/* One in an open one, made if it is not there; 0 or a negated errno. */
int ramet_dirstore_make_folder(const struct dirstore *dir, int parent_fd,
                               const char *name);
/* What was just made, by invariant (3). */
int ramet_dirstore_give(const struct dirstore *dir, int fd);
/* The folder `path`, made and durable: invariant (1). The caller closes it. */
RAMET_NODISCARD enum ramet_rc
ramet_dirstore_target(struct dirstore *dir, const char *path, int *out_fd,
                      struct ramet_err *err);
/* Make the root and what is above it, where it is missing. What can't be made is
 * found out by open. */
int ramet_dirstore_make_root(const struct ramet_os *os, const char *path);
/* It is open now: whose it is. */
int ramet_dirstore_look_at_root(struct dirstore *dir);

#endif
