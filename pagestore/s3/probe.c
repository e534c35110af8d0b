/*
 * probe.c - does this bucket honour put-if-absent when several write at once?
 *
 * Everything that Ramet promises about a remote hangs on it, and there are
 * services that pass a test one by one and let two writers win when they race.
 * So before the first write
 *
 *   (1) what is known already is looked at: in this process; in the cache
 *       directory of this user; in the bucket itself, under a key that names
 *       endpoint and bucket, so that a copy of the bucket doesn't carry it
 *   (2) else ROUNDS keys are written by WRITERS at once, each with other bytes:
 *       of each key exactly one may be told that it wrote, and its bytes must
 *       be what is there
 *   (3) a store that fails is refused each time, and nothing is kept of that
 *
 * Readers do without. docs/s3.md has what it costs.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/id.h"
#include "core/os.h"
#include "pagestore/s3/answer.h"
#include "pagestore/s3/s3store_impl.h"

#define ROUNDS 24u
#define WRITERS 16u
#define BODY_BYTES 2048u
#define RETRIES 20u /* of a writer who was told nothing */

/* ---- what is known ------------------------------------------------------- */

static const char PROVEN[] = "of two writers one wins\n";

/* Of endpoint and bucket, without slashes. */
static void
name_place(const struct ramet_s3store *s3, char out[RAMET_KEY_MAX])
{
    const struct ramet_s3_target *const target = &s3->caller.bucket->target;
    char text[RAMET_ORIGIN_MAX + RAMET_S3_BUCKET_MAX + 2];
    struct ramet_hash hash;
    size_t n = 0;

    (void)snprintf(text, sizeof(text), "%s/%s", target->origin.text,
                   target->bucket);
    hash = ramet_hash128(text, strlen(text));
    n += (size_t)snprintf(out, RAMET_KEY_MAX, "proven-");
    for (size_t i = 0; i < sizeof(hash.bytes); i++)
        n +=
            (size_t)snprintf(out + n, RAMET_KEY_MAX - n, "%02x", hash.bytes[i]);
}

