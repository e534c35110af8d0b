/*
 * place.c - see place.h.
 */
#include "pagestore/s3/place.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/decimal.h"
#include "pagestore/s3/settings.h"

#define DEFAULT_REGION "us-east-1"

/* ---- the URL ----------------------------------------------------------------- */

/* Of a-z0-9.-, letters or digits at the ends. Old buckets and other services
 * have capitals and '_' too. */
static const char *
take_bucket(const char *text, size_t len, struct ramet_s3_place *place)
{
    assert(text[len] == '\0' || text[len] == '/');
    if (len == 0)
        return "there is no bucket";
    if (len >= sizeof(place->bucket))
        return "a bucket's name has at most 63 characters";
    for (size_t i = 0; i < len; i++) {
        const bool plain = isalnum((unsigned char)text[i]);

        if (!plain &&
            (i == 0 || i == len - 1 || strchr("-._", text[i]) == NULL))
            return "the bucket has odd characters";
        if (text[i] == '.' && text[i + 1] == '.')
            return "the bucket has odd characters";
    }
    memcpy(place->bucket, text, len);
    return NULL;
}

/* Segments of printable characters; what a URL needs for itself is not in
 * them. */
static const char *
take_prefix(const char *text, struct ramet_s3_place *place)
{
    char before = '/';

    assert(text != NULL);
    if (strlen(text) >= sizeof(place->prefix))
        return "the prefix is longer than 511 characters";
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '/' ? before == '/'
                      : !isalnum((unsigned char)*p) &&
                            strchr("-._~!$'()*+,;=:@&", *p) == NULL)
            return "the prefix has odd characters, or an empty part";
        if (*p == '.' && before == '/')
            return "no part of the prefix may begin with '.'";
        before = *p;
    }
    if (before == '/' && text[0] != '\0')
        return "the prefix has odd characters, or an empty part";
    assert(strlen(text) < sizeof(place->prefix));
    strcpy(place->prefix, text);
    return NULL;
}

static const char *
take_endpoint(const char *value, struct ramet_s3_place *place)
{
    struct ramet_origin origin;

    assert(value != NULL && place->endpoint[0] == '\0'); /* once */
    if (strlen(value) >= sizeof(place->endpoint) ||
        !ramet_origin_of(value, &origin) || origin.host[0] == '\0' ||
        strchr(value + 8, '/') != NULL || strchr(value, '@') != NULL)
        return "endpoint= must be http://host:port or https://host, and no "
               "more";
    strcpy(place->endpoint, value);
    return NULL;
}

static const char *
take_region(const char *value, struct ramet_s3_place *place)
{
    const size_t len = strlen(value);

    assert(value != NULL && place->region[0] == '\0'); /* once */
    for (const char *p = value; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
            return "region= has odd characters";
    if (len == 0 || len >= sizeof(place->region))
        return "region= has 1 to 63 characters";
    strcpy(place->region, value);
    return NULL;
}

static const char *
take_parameter(const char *name, const char *value,
               struct ramet_s3_place *place)
{
    assert(name != NULL && value != NULL);
    if (strcmp(name, "endpoint") == 0)
        return place->endpoint[0] != '\0' ? "endpoint= is given twice"
                                          : take_endpoint(value, place);
    if (strcmp(name, "region") == 0)
        return place->region[0] != '\0' ? "region= is given twice"
                                        : take_region(value, place);
    if (strcmp(name, "style") != 0)
        return "after '?' there may be endpoint=, region= and style=";
    if (strcmp(value, "path") == 0)
        place->style = RAMET_S3_STYLE_PATH;
    else if (strcmp(value, "host") == 0)
        place->style = RAMET_S3_STYLE_HOST;
    else
        return "style= is path or host";
    return NULL;
}

/* The value of a parameter: http%3A%2F%2Fhost is http://host. */
static const char *
decode(const char *text, size_t len, char *out, size_t out_size)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (c == '%') {
            const int high = i + 2 < len ? ramet_hex_digit(text[i + 1]) : -1;
            const int low = high >= 0 ? ramet_hex_digit(text[i + 2]) : -1;

            if (low < 0)
                return "'%' needs two hex digits";
            c = (char)(high << 4 | low);
            i += 2;
        }
        if ((unsigned char)c <= ' ' || (unsigned char)c >= 127 ||
            n + 1 >= out_size)
            return "a value after '?' is too long, or has odd characters";
        out[n++] = c;
    }
    assert(n < out_size);
    out[n] = '\0';
    return NULL;
}

