/*
 * waiting.h - how the caller of a verb waits for what others hold, and when it
 * has had enough.
 *
 * A verb is one call on one thread. What it asks of a remote goes through
 * layers that know objects and bytes, and serve the background thread and
 * readers of pages as well, who have nobody to ask whether it takes too long.
 * So a thread's waiter is found by the thread: by a transfer that hangs.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_WAITING_H
#define RAMET_CORE_WAITING_H

#include <stdbool.h>

/* In the caller's own way: SQLite's busy handler, say. Both are called by the
 * thread that waits, with no lock of a replica held. */
struct ramet_waiter {
    bool (*wait)(void *ctx); /* it slept a little: is it worth another try? */
    bool (*is_over)(void *ctx); /* has the caller had enough? Asked often. */
    void *ctx;
};

/* This thread's waiter from here on; NULL: none. Borrowed, until the next
 * call. The one before. */
const struct ramet_waiter *ramet_waiting_set(const struct ramet_waiter *waiter);
/* Has it had enough? False where there is none. */
bool ramet_waiting_is_over(void);

#endif
