/*
 * cache_disk.c - blocks in one file of equal slots, kept over a restart.
 *
 * A slot is a header and a block:
 *
 *   0   8  magic "RAMTCCH\1"
 *   8  16  hash of the object's key
 *  24   8  hash of the volume's id
 *  32   8  index of the block
 *  40   4  length, at most 16384
 *  44   4  zero
 *  48  16  XXH3-128 of bytes 0 to 47 and the block
 *
 * Nothing is ever synced: a slot that a crash left half-written fails its
 * checksum when it is read, and is a miss. The index is in memory and is built
 * at start from the headers.
 *
 *   (1) Slots are read and written without the lock; a reader that meets a
 *       slot being rewritten finds another key or a wrong checksum.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/thread.h"
#include "server/cache_impl.h"

#define HEADER_SIZE 64u
#define SLOT_SIZE (HEADER_SIZE + RAMET_CACHE_BLOCK_BYTES)
#define NONE UINT32_MAX

static const uint8_t magic[8] = {'R', 'A', 'M', 'T', 'C', 'C', 'H', 1};

struct slot {
    struct block_id id;
    uint32_t chain; /* next slot of the bucket, or NONE */
    bool used;
    bool touched; /* since the hand went by */
};

struct diskcache {
    const struct ramet_os *os;
    int fd;
    struct ramet_mutex lock;
    struct slot *slots;
    uint32_t *buckets;
    uint32_t slot_count;
    uint32_t bucket_mask;
    uint32_t hand;
    uint64_t used_bytes;
    uint64_t refused;
};

static uint32_t *
bucket_of(struct diskcache *disk, const struct block_id *id)
{
    return &disk->buckets[(block_id_hash(id) >> 16) & disk->bucket_mask];
}

static uint32_t
find_slot(struct diskcache *disk, const struct block_id *id)
{
    uint32_t i = *bucket_of(disk, id);

    assert((disk->bucket_mask & (disk->bucket_mask + 1)) == 0);
    while (i != NONE && !block_id_equal(&disk->slots[i].id, id))
        i = disk->slots[i].chain;
    return i;
}

static void
drop_slot(struct diskcache *disk, uint32_t i)
{
    struct slot *slot = &disk->slots[i];
    uint32_t *link = bucket_of(disk, &slot->id);

    assert(slot->used);
    assert(disk->used_bytes >= SLOT_SIZE);
    while (*link != i)
        link = &disk->slots[*link].chain;
    *link = slot->chain;
    slot->used = false;
    disk->used_bytes -= SLOT_SIZE;
}

static void
enter_slot(struct diskcache *disk, uint32_t i, const struct block_id *id)
{
    struct slot *slot = &disk->slots[i];
    uint32_t *bucket = bucket_of(disk, id);

    assert(!slot->used);
    assert(i < disk->slot_count);
    *slot = (struct slot){.id = *id, .chain = *bucket, .used = true};
    *bucket = i;
    disk->used_bytes += SLOT_SIZE;
}

static void
encode_header(uint8_t out[HEADER_SIZE], const struct block_id *id,
              const uint8_t *data, size_t len, struct ramet_hasher *hasher)
{
    struct ramet_hash hash;

    assert(len <= RAMET_CACHE_BLOCK_BYTES);
    memset(out, 0, HEADER_SIZE);
    memcpy(out, magic, sizeof(magic));
    memcpy(out + 8, id->object.bytes, RAMET_HASH_SIZE);
    ramet_put_le64(out + 24, id->volume);
    ramet_put_le64(out + 32, id->index);
    ramet_put_le32(out + 40, (uint32_t)len);
    ramet_hasher_update(hasher, out, 48);
    ramet_hasher_update(hasher, data, len);
    hash = ramet_hasher_digest(hasher);
    memcpy(out + 48, hash.bytes, RAMET_HASH_SIZE);
}

/* Headers only: the blocks are checked when they are read. */
static void
load_index(struct diskcache *disk)
{
    assert(disk->used_bytes == 0);
    for (uint32_t i = 0; i < disk->slot_count; i++) {
        uint8_t head[HEADER_SIZE];
        struct block_id id;
        size_t got;

        if (ramet_os_read_some(disk->os, disk->fd, head, sizeof(head),
                               (uint64_t)i * SLOT_SIZE, &got, "cache",
                               NULL) != RAMET_OK ||
            got < sizeof(head))
            return;
        if (memcmp(head, magic, sizeof(magic)) != 0)
            continue;
        memcpy(id.object.bytes, head + 8, RAMET_HASH_SIZE);
        id.volume = ramet_get_le64(head + 24);
        id.index = ramet_get_le64(head + 32);
        if (find_slot(disk, &id) == NONE)
            enter_slot(disk, i, &id);
    }
}

