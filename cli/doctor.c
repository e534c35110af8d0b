/*
 * doctor.c - see doctor.h.
 */
#include "cli/doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/output.h"
#include "cli/stop.h"
#include "client/ramet.h"
#include "core/alloc.h"
#include "core/thread.h"
#include "pagestore/segment_header.h"

#define READS 9 /* whose median is the latency */
#define RACES 5
#define RACERS 8
#define SMALL_BYTES 4096u
#define LARGE_BYTES (8u << 20)
#define PIECE_BYTES (1u << 20)
/* A commit's time may be this far ahead of a server's clock; S3 services refuse
 * requests past 15 minutes. What is worth telling begins earlier. */
#define CLOCK_MAX_MS RAMET_SKEW_MAX_MS
#define CLOCK_TELL_MS 2000

struct doctor {
    const struct cli_args *args;
    cli_finding_fn *report;
    void *ctx;
    enum ramet_rc rc; /* of the first problem */
    struct ramet_url url;
    struct ramet_remote *remote;
    struct ramet_vid volume; /* the probe's own */
    char small[RAMET_KEY_MAX];
    uint8_t *piece; /* PIECE_BYTES that don't compress */
};

static double
now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- findings ------------------------------------------------------------ */

static void RAMET_PRINTF(3, 4)
    fine(struct doctor *d, const char *name, const char *fmt, ...)
{
    struct cli_finding finding = {
        .name = name, .state = CLI_FINDING_OK, .todo = ""};
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(finding.text, sizeof(finding.text), fmt, args);
    va_end(args);
    d->report(d->ctx, &finding);
}

static void
skipped(struct doctor *d, const char *name, const char *why)
{
    struct cli_finding finding = {
        .name = name, .state = CLI_FINDING_SKIPPED, .todo = ""};

    (void)snprintf(finding.text, sizeof(finding.text), "%s", why);
    d->report(d->ctx, &finding);
}

/* Gives `rc` back. */
static enum ramet_rc
problem(struct doctor *d, const char *name, enum ramet_rc rc, const char *text,
        const char *todo)
{
    struct cli_finding finding = {
        .name = name, .state = CLI_FINDING_PROBLEM, .rc = rc, .todo = todo};

    (void)snprintf(finding.text, sizeof(finding.text), "%s", text);
    if (d->rc == RAMET_OK)
        d->rc = rc;
    d->report(d->ctx, &finding);
    return rc;
}

static bool
is_refusal(enum ramet_rc rc)
{
    return rc == RAMET_EAUTH || rc == RAMET_EREADONLY;
}

/* ---- to get there -------------------------------------------------------- */

static const char *
kind_of(const struct doctor *d)
{
    switch (d->url.scheme) {
    case RAMET_REMOTE_FILE:
        return "a directory";
    case RAMET_REMOTE_HTTP:
    case RAMET_REMOTE_HTTPS:
        return "a Ramet server";
    case RAMET_REMOTE_S3:
        return "an S3 bucket";
    }
    return "";
}

/* Which line a failure to get there belongs to, and what to do. */
static void
no_way(struct doctor *d, enum ramet_rc rc, const struct ramet_err *err)
{
    if (rc == RAMET_EINVAL)
        (void)problem(d, "address", rc, err->text,
                      "mend the URL, or ramet.conf");
    else if (is_refusal(rc))
        (void)problem(d, "credentials", rc, err->text,
                      "check whose it is and who may use it: RAMET_TOKEN or "
                      "token_file for a server, AWS_… for S3, ls -ld for a "
                      "directory");
    else if (rc == RAMET_ENOTFOUND)
        (void)problem(d, "store", rc, err->text,
                      "if the place is right: 'ramet init FILE --remote URL' "
                      "makes the first volume and the store");
    else if (rc == RAMET_EVERSION)
        (void)problem(d, "version", rc, err->text, "upgrade ramet here");
    else
        (void)problem(d, "reach", rc, err->text,
                      "check name, port, firewall and proxy, and that the "
                      "service runs");
}

static enum ramet_rc
reach(struct doctor *d, const char *text)
{
    const double began = now_s();
    struct ramet_err err = {0};
    enum ramet_rc rc;

    rc = cli_remote_open(d->args, text, RAMET_NAMED_BY_USER, &d->url,
                         &d->remote, &err);
    if (rc == RAMET_OK)
        rc = ramet_catalog_check(d->remote->store, false, &err);
    if (rc != RAMET_OK) {
        no_way(d, rc, &err);
        return rc;
    }
    fine(d, "reach", "%s answers; the first question took %.0f ms", kind_of(d),
         (now_s() - began) * 1000);
    fine(d, "version", "ramet %s here, storage format 1 there",
         RAMET_VERSION_STRING);
    return RAMET_OK;
}

