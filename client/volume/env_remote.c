/*
 * env_remote.c - see env_remote.h.
 *
 *   (1) `given` has each URL without a FILE at most once; under the process
 *       lock, and never freed: there are as many as the program names
 */
#include "client/volume/env_remote.h"
#include "client/remote/config.h"
#include "client/store/replicas.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/process.h"
#include "client/remote/remote.h"
#include "client/store/path.h"
#include "client/store/store.h"
#include "client/volume/file.h"
#include "client/volume/file_impl.h"
#include "core/alloc.h"

#define BLANKS " \t\n\r\f\v"

/* A URL that stood alone, and the file that has it. */
struct given {
    struct given *next;
    char *path;
    char item[];
};

static struct given *given; /* invariant (1) */

/* One part of the list, a copy. */
struct item {
    char *text;
    const char *file; /* NULL: the URL alone */
    const char *url;
};

/* A '=' before the scheme ends FILE; one behind it belongs to the URL. */
static void
split_item(struct item *item)
{
    char *const equals = strchr(item->text, '=');
    const char *const scheme = strstr(item->text, "://");

    item->file = NULL;
    item->url = item->text;
    if (equals == NULL || (scheme != NULL && scheme < equals))
        return;
    *equals = '\0';
    item->file = item->text;
    item->url = equals + 1;
}

static bool
is_file(const struct ramet_os *os, const char *name, const char *path)
{
    char *resolved = NULL;
    const bool is =
        ramet_path_resolve(os, name, &resolved, NULL, NULL) == RAMET_OK &&
        strcmp(resolved, path) == 0;

    assert(path[0] == '/');
    ramet_free(resolved);
    return is;
}

static bool
is_named_like(const char *path, const char *volume)
{
    static const char *const endings[] = {"", ".db", ".db3", ".sqlite",
                                          ".sqlite3"};
    const char *const slash = strrchr(path, '/');
    const char *const base = slash != NULL ? slash + 1 : path;
    const size_t len = strlen(volume);

    assert(volume[0] != '\0');
    if (strncmp(base, volume, len) != 0)
        return false;
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (strcmp(base + len, endings[i]) == 0)
            return true;
    return false;
}

/* Needs the process lock. */
static struct given *
find_given(const char *item)
{
    struct given *at = given;

    while (at != NULL && strcmp(at->item, item) != 0)
        at = at->next;
    return at;
}

/* Who has `item`, a copy; NULL: nobody, and now `path` has it (or there is no
 * memory, which is no reason to open another file than was asked for). */
static char *
give_or_ask(const char *item, const char *path)
{
    struct given *fresh = ramet_alloc(sizeof(*fresh) + strlen(item) + 1);
    struct given *found;
    char *owner = NULL;

    if (fresh != NULL) {
        strcpy(fresh->item, item);
        fresh->path = ramet_strdup(path);
    }
    ramet_process_lock();
    assert(fresh == NULL || fresh->item[0] != '\0');
    found = find_given(item);
    if (found != NULL) {
        owner = ramet_strdup(found->path);
    } else if (fresh != NULL && fresh->path != NULL) {
        fresh->next = given;
        given = fresh;
        fresh = NULL;
    }
    ramet_process_unlock();
    if (fresh != NULL)
        ramet_free(fresh->path);
    ramet_free(fresh);
    return owner;
}

static void
pass_on(const char *item, const char *path)
{
    char *mine = ramet_strdup(path);
    struct given *found;

    ramet_process_lock();
    found = find_given(item);
    assert(found == NULL || found->path != NULL);
    if (found != NULL && mine != NULL) {
        char *const before = found->path;

        found->path = mine;
        mine = before;
    }
    ramet_process_unlock();
    ramet_free(mine);
}

/* Of two files that a URL fits, the first has it while it is there. */
static bool
claim(const struct ramet_os *os, const char *item, const char *path)
{
    char *const owner = give_or_ask(item, path);
    bool is_mine = owner == NULL || strcmp(owner, path) == 0;

    assert(path[0] == '/');
    if (!is_mine && !ramet_replica_exists(os, owner)) {
        pass_on(item, path);
        is_mine = true;
    }
    ramet_free(owner);
    return is_mine;
}

/* What the list says of one file. */
struct search {
    const struct ramet_os *os;
    const char *config; /* as in struct ramet_file_options */
    const char *path;
    struct ramet_url url;
    bool found;
    bool is_for_file; /* FILE=URL, which goes before a URL alone */
};

static enum ramet_rc
look_at_file(struct search *search, const struct item *item,
             struct ramet_err *err)
{
    assert(item->file != NULL && item->url != NULL);
    if (search->is_for_file || !is_file(search->os, item->file, search->path))
        return RAMET_OK;
    search->found = search->is_for_file = true;
    return ramet_config_remote(search->config, item->url, &search->url, err);
}

static enum ramet_rc
look_at_url(struct search *search, const struct item *item,
            struct ramet_err *err)
{
    struct ramet_url url;
    enum ramet_rc rc;

    assert(item->file == NULL);
    assert(!search->is_for_file);
    rc = ramet_config_remote(search->config, item->url, &url, err);
    if (rc == RAMET_OK && url.name[0] == '\0')
        rc = RAMET_FAIL(err, RAMET_EINVAL,
                        "RAMET_REMOTE: %.200s names a store and no volume in "
                        "it: …/NAME, or FILE=URL",
                        item->url);
    if (rc != RAMET_OK || search->found ||
        !is_named_like(search->path, url.name) ||
        !claim(search->os, item->text, search->path))
        return rc;
    search->found = true;
    search->url = url;
    return RAMET_OK;
}

static enum ramet_rc
look_at(struct search *search, const char *text, size_t len, bool alone,
        struct ramet_err *err)
{
    struct item item = {.text = ramet_asprintf("%.*s", (int)len, text)};
    enum ramet_rc rc = RAMET_OK;

    assert(len > 0);
    if (item.text == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "RAMET_REMOTE: no memory");
    split_item(&item);
    if (item.url[0] == '\0' || (item.file != NULL && item.file[0] == '\0'))
        rc = RAMET_FAIL(err, RAMET_EINVAL,
                        "RAMET_REMOTE: '%.200s=%.200s': the form is FILE=URL",
                        item.file, item.url);
    else if (alone && item.file == NULL)
        rc = look_at_url(search, &item, err);
    else if (!alone && item.file != NULL)
        rc = look_at_file(search, &item, err);
    ramet_free(item.text);
    return rc;
}

static enum ramet_rc
look_at_all(struct search *search, const char *list, bool alone,
            struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;
    size_t len;

    for (const char *at = list + strspn(list, BLANKS);
         *at != '\0' && rc == RAMET_OK; at += len, at += strspn(at, BLANKS)) {
        len = strcspn(at, BLANKS);
        rc = look_at(search, at, len, alone, err);
    }
    return rc;
}

enum ramet_rc
ramet_env_remote(const struct ramet_os *os, const char *config,
                 const char *path, struct ramet_url *out_url, bool *out_found,
                 struct ramet_err *err)
{
    struct search search = {.os = os, .config = config, .path = path};
    const char *const list = getenv("RAMET_REMOTE");
    enum ramet_rc rc = RAMET_OK;

    if (list != NULL)
        rc = look_at_all(&search, list, false, err);
    if (list != NULL && rc == RAMET_OK && !search.found)
        rc = look_at_all(&search, list, true, err);
    if (rc != RAMET_OK)
        return rc;
    assert(search.found || !search.is_for_file);
    *out_found = search.found;
    if (search.found)
        *out_url = search.url;
    return RAMET_OK;
}
