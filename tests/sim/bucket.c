/*
 * bucket.c - see bucket.h.
 */
#include "tests/sim/bucket.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/count.h"

#define MS UINT64_C(1000000)
#define PATIENCE_NS (1500 * MS) /* of a client that gets no answer */

struct sim_bucket {
    struct ramet_objstore *objects;
    unsigned under_way; /* writes that come late */
    uint64_t commits;
    struct ramet_objstore *copy; /* NULL: none was made */
    uint64_t copied_commits;
    unsigned restores;
};

struct link {
    struct ramet_objstore base;
    struct sim_bucket *bucket;
    const struct sim_weather *weather;
    uint64_t rng;
    struct upload *uploads; /* of which none was finished */
};

/* A write: a whole object. */
struct parcel {
    struct sim_bucket *bucket;
    unsigned restores; /* of the bucket, when it was sent off */
    uint64_t delay_ns;
    char key[RAMET_KEY_MAX];
    uint8_t *data;
    size_t len;
};

struct upload {
    struct ramet_upload base;
    struct upload *next;
    struct parcel *parcel;
};

/* ---- what the network does ------------------------------------------------------ */

enum outcome { GOES_THROUGH, IS_REFUSED, IS_LOST, REPLY_IS_LOST, IS_LATE };

static enum outcome
send_request(struct link *link, bool is_write)
{
    const struct sim_weather *const w = link->weather;
    const bool is_slow = sim_chance(&link->rng, w->slow);
    enum outcome outcome = GOES_THROUGH;

    sim_sleep_ns(MS / 10 + sim_below(&link->rng, is_slow ? 900 * MS : MS));
    if (w->is_cut)
        outcome =
            sim_chance(&link->rng, 70) || !is_write ? IS_REFUSED : IS_LOST;
    else if (sim_chance(&link->rng, w->refused))
        outcome = IS_REFUSED;
    else if (sim_chance(&link->rng, w->lost_request))
        outcome = IS_LOST;
    else if (is_write && sim_chance(&link->rng, w->lost_reply))
        outcome = REPLY_IS_LOST;
    else if (is_write && sim_chance(&link->rng, w->late))
        outcome = IS_LATE;
    if (outcome == IS_LOST)
        sim_sleep_ns(PATIENCE_NS);
    if (outcome == IS_LOST || outcome == REPLY_IS_LOST || outcome == IS_LATE)
        sim_count(SIM_COUNT_REQUESTS_LOST);
    return outcome;
}

/* The answer comes back, or the network goes away before it does. */
static void
receive_reply(struct link *link)
{
    sim_sleep_ns(MS / 10 + sim_below(&link->rng, MS));
}

static enum ramet_rc
no_answer(const char *key, struct ramet_err *err)
{
    sim_trace("no answer to a write of %s", key);
    return RAMET_FAIL(err, RAMET_EUNKNOWN, "bucket/%s: no answer", key);
}

static enum ramet_rc
refused(const char *key, struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_EUNREACHABLE, "bucket/%s: out of reach", key);
}

/* Of a read: false, and *out_rc, if it gets nothing. */
static bool
is_answered(struct link *link, const char *key, enum ramet_rc *out_rc,
            struct ramet_err *err)
{
    switch (send_request(link, false)) {
    case GOES_THROUGH:
        return true;
    case IS_LOST:
        *out_rc = RAMET_FAIL(err, RAMET_ETIMEOUT, "bucket/%s: no answer", key);
        return false;
    default:
        *out_rc = refused(key, err);
        return false;
    }
}

/* ---- writes --------------------------------------------------------------------- */

static struct parcel *
parcel_new(struct sim_bucket *bucket, const char *key)
{
    struct parcel *const parcel = calloc(1, sizeof(*parcel));

    if (parcel == NULL)
        abort();
    parcel->bucket = bucket;
    parcel->restores = bucket->restores;
    strcpy(parcel->key, key);
    return parcel;
}

static void
parcel_add(struct parcel *parcel, const void *data, size_t len)
{
    parcel->data = realloc(parcel->data, parcel->len + len + 1);
    if (parcel->data == NULL)
        abort();
    if (len > 0)
        memcpy(parcel->data + parcel->len, data, len);
    parcel->len += len;
}

static void
parcel_free(struct parcel *parcel)
{
    free(parcel->data);
    free(parcel);
}

static enum ramet_rc
deliver(const struct parcel *parcel, struct ramet_err *err)
{
    const struct iovec part = {parcel->data, parcel->len};
    enum ramet_rc rc;

    if (parcel->restores != parcel->bucket->restores)
        return no_answer(parcel->key, err);
    rc =
        ramet_objstore_put(parcel->bucket->objects, parcel->key, &part, 1, err);
    if (rc == RAMET_OK && strstr(parcel->key, "/commits/") != NULL)
        parcel->bucket->commits++;
    return rc;
}

static void *
deliver_late(void *arg)
{
    struct parcel *const parcel = arg;
    enum ramet_rc rc;

    sim_sleep_ns(parcel->delay_ns);
    rc = deliver(parcel, NULL);
    sim_trace("a late write of %s: %s", parcel->key, ramet_rc_name(rc));
    parcel->bucket->under_way--;
    parcel_free(parcel);
    return NULL;
}

