/*
 * process.c - see process.h.
 *
 * Layer: client.
 */
#include "client/remote/process.h"

#include "core/thread.h"

static struct ramet_mutex mutex = RAMET_MUTEX_INIT;

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&mutex);
}

void
ramet_process_lock(void)
{
    ramet_mutex_lock(&mutex);
}

void
ramet_process_unlock(void)
{
    ramet_mutex_unlock(&mutex);
}