static void
credentials(struct doctor *d)
{
    struct ramet_token token = {.text = NULL};
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (d->url.scheme == RAMET_REMOTE_FILE) {
        fine(d, "credentials", "this user's, of the file system");
        return;
    }
    if (d->url.scheme == RAMET_REMOTE_S3) {
        fine(d, "credentials", "taken: requests are signed, or need not be");
        return;
    }
    rc = ramet_token_for(&d->url, RAMET_NAMED_BY_USER, d->args->config, &token,
                         &err);
    if (rc != RAMET_OK)
        (void)problem(d, "credentials", rc, err.text, "mend ramet.conf");
    else if (token.text != NULL)
        fine(d, "credentials", "a token is sent, and taken");
    else if (token.withheld_why != NULL)
        fine(d, "credentials", "a token is not sent: %s; it is not asked for",
             token.withheld_why);
    else
        fine(d, "credentials", "no token is sent, and none is asked for");
    ramet_free(token.text);
}

static void
clock_skew(struct doctor *d)
{
    int64_t ahead_ms;
    char text[128], by[CLI_TEXT_SIZE];

    if (d->remote->ops->clock_ahead == NULL ||
        !d->remote->ops->clock_ahead(d->remote, &ahead_ms)) {
        skipped(d, "clock", "it has none of its own");
        return;
    }
    (void)snprintf(text, sizeof(text), "%s %s the store's",
                   cli_duration(by, (uint64_t)llabs(ahead_ms)),
                   ahead_ms < 0 ? "behind" : "ahead of");
    if (llabs(ahead_ms) > CLOCK_MAX_MS)
        (void)problem(d, "clock", RAMET_ECLOCK, text,
                      "set the clock that is wrong, and keep it right (chrony, "
                      "systemd-timesyncd): commits are refused");
    else
        fine(d, "clock", "%s",
             llabs(ahead_ms) < CLOCK_TELL_MS ? "within 2 s of the store's"
                                             : text);
}

/* ---- reading ------------------------------------------------------------- */

static bool
count_volume(void *ctx, const char *name, const struct ramet_vid *volume)
{
    (void)name;
    (void)volume;
    *(uint64_t *)ctx += 1;
    return !cli_stop_wanted();
}

static void
volumes(struct doctor *d)
{
    struct ramet_err err = {0};
    char text[CLI_TEXT_SIZE];
    uint64_t count = 0;
    const enum ramet_rc rc =
        ramet_catalog_list(d->remote->store, count_volume, &count, &err);

    if (rc != RAMET_OK)
        (void)problem(d, "list", rc, err.text,
                      "whoever asks needs the right to list there");
    else
        fine(d, "list", "%s volume%s", cli_count(text, count),
             cli_plural(count, "", "s"));
}

static bool
see_any(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    *(bool *)ctx = true;
    return false;
}

/* Are there commits, whatever is missing among them? */
static enum ramet_rc
has_commits(struct doctor *d, const struct ramet_vid *vid, bool *out_has,
            struct ramet_err *err)
{
    char id[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];

    *out_has = false;
    ramet_id_format(&vid->id, id);
    (void)snprintf(prefix, sizeof(prefix), "volumes/%s/commits/", id);
    return ramet_objstore_list(d->remote->store, prefix, NULL, see_any, out_has,
                               err);
}

/* What Ramet keeps is all there was; what others took away shows at the oldest
 * end first, where a rule that deletes by age begins. */
static void
retention(struct doctor *d, struct ramet_history *history,
          const struct ramet_vid *vid)
{
    struct ramet_head first;
    struct ramet_err err = {0};
    char time[32];
    bool has = false;
    enum ramet_rc rc = has_commits(d, vid, &has, &err);

    if (rc == RAMET_OK && !has)
        return;
    if (rc == RAMET_OK)
        rc = ramet_history_head(history, 1, &first, &err);
    if (rc != RAMET_OK) {
        (void)problem(d, "retention", rc, err.text,
                      "somebody deletes objects there (a lifecycle rule, a "
                      "clean-up job): stop that, then 'ramet verify URL'");
        return;
    }
    ramet_time_format(first.time_ms, time);
    fine(d, "retention",
         "every commit is kept, from LSN 1 of %s on; nothing may delete by age "
         "there",
         time);
}

