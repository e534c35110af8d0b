/*
 * server.c - start and stop: the parts in their order, the ticker, signals.
 *
 *   (1) Parts are stopped in the reverse order of their start: first no
 *       request comes, then no job runs, then what they used goes.
 *   (2) A store is made only when all else that was asked for was found to be
 *       there: the address above all. A start that fails leaves nothing behind.
 */
#include "server/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "core/alloc.h"
#include "core/log.h"
#include "pagestore/s3/s3store.h"
#include "server/api.h"
#include "server/ask_process.h"
#include "server/listen.h"
#include "server/server_impl.h"

#define TICK_MS 500u
#define PEM_MAX (1u << 20)
#define PLACED_ENTRIES 32768u
/* Of blocks of deltas, decoded: some 900 of them. */
#define DELTA_BLOCKS_BYTES (8u << 20)
#define EVENT_THREADS 2u

/* ---- parts ---------------------------------------------------------------------- */

static enum ramet_rc
read_pem(const char *path, char **out, struct ramet_err *err)
{
    uint8_t *data = NULL;
    char *text;
    size_t len;
    enum ramet_rc rc;

    assert(path[0] != '\0');
    rc = ramet_os_read_file(ramet_os_system(), AT_FDCWD, path, PEM_MAX, &data,
                            &len, err);
    if (rc != RAMET_OK)
        return rc;
    text = ramet_alloc(len + 1);
    if (text == NULL) {
        ramet_free(data);
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", path);
    }
    memcpy(text, data, len);
    text[len] = '\0';
    ramet_free(data);
    *out = text;
    return RAMET_OK;
}

/* Both NULL without TLS. */
static enum ramet_rc
read_tls(const struct ramet_server_options *options, char **out_cert,
         char **out_key, struct ramet_err *err)
{
    char *cert = NULL;
    enum ramet_rc rc;

    *out_cert = *out_key = NULL;
    if (options->tls_cert[0] == '\0' && options->tls_key[0] == '\0')
        return RAMET_OK;
    if (options->tls_cert[0] == '\0' || options->tls_key[0] == '\0')
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "tls_cert and tls_key: both or neither");
    rc = read_pem(options->tls_cert, &cert, err);
    if (rc == RAMET_OK)
        rc = read_pem(options->tls_key, out_key, err);
    if (rc == RAMET_OK)
        *out_cert = cert;
    else
        ramet_free(cert);
    return rc;
}

static enum ramet_rc
open_directory(const struct ramet_server_options *options,
               struct ramet_objstore **out_store, struct ramet_err *err)
{
    const char *path = options->data;
    enum ramet_rc rc;

    if (options->store[0] != '\0') {
        if (strncmp(options->store, "file:///", 8) != 0)
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "store %s: it is file:///DIR or "
                              "s3://BUCKET/PREFIX",
                              options->store);
        path = options->store + 7;
    }
    if (path[0] == '\0')
        return RAMET_FAIL(err, RAMET_EINVAL, "data: the name is empty");
    rc = ramet_dirstore_open(NULL, path, true, out_store, err);
    if (rc == RAMET_OK)
        rc = ramet_catalog_check(*out_store, true, err);
    /* What clients read in errors does not say where the store is. */
    if (rc == RAMET_OK)
        rc = ramet_dirstore_call(*out_store, "store", err);
    return rc;
}

/* The operator names it, so the environment's credentials go there. */
static enum ramet_rc
open_bucket(const char *url, struct ramet_objstore **out_store,
            struct ramet_err *err)
{
    const struct ramet_s3_options s3 = {.configured = true, .hide_place = true};
    const char *const question = strchr(url, '?');
    size_t len = question != NULL ? (size_t)(question - url) : strlen(url);
    struct ramet_err why;
    char root[RAMET_SERVER_PATH_MAX];
    enum ramet_rc rc;

