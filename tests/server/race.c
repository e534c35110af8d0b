/*
 * race.c - many writers, several servers, one store, and everything that can
 * go wrong on the way: conflicts, servers killed and restarted, answers lost
 * after they took effect.
 *
 *   race SERVE COMMITS [SEED] [s3]
 *
 * Three servers work on one directory or, with "s3", on one bucket, that the
 * environment names (docs/testing.md; 77 where it does not). Each is reached through a proxy in this
 * process that now and then swallows an answer and hangs up. Sixteen writers,
 * two of them straight on the store, commit to one volume until there are
 * COMMITS commits; meanwhile one server after the other gets SIGKILL and is
 * started again. A writer that got no answer sends the very same bytes again,
 * to whichever server, until it knows.
 *
 * Then, from the store alone: LSNs without a gap, every acknowledged
 * commit in its place, once, and none but those; every page at every LSN as
 * the model says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "metastore/catalog.h"
#include "pagestore/s3/s3store.h"
#include "tests/server/fixture.h"
#include "tests/support/point.h"

#define SERVERS 3
#define WRITERS 16
#define DIRECT_WRITERS 2
#define PAGES 64u
#define PAGE_SIZE 512u
#define SWALLOW_ONE_IN 25u
#define SKIPPED 77 /* for ctest */

struct acked {
    struct ramet_cid id; /* nil: nobody said so */
    uint64_t first_content;
    struct ramet_pageset changed;
};

struct served {
    pid_t pid;
    unsigned port;       /* the server's */
    unsigned proxy_port; /* what writers know */
    int listen_fd;
    struct ramet_thread proxy;
};

static const char *serve_program;
static char data_dir[64];
static char bucket[256]; /* "s3://bucket/race"; "": data_dir it is */
static struct served servers[SERVERS];
static struct ramet_vid volume;
static uint64_t wanted;
static _Atomic bool over;
static _Atomic uint64_t committed, conflicts, unknowns, unreachables, kills,
    swallowed, contents;

static struct ramet_mutex acked_lock = RAMET_MUTEX_INIT;
static struct acked *acked; /* [lsn] */
static uint64_t acked_size;

static void
die(const char *what)
{
    (void)fprintf(stderr, "race: %s: %s\n", what, strerror(errno));
    abort();
}

static struct ramet_objstore *
open_store(void)
{
    const struct ramet_s3_options options = {.configured = true};
    struct ramet_objstore *store;
    struct ramet_err err;
    enum ramet_rc rc;

    if (bucket[0] != '\0')
        rc = ramet_s3store_open(bucket, "", &options, &store, &err);
    else
        rc = ramet_dirstore_open(NULL, data_dir, false, &store, &err);
    if (rc != RAMET_OK) {
        (void)fprintf(stderr, "race: %s\n", err.text);
        abort();
    }
    return store;
}

/* ---- servers ------------------------------------------------------------------- */

static int
listen_anywhere(unsigned *out_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof(in);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0 ||
        listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&in, &len) != 0)
        die("listen");
    *out_port = ntohs(in.sin_port);
    return fd;
}

/* One of those that the system gives to nobody who asks for any: else another process
 * may have it while its server is dead. */
static unsigned
choose_port(unsigned *seed)
{
    for (;;) {
        const unsigned port = 20000 + (unsigned)rand_r(seed) % 12000;
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port)};
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool is_free;

        if (fd < 0)
            die("socket");
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        is_free = bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0;
        (void)close(fd);
        if (is_free)
            return port;
    }
}

