/*
 * http_framing.c - where a request ends must be beyond doubt.
 *
 * A proxy in front of us and libmicrohttpd must agree on every request's last
 * byte, or one client's bytes become another's request. So what RFC 9112 leaves
 * open to leniency is refused here, in the first callback that has the headers,
 * with 400 and the end of the connection:
 *
 *   (1) A length is stated once: one Content-Length, of digits alone, or one
 *       Transfer-Encoding, "chunked", with HTTP/1.1; never both.
 *   (2) A field's name is a token: no space before the colon, none at the
 *       beginning of a line.
 *   (3) A field is one line: no folding, no NUL or bare CR in a value.
 *   (4) A line ends with CR LF.
 *   (5) A connection that brought a chunked body is closed after its answer:
 *       the library takes a bare LF for the end of a chunk's line, and it
 *       takes trailers; what follows is no request.
 *
 * The library (0.9.71 to 0.9.77) shows names and values that are cleaned up
 * already, so that (3) and (4) can't be seen in them. But it does so in place:
 * it puts NULs where line ends and colons stood, and hands out pointers into
 * its buffer. Two lines that ended with CR LF lie two bytes apart; a value that
 * was folded was moved away from its name. Later versions refuse (2) to (4)
 * themselves, under the strictness that http.c asks for, and need not keep this
 * layout: it is looked at only in those that do.
 *
 * One thing can't be seen: whether the last field's line, or the empty one
 * after it, ended with a bare LF, where the body begins with a NUL. It hides no
 * field.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/http_impl.h"

/* No pool is larger, so no two pointers into one are farther apart. */
#define POOL_MAX (1u << 20)

struct framing {
    const char *fault; /* NULL: none yet */
    const char *next;  /* where a line must begin; NULL: can't be known */
    unsigned lengths, codings, hosts;
    bool chunked;
};

/* What RFC 9110 calls a token. */
static bool
is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (c >= '0' && c <= '9') ||
              (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL)))
            return false;
    }
    return len > 0;
}

static bool
is_value(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];

        if ((c < ' ' && c != '\t') || c == 127)
            return false;
    }
    return true;
}

static bool
is_digits(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    return len > 0;
}

/* Name, a colon, spaces, value: all in one line? Invariant (3). */
static bool
is_one_line(const char *name, size_t name_len, const char *value)
{
    const char *at = name + name_len + 1;

    assert(name != NULL && value != NULL);
    if ((uintptr_t)value < (uintptr_t)at ||
        (uintptr_t)value - (uintptr_t)at > POOL_MAX)
        return false;
    while (at < value && (*at == ' ' || *at == '\t'))
        at++;
    return at == value;
}

static const char *
field_fault(struct framing *framing, const char *name, size_t name_len,
            const char *value, size_t value_len)
{
    assert(value != NULL && framing->fault == NULL);
    if (!is_token(name, name_len))
        return "a header's name has a character that it may not have";
    if (!is_value(value, value_len))
        return "a header's value has a control character";
    if (framing->next != NULL && name != framing->next)
        return "a line does not end with CR LF";
    if (framing->next != NULL && !is_one_line(name, name_len, value))
        return "a header goes on in a second line";
    if (strcasecmp(name, "Content-Length") == 0 &&
        (framing->lengths++ > 0 || !is_digits(value, value_len)))
        return "Content-Length is not one number";
    if (strcasecmp(name, "Host") == 0 && framing->hosts++ > 0)
        return "Host is there twice";
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        framing->chunked = strcasecmp(value, "chunked") == 0;
        if (framing->codings++ > 0 || !framing->chunked)
            return "Transfer-Encoding is not \"chunked\" alone";
    }
    return NULL;
}

static enum MHD_Result
look_at_field(void *cls, enum MHD_ValueKind kind, const char *name,
              size_t name_len, const char *value, size_t value_len)
{
    struct framing *framing = cls;

    (void)kind;
    if (value == NULL) {
        value = "";
        value_len = 0;
        framing->next = NULL;
    }
    framing->fault = field_fault(framing, name, name_len, value, value_len);
    if (framing->next != NULL)
        framing->next = value + value_len + 2;
    return framing->fault == NULL ? MHD_YES : MHD_NO;
}

/* `next` is where the last line ended: there stands the empty one. (All of it
 * lies within the library's pool, whose end holds the list of fields.) */
static bool
is_end_of_header(const char *next)
{
    static const char ends[4];

    assert(next != NULL);
    return memcmp(next - 2, ends, sizeof(ends)) == 0;
}

/* Does this library keep fields where they came in? */
static bool
shows_its_buffer(void)
{
    unsigned major = 0, minor = 0, patch = 0;

    return sscanf(MHD_get_version(), "%u.%u.%u", &major, &minor, &patch) == 3 &&
           major == 0 && minor == 9 && patch >= 71 && patch <= 77;
}

const char *
ramet_http_framing_fault(struct MHD_Connection *mhd, const char *method,
                         const char *version, bool *out_chunked)
{
    struct framing framing = {.next = NULL};

    if (!is_token(method, strlen(method)))
        return "the method has a character that it may not have";
    if (shows_its_buffer())
        framing.next = version + strlen(version) + 2;
    (void)MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, look_at_field,
                                      &framing);
    if (framing.fault == NULL && framing.next != NULL &&
        !is_end_of_header(framing.next))
        framing.fault = "the header does not end with its last line";
    if (framing.fault == NULL && framing.codings > 0 && framing.lengths > 0)
        framing.fault = "both Content-Length and Transfer-Encoding are there";
    if (framing.fault == NULL && framing.codings > 0 &&
        strcmp(version, "HTTP/1.1") != 0)
        framing.fault = "Transfer-Encoding needs HTTP/1.1";
    *out_chunked = framing.chunked;
    return framing.fault;
}
