/*
 * net.c - see net.h.
 */
#include "tests/sim/net.h"

#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define LISTENERS_MAX 8u

static struct {
    uint64_t rng;
    struct sim_exchange *exchanges; /* oldest last */
    struct {
        struct sim_process *process;
        struct sim_listener *listener;
    } listening[LISTENERS_MAX];
    unsigned listening_count;
} net;

static char *
copy(const char *text)
{
    char *const copied = strdup(text);

    if (copied == NULL)
        abort();
    return copied;
}

static void
free_exchange(struct sim_exchange *ex)
{
    for (size_t i = 0; i < ex->field_count; i++) {
        free(ex->fields[i].name);
        free(ex->fields[i].value);
    }
    for (size_t i = 0; i < ex->reply_field_count; i++) {
        free(ex->reply_fields[i].name);
        free(ex->reply_fields[i].value);
    }
    free(ex->method);
    free(ex->target);
    free(ex->up.data);
    free(ex->down.data);
    free(ex);
}

void
sim_net_begin(uint64_t seed)
{
    memset(&net, 0, sizeof(net));
    net.rng = seed;
}

void
sim_net_end(void)
{
    while (net.exchanges != NULL) {
        struct sim_exchange *const ex = net.exchanges;

        net.exchanges = ex->next;
        free_exchange(ex);
    }
}

void
sim_net_poke(struct sim_listener *listener)
{
    listener->changes++;
    sim_wake(listener, true);
}

static void
wake_client(struct sim_exchange *ex)
{
    ex->changes++;
    sim_wake(ex, true);
}

static void
wake_both(struct sim_exchange *ex)
{
    wake_client(ex);
    if (ex->listener != NULL)
        sim_net_poke(ex->listener);
}

/* ---- what the network does -------------------------------------------------- */

/* Where a connection is reset that is. */
static size_t
place_of_reset(const struct sim_weather *weather)
{
    if (!sim_chance(&net.rng, weather->reset))
        return SIZE_MAX;
    return (size_t)sim_below(&net.rng, UINT64_C(1) << sim_below(&net.rng, 16));
}

/* False: it is told at once that nobody can be reached. */
static bool
choose_fate(struct sim_exchange *ex)
{
    const struct sim_weather *const w = ex->weather;
    const bool is_slow = sim_chance(&net.rng, w->slow);
    const uint64_t nth =
        net.listening_count == 0 ? 0 : sim_below(&net.rng, net.listening_count);

    ex->arrives_ns =
        sim_now_ns() + MS / 10 + sim_below(&net.rng, is_slow ? 900 * MS : MS);
    ex->up.cut_at = ex->down.cut_at = SIZE_MAX;
    if (net.listening_count == 0 || sim_chance(&net.rng, w->refused) ||
        (w->is_cut && sim_chance(&net.rng, 70)))
        return false;
    if (w->is_cut || sim_chance(&net.rng, w->lost_request))
        return true; /* it goes nowhere */
    ex->listener = net.listening[nth].listener;
    ex->server = net.listening[nth].process;
    ex->up.cut_at = place_of_reset(w);
    ex->down.cut_at = place_of_reset(w);
    ex->reply_is_lost = sim_chance(&net.rng, w->lost_reply);
    ex->comes_twice = sim_chance(&net.rng, w->twice);
    if (sim_chance(&net.rng, w->late))
        ex->arrives_ns += sim_below(&net.rng, 20000 * MS);
    return true;
}

/* A proxy that lost its patience has asked once more; nobody waits for that
 * answer. */
static void
come_again(const struct sim_exchange *ex)
{
    static const struct sim_weather fair = {.is_cut = false};
    struct sim_exchange *const again =
        sim_net_ask(NULL, &fair, ex->method, ex->target);

    if (again == NULL)
        return;
    again->arrives_ns += sim_below(&net.rng, 4000 * MS);
    for (size_t i = 0; i < ex->field_count; i++)
        sim_net_field(again, ex->fields[i].name, ex->fields[i].value);
    sim_net_send_up(again, ex->up.data, ex->up.len);
    sim_net_end_up(again);
    sim_trace("%s %s comes again", ex->method, ex->target);
}

void
sim_net_killed(const struct sim_process *process)
{
    for (unsigned i = net.listening_count; i-- > 0;)
        if (net.listening[i].process == process)
            sim_net_stop_listening(net.listening[i].listener);
    for (struct sim_exchange *ex = net.exchanges; ex != NULL; ex = ex->next) {
        if (ex->server == process) {
            ex->server = NULL;
            ex->listener = NULL;
            ex->is_cut = true;
            wake_client(ex);
        }
        if (ex->client == process)
            sim_net_hang_up(ex, true);
    }
}

void
sim_net_stall(const struct sim_weather *weather)
{
    for (struct sim_exchange *ex = net.exchanges; ex != NULL; ex = ex->next)
        if (ex->weather == weather) {
            ex->reply_is_lost = true;
            if (!ex->was_accepted)
                ex->listener = NULL;
        }
}

/* ---- who listens -------------------------------------------------------------- */

