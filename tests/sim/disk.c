/*
 * disk.c - see disk.h: names and content, as they are. What of them survives
 * is in disk_crash.c.
 */
#include "tests/sim/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/sim/sched.h"

#define MAPPINGS_MAX 1024u /* in one schedule */

static struct sim_node *root;
static struct sim_disk *disks;
static uint64_t last_inode;
static uint8_t *mappings; /* reserved once, for MAPPINGS_MAX files */
static size_t mapping_count;

void *
sim_grow(void *array, size_t count, size_t item_size)
{
    /* The capacity is the least power of two, 8 at least. */
    const bool is_full =
        count == 0 || (count >= 8 && (count & (count - 1)) == 0);
    void *const grown =
        is_full ? realloc(array, (count < 8 ? 8 : count * 2) * item_size)
                : array;

    if (grown == NULL)
        abort();
    return grown;
}

int64_t
sim_file_time(void)
{
    return INT64_C(1790000000000000000) + (int64_t)sim_now_ns();
}

/* ---- nodes ----------------------------------------------------------------- */

static struct sim_node *
node_new(struct sim_disk *disk, bool is_dir, uint32_t mode)
{
    struct sim_node *const node = calloc(1, sizeof(*node));

    if (node == NULL)
        abort();
    node->disk = disk;
    node->inode = ++last_inode;
    node->is_dir = is_dir;
    node->mode = (is_dir ? S_IFDIR : S_IFREG) | (mode & 07777);
    node->mtime_ns = node->ctime_ns = sim_file_time();
    if (disk != NULL) {
        node->older = disk->nodes;
        disk->nodes = node;
    }
    return node;
}

static void
blocks_free(const struct sim_blocks *blocks)
{
    for (size_t i = 0; i < blocks->count; i++)
        free(blocks->at[i]);
}

static void
node_free(struct sim_node *node)
{
    for (size_t i = 0; i < node->change_count; i++)
        free(node->changes[i].data);
    free(node->changes);
    free(node->entries);
    free(node->kept_entries);
    if (node->mapping != NULL)
        madvise(node->mapping, SIM_MAPPING_MAX, MADV_DONTNEED);
    else
        blocks_free(&node->now);
    blocks_free(&node->kept);
    free(node->now.at);
    free(node->kept.at);
    free(node->locks);
    free(node->adrift);
    free(node);
}

void
sim_disks_begin(void)
{
    last_inode = 1000;
    mapping_count = 0;
    root = node_new(NULL, true, 0755);
}

void
sim_disks_end(void)
{
    while (disks != NULL) {
        struct sim_disk *const disk = disks;

        disks = disk->next;
        while (disk->nodes != NULL) {
            struct sim_node *const node = disk->nodes;

            disk->nodes = node->older;
            node_free(node);
        }
        free(disk->renamings);
        free(disk);
    }
    node_free(root);
    root = NULL;
}

struct sim_disk *
sim_disk_new(const char *name)
{
    struct sim_disk *const disk = calloc(1, sizeof(*disk));

    if (disk == NULL)
        abort();
    disk->next = disks;
    disks = disk;
    disk->root = node_new(disk, true, 0755);
    disk->root->parent = root;
    disk->root->link_count = 1;
    sim_entry_set(&root->entries, &root->entry_count, name, disk->root);
    return disk;
}

/* ---- names ----------------------------------------------------------------- */

void
sim_entry_set(struct sim_entry **entries, size_t *count, const char *name,
              struct sim_node *node)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*entries)[i].name, name) == 0) {
            (*entries)[i].node = node;
            return;
        }
    *entries = sim_grow(*entries, *count, sizeof(**entries));
    snprintf((*entries)[*count].name, sizeof((*entries)->name), "%s", name);
    (*entries)[(*count)++].node = node;
}

void
sim_entry_remove(struct sim_entry *entries, size_t *count, const char *name,
                 const struct sim_node *node)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(entries[i].name, name) == 0 && entries[i].node == node) {
            entries[i] = entries[--*count];
            return;
        }
}

static struct sim_node *
child_of(const struct sim_node *dir, const char *name)
{
    for (size_t i = 0; i < dir->entry_count; i++)
        if (strcmp(dir->entries[i].name, name) == 0)
            return dir->entries[i].node;
    return NULL;
}

