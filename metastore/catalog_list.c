/*
 * catalog_list.c - all volumes of a store: by their names, then those without one.
 *
 *   (1) Names come in their order, and of each name the highest number first: what
 *       follows under the same name is older.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/name_object.h"

#define VOLUMES_MAX (1u << 20) /* in a list: a store may claim any number */

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
    assert(list->count <= list->capacity);
    for (size_t i = 0; i < list->count; i++)
        ramet_free(list->items[i].name);
    ramet_free(list->items);
}

static bool
name_list_add(struct name_list *list, const char *name, uint64_t seq)
{
    assert(seq > 0 && list->count <= list->capacity);
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

    assert(!list->no_memory && !list->too_many); /* either ended the list */
    (void)size_bytes;
    if (!ramet_name_key_parse(key, name, &seq))
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
    assert(left != NULL && right != NULL);
    return strcmp(((const struct named_volume *)left)->name,
                  ((const struct named_volume *)right)->name);
}

static enum ramet_rc
too_many_volumes(const struct ramet_objstore *store, struct ramet_err *err)
{
    assert(store->name != NULL);
    return RAMET_FAIL(err, RAMET_ETOOBIG, "%s: has more than %u volumes",
                      store->name, VOLUMES_MAX);
}

static enum ramet_rc
load_names(struct ramet_objstore *store, struct name_list *list,
           struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(list->count == 0);
    rc = ramet_objstore_list(store, "names/", "", collect_name, list, err);
    if (rc == RAMET_OK && list->no_memory)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "list of names");
    if (rc == RAMET_OK && list->too_many)
        rc = too_many_volumes(store, err);
    for (size_t i = 0; rc == RAMET_OK && i < list->count; i++)
        rc = ramet_name_read(store, list->items[i].name, list->items[i].seq,
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

/* What stands in a key between "volumes/" and the next slash, or the end. */
static bool
take_volume(void *ctx, const char *key, uint64_t size_bytes)
{
    char *const text = ctx;
    const char *const start = key + strlen("volumes/");

    assert(strncmp(key, "volumes/", strlen("volumes/")) == 0);
    (void)size_bytes;
    (void)snprintf(text, RAMET_KEY_MAX, "%.*s", (int)strcspn(start, "/"),
                   start);
    return false;
}

/* Volumes by skipping from one to the next: one listing each. */
static enum ramet_rc
visit_nameless(struct ramet_objstore *store, const struct name_list *list,
               ramet_catalog_visit *visit, void *ctx, struct ramet_err *err)
{
    char after[RAMET_KEY_MAX] = "";

    assert(visit != NULL);
    for (unsigned count = 0; count < VOLUMES_MAX; count++) {
        char text[RAMET_KEY_MAX] = "";
        struct ramet_vid volume;
        bool ended = false;
        enum ramet_rc rc;

        rc = ramet_objstore_list(store, "volumes/", after, take_volume, text,
                                 err);
        if (rc != RAMET_OK || text[0] == '\0')
            return rc;
        if (!ramet_id_parse(text, &volume.id))
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "%s: a foreign object under volumes/%s",
                              store->name, text);
        /* 'z' sorts after every kind of object of a volume. */
        snprintf(after, sizeof(after), "volumes/%.36s/z", text);
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

    assert(visit != NULL);
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
