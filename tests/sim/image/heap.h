/*
 * heap.h - what else can be asked of a simulated process's heap.
 */
#ifndef RAMET_TESTS_SIM_IMAGE_HEAP_H
#define RAMET_TESTS_SIM_IMAGE_HEAP_H

#include <stddef.h>

size_t sim_heap_size(const void *at);
size_t sim_heap_count(void);
void sim_heap_free(void);

#endif
