/*
 * test_http_failure.c - what comes of each status and each failure of libcurl: to who
 * only asks, and to who changes something (invariant 2 of http_conn.h).
 */
#include "tests/support/cmocka_all.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/remote/http_conn_impl.h"

static struct ramet_http_pool pool = {.root = "http://host:1/v"};

static enum ramet_rc
failure(unsigned status, const char *body, bool changes, struct ramet_err *err)
{
    memset(err, 0, sizeof(*err));
    return ramet_http_failure(&pool, "/volumes/x?after=1", status,
                              (const uint8_t *)body, strlen(body), changes,
                              err);
}

/* With a body of nobody's, or none. */
static const struct {
    unsigned status;
    enum ramet_rc asking, changing;
    const char *words;
} statuses[] = {
    {401, RAMET_EAUTH, RAMET_EAUTH, "status 401"},
    {403, RAMET_EAUTH, RAMET_EAUTH, "status 403"},
    {404, RAMET_ENOTFOUND, RAMET_ENOTFOUND, "not there"},
    {409, RAMET_ECONFLICT, RAMET_ECONFLICT, "status 409"},
    {412, RAMET_EEXIST, RAMET_EEXIST, "status 412"},
    {413, RAMET_ETOOBIG, RAMET_ETOOBIG, "a proxy before it"},
    {422, RAMET_ECORRUPT, RAMET_EREFUSED, "status 422"},
    {408, RAMET_EUNREACHABLE, RAMET_EUNREACHABLE, "status 408"},
    {425, RAMET_EUNREACHABLE, RAMET_EUNREACHABLE, "status 425"},
    {429, RAMET_EUNREACHABLE, RAMET_EUNREACHABLE, "status 429"},
    {501, RAMET_EVERSION, RAMET_EVERSION, "status 501"},
    {507, RAMET_EFULL, RAMET_EFULL, "no room"},
    {301, RAMET_EINVAL, RAMET_EINVAL, "none is followed"},
    {400, RAMET_EINVAL, RAMET_EINVAL, "status 400"},
    {418, RAMET_EINVAL, RAMET_EINVAL, "status 418"},
    {500, RAMET_EUNREACHABLE, RAMET_EUNKNOWN, "status 500"},
    {502, RAMET_EUNREACHABLE, RAMET_EUNKNOWN, "status 502"},
    {504, RAMET_EUNREACHABLE, RAMET_EUNKNOWN, "status 504"},
};

static void
a_status_alone__says_what_it_means(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        for (int changes = 0; changes < 2; changes++) {
            const enum ramet_rc wanted =
                changes ? statuses[i].changing : statuses[i].asking;
            struct ramet_err err;

            if (failure(statuses[i].status, "", changes, &err) != wanted)
                fail_msg("%u: %s", statuses[i].status, err.text);
            assert_int_equal(err.code, wanted);
            assert_non_null(strstr(err.text, statuses[i].words));
            assert_non_null(strstr(err.text, pool.root));
        }
}

/* What a server of ours says of itself goes before its status. */
static void
a_code__goes_before_the_status(void **state)
{
    static const struct {
        unsigned status;
        const char *code;
        enum ramet_rc asking, changing;
    } cases[] = {
        {503, "busy", RAMET_EBUSY, RAMET_EBUSY},
        {429, "busy", RAMET_EUNREACHABLE, RAMET_EUNREACHABLE},
        {500, "nomem", RAMET_EUNREACHABLE, RAMET_EUNREACHABLE},
        {504, "timeout", RAMET_ETIMEOUT, RAMET_EUNKNOWN},
        {422, "corrupt", RAMET_ECORRUPT, RAMET_EREFUSED},
        {500, "corrupt", RAMET_ECORRUPT, RAMET_ECORRUPT},
        {409, "conflict", RAMET_ECONFLICT, RAMET_ECONFLICT},
        {500, "of a later version", RAMET_EUNREACHABLE, RAMET_EUNKNOWN},
        {301, "busy", RAMET_EINVAL, RAMET_EINVAL}, /* none of ours redirects */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int changes = 0; changes < 2; changes++) {
            struct ramet_err err;
            char body[100];

            snprintf(body, sizeof(body),
                     "{\"code\": \"%s\", \"detail\": \"because\"}",
                     cases[i].code);
            if (failure(cases[i].status, body, changes, &err) !=
                (changes ? cases[i].changing : cases[i].asking))
                fail_msg("%u %s: %s", cases[i].status, body, err.text);
            assert_non_null(strstr(err.text, ": because"));
        }
}

static void
an_answer_that_is_nobodys__is_no_ramet_server(void **state)
{
    static const char page[] = "<html>Not here</html>";
    struct ramet_err err;

    (void)state;
    assert_int_equal(failure(404, page, false, &err), RAMET_EUNREACHABLE);
    assert_non_null(strstr(err.text, "not a Ramet server"));
    assert_null(strstr(err.text, "after=1")); /* the path alone */
    assert_int_equal(failure(204, "", false, &err), RAMET_EUNREACHABLE);
    assert_int_equal(failure(204, "", true, &err), RAMET_EUNKNOWN);
    assert_non_null(strstr(err.text, "may have acted"));
    /* A proxy may say these in front of a server of ours. */
    assert_int_equal(failure(403, page, false, &err), RAMET_EAUTH);
    assert_int_equal(failure(413, page, true, &err), RAMET_ETOOBIG);
    assert_int_equal(failure(502, page, true, &err), RAMET_EUNKNOWN);
}