static void
volume(struct doctor *d)
{
    struct ramet_history *history = NULL;
    struct ramet_head head = {0};
    struct ramet_err err = {0};
    struct ramet_vid vid;
    char time[32], size[CLI_TEXT_SIZE];
    enum ramet_rc rc;

    if (d->url.name[0] == '\0') {
        fine(d, "retention",
             "every commit is kept; nothing may delete by age there");
        return;
    }
    rc = ramet_catalog_resolve(d->remote->store, d->url.name, &vid, &err);
    if (rc == RAMET_OK)
        rc = ramet_history_open(d->remote->store, &vid, NULL, &history, &err);
    if (rc == RAMET_OK)
        rc = ramet_history_newest(history, &head, &err);
    if (rc != RAMET_OK) {
        (void)problem(d, "volume", rc, err.text,
                      rc == RAMET_ENOTFOUND ? "'ramet ls' of the store lists "
                                              "what there is"
                                            : "'ramet verify URL' says more");
    } else if (head.lsn == 0) {
        fine(d, "volume", "no commit yet");
    } else {
        ramet_time_format(head.time_ms, time);
        fine(d, "volume", "LSN %" PRIu64 " of %s, %s", head.lsn, time,
             cli_bytes(size, head.byte_length));
    }
    if (rc == RAMET_OK)
        retention(d, history, &vid);
    ramet_history_close(history);
}

/* ---- writing ------------------------------------------------------------- */

/* A segment of the probe's volume, and the header that it begins with. */
static enum ramet_rc
new_key(struct doctor *d, char out_key[RAMET_KEY_MAX],
        uint8_t out_header[RAMET_SEGMENT_HEADER_SIZE], struct ramet_err *err)
{
    struct ramet_place place = {.volume = d->volume};
    const enum ramet_rc rc = ramet_id_new(&place.segment.id, err);

    if (rc != RAMET_OK)
        return rc;
    ramet_place_key(&place, out_key);
    ramet_segment_header_put(out_header, &place.segment, 0);
    return RAMET_OK;
}

static enum ramet_rc
write_small(struct doctor *d)
{
    uint8_t header[RAMET_SEGMENT_HEADER_SIZE], back[SMALL_BYTES];
    const struct iovec parts[] = {{header, sizeof(header)},
                                  {d->piece, SMALL_BYTES - sizeof(header)}};
    const double began = now_s();
    struct ramet_err err = {0};
    double took_s = 0;
    enum ramet_rc rc;

    rc = new_key(d, d->small, header, &err);
    if (rc == RAMET_OK)
        rc = ramet_objstore_put(d->remote->store, d->small, parts, 2, &err);
    took_s = now_s() - began;
    if (rc == RAMET_OK)
        rc = ramet_objstore_read_full(d->remote->store, d->small, 0, back,
                                      sizeof(back), &err);
    if (rc == RAMET_OK && (memcmp(back, header, sizeof(header)) != 0 ||
                           memcmp(back + sizeof(header), d->piece,
                                  sizeof(back) - sizeof(header)) != 0))
        rc = RAMET_FAIL(&err, RAMET_ECORRUPT,
                        "what is read is not what was written");
    if (rc != RAMET_OK)
        return problem(d, "write", rc, err.text,
                       is_refusal(rc)
                           ? "ask for the right to write, or look with "
                             "--read-only if it is not to be had"
                           : "see docs/stores.md for what a store must do");
    fine(d, "write", "a small object is there after %.0f ms, and read back",
         took_s * 1000);
    return RAMET_OK;
}

static bool
see_small(void *ctx, const char *key, uint64_t size_bytes)
{
    const struct doctor *const d = ((void **)ctx)[0];
    bool *const seen = ((void **)ctx)[1];

    *seen = strcmp(key, d->small) == 0 && size_bytes == SMALL_BYTES;
    return !*seen;
}

