/*
 * http_upload.c - an object that is sent while it is made.
 *
 * libcurl wants to be given bytes when it asks; an upload gives them when it
 * has them. So the transfer is paused whenever what it was given is used up,
 * and each write drives it until its bytes are gone, at the least rate that a
 * client sets: how long the writer takes in between is not the server's affair.
 */
#include <assert.h>
#include <string.h>

#include "client/remote/http_conn.h"
#include "client/remote/http_store.h"
#include "core/alloc.h"
#include "core/os.h"
#include "core/patience.h"
#include "core/waiting.h"

#define ANSWER_MAX (64u << 10)
#define POLL_MS 1000

struct http_upload {
    struct ramet_upload upload;
    struct ramet_http_pool *pool;
    CURLM *multi;
    CURL *curl;
    struct curl_slist *headers;
    const uint8_t *data; /* what is to be sent now */
    size_t left;
    uint64_t sent, written;
    bool ended;  /* no more data will come */
    bool paused; /* for want of data */
    bool over;   /* the transfer has ended */
    CURLcode code;
    struct ramet_buf answer;
    char path[];
};

static size_t
give_data(char *out, size_t size, size_t count, void *ctx)
{
    struct http_upload *up = ctx;
    size_t len = size * count;

    if (up->left == 0 && !up->ended) {
        up->paused = true;
        return CURL_READFUNC_PAUSE;
    }
    if (len > up->left)
        len = up->left;
    if (len > 0)
        memcpy(out, up->data, len);
    up->data += len;
    up->left -= len;
    up->sent += len;
    return len;
}

static size_t
take_answer(char *data, size_t size, size_t count, void *ctx)
{
    struct http_upload *up = ctx;

    ramet_buf_bytes(&up->answer, data, size * count);
    return up->answer.failed == RAMET_OK ? size * count : 0;
}

static void
free_upload(struct http_upload *up)
{
    if (up->multi != NULL && up->curl != NULL)
        (void)curl_multi_remove_handle(up->multi, up->curl);
    if (up->multi != NULL)
        (void)curl_multi_cleanup(up->multi);
    curl_easy_cleanup(up->curl); /* NULL is fine */
    curl_slist_free_all(up->headers);
    ramet_buf_done(&up->answer);
    ramet_free(up);
}

enum ramet_rc
ramet_http_upload_begin(struct ramet_objstore *store,
                        struct ramet_http_pool *pool, const char *path,
                        struct ramet_upload **out_upload, struct ramet_err *err)
{
    static const char *const extra[] = {
        "If-None-Match: *", "Content-Type: application/octet-stream",
        "Transfer-Encoding: chunked", NULL};
    struct http_upload *up = ramet_calloc(1, sizeof(*up) + strlen(path) + 1);

    if (up == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", path);
    up->upload.store = store;
    up->pool = pool;
    strcpy(up->path, path);
    ramet_buf_init(&up->answer, ANSWER_MAX);
    /* Not one of the pool's: who has an upload open may need those. */
    up->curl = curl_easy_init();
    up->multi = curl_multi_init();
    if (up->curl != NULL)
        up->headers = ramet_http_prepare(pool, up->curl, path, extra);
    if (up->curl == NULL || up->multi == NULL || up->headers == NULL) {
        free_upload(up);
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", path);
    }
    (void)curl_easy_setopt(up->curl, CURLOPT_UPLOAD, 1L);
    (void)curl_easy_setopt(up->curl, CURLOPT_READFUNCTION, give_data);
    (void)curl_easy_setopt(up->curl, CURLOPT_READDATA, up);
    (void)curl_easy_setopt(up->curl, CURLOPT_WRITEFUNCTION, take_answer);
    (void)curl_easy_setopt(up->curl, CURLOPT_WRITEDATA, up);
    (void)curl_easy_setopt(up->curl, CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
    (void)curl_multi_add_handle(up->multi, up->curl);
    *out_upload = &up->upload;
    return RAMET_OK;
}

static void
note_end(struct http_upload *up)
{
    const CURLMsg *message;
    int queued;

    while ((message = curl_multi_info_read(up->multi, &queued)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            up->over = true;
            up->code = message->data.result;
        }
    }
}

static uint64_t
now_ms(void)
{
    const struct ramet_os *os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

/* What went out into the network, not what libcurl was given. */
static uint64_t
moved_bytes(const struct http_upload *up)
{
    curl_off_t sent = 0;

    (void)curl_easy_getinfo(up->curl, CURLINFO_SIZE_UPLOAD_T, &sent);
    return (uint64_t)sent;
}

/* Drive the transfer until what it has is sent, or (at the end) until it is
 * over. */
static void
drive(struct http_upload *up)
{
    struct ramet_patience patience;

    ramet_patience_begin(&patience, ramet_http_stall_ms(up->pool), now_ms(),
                         moved_bytes(up));
    if (up->paused) {
        up->paused = false;
        (void)curl_easy_pause(up->curl, CURLPAUSE_CONT);
    }
    while (!up->over && (up->ended || up->left > 0)) {
        int running;

        if (curl_multi_perform(up->multi, &running) != CURLM_OK) {
            up->over = true;
            up->code = CURLE_OUT_OF_MEMORY;
            break;
        }
        note_end(up);
        if (up->over || (!up->ended && up->left == 0))
            break;
        if (ramet_patience_is_lost(&patience, now_ms(), moved_bytes(up))) {
            up->over = true;
            up->code = CURLE_OPERATION_TIMEDOUT;
            break;
        }
        if (ramet_waiting_is_over()) {
            up->over = true;
            up->code = CURLE_ABORTED_BY_CALLBACK;
            break;
        }
        (void)curl_multi_poll(up->multi, NULL, 0, POLL_MS, NULL);
    }
}

/* What an upload that is over came to. */
static enum ramet_rc
outcome(struct http_upload *up, struct ramet_err *err)
{
    long status = 0;

    (void)curl_easy_getinfo(up->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 201 && up->ended && up->sent == up->written)
        return RAMET_OK;
    if (status >= 300)
        return ramet_http_failure(up->pool, up->path, (unsigned)status,
                                  up->answer.data, up->answer.len, true, err);
    if (up->code != CURLE_OK)
        return ramet_http_curl_failure(up->pool, up->curl, up->code, true,
                                       up->ended && up->left == 0, err);
    return RAMET_FAIL(err, RAMET_EUNKNOWN,
                      "server %s: %s: answered %ld before it had all",
                      ramet_http_pool_root(up->pool), up->path, status);
}

enum ramet_rc
ramet_http_upload_write(struct ramet_upload *upload, const void *data,
                        size_t len, struct ramet_err *err)
{
    struct http_upload *up = (struct http_upload *)upload;

    assert(!up->ended && up->left == 0);
    if (up->over)
        return outcome(up, err);
    up->data = data;
    up->left = len;
    up->written += len;
    drive(up);
    if (up->left == 0)
        return RAMET_OK;
    up->left = 0; /* over: the server did not want the rest */
    return outcome(up, err);
}

enum ramet_rc
ramet_http_upload_finish(struct ramet_upload *upload, struct ramet_err *err)
{
    struct http_upload *up = (struct http_upload *)upload;
    enum ramet_rc rc;

    up->ended = true;
    if (!up->over)
        drive(up);
    rc = outcome(up, err);
    free_upload(up);
    return rc;
}

void
ramet_http_upload_abort(struct ramet_upload *upload)
{
    /* The connection is cut before the last chunk: nothing was written. */
    free_upload((struct http_upload *)upload);
}
