/*
 * fuzz_bytes.c - hostile bytes through the reader, and as the text of an id.
 *
 * The first byte of each step chooses what is read. What the reader yields is
 * compared with what the bytes say; a varint that is accepted is written back
 * to the same bytes; nothing moves once the reader is bad. An id that parses is
 * formatted to the text that it came from.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_bytes: %s\n", what);
        abort();
    }
}

static void
read_varint(struct ramet_reader *in)
{
    const size_t before = in->pos;
    const bool was_bad = in->bad;
    const uint64_t v = ramet_read_varint(in);
    uint8_t back[RAMET_VARINT_MAX];
    size_t len;

    require(!was_bad || in->bad, "good again");
    if (in->bad) {
        require(v == 0 && in->pos == before, "a bad varint moved or said");
        return;
    }
    len = ramet_put_varint(back, v);
    require(len == in->pos - before, "another length");
    require(memcmp(back, in->data + before, len) == 0, "another encoding");
}

static void
read_fixed(struct ramet_reader *in, unsigned width)
{
    const size_t before = in->pos;
    const size_t left = ramet_reader_left(in);
    uint64_t expected = 0;
    uint64_t v;

    if (left >= width)
        for (unsigned i = 0; i < width; i++)
            expected |= (uint64_t)in->data[before + i] << (8 * i);
    v = width == 1   ? ramet_read_u8(in)
        : width == 2 ? ramet_read_le16(in)
        : width == 4 ? ramet_read_le32(in)
                     : ramet_read_le64(in);
    require(v == expected, "another value");
    require(in->bad == (left < width), "bad or not");
    require(in->pos == before + (in->bad ? 0 : width), "moved");
}

static void
fuzz_reader(const uint8_t *data, size_t size)
{
    struct ramet_reader in;

    ramet_reader_init(&in, data, size);
    while (!in.bad && ramet_reader_left(&in) > 0) {
        const uint8_t choice = ramet_read_u8(&in);

        switch (choice % 7) {
        case 0:
            read_fixed(&in, 1);
            break;
        case 1:
            read_fixed(&in, 2);
            break;
        case 2:
            read_fixed(&in, 4);
            break;
        case 3:
            read_fixed(&in, 8);
            break;
        case 4:
            require(ramet_read_varint_max(&in, choice) <= choice, "above max");
            break;
        case 5:
            if (ramet_read_bytes(&in, choice) == NULL)
                require(in.bad, "no bytes, and not bad");
            break;
        default:
            read_varint(&in);
            break;
        }
        require(in.pos <= in.len, "beyond the end");
    }
    require(ramet_reader_left(&in) == 0, "left when bad");
}

static void
fuzz_id(const uint8_t *data, size_t size)
{
    char *const text = malloc(size + 1);
    char back[RAMET_ID_TEXT_SIZE];
    struct ramet_id id;

    if (text == NULL)
        return;
    memcpy(text, data, size);
    text[size] = '\0';
    if (ramet_id_parse(text, &id)) {
        ramet_id_format(&id, back);
        require(strcmp(text, back) == 0, "another spelling");
    }
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_reader(data, size);
    fuzz_id(data, size);
    return 0;
}
