/*
 * faultdisk.c - what is durable and what is not yet; see faultdisk.h, and
 * faultos.h for the model. faultcrash.c cuts the power.
 *
 * A file is an array of blocks; each block has the durable bytes and, for each
 * of its sectors, the versions since, newest first. A version is the whole
 * sector as the file held it then, so that choosing one is all there is to a
 * torn write. Names are one list of operations since, in order.
 */
#define _GNU_SOURCE
#include "tests/support/faultdisk_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
faultdisk_require(bool ok, const char *what, const char *path)
{
    if (ok)
        return;
    fprintf(stderr, "faultos: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

static void *
grow(void *array, size_t count, size_t size)
{
    /* Powers of two: room is made when the count reaches one. */
    if ((count & (count - 1)) != 0)
        return array;
    array = realloc(array, (count == 0 ? 1 : count * 2) * size);
    faultdisk_require(array != NULL, "no memory", "");
    return array;
}

char *
faultdisk_copy_text(const char *text)
{
    char *const copy = strdup(text);

    faultdisk_require(copy != NULL, "no memory", text);
    return copy;
}

char *
faultdisk_join_path(const char *folder, const char *name)
{
    char *path = NULL;

    faultdisk_require(asprintf(&path, "%s/%s", folder, name) >= 0, "no memory",
                      name);
    return path;
}

char *
faultdisk_vault_path(const struct faultdisk *disk, const struct faultnode *node)
{
    char name[16];

    snprintf(name, sizeof(name), "%u", node->number);
    return faultdisk_join_path(disk->vault, name);
}

uint64_t
faultdisk_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* ---- nodes ---------------------------------------------------------------- */

static void
free_versions(struct version **newest)
{
    while (*newest != NULL) {
        struct version *const version = *newest;

        *newest = version->older;
        free(version);
    }
}

void
faultdisk_free_node(struct faultnode *node)
{
    for (size_t i = 0; i < node->block_count; i++) {
        if (node->blocks[i] == NULL)
            continue;
        for (size_t s = 0; s < SECTORS; s++)
            free_versions(&node->blocks[i]->newest[s]);
        free(node->blocks[i]);
    }
    for (size_t i = 0; i < node->entry_count; i++)
        free(node->entries[i].name);
    free(node->blocks);
    free(node->entries);
    free(node->sizes);
    free(node);
}

bool
faultdisk_is_dir(const struct faultnode *node)
{
    return S_ISDIR(node->mode);
}

static struct faultnode **
find_bucket(struct faultdisk *disk, ino_t inode)
{
    return &disk->buckets[inode % BUCKETS];
}

struct faultnode *
faultdisk_find(struct faultdisk *disk, const struct stat *st)
{
    struct faultnode *node = *find_bucket(disk, st->st_ino);

    while (node != NULL &&
           (node->inode != st->st_ino || node->device != st->st_dev))
        node = node->next;
    return node;
}

/* A folder was removed and its inode given to another. */
static void
forget_inode(struct faultdisk *disk, const struct stat *st)
{
    struct faultnode **at = find_bucket(disk, st->st_ino);

    while (*at != NULL &&
           ((*at)->inode != st->st_ino || (*at)->device != st->st_dev))
        at = &(*at)->next;
    if (*at == NULL)
        return;
    disk->forgotten =
        grow(disk->forgotten, disk->forgotten_count, sizeof(*disk->forgotten));
    disk->forgotten[disk->forgotten_count++] = *at;
    *at = (*at)->next;
}

struct faultnode *
faultdisk_made(struct faultdisk *disk, int dirfd, const char *path)
{
    struct faultnode *const node = calloc(1, sizeof(*node));
    struct faultnode **bucket;
    struct stat st;

    faultdisk_require(node != NULL, "no memory", path);
    faultdisk_require(fstatat(dirfd, path, &st, 0) == 0, "stat", path);
    forget_inode(disk, &st);
    node->number = ++disk->last_number;
    node->device = st.st_dev;
    node->inode = st.st_ino;
    node->mode = st.st_mode;
    node->synced_mode = st.st_mode;
    node->synced_mtime = st.st_mtim;
    bucket = find_bucket(disk, st.st_ino);
    node->next = *bucket;
    *bucket = node;
    if (S_ISREG(st.st_mode)) {
        char *const link_path = faultdisk_vault_path(disk, node);

        /* Following a link: the path may be one of /proc/self/fd. */
        faultdisk_require(
            linkat(dirfd, path, AT_FDCWD, link_path, AT_SYMLINK_FOLLOW) == 0,
            "link", link_path);
        free(link_path);
    }
    return node;
}

/* ---- content -------------------------------------------------------------- */

struct block *
faultdisk_need_block(struct faultnode *node, size_t index)
{
    if (index >= node->block_count) {
        const size_t count = index + index / 2 + 16;

        node->blocks = realloc(node->blocks, count * sizeof(*node->blocks));
        faultdisk_require(node->blocks != NULL, "no memory", "");
        memset(node->blocks + node->block_count, 0,
               (count - node->block_count) * sizeof(*node->blocks));
        node->block_count = count;
    }
    if (node->blocks[index] == NULL) {
        node->blocks[index] = calloc(1, sizeof(struct block));
        faultdisk_require(node->blocks[index] != NULL, "no memory", "");
    }
    return node->blocks[index];
}

static const uint8_t *
newest_bytes(const struct block *block, size_t sector)
{
    return block->newest[sector] != NULL ? block->newest[sector]->bytes
                                         : block->durable + sector * SECTOR;
}

static uint64_t
newest_size(const struct faultnode *node)
{
    return node->size_count > 0 ? node->sizes[node->size_count - 1].size
                                : node->durable_size;
}

/* A new version of one sector: the newest, with `data` (NULL: zeros) over
 * [from, from + len) of it. */
static void
add_version(struct faultdisk *disk, struct block *block, size_t sector,
            size_t from, const uint8_t *data, size_t len, bool cut)
{
    struct version *const version = malloc(sizeof(*version));

    faultdisk_require(version != NULL, "no memory", "");
    memcpy(version->bytes, newest_bytes(block, sector), SECTOR);
    if (data != NULL)
        memcpy(version->bytes + from, data, len);
    else
        memset(version->bytes + from, 0, len);
    version->older = block->newest[sector];
    version->seq = disk->seq;
    version->cut = cut;
    version->doubtful = false;
    block->newest[sector] = version;
}

static void
set_size(struct faultdisk *disk, struct faultnode *node, uint64_t size)
{
    node->sizes = grow(node->sizes, node->size_count, sizeof(*node->sizes));
    node->sizes[node->size_count++] = (struct size_change){disk->seq, size};
}

/* Over [offset, offset + len), creating blocks only for data. */
static void
put_range(struct faultdisk *disk, struct faultnode *node, uint64_t offset,
          const uint8_t *data, uint64_t len, bool cut)
{
    while (len > 0) {
        const size_t index = (size_t)(offset / BLOCK);
        const size_t sector = (size_t)(offset % BLOCK / SECTOR);
        const size_t from = (size_t)(offset % SECTOR);
        const size_t room = SECTOR - from;
        const size_t part = len < room ? (size_t)len : room;

        if (data != NULL ||
            (index < node->block_count && node->blocks[index] != NULL))
            add_version(disk, faultdisk_need_block(node, index), sector, from,
                        data, part, cut);
        else if (index >= node->block_count)
            return; /* nothing but holes from here on */
        offset += part;
        len -= part;
        if (data != NULL)
            data += part;
    }
}

void
faultdisk_wrote(struct faultdisk *disk, struct faultnode *node, uint64_t offset,
                const void *data, size_t len)
{
    disk->seq++;
    put_range(disk, node, offset, data, len, false);
    if (len > 0 && offset + len > newest_size(node))
        set_size(disk, node, offset + len);
}

void
faultdisk_zeroed(struct faultdisk *disk, struct faultnode *node,
                 uint64_t offset, uint64_t len)
{
    disk->seq++;
    put_range(disk, node, offset, NULL, len, false);
}

void
faultdisk_resized(struct faultdisk *disk, struct faultnode *node, uint64_t size)
{
    const uint64_t before = newest_size(node);

    disk->seq++;
    if (size < before)
        put_range(disk, node, size, NULL, before - size, true);
    if (size != before)
        set_size(disk, node, size);
}

void
faultdisk_mode_set(struct faultnode *node, mode_t permissions)
{
    node->mode = (node->mode & (mode_t)~07777) | permissions;
}

void
faultdisk_mapped(struct faultnode *node)
{
    node->mapped = true;
}

/* What was written through a mapping: where the real file differs. */
void
faultdisk_absorb_mapping(struct faultdisk *disk, struct faultnode *node, int fd)
{
    const uint64_t size = newest_size(node);
    uint8_t bytes[BLOCK];

    if (!node->mapped)
        return;
    disk->seq++;
    for (uint64_t at = 0; at < size; at += BLOCK) {
        struct block *block;

        memset(bytes, 0, sizeof(bytes));
        faultdisk_require(pread(fd, bytes, BLOCK, (off_t)at) >= 0, "read",
                          "a mapped file");
        block = faultdisk_need_block(node, (size_t)(at / BLOCK));
        for (size_t s = 0; s < SECTORS; s++)
            if (memcmp(newest_bytes(block, s), bytes + s * SECTOR, SECTOR) != 0)
                add_version(disk, block, s, 0, bytes + s * SECTOR, SECTOR,
                            false);
    }
}

/* Content and size are durable now; what is doubtful stays pending. */
static void
promote_content(struct faultnode *node)
{
    for (size_t i = 0; i < node->block_count; i++) {
        struct block *const block = node->blocks[i];

        for (size_t s = 0; block != NULL && s < SECTORS; s++) {
            if (block->newest[s] == NULL || block->newest[s]->doubtful)
                continue;
            memcpy(block->durable + s * SECTOR, block->newest[s]->bytes,
                   SECTOR);
            free_versions(&block->newest[s]);
        }
    }
    node->durable_size = newest_size(node);
    node->size_count = 0;
    free(node->sizes);
    node->sizes = NULL;
}

/* ---- names ---------------------------------------------------------------- */

void
faultdisk_set_entry(struct faultnode *dir, const char *name,
                    struct faultnode *node)
{
    for (size_t i = 0; i < dir->entry_count; i++)
        if (strcmp(dir->entries[i].name, name) == 0) {
            dir->entries[i].node = node;
            return;
        }
    dir->entries = grow(dir->entries, dir->entry_count, sizeof(*dir->entries));
    dir->entries[dir->entry_count++] =
        (struct entry){faultdisk_copy_text(name), node};
}

/* Only if it is that node's: by then the name may be another's. */
static void
remove_entry(struct faultnode *dir, const char *name,
             const struct faultnode *node)
{
    for (size_t i = 0; i < dir->entry_count; i++)
        if (strcmp(dir->entries[i].name, name) == 0 &&
            dir->entries[i].node == node) {
            free(dir->entries[i].name);
            dir->entries[i] = dir->entries[dir->entry_count - 1];
            dir->entry_count--;
            return;
        }
}

void
faultdisk_apply_change(const struct name_change *change)
{
    if (change->from != NULL)
        remove_entry(change->from, change->from_name, change->node);
    if (change->to != NULL)
        faultdisk_set_entry(change->to, change->to_name, change->node);
}

void
faultdisk_free_change(struct name_change *change)
{
    free(change->from_name);
    free(change->to_name);
}

void
faultdisk_renamed(struct faultdisk *disk, struct faultnode *from,
                  const char *from_name, struct faultnode *to,
                  const char *to_name, struct faultnode *node)
{
    disk->seq++;
    disk->changes =
        grow(disk->changes, disk->change_count, sizeof(*disk->changes));
    disk->changes[disk->change_count++] = (struct name_change){
        .from = from,
        .from_name = from != NULL ? faultdisk_copy_text(from_name) : NULL,
        .to = to,
        .to_name = to != NULL ? faultdisk_copy_text(to_name) : NULL,
        .node = node,
    };
}

/* The array keeps its size, a power of two at least its count; what is left
 * is copied into a new one so that grow() stays right. */
static void
promote_names(struct faultdisk *disk, const struct faultnode *dir)
{
    struct name_change *const old = disk->changes;
    const size_t old_count = disk->change_count;

    disk->changes = NULL;
    disk->change_count = 0;
    for (size_t i = 0; i < old_count; i++) {
        const bool is_its =
            old[i].to == dir || (old[i].to == NULL && old[i].from == dir);

        if (is_its) {
            faultdisk_apply_change(&old[i]);
            faultdisk_free_change(&old[i]);
            continue;
        }
        disk->changes =
            grow(disk->changes, disk->change_count, sizeof(*disk->changes));
        disk->changes[disk->change_count++] = old[i];
    }
    free(old);
}

/* ---- syncs ---------------------------------------------------------------- */

void
faultdisk_synced(struct faultdisk *disk, struct faultnode *node, int fd,
                 bool whole)
{
    struct stat st;

    disk->seq++;
    node->synced_mode = node->mode;
    if (faultdisk_is_dir(node)) {
        promote_names(disk, node);
        return;
    }
    faultdisk_absorb_mapping(disk, node, fd);
    promote_content(node);
    if (whole && fstat(fd, &st) == 0)
        node->synced_mtime = st.st_mtim;
}

void
faultdisk_sync_failed(struct faultdisk *disk, struct faultnode *node, int fd)
{
    if (faultdisk_is_dir(node))
        return; /* names stay pending: a later sync takes them along */
    faultdisk_absorb_mapping(disk, node, fd);
    for (size_t i = 0; i < node->block_count; i++)
        for (size_t s = 0; node->blocks[i] != NULL && s < SECTORS; s++)
            for (struct version *v = node->blocks[i]->newest[s]; v != NULL;
                 v = v->older)
                v->doubtful = true;
}