static const char *
take_query(const char *query, struct ramet_s3_place *place)
{
    assert(query != NULL);
    while (*query != '\0') {
        const size_t len = strcspn(query, "&");
        const char *const equals = memchr(query, '=', len);
        char name[16], value[RAMET_ORIGIN_MAX];
        const char *why;

        if (equals == NULL || (size_t)(equals - query) >= sizeof(name))
            return "after '?' there may be endpoint=, region= and style=";
        memcpy(name, query, (size_t)(equals - query));
        name[equals - query] = '\0';
        why = decode(equals + 1, len - (size_t)(equals + 1 - query), value,
                     sizeof(value));
        if (why == NULL)
            why = take_parameter(name, value, place);
        if (why != NULL)
            return why;
        query += len;
        if (*query == '&')
            query++;
    }
    return NULL;
}

const char *
ramet_s3_place_parse(const char *root, const char *query,
                     struct ramet_s3_place *out_place)
{
    struct ramet_s3_place place = {.style = RAMET_S3_STYLE_AUTO};
    size_t bucket_len;
    const char *why;

    assert(root != NULL && query != NULL);
    if (strncmp(root, "s3://", 5) != 0)
        return "it is not an s3:// URL";
    root += 5;
    bucket_len = strcspn(root, "/");
    why = take_bucket(root, bucket_len, &place);
    if (why == NULL)
        why =
            take_prefix(root + bucket_len + (root[bucket_len] == '/'), &place);
    if (why == NULL)
        why = take_query(query, &place);
    if (why == NULL)
        *out_place = place;
    return why;
}

/* ---- where that is ------------------------------------------------------------ */

bool
ramet_s3_same_endpoint(const char *a, const char *b)
{
    struct ramet_origin one, other;

    assert(a != NULL && b != NULL);
    return ramet_origin_of(a, &one) && ramet_origin_of(b, &other) &&
           strcasecmp(one.text, other.text) == 0;
}

/* "eu-west-1", "us-gov-east-1" */
static bool
is_aws_region(const char *text, size_t len)
{
    size_t dashes = 0;

    assert(text != NULL);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '-')
            dashes++;
        else if (!islower((unsigned char)text[i]) &&
                 !isdigit((unsigned char)text[i]))
            return false;
    }
    return len >= 6 && dashes >= 2 && text[0] != '-' &&
           isdigit((unsigned char)text[len - 1]);
}

bool
ramet_s3_is_aws(const struct ramet_origin *origin)
{
    static const char *const services[] = {
        "s3.dualstack.", "s3-fips.dualstack.", "s3-fips.", "s3."};
    const char *const dot_cn = ".amazonaws.com.cn", *const dot_com =
                                                        ".amazonaws.com";
    const size_t len = strlen(origin->host);
    const char *host = origin->host, *end = NULL;

    assert(origin->host[0] != '\0' && origin->port[0] != '\0');
    if (origin->is_plain || strcmp(origin->port, "443") != 0)
        return false;
    if (strcmp(host, "s3.amazonaws.com") == 0)
        return true;
    if (len > strlen(dot_cn) &&
        strcmp(host + len - strlen(dot_cn), dot_cn) == 0)
        end = host + len - strlen(dot_cn);
    else if (len > strlen(dot_com) &&
             strcmp(host + len - strlen(dot_com), dot_com) == 0)
        end = host + len - strlen(dot_com);
    if (end == NULL)
        return false;
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        const size_t service_len = strlen(services[i]);

        if (strncmp(host, services[i], service_len) == 0 &&
            host + service_len < end)
            return is_aws_region(host + service_len,
                                 (size_t)(end - host) - service_len);
    }
    return false;
}

