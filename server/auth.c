/*
 * auth.c - see auth.h for the contract.
 */
#include "server/auth.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "core/os.h"
#include "core/thread.h"

#define TOKEN_SIZE 256u
#define TOKEN_MAX 200u
#define TOKENS_MAX 64u
#define FILE_BYTES_MAX (64u << 10)

struct token {
    unsigned char bytes[TOKEN_SIZE]; /* padded with zeros */
    bool readonly;
};

struct ramet_tokens {
    char *path; /* NULL: no tokens */
    struct ramet_mutex lock;
    unsigned count;
    struct token list[TOKENS_MAX];
};

static bool
is_token_char(unsigned char c)
{
    return c > ' ' && c < 127;
}

static enum ramet_rc
parse_line(const char *path, const char *line, size_t len, struct token *list,
           unsigned *count, struct ramet_err *err)
{
    struct token *token = &list[*count];

    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' '))
        len--;
    if (len == 0 || line[0] == '#')
        return RAMET_OK;
    if (*count == TOKENS_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "%s: more than %u tokens", path,
                          TOKENS_MAX);
    memset(token, 0, sizeof(*token));
    if (len > 3 && memcmp(line, "ro:", 3) == 0) {
        token->readonly = true;
        line += 3;
        len -= 3;
    }
    if (len > TOKEN_MAX)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: a token is longer than %u bytes", path,
                          TOKEN_MAX);
    for (size_t i = 0; i < len; i++) {
        if (!is_token_char((unsigned char)line[i]))
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "%s: a token has a space or a control character",
                              path);
    }
    memcpy(token->bytes, line, len);
    (*count)++;
    return RAMET_OK;
}

static enum ramet_rc
load_tokens(const char *path, struct token *list, unsigned *out_count,
            struct ramet_err *err)
{
    uint8_t *data = NULL;
    size_t len;
    enum ramet_rc rc;

    *out_count = 0;
    rc = ramet_os_read_file(ramet_os_system(), AT_FDCWD, path, FILE_BYTES_MAX,
                            &data, &len, err);
    for (size_t pos = 0; rc == RAMET_OK && pos < len;) {
        const uint8_t *end = memchr(data + pos, '\n', len - pos);
        const size_t line =
            end != NULL ? (size_t)(end - (data + pos)) : len - pos;

        rc = parse_line(path, (const char *)data + pos, line, list, out_count,
                        err);
        pos += line + 1;
    }
    if (rc == RAMET_OK && *out_count == 0)
        rc = RAMET_FAIL(err, RAMET_EINVAL, "%s: there is no token in it", path);
    ramet_free(data);
    return rc;
}

enum ramet_rc
ramet_tokens_reload(struct ramet_tokens *tokens, struct ramet_err *err)
{
    struct token *fresh;
    unsigned count;
    enum ramet_rc rc;

    if (tokens->path == NULL)
        return RAMET_OK;
    fresh = ramet_calloc(TOKENS_MAX, sizeof(*fresh));
    if (fresh == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "tokens: out of memory");
    rc = load_tokens(tokens->path, fresh, &count, err);
    if (rc == RAMET_OK) {
        ramet_mutex_lock(&tokens->lock);
        memcpy(tokens->list, fresh, TOKENS_MAX * sizeof(*fresh));
        tokens->count = count;
        ramet_mutex_unlock(&tokens->lock);
    }
    ramet_free(fresh);
    return rc;
}

enum ramet_rc
ramet_tokens_new(const char *path, struct ramet_tokens **out,
                 struct ramet_err *err)
{
    struct ramet_tokens *tokens = ramet_calloc(1, sizeof(*tokens));
    enum ramet_rc rc = RAMET_OK;

    if (tokens == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "tokens: out of memory");
    ramet_mutex_init(&tokens->lock);
    if (path[0] != '\0') {
        tokens->path = ramet_strdup(path);
        rc = tokens->path != NULL
                 ? ramet_tokens_reload(tokens, err)
                 : RAMET_FAIL(err, RAMET_ENOMEM, "tokens: out of memory");
    }
    if (rc == RAMET_OK)
        *out = tokens;
    else
        ramet_tokens_free(tokens);
    return rc;
}

void
ramet_tokens_free(struct ramet_tokens *tokens)
{
    if (tokens == NULL)
        return;
    ramet_mutex_done(&tokens->lock);
    ramet_free(tokens->path);
    ramet_free(tokens);
}

bool
ramet_tokens_required(struct ramet_tokens *tokens)
{
    return tokens->path != NULL;
}

/* No branch on the bytes; volatile, so that none is made of it. */
static unsigned
differs(const unsigned char *a, const unsigned char *b)
{
    volatile unsigned char sum = 0;

    for (size_t i = 0; i < TOKEN_SIZE; i++)
        sum = (unsigned char)(sum | (a[i] ^ b[i]));
    return sum;
}

enum ramet_access
ramet_tokens_check(struct ramet_tokens *tokens, const char *header)
{
    unsigned char presented[TOKEN_SIZE] = {0};
    enum ramet_access access = RAMET_ACCESS_NONE;

    if (tokens->path == NULL)
        return RAMET_ACCESS_WRITE;
    if (header == NULL || strncasecmp(header, "Bearer ", 7) != 0)
        return RAMET_ACCESS_NONE;
    header += 7;
    while (*header == ' ')
        header++;
    if (header[0] == '\0' || strlen(header) > TOKEN_MAX)
        return RAMET_ACCESS_NONE;
    memcpy(presented, header, strlen(header));
    ramet_mutex_lock(&tokens->lock);
    for (unsigned i = 0; i < tokens->count; i++) {
        if (differs(presented, tokens->list[i].bytes) == 0)
            access = tokens->list[i].readonly ? RAMET_ACCESS_READ
                                              : RAMET_ACCESS_WRITE;
    }
    ramet_mutex_unlock(&tokens->lock);
    return access;
}
