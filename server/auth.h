/*
 * auth.h - the tokens of a token file.
 *
 * One token a line, at most 200 bytes; "ro:" before it makes it read-only;
 * lines that are empty or begin with '#' are nothing. A token that is
 * presented is compared with all of them, over all of its 256 bytes, so that
 * the time taken tells nothing about them.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_AUTH_H
#define RAMET_SERVER_AUTH_H

#include <stdbool.h>

#include "core/err.h"

struct ramet_tokens;

enum ramet_access { RAMET_ACCESS_NONE, RAMET_ACCESS_READ, RAMET_ACCESS_WRITE };

/* `path` "" is a server without tokens: everybody may do everything. An
 * empty file is RAMET_EINVAL. */
RAMET_NODISCARD enum ramet_rc
ramet_tokens_new(const char *path, struct ramet_tokens **out,
                 struct ramet_err *err);
void ramet_tokens_free(struct ramet_tokens *tokens);
/* Read the file again; on failure the old tokens stay. */
RAMET_NODISCARD enum ramet_rc
ramet_tokens_reload(struct ramet_tokens *tokens, struct ramet_err *err);
bool ramet_tokens_required(struct ramet_tokens *tokens);
/* `header` is the value of Authorization, or NULL. */
enum ramet_access
ramet_tokens_check(struct ramet_tokens *tokens, const char *header);

#endif
