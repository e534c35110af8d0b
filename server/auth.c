/*
 * auth.c - see auth.h for the contract.
 */
#include "server/auth.h"

#include <assert.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/os.h"
#include "core/thread.h"

#define TOKEN_MAX 200u
#define FILE_BYTES_MAX (64u << 10)

struct ramet_tokens {
    char *path; /* NULL: no tokens */
    /* Raised after the list is new, which is read under the lock: who saw the old
     * one asks again later. */
    _Atomic uint64_t age;
    struct ramet_mutex lock;
    unsigned count;
    struct ramet_token list[RAMET_TOKENS_MAX];
};

/* ---- the file ---------------------------------------------------------------- */

static bool
is_token_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c >= '0' && c <= '9') || (c != '\0' && strchr("-._~+/", c) != NULL);
}

static bool
is_token(const char *text, size_t len)
{
    size_t n = 0;

    assert(text != NULL || len == 0);
    while (n < len && is_token_char(text[n]))
        n++;
    if (n == 0)
        return false;
    while (n < len && text[n] == '=')
        n++;
    return n == len;
}

static bool
has_token(const struct ramet_token *list, unsigned count,
          const struct ramet_token *token)
{
    assert(count <= RAMET_TOKENS_MAX);
    for (unsigned i = 0; i < count; i++) {
        if (memcmp(list[i].bytes, token->bytes, RAMET_TOKEN_SIZE) == 0)
            return true;
    }
    return false;
}

/* NULL, or what is wrong with the line. */
static const char *
parse_line(const char *line, size_t len, struct ramet_token *list,
           unsigned *count)
{
    struct ramet_token token = {.readonly = false};

    assert(*count <= RAMET_TOKENS_MAX);
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (len == 0 || line[0] == '#')
        return NULL;
    if (len >= 3 && memcmp(line, "ro:", 3) == 0) {
        token.readonly = true;
        line += 3;
        len -= 3;
    }
    if (!is_token(line, len))
        return "a token is made of A-Z a-z 0-9 - . _ ~ + / and then =, with "
               "ro: before it if it may only read";
    if (len > TOKEN_MAX)
        return "a token has at most 200 bytes";
    memcpy(token.bytes, line, len);
    if (has_token(list, *count, &token))
        return "this token is in the file already";
    if (*count == RAMET_TOKENS_MAX)
        return "there are at most 64 tokens";
    list[(*count)++] = token;
    return NULL;
}

enum ramet_rc
ramet_tokens_parse(const char *path, const void *text, size_t len,
                   struct ramet_token list[RAMET_TOKENS_MAX],
                   unsigned *out_count, struct ramet_err *err)
{
    const char *at = text;
    unsigned number = 1;

    *out_count = 0;
    assert(at != NULL || len == 0);
    while (len > 0) {
        const char *end = memchr(at, '\n', len);
        const size_t line = end != NULL ? (size_t)(end - at) : len;
        const char *wrong = parse_line(at, line, list, out_count);

        if (wrong != NULL)
            return RAMET_FAIL(err, RAMET_EINVAL, "%s: line %u: %s", path,
                              number, wrong);
        number++;
        len -= line + (end != NULL);
        at += line + (end != NULL);
    }
    if (*out_count == 0)
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: there is no token in it",
                          path);
    return RAMET_OK;
}

static enum ramet_rc
load_tokens(const char *path, struct ramet_token *list, unsigned *out_count,
            struct ramet_err *err)
{
    uint8_t *data = NULL;
    size_t len;
    enum ramet_rc rc;

    assert(path != NULL);
    rc = ramet_os_read_file(ramet_os_system(), AT_FDCWD, path, FILE_BYTES_MAX,
                            &data, &len, err);
    if (rc == RAMET_OK)
        rc = ramet_tokens_parse(path, data, len, list, out_count, err);
    ramet_free(data);
    return rc;
}

enum ramet_rc
ramet_tokens_reload(struct ramet_tokens *tokens, struct ramet_err *err)
{
    struct ramet_token *fresh;
    unsigned count;
    enum ramet_rc rc;

    if (tokens->path == NULL)
        return RAMET_OK;
    fresh = ramet_calloc(RAMET_TOKENS_MAX, sizeof(*fresh));
    if (fresh == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "tokens: out of memory");
    rc = load_tokens(tokens->path, fresh, &count, err);
    if (rc == RAMET_OK) {
        ramet_mutex_lock(&tokens->lock);
        memcpy(tokens->list, fresh, RAMET_TOKENS_MAX * sizeof(*fresh));
        tokens->count = count;
        ramet_mutex_unlock(&tokens->lock);
        atomic_fetch_add_explicit(&tokens->age, 1, memory_order_release);
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

uint64_t
ramet_tokens_age(struct ramet_tokens *tokens)
{
    return atomic_load_explicit(&tokens->age, memory_order_acquire);
}

/* No branch on the bytes; volatile, so that none is made of it. */
static unsigned
differs(const unsigned char *a, const unsigned char *b)
{
    volatile unsigned char sum = 0;

    for (size_t i = 0; i < RAMET_TOKEN_SIZE; i++)
        sum = (unsigned char)(sum | (a[i] ^ b[i]));
    return sum;
}

/* The token of a header, padded; false: none. */
static bool
take_token(const char *header, unsigned char out[RAMET_TOKEN_SIZE])
{
    memset(out, 0, RAMET_TOKEN_SIZE);
    if (header == NULL || strncasecmp(header, "Bearer ", 7) != 0)
        return false;
    header += 7;
    while (*header == ' ')
        header++;
    if (header[0] == '\0' || strlen(header) > TOKEN_MAX)
        return false;
    assert(strlen(header) <= RAMET_TOKEN_SIZE);
    memcpy(out, header, strlen(header));
    return true;
}

enum ramet_access
ramet_tokens_check(struct ramet_tokens *tokens, const char *header)
{
    unsigned char presented[RAMET_TOKEN_SIZE];
    enum ramet_access access = RAMET_ACCESS_NONE;

    if (tokens->path == NULL)
        return RAMET_ACCESS_WRITE;
    if (!take_token(header, presented))
        return RAMET_ACCESS_NONE;
    ramet_mutex_lock(&tokens->lock);
    for (unsigned i = 0; i < tokens->count; i++) {
        if (differs(presented, tokens->list[i].bytes) == 0)
            access = tokens->list[i].readonly ? RAMET_ACCESS_READ
                                              : RAMET_ACCESS_WRITE;
    }
    ramet_mutex_unlock(&tokens->lock);
    return access;
}

uint32_t
ramet_tokens_client(const char *header)
{
    unsigned char presented[RAMET_TOKEN_SIZE];

    (void)take_token(header, presented);
    return (uint32_t)ramet_hash64(presented, sizeof(presented));
}
