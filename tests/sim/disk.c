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

#define BLOCK 4096u

static struct sim_node *root;
static struct sim_disk *disks;
static uint64_t last_inode;

void *
sim_grow(void *array, size_t count, size_t item_size)
{
    /* The capacity is the least power of two, 8 at least. */
    const bool is_full = count == 0 || (count >= 8 && (count & (count - 1)) == 0);
    void *const grown =
        is_full ? realloc(array, (count < 8 ? 8 : count * 2) * item_size)
                : array;

    if (grown == NULL)
        abort();
    return grown;
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
    node->mtime_ns = node->ctime_ns = (int64_t)sim_now_ns();
    if (disk != NULL) {
        node->older = disk->nodes;
        disk->nodes = node;
    }
    return node;
}

static void
node_free(struct sim_node *node)
{
    for (size_t i = 0; i < node->change_count; i++)
        free(node->changes[i].data);
    free(node->changes);
    free(node->entries);
    free(node->kept_entries);
    if (node->is_mapped)
        munmap(node->bytes, SIM_MAPPING_MAX);
    else
        free(node->bytes);
    free(node->kept);
    free(node->blocks);
    free(node->locks);
    free(node);
}

void
sim_disks_begin(void)
{
    last_inode = 1000;
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
    node->ctime_ns = (int64_t)sim_now_ns();
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
        replaced->ctime_ns = (int64_t)sim_now_ns();
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
    node->mtime_ns = node->ctime_ns = (int64_t)sim_now_ns();
}

/* Room for `size` bytes; what is new is zero. */
void
sim_file_need(struct sim_node *node, uint64_t size)
{
    size_t capacity = node->capacity < 2 * BLOCK ? 2 * BLOCK : node->capacity;

    if (size <= node->capacity)
        return;
    if (node->is_mapped)
        sim_fail("a mapped file grows to %llu bytes", (unsigned long long)size);
    while (capacity < size)
        capacity *= 2;
    node->bytes = realloc(node->bytes, capacity);
    node->blocks = realloc(node->blocks, capacity / BLOCK);
    if (node->bytes == NULL || node->blocks == NULL)
        abort();
    memset(node->bytes + node->capacity, 0, capacity - node->capacity);
    memset(node->blocks + node->capacity / BLOCK, 0,
           (capacity - node->capacity) / BLOCK);
    node->capacity = capacity;
}

size_t
sim_file_read(const struct sim_node *node, uint64_t offset, void *out,
              size_t len)
{
    if (offset >= node->size)
        return 0;
    if (len > node->size - offset)
        len = (size_t)(node->size - offset);
    memcpy(out, node->bytes + offset, len);
    return len;
}

static void
mark_blocks(struct sim_node *node, uint64_t begin, uint64_t end, uint8_t mark)
{
    for (uint64_t b = begin / BLOCK; b * BLOCK < end; b++)
        node->blocks[b] = mark;
}

void
sim_file_write(struct sim_node *node, uint64_t offset, const void *data,
               size_t len)
{
    if (len == 0)
        return;
    sim_file_need(node, offset + len);
    if (offset + len > node->size) {
        note_change(node, SIM_RESIZED, node->size, offset + len, NULL);
        node->size = offset + len;
    }
    memcpy(node->bytes + offset, data, len);
    mark_blocks(node, offset, offset + len, 1);
    note_change(node, SIM_WROTE, offset, len, data);
}

static void
clear(struct sim_node *node, uint64_t begin, uint64_t end)
{
    uint64_t first = (begin + BLOCK - 1) / BLOCK * BLOCK;

    if (end > node->capacity)
        end = node->capacity;
    if (begin >= end)
        return;
    memset(node->bytes + begin, 0, end - begin);
    for (; first + BLOCK <= end; first += BLOCK)
        node->blocks[first / BLOCK] = 0;
}

void
sim_file_resize(struct sim_node *node, uint64_t size)
{
    if (size == node->size)
        return;
    note_change(node, SIM_RESIZED, node->size, size, NULL);
    sim_file_need(node, size);
    if (size < node->size)
        clear(node, size, node->is_mapped ? node->size : node->capacity);
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
    sim_file_need(node, offset + len);
    if (offset + len > node->size) {
        note_change(node, SIM_RESIZED, node->size, offset + len, NULL);
        node->size = offset + len;
    }
    mark_blocks(node, offset, offset + len, 1);
}

int64_t
sim_file_seek_data(const struct sim_node *node, uint64_t offset)
{
    for (uint64_t at = offset; at < node->size; at = (at / BLOCK + 1) * BLOCK)
        if (node->blocks[at / BLOCK] || node->is_mapped)
            return (int64_t)at;
    return -ENXIO;
}

uint64_t
sim_file_block_bytes(const struct sim_node *node)
{
    uint64_t count = 0;

    for (uint64_t b = 0; b * BLOCK < node->size; b++)
        count += node->blocks[b];
    return count * BLOCK;
}

uint8_t *
sim_file_map(struct sim_node *node)
{
    uint8_t *at;
    uint8_t *blocks;

    if (node->is_mapped)
        return node->bytes;
    at = mmap(NULL, SIM_MAPPING_MAX, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    blocks = calloc(1, SIM_MAPPING_MAX / BLOCK);
    if (at == MAP_FAILED || blocks == NULL)
        abort();
    if (node->size > 0)
        memcpy(at, node->bytes, node->size);
    if (node->capacity > 0)
        memcpy(blocks, node->blocks, node->capacity / BLOCK);
    free(node->bytes);
    free(node->blocks);
    node->bytes = at;
    node->blocks = blocks;
    node->capacity = SIM_MAPPING_MAX;
    node->is_mapped = true;
    return at;
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
