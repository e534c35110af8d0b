/*
 * credentials.c - see credentials.h.
 */
#include "pagestore/s3/credentials.h"

#include <assert.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "core/origin.h"
#include "core/os.h"
#include "core/thread.h"
#include "pagestore/s3/sigv4.h"
#include "pagestore/s3/xml.h"

#define RENEW_BEFORE_MS (5u * 60u * 1000u)
#define ANSWER_MAX (64u << 10)
#define TOKEN_FILE_MAX (16u << 10)
#define URL_MAX_BYTES 2048u
/* A machine that has no such service lets a connection hang. */
#define LOCAL_CONNECT_MS 1000u
#define LOCAL_STALL_MS 5000u
#define STS_CONNECT_MS 5000u
#define STS_STALL_MS 10000u
#define ROLE_MAX 256u

enum origin { UNKNOWN, ENVIRONMENT, WEB_IDENTITY, PROFILE, CONTAINER, MACHINE };

struct ramet_s3_credentials {
    struct ramet_s3_engine *engine;
    struct ramet_mutex mutex; /* also while a service is asked */
    struct ramet_s3_settings settings;
    enum origin origin;
    struct ramet_s3_keys keys; /* access "": none yet */
};

static const char *
env(const char *name)
{
    const char *const value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

static uint64_t
wall_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->wall_ms(os->ctx);
}

enum ramet_rc
ramet_s3_credentials_new(const struct ramet_s3_settings *settings,
                         struct ramet_s3_engine *engine,
                         struct ramet_s3_credentials **out,
                         struct ramet_err *err)
{
    struct ramet_s3_credentials *const c = ramet_calloc(1, sizeof(*c));

    if (c == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    c->engine = engine;
    c->settings = *settings;
    ramet_mutex_init(&c->mutex);
    *out = c;
    return RAMET_OK;
}

void
ramet_s3_credentials_free(struct ramet_s3_credentials *credentials)
{
    if (credentials == NULL)
        return;
    ramet_mutex_done(&credentials->mutex);
    explicit_bzero(credentials, sizeof(*credentials));
    ramet_free(credentials);
}

/* ---- what services answer ----------------------------------------------------------- */

static bool
fill(char *out, size_t size, const char *value)
{
    if (value == NULL || strlen(value) >= size)
        return false;
    strcpy(out, value);
    return true;
}

/* "2026-11-23T10:00:00Z", fractions passed over. */
static bool
parse_expiry(const char *text, uint64_t *out_ms)
{
    struct tm parts = {.tm_isdst = 0};
    time_t seconds;

    if (text == NULL || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &parts.tm_year,
                               &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
                               &parts.tm_min, &parts.tm_sec) != 6)
        return false;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    seconds = timegm(&parts);
    if (seconds <= 0)
        return false;
    *out_ms = (uint64_t)seconds * 1000;
    return true;
}

static enum ramet_rc
finish_keys(const char *access, const char *secret, const char *session,
            const char *expiry, struct ramet_s3_keys *out_keys,
            struct ramet_err *err)
{
    struct ramet_s3_keys keys = {.expires_ms = 0};

    if (access == NULL || access[0] == '\0' ||
        !fill(keys.access, sizeof(keys.access), access) ||
        !fill(keys.secret, sizeof(keys.secret), secret) ||
        !fill(keys.session, sizeof(keys.session),
              session != NULL ? session : "") ||
        (expiry != NULL && expiry[0] != '\0' &&
         !parse_expiry(expiry, &keys.expires_ms)))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "S3: what the credentials service answered are no "
                          "credentials");
    *out_keys = keys;
    return RAMET_OK;
}

enum ramet_rc
ramet_s3_keys_from_json(const void *data, size_t len,
                        struct ramet_s3_keys *out_keys, struct ramet_err *err)
{
    json_t *const json = json_loadb(data, len, 0, NULL);
    enum ramet_rc rc = finish_keys(
        json_string_value(json_object_get(json, "AccessKeyId")),
        json_string_value(json_object_get(json, "SecretAccessKey")),
        json_string_value(json_object_get(json, "Token")),
        json_string_value(json_object_get(json, "Expiration")), out_keys, err);