/* The folder in which the path's last element stands, and that element. */
static int
find_folder(struct sim_node *from, const char *path, struct sim_node **out_dir,
            char out_name[60])
{
    struct sim_node *at = path[0] == '/' || from == NULL ? root : from;

    for (;;) {
        size_t len;

        while (*path == '/')
            path++;
        len = strcspn(path, "/");
        if (len >= 60)
            return -ENAMETOOLONG;
        if (!at->is_dir)
            return -ENOTDIR;
        memcpy(out_name, path, len);
        out_name[len] = '\0';
        path += len;
        while (*path == '/')
            path++;
        if (*path == '\0')
            break;
        if (strcmp(out_name, ".") == 0)
            continue;
        at = strcmp(out_name, "..") == 0
                 ? (at->parent != NULL ? at->parent : at)
                 : child_of(at, out_name);
        if (at == NULL)
            return -ENOENT;
    }
    *out_dir = at;
    return 0;
}

int
sim_find(struct sim_node *from, const char *path, struct sim_node **out)
{
    struct sim_node *dir;
    char name[60];
    const int result = find_folder(from, path, &dir, name);

    if (result < 0)
        return result;
    if (name[0] == '\0' || strcmp(name, ".") == 0)
        *out = dir;
    else if (strcmp(name, "..") == 0)
        *out = dir->parent != NULL ? dir->parent : dir;
    else
        *out = child_of(dir, name);
    return *out == NULL ? -ENOENT : 0;
}

static void
note_renaming(struct sim_node *from, const char *from_name, struct sim_node *to,
              const char *to_name, struct sim_node *node)
{
    struct sim_disk *const disk = node->disk;
    struct sim_renaming *r;

    disk->renamings = sim_grow(disk->renamings, disk->renaming_count,
                               sizeof(*disk->renamings));
    r = &disk->renamings[disk->renaming_count++];
    *r = (struct sim_renaming){.from = from, .to = to, .node = node};
    if (from != NULL)
        snprintf(r->from_name, sizeof(r->from_name), "%s", from_name);
    if (to != NULL)
        snprintf(r->to_name, sizeof(r->to_name), "%s", to_name);
    node->ctime_ns = sim_file_time();
    if (from != NULL)
        from->mtime_ns = from->ctime_ns = node->ctime_ns;
    if (to != NULL)
        to->mtime_ns = to->ctime_ns = node->ctime_ns;
}

static void
add_name(struct sim_node *dir, const char *name, struct sim_node *node)
{
    sim_entry_set(&dir->entries, &dir->entry_count, name, node);
    node->link_count++;
    if (node->is_dir)
        node->parent = dir;
}

int
sim_make(struct sim_node *from, const char *path, bool is_dir, uint32_t mode,
         struct sim_node **out)
{
    struct sim_node *dir;
    char name[60];
    const int result = find_folder(from, path, &dir, name);

    if (result < 0)
        return result;
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return is_dir ? -EEXIST : -EISDIR;
    if (child_of(dir, name) != NULL)
        return -EEXIST;
    if (dir->disk == NULL || dir->link_count == 0)
        return dir->disk == NULL ? -EROFS : -ENOENT;
    *out = node_new(dir->disk, is_dir, mode);
    add_name(dir, name, *out);
    note_renaming(NULL, NULL, dir, name, *out);
    return 0;
}

int
sim_link(struct sim_node *node, struct sim_node *to, const char *path)
{
    struct sim_node *dir;
    char name[60];
    const int result = find_folder(to, path, &dir, name);

    if (result < 0)
        return result;
    if (node->is_dir)
        return -EPERM;
    if (child_of(dir, name) != NULL)
        return -EEXIST;
    if (dir->disk != node->disk)
        return -EXDEV;
    if (dir->link_count == 0 || node->link_count == 0)
        return -ENOENT;
    add_name(dir, name, node);
    note_renaming(NULL, NULL, dir, name, node);
    return 0;
}