/* Takes the parcel. */
static void
send_late(struct link *link, struct parcel *parcel)
{
    parcel->delay_ns = 1 + sim_below(&link->rng, 4000 * MS);
    parcel->bucket->under_way++;
    sim_thread_start(NULL, "courier", deliver_late, parcel);
}

/* Takes the parcel. A sender that is killed while the request is under way
 * takes nothing back: it is the network's from the first moment. */
static enum ramet_rc
post(struct link *link, struct parcel *parcel, struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    enum outcome outcome;
    enum ramet_rc rc;

    strcpy(key, parcel->key);
    outcome = send_request(link, true);
    if (outcome == IS_LATE) {
        send_late(link, parcel);
        sim_sleep_ns(PATIENCE_NS);
        return no_answer(key, err);
    }
    rc = outcome == IS_REFUSED ? refused(key, err)
         : outcome == IS_LOST  ? no_answer(key, err)
                               : deliver(parcel, err);
    if (outcome == GOES_THROUGH && sim_chance(&link->rng, link->weather->twice))
        send_late(link, parcel);
    else
        parcel_free(parcel);
    receive_reply(link);
    if (outcome == REPLY_IS_LOST) {
        sim_sleep_ns(PATIENCE_NS);
        return no_answer(key, err);
    }
    return rc;
}

static enum ramet_rc
link_put(struct ramet_objstore *store, const char *key,
         const struct iovec *parts, int part_count, struct ramet_err *err)
{
    struct link *const link = (struct link *)store;
    struct parcel *const parcel = parcel_new(link->bucket, key);

    for (int i = 0; i < part_count; i++)
        parcel_add(parcel, parts[i].iov_base, parts[i].iov_len);
    return post(link, parcel, err);
}

static enum ramet_rc
link_upload_begin(struct ramet_objstore *store, const char *key,
                  struct ramet_upload **out_upload, struct ramet_err *err)
{
    struct link *const link = (struct link *)store;
    struct upload *const upload = calloc(1, sizeof(*upload));

    (void)err;
    if (upload == NULL)
        abort();
    upload->base.store = store;
    upload->parcel = parcel_new(link->bucket, key);
    upload->next = link->uploads;
    link->uploads = upload;
    *out_upload = &upload->base;
    return RAMET_OK;
}

static enum ramet_rc
link_upload_write(struct ramet_upload *base, const void *data, size_t len,
                  struct ramet_err *err)
{
    struct upload *const upload = (struct upload *)base;

    (void)err;
    sim_yield();
    parcel_add(upload->parcel, data, len);
    return RAMET_OK;
}

/* The upload is no more; its parcel. */
static struct parcel *
close_upload(struct upload *upload)
{
    struct link *const link = (struct link *)upload->base.store;
    struct parcel *const parcel = upload->parcel;
    struct upload **at = &link->uploads;

    while (*at != upload)
        at = &(*at)->next;
    *at = upload->next;
    free(upload);
    return parcel;
}

static enum ramet_rc
link_upload_finish(struct ramet_upload *base, struct ramet_err *err)
{
    struct link *const link = (struct link *)base->store;

    return post(link, close_upload((struct upload *)base), err);
}

static void
link_upload_abort(struct ramet_upload *base)
{
    parcel_free(close_upload((struct upload *)base));
}

static enum ramet_rc
link_remove(struct ramet_objstore *store, const char *key,
            struct ramet_err *err)
{
    struct link *const link = (struct link *)store;
    const enum outcome outcome = send_request(link, true);
    enum ramet_rc rc;

    if (outcome == IS_REFUSED)
        return refused(key, err);
    if (outcome == IS_LOST || outcome == IS_LATE)
        return no_answer(key, err);
    rc = ramet_objstore_remove(link->bucket->objects, key, err);
    receive_reply(link);
    return outcome == REPLY_IS_LOST ? no_answer(key, err) : rc;
}

/* ---- reads ---------------------------------------------------------------------- */

static enum ramet_rc
link_read(struct ramet_objstore *store, const char *key, uint64_t offset,
          void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct link *const link = (struct link *)store;
    enum ramet_rc rc = RAMET_OK;

    if (!is_answered(link, key, &rc, err))
        return rc;
    rc = ramet_objstore_read(link->bucket->objects, key, offset, buf, len,
                             out_got, err);
    receive_reply(link);
    return rc;
}

static enum ramet_rc
link_size(struct ramet_objstore *store, const char *key,
          uint64_t *out_size_bytes, struct ramet_err *err)
{
    struct link *const link = (struct link *)store;
    enum ramet_rc rc = RAMET_OK;

    if (!is_answered(link, key, &rc, err))
        return rc;
    rc = ramet_objstore_size(link->bucket->objects, key, out_size_bytes, err);
    receive_reply(link);
    return rc;
}

