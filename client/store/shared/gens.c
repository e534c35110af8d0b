/*
 * gens.c - the open files of log generations and fills in this process.
 *
 * A reader looks a generation up without a lock and uses its descriptor. It
 * must not be closed under it, and its number not be given to another file.
 * So each session tells, by `epoch`, since when it may be using what it looked
 * up:
 *
 *   (1) a session stores the replica's epoch, then a full fence, before it looks
 *       anything up, and 0 when it is done
 *   (2) a generation is taken out of its bucket before the epoch goes up; it is
 *       closed when every session's epoch is 0 or later than that
 *   (3) a bucket's list changes under the replica's mutex only
 */
#include "client/store/shared/gens.h"
#include "client/store/shared/locks.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/store/format/dir.h"
#include "client/store/format/logfile.h"
#include "client/store/shared/index.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"

static struct ramet_gen *_Atomic *
bucket_of(struct ramet_replica *replica, enum ramet_gen_type type, uint64_t gen)
{
    const uint64_t key = gen * RAMET_GEN_RETAINED + type;

    assert(type >= RAMET_GEN_LOG && type <= RAMET_GEN_RETAINED);
    return &replica->gens[key % RAMET_GEN_BUCKETS];
}

static struct ramet_gen *
find_gen(struct ramet_replica *replica, enum ramet_gen_type type, uint64_t gen)
{
    struct ramet_gen *at = atomic_load_explicit(bucket_of(replica, type, gen),
                                                memory_order_acquire);

    while (at != NULL && (at->gen != gen || at->type != type))
        at = atomic_load_explicit(&at->next, memory_order_acquire);
    return at;
}

/* Needs the mutex. Owns `fd` on success. */
static enum ramet_rc
add_gen(struct ramet_replica *replica, const struct ramet_gen_header *header,
        int fd, struct ramet_gen **out_gen, struct ramet_err *err)
{
    struct ramet_gen *_Atomic *const bucket =
        bucket_of(replica, header->type, header->gen);
    struct ramet_gen *const gen = ramet_calloc(1, sizeof(*gen));

    assert(fd >= 0 && header->gen >= 1 && header->gen <= RAMET_GEN_MAX);
    assert(find_gen(replica, header->type, header->gen) == NULL);
    if (gen == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a log file");
    gen->gen = header->gen;
    gen->type = header->type;
    gen->fd = fd;
    gen->salt = header->salt;
    gen->page_size = header->page_size;
    atomic_store_explicit(&gen->next, *bucket, memory_order_relaxed);
    atomic_store_explicit(bucket, gen, memory_order_release);
    *out_gen = gen;
    return RAMET_OK;
}

/* Left by a clean close, and nobody has begun to write. */
static bool
is_kept(const struct ramet_replica *replica,
        const struct ramet_gen_header *header)
{
    return header->type == RAMET_GEN_LOG && header->gen == replica->kept_gen &&
           header->salt == replica->kept_salt;
}

/* Open by name and check the header. RAMET_ENOTFOUND also where the header is
 * not this generation's: then *out_fd is open all the same, for its maker. */
static enum ramet_rc
open_file(struct ramet_replica *replica, enum ramet_gen_type type, uint64_t gen,
          int *out_fd, struct ramet_gen_header *out_header,
          struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    uint8_t raw[RAMET_GEN_HEADER_SIZE];
    char name[32];
    size_t got = 0;
    enum ramet_rc rc;
    int fd;

    ramet_gen_name(type, gen, name);
    fd = ramet_dir_open(os, replica->dir_fd, name,
                        replica->is_readonly ? O_RDONLY : O_RDWR);
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "open %s", name);
    rc = ramet_os_read_some(os, fd, raw, sizeof(raw), 0, &got, name, err);
    if (rc != RAMET_OK) {
        os->close(os->ctx, fd);
        return rc;
    }
    *out_fd = fd;
    if (got < sizeof(raw) || !ramet_gen_header_decode(raw, out_header) ||
        out_header->type != type || out_header->gen != gen ||
        ramet_id_compare(&out_header->base_id, &replica->base_id) != 0 ||
        is_kept(replica, out_header))
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%s does not belong to this replica", name);
    return RAMET_OK;
}

bool
ramet_gen_is_kept(struct ramet_replica *replica)
{
    struct ramet_gen_header header = {.gen = 0};
    int fd = -1;
    const enum ramet_rc rc =
        replica->kept_gen == 0
            ? RAMET_OK
            : open_file(replica, RAMET_GEN_LOG, replica->kept_gen, &fd, &header,
                        NULL);

    if (fd >= 0)
        replica->os->close(replica->os->ctx, fd);
    return rc == RAMET_ENOTFOUND && fd >= 0 && is_kept(replica, &header);
}