int
sim_rename(struct sim_node *from, const char *path, struct sim_node *to,
           const char *to_path)
{
    struct sim_node *dir, *to_dir, *node, *replaced;
    char name[60], to_name[60];
    int result = find_folder(from, path, &dir, name);

    if (result == 0)
        result = find_folder(to, to_path, &to_dir, to_name);
    if (result < 0)
        return result;
    node = child_of(dir, name);
    replaced = child_of(to_dir, to_name);
    if (node == NULL || to_dir->link_count == 0)
        return -ENOENT;
    if (node->disk != to_dir->disk)
        return -EXDEV;
    if (replaced == node)
        return 0;
    if (replaced != NULL) {
        if (replaced->is_dir != node->is_dir)
            return replaced->is_dir ? -EISDIR : -ENOTDIR;
        if (replaced->entry_count > 0)
            return -ENOTEMPTY;
        replaced->link_count--;
        replaced->ctime_ns = sim_file_time();
    }
    sim_entry_remove(dir->entries, &dir->entry_count, name, node);
    node->link_count--;
    add_name(to_dir, to_name, node);
    note_renaming(dir, name, to_dir, to_name, node);
    return 0;
}

int
sim_unlink(struct sim_node *from, const char *path, bool is_dir)
{
    struct sim_node *dir, *node;
    char name[60];
    const int result = find_folder(from, path, &dir, name);

    if (result < 0)
        return result;
    node = child_of(dir, name);
    if (node == NULL)
        return -ENOENT;
    if (node->is_dir != is_dir)
        return is_dir ? -ENOTDIR : -EISDIR;
    if (node->entry_count > 0)
        return -ENOTEMPTY;
    sim_entry_remove(dir->entries, &dir->entry_count, name, node);
    node->link_count--;
    note_renaming(dir, name, NULL, NULL, node);
    return 0;
}

void
sim_empty_folder(const char *path)
{
    struct sim_node *dir;

    if (sim_find(NULL, path, &dir) != 0)
        return;
    while (dir->entry_count > 0) {
        char below[400];

        snprintf(below, sizeof(below), "%s/%s", path, dir->entries[0].name);
        sim_remove_below(below);
    }
}

void
sim_remove_below(const char *path)
{
    struct sim_node *node;

    if (sim_find(NULL, path, &node) != 0)
        return;
    if (node->is_dir)
        sim_empty_folder(path);
    if (sim_unlink(NULL, path, node->is_dir) != 0)
        sim_fail("can't remove %s", path);
}

int
sim_list(struct sim_node *dir, ramet_dir_visit *visit, void *visit_ctx)
{
    const size_t count = dir->entry_count;
    struct sim_entry *const copy = malloc((count + 1) * sizeof(*copy));
    int result = 0;

    if (copy == NULL)
        abort();
    if (count > 0)
        memcpy(copy, dir->entries, count * sizeof(*copy));
    for (size_t i = 0; i < count && result == 0; i++)
        result = visit(visit_ctx, copy[i].name, copy[i].node->is_dir);
    free(copy);
    return result;
}

/* ---- content --------------------------------------------------------------- */

/* What is written to is to come to the disk again, all of the block. */
static void
hold(struct sim_node *node, const struct sim_change *c)
{
    size_t index, end;

    sim_change_blocks(c, &index, &end);
    for (; index < end && index < node->adrift_count; index++)
        node->adrift[index] = false;
}

static void
note_change(struct sim_node *node, unsigned kind, uint64_t offset, uint64_t len,
            const void *data)
{
    struct sim_change *c;

    node->changes =
        sim_grow(node->changes, node->change_count, sizeof(*node->changes));
    c = &node->changes[node->change_count++];
    *c = (struct sim_change){.kind = kind, .offset = offset, .len = len};
    if (data != NULL) {
        c->data = malloc(len + 1);
        if (c->data == NULL)
            abort();
        memcpy(c->data, data, len);
    }
    node->mtime_ns = node->ctime_ns = sim_file_time();
    if (node->adrift_count > 0)
        hold(node, c);
}

uint8_t *
sim_block(const struct sim_blocks *blocks, size_t index)
{
    return index < blocks->count ? blocks->at[index] : NULL;
}

/* Room for the pointer. */
static void
need_block(struct sim_blocks *blocks, size_t index)
{
    size_t count = blocks->count < 8 ? 8 : blocks->count;

    if (index < blocks->count)
        return;
    while (count <= index)
        count *= 2;
    blocks->at = realloc(blocks->at, count * sizeof(*blocks->at));
    if (blocks->at == NULL)
        abort();
    memset(blocks->at + blocks->count, 0,
           (count - blocks->count) * sizeof(*blocks->at));
    blocks->count = count;
}

