/*
 * names.c - see names.h.
 *
 * An open-addressing table of atomic (address, owner) pairs, in segments each
 * twice as large as the one before. Writers hold a mutex. A removed entry
 * becomes a tombstone, or empty when nothing follows it in its chain.
 *
 * A look-up takes no lock, and is right whatever is written meanwhile:
 *
 *   (1) the owner is stored before the address is released: who finds the address
 *       by an acquiring load finds this owner. That it stays the owner as long as
 *       it is used is the caller's, whose own string it is: names.h, (1)
 *   (2) a slot on the way to a live address never becomes empty: only tombstones
 *       behind which nothing stands do
 *   (3) a segment is whole before segment_count is released over it; none goes
 */
#include "vfs/names.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"

#define FIRST_SEGMENT_SLOTS 256u
#define SEGMENTS_MAX 20u

struct slot {
    _Atomic(uintptr_t) address; /* 0 empty, TOMBSTONE, or a string's address */
    _Atomic(struct ramet_dbfile *) owner;
};
#define TOMBSTONE ((uintptr_t)1)

struct segment {
    size_t slot_count; /* a power of two */
    size_t used;       /* entries; guarded by table.mutex */
    struct slot *slots;
};

/* For ramet_names_is_private() alone. */
struct open_name {
    struct open_name *next;
    struct ramet_dbfile *db;
    char text[];
};

static struct slot first_slots[FIRST_SEGMENT_SLOTS];
static struct {
    struct ramet_mutex mutex;
    _Atomic(size_t) segment_count;
    struct segment segments[SEGMENTS_MAX];
    struct open_name *names;
} table = {
    .mutex = RAMET_MUTEX_INIT,
    .segment_count = 1,
    .segments = {{FIRST_SEGMENT_SLOTS, 0, first_slots}},
};

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&table.mutex);
}

static size_t
first_slot(const struct segment *segment, uintptr_t address)
{
    const uint64_t mixed = (uint64_t)address * 0x9E3779B97F4A7C15u;

    assert((segment->slot_count & (segment->slot_count - 1)) == 0);
    return (size_t)(mixed >> 32) & (segment->slot_count - 1);
}

static struct slot *
find_slot(const struct segment *segment, uintptr_t address)
{
    size_t at = first_slot(segment, address);

    assert(address > TOMBSTONE);
    for (size_t i = 0; i < segment->slot_count; i++) {
        struct slot *slot = &segment->slots[at];
        const uintptr_t found =
            atomic_load_explicit(&slot->address, memory_order_acquire);

        if (found == address)
            return slot;
        if (found == 0)
            return NULL;
        at = (at + 1) & (segment->slot_count - 1);
    }
    return NULL;
}

struct ramet_dbfile *
ramet_names_owner(const char *address)
{
    const size_t count =
        atomic_load_explicit(&table.segment_count, memory_order_acquire);

    for (size_t i = 0; i < count; i++) {
        struct slot *slot = find_slot(&table.segments[i], (uintptr_t)address);

        if (slot != NULL)
            return atomic_load_explicit(&slot->owner, memory_order_relaxed);
    }
    return NULL;
}

/* A segment with room for two more entries; holds the mutex. */
static struct segment *
segment_with_room(void)
{
    const size_t count =
        atomic_load_explicit(&table.segment_count, memory_order_relaxed);
    struct segment *segment;

    assert(count >= 1 && count <= SEGMENTS_MAX);
    for (size_t i = 0; i < count; i++)
        if (table.segments[i].used + 2 <= table.segments[i].slot_count / 2)
            return &table.segments[i];
    if (count == SEGMENTS_MAX)
        return NULL;
    segment = &table.segments[count];
    segment->slot_count = table.segments[count - 1].slot_count * 2;
    segment->used = 0;
    segment->slots = ramet_calloc(segment->slot_count, sizeof(struct slot));
    if (segment->slots == NULL)
        return NULL;
    atomic_store_explicit(&table.segment_count, count + 1,
                          memory_order_release);
    return segment;
}

