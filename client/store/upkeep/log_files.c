/*
 * log_files.c - see log_files.h.
 */
#include "client/store/upkeep/log_files.h"

#include <assert.h>

#include "client/store/format/logfile.h"
#include "client/store/shared/gens.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"

#define RECYCLE_SIZE_MAX (8u << 20)
#define KEEP_SIZE_MAX (128u << 10)

static uint64_t
size_of_gen(const struct ramet_replica *replica, uint64_t number)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;
    char name[32];

    ramet_gen_name(RAMET_GEN_LOG, number, name);
    return os->stat_at(os->ctx, replica->dir_fd, name, &st) == 0 ? st.size_bytes
                                                                 : 0;
}

void
ramet_log_file_make_ahead(struct ramet_session *session, uint64_t recycle)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_pos pos =
        ramet_pos_load(&replica->head->header.log.write_pos);
    uint64_t next = ramet_pos_gen(pos);
    struct ramet_published newest;

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    if (ramet_pos_offset(pos) > RAMET_GEN_HEADER_SIZE ||
        size_of_gen(replica, next) != 0)
        next++;
    ramet_index_newest(replica, &newest);
    if (newest.snapshot.page_size == 0 || next > RAMET_GEN_MAX ||
        size_of_gen(replica, next) != 0)
        return;
    /* A failure costs the committer time, no more. */
    if (ramet_gen_make_ahead(replica, next, newest.snapshot.page_size, recycle,
                             NULL) != RAMET_OK)
        return;
}

void
ramet_log_files_remove(struct ramet_session *session, uint64_t first,
                       uint64_t last, uint64_t kept)
{
    const struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    uint64_t recycle = 0;
    char name[32];

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    for (uint64_t g = first; g <= last; g++) {
        const uint64_t size = session->is_closing ? 0 : size_of_gen(replica, g);

        if (g == kept)
            continue;
        if (recycle == 0 && size >= RAMET_GEN_SIZE &&
            size <= RECYCLE_SIZE_MAX) {
            recycle = g;
            ramet_log_file_make_ahead(session, recycle);
        }
        ramet_gen_name(RAMET_GEN_LOG, g, name);
        os->unlink(os->ctx, replica->dir_fd, name, false);
    }
}

bool
ramet_log_file_may_be_kept(struct ramet_session *session, uint64_t gen,
                           uint64_t *out_salt)
{
    struct ramet_replica *const replica = session->replica;
    const uint64_t size = size_of_gen(replica, gen);
    struct ramet_gen *file;

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    if (size == 0 || size > KEEP_SIZE_MAX || gen > RAMET_GEN_MAX / 2 ||
        atomic_load(&replica->head->header.all.named_gen) < gen ||
        ramet_gen_get(replica, RAMET_GEN_LOG, gen, &file, NULL) != RAMET_OK)
        return false;
    *out_salt = file->salt;
    return true;
}
