/*
 * checkpoint_write.c - pages go into the base, neighbours at once; when they are on
 * disk they enter presence (checkpoint_words.c).
 */
#include "client/store/upkeep/checkpoint_impl.h"

#include <assert.h>
#include <string.h>

#include "client/store/format/frames.h"
#include "client/store/shared/base.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "core/alloc.h"

#define BATCH 16384u          /* pages written to the base between two syncs */
#define RUN_SIZE (128u << 10) /* bytes written to the base at once */

static_assert(RUN_SIZE >= RAMET_PAGE_SIZE_MAX, "a page fits");

/* What the inode says lasts as well, but at the end: the clean close's sync is
 * yet to come. */
enum ramet_rc
ramet_checkpoint_sync_base(struct checkpoint *c, struct ramet_err *err)
{
    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    return c->session->is_closing ? ramet_base_datasync(c->replica, err)
                                  : ramet_base_sync(c->replica, err);
}

static enum ramet_rc
write_run(struct checkpoint *c, struct ramet_err *err)
{
    const uint32_t count = c->run.count;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    c->run.count = 0;
    return count == 0
               ? RAMET_OK
               : ramet_base_write(c->replica, c->state.fold.newest.page_size,
                                  c->run.first, count, c->run.bytes, err);
}

enum ramet_rc
ramet_checkpoint_write_begin(struct checkpoint *c, uint64_t page_count,
                             struct ramet_err *err)
{
    assert(ramet_holds(c->session, RAMET_LOCK_BASE) && page_count >= 1);
    assert(c->batch == NULL && c->run.bytes == NULL);
    c->batch_capacity = page_count < BATCH ? (uint32_t)page_count : BATCH;
    c->batch = ramet_alloc(c->batch_capacity * sizeof(*c->batch));
    c->run.bytes = ramet_alloc(RUN_SIZE);
    return c->batch != NULL && c->run.bytes != NULL
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
}

enum ramet_rc
ramet_checkpoint_write_end(struct checkpoint *c, struct ramet_err *err)
{
    enum ramet_rc rc = write_run(c, err);

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (rc == RAMET_OK && c->batch_count != 0)
        rc = ramet_checkpoint_sync_base(c, err);
    return rc == RAMET_OK ? ramet_checkpoint_tell(c, err) : rc;
}

enum ramet_rc
ramet_checkpoint_note(struct checkpoint *c, uint32_t pgno, uint64_t value,
                      struct ramet_err *err)
{
    assert(c->batch_count < c->batch_capacity && pgno >= 1);
    c->batch[c->batch_count++] = (struct moved){value, pgno};
    return c->batch_count < c->batch_capacity
               ? RAMET_OK
               : ramet_checkpoint_write_end(c, err);
}

enum ramet_rc
ramet_checkpoint_room(struct checkpoint *c, uint32_t pgno, uint32_t *io_count,
                      uint8_t **out, struct ramet_err *err)
{
    const uint32_t fit = RUN_SIZE / c->state.fold.newest.page_size;

    assert(*io_count >= 1 && pgno >= 1);
    if (c->run.count == fit || pgno != c->run.first + c->run.count) {
        const enum ramet_rc rc = write_run(c, err);

        if (rc != RAMET_OK)
            return rc;
        c->run.first = pgno;
    }
    if (*io_count > fit - c->run.count)
        *io_count = fit - c->run.count;
    *out = c->run.bytes + (size_t)c->run.count * c->state.fold.newest.page_size;
    return RAMET_OK;
}

enum ramet_rc
ramet_checkpoint_write(struct checkpoint *c, uint32_t count,
                       const uint64_t *hashes, struct ramet_err *err)
{
    const uint32_t page_size = c->state.fold.newest.page_size;
    const uint32_t first = c->run.first + c->run.count;
    const uint8_t *const pages =
        c->run.bytes + (size_t)c->run.count * page_size;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    assert(c->run.count + count <= RUN_SIZE / page_size);
    c->run.count += count; /* first: telling of them may write them */
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++) {
        uint64_t value = ramet_presence_of_hash(hashes[i]);

        if (first + i == 1) {
            value = ramet_presence_sum(1, pages, page_size);
            memcpy(c->state.fold.newest.header, pages, RAMET_TRUE_HEADER_SIZE);
        }
        rc = ramet_checkpoint_note(c, first + i, value, err);
    }
    return rc;
}
