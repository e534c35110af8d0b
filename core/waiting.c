/*
 * waiting.c - see waiting.h.
 */
#include "core/waiting.h"

#include <stddef.h>

static _Thread_local const struct ramet_waiter *current;

const struct ramet_waiter *
ramet_waiting_set(const struct ramet_waiter *waiter)
{
    const struct ramet_waiter *const before = current;

    current = waiter;
    return before;
}

bool
ramet_waiting_is_over(void)
{
    return current != NULL && current->is_over(current->ctx);
}
