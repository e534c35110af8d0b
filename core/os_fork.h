/*
 * os_fork.h - which descriptors must not survive fork(); for os.c alone.
 *
 * An open-file-description lock lives as long as any descriptor of that
 * description, in any process. A child of fork() would thus keep its parent's
 * locks alive after the parent's death. So descriptors are entered here, those
 * that were duplicated as one group, and the child gives up every group on
 * which a lock was ever tried. That does not release the parent's locks.
 *
 * In the child each such number stays taken, by a descriptor that can neither
 * be read, written nor locked: a stale handle that is closed late then can't
 * close a stranger's file that happened to get the same number.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_OS_FORK_H
#define RAMET_CORE_OS_FORK_H

/* Enter a descriptor just opened. 0 or -ENOMEM. */
int ramet_os_fork_track(int fd);
/* Duplicate with O_CLOEXEC, into the group of `fd`. The new descriptor, or a
 * negated errno. */
int ramet_os_fork_dup(int fd);
/* A lock is about to be tried on `fd`. 0 or -ENOMEM. */
int ramet_os_fork_mark(int fd);
/* close(2); no fork() sees it half done. 0 or a negated errno. */
int ramet_os_fork_close(int fd);

#endif
