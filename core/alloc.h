/*
 * alloc.h - all of Ramet's heap goes through here, so that tests can fail the
 * n-th allocation.
 *
 * Memory comes from malloc(), never from SQLite's allocator: the replica
 * outlives connections, and SQLite's own tests exchange its allocator.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_ALLOC_H
#define RAMET_CORE_ALLOC_H

#include <stddef.h>

/* Uninitialised; NULL on no memory. Size 0 gives a unique pointer. */
void *ramet_alloc(size_t size) __attribute__((malloc));
/* Zeroed, with the product checked for overflow. */
void *ramet_calloc(size_t count, size_t size) __attribute__((malloc));
/* As realloc(); on NULL the old block is untouched and still owned. */
void *ramet_realloc(void *block, size_t size);
char *ramet_strdup(const char *text) __attribute__((malloc));
char *ramet_asprintf(const char *fmt, ...)
    __attribute__((malloc, format(printf, 1, 2)));
void ramet_free(void *block); /* NULL is fine */

/* Tests only: the nth allocation from now on (0 = the next), and only it,
 * fails; -1 turns that off. Atomic: other threads count too. */
void ramet_alloc_fail_at(long nth);

#endif
