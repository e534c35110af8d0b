/*
 * upload.c - an object that is written while it is made.
 *
 * What fits into one part is one PUT in the end. Of what does not, full parts
 * go out while the next one fills:
 *
 *   (1) memory: PARTS_IN_FLIGHT + 1 parts of PART_BYTES, whatever the object's
 *       size up to PARTS_MAX of them
 *   (2) what is begun is completed or aborted, unless the process dies: a
 *       bucket should have a rule that aborts uploads older than a day
 *   (3) before it is completed the key is looked at, for not every service
 *       honours a condition there (s3store.h, invariant (1))
 *
 * Layer: pagestore.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/waiting.h"
#include "pagestore/s3/answer.h"
#include "pagestore/s3/s3store_impl.h"
#include "pagestore/s3/xml.h"

#define PART_BYTES (5u << 20) /* S3's least, but for the last */
#define PARTS_IN_FLIGHT 2u
#define PARTS_MAX 10000u
#define UPLOAD_ID_MAX 1024u
#define ABORT_MS 2000u
#define ETAG_MAX 128u

struct part {
    uint8_t *data; /* PART_BYTES; NULL: not needed yet */
    size_t len;
    bool under_way;
    uint32_t number;
    char query[UPLOAD_ID_MAX * 3 + 64];
    struct iovec body;
    struct ramet_s3_request request;
    struct ramet_s3_try a_try;
};

struct s3_upload {
    struct ramet_upload base;
    struct ramet_s3store *s3;
    char key[RAMET_KEY_MAX], full[RAMET_S3_KEY_MAX];
    char id[UPLOAD_ID_MAX]; /* "": nothing was begun in the bucket */
    uint64_t size;
    struct part *parts[PARTS_IN_FLIGHT + 1]; /* a ring */
    unsigned filling;
    uint32_t part_count;
    char (*etags)[ETAG_MAX];
    uint32_t etag_room;
    enum ramet_rc failed; /* what an earlier part came to */
    struct ramet_err why;
};

static void
upload_free(struct s3_upload *up)
{
    for (unsigned i = 0; i <= PARTS_IN_FLIGHT; i++) {
        if (up->parts[i] == NULL)
            continue;
        assert(!up->parts[i]->under_way); /* invariant (2) */
        ramet_s3_keys_wipe(&up->parts[i]->a_try.keys);
        ramet_free(up->parts[i]->data);
        ramet_free(up->parts[i]);
    }
    ramet_free(up->etags);
    ramet_free(up);
}

static enum ramet_rc
no_memory(const struct s3_upload *up, struct ramet_err *err)
{
    assert(up->key[0] != '\0');
    return RAMET_FAIL(err, RAMET_ENOMEM, "%s: %s: out of memory", up->s3->name,
                      up->key);
}

enum ramet_rc
ramet_s3_upload_begin(struct ramet_objstore *store, const char *key,
                      struct ramet_upload **out_upload, struct ramet_err *err)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;
    struct s3_upload *up;
    enum ramet_rc rc = ramet_s3store_prove(s3, err);

    assert(ramet_key_valid(key));
    if (rc != RAMET_OK)
        return rc;
    up = ramet_calloc(1, sizeof(*up));
    if (up == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", s3->name);
    up->base.store = store;
    up->s3 = s3;
    (void)snprintf(up->key, sizeof(up->key), "%s", key);
    ramet_s3store_key(s3, key, up->full);
    *out_upload = &up->base;
    return RAMET_OK;
}

/* ---- requests about it --------------------------------------------------- */

/* "partNumber=7&uploadId=…" or "uploadId=…" */
static bool
make_query(const struct s3_upload *up, uint32_t part, char *out, size_t size)
{
    struct ramet_buf escaped;
    int n;

    assert(up->id[0] != '\0' && part <= PARTS_MAX);
    ramet_buf_init(&escaped, 3 * UPLOAD_ID_MAX + 1);
    ramet_sigv4_escape(&escaped, up->id, false);
    ramet_buf_u8(&escaped, 0);
    n = escaped.failed != RAMET_OK ? -1
        : part > 0
            ? snprintf(out, size, "partNumber=%u&uploadId=%s", part,
                       (const char *)escaped.data)
            : snprintf(out, size, "uploadId=%s", (const char *)escaped.data);
    ramet_buf_done(&escaped);
    return n > 0 && (size_t)n < size;
}

static enum ramet_rc
create(struct s3_upload *up, struct ramet_err *err)
{
    struct ramet_s3_request request = {.method = "POST",
                                       .kind = RAMET_REQUEST_POST,
                                       .key = up->full,
                                       .query = "uploads="};
    enum ramet_rc rc = ramet_s3_perform(&up->s3->caller, &request, err);

    assert(up->id[0] == '\0' && up->part_count == 0);
    if (rc == RAMET_OK &&
        (!ramet_s3_field(request.answer.data, request.answer.len,
                         "InitiateMultipartUploadResult/UploadId", up->id,
                         sizeof(up->id)) ||
         up->id[0] == '\0')) {
        up->id[0] = '\0';
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "%s: %s: no id for an upload",
                        up->s3->name, up->key);
    }
    ramet_buf_done(&request.answer);
    return rc;
}

