/*
 * super.c - commits across attached databases, after a crash.
 *
 * SQLite's super-journal is the commit point of such a transaction: it lists
 * the journals of the databases in it, and deleting it commits. A record that
 * names one, whose writer died before it was published, counts if the
 * super-journal is gone and is void if it is there.
 *
 *   (1) Whoever makes a super-journal holds the write lock (of a plain
 *       database: RESERVED) of each database that it lists, from before it is
 *       made until it is gone. So one is dead that lists a database whose lock
 *       is free, or ours.
 *   (2) One that is dead is needed as long as a journal that it lists points to
 *       it: that database was not rolled back yet. What can't be read may do so.
 *   (3) Nothing is deleted but what has the name of a super-journal, and is dead
 *       and not needed. One that lists nothing is dead if it lies beside us and
 *       nobody but us has the file open.
 */
#include "client/store/shared/super.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define SUPER_SIZE_MAX (1u << 20)
#define SWEEP_MAX 1000u
#define TRAILER_OVERHEAD 20u /* around the name: see read_pointer() */
#define RESERVED_BYTE UINT64_C(0x40000001)
#define JOURNAL "-journal"

static const uint8_t journal_magic[8] = {0xd9, 0xd5, 0x05, 0xf9,
                                         0x20, 0xa1, 0x63, 0xd7};

/* `trailer`'s super-journal as a string of its own (ramet_free). */
static char *
name_of(const struct ramet_trailer *trailer)
{
    char *const name = ramet_alloc((size_t)trailer->super_length + 1);

    assert(trailer->super_length != 0 && trailer->super_journal != NULL);
    if (name != NULL) {
        memcpy(name, trailer->super_journal, trailer->super_length);
        name[trailer->super_length] = '\0';
    }
    return name;
}

