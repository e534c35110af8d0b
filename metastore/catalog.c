/*
 * catalog.c - names of volumes, and the store's format version. Byte layout:
 * docs/format.md, "Names".
 *
 *   (1) The object with the highest seq says what a name means; it is the
 *       first in a listing. Numbers go up by one.
 */
#include "metastore/catalog.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/hash.h"

#define NAME_MAGIC "RAMTNAM\x01"
#define FORMAT_KEY "ramet.json"
#define FORMAT_TEXT "{\"format\":\"ramet\",\"version\":4}\n"
#define FORMAT_START "{\"format\":\"ramet\",\"version\":"
#define FORMAT_BYTES_MAX 4096u
#define TRIES_MAX 100
#define VOLUMES_MAX (1u << 20) /* in a list: a store may claim any number */

static bool
is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool
ramet_name_valid(const char *name)
{
    const size_t len = strlen(name);

    if (len == 0 || len > RAMET_NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_name_char(name[i]))
            return false;
    }
    return true;
}

/* ---- ramet.json ---------------------------------------------------------- */

static enum ramet_rc
check_format_text(struct ramet_objstore *store, const char *text,
                  struct ramet_err *err)
{
    const size_t start = strlen(FORMAT_START);
    char *end;
    long version;

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
    size_t got = 0;
    enum ramet_rc rc;

    for (int tries = 0; tries < 2; tries++) {
        rc = ramet_objstore_read(store, FORMAT_KEY, 0, text, FORMAT_BYTES_MAX,
                                 &got, err);
        if (rc == RAMET_OK) {
            text[got] = '\0';
            return check_format_text(store, text, err);
        }
        if (rc != RAMET_ENOTFOUND || !create || tries > 0)
            break;
        rc = ramet_objstore_put(store, FORMAT_KEY, &part, 1, err);
        if (rc != RAMET_EEXIST && rc != RAMET_EUNKNOWN)
            return rc;
    }
    if (rc == RAMET_ENOTFOUND)
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%s is not a Ramet store (it has no " FORMAT_KEY ")",
                          store->name);
    return rc;
}

/* ---- names --------------------------------------------------------------- */

static void
name_key(const char *name, uint64_t seq, char out[RAMET_KEY_MAX])
{
    snprintf(out, RAMET_KEY_MAX, "names/%s/%016" PRIx64, name, ~seq);
}

static struct ramet_hash
name_hash(const char *name, const uint8_t *object)
{
    uint8_t bytes[RAMET_NAME_MAX + 32];
    const size_t len = strlen(name);

    assert(len <= RAMET_NAME_MAX);
    memcpy(bytes, name, len);
    memcpy(bytes + len, object, 32);
    return ramet_hash128(bytes, len + 32);
}

static void
encode_name(const char *name, uint64_t seq, const struct ramet_vid *volume,
            uint8_t out[RAMET_NAME_OBJECT_SIZE])
{
    struct ramet_hash hash;

    memcpy(out, NAME_MAGIC, 8);
    ramet_put_le64(out + 8, seq);
    memcpy(out + 16, &volume->id, RAMET_ID_SIZE);
    hash = name_hash(name, out);
    memcpy(out + 32, &hash, RAMET_HASH_SIZE);
}

static enum ramet_rc
read_name(struct ramet_objstore *store, const char *name, uint64_t seq,
          struct ramet_vid *out_volume, struct ramet_err *err)
{
    uint8_t object[RAMET_NAME_OBJECT_SIZE + 1];
    struct ramet_hash hash;
    char key[RAMET_KEY_MAX];
    size_t got = 0;
    enum ramet_rc rc;