static enum ramet_rc
open_file(struct diskcache *disk, const char *dir, struct ramet_err *err)
{
    int dirfd, rc;

    assert(disk->fd < 0 && disk->slot_count > 0);
    rc = disk->os->mkdir(disk->os->ctx, AT_FDCWD, dir, 0700);
    if (rc < 0 && rc != -EEXIST)
        return RAMET_FAIL_OS(err, rc, "cache directory %s", dir);
    dirfd =
        disk->os->open(disk->os->ctx, AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
    if (dirfd < 0)
        return RAMET_FAIL_OS(err, dirfd, "cache directory %s", dir);
    disk->fd = disk->os->open(disk->os->ctx, dirfd, "blocks",
                              O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    (void)disk->os->close(disk->os->ctx, dirfd);
    if (disk->fd < 0)
        return RAMET_FAIL_OS(err, disk->fd, "cache file %s/blocks", dir);
    rc = disk->os->lock(disk->os->ctx, disk->fd, 0, 1, RAMET_LOCK_EXCLUSIVE);
    if (rc == -EAGAIN)
        return RAMET_FAIL(err, RAMET_EBUSY,
                          "cache directory %s: another server uses it; give "
                          "each its own",
                          dir);
    if (rc < 0)
        return RAMET_FAIL_SYS(err, RAMET_EIO, -rc, "cache file %s/blocks", dir);
    rc = disk->os->truncate(disk->os->ctx, disk->fd,
                            (uint64_t)disk->slot_count * SLOT_SIZE);
    if (rc < 0)
        return RAMET_FAIL_OS(err, rc, "cache file %s/blocks", dir);
    return RAMET_OK;
}

enum ramet_rc
ramet_diskcache_open(const char *dir, uint64_t max_bytes,
                     struct diskcache **out_disk, struct ramet_err *err)
{
    struct diskcache *disk = ramet_calloc(1, sizeof(*disk));
    const uint64_t slots = max_bytes / SLOT_SIZE;
    enum ramet_rc rc;

    if (disk == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "cache: out of memory");
    ramet_mutex_init(&disk->lock);
    disk->os = ramet_os_system();
    disk->fd = -1;
    disk->slot_count = slots < 16           ? 16
                       : slots > (1u << 28) ? 1u << 28
                                            : (uint32_t)slots;
    disk->bucket_mask = 15;
    while (disk->bucket_mask < disk->slot_count)
        disk->bucket_mask = disk->bucket_mask * 2 + 1;
    disk->slots = ramet_calloc(disk->slot_count, sizeof(struct slot));
    disk->buckets =
        ramet_alloc(((size_t)disk->bucket_mask + 1) * sizeof(uint32_t));
    if (disk->slots == NULL || disk->buckets == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "cache: out of memory");
        goto done;
    }
    for (uint64_t i = 0; i <= disk->bucket_mask; i++)
        disk->buckets[i] = NONE;
    rc = open_file(disk, dir, err);
    if (rc == RAMET_OK)
        load_index(disk);

done:
    if (rc == RAMET_OK)
        *out_disk = disk;
    else
        ramet_diskcache_close(disk);
    return rc;
}

void
ramet_diskcache_close(struct diskcache *disk)
{
    if (disk == NULL)
        return;
    if (disk->fd >= 0)
        (void)disk->os->close(disk->os->ctx, disk->fd);
    ramet_mutex_done(&disk->lock);
    ramet_free(disk->slots);
    ramet_free(disk->buckets);
    ramet_free(disk);
}

/* Invariant (2) of cache.h: what is compared is what was read. */
static bool
read_slot(struct diskcache *disk, uint32_t i, const struct block_id *id,
          uint8_t *buf, size_t *out_len)
{
    struct ramet_hasher *hasher = ramet_hasher_new();
    uint8_t head[HEADER_SIZE], want[HEADER_SIZE];
    bool ok = false;
    uint32_t len;

    assert(i < disk->slot_count);
    if (hasher == NULL)
        return false;
    if (ramet_os_read_full(disk->os, disk->fd, head, sizeof(head),
                           (uint64_t)i * SLOT_SIZE, "cache", NULL) != RAMET_OK)
        goto done;
    len = ramet_get_le32(head + 40);
    if (len > RAMET_CACHE_BLOCK_BYTES ||
        ramet_os_read_full(disk->os, disk->fd, buf, len,
                           (uint64_t)i * SLOT_SIZE + HEADER_SIZE, "cache",
                           NULL) != RAMET_OK)
        goto done;
    encode_header(want, id, buf, len, hasher);
    ok = memcmp(head, want, HEADER_SIZE) == 0;
    *out_len = len;

done:
    ramet_hasher_free(hasher);
    return ok;
}

bool
ramet_diskcache_get(struct diskcache *disk, const struct block_id *id,
                    uint8_t *buf, size_t *out_len)
{
    uint32_t i;
    bool ok;

    ramet_mutex_lock(&disk->lock);
    i = find_slot(disk, id);
    if (i != NONE)
        disk->slots[i].touched = true;
    ramet_mutex_unlock(&disk->lock);
    if (i == NONE)
        return false;
    ok = read_slot(disk, i, id, buf, out_len);
    if (ok)
        return true;
    ramet_mutex_lock(&disk->lock);
    disk->refused++;
    if (disk->slots[i].used && block_id_equal(&disk->slots[i].id, id))
        drop_slot(disk, i);
    ramet_mutex_unlock(&disk->lock);
    return false;
}

/* The next slot whose turn it is; a second chance for what was used. */
static uint32_t
take_slot(struct diskcache *disk)
{
    assert(disk->hand < disk->slot_count);
    for (;;) {
        const uint32_t i = disk->hand;
        struct slot *slot = &disk->slots[i];

        disk->hand = i + 1 == disk->slot_count ? 0 : i + 1;
        if (!slot->used)
            return i;
        if (!slot->touched) {
            drop_slot(disk, i);
            return i;
        }
        slot->touched = false;
    }
}

void
ramet_diskcache_put(struct diskcache *disk, const struct block_id *id,
                    const uint8_t *data, size_t len)
{
    struct ramet_hasher *hasher = ramet_hasher_new();
    uint8_t head[HEADER_SIZE];
    struct iovec parts[2] = {
        {.iov_base = head, .iov_len = HEADER_SIZE},
        {.iov_base = (void *)(uintptr_t)data, .iov_len = len},
    };
    enum ramet_rc rc;
    uint32_t i = NONE;

    assert(len > 0 && len <= RAMET_CACHE_BLOCK_BYTES);
    if (hasher == NULL)
        return;
    encode_header(head, id, data, len, hasher);
    ramet_hasher_free(hasher);
    ramet_mutex_lock(&disk->lock);
    if (find_slot(disk, id) == NONE) {
        i = take_slot(disk);
        enter_slot(disk, i, id);
    }
    ramet_mutex_unlock(&disk->lock);
    if (i == NONE)
        return;
    rc = ramet_os_writev_full(disk->os, disk->fd, parts, 2,
                              (uint64_t)i * SLOT_SIZE, "cache", NULL);
    if (rc == RAMET_OK)
        return;
    ramet_mutex_lock(&disk->lock); /* the disk is full: go on without */
    if (disk->slots[i].used && block_id_equal(&disk->slots[i].id, id))
        drop_slot(disk, i);
    ramet_mutex_unlock(&disk->lock);
}

/* A block that was dropped is none after a restart either. Where that can't be
 * written its checksum and the commits' hashes decide. */
static enum ramet_rc
erase_slot(struct diskcache *disk, uint32_t i)
{
    static const uint8_t zeros[HEADER_SIZE];

    assert(i < disk->slot_count);
    return ramet_os_write_full(disk->os, disk->fd, zeros, sizeof(zeros),
                               (uint64_t)i * SLOT_SIZE, "cache", NULL);
}

void
ramet_diskcache_drop(struct diskcache *disk, const struct block_id *id)
{
    uint32_t i;

    ramet_mutex_lock(&disk->lock);
    i = find_slot(disk, id);
    if (i != NONE)
        drop_slot(disk, i);
    ramet_mutex_unlock(&disk->lock);
    if (i != NONE)
        (void)!erase_slot(disk, i);
}

void
ramet_diskcache_forget(struct diskcache *disk, uint64_t volume)
{
    for (uint32_t i = 0; i < disk->slot_count; i++) {
        bool ours;

        ramet_mutex_lock(&disk->lock);
        ours = disk->slots[i].used && disk->slots[i].id.volume == volume;
        if (ours)
            drop_slot(disk, i);
        ramet_mutex_unlock(&disk->lock);
        if (ours && erase_slot(disk, i) != RAMET_OK)
            return;
    }
}

uint64_t
ramet_diskcache_bytes(struct diskcache *disk)
{
    uint64_t bytes;

    ramet_mutex_lock(&disk->lock);
    bytes = disk->used_bytes;
    ramet_mutex_unlock(&disk->lock);
    return bytes;
}

uint64_t
ramet_diskcache_refused(struct diskcache *disk)
{
    uint64_t refused;

    ramet_mutex_lock(&disk->lock);
    refused = disk->refused;
    ramet_mutex_unlock(&disk->lock);
    return refused;
}
