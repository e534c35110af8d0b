/*
 * http_failure.c - what it means that an exchange failed, or was answered otherwise than
 * hoped for: invariants (1) and (2) of http_conn.h.
 *
 * Layer: client.
 */
#include "client/remote/http_conn_impl.h"

#include <assert.h>
#include <jansson.h>
#include <stdatomic.h>
#include <string.h>

#include "core/waiting.h"

enum ramet_rc
ramet_http_curl_failure(const struct ramet_http_pool *pool, CURL *curl,
                        CURLcode code, bool changes, bool sent_all,
                        struct ramet_err *err)
{
    const char *why = curl_easy_strerror(code);
    curl_off_t connected = 0;
    enum ramet_rc rc = RAMET_EUNREACHABLE;

    assert(code != CURLE_OK);
    (void)curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
    if (code == CURLE_OUT_OF_MEMORY)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", pool->root);
    if (code == CURLE_ABORTED_BY_CALLBACK && ramet_waiting_is_over())
        why = "the wait was cancelled";
    else if (code == CURLE_ABORTED_BY_CALLBACK)
        why = "nothing came for too long, or too slowly";
    else if (code == CURLE_UNSUPPORTED_PROTOCOL ||
             code == CURLE_WEIRD_SERVER_REPLY)
        why = "what answers there does not speak HTTP; check the URL";
    else if (code == CURLE_SSL_CONNECT_ERROR)
        why = "no TLS connection (is it https:// there?); check the URL";
    if (changes && connected > 0 && sent_all)
        rc = RAMET_EUNKNOWN; /* invariant (2) */
    else if (code == CURLE_ABORTED_BY_CALLBACK && ramet_waiting_is_over())
        rc = RAMET_ECANCELLED;
    else if (code == CURLE_OPERATION_TIMEDOUT ||
             code == CURLE_ABORTED_BY_CALLBACK)
        rc = connected > 0 ? RAMET_ETIMEOUT : RAMET_EUNREACHABLE;
    if (changes && rc == RAMET_ETIMEOUT)
        rc = RAMET_EUNREACHABLE;
    return RAMET_FAIL(err, rc, "server %s: %s", pool->root, why);
}

static enum ramet_rc
rc_of_status(unsigned status, bool changes)
{
    assert(status >= 300);
    switch (status) {
    case 401:
    case 403:
        return RAMET_EAUTH;
    case 404:
        return RAMET_ENOTFOUND;
    case 409:
        return RAMET_ECONFLICT;
    case 412:
        return RAMET_EEXIST;
    case 413:
        return RAMET_ETOOBIG;
    case 422:
        return changes ? RAMET_EREFUSED : RAMET_ECORRUPT;
    case 408: /* somebody in between lost patience, and did nothing */
    case 425:
    case 429:
        return RAMET_EUNREACHABLE;
    case 501:
        return RAMET_EVERSION;
    case 507:
        return RAMET_EFULL;
    default:
        break;
    }
    if (status < 500)
        return RAMET_EINVAL;
    /* Somebody between us and the server may have lost its answer. */
    return changes ? RAMET_EUNKNOWN : RAMET_EUNREACHABLE;
}

/* The result code that has this name, RAMET_OK if none has. */
static enum ramet_rc
rc_of_name(const char *name)
{
    assert(name != NULL);
    for (int code = RAMET_RC_LEAST; code < 0; code++) {
        if (strcmp(name, ramet_rc_name((enum ramet_rc)code)) == 0)
            return (enum ramet_rc)code;
    }
    return RAMET_OK;
}

/* What the server says about itself, in our terms. */
static enum ramet_rc
rc_of_code(const char *name, unsigned status, bool changes)
{
    const enum ramet_rc said = rc_of_name(name);

    if (said == RAMET_EBUSY && status == 429)
        return RAMET_EUNREACHABLE;
    if (said == RAMET_ENOMEM) /* the server's, not ours */
        return RAMET_EUNREACHABLE;
    if (said == RAMET_ETIMEOUT && changes)
        return RAMET_EUNKNOWN;
    /* Its word on what we sent is no proof that something here is damaged. */
    if (said == RAMET_ECORRUPT && status == 422 && changes)
        return RAMET_EREFUSED;
    return said;
}

enum ramet_rc
ramet_http_not_ramet(const struct ramet_http_pool *pool, const char *path,
                     unsigned status, struct ramet_err *err)
{
    assert(path[0] == '/');
    return RAMET_FAIL(
        err, RAMET_EUNREACHABLE,
        "server %s is not a Ramet server, nor a proxy to one (%.*s: status %u, "
        "which no Ramet server gives); check the URL",
        pool->root, (int)strcspn(path, "?"), path, status);
}

/* What a proxy says of its own, in front of a server of ours as well. */
static bool
is_a_proxys(unsigned status)
{
    return status == 401 || status == 403 || status == 408 || status == 413 ||
           status == 425 || status == 429 || status >= 500;
}

/* A server of ours says why in JSON; these may be anybody's. */
static bool
is_anybodys(unsigned status, size_t len, const json_t *json)
{
    return json == NULL && len > 0 && !is_a_proxys(status);
}

/* In words, where nobody said it. */
static const char *
meaning_of(unsigned status)
{
    switch (status) {
    case 404:
        return "not there, ";
    case 413:
        return "larger than it, or a proxy before it, takes, ";
    case 507:
        return "it has no room, ";
    default:
        return status < 400
                   ? "redirects, and none is followed: name the server itself, "
                   : "";
    }
}

/* What says that it went well, and not as a server of ours says it. */
static enum ramet_rc
strange_success(const struct ramet_http_pool *pool, const char *path,
                unsigned status, bool changes, struct ramet_err *err)
{
    assert(status < 300);
    return changes
               ? RAMET_FAIL(err, RAMET_EUNKNOWN,
                            "server %s: %.200s: answered with status %u, which "
                            "no Ramet server gives: it may have acted on it",
                            pool->root, path, status)
               : ramet_http_not_ramet(pool, path, status, err);
}

enum ramet_rc
ramet_http_failure(const struct ramet_http_pool *pool, const char *path,
                   unsigned status, const uint8_t *body, size_t len,
                   bool changes, struct ramet_err *err)
{
    json_t *json = len > 0 && len <= RAMET_HTTP_PROBLEM_MAX
                       ? json_loadb((const char *)body, len, 0, NULL)
                       : NULL;
    const char *code = json_string_value(json_object_get(json, "code"));
    const char *detail = json_string_value(json_object_get(json, "detail"));
    const char *why = NULL;
    enum ramet_rc rc = RAMET_OK;

    if (status < 300) {
        json_decref(json);
        return strange_success(pool, path, status, changes, err);
    }
    if (is_anybodys(status, len, json))
        return ramet_http_not_ramet(pool, path, status, err);
    if (code != NULL && status >= 400)
        rc = rc_of_code(code, status, changes);
    if (rc == RAMET_OK)
        rc = rc_of_status(status, changes);
    if (status == 401)
        why = atomic_load(&pool->withheld_why);
    if (detail != NULL) {
        rc = RAMET_FAIL(err, rc, "server %s: %.300s%s%s", pool->root, detail,
                        why != NULL ? "; " : "", why != NULL ? why : "");
    } else {
        rc = RAMET_FAIL(err, rc, "server %s: %.200s: %sHTTP status %u%s%s",
                        pool->root, path, meaning_of(status), status,
                        why != NULL ? "; " : "", why != NULL ? why : "");
    }
    json_decref(json);
    return rc;
}