enum ramet_rc
ramet_super_decide(struct ramet_replica *replica,
                   const struct ramet_trailer *trailer, bool *out_apply,
                   struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;
    char *name;
    int result;

    *out_apply = true;
    if (trailer->super_length == 0)
        return RAMET_OK;
    name = name_of(trailer);
    if (name == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
    result = os->stat_at(os->ctx, AT_FDCWD, name, &st);
    ramet_free(name);
    if (result < 0 && result != -ENOENT && result != -ENOTDIR)
        return RAMET_FAIL_OS(err, result, "look for a super-journal of %s",
                             replica->path);
    *out_apply = result < 0;
    return RAMET_OK;
}

/* ---- what a journal points to ---------------------------------------------- */

/* `out` is the name that stands before the last 16 bytes. */
static bool
read_name(const struct ramet_os *os, int fd, const char *path, uint64_t size,
          const uint8_t tail[16], char out[RAMET_SUPER_NAME_MAX + 1])
{
    const uint32_t length = ramet_get_be32(tail);
    uint32_t sum = 0;

    assert(size > 16);
    if (memcmp(tail + 8, journal_magic, sizeof(journal_magic)) != 0 ||
        length == 0 || length > RAMET_SUPER_NAME_MAX || length > size - 16 ||
        ramet_os_read_full(os, fd, out, length, size - 16 - length, path,
                           NULL) != RAMET_OK)
        return false;
    for (uint32_t i = 0; i < length; i++)
        sum += (uint32_t)out[i]; /* char as SQLite has it here */
    out[length] = '\0';
    return sum == ramet_get_be32(tail + 4);
}

/*
 * The super-journal's name at the end of a journal, as SQLite writes it: a
 * page number of 4 bytes, the name, its length and the sum of its bytes (both
 * big-endian), the journal magic. 1 if there is one; *out_only: the file holds
 * nothing else. 0: there is none. Else a negated errno.
 */
static int
read_pointer(const struct ramet_os *os, int dirfd, const char *path,
             char out[RAMET_SUPER_NAME_MAX + 1], bool *out_only)
{
    const int fd =
        os->open(os->ctx, dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    uint8_t tail[16];
    struct ramet_os_stat st;
    int result;

    if (fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
    result = os->stat(os->ctx, fd, &st);
    if (result == 0 && st.size_bytes > sizeof(tail)) {
        if (ramet_os_read_full(os, fd, tail, sizeof(tail),
                               st.size_bytes - sizeof(tail), path,
                               NULL) != RAMET_OK)
            result = -EIO;
        else if (read_name(os, fd, path, st.size_bytes, tail, out)) {
            assert(strlen(out) <= RAMET_SUPER_NAME_MAX);
            *out_only = st.size_bytes == strlen(out) + TRAILER_OVERHEAD;
            result = 1;
        }
    }
    os->close(os->ctx, fd);
    return result;
}

/* ---- is it needed ---------------------------------------------------------- */

/* "…-mj" and nine hexadecimal digits: vdbeCommit() in vdbeaux.c. */
static bool
is_super_name(const char *name)
{
    static const char hex[] = "0123456789ABCDEF";
    const size_t len = strlen(name);

    return len > RAMET_SUPER_SUFFIX &&
           memcmp(name + len - RAMET_SUPER_SUFFIX, "-mj", 3) == 0 &&
           strspn(name + len - 9, hex) == 9;
}

struct super {
    struct ramet_replica *replica;
    const char *name; /* absolute */
    char *list;       /* journals, each with its NUL, and one more */
    size_t len;
    char *scratch; /* RAMET_SUPER_NAME_MAX + 1 */
};

#define EACH_JOURNAL(super, journal)                                           \
    const char *journal = (super)->list;                                       \
    journal < (super)->list + (super)->len;                                    \
    journal += strlen(journal) + 1

/* A journal of SQLite's begins with zeros until it was synced, and before that
 * nothing in its database was changed: nothing is rolled back by it. */
static bool
is_begun(const struct ramet_os *os, const char *journal)
{
    const int fd = os->open(os->ctx, AT_FDCWD, journal,
                            O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    uint8_t first = 1;
    size_t got = 0;

    if (fd < 0)
        return true;
    if (ramet_os_read_some(os, fd, &first, 1, 0, &got, journal, NULL) !=
        RAMET_OK)
        first = 1;
    os->close(os->ctx, fd);
    return first != 0;
}

/* Does one of the journals that it lists still point to it? */
static bool
is_needed(const struct super *super)
{
    const struct ramet_os *const os = super->replica->os;
    bool only = false;

    assert(super->scratch != NULL);
    for (EACH_JOURNAL(super, journal)) {
        const int result =
            read_pointer(os, AT_FDCWD, journal, super->scratch, &only);

        if (result < 0 ||
            (result == 1 && strcmp(super->scratch, super->name) == 0 &&
             (only || is_begun(os, journal))))
            return true;
    }
    return false;
}

/* Is nobody writing to the database that `journal` is of? */
static bool
is_idle(const struct ramet_os *os, const char *journal)
{
    const size_t len = strlen(journal);
    const size_t end = strlen(JOURNAL);
    char *path = NULL;
    uint64_t byte = RAMET_LOCK_WRITE;
    bool idle = false;
    int fd = -1;

    if (len <= end || strcmp(journal + len - end, JOURNAL) != 0)
        return false;
    path =
        ramet_asprintf("%.*s-ramet/" RAMET_DIR_LOCK, (int)(len - end), journal);
    if (path != NULL)
        fd = ramet_rights_open(os, AT_FDCWD, path, O_RDONLY);
    if (fd == -ENOENT || fd == -ENOTDIR) { /* a plain database */
        byte = RESERVED_BYTE;
        path[len - end] = '\0';
        fd = os->open(os->ctx, AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);
    }
    if (fd >= 0) {
        idle = os->lock_held(os->ctx, fd, byte, 1, RAMET_LOCK_SHARED) == 0;
        os->close(os->ctx, fd);
    }
    ramet_free(path);
    return idle;
}

/* By invariant (1). The write lock of the replica is ours. */
static bool
is_dead(const struct super *super)
{
    const struct ramet_replica *const replica = super->replica;
    const size_t len = strlen(replica->path);

    assert(ramet_may_publish(super->replica)); /* invariant (1) */
    for (EACH_JOURNAL(super, journal))
        if ((strncmp(journal, replica->path, len) == 0 &&
             strcmp(journal + len, JOURNAL) == 0) ||
            is_idle(replica->os, journal))
            return true;
    return false;
}

/* Delete `name` by invariant (3); *out_stays: it is there still. */
static enum ramet_rc
forget(struct ramet_replica *replica, const char *name, bool empty_is_dead,
       bool *out_stays, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct super super = {.replica = replica, .name = name};
    uint8_t *list = NULL;
    enum ramet_rc rc;

    assert(ramet_may_publish(replica));
    *out_stays = true;
    if (!is_super_name(name))
        return RAMET_OK;
    super.scratch = ramet_alloc(RAMET_SUPER_NAME_MAX + 1);
    if (super.scratch == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
    rc = ramet_os_read_own_file(os, AT_FDCWD, name, SUPER_SIZE_MAX, &list,
                                &super.len, err);
    if (rc == RAMET_ENOTFOUND) {
        *out_stays = false;
        rc = RAMET_OK;
    } else if (rc == RAMET_OK) {
        super.list = (char *)list;
        if ((super.len == 0 ? empty_is_dead : is_dead(&super)) &&
            !is_needed(&super))
            *out_stays = os->unlink(os->ctx, AT_FDCWD, name, false) < 0;
    }
    ramet_free(list);
    ramet_free(super.scratch);
    return rc;
}

/* ---- when a writer died ---------------------------------------------------- */

enum ramet_rc
ramet_super_clean(struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    char *const journal = ramet_asprintf("%s" JOURNAL, replica->name);
    char *const name = ramet_alloc(RAMET_SUPER_NAME_MAX + 1);
    bool only = false;
    bool stays;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_may_publish(replica));
    if (journal == NULL || name == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
    else if (read_pointer(os, replica->parent_fd, journal, name, &only) == 1 &&
             only) {
        os->unlink(os->ctx, replica->parent_fd, journal, false);
        /* It may be that no record came after it, to name it. What can't be
         * read here is left to whoever can. */
        (void)!forget(replica, name, false, &stays, NULL);
    }
    ramet_free(journal);
    ramet_free(name);
    return rc;
}

enum ramet_rc
ramet_super_forget(struct ramet_replica *replica,
                   const struct ramet_trailer *trailer, struct ramet_err *err)
{
    bool stays;
    char *name;
    enum ramet_rc rc;

    assert(ramet_may_publish(replica));
    if (trailer->super_length == 0)
        return RAMET_OK;
    name = name_of(trailer);
    if (name == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
    rc = ramet_super_clean(replica, err); /* our own pointer goes first */
    if (rc == RAMET_OK)
        rc = forget(replica, name, false, &stays, err);
    ramet_free(name);
    return rc;
}

/* ---- those beside the base -------------------------------------------------- */

void
ramet_session_note_super(struct ramet_session *session, bool is_there)
{
    _Atomic uint64_t *const supers = &session->replica->head->header.all.supers;
    uint64_t seen;

    if (ramet_session_is_parents(session))
        return;
    if (is_there) {
        atomic_fetch_add(supers, 1);
        return;
    }
    seen = atomic_load(supers);
    while (seen != 0 && !atomic_compare_exchange_weak(supers, &seen, seen - 1))
        continue;
}

struct sweep {
    struct ramet_replica *replica;
    char *names[SWEEP_MAX];
    size_t count;
};

/* ramet_dir_visit. */
static int
note_super(void *ctx, const char *entry, bool is_dir)
{
    struct sweep *const sweep = ctx;
    const struct ramet_replica *const replica = sweep->replica;
    const size_t len = strlen(replica->name);
    char *name;

    assert(sweep->count <= SWEEP_MAX);
    if (is_dir || strncmp(entry, replica->name, len) != 0 ||
        strlen(entry) != len + RAMET_SUPER_SUFFIX || !is_super_name(entry))
        return 0;
    if (sweep->count == SWEEP_MAX)
        return 1; /* the next time goes on */
    name = ramet_asprintf("%s%s", replica->path, entry + len);
    if (name == NULL)
        return -ENOMEM;
    sweep->names[sweep->count++] = name;
    return 0;
}

void
ramet_super_sweep(struct ramet_replica *replica, bool is_alone)
{
    const struct ramet_os *const os = replica->os;
    const uint64_t before = atomic_load(&replica->head->header.all.supers);
    struct sweep *sweep;
    uint64_t seen = before;
    bool all = true;

    assert(ramet_may_publish(replica));
    atomic_store(&replica->seen_supers, before);
    if (before == 0)
        return;
    sweep = ramet_calloc(1, sizeof(*sweep));
    if (sweep == NULL)
        return;
    sweep->replica = replica;
    if (ramet_super_clean(replica, NULL) != RAMET_OK ||
        os->list(os->ctx, replica->parent_fd, ".", note_super, sweep) != 0)
        all = false;
    for (size_t i = 0; i < sweep->count; i++) {
        bool stays = true;

        if (forget(replica, sweep->names[i], is_alone, &stays, NULL) !=
                RAMET_OK ||
            stays)
            all = false;
        ramet_free(sweep->names[i]);
    }
    if (all && /* but for those that came meanwhile */
        atomic_compare_exchange_strong(&replica->head->header.all.supers, &seen,
                                       0))
        atomic_store(&replica->seen_supers, 0);
    ramet_free(sweep);
}
