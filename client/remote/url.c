/*
 * url.c - remote URLs; see remote.h for the forms.
 *
 * What a user typed is hostile until parsed: every part is checked here, and
 * nothing behind it looks at the text again.
 *
 *   (1) A file URL's root is a decoded, absolute path without empty segments;
 *       any other root is kept as written, but for the host's case.
 *   (2) ramet_url_format(parse(text)) parses to the same url again.
 *
 * Layer: client.
 */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/remote.h"
#include "client/snapshot.h"
#include "core/decimal.h"
#include "pagestore/s3/place.h"

#define FORMS                                                                  \
    "file:///dir/name, http://host:port/name or s3://bucket/prefix/name"

static const struct {
    const char *prefix;
    enum ramet_remote_scheme scheme;
} schemes[] = {
    {"file://", RAMET_REMOTE_FILE},
    {"http://", RAMET_REMOTE_HTTP},
    {"https://", RAMET_REMOTE_HTTPS},
    {"s3://", RAMET_REMOTE_S3},
};

static enum ramet_rc
fail(struct ramet_err *err, const char *text, const char *why)
{
    return RAMET_FAIL(err, RAMET_EINVAL,
                      "remote '%.200s': %s; the form is " FORMS, text, why);
}

static const char *
scheme_prefix(enum ramet_remote_scheme scheme)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (schemes[i].scheme == scheme)
            return schemes[i].prefix;
    assert(!"a scheme without prefix");
    return "";
}

/* The rest after the scheme, or NULL. */
static const char *
skip_scheme(const char *text, enum ramet_remote_scheme *out_scheme)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        const size_t len = strlen(schemes[i].prefix);

        if (strncmp(text, schemes[i].prefix, len) == 0) {
            *out_scheme = schemes[i].scheme;
            return text + len;
        }
    }
    return NULL;
}

/* Percent-decode a path of `len` bytes, joining runs of slashes; NULL if it is
 * fine, else why not. */
static const char *
decode_path(const char *raw, size_t len, char *out, size_t out_size)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = raw[i];

        if (c == '%') {
            const int high = i + 2 < len ? ramet_hex_digit(raw[i + 1]) : -1;
            const int low = high >= 0 ? ramet_hex_digit(raw[i + 2]) : -1;

            if (low < 0 || (high == 0 && low == 0))
                return "'%' needs two hex digits, not 00";
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '/' && n > 0 && out[n - 1] == '/')
            continue;
        if (n + 1 >= out_size)
            return "the path is too long";
        out[n++] = c;
    }
    while (n > 1 && out[n - 1] == '/')
        n--;
    if (n == 0)
        out[n++] = '/';
    out[n] = '\0';
    return NULL;
}

static const char *
check_port(const char *port, size_t len)
{
    unsigned value = 0;

    if (len == 0 || len > 5)
        return "the port is not a number";
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)port[i]))
            return "the port is not a number";
        value = value * 10 + (unsigned)(port[i] - '0');
    }
    return value >= 1 && value <= 65535 ? NULL : "the port is not 1 to 65535";
}

/* host, host:port or [v6]:port */
static const char *
check_authority(const char *text, size_t len)
{
    const char *const end = text + len;
    const char *p = text;

    if (len == 0)
        return "there is no host";
    if (memchr(text, '@', len) != NULL)
        return "credentials never stand in a URL: use RAMET_TOKEN or "
               "token_file in ramet.conf";
    if (*p == '[') {
        while (p < end && *p != ']')
            if (!isxdigit((unsigned char)*p) && strchr("[:.", *p) == NULL)
                return "the address in [] is not right";
            else
                p++;
        if (p == end || p - text < 3)
            return "the address in [] is not right";
        p++;
    } else {
        while (p < end && *p != ':')
            if (!isalnum((unsigned char)*p) && strchr("-._", *p) == NULL)
                return "the host has odd characters";
            else
                p++;
        if (p == text)
            return "there is no host";
    }
    if (p == end)
        return NULL;
    if (*p != ':')
        return "the host has odd characters";
    return check_port(p + 1, (size_t)(end - p - 1));
}

/* "http://Host:80" and "/prefix" of `len` bytes into url->root. */
static const char *
take_root(struct ramet_url *url, const char *raw, size_t len)
{
    const char *const prefix = scheme_prefix(url->scheme);
    const size_t prefix_len = strlen(prefix);
    const char *const slash = memchr(raw, '/', len);
    const size_t host_len = slash != NULL ? (size_t)(slash - raw) : len;
    const char *why = NULL;

    if (url->scheme != RAMET_REMOTE_S3)
        why = check_authority(raw, host_len);
    if (why != NULL)
        return why;
    while (len > host_len && raw[len - 1] == '/')
        len--;
    if (prefix_len + len >= sizeof(url->root))
        return "it is too long";
    memcpy(url->root, prefix, prefix_len);
    for (size_t i = 0; i < len; i++)
        url->root[prefix_len + i] =
            (char)(i < host_len && url->scheme != RAMET_REMOTE_S3
                       ? tolower((unsigned char)raw[i])
                       : raw[i]);
    url->root[prefix_len + len] = '\0';
    return NULL;
}

