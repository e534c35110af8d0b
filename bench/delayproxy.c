/*
 * delayproxy.c - a link with distance: a TCP proxy on loopback that holds every
 * byte for a fixed time each way, lets no more than so many through a second
 * in each direction, and counts them. What a benchmark measures through it
 * depends on the link's figures, not on this machine's network.
 *
 *     delayproxy LISTEN TARGET ONE_WAY_MS MBIT [STATS [TRACE]]
 *
 * Ports on 127.0.0.1; LISTEN 0 takes any, and "listening PORT" says which. MBIT
 * 0: no cap. STATS is a file, rewritten on SIGUSR1 and at the end (SIGTERM,
 * SIGINT): {"conns", "up", "down", "up_chunks", "down_chunks"}, up being
 * from the client to the target. TRACE is a file, written at the end: a line
 * "MS UP DOWN" for each 10 ms in which bytes began to pass the link: where a pipe
 * was full, and where it ran empty.
 *
 * One thread, one ppoll. What is kept:
 *   (1) a byte leaves ONE_WAY_MS after it has passed the link, never earlier;
 *       the first of a connection waits for a round trip more, as those after
 *       a SYN and its answer do;
 *   (2) a direction is one link for all connections: a chunk passes when the one
 *       before it has, whoever sent it;
 *   (3) nothing is read while the link is booked for longer than BOOKED_NS, or
 *       more than QUEUE_MAX wait for a peer: then the sender's own buffers
 *       fill, and several senders get equal shares;
 *   (4) the end of a stream travels behind its last byte. A reset does not: it
 *       ends both sides at once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_SIZE 16384u
#define QUEUE_MAX (16u << 20)
#define BOOKED_NS INT64_C(20000000)
#define NS_PER_S INT64_C(1000000000)
#define SLOT_NS INT64_C(10000000) /* of the trace */
#define SLOTS_MAX 60000u /* ten minutes: what comes later is not traced */
#define CONNS_MAX 2048u
#define UP 0
#define DOWN 1

/* A piece of a stream on its way; one of no bytes is the end of the stream. */
struct chunk {
    struct chunk *next;
    int64_t due_ns;
    size_t size;
    size_t sent;
    uint8_t bytes[];
};

/* One direction of one connection. */
struct stream {
    int from;
    int to;
    struct chunk *first;
    struct chunk *last;
    size_t queued;
    bool is_read; /* to its end */
    bool is_sent; /* and that has been passed on */
    bool is_full; /* the peer took less than it was given */
};

struct conn {
    struct stream streams[2];
    int64_t open_ns; /* a round trip after it was accepted */
};

/* One direction of the link, invariant (2). */
struct link {
    int64_t free_ns;
    uint64_t bytes;
    uint64_t chunks;
};

static struct conn *conns[CONNS_MAX];
static size_t conn_count;
static size_t first_turn; /* whose turn it is to be read first */
static uint64_t conns_seen;
static struct link links[2];
static uint32_t traced[SLOTS_MAX][2]; /* bytes */
static int64_t began_ns;
static int64_t one_way_ns;
static double ns_per_byte;
static struct sockaddr_in target;
static volatile sig_atomic_t stats_wanted;
static volatile sig_atomic_t stopped;

