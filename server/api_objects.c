/*
 * api_objects.c - objects of the store, as they are: read with ranges, written
 * once.
 *
 *   (1) What is written is checked as far as its kind allows before anybody
 *       can see it: the first bytes name the very object of the path.
 *   (2) A body that ends early, or is refused, leaves nothing behind.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "metastore/commit.h"
#include "pagestore/segment.h"
#include "server/conditional.h"
#include "server/server_impl.h"

#define MAP_HEADER_SIZE 40u
#define NAME_SIZE 48u
/* Answered in one piece up to here. */
#define WHOLE_MAX RAMET_HTTP_STREAM_BYTES

void
ramet_api_object_key(const struct call *call, char out[RAMET_KEY_MAX])
{
    char id[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&call->volume.id, id);
    switch (call->route) {
    case RAMET_ROUTE_STORE:
        (void)snprintf(out, RAMET_KEY_MAX, "ramet.json");
        return;
    case RAMET_ROUTE_SEGMENT:
        (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/segments/%.36s", id,
                       call->tail);
        return;
    case RAMET_ROUTE_MAP:
        (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/maps/%.53s", id,
                       call->tail);
        return;
    case RAMET_ROUTE_PROFILE:
        (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/profiles/%s/%.16s", id,
                       call->profile, call->tail);
        return;
    case RAMET_ROUTE_COMMIT:
        ramet_commit_key(&call->volume, call->lsn, out);
        return;
    default:
        assert(call->route == RAMET_ROUTE_NAME);
        (void)snprintf(out, RAMET_KEY_MAX, "names/%s/%.16s", call->name,
                       call->tail);
        return;
    }
}

/* ---- read --------------------------------------------------------------------- */

struct reading {
    struct ramet_objstore *store;
    char key[RAMET_KEY_MAX];
    uint64_t offset, left;
};

static enum ramet_rc
produce_object(void *state, struct ramet_buf *out, bool *out_done,
               struct ramet_err *err)
{
    struct reading *reading = state;
    const size_t len = reading->left < RAMET_HTTP_STREAM_BYTES
                           ? (size_t)reading->left
                           : RAMET_HTTP_STREAM_BYTES;
    uint8_t *room = ramet_buf_extend(out, len);
    enum ramet_rc rc;

