/*
 * mapobject.c - a page map's object: its key, its first 40 bytes and its last
 * 64. The nodes between are mapnode.c's. Byte layout: docs/format.md, "Page
 * maps".
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "metastore/mapnode.h"

#define MAP_MAGIC "RAMTMAP\x03"

void
ramet_map_key(const struct ramet_vid *volume, uint64_t lsn,
              const struct ramet_mid *id, char out[RAMET_KEY_MAX])
{
    char vid[RAMET_ID_TEXT_SIZE], mid[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&volume->id, vid);
    ramet_id_format(&id->id, mid);
    snprintf(out, RAMET_KEY_MAX, "volumes/%s/maps/%016" PRIx64 ".%s", vid, lsn,
             mid);
}

void
ramet_map_header_encode(const struct ramet_vid *volume, uint64_t lsn,
                        uint8_t out[RAMET_MAP_HEADER_SIZE])
{
    memcpy(out, MAP_MAGIC, 8);
    memcpy(out + 8, &volume->id, RAMET_ID_SIZE);
    ramet_put_le64(out + 24, lsn);
    ramet_put_le32(out + 32, 0); /* ancestors */
    ramet_put_le32(out + 36, 0);
}

static struct ramet_hash
trailer_hash(const uint8_t *header, const uint8_t *trailer)
{
    uint8_t both[RAMET_MAP_HEADER_SIZE + 48];

    assert(header != NULL && trailer != NULL);
    memcpy(both, header, RAMET_MAP_HEADER_SIZE);
    memcpy(both + RAMET_MAP_HEADER_SIZE, trailer, 48);
    return ramet_hash128(both, sizeof(both));
}

void
ramet_map_trailer_encode(const uint8_t header[RAMET_MAP_HEADER_SIZE],
                         const struct ramet_map_trailer *trailer,
                         uint8_t out[RAMET_MAP_TRAILER_SIZE])
{
    struct ramet_hash hash;

    assert(trailer->root.length_bytes > 0 &&
           trailer->root.offset_bytes >= RAMET_MAP_HEADER_SIZE);
    memcpy(out, &trailer->commit_hash, RAMET_HASH_SIZE);
    ramet_put_le64(out + 16, trailer->root.offset_bytes);
    ramet_put_le32(out + 24, trailer->root.length_bytes);
    ramet_put_le32(out + 28, 0);
    memcpy(out + 32, &trailer->root.hash, RAMET_HASH_SIZE);
    hash = trailer_hash(header, out);
    memcpy(out + 48, &hash, RAMET_HASH_SIZE);
}

enum ramet_rc
ramet_map_trailer_decode(const struct ramet_vid *volume, uint64_t lsn,
                         const struct ramet_mid *id,
                         const uint8_t header[RAMET_MAP_HEADER_SIZE],
                         const uint8_t bytes[RAMET_MAP_TRAILER_SIZE],
                         uint64_t object_size,
                         struct ramet_map_trailer *out_trailer,
                         struct ramet_err *err)
{
    const struct ramet_hash hash = trailer_hash(header, bytes);
    uint8_t expected[RAMET_MAP_HEADER_SIZE];
    struct ramet_map_trailer t = {.root = {.lsn = lsn, .id = *id}};

    ramet_map_header_encode(volume, lsn, expected);
    if (memcmp(header, MAP_MAGIC, 7) == 0 && header[7] != expected[7])
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "page map of LSN %" PRIu64 ": version %u", lsn,
                          header[7]);
    if (memcmp(header, expected, 32) == 0 &&
        memcmp(header + 32, expected + 32, 8) != 0)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "page map of LSN %" PRIu64
                          ": has ancestors, which are of a later version",
                          lsn);
    if (memcmp(header, expected, sizeof(expected)) != 0 ||
        memcmp(bytes + 48, &hash, RAMET_HASH_SIZE) != 0 ||
        ramet_get_le32(bytes + 28) != 0)
        return RAMET_FAIL(
            err, RAMET_ECORRUPT,
            "page map of LSN %" PRIu64 ": header or trailer damaged", lsn);
    memcpy(&t.commit_hash, bytes, RAMET_HASH_SIZE);
    t.root.offset_bytes = ramet_get_le64(bytes + 16);
    t.root.length_bytes = ramet_get_le32(bytes + 24);
    memcpy(&t.root.hash, bytes + 32, RAMET_HASH_SIZE);
    if (t.root.length_bytes == 0 ||
        t.root.length_bytes > RAMET_NODE_BYTES_MAX ||
        object_size < RAMET_MAP_HEADER_SIZE + RAMET_MAP_TRAILER_SIZE ||
        t.root.offset_bytes < RAMET_MAP_HEADER_SIZE ||
        t.root.offset_bytes > object_size - RAMET_MAP_TRAILER_SIZE ||
        object_size - RAMET_MAP_TRAILER_SIZE - t.root.offset_bytes !=
            t.root.length_bytes)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "page map of LSN %" PRIu64 ": root misplaced", lsn);
    assert(t.root.lsn == lsn && t.root.length_bytes > 0);
    *out_trailer = t;
    return RAMET_OK;
}
