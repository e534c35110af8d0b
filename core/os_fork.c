/*
 * os_fork.c - the registry of os_fork.h, and the count of fork()s.
 *
 *   (1) tables and their slots change only under `mutex`, which the thread that
 *       forks holds across fork(): the child finds consistent tables
 *   (2) a slot is cleared and its descriptor closed under one hold of it, so
 *       that the child never closes a number that has gone to somebody else
 *   (3) `*word` is IS_OURS in a process that has made itself its own. The
 *       kernel wipes it in a child, so that also one that ran no handlers
 *       (_Fork(), clone()) is known for what it is when it first asks
 *
 * Becoming a process of one's own takes system calls and stores to memory,
 * nothing else: it is safe in a child of a process with threads.
 */
#include "core/os_fork.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/os.h"

#define SLOTS_MIN 64u
#define FD_MIN 3 /* 0 to 2 may be written to by anybody */
#define MAPPINGS_MIN 16u

#define WORD_SIZE 4096u

struct slot {
    unsigned group;       /* 0: not ours */
    bool is_parents_only; /* a child gives it up */
};

struct mapping {
    void *at;
    size_t len;
};

enum { IS_WIPED, IS_CHANGING, IS_OURS }; /* of `*word` */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct slot *table; /* by descriptor; invariant (1) */
static size_t slot_count;
static struct mapping *mappings; /* in no order; invariant (1) */
static size_t mapping_count;
static size_t mapping_capacity;
static unsigned last_group;
static atomic_uint fork_count;
/* Without the kernel's help (before Linux 4.14) the handlers alone tell. */
static atomic_uint word_of_last_resort = IS_OURS;
static atomic_uint *word = &word_of_last_resort;

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
ramet_os_fork_track(int fd, bool writes)
{
    struct slot *slot;

    lock_table();
    slot = find_slot(fd);
    if (slot != NULL)
        *slot = (struct slot){new_group(), writes};
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
    if (slot != NULL && !slot->is_parents_only) {
        const unsigned group = slot->group;

        for (size_t i = 0; i < slot_count; i++)
            if (table[i].group == group)
                table[i].is_parents_only = true;
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

int
ramet_os_fork_map(void *at, size_t len)
{
    int result = 0;

    lock_table();
    if (mapping_count == mapping_capacity) {
        const size_t capacity =
            mapping_capacity == 0 ? MAPPINGS_MIN : mapping_capacity * 2;
        struct mapping *const grown =
            ramet_realloc(mappings, capacity * sizeof(*grown));

        if (grown == NULL) {
            result = -ENOMEM;
        } else {
            mappings = grown;
            mapping_capacity = capacity;
        }
    }
    if (result == 0)
        mappings[mapping_count++] = (struct mapping){at, len};
    unlock_table();
    return result;
}

void
ramet_os_fork_unmap(void *at)
{
    lock_table();
    for (size_t i = mapping_count; i-- > 0;)
        if (mappings[i].at == at) {
            mappings[i] = mappings[--mapping_count];
            break;
        }
    unlock_table();
}

/* ---- in the child -------------------------------------------------------- */

/*
 * Put a descriptor that is good for nothing in the place of each that is the
 * parent's. The first is closed before the dummy is opened, so that this works
 * at the limit of descriptors too, where the dummy then takes its very number.
 */
static void
give_up_descriptors(void)
{
    int dummy = -1;
    bool is_in_place = false; /* the dummy has one of the numbers itself */

    for (size_t i = 0; i < slot_count; i++) {
        const int fd = (int)i;

        if (!table[i].is_parents_only)
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

/* Where no zeros can be had nothing is: better a fault than a stray store. */
static void
give_up_mappings(void)
{
    for (size_t i = 0; i < mapping_count; i++) {
        const struct mapping m = mappings[i];

        if (mmap(m.at, m.len, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
                 0) == MAP_FAILED)
            munmap(m.at, m.len);
    }
    mapping_count = 0;
}

static void
become_own_process(void)
{
    atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
    give_up_mappings();
    give_up_descriptors();
    atomic_store_explicit(word, IS_OURS, memory_order_release);
}

static void
after_fork_in_child(void)
{
    const int saved_errno = errno;

    become_own_process();
    unlock_table();
    errno = saved_errno;
}

/* No handler ran in this child. If another thread of the parent held the mutex,
 * nobody will ever give it back. */
static void
notice_fork(void)
{
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    const int saved_errno = errno;
    unsigned seen = IS_WIPED;

    if (atomic_compare_exchange_strong(word, &seen, IS_CHANGING)) {
        memcpy(&mutex, &fresh, sizeof(mutex));
        become_own_process();
    }
    while (atomic_load_explicit(word, memory_order_acquire) != IS_OURS)
        sched_yield();
    errno = saved_errno;
}

/* Before all other handlers are registered: so it is taken last at a fork, by
 * whatever else a thread opens or closes files. */
__attribute__((constructor(101))) static void
register_handlers(void)
{
    void *const page = mmap(NULL, WORD_SIZE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* It fails only for want of memory while the process is starting. */
    const int result =
        pthread_atfork(lock_table, unlock_table, after_fork_in_child);

    assert(result == 0);
    (void)result;
    if (page == MAP_FAILED)
        return;
    if (madvise(page, WORD_SIZE, MADV_WIPEONFORK) != 0) {
        munmap(page, WORD_SIZE);
        return;
    }
    word = page;
    atomic_store(word, IS_OURS);
}

unsigned
ramet_os_fork_count(void)
{
    if (atomic_load_explicit(word, memory_order_acquire) != IS_OURS)
        notice_fork();
    return atomic_load_explicit(&fork_count, memory_order_relaxed);
}
