/*
 * waiting.c - see waiting.h.
 */
#include "core/waiting.h"

#include <stddef.h>

static _Thread_local const struct ramet_waiter *current;

void
ramet_waiting_set(const struct ramet_waiter *waiter)
{
    current = waiter;
}

bool
ramet_waiting_is_over(void)
{
    return current != NULL && current->is_over(current->ctx);
}
