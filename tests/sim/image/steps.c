/*
 * steps.c - each access to memory that processes share is a step, too.
 *
 * The rooms of the client that map files are compiled anew for the image, with
 * calls at memory accesses as the thread sanitizer has the compiler make them.
 * Its library is not linked: the calls come here. Before a store to a mapped
 * file, and before each atomic access to one, another thread may run and the
 * process may be killed; so of two stores in a row the first alone may have
 * been made when it dies, or when somebody looks.
 *
 * All accesses are sequentially consistent here: what the processor reorders
 * is not simulated.
 */
#include "tests/sim/image/image.h"

/* Before a process begins in the image there is none to stop. */
static inline void
step_at(const volatile void *at)
{
    const uintptr_t address = (uintptr_t)at;

    if (sim_env != NULL && address >= sim_env->shared_begin &&
        address < sim_env->shared_end)
        sim_step();
}

/* ---- plain accesses --------------------------------------------------------- */

void __tsan_init(void);
void
__tsan_init(void)
{
}

#define PLAIN(size)                                                            \
    void __tsan_read##size(void *at);                                          \
    void __tsan_write##size(void *at);                                         \
    void __tsan_unaligned_read##size(void *at);                                \
    void __tsan_unaligned_write##size(void *at);                               \
    void __tsan_read##size(void *at)                                           \
    {                                                                          \
        (void)at;                                                              \
    }                                                                          \
    void __tsan_write##size(void *at)                                          \
    {                                                                          \
        step_at(at);                                                           \
    }                                                                          \
    void __tsan_unaligned_read##size(void *at)                                 \
    {                                                                          \
        (void)at;                                                              \
    }                                                                          \
    void __tsan_unaligned_write##size(void *at)                                \
    {                                                                          \
        step_at(at);                                                           \
    }

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *at, unsigned long size);
void __tsan_write_range(void *at, unsigned long size);
void
__tsan_read_range(void *at, unsigned long size)
{
    (void)at;
    (void)size;
}

void
__tsan_write_range(void *at, unsigned long size)
{
    (void)size;
    step_at(at);
}

/* ---- atomic accesses -------------------------------------------------------- */

#define EXCHANGING(bits, name, operation)                                      \
    uint##bits##_t __tsan_atomic##bits##_##name(                               \
        volatile void *at, uint##bits##_t value, int order);                   \
    uint##bits##_t __tsan_atomic##bits##_##name(                               \
        volatile void *at, uint##bits##_t value, int order)                    \
    {                                                                          \
        (void)order;                                                           \
        step_at(at);                                                           \
        return operation((volatile uint##bits##_t *)at, value,                 \
                         __ATOMIC_SEQ_CST);                                    \
    }

#define COMPARING(bits, name)                                                  \
    int __tsan_atomic##bits##_##name(volatile void *at, void *expected,        \
                                     uint##bits##_t value, int order,          \
                                     int failure_order);                       \
    int __tsan_atomic##bits##_##name(volatile void *at, void *expected,        \
                                     uint##bits##_t value, int order,          \
                                     int failure_order)                        \
    {                                                                          \
        (void)order;                                                           \
        (void)failure_order;                                                   \
        step_at(at);                                                           \
        return __atomic_compare_exchange_n(                                    \
            (volatile uint##bits##_t *)at, (uint##bits##_t *)expected, value,  \
            false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                        \
    }

#define ATOMIC(bits)                                                           \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile void *at,         \
                                              int order);                      \
    void __tsan_atomic##bits##_store(volatile void *at, uint##bits##_t value,  \
                                     int order);                               \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile void *at,         \
                                              int order)                       \
    {                                                                          \
        (void)order;                                                           \
        step_at(at);                                                           \
        return __atomic_load_n((const volatile uint##bits##_t *)at,            \
                               __ATOMIC_SEQ_CST);                              \
    }                                                                          \
    void __tsan_atomic##bits##_store(volatile void *at, uint##bits##_t value,  \
                                     int order)                                \
    {                                                                          \
        (void)order;                                                           \
        step_at(at);                                                           \
        __atomic_store_n((volatile uint##bits##_t *)at, value,                 \
                         __ATOMIC_SEQ_CST);                                    \
    }                                                                          \
    EXCHANGING(bits, exchange, __atomic_exchange_n)                            \
    EXCHANGING(bits, fetch_add, __atomic_fetch_add)                            \
    EXCHANGING(bits, fetch_sub, __atomic_fetch_sub)                            \
    EXCHANGING(bits, fetch_and, __atomic_fetch_and)                            \
    EXCHANGING(bits, fetch_or, __atomic_fetch_or)                              \
    EXCHANGING(bits, fetch_xor, __atomic_fetch_xor)                            \
    COMPARING(bits, compare_exchange_strong)                                   \
    COMPARING(bits, compare_exchange_weak)

ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)

void __tsan_atomic_thread_fence(int order);
void
__tsan_atomic_thread_fence(int order)
{
    (void)order;
}
