/*
 * sequence.c - see sequence.h.
 *
 * Layer: prefetch.
 */
#include "prefetch/sequence.h"

#include <assert.h>

#include "prefetch/predictor.h"

#define SKIP_MAX 8u /* pages that a reader may leave out */

/* The longest sequence that `pgno` continues, else that not used for longest,
 * with *out_continues false. */
static struct ramet_sequence_stream *
choose(struct ramet_sequence *sequence, uint32_t pgno, bool *out_continues)
{
    struct ramet_sequence_stream *oldest = &sequence->streams[0];
    struct ramet_sequence_stream *longest = NULL;

    assert(pgno != 0);
    for (unsigned i = 0; i < RAMET_SEQUENCES; i++) {
        struct ramet_sequence_stream *const s = &sequence->streams[i];

        if (s->used < oldest->used)
            oldest = s;
        if (s->next != 0 && pgno >= s->next && pgno - s->next <= SKIP_MAX &&
            (longest == NULL || s->length > longest->length))
            longest = s;
    }
    *out_continues = longest != NULL;
    return longest != NULL ? longest : oldest;
}

bool
ramet_sequence_has(const struct ramet_sequence *sequence,
                   const struct ramet_run *run)
{
    for (unsigned i = 0; i < RAMET_SEQUENCES; i++)
        if (run == &sequence->streams[i].run)
            return true;
    return false;
}

/* Where nothing is lacking (a copy of what is here, or the end), half of what was
 * looked at is read before the next look: a step costs two lookups, not a window. */
static void
look_ahead(struct ramet_prefetch *p, struct ramet_sequence_stream *s,
           uint32_t pgno, uint32_t window)
{
    bool lacks = false;

    assert(window > 0 && pgno != 0);
    if (s->rest > 0) {
        s->rest--;
        return;
    }
    for (uint32_t i = 1; i <= window && pgno <= UINT32_MAX - i; i++)
        if (ramet_predictor_ask(p, pgno + i, &s->run, false))
            lacks = true;
    if (!lacks)
        s->rest = window / 2;
}

void
ramet_sequence_step(struct ramet_prefetch *p, uint32_t pgno,
                    uint32_t length_min)
{
    struct ramet_sequence_stream *s;
    uint32_t window;
    bool continues;

    assert(pgno != 0 && length_min > 0);
    s = choose(&p->sequence, pgno, &continues);
    s->used = ++p->sequence.clock;
    if (!continues) {
        ramet_asks_end_run(&p->asks, &s->run);
        s->length = s->rest = 0;
    }
    s->next = pgno < UINT32_MAX ? pgno + 1 : 0;
    if (!continues || ++s->length < length_min)
        return;
    window = ramet_predictor_scan_window(p, s->length, false);
    if (s->run.ahead <= window * 3 / 4)
        look_ahead(p, s, pgno, window);
}