static void
list_after_write(struct doctor *d)
{
    char id[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];
    struct ramet_err err = {0};
    bool seen = false;
    void *ctx[] = {d, &seen};
    enum ramet_rc rc;

    ramet_id_format(&d->volume.id, id);
    (void)snprintf(prefix, sizeof(prefix), "volumes/%s/", id);
    rc = ramet_objstore_list(d->remote->store, prefix, NULL, see_small, ctx,
                             &err);
    if (rc == RAMET_OK && !seen)
        rc = RAMET_FAIL(&err, RAMET_ECORRUPT,
                        "what was just written is not listed");
    if (rc != RAMET_OK)
        (void)problem(d, "listing", rc, err.text,
                      "lists must show what was written: is there an old proxy "
                      "or a cache in between?");
    else
        fine(d, "listing", "what was written is listed at once");
}

/* ---- conditional writes -------------------------------------------------- */

struct racer {
    struct doctor *doctor;
    const char *key;
    const uint8_t *header;
    uint8_t number;
    enum ramet_rc rc;
    struct ramet_err err;
    struct ramet_thread thread;
};

static void *
race(void *arg)
{
    struct racer *const racer = arg;
    uint8_t body[64];
    const struct iovec parts[] = {
        {(void *)(uintptr_t)racer->header, RAMET_SEGMENT_HEADER_SIZE},
        {body, sizeof(body)}};

    memset(body, racer->number, sizeof(body));
    racer->rc = ramet_objstore_put(racer->doctor->remote->store, racer->key,
                                   parts, 2, &racer->err);
    return NULL;
}

/* One race for one key. RAMET_OK: one won, and its bytes are there. */
static enum ramet_rc
run_race(struct doctor *d, struct ramet_err *err)
{
    struct racer racers[RACERS] = {0};
    uint8_t header[RAMET_SEGMENT_HEADER_SIZE];
    uint8_t back[RAMET_SEGMENT_HEADER_SIZE + 64];
    char key[RAMET_KEY_MAX];
    unsigned winners = 0;
    enum ramet_rc rc, started;

    rc = new_key(d, key, header, err);
    for (uint8_t i = 0; rc == RAMET_OK && i < RACERS; i++) {
        racers[i] = (struct racer){
            .doctor = d, .key = key, .header = header, .number = i};
        started = ramet_thread_start(&racers[i].thread, "ramet-doctor", race,
                                     &racers[i], err);
        if (started != RAMET_OK)
            rc = started;
    }
    for (unsigned i = 0; i < RACERS; i++)
        ramet_thread_join(&racers[i].thread);
    for (unsigned i = 0; rc == RAMET_OK && i < RACERS; i++) {
        winners += racers[i].rc == RAMET_OK;
        if (racers[i].rc != RAMET_OK && racers[i].rc != RAMET_EEXIST) {
            *err = racers[i].err;
            rc = racers[i].rc;
        }
    }
    if (rc == RAMET_OK && winners != 1)
        return RAMET_FAIL(
            err, RAMET_EREFUSED,
            "of %d writers of one key %u were told that they were "
            "first",
            RACERS, winners);
    if (rc == RAMET_OK)
        rc = ramet_objstore_read_full(d->remote->store, key, 0, back,
                                      sizeof(back), err);
    if (rc == RAMET_OK && (back[sizeof(back) - 1] >= RACERS ||
                           racers[back[sizeof(back) - 1]].rc != RAMET_OK))
        rc = RAMET_FAIL(err, RAMET_EREFUSED,
                        "the writer that was told that it was first is not the "
                        "one whose bytes are there");
    return rc;
}

static void
conditional_writes(struct doctor *d)
{
    struct ramet_err err = {0};
    enum ramet_rc rc = RAMET_OK;

    for (int i = 0; rc == RAMET_OK && i < RACES; i++)
        rc = run_race(d, &err);
    if (rc != RAMET_OK)
        (void)problem(
            d, "conditional", rc, err.text,
            rc != RAMET_EREFUSED
                ? "run it again"
                : "this store can not be a remote: two writers would lose "
                  "each other's commits; docs/stores.md names those that "
                  "can");
    else
        fine(d, "conditional",
             "in %d races of %d writers one won, and the others were told",
             RACES, RACERS);
}

/* ---- how fast ------------------------------------------------------------ */

