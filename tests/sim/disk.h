/*
 * disk.h - a disk in memory: names, files, and what of them a crash leaves.
 *
 * All disks stand in one tree of names, each as a folder of its root ("/m0").
 * A file has bytes as they are and bytes as they were at its last sync, and
 * what was done in between; a folder the same of its names. The power's going
 * leaves of a file, sector for sector, what it was at some moment since its
 * sync, and of the names any subset of what was done to them:
 *
 *   (1) what a file held when it was last synced is there, unless written since
 *   (2) of later writes each sector of 512 bytes survives for itself, and old
 *       may come after new; the size is that of some moment since
 *   (3) what was written where a truncation cut off survives only if that did
 *   (4) what a folder held when it was synced is there, and any subset of what
 *       was done to it since, each whole: a rename never loses both names
 *   (5) what is written through a mapping survives by sectors, too
 *   (6) after a sync that failed what did not come to the disk is read still, or
 *       is no more (the system may have let it go), and no later sync writes it
 *
 * Modes and owners are kept, and hinder nobody. No symbolic links.
 */
#ifndef RAMET_TESTS_SIM_DISK_H
#define RAMET_TESTS_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/os.h"

#define SIM_SECTOR 512u
#define SIM_BLOCK 4096u
#define SIM_MAPPING_MAX (32u << 20) /* of a file that is mapped */

struct sim_disk;
struct sim_node;

struct sim_lock {
    const void *owner; /* an open file description */
    uint64_t begin, end;
    enum ramet_lock_mode mode;
};

/* Content by blocks; NULL: a hole. */
struct sim_blocks {
    uint8_t **at;
    size_t count;
};

struct sim_node {
    struct sim_disk *disk;
    struct sim_node *older; /* of the disk */
    uint64_t inode;
    uint32_t mode;
    uint32_t uid, gid;
    uint32_t link_count;
    int64_t mtime_ns, ctime_ns, kept_mtime_ns;
    bool is_dir;
    bool sync_failed; /* (6): what is read may not be what is kept */
    bool *adrift;     /* blocks of which that is so; by number */
    size_t adrift_count;
    /* A folder. */
    struct sim_node *parent;
    struct sim_entry *entries, *kept_entries;
    size_t entry_count, kept_entry_count;
    /* A file. */
    struct sim_blocks now, kept;
    uint64_t size, kept_size;
    uint8_t *mapping; /* SIM_MAPPING_MAX, where the blocks of `now` are then */
    struct sim_change *changes;
    size_t change_count;
    struct sim_lock *locks;
    size_t lock_count;
};

/* The tree and its disks; made anew for each schedule. */
void sim_disks_begin(void);
void sim_disks_end(void);
/* A disk at "/NAME". */
struct sim_disk *sim_disk_new(const char *name);
/* Nobody has anything open on it. */
void sim_disk_crash(struct sim_disk *disk, uint64_t seed);

/* Results are >= 0 or a negated errno. `from` NULL: the root. */
int sim_find(struct sim_node *from, const char *path, struct sim_node **out);
int sim_make(struct sim_node *from, const char *path, bool is_dir,
             uint32_t mode, struct sim_node **out);
int sim_link(struct sim_node *node, struct sim_node *to, const char *path);
int sim_rename(struct sim_node *from, const char *path, struct sim_node *to,
               const char *to_path);
int sim_unlink(struct sim_node *from, const char *path, bool is_dir);
/* All that is there goes, below a folder or at a path. */
void sim_empty_folder(const char *path);
void sim_remove_below(const char *path);
int sim_list(struct sim_node *dir, ramet_dir_visit *visit, void *visit_ctx);

/* What a file that is changed now bears: Unix time in ns. */
int64_t sim_file_time(void);

size_t sim_file_read(const struct sim_node *node, uint64_t offset, void *out,
                     size_t len);
void sim_file_write(struct sim_node *node, uint64_t offset, const void *data,
                    size_t len);
void sim_file_resize(struct sim_node *node, uint64_t size);
void sim_file_punch(struct sim_node *node, uint64_t offset, uint64_t len);
void sim_file_allocate(struct sim_node *node, uint64_t offset, uint64_t len);
int64_t sim_file_seek_data(const struct sim_node *node, uint64_t offset);
uint64_t sim_file_block_bytes(const struct sim_node *node);
/* All mappings of files lie in one stretch of memory, at the same place in each
 * schedule of a run. */
uint8_t *sim_file_map(struct sim_node *node);
void sim_mappings_place(uintptr_t *out_begin, uintptr_t *out_end);
void sim_node_sync(struct sim_node *node, bool whole);
/* It fails: of what was to be written each block came to the disk or did not,
 * and all count as written from now on; see (6). */
void sim_node_sync_fails(struct sim_node *node, uint64_t seed);

/* The system lets go of such blocks: what was there before is read again. False:
 * there are none. */
bool sim_node_lets_go(struct sim_node *node);
bool sim_disk_lets_go(const struct sim_disk *disk);

/* -EAGAIN where others hold it. */
int sim_lock_set(struct sim_node *node, const void *owner, uint64_t begin,
                 uint64_t end, enum ramet_lock_mode mode);
bool
sim_lock_conflicts(const struct sim_node *node, const void *owner,
                   uint64_t begin, uint64_t end, enum ramet_lock_mode mode);

/* ---- between disk*.c ---------------------------------------------------------- */

struct sim_entry {
    char name[60];
    struct sim_node *node;
};

/* Of a file's content since its sync. */
struct sim_change {
    enum { SIM_WROTE, SIM_ZEROED, SIM_RESIZED } kind;
    uint64_t offset, len; /* RESIZED: from size, to size */
    uint8_t *data;
};

/* Of names since their folder was synced. */
struct sim_renaming {
    struct sim_node *from, *to; /* folders; NULL: a new, a removed name */
    char from_name[60], to_name[60];
    struct sim_node *node;
};

struct sim_disk {
    struct sim_disk *next;
    struct sim_node *root;
    struct sim_node *nodes;
    struct sim_renaming *renamings;
    size_t renaming_count;
};

/* *array holds `count` and gets room for one more. */
void *sim_grow(void *array, size_t count, size_t item_size);
void sim_entry_set(struct sim_entry **entries, size_t *count, const char *name,
                   struct sim_node *node);
void sim_entry_remove(struct sim_entry *entries, size_t *count,
                      const char *name, const struct sim_node *node);
/* Block `index`, made if `make`; NULL: a hole. */
uint8_t *sim_block(const struct sim_blocks *blocks, size_t index);
uint8_t *sim_block_make(struct sim_node *node, size_t index);
/* What it holds from now on; NULL: a hole. */
void
sim_block_set(struct sim_blocks *blocks, size_t index, const uint8_t *bytes);
void sim_block_clear(struct sim_node *node, size_t index);
/* The blocks that a change touches: [*out_first, *out_end). */
void sim_change_blocks(const struct sim_change *c, size_t *out_first,
                       size_t *out_end);

#endif
