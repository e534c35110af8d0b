/*
 * doctor_write.c - what becomes of objects that are written: rights, lists after
 * a write, writers that race for one key, how fast it goes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor_impl.h"
#include "cli/output.h"
#include "core/alloc.h"
#include "core/thread.h"
#include "pagestore/segment_header.h"

#define READS 9 /* whose median is the latency */
#define RACES 5
#define RACERS 8
#define SMALL_BYTES 4096u
#define LARGE_BYTES (8u << 20)
#define PIECE_BYTES (1u << 20)

struct probe {
    struct doctor *doctor;
    struct ramet_vid volume; /* that nobody else has */
    char small[RAMET_KEY_MAX];
    uint8_t *piece; /* PIECE_BYTES that don't compress */
};

/* ---- one object ---------------------------------------------------------- */

/* A segment of the probe's volume, and the header that it begins with. */
static enum ramet_rc
new_key(struct probe *p, char out_key[RAMET_KEY_MAX],
        uint8_t out_header[RAMET_SEGMENT_HEADER_SIZE], struct ramet_err *err)
{
    struct ramet_extent place = {.volume = p->volume};
    const enum ramet_rc rc = ramet_id_new(&place.segment.id, err);

    if (rc != RAMET_OK)
        return rc;
    ramet_extent_key(&place, out_key);
    ramet_segment_header_put(out_header, &place.segment, 0);
    return RAMET_OK;
}

static enum ramet_rc
write_small(struct probe *p)
{
    uint8_t header[RAMET_SEGMENT_HEADER_SIZE], back[SMALL_BYTES];
    const struct iovec parts[] = {{header, sizeof(header)},
                                  {p->piece, SMALL_BYTES - sizeof(header)}};
    const double began = cli_doctor_now_s();
    struct ramet_err err = {0};
    double took_s = 0;
    enum ramet_rc rc;

    rc = new_key(p, p->small, header, &err);
    if (rc == RAMET_OK)
        rc = ramet_objstore_put(p->doctor->remote->store, p->small, parts, 2,
                                &err);
    took_s = cli_doctor_now_s() - began;
    if (rc == RAMET_OK)
        rc = ramet_objstore_read_full(p->doctor->remote->store, p->small, 0,
                                      back, sizeof(back), &err);
    if (rc == RAMET_OK && (memcmp(back, header, sizeof(header)) != 0 ||
                           memcmp(back + sizeof(header), p->piece,
                                  sizeof(back) - sizeof(header)) != 0))
        rc = RAMET_FAIL(&err, RAMET_ECORRUPT,
                        "what is read is not what was written");
    if (rc != RAMET_OK)
        return cli_doctor_problem(
            p->doctor, "write", rc, err.text,
            cli_doctor_is_refusal(rc)
                ? "ask for the right to write, or look with "
                  "--read-only if it is not to be had"
                : "see docs/stores.md for what a store must do");
    cli_doctor_fine(p->doctor, "write",
                    "a small object is there after %.0f ms, and read back",
                    took_s * 1000);
    return RAMET_OK;
}

static bool
see_small(void *ctx, const char *key, uint64_t size_bytes)
{
    const struct probe *const p = ((void **)ctx)[0];
    bool *const seen = ((void **)ctx)[1];

    *seen = strcmp(key, p->small) == 0 && size_bytes == SMALL_BYTES;
    return !*seen;
}

static void
list_after_write(struct probe *p)
{
    char id[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];
    struct ramet_err err = {0};
    bool seen = false;
    void *ctx[] = {p, &seen};
    enum ramet_rc rc;

    ramet_id_format(&p->volume.id, id);
    (void)snprintf(prefix, sizeof(prefix), "volumes/%s/", id);
    rc = ramet_objstore_list(p->doctor->remote->store, prefix, NULL, see_small,
                             ctx, &err);
    if (rc == RAMET_OK && !seen)
        rc = RAMET_FAIL(&err, RAMET_ECORRUPT,
                        "what was just written is not listed");
    if (rc != RAMET_OK)
        (void)cli_doctor_problem(
            p->doctor, "listing", rc, err.text,
            "lists must show what was written: is there an old proxy "
            "or a cache in between?");
    else
        cli_doctor_fine(p->doctor, "listing",
                        "what was written is listed at once");
}

/* ---- conditional writes -------------------------------------------------- */

struct racer {
    struct probe *probe;
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
    racer->rc = ramet_objstore_put(racer->probe->doctor->remote->store,
                                   racer->key, parts, 2, &racer->err);
    return NULL;
}

