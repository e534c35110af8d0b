/*
 * hash.c - XXH3 by way of xxHash; see hash.h.
 *
 * xxHash is compiled into this file: a page is hashed on every read and write,
 * and so a call costs no jump through a linkage table. What is longer than a
 * few hundred bytes goes by AVX2 where the processor has it, at twice the speed
 * (docs/performance.md).
 */
#define XXH_INLINE_ALL
#include "core/hash.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "core/alloc.h"
#ifdef RAMET_HAVE_AVX2
#include "core/hash_avx2.h"

/* Up to here xxHash has ways of its own that wider instructions don't help. */
#define SHORT_MAX 240u
#endif

struct ramet_hasher {
    XXH3_state_t *state; /* aligned to 64 within the block that follows */
};

static_assert(sizeof(XXH128_canonical_t) == RAMET_HASH_SIZE,
              "the canonical form is what is stored");

static struct ramet_hash
canonical_hash(XXH128_hash_t value)
{
    XXH128_canonical_t canonical;
    struct ramet_hash hash;

    XXH128_canonicalFromHash(&canonical, value);
    memcpy(hash.bytes, canonical.digest, sizeof(hash.bytes));
    return hash;
}

#ifdef RAMET_HAVE_AVX2
static bool
is_for_avx2(size_t len)
{
    return len > SHORT_MAX && __builtin_cpu_supports("avx2");
}
#endif

uint64_t
ramet_hash64(const void *data, size_t len)
{
    return ramet_hash64_seeded(data, len, 0);
}

uint64_t
ramet_hash64_seeded(const void *data, size_t len, uint64_t seed)
{
#ifdef RAMET_HAVE_AVX2
    if (is_for_avx2(len))
        return ramet_hash64_avx2(data, len, seed);
#endif
    return XXH3_64bits_withSeed(data, len, seed);
}

struct ramet_hash
ramet_hash128(const void *data, size_t len)
{
#ifdef RAMET_HAVE_AVX2
    if (is_for_avx2(len))
        return ramet_hash128_avx2(data, len);
#endif
    return canonical_hash(XXH3_128bits(data, len));
}

struct ramet_hasher *
ramet_hasher_new(void)
{
    /* XXH3_state_t wants 64-byte alignment, malloc() gives 16. */
    const size_t align = 64;
    struct ramet_hasher *hasher;
    uintptr_t at;

    hasher = ramet_alloc(sizeof(*hasher) + align + sizeof(XXH3_state_t));
    if (hasher == NULL)
        return NULL;
    at = (uintptr_t)(hasher + 1);
    at += (align - at % align) % align;
    hasher->state = (XXH3_state_t *)at;
    XXH3_INITSTATE(hasher->state);
    ramet_hasher_reset(hasher);
    return hasher;
}

void
ramet_hasher_reset(struct ramet_hasher *hasher)
{
    XXH3_128bits_reset(hasher->state);
}

void
ramet_hasher_update(struct ramet_hasher *hasher, const void *data, size_t len)
{
    if (len != 0) /* data may be NULL then */
        XXH3_128bits_update(hasher->state, data, len);
}

struct ramet_hash
ramet_hasher_digest(const struct ramet_hasher *hasher)
{
    return canonical_hash(XXH3_128bits_digest(hasher->state));
}

void
ramet_hasher_free(struct ramet_hasher *hasher)
{
    ramet_free(hasher);
}

bool
ramet_hash_parse(const char *text, struct ramet_hash *out_hash)
{
    static const char digits[] = "0123456789abcdef";
    struct ramet_hash hash;

    if (strlen(text) != 2 * sizeof(hash.bytes))
        return false;
    for (size_t i = 0; i < sizeof(hash.bytes); i++) {
        const char *const high = strchr(digits, text[2 * i]);
        const char *const low = strchr(digits, text[2 * i + 1]);

        if (high == NULL || low == NULL)
            return false;
        hash.bytes[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    *out_hash = hash;
    return true;
}

bool
ramet_hash_equal(const struct ramet_hash *a, const struct ramet_hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}