enum ramet_rc
ramet_gen_get(struct ramet_replica *replica, enum ramet_gen_type type,
              uint64_t gen, struct ramet_gen **out_gen, struct ramet_err *err)
{
    struct ramet_gen *found = find_gen(replica, type, gen);
    struct ramet_gen_header header;
    enum ramet_rc rc = RAMET_OK;
    int fd = -1;

    if (found != NULL) {
        assert(found->fd >= 0 && found->gen == gen && found->type == type);
        *out_gen = found;
        return RAMET_OK;
    }
    ramet_mutex_lock(&replica->mutex);
    found = find_gen(replica, type, gen);
    if (found == NULL) {
        rc = open_file(replica, type, gen, &fd, &header, err);
        if (rc == RAMET_OK)
            rc = add_gen(replica, &header, fd, &found, err);
        if (rc != RAMET_OK && fd >= 0)
            replica->os->close(replica->os->ctx, fd);
    }
    ramet_mutex_unlock(&replica->mutex);
    if (rc == RAMET_OK)
        *out_gen = found;
    return rc;
}

enum ramet_rc
ramet_gen_write_header(const struct ramet_replica *replica,
                       enum ramet_gen_type type, uint64_t gen,
                       uint32_t page_size, int fd,
                       struct ramet_gen_header *out_header,
                       struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    uint8_t raw[RAMET_GEN_HEADER_SIZE];
    int result;

    assert(fd >= 0 && gen >= 1);
    assert(ramet_page_size_ok(page_size) && gen <= RAMET_GEN_MAX);
    out_header->type = type;
    out_header->gen = gen;
    out_header->page_size = page_size;
    out_header->base_id = replica->base_id;
    result = os->random(os->ctx, &out_header->salt, sizeof(out_header->salt));
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "random salt");
    ramet_gen_header_encode(out_header, raw);
    return ramet_os_write_full(os, fd, raw, sizeof(raw), 0, "log header", err);
}

/* A kept file may have been taken away by somebody. */
static void
note_unnamed(struct ramet_replica *replica, uint64_t gen)
{
    _Atomic uint64_t *const named = &replica->head->header.all.named_gen;

    assert(gen >= 1);
    if (atomic_load(named) >= gen)
        atomic_store(named, gen - 1);
}

/* Needs the mutex. */
static enum ramet_rc
create_file(struct ramet_replica *replica, enum ramet_gen_type type,
            uint64_t gen, uint32_t page_size, struct ramet_gen **out_gen,
            struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_gen_header header;
    char name[32];
    bool is_new;
    int fd = -1;
    enum ramet_rc rc = open_file(replica, type, gen, &fd, &header, NULL);

    assert(ramet_page_size_ok(page_size));
    ramet_gen_name(type, gen, name);
    if (rc == RAMET_ENOTFOUND) {
        /* One that was made ahead may get the name just now: not with another
         * salt then, since others may have read the one that it has. */
        is_new = fd < 0;
        if (is_new)
            fd = ramet_dir_make(os, replica->dir_fd, name);
        if (fd == -EEXIST)
            return RAMET_FAIL(err, RAMET_EEXIST, "%s was made just now", name);
        if (fd < 0)
            return RAMET_FAIL_OS(err, fd, "create %s", name);
        if (type == RAMET_GEN_LOG && is_new)
            note_unnamed(replica, gen);
        rc = ramet_gen_write_header(replica, type, gen, page_size, fd, &header,
                                    err);
    } else if (rc != RAMET_OK) {
        return RAMET_FAIL(err, rc, "can't open %s", name);
    }
    if (rc == RAMET_OK && header.page_size != page_size)
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s has another page size", name);
    if (rc == RAMET_OK)
        rc = add_gen(replica, &header, fd, out_gen, err);
    if (rc != RAMET_OK)
        os->close(os->ctx, fd);
    return rc;
}

enum ramet_rc
ramet_gen_create(struct ramet_replica *replica, enum ramet_gen_type type,
                 uint64_t gen, uint32_t page_size, struct ramet_gen **out_gen,
                 struct ramet_err *err)
{
    struct ramet_gen *found;
    enum ramet_rc rc = RAMET_OK;

    assert(gen >= 1 && ramet_page_size_ok(page_size));
    assert(type == RAMET_GEN_LOG ? ramet_may_publish(replica)
                                 : ramet_may_write_base(replica));
    if (gen > RAMET_GEN_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG,
                          "%s: log positions are used up; close it everywhere "
                          "once, and they begin anew",
                          replica->path);
    ramet_mutex_lock(&replica->mutex);
    found = find_gen(replica, type, gen);
    if (found == NULL)
        rc = create_file(replica, type, gen, page_size, &found, err);
    else if (found->page_size != page_size)
        rc = RAMET_FAIL(err, RAMET_EEXIST,
                        "log generation has another page size");
    ramet_mutex_unlock(&replica->mutex);
    if (rc == RAMET_OK)
        *out_gen = found;
    return rc;
}

/* ---- closing them -------------------------------------------------------- */

