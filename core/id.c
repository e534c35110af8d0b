/*
 * id.c - UUIDv7; see id.h.
 */
#include "core/id.h"

#include <assert.h>
#include <string.h>

#include "core/os.h"

/* Where the text form has its dashes. */
static bool
is_dash_at(size_t index)
{
    return index == 8 || index == 13 || index == 18 || index == 23;
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

struct ramet_id
ramet_id_make(uint64_t unix_ms, const uint8_t random[10])
{
    struct ramet_id id;

    assert(unix_ms < UINT64_C(1) << 48);
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
    memcpy(id.bytes + 6, random, 10);
    id.bytes[6] = (uint8_t)(0x70 | (id.bytes[6] & 0x0f)); /* version 7 */
    id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f)); /* variant */
    return id;
}

enum ramet_rc
ramet_id_new(struct ramet_id *out_id, struct ramet_err *err)
{
    const struct ramet_os *const os = ramet_os_system();
    uint8_t random[10];
    const int result = os->random(os->ctx, random, sizeof(random));

    if (result < 0)
        return RAMET_FAIL_SYS(err, RAMET_EIO, -result,
                              "random numbers for an id");
    *out_id = ramet_id_make(os->wall_ms(os->ctx) & 0xffffffffffff, random);
    return RAMET_OK;
}

uint64_t
ramet_id_time_ms(const struct ramet_id *id)
{
    uint64_t ms = 0;

    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->bytes[i];
    return ms;
}

bool
ramet_id_is_nil(const struct ramet_id *id)
{
    static const struct ramet_id nil;

    return ramet_id_compare(id, &nil) == 0;
}

int
ramet_id_compare(const struct ramet_id *a, const struct ramet_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

void
ramet_id_format(const struct ramet_id *id, char out[RAMET_ID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;

    for (size_t i = 0; i < RAMET_ID_SIZE; i++) {
        if (is_dash_at(at))
            out[at++] = '-';
        out[at++] = digits[id->bytes[i] >> 4];
        out[at++] = digits[id->bytes[i] & 15];
    }
    assert(at == RAMET_ID_TEXT_SIZE - 1);
    out[at] = '\0';
}

bool
ramet_id_parse(const char *text, struct ramet_id *out_id)
{
    struct ramet_id id;
    size_t at = 0;

    for (size_t i = 0; i < RAMET_ID_SIZE; i++) {
        int high;
        int low;

        if (is_dash_at(at) && text[at++] != '-')
            return false;
        high = hex_value(text[at]); /* a NUL has no value: never past it */
        if (high < 0)
            return false;
        low = hex_value(text[at + 1]);
        if (low < 0)
            return false;
        id.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    if (text[at] != '\0')
        return false;
    *out_id = id;
    return true;
}
