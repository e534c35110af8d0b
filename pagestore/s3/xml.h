/*
 * xml.h - the small XML documents that S3 services answer with.
 *
 * expat does the parsing; here is what we take of it: the text of each element
 * that has no others in it, with its path from the root. What answers is
 * foreign, so
 *
 *   (1) a document type declaration is refused: no entities, no expansion
 *   (2) depth, path and text are bounded; what goes past them is RAMET_ECORRUPT
 *   (3) namespaces' prefixes don't matter: names are compared without them
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_XML_H
#define RAMET_PAGESTORE_S3_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "pagestore/objstore.h"

/* For each element at its end: "ListBucketResult/Contents/Key" and its text;
 * of an element that holds others the text is "". False stops, as an error. */
typedef bool ramet_xml_visit(void *ctx, const char *path, const char *text);

/* RAMET_ECORRUPT: it is no such document, or `visit` had enough. */
RAMET_NODISCARD enum ramet_rc
ramet_xml_parse(const void *data, size_t len, ramet_xml_visit *visit, void *ctx,
                struct ramet_err *err);

/* ---- the documents ---------------------------------------------------------- */

#define RAMET_S3_CODE_MAX 64u
#define RAMET_S3_MESSAGE_MAX 256u
#define RAMET_S3_TOKEN_MAX 2048u
#define RAMET_S3_LONG_KEY_MAX 1025u

/* <Error>; fields that it lacks are "". */
struct ramet_s3_error {
    char code[RAMET_S3_CODE_MAX];
    char message[RAMET_S3_MESSAGE_MAX];
    char region[RAMET_S3_CODE_MAX];
    char request_id[RAMET_S3_CODE_MAX];
};
/* False: it is none. */
bool ramet_s3_error_parse(const void *data, size_t len,
                          struct ramet_s3_error *out_error);

/* One page of ListObjectsV2. */
struct ramet_s3_listing {
    bool (*visit)(void *ctx, const char *key, uint64_t size_bytes);
    void *ctx;
    bool more;
    char token[RAMET_S3_TOKEN_MAX]; /* how to go on, if `more` */
    /* While it is read. */
    char key[RAMET_S3_LONG_KEY_MAX];
    uint64_t size;
    bool has_key, has_size, seen_end;
};
/* RAMET_ECORRUPT: it is none, or has more and does not say how to go on. A
 * visit that returns false ends the listing: the rest is passed over. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_listing_parse(const void *data, size_t len,
                       struct ramet_s3_listing *listing, struct ramet_err *err);

/* The text of one element by its path, "" if it is not there; false: the
 * document is none, or the text does not fit. */
bool ramet_s3_field(const void *data, size_t len, const char *path, char *out,
                    size_t out_size);

#endif
