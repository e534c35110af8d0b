/*
 * rights.h - who may do what with a file that is made beside another.
 *
 * What is kept beside a file tells what is in it. So it is made with that
 * file's mode and, where root makes it, with its owner and group, as SQLite
 * does for its journals: who may not read the one can't read the other, and
 * nobody is locked out by a command that root ran.
 *
 *   (1) Nothing is ever open to more users than what it stands beside: where
 *       the group can't be had, the group gets no more than all others.
 *   (2) No symbolic link is followed, and what is opened is a plain file.
 *   (3) Root gives away nothing but what is empty or what everybody may read:
 *       whoever has a folder may have moved something of root's into it.
 *
 * Results are as those of os.h: >= 0, or a negated errno.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_RIGHTS_H
#define RAMET_CORE_RIGHTS_H

#include "core/os.h"

struct ramet_rights {
    uint32_t mode; /* permission bits: 0777 at most */
    uint32_t uid;
    uint32_t gid;
};

struct ramet_rights ramet_rights_of(const struct ramet_os_stat *st);
/* The mode of a folder of such files: entered by whoever may read or write. */
uint32_t ramet_rights_folder_mode(uint32_t mode);

/* Make what `fd` leads to accessible so; *st is what it is like now. What can't
 * be given stays whose it is, and no more open than it was. */
int ramet_rights_apply(const struct ramet_os *os, int fd,
                       const struct ramet_os_stat *st,
                       const struct ramet_rights *rights, uint32_t mode);

/* Make the file `name`, which must not be there (-EEXIST), and open it.
 * `flags`: O_RDWR or O_WRONLY. NULL: as the umask has it. */
int ramet_rights_make(const struct ramet_os *os, int dirfd, const char *name,
                      int flags, const struct ramet_rights *rights);
/* Open a file that is there. -ELOOP: it is a link. -EMLINK: it has another
 * name somewhere, and is perhaps a stranger's. -ENXIO: it is not a regular file. */
int ramet_rights_open(const struct ramet_os *os, int dirfd, const char *name,
                      int flags);
/* ... and what it is like. */
int
ramet_rights_open_look(const struct ramet_os *os, int dirfd, const char *name,
                       int flags, struct ramet_os_stat *out_st);
/* The one or the other. */
int
ramet_rights_open_or_make(const struct ramet_os *os, int dirfd,
                          const char *name, const struct ramet_rights *rights);
/* Open what is at `path` below `dirfd`, where no element of it, the last one
 * included, is a link: -ENOTDIR or -ELOOP. It may be of any kind. */
int ramet_rights_open_below(const struct ramet_os *os, int dirfd,
                            const char *path, int flags);
/* Open a folder by one name; -ENOTDIR also for a link. */
int ramet_rights_open_folder(const struct ramet_os *os, int dirfd,
                             const char *name);

#endif