    while (len > 0 && url[len - 1] == '/')
        len--;
    (void)snprintf(root, sizeof(root), "%.*s", (int)len, url);
    rc = ramet_s3store_open(root, question != NULL ? question + 1 : "", &s3,
                            out_store, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_catalog_check(*out_store, true, &why);
    return rc == RAMET_OK ? rc /* the operator may know where that is */
                          : RAMET_FAIL(err, rc, "%s: %s", root, why.text);
}

static enum ramet_rc
open_store(struct ramet_server *server, struct ramet_err *err)
{
    const struct ramet_server_options *options = &server->options;
    const struct ramet_cache_options cache = {
        .memory_bytes = (size_t)options->cache_memory,
        .disk_dir = options->cache_dir[0] != '\0' ? options->cache_dir : NULL,
        .disk_bytes = options->cache_disk,
    };
    enum ramet_rc rc;

    if (options->store[0] != '\0' && options->data[0] != '\0')
        return RAMET_FAIL(err, RAMET_EINVAL, "data and store: only one");
    if (strncmp(options->store, "s3://", 5) == 0)
        rc = open_bucket(options->store, &server->base, err);
    else
        rc = open_directory(options, &server->base, err);
    if (rc == RAMET_OK)
        rc = ramet_cache_open(server->base, &cache, &server->cache, err);
    if (rc == RAMET_OK)
        server->store = ramet_cache_store(server->cache);
    return rc;
}

static enum ramet_rc
check_exposure(const struct ramet_server *server,
               const struct ramet_listen_address *address,
               struct ramet_err *err)
{
    if (address->loopback || server->options.insecure ||
        ramet_tokens_required(server->tokens))
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_EAUTH,
                      "listen %s: beyond this machine anybody could read and "
                      "write; give --token-file FILE, or --insecure if that is "
                      "meant",
                      server->options.listen);
}

/* A client alone may hold 7/10 of it (server/http_budget.h): the largest commit
 * must fit. */
static size_t
memory_budget(const struct ramet_server_options *options)
{
    const uint64_t least = options->max_commit + options->max_commit / 2;

    assert(least >= options->max_commit);
    return (size_t)(options->max_bodies > least ? options->max_bodies : least);
}

/* What can be wrong with how it is to be reached. Zeroed but for fd at -1 is
 * valid for close_door(). */
struct door {
    int fd; /* bound; the HTTP part's once that has begun */
    char *cert, *key;
};

static enum ramet_rc
open_door(struct ramet_server *server, struct door *door, struct ramet_err *err)
{
    struct ramet_listen_address address;
    enum ramet_rc rc;

    rc = ramet_listen_parse(server->options.listen, &address, err);
    if (rc == RAMET_OK)
        rc = check_exposure(server, &address, err);
    if (rc == RAMET_OK)
        rc = read_tls(&server->options, &door->cert, &door->key, err);
    return rc == RAMET_OK
               ? ramet_listen_open(&address, &door->fd, &server->port, err)
               : rc;
}

static void
close_door(struct door *door)
{
    if (door->fd >= 0)
        (void)close(door->fd);
    ramet_free(door->cert);
    ramet_free(door->key);
}

static enum ramet_rc
start_http(struct ramet_server *server, struct door *door,
           struct ramet_err *err)
{
    const struct ramet_server_options *options = &server->options;
    const struct ramet_http_app app = ramet_api_app(server);
    const struct ramet_http_options http = {
        .listen_fd = door->fd,
        .tls_cert_pem = door->cert,
        .tls_key_pem = door->key,
        .event_threads = EVENT_THREADS,
        .connections_max = (unsigned)options->max_connections,
        .per_ip_max = (unsigned)options->max_connections_per_ip,
        .header_timeout_ms = options->header_timeout * 1000u,
        .idle_timeout_ms = options->idle_timeout * 1000u,
        .memory_budget_bytes = memory_budget(options),
    };
    const enum ramet_rc rc =
        ramet_http_start(&http, &app, server->work, &server->http, err);

    if (rc == RAMET_OK)
        door->fd = -1;
    return rc;
}

/* ---- the ticker -------------------------------------------------------------------- */

