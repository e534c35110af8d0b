/*
 * faultdisk.c - see faultdisk.h, and faultos.h for the model.
 *
 * A file is an array of blocks; each block has the durable bytes and, for each
 * of its sectors, the versions since, newest first. A version is the whole
 * sector as the file held it then, so that choosing one is all there is to a
 * torn write. Names are one list of operations since, in order.
 */
#define _GNU_SOURCE
#include "tests/support/faultdisk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static char *
copy_text(const char *text)
{
    char *const copy = strdup(text);

    faultdisk_require(copy != NULL, "no memory", text);
    return copy;
}

static char *
join_path(const char *folder, const char *name)
{
    char *path = NULL;

    faultdisk_require(asprintf(&path, "%s/%s", folder, name) >= 0, "no memory",
                      name);
    return path;
}

static char *
vault_path(const struct faultdisk *disk, const struct faultnode *node)
{
    char name[16];

    snprintf(name, sizeof(name), "%u", node->number);
    return join_path(disk->vault, name);
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

static void
free_node(struct faultnode *node)
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
    node->synced_mtime = st.st_mtim;
    bucket = find_bucket(disk, st.st_ino);
    node->next = *bucket;
    *bucket = node;
    if (S_ISREG(st.st_mode)) {
        char *const link_path = vault_path(disk, node);

        /* Following a link: the path may be one of /proc/self/fd. */
        faultdisk_require(
            linkat(dirfd, path, AT_FDCWD, link_path, AT_SYMLINK_FOLLOW) == 0,
            "link", link_path);
        free(link_path);
    }
    return node;
}

/* ---- content -------------------------------------------------------------- */

static struct block *
need_block(struct faultnode *node, size_t index)
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
            add_version(disk, need_block(node, index), sector, from, data, part,
                        cut);
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
faultdisk_mapped(struct faultnode *node)
{
    node->mapped = true;
}

/* What was written through a mapping: where the real file differs. */
static void
absorb_mapping(struct faultdisk *disk, struct faultnode *node, int fd)
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
        block = need_block(node, (size_t)(at / BLOCK));
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

static void
set_entry(struct faultnode *dir, const char *name, struct faultnode *node)
{
    for (size_t i = 0; i < dir->entry_count; i++)
        if (strcmp(dir->entries[i].name, name) == 0) {
            dir->entries[i].node = node;
            return;
        }
    dir->entries = grow(dir->entries, dir->entry_count, sizeof(*dir->entries));
    dir->entries[dir->entry_count++] = (struct entry){copy_text(name), node};
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

static void
apply_change(const struct name_change *change)
{
    if (change->from != NULL)
        remove_entry(change->from, change->from_name, change->node);
    if (change->to != NULL)
        set_entry(change->to, change->to_name, change->node);
}

static void
free_change(struct name_change *change)
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
        .from_name = from != NULL ? copy_text(from_name) : NULL,
        .to = to,
        .to_name = to != NULL ? copy_text(to_name) : NULL,
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
            apply_change(&old[i]);
            free_change(&old[i]);
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
    if (faultdisk_is_dir(node)) {
        promote_names(disk, node);
        return;
    }
    absorb_mapping(disk, node, fd);
    promote_content(node);
    if (whole && fstat(fd, &st) == 0)
        node->synced_mtime = st.st_mtim;
}

void
faultdisk_sync_failed(struct faultdisk *disk, struct faultnode *node, int fd)
{
    if (faultdisk_is_dir(node))
        return; /* names stay pending: a later sync takes them along */
    absorb_mapping(disk, node, fd);
    for (size_t i = 0; i < node->block_count; i++)
        for (size_t s = 0; node->blocks[i] != NULL && s < SECTORS; s++)
            for (struct version *v = node->blocks[i]->newest[s]; v != NULL;
                 v = v->older)
                v->doubtful = true;
}

/* ---- the root folder ------------------------------------------------------ */

static void
import_content(struct faultdisk *disk, struct faultnode *node, const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t bytes[BLOCK];
    struct stat st;
    ssize_t got;
    off_t at = 0;

    faultdisk_require(fd >= 0 && fstat(fd, &st) == 0, "open", path);
    (void)disk;
    node->durable_size = (uint64_t)st.st_size;
    /* Only where there is data: files may be large and sparse. */
    while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
        at -= at % (off_t)BLOCK;
        got = pread(fd, bytes, BLOCK, at);
        if (got <= 0)
            break;
        memcpy(need_block(node, (size_t)at / BLOCK)->durable, bytes,
               (size_t)got);
        at += (off_t)BLOCK;
    }
    close(fd);
}

