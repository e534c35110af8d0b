/*
 * process.c - see process.h.
 *
 * Layer: client.
 */
#include "client/process.h"

#include <assert.h>
#include <pthread.h>

#include "core/thread.h"

static struct ramet_mutex mutex = RAMET_MUTEX_INIT;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
lock_for_fork(void)
{
    ramet_mutex_lock(&mutex);
}

static void
unlock_after_fork(void)
{
    ramet_mutex_unlock(&mutex);
}

static void
install(void)
{
    const int result =
        pthread_atfork(lock_for_fork, unlock_after_fork, unlock_after_fork);

    assert(result == 0);
    (void)result;
}

void
ramet_process_lock(void)
{
    pthread_once(&once, install);
    ramet_mutex_lock(&mutex);
}

void
ramet_process_unlock(void)
{
    ramet_mutex_unlock(&mutex);
}
