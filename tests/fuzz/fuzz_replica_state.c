/*
 * fuzz_replica_state.c - hostile bytes as a replica's state file: as they are,
 * and with magic and checksum made right, so that the parser behind them is
 * reached.
 *
 * What is accepted keeps the promises that the rest relies on.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/store/format/state.h"
#include "core/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_replica_state: %s\n", what);
        abort();
    }
}

static void
decode(const uint8_t *data, size_t size)
{
    static struct ramet_state_file state;
    const struct ramet_snapshot *const s = &state.fold.newest;

    if (ramet_state_file_decode(data, size, &state, NULL) != RAMET_OK)
        return;
    require(s->tail.raw != 0, "a tail of 0");
    require(s->page_size == 0 || ramet_page_size_ok(s->page_size),
            "a page size");
    require(s->byte_length <= (uint64_t)s->page_count * s->page_size,
            "longer than its pages");
    require(state.oldest_log >= 1 && state.oldest_fetched >= 1, "no log file");
    require(memchr(state.fold.remote, 0, sizeof(state.fold.remote)) != NULL,
            "a URL without an end");
    ramet_state_file_done(&state);
}

static const uint8_t magic[7] = {'R', 'A', 'M', 'T', 'S', 'T', 'A'};

/* As the content of the one slot of version 3, and of the second of two. */
static void
decode_in_slots(const uint8_t *data, size_t size)
{
    uint8_t file[8192] = {0};
    uint8_t *const slot = file + 4096;

    if (size > 4096 - 32)
        return;
    memcpy(slot, magic, sizeof(magic));
    slot[7] = 3;
    ramet_put_le64(slot + 8, 7);
    ramet_put_le32(slot + 16, (uint32_t)size);
    if (size != 0)
        memcpy(slot + 24, data, size);
    ramet_put_le64(slot + 24 + size, ramet_hash64(slot, 24 + size));
    decode(slot, size + 32);
    decode(file, sizeof(file));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *const sealed = malloc(size + 16);

    decode(data, size);
    decode_in_slots(data, size);
    if (sealed == NULL)
        return 0;
    memcpy(sealed, magic, sizeof(magic));
    if (size != 0)
        memcpy(sealed + 8, data, size);
    for (uint8_t version = 1; version <= 2; version++) {
        sealed[7] = version;
        ramet_put_le64(sealed + 8 + size, ramet_hash64(sealed, 8 + size));
        decode(sealed, size + 16);
    }
    free(sealed);
    return 0;
}