void
sim_net_listen(struct sim_process *process, struct sim_listener *listener)
{
    if (net.listening_count == LISTENERS_MAX)
        sim_fail("too many servers");
    net.listening[net.listening_count].process = process;
    net.listening[net.listening_count++].listener = listener;
}

void
sim_net_stop_listening(const struct sim_listener *listener)
{
    for (unsigned i = 0; i < net.listening_count; i++)
        if (net.listening[i].listener == listener)
            net.listening[i--] = net.listening[--net.listening_count];
    for (struct sim_exchange *ex = net.exchanges; ex != NULL; ex = ex->next)
        if (ex->listener == listener && !ex->was_accepted) {
            ex->listener = NULL;
            ex->server = NULL;
            sim_net_cut(ex);
        }
}

unsigned
sim_net_listening(void)
{
    return net.listening_count;
}

struct sim_exchange *
sim_net_accept(const struct sim_listener *listener, uint64_t *out_next_ns)
{
    struct sim_exchange *found = NULL;

    *out_next_ns = SIM_FOREVER;
    for (struct sim_exchange *ex = net.exchanges; ex != NULL; ex = ex->next) {
        if (ex->listener != listener || ex->was_accepted || ex->is_cut)
            continue;
        if (ex->arrives_ns <= sim_now_ns())
            found = ex;
        else if (ex->arrives_ns < *out_next_ns)
            *out_next_ns = ex->arrives_ns;
    }
    if (found != NULL)
        found->was_accepted = true;
    return found;
}

/* ---- an exchange -------------------------------------------------------------- */

struct sim_exchange *
sim_net_ask(struct sim_process *client, const struct sim_weather *weather,
            const char *method, const char *target)
{
    struct sim_exchange *const ex = calloc(1, sizeof(*ex));

    if (ex == NULL)
        abort();
    ex->client = client;
    ex->weather = weather;
    if (!choose_fate(ex)) {
        free(ex);
        return NULL;
    }
    ex->method = copy(method);
    ex->target = copy(target);
    ex->next = net.exchanges;
    net.exchanges = ex;
    if (ex->listener != NULL)
        sim_net_poke(ex->listener);
    return ex;
}

static void
add_field(struct sim_field *fields, size_t *count, const char *name,
          const char *value)
{
    if (*count == SIM_FIELDS_MAX)
        sim_fail("too many fields in a header");
    fields[*count].name = copy(name);
    fields[(*count)++].value = copy(value);
}

void
sim_net_field(struct sim_exchange *ex, const char *name, const char *value)
{
    add_field(ex->fields, &ex->field_count, name, value);
}

void
sim_net_reply_field(struct sim_exchange *ex, const char *name,
                    const char *value)
{
    add_field(ex->reply_fields, &ex->reply_field_count, name, value);
}

void
sim_net_reply(struct sim_exchange *ex, unsigned status)
{
    if (ex->reply_is_lost)
        return;
    ex->status = status;
    sim_trace("%s %s: %u", ex->method, ex->target, status);
    wake_client(ex);
}

static void
send_bytes(struct sim_exchange *ex, struct sim_flow *flow, const void *data,
           size_t len)
{
    if (ex->is_cut || len == 0)
        return;
    if (flow->len + len >= flow->cut_at) {
        len = flow->cut_at - flow->len;
        sim_trace("%s %s is reset after %zu bytes", ex->method, ex->target,
                  flow->cut_at);
        sim_net_cut(ex);
    }
    flow->data = realloc(flow->data, flow->len + len + 1);
    if (flow->data == NULL)
        abort();
    memcpy(flow->data + flow->len, data, len);
    flow->len += len;
    wake_both(ex);
}

void
sim_net_send_up(struct sim_exchange *ex, const void *data, size_t len)
{
    send_bytes(ex, &ex->up, data, len);
}

void
sim_net_end_up(struct sim_exchange *ex)
{
    if (ex->is_cut)
        return;
    ex->up.has_ended = true;
    wake_both(ex);
    if (ex->comes_twice)
        come_again(ex);
    ex->comes_twice = false;
}

void
sim_net_send_down(struct sim_exchange *ex, const void *data, size_t len)
{
    if (!ex->reply_is_lost)
        send_bytes(ex, &ex->down, data, len);
}

void
sim_net_end_down(struct sim_exchange *ex)
{
    if (ex->reply_is_lost || ex->is_cut)
        return; /* the end was not sent, or is not coming */
    ex->down.has_ended = true;
    wake_both(ex);
}

void
sim_net_cut(struct sim_exchange *ex)
{
    ex->is_cut = true;
    wake_both(ex);
}

void
sim_net_hang_up(struct sim_exchange *ex, bool is_client)
{
    if (is_client) {
        ex->client = NULL;
        /* What was sent whole is on its way; the rest is not coming. */
        if (!ex->up.has_ended || ex->was_accepted)
            sim_net_cut(ex);
    } else {
        ex->server = NULL;
        ex->listener = NULL;
        if (!ex->down.has_ended && !ex->reply_is_lost)
            sim_net_cut(ex);
    }
}