static void
die_of_server(pid_t pid)
{
    int status = 0;

    (void)waitpid(pid, &status, 0);
    (void)fprintf(stderr, "race: a server did not start: %s %d\n",
                  WIFSIGNALED(status) ? "signal" : "exit status",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    abort();
}

static void
spawn(struct served *s)
{
    char listen_text[64];
    int ready[2];
    char line[128];
    ssize_t n;

    (void)snprintf(listen_text, sizeof(listen_text), "127.0.0.1:%u", s->port);
    if (pipe(ready) != 0)
        die("pipe");
    s->pid = fork();
    if (s->pid < 0)
        die("fork");
    if (s->pid == 0) {
        (void)dup2(ready[1], STDOUT_FILENO);
        (void)close(ready[0]);
        (void)execl(serve_program, serve_program, "--listen", listen_text,
                    bucket[0] != '\0' ? "--store" : "--data",
                    bucket[0] != '\0' ? bucket : data_dir, "--access-log",
                    "off", (char *)NULL);
        perror(serve_program);
        _exit(127);
    }
    (void)close(ready[1]);
    n = read(ready[0], line, sizeof(line) - 1);
    if (n <= 0)
        die_of_server(s->pid);
    (void)close(ready[0]);
}

static void *
kill_and_restart(void *arg)
{
    unsigned seed = *(unsigned *)arg;

    while (!atomic_load(&over)) {
        struct served *s = &servers[(unsigned)rand_r(&seed) % SERVERS];

        (void)usleep(50000 + (useconds_t)rand_r(&seed) % 400000);
        (void)kill(s->pid, SIGKILL);
        (void)waitpid(s->pid, NULL, 0);
        atomic_fetch_add(&kills, 1);
        (void)usleep((useconds_t)rand_r(&seed) % 50000);
        spawn(s);
    }
    return NULL;
}

/* ---- the proxy ------------------------------------------------------------------ */

struct relay {
    int client;
    unsigned port;
    unsigned seed;
};

static int
connect_to(unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static bool
copy_some(int from, int to)
{
    char buf[65536];
    const ssize_t n = recv(from, buf, sizeof(buf), 0);

    for (ssize_t done = 0; done < n;) {
        const ssize_t sent =
            send(to, buf + done, (size_t)(n - done), MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        done += sent;
    }
    return n > 0;
}

/* Whether the server's answer that begins here is to get lost. */
static bool
swallow(struct relay *relay, bool *answering)
{
    if (*answering)
        return false;
    *answering = true;
    if ((unsigned)rand_r(&relay->seed) % SWALLOW_ONE_IN != 0)
        return false;
    atomic_fetch_add(&swallowed, 1);
    return true;
}

static void *
run_relay(void *arg)
{
    struct relay *relay = arg;
    const int server = connect_to(relay->port);
    bool answering = false;

    while (server >= 0) {
        struct pollfd fds[2] = {{relay->client, POLLIN, 0},
                                {server, POLLIN, 0}};

        if (poll(fds, 2, 20000) <= 0)
            break;
        if (fds[0].revents != 0) {
            answering = false;
            if (!copy_some(relay->client, server))
                break;
        }
        if (fds[1].revents != 0 &&
            (swallow(relay, &answering) || !copy_some(server, relay->client)))
            break;
    }
    if (server >= 0)
        (void)close(server);
    (void)close(relay->client);
    free(relay);
    return NULL;
}

static void *
run_proxy(void *arg)
{
    struct served *s = arg;
    unsigned seed = s->proxy_port;

    for (;;) {
        const int client = accept(s->listen_fd, NULL, NULL);
        struct relay *relay;
        pthread_t thread;

        if (client < 0)
            return NULL; /* shut down */
        relay = malloc(sizeof(*relay));
        if (relay == NULL)
            die("malloc");
        *relay = (struct relay){client, s->port, (unsigned)rand_r(&seed)};
        if (pthread_create(&thread, NULL, run_relay, relay) != 0)
            die("thread");
        (void)pthread_detach(thread);
    }
}

/* ---- writers --------------------------------------------------------------------- */

struct writer {
    unsigned index;
    unsigned seed;
    struct ramet_remote *remotes[SERVERS]; /* NULL: straight */
    struct ramet_objstore *direct;
    struct model model; /* only to make commits with */
    struct ramet_thread thread;
};

/* Another server, and nothing remembered of the last one. */
static void
choose_store(struct writer *w)
{
    w->model.store =
        w->direct != NULL
            ? w->direct
            : w->remotes[(unsigned)rand_r(&w->seed) % SERVERS]->store;
    model_reopen(&w->model);
}

static void
note_acked(uint64_t lsn, const struct ramet_cid *id, uint64_t first_content,
           const struct model_change *change)
{
    ramet_mutex_lock(&acked_lock);
    if (lsn >= acked_size) {
        const uint64_t size = lsn * 2 + 16;

        acked = realloc(acked, size * sizeof(*acked));
        if (acked == NULL)
            die("realloc");
        memset(acked + acked_size, 0, (size - acked_size) * sizeof(*acked));
        acked_size = size;
    }
    if (!ramet_id_is_nil(&acked[lsn].id.id)) {
        (void)fprintf(stderr,
                      "race: two commits were told that they are LSN "
                      "%" PRIu64 "\n",
                      lsn);
        abort();
    }
    acked[lsn].id = *id;
    acked[lsn].first_content = first_content;
    if (ramet_pageset_copy(&acked[lsn].changed, &change->changed) != RAMET_OK)
        die("pageset");
    ramet_mutex_unlock(&acked_lock);
    atomic_fetch_add(&committed, 1);
}

/* Until it is in, or somebody else is. The same bytes each time. */
static bool
settle(struct writer *w, const struct ramet_buf *object)
{
    for (;;) {
        struct ramet_head winner;
        struct ramet_err err;
        const enum ramet_rc rc = ramet_history_append(
            w->model.history, object->data, object->len, &winner, &err);

        if (rc == RAMET_OK)
            return true;
        if (rc == RAMET_ECONFLICT) {
            atomic_fetch_add(&conflicts, 1);
            return false;
        }
        if (rc == RAMET_EUNKNOWN)
            atomic_fetch_add(&unknowns, 1);
        else if (rc == RAMET_EUNREACHABLE || rc == RAMET_ETIMEOUT)
            atomic_fetch_add(&unreachables, 1);
        else {
            (void)fprintf(stderr, "race: append: %s\n", err.text);
            abort();
        }
        choose_store(w);
    }
}

static void
try_commit(struct writer *w)
{
    const struct ramet_cid id = model_new_cid();
    const uint32_t count = 1 + (uint32_t)rand_r(&w->seed) % 4;
    const uint64_t first = atomic_fetch_add(&contents, count) + 1;
    struct model_change change = {
        .page_size = PAGE_SIZE, .least = PAGES, .page_count = PAGES};
    struct ramet_head base;
    struct ramet_buf object;
    struct ramet_err err;
    enum ramet_rc rc;

    ramet_pageset_init(&change.changed);
    while (ramet_pageset_count(&change.changed) < count)
        (void)!ramet_pageset_add(&change.changed,
                                 1 + (uint32_t)rand_r(&w->seed) % PAGES);
    ramet_buf_init(&object, 1u << 20);
    rc = ramet_history_newest(w->model.history, &base, &err);
    if (rc == RAMET_OK && base.lsn == 0)
        change.least = 0;
    if (rc == RAMET_OK)
        rc = model_encode(&w->model, &base, &change, &id, first, &object, &err);
    if (rc == RAMET_OK) {
        if (settle(w, &object))
            note_acked(base.lsn + 1, &id, first, &change);
    } else if (rc == RAMET_EUNREACHABLE || rc == RAMET_ETIMEOUT ||
               rc == RAMET_EUNKNOWN) {
        atomic_fetch_add(&unreachables, 1);
        choose_store(w);
    } else {
        (void)fprintf(stderr, "race: %s: %s\n", ramet_rc_name(rc), err.text);
        abort();
    }
    ramet_buf_done(&object);
    ramet_pageset_done(&change.changed);
}

static void *
run_writer(void *arg)
{
    struct writer *w = arg;

    for (unsigned i = 0; atomic_load(&committed) < wanted; i++) {
        if (i % 16 == 15)
            choose_store(w);
        try_commit(w);
        /* Straight on the store one is faster than all the others. */
        if (w->direct != NULL)
            (void)usleep((useconds_t)rand_r(&w->seed) % 20000);
    }
    return NULL;
}

static void
start_writer(struct writer *w, unsigned index, unsigned seed)
{
    struct ramet_err err;

    memset(w, 0, sizeof(*w));
    w->index = index;
    w->seed = seed * 100 + index;
    if (index < DIRECT_WRITERS) {
        w->direct = open_store();
    } else {
        for (unsigned i = 0; i < SERVERS; i++)
            w->remotes[i] = fixture_connect_port(servers[i].proxy_port, NULL);
    }
    model_init(&w->model, w->direct != NULL ? w->direct : w->remotes[0]->store,
               seed);
    w->model.volume = volume;
    choose_store(w);
    if (ramet_thread_start(&w->thread, "writer", run_writer, w, &err) !=
        RAMET_OK)
        die(err.text);
}

static void
end_writer(struct writer *w)
{
    ramet_thread_join(&w->thread);
    model_done(&w->model);
    ramet_objstore_close(w->direct);
    for (unsigned i = 0; i < SERVERS && w->direct == NULL; i++)
        w->remotes[i]->ops->close(w->remotes[i]);
}

/* ---- afterwards -------------------------------------------------------------------- */

struct check {
    const uint64_t *pages; /* [pgno]: number of the content */
    uint64_t lsn;
    unsigned seen;
};

static enum ramet_rc
check_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct check *check = ctx;
    uint8_t want[PAGE_SIZE];

    model_fill(want, PAGE_SIZE, check->pages[pgno]);
    check->seen++;
    if (memcmp(page, want, PAGE_SIZE) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64 ": page %" PRIu32
                          " is not what was committed",
                          check->lsn, pgno);
    return RAMET_OK;
}

static void
check_history(struct ramet_history *history)
{
    uint64_t pages[PAGES + 1] = {0};
    uint32_t pgnos[PAGES];
    struct ramet_err err = {.text = "?"};
    struct ramet_head newest;

    for (uint32_t i = 0; i < PAGES; i++)
        pgnos[i] = i + 1;
    if (ramet_history_newest(history, &newest, &err) != RAMET_OK)
        die(err.text);
    if (newest.lsn != atomic_load(&committed)) {
        (void)fprintf(stderr,
                      "race: LSN %" PRIu64 " after %" PRIu64
                      " acknowledged commits\n",
                      newest.lsn, atomic_load(&committed));
        abort();
    }
    for (uint64_t lsn = 1; lsn <= newest.lsn; lsn++) {
        struct check check = {.pages = pages, .lsn = lsn};
        struct ramet_head head;
        uint64_t content = acked[lsn].first_content;
        uint32_t pgno = 0;

        if (ramet_history_head(history, lsn, &head, &err) != RAMET_OK)
            die(err.text);
        if (ramet_id_compare(&head.id.id, &acked[lsn].id.id) != 0) {
            (void)fprintf(stderr,
                          "race: LSN %" PRIu64
                          " is not the commit that was acknowledged\n",
                          lsn);
            abort();
        }
        while ((pgno = ramet_pageset_next(&acked[lsn].changed, pgno)) != 0)
            pages[pgno] = content++;
        if (ramet_history_read_pages(history, point_at(history, lsn), pgnos,
                                     PAGES, false, check_page, &check,
                                     &err) != RAMET_OK)
            die(err.text);
        if (check.seen != PAGES)
            die("pages are missing");
    }
}

static bool
find_bucket(void)
{
    const char *const name = getenv("RAMET_TEST_S3_BUCKET");

    if (getenv("RAMET_TEST_S3") == NULL || name == NULL) {
        (void)printf("SKIPPED: there is no S3 here; './dev s3 COMMAND' brings "
                     "one\n");
        return false;
    }
    (void)snprintf(bucket, sizeof(bucket), "s3://%s/race", name);
    return true;
}

int
main(int argc, char **argv)
{
    static struct writer writers[WRITERS];
    unsigned seed = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
    struct ramet_thread killer = {.running = false};
    struct ramet_objstore *store;
    struct ramet_history *history;
    struct ramet_err err;
    char command[128];
    unsigned port_seed = (unsigned)getpid();
    time_t began;

    if (argc < 3) {
        (void)fprintf(stderr, "usage: race SERVE COMMITS [SEED] [s3]\n");
        return 2;
    }
    if (argc > 4 && !find_bucket())
        return SKIPPED;
    serve_program = argv[1];
    wanted = (uint64_t)atoll(argv[2]);
    (void)printf("seed %u\n", seed);
    (void)fflush(stdout);
    (void)signal(SIGPIPE, SIG_IGN);
    strcpy(data_dir, "/tmp/ramet-race-XXXXXX");
    if (mkdtemp(data_dir) == NULL || ramet_id_new(&volume.id, &err) != RAMET_OK)
        die("setup");
    began = time(NULL);
    for (unsigned i = 0; i < SERVERS; i++) {
        servers[i].port = choose_port(&port_seed);
        spawn(&servers[i]);
        servers[i].listen_fd = listen_anywhere(&servers[i].proxy_port);
        if (ramet_thread_start(&servers[i].proxy, "proxy", run_proxy,
                               &servers[i], &err) != RAMET_OK)
            die(err.text);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        start_writer(&writers[i], i, seed);
    if (ramet_thread_start(&killer, "killer", kill_and_restart, &seed, &err) !=
        RAMET_OK)
        die(err.text);
    for (unsigned i = 0; i < WRITERS; i++)
        end_writer(&writers[i]);
    atomic_store(&over, true);
    ramet_thread_join(&killer);
    for (unsigned i = 0; i < SERVERS; i++) {
        (void)kill(servers[i].pid, SIGTERM);
        (void)waitpid(servers[i].pid, NULL, 0);
        (void)shutdown(servers[i].listen_fd, SHUT_RDWR);
        ramet_thread_join(&servers[i].proxy);
        (void)close(servers[i].listen_fd);
    }
    store = open_store();
    if (ramet_history_open(store, &volume, NULL, &history, &err) != RAMET_OK)
        die(err.text);
    check_history(history);
    ramet_history_close(history);
    if (bucket[0] != '\0' &&
        ramet_catalog_delete(store, &volume, &err) != RAMET_OK)
        die(err.text);
    ramet_objstore_close(store);
    (void)printf("%" PRIu64 " commits in %lld s: %" PRIu64
                 " conflicts, %" PRIu64 " unknown, %" PRIu64
                 " out of reach, %" PRIu64 " answers swallowed, %" PRIu64
                 " servers killed\n",
                 atomic_load(&committed), (long long)(time(NULL) - began),
                 atomic_load(&conflicts), atomic_load(&unknowns),
                 atomic_load(&unreachables), atomic_load(&swallowed),
                 atomic_load(&kills));
    for (uint64_t lsn = 0; lsn < acked_size; lsn++)
        ramet_pageset_done(&acked[lsn].changed);
    free(acked);
    (void)snprintf(command, sizeof(command), "rm -rf %s", data_dir);
    return system(command) == 0 ? 0 : 1;
}
