/*
 * xml.c - see xml.h.
 */
#include "pagestore/s3/xml.h"

#include <assert.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"

#define DEPTH_MAX 8u
#define PATH_MAX_BYTES 256u
#define TEXT_MAX 8192u

struct parse {
    XML_Parser parser;
    ramet_xml_visit *visit;
    void *ctx;
    const char *why; /* NULL: nothing is wrong so far */
    unsigned depth;
    size_t ends[DEPTH_MAX]; /* of the path before each open element */
    size_t path_len, text_len;
    char path[PATH_MAX_BYTES];
    char text[TEXT_MAX];
};

static void
stop(struct parse *p, const char *why)
{
    assert(why != NULL);
    if (p->why == NULL)
        p->why = why;
    (void)XML_StopParser(p->parser, XML_FALSE);
}

/* Invariant (3). */
static const char *
local_name(const char *name)
{
    const char *const colon = strrchr(name, ':');

    assert(name != NULL);
    return colon != NULL ? colon + 1 : name;
}

static void
on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    struct parse *const p = ctx;
    const char *const local = local_name(name);
    const size_t len = strlen(local);

    (void)attributes;
    if (p->why != NULL)
        return;
    if (p->depth == DEPTH_MAX || p->path_len + len + 2 > PATH_MAX_BYTES) {
        stop(p, "elements too deep");
        return;
    }
    assert(p->depth < DEPTH_MAX &&
           p->path_len + len + 2 <= PATH_MAX_BYTES); /* (2) */
    p->ends[p->depth++] = p->path_len;
    if (p->path_len > 0)
        p->path[p->path_len++] = '/';
    memcpy(p->path + p->path_len, local, len + 1);
    p->path_len += len;
    p->text_len = 0;
}

static void
on_text(void *ctx, const XML_Char *text, int len)
{
    struct parse *const p = ctx;

    assert(len >= 0);
    if (p->why != NULL)
        return;
    if (p->text_len + (size_t)len + 1 > TEXT_MAX) {
        stop(p, "a text is too long");
        return;
    }
    assert(p->text_len + (size_t)len < TEXT_MAX); /* invariant (2) */
    memcpy(p->text + p->text_len, text, (size_t)len);
    p->text_len += (size_t)len;
}

static void
on_end(void *ctx, const XML_Char *name)
{
    struct parse *const p = ctx;

    (void)name;
    if (p->why != NULL)
        return;
    assert(p->depth > 0);
    assert(p->text_len < TEXT_MAX);
    p->text[p->text_len] = '\0';
    if (!p->visit(p->ctx, p->path, p->text)) {
        stop(p, "not what was asked for");
        return;
    }
    p->path_len = p->ends[--p->depth];
    p->path[p->path_len] = '\0';
    p->text_len = 0; /* of the one around it: it held others */
}

/* Invariant (1). */
static void
on_doctype(void *ctx, const XML_Char *name, const XML_Char *system_id,
           const XML_Char *public_id, int has_internal_subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_internal_subset;
    stop(ctx, "a document type");
}

enum ramet_rc
ramet_xml_parse(const void *data, size_t len, ramet_xml_visit *visit, void *ctx,
                struct ramet_err *err)
{
    struct parse p = {.visit = visit, .ctx = ctx};
    const char *why = NULL;

    assert(visit != NULL && (data != NULL || len == 0));
    if (len > INT32_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "XML of %zu bytes", len);
    p.parser = XML_ParserCreate("UTF-8");
    if (p.parser == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "XML: out of memory");
    XML_SetUserData(p.parser, &p);
    XML_SetElementHandler(p.parser, on_start, on_end);
    XML_SetCharacterDataHandler(p.parser, on_text);
    XML_SetStartDoctypeDeclHandler(p.parser, on_doctype);
    if (XML_Parse(p.parser, data, (int)len, XML_TRUE) != XML_STATUS_OK)
        why =
            p.why != NULL ? p.why : XML_ErrorString(XML_GetErrorCode(p.parser));
    XML_ParserFree(p.parser);
    return why == NULL ? RAMET_OK
                       : RAMET_FAIL(err, RAMET_ECORRUPT, "XML: %s", why);
}

/* ---- the documents ---------------------------------------------------------- */

