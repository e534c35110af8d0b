/*
 * fuzz_token_file.c - token files: what becomes a token is one, once, and stands
 * in a line of its own.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "server/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Is there a line that is the token, or "ro:" and the token? */
static bool
has_line(const uint8_t *data, size_t size, const struct ramet_token *token)
{
    const size_t want = strlen((const char *)token->bytes);

    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        const uint8_t *line = data + at;
        size_t len = end != NULL ? (size_t)(end - line) : size - at;

        at += len + 1;
        if (len > 0 && line[len - 1] == '\r')
            len--;
        if (token->readonly) {
            if (len < 3 || memcmp(line, "ro:", 3) != 0)
                continue;
            line += 3;
            len -= 3;
        }
        if (len == want && memcmp(line, token->bytes, len) == 0)
            return true;
    }
    return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_token *list = ramet_calloc(RAMET_TOKENS_MAX, sizeof(*list));
    struct ramet_err err;
    unsigned count;

    if (list == NULL)
        return 0;
    if (ramet_tokens_parse("tokens", data, size, list, &count, &err) ==
        RAMET_OK) {
        if (count == 0 || count > RAMET_TOKENS_MAX)
            abort();
        for (unsigned i = 0; i < count; i++) {
            if (list[i].bytes[0] == '\0' ||
                strchr((char *)list[i].bytes, ':') ||
                !has_line(data, size, &list[i]))
                abort();
            for (unsigned j = 0; j < i; j++) {
                if (memcmp(list[i].bytes, list[j].bytes, RAMET_TOKEN_SIZE) == 0)
                    abort();
            }
        }
    }
    ramet_free(list);
    return 0;
}
