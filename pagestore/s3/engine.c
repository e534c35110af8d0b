/*
 * engine.c - see engine.h.
 *
 * Who wants something sent puts it into `queue` and wakes the thread; the
 * thread begins it when it may, and says `done` under the mutex. libcurl's
 * handles are touched by the thread alone.
 */
#include "pagestore/s3/engine.h"

#include <assert.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/os.h"
#include "core/os_room.h"
#include "core/waiting.h"
#include "pagestore/s3/spare.h"

#define IDLE_MAX RAMET_S3_IN_FLIGHT
#define IN_FLIGHT_LEAST 8u
#define POLL_MS 100 /* while something runs: patience is looked at */
#define POLL_IDLE_MS 60000
#define ASK_WAITER_MS 50u /* a caller who has had enough is not told of it */

struct ramet_s3_engine {
    unsigned refs; /* process's mutex */
    unsigned fork_count;
    CURLM *multi;
    struct ramet_thread thread;
    struct ramet_mutex mutex;
    bool stop;                       /* mutex */
    bool has_cancelled;              /* mutex: somebody wants one to end */
    struct ramet_s3_exchange *queue; /* mutex: not begun, in order */
    unsigned expected;               /* mutex: requests at a time; 0: told */
    /* The thread's. */
    struct ramet_s3_exchange *running[RAMET_S3_IN_FLIGHT];
    unsigned running_count, running_max; /* invariant (1) */
    uint64_t looked_ms;                  /* for those that hang */
    CURL *idle[IDLE_MAX];
    unsigned idle_count;
    struct ramet_s3_spares spares;
};

static struct ramet_mutex process = RAMET_MUTEX_INIT;
static struct ramet_s3_engine *the_engine; /* process */

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&process);
}

static void
init_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

void
ramet_curl_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, init_curl);
}

static uint64_t
now_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

/* ---- the thread ------------------------------------------------------------------- */

static void
tell_done(struct ramet_s3_engine *engine, struct ramet_s3_exchange *x)
{
    ramet_mutex_lock(&engine->mutex);
    assert(!x->done && x->easy == NULL); /* invariant (4) */
    x->done = true;
    if (x->waiter != NULL)
        ramet_cond_signal(x->waiter);
    ramet_mutex_unlock(&engine->mutex);
}

static void
release_lane(struct ramet_s3_engine *engine, struct ramet_s3_exchange *x)
{
    assert(x->easy == NULL);
    if (x->throttle == NULL)
        return;
    ramet_mutex_lock(&engine->mutex);
    ramet_s3_throttle_end(x->throttle, now_ms(),
                          x->status == 503 || x->status == 429,
                          x->retry_after_ms);
    ramet_mutex_unlock(&engine->mutex);
}

static void
finish(struct ramet_s3_engine *engine, unsigned at, CURLcode code)
{
    struct ramet_s3_exchange *const x = engine->running[at];

    assert(at < engine->running_count && x->easy != NULL);
    ramet_s3_exchange_note_end(x, code, now_ms());
    (void)curl_multi_remove_handle(engine->multi, x->easy);
    curl_easy_reset(x->easy);
    if (engine->idle_count < IDLE_MAX)
        engine->idle[engine->idle_count++] = x->easy;
    else
        curl_easy_cleanup(x->easy);
    x->easy = NULL;
    engine->running[at] = engine->running[--engine->running_count];
    release_lane(engine, x);
    tell_done(engine, x);
}

static void
begin(struct ramet_s3_engine *engine, struct ramet_s3_exchange *x)
{
    CURL *easy = engine->idle_count > 0 ? engine->idle[--engine->idle_count]
                                        : curl_easy_init();

    assert(x->easy == NULL && !x->done);
    assert(engine->running_count < engine->running_max); /* invariant (1) */
    if (easy != NULL) {
        ramet_s3_exchange_set_up(x, easy);
        if (ramet_s3_exchange_only_reads(x))
            ramet_s3_spares_offer(&engine->spares, easy, x->rank > 0);
        if (curl_multi_add_handle(engine->multi, easy) == CURLM_OK) {
            x->easy = easy;
            ramet_patience_begin(&x->patience, x->stall_timeout_ms,
                                 atomic_load(&x->began_ms), 0);
            engine->running[engine->running_count++] = x;
            return;
        }
        curl_easy_cleanup(easy);
    }
    x->code = CURLE_OUT_OF_MEMORY;
    release_lane(engine, x);
    tell_done(engine, x);
}

