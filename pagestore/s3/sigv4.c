/*
 * sigv4.c - see sigv4.h.
 *
 * The three texts of the algorithm, in its own words: the canonical request,
 * the string to sign (which holds the first one's hash), the signature.
 */
#include "pagestore/s3/sigv4.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define SHA256_BYTES 32u
#define CANONICAL_MAX (64u << 10)
#define NAMES_MAX 512u

struct digest {
    uint8_t bytes[SHA256_BYTES];
};

static void
to_hex(const struct digest *digest, char out[RAMET_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";

    assert(digest != NULL);
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        out[2 * i] = digits[digest->bytes[i] >> 4];
        out[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    out[2 * SHA256_BYTES] = '\0';
}

bool
ramet_sha256_hex(const struct iovec *parts, int part_count,
                 char out[RAMET_SHA256_HEX])
{
    EVP_MD_CTX *const ctx = EVP_MD_CTX_new();
    struct digest digest;
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;

    assert(parts != NULL || part_count == 0);
    for (int i = 0; ok && i < part_count; i++)
        ok = EVP_DigestUpdate(ctx, parts[i].iov_base, parts[i].iov_len) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, digest.bytes, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    if (ok)
        to_hex(&digest, out);
    return ok;
}

static bool
hmac(const void *key, size_t key_len, const char *text, struct digest *out)
{
    assert(key_len <= INT32_MAX && text != NULL);
    return HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text,
                strlen(text), out->bytes, NULL) != NULL;
}

void
ramet_sigv4_time(uint64_t unix_ms, char out[RAMET_SIGV4_TIME])
{
    const time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;

    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(out, RAMET_SIGV4_TIME, "%Y%m%dT%H%M%SZ", &parts) == 0)
        memcpy(out, "19700101T000000Z", RAMET_SIGV4_TIME);
}

static bool
is_unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == '~';
}

void
ramet_sigv4_escape(struct ramet_buf *out, const char *text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";

    assert(text != NULL);
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;

        if (is_unreserved(c) || (c == '/' && keep_slash)) {
            ramet_buf_u8(out, c);
        } else {
            ramet_buf_u8(out, '%');
            ramet_buf_u8(out, (uint8_t)digits[c >> 4]);
            ramet_buf_u8(out, (uint8_t)digits[c & 15]);
        }
    }
}

static void
add_text(struct ramet_buf *out, const char *text)
{
    assert(text != NULL);

    ramet_buf_bytes(out, text, strlen(text));
}

static void
add_line(struct ramet_buf *out, const char *text)
{
    add_text(out, text);
    ramet_buf_u8(out, '\n');
}

/* "host;x-amz-date" */
static bool
name_headers(const struct ramet_sigv4_request *request, char out[NAMES_MAX])
{
    size_t n = 0;

    assert(request->header_count > 0);
    for (size_t i = 0; i < request->header_count; i++) {
        const char *const name = request->headers[i].name;
        const size_t len = strlen(name);

        assert(i == 0 || strcmp(request->headers[i - 1].name, name) < 0);
        if (n + len + 2 > NAMES_MAX)
            return false;
        if (i > 0)
            out[n++] = ';';
        memcpy(out + n, name, len);
        n += len;
    }
    assert(n < NAMES_MAX);
    out[n] = '\0';
    return true;
}

/* The hash of the canonical request. */
static enum ramet_rc
hash_request(const struct ramet_sigv4_request *request, const char *names,
             char out[RAMET_SHA256_HEX])
{
    struct ramet_buf text;
    struct iovec whole;
    enum ramet_rc rc;

    assert(request->path[0] == '/' &&
           strlen(request->payload_sha256) == RAMET_SHA256_HEX - 1);
    ramet_buf_init(&text, CANONICAL_MAX);
    add_line(&text, request->method);
    add_line(&text, request->path);
    add_line(&text, request->query);
    for (size_t i = 0; i < request->header_count; i++) {
        add_text(&text, request->headers[i].name);
        ramet_buf_u8(&text, ':');
        add_line(&text, request->headers[i].value);
    }
    add_line(&text, "");
    add_line(&text, names);
    add_text(&text, request->payload_sha256);
    whole = (struct iovec){text.data, text.len};
    rc = text.failed;
    if (rc == RAMET_OK && !ramet_sha256_hex(&whole, 1, out))
        rc = RAMET_ENOMEM;
    ramet_buf_done(&text);
    return rc;
}

/* A key for this day, region and service. */
static bool
derive_key(const struct ramet_sigv4_scope *scope, const char *day,
           struct digest *key)
{
    char first[512];
    const int len = snprintf(first, sizeof(first), "AWS4%s", scope->secret_key);
    bool ok = len > 0 && (size_t)len < sizeof(first) &&
              hmac(first, (size_t)len, day, key) &&
              hmac(key->bytes, SHA256_BYTES, scope->region, key) &&
              hmac(key->bytes, SHA256_BYTES, scope->service, key) &&
              hmac(key->bytes, SHA256_BYTES, "aws4_request", key);

    assert(strlen(day) == 8);
    explicit_bzero(first, sizeof(first));
    return ok;
}

static enum ramet_rc
too_long(struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_EINVAL,
                      "S3: the request can't be signed: a key or a name is too "
                      "long");
}

enum ramet_rc
ramet_sigv4_authorize(const struct ramet_sigv4_request *request,
                      const struct ramet_sigv4_scope *scope,
                      char out[RAMET_SIGV4_AUTH], struct ramet_err *err)
{
    char names[NAMES_MAX], hash[RAMET_SHA256_HEX], place[256], text[512];
    char signature[RAMET_SHA256_HEX], day[9];
    struct digest key, signed_text;
    enum ramet_rc rc;
    bool ok;

    assert(strlen(scope->time) == RAMET_SIGV4_TIME - 1);
    assert(request->headers != NULL && request->query != NULL);
    memcpy(day, scope->time, 8);
    day[8] = '\0';
    if (!name_headers(request, names))
        return too_long(err);
    rc = hash_request(request, names, hash);
    if (rc == RAMET_ENOMEM)
        return RAMET_FAIL(err, rc, "S3: out of memory");
    ok = rc == RAMET_OK &&
         snprintf(place, sizeof(place), "%s/%s/%s/aws4_request", day,
                  scope->region, scope->service) < (int)sizeof(place) &&
         snprintf(text, sizeof(text), "AWS4-HMAC-SHA256\n%s\n%s\n%s",
                  scope->time, place, hash) < (int)sizeof(text) &&
         derive_key(scope, day, &key) &&
         hmac(key.bytes, SHA256_BYTES, text, &signed_text);
    if (ok) {
        to_hex(&signed_text, signature);
        ok = snprintf(out, RAMET_SIGV4_AUTH,
                      "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,"
                      "Signature=%s",
                      scope->access_key, place, names,
                      signature) < (int)RAMET_SIGV4_AUTH;
    }
    explicit_bzero(&key, sizeof(key));
    return ok ? RAMET_OK : too_long(err);
}
