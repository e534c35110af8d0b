/*
 * go_back.c - see go_back.h.
 */
#include "metastore/go_back.h"

#include <assert.h>

#include "metastore/head_cache.h"

enum ramet_rc
ramet_history_go_back(struct ramet_history *history,
                      struct ramet_history_back *back, uint64_t lsn,
                      uint64_t least, struct ramet_commit_object *out_commit,
                      struct ramet_err *err)
{
    assert(least >= 1 && least <= lsn);
    if (back->at_once == 0 || lsn < back->brought) {
        back->at_once = back->at_once == 0 ? 1 : 2 * back->at_once;
        if (back->at_once > RAMET_HEADS_AT_ONCE)
            back->at_once = RAMET_HEADS_AT_ONCE;
        if (back->at_once > lsn - least + 1)
            back->at_once = lsn - least + 1;
        back->brought = lsn - back->at_once + 1;
        assert(back->at_once >= 1 && back->brought >= least);
        ramet_history_bring_heads(history, back->brought, lsn, NULL);
    }
    return ramet_history_commit(history, lsn, out_commit, err);
}
