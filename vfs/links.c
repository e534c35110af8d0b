/*
 * links.c - see links.h.
 *
 *   (1) `links` is under `mutex`, and has each link once: as many as there are
 *       such places, which nobody makes any more
 */
#include "vfs/links.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "client/store/path.h"
#include "core/alloc.h"
#include "core/thread.h"

struct link {
    struct link *next;
    char *file;
    char name[]; /* absolute */
};

static struct ramet_mutex mutex = RAMET_MUTEX_INIT;
static struct link *links; /* invariant (1) */

static enum ramet_rc
resolve(const char *name, struct ramet_err *err)
{
    char *file = NULL;
    const enum ramet_rc rc =
        ramet_path_resolve(ramet_os_system(), name, &file, NULL, err);

    ramet_free(file);
    return rc;
}

/* Needs the mutex. */
static struct link *
find(const char *file)
{
    struct link *at = links;

    assert(file != NULL);
    while (at != NULL && strcmp(at->file, file) != 0)
        at = at->next;
    return at;
}

static void
keep(const char *name, const char *file)
{
    struct link *fresh = ramet_alloc(sizeof(*fresh) + strlen(name) + 1);

    assert(name != NULL && file != NULL);
    if (fresh == NULL)
        return;
    strcpy(fresh->name, name);
    fresh->file = ramet_strdup(file);
    ramet_mutex_lock(&mutex);
    if (fresh->file != NULL && find(file) == NULL) {
        fresh->next = links;
        links = fresh;
        fresh = NULL;
    }
    ramet_mutex_unlock(&mutex);
    if (fresh != NULL)
        ramet_free(fresh->file);
    ramet_free(fresh);
}

void
ramet_links_saw(const char *link, const char *file)
{
    char cwd[4096] = "";
    char *name;

    assert(link != NULL && file != NULL);
    if (resolve(link, NULL) != RAMET_EEXIST)
        return;
    if (link[0] != '/' && getcwd(cwd, sizeof(cwd)) == NULL)
        return;
    name = ramet_asprintf("%s%s%s", cwd, cwd[0] != '\0' ? "/" : "", link);
    if (name != NULL)
        keep(name, file);
    ramet_free(name);
}

/* A copy of the link that leads to `file`, NULL if none is kept. */
static char *
link_to(const char *file)
{
    const struct link *found;
    char *name = NULL;

    ramet_mutex_lock(&mutex);
    found = find(file);
    if (found != NULL)
        name = ramet_strdup(found->name);
    ramet_mutex_unlock(&mutex);
    return name;
}

static void
forget(const char *file)
{
    struct link **from = &links;
    struct link *gone;

    assert(file != NULL);
    ramet_mutex_lock(&mutex);
    while (*from != NULL && strcmp((*from)->file, file) != 0)
        from = &(*from)->next;
    gone = *from;
    if (gone != NULL)
        *from = gone->next;
    ramet_mutex_unlock(&mutex);
    if (gone != NULL)
        ramet_free(gone->file);
    ramet_free(gone);
}

enum ramet_rc
ramet_links_check(const char *file, struct ramet_err *err)
{
    char *const name = link_to(file);
    enum ramet_rc rc;

    assert(file != NULL);
    if (name == NULL)
        return RAMET_OK;
    rc = resolve(name, err);
    ramet_free(name);
    if (rc == RAMET_EEXIST)
        return rc;
    forget(file); /* somebody put it right */
    return RAMET_OK;
}
