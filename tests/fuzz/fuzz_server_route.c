/*
 * fuzz_server_route.c - paths that clients ask for: whatever one says, what it
 * names is a name, an id or the key of an object, and nothing outside a store.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "server/server_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_object(struct call *call)
{
    char key[RAMET_KEY_MAX];

    ramet_api_object_key(call, key);
    if (!ramet_key_valid(key))
        abort();
}

static void
check(const struct call *call)
{
    struct ramet_id id;

    switch (call->route) {
    case RAMET_ROUTE_NAME:
        if (!ramet_name_valid(call->name))
            abort();
        break;
    case RAMET_ROUTE_PROFILE:
        if (!ramet_name_valid(call->profile))
            abort();
        break;
    case RAMET_ROUTE_VOLUME:
    case RAMET_ROUTE_HEAD:
    case RAMET_ROUTE_COMMITS:
    case RAMET_ROUTE_COMMIT:
    case RAMET_ROUTE_CHANGES:
    case RAMET_ROUTE_SEGMENT:
    case RAMET_ROUTE_MAP:
    case RAMET_ROUTE_PAGES:
    case RAMET_ROUTE_EVENTS:
    case RAMET_ROUTE_CONTENT:
        if (call->has_id ? !ramet_id_parse(call->name, &id)
                         : !ramet_name_valid(call->name))
            abort();
        break;
    default:
        break;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *path = ramet_alloc(size + 1);
    struct call call = {.has_id = false};
    uint64_t number;

    if (path == NULL)
        return 0;
    memcpy(path, data, size);
    path[size] = '\0';
    size = strlen(path);
    if (ramet_http_unescape(path) > size)
        abort();
    call.route = ramet_api_route(&call, path);
    check(&call);
    if (call.route == RAMET_ROUTE_SEGMENT || call.route == RAMET_ROUTE_MAP ||
        call.route == RAMET_ROUTE_COMMIT || call.route == RAMET_ROUTE_NAME ||
        call.route == RAMET_ROUTE_PROFILE || call.route == RAMET_ROUTE_STORE)
        check_object(&call);
    (void)ramet_api_decimal(path, &number);
    ramet_free(path);
    return 0;
}