    name_key(name, seq, key);
    rc = ramet_objstore_read(store, key, 0, object, sizeof(object), &got, err);
    if (rc != RAMET_OK)
        return rc;
    if (got >= 8 && memcmp(object, NAME_MAGIC, 7) == 0 &&
        object[7] != NAME_MAGIC[7])
        return RAMET_FAIL(err, RAMET_EVERSION, "%s: version %u", key,
                          object[7]);
    if (got != RAMET_NAME_OBJECT_SIZE)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: %zu bytes", key, got);
    hash = name_hash(name, object);
    if (memcmp(object, NAME_MAGIC, 8) != 0 ||
        ramet_get_le64(object + 8) != seq ||
        memcmp(object + 32, &hash, RAMET_HASH_SIZE) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: damaged", key);
    memcpy(&out_volume->id, object + 16, RAMET_ID_SIZE);
    return RAMET_OK;
}

/* Split "names/<name>/<~seq>"; false for a key of another form. */
static bool
parse_name_key(const char *key, char name[RAMET_NAME_MAX + 1],
               uint64_t *out_seq)
{
    const char *const start = key + strlen("names/");
    const char *const slash = strchr(start, '/');
    char expected[RAMET_KEY_MAX];
    uint64_t seq;

    if (slash == NULL || slash - start > (ptrdiff_t)RAMET_NAME_MAX)
        return false;
    memcpy(name, start, (size_t)(slash - start));
    name[slash - start] = '\0';
    if (!ramet_name_valid(name))
        return false;
    seq = ~(uint64_t)strtoull(slash + 1, NULL, 16);
    name_key(name, seq, expected);
    if (seq == 0 || strcmp(expected, key) != 0)
        return false;
    *out_seq = seq;
    return true;
}

struct first_seq {
    uint64_t seq; /* 0: none yet */
};

static bool
take_first_seq(void *ctx, const char *key, uint64_t size_bytes)
{
    struct first_seq *const first = ctx;
    char name[RAMET_NAME_MAX + 1];

    (void)size_bytes;
    return !parse_name_key(key, name, &first->seq);
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

    snprintf(prefix, sizeof(prefix), "names/%s/", name);
    rc = ramet_objstore_list(store, prefix, "", take_first_seq, &first, err);
    if (rc == RAMET_OK && first.seq > 0)
        rc = read_name(store, name, first.seq, &volume, err);
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
    name_key(name, seq, out_key);
    encode_name(name, seq, volume, out_object);
}

enum ramet_rc
ramet_catalog_resolve(struct ramet_objstore *store, const char *name,
                      struct ramet_vid *out_volume, struct ramet_err *err)
{
    struct ramet_vid volume;
    uint64_t seq;

    if (!ramet_id_parse(name, &volume.id))
        return ramet_catalog_newest_name(store, name, &seq, out_volume, err);
    *out_volume = volume;
    return RAMET_OK;
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

    encode_name(name, seq + 1, volume, object);
    name_key(name, seq + 1, key);
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

/* ---- listing ------------------------------------------------------------- */

struct named_volume {
    struct ramet_vid volume;
    uint64_t seq;
    char *name;
};

struct name_list {
    struct named_volume *items;
    size_t count, capacity;
    bool no_memory, too_many;
};

static void
name_list_done(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        ramet_free(list->items[i].name);
    ramet_free(list->items);
}

static bool
name_list_add(struct name_list *list, const char *name, uint64_t seq)
{
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity * 2 + 16;
        struct named_volume *const grown =
            ramet_realloc(list->items, capacity * sizeof(grown[0]));

        if (grown == NULL)
            return false;
        list->items = grown;
        list->capacity = capacity;
    }
    list->items[list->count] =
        (struct named_volume){.seq = seq, .name = ramet_strdup(name)};
    if (list->items[list->count].name == NULL)
        return false;
    list->count++;
    return true;
}

static bool
collect_name(void *ctx, const char *key, uint64_t size_bytes)
{
    struct name_list *const list = ctx;
    char name[RAMET_NAME_MAX + 1];
    uint64_t seq;

    (void)size_bytes;
    if (!parse_name_key(key, name, &seq))
        return true;
    if (list->count > 0 && strcmp(list->items[list->count - 1].name, name) == 0)
        return true; /* an older seq: invariant (1) */
    list->too_many = list->count == VOLUMES_MAX;
    if (list->too_many)
        return false;
    list->no_memory = !name_list_add(list, name, seq);
    return !list->no_memory;
}

static int
compare_names(const void *left, const void *right)
{
    return strcmp(((const struct named_volume *)left)->name,
                  ((const struct named_volume *)right)->name);
}

static enum ramet_rc
too_many_volumes(const struct ramet_objstore *store, struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_ETOOBIG, "%s: has more than %u volumes",
                      store->name, VOLUMES_MAX);
}

