/*
 * http_pool.c - one server's connections: taken, set up, given back.
 *
 * Layer: client.
 */
#include "client/remote/http_conn_impl.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "client/remote/http_idle.h"
#include "client/remote/remote.h"
#include "core/alloc.h"
#include "core/origin.h"
#include "core/os.h"
#include "core/thread.h"
#include "pagestore/s3/engine.h"

/* Shorter than a server keeps idle connections. */
#define IDLE_REUSE_S 45L
/* Requests for pages that go out side by side, and a reader's: pipeline_impl.h. */
#define TOGETHER 9u

static bool
is_token(const char *token)
{
    for (const char *c = token; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 127)
            return false;
    }
    return true;
}

enum ramet_rc
ramet_http_authorize(struct ramet_http_pool *pool, const char *token,
                     struct ramet_err *err)
{
    char *line;

    assert(token != NULL);
    if (!is_token(token))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "the token for %s has a space or a control character",
                          pool->root);
    line = ramet_asprintf("Authorization: Bearer %s", token);
    if (line == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", pool->root);
    ramet_mutex_lock(&pool->lock);
    ramet_free(pool->authorization);
    pool->authorization = line;
    pool->withheld_why = NULL;
    ramet_mutex_unlock(&pool->lock);
    return RAMET_OK;
}

enum ramet_rc
ramet_http_pool_new(const char *root,
                    const struct ramet_remote_options *options,
                    struct ramet_http_pool **out_pool, struct ramet_err *err)
{
    const bool has_token = options->token != NULL && options->token[0] != '\0';
    const char *ca_file = getenv("RAMET_CA_FILE");
    struct ramet_origin origin = {.is_loopback = false};
    struct ramet_http_pool *pool;
    enum ramet_rc rc = RAMET_OK;

    ramet_curl_ready();
    pool = ramet_calloc(1, sizeof(*pool));
    if (pool == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", root);
    ramet_mutex_init(&pool->lock);
    ramet_cond_init(&pool->freed);
    ramet_pace_init(&pool->pace);
    ramet_http_idle_join();
    pool->root = ramet_strdup(root);
    pool->withheld_why = options->withheld_why;
    if (ca_file != NULL && ca_file[0] != '\0')
        pool->ca_file = ramet_strdup(ca_file);
    pool->direct = ramet_origin_of(root, &origin) && origin.is_loopback;
    pool->connect_timeout_ms = options->connect_timeout_ms;
    pool->stall_timeout_ms = options->stall_timeout_ms;
    if (pool->root == NULL ||
        (ca_file != NULL && ca_file[0] != '\0' && pool->ca_file == NULL))
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", root);
    else if (has_token)
        rc = ramet_http_authorize(pool, options->token, err);
    if (rc != RAMET_OK) {
        ramet_http_pool_free(pool);
        return rc;
    }
    assert(!has_token || pool->authorization != NULL);
    assert(pool->root != NULL && pool->busy_count == 0);
    *out_pool = pool;
    return RAMET_OK;
}

void
ramet_http_pool_free(struct ramet_http_pool *pool)
{
    if (pool == NULL)
        return;
    assert(pool->busy_count == 0);
    ramet_http_spares_drop(&pool->peer);
    ramet_http_idle_leave();
    ramet_pace_done(&pool->pace);
    ramet_cond_done(&pool->freed);
    ramet_mutex_done(&pool->lock);
    ramet_free(pool->ca_file);
    ramet_free(pool->authorization);
    ramet_free(pool->root);
    ramet_free(pool);
}

const char *
ramet_http_pool_root(const struct ramet_http_pool *pool)
{
    return pool->root;
}

uint64_t
ramet_http_requests(const struct ramet_http_pool *pool)
{
    return atomic_load_explicit(&pool->requests, memory_order_relaxed);
}

struct ramet_pace *
ramet_http_pace(struct ramet_http_pool *pool)
{
    return &pool->pace;
}

uint64_t
ramet_http_stall_ms(const struct ramet_http_pool *pool)
{
    return pool->stall_timeout_ms;
}

CURL *
ramet_http_take(struct ramet_http_pool *pool)
{
    CURL *curl;

    ramet_mutex_lock(&pool->lock);
    while (pool->busy_count == RAMET_HTTP_PARALLEL)
        ramet_cond_wait(&pool->freed, &pool->lock);
    assert(pool->busy_count < RAMET_HTTP_PARALLEL);
    pool->busy_count++;
    ramet_mutex_unlock(&pool->lock);
    curl = ramet_http_idle_take(pool->root);
    if (curl == NULL)
        ramet_http_give_back(pool, NULL);
    return curl;
}

void
ramet_http_give_back(struct ramet_http_pool *pool, CURL *curl)
{
    if (curl != NULL)
        ramet_http_idle_put(pool->root, curl);
    ramet_mutex_lock(&pool->lock);
    assert(pool->busy_count > 0);
    pool->busy_count--;
    ramet_cond_signal(&pool->freed);
    ramet_mutex_unlock(&pool->lock);
}

void
ramet_http_reached(struct ramet_http_pool *pool, CURL *curl)
{
    long connects = 0;

    (void)curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connects);
    ramet_mutex_lock(&pool->lock);
    if (connects > 0 || pool->peer.length == 0)
        ramet_http_peer_learn(&pool->peer, curl);
    ramet_mutex_unlock(&pool->lock);
}

void
ramet_http_spare(struct ramet_http_pool *pool)
{
    const struct ramet_os *const os = ramet_os_system();
    const unsigned idle = ramet_http_idle_count(pool->root);
    struct ramet_http_peer peer;
    unsigned busy;

    ramet_mutex_lock(&pool->lock);
    peer = pool->peer;
    busy = pool->busy_count;
    ramet_mutex_unlock(&pool->lock);
    if (busy + idle < TOGETHER)
        ramet_http_spares_prepare(&peer, TOGETHER - busy - idle,
                                  os->mono_ns(os->ctx) / 1000000);
}

void
ramet_http_spare_none(struct ramet_http_pool *pool)
{
    struct ramet_http_peer peer;

    ramet_mutex_lock(&pool->lock);
    peer = pool->peer;
    ramet_mutex_unlock(&pool->lock);
    ramet_http_spares_drop(&peer);
}

static bool
add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *grown = curl_slist_append(*list, text);

    assert(strpbrk(text, "\r\n") == NULL);
    if (grown == NULL)
        return false;
    *list = grown;
    return true;
}

struct curl_slist *
ramet_http_prepare(struct ramet_http_pool *pool, CURL *curl, const char *path,
                   const char *const *extra)
{
    struct curl_slist *headers = NULL;
    char *url = ramet_asprintf("%s%s", pool->root, path);
    bool ok = url != NULL && add_header(&headers, "Expect:");

    assert(path[0] == '/');
    assert(curl != NULL);
    ramet_mutex_lock(&pool->lock);
    if (ok && pool->authorization != NULL)
        ok = add_header(&headers, pool->authorization);
    ramet_mutex_unlock(&pool->lock);
    for (; ok && extra != NULL && *extra != NULL; extra++)
        ok = add_header(&headers, *extra);
    ok = ok && curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK;
    ramet_free(url); /* libcurl has a copy */
    if (!ok) {
        curl_slist_free_all(headers);
        return NULL;
    }
    atomic_fetch_add_explicit(&pool->requests, 1, memory_order_relaxed);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "ramet/0.1");
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                           (long)pool->connect_timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, IDLE_REUSE_S);
    (void)curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
    if (pool->ca_file != NULL)
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, pool->ca_file);
    if (pool->direct)
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    return headers;
}
