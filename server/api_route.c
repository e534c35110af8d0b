/*
 * api_route.c - the table of the API: what a path names.
 *
 *   (1) What comes out of a path was checked: a name is a name, an id an id, and
 *       the key of an object is a key of a store.
 */
#include <assert.h>
#include <string.h>

#include "core/decimal.h"
#include "server/server_impl.h"

#define PARTS_MAX 6u

struct parts {
    unsigned count;
    const char *text[PARTS_MAX];
    size_t len[PARTS_MAX];
};

/* Between slashes; none may be empty. */
static bool
split_path(const char *path, struct parts *out)
{
    assert(path != NULL);
    out->count = 0;
    while (*path == '/') {
        const char *begin = ++path;

        while (*path != '\0' && *path != '/')
            path++;
        if (path == begin || out->count == PARTS_MAX)
            return false;
        out->text[out->count] = begin;
        out->len[out->count++] = (size_t)(path - begin);
    }
    return *path == '\0' && out->count > 0;
}

static bool
part_is(const struct parts *parts, unsigned index, const char *text)
{
    assert(parts->count <= PARTS_MAX);
    return index < parts->count && strlen(text) == parts->len[index] &&
           memcmp(parts->text[index], text, parts->len[index]) == 0;
}

static bool
copy_part(const struct parts *parts, unsigned index, char *out)
{
    assert(index < parts->count);
    if (parts->len[index] > RAMET_NAME_MAX)
        return false;
    memcpy(out, parts->text[index], parts->len[index]);
    out[parts->len[index]] = '\0';
    return true;
}

static bool
is_hex16(const char *text, size_t len)
{
    assert(text != NULL);
    if (len != 16)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((text[i] < '0' || text[i] > '9') &&
            (text[i] < 'a' || text[i] > 'f'))
            return false;
    }
    return true;
}

bool
ramet_api_decimal(const char *text, uint64_t *out)
{
    const bool is_padded = text[0] == '0' && text[1] != '\0';

    return !is_padded && ramet_decimal_parse(text, out);
}

static bool
is_map_name(const char *tail)
{
    struct ramet_id id;

    return strlen(tail) == 16 + 1 + 36 && is_hex16(tail, 16) &&
           tail[16] == '.' && ramet_id_parse(tail + 17, &id);
}

static enum ramet_route
route_object(struct call *call, const struct parts *parts)
{
    struct ramet_id id;

    assert(parts->count == 5);
    if (!copy_part(parts, 4, call->tail))
        return RAMET_ROUTE_UNKNOWN;
    if (part_is(parts, 3, "segments") && ramet_id_parse(call->tail, &id))
        return RAMET_ROUTE_SEGMENT;
    if (part_is(parts, 3, "maps") && is_map_name(call->tail))
        return RAMET_ROUTE_MAP;
    if (part_is(parts, 3, "commits") &&
        ramet_api_decimal(call->tail, &call->lsn) && call->lsn > 0)
        return RAMET_ROUTE_COMMIT;
    return RAMET_ROUTE_UNKNOWN;
}

static enum ramet_route
route_profile(struct call *call, const struct parts *parts)
{
    assert(parts->count == 6);
    if (part_is(parts, 3, "profiles") && copy_part(parts, 4, call->profile) &&
        ramet_name_valid(call->profile) && copy_part(parts, 5, call->tail) &&
        is_hex16(call->tail, strlen(call->tail)))
        return RAMET_ROUTE_PROFILE;
    return RAMET_ROUTE_UNKNOWN;
}

static enum ramet_route
route_volume(struct call *call, const struct parts *parts)
{
    assert(parts->count >= 3);
    static const struct {
        const char *name;
        enum ramet_route route;
    } leaves[] = {
        {"pages", RAMET_ROUTE_PAGES},     {"head", RAMET_ROUTE_HEAD},
        {"commits", RAMET_ROUTE_COMMITS}, {"changes", RAMET_ROUTE_CHANGES},
        {"events", RAMET_ROUTE_EVENTS},   {"content", RAMET_ROUTE_CONTENT},
        {"open", RAMET_ROUTE_OPEN},       {"prefetch", RAMET_ROUTE_PREFETCH},
    };

    if (!copy_part(parts, 2, call->name))
        return RAMET_ROUTE_UNKNOWN;
    call->has_id = ramet_id_parse(call->name, &call->volume.id);
    if (call->has_id ? ramet_id_is_nil(&call->volume.id)
                     : !ramet_name_valid(call->name))
        return RAMET_ROUTE_UNKNOWN; /* nil: what a name's tombstone names */
    if (parts->count == 3)
        return RAMET_ROUTE_VOLUME;
    if (parts->count == 5)
        return route_object(call, parts);
    if (parts->count == 6)
        return route_profile(call, parts);
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
        if (parts->count == 4 && part_is(parts, 3, leaves[i].name))
            return leaves[i].route;
    }
    return RAMET_ROUTE_UNKNOWN;
}

enum ramet_route
ramet_api_route(struct call *call, const char *path)
{
    struct parts parts;

    assert(call != NULL && path != NULL);
    if (!split_path(path, &parts))
        return RAMET_ROUTE_UNKNOWN;
    if (parts.count == 1) {
        if (part_is(&parts, 0, "healthz"))
            return RAMET_ROUTE_HEALTHZ;
        if (part_is(&parts, 0, "readyz"))
            return RAMET_ROUTE_READYZ;
        return part_is(&parts, 0, "metrics") ? RAMET_ROUTE_METRICS
                                             : RAMET_ROUTE_UNKNOWN;
    }
    if (!part_is(&parts, 0, "v1"))
        return RAMET_ROUTE_UNKNOWN;
    if (part_is(&parts, 1, "volumes"))
        return parts.count == 2 ? RAMET_ROUTE_VOLUMES
                                : route_volume(call, &parts);
    if (parts.count == 2 && part_is(&parts, 1, "ramet.json"))
        return RAMET_ROUTE_STORE;
    if (parts.count == 2 && part_is(&parts, 1, "news"))
        return RAMET_ROUTE_NEWS;
    if (parts.count == 2 && part_is(&parts, 1, "keys"))
        return RAMET_ROUTE_KEYS;
    if (parts.count == 4 && part_is(&parts, 1, "names") &&
        copy_part(&parts, 2, call->name) && ramet_name_valid(call->name) &&
        copy_part(&parts, 3, call->tail) && is_hex16(call->tail, 16) &&
        call->tail[16] == '\0')
        return RAMET_ROUTE_NAME;
    return RAMET_ROUTE_UNKNOWN;
}

bool
ramet_api_is_write(const struct call *call)
{
    const enum ramet_http_method method = ramet_http_method_of(call->rq);

    return method != RAMET_HTTP_GET && method != RAMET_HTTP_HEAD &&
           call->route != RAMET_ROUTE_PAGES &&
           call->route != RAMET_ROUTE_NEWS &&
           call->route != RAMET_ROUTE_PREFETCH;
}