    json_decref(json);
    return rc;
}

enum ramet_rc
ramet_s3_keys_from_xml(const void *data, size_t len,
                       struct ramet_s3_keys *out_keys, struct ramet_err *err)
{
    static const char root[] = "AssumeRoleWithWebIdentityResponse/"
                               "AssumeRoleWithWebIdentityResult/Credentials/";
    struct ramet_s3_keys keys;
    char path[160], expiry[64];
    const struct {
        const char *name;
        char *out;
        size_t size;
    } fields[] = {{"AccessKeyId", keys.access, sizeof(keys.access)},
                  {"SecretAccessKey", keys.secret, sizeof(keys.secret)},
                  {"SessionToken", keys.session, sizeof(keys.session)},
                  {"Expiration", expiry, sizeof(expiry)}};

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", root, fields[i].name);
        if (!ramet_s3_field(data, len, path, fields[i].out, fields[i].size))
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "S3: what the security token service answered "
                              "are no credentials");
    }
    return finish_keys(keys.access, keys.secret, keys.session, expiry, out_keys,
                       err);
}

/* ---- asking them ---------------------------------------------------------------------- */

struct question {
    const char *method, *url, *body;
    const char *header; /* one, or NULL */
    const char *name;   /* of the service, in errors */
    const char *ca_file;
    bool is_local; /* here, or nowhere */
};

/* RAMET_OK: an answer of 200, as a text; the caller's. */
static enum ramet_rc
ask(struct ramet_s3_credentials *c, const struct question *q, char **out_text,
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

    if (q->header != NULL) {
        headers = curl_slist_append(NULL, q->header);
        if (headers == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    }
    x.headers = headers;
    rc = ramet_s3_run(c->engine, &x, err);
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
ask_for_keys(struct ramet_s3_credentials *c, const struct question *q,
             struct ramet_s3_keys *out_keys, struct ramet_err *err)
{
    char *text = NULL;
    enum ramet_rc rc = ask(c, q, &text, err);

    if (rc != RAMET_OK)
        return rc;
    rc = ramet_s3_keys_from_json(text, strlen(text), out_keys, err);
    explicit_bzero(text, strlen(text));
    ramet_free(text);
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

    if (rc != RAMET_OK)
        return RAMET_FAIL(err, RAMET_EAUTH,
                          "S3 credentials: the token file %s can't be read",
                          path);
    data[strcspn((char *)data, "\r\n")] = '\0';
    *out_text = (char *)data;
    return RAMET_OK;
}

/* ---- web identity ------------------------------------------------------------------- */

static void
sts_url(const struct ramet_s3_settings *settings, char out[URL_MAX_BYTES])
{
    const char *named = env("AWS_ENDPOINT_URL_STS");
    const char *const region =
        settings->region[0] != '\0' ? settings->region : "us-east-1";

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
    if (out->len > 0)
        ramet_buf_u8(out, '&');
    ramet_buf_bytes(out, name, strlen(name));
    ramet_buf_u8(out, '=');
    ramet_sigv4_escape(out, value, false);
}

static enum ramet_rc
get_web_identity(struct ramet_s3_credentials *c, struct ramet_s3_keys *out_keys,
                 struct ramet_err *err)
{
    const struct ramet_s3_settings *const s = &c->settings;
    struct ramet_buf body;
    char url[URL_MAX_BYTES];
    char *token = NULL, *text = NULL;
    enum ramet_rc rc = read_token(s->token_file, &token, err);

    if (rc != RAMET_OK)
        return rc;
    sts_url(s, url);
    ramet_buf_init(&body, 4 * TOKEN_FILE_MAX);
    add_parameter(&body, "Action", "AssumeRoleWithWebIdentity");
    add_parameter(&body, "RoleArn", s->role_arn);
    add_parameter(&body, "RoleSessionName",
                  s->session_name[0] != '\0' ? s->session_name : "ramet");
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
            .ca_file = s->ca_bundle[0] != '\0' ? s->ca_bundle : NULL,
        };

        rc = ask(c, &q, &text, err);
    }
    if (rc == RAMET_OK)
        rc = ramet_s3_keys_from_xml(text, strlen(text), out_keys, err);
    ramet_free(text);
    ramet_free(token);
    ramet_buf_done(&body);
    return rc;
}

