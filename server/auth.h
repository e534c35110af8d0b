/*
 * auth.h - the tokens of a token file.
 *
 * A line is empty, begins with '#', or is a token: 1 to 200 of
 * A-Za-z0-9-._~+/ and then '=' (what RFC 6750 lets a bearer token be), with
 * "ro:" before it if it may only read. Anything else, and a token that is
 * there twice, is refused with the line's number: what a typing error makes of
 * a token is never a token.
 *
 *   (1) A token that is presented is compared with all of them, over all of
 *       its 256 bytes, so that the time taken tells nothing about them.
 *   (2) No text or log says what a token is.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_AUTH_H
#define RAMET_SERVER_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define RAMET_TOKENS_MAX 64u
#define RAMET_TOKEN_SIZE 256u

struct ramet_token {
    unsigned char bytes[RAMET_TOKEN_SIZE]; /* padded with zeros */
    bool readonly;
};

/* The text of a token file; `path` is for the text of a failure. At least one
 * token, or RAMET_EINVAL. */
RAMET_NODISCARD enum ramet_rc
ramet_tokens_parse(const char *path, const void *text, size_t len,
                   struct ramet_token list[RAMET_TOKENS_MAX],
                   unsigned *out_count, struct ramet_err *err);

struct ramet_tokens;

enum ramet_access { RAMET_ACCESS_NONE, RAMET_ACCESS_READ, RAMET_ACCESS_WRITE };

/* `path` "" is a server without tokens: everybody may do everything. */
RAMET_NODISCARD enum ramet_rc
ramet_tokens_new(const char *path, struct ramet_tokens **out,
                 struct ramet_err *err);
void ramet_tokens_free(struct ramet_tokens *tokens);
/* Read the file again; on failure the old tokens stay. */
RAMET_NODISCARD enum ramet_rc
ramet_tokens_reload(struct ramet_tokens *tokens, struct ramet_err *err);
bool ramet_tokens_required(struct ramet_tokens *tokens);
/* Counts reloads: what was allowed at this age is allowed while it is so. */
uint64_t ramet_tokens_age(struct ramet_tokens *tokens);
/* `header` is the value of Authorization, or NULL. */
enum ramet_access
ramet_tokens_check(struct ramet_tokens *tokens, const char *header);
/* A number by which clients with the token of this header are known. */
uint32_t ramet_tokens_client(const char *header);

#endif