/* One race for one key. RAMET_OK: one won, and its bytes are there. */
static enum ramet_rc
run_race(struct probe *p, struct ramet_err *err)
{
    struct racer racers[RACERS] = {0};
    uint8_t header[RAMET_SEGMENT_HEADER_SIZE];
    uint8_t back[RAMET_SEGMENT_HEADER_SIZE + 64];
    char key[RAMET_KEY_MAX];
    unsigned winners = 0;
    enum ramet_rc rc, started;

    rc = new_key(p, key, header, err);
    for (uint8_t i = 0; rc == RAMET_OK && i < RACERS; i++) {
        racers[i] = (struct racer){
            .probe = p, .key = key, .header = header, .number = i};
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
        rc = ramet_objstore_read_full(p->doctor->remote->store, key, 0, back,
                                      sizeof(back), err);
    if (rc == RAMET_OK && (back[sizeof(back) - 1] >= RACERS ||
                           racers[back[sizeof(back) - 1]].rc != RAMET_OK))
        rc = RAMET_FAIL(err, RAMET_EREFUSED,
                        "the writer that was told that it was first is not the "
                        "one whose bytes are there");
    return rc;
}

static void
conditional_writes(struct probe *p)
{
    struct ramet_err err = {0};
    enum ramet_rc rc = RAMET_OK;

    for (int i = 0; rc == RAMET_OK && i < RACES; i++)
        rc = run_race(p, &err);
    if (rc != RAMET_OK)
        (void)cli_doctor_problem(
            p->doctor, "conditional", rc, err.text,
            rc != RAMET_EREFUSED
                ? "run it again"
                : "this store can not be a remote: two writers would lose "
                  "each other's commits; docs/stores.md names those that "
                  "can");
    else
        cli_doctor_fine(
            p->doctor, "conditional",
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
latency(struct probe *p)
{
    double seconds[READS];
    struct ramet_err err = {0};
    uint8_t byte;

    for (int i = 0; i < READS; i++) {
        const double began = cli_doctor_now_s();
        const enum ramet_rc rc = ramet_objstore_read_full(
            p->doctor->remote->store, p->small, (uint64_t)i, &byte, 1, &err);

        if (rc != RAMET_OK) {
            (void)cli_doctor_problem(p->doctor, "latency", rc, err.text,
                                     "run it again");
            return;
        }
        seconds[i] = cli_doctor_now_s() - began;
    }
    qsort(seconds, READS, sizeof(seconds[0]), compare_seconds);
    cli_doctor_fine(p->doctor, "latency", "%.1f ms a read (%.1f to %.1f)",
                    seconds[READS / 2] * 1000, seconds[0] * 1000,
                    seconds[READS - 1] * 1000);
}

static enum ramet_rc
send_large(struct probe *p, const char *key, const uint8_t *header,
           struct ramet_err *err)
{
    struct ramet_upload *upload = NULL;
    enum ramet_rc rc;

    rc = ramet_objstore_upload_begin(p->doctor->remote->store, key, &upload,
                                     err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_objstore_upload_write(upload, header, RAMET_SEGMENT_HEADER_SIZE,
                                     err);
    for (size_t at = 0; rc == RAMET_OK && at < LARGE_BYTES; at += PIECE_BYTES)
        rc = ramet_objstore_upload_write(upload, p->piece, PIECE_BYTES, err);
    if (rc == RAMET_OK)
        return ramet_objstore_upload_finish(upload, err);
    ramet_objstore_upload_abort(upload);
    return rc;
}

static void
throughput(struct probe *p)
{
    uint8_t header[RAMET_SEGMENT_HEADER_SIZE];
    char key[RAMET_KEY_MAX], up[CLI_TEXT_SIZE], down[CLI_TEXT_SIZE];
    struct ramet_err err = {0};
    double began, up_s = 0, down_s = 0;
    enum ramet_rc rc;

    rc = new_key(p, key, header, &err);
    began = cli_doctor_now_s();
    if (rc == RAMET_OK)
        rc = send_large(p, key, header, &err);
    up_s = cli_doctor_now_s() - began;
    began = cli_doctor_now_s();
    for (size_t at = 0; rc == RAMET_OK && at < LARGE_BYTES; at += PIECE_BYTES)
        rc = ramet_objstore_read_full(p->doctor->remote->store, key, at,
                                      p->piece, PIECE_BYTES, &err);
    down_s = cli_doctor_now_s() - began;
    if (rc != RAMET_OK)
        (void)cli_doctor_problem(
            p->doctor, "throughput", rc, err.text,
            "objects of 8 MiB must pass: look at proxies and quotas");
    else
        cli_doctor_fine(p->doctor, "throughput",
                        "one stream: %s/s up, %s/s down",
                        cli_bytes(up, (uint64_t)(LARGE_BYTES / up_s)),
                        cli_bytes(down, (uint64_t)(LARGE_BYTES / down_s)));
}

static void
delete_probe(struct probe *p)
{
    struct ramet_err err = {0};
    const enum ramet_rc rc =
        ramet_remote_delete(p->doctor->remote, &p->volume, &err);
    uint64_t size;

    if (rc != RAMET_OK)
        (void)cli_doctor_problem(
            p->doctor, "delete", rc, err.text,
            "without the right to delete 'ramet delete' won't work, "
            "all else does; what was tried out stays there");
    else if (ramet_objstore_size(p->doctor->remote->store, p->small, &size,
                                 &err) != RAMET_ENOTFOUND)
        (void)cli_doctor_problem(p->doctor, "delete", RAMET_ECORRUPT,
                                 "what was deleted is still there", "");
    else
        cli_doctor_fine(p->doctor, "delete",
                        "what was tried out is gone again");
}

void
cli_doctor_write(struct doctor *doctor)
{
    struct probe probe = {.doctor = doctor, .piece = ramet_alloc(PIECE_BYTES)};
    struct probe *const p = &probe;
    struct ramet_err err = {0};
    uint32_t state = 1;

    if (p->piece == NULL || ramet_id_new(&p->volume.id, &err) != RAMET_OK) {
        (void)cli_doctor_problem(doctor, "write", RAMET_ENOMEM, "no memory",
                                 "");
        ramet_free(p->piece);
        return;
    }
    for (size_t i = 0; i < PIECE_BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        p->piece[i] = (uint8_t)(state >> 24);
    }
    if (write_small(p) == RAMET_OK) {
        list_after_write(p);
        conditional_writes(p);
        latency(p);
        throughput(p);
        delete_probe(p);
    }
    ramet_free(p->piece);
}
