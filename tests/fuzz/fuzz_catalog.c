/*
 * fuzz_catalog.c - a store's ramet.json, its names, and what stands in their place.
 *
 * The input is pieces, each with its length before it: the store's format object, an
 * object of a name, another number of it, and a key that is no key of Ramet's. What
 * is said of the store is an answer or an error with words, and a name can be given
 * away all the same, or that is refused.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "metastore/catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_catalog: %s\n", what);
        abort();
    }
}

static void
put(struct ramet_objstore *store, const char *key, const void *data, size_t len)
{
    const struct iovec part = {(void *)(uintptr_t)data, len};

    (void)!ramet_objstore_put(store, key, &part, 1, NULL);
}

/* The next piece of the input. */
static size_t
take(struct ramet_reader *in, const uint8_t **out)
{
    size_t len = ramet_read_le16(in);

    if (in->bad)
        return 0;
    if (len > ramet_reader_left(in))
        len = ramet_reader_left(in);
    *out = in->data + in->pos;
    in->pos += len;
    return len;
}

static bool
see(void *ctx, const char *name, const struct ramet_vid *volume)
{
    unsigned *const seen = ctx;

    (void)volume;
    require(name[0] == '\0' || ramet_name_valid(name), "a name that is none");
    return ++*seen < 100;
}

static void
ask(struct ramet_objstore *store, const char *name)
{
    struct ramet_err err = {.text = ""};
    struct ramet_vid volume;
    uint64_t seq = 0;
    unsigned seen = 0;
    enum ramet_rc rc = ramet_catalog_check(store, false, &err);

    require(rc == RAMET_OK || err.text[0] != '\0', "no words for a store");
    rc = ramet_catalog_resolve(store, name, &volume, &err);
    require(rc == RAMET_OK || err.text[0] != '\0', "no words for a name");
    rc = ramet_catalog_newest_name(store, name, &seq, &volume, &err);
    require(rc == RAMET_OK || err.text[0] != '\0', "no words for a number");
    rc = ramet_catalog_list(store, see, &seen, &err);
    require(rc == RAMET_OK || err.text[0] != '\0', "no words for a list");
}

static void
give_away(struct ramet_objstore *store)
{
    const struct ramet_vid fresh = {.id = {{9}}};
    struct ramet_err err = {.text = ""};
    struct ramet_vid volume;

    if (ramet_catalog_bind(store, "app", &fresh, true, &err) != RAMET_OK) {
        require(err.text[0] != '\0', "no words for what can't be bound");
        return;
    }
    require(ramet_catalog_resolve(store, "app", &volume, &err) == RAMET_OK &&
                ramet_id_compare(&volume.id, &fresh.id) == 0,
            "bound, and not found");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ramet_vid named = {.id = {{7}}};
    uint8_t object[RAMET_NAME_OBJECT_SIZE];
    struct ramet_objstore *store;
    struct ramet_reader in;
    const uint8_t *piece = NULL;
    char key[RAMET_KEY_MAX];
    char name[200];
    size_t len;

    if (ramet_memstore_open(&store, NULL) != RAMET_OK)
        return 0;
    ramet_reader_init(&in, data, size);
    len = take(&in, &piece);
    if (len > 0)
        put(store, "ramet.json", piece, len);
    else
        (void)!ramet_catalog_check(store, true, NULL);
    ramet_catalog_name_object("app", 1, &named, key, object);
    len = take(&in, &piece);
    put(store, key, len > 0 ? piece : object, len > 0 ? len : sizeof(object));
    ramet_catalog_name_object("app", 2, &named, key, object);
    len = take(&in, &piece);
    if (len > 0)
        put(store, key, piece, len);
    len = take(&in, &piece);
    snprintf(name, sizeof(name), "%.*s", (int)(len < 160 ? len : 160),
             len > 0 ? (const char *)piece : "app");
    (void)snprintf(key, sizeof(key), "names/%.150s", name);
    if (ramet_key_valid(key))
        put(store, key, object, sizeof(object));
    ask(store, "app");
    ask(store, name);
    give_away(store);
    ramet_objstore_close(store);
    return 0;
}