static void
die(const char *what)
{
    fprintf(stderr, "delayproxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int64_t
later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- counters ------------------------------------------------------------ */

/* The file is whole at any moment: what reads it may come at any. */
static void
write_stats(const char *path)
{
    char part[4096];
    FILE *file;

    if (path == NULL)
        return;
    snprintf(part, sizeof(part), "%s.part", path);
    file = fopen(part, "w");
    if (file == NULL)
        die(part);
    fprintf(file,
            "{\"conns\": %" PRIu64 ", \"up\": %" PRIu64 ", \"down\": %" PRIu64
            ", \"up_chunks\": %" PRIu64 ", \"down_chunks\": %" PRIu64 "}\n",
            conns_seen, links[UP].bytes, links[DOWN].bytes, links[UP].chunks,
            links[DOWN].chunks);
    if (fclose(file) != 0 || rename(part, path) != 0)
        die(path);
}

/* Bytes that begin to pass at `at`. */
static void
note_trace(int direction, size_t size, int64_t at)
{
    const int64_t slot = (at - began_ns) / SLOT_NS;

    if (slot >= 0 && slot < (int64_t)SLOTS_MAX)
        traced[slot][direction] += (uint32_t)size;
}

static void
write_trace(const char *path)
{
    FILE *file;

    if (path == NULL)
        return;
    file = fopen(path, "w");
    if (file == NULL)
        die(path);
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (traced[i][UP] + traced[i][DOWN] > 0)
            fprintf(file, "%u %" PRIu32 " %" PRIu32 "\n", i * 10, traced[i][UP],
                    traced[i][DOWN]);
    if (fclose(file) != 0)
        die(path);
}

/* ---- streams ------------------------------------------------------------- */

static void
drop_chunks(struct stream *stream)
{
    while (stream->first != NULL) {
        struct chunk *next = stream->first->next;

        free(stream->first);
        stream->first = next;
    }
}

/* The time at which a chunk read now will have passed the link. */
static int64_t
book(int direction, size_t size, int64_t now, int64_t open_ns)
{
    struct link *link = &links[direction];
    const int64_t begins_ns = later(link->free_ns, later(now, open_ns));

    note_trace(direction, size, begins_ns);
    link->free_ns = begins_ns + (int64_t)((double)size * ns_per_byte);
    link->bytes += size;
    link->chunks += size > 0;
    return link->free_ns;
}

static bool
may_read(const struct stream *stream, int direction, int64_t now)
{
    return !stream->is_read && stream->queued < QUEUE_MAX &&
           links[direction].free_ns <= now + BOOKED_NS;
}

/* Take what has come, a chunk at most. False: the connection is lost. */
static bool
take_in(struct conn *conn, int direction, int64_t now)
{
    static uint8_t bytes[CHUNK_SIZE];
    struct stream *stream = &conn->streams[direction];
    struct chunk *chunk;
    ssize_t n;

    if (!may_read(stream, direction, now))
        return true;
    n = recv(stream->from, bytes, sizeof(bytes), 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    chunk = malloc(sizeof(*chunk) + (size_t)n);
    if (chunk == NULL)
        die("memory");
    memcpy(chunk->bytes, bytes, (size_t)n);
    chunk->next = NULL;
    chunk->size = (size_t)n;
    chunk->sent = 0;
    chunk->due_ns =
        book(direction, chunk->size, now, conn->open_ns) + one_way_ns;
    if (stream->first == NULL)
        stream->first = chunk;
    else
        stream->last->next = chunk;
    stream->last = chunk;
    stream->queued += chunk->size;
    stream->is_read = n == 0;
    return true;
}

/* Pass on what is due, as far as the peer takes it. False: it is lost. */
static bool
give_out(struct stream *stream, int64_t now)
{
    stream->is_full = false;
    while (stream->first != NULL && stream->first->due_ns <= now) {
        struct chunk *chunk = stream->first;

        if (chunk->size == 0) {
            stream->is_sent = true; /* invariant (4) */
            shutdown(stream->to, SHUT_WR);
        }
        while (chunk->sent < chunk->size) {
            const ssize_t n = send(stream->to, chunk->bytes + chunk->sent,
                                   chunk->size - chunk->sent, MSG_NOSIGNAL);
            if (n < 0) {
                stream->is_full = errno == EAGAIN;
                return errno == EAGAIN || errno == EINTR;
            }
            chunk->sent += (size_t)n;
        }
        stream->queued -= chunk->size;
        stream->first = chunk->next;
        free(chunk);
    }
    return true;
}

/* ---- connections --------------------------------------------------------- */

static void
make_prompt(int fd)
{
    const int on = 1;

    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void
accept_conn(int listener)
{
    const int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct conn *conn;
    int server;

    if (client < 0)
        return; /* gone again, or no descriptor is free: the next turn's */
    server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    conn = calloc(1, sizeof(*conn));
    if (server < 0 || conn == NULL)
        die("a connection");
    if (conn_count == CONNS_MAX ||
        connect(server, (const struct sockaddr *)&target, sizeof(target))) {
        close(server); /* the client sees it closed, as of a dead server */
        close(client);
        free(conn);
        return;
    }
    make_prompt(client);
    make_prompt(server);
    conn->streams[UP] = (struct stream){.from = client, .to = server};
    conn->streams[DOWN] = (struct stream){.from = server, .to = client};
    conn->open_ns = now_ns() + 2 * one_way_ns;
    conns[conn_count++] = conn;
    conns_seen++;
}

static void
close_conn(size_t index)
{
    struct conn *conn = conns[index];

    assert(index < conn_count);
    for (int d = UP; d <= DOWN; d++) {
        close(conn->streams[d].from);
        drop_chunks(&conn->streams[d]);
    }
    free(conn);
    conns[index] = conns[--conn_count];
}

/* Do for one connection what can be done now. False: it has ended. */
static bool
serve(struct conn *conn)
{
    for (int d = UP; d <= DOWN; d++) {
        if (!take_in(conn, d, now_ns()) ||
            !give_out(&conn->streams[d], now_ns()))
            return false;
    }
    return !conn->streams[UP].is_sent || !conn->streams[DOWN].is_sent;
}

/* Each connection once, another one first each time, invariant (3). */
static void
serve_all(void)
{
    const size_t count = conn_count;
    bool ended[CONNS_MAX] = {false};

    for (size_t i = 0; i < count; i++) {
        const size_t turn = (first_turn + i) % count;

        ended[turn] = !serve(conns[turn]);
    }
    for (size_t i = count; i-- > 0;) {
        if (ended[i])
            close_conn(i);
    }
    first_turn++;
}

/* ---- waiting ------------------------------------------------------------- */

/* What one stream waits for: bytes, room, or a time, which is returned. */
static int64_t
wait_of(const struct stream *stream, int direction, int64_t now,
        struct pollfd *from, struct pollfd *to)
{
    int64_t wake = INT64_MAX;

    if (may_read(stream, direction, now))
        from->events |= POLLIN;
    else if (!stream->is_read && stream->queued < QUEUE_MAX)
        wake = links[direction].free_ns - BOOKED_NS;
    if (stream->is_full)
        to->events |= POLLOUT;
    else if (stream->first != NULL && stream->first->due_ns < wake)
        wake = stream->first->due_ns;
    return wake;
}

/*
 * A descriptor without an event to wait for is left out (its fd negated), or
 * the hang-up of a peer whose bytes are still on their way would spin.
 */
static void
wait_for_work(int listener, const sigset_t *unblocked)
{
    static struct pollfd polls[1 + 2 * CONNS_MAX];
    const int64_t now = now_ns();
    int64_t wake = INT64_MAX;
    struct timespec wait;

    polls[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (size_t i = 0; i < conn_count; i++) {
        const struct conn *conn = conns[i];
        struct pollfd *ends = &polls[1 + 2 * i];

        ends[UP] = (struct pollfd){.fd = conn->streams[UP].from};
        ends[DOWN] = (struct pollfd){.fd = conn->streams[DOWN].from};
        for (int d = UP; d <= DOWN; d++) {
            const int64_t at =
                wait_of(&conn->streams[d], d, now, &ends[d], &ends[1 - d]);
            wake = at < wake ? at : wake;
        }
        for (int d = UP; d <= DOWN; d++) {
            if (ends[d].events == 0)
                ends[d].fd = -1;
        }
    }
    wait.tv_sec = later(0, wake - now) / NS_PER_S;
    wait.tv_nsec = later(0, wake - now) % NS_PER_S;
    if (ppoll(polls, 1 + 2 * conn_count, wake == INT64_MAX ? NULL : &wait,
              unblocked) > 0 &&
        (polls[0].revents & POLLIN) != 0)
        accept_conn(listener);
}

/* ---- the program --------------------------------------------------------- */

static int
listen_on(uint16_t port)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons(port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(name);
    const int on = 1;
    const int fd =
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&name, size) != 0 || listen(fd, 512) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &size) != 0)
        die("listen");
    printf("listening %u\n", ntohs(name.sin_port));
    fflush(stdout);
    return fd;
}

static void
on_signal(int number)
{
    if (number == SIGUSR1)
        stats_wanted = 1;
    else
        stopped = 1;
}

/* Signals come only while it waits; the set to wait with. */
static void
catch_signals(sigset_t *unblocked)
{
    static const int numbers[] = {SIGUSR1, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t ours;

    sigemptyset(&ours);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sigaction(numbers[i], &action, NULL);
        sigaddset(&ours, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &ours, unblocked);
}

static double
number(const char *text, double max)
{
    char *end;
    const double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value <= max)) {
        fprintf(stderr, "delayproxy: not a number up to %g: '%s'\n", max, text);
        exit(2);
    }
    return value;
}

int
main(int argc, char **argv)
{
    sigset_t unblocked;
    double mbit;
    int listener;

    if (argc < 5 || argc > 7) {
        fprintf(stderr, "usage: delayproxy LISTEN TARGET ONE_WAY_MS MBIT "
                        "[STATS [TRACE]]\n");
        return 2;
    }
    target = (struct sockaddr_in){.sin_family = AF_INET,
                                  .sin_port =
                                      htons((uint16_t)number(argv[2], 65535)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    one_way_ns = (int64_t)(number(argv[3], 60000) * 1e6);
    mbit = number(argv[4], 1e6);
    ns_per_byte = mbit > 0 ? 8000 / mbit : 0;
    began_ns = now_ns();
    catch_signals(&unblocked);
    listener = listen_on((uint16_t)number(argv[1], 65535));
    while (!stopped) {
        if (stats_wanted) {
            stats_wanted = 0;
            write_stats(argv[5]); /* NULL where there is none */
        }
        wait_for_work(listener, &unblocked);
        serve_all();
    }
    while (conn_count > 0)
        close_conn(conn_count - 1);
    write_stats(argv[5]); /* NULL where there is none */
    write_trace(argc > 6 ? argv[6] : NULL);
    return 0;
}