/* The next that may begin, out of the queue: invariants (1) and (2). */
static struct ramet_s3_exchange *
next_to_begin(struct ramet_s3_engine *engine, uint64_t *io_wait_ms)
{
    struct ramet_s3_exchange **at = &engine->queue, *found = NULL;
    const uint64_t now = now_ms();

    ramet_mutex_lock(&engine->mutex);
    while (*at != NULL && found == NULL &&
           engine->running_count < engine->running_max) {
        struct ramet_s3_exchange *const x = *at;

        if (x->wants_cancel || x->throttle == NULL ||
            ramet_s3_throttle_begin(x->throttle, now)) {
            assert(!x->done && x->easy == NULL);
            found = x;
            atomic_store(&x->began_ms, now);
            x->cancelled = x->wants_cancel;
            *at = x->next;
        } else {
            const uint64_t wait = ramet_s3_throttle_wait_ms(x->throttle, now);

            if (wait > 0 && wait < *io_wait_ms)
                *io_wait_ms = wait;
            at = &x->next;
        }
    }
    ramet_mutex_unlock(&engine->mutex);
    return found;
}

/* Begins what may; the time until more may. */
static uint64_t
begin_all(struct ramet_s3_engine *engine)
{
    uint64_t wait_ms = POLL_IDLE_MS;
    struct ramet_s3_exchange *x;

    while ((x = next_to_begin(engine, &wait_ms)) != NULL) {
        if (!x->cancelled) {
            begin(engine, x);
            continue;
        }
        x->code = CURLE_ABORTED_BY_CALLBACK;
        tell_done(engine, x);
    }
    assert(engine->running_count <= engine->running_max); /* invariant (1) */
    return wait_ms;
}

static void
take_ends(struct ramet_s3_engine *engine)
{
    const CURLMsg *message;
    int queued;

    while ((message = curl_multi_info_read(engine->multi, &queued)) != NULL) {
        const CURLcode code = message->data.result;
        unsigned at = 0;

        if (message->msg != CURLMSG_DONE)
            continue;
        while (engine->running[at]->easy != message->easy_handle)
            at++;
        assert(at < engine->running_count);
        finish(engine, at, code);
    }
}

/* Ends those that nobody waits for any longer. */
static void
end_cancelled(struct ramet_s3_engine *engine)
{
    bool any;

    ramet_mutex_lock(&engine->mutex);
    any = engine->has_cancelled;
    engine->has_cancelled = false;
    for (unsigned at = 0; any && at < engine->running_count; at++)
        engine->running[at]->cancelled = engine->running[at]->wants_cancel;
    ramet_mutex_unlock(&engine->mutex);
    for (unsigned at = engine->running_count; any && at-- > 0;)
        if (engine->running[at]->cancelled)
            finish(engine, at, CURLE_ABORTED_BY_CALLBACK);
}

/* Ends those that hang. */
static void
end_hung(struct ramet_s3_engine *engine)
{
    const uint64_t now = now_ms();

    if (now - engine->looked_ms < POLL_MS)
        return;
    engine->looked_ms = now;
    for (unsigned at = engine->running_count; at-- > 0;) {
        struct ramet_s3_exchange *const x = engine->running[at];

        if (!ramet_patience_is_lost(&x->patience, now,
                                    ramet_s3_exchange_moved(x)))
            continue;
        x->out_of_patience = true;
        finish(engine, at, CURLE_OPERATION_TIMEDOUT);
    }
}

/* Connections for what somebody expects to need; the time until some are too old. */
static uint64_t
look_after_spares(struct ramet_s3_engine *engine)
{
    unsigned expected;

    ramet_mutex_lock(&engine->mutex);
    expected = engine->expected;
    engine->expected = 0;
    ramet_mutex_unlock(&engine->mutex);
    if (expected > 0)
        ramet_s3_spares_prepare(&engine->spares, expected, now_ms());
    return ramet_s3_spares_trim(&engine->spares, now_ms()) > 0
               ? RAMET_S3_SPARE_AGE_MS
               : POLL_IDLE_MS;
}

static bool
is_stopped(struct ramet_s3_engine *engine)
{
    bool stop;

    ramet_mutex_lock(&engine->mutex);
    stop = engine->stop;
    ramet_mutex_unlock(&engine->mutex);
    return stop;
}

