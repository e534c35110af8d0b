/*
 * sums.c - checksums of pages that the base has, where none is known yet: of a
 * file that was adopted as it was.
 */
#include <string.h>

#include "client/letgo.h"
#include "client/state.h"
#include "core/alloc.h"

#define BLOCK 512u /* pages looked at under one hold of the base lock */

static enum ramet_rc
sum_block(struct ramet_session *session, uint32_t first, uint32_t count,
          uint32_t page_size, uint8_t *page, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    uint64_t values[BLOCK];
    uint64_t zeros;
    uint32_t hole_end = 0; /* index of the page behind the hole we are in */
    bool changed = false;
    enum ramet_rc rc = ramet_presence_read(replica, first, count, values, err);

    memset(page, 0, page_size);
    zeros = ramet_presence_of_hash(ramet_hash64(page, page_size));
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++) {
        if (values[i] > RAMET_PRESENCE_HELD ||
            !ramet_is_page_in_base(replica, first + i, values[i]))
            continue;
        if (hole_end <= i)
            hole_end =
                i + ramet_base_hole(replica, page_size, first + i, count - i);
        if (i >= hole_end)
            rc = ramet_base_read(replica, page_size, first + i, page, err);
        values[i] = i < hole_end
                        ? zeros
                        : ramet_presence_sum(first + i, page, page_size);
        changed = true;
    }
    return rc == RAMET_OK && changed
               ? ramet_presence_write(replica, first, count, values, err)
               : rc;
}

enum ramet_rc
ramet_session_sum(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_state_file *state = NULL;
    uint8_t *page = NULL;
    uint32_t count = 0;
    uint32_t page_size = 0;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK)
        return rc;
    if (replica->is_readonly)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s can't be written",
                          replica->path);
    state = ramet_calloc(1, sizeof(*state));
    page = ramet_alloc(RAMET_PAGE_SIZE_MAX);
    if (state == NULL || page == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for checksums");
    for (uint64_t first = 1; rc == RAMET_OK; first += BLOCK) {
        rc = ramet_base_lock(session, RAMET_LOCK_WAIT_MS, err);
        if (rc != RAMET_OK)
            break;
        if (first == 1) {
            rc =
                ramet_state_file_read(replica->os, replica->dir_fd, state, err);
            page_size = state->base_page_size;
        }
        count = (uint32_t)atomic_load(&header->base_page_count);
        if (rc == RAMET_OK && first <= count)
            rc = sum_block(session, (uint32_t)first,
                           count - first + 1 < BLOCK
                               ? (uint32_t)(count - first + 1)
                               : BLOCK,
                           page_size, page, err);
        if (rc == RAMET_OK && first + BLOCK > count)
            rc = ramet_presence_sync(replica, err);
        ramet_base_unlock(session);
        if (first + BLOCK > count)
            break;
    }
    if (state != NULL)
        ramet_state_file_done(state);
    ramet_free(state);
    ramet_free(page);
    return rc;
}
