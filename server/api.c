/*
 * api.c - from a request's path to its handler: routes, authorization, what
 * body is wanted.
 *
 * A path that is not in the table of routes (api_route.c) is 404 before anything
 * is read.
 */
#include "server/api.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "server/server_impl.h"

/* ---- what is allowed -------------------------------------------------------- */

#define M(method) (1u << RAMET_HTTP_##method)

static unsigned
methods_of(enum ramet_route route)
{
    switch (route) {
    case RAMET_ROUTE_HEALTHZ:
    case RAMET_ROUTE_READYZ:
    case RAMET_ROUTE_METRICS:
    case RAMET_ROUTE_STORE:
    case RAMET_ROUTE_HEAD:
    case RAMET_ROUTE_CHANGES:
    case RAMET_ROUTE_COMMIT:
    case RAMET_ROUTE_CONTENT:
    case RAMET_ROUTE_KEYS:
        return M(GET) | M(HEAD);
    case RAMET_ROUTE_EVENTS:
    case RAMET_ROUTE_OPEN:
        return M(GET);
    case RAMET_ROUTE_VOLUMES:
    case RAMET_ROUTE_COMMITS:
        return M(GET) | M(HEAD) | M(POST);
    case RAMET_ROUTE_VOLUME:
        return M(GET) | M(HEAD) | M(DELETE);
    case RAMET_ROUTE_SEGMENT:
    case RAMET_ROUTE_MAP:
    case RAMET_ROUTE_NAME:
        return M(GET) | M(HEAD) | M(PUT);
    case RAMET_ROUTE_PROFILE:
        return M(GET) | M(HEAD) | M(PUT) | M(DELETE);
    case RAMET_ROUTE_PAGES:
    case RAMET_ROUTE_NEWS:
    case RAMET_ROUTE_PREFETCH:
        return M(POST);
    case RAMET_ROUTE_UNKNOWN:
    case RAMET_ROUTE_COUNT:
        return 0;
    }
    return 0;
}

static bool
is_open_route(enum ramet_route route)
{
    return route == RAMET_ROUTE_HEALTHZ || route == RAMET_ROUTE_READYZ;
}

static bool
authorize(struct call *call)
{
    struct ramet_tokens *tokens = call->server->tokens;
    const char *header = ramet_http_header(call->rq, "Authorization");

    assert(call->route <= RAMET_ROUTE_COUNT);
    if (is_open_route(call->route) || !ramet_tokens_required(tokens))
        return true;
    call->allowed_age = ramet_tokens_age(tokens);
    switch (ramet_tokens_check(tokens, header)) {
    case RAMET_ACCESS_WRITE:
        ramet_http_set_client(call->rq, ramet_tokens_client(header));
        return true;
    case RAMET_ACCESS_READ:
        ramet_http_set_client(call->rq, ramet_tokens_client(header));
        if (!ramet_api_is_write(call))
            return true;
        ramet_render_problem(call->rq, 403, RAMET_EREADONLY,
                             "this token may only read", NULL);
        return false;
    case RAMET_ACCESS_NONE:
        break;
    }
    ramet_render_problem(call->rq, 401, RAMET_EAUTH,
                         "a valid bearer token is needed",
                         "set RAMET_TOKEN, or token_file in ramet.conf");
    return false;
}

/* Tokens are looked at again when they changed. Whoever could begin to read may
 * go on if the token may read still. */
static bool
allowed(void *ctx, struct ramet_http_request *rq)
{
    struct ramet_server *server = ctx;
    struct call *call = ramet_http_user(rq);
    uint64_t age;

    if (call == NULL || is_open_route(call->route) ||
        !ramet_tokens_required(server->tokens))
        return true;
    age = ramet_tokens_age(server->tokens);
    if (age == call->allowed_age)
        return true;
    if (ramet_tokens_check(server->tokens,
                           ramet_http_header(rq, "Authorization")) ==
        RAMET_ACCESS_NONE)
        return false;
    call->allowed_age = age;
    return true;
}