static bool
has_path(const char *url)
{
    const char *const slash = strchr(strstr(url, "//") + 2, '/');

    assert(strstr(url, "//") != NULL); /* it is an origin's */
    return slash != NULL && slash[1] != '\0';
}

/* Of the URL, the environment, the profile; else AWS's own. */
static enum ramet_rc
choose_origin(const struct ramet_s3_place *place,
              const struct ramet_s3_settings *settings, const char *region,
              struct ramet_origin *out_origin, struct ramet_err *err)
{
    const char *text = place->endpoint;
    char aws[RAMET_ORIGIN_MAX];

    assert(region[0] != '\0');
    if (text[0] == '\0')
        text = settings->endpoint;
    if (text[0] == '\0')
        text = settings->general_endpoint;
    if (text[0] == '\0') {
        (void)snprintf(aws, sizeof(aws), "https://s3.%s.amazonaws.com%s",
                       region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
        text = aws;
    }
    if (!ramet_origin_of(text, out_origin) || has_path(text))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "S3: the endpoint '%.200s' is not the URL of a host",
                          text);
    return RAMET_OK;
}

static bool
is_trusted(const struct ramet_s3_place *place,
           const struct ramet_s3_settings *settings,
           const struct ramet_origin *origin, bool configured)
{
    assert(origin->text[0] != '\0');
    if (place->endpoint[0] == '\0' || configured)
        return true;                  /* (2), or AWS's own; (3) */
    return ramet_s3_is_aws(origin) || /* (1) */
           ramet_s3_same_endpoint(origin->text, settings->endpoint) ||
           ramet_s3_same_endpoint(origin->text, settings->general_endpoint);
}

/* TLS names one level of hosts below AWS's, so a bucket with a dot is no host
 * there. */
static bool
is_path_style(const struct ramet_s3_place *place,
              const struct ramet_origin *origin)
{
    assert(place->bucket[0] != '\0');
    if (place->style != RAMET_S3_STYLE_AUTO)
        return place->style == RAMET_S3_STYLE_PATH;
    return !ramet_s3_is_aws(origin) || strchr(place->bucket, '.') != NULL;
}

/* As libcurl sends it: without the scheme's own port. */
static void
name_host(struct ramet_s3_target *target)
{
    const struct ramet_origin *const o = &target->origin;
    const bool own_port = strcmp(o->port, o->is_plain ? "80" : "443") == 0;

    assert(o->host[0] != '\0' && target->bucket[0] != '\0');
    (void)snprintf(target->host, sizeof(target->host), "%s%s%s%s%s",
                   target->path_style ? "" : target->bucket,
                   target->path_style ? "" : ".", o->host, own_port ? "" : ":",
                   own_port ? "" : o->port);
}

enum ramet_rc
ramet_s3_resolve(const struct ramet_s3_place *place,
                 const struct ramet_s3_settings *settings, bool configured,
                 struct ramet_s3_target *out_target, struct ramet_err *err)
{
    struct ramet_s3_target target = {.why_not = NULL};
    const char *region = place->region;
    enum ramet_rc rc;

    if (region[0] == '\0')
        region = settings->region;
    if (region[0] == '\0')
        region = DEFAULT_REGION;
    rc = choose_origin(place, settings, region, &target.origin, err);
    if (rc != RAMET_OK)
        return rc;
    strcpy(target.bucket, place->bucket);
    (void)snprintf(target.region, sizeof(target.region), "%s", region);
    target.path_style = is_path_style(place, &target.origin);
    target.trusted = is_trusted(place, settings, &target.origin, configured);
    if (!target.trusted)
        target.why_not =
            "the credentials of the environment don't go to an endpoint that "
            "only a URL names: check the URL, and name its endpoint in "
            "AWS_ENDPOINT_URL_S3, the profile or ramet.conf";
    name_host(&target);
    assert(target.trusted == (target.why_not == NULL));
    *out_target = target;
    return RAMET_OK;
}
