/*
 * http_open.c - opening a volume of a server: one request for which one it is, its
 * newest commit, and the pages that all who open it read.
 *
 * What comes is no more than what was asked for one by one: the store is told
 * which keys are the newest, and keeps the ranges; who reads them verifies all
 * of it as ever.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/http_bring.h"
#include "client/remote/http_pages.h"
#include "client/remote/http_store.h"
#include "metastore/catalog.h"

#define ANSWER_MAX (4u << 20)

struct opening {
    const struct ramet_http_bring *with;
    struct ramet_objstore *store;
    const struct ramet_opening_question *question;
    struct ramet_pages_stream stream;
};

static void
take_opened(void *ctx, const struct ramet_opened *opened)
{
    const struct opening *const o = ctx;
    char id[RAMET_ID_TEXT_SIZE], key[RAMET_KEY_MAX], prefix[RAMET_KEY_MAX];
    uint8_t object[RAMET_NAME_OBJECT_SIZE];

    assert(ramet_name_valid(o->question->name));
    ramet_id_format(&opened->volume.id, id);
    if (opened->name_seq > 0) {
        ramet_catalog_name_object(o->question->name, opened->name_seq,
                                  &opened->volume, key, object);
        (void)snprintf(prefix, sizeof(prefix), "names/%s/", o->question->name);
        ramet_ranges_put(o->with->ranges, key, 0, object, sizeof(object), true);
        ramet_http_store_tell(o->store, prefix, key, NULL);
    }
    if (opened->head.lsn > 0) {
        (void)snprintf(prefix, sizeof(prefix), "volumes/%s/commits/", id);
        ramet_commit_key(&opened->volume, opened->head.lsn, key);
        ramet_http_store_tell(o->store, prefix, key, &opened->head.hash);
    }
}

static void
take_profile(void *ctx, const uint8_t *object, size_t len)
{
    const struct opening *const o = ctx;

    assert(o->question->profile != NULL && o->question->out_profile != NULL);
    ramet_buf_bytes(o->question->out_profile, object, len);
}

static void
take_range(void *ctx, const char *key, uint64_t offset, const uint8_t *data,
           size_t len, bool ends_object)
{
    const struct opening *const o = ctx;

    ramet_ranges_put(o->with->ranges, key, offset, data, len, ends_object);
}

static enum ramet_rc
take_bytes(void *ctx, const uint8_t *data, size_t len, struct ramet_err *err)
{
    struct opening *const o = ctx;

    return ramet_pages_stream_feed(&o->stream, data, len, err);
}

enum ramet_rc
ramet_http_open(const struct ramet_http_bring *with,
                struct ramet_objstore *store,
                const struct ramet_opening_question *question,
                struct ramet_err *err)
{
    const struct ramet_vid nobody = {.id = {{0}}};
    struct opening o = {.with = with, .store = store, .question = question};
    const char *const profile = question->profile;
    char path[64 + 2 * RAMET_NAME_MAX];
    struct ramet_http_call call = {
        .method = "GET",
        .path = path,
        .take = take_bytes,
        .take_ctx = &o,
        .body_max = ANSWER_MAX,
        .fresh = true,
    };
    enum ramet_rc rc;

    if (!ramet_name_valid(question->name))
        return RAMET_OK; /* whoever asks next says so */
    assert(profile == NULL || strlen(profile) <= RAMET_NAME_MAX);
    assert(profile == NULL || question->out_profile != NULL);
    (void)snprintf(path, sizeof(path), "/v1/volumes/%s/open%s%s",
                   question->name, profile != NULL ? "?profile=" : "",
                   profile != NULL ? profile : "");
    ramet_pages_stream_init(&o.stream, &nobody, take_range, &o);
    o.stream.opened = take_opened;
    o.stream.profile = profile != NULL ? take_profile : NULL;
    rc = ramet_http_perform(with->pool, &call, err);
    ramet_pages_stream_done(&o.stream);
    ramet_buf_done(&call.body);
    /* Other failures show when what did not come is asked for. */
    return rc == RAMET_EUNREACHABLE || rc == RAMET_ETIMEOUT ||
                   rc == RAMET_ECANCELLED
               ? rc
               : RAMET_OK;
}
