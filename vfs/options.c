/*
 * options.c - see options.h; docs/sqlite.md lists the parameters.
 */
#include "vfs/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/store/path.h"
#include "client/volume/env_remote.h"
#include "core/alloc.h"
#include "core/nearest.h"
#include "core/os.h"
#include "vfs/api.h"

#define TIMEOUT_MAX_MS (24u * 3600u * 1000u)

/* All that is looked for here, and what SQLite takes itself. */
static const char *const own_names[] = {
    "remote",
    "sync",
    "locking",
    "at",
    "replica",
    "allow",
    "functions",
    "fetch_timeout_ms",
    "commit_timeout_ms",
    "push_interval_ms",
    "max_stale_ms",
    "close_wait_ms",
    "cache_limit",
    "bases_limit",
    "hydrate",
    "hydrate_max",
    "profile",
    NULL,
};
static const char *const sqlite_names[] = {
    "vfs", "mode", "cache", "psow", "nolock", "immutable", "modeof", NULL,
};

static const char *
remote_of(const char *name)
{
    const char *remote = sqlite3_uri_parameter(name, "remote");

    return remote != NULL && remote[0] != '\0' ? remote : NULL;
}

bool
ramet_options_name_remote(const char *name)
{
    const struct ramet_os *os = ramet_os_system();
    struct ramet_url url;
    bool found = false;
    char *path = NULL;
    bool names;

    if (remote_of(name) != NULL)
        return true;
    if (getenv("RAMET_REMOTE") == NULL)
        return false;
    /* What is wrong with it is told by the open that follows. */
    names = ramet_path_resolve(os, name, &path, NULL, NULL) != RAMET_OK ||
            ramet_env_remote(os, NULL, path, &url, &found, NULL) != RAMET_OK ||
            found;
    ramet_free(path);
    return names;
}

bool
ramet_options_lockless(const char *name)
{
    return sqlite3_uri_boolean(name, "nolock", 0) ||
           sqlite3_uri_boolean(name, "immutable", 0);
}

enum ramet_rc
ramet_options_locking(const char *name, bool *out_rollback,
                      struct ramet_err *err)
{
    const char *text = sqlite3_uri_parameter(name, "locking");

    assert(out_rollback != NULL);
    if (text == NULL)
        text = getenv("RAMET_LOCKING");
    *out_rollback = text != NULL && strcmp(text, "rollback") == 0;
    if (text == NULL || *out_rollback || strcmp(text, "snapshot") == 0)
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_EINVAL,
                      "locking=%.64s: must be snapshot or rollback", text);
}

bool
ramet_options_functions_off(void)
{
    const char *text = getenv("RAMET_FUNCTIONS");

    return text != NULL && strcmp(text, "off") == 0;
}

enum ramet_rc
ramet_options_functions(const char *name, bool *out_off, struct ramet_err *err)
{
    const char *text = sqlite3_uri_parameter(name, "functions");

    assert(out_off != NULL);
    *out_off =
        text != NULL ? strcmp(text, "off") == 0 : ramet_options_functions_off();
    if (text == NULL || *out_off || strcmp(text, "on") == 0)
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_EINVAL, "functions=%.64s: must be on or off",
                      text);
}

bool
ramet_options_may_pull(const char *name)
{
    const char *text = sqlite3_uri_parameter(name, "allow");

    return text != NULL && strcmp(text, "pull") == 0;
}

/* ---- words that are mistyped ---------------------------------------------- */

static const char *
own_name_at(const void *ctx, size_t i)
{
    (void)ctx;
    return own_names[i];
}

static bool
is_among(const char *word, const char *const *names)
{
    assert(word != NULL);
    for (; *names != NULL; names++)
        if (strcmp(word, *names) == 0)
            return true;
    return false;
}

/* What `key` was meant for, NULL if it is none of ours: other VFSs and
 * extensions have parameters, too, so only what is very near is a slip. */
