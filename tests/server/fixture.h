/*
 * fixture.h - a server in this process on a directory of its own, and remotes
 * that reach it.
 */
#ifndef RAMET_TESTS_SERVER_FIXTURE_H
#define RAMET_TESTS_SERVER_FIXTURE_H

#include "client/remote/remote.h"
#include "server/server.h"
#include "tests/metastore/model.h"
#include "tests/support/cmocka_all.h"

struct fixture {
    char dir[64]; /* data in dir/data */
    struct ramet_server_options options;
    struct ramet_server *server;
    struct ramet_remote *remote;   /* over HTTP, no token */
    struct ramet_objstore *direct; /* the same store, without the server */
};

/* `adjust` may change the options before the start; NULL. */
void fixture_start(struct fixture *f,
                   void (*adjust)(struct ramet_server_options *options));
void fixture_stop(struct fixture *f);
/* Stop the server and start one anew on the same directory and port. */
void fixture_restart(struct fixture *f);
struct ramet_remote *
fixture_connect(const struct fixture *f, const char *token);
struct ramet_remote *fixture_connect_tls(const struct fixture *f);
/* Waits for nothing longer than 300 ms. */
struct ramet_remote *fixture_connect_hasty(unsigned port);
struct ramet_remote *fixture_connect_port(unsigned port, const char *token);

#endif