/* Depth first, with the folder's path; tests' folders are not deep. */
static struct faultnode *
import_folder(struct faultdisk *disk, const char *path)
{
    struct faultnode *const dir = faultdisk_made(disk, AT_FDCWD, path);
    DIR *const stream = opendir(path);
    const struct dirent *item;

    faultdisk_require(stream != NULL, "list", path);
    while ((item = readdir(stream)) != NULL) {
        struct faultnode *node;
        char *item_path;
        struct stat st;

        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        item_path = join_path(path, item->d_name);
        faultdisk_require(lstat(item_path, &st) == 0, "stat", item_path);
        if (S_ISDIR(st.st_mode)) {
            node = import_folder(disk, item_path);
        } else {
            node = faultdisk_find(disk, &st); /* a second link */
            if (node == NULL) {
                node = faultdisk_made(disk, AT_FDCWD, item_path);
                if (S_ISREG(st.st_mode))
                    import_content(disk, node, item_path);
            }
        }
        set_entry(dir, item->d_name, node);
        free(item_path);
    }
    closedir(stream);
    return dir;
}

/* Remove what is in a folder, and with `itself` the folder. */
static void
wipe_folder(const char *path, bool itself)
{
    DIR *const stream = opendir(path);
    const struct dirent *item;

    faultdisk_require(stream != NULL, "list", path);
    while ((item = readdir(stream)) != NULL) {
        char *item_path;

        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        item_path = join_path(path, item->d_name);
        if (unlink(item_path) != 0) {
            faultdisk_require(errno == EISDIR || errno == EPERM, "remove",
                              item_path);
            wipe_folder(item_path, true);
        }
        free(item_path);
    }
    closedir(stream);
    if (itself)
        faultdisk_require(rmdir(path) == 0, "remove", path);
}

static void
free_all(struct faultdisk *disk)
{
    for (size_t i = 0; i < BUCKETS; i++)
        while (disk->buckets[i] != NULL) {
            struct faultnode *const node = disk->buckets[i];

            disk->buckets[i] = node->next;
            free_node(node);
        }
    for (size_t i = 0; i < disk->forgotten_count; i++)
        free_node(disk->forgotten[i]);
    for (size_t i = 0; i < disk->change_count; i++)
        free_change(&disk->changes[i]);
    free(disk->forgotten);
    free(disk->changes);
    disk->forgotten = NULL;
    disk->forgotten_count = 0;
    disk->changes = NULL;
    disk->change_count = 0;
}

static void
begin(struct faultdisk *disk)
{
    if (mkdir(disk->vault, 0700) != 0) {
        faultdisk_require(errno == EEXIST, "make", disk->vault);
        wipe_folder(disk->vault, false); /* a test that was killed left it */
    }
    disk->root_node = import_folder(disk, disk->root);
}

static void
end(struct faultdisk *disk)
{
    free_all(disk);
    wipe_folder(disk->vault, true);
}

struct faultdisk *
faultdisk_new(const char *root)
{
    struct faultdisk *const disk = calloc(1, sizeof(*disk));

    faultdisk_require(disk != NULL, "no memory", root);
    faultdisk_require(root[0] == '/', "not an absolute path:", root);
    disk->root = copy_text(root);
    faultdisk_require(asprintf(&disk->vault, "%s.vault", root) >= 0,
                      "no memory", root);
    begin(disk);
    return disk;
}

void
faultdisk_free(struct faultdisk *disk)
{
    end(disk);
    free(disk->root);
    free(disk->vault);
    free(disk);
}

void
faultdisk_settle(struct faultdisk *disk)
{
    end(disk);
    begin(disk);
}

/* ---- the power is cut ------------------------------------------------------ */

/* How a run decides; chances are of 256. */
struct fate {
    uint64_t rng;
    unsigned content_chance;
    unsigned name_chance;
};

static bool
survives(struct fate *fate, unsigned chance)
{
    return faultdisk_random(&fate->rng) % 256 < chance;
}

/* How many of `count` steps took place: all, none, or any number between. */
static size_t
steps_done(struct fate *fate, unsigned chance, size_t count)
{
    if (survives(fate, chance))
        return count;
    if (chance == 0 || count == 0)
        return 0;
    return (size_t)(faultdisk_random(&fate->rng) % (count + 1));
}

/*
 * The bytes of a sector that survive. Of its versions, oldest first, those up
 * to some moment; all up to the last truncation that the size knows of
 * (`cut_seq`), and none from the first that it does not.
 */
static const uint8_t *
choose_version(struct fate *fate, const struct block *block, size_t sector,
               uint64_t cut_seq)
{
    const struct version *chosen;
    const struct version *first_lost = NULL;
    size_t possible = 0;
    size_t dropped;

    for (const struct version *v = block->newest[sector]; v != NULL;
         v = v->older)
        if (v->cut && v->seq > cut_seq)
            first_lost = v;
    chosen = first_lost != NULL ? first_lost->older : block->newest[sector];
    for (const struct version *v = chosen; v != NULL; v = v->older) {
        if (v->cut) /* seq <= cut_seq: this one is sure */
            break;
        possible++;
    }
    dropped = possible - steps_done(fate, fate->content_chance, possible);
    while (dropped-- > 0)
        chosen = chosen->older;
    return chosen != NULL ? chosen->bytes : block->durable + sector * SECTOR;
}

