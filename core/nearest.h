/*
 * nearest.h - the word that somebody who mistyped one meant.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_NEAREST_H
#define RAMET_CORE_NEAREST_H

#include <stddef.h>

/* The i-th candidate, NULL past the last. */
typedef const char *ramet_word_at(const void *ctx, size_t i);

/*
 * The candidate nearest to `word` and how many letters it is away; NULL, and
 * SIZE_MAX, if there is no candidate. One that `word` begins, by two letters
 * or more, is 1 away, however much is missing. Words are cut at 32 letters.
 */
const char *ramet_nearest(const char *word, ramet_word_at *next,
                          const void *ctx, size_t *out_distance);

#endif
