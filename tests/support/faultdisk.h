/*
 * faultdisk.h - the disk of faultos.h: what is durable, and what may survive.
 *
 * faultos.c tells it of each operation that succeeded on the real folder. It
 * knows files by inode numbers; since the vault holds a link to each file, none
 * is used again while the simulation lives. Not thread-safe: faultos.c locks.
 */
#ifndef RAMET_TESTS_SUPPORT_FAULTDISK_H
#define RAMET_TESTS_SUPPORT_FAULTDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct faultdisk;
struct faultnode; /* a file or folder under the root */

struct faultdisk *faultdisk_new(const char *root);
void faultdisk_free(struct faultdisk *disk);

/* The node of an inode, or NULL if it is not under the root. */
struct faultnode *faultdisk_find(struct faultdisk *disk, const struct stat *st);
bool faultdisk_is_dir(const struct faultnode *node);

/* A file or folder was made; `path` is real, for the vault's link. */
struct faultnode *
faultdisk_made(struct faultdisk *disk, int dirfd, const char *path);
/* Names: `from` NULL is a new name, `to` NULL a removed one. */
void faultdisk_renamed(struct faultdisk *disk, struct faultnode *from,
                       const char *from_name, struct faultnode *to,
                       const char *to_name, struct faultnode *node);
void faultdisk_wrote(struct faultdisk *disk, struct faultnode *node,
                     uint64_t offset, const void *data, size_t len);
void faultdisk_zeroed(struct faultdisk *disk, struct faultnode *node,
                      uint64_t offset, uint64_t len); /* size unchanged */
void faultdisk_resized(struct faultdisk *disk, struct faultnode *node,
                       uint64_t size);
void faultdisk_mapped(struct faultnode *node);
void faultdisk_mode_set(struct faultnode *node, mode_t permissions);
/* `fd` is open on it; `whole` is sync, else datasync. */
void faultdisk_synced(struct faultdisk *disk, struct faultnode *node, int fd,
                      bool whole);
void
faultdisk_sync_failed(struct faultdisk *disk, struct faultnode *node, int fd);
/* All is durable as it is. */
void faultdisk_settle(struct faultdisk *disk);
void faultdisk_crash(struct faultdisk *disk, uint64_t seed);

/* For both: abort with a message unless `ok`. */
void faultdisk_require(bool ok, const char *what, const char *path);
/* splitmix64. */
uint64_t faultdisk_random(uint64_t *state);

#endif