/* What does not fit is cut: these are for people. */
static void
keep(char *out, size_t size, const char *text)
{
    assert(out != NULL && size > 0);
    (void)snprintf(out, size, "%.*s", (int)size - 1, text);
}

static bool
take_error(void *ctx, const char *path, const char *text)
{
    struct ramet_s3_error *const error = ctx;

    assert(path != NULL && text != NULL);
    if (strcmp(path, "Error/Code") == 0)
        keep(error->code, sizeof(error->code), text);
    else if (strcmp(path, "Error/Message") == 0)
        keep(error->message, sizeof(error->message), text);
    else if (strcmp(path, "Error/Region") == 0)
        keep(error->region, sizeof(error->region), text);
    else if (strcmp(path, "Error/RequestId") == 0)
        keep(error->request_id, sizeof(error->request_id), text);
    return true;
}

bool
ramet_s3_error_parse(const void *data, size_t len,
                     struct ramet_s3_error *out_error)
{
    struct ramet_s3_error error = {.code = ""};

    assert(data != NULL || len == 0);
    if (len == 0 ||
        ramet_xml_parse(data, len, take_error, &error, NULL) != RAMET_OK ||
        error.code[0] == '\0')
        return false;
    *out_error = error;
    return true;
}

/* One object is complete. */
static bool
end_of_contents(struct ramet_s3_listing *l)
{
    assert(l->visit == NULL || l->ctx != NULL);
    if (!l->has_key || !l->has_size)
        return false;
    l->has_key = l->has_size = false;
    if (l->visit != NULL && !l->visit(l->ctx, l->key, l->size))
        l->visit = NULL;
    return true;
}

static bool
take_listing(void *ctx, const char *path, const char *text)
{
    static const char root[] = "ListBucketResult";
    struct ramet_s3_listing *const l = ctx;

    assert(path != NULL && text != NULL);
    if (strncmp(path, root, sizeof(root) - 1) != 0)
        return false;
    path += sizeof(root) - 1;
    if (strcmp(path, "/Contents/Key") == 0) {
        l->has_key = strlen(text) < sizeof(l->key);
        if (l->has_key)
            strcpy(l->key, text);
        return l->has_key;
    }
    if (strcmp(path, "/Contents/Size") == 0)
        return l->has_size = ramet_decimal_parse(text, &l->size);
    if (strcmp(path, "/Contents") == 0)
        return end_of_contents(l);
    if (strcmp(path, "/IsTruncated") == 0) {
        l->more = strcmp(text, "true") == 0;
        l->seen_end = l->more || strcmp(text, "false") == 0;
        return l->seen_end;
    }
    if (strcmp(path, "/NextContinuationToken") == 0) {
        if (strlen(text) >= sizeof(l->token))
            return false;
        strcpy(l->token, text);
    }
    return true;
}

enum ramet_rc
ramet_s3_listing_parse(const void *data, size_t len,
                       struct ramet_s3_listing *listing, struct ramet_err *err)
{
    ramet_objstore_visit *const visit = listing->visit;
    enum ramet_rc rc;

    assert(data != NULL || len == 0);
    listing->more = listing->seen_end = false;
    listing->has_key = listing->has_size = false;
    listing->token[0] = '\0';
    rc = ramet_xml_parse(data, len, take_listing, listing, err);
    if (rc == RAMET_OK &&
        (!listing->seen_end || (listing->more && listing->token[0] == '\0')))
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "XML: a truncated list without a continuation token");
    if (rc == RAMET_OK && visit != NULL && listing->visit == NULL)
        listing->more = false; /* who asked has what he wanted */
    return rc;
}

struct field {
    const char *path;
    char *out;
    size_t out_size;
};

static bool
take_field(void *ctx, const char *path, const char *text)
{
    const struct field *const field = ctx;

    assert(field->path != NULL && field->out_size > 0);
    if (strcmp(path, field->path) != 0)
        return true;
    if (strlen(text) >= field->out_size)
        return false;
    strcpy(field->out, text);
    return true;
}

bool
ramet_s3_field(const void *data, size_t len, const char *path, char *out,
               size_t out_size)
{
    struct field field = {path, out, out_size};

    assert(path != NULL && out_size > 0);
    out[0] = '\0';
    return ramet_xml_parse(data, len, take_field, &field, NULL) == RAMET_OK;
}
