/*
 * options.h - how a database is to be opened: URI parameters over environment.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_OPTIONS_H
#define RAMET_VFS_OPTIONS_H

#include <stdbool.h>

#include "client/volume/file.h"

/* Fill `out` (initialised here) from the parameters of `name`, SQLite's own
 * string, and the flags of xOpen. Strings are borrowed from `name` and the
 * environment. RAMET_EINVAL names the parameter that makes no sense. */
RAMET_NODISCARD enum ramet_rc
ramet_options_parse(const char *name, int flags, struct ramet_file_options *out,
                    struct ramet_err *err);

/* RAMET_EINVAL: a parameter that nobody knows is nearly one of ours. */
RAMET_NODISCARD enum ramet_rc
ramet_options_check_names(const char *name, struct ramet_err *err);

/* Does a parameter, or RAMET_REMOTE for this file, name a remote? */
bool ramet_options_name_remote(const char *name);

/* Does a commit wait for readers, as on a plain file in rollback mode? By the
 * parameter `locking` (snapshot, the default, or rollback), else RAMET_LOCKING. */
RAMET_NODISCARD enum ramet_rc
ramet_options_locking(const char *name, bool *out_rollback,
                      struct ramet_err *err);

/* Does RAMET_FUNCTIONS leave the functions out, where no parameter says? */
bool ramet_options_functions_off(void);

/* `functions`: on or off, else by RAMET_FUNCTIONS. */
RAMET_NODISCARD enum ramet_rc
ramet_options_functions(const char *name, bool *out_off, struct ramet_err *err);

/* `allow=pull`: may a connection pull that may only read? */
bool ramet_options_may_pull(const char *name);

/* SQLite's own parameters that make it never lock. */
bool ramet_options_lockless(const char *name);

#endif