static const char *
meant(const char *key)
{
    char word[33];
    size_t len = 0;
    size_t distance;
    const char *nearest;

    for (; key[len] != '\0' && len + 1 < sizeof(word); len++)
        word[len] = (char)tolower((unsigned char)key[len]);
    word[len] = '\0';
    assert(len < sizeof(word));
    nearest = ramet_nearest(word, own_name_at, NULL, &distance);
    /* `max` is the beginning of many a word. */
    if (nearest != NULL && strncmp(word, nearest, len) == 0 &&
        2 * len < strlen(nearest))
        return NULL;
    if (len >= 3 && (distance <= 1 || (distance == 2 && len >= 7)))
        return nearest;
    return NULL;
}

enum ramet_rc
ramet_options_check_names(const char *name, struct ramet_err *err)
{
    const char *key;

    for (int i = 0; (key = sqlite3_uri_key(name, i)) != NULL; i++) {
        const char *near;

        if (is_among(key, own_names) || is_among(key, sqlite_names))
            continue;
        near = meant(key);
        if (near != NULL)
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "no parameter '%.64s'; did you mean '%s'?", key,
                              near);
    }
    return RAMET_OK;
}

/* ---- values ---------------------------------------------------------------- */

/* A decimal number without sign, at most `max`; absent leaves *out alone. */
static enum ramet_rc
parse_number(const char *name, const char *key, uint64_t max, uint64_t *out,
             struct ramet_err *err)
{
    const char *text = sqlite3_uri_parameter(name, key);
    unsigned long long value;
    char *end;

    assert(max < UINT64_MAX); /* which stands for: not given */
    if (text == NULL)
        return RAMET_OK;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
        value > max)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s=%.64s: must be a whole number of at most %llu",
                          key, text, (unsigned long long)max);
    *out = value;
    return RAMET_OK;
}

/* As parse_number for milliseconds, where the client takes 0 for "default":
 * who writes 0 wants no waiting, so it becomes the shortest there is. */
static enum ramet_rc
parse_timeout(const char *name, const char *key, uint64_t *out,
              struct ramet_err *err)
{
    uint64_t value = UINT64_MAX;
    const enum ramet_rc rc =
        parse_number(name, key, TIMEOUT_MAX_MS, &value, err);

    assert(out != NULL);
    if (rc == RAMET_OK && value != UINT64_MAX)
        *out = value != 0 ? value : 1;
    return rc;
}

/* How soon others see what is committed here, and this file what they commit. */
static enum ramet_rc
parse_freshness(const char *name, struct ramet_file_options *out,
                struct ramet_err *err)
{
    uint64_t interval_ms = UINT64_MAX, max_stale_ms = UINT64_MAX;
    enum ramet_rc rc = parse_number(name, "push_interval_ms", TIMEOUT_MAX_MS,
                                    &interval_ms, err);

    if (rc == RAMET_OK)
        rc = parse_number(name, "max_stale_ms", TIMEOUT_MAX_MS, &max_stale_ms,
                          err);
    if (rc != RAMET_OK)
        return rc;
    if (interval_ms != UINT64_MAX)
        out->push_interval_ms =
            interval_ms > 0 ? interval_ms : RAMET_PUSH_AT_ONCE;
    out->bounds_age = max_stale_ms != UINT64_MAX;
    if (out->bounds_age)
        out->max_stale_ms = max_stale_ms;
    return RAMET_OK;
}

static enum ramet_rc
parse_sync(const char *name, enum ramet_sync_mode *out, struct ramet_err *err)
{
    const char *text = sqlite3_uri_parameter(name, "sync");

    assert(out != NULL);
    if (text == NULL)
        return RAMET_OK;
    if (strcmp(text, "auto") == 0)
        *out = RAMET_SYNC_AUTO;
    else if (strcmp(text, "manual") == 0)
        *out = RAMET_SYNC_MANUAL;
    else if (strcmp(text, "commit") == 0)
        *out = RAMET_SYNC_COMMIT;
    else
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "sync=%.64s: must be auto, manual or commit", text);
    return RAMET_OK;
}

static enum ramet_rc
parse_replica(const char *name, struct ramet_file_options *out,
              struct ramet_err *err)
{
    const char *text = sqlite3_uri_parameter(name, "replica");

    if (text == NULL)
        return RAMET_OK;
    if (strcmp(text, "none") != 0)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "replica=%.64s: only \"none\" has a meaning", text);
    out->stateless = true;
    return RAMET_OK;
}