/* A directory for what can be made again: made if `create`. -1: none. */
static int
open_cache(bool create)
{
    const struct ramet_os *const os = ramet_os_system();
    const char *const xdg = getenv("XDG_CACHE_HOME");
    const char *const home = getenv("HOME");
    const bool has_xdg = xdg != NULL && xdg[0] == '/';
    char path[4096];

    if (!has_xdg && (home == NULL || home[0] != '/'))
        return -1;
    if (snprintf(path, sizeof(path), "%s%s/ramet", has_xdg ? xdg : home,
                 has_xdg ? "" : "/.cache") >= (int)sizeof(path))
        return -1;
    if (create) {
        char *const slash = strrchr(path, '/');

        assert(slash != NULL);
        *slash = '\0';
        (void)os->mkdir(os->ctx, AT_FDCWD, path, 0700);
        *slash = '/';
        (void)os->mkdir(os->ctx, AT_FDCWD, path, 0700);
    }
    return os->open(os->ctx, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
}

static bool
is_cached(const char *name)
{
    const struct ramet_os *const os = ramet_os_system();
    const int dir = open_cache(false);
    uint8_t *data = NULL;
    size_t len = 0;
    bool known;

    assert(ramet_key_valid(name) && strchr(name, '/') == NULL);
    if (dir < 0)
        return false;
    known = ramet_os_read_file(os, dir, name, sizeof(PROVEN), &data, &len,
                               NULL) == RAMET_OK &&
            len == sizeof(PROVEN) - 1 && memcmp(data, PROVEN, len) == 0;
    ramet_free(data);
    (void)os->close(os->ctx, dir);
    return known;
}

/* Where that can't be written, the next process asks the bucket. */
static void
keep_cached(const char *name)
{
    const struct ramet_os *const os = ramet_os_system();
    const int dir = open_cache(true);

    assert(ramet_key_valid(name) && strchr(name, '/') == NULL);
    if (dir < 0)
        return;
    if (ramet_os_replace_file(os, dir, name, NULL, PROVEN, sizeof(PROVEN) - 1,
                              NULL) != RAMET_OK)
        (void)os->unlink(os->ctx, dir, name, false);
    (void)os->close(os->ctx, dir);
}

static enum ramet_rc
is_marked(struct ramet_s3store *s3, const char *name, bool *out_marked,
          struct ramet_err *err)
{
    char text[sizeof(PROVEN)];
    size_t got = 0;
    const enum ramet_rc rc =
        ramet_objstore_read(&s3->base, name, 0, text, sizeof(text), &got, err);

    assert(ramet_key_valid(name));
    if (rc != RAMET_OK && rc != RAMET_ENOTFOUND)
        return rc;
    *out_marked = rc == RAMET_OK && got == sizeof(PROVEN) - 1 &&
                  memcmp(text, PROVEN, got) == 0;
    return RAMET_OK;
}

/* ---- the race ------------------------------------------------------------ */

struct writer {
    uint8_t body[BODY_BYTES];
    struct iovec part;
    struct ramet_s3_request request;
    struct ramet_s3_try a_try;
};

struct race {
    struct ramet_s3store *s3;
    char key[RAMET_KEY_MAX], full[RAMET_S3_KEY_MAX];
    struct writer writers[WRITERS];
};

static enum ramet_rc
refuse(const struct ramet_s3store *s3, const char *why, struct ramet_err *err)
{
    assert(why != NULL);
    return RAMET_FAIL(err, RAMET_EREFUSED,
                      "%s: can't be a store for Ramet: %s, and a history needs "
                      "one on which a PUT with If-None-Match: * lets exactly "
                      "one writer win; check the list in docs/stores.md",
                      s3->name, why);
}

/* All of them at once. */
static enum ramet_rc
start_all(struct race *race, unsigned *out_started, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    for (*out_started = 0; *out_started < WRITERS && rc == RAMET_OK;) {
        struct writer *const w = &race->writers[*out_started];

        memset(w->body, 'a' + (int)*out_started, sizeof(w->body));
        w->part = (struct iovec){w->body, sizeof(w->body)};
        w->request = (struct ramet_s3_request){.method = "PUT",
                                               .kind = RAMET_REQUEST_PUT,
                                               .key = race->full,
                                               .parts = &w->part,
                                               .part_count = 1,
                                               .if_none_match = true};
        rc = ramet_s3_try_start(&race->s3->caller, &w->request, &w->a_try, err);
        if (rc == RAMET_OK)
            ++*out_started;
    }
    assert(*out_started <= WRITERS);
    return rc;
}

/* What each was told. Who was told nothing, or to try later, does so: alone he
 * must be told that somebody was first. */
static enum ramet_rc
end_all(struct race *race, unsigned started, unsigned *out_winners,
        unsigned *out_winner, unsigned *out_unsure, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(started <= WRITERS && *out_winners == 0);
    for (unsigned i = 0; i < started; i++) {
        struct writer *const w = &race->writers[i];
        struct ramet_s3_verdict v;

        ramet_s3_try_end(&race->s3->caller, &w->request, &w->a_try);
        ramet_s3_judge(&w->a_try.exchange, &v);
        if (v.rc == RAMET_OK) {
            ++*out_winners;
            *out_winner = i;
        } else if (v.again) {
            ++*out_unsure;
        } else if (v.rc != RAMET_EEXIST && rc == RAMET_OK) {
            rc = ramet_s3_explain(&w->a_try.exchange, &v, race->s3->name,
                                  "PUT of a test object",
                                  race->s3->caller.bucket->target.why_not, err);
        }
        ramet_buf_done(&w->a_try.exchange.answer);
        ramet_s3_keys_wipe(&w->a_try.keys);
    }
    assert(*out_winners <= started && *out_unsure <= started);
    return rc;
}

static enum ramet_rc
check_winner(struct race *race, unsigned winner, struct ramet_err *err)
{
    uint8_t there[BODY_BYTES + 1];
    size_t got = 0;
    const enum ramet_rc rc = ramet_objstore_read(
        &race->s3->base, race->key, 0, there, sizeof(there), &got, err);

    assert(winner < WRITERS);
    if (rc == RAMET_ENOTFOUND)
        return refuse(race->s3, "what was just written is not there", err);
    if (rc != RAMET_OK)
        return rc;
    if (got != BODY_BYTES ||
        memcmp(there, race->writers[winner].body, BODY_BYTES) != 0)
        return refuse(race->s3,
                      "of two writers at once the second replaced what the "
                      "first was told it had written",
                      err);
    return RAMET_OK;
}

/* One key. *out_counts: it told of exactly one winner, and of nothing unsure. */
static enum ramet_rc
run_round(struct race *race, const char *id, unsigned round, bool *out_counts,
          struct ramet_err *err)
{
    unsigned started = 0, winners = 0, winner = 0, unsure = 0;
    struct ramet_err late;
    enum ramet_rc rc, ended, removed = RAMET_OK;

    assert(round < ROUNDS + RETRIES);
    (void)snprintf(race->key, sizeof(race->key), "probe/%s/%u", id, round);
    ramet_s3store_key(race->s3, race->key, race->full);
    rc = start_all(race, &started, err);
    ended = end_all(race, started, &winners, &winner, &unsure, &late);
    if (rc == RAMET_OK && ended != RAMET_OK) {
        rc = ended;
        if (err != NULL)
            *err = late;
    }
    if (rc == RAMET_OK && winners > 1)
        rc = refuse(race->s3,
                    "two writers at once were both told that theirs "
                    "was the first",
                    err);
    if (rc == RAMET_OK && winners == 1)
        rc = check_winner(race, winner, err);
    *out_counts = winners == 1 && unsure == 0;
    /* Who may not delete may write all the same: what is left harms nobody. */
    if (started > 0 && rc == RAMET_OK)
        removed = ramet_objstore_remove(&race->s3->base, race->key, NULL);
    (void)removed;
    return rc;
}

static enum ramet_rc
run_race(struct ramet_s3store *s3, struct ramet_err *err)
{
    struct race *const race = ramet_calloc(1, sizeof(*race));
    char id[RAMET_ID_TEXT_SIZE];
    struct ramet_id random;
    unsigned round = 0, proven = 0;
    enum ramet_rc rc;

    if (race == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", s3->name);
    race->s3 = s3;
    rc = ramet_id_new(&random, err);
    if (rc == RAMET_OK)
        ramet_id_format(&random, id);
    while (rc == RAMET_OK && proven < ROUNDS && round < ROUNDS + RETRIES) {
        bool counts = false;

        rc = run_round(race, id, round++, &counts, err);
        proven += counts;
    }
    if (rc == RAMET_OK && proven < ROUNDS)
        rc = RAMET_FAIL(err, RAMET_EUNREACHABLE,
                        "%s: answers too seldom for a test of whether it can "
                        "be written to",
                        s3->name);
    assert(proven <= round &&
           (rc != RAMET_OK || proven == ROUNDS)); /* invariant (2) */
    ramet_free(race);
    return rc;
}

/* ---- both ---------------------------------------------------------------- */

static enum ramet_rc
prove(struct ramet_s3store *s3, struct ramet_err *err)
{
    const struct iovec part = {(void *)(uintptr_t)PROVEN, sizeof(PROVEN) - 1};
    char name[RAMET_KEY_MAX];
    bool marked = false;
    enum ramet_rc rc;

    name_place(s3, name);
    if (is_cached(name))
        return RAMET_OK;
    rc = is_marked(s3, name, &marked, err);
    if (rc == RAMET_OK && !marked) {
        rc = run_race(s3, err);
        if (rc == RAMET_OK)
            rc = ramet_s3store_put_now(s3, name, &part, 1, err);
        if (rc == RAMET_EEXIST || rc == RAMET_EUNKNOWN)
            rc = RAMET_OK; /* somebody else proved it meanwhile, or will */
    }
    if (rc == RAMET_OK)
        keep_cached(name);
    return rc;
}

enum ramet_rc
ramet_s3store_prove(struct ramet_s3store *s3, struct ramet_err *err)
{
    struct ramet_s3_bucket *const bucket = s3->caller.bucket;
    bool proven;
    enum ramet_rc rc = ramet_s3_engine_check(bucket->engine, err);

    assert(bucket != NULL && bucket->engine != NULL);
    if (rc != RAMET_OK)
        return rc;
    ramet_mutex_lock(&bucket->mutex);
    proven = bucket->is_proven;
    ramet_mutex_unlock(&bucket->mutex);
    if (proven)
        return RAMET_OK;
    ramet_mutex_lock(&bucket->proving);
    ramet_mutex_lock(&bucket->mutex);
    proven = bucket->is_proven;
    ramet_mutex_unlock(&bucket->mutex);
    if (!proven)
        rc = prove(s3, err);
    if (!proven && rc == RAMET_OK) {
        ramet_mutex_lock(&bucket->mutex);
        bucket->is_proven = true;
        ramet_mutex_unlock(&bucket->mutex);
    }
    ramet_mutex_unlock(&bucket->proving);
    return rc;
}
