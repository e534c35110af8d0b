/*
 * bench_replica.c - what the store's hot path costs: pin, read, commit.
 *
 *   bench_replica [folder]
 *
 * Prints nanoseconds of wall time and of CPU for each, the median of seven
 * rounds. Not a test: figures are for people.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "client/store/store.h"

#define PAGE 4096u
#define PAGES 20000u
#define ROUNDS 7

static struct ramet_err err;

static void
must(enum ramet_rc rc, const char *what)
{
    if (rc == RAMET_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, err.text);
    exit(1);
}

static uint64_t
now_ns(clockid_t clock)
{
    struct timespec at;

    clock_gettime(clock, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static int
compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

struct bench {
    struct ramet_session *session;
    uint8_t page[PAGE];
    uint64_t seed;
};

static uint32_t
random_page(struct bench *b)
{
    b->seed = b->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)((b->seed >> 33) % (PAGES - 1)) + 1;
}

static void
pin_once(struct bench *b)
{
    must(ramet_session_pin(b->session, &err), "pin");
    ramet_session_unpin(b->session);
}

static void
read_once(struct bench *b)
{
    size_t got;

    must(ramet_session_read(b->session, (uint64_t)random_page(b) * PAGE,
                            b->page, PAGE, &got, &err),
         "read");
}

static void
commit(struct bench *b, unsigned pages, bool sync)
{
    must(ramet_session_pin(b->session, &err), "pin");
    must(ramet_session_reserve(b->session, &err), "reserve");
    for (unsigned i = 0; i < pages; i++) {
        const uint64_t at = i == 0 ? 0 : random_page(b);

        b->page[200]++;
        must(ramet_session_write(b->session, at * PAGE, b->page, PAGE, &err),
             "write");
    }
    must(ramet_session_prepare(b->session, NULL, &err), "prepare");
    if (sync)
        must(ramet_session_sync(b->session, &err), "sync");
    ramet_session_publish(b->session);
    ramet_session_release(b->session);
    ramet_session_unpin(b->session);
}

static void
commit_one(struct bench *b)
{
    commit(b, 1, false);
}

static void
commit_two(struct bench *b)
{
    commit(b, 2, false);
}

static void
commit_durable(struct bench *b)
{
    commit(b, 2, true);
}

static void
run(struct bench *b, const char *name, void (*once)(struct bench *),
    unsigned count)
{
    double wall[ROUNDS];
    double cpu[ROUNDS];

    for (int r = 0; r < ROUNDS; r++) {
        const uint64_t wall_0 = now_ns(CLOCK_MONOTONIC);
        const uint64_t cpu_0 = now_ns(CLOCK_THREAD_CPUTIME_ID);

        for (unsigned i = 0; i < count; i++)
            once(b);
        cpu[r] = (double)(now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_0) / count;
        wall[r] = (double)(now_ns(CLOCK_MONOTONIC) - wall_0) / count;
    }
    qsort(wall, ROUNDS, sizeof(wall[0]), compare);
    qsort(cpu, ROUNDS, sizeof(cpu[0]), compare);
    printf("%-28s %10.0f ns wall %10.0f ns cpu (best %.0f)\n", name,
           wall[ROUNDS / 2], cpu[ROUNDS / 2], cpu[0]);
}

static void
fill(struct bench *b)
{
    must(ramet_session_pin(b->session, &err), "pin");
    must(ramet_session_reserve(b->session, &err), "reserve");
    for (uint32_t i = 0; i < PAGES; i++) {
        memset(b->page, (int)i, PAGE);
        memcpy(b->page, "SQLite format 3\0\x10\x00", 18);
        must(ramet_session_write(b->session, (uint64_t)i * PAGE, b->page, PAGE,
                                 &err),
             "write");
    }
    must(ramet_session_prepare(b->session, NULL, &err), "prepare");
    ramet_session_publish(b->session);
    ramet_session_release(b->session);
    ramet_session_unpin(b->session);
}

int
main(int argc, char **argv)
{
    const struct ramet_replica_options options = {.flags = RAMET_OPEN_CREATE};
    struct bench b = {.seed = 1};
    char path[512];

    snprintf(path, sizeof(path), "%s/bench-%ld.db", argc > 1 ? argv[1] : "/tmp",
             (long)getpid());
    must(ramet_session_open(path, &options, &b.session, &err), "open");
    fill(&b);
    run(&b, "pin + unpin", pin_once, 1000000);
    must(ramet_session_pin(b.session, &err), "pin");
    run(&b, "read from the log", read_once, 100000);
    ramet_session_unpin(b.session);
    must(ramet_session_checkpoint(b.session, true, &err), "checkpoint");
    must(ramet_session_pin(b.session, &err), "pin");
    run(&b, "read from the base", read_once, 100000);
    ramet_session_unpin(b.session);
    run(&b, "commit of 1 page, NORMAL", commit_one, 20000);
    run(&b, "commit of 2 pages, NORMAL", commit_two, 20000);
    run(&b, "commit of 2 pages, FULL", commit_durable, 200);
    ramet_session_close(b.session);
    must(ramet_replica_delete(NULL, path, &err), "delete");
    return 0;
}