/* Has the file anything that may be lost? */
static bool
is_dirty(const struct faultnode *node)
{
    if (node->size_count > 0)
        return true;
    for (size_t i = 0; i < node->block_count; i++)
        for (size_t s = 0; node->blocks[i] != NULL && s < SECTORS; s++)
            if (node->blocks[i]->newest[s] != NULL)
                return true;
    return false;
}

static void
rewrite_blocks(struct fate *fate, const struct faultnode *node, int fd,
               uint64_t size, uint64_t cut_seq)
{
    static const uint8_t zeros[BLOCK];

    for (size_t i = 0; i < node->block_count; i++) {
        const uint64_t at = (uint64_t)i * BLOCK;
        uint8_t bytes[BLOCK];
        size_t len = BLOCK;

        if (node->blocks[i] == NULL)
            continue;
        for (size_t s = 0; s < SECTORS; s++)
            memcpy(bytes + s * SECTOR,
                   choose_version(fate, node->blocks[i], s, cut_seq), SECTOR);
        if (at >= size)
            continue; /* chosen all the same: a seed's run stays the same */
        if (size - at < len)
            len = (size_t)(size - at);
        if (memcmp(bytes, zeros, len) != 0)
            faultdisk_require(pwrite(fd, bytes, len, (off_t)at) == (ssize_t)len,
                              "write", "what survived");
    }
}

static void
rewrite_file(struct faultdisk *disk, struct fate *fate, struct faultnode *node)
{
    char *const path = vault_path(disk, node);
    uint64_t size = node->durable_size;
    uint64_t cut_seq = 0;
    struct timespec times[2];
    struct stat st;
    size_t done;
    int fd;

    chmod(path, 0600);
    fd = open(path, O_RDWR | O_CLOEXEC);
    faultdisk_require(fd >= 0 && fstat(fd, &st) == 0, "open", path);
    absorb_mapping(disk, node, fd);
    if (is_dirty(node)) {
        done = steps_done(fate, fate->content_chance, node->size_count);
        if (done > 0)
            size = node->sizes[done - 1].size;
        if (done < node->size_count)
            cut_seq = node->sizes[done].seq - 1;
        else
            cut_seq = UINT64_MAX;
        faultdisk_require(ftruncate(fd, 0) == 0 &&
                              ftruncate(fd, (off_t)size) == 0,
                          "truncate", path);
        rewrite_blocks(fate, node, fd, size, cut_seq);
    }
    times[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
    times[1] =
        survives(fate, fate->content_chance) ? st.st_mtim : node->synced_mtime;
    faultdisk_require(futimens(fd, times) == 0, "set the time of", path);
    faultdisk_require(fchmod(fd, node->mode & 07777) == 0, "chmod", path);
    close(fd);
    free(path);
}

static void
rebuild_folder(struct faultdisk *disk, const struct faultnode *dir,
               const char *path)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        const struct faultnode *const node = dir->entries[i].node;
        char *const item_path = join_path(path, dir->entries[i].name);

        if (faultdisk_is_dir(node)) {
            faultdisk_require(mkdir(item_path, 0700) == 0, "make", item_path);
            rebuild_folder(disk, node, item_path);
            faultdisk_require(chmod(item_path, node->mode & 07777) == 0,
                              "chmod", item_path);
        } else if (S_ISREG(node->mode)) {
            char *const link_path = vault_path(disk, node);

            faultdisk_require(link(link_path, item_path) == 0, "link",
                              item_path);
            free(link_path);
        }
        free(item_path);
    }
}

static struct fate
make_fate(uint64_t seed)
{
    struct fate fate = {.rng = seed};

    switch (seed % 8) {
    case 0:
        break;
    case 1:
        fate.content_chance = 256;
        fate.name_chance = 256;
        break;
    case 2:
        fate.name_chance = 256;
        break;
    case 3:
        fate.content_chance = 256;
        break;
    default:
        fate.content_chance = 1 + (unsigned)(faultdisk_random(&fate.rng) % 254);
        fate.name_chance = 1 + (unsigned)(faultdisk_random(&fate.rng) % 254);
        break;
    }
    return fate;
}

void
faultdisk_crash(struct faultdisk *disk, uint64_t seed)
{
    struct fate fate = make_fate(seed);

    for (size_t i = 0; i < disk->change_count; i++)
        if (survives(&fate, fate.name_chance))
            apply_change(&disk->changes[i]);
    /* In the order in which they came to be, not in that of inode numbers,
     * so that a seed gives the same run again. */
    for (unsigned number = 1; number <= disk->last_number; number++)
        for (size_t i = 0; i < BUCKETS; i++)
            for (struct faultnode *node = disk->buckets[i]; node != NULL;
                 node = node->next)
                if (node->number == number && S_ISREG(node->mode))
                    rewrite_file(disk, &fate, node);
    wipe_folder(disk->root, false);
    rebuild_folder(disk, disk->root_node, disk->root);
    faultdisk_settle(disk);
}
