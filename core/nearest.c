/*
 * nearest.c - see nearest.h.
 */
#include "core/nearest.h"

#include <stdint.h>
#include <string.h>

#define WORD_MAX 32u

/* Levenshtein's distance, words cut at WORD_MAX. */
static size_t
distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1];
    const size_t a_len = strnlen(a, WORD_MAX);
    const size_t b_len = strnlen(b, WORD_MAX);

    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            const size_t above = row[j];
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);
            const size_t insert = row[j - 1] + 1;
            size_t best = above + 1;

            best = insert < best ? insert : best;
            row[j] = change < best ? change : best;
            diagonal = above;
        }
    }
    return row[b_len];
}

const char *
ramet_nearest(const char *word, ramet_word_at *next, const void *ctx,
              size_t *out_distance)
{
    const size_t len = strlen(word);
    const char *best = NULL;
    const char *candidate;

    *out_distance = SIZE_MAX;
    for (size_t i = 0; (candidate = next(ctx, i)) != NULL; i++) {
        size_t d = distance(word, candidate);

        /* What was begun right is near, however much is missing. */
        if (len >= 2 && strncmp(word, candidate, len) == 0)
            d = 1;
        if (d < *out_distance) {
            *out_distance = d;
            best = candidate;
        }
    }
    return best;
}
