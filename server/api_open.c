/*
 * api_open.c - all that whoever opens a volume asks first, in one answer: which
 * volume a name stands for, its newest commit, and the pages that everybody
 * reads, with all that leads to them.
 */
#include "core/alloc.h"

#include "metastore/profile.h"
#include "server/opening.h"
#include "server/pages_answer.h"
#include <assert.h>

static struct ramet_open_volume *
find_volume(struct call *call, uint64_t *out_seq)
{
    struct ramet_err err;
    enum ramet_rc rc;

    assert(out_seq != NULL);
    *out_seq = 0;
    if (!call->has_id) {
        rc = ramet_catalog_newest_name(call->server->store, call->name, out_seq,
                                       &call->volume, &err);
        if (rc != RAMET_OK) {
            ramet_api_failed(call, NULL, rc, &err);
            return NULL;
        }
        call->has_id = true; /* it is resolved */
    }
    return ramet_api_open_volume(call);
}

/* The pages as a request for them. False: there are none, or no memory. */
static bool
choose(struct call *call, struct ramet_open_volume *vol,
       const struct ramet_head *head, struct ramet_pages_request *out)
{
    uint32_t pgnos[RAMET_OPENING_PAGES];
    size_t count = ramet_openings_choose(
        call->server->openings, ramet_open_volume_history(vol),
        call->server->store, ramet_open_volume_id(vol), head, pgnos);

    assert(count <= RAMET_OPENING_PAGES);
    if (count == 0 && head->page_count > 0) {
        pgnos[0] = 1; /* for the way to it */
        count = 1;
    }
    *out = (struct ramet_pages_request){
        .flags = RAMET_PAGES_METADATA | RAMET_PAGES_DICTS | RAMET_PAGES_HASH,
        .at = ramet_head_point(head),
        .page_count = (uint32_t)count,
        .run_count = (uint32_t)count,
    };
    if (count > 0)
        out->runs = ramet_calloc(count, sizeof(*out->runs));
    if (out->runs == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        out->runs[i] = (struct ramet_pages_run){pgnos[i], pgnos[i]};
    return true;
}

/* The profile that the call names, if there is one. That it can't be read keeps
 * nobody from opening. */
static void
add_profile(struct call *call, struct ramet_buf *out)
{
    const char *const name = ramet_http_query(call->rq, "profile");
    uint8_t *object;
    size_t len = 0;

    if (name == NULL || !ramet_name_valid(name))
        return;
    object = ramet_alloc(RAMET_PROFILE_OBJECT_MAX);
    if (object != NULL &&
        ramet_profiles_read(call->server->profiles, call->server->store,
                            &call->volume, name, object, &len,
                            NULL) == RAMET_OK &&
        len > 0)
        ramet_range_profile(out, object, len);
    ramet_free(object);
}

/* Takes over `vol`. */
static void
reply(struct call *call, struct ramet_open_volume *vol,
      const struct ramet_head *head, uint64_t seq)
{
    struct ramet_pages_request request;
    struct ramet_buf first;
    bool has_pages;

    assert(vol != NULL && call->has_id);
    ramet_buf_init(&first, RAMET_HTTP_STREAM_BYTES);
    ramet_range_opened(&first, &call->volume, seq, head);
    add_profile(call, &first);
    has_pages = choose(call, vol, head, &request);
    ramet_api_reply_after(call, &first, vol, has_pages ? &request : NULL, head);
}

void
ramet_api_open(struct call *call)
{
    const bool by_name = !call->has_id;
    struct ramet_head head;
    struct ramet_err err;
    uint64_t seq;
    struct ramet_open_volume *vol = find_volume(call, &seq);
    enum ramet_rc rc;

    if (vol == NULL)
        return;
    rc = ramet_history_newest(ramet_open_volume_history(vol), &head, &err);
    if (rc == RAMET_OK && head.lsn == 0 && !by_name)
        rc = RAMET_FAIL(&err, RAMET_ENOTFOUND,
                        "volume \"%s\" has no commit here", call->name);
    if (rc == RAMET_OK) {
        reply(call, vol, &head, seq);
        return;
    }
    ramet_open_volume_put(vol);
    ramet_api_failed(call, &call->volume, rc, &err);
}
