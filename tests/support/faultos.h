/*
 * faultos.h - a struct ramet_os that fails, gives short, and loses power.
 *
 * It passes everything on to the system's table, on real files, and adds:
 *
 * Faults. Operations belong to classes. One of them, or all from one on, can
 * be made to fail with an errno, before anything was done. Transfers can be
 * made short.
 *
 * Power. Everything under one root folder is watched. faultos_stop_at(n) lets
 * n state-changing operations happen; whatever comes after answers -EIO (but
 * for what gives something back: close, unmap, unlocking). Then
 * faultos_crash(seed) makes the folder what a disk may hold after the power
 * went at that moment. A test reopens it with the system's table and compares.
 *
 * The model of the disk:
 *   (1) What a file held when it was last synced (sync or datasync) is there,
 *       unless written to later.
 *   (2) Of later writes each sector of 512 bytes survives for itself, and
 *       holds what the file held there at some moment since: a write may be
 *       torn between sectors, not within one, and old may come after new.
 *   (3) The size is that of some moment since; bytes that did not survive are
 *       zero. What was written after a truncation that did not survive, where
 *       it cut, did not survive either.
 *   (4) Names: what a folder held when it was last synced is there, and any
 *       subset of what was done to it since, each whole or not at all: a
 *       rename never loses both names. Syncing a file does not sync its name.
 *       A folder whose own name is lost is lost with all in it.
 *   (5) Writes through a mapping survive by sectors like others; only a sync
 *       of the file makes them durable.
 *   (6) A sync that was made to fail loses its claim: what was to be synced
 *       may be lost even after a later sync that succeeds, unless written
 *       again (that is what Linux does).
 *   (7) The time of modification is that of the last sync (not datasync), or
 *       later. Inode numbers of files are kept, those of folders are not.
 *   (8) The mode of a file is that of its last sync, or later; a folder's is
 *       the last that it had. Owners are not modelled.
 * Seeds that are 0, 1, 2, 3 modulo 8 give the extremes: nothing unsynced
 * survived, all did, only names, only content. The others are random.
 *
 * Not modelled: symbolic links, O_APPEND, and what is done in the folder but
 * not through the table (faultos_settle() takes that over). Real syncs are not
 * made, since nothing here depends on them. A sibling folder ROOT.vault holds
 * a link to each file while the simulation lives.
 *
 * One process; any number of threads.
 */
#ifndef RAMET_TESTS_SUPPORT_FAULTOS_H
#define RAMET_TESTS_SUPPORT_FAULTOS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/os.h"

enum faultos_class {
    FAULTOS_READ = 1,  /* preadv, list, stat, stat_at, seek_data, map */
    FAULTOS_WRITE = 2, /* pwritev, truncate, allocate, punch, set_mtime, chmod,
                          chown */
    FAULTOS_SYNC = 4,  /* datasync, sync */
    FAULTOS_NAME = 8,  /* link, rename, unlink, mkdir, open with O_CREAT */
    FAULTOS_OPEN = 16, /* open without O_CREAT, dup */
    FAULTOS_LOCK = 32, /* lock (not unlocking), lock_held */
    FAULTOS_RANDOM = 64,
    FAULTOS_ALL = 127
};

struct faultos;

/* `root` is an existing folder, given by an absolute path. Aborts with a
 * message where the simulation itself can't go on, here and below. */
struct faultos *faultos_new(const char *root);
/* Ends the simulation; the folder stays as it is. NULL is fine. */
void faultos_free(struct faultos *f);
const struct ramet_os *faultos_os(struct faultos *f);

/* Fail the nth operation of these classes from now on (0 is the next) with
 * `errnum`; with `and_later` all after it too. -1 turns it off. */
void faultos_fail_at(struct faultos *f, unsigned classes, long nth, int errnum,
                     bool and_later);
/* Did that failure happen? A loop over n ends when it did not. */
bool faultos_has_failed(const struct faultos *f);
/* From now on each transfer of more than a byte is cut at random; 0: off. */
void faultos_cut_transfers(struct faultos *f, uint64_t seed);

/* Let `count` more state-changing operations happen; -1: no end. */
void faultos_stop_at(struct faultos *f, long count);
bool faultos_has_stopped(const struct faultos *f);
/* State-changing operations done so far, syncs among them. */
long faultos_changes(const struct faultos *f);

/* Take the folder as it is now for durable. */
void faultos_settle(struct faultos *f);
/* Cut the power; see above. Close all descriptors on the folder before. The
 * table works again afterwards, on the state that survived. */
void faultos_crash(struct faultos *f, uint64_t seed);

#endif