/* How it is with this server can be asked whatever it is busy with. */
static bool
is_vital(void *ctx, const char *path)
{
    (void)ctx;
    return strcmp(path, "/healthz") == 0 || strcmp(path, "/readyz") == 0 ||
           strcmp(path, "/metrics") == 0;
}

static void
refuse_method(struct call *call, unsigned methods)
{
    static const char *const names[] = {"GET", "HEAD", "PUT", "POST", "DELETE"};
    char allow[64] = "";

    assert(methods != 0);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((methods & 1u << i) == 0)
            continue;
        if (allow[0] != '\0')
            strcat(allow, ", ");
        strcat(allow, names[i]);
    }
    ramet_http_set_header(call->rq, "Allow", allow);
    ramet_render_problem(call->rq, 405, RAMET_EINVAL,
                         "this path has no such method", NULL);
}

static void
choose_body(struct call *call)
{
    assert(methods_of(call->route) != 0);
    switch (ramet_http_method_of(call->rq)) {
    case RAMET_HTTP_PUT:
        if (call->route == RAMET_ROUTE_PROFILE)
            ramet_api_profile_begin(call);
        else
            ramet_api_put_begin(call);
        return;
    case RAMET_HTTP_POST:
        if (call->route == RAMET_ROUTE_PAGES ||
            call->route == RAMET_ROUTE_PREFETCH)
            ramet_http_want_body(call->rq, RAMET_PAGES_BODY_MAX);
        else if (call->route == RAMET_ROUTE_NEWS)
            ramet_http_want_body(call->rq, RAMET_NEWS_BODY_MAX);
        else if (call->route == RAMET_ROUTE_COMMITS)
            ramet_http_want_body(call->rq, call->server->options.max_commit);
        else
            ramet_http_want_body(call->rq, RAMET_JSON_BODY_MAX);
        return;
    case RAMET_HTTP_GET:
    case RAMET_HTTP_HEAD:
    case RAMET_HTTP_DELETE:
    case RAMET_HTTP_OTHER:
        return;
    }
}

static void
begin(void *ctx, struct ramet_http_request *rq)
{
    struct call *call = ramet_calloc(1, sizeof(*call));
    unsigned methods;

    if (call == NULL) {
        ramet_http_reply(rq, 503, NULL, NULL, 0);
        return;
    }
    assert(ctx != NULL && ramet_http_user(rq) == NULL);
    call->server = ctx;
    call->rq = rq;
    call->route = ramet_api_route(call, ramet_http_path(rq));
    ramet_http_set_user(rq, call);
    if (!authorize(call))
        return;
    if (call->route == RAMET_ROUTE_PREFETCH &&
        !call->server->options.prefetch_queries) {
        ramet_render_problem(
            rq, 404, RAMET_ENOTFOUND,
            "this server runs no statements: prefetch_queries is off", NULL);
        return;
    }
    methods = methods_of(call->route);
    if (methods == 0) {
        ramet_render_problem(rq, 404, RAMET_ENOTFOUND, "there is no such path",
                             "docs/protocol.md lists the paths");
        return;
    }
    if ((methods & 1u << ramet_http_method_of(rq)) == 0) {
        refuse_method(call, methods);
        return;
    }
    choose_body(call);
}

static call_handler *
handler_of_profile(const struct call *call)
{
    assert(call->route == RAMET_ROUTE_PROFILE);
    switch (ramet_http_method_of(call->rq)) {
    case RAMET_HTTP_PUT:
        return ramet_api_profile_put;
    case RAMET_HTTP_DELETE:
        return ramet_api_profile_remove;
    default:
        return ramet_api_object;
    }
}

