/*
 * record.c - see record.h.
 *
 * Layer: sqliteformat.
 */
#include "sqliteformat/record.h"

#include <string.h>

#include "sqliteformat/btpage.h"

/* A walk along a record's header, with the body's place beside it. */
struct columns {
    const uint8_t *record;
    uint32_t len;
    uint32_t at;  /* in the header */
    uint32_t end; /* the header's */
    uint64_t body;
};

static bool
begin(struct columns *c, const uint8_t *record, uint32_t len)
{
    uint64_t header_len;

    *c = (struct columns){.record = record, .len = len};
    if (!ramet_sqlite_varint(record, len, &c->at, &header_len) ||
        header_len > len || header_len < c->at)
        return false;
    c->end = (uint32_t)header_len;
    c->body = header_len;
    return true;
}

static uint64_t
size_of(uint64_t serial_type)
{
    static const uint8_t sizes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};

    return serial_type < 12 ? sizes[serial_type] : (serial_type - 12) / 2;
}

/* The next column's type and place; false: that was the last. */
static bool
step(struct columns *c, uint64_t *out_type, uint64_t *out_at)
{
    if (c->at >= c->end ||
        !ramet_sqlite_varint(c->record, c->end, &c->at, out_type))
        return false;
    *out_at = c->body;
    c->body += size_of(*out_type);
    return true;
}

uint32_t
ramet_record_columns(const uint8_t *record, uint32_t len)
{
    struct columns c;
    uint64_t type;
    uint64_t at;
    uint32_t count = 0;

    if (!begin(&c, record, len))
        return 0;
    while (step(&c, &type, &at))
        count++;
    return count;
}

static uint64_t
read_be(const uint8_t *bytes, uint32_t len)
{
    uint64_t value = len > 0 && (bytes[0] & 0x80u) != 0 ? UINT64_MAX : 0;

    for (uint32_t i = 0; i < len; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void
decode(uint64_t type, const uint8_t *bytes, uint32_t len,
       struct ramet_value *out)
{
    const uint64_t number = type >= 1 && type <= 7 ? read_be(bytes, len) : 0;

    *out = (struct ramet_value){.type = RAMET_VALUE_NULL};
    if (type >= 12) {
        out->type = type % 2 == 0 ? RAMET_VALUE_BLOB : RAMET_VALUE_TEXT;
        out->bytes = bytes;
        out->len = len;
    } else if (type == 7) {
        out->type = RAMET_VALUE_REAL;
        memcpy(&out->real, &number, sizeof(out->real));
    } else if (type >= 1 && type <= 9) {
        out->type = RAMET_VALUE_INTEGER;
        out->integer = type >= 8 ? (int64_t)type - 8 : (int64_t)number;
    }
}

bool
ramet_record_column(const uint8_t *record, uint32_t len, uint32_t index,
                    struct ramet_value *out_value)
{
    struct columns c;
    uint64_t type = 0;
    uint64_t at = 0;

    if (!begin(&c, record, len))
        return false;
    for (uint32_t i = 0; i <= index; i++)
        if (!step(&c, &type, &at))
            return false;
    if (at > len || size_of(type) > len - at)
        return false;
    decode(type, record + at, (uint32_t)size_of(type), out_value);
    return true;
}

static int
compare_bytes(const struct ramet_value *a, const struct ramet_value *b)
{
    const uint32_t len = a->len < b->len ? a->len : b->len;
    const int order = len > 0 ? memcmp(a->bytes, b->bytes, len) : 0;

    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

static int
compare_numbers(const struct ramet_value *a, const struct ramet_value *b)
{
    double x;
    double y;

    if (a->type == RAMET_VALUE_INTEGER && b->type == RAMET_VALUE_INTEGER)
        return (a->integer > b->integer) - (a->integer < b->integer);
    x = a->type == RAMET_VALUE_REAL ? a->real : (double)a->integer;
    y = b->type == RAMET_VALUE_REAL ? b->real : (double)b->integer;
    return (x > y) - (x < y);
}

static int
rank(const struct ramet_value *value)
{
    return value->type == RAMET_VALUE_REAL ? RAMET_VALUE_INTEGER
                                           : (int)value->type;
}

int
ramet_value_compare(const struct ramet_value *a, const struct ramet_value *b)
{
    if (rank(a) != rank(b))
        return rank(a) - rank(b);
    switch (a->type) {
    case RAMET_VALUE_NULL:
        return 0;
    case RAMET_VALUE_INTEGER:
    case RAMET_VALUE_REAL:
        return compare_numbers(a, b);
    case RAMET_VALUE_TEXT:
    case RAMET_VALUE_BLOB:
        break;
    }
    return compare_bytes(a, b);
}