static enum ramet_rc
keep_etag(struct s3_upload *up, uint32_t number, const char *etag,
          struct ramet_err *err)
{
    assert(number >= 1 && number <= up->part_count);
    if (number > up->etag_room) {
        const uint32_t room = up->etag_room == 0 ? 16 : 2 * up->etag_room;
        char(*grown)[ETAG_MAX] =
            ramet_realloc(up->etags, room * sizeof(*up->etags));

        if (grown == NULL)
            return no_memory(up, err);
        up->etags = grown;
        up->etag_room = room;
    }
    if (etag[0] == '\0' || strlen(etag) >= ETAG_MAX ||
        strpbrk(etag, "<>&") != NULL)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: %s: a part without an ETag",
                          up->s3->name, up->key);
    assert(number <= up->etag_room);
    strcpy(up->etags[number - 1], etag);
    return RAMET_OK;
}

/* It went out; if that came to nothing, once more, and this time all tries. */
static enum ramet_rc
collect(struct s3_upload *up, struct part *part, struct ramet_err *err)
{
    const struct ramet_s3_caller *const caller = &up->s3->caller;
    struct ramet_s3_verdict v;
    const char *etag = part->a_try.exchange.etag;
    enum ramet_rc rc = RAMET_OK;

    assert(part->under_way);
    part->under_way = false;
    ramet_s3_try_end(caller, &part->request, &part->a_try);
    ramet_s3_judge(&part->a_try.exchange, &v);
    ramet_buf_done(&part->a_try.exchange.answer);
    if (v.rc != RAMET_OK) {
        rc = ramet_s3_perform(caller, &part->request, err);
        ramet_buf_done(&part->request.answer);
        etag = part->request.etag;
    }
    return rc == RAMET_OK ? keep_etag(up, part->number, etag, err) : rc;
}

static enum ramet_rc
send_part(struct s3_upload *up, struct part *part, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(up->id[0] != '\0' && part->len > 0 && !part->under_way);
    if (up->part_count == PARTS_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "%s: %s: more than %u parts",
                          up->s3->name, up->key, PARTS_MAX);
    part->number = ++up->part_count;
    if (!make_query(up, part->number, part->query, sizeof(part->query)))
        return no_memory(up, err);
    part->body = (struct iovec){part->data, part->len};
    part->request = (struct ramet_s3_request){.method = "PUT",
                                              .kind = RAMET_REQUEST_PUT,
                                              .key = up->full,
                                              .query = part->query,
                                              .parts = &part->body,
                                              .part_count = 1};
    rc = ramet_s3_try_start(&up->s3->caller, &part->request, &part->a_try, err);
    part->under_way = rc == RAMET_OK;
    return rc;
}

/* ---- write --------------------------------------------------------------- */

/* The one that is being filled, with memory. */
static struct part *
current_part(struct s3_upload *up)
{
    struct part **const slot = &up->parts[up->filling];

    assert(up->filling <= PARTS_IN_FLIGHT); /* invariant (1) */
    if (*slot == NULL)
        *slot = ramet_calloc(1, sizeof(**slot));
    if (*slot != NULL && (*slot)->data == NULL)
        (*slot)->data = ramet_alloc(PART_BYTES);
    return *slot != NULL && (*slot)->data != NULL ? *slot : NULL;
}

/* Send the full part, and turn to the next. */
static enum ramet_rc
turn(struct s3_upload *up, struct ramet_err *err)
{
    struct part *next;
    enum ramet_rc rc = RAMET_OK;

    assert(up->parts[up->filling]->len == PART_BYTES);
    if (up->id[0] == '\0')
        rc = create(up, err);
    if (rc == RAMET_OK)
        rc = send_part(up, up->parts[up->filling], err);
    if (rc != RAMET_OK)
        return rc;
    up->filling = (up->filling + 1) % (PARTS_IN_FLIGHT + 1);
    next = up->parts[up->filling];
    if (next != NULL && next->under_way)
        rc = collect(up, next, err);
    if (next != NULL)
        next->len = 0;
    return rc;
}

