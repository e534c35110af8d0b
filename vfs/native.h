/*
 * native.h - the VFS below ours: the process's default VFS as it was found.
 *
 * Everything that is no replica is its. We may take its place as the default
 * (ramet_native_take_over()), so its methods are called by what was kept of
 * them, as a VFS of its own under the old name.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_NATIVE_H
#define RAMET_VFS_NATIVE_H

#include <stdbool.h>

#include "vfs/api.h"

/* Look for it, once, before anything of ours is registered. False: SQLite has
 * no VFS. */
bool ramet_native_find(void);
/* What to call. Static; filled by ramet_native_find(). */
sqlite3_vfs *ramet_native(void);

/*
 * Make a VFS of ours the default, by its methods for names and its own name,
 * without changing which object the default is; the VFS that it was gets an
 * object of its own.
 *
 * SQLite tells shared caches apart by the name *and the VFS object* of a
 * database (btree.c). With another object as the default, a named database in
 * memory (`file:x?mode=memory&cache=shared`) would be another one for whoever
 * opens it later, while those who have it open go on with the first.
 *
 * What is open is not disturbed: it goes on with files of the size that it
 * reckoned with, and ours hands on what is no replica. Each change is of one
 * word, and a call that comes in between meets a whole VFS either way.
 *
 * False, and nothing is changed: this default can't be taken over (it is not
 * the one that was found; its files are smaller than ours; it goes by its own
 * name, as "unix-excl" does).
 */
bool ramet_native_take_over(const sqlite3_vfs *ours);

#endif
