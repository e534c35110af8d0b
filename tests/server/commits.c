/*
 * commits.c - commit as fast as a server lets one, and say how fast that was.
 *
 *   commits PORT CLIENTS SECONDS
 *
 * Each client has a volume of its own and commits one page at a time.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/thread.h"
#include "tests/server/fixture.h"

#define CLIENTS_MAX 64u

struct client {
    unsigned port, index;
    double seconds;
    uint64_t commits;
    struct ramet_thread thread;
};

static double
now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *
run_client(void *arg)
{
    struct client *c = arg;
    struct ramet_remote *remote = fixture_connect_port(c->port, NULL);
    const double until = now() + c->seconds;
    struct model model;

    model_init(&model, remote->store, c->index + 1);
    model_write(&model, 1, 64);
    while (now() < until) {
        model_write_random(&model, 1);
        c->commits++;
    }
    model_done(&model);
    remote->ops->close(remote);
    return NULL;
}

int
main(int argc, char **argv)
{
    static struct client clients[CLIENTS_MAX];
    const unsigned count = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
    uint64_t commits = 0;
    struct ramet_err err;
    double began;

    if (count == 0 || count > CLIENTS_MAX) {
        (void)fprintf(stderr, "usage: commits PORT CLIENTS SECONDS\n");
        return 2;
    }
    began = now();
    for (unsigned i = 0; i < count; i++) {
        clients[i] = (struct client){.port = (unsigned)atoi(argv[1]),
                                     .index = i,
                                     .seconds = atof(argv[3])};
        if (ramet_thread_start(&clients[i].thread, "commits", run_client,
                               &clients[i], &err) != RAMET_OK)
            return 1;
    }
    for (unsigned i = 0; i < count; i++) {
        ramet_thread_join(&clients[i].thread);
        commits += clients[i].commits;
    }
    (void)printf("{\"commits\": %llu, \"seconds\": %.3f}\n",
                 (unsigned long long)commits, now() - began);
    return 0;
}
