/*
 * batch.c - many objects removed by one request.
 *
 * Not every service knows how, or says for which key it failed; so whatever is
 * not plainly done is done again one by one, which costs nothing but time.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "pagestore/s3/s3store_impl.h"
#include "pagestore/s3/xml.h"

#define KEYS_MAX 1000u /* S3's own limit */
#define BODY_MAX (4u << 20)
#define MD5_BYTES 16u
#define MD5_BASE64 25u
#define ANSWER_MAX (1u << 20)

static void
add_text(struct ramet_buf *out, const char *text)
{
    ramet_buf_bytes(out, text, strlen(text));
}

/* A prefix may have what XML keeps for itself. */
static void
add_escaped(struct ramet_buf *out, const char *text)
{
    assert(text != NULL);
    for (; *text != '\0'; text++) {
        if (*text == '&')
            add_text(out, "&amp;");
        else if (*text == '<')
            add_text(out, "&lt;");
        else
            ramet_buf_u8(out, (uint8_t)*text);
    }
}

static void
write_body(const struct ramet_s3store *s3, const char *const *keys,
           size_t count, struct ramet_buf *out)
{
    char full[RAMET_S3_KEY_MAX];

    assert(count > 0 && count <= KEYS_MAX);
    add_text(out, "<Delete><Quiet>true</Quiet>");
    for (size_t i = 0; i < count; i++) {
        ramet_s3store_key(s3, keys[i], full);
        add_text(out, "<Object><Key>");
        add_escaped(out, full);
        add_text(out, "</Key></Object>");
    }
    add_text(out, "</Delete>");
}

/* Services want it here, beside the SHA-256 that is signed. */
static bool
md5_of(const struct ramet_buf *body, char out[MD5_BASE64])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    assert(body->len > 0 && body->len <= INT32_MAX);
    return EVP_Digest(body->data, body->len, digest, &len, EVP_md5(), NULL) ==
               1 &&
           len == MD5_BYTES &&
           EVP_EncodeBlock((unsigned char *)out, digest, (int)len) ==
               MD5_BASE64 - 1;
}

static bool
note_error(void *ctx, const char *path, const char *text)
{
    assert(ctx != NULL && path != NULL);
    (void)text;
    if (strcmp(path, "DeleteResult/Error") == 0)
        *(bool *)ctx = true;
    return strncmp(path, "DeleteResult", 12) == 0;
}

/* True: all of them are gone. */
static bool
remove_at_once(struct ramet_s3store *s3, const char *const *keys, size_t count)
{
    char md5[MD5_BASE64];
    struct iovec part;
    struct ramet_buf body;
    struct ramet_s3_request request = {.method = "POST",
                                       .kind = RAMET_REQUEST_POST,
                                       .key = "",
                                       .query = "delete=",
                                       .parts = &part,
                                       .part_count = 1,
                                       .content_md5 = md5,
                                       .answer_max = ANSWER_MAX};
    bool failed = false;

    assert(count > 1 && count <= KEYS_MAX);
    ramet_buf_init(&body, BODY_MAX);
    write_body(s3, keys, count, &body);
    part = (struct iovec){body.data, body.len};
    failed = body.failed != RAMET_OK || !md5_of(&body, md5) ||
             ramet_s3_perform(&s3->caller, &request, NULL) != RAMET_OK ||
             ramet_xml_parse(request.answer.data, request.answer.len,
                             note_error, &failed, NULL) != RAMET_OK ||
             failed;
    ramet_buf_done(&request.answer);
    ramet_buf_done(&body);
    return !failed;
}

enum ramet_rc
ramet_s3_remove_many(struct ramet_objstore *store, const char *const *keys,
                     size_t count, struct ramet_err *err)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;
    enum ramet_rc rc = RAMET_OK;

    assert(keys != NULL || count == 0);
    while (count > 0 && rc == RAMET_OK) {
        const size_t n = count < KEYS_MAX ? count : KEYS_MAX;

        if (n == 1 || !remove_at_once(s3, keys, n))
            for (size_t i = 0; i < n && rc == RAMET_OK; i++)
                rc = ramet_objstore_remove(store, keys[i], err);
        keys += n;
        count -= n;
    }
    return rc;
}