    assert(reading->left > 0);
    if (room == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", reading->key);
    rc = ramet_objstore_read_full(reading->store, reading->key, reading->offset,
                                  room, len, err);
    reading->offset += len;
    reading->left -= len;
    *out_done = reading->left == 0;
    return rc;
}

static const struct ramet_http_stream_ops object_ops = {
    .produce = produce_object, .free = ramet_free};

static void
reply_object(struct call *call, const char *key, const struct byte_range *range,
             unsigned status)
{
    struct reading *reading = ramet_calloc(1, sizeof(*reading));

    assert(strlen(key) < RAMET_KEY_MAX);
    if (reading == NULL) {
        ramet_render_problem(call->rq, 503, RAMET_ENOMEM, "out of memory",
                             NULL);
        return;
    }
    reading->store = call->server->store;
    strcpy(reading->key, key);
    reading->offset = range->offset;
    reading->left = range->length;
    if (range->length <= WHOLE_MAX &&
        ramet_http_method_of(call->rq) == RAMET_HTTP_GET) {
        struct ramet_buf buf;
        struct ramet_err err;
        bool done = range->length == 0;
        enum ramet_rc rc = RAMET_OK;

        ramet_buf_init(&buf, WHOLE_MAX);
        if (!done)
            rc = produce_object(reading, &buf, &done, &err);
        ramet_free(reading);
        if (rc != RAMET_OK) {
            ramet_buf_done(&buf);
            ramet_api_failed(call, NULL, rc, &err);
            return;
        }
        ramet_render_reply(call->rq, status, RAMET_TYPE_OBJECT, &buf);
        return;
    }
    ramet_http_reply_stream(
        call->rq, status, RAMET_TYPE_OBJECT, range->length,
        &(const struct ramet_http_stream){.ops = &object_ops,
                                          .state = reading,
                                          .state_bytes = sizeof(*reading)});
}

static bool
is_of_a_volume(const struct call *call)
{
    return call->route != RAMET_ROUTE_STORE && call->route != RAMET_ROUTE_NAME;
}

/* Who asks found that what was sent is not right. */
static bool
is_doubted(const struct call *call)
{
    const char *const control = ramet_http_header(call->rq, "Cache-Control");

    return control != NULL && strcasecmp(control, "no-cache") == 0;
}

void
ramet_api_object(struct call *call)
{
    char key[RAMET_KEY_MAX], etag[RAMET_NAME_MAX + 8];
    struct byte_range range;
    struct ramet_err err;
    unsigned status;
    uint64_t size;
    enum ramet_rc rc;

    if (is_of_a_volume(call) && !ramet_api_resolve(call))
        return;
    ramet_api_object_key(call, key);
    rc = ramet_objstore_size(call->server->store, key, &size, &err);
    if (rc != RAMET_OK) {
        ramet_api_failed(call, NULL, rc, &err);
        return;
    }
    (void)snprintf(etag, sizeof(etag), "\"%s\"",
                   call->tail[0] != '\0' ? call->tail : "ramet.json");
    if (call->route == RAMET_ROUTE_STORE)
        ramet_http_set_header(call->rq, "Cache-Control", "no-store");
    else
        ramet_api_immutable(call, etag);
    if (!ramet_api_select(call, etag, 0, size, &range, &status))
        return;
    if (is_doubted(call))
        ramet_cache_doubt(call->server->cache, key, range.offset, range.length);
    reply_object(call, key, &range, status);
}

/* ---- write -------------------------------------------------------------------- */

/* Keeps back the first bytes until they can be checked. */
struct writing {
    struct call call;            /* a copy: the sink may outlive the request */
    struct ramet_upload *upload; /* NULL: not begun */
    uint8_t head[NAME_SIZE];
    size_t head_len, head_want;
    char key[RAMET_KEY_MAX];
};

static bool
names_this_map(const struct call *call, const uint8_t *head)
{
    static const uint8_t magic[8] = {'R', 'A', 'M', 'T', 'M', 'A', 'P', 3};
    char lsn[17];

    assert(call->route == RAMET_ROUTE_MAP);
    (void)snprintf(lsn, sizeof(lsn), "%016" PRIx64, ramet_get_le64(head + 24));
    return memcmp(head, magic, sizeof(magic)) == 0 &&
           memcmp(head + 8, call->volume.id.bytes, RAMET_ID_SIZE) == 0 &&
           memcmp(lsn, call->tail, 16) == 0;
}

/* Byte table in docs/format.md, "Names". */
static bool
names_this_name(const struct call *call, const uint8_t *head)
{
    static const uint8_t magic[8] = {'R', 'A', 'M', 'T', 'N', 'A', 'M', 1};
    uint8_t hashed[RAMET_NAME_MAX + 32];
    const size_t name_len = strlen(call->name);
    struct ramet_hash hash;
    char seq[17];

    assert(call->route == RAMET_ROUTE_NAME && name_len <= RAMET_NAME_MAX);
    (void)snprintf(seq, sizeof(seq), "%016" PRIx64,
                   UINT64_MAX - ramet_get_le64(head + 8));
    memcpy(hashed, call->name, name_len);
    memcpy(hashed + name_len, head, 32);
    hash = ramet_hash128(hashed, name_len + 32);
    return memcmp(head, magic, sizeof(magic)) == 0 &&
           strcmp(seq, call->tail) == 0 &&
           memcmp(head + 32, hash.bytes, RAMET_HASH_SIZE) == 0;
}

static enum ramet_rc
check_head(const struct writing *writing, struct ramet_err *err)
{
    const struct call *call = &writing->call;
    struct ramet_sid sid;
    uint32_t page_size;
    bool ok = false;

    assert(writing->head_len == writing->head_want); /* invariant (1) */
    switch (call->route) {
    case RAMET_ROUTE_SEGMENT:
        if (!ramet_id_parse(call->tail, &sid.id))
            break;
        return ramet_segment_header_check(writing->head, &sid, &page_size, err);
    case RAMET_ROUTE_MAP:
        ok = names_this_map(call, writing->head);
        break;
    case RAMET_ROUTE_NAME:
        ok = names_this_name(call, writing->head);
        break;
    default:
        break;
    }
    if (ok)
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "the body is not the object that the path names");
}

static enum ramet_rc
begin_upload(struct writing *writing, struct ramet_err *err)
{
    const struct call *call = &writing->call;
    enum ramet_rc rc = check_head(writing, err);

    assert(writing->upload == NULL);
    if (rc == RAMET_OK && call->route == RAMET_ROUTE_NAME)
        rc = ramet_catalog_name_follows(call->server->store, call->name,
                                        ramet_get_le64(writing->head + 8), err);
    if (rc == RAMET_OK)
        rc = ramet_objstore_upload_begin(call->server->store, writing->key,
                                         &writing->upload, err);
    if (rc == RAMET_OK)
        rc = ramet_objstore_upload_write(writing->upload, writing->head,
                                         writing->head_len, err);
    return rc;
}

