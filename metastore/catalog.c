/*
 * catalog.c - names of volumes, and the store's format version; listing is
 * catalog_list.c's, the bytes of a name name_object.c's.
 *
 *   (1) The object with the highest seq says what a name means; it is the
 *       first in a listing. Numbers go up by one.
 */
#include "metastore/catalog.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/beside.h"
#include "metastore/name_object.h"

#define FORMAT_KEY "ramet.json"
#define FORMAT_TEXT "{\"format\":\"ramet\",\"version\":5}\n"
#define FORMAT_START "{\"format\":\"ramet\",\"version\":"
#define FORMAT_BYTES_MAX 4096u
#define TRIES_MAX 100

/* ---- ramet.json ---------------------------------------------------------- */

static enum ramet_rc
check_format_text(struct ramet_objstore *store, const char *text,
                  struct ramet_err *err)
{
    const size_t start = strlen(FORMAT_START);
    char *end;
    long version;

    assert(strlen(text) <= FORMAT_BYTES_MAX);
    if (text[0] != FORMAT_START[0])
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s is not a Ramet store (its " FORMAT_KEY
                          " is something else); check the URL",
                          store->name);
    if (strncmp(text, FORMAT_START, start) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: " FORMAT_KEY " is not a Ramet store's",
                          store->name);
    version = strtol(text + start, &end, 10);
    if (end == text + start || (*end != '}' && *end != ','))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: " FORMAT_KEY " has no version", store->name);
    if (version != (long)RAMET_STORE_FORMAT)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "%s: the store has format version %ld, this program "
                          "knows %d%s",
                          store->name, version, (int)RAMET_STORE_FORMAT,
                          version < (long)RAMET_STORE_FORMAT
                              ? " (it was made before the first "
                                "release: export with the program "
                                "that made it)"
                              : "");
    return RAMET_OK;
}

enum ramet_rc
ramet_catalog_check(struct ramet_objstore *store, bool create,
                    struct ramet_err *err)
{
    const struct iovec part = {(void *)(uintptr_t)FORMAT_TEXT,
                               strlen(FORMAT_TEXT)};
    char text[FORMAT_BYTES_MAX + 1];
    bool is_answered = true;
    size_t got = 0;
    enum ramet_rc rc;

    for (int tries = 0; tries < 2; tries++) {
        rc = ramet_objstore_read(store, FORMAT_KEY, 0, text, FORMAT_BYTES_MAX,
                                 &got, err);
        if (rc == RAMET_OK) {
            assert(got <= FORMAT_BYTES_MAX);
            text[got] = '\0';
            return check_format_text(store, text, err);
        }
        if (rc != RAMET_ENOTFOUND || !create || tries > 0)
            break;
        rc = ramet_objstore_put(store, FORMAT_KEY, &part, 1, err);
        if (rc != RAMET_EEXIST && rc != RAMET_EUNKNOWN)
            return rc;
        is_answered = rc == RAMET_EEXIST;
    }
    if (rc == RAMET_ENOTFOUND && !is_answered)
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "%s: no answer came to the write of " FORMAT_KEY
                          ", which is not there; try again",
                          store->name);
    if (rc == RAMET_ENOTFOUND)
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%s is not a Ramet store (it has no " FORMAT_KEY ")",
                          store->name);
    return rc;
}

/* ---- names --------------------------------------------------------------- */

struct first_seq {
    uint64_t seq; /* 0: none yet */
};

static bool
take_first_seq(void *ctx, const char *key, uint64_t size_bytes)
{
    struct first_seq *const first = ctx;
    char name[RAMET_NAME_MAX + 1];

    assert(first->seq == 0); /* the first ends the list: invariant (1) */
    (void)size_bytes;
    return !ramet_name_key_parse(key, name, &first->seq);
}

/* What a name said first. */
struct first_said {
    struct ramet_objstore *store;
    const char *name;
    struct ramet_vid volume;
};

static enum ramet_rc
read_first(void *ctx, struct ramet_err *err)
{
    struct first_said *const first = ctx;

    return ramet_name_read(first->store, first->name, 1, &first->volume, err);
}

/* Most names were given once. So where a request takes its time what this one said
 * first is read while it is asked whether it was given again. */
static enum ramet_rc
newest_name_from_afar(struct ramet_objstore *store, const char *name,
                      const char *prefix, uint64_t *out_seq,
                      struct ramet_vid *out_volume, struct ramet_err *err)
{
    struct first_said said = {.store = store, .name = name};
    struct first_seq first = {.seq = 0};
    struct ramet_beside beside;
    struct ramet_err own;
    enum ramet_rc rc, said_rc;

