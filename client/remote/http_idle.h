/*
 * http_idle.h - idle connections to servers, kept once per process.
 *
 * Each remote would keep its own else, and a thousand databases on one server a
 * thousand connections, of three descriptors each with what libcurl wakes itself
 * with. Here whoever asks next takes what another has put back.
 *
 *   (1) At most RAMET_HTTP_IDLE_MAX are idle; of more the one that is so for longest is
 *       closed.
 *   (2) A handle is one thread's from take to put, and has no option set at either.
 *   (3) A child of fork() has an empty list; its parent's handles are not touched,
 *       for the sockets are shared.
 *   (4) Nothing is left when the last user leaves.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_IDLE_H
#define RAMET_CLIENT_REMOTE_HTTP_IDLE_H

#include <curl/curl.h>

#define RAMET_HTTP_IDLE_MAX 24u

/* One user more, and one less: invariant (4). */
void ramet_http_idle_join(void);
void ramet_http_idle_leave(void);
/* A handle that was put back for this server (its "http://host:port"), the last
 * one first, or a new one; NULL: no memory. */
CURL *ramet_http_idle_take(const char *server);
/* How many were put back for it and are there still. */
unsigned ramet_http_idle_count(const char *server);
/* `server` is copied; without memory for that the handle is closed. */
void ramet_http_idle_put(const char *server, CURL *curl);

#endif
