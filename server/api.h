/*
 * api.h - the HTTP API of docs/protocol.md as an application of http.h.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_API_H
#define RAMET_SERVER_API_H

#include "server/http.h"
#include "server/server.h"

struct ramet_http_app ramet_api_app(struct ramet_server *server);

#endif
