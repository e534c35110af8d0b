/*
 * pageset_codec.c - page sets as bytes (docs/format.md, "Page set").
 *
 * The encoding of a set is unique: varints are in shortest form, and a run
 * that touches the one before it is refused. What decode() lets through obeys
 * the invariants of pageset.h.
 */
#include <assert.h>
#include <inttypes.h>

#include "core/bytes.h"
#include "core/pageset.h"

/* Two varints of at least a byte each. */
#define RUN_BYTES_MIN 2u

enum ramet_rc
ramet_pageset_encode(const struct ramet_pageset *set, struct ramet_buf *out)
{
    uint32_t previous = 0;

    ramet_buf_varint(out, set->run_count);
    for (size_t i = 0; i < set->run_count; i++) {
        const struct ramet_run run = set->runs[i];

        assert(run.first > previous && run.first <= run.last);
        ramet_buf_varint(out, run.first - previous - 1);
        ramet_buf_varint(out, run.last - run.first);
        previous = run.last;
    }
    return out->failed;
}

/* The next run after `previous`, the last page so far. */
static enum ramet_rc
decode_run(struct ramet_reader *in, uint32_t previous, bool is_first,
           uint32_t max_pgno, struct ramet_run *out, struct ramet_err *err)
{
    const uint64_t gap = ramet_read_varint(in);
    const uint64_t more = ramet_read_varint(in);
    uint64_t first;

    if (in->bad)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "page set: broken after page %" PRIu32, previous);
    if (gap == 0 && !is_first)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "page set: page %" PRIu32 " ends a run too early",
                          previous);
    /* By subtraction, since the sums may wrap. */
    if (gap >= (uint64_t)max_pgno - previous ||
        more > max_pgno - previous - gap - 1)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "page set: run after page %" PRIu32
                          " goes beyond page %" PRIu32,
                          previous, max_pgno);
    first = previous + gap + 1;
    *out = (struct ramet_run){(uint32_t)first, (uint32_t)(first + more)};
    return RAMET_OK;
}

enum ramet_rc
ramet_pageset_decode(struct ramet_pageset *set, struct ramet_reader *in,
                     uint32_t max_pgno, size_t max_runs, struct ramet_err *err)
{
    struct ramet_pageset decoded;
    enum ramet_rc rc = RAMET_OK;
    uint64_t count;
    uint32_t previous = 0;

    ramet_pageset_init(&decoded);
    count = ramet_read_varint(in);
    if (in->bad || count > ramet_reader_left(in) / RUN_BYTES_MIN) {
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "page set: truncated");
        goto done;
    }
    if (count > max_runs) {
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "page set: %" PRIu64 " runs, limit %zu", count,
                        max_runs);
        goto done;
    }
    for (uint64_t i = 0; i < count; i++) {
        struct ramet_run run = {0, 0};

        rc = decode_run(in, previous, i == 0, max_pgno, &run, err);
        if (rc != RAMET_OK)
            goto done;
        rc = ramet_pageset_add_run(&decoded, run);
        if (rc != RAMET_OK) {
            rc = RAMET_FAIL(err, rc, "page set: %" PRIu64 " runs", count);
            goto done;
        }
        previous = run.last;
    }
    ramet_pageset_swap(set, &decoded);

done:
    if (rc == RAMET_ECORRUPT)
        in->bad = true;
    ramet_pageset_done(&decoded);
    return rc;
}