static enum ramet_rc
parse_hydrate(const char *name, struct ramet_file_options *out,
              struct ramet_err *err)
{
    const char *text = sqlite3_uri_parameter(name, "hydrate");
    const enum ramet_rc rc = parse_number(name, "hydrate_max", UINT64_MAX - 1,
                                          &out->hydrate_max_bytes, err);

    if (rc != RAMET_OK || text == NULL)
        return rc;
    if (strcmp(text, "auto") != 0)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "hydrate=%.64s: only \"auto\" has a meaning", text);
    if (out->stateless || out->at != NULL)
        return RAMET_FAIL(
            err, RAMET_EINVAL,
            "hydrate=auto needs a replica, which replica=none and "
            "at= are without");
    out->hydrate_auto = true;
    return RAMET_OK;
}

static enum ramet_rc
check_allow(const char *name, struct ramet_err *err)
{
    const char *text = sqlite3_uri_parameter(name, "allow");

    if (text == NULL || strcmp(text, "pull") == 0)
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_EINVAL,
                      "allow=%.64s: only \"pull\" has a meaning", text);
}

/* "": none, also where the environment has one. */
static const char *
profile_of(const char *name)
{
    const char *text = sqlite3_uri_parameter(name, "profile");

    if (text == NULL)
        text = getenv("RAMET_PROFILE");
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static bool
is_immutable(const char *name)
{
    return sqlite3_uri_boolean(name, "immutable", 0) != 0;
}

static unsigned
open_flags(const char *name, int flags)
{
    unsigned out = RAMET_OPEN_ADOPT;

    if (ramet_options_may_pull(name))
        out |= RAMET_OPEN_PULL;
    if ((flags & SQLITE_OPEN_READWRITE) == 0 || is_immutable(name))
        out |= RAMET_OPEN_READONLY;
    else if ((flags & SQLITE_OPEN_CREATE) != 0)
        out |= RAMET_OPEN_CREATE;
    if ((flags & SQLITE_OPEN_NOFOLLOW) != 0)
        out |= RAMET_OPEN_NOFOLLOW;
    assert((out & RAMET_OPEN_READONLY) == 0 || (out & RAMET_OPEN_CREATE) == 0);
    return out;
}

enum ramet_rc
ramet_options_parse(const char *name, int flags, struct ramet_file_options *out,
                    struct ramet_err *err)
{
    uint64_t close_wait_ms = UINT64_MAX;
    uint64_t bases_limit = UINT64_MAX;
    enum ramet_rc rc;

    ramet_file_options_init(out);
    out->kind = RAMET_KIND_SQLITE;
    out->flags = open_flags(name, flags);
    out->remote = remote_of(name);
    out->at = sqlite3_uri_parameter(name, "at");
    out->profile = profile_of(name);
    out->close_wait_ms = -1;

    rc = check_allow(name, err);
    if (rc == RAMET_OK)
        rc = parse_sync(name, &out->sync, err);
    if (is_immutable(name)) /* it does not even move by itself */
        out->sync = RAMET_SYNC_MANUAL;
    if (rc == RAMET_OK)
        rc = parse_replica(name, out, err);
    if (rc == RAMET_OK)
        rc = parse_hydrate(name, out, err);
    if (rc == RAMET_OK)
        rc = parse_timeout(name, "fetch_timeout_ms", &out->fetch_timeout_ms,
                           err);
    if (rc == RAMET_OK)
        rc = parse_timeout(name, "commit_timeout_ms", &out->commit_timeout_ms,
                           err);
    if (rc == RAMET_OK)
        rc = parse_freshness(name, out, err);
    if (rc == RAMET_OK)
        rc = parse_number(name, "close_wait_ms", TIMEOUT_MAX_MS, &close_wait_ms,
                          err);
    if (rc == RAMET_OK)
        rc = parse_number(name, "cache_limit", UINT64_MAX - 1,
                          &out->cache_limit_bytes, err);
    if (rc == RAMET_OK)
        rc = parse_number(name, "bases_limit", INT64_MAX, &bases_limit, err);
    if (rc == RAMET_OK && bases_limit != UINT64_MAX)
        out->bases_limit_bytes = (int64_t)bases_limit;
    if (rc == RAMET_OK && close_wait_ms != UINT64_MAX)
        out->close_wait_ms = (int64_t)close_wait_ms;
    return rc;
}
