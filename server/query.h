/*
 * query.h - what a call's query asks for.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_QUERY_H
#define RAMET_SERVER_QUERY_H

#include "server/server_impl.h"

/* A decimal query parameter; `fallback` if absent. Replies 400 and gives
 * false if it is something else. */
bool ramet_api_number(struct call *call, const char *name, uint64_t fallback,
                      uint64_t max, uint64_t *out);

#endif