void
sim_block_set(struct sim_blocks *blocks, size_t index, const uint8_t *bytes)
{
    if (bytes == NULL && sim_block(blocks, index) == NULL)
        return;
    need_block(blocks, index);
    if (bytes == NULL) {
        free(blocks->at[index]);
        blocks->at[index] = NULL;
        return;
    }
    if (blocks->at[index] == NULL)
        blocks->at[index] = malloc(SIM_BLOCK);
    if (blocks->at[index] == NULL)
        abort();
    memcpy(blocks->at[index], bytes, SIM_BLOCK);
}

uint8_t *
sim_block_make(struct sim_node *node, size_t index)
{
    static const uint8_t zeros[SIM_BLOCK];

    if (sim_block(&node->now, index) == NULL) {
        if (node->mapping == NULL) {
            sim_block_set(&node->now, index, zeros);
        } else {
            if (index >= SIM_MAPPING_MAX / SIM_BLOCK)
                sim_fail("a mapped file grows to block %zu", index);
            need_block(&node->now, index);
            node->now.at[index] = node->mapping + index * SIM_BLOCK;
        }
    }
    return node->now.at[index];
}

void
sim_block_clear(struct sim_node *node, size_t index)
{
    if (node->mapping == NULL) {
        sim_block_set(&node->now, index, NULL);
        return;
    }
    if (index < SIM_MAPPING_MAX / SIM_BLOCK)
        memset(node->mapping + index * SIM_BLOCK, 0, SIM_BLOCK);
    if (index < node->now.count)
        node->now.at[index] = NULL;
}

/* How much of `len` bytes at `offset` is in one block. */
static size_t
within_block(uint64_t offset, uint64_t len)
{
    const size_t room = SIM_BLOCK - (size_t)(offset % SIM_BLOCK);

    return len < room ? (size_t)len : room;
}

size_t
sim_file_read(const struct sim_node *node, uint64_t offset, void *out,
              size_t len)
{
    uint8_t *to = out;

    if (offset >= node->size)
        return 0;
    if (len > node->size - offset)
        len = (size_t)(node->size - offset);
    for (size_t left = len; left > 0;) {
        const size_t part = within_block(offset, left);
        const uint8_t *const block =
            node->mapping != NULL
                ? node->mapping + offset / SIM_BLOCK * SIM_BLOCK
                : sim_block(&node->now, (size_t)(offset / SIM_BLOCK));

        if (block != NULL)
            memcpy(to, block + offset % SIM_BLOCK, part);
        else
            memset(to, 0, part);
        to += part;
        offset += part;
        left -= part;
    }
    return len;
}

void
sim_file_write(struct sim_node *node, uint64_t offset, const void *data,
               size_t len)
{
    const uint8_t *from = data;

    if (len == 0)
        return;
    if (offset + len > node->size) {
        note_change(node, SIM_RESIZED, node->size, offset + len, NULL);
        node->size = offset + len;
    }
    note_change(node, SIM_WROTE, offset, len, data);
    while (len > 0) {
        const size_t part = within_block(offset, len);

        memcpy(sim_block_make(node, (size_t)(offset / SIM_BLOCK)) +
                   offset % SIM_BLOCK,
               from, part);
        from += part;
        offset += part;
        len -= part;
    }
}

static void
clear(struct sim_node *node, uint64_t begin, uint64_t end)
{
    while (begin < end) {
        const size_t part = within_block(begin, end - begin);
        const size_t index = (size_t)(begin / SIM_BLOCK);

        if (part == SIM_BLOCK)
            sim_block_clear(node, index);
        else if (node->mapping != NULL || sim_block(&node->now, index) != NULL)
            memset(sim_block_make(node, index) + begin % SIM_BLOCK, 0, part);
        begin += part;
    }
}

void
sim_file_resize(struct sim_node *node, uint64_t size)
{
    const uint64_t end = (node->size + SIM_BLOCK - 1) / SIM_BLOCK * SIM_BLOCK;

    if (size == node->size)
        return;
    note_change(node, SIM_RESIZED, node->size, size, NULL);
    if (size < node->size)
        clear(node, size, end);
    node->size = size;
}

