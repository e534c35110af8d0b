/*
 * os_fork.h - what must not survive fork(); for os.c alone.
 *
 * A child of fork() shares its parent's open files and its shared memory, and
 * it runs its parent's code to the end: it closes handles that it never
 * opened. Nothing that it does by them may reach the parent:
 *
 *   - an open-file-description lock lives as long as any descriptor of that
 *     description, in any process, and any of them can release it;
 *   - a byte written by an inherited descriptor is in the parent's file;
 *   - a store to a shared mapping is in the parent's memory.
 *
 * So descriptors and mappings are entered here. The child gives up each
 * descriptor by which a file may be written but at its end, and each group of
 * duplicates on which a lock was ever tried (which does not release the
 * parent's locks); its shared mappings become zeros of its own.
 *
 * In the child each such number stays taken, by a descriptor that can neither
 * be read, written nor locked: a stale handle that is closed late then can't
 * close a stranger's file that happened to get the same number.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_OS_FORK_H
#define RAMET_CORE_OS_FORK_H

#include <stdbool.h>
#include <stddef.h>

/* Enter a descriptor just opened; `writes`: at any place of the file. 0 or
 * -ENOMEM. */
int ramet_os_fork_track(int fd, bool writes);
/* Duplicate with O_CLOEXEC, into the group of `fd`. The new descriptor, or a
 * negated errno. */
int ramet_os_fork_dup(int fd);
/* A lock is about to be tried on `fd`. 0 or -ENOMEM. */
int ramet_os_fork_mark(int fd);
/* close(2); no fork() sees it half done. 0 or a negated errno. */
int ramet_os_fork_close(int fd);
/* Enter memory that was mapped shared. 0 or -ENOMEM. */
int ramet_os_fork_map(void *at, size_t len);
/* Before it is unmapped: its place may be another's then. */
void ramet_os_fork_unmap(void *at);

#endif
