/*
 * alloc.c - malloc() behind a counter that tests can arm; see alloc.h.
 *
 *   (1) fail_in < 0 means off; the allocation that finds it at 0 fails, and
 *       takes it to -1 by the same step, so that exactly one fails.
 */
#include "core/alloc.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_long fail_in = -1; /* invariant (1) */

static bool
must_fail(void)
{
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) < 0)
        return false;
    return atomic_fetch_sub(&fail_in, 1) == 0;
}

/* More than PTRDIFF_MAX can't be had anyway, and sanitizers abort on it. */
static bool
is_unservable(size_t size)
{
    return size > (size_t)PTRDIFF_MAX || must_fail();
}

void *
ramet_alloc(size_t size)
{
    if (is_unservable(size))
        return NULL;
    return malloc(size != 0 ? size : 1);
}

void *
ramet_calloc(size_t count, size_t size)
{
    if (size != 0 && count > (size_t)PTRDIFF_MAX / size)
        return NULL;
    if (must_fail())
        return NULL;
    return count * size != 0 ? calloc(count, size) : calloc(1, 1);
}

void *
ramet_realloc(void *block, size_t size)
{
    if (is_unservable(size))
        return NULL;
    return realloc(block, size != 0 ? size : 1);
}

char *
ramet_strdup(const char *text)
{
    const size_t size = strlen(text) + 1;
    char *const copy = ramet_alloc(size);

    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

char *
ramet_asprintf(const char *fmt, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0)
        return NULL;

    text = ramet_alloc((size_t)len + 1);
    if (text == NULL)
        return NULL;
    va_start(args, fmt);
    len = vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    assert(len >= 0);
    return text;
}

void
ramet_free(void *block)
{
    free(block);
}

void
ramet_alloc_fail_at(long nth)
{
    assert(nth >= -1);
    atomic_store(&fail_in, nth);
}