static void
a_token_that_was_withheld__is_told_with_the_refusal(void **state)
{
    struct ramet_err err;

    (void)state;
    atomic_store(&pool.withheld_why, "it was for another");
    assert_int_equal(failure(401, "", false, &err), RAMET_EAUTH);
    assert_non_null(strstr(err.text, "it was for another"));
    assert_int_equal(failure(401, "{\"detail\": \"no\"}", false, &err),
                     RAMET_EAUTH);
    assert_non_null(strstr(err.text, ": no; it was for another"));
    assert_int_equal(failure(403, "", false, &err), RAMET_EAUTH);
    assert_null(strstr(err.text, "another"));
    atomic_store(&pool.withheld_why, NULL);
}

/* Of one that was never connected: then nothing can have been done. */
static void
a_failure_of_curl__before_it_was_connected(void **state)
{
    static const struct {
        CURLcode code;
        enum ramet_rc rc;
        const char *words;
    } cases[] = {
        {CURLE_OUT_OF_MEMORY, RAMET_ENOMEM, "out of memory"},
        {CURLE_UNSUPPORTED_PROTOCOL, RAMET_EUNREACHABLE, "does not speak HTTP"},
        {CURLE_WEIRD_SERVER_REPLY, RAMET_EUNREACHABLE, "does not speak HTTP"},
        {CURLE_SSL_CONNECT_ERROR, RAMET_EUNREACHABLE, "no TLS connection"},
        {CURLE_OPERATION_TIMEDOUT, RAMET_EUNREACHABLE, "host:1"},
        {CURLE_ABORTED_BY_CALLBACK, RAMET_EUNREACHABLE, "too long"},
        {CURLE_COULDNT_CONNECT, RAMET_EUNREACHABLE, "host:1"},
    };
    CURL *const curl = curl_easy_init();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int how = 0; how < 4; how++) {
            struct ramet_err err = {.code = RAMET_OK};

            assert_int_equal(ramet_http_curl_failure(&pool, curl, cases[i].code,
                                                     how & 1, how & 2, &err),
                             cases[i].rc);
            assert_non_null(strstr(err.text, cases[i].words));
        }
    curl_easy_cleanup(curl);
}

/* A server that reads a request, and leaves without a word. */
static void *
serve_one(void *arg)
{
    const int listening = *(const int *)arg;
    const int fd = accept(listening, NULL, NULL);
    char request[4096];

    if (fd >= 0) {
        (void)!read(fd, request, sizeof(request));
        close(fd);
    }
    return NULL;
}

/* Who was connected and had sent all of what changes something does not know whether
 * it was done; who had not, or only asked, knows that it was not. */
static void
a_failure_of_curl__after_all_was_sent(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_size = sizeof(at);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    CURL *const curl = curl_easy_init();
    struct ramet_err err;
    pthread_t server;
    char url[64];

    (void)state;
    assert_int_equal(bind(listening, (struct sockaddr *)&at, at_size), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&at, &at_size),
                     0);
    assert_int_equal(pthread_create(&server, NULL, serve_one, &listening), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", ntohs(at.sin_port));
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    assert_int_equal(curl_easy_perform(curl), CURLE_GOT_NOTHING);
    pthread_join(server, NULL);
    close(listening);
    assert_int_equal(ramet_http_curl_failure(&pool, curl, CURLE_GOT_NOTHING,
                                             true, true, &err),
                     RAMET_EUNKNOWN);
    assert_int_equal(ramet_http_curl_failure(&pool, curl, CURLE_GOT_NOTHING,
                                             true, false, &err),
                     RAMET_EUNREACHABLE);
    assert_int_equal(ramet_http_curl_failure(&pool, curl, CURLE_GOT_NOTHING,
                                             false, true, &err),
                     RAMET_EUNREACHABLE);
    assert_int_equal(ramet_http_curl_failure(&pool, curl,
                                             CURLE_OPERATION_TIMEDOUT, true,
                                             true, &err),
                     RAMET_EUNKNOWN);
    assert_int_equal(ramet_http_curl_failure(&pool, curl,
                                             CURLE_OPERATION_TIMEDOUT, true,
                                             false, &err),
                     RAMET_EUNREACHABLE);
    assert_int_equal(ramet_http_curl_failure(&pool, curl,
                                             CURLE_OPERATION_TIMEDOUT, false,
                                             true, &err),
                     RAMET_ETIMEOUT);
    curl_easy_cleanup(curl);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_alone__says_what_it_means),
        cmocka_unit_test(a_code__goes_before_the_status),
        cmocka_unit_test(an_answer_that_is_nobodys__is_no_ramet_server),
        cmocka_unit_test(a_token_that_was_withheld__is_told_with_the_refusal),
        cmocka_unit_test(a_failure_of_curl__before_it_was_connected),
        cmocka_unit_test(a_failure_of_curl__after_all_was_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