static enum ramet_rc
append(struct s3_upload *up, const uint8_t *data, size_t len,
       struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    while (len > 0 && rc == RAMET_OK) {
        struct part *part = current_part(up);
        size_t n;

        if (part == NULL)
            return no_memory(up, err);
        if (part->len == PART_BYTES) { /* there is more: it is not the last */
            rc = turn(up, err);
            continue;
        }
        assert(part->len < PART_BYTES && !part->under_way);
        n = PART_BYTES - part->len < len ? PART_BYTES - part->len : len;
        memcpy(part->data + part->len, data, n);
        part->len += n;
        data += n;
        len -= n;
        up->size += n;
    }
    return rc;
}

enum ramet_rc
ramet_s3_upload_write(struct ramet_upload *upload, const void *data, size_t len,
                      struct ramet_err *err)
{
    struct s3_upload *const up = (struct s3_upload *)upload;

    assert(data != NULL || len == 0);
    if (up->failed == RAMET_OK)
        up->failed = append(up, data, len, &up->why);
    if (up->failed != RAMET_OK && err != NULL)
        *err = up->why;
    return up->failed;
}

/* ---- the end ------------------------------------------------------------- */

static enum ramet_rc
finish_small(struct s3_upload *up, struct ramet_err *err)
{
    const struct part *const part = up->parts[0];
    const struct iovec body = {part != NULL ? part->data : NULL,
                               part != NULL ? part->len : 0};

    assert(up->id[0] == '\0' && up->filling == 0 && up->part_count == 0);
    return ramet_s3store_put_now(up->s3, up->key, &body, 1, err);
}

static enum ramet_rc
collect_all(struct s3_upload *up, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    for (unsigned i = 0; i <= PARTS_IN_FLIGHT && rc == RAMET_OK; i++)
        if (up->parts[i] != NULL && up->parts[i]->under_way)
            rc = collect(up, up->parts[i], err);
    return rc;
}

static void
list_parts(const struct s3_upload *up, struct ramet_buf *out)
{
    static const char head[] = "<CompleteMultipartUpload>";
    static const char tail[] = "</CompleteMultipartUpload>";
    char line[ETAG_MAX + 100];

    assert(up->part_count > 0 && up->part_count <= up->etag_room);
    ramet_buf_bytes(out, head, sizeof(head) - 1);
    for (uint32_t i = 0; i < up->part_count; i++) {
        (void)snprintf(line, sizeof(line),
                       "<Part><ETag>%s</ETag><PartNumber>%u</PartNumber>"
                       "</Part>",
                       up->etags[i], i + 1);
        ramet_buf_bytes(out, line, strlen(line));
    }
    ramet_buf_bytes(out, tail, sizeof(tail) - 1);
}

/* Its answer was lost, or says that the upload is gone: is the object there? */
static enum ramet_rc
look(struct s3_upload *up, enum ramet_rc otherwise, struct ramet_err *err)
{
    struct ramet_err own;
    uint64_t size = 0;
    const enum ramet_rc rc =
        ramet_objstore_size(&up->s3->base, up->key, &size, &own);

    assert(otherwise == RAMET_EUNKNOWN || otherwise == RAMET_ENOTFOUND);
    if (rc == RAMET_OK && size == up->size)
        return RAMET_OK;
    if (rc == RAMET_OK)
        return RAMET_FAIL(err, RAMET_EEXIST, "%s: %s: is there already",
                          up->s3->name, up->key);
    return otherwise; /* with its own text */
}

static enum ramet_rc
complete(struct s3_upload *up, struct ramet_err *err)
{
    char query[UPLOAD_ID_MAX * 3 + 64];
    struct ramet_buf body;
    struct iovec part;
    struct ramet_s3_request request = {.method = "POST",
                                       .kind = RAMET_REQUEST_POST,
                                       .key = up->full,
                                       .query = query,
                                       .parts = &part,
                                       .part_count = 1,
                                       .if_none_match = true,
                                       .once = true};
    struct ramet_s3_error error;
    enum ramet_rc rc;

    assert(up->id[0] != '\0' && up->part_count > 0);
    ramet_buf_init(&body, PARTS_MAX * (ETAG_MAX + 100u) + 100u);
    list_parts(up, &body);
    if (body.failed != RAMET_OK || !make_query(up, 0, query, sizeof(query))) {
        ramet_buf_done(&body);
        return no_memory(up, err);
    }
    part = (struct iovec){body.data, body.len};
    rc = ramet_s3_perform(&up->s3->caller, &request, err);
    /* It may say 200 at first, and in the body that it failed. */
    if (rc == RAMET_OK &&
        ramet_s3_error_parse(request.answer.data, request.answer.len, &error))
        rc = RAMET_FAIL(err, RAMET_EUNREACHABLE, "%s: %s: %s: %s", up->s3->name,
                        up->key, error.code, error.message);
    if (rc == RAMET_EUNKNOWN || rc == RAMET_ENOTFOUND)
        rc = look(up, rc, err);
    ramet_buf_done(&request.answer);
    ramet_buf_done(&body);
    return rc;
}