static enum ramet_rc
link_list(struct ramet_objstore *store, const char *prefix, const char *after,
          ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    struct link *const link = (struct link *)store;
    enum ramet_rc rc = RAMET_OK;

    if (!is_answered(link, prefix, &rc, err))
        return rc;
    rc = ramet_objstore_list(link->bucket->objects, prefix, after, visit, ctx,
                             err);
    receive_reply(link);
    return rc;
}

static void
link_close(struct ramet_objstore *store)
{
    (void)store; /* the simulator's: sim_link_free() */
}

/* ---- making ----------------------------------------------------------------------- */

struct sim_bucket *
sim_bucket_new(void)
{
    struct sim_bucket *const bucket = calloc(1, sizeof(*bucket));

    if (bucket == NULL ||
        ramet_memstore_open(&bucket->objects, NULL) != RAMET_OK)
        abort();
    return bucket;
}

void
sim_bucket_free(struct sim_bucket *bucket)
{
    ramet_objstore_close(bucket->objects);
    if (bucket->copy != NULL)
        ramet_objstore_close(bucket->copy);
    free(bucket);
}

void
sim_bucket_visit(struct sim_bucket *bucket, ramet_objstore_visit *visit,
                 void *ctx)
{
    if (ramet_objstore_list(bucket->objects, "", "", visit, ctx, NULL) !=
        RAMET_OK)
        abort();
}

uint8_t *
sim_bucket_load(struct sim_bucket *bucket, const char *key, size_t *out_len)
{
    uint64_t size = 0;
    uint8_t *bytes;

    if (ramet_objstore_size(bucket->objects, key, &size, NULL) != RAMET_OK)
        return NULL;
    bytes = malloc((size_t)size + 1);
    if (bytes == NULL ||
        ramet_objstore_read(bucket->objects, key, 0, bytes, (size_t)size,
                            out_len, NULL) != RAMET_OK)
        abort();
    return bytes;
}

void
sim_bucket_replace(struct sim_bucket *bucket, const char *key,
                   const uint8_t *bytes, size_t len)
{
    const struct iovec part = {(void *)(uintptr_t)bytes, len};

    if (ramet_objstore_remove(bucket->objects, key, NULL) != RAMET_OK ||
        ramet_objstore_put(bucket->objects, key, &part, 1, NULL) != RAMET_OK)
        abort();
}

struct copying {
    struct ramet_objstore *from, *to;
};

static bool
copy_object(void *ctx, const char *key, uint64_t size_bytes)
{
    const struct copying *const copying = ctx;
    uint8_t *const bytes = malloc((size_t)size_bytes + 1);
    const struct iovec part = {bytes, (size_t)size_bytes};
    size_t got;

    if (bytes == NULL ||
        ramet_objstore_read(copying->from, key, 0, bytes, (size_t)size_bytes,
                            &got, NULL) != RAMET_OK ||
        ramet_objstore_put(copying->to, key, &part, 1, NULL) != RAMET_OK)
        abort();
    free(bytes);
    return true;
}

uint64_t
sim_bucket_copy(struct sim_bucket *bucket)
{
    struct copying copying = {.from = bucket->objects};

    if (ramet_memstore_open(&copying.to, NULL) != RAMET_OK ||
        ramet_objstore_list(bucket->objects, "", "", copy_object, &copying,
                            NULL) != RAMET_OK)
        abort();
    if (bucket->copy != NULL)
        ramet_objstore_close(bucket->copy);
    bucket->copy = copying.to;
    bucket->copied_commits = bucket->commits;
    return bucket->commits;
}

void
sim_bucket_restore(struct sim_bucket *bucket)
{
    ramet_objstore_close(bucket->objects);
    bucket->objects = bucket->copy;
    bucket->copy = NULL;
    bucket->commits = bucket->copied_commits;
    bucket->restores++;
}

void
sim_bucket_drain(const struct sim_bucket *bucket)
{
    while (bucket->under_way > 0)
        sim_sleep_ns(100 * MS);
}

struct ramet_objstore *
sim_link_new(struct sim_bucket *bucket, const struct sim_weather *weather,
             uint64_t seed)
{
    static const struct ramet_objstore_ops ops = {
        .put = link_put,
        .upload_begin = link_upload_begin,
        .upload_write = link_upload_write,
        .upload_finish = link_upload_finish,
        .upload_abort = link_upload_abort,
        .read = link_read,
        .size = link_size,
        .list = link_list,
        .remove = link_remove,
        .close = link_close,
    };
    struct link *const link = calloc(1, sizeof(*link));

    if (link == NULL)
        abort();
    link->base = (struct ramet_objstore){
        .ops = &ops,
        .traits = RAMET_STORE_LISTS_CHEAPLY | RAMET_STORE_IS_PAID,
        .name = "s3://bucket",
    };
    link->bucket = bucket;
    link->weather = weather;
    link->rng = seed;
    return &link->base;
}

uint64_t
sim_bucket_commits(const struct sim_bucket *bucket)
{
    return bucket->commits;
}

void
sim_link_free(struct ramet_objstore *store)
{
    struct link *const link = (struct link *)store;

    while (link->uploads != NULL)
        parcel_free(close_upload(link->uploads));
    free(link);
}