static enum ramet_rc
load_names(struct ramet_objstore *store, struct name_list *list,
           struct ramet_err *err)
{
    enum ramet_rc rc;

    rc = ramet_objstore_list(store, "names/", "", collect_name, list, err);
    if (rc == RAMET_OK && list->no_memory)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "list of names");
    if (rc == RAMET_OK && list->too_many)
        rc = too_many_volumes(store, err);
    for (size_t i = 0; rc == RAMET_OK && i < list->count; i++)
        rc = read_name(store, list->items[i].name, list->items[i].seq,
                       &list->items[i].volume, err);
    if (rc == RAMET_OK && list->count > 1)
        qsort(list->items, list->count, sizeof(list->items[0]), compare_names);
    return rc;
}

static bool
is_named(const struct name_list *list, const struct ramet_vid *volume)
{
    for (size_t i = 0; i < list->count; i++) {
        if (ramet_id_compare(&list->items[i].volume.id, &volume->id) == 0)
            return true;
    }
    return false;
}

static bool
take_volume(void *ctx, const char *key, uint64_t size_bytes)
{
    char *const text = ctx;

    (void)size_bytes;
    snprintf(text, RAMET_ID_TEXT_SIZE, "%s", key + strlen("volumes/"));
    return false;
}

/* Volumes by skipping from one to the next: one listing each. */
static enum ramet_rc
visit_nameless(struct ramet_objstore *store, const struct name_list *list,
               ramet_catalog_visit *visit, void *ctx, struct ramet_err *err)
{
    char after[RAMET_KEY_MAX] = "";

    for (unsigned count = 0; count < VOLUMES_MAX; count++) {
        char text[RAMET_ID_TEXT_SIZE] = "";
        struct ramet_vid volume;
        bool ended = false;
        enum ramet_rc rc;

        rc = ramet_objstore_list(store, "volumes/", after, take_volume, text,
                                 err);
        if (rc != RAMET_OK || text[0] == '\0')
            return rc;
        /* 'z' sorts after every kind of object of a volume. */
        snprintf(after, sizeof(after), "volumes/%s/z", text);
        if (!ramet_id_parse(text, &volume.id))
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "%s: a foreign object under volumes/%s",
                              store->name, text);
        if (is_named(list, &volume))
            continue;
        rc = ramet_catalog_is_ended(store, &volume, &ended, err);
        if (rc != RAMET_OK)
            return rc;
        if (!ended && !visit(ctx, "", &volume))
            return RAMET_OK;
    }
    return too_many_volumes(store, err);
}

enum ramet_rc
ramet_catalog_list(struct ramet_objstore *store, ramet_catalog_visit *visit,
                   void *ctx, struct ramet_err *err)
{
    struct name_list list = {.count = 0};
    bool more = true;
    enum ramet_rc rc;

    rc = load_names(store, &list, err);
    for (size_t i = 0; rc == RAMET_OK && more && i < list.count; i++) {
        if (!ramet_id_is_nil(&list.items[i].volume.id))
            more = visit(ctx, list.items[i].name, &list.items[i].volume);
    }
    if (rc == RAMET_OK && more)
        rc = visit_nameless(store, &list, visit, ctx, err);
    name_list_done(&list);
    return rc;
}