static void *
run(void *arg)
{
    struct ramet_s3_engine *const engine = arg;

    while (!is_stopped(engine)) {
        uint64_t wait_ms, spare_ms;
        int running;

        (void)curl_multi_perform(engine->multi, &running);
        take_ends(engine);
        end_cancelled(engine);
        end_hung(engine);
        wait_ms = begin_all(engine);
        spare_ms = look_after_spares(engine);
        if (wait_ms > spare_ms)
            wait_ms = spare_ms;
        if (engine->running_count > 0 && wait_ms > POLL_MS)
            wait_ms = POLL_MS;
        /* Returns at once where something was begun just now. */
        (void)curl_multi_poll(engine->multi, NULL, 0, (int)wait_ms, NULL);
    }
    return NULL;
}

/* ---- its life ------------------------------------------------------------------- */

static void
engine_free(struct ramet_s3_engine *engine)
{
    assert(engine->running_count == 0 && engine->queue == NULL);
    assert(engine->idle_count <= IDLE_MAX);
    for (unsigned i = 0; i < engine->idle_count; i++)
        curl_easy_cleanup(engine->idle[i]);
    if (engine->multi != NULL)
        (void)curl_multi_cleanup(engine->multi);
    ramet_s3_spares_done(&engine->spares);
    ramet_mutex_done(&engine->mutex);
    ramet_free(engine);
}

/* Invariant (1). */
static unsigned
most_in_flight(void)
{
    const unsigned part = ramet_os_descriptors() / 4;

    if (part >= RAMET_S3_IN_FLIGHT)
        return RAMET_S3_IN_FLIGHT;
    return part > IN_FLIGHT_LEAST ? part : IN_FLIGHT_LEAST;
}

