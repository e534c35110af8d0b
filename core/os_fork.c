/*
 * os_fork.c - the registry of os_fork.h, and the count of fork()s.
 *
 *   (1) table and its slots change only under `mutex`, which the thread that
 *       forks holds across fork(): the child finds a consistent table
 *   (2) a slot is cleared and its descriptor closed under one hold of it, so
 *       that the child never closes a number that has gone to somebody else
 *
 * The child's handler makes system calls and reads memory, nothing else but
 * releasing the mutex that its own thread took.
 */
#include "core/os_fork.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/os.h"

#define SLOTS_MIN 64u
#define FD_MIN 3 /* 0 to 2 may be written to by anybody */

struct slot {
    unsigned group; /* 0: not ours */
    bool locked;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct slot *table; /* by descriptor; invariant (1) */
static size_t slot_count;
static unsigned last_group;
static atomic_uint fork_count;

static void
lock_table(void)
{
    const int result = pthread_mutex_lock(&mutex);

    assert(result == 0);
    (void)result;
}

static void
unlock_table(void)
{
    const int result = pthread_mutex_unlock(&mutex);

    assert(result == 0);
    (void)result;
}

static unsigned
new_group(void)
{
    last_group++;
    if (last_group == 0) /* after 2^32 opens; 0 has a meaning */
        last_group = 1;
    return last_group;
}

/* The slot of `fd`, growing the table; NULL on no memory. */
static struct slot *
find_slot(int fd)
{
    const size_t index = (size_t)fd;
    size_t count = slot_count;
    struct slot *slots;

    assert(fd >= 0);
    if (index < slot_count)
        return table + index;
    if (count < SLOTS_MIN)
        count = SLOTS_MIN;
    while (count <= index) /* at most INT_MAX slots: no overflow */
        count *= 2;
    slots = ramet_realloc(table, count * sizeof(*slots));
    if (slots == NULL)
        return NULL;
    for (size_t i = slot_count; i < count; i++)
        slots[i] = (struct slot){0, false};
    table = slots;
    slot_count = count;
    return table + index;
}

int
ramet_os_fork_track(int fd)
{
    struct slot *slot;

    lock_table();
    slot = find_slot(fd);
    if (slot != NULL)
        *slot = (struct slot){new_group(), false};
    unlock_table();
    return slot != NULL ? 0 : -ENOMEM;
}

int
ramet_os_fork_dup(int fd)
{
    struct slot source = {0, false};
    struct slot *slot;
    int result;

    lock_table();
    /* Under the mutex: the copy must not be in a child without being known. */
    result = fcntl(fd, F_DUPFD_CLOEXEC, FD_MIN);
    if (result < 0) {
        result = -errno;
        goto done;
    }
    slot = find_slot(result);
    if (slot == NULL || find_slot(fd) == NULL) {
        close(result);
        result = -ENOMEM;
        goto done;
    }
    if (table[fd].group == 0)
        table[fd] = (struct slot){new_group(), false};
    source = table[fd];
    table[result] = source;

done:
    unlock_table();
    return result;
}

int
ramet_os_fork_mark(int fd)
{
    struct slot *slot;

    lock_table();
    slot = find_slot(fd);
    if (slot != NULL && slot->group == 0)
        slot->group = new_group();
    if (slot != NULL && !slot->locked) {
        const unsigned group = slot->group;

        for (size_t i = 0; i < slot_count; i++)
            if (table[i].group == group)
                table[i].locked = true;
    }
    unlock_table();
    return slot != NULL ? 0 : -ENOMEM;
}

int
ramet_os_fork_close(int fd)
{
    int result;

    if (fd < 0)
        return -EBADF;
    lock_table();
    if ((size_t)fd < slot_count)
        table[fd] = (struct slot){0, false};
    /* Linux has let go of the descriptor even where it says EINTR. */
    result = close(fd) == 0 || errno == EINTR ? 0 : -errno;
    unlock_table();
    return result;
}

/*
 * Put a descriptor that is good for nothing in the place of each locked one.
 * The first is closed before the dummy is opened, so that this works at the
 * limit of descriptors too, where the dummy then takes its very number.
 */
static void
give_up_locked(void)
{
    int dummy = -1;
    bool is_in_place = false; /* the dummy has one of the numbers itself */

    for (size_t i = 0; i < slot_count; i++) {
        const int fd = (int)i;

        if (!table[i].locked)
            continue;
        table[i] = (struct slot){0, false};
        if (dummy < 0) {
            close(fd);
            dummy = open("/", O_PATH | O_CLOEXEC);
            is_in_place = dummy == fd;
            if (is_in_place)
                continue;
        }
        if (dummy < 0 || dup3(dummy, fd, O_CLOEXEC) < 0)
            close(fd);
    }
    if (dummy >= 0 && !is_in_place)
        close(dummy);
}

static void
after_fork_in_child(void)
{
    const int saved_errno = errno;

    atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
    give_up_locked();
    unlock_table();
    errno = saved_errno;
}

__attribute__((constructor)) static void
register_handlers(void)
{
    /* It fails only for want of memory while the process is starting. */
    const int result =
        pthread_atfork(lock_table, unlock_table, after_fork_in_child);

    assert(result == 0);
    (void)result;
}

unsigned
ramet_os_fork_count(void)
{
    return atomic_load_explicit(&fork_count, memory_order_relaxed);
}
