/*
 * detach.h - a replica becomes a plain file again.
 *
 * Layer: client, store/life.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_DETACH_H
#define RAMET_CLIENT_STORE_LIFE_DETACH_H

#include "core/os.h"

/* What `state` is called in a directory that is no replica's any more. */
#define RAMET_DETACHED "detached"

/* Somebody is about to make a replica at `path`: clear what a crash in the midst
 * of a detachment left beside the file. Nothing to do is fine. */
RAMET_NODISCARD enum ramet_rc
ramet_detach_finish(const struct ramet_os *os, const char *path,
                    struct ramet_err *err);

#endif
