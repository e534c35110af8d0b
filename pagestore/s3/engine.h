/*
 * engine.h - the process's HTTP exchanges with object stores: one thread, one
 * libcurl multi handle, however many stores are open.
 *
 * So a thousand databases in one process share connections, and need neither a
 * thread nor a descriptor each; HTTP/2 is spoken where a server offers it.
 *
 *   (1) At most RAMET_S3_IN_FLIGHT exchanges run, and no more than a quarter of the
 *       descriptors that the process may have; the others wait, those first whose
 *       reader has the fewest under way, so that who reads one page is not behind all
 *       that another reads ahead.
 *   (2) Of one lane at most what its throttle grants; a lane that has to wait
 *       does not hold up the others.
 *   (3) Every exchange ends: core/patience.h, and the time to connect.
 *   (4) An exchange is the engine's from start to done: its owner touches
 *       nothing of it meanwhile but through this header.
 *   (5) In a child of fork() the engine is the parent's: nothing is sent, and
 *       nothing of libcurl's is touched, for the sockets are shared.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_ENGINE_H
#define RAMET_PAGESTORE_S3_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/thread.h"
#include "pagestore/s3/exchange.h"
#include "pagestore/s3/throttle.h"

/* Pages that lie scattered are a request each, and 1.5 KiB: a link of 100 Mbit/s and
 * 20 ms holds 160 of them, a store that takes some milliseconds for each more. */
#define RAMET_S3_IN_FLIGHT RAMET_S3_WINDOW_MAX

struct ramet_s3_engine;

/* One more reference to this process's engine; started by the first. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_engine_open(struct ramet_s3_engine **out_engine,
                     struct ramet_err *err);
/* The last one stops it. No exchange of the caller's may be under way. */
void ramet_s3_engine_close(struct ramet_s3_engine *engine); /* NULL is fine */

/* RAMET_EFORKED: invariant (5). To be asked before any lock of a bucket's is
 * taken, which another thread may have held when the process forked. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_engine_check(const struct ramet_s3_engine *engine,
                      struct ramet_err *err);
/* RAMET_EFORKED; else it is under way. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_start(struct ramet_s3_engine *engine,
               struct ramet_s3_exchange *exchange, struct ramet_err *err);
/* So many more requests at a time are about to come, to where the last connection
 * went: connections are set up for them meanwhile (spare.h). No wait. */
void ramet_s3_expect(struct ramet_s3_engine *engine, unsigned count);
/* Wait until one of them is done, or for `timeout_ms`, or until the caller of
 * the verb has had enough (core/waiting.h). NULL: none is. */
struct ramet_s3_exchange *ramet_s3_wait(struct ramet_s3_engine *engine,
                                        struct ramet_s3_exchange **exchanges,
                                        size_t count, uint64_t timeout_ms);
/* End it, and wait until it is done. */
void ramet_s3_cancel(struct ramet_s3_engine *engine,
                     struct ramet_s3_exchange *exchange);
/* Start and wait; cancelled where the caller has had enough. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_run(struct ramet_s3_engine *engine, struct ramet_s3_exchange *exchange,
             struct ramet_err *err);

/* For how long it runs; 0: it is in the queue, and no store was asked. */
uint64_t ramet_s3_ran_ms(const struct ramet_s3_exchange *exchange);
/* Was the lane told to slow down, and has not recovered? */
bool ramet_s3_is_throttled(struct ramet_s3_engine *engine,
                           const struct ramet_s3_throttle *throttle);

/* libcurl, initialised once in the process. */
void ramet_curl_ready(void);

#endif