    ramet_beside_start(&beside, "ramet-name", read_first, &said);
    rc = ramet_objstore_list(store, prefix, "", take_first_seq, &first, err);
    if (rc != RAMET_OK || first.seq != 1)
        ramet_beside_give_up(&beside);
    said_rc = ramet_beside_end(&beside, &own);
    if (rc == RAMET_OK && first.seq == 1 && said_rc != RAMET_ENOTFOUND) {
        rc = said_rc;
        *out_volume = said.volume;
        if (rc != RAMET_OK && err != NULL)
            *err = own;
    } else if (rc == RAMET_OK && first.seq > 0) { /* or given meanwhile */
        rc = ramet_name_read(store, name, first.seq, out_volume, err);
    }
    *out_seq = first.seq;
    return rc;
}

/* The highest seq of a name (0: never given) and what it says. */
static enum ramet_rc
newest_name(struct ramet_objstore *store, const char *name, uint64_t *out_seq,
            struct ramet_vid *out_volume, struct ramet_err *err)
{
    struct first_seq first = {.seq = 0};
    struct ramet_vid volume = {.id = {{0}}};
    char prefix[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(ramet_name_valid(name));
    snprintf(prefix, sizeof(prefix), "names/%s/", name);
    if ((store->traits & RAMET_STORE_READS_PARTS) != 0) {
        *out_volume = volume;
        return newest_name_from_afar(store, name, prefix, out_seq, out_volume,
                                     err);
    }
    rc = ramet_objstore_list(store, prefix, "", take_first_seq, &first, err);
    if (rc == RAMET_OK && first.seq > 0)
        rc = ramet_name_read(store, name, first.seq, &volume, err);
    if (rc != RAMET_OK)
        return rc;
    *out_seq = first.seq;
    *out_volume = volume;
    return RAMET_OK;
}

static enum ramet_rc
check_name(const char *name, struct ramet_err *err)
{
    struct ramet_id id;

    assert(name != NULL);
    if (!ramet_name_valid(name))
        return RAMET_FAIL(
            err, RAMET_EINVAL,
            "\"%.140s\" is not a name: 1 to 128 of A-Z a-z 0-9 . _ "
            "-, not beginning with a dot",
            name);
    if (ramet_id_parse(name, &id))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "\"%s\" has the form of a volume id", name);
    return RAMET_OK;
}

enum ramet_rc
ramet_catalog_newest_name(struct ramet_objstore *store, const char *name,
                          uint64_t *out_seq, struct ramet_vid *out_volume,
                          struct ramet_err *err)
{
    struct ramet_vid volume;
    uint64_t seq;
    enum ramet_rc rc = check_name(name, err);

    if (rc == RAMET_OK)
        rc = newest_name(store, name, &seq, &volume, err);
    if (rc != RAMET_OK)
        return rc;
    if (seq == 0 || ramet_id_is_nil(&volume.id))
        return RAMET_FAIL(err, RAMET_ENOTFOUND, "%s: no volume \"%s\"",
                          store->name, name);
    assert(seq > 0 && !ramet_id_is_nil(&volume.id));
    *out_seq = seq;
    *out_volume = volume;
    return RAMET_OK;
}

void
ramet_catalog_name_object(const char *name, uint64_t seq,
                          const struct ramet_vid *volume,
                          char out_key[RAMET_KEY_MAX],
                          uint8_t out_object[RAMET_NAME_OBJECT_SIZE])
{
    assert(seq > 0);

    ramet_name_key(name, seq, out_key);
    ramet_name_encode(name, seq, volume, out_object);
}

enum ramet_rc
ramet_catalog_resolve(struct ramet_objstore *store, const char *name,
                      struct ramet_vid *out_volume, struct ramet_err *err)
{
    struct ramet_vid volume;
    uint64_t seq;

    assert(name != NULL && out_volume != NULL);
    if (!ramet_id_parse(name, &volume.id))
        return ramet_catalog_newest_name(store, name, &seq, out_volume, err);
    *out_volume = volume;
    return RAMET_OK;
}

enum ramet_rc
ramet_catalog_find(struct ramet_objstore *store, const char *name,
                   struct ramet_vid *out_volume, struct ramet_err *err)
{
    struct ramet_err own;
    struct ramet_id id;
    enum ramet_rc rc = RAMET_ENOTFOUND;

    assert(name != NULL && out_volume != NULL);
    if ((store->traits & RAMET_STORE_IS_PAID) != 0 &&
        !ramet_id_parse(name, &id)) {
        rc = ramet_catalog_resolve(store, name, out_volume, &own);
        if (rc == RAMET_OK)
            return RAMET_OK;
    }
    if (rc == RAMET_ENOTFOUND || rc == RAMET_ECORRUPT || rc == RAMET_EVERSION) {
        const enum ramet_rc looked = ramet_catalog_check(store, false, err);

        if (looked != RAMET_OK)
            return looked;
        return ramet_catalog_resolve(store, name, out_volume, err);
    }
    if (err != NULL)
        *err = own;
    return rc;
}

