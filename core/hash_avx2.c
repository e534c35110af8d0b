/*
 * hash_avx2.c - compiled with -mavx2, on x86-64 only; see hash_avx2.h.
 */
#define XXH_INLINE_ALL
#include "core/hash_avx2.h"

#include <string.h>
#include <xxhash.h>

uint64_t
ramet_hash64_avx2(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

struct ramet_hash
ramet_hash128_avx2(const void *data, size_t len)
{
    XXH128_canonical_t canonical;
    struct ramet_hash hash;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len));
    memcpy(hash.bytes, canonical.digest, sizeof(hash.bytes));
    return hash;
}