/* "name", "name@42" or "name@2026-…" of `len` bytes. */
static const char *
take_name(struct ramet_url *url, const char *raw, size_t len)
{
    const char *const at = memchr(raw, '@', len);
    const size_t name_len = at != NULL ? (size_t)(at - raw) : len;
    char when[64];

    if (name_len > RAMET_NAME_MAX)
        return "the name is longer than 128 characters";
    memcpy(url->name, raw, name_len);
    url->name[name_len] = '\0';
    if (name_len > 0 && !ramet_name_valid(url->name))
        return "the name must be 1 to 128 of A-Za-z0-9._-, not beginning "
               "with '.'";
    if (at == NULL)
        return NULL;
    if (name_len == 0)
        return "a snapshot needs a name before the '@'";
    len -= name_len + 1;
    if (len >= sizeof(when))
        return "after '@' there must be an LSN or a time";
    memcpy(when, at + 1, len);
    when[len] = '\0';
    url->has_lsn = ramet_decimal_parse(when, &url->at_lsn);
    if (url->has_lsn)
        return url->at_lsn > 0 ? NULL : "LSNs begin at 1";
    url->has_time = ramet_time_parse(when, &url->at_time_ms);
    return url->has_time ? NULL
                         : "after '@' there must be an LSN or a time such as "
                           "2026-11-23T10:00:00Z";
}

static const char *
take_query(struct ramet_url *url, const char *query)
{
    if (url->scheme != RAMET_REMOTE_S3)
        return "only s3:// takes '?'";
    if (strlen(query) >= sizeof(url->query))
        return "what follows '?' is too long";
    memcpy(url->query, query, strlen(query) + 1);
    return NULL;
}

static const char *
parse_rest(struct ramet_url *url, const char *rest)
{
    const char *const question = strchr(rest, '?');
    const size_t len =
        question != NULL ? (size_t)(question - rest) : strlen(rest);
    size_t name_at = len;
    const char *why;

    if (question != NULL) {
        why = take_query(url, question + 1);
        if (why != NULL)
            return why;
    }
    if (url->scheme == RAMET_REMOTE_FILE &&
        strncmp(rest, "localhost/", 10) == 0)
        return parse_rest(url, rest + 9);
    if (url->scheme == RAMET_REMOTE_FILE && rest[0] != '/')
        return "a directory is named by its absolute path, with three slashes";
    while (name_at > 0 && rest[name_at - 1] != '/')
        name_at--;
    if (name_at == 0) /* a host alone: the store */
        return take_root(url, rest, len);
    why = take_name(url, rest + name_at, len - name_at);
    if (why != NULL)
        return why;
    if (url->scheme == RAMET_REMOTE_FILE)
        return decode_path(rest, name_at, url->root, sizeof(url->root));
    return take_root(url, rest, name_at);
}

enum ramet_rc
ramet_url_parse(const char *text, struct ramet_url *out_url,
                struct ramet_err *err)
{
    struct ramet_url url = {.scheme = RAMET_REMOTE_FILE};
    char normal[3 * sizeof(url.root) + sizeof(url.query) + RAMET_NAME_MAX];
    struct ramet_s3_place place;
    const char *rest;
    const char *why;

    if (strlen(text) >= RAMET_URL_MAX)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "remote: a URL has at most %u characters",
                          RAMET_URL_MAX - 1);
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '#')
            return fail(err, "…",
                        "blanks, control characters and '#' have to "
                        "be percent-encoded");
    rest = skip_scheme(text, &url.scheme);
    if (rest == NULL)
        return fail(err, text, "no scheme that is known");
    why = parse_rest(&url, rest);
    if (why == NULL && url.scheme == RAMET_REMOTE_S3)
        why = ramet_s3_place_parse(url.root, url.query, &place);
    if (why == NULL) { /* percent signs may make it longer than it was */
        ramet_url_format(&url, normal, sizeof(normal));
        if (strlen(normal) >= RAMET_URL_MAX)
            why = "it is too long";
    }
    if (why != NULL)
        return fail(err, text, why);
    *out_url = url;
    return RAMET_OK;
}

/* Percent-encode what a file path may hold and a URL may not. */
static size_t
encode_path(const char *path, char *out, size_t out_size)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;

    assert(out_size > 4);
    for (; *path != '\0' && n + 4 < out_size; path++) {
        const unsigned char c = (unsigned char)*path;

        if (isalnum(c) || (c < 0x80 && strchr("/-._~!$&'()*+,;=:@", c))) {
            out[n++] = (char)c;
        } else {
            out[n++] = '%';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        }
    }
    assert(n < out_size);
    out[n] = '\0';
    return n;
}

void
ramet_url_format(const struct ramet_url *url, char *out, size_t out_size)
{
    char path[3 * sizeof(url->root) + 1];
    const char *root = url->root;
    const char *lead = "";

    assert(out_size > 0);
    if (url->scheme == RAMET_REMOTE_FILE) {
        lead = "file://";
        encode_path(url->root, path, sizeof(path));
        root = strcmp(path, "/") == 0 ? "" : path;
    }
    snprintf(out, out_size, "%s%s/%s%s%s", lead, root, url->name,
             url->query[0] != '\0' ? "?" : "", url->query);
}
