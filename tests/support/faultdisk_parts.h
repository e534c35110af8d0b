/*
 * faultdisk_parts.h - what faultdisk.c and faultcrash.c share.
 */
#ifndef RAMET_TESTS_SUPPORT_FAULTDISK_PARTS_H
#define RAMET_TESTS_SUPPORT_FAULTDISK_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/support/faultdisk.h"

#define BLOCK 4096u
#define SECTOR 512u
#define SECTORS (BLOCK / SECTOR)
#define BUCKETS 1021u

struct version {
    struct version *older;
    uint64_t seq;
    bool cut;      /* these zeros are a truncation's */
    bool doubtful; /* a sync that was to save it failed */
    uint8_t bytes[SECTOR];
};

struct block {
    uint8_t durable[BLOCK];
    struct version *newest[SECTORS];
};

struct size_change {
    uint64_t seq;
    uint64_t size;
};

struct entry {
    char *name;
    struct faultnode *node;
};

struct faultnode {
    struct faultnode *next; /* in its bucket */
    unsigned number;        /* its name in the vault */
    dev_t device;
    ino_t inode;
    mode_t mode;
    mode_t synced_mode;
    /* a file */
    struct block **blocks;
    size_t block_count;
    uint64_t durable_size;
    struct size_change *sizes;
    size_t size_count;
    struct timespec synced_mtime;
    bool mapped;
    /* a folder */
    struct entry *entries;
    size_t entry_count;
};

struct name_change {
    struct faultnode *from;
    char *from_name;
    struct faultnode *to;
    char *to_name;
    struct faultnode *node;
};

struct faultdisk {
    char *root;
    char *vault;
    unsigned last_number;
    uint64_t seq;
    struct faultnode *root_node;
    struct faultnode *buckets[BUCKETS];
    struct faultnode **forgotten; /* folders whose inode is another's now */
    size_t forgotten_count;
    struct name_change *changes;
    size_t change_count;
};

char *faultdisk_copy_text(const char *text);
char *faultdisk_join_path(const char *folder, const char *name);
char *faultdisk_vault_path(const struct faultdisk *disk,
                           const struct faultnode *node);
struct block *faultdisk_need_block(struct faultnode *node, size_t index);
void faultdisk_set_entry(struct faultnode *dir, const char *name,
                         struct faultnode *node);
void faultdisk_apply_change(const struct name_change *change);
void faultdisk_absorb_mapping(struct faultdisk *disk, struct faultnode *node,
                              int fd);
void faultdisk_free_node(struct faultnode *node);
void faultdisk_free_change(struct name_change *change);

#endif
