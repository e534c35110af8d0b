/*
 * key_services.c - see key_services.h.
 *
 * Tokens and answers are somebody's secret: what held one is wiped.
 */
#include "pagestore/s3/key_services.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/origin.h"
#include "core/os.h"
#include "pagestore/s3/key_answers.h"
#include "pagestore/s3/sigv4.h"
#include "pagestore/s3/xml.h"

#define ANSWER_MAX (64u << 10)
#define TOKEN_FILE_MAX (16u << 10)
#define URL_MAX_BYTES 2048u
/* A machine that has no such service lets a connection hang. */
#define LOCAL_CONNECT_MS 1000u
#define LOCAL_STALL_MS 5000u
#define STS_CONNECT_MS 5000u
#define STS_STALL_MS 10000u
#define ROLE_MAX 256u

/* They were somebody's secret. */
static void
wipe_text(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    ramet_free(text);
}

struct question {
    const char *method, *url, *body;
    const char *header; /* one, or NULL */
    const char *name;   /* of the service, in errors */
    const char *ca_file;
    bool is_local; /* here, or nowhere */
};

/* RAMET_OK: an answer of 200, as a text; the caller's. */
static enum ramet_rc
ask(struct ramet_s3_engine *engine, const struct question *q, char **out_text,
    struct ramet_err *err)
{
    const struct iovec part = {(void *)(uintptr_t)q->body,
                               q->body != NULL ? strlen(q->body) : 0};
    struct curl_slist *headers = NULL;
    struct ramet_s3_exchange x = {
        .method = q->method,
        .url = q->url,
        .parts = &part,
        .part_count = q->body != NULL ? 1 : 0,
        .answer_max = ANSWER_MAX,
        .ca_file = q->ca_file,
        .direct = q->is_local,
        .connect_timeout_ms = q->is_local ? LOCAL_CONNECT_MS : STS_CONNECT_MS,
        .stall_timeout_ms = q->is_local ? LOCAL_STALL_MS : STS_STALL_MS,
    };
    enum ramet_rc rc;

