/*
 * server.c - a simulated process that is a server, and the doors to the system
 * that the server has beside core/os.h: where it listens, its bucket, and some
 * calls of the C library's.
 */
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pagestore/s3/s3store.h"
#include "server/listen.h"
#include "server/server.h"
#include "tests/sim/image/image.h"
#include "tests/sim/image/play.h"

#define LOOK_NS UINT64_C(50000000)

void
sim_serve(void)
{
    struct ramet_server_options options;
    struct ramet_server *server = NULL;
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc = RAMET_EUNREACHABLE;

    ramet_server_options_init(&options);
    options.data[0] = '\0';
    strcpy(options.access_log, "off");
    strcpy(options.store, strncmp(sim_env->store, "file:", 5) == 0
                              ? sim_env->store
                              : "s3://bucket");
    strcpy(options.cache_dir, sim_env->path);
    options.workers = 3;
    options.cache_memory = 256u << 10;
    options.cache_disk = 256u << 10;
    while (rc != RAMET_OK && !sim_env->is_to_end) {
        rc = ramet_server_start(&options, &server, &err);
        sim_trace("a server begins: %s %s", ramet_rc_name(rc), err.text);
        if (rc != RAMET_OK)
            sim_sleep_ns(LOOK_NS);
    }
    while (!sim_env->is_to_end)
        sim_sleep_ns(LOOK_NS);
    if (rc == RAMET_OK)
        ramet_server_stop(server);
}

/* ---- where it listens -------------------------------------------------------- */

enum ramet_rc
ramet_listen_parse(const char *text, struct ramet_listen_address *out,
                   struct ramet_err *err)
{
    (void)text;
    (void)err;
    memset(out, 0, sizeof(*out));
    out->loopback = true;
    return RAMET_OK;
}

enum ramet_rc
ramet_listen_open(const struct ramet_listen_address *address, int *out_fd,
                  unsigned *out_port, struct ramet_err *err)
{
    (void)address;
    (void)err;
    *out_fd = -1;
    *out_port = 80;
    return RAMET_OK;
}

/* ---- its bucket -------------------------------------------------------------- */

enum ramet_rc
ramet_s3store_open(const char *root, const char *query,
                   const struct ramet_s3_options *options,
                   struct ramet_objstore **out_store, struct ramet_err *err)
{
    (void)root;
    (void)query;
    (void)options;
    (void)err;
    *out_store = sim_env->bucket;
    return RAMET_OK;
}

bool
ramet_s3store_clock_ahead(struct ramet_objstore *store, int64_t *out_ms)
{
    (void)store;
    (void)out_ms;
    return false;
}

/* ---- the C library ------------------------------------------------------------- */

int
clock_gettime(clockid_t clock, struct timespec *out)
{
    const struct ramet_os *const os = sim_env->os;
    const uint64_t ns = clock == CLOCK_REALTIME
                            ? os->wall_ms(os->ctx) * UINT64_C(1000000)
                            : os->mono_ns(os->ctx);

    out->tv_sec = (time_t)(ns / 1000000000u);
    out->tv_nsec = (long)(ns % 1000000000u);
    return 0;
}

int
usleep(useconds_t us)
{
    sim_sleep_ns((uint64_t)us * 1000);
    return 0;
}

int
shutdown(int fd, int how)
{
    (void)how;
    sim_httpd_shut(fd);
    return 0;
}