/* ---- the container's and the machine's ------------------------------------------------ */

bool
ramet_s3_is_container_host(const char *url)
{
    struct ramet_origin origin;

    if (!ramet_origin_of(url, &origin))
        return false;
    return !origin.is_plain || origin.is_loopback ||
           strcmp(origin.host, "169.254.170.2") == 0 ||
           strcmp(origin.host, "169.254.170.23") == 0;
}

static enum ramet_rc
container_header(char **out_header, struct ramet_err *err)
{
    const char *const file = env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
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
    ramet_free(read);
    return rc;
}

static enum ramet_rc
get_container(struct ramet_s3_credentials *c, struct ramet_s3_keys *out_keys,
              struct ramet_err *err)
{
    const char *const relative = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *const full = env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    char url[URL_MAX_BYTES], *header = NULL;
    struct question q = {.method = "GET",
                         .url = url,
                         .name = "the container's endpoint",
                         .is_local = true};
    enum ramet_rc rc;

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
        rc = ask_for_keys(c, &q, out_keys, err);
    ramet_free(header);
    return rc;
}

static enum ramet_rc
metadata_token(struct ramet_s3_credentials *c, const char *base,
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

    (void)snprintf(url, sizeof(url), "%.1000s/latest/api/token", base);
    rc = ask(c, &q, &token, err);
    if (rc != RAMET_OK)
        return rc;
    token[strcspn(token, "\r\n")] = '\0';
    *out_header = ramet_asprintf("X-aws-ec2-metadata-token: %s", token);
    ramet_free(token);
    return *out_header != NULL
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
}

static enum ramet_rc
get_machine(struct ramet_s3_credentials *c, struct ramet_s3_keys *out_keys,
            struct ramet_err *err)
{
    static const char roles[] = "/latest/meta-data/iam/security-credentials/";
    const char *const named = env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *const base = named != NULL ? named : "http://169.254.169.254";
    char url[URL_MAX_BYTES], *header = NULL, *role = NULL;
    struct question q = {.method = "GET",
                         .url = url,
                         .name = "the machine's metadata service",
                         .is_local = true};
    enum ramet_rc rc = metadata_token(c, base, &header, err);

    if (rc != RAMET_OK)
        return rc;
    q.header = header;
    (void)snprintf(url, sizeof(url), "%.1000s%s", base, roles);
    rc = ask(c, &q, &role, err);
    if (rc == RAMET_OK) {
        role[strcspn(role, "\r\n")] = '\0';
        (void)snprintf(url, sizeof(url), "%.1000s%s%.*s", base, roles,
                       (int)ROLE_MAX, role);
        rc = ask_for_keys(c, &q, out_keys, err);
    }
    ramet_free(role);
    ramet_free(header);
    return rc;
}

/* ---- which -------------------------------------------------------------------------- */

static enum ramet_rc
get_environment(struct ramet_s3_keys *out_keys, struct ramet_err *err)
{
    struct ramet_s3_keys keys = {.expires_ms = 0};
    const char *const session = env("AWS_SESSION_TOKEN");

    if (!fill(keys.access, sizeof(keys.access), env("AWS_ACCESS_KEY_ID")) ||
        !fill(keys.secret, sizeof(keys.secret), env("AWS_SECRET_ACCESS_KEY")) ||
        !fill(keys.session, sizeof(keys.session),
              session != NULL ? session : ""))
        return RAMET_FAIL(err, RAMET_EAUTH,
                          "S3 credentials: AWS_ACCESS_KEY_ID is set, and "
                          "AWS_SECRET_ACCESS_KEY (and the session token, if "
                          "any) has to go with it");
    *out_keys = keys;
    return RAMET_OK;
}