static void *
run_ticker(void *arg)
{
    struct ramet_server *server = arg;
    unsigned round = 0;
    bool stop;

    do {
        struct timespec now;
        uint64_t now_ms;

        ramet_mutex_lock(&server->tick_lock);
        if (!server->tick_stop)
            (void)ramet_cond_wait_ms(&server->tick_wake, &server->tick_lock,
                                     TICK_MS);
        stop = server->tick_stop;
        ramet_mutex_unlock(&server->tick_lock);
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        now_ms =
            (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
        ramet_http_tick(server->http, now_ms);
        if (++round % 2 == 0)
            ramet_volume_table_tick(server->volumes, now_ms);
    } while (!stop);
    return NULL;
}

static void
stop_ticker(struct ramet_server *server)
{
    ramet_mutex_lock(&server->tick_lock);
    server->tick_stop = true;
    ramet_cond_broadcast(&server->tick_wake);
    ramet_mutex_unlock(&server->tick_lock);
    ramet_thread_join(&server->ticker);
}

/* ---- start and stop ------------------------------------------------------ */

/* Connections are descriptors: take as many as the system gives. */
static void
raise_limits(const struct ramet_server_options *options)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < options->max_connections + 128)
        ramet_log(RAMET_LOG_WARN, "fewer file descriptors than max_connections",
                  NULL);
}

static enum ramet_rc
find_helper(struct ramet_server_options *options, struct ramet_err *err)
{
    if (!options->prefetch_queries)
        return RAMET_OK;
    if (options->prefetch_helper[0] != '\0')
        return access(options->prefetch_helper, X_OK) == 0
                   ? RAMET_OK
                   : RAMET_FAIL(err, RAMET_EINVAL,
                                "prefetch_helper: \"%.200s\" is not a program "
                                "that may be run here",
                                options->prefetch_helper);
    if (ramet_ask_process_find(options->prefetch_helper,
                               sizeof(options->prefetch_helper)))
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_EINVAL,
                      "prefetch_queries: there is no ramet-ask beside this "
                      "program; prefetch_helper says where it is");
}

static enum ramet_rc
start_parts(struct ramet_server *server, struct door *door,
            struct ramet_err *err)
{
    const struct ramet_server_options *options = &server->options;
    enum ramet_rc rc;

    rc = find_helper(&server->options, err);
    if (rc == RAMET_OK)
        rc = ramet_tokens_new(options->token_file, &server->tokens, err);
    if (rc == RAMET_OK)
        rc = open_door(server, door, err);
    if (rc == RAMET_OK)
        rc = ramet_access_open(options->access_log, &server->access, err);
    if (rc == RAMET_OK) /* invariant (2) */
        rc = open_store(server, err);
    if (rc == RAMET_OK)
        rc = ramet_work_new((unsigned)options->workers, (size_t)options->queue,
                            &server->work, err);
    if (rc == RAMET_OK)
        rc = ramet_gone_new(&server->gone, err);
    if (rc == RAMET_OK)
        rc = ramet_volume_table_new(server->base, server->cache, server->work,
                                    server->gone, &server->metrics,
                                    &server->volumes, err);
    if (rc == RAMET_OK) {
        server->locations = ramet_frame_locations_new(PLACED_ENTRIES);
        server->delta_blocks = ramet_delta_blocks_new(DELTA_BLOCKS_BYTES);
        server->openings = ramet_openings_new();
        server->profiles = ramet_profiles_new(ramet_os_system());
        if (server->locations == NULL || server->delta_blocks == NULL ||
            server->openings == NULL || server->profiles == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "out of memory");
    }
    if (rc == RAMET_OK)
        rc = start_http(server, door, err);
    if (rc == RAMET_OK)
        rc = ramet_thread_start(&server->ticker, "ramet-tick", run_ticker,
                                server, err);
    return rc;
}

enum ramet_rc
ramet_server_start(const struct ramet_server_options *options,
                   struct ramet_server **out_server, struct ramet_err *err)
{
    struct ramet_server *server = ramet_calloc(1, sizeof(*server));
    struct door door = {.fd = -1};
    enum ramet_rc rc;