void
sim_file_punch(struct sim_node *node, uint64_t offset, uint64_t len)
{
    if (offset >= node->size)
        return;
    if (len > node->size - offset)
        len = node->size - offset;
    clear(node, offset, offset + len);
    note_change(node, SIM_ZEROED, offset, len, NULL);
}

void
sim_file_allocate(struct sim_node *node, uint64_t offset, uint64_t len)
{
    if (offset + len > node->size) {
        note_change(node, SIM_RESIZED, node->size, offset + len, NULL);
        node->size = offset + len;
    }
}

int64_t
sim_file_seek_data(const struct sim_node *node, uint64_t offset)
{
    for (uint64_t at = offset; at < node->size;
         at = (at / SIM_BLOCK + 1) * SIM_BLOCK)
        if (node->mapping != NULL ||
            sim_block(&node->now, (size_t)(at / SIM_BLOCK)) != NULL)
            return (int64_t)at;
    return -ENXIO;
}

uint64_t
sim_file_block_bytes(const struct sim_node *node)
{
    uint64_t count = 0;

    for (size_t i = 0; i < node->now.count; i++)
        count += node->now.at[i] != NULL;
    return count * SIM_BLOCK;
}

static uint8_t *
place_of_mappings(void)
{
    if (mappings == NULL)
        mappings = mmap(NULL, (size_t)MAPPINGS_MAX * SIM_MAPPING_MAX,
                        PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mappings == MAP_FAILED)
        abort();
    return mappings;
}

void
sim_mappings_place(uintptr_t *out_begin, uintptr_t *out_end)
{
    *out_begin = (uintptr_t)place_of_mappings();
    *out_end = *out_begin + (uintptr_t)MAPPINGS_MAX * SIM_MAPPING_MAX;
}

uint8_t *
sim_file_map(struct sim_node *node)
{
    if (node->mapping != NULL)
        return node->mapping;
    if (mapping_count == MAPPINGS_MAX)
        sim_fail("more than %u files are mapped", MAPPINGS_MAX);
    node->mapping = place_of_mappings() + mapping_count++ * SIM_MAPPING_MAX;
    for (size_t i = 0; i < node->now.count; i++)
        if (node->now.at[i] != NULL) {
            memcpy(node->mapping + i * SIM_BLOCK, node->now.at[i], SIM_BLOCK);
            free(node->now.at[i]);
            node->now.at[i] = node->mapping + i * SIM_BLOCK;
        }
    return node->mapping;
}

/* ---- locks ----------------------------------------------------------------- */

bool
sim_lock_conflicts(const struct sim_node *node, const void *owner,
                   uint64_t begin, uint64_t end, enum ramet_lock_mode mode)
{
    for (size_t i = 0; i < node->lock_count; i++) {
        const struct sim_lock *const l = &node->locks[i];

        if (l->owner != owner && l->begin < end && begin < l->end &&
            (mode == RAMET_LOCK_EXCLUSIVE || l->mode == RAMET_LOCK_EXCLUSIVE))
            return true;
    }
    return false;
}

static void
add_lock(struct sim_node *node, const void *owner, uint64_t begin, uint64_t end,
         enum ramet_lock_mode mode)
{
    if (begin >= end)
        return;
    node->locks = sim_grow(node->locks, node->lock_count, sizeof(*node->locks));
    node->locks[node->lock_count++] =
        (struct sim_lock){owner, begin, end, mode};
}

int
sim_lock_set(struct sim_node *node, const void *owner, uint64_t begin,
             uint64_t end, enum ramet_lock_mode mode)
{
    if (mode != RAMET_UNLOCK &&
        sim_lock_conflicts(node, owner, begin, end, mode))
        return -EAGAIN;
    for (size_t i = node->lock_count; i-- > 0;) {
        const struct sim_lock old = node->locks[i];

        if (old.owner != owner || old.begin >= end || begin >= old.end)
            continue;
        node->locks[i] = node->locks[--node->lock_count];
        add_lock(node, owner, old.begin, begin, old.mode);
        add_lock(node, owner, end, old.end, old.mode);
    }
    if (mode != RAMET_UNLOCK)
        add_lock(node, owner, begin, end, mode);
    return 0;
}