static enum ramet_rc
engine_new(struct ramet_s3_engine **out_engine, struct ramet_err *err)
{
    struct ramet_s3_engine *const engine = ramet_calloc(1, sizeof(*engine));
    enum ramet_rc rc = RAMET_OK;

    if (engine == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    ramet_curl_ready();
    engine->refs = 1;
    engine->fork_count = ramet_os_fork_count();
    engine->running_max = most_in_flight();
    ramet_mutex_init(&engine->mutex);
    engine->multi = curl_multi_init();
    if (engine->multi == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    if (rc == RAMET_OK) {
        (void)curl_multi_setopt(engine->multi, CURLMOPT_MAXCONNECTS,
                                (long)engine->running_max);
        rc = ramet_thread_start(&engine->thread, "ramet-s3", run, engine, err);
    }
    if (rc != RAMET_OK) {
        engine_free(engine);
        return rc;
    }
    *out_engine = engine;
    return RAMET_OK;
}

enum ramet_rc
ramet_s3_engine_open(struct ramet_s3_engine **out_engine, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    ramet_mutex_lock(&process);
    /* Invariant (5): the parent's is left alone, and leaks here. */
    if (the_engine != NULL && the_engine->fork_count != ramet_os_fork_count())
        the_engine = NULL;
    if (the_engine != NULL)
        the_engine->refs++;
    else
        rc = engine_new(&the_engine, err);
    if (rc == RAMET_OK)
        *out_engine = the_engine;
    ramet_mutex_unlock(&process);
    return rc;
}

void
ramet_s3_engine_close(struct ramet_s3_engine *engine)
{
    bool last;

    if (engine == NULL || engine->fork_count != ramet_os_fork_count())
        return;
    ramet_mutex_lock(&process);
    assert(engine == the_engine && engine->refs > 0);
    last = --engine->refs == 0;
    if (last)
        the_engine = NULL;
    ramet_mutex_unlock(&process);
    if (!last)
        return;
    ramet_mutex_lock(&engine->mutex);
    engine->stop = true;
    ramet_mutex_unlock(&engine->mutex);
    (void)curl_multi_wakeup(engine->multi);
    ramet_thread_join(&engine->thread);
    engine_free(engine);
}

/* ---- for those who ask --------------------------------------------------- */

enum ramet_rc
ramet_s3_engine_check(const struct ramet_s3_engine *engine,
                      struct ramet_err *err)
{
    assert(engine != NULL);
    return engine->fork_count == ramet_os_fork_count()
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_EFORKED,
                            "S3: opened before fork(); open it anew");
}

/* Invariant (1): behind all of its rank. Under the mutex. */
static void
enqueue(struct ramet_s3_engine *engine, struct ramet_s3_exchange *exchange)
{
    struct ramet_s3_exchange **at = &engine->queue;

    while (*at != NULL && (*at)->rank <= exchange->rank)
        at = &(*at)->next;
    exchange->next = *at;
    *at = exchange;
}

enum ramet_rc
ramet_s3_start(struct ramet_s3_engine *engine,
               struct ramet_s3_exchange *exchange, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_s3_engine_check(engine, err);

    assert(exchange->method != NULL && exchange->url != NULL);
    assert(exchange->parts != NULL || exchange->part_count == 0);
    if (rc != RAMET_OK)
        return rc;
    assert(!exchange->done && exchange->stall_timeout_ms > 0);
    ramet_mutex_lock(&engine->mutex);
    enqueue(engine, exchange);
    ramet_mutex_unlock(&engine->mutex);
    (void)curl_multi_wakeup(engine->multi);
    return RAMET_OK;
}

void
ramet_s3_expect(struct ramet_s3_engine *engine, unsigned count)
{
    if (ramet_s3_engine_check(engine, NULL) != RAMET_OK)
        return;
    ramet_mutex_lock(&engine->mutex);
    if (engine->expected < count)
        engine->expected = count;
    ramet_mutex_unlock(&engine->mutex);
    (void)curl_multi_wakeup(engine->multi);
}

static struct ramet_s3_exchange *
first_done(struct ramet_s3_exchange **exchanges, size_t count)
{
    assert(count > 0);
    for (size_t i = 0; i < count; i++)
        if (exchanges[i]->done)
            return exchanges[i];
    return NULL;
}

/* Wait until one of them is done, or for `ms`. Under the mutex. */
static void
wait_for(struct ramet_s3_engine *engine, struct ramet_s3_exchange **exchanges,
         size_t count, uint64_t ms)
{
    struct ramet_cond ended;

    ramet_cond_init(&ended);
    for (size_t i = 0; i < count; i++) {
        assert(exchanges[i]->waiter == NULL && !exchanges[i]->done);
        exchanges[i]->waiter = &ended;
    }
    (void)ramet_cond_wait_ms(&ended, &engine->mutex, ms);
    for (size_t i = 0; i < count; i++)
        exchanges[i]->waiter = NULL;
    ramet_cond_done(&ended);
}

struct ramet_s3_exchange *
ramet_s3_wait(struct ramet_s3_engine *engine,
              struct ramet_s3_exchange **exchanges, size_t count,
              uint64_t timeout_ms)
{
    const uint64_t until = now_ms() + timeout_ms;
    struct ramet_s3_exchange *done = NULL;

    assert(exchanges != NULL && count > 0);
    for (uint64_t now = now_ms(); done == NULL; now = now_ms()) {
        const uint64_t left = until > now ? until - now : 0;

        ramet_mutex_lock(&engine->mutex);
        done = first_done(exchanges, count);
        if (done == NULL && left > 0)
            wait_for(engine, exchanges, count,
                     left < ASK_WAITER_MS ? left : ASK_WAITER_MS);
        ramet_mutex_unlock(&engine->mutex);
        if (done == NULL && (left == 0 || ramet_waiting_is_over()))
            break;
    }
    return done;
}

void
ramet_s3_cancel(struct ramet_s3_engine *engine,
                struct ramet_s3_exchange *exchange)
{
    ramet_mutex_lock(&engine->mutex);
    exchange->wants_cancel = true;
    engine->has_cancelled = true;
    ramet_mutex_unlock(&engine->mutex);
    (void)curl_multi_wakeup(engine->multi);
    ramet_mutex_lock(&engine->mutex);
    while (!exchange->done)
        wait_for(engine, &exchange, 1, POLL_IDLE_MS);
    ramet_mutex_unlock(&engine->mutex);
}

uint64_t
ramet_s3_ran_ms(const struct ramet_s3_exchange *exchange)
{
    const uint64_t began_ms = atomic_load(&exchange->began_ms);
    const uint64_t now = now_ms();

    assert(exchange->url != NULL);
    return began_ms != 0 && now > began_ms ? now - began_ms : 0;
}

bool
ramet_s3_is_throttled(struct ramet_s3_engine *engine,
                      const struct ramet_s3_throttle *throttle)
{
    bool is_on;

    assert(throttle != NULL);
    ramet_mutex_lock(&engine->mutex);
    is_on = ramet_s3_throttle_is_on(throttle, now_ms());
    ramet_mutex_unlock(&engine->mutex);
    return is_on;
}

enum ramet_rc
ramet_s3_run(struct ramet_s3_engine *engine, struct ramet_s3_exchange *exchange,
             struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_s3_start(engine, exchange, err);

    if (rc != RAMET_OK)
        return rc;
    if (ramet_s3_wait(engine, &exchange, 1, UINT32_MAX) == NULL)
        ramet_s3_cancel(engine, exchange);
    return RAMET_OK;
}