static enum ramet_rc
sink_write(void *state, const void *data, size_t len, struct ramet_err *err)
{
    struct writing *writing = state;
    const uint8_t *bytes = data;

    assert(writing->head_len <= writing->head_want);
    if (writing->upload == NULL) {
        const size_t missing = writing->head_want - writing->head_len;
        const size_t n = len < missing ? len : missing;
        enum ramet_rc rc;

        memcpy(writing->head + writing->head_len, bytes, n);
        writing->head_len += n;
        bytes += n;
        len -= n;
        if (writing->head_len < writing->head_want)
            return RAMET_OK;
        rc = begin_upload(writing, err);
        if (rc != RAMET_OK)
            return rc;
    }
    if (len == 0)
        return RAMET_OK;
    if (writing->call.route == RAMET_ROUTE_NAME)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "a name object has %u bytes",
                          NAME_SIZE);
    return ramet_objstore_upload_write(writing->upload, bytes, len, err);
}

/* False: the volume was deleted meanwhile. (What a tombstone of a name names is
 * nil, and never deleted.) */
static bool
publish(struct writing *writing, enum ramet_rc *rc, struct ramet_err *err)
{
    struct call *call = &writing->call;

    assert(writing->upload != NULL);
    if (call->route == RAMET_ROUTE_NAME)
        memcpy(&call->volume, writing->head + 16, sizeof(call->volume));
    if (!ramet_gone_enter(call->server->gone, &call->volume))
        return false;
    *rc = ramet_objstore_upload_finish(writing->upload, err);
    writing->upload = NULL;
    ramet_gone_leave(call->server->gone, &call->volume);
    return true;
}

static void
sink_finish(void *state, struct ramet_http_request *rq, enum ramet_rc rc,
            const struct ramet_err *sink_err)
{
    struct writing *writing = state;
    struct ramet_err err = *sink_err;

    if (rc == RAMET_OK && writing->upload == NULL)
        rc = RAMET_FAIL(&err, RAMET_ECORRUPT, "the body is only %zu bytes",
                        writing->head_len);
    if (rc == RAMET_OK && !publish(writing, &rc, &err))
        ramet_api_gone(rq, &writing->call.volume);
    else if (rc == RAMET_OK)
        ramet_http_reply(rq, 201, NULL, NULL, 0);
    else if (rc == RAMET_EEXIST)
        ramet_render_problem(rq, 412, rc, "there is such an object already",
                             NULL);
    else
        ramet_api_refused(&writing->call, rc, &err);
}

static void
sink_free(void *state)
{
    struct writing *writing = state;

    if (writing->upload != NULL)
        ramet_objstore_upload_abort(writing->upload);
    ramet_free(writing);
}

static const struct ramet_http_sink_ops sink_ops = {
    .write = sink_write, .finish = sink_finish, .free = sink_free};

void
ramet_api_put_begin(struct call *call)
{
    const char *match = ramet_http_header(call->rq, "If-None-Match");
    struct writing *writing;

    if (match == NULL || strcmp(match, "*") != 0) {
        ramet_render_problem(call->rq, 428, RAMET_EINVAL,
                             "objects are written once: send If-None-Match: *",
                             NULL);
        return;
    }
    if (!call->has_id && call->route != RAMET_ROUTE_NAME) {
        ramet_render_problem(call->rq, 400, RAMET_EINVAL,
                             "write objects by the volume's id, not its name",
                             NULL);
        return;
    }
    if (call->has_id && ramet_gone_has(call->server->gone, &call->volume)) {
        ramet_api_gone(call->rq, &call->volume);
        return;
    }
    if (ramet_http_content_length(call->rq) != UINT64_MAX &&
        ramet_http_content_length(call->rq) > RAMET_OBJECT_BODY_MAX) {
        ramet_render_problem(call->rq, 413, RAMET_ETOOBIG,
                             "objects have at most 80 MiB", NULL);
        return;
    }
    writing = ramet_calloc(1, sizeof(*writing));
    if (writing != NULL) {
        writing->call = *call;
        writing->head_want = call->route == RAMET_ROUTE_NAME ? NAME_SIZE
                             : call->route == RAMET_ROUTE_MAP
                                 ? MAP_HEADER_SIZE
                                 : RAMET_SEGMENT_HEADER_SIZE;
        assert(writing->head_want <= sizeof(writing->head));
        ramet_api_object_key(call, writing->key);
    }
    if (writing == NULL || !ramet_http_want_sink(call->rq, &sink_ops, writing,
                                                 RAMET_OBJECT_BODY_MAX)) {
        ramet_free(writing);
        ramet_render_problem(call->rq, 503, RAMET_ENOMEM, "out of memory",
                             NULL);
    }
}
