/*
 * profile.c - see profile.h: what a profile is, and its bytes.
 */
#include "metastore/profile.h"

#include <assert.h>
#include <string.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "pagestore/frame.h"

#define MAGIC "RAMTPRF\x01"
#define HEAD_SIZE 56u
/* Of a start's pages so many in vain, and one in so many, are nothing new. */
#define VAIN_FREE 8u
#define VAIN_PART 8u
#define MISSED_PART 16u

void
ramet_profile_init(struct ramet_profile *profile)
{
    *profile = (struct ramet_profile){.seq = 0};
}

void
ramet_profile_done(struct ramet_profile *profile)
{
    ramet_pageset_done(&profile->recent);
    ramet_pageset_done(&profile->older);
}

uint64_t
ramet_profile_pages(const struct ramet_profile *profile)
{
    assert(profile != NULL);
    return ramet_pageset_count(&profile->recent) +
           ramet_pageset_count(&profile->older);
}

uint32_t
ramet_profile_pages_max(uint32_t page_size)
{
    const uint32_t pages = RAMET_PROFILE_BYTES_MAX / page_size;

    assert(ramet_page_size_valid(page_size));
    return pages < RAMET_PROFILE_PAGES_MAX ? pages : RAMET_PROFILE_PAGES_MAX;
}

/* Pages of `set` that are in the profile. */
static uint64_t
count_known(const struct ramet_profile *profile,
            const struct ramet_pageset *set)
{
    uint64_t known = 0;

    assert(set != NULL);
    for (size_t i = 0; i < set->run_count; i++)
        for (uint32_t p = set->runs[i].first; p <= set->runs[i].last; p++) {
            known += ramet_pageset_contains(&profile->recent, p) ||
                     ramet_pageset_contains(&profile->older, p);
            if (p == UINT32_MAX)
                break;
        }
    return known;
}

bool
ramet_profile_differs(const struct ramet_profile *profile,
                      const struct ramet_pageset *touched)
{
    const uint64_t count = ramet_pageset_count(touched);
    const uint64_t known = count_known(profile, touched);
    const uint64_t vain = ramet_profile_pages(profile) - known;

    assert(known <= count && known <= ramet_profile_pages(profile));
    return count - known > count / MISSED_PART ||
           vain > count / VAIN_PART + VAIN_FREE;
}

/* The first `count` pages of it, by number. */
static void
cut(struct ramet_pageset *set, uint64_t count)
{
    uint64_t before = 0;

    assert(set != NULL);
    for (size_t i = 0; i < set->run_count; i++) {
        const struct ramet_run run = set->runs[i];
        const uint64_t pages = (uint64_t)run.last - run.first + 1;

        if (before + pages > count) {
            ramet_pageset_truncate(
                set, (uint32_t)(run.first + (count - before) - 1));
            return;
        }
        before += pages;
    }
}

enum ramet_rc
ramet_profile_turn(struct ramet_profile *profile,
                   const struct ramet_pageset *touched)
{
    const uint64_t most = ramet_profile_pages_max(profile->page_size);
    struct ramet_pageset recent;
    enum ramet_rc rc;

    assert(ramet_page_size_valid(profile->page_size));
    ramet_pageset_init(&recent);
    rc = ramet_pageset_copy(&recent, touched);
    if (rc == RAMET_OK)
        rc = ramet_pageset_remove_set(&profile->recent, touched);
    if (rc == RAMET_OK) {
        cut(&recent, most);
        ramet_pageset_swap(&profile->older, &profile->recent);
        ramet_pageset_swap(&profile->recent, &recent);
        cut(&profile->older, most - ramet_pageset_count(&profile->recent));
    }
    ramet_pageset_done(&recent);
    return rc;
}

/* ---- bytes ------------------------------------------------------------------- */

static struct ramet_hash
hash_of(const char *name, const uint8_t *object, size_t len)
{
    uint8_t both[2 * RAMET_HASH_SIZE];
    const struct ramet_hash of_name = ramet_hash128(name, strlen(name));
    const struct ramet_hash of_bytes = ramet_hash128(object, len);

    assert(ramet_name_valid(name));
    memcpy(both, of_name.bytes, RAMET_HASH_SIZE);
    memcpy(both + RAMET_HASH_SIZE, of_bytes.bytes, RAMET_HASH_SIZE);
    return ramet_hash128(both, sizeof(both));
}

