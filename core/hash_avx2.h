/*
 * hash_avx2.h - the same hashes by wider instructions; for hash.c alone, which
 * asks the processor before it calls them. Results are equal bit for bit.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_HASH_AVX2_H
#define RAMET_CORE_HASH_AVX2_H

#include <stddef.h>
#include <stdint.h>

#include "core/hash.h"

uint64_t ramet_hash64_avx2(const void *data, size_t len, uint64_t seed);
struct ramet_hash ramet_hash128_avx2(const void *data, size_t len);

#endif