    if (server == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "server: out of memory");
    server->options = *options;
    atomic_store(&server->ready, true); /* it does not start otherwise */
    ramet_mutex_init(&server->tick_lock);
    ramet_cond_init(&server->tick_wake);
    raise_limits(options);
    rc = start_parts(server, &door, err);
    close_door(&door);
    if (rc == RAMET_OK)
        *out_server = server;
    else
        ramet_server_stop(server);
    return rc;
}

void
ramet_server_stop(struct ramet_server *server)
{
    if (server == NULL)
        return;
    if (server->http != NULL)
        ramet_http_stop(server->http, server->options.drain * 1000u);
    stop_ticker(server);
    ramet_work_free(server->work);
    ramet_http_free(server->http);
    ramet_volume_table_free(server->volumes);
    ramet_gone_free(server->gone);
    ramet_profiles_free(server->profiles);
    ramet_openings_free(server->openings);
    ramet_frame_locations_free(server->locations);
    ramet_delta_blocks_free(server->delta_blocks);
    ramet_access_close(server->access);
    ramet_cache_close(server->cache);
    ramet_objstore_close(server->base);
    ramet_tokens_free(server->tokens);
    ramet_cond_done(&server->tick_wake);
    ramet_mutex_done(&server->tick_lock);
    ramet_free(server);
}

unsigned
ramet_server_port(const struct ramet_server *server)
{
    return server->port;
}

enum ramet_rc
ramet_server_reload(struct ramet_server *server, struct ramet_err *err)
{
    char *cert = NULL, *key = NULL;
    enum ramet_rc rc;

    ramet_access_reopen(server->access);
    rc = ramet_tokens_reload(server->tokens, err);
    ramet_http_recheck(server->http); /* streams of tokens that are gone end */
    if (rc == RAMET_OK)
        rc = read_tls(&server->options, &cert, &key, err);
    if (rc == RAMET_OK && cert != NULL)
        rc = ramet_http_reload_tls(server->http, cert, key, err);
    ramet_free(cert);
    ramet_free(key);
    return rc;
}

/* ---- a process of its own ------------------------------------------------ */

static void
serve_until_told(struct ramet_server *server, const sigset_t *signals)
{
    for (;;) {
        struct ramet_err err;
        int number = 0;

        if (sigwait(signals, &number) != 0)
            continue;
        if (number != SIGHUP) {
            ramet_log(RAMET_LOG_INFO, "stopping", NULL);
            return;
        }
        if (ramet_server_reload(server, &err) == RAMET_OK)
            ramet_log(RAMET_LOG_INFO, "reloaded", NULL);
        else
            ramet_log(RAMET_LOG_ERROR, "not reloaded", "detail", err.text,
                      NULL);
    }
}

/* Large blocks go back to the system when they are freed, whatever was freed
 * before; and few arenas, so that what is free in one is not missed in
 * another. */
static void
bound_heap(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
    (void)mallopt(M_ARENA_MAX, 4);
#endif
}

enum ramet_rc
ramet_server_run(const struct ramet_server_options *options,
                 struct ramet_err *err)
{
    struct ramet_server *server;
    char host[256];
    sigset_t signals;
    enum ramet_rc rc;

    ramet_log_init_from_env(true);
    bound_heap();
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    rc = ramet_server_start(options, &server, err);
    if (rc != RAMET_OK)
        return rc;
    (void)snprintf(host, sizeof(host), "%s", options->listen);
    if (strrchr(host, ':') != NULL)
        *strrchr(host, ':') = '\0';
    (void)printf("listening on %s://%s:%u\n",
                 options->tls_cert[0] != '\0' ? "https" : "http", host,
                 server->port);
    (void)fflush(stdout);
    ramet_log(RAMET_LOG_INFO, "serving", "listen", options->listen, "store",
              options->store[0] != '\0' ? options->store : options->data, NULL);
    serve_until_told(server, &signals);
    ramet_server_stop(server);
    return RAMET_OK;
}
