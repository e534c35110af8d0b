/*
 * databases.c - see databases.h.
 */
#include "tests/prefetch/databases.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/prefetch/trace.h"

#define SUFFIX ".db"

static char folder[64];

int
databases_begin(void **state)
{
    const char *const tmp = getenv("TMPDIR");

    (void)state;
    (void)snprintf(folder, sizeof(folder), "%.40s/prefetch-XXXXXX",
                   tmp != NULL ? tmp : "/tmp");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

int
databases_end(void **state)
{
    DIR *const dir = opendir(folder);
    const struct dirent *entry;

    (void)state;
    if (dir == NULL)
        return -1;
    while ((entry = readdir(dir)) != NULL) {
        const size_t len = strlen(entry->d_name);

        if (len > strlen(SUFFIX) &&
            strcmp(entry->d_name + len - strlen(SUFFIX), SUFFIX) == 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    (void)closedir(dir);
    return rmdir(folder);
}

void
database_path(const char *name, char out[DATABASE_PATH_MAX])
{
    (void)snprintf(out, DATABASE_PATH_MAX, "%s/%s" SUFFIX, folder, name);
}

void
database_make(const char *name, const char *recipe, const char *pragmas)
{
    char recipe_path[256];
    char path[DATABASE_PATH_MAX];

    database_path(name, path);
    (void)snprintf(recipe_path, sizeof(recipe_path), "%s/%s.sql",
                   RAMET_DATABASES, recipe);
    trace_prepare(path, pragmas, recipe_path);
}
