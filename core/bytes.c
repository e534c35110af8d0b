/*
 * bytes.c - varints, the growing buffer and the reader; see bytes.h.
 *
 *   (1) a buffer: len <= capacity <= max, and data is NULL only if capacity
 *       is 0
 *   (2) a reader: pos <= len, and once `bad` it moves no further
 */
#include "core/bytes.h"

#include <assert.h>

#include "core/alloc.h"

#define CAPACITY_MIN 64u

size_t
ramet_put_varint(uint8_t out[RAMET_VARINT_MAX], uint64_t v)
{
    size_t len = 0;

    while (v >= 0x80) {
        out[len++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[len++] = (uint8_t)v;
    assert(len <= RAMET_VARINT_MAX);
    return len;
}

void
ramet_buf_init(struct ramet_buf *buf, size_t max_bytes)
{
    *buf = (struct ramet_buf){.max = max_bytes};
}

void
ramet_buf_done(struct ramet_buf *buf)
{
    if (buf == NULL)
        return;
    ramet_free(buf->data);
    *buf = (struct ramet_buf){.max = buf->max};
}

void
ramet_buf_clear(struct ramet_buf *buf)
{
    buf->len = 0;
    buf->failed = RAMET_OK;
}

/* Make room for `len` more; false, and failed set, if that can't be. */
static bool
grow_buf(struct ramet_buf *buf, size_t len)
{
    size_t wanted;
    uint8_t *data;

    if (buf->max == 0 || len > buf->max - buf->len) {
        buf->failed = RAMET_ETOOBIG;
        return false;
    }
    wanted = buf->capacity <= buf->max / 2 ? buf->capacity * 2 : buf->max;
    if (wanted < buf->len + len)
        wanted = buf->len + len;
    if (wanted < CAPACITY_MIN)
        wanted = buf->max < CAPACITY_MIN ? buf->max : CAPACITY_MIN;

    data = ramet_realloc(buf->data, wanted);
    if (data == NULL) {
        buf->failed = RAMET_ENOMEM;
        return false;
    }
    buf->data = data;
    buf->capacity = wanted;
    return true;
}

uint8_t *
ramet_buf_extend(struct ramet_buf *buf, size_t len)
{
    uint8_t *room;

    assert(buf->len <= buf->capacity && buf->capacity <= buf->max);
    if (buf->failed != RAMET_OK)
        return NULL;
    if ((buf->data == NULL || len > buf->capacity - buf->len) &&
        !grow_buf(buf, len))
        return NULL;
    room = buf->data + buf->len;
    buf->len += len;
    return room;
}

void
ramet_buf_bytes(struct ramet_buf *buf, const void *data, size_t len)
{
    uint8_t *const room = ramet_buf_extend(buf, len);

    if (room != NULL && len != 0)
        memcpy(room, data, len);
}

void
ramet_buf_u8(struct ramet_buf *buf, uint8_t v)
{
    uint8_t *const room = ramet_buf_extend(buf, 1);

    if (room != NULL)
        *room = v;
}

void
ramet_buf_le16(struct ramet_buf *buf, uint16_t v)
{
    uint8_t *const room = ramet_buf_extend(buf, 2);

    if (room != NULL)
        ramet_put_le16(room, v);
}

void
ramet_buf_le32(struct ramet_buf *buf, uint32_t v)
{
    uint8_t *const room = ramet_buf_extend(buf, 4);

    if (room != NULL)
        ramet_put_le32(room, v);
}

void
ramet_buf_le64(struct ramet_buf *buf, uint64_t v)
{
    uint8_t *const room = ramet_buf_extend(buf, 8);

    if (room != NULL)
        ramet_put_le64(room, v);
}

void
ramet_buf_long_varint(struct ramet_buf *buf, uint64_t v)
{
    uint8_t bytes[RAMET_VARINT_MAX];

    ramet_buf_bytes(buf, bytes, ramet_put_varint(bytes, v));
}

bool
ramet_bytes_are_zero(const void *bytes, size_t len)
{
    const uint8_t *const first = bytes;

    assert(len > 0);
    return first[0] == 0 && memcmp(first, first + 1, len - 1) == 0;
}

void
ramet_reader_init(struct ramet_reader *in, const void *data, size_t len)
{
    *in = (struct ramet_reader){.data = data, .len = len};
}

size_t
ramet_reader_left(const struct ramet_reader *in)
{
    assert(in->pos <= in->len);
    return in->bad ? 0 : in->len - in->pos;
}

const uint8_t *
ramet_read_bytes(struct ramet_reader *in, size_t len)
{
    static const uint8_t nothing[1];
    const uint8_t *at;

    if (in->bad || len > in->len - in->pos) {
        in->bad = true;
        return NULL;
    }
    if (len == 0) /* data may be NULL then, but NULL means bad */
        return nothing;
    at = in->data + in->pos;
    in->pos += len;
    return at;
}

uint8_t
ramet_read_u8(struct ramet_reader *in)
{
    const uint8_t *const at = ramet_read_bytes(in, 1);

    return at != NULL ? *at : 0;
}

uint16_t
ramet_read_le16(struct ramet_reader *in)
{
    const uint8_t *const at = ramet_read_bytes(in, 2);

    return at != NULL ? ramet_get_le16(at) : 0;
}

uint32_t
ramet_read_le32(struct ramet_reader *in)
{
    const uint8_t *const at = ramet_read_bytes(in, 4);

    return at != NULL ? ramet_get_le32(at) : 0;
}

uint64_t
ramet_read_le64(struct ramet_reader *in)
{
    const uint8_t *const at = ramet_read_bytes(in, 8);

    return at != NULL ? ramet_get_le64(at) : 0;
}

uint64_t
ramet_read_long_varint(struct ramet_reader *in)
{
    const size_t left = ramet_reader_left(in);
    uint64_t v = 0;

    for (size_t i = 0; i < left && i < RAMET_VARINT_MAX; i++) {
        const uint8_t byte = in->data[in->pos + i];

        /* The tenth byte has room for one bit; a last byte of 0 after
         * others is a longer form of the same value. */
        if ((i == RAMET_VARINT_MAX - 1 && byte > 1) || (i > 0 && byte == 0))
            break;
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            in->pos += i + 1;
            return v;
        }
    }
    in->bad = true;
    return 0;
}