static call_handler *
handler_of(const struct call *call)
{
    switch (call->route) {
    case RAMET_ROUTE_READYZ:
        return ramet_api_readyz;
    case RAMET_ROUTE_VOLUMES:
        return ramet_api_volumes;
    case RAMET_ROUTE_VOLUME:
        return ramet_http_method_of(call->rq) == RAMET_HTTP_DELETE
                   ? ramet_api_delete
                   : ramet_api_volume;
    case RAMET_ROUTE_HEAD:
        return ramet_api_head;
    case RAMET_ROUTE_COMMITS:
        return ramet_http_method_of(call->rq) == RAMET_HTTP_POST
                   ? ramet_api_commit
                   : ramet_api_commits;
    case RAMET_ROUTE_CHANGES:
        return ramet_api_changes;
    case RAMET_ROUTE_STORE:
    case RAMET_ROUTE_COMMIT:
    case RAMET_ROUTE_SEGMENT:
    case RAMET_ROUTE_MAP:
    case RAMET_ROUTE_NAME:
        return ramet_api_object;
    case RAMET_ROUTE_PROFILE:
        return handler_of_profile(call);
    case RAMET_ROUTE_PAGES:
        return ramet_api_pages;
    case RAMET_ROUTE_PREFETCH:
        return ramet_api_prefetch;
    case RAMET_ROUTE_OPEN:
        return ramet_api_open;
    case RAMET_ROUTE_EVENTS:
        return ramet_api_events;
    case RAMET_ROUTE_NEWS:
        return ramet_api_news;
    case RAMET_ROUTE_CONTENT:
        return ramet_api_content;
    case RAMET_ROUTE_KEYS:
        return ramet_api_keys;
    case RAMET_ROUTE_HEALTHZ:
    case RAMET_ROUTE_METRICS:
    case RAMET_ROUTE_UNKNOWN:
    case RAMET_ROUTE_COUNT:
        break;
    }
    return NULL;
}

static void
run_call(struct ramet_http_request *rq)
{
    struct call *call = ramet_http_user(rq);
    call_handler *handler = handler_of(call);

    assert(handler != NULL);
    assert(call != NULL && call->rq == rq);
    handler(call);
}

static void
ready(void *ctx, struct ramet_http_request *rq)
{
    struct call *call = ramet_http_user(rq);

    assert(call != NULL && call->rq == rq);
    (void)ctx;
    if (call->route == RAMET_ROUTE_HEALTHZ) {
        ramet_http_reply_text(rq, 200, RAMET_TYPE_JSON,
                              "{\"status\":\"ok\"}\n");
        return;
    }
    /* These wait for no worker: when all are busy they matter most. */
    if (call->route == RAMET_ROUTE_METRICS) {
        ramet_api_metrics(call);
        return;
    }
    if (call->route == RAMET_ROUTE_READYZ && ramet_api_readyz_now(call))
        return;
    if (call->route == RAMET_ROUTE_PAGES && ramet_api_pages_now(call))
        return;
    ramet_http_defer(rq, run_call);
}

static void
finished(void *ctx, struct ramet_http_request *rq, unsigned status,
         uint64_t bytes_out, uint64_t duration_us)
{
    struct ramet_server *server = ctx;
    struct call *call = ramet_http_user(rq);
    const uint64_t bytes_in = ramet_http_received(rq);

    ramet_metrics_request(&server->metrics,
                          call != NULL ? call->route : RAMET_ROUTE_UNKNOWN,
                          status, bytes_in, bytes_out, duration_us);
    if (server->access != NULL) {
        char peer[64];
        struct ramet_access_line line = {
            .peer = peer,
            .method = ramet_http_method_name(rq),
            .path = ramet_http_path(rq),
            .agent = ramet_http_header(rq, "User-Agent"),
            .status = status,
            .bytes_in = bytes_in,
            .bytes_out = bytes_out,
            .duration_us = duration_us,
        };

        ramet_http_peer(rq, peer, sizeof(peer));
        ramet_access_add(server->access, &line);
    }
    ramet_free(call);
}

struct ramet_http_app
ramet_api_app(struct ramet_server *server)
{
    return (struct ramet_http_app){
        .ctx = server,
        .begin = begin,
        .ready = ready,
        .finished = finished,
        .allowed = allowed,
        .is_vital = is_vital,
    };
}