enum ramet_rc
ramet_profile_encode(const struct ramet_vid *volume, const char *name,
                     const struct ramet_profile *profile, struct ramet_buf *out)
{
    struct ramet_hash hash;
    enum ramet_rc rc;

    assert(profile->seq > 0 && ramet_name_valid(name) && out->len == 0);
    assert(ramet_profile_pages(profile) <=
           ramet_profile_pages_max(profile->page_size));
    ramet_buf_bytes(out, MAGIC, 8);
    ramet_buf_le64(out, profile->seq);
    ramet_buf_bytes(out, volume->id.bytes, RAMET_ID_SIZE);
    ramet_buf_le64(out, profile->lsn);
    ramet_buf_le64(out, profile->time_ms);
    ramet_buf_le32(out, profile->page_size);
    ramet_buf_le32(out, 0);
    rc = ramet_pageset_encode(&profile->recent, out);
    if (rc == RAMET_OK)
        rc = ramet_pageset_encode(&profile->older, out);
    if (rc != RAMET_OK)
        return rc;
    hash = hash_of(name, out->data, out->len);
    ramet_buf_bytes(out, hash.bytes, RAMET_HASH_SIZE);
    return out->failed;
}

static enum ramet_rc
check_bytes(const struct ramet_vid *volume, const char *name,
            const uint8_t *object, size_t len, struct ramet_err *err)
{
    struct ramet_hash hash;

    assert(object != NULL || len == 0);
    if (len >= 8 && memcmp(object, MAGIC, 7) == 0 && object[7] != MAGIC[7])
        return RAMET_FAIL(err, RAMET_EVERSION, "profile %s: version %u", name,
                          object[7]);
    if (len < HEAD_SIZE + 2 + RAMET_HASH_SIZE ||
        len > RAMET_PROFILE_OBJECT_MAX || memcmp(object, MAGIC, 8) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "profile %s: not a profile (%zu bytes)", name, len);
    hash = hash_of(name, object, len - RAMET_HASH_SIZE);
    if (memcmp(object + len - RAMET_HASH_SIZE, hash.bytes, RAMET_HASH_SIZE) !=
            0 ||
        memcmp(object + 16, volume->id.bytes, RAMET_ID_SIZE) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "profile %s: damaged", name);
    return RAMET_OK;
}

static bool
is_sound(const struct ramet_profile *profile, uint32_t reserved)
{
    const uint32_t size = profile->page_size;

    assert(profile != NULL);
    return profile->seq > 0 && profile->lsn > 0 && reserved == 0 &&
           size >= 512 && size <= 65536 && (size & (size - 1)) == 0 &&
           !ramet_pageset_intersects(&profile->recent, &profile->older) &&
           ramet_profile_pages(profile) <= ramet_profile_pages_max(size);
}

enum ramet_rc
ramet_profile_decode(const struct ramet_vid *volume, const char *name,
                     const uint8_t *object, size_t len,
                     struct ramet_profile *profile, struct ramet_err *err)
{
    struct ramet_reader in;
    struct ramet_profile read;
    uint32_t reserved;
    enum ramet_rc rc = check_bytes(volume, name, object, len, err);

    assert(profile != NULL);
    if (rc != RAMET_OK)
        return rc;
    ramet_profile_init(&read);
    ramet_reader_init(&in, object + 8, len - RAMET_HASH_SIZE - 8);
    read.seq = ramet_read_le64(&in);
    (void)ramet_read_bytes(&in, RAMET_ID_SIZE);
    read.lsn = ramet_read_le64(&in);
    read.time_ms = ramet_read_le64(&in);
    read.page_size = ramet_read_le32(&in);
    reserved = ramet_read_le32(&in);
    rc = ramet_pageset_decode(&read.recent, &in, UINT32_MAX,
                              RAMET_PROFILE_PAGES_MAX, err);
    if (rc == RAMET_OK)
        rc = ramet_pageset_decode(&read.older, &in, UINT32_MAX,
                                  RAMET_PROFILE_PAGES_MAX, err);
    if (rc == RAMET_OK &&
        (in.bad || ramet_reader_left(&in) > 0 || !is_sound(&read, reserved)))
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "profile %s: is inconsistent",
                        name);
    if (rc == RAMET_OK) {
        struct ramet_profile before = *profile;

        *profile = read;
        read = before;
    }
    ramet_profile_done(&read);
    return rc;
}
