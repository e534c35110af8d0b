/*
 * replicas.c - see replicas.h.
 */
#include "cli/replicas.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/store/replicas.h"
#include "core/alloc.h"
#include "core/os.h"

#define SUFFIX "-ramet"

bool
cli_is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The directories beside the files tell. */
static int
has_suffix(const struct dirent *entry)
{
    const size_t len = strlen(entry->d_name);

    return len > sizeof(SUFFIX) - 1 &&
           strcmp(entry->d_name + len - (sizeof(SUFFIX) - 1), SUFFIX) == 0;
}

static bool
is_replica(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           ramet_replica_exists(ramet_os_system(), path);
}

enum ramet_rc
cli_replicas_in(const char *directory, cli_replica_visit *visit, void *ctx,
                struct ramet_err *err)
{
    struct dirent **entries = NULL;
    const int count = scandir(directory, &entries, has_suffix, alphasort);
    enum ramet_rc rc = RAMET_OK;
    bool goes_on = true;

    if (count < 0)
        return RAMET_FAIL_OS(err, -errno, "%s", directory);
    for (int i = 0; i < count; i++) {
        const char *const name = entries[i]->d_name;
        char *const path =
            ramet_asprintf("%s/%.*s", directory,
                           (int)(strlen(name) - (sizeof(SUFFIX) - 1)), name);

        if (path == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a path");
        else if (goes_on && is_replica(path))
            goes_on = visit(ctx, path);
        ramet_free(path);
        free(entries[i]);
    }
    free(entries);
    return rc;
}