static void
insert(struct segment *segment, const char *address, struct ramet_dbfile *db)
{
    size_t at = first_slot(segment, (uintptr_t)address);
    struct slot *slot = &segment->slots[at];

    assert(ramet_names_owner(address) == NULL);
    assert(segment->used < segment->slot_count / 2); /* a probe ends */
    while (atomic_load_explicit(&slot->address, memory_order_relaxed) >
           TOMBSTONE) {
        at = (at + 1) & (segment->slot_count - 1);
        slot = &segment->slots[at];
    }
    atomic_store_explicit(&slot->owner, db, memory_order_relaxed);
    atomic_store_explicit(&slot->address, (uintptr_t)address,
                          memory_order_release);
    segment->used++;
}

/* Turn the tombstones that end a chain at `at` into empty slots. */
static void
sweep(struct segment *segment, size_t at)
{
    const size_t mask = segment->slot_count - 1;

    assert(at <= mask);
    if (atomic_load(&segment->slots[(at + 1) & mask].address) != 0)
        return;
    while (atomic_load(&segment->slots[at].address) == TOMBSTONE) {
        atomic_store(&segment->slots[at].address, 0);
        at = (at + mask) & mask;
    }
}

static void
remove_address(const char *address)
{
    const size_t count = atomic_load(&table.segment_count);

    for (size_t i = 0; i < count; i++) {
        struct segment *segment = &table.segments[i];
        struct slot *slot = find_slot(segment, (uintptr_t)address);

        if (slot == NULL)
            continue;
        atomic_store_explicit(&slot->address, TOMBSTONE, memory_order_release);
        assert(segment->used > 0);
        segment->used--;
        sweep(segment, (size_t)(slot - segment->slots));
        return;
    }
}

enum ramet_rc
ramet_names_add(struct ramet_dbfile *db, const char *name,
                const char *journal_name, const char *wal_name)
{
    const size_t size = strlen(name) + 1;
    struct open_name *entry = ramet_alloc(sizeof(*entry) + size);
    struct segment *segment;

    assert(db != NULL && journal_name != NULL && wal_name != NULL);
    if (entry == NULL)
        return RAMET_ENOMEM;
    entry->db = db;
    memcpy(entry->text, name, size);

    ramet_mutex_lock(&table.mutex);
    segment = segment_with_room();
    if (segment != NULL) {
        insert(segment, journal_name, db);
        if (wal_name != journal_name)
            insert(segment, wal_name, db);
        entry->next = table.names;
        table.names = entry;
        entry = NULL; /* now the table's */
    }
    ramet_mutex_unlock(&table.mutex);
    ramet_free(entry);
    return segment != NULL ? RAMET_OK : RAMET_ENOMEM;
}

void
ramet_names_remove(struct ramet_dbfile *db, const char *journal_name,
                   const char *wal_name)
{
    struct open_name **link = &table.names;
    struct open_name *entry;

    assert(db != NULL && journal_name != NULL && wal_name != NULL);
    ramet_mutex_lock(&table.mutex);
    remove_address(journal_name);
    if (wal_name != journal_name)
        remove_address(wal_name);
    while (*link != NULL && (*link)->db != db)
        link = &(*link)->next;
    entry = *link;
    assert(entry != NULL); /* it was added */
    if (entry != NULL)
        *link = entry->next;
    ramet_mutex_unlock(&table.mutex);
    ramet_free(entry);
}

void
ramet_names_visit(const char *name, size_t len,
                  void (*visit)(struct ramet_dbfile *db, bool flag), bool flag)
{
    assert(len > 0 && visit != NULL);
    ramet_mutex_lock(&table.mutex);
    for (const struct open_name *entry = table.names; entry != NULL;
         entry = entry->next)
        if (strncmp(entry->text, name, len) == 0 && entry->text[len] == '\0') {
            visit(entry->db, flag);
            break;
        }
    ramet_mutex_unlock(&table.mutex);
}

/* `name` is `base` followed by "-journal" or "-wal". */
static bool
is_companion(const char *name, const char *base)
{
    const size_t length = strlen(base);

    assert(name != NULL && base != NULL);
    return strncmp(name, base, length) == 0 &&
           (strcmp(name + length, "-journal") == 0 ||
            strcmp(name + length, "-wal") == 0);
}

bool
ramet_names_is_private(const char *name)
{
    bool found = false;

    ramet_mutex_lock(&table.mutex);
    for (const struct open_name *entry = table.names; entry != NULL && !found;
         entry = entry->next)
        found = is_companion(name, entry->text);
    ramet_mutex_unlock(&table.mutex);
    return found;
}
