/*
 * http_budget.h - the memory that bodies and answers hold, and whose it is.
 *
 * Something is held from before it is allocated until it is freed. `bytes` is
 * what it may become, not what it is.
 *
 *   (1) All together never hold more than `total`.
 *   (2) Short answers have an eighth of it for themselves: what is asked and
 *       answered in a word is answered while others hold all the rest.
 *   (3) Of either part a client holds at most four times what is left free. So
 *       one alone has four fifths, and whoever comes finds something, however
 *       many there are.
 *
 * A client is a token, or an address where there are none; it is known by a
 * hash of that, and two of the same hash share what one may have.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_HTTP_BUDGET_H
#define RAMET_SERVER_HTTP_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/thread.h"

#define RAMET_BUDGET_CLIENTS 1024u

enum ramet_holding { RAMET_HOLD_LONG, RAMET_HOLD_SHORT };

struct ramet_budget {
    struct ramet_mutex lock;
    size_t total;
    size_t held[2];                            /* lock: long, short */
    size_t of_client[2][RAMET_BUDGET_CLIENTS]; /* lock */
};

void ramet_budget_init(struct ramet_budget *budget, size_t total);
void ramet_budget_done(struct ramet_budget *budget); /* nothing is held */
/* False: there is not so much, for this client. */
bool ramet_budget_hold(struct ramet_budget *budget, enum ramet_holding kind,
                       uint32_t client, size_t bytes);
void ramet_budget_let_go(struct ramet_budget *budget, enum ramet_holding kind,
                         uint32_t client, size_t bytes);
size_t ramet_budget_held(struct ramet_budget *budget);
/* Is most of what long holdings may have taken? */
bool ramet_budget_is_crowded(struct ramet_budget *budget);

#endif
