/*
 * meter.h - a store that passes everything on to another one, and keeps count
 * of requests and bytes, of the last answer and the last failure to get one.
 *
 * All that a client asks of a remote goes through one, so that `status` can
 * say what was fetched, and so that a remote that is gone is noticed in one
 * place: the *breaker* is open for RAMET_BREAKER_MS after a request that got
 * no answer, and whoever can do without the remote asks it first. Then one is
 * let through to see whether it is back, and the others wait for what becomes of
 * that, not each for a time-out of his own.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_METER_H
#define RAMET_CLIENT_REMOTE_METER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/os.h"
#include "core/thread.h"
#include "pagestore/objstore.h"

#define RAMET_BREAKER_MS 1000u
/* One who was let through may take so long before another one is. */
#define RAMET_PROBE_MS 2000u
/* And is not waited for any longer than this by a reader: if it gets an answer
 * later, the next read has it. */
#define RAMET_PROBE_WAIT_MS 500u

struct ramet_meter {
    struct ramet_objstore base;
    struct ramet_objstore *_Atomic inner; /* borrowed */
    const struct ramet_os *os;
    atomic_uint_least64_t requests;
    atomic_uint_least64_t bytes_read;
    atomic_uint_least64_t bytes_written;
    atomic_uint_least64_t last_answer_ms;  /* Unix time; 0: never */
    atomic_uint_least64_t broken_until_ns; /* monotonic; 0: it is closed */
    atomic_bool offline;                   /* the last request got no answer */
    struct ramet_mutex mutex;
    char cause[RAMET_ERR_TEXT_MAX]; /* of the last failure; under mutex */
};

/* `inner` may be NULL until ramet_meter_attach(). */
void ramet_meter_init(struct ramet_meter *meter, const struct ramet_os *os);
/* Also in place of another, which must live on while requests are under way. */
void
ramet_meter_attach(struct ramet_meter *meter, struct ramet_objstore *inner);
void ramet_meter_done(struct ramet_meter *meter);

/* Take notice of what a request other than through the store came to. */
void ramet_meter_note(struct ramet_meter *meter, enum ramet_rc rc,
                      const struct ramet_err *err);
/* The breaker: RAMET_OK, or RAMET_EUNREACHABLE with the last cause. *out_probes:
 * the caller is the one who was let through. */
RAMET_NODISCARD enum ramet_rc
ramet_meter_check(struct ramet_meter *meter, bool *out_probes,
                  struct ramet_err *err);

#endif