static int
compare_seconds(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void
latency(struct doctor *d)
{
    double seconds[READS];
    struct ramet_err err = {0};
    uint8_t byte;

    for (int i = 0; i < READS; i++) {
        const double began = now_s();
        const enum ramet_rc rc = ramet_objstore_read_full(
            d->remote->store, d->small, (uint64_t)i, &byte, 1, &err);

        if (rc != RAMET_OK) {
            (void)problem(d, "latency", rc, err.text, "run it again");
            return;
        }
        seconds[i] = now_s() - began;
    }
    qsort(seconds, READS, sizeof(seconds[0]), compare_seconds);
    fine(d, "latency", "%.1f ms a read (%.1f to %.1f)",
         seconds[READS / 2] * 1000, seconds[0] * 1000,
         seconds[READS - 1] * 1000);
}

static enum ramet_rc
send_large(struct doctor *d, const char *key, const uint8_t *header,
           struct ramet_err *err)
{
    struct ramet_upload *upload = NULL;
    enum ramet_rc rc;

    rc = ramet_objstore_upload_begin(d->remote->store, key, &upload, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_objstore_upload_write(upload, header, RAMET_SEGMENT_HEADER_SIZE,
                                     err);
    for (size_t at = 0; rc == RAMET_OK && at < LARGE_BYTES; at += PIECE_BYTES)
        rc = ramet_objstore_upload_write(upload, d->piece, PIECE_BYTES, err);
    if (rc == RAMET_OK)
        return ramet_objstore_upload_finish(upload, err);
    ramet_objstore_upload_abort(upload);
    return rc;
}

static void
throughput(struct doctor *d)
{
    uint8_t header[RAMET_SEGMENT_HEADER_SIZE];
    char key[RAMET_KEY_MAX], up[CLI_TEXT_SIZE], down[CLI_TEXT_SIZE];
    struct ramet_err err = {0};
    double began, up_s = 0, down_s = 0;
    enum ramet_rc rc;

    rc = new_key(d, key, header, &err);
    began = now_s();
    if (rc == RAMET_OK)
        rc = send_large(d, key, header, &err);
    up_s = now_s() - began;
    began = now_s();
    for (size_t at = 0; rc == RAMET_OK && at < LARGE_BYTES; at += PIECE_BYTES)
        rc = ramet_objstore_read_full(d->remote->store, key, at, d->piece,
                                      PIECE_BYTES, &err);
    down_s = now_s() - began;
    if (rc != RAMET_OK)
        (void)problem(d, "throughput", rc, err.text,
                      "objects of 8 MiB must pass: look at proxies and quotas");
    else
        fine(d, "throughput", "one stream: %s/s up, %s/s down",
             cli_bytes(up, (uint64_t)(LARGE_BYTES / up_s)),
             cli_bytes(down, (uint64_t)(LARGE_BYTES / down_s)));
}

static void
delete_probe(struct doctor *d)
{
    struct ramet_err err = {0};
    const enum ramet_rc rc = ramet_remote_delete(d->remote, &d->volume, &err);
    uint64_t size;

    if (rc != RAMET_OK)
        (void)problem(d, "delete", rc, err.text,
                      "without the right to delete 'ramet delete' won't work, "
                      "all else does; what was tried out stays there");
    else if (ramet_objstore_size(d->remote->store, d->small, &size, &err) !=
             RAMET_ENOTFOUND)
        (void)problem(d, "delete", RAMET_ECORRUPT,
                      "what was deleted is still there", "");
    else
        fine(d, "delete", "what was tried out is gone again");
}

static void
writing(struct doctor *d)
{
    uint32_t state = 1;
    struct ramet_err err = {0};

    d->piece = ramet_alloc(PIECE_BYTES);
    if (d->piece == NULL || ramet_id_new(&d->volume.id, &err) != RAMET_OK) {
        (void)problem(d, "write", RAMET_ENOMEM, "no memory", "");
        return;
    }
    for (size_t i = 0; i < PIECE_BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        d->piece[i] = (uint8_t)(state >> 24);
    }
    if (write_small(d) != RAMET_OK)
        return;
    list_after_write(d);
    conditional_writes(d);
    latency(d);
    throughput(d);
    delete_probe(d);
}

enum ramet_rc
cli_doctor(const struct cli_args *args, const char *text, bool writes,
           cli_finding_fn *report, void *ctx)
{
    struct doctor d = {.args = args, .report = report, .ctx = ctx};

    if (reach(&d, text) == RAMET_OK) {
        credentials(&d);
        volumes(&d);
        clock_skew(&d); /* by the answers so far */
        volume(&d);
        if (writes)
            writing(&d);
        else
            skipped(&d, "write", "--read-only: nothing is written");
    }
    ramet_free(d.piece);
    ramet_remote_close(d.remote);
    return d.rc;
}
