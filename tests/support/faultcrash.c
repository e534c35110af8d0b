/*
 * faultcrash.c - takes a folder over as durable, and makes it what is left
 * after the power was cut; see faultdisk.h, and faultos.h for the model.
 */
#define _GNU_SOURCE
#include "tests/support/faultdisk_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
        memcpy(faultdisk_need_block(node, (size_t)at / BLOCK)->durable, bytes,
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
        item_path = faultdisk_join_path(path, item->d_name);
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
        faultdisk_set_entry(dir, item->d_name, node);
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
        item_path = faultdisk_join_path(path, item->d_name);
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
            faultdisk_free_node(node);
        }
    for (size_t i = 0; i < disk->forgotten_count; i++)
        faultdisk_free_node(disk->forgotten[i]);
    for (size_t i = 0; i < disk->change_count; i++)
        faultdisk_free_change(&disk->changes[i]);
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
    disk->root = faultdisk_copy_text(root);
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
    char *const path = faultdisk_vault_path(disk, node);
    uint64_t size = node->durable_size;
    uint64_t cut_seq = 0;
    struct timespec times[2];
    struct stat st;
    size_t done;
    int fd;

    chmod(path, 0600);
    fd = open(path, O_RDWR | O_CLOEXEC);
    faultdisk_require(fd >= 0 && fstat(fd, &st) == 0, "open", path);
    faultdisk_absorb_mapping(disk, node, fd);
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
    if (!survives(fate, fate->content_chance))
        node->mode = node->synced_mode;
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
        char *const item_path = faultdisk_join_path(path, dir->entries[i].name);

        if (faultdisk_is_dir(node)) {
            faultdisk_require(mkdir(item_path, 0700) == 0, "make", item_path);
            rebuild_folder(disk, node, item_path);
            faultdisk_require(chmod(item_path, node->mode & 07777) == 0,
                              "chmod", item_path);
        } else if (S_ISREG(node->mode)) {
            char *const link_path = faultdisk_vault_path(disk, node);

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
            faultdisk_apply_change(&disk->changes[i]);
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