/* Invariant (3), asked for while the last parts go out. */
struct look_before {
    struct ramet_s3_request request;
    struct ramet_s3_try a_try;
    bool under_way;
};

static void
begin_look(struct s3_upload *up, struct look_before *look)
{
    assert(up->id[0] != '\0');
    look->request = (struct ramet_s3_request){
        .method = "HEAD", .kind = RAMET_REQUEST_HEAD, .key = up->full};
    look->under_way = ramet_s3_try_start(&up->s3->caller, &look->request,
                                         &look->a_try, NULL) == RAMET_OK;
}

/* RAMET_EEXIST: the key is taken. One that came to nothing is asked again. */
static enum ramet_rc
end_look(struct s3_upload *up, struct look_before *look, struct ramet_err *err)
{
    struct ramet_s3_verdict v = {.rc = RAMET_EUNREACHABLE};
    uint64_t size;
    enum ramet_rc rc;

    assert(up->id[0] != '\0');
    if (look->under_way) {
        ramet_s3_try_end(&up->s3->caller, &look->request, &look->a_try);
        ramet_s3_judge(&look->a_try.exchange, &v);
        ramet_buf_done(&look->a_try.exchange.answer);
    }
    rc = v.rc;
    if (rc != RAMET_OK && rc != RAMET_ENOTFOUND)
        rc = ramet_objstore_size(&up->s3->base, up->key, &size, err);
    if (rc == RAMET_OK)
        return RAMET_FAIL(err, RAMET_EEXIST, "%s: %s: is there already",
                          up->s3->name, up->key);
    return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
}

static enum ramet_rc
finish_large(struct s3_upload *up, struct ramet_err *err)
{
    struct look_before *const look = ramet_alloc(sizeof(*look));
    struct ramet_err own;
    enum ramet_rc rc, looked;

    assert(up->parts[up->filling] != NULL);
    if (look == NULL)
        return no_memory(up, err);
    rc = send_part(up, up->parts[up->filling], err);
    if (rc == RAMET_OK) {
        begin_look(up, look);
        rc = collect_all(up, err);
        looked = end_look(up, look, &own);
        if (rc == RAMET_OK && looked != RAMET_OK && err != NULL)
            *err = own;
        rc = rc == RAMET_OK ? looked : rc;
        ramet_s3_keys_wipe(&look->a_try.keys);
    }
    ramet_free(look);
    return rc == RAMET_OK ? complete(up, err) : rc;
}

/* What is under way is given up; what is in the bucket is taken back. */
static void
take_back(struct s3_upload *up)
{
    struct ramet_s3_caller brief = up->s3->caller;
    const struct ramet_waiter *waiter;
    char query[UPLOAD_ID_MAX * 3 + 64];
    struct ramet_s3_request request = {.method = "DELETE",
                                       .kind = RAMET_REQUEST_DELETE,
                                       .key = up->full,
                                       .query = query};

    assert(up->part_count <= PARTS_MAX);
    for (unsigned i = 0; i <= PARTS_IN_FLIGHT; i++) {
        struct part *const part = up->parts[i];

        if (part == NULL || !part->under_way)
            continue;
        ramet_s3_cancel(up->s3->caller.bucket->engine, &part->a_try.exchange);
        ramet_s3_try_end(&up->s3->caller, &part->request, &part->a_try);
        ramet_buf_done(&part->a_try.exchange.answer);
        part->under_way = false;
    }
    if (up->id[0] == '\0' || !make_query(up, 0, query, sizeof(query)))
        return;
    /* Also for a caller who has had enough, and then not for long. */
    waiter = ramet_waiting_set(NULL);
    if (brief.stall_timeout_ms > ABORT_MS)
        brief.stall_timeout_ms = ABORT_MS;
    if (ramet_s3_perform(&brief, &request, NULL) == RAMET_OK)
        up->id[0] = '\0'; /* else the bucket's rule sees to it */
    (void)ramet_waiting_set(waiter);
    ramet_buf_done(&request.answer);
}

enum ramet_rc
ramet_s3_upload_finish(struct ramet_upload *upload, struct ramet_err *err)
{
    struct s3_upload *const up = (struct s3_upload *)upload;
    enum ramet_rc rc = up->failed;

    assert(up->base.store == &up->s3->base);
    if (rc != RAMET_OK && err != NULL)
        *err = up->why;
    if (rc == RAMET_OK)
        rc = up->id[0] == '\0' ? finish_small(up, err) : finish_large(up, err);
    if (rc != RAMET_OK && rc != RAMET_EUNKNOWN)
        take_back(up);
    upload_free(up);
    return rc;
}

void
ramet_s3_upload_abort(struct ramet_upload *upload)
{
    struct s3_upload *const up = (struct s3_upload *)upload;

    assert(up->base.store == &up->s3->base);
    take_back(up);
    upload_free(up);
}