enum ramet_rc
ramet_catalog_name_follows(struct ramet_objstore *store, const char *name,
                           uint64_t seq, struct ramet_err *err)
{
    struct ramet_vid current;
    uint64_t newest;
    enum ramet_rc rc = check_name(name, err);

    if (rc == RAMET_OK)
        rc = newest_name(store, name, &newest, &current, err);
    if (rc != RAMET_OK)
        return rc;
    if (seq <= newest)
        return RAMET_FAIL(err, RAMET_EEXIST,
                          "%s: \"%s\" is at number %" PRIu64 " already",
                          store->name, name, newest);
    if (seq - newest != 1)
        return RAMET_FAIL(err, RAMET_ECONFLICT,
                          "%s: \"%s\" is at number %" PRIu64
                          ", and the next is one more",
                          store->name, name, newest);
    assert(seq == newest + 1); /* invariant (1) */
    return RAMET_OK;
}

/* Write `volume` under the seq after `seq`. RAMET_EEXIST: look again. */
static enum ramet_rc
put_name(struct ramet_objstore *store, const char *name, uint64_t seq,
         const struct ramet_vid *volume, struct ramet_err *err)
{
    uint8_t object[RAMET_NAME_OBJECT_SIZE];
    const struct iovec part = {object, sizeof(object)};
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(seq < UINT64_MAX);
    ramet_name_encode(name, seq + 1, volume, object);
    ramet_name_key(name, seq + 1, key);
    rc = ramet_objstore_put(store, key, &part, 1, err);
    return rc == RAMET_EUNKNOWN ? RAMET_EEXIST : rc;
}

/* The first object of a name that means nothing yet: no look is as cheap as the
 * write that fails, where a look is a LIST that is paid. RAMET_EEXIST: it means, or
 * meant, something, or perhaps this. */
static enum ramet_rc
try_first_name(struct ramet_objstore *store, const char *name,
               const struct ramet_vid *volume, struct ramet_err *err)
{
    assert(!ramet_id_is_nil(&volume->id));
    if ((store->traits & RAMET_STORE_IS_PAID) == 0)
        return RAMET_EEXIST;
    return put_name(store, name, 0, volume, err);
}

/* Make `name` mean `volume` (nil: nothing). One that means another volume stays
 * as it is unless `move`: *out_other is that, or, where it is NULL, it is a
 * failure. */
static enum ramet_rc
set_name(struct ramet_objstore *store, const char *name,
         const struct ramet_vid *volume, bool move, struct ramet_vid *out_other,
         struct ramet_err *err)
{
    assert(out_other == NULL || !move);
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        struct ramet_vid current;
        uint64_t seq;
        enum ramet_rc rc;

        rc = newest_name(store, name, &seq, &current, err);
        if (rc != RAMET_OK)
            return rc;
        if (ramet_id_compare(&current.id, &volume->id) == 0)
            return RAMET_OK;
        if (seq == UINT64_MAX) /* no writer gets there by counting */
            return RAMET_FAIL(err, RAMET_ETOOBIG,
                              "%s: \"%s\" is at its last number and can't be "
                              "changed any more",
                              store->name, name);
        if (!move && !ramet_id_is_nil(&current.id) && out_other != NULL) {
            *out_other = current;
            return RAMET_OK;
        }
        if (!move && !ramet_id_is_nil(&current.id))
            return RAMET_FAIL(err, RAMET_EEXIST,
                              "%s: \"%s\" is another volume already",
                              store->name, name);
        rc = put_name(store, name, seq, volume, err);
        if (rc != RAMET_EEXIST)
            return rc;
    }
    return RAMET_FAIL(err, RAMET_EBUSY, "%s: \"%s\" keeps being changed",
                      store->name, name);
}

enum ramet_rc
ramet_catalog_bind(struct ramet_objstore *store, const char *name,
                   const struct ramet_vid *volume, bool move,
                   struct ramet_err *err)
{
    const enum ramet_rc rc = check_name(name, err);

    assert(!ramet_id_is_nil(&volume->id));
    return rc != RAMET_OK ? rc : set_name(store, name, volume, move, NULL, err);
}

enum ramet_rc
ramet_catalog_claim(struct ramet_objstore *store, const char *name,
                    const struct ramet_vid *fresh, struct ramet_vid *out_volume,
                    struct ramet_err *err)
{
    struct ramet_vid volume = *fresh;
    enum ramet_rc rc;

    assert(!ramet_id_is_nil(&fresh->id));
    if (!ramet_id_parse(name, &volume.id)) {
        rc = check_name(name, err);
        if (rc == RAMET_OK)
            rc = try_first_name(store, name, fresh, err);
        if (rc == RAMET_EEXIST)
            rc = set_name(store, name, fresh, false, &volume, err);
        if (rc != RAMET_OK)
            return rc;
    }
    *out_volume = volume;
    return RAMET_OK;
}

enum ramet_rc
ramet_catalog_unbind(struct ramet_objstore *store, const char *name,
                     struct ramet_err *err)
{
    const struct ramet_vid nothing = {.id = {{0}}};
    const enum ramet_rc rc = check_name(name, err);

    return rc != RAMET_OK ? rc
                          : set_name(store, name, &nothing, true, NULL, err);
}
