/*
 * dirstore_walk.h - the keys of a directory store, in ascending byte order.
 *
 * Layer: pagestore, used by dirstore.c alone.
 */
#ifndef RAMET_PAGESTORE_DIRSTORE_WALK_H
#define RAMET_PAGESTORE_DIRSTORE_WALK_H

#include "core/err.h"
#include "core/os.h"
#include "pagestore/objstore.h"

/* Where temporary files live, under the root: never listed. */
#define RAMET_DIRSTORE_TMP "tmp"

/*
 * As ramet_objstore_list(), in the directory `root_fd`. Reads only directories
 * that can hold such keys, and each once (a directory of more than 16,384
 * matching names once for each 16,384 of them, so that memory is bounded).
 */
RAMET_NODISCARD enum ramet_rc
ramet_dirstore_walk(const struct ramet_os *os, int root_fd,
                    const char *store_name, const char *prefix,
                    const char *after, ramet_objstore_visit *visit, void *ctx,
                    struct ramet_err *err);

#endif
