/*
 * show.c - see show.h.
 */
#include "core/show.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define NOT_UTF8 0xfffdu

/*
 * The length of the character at `text`, 1 to 4 bytes of which none is at or
 * past `end`, and in *out_code its code point; an ill-formed sequence is one
 * byte with code point U+FFFD.
 */
static size_t
decode_utf8(const unsigned char *text, const unsigned char *end,
            uint32_t *out_code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len;
    uint32_t code;

    *out_code = text[0];
    if (text[0] < 0x80)
        return 1;
    *out_code = NOT_UTF8;
    if (text[0] >= 0xc2 && text[0] <= 0xdf)
        len = 2;
    else if ((text[0] & 0xf0) == 0xe0)
        len = 3;
    else if (text[0] >= 0xf0 && text[0] <= 0xf4)
        len = 4;
    else
        return 1;
    if ((size_t)(end - text) < len)
        return 1;
    code = text[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 1;
        code = code << 6 | (text[i] & 0x3f);
    }
    if (code < least[len] || code > 0x10ffff ||
        (code >= 0xd800 && code <= 0xdfff))
        return 1;
    *out_code = code;
    return len;
}

/* What a terminal or a reader might obey without seeing it. */
static bool
is_hidden(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {
        {0x0000, 0x001f},   /* C0 */
        {0x007f, 0x009f},   /* DEL, C1 */
        {0x061c, 0x061c},   /* Arabic letter mark */
        {0x200b, 0x200f},   /* zero width, direction marks */
        {0x2028, 0x202e},   /* separators, embeddings, overrides */
        {0x2060, 0x206f},   /* joiners, isolates */
        {0xfeff, 0xfeff},   /* byte order mark */
        {0xfff9, 0xfffd},   /* annotations, replacement */
        {0xe0000, 0xe007f}, /* tags */
    };

    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        if (code >= hidden[i].first && code <= hidden[i].last)
            return true;
    }
    return false;
}

static size_t
put_unit(char *out, uint32_t unit)
{
    static const char hex[] = "0123456789abcdef";

    out[0] = '\\';
    out[1] = 'u';
    for (unsigned i = 0; i < 4; i++)
        out[2 + i] = hex[unit >> (12 - 4 * i) & 15];
    return 6;
}

static size_t
put_code(char *out, uint32_t code)
{
    size_t len;

    if (code < 0x10000)
        return put_unit(out, code);
    code -= 0x10000;
    len = put_unit(out, 0xd800 + (code >> 10));
    return len + put_unit(out + len, 0xdc00 + (code & 0x3ff));
}

size_t
ramet_show_char(enum ramet_show how, const char **io_text, const char *end,
                char out[RAMET_SHOWN_MAX])
{
    const unsigned char *text = (const unsigned char *)*io_text;
    uint32_t code;
    size_t len;

    assert(*io_text < end);
    len = decode_utf8(text, (const unsigned char *)end, &code);
    *io_text += len;
    if (how == RAMET_SHOW_QUOTED && code == '\n') {
        memcpy(out, "\\n", 2);
        return 2;
    }
    if (is_hidden(code))
        return put_code(out, code);
    if (how == RAMET_SHOW_QUOTED && (code == '"' || code == '\\')) {
        out[0] = '\\';
        out[1] = (char)code;
        return 2;
    }
    memcpy(out, text, len);
    return len;
}

size_t
ramet_show_text(enum ramet_show how, const char *text, size_t len, char *out,
                size_t out_size)
{
    const char *const end = text + len;
    size_t used = 0;

    assert(out_size > 0);
    while (text < end) {
        char shown[RAMET_SHOWN_MAX];
        const size_t n = ramet_show_char(how, &text, end, shown);

        if (used + n >= out_size)
            break;
        memcpy(out + used, shown, n);
        used += n;
    }
    out[used] = '\0';
    return used;
}