static enum origin
find_origin(const struct ramet_s3_settings *settings)
{
    const char *const disabled = env("AWS_EC2_METADATA_DISABLED");

    if (env("AWS_ACCESS_KEY_ID") != NULL)
        return ENVIRONMENT;
    if (settings->role_arn[0] != '\0' && settings->token_file[0] != '\0')
        return WEB_IDENTITY;
    if (settings->profile_keys.access[0] != '\0')
        return PROFILE;
    if (env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != NULL ||
        env("AWS_CONTAINER_CREDENTIALS_FULL_URI") != NULL)
        return CONTAINER;
    if (disabled == NULL || strcasecmp(disabled, "true") != 0)
        return MACHINE;
    return UNKNOWN;
}

static enum ramet_rc
none_found(const struct ramet_s3_credentials *c, const struct ramet_err *why,
           struct ramet_err *err)
{
    if (c->settings.unsupported != NULL)
        return RAMET_FAIL(err, RAMET_EAUTH,
                          "S3 credentials: the profile %s gets its own by %s, "
                          "which Ramet does not know; give AWS_ACCESS_KEY_ID "
                          "and AWS_SECRET_ACCESS_KEY",
                          c->settings.profile, c->settings.unsupported);
    return RAMET_FAIL(err, RAMET_EAUTH,
                      "S3 credentials: there are none: neither "
                      "AWS_ACCESS_KEY_ID, nor keys of profile %s in "
                      "~/.aws/credentials, nor a container's or machine's role"
                      "%s%.150s%s",
                      c->settings.profile, why != NULL ? " (" : "",
                      why != NULL ? why->text : "", why != NULL ? ")" : "");
}

static enum ramet_rc
fetch(struct ramet_s3_credentials *c, struct ramet_s3_keys *out_keys,
      struct ramet_err *err)
{
    struct ramet_err why;

    c->origin = find_origin(&c->settings);
    switch (c->origin) {
    case ENVIRONMENT:
        return get_environment(out_keys, err);
    case WEB_IDENTITY:
        return get_web_identity(c, out_keys, err);
    case PROFILE:
        *out_keys = c->settings.profile_keys;
        return RAMET_OK;
    case CONTAINER:
        return get_container(c, out_keys, err);
    case MACHINE:
        return get_machine(c, out_keys, &why) == RAMET_OK
                   ? RAMET_OK
                   : none_found(c, &why, err);
    case UNKNOWN:
        break;
    }
    return none_found(c, NULL, err);
}

enum ramet_rc
ramet_s3_credentials_get(struct ramet_s3_credentials *c,
                         struct ramet_s3_keys *out_keys, struct ramet_err *err)
{
    struct ramet_s3_keys fresh = {.expires_ms = 0};
    enum ramet_rc rc = RAMET_OK;
    uint64_t now;

    ramet_mutex_lock(&c->mutex);
    now = wall_ms();
    if (c->keys.access[0] == '\0' ||
        (c->keys.expires_ms != 0 &&
         now + RENEW_BEFORE_MS >= c->keys.expires_ms)) {
        rc = fetch(c, &fresh, err);
        if (rc == RAMET_OK)
            c->keys = fresh;
        else if (c->keys.access[0] != '\0' && now < c->keys.expires_ms)
            rc = RAMET_OK; /* the old ones still serve */
    }
    if (rc == RAMET_OK)
        *out_keys = c->keys;
    ramet_mutex_unlock(&c->mutex);
    ramet_s3_keys_wipe(&fresh);
    return rc;
}

bool
ramet_s3_credentials_refused(struct ramet_s3_credentials *c,
                             const struct ramet_s3_keys *keys)
{
    struct ramet_s3_settings *settings = NULL;
    bool worth_it = true;

    ramet_mutex_lock(&c->mutex);
    if (strcmp(c->keys.access, keys->access) == 0 &&
        strcmp(c->keys.session, keys->session) == 0) {
        worth_it = c->origin != ENVIRONMENT && c->origin != UNKNOWN;
        settings = worth_it ? ramet_calloc(1, sizeof(*settings)) : NULL;
        if (settings != NULL &&
            ramet_s3_settings_load(settings, NULL) == RAMET_OK)
            c->settings = *settings; /* of a profile: somebody renewed it */
        if (worth_it)
            ramet_s3_keys_wipe(&c->keys);
    } /* else another thread did that already */
    ramet_mutex_unlock(&c->mutex);
    ramet_free(settings);
    return worth_it;
}
