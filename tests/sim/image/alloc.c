/*
 * alloc.c - in the place of core/alloc.c: the heap of a simulated process, of
 * which nothing is left when it dies, and should be nothing when it ends.
 */
#define _GNU_SOURCE
#include "core/alloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/image/heap.h"
#include "tests/sim/sched.h"

struct block {
    struct block *next, *previous;
    size_t size;
    const void *maker; /* who asked for it */
};

extern const char __ehdr_start; /* the linker's: where the image begins */

static struct block head; /* a ring, once it was used */

static struct block *
ring(void)
{
    if (head.next == NULL)
        head.next = head.previous = &head;
    return &head;
}

static void *
make_block(size_t size, const void *maker)
{
    struct block *const block = malloc(sizeof(*block) + size);

    if (block == NULL)
        return NULL;
    block->size = size;
    block->maker = maker;
    block->next = ring();
    block->previous = head.previous;
    block->previous->next = block;
    head.previous = block;
    return block + 1;
}

void *
ramet_alloc(size_t size)
{
    return make_block(size, __builtin_return_address(0));
}

void *
ramet_calloc(size_t count, size_t size)
{
    void *const block = make_block(count * size, __builtin_return_address(0));

    return block == NULL ? NULL : memset(block, 0, count * size);
}

void
ramet_free(void *at)
{
    struct block *const block = (struct block *)at - 1;

    if (at == NULL)
        return;
    block->next->previous = block->previous;
    block->previous->next = block->next;
    free(block);
}

void *
ramet_realloc(void *at, size_t size)
{
    void *const fresh = make_block(size, __builtin_return_address(0));

    if (at != NULL && fresh != NULL) {
        const size_t old = ((struct block *)at - 1)->size;

        memcpy(fresh, at, old < size ? old : size);
        ramet_free(at);
    }
    return fresh;
}

char *
ramet_strdup(const char *text)
{
    const size_t size = strlen(text) + 1;
    char *const copy = ramet_alloc(size);

    return copy == NULL ? NULL : memcpy(copy, text, size);
}

char *
ramet_asprintf(const char *fmt, ...)
{
    char *text = NULL;
    char *copy = NULL;
    va_list args;
    int len;

    va_start(args, fmt);
    len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len >= 0)
        copy = ramet_strdup(text);
    free(text);
    return copy;
}

void
ramet_alloc_fail_at(long nth)
{
    (void)nth;
}

size_t
sim_heap_size(const void *at)
{
    return ((const struct block *)at - 1)->size;
}

size_t
sim_heap_count(void)
{
    size_t count = 0;

    for (const struct block *b = ring()->next; b != &head; b = b->next) {
        sim_trace("left: %zu bytes, asked for at %#zx of the image", b->size,
                  (size_t)((const char *)b->maker - &__ehdr_start));
        count++;
    }
    return count;
}

void
sim_heap_free(void)
{
    while (ring()->next != &head)
        ramet_free(head.next + 1);
}