enum ramet_rc
ramet_gen_at_end(struct ramet_replica *replica, enum ramet_gen_type type,
                 struct ramet_pos_word *end, uint32_t page_size,
                 struct ramet_pos *out_pos, struct ramet_gen **out_gen,
                 struct ramet_err *err)
{
    struct ramet_pos pos = ramet_pos_load(end);
    enum ramet_rc rc = RAMET_EEXIST;

    assert(ramet_may_write_base(replica));
    if (ramet_pos_offset(pos) < RAMET_GEN_OFFSET_MAX - 2 * RAMET_PAGE_SIZE_MAX)
        rc = ramet_gen_create(replica, type, ramet_pos_gen(pos), page_size,
                              out_gen, err);
    if (rc == RAMET_EEXIST) { /* of another page size, or full */
        pos = ramet_pos_first(ramet_pos_gen(pos) + 1);
        ramet_pos_store(end, pos);
        rc = ramet_gen_create(replica, type, ramet_pos_gen(pos), page_size,
                              out_gen, err);
    }
    assert(rc != RAMET_OK || (*out_gen)->gen == ramet_pos_gen(pos));
    *out_pos = pos;
    return rc;
}

static bool
is_retired(const struct ramet_replica *replica, const struct ramet_gen *gen)
{
    const struct ramet_index_header *const header = &replica->head->header;

    return gen->gen < atomic_load(gen->type == RAMET_GEN_LOG
                                      ? &header->checkpoint.oldest
                                  : gen->type == RAMET_GEN_FETCHED
                                      ? &header->fetched.oldest
                                      : &header->retained.oldest);
}

static void
free_gen(struct ramet_replica *replica, struct ramet_gen *gen)
{
    assert(gen->fd >= 0);
    replica->os->close(replica->os->ctx, gen->fd);
    ramet_free(gen);
}

/* Which files go that are not retired. */
enum trim {
    TRIM_RETIRED,
    TRIM_RETAINED, /* those of retained versions as well */
    TRIM_ALL
};

/* To the list of retired ones: still open, not to be found any more. */
static void
unlink_retired(struct ramet_replica *replica, enum trim what, uint64_t epoch)
{
    for (unsigned i = 0; i < RAMET_GEN_BUCKETS; i++) {
        struct ramet_gen *_Atomic *from = &replica->gens[i];

        while (*from != NULL) {
            struct ramet_gen *const gen = *from;

            if (what != TRIM_ALL && !is_retired(replica, gen) &&
                !(what == TRIM_RETAINED && gen->type == RAMET_GEN_RETAINED)) {
                from = &gen->next;
                continue;
            }
            atomic_store_explicit(from, gen->next, memory_order_release);
            gen->retired_epoch = epoch;
            gen->retired_next = replica->retired;
            replica->retired = gen;
        }
    }
}

static void
trim(struct ramet_replica *replica, enum trim what)
{
    const struct ramet_index_header *const header = &replica->head->header;
    struct ramet_gen **from = &replica->retired;
    uint64_t least = UINT64_MAX;
    uint64_t epoch;

    assert(replica->head != NULL);
    ramet_mutex_lock(&replica->mutex);
    atomic_store(&replica->seen_oldest,
                 atomic_load(&header->checkpoint.oldest));
    atomic_store(&replica->seen_fetched_oldest,
                 atomic_load(&header->fetched.oldest));
    epoch = atomic_load(&replica->epoch);
    unlink_retired(replica, what, epoch);
    atomic_fetch_add(&replica->epoch, 1); /* invariant (2) */
    atomic_thread_fence(memory_order_seq_cst);
    for (struct ramet_session *s = replica->sessions; s != NULL; s = s->next) {
        const uint64_t in = atomic_load(&s->epoch);

        if (in != 0 && in < least)
            least = in;
    }
    while (*from != NULL) {
        struct ramet_gen *const gen = *from;

        if (gen->retired_epoch >= least) {
            from = &gen->retired_next;
            continue;
        }
        *from = gen->retired_next;
        free_gen(replica, gen);
    }
    ramet_mutex_unlock(&replica->mutex);
}

void
ramet_gens_trim(struct ramet_replica *replica)
{
    trim(replica, TRIM_RETIRED);
}

void
ramet_gens_trim_retained(struct ramet_replica *replica)
{
    trim(replica, TRIM_RETAINED);
}

void
ramet_gens_let_go(struct ramet_replica *replica)
{
    assert(ramet_may_publish(replica) && ramet_may_write_base(replica));
    trim(replica, TRIM_ALL);
}

void
ramet_gens_close_all(struct ramet_replica *replica)
{
    for (unsigned i = 0; i < RAMET_GEN_BUCKETS; i++) {
        struct ramet_gen *gen = replica->gens[i];

        while (gen != NULL) {
            struct ramet_gen *const next = gen->next;

            free_gen(replica, gen);
            gen = next;
        }
        replica->gens[i] = NULL;
    }
    while (replica->retired != NULL) {
        struct ramet_gen *const gen = replica->retired;

        replica->retired = gen->retired_next;
        free_gen(replica, gen);
    }
}
