/*
 * hash.h - XXH3, the checksum of everything that Ramet writes.
 *
 * XXH3 finds damage and mix-ups, not malice; every place that keeps a 128-bit
 * hash in the remote format also keeps an algorithm byte, so that a
 * cryptographic one can stand there later.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_HASH_H
#define RAMET_CORE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAMET_HASH_SIZE 16u

enum ramet_hash_algo {
    RAMET_HASH_XXH3_128 = 1,
    /* Never stored: XXH3-128 of the front of a block of deltas, which vouches for the
     * rest (pagestore/delta_front.h). */
    RAMET_HASH_FRONT = 128
};

/* As stored: XXH128's canonical (big-endian) form. */
struct ramet_hash {
    uint8_t bytes[RAMET_HASH_SIZE];
};

uint64_t ramet_hash64(const void *data, size_t len);
uint64_t ramet_hash64_seeded(const void *data, size_t len, uint64_t seed);
struct ramet_hash ramet_hash128(const void *data, size_t len);

/* Streaming XXH3-128. The state is ~600 bytes, heap-allocated: NULL on no
 * memory. Several updates and one digest; free when done. */
struct ramet_hasher;
struct ramet_hasher *ramet_hasher_new(void);
void ramet_hasher_reset(struct ramet_hasher *hasher);
void
ramet_hasher_update(struct ramet_hasher *hasher, const void *data, size_t len);
struct ramet_hash ramet_hasher_digest(const struct ramet_hasher *hasher);
void ramet_hasher_free(struct ramet_hasher *hasher);

/* From 32 hex digits, lower case; false if `text` is anything else. */
bool ramet_hash_parse(const char *text, struct ramet_hash *out_hash);
bool ramet_hash_equal(const struct ramet_hash *a, const struct ramet_hash *b);

#endif
