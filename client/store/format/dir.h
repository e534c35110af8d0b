/*
 * dir.h - files in a replica's directory.
 *
 * By its descriptor alone: a directory that was renamed is still ours, and what
 * stands at its path by now is another's. `lock` has the access of the base
 * (place.c sees to it at each open), and whatever is made gets that of `lock`.
 * No link is followed; results are as those of core/rights.h.
 *
 *   (1) a name is one component: nothing outside of the directory is reached
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_STORE_FORMAT_DIR_H
#define RAMET_CLIENT_STORE_FORMAT_DIR_H

#include <stdbool.h>
#include <string.h>

#include "core/rights.h"

#define RAMET_DIR_LOCK "lock"

/* For assertions of invariant (1). */
static inline bool
ramet_is_one_name(const char *name)
{
    return name[0] != '\0' && strcmp(name, "..") != 0 &&
           strchr(name, '/') == NULL;
}

/* What is made gets this. */
int ramet_dir_rights(const struct ramet_os *os, int dir_fd,
                     struct ramet_rights *out);
/* Open what is there. It may have several names, if all of them are here: one
 * that was made ahead of time has, and after a crash so may a recycled one. */
int ramet_dir_open(const struct ramet_os *os, int dir_fd, const char *name,
                   int flags);
/* Open for reading and writing what is not there yet... */
int ramet_dir_make(const struct ramet_os *os, int dir_fd, const char *name);
/* ... what may be there, and is removed then. */
int
ramet_dir_make_anew(const struct ramet_os *os, int dir_fd, const char *name);
/* ... what may be there, as it is. */
int
ramet_dir_open_or_make(const struct ramet_os *os, int dir_fd, const char *name);
/* ... and what it is like; of one that was made only that it is empty. */
int ramet_dir_open_or_make_look(const struct ramet_os *os, int dir_fd,
                                const char *name, struct ramet_os_stat *out_st);
/* An open file is from before: give it the access that it would be made with.
 * -EPERM: that can't be. */
int ramet_dir_give_rights(const struct ramet_os *os, int dir_fd, int fd);
/* A folder in it, made if it is not there, and durable; open for reading. */
int ramet_dir_folder(const struct ramet_os *os, int dir_fd, const char *name);

/* ramet_os_replace_file(), with that access. */
RAMET_NODISCARD enum ramet_rc
ramet_dir_replace(const struct ramet_os *os, int dir_fd, const char *name,
                  const void *data, size_t len, struct ramet_err *err);

#endif
