/*
 * bytes.h - little-endian integers, varints, a growing buffer, a reader.
 *
 * The only code that turns integers into bytes and back. A varint is LEB128:
 * seven bits a byte, least significant first, at most ten bytes, and in its
 * shortest form (a longer one is refused, so that a value has one encoding).
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_BYTES_H
#define RAMET_CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/err.h"

#define RAMET_VARINT_MAX 10u

static inline uint16_t
ramet_get_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t
ramet_get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}
static inline uint64_t
ramet_get_le64(const uint8_t *p)
{
    return (uint64_t)ramet_get_le32(p) | (uint64_t)ramet_get_le32(p + 4) << 32;
}
static inline uint16_t
ramet_get_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t
ramet_get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           (uint32_t)p[3];
}
static inline uint64_t
ramet_get_be64(const uint8_t *p)
{
    return (uint64_t)ramet_get_be32(p) << 32 | ramet_get_be32(p + 4);
}
static inline void
ramet_put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void
ramet_put_le32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}
static inline void
ramet_put_le64(uint8_t *p, uint64_t v)
{
    ramet_put_le32(p, (uint32_t)v);
    ramet_put_le32(p + 4, (uint32_t)(v >> 32));
}
static inline void
ramet_put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}
static inline void
ramet_put_be64(uint8_t *p, uint64_t v)
{
    ramet_put_be32(p, (uint32_t)(v >> 32));
    ramet_put_be32(p + 4, (uint32_t)v);
}

/* Bytes written to `out`: 1 to RAMET_VARINT_MAX. */
size_t ramet_put_varint(uint8_t out[RAMET_VARINT_MAX], uint64_t v);

/*
 * A growing buffer with a maximum. A failed append (no memory, or past `max`)
 * is sticky: later appends do nothing and `failed` stays, so that an encoder
 * checks once, at its end. Zeroed plus `max` set is an empty buffer.
 */
struct ramet_buf {
    uint8_t *data;
    size_t len;
    size_t capacity;
    size_t max;           /* bytes; 0 means unusable */
    enum ramet_rc failed; /* RAMET_OK, RAMET_ENOMEM or RAMET_ETOOBIG */
};

void ramet_buf_init(struct ramet_buf *buf, size_t max_bytes);
void ramet_buf_done(struct ramet_buf *buf);
void ramet_buf_clear(struct ramet_buf *buf); /* keeps memory, clears failed */
/* Room for `len` bytes at the end, or NULL; counts as appended. */
uint8_t *ramet_buf_extend(struct ramet_buf *buf, size_t len);
void ramet_buf_bytes(struct ramet_buf *buf, const void *data, size_t len);
void ramet_buf_u8(struct ramet_buf *buf, uint8_t v);
void ramet_buf_le16(struct ramet_buf *buf, uint16_t v);
void ramet_buf_le32(struct ramet_buf *buf, uint32_t v);
void ramet_buf_le64(struct ramet_buf *buf, uint64_t v);
void ramet_buf_long_varint(struct ramet_buf *buf, uint64_t v);
static inline void
ramet_buf_varint(struct ramet_buf *buf, uint64_t v)
{
    if (v < 0x80 && buf->failed == RAMET_OK && buf->len < buf->capacity)
        buf->data[buf->len++] = (uint8_t)v; /* most are */
    else
        ramet_buf_long_varint(buf, v);
}

/* Nothing but zeros in `len` bytes, at least one? */
bool ramet_bytes_are_zero(const void *bytes, size_t len);

/*
 * A cursor over foreign bytes. Reading past the end, or a bad varint, is
 * sticky (`bad`) and yields zeros, so that a decoder checks once per record;
 * it never reads outside [data, data + len).
 */
struct ramet_reader {
    const uint8_t *data;
    size_t len;
    size_t pos;
    bool bad;
};

void ramet_reader_init(struct ramet_reader *in, const void *data, size_t len);
size_t ramet_reader_left(const struct ramet_reader *in);
uint8_t ramet_read_u8(struct ramet_reader *in);
uint16_t ramet_read_le16(struct ramet_reader *in);
uint32_t ramet_read_le32(struct ramet_reader *in);
uint64_t ramet_read_le64(struct ramet_reader *in);
/* One of several bytes, or none. */
uint64_t ramet_read_long_varint(struct ramet_reader *in);
static inline uint64_t
ramet_read_varint(struct ramet_reader *in)
{
    if (!in->bad && in->pos < in->len && in->data[in->pos] < 0x80)
        return in->data[in->pos++]; /* most are */
    return ramet_read_long_varint(in);
}
/* A varint that must be <= max, else `bad`. */
static inline uint64_t
ramet_read_varint_max(struct ramet_reader *in, uint64_t max)
{
    const uint64_t v = ramet_read_varint(in);

    if (v <= max)
        return v;
    in->bad = true;
    return 0;
}
/* Pointer to the next `len` bytes, or NULL and `bad`. */
const uint8_t *ramet_read_bytes(struct ramet_reader *in, size_t len);

#endif