    assert(engine != NULL && q->method != NULL && q->url != NULL &&
           q->name != NULL);
    if (q->header != NULL) {
        headers = curl_slist_append(NULL, q->header);
        if (headers == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    }
    x.headers = headers;
    rc = ramet_s3_run(engine, &x, err);
    curl_slist_free_all(headers);
    if (rc != RAMET_OK)
        return rc;
    if (x.code != CURLE_OK)
        rc = RAMET_FAIL(err, RAMET_EUNREACHABLE, "S3 credentials: %s: %s",
                        q->name, curl_easy_strerror(x.code));
    else if (x.status != 200)
        rc =
            RAMET_FAIL(err, x.status >= 500 ? RAMET_EUNREACHABLE : RAMET_EAUTH,
                       "S3 credentials: %s: HTTP status %u", q->name, x.status);
    if (rc == RAMET_OK) {
        *out_text =
            ramet_asprintf("%.*s", (int)x.answer.len,
                           x.answer.len > 0 ? (char *)x.answer.data : "");
        if (*out_text == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    }
    if (x.answer.data != NULL)
        explicit_bzero(x.answer.data, x.answer.len);
    ramet_buf_done(&x.answer);
    return rc;
}

static enum ramet_rc
ask_for_keys(struct ramet_s3_engine *engine, const struct question *q,
             struct ramet_s3_keys *out_keys, struct ramet_err *err)
{
    char *text = NULL;
    enum ramet_rc rc = ask(engine, q, &text, err);

    if (rc != RAMET_OK)
        return rc;
    assert(text != NULL);
    rc = ramet_s3_keys_from_json(text, strlen(text), out_keys, err);
    wipe_text(text);
    return rc;
}

/* A file's first line. */
static enum ramet_rc
read_token(const char *path, char **out_text, struct ramet_err *err)
{
    uint8_t *data = NULL;
    size_t len;
    enum ramet_rc rc = ramet_os_read_file(ramet_os_system(), AT_FDCWD, path,
                                          TOKEN_FILE_MAX, &data, &len, err);

    assert(path[0] != '\0');
    if (rc != RAMET_OK)
        return RAMET_FAIL(err, RAMET_EAUTH,
                          "S3 credentials: the token file %s can't be read",
                          path);
    data[strcspn((char *)data, "\r\n")] = '\0';
    *out_text = (char *)data;
    return RAMET_OK;
}

/* ---- web identity -------------------------------------------------------- */

static void
sts_url(const struct ramet_s3_settings *settings, char out[URL_MAX_BYTES])
{
    const char *named = ramet_s3_env("AWS_ENDPOINT_URL_STS");
    const char *const region =
        settings->region[0] != '\0' ? settings->region : "us-east-1";

    assert(settings->profile[0] != '\0');
    if (named == NULL && settings->general_endpoint[0] != '\0')
        named = settings->general_endpoint;
    if (named != NULL)
        (void)snprintf(out, URL_MAX_BYTES, "%.1000s/", named);
    else
        (void)snprintf(out, URL_MAX_BYTES, "https://sts.%s.amazonaws.com%s/",
                       region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

static void
add_parameter(struct ramet_buf *out, const char *name, const char *value)
{
    assert(name != NULL && value != NULL);
    if (out->len > 0)
        ramet_buf_u8(out, '&');
    ramet_buf_bytes(out, name, strlen(name));
    ramet_buf_u8(out, '=');
    ramet_sigv4_escape(out, value, false);
}

enum ramet_rc
ramet_s3_keys_of_web_identity(struct ramet_s3_engine *engine,
                              const struct ramet_s3_settings *settings,
                              struct ramet_s3_keys *out_keys,
                              struct ramet_err *err)
{
    struct ramet_buf body;
    char url[URL_MAX_BYTES];
    char *token = NULL, *text = NULL;
    enum ramet_rc rc = read_token(settings->token_file, &token, err);

    assert(settings->role_arn[0] != '\0' && settings->token_file[0] != '\0');
    if (rc != RAMET_OK)
        return rc;
    sts_url(settings, url);
    ramet_buf_init(&body, 4 * TOKEN_FILE_MAX);
    add_parameter(&body, "Action", "AssumeRoleWithWebIdentity");
    add_parameter(&body, "RoleArn", settings->role_arn);
    add_parameter(&body, "RoleSessionName",
                  settings->session_name[0] != '\0' ? settings->session_name
                                                    : "ramet");
    add_parameter(&body, "Version", "2011-06-15");
    add_parameter(&body, "WebIdentityToken", token);
    ramet_buf_u8(&body, 0);
    if (body.failed != RAMET_OK) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    } else {
        const struct question q = {
            .method = "POST",
            .url = url,
            .body = (char *)body.data,
            .header = "Content-Type: application/x-www-form-urlencoded",
            .name = "the security token service",
            .ca_file =
                settings->ca_bundle[0] != '\0' ? settings->ca_bundle : NULL,
        };

        rc = ask(engine, &q, &text, err);
    }
    if (rc == RAMET_OK)
        rc = ramet_s3_keys_from_xml(text, strlen(text), out_keys, err);
    wipe_text(text);
    wipe_text(token);
    if (body.data != NULL)
        explicit_bzero(body.data, body.len);
    ramet_buf_done(&body);
    return rc;
}

/* ---- the container's and the machine's ----------------------------------- */

bool
ramet_s3_is_container_host(const char *url)
{
    struct ramet_origin origin;

    assert(url != NULL);
    if (!ramet_origin_of(url, &origin))
        return false;
    return !origin.is_plain || origin.is_loopback ||
           strcmp(origin.host, "169.254.170.2") == 0 ||
           strcmp(origin.host, "169.254.170.23") == 0;
}

static enum ramet_rc
container_header(char **out_header, struct ramet_err *err)
{
    const char *const file =
        ramet_s3_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = ramet_s3_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    char *read = NULL;
    enum ramet_rc rc = RAMET_OK;

    *out_header = NULL;
    if (file != NULL) {
        rc = read_token(file, &read, err);
        token = read;
    }
    if (rc == RAMET_OK && token != NULL) {
        *out_header = ramet_asprintf("Authorization: %s", token);
        if (*out_header == NULL || strpbrk(*out_header, "\r\n") != NULL)
            rc = RAMET_FAIL(
                err, RAMET_EAUTH,
                "S3 credentials: the container's token is malformed");
    }
    wipe_text(read);
    return rc;
}

enum ramet_rc
ramet_s3_keys_of_container(struct ramet_s3_engine *engine,
                           struct ramet_s3_keys *out_keys,
                           struct ramet_err *err)
{
    const char *const relative =
        ramet_s3_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *const full = ramet_s3_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    char url[URL_MAX_BYTES], *header = NULL;
    struct question q = {.method = "GET",
                         .url = url,
                         .name = "the container's endpoint",
                         .is_local = true};
    enum ramet_rc rc;

    assert(relative != NULL || full != NULL);
    (void)snprintf(url, sizeof(url), "%s%.1900s",
                   relative != NULL ? "http://169.254.170.2" : "",
                   relative != NULL ? relative : full);
    if (!ramet_s3_is_container_host(url))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "AWS_CONTAINER_CREDENTIALS_FULL_URI: over http only "
                          "this machine is asked for credentials");
    rc = container_header(&header, err);
    q.header = header;
    if (rc == RAMET_OK)
        rc = ask_for_keys(engine, &q, out_keys, err);
    wipe_text(header);
    return rc;
}

static enum ramet_rc
metadata_token(struct ramet_s3_engine *engine, const char *base,
               char **out_header, struct ramet_err *err)
{
    char url[URL_MAX_BYTES], *token = NULL;
    const struct question q = {.method = "PUT",
                               .url = url,
                               .header =
                                   "X-aws-ec2-metadata-token-ttl-seconds: 300",
                               .name = "the machine's metadata service",
                               .is_local = true};
    enum ramet_rc rc;

    assert(base != NULL);
    (void)snprintf(url, sizeof(url), "%.1000s/latest/api/token", base);
    rc = ask(engine, &q, &token, err);
    if (rc != RAMET_OK)
        return rc;
    token[strcspn(token, "\r\n")] = '\0';
    *out_header = ramet_asprintf("X-aws-ec2-metadata-token: %s", token);
    wipe_text(token);
    return *out_header != NULL
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
}

enum ramet_rc
ramet_s3_keys_of_machine(struct ramet_s3_engine *engine,
                         struct ramet_s3_keys *out_keys, struct ramet_err *err)
{
    static const char roles[] = "/latest/meta-data/iam/security-credentials/";
    const char *const named = ramet_s3_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *const base = named != NULL ? named : "http://169.254.169.254";
    char url[URL_MAX_BYTES], *header = NULL, *role = NULL;
    struct question q = {.method = "GET",
                         .url = url,
                         .name = "the machine's metadata service",
                         .is_local = true};
    enum ramet_rc rc = metadata_token(engine, base, &header, err);

    if (rc != RAMET_OK)
        return rc;
    assert(header != NULL);
    q.header = header;
    (void)snprintf(url, sizeof(url), "%.1000s%s", base, roles);
    rc = ask(engine, &q, &role, err);
    if (rc == RAMET_OK) {
        role[strcspn(role, "\r\n")] = '\0';
        (void)snprintf(url, sizeof(url), "%.1000s%s%.*s", base, roles,
                       (int)ROLE_MAX, role);
        rc = ask_for_keys(engine, &q, out_keys, err);
    }
    ramet_free(role);
    wipe_text(header);
    return rc;
}
