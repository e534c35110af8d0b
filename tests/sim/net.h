/*
 * net.h - HTTP between simulated processes: one exchange a connection, and what
 * the network makes of it.
 *
 * image/curl.c is at one end of an exchange, image/httpd.c at the other: they
 * stand for libcurl and libmicrohttpd, and all that calls those is the
 * product's. The servers of a schedule have one name, as behind a balancer: each
 * exchange goes to any that listens.
 *
 *   (1) what was sent arrives in order, or not at all: the network takes an end
 *       off, never a middle out
 *   (2) who is killed has sent what it sent; the other end sees a reset
 *   (3) an exchange that is cut tells both ends; one that is lost tells nobody
 */
#ifndef RAMET_TESTS_SIM_NET_H
#define RAMET_TESTS_SIM_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/bucket.h"
#include "tests/sim/sched.h"

#define SIM_FIELDS_MAX 24u

struct sim_field {
    char *name, *value;
};

struct sim_flow {
    uint8_t *data;
    size_t len;   /* sent */
    size_t taken; /* by who receives */
    bool has_ended;
    size_t cut_at; /* the connection is reset after so many bytes */
};

/* Of a server: what is woken when there is something for it. */
struct sim_listener {
    uint64_t changes; /* that it was woken for */
};

struct sim_exchange {
    uint64_t changes; /* as of a listener, for the client */
    struct sim_exchange *next;
    struct sim_process *client, *server; /* NULL: none, or gone */
    const struct sim_weather *weather;   /* the client's */
    struct sim_listener *listener;       /* of the server; NULL: goes nowhere */
    uint64_t arrives_ns;
    bool was_accepted;
    bool is_cut;
    bool reply_is_lost;
    bool comes_twice;
    char *method, *target;
    struct sim_field fields[SIM_FIELDS_MAX], reply_fields[SIM_FIELDS_MAX];
    size_t field_count, reply_field_count;
    unsigned status; /* 0: no reply yet */
    struct sim_flow up, down;
};

void sim_net_begin(uint64_t seed);
void sim_net_end(void);
/* Nothing that this process had open goes on. */
void sim_net_killed(const struct sim_process *process);
/* Nothing more comes or goes of what is open with this weather. */
void sim_net_stall(const struct sim_weather *weather);

/* ---- who listens ----------------------------------------------------------- */

SIM_API void
sim_net_listen(struct sim_process *process, struct sim_listener *listener);
SIM_API void sim_net_stop_listening(const struct sim_listener *listener);
SIM_API void sim_net_poke(struct sim_listener *listener);
unsigned sim_net_listening(void);
/* The next exchange that has arrived, or NULL and when the next one may. */
SIM_API struct sim_exchange *
sim_net_accept(const struct sim_listener *listener, uint64_t *out_next_ns);

/* ---- an exchange ----------------------------------------------------------- */

/* NULL: it can't be reached. Both are woken by what the other one does: the
 * client as sim_wait(exchange). */
SIM_API struct sim_exchange *
sim_net_ask(struct sim_process *client, const struct sim_weather *weather,
            const char *method, const char *target);
SIM_API void
sim_net_field(struct sim_exchange *ex, const char *name, const char *value);
SIM_API void sim_net_reply(struct sim_exchange *ex, unsigned status);
SIM_API void sim_net_reply_field(struct sim_exchange *ex, const char *name,
                                 const char *value);
SIM_API void
sim_net_send_up(struct sim_exchange *ex, const void *data, size_t len);
SIM_API void sim_net_end_up(struct sim_exchange *ex);
SIM_API void
sim_net_send_down(struct sim_exchange *ex, const void *data, size_t len);
SIM_API void sim_net_end_down(struct sim_exchange *ex);
SIM_API void sim_net_cut(struct sim_exchange *ex);
/* This end is done with it. */
SIM_API void sim_net_hang_up(struct sim_exchange *ex, bool is_client);

#endif
