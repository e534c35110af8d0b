/*
 * server.h - `ramet serve` as a library: options, start, stop, run.
 *
 * A server keeps no state of its own: everything is in the store, so any
 * number of servers may work on one, and one may be killed at any time.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_SERVER_H
#define RAMET_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define RAMET_SERVER_PATH_MAX 1024u

/* Sizes are bytes. Filled by ramet_server_options_init(). */
struct ramet_server_options {
    char listen[256];                 /* "127.0.0.1:7411"; port 0: any */
    char data[RAMET_SERVER_PATH_MAX]; /* a directory; made if absent */
    char
        store[RAMET_SERVER_PATH_MAX]; /* instead of data: file:///dir, s3://… */
    char token_file[RAMET_SERVER_PATH_MAX];
    char tls_cert[RAMET_SERVER_PATH_MAX];
    char tls_key[RAMET_SERVER_PATH_MAX];
    char cache_dir[RAMET_SERVER_PATH_MAX];  /* "": no cache on disk */
    char access_log[RAMET_SERVER_PATH_MAX]; /* "off", "stderr" or a file */
    bool insecure;
    bool
        prefetch_queries; /* run statements that clients ask to be prefetched */
    char prefetch_helper[RAMET_SERVER_PATH_MAX]; /* "": ramet-ask beside us */
    uint64_t cache_memory;
    uint64_t cache_disk;
    uint64_t workers;
    uint64_t queue;
    uint64_t max_connections;
    uint64_t max_connections_per_ip; /* 0: no limit */
    uint64_t max_commit;
    uint64_t max_bodies;     /* all bodies in memory together */
    uint64_t header_timeout; /* seconds */
    uint64_t idle_timeout;
    uint64_t drain;
};

void ramet_server_options_init(struct ramet_server_options *options);

/*
 * Set one by its name in ramet.conf ("listen", "token_file", …; on the command
 * line with dashes). Sizes take K, M, G; flags take true or false.
 * RAMET_EINVAL names what is wrong.
 */
RAMET_NODISCARD enum ramet_rc
ramet_server_options_set(struct ramet_server_options *options, const char *name,
                         const char *value, struct ramet_err *err);
/*
 * The section [server] of ramet.conf, then RAMET_… of the environment
 * (RAMET_LISTEN, RAMET_TOKEN_FILE, …). `path` NULL: found by the rules of
 * ramet.conf. The command line is set after this. A key that is unknown is an
 * error.
 */
RAMET_NODISCARD enum ramet_rc
ramet_server_options_load(struct ramet_server_options *options,
                          const char *path, struct ramet_err *err);

struct ramet_server;

/* Listens and serves when it returns. RAMET_EAUTH: beyond loopback without a
 * token and without `insecure`. */
RAMET_NODISCARD enum ramet_rc
ramet_server_start(const struct ramet_server_options *options,
                   struct ramet_server **out_server, struct ramet_err *err);
/* Finishes what it began, within options.drain seconds. NULL is fine. */
void ramet_server_stop(struct ramet_server *server);
unsigned ramet_server_port(const struct ramet_server *server);
/* Token file, certificate and key again; what can't be read stays as it was. */
RAMET_NODISCARD enum ramet_rc
ramet_server_reload(struct ramet_server *server, struct ramet_err *err);

/*
 * Start, print "listening on URL" to standard output, serve until SIGTERM or
 * SIGINT, reload on SIGHUP, stop. Call from the main thread, before others
 * are made: it blocks those signals in all threads.
 */
RAMET_NODISCARD enum ramet_rc
ramet_server_run(const struct ramet_server_options *options,
                 struct ramet_err *err);

#endif
