/*
 * verb_lost.c - `ramet lost`: what was set aside beside a replica, and a way
 * back to it.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/target.h"
#include "client/store/path.h"
#include "client/store/replicas.h"
#include "core/alloc.h"

struct lost {
    char *path;   /* of the replica's file, no link */
    char *folder; /* FILE-ramet/lost */
};

static enum ramet_rc
find_lost(const char *path, struct lost *out, struct ramet_err *err)
{
    enum ramet_rc rc =
        ramet_path_resolve(ramet_os_system(), path, &out->path, NULL, err);

    if (rc != RAMET_OK)
        return rc;
    out->folder = ramet_asprintf("%s-ramet/lost", out->path);
    return out->folder != NULL ? RAMET_OK
                               : RAMET_FAIL(err, RAMET_ENOMEM, "no memory");
}

static void
lost_done(struct lost *lost)
{
    ramet_free(lost->path);
    ramet_free(lost->folder);
}

static void
print_entry(const struct cli_args *args, struct cli_json_array *array,
            const char *name, const struct stat *st)
{
    const bool is_replica = S_ISDIR(st->st_mode);
    const uint64_t ms = (uint64_t)st->st_mtim.tv_sec * 1000 +
                        (uint64_t)st->st_mtim.tv_nsec / 1000000;
    char when[32], bytes[CLI_TEXT_SIZE];

    if (args->json) {
        cli_json_array_add(
            array,
            json_pack("{s:o, s:s, s:o, s:o}", "name", cli_json_text(name),
                      "kind", is_replica ? "replica" : "file", "time",
                      cli_json_time(ms), "bytes",
                      is_replica ? json_null()
                                 : json_integer((json_int_t)st->st_size)));
        return;
    }
    ramet_time_format(ms, when);
    printf("%s  %12s  ", when,
           is_replica ? "replica" : cli_bytes(bytes, (uint64_t)st->st_size));
    cli_print_text(name);
    putchar('\n');
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int
is_entry(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int
list_lost(const struct cli_args *args, const struct lost *lost)
{
    struct cli_json_array array = {0};
    struct dirent **entries = NULL;
    const int count = scandir(lost->folder, &entries, is_entry, by_name);
    struct ramet_err err = {0};

    if (count < 0 && errno != ENOENT) {
        const int errnum = errno;

        return cli_fail(args, args->operands[0],
                        RAMET_FAIL_SYS(&err, ramet_rc_of_errno(errnum), errnum,
                                       "%s", lost->folder),
                        &err);
    }
    for (int i = 0; i < count; i++) {
        char *const path =
            ramet_asprintf("%s/%s", lost->folder, entries[i]->d_name);
        struct stat st;

        if (path != NULL && lstat(path, &st) == 0)
            print_entry(args, &array, entries[i]->d_name, &st);
        ramet_free(path);
        free(entries[i]);
    }
    free(entries);
    if (args->json)
        return cli_json_array_end(&array);
    if (count <= 0 && !args->quiet)
        printf("nothing was set aside\n");
    return CLI_DONE;
}

static int
restore_lost(const struct cli_args *args, const struct lost *lost)
{
    const char *const name = args->operands[1];
    const char *const out = args->operands[2];
    char *const from = ramet_asprintf("%s/%s", lost->folder, name);
    struct ramet_err err = {0};
    struct stat st;
    enum ramet_rc rc;

    if (from == NULL)
        rc = RAMET_FAIL(&err, RAMET_ENOMEM, "no memory");
    else if (name[0] == '.' || strchr(name, '/') != NULL ||
             lstat(from, &st) != 0)
        rc = RAMET_FAIL(&err, RAMET_ENOTFOUND,
                        "nothing of that name was set aside; 'ramet lost %s' "
                        "lists what was",
                        args->operands[0]);
    else if (S_ISDIR(st.st_mode))
        rc = ramet_replica_rescue(NULL, lost->path, name, out, &err);
    else
        rc = ramet_file_copy_plain(from, out, &err);
    ramet_free(from);
    if (rc != RAMET_OK)
        return cli_fail(args, name, rc, &err);
    if (args->json)
        return cli_print_json(
            json_pack("{s:s, s:o, s:o, s:s}", "verb", "lost", "name",
                      cli_json_text(name), "out", cli_json_text(out), "kind",
                      S_ISDIR(st.st_mode) ? "replica" : "file"));
    if (!args->quiet) {
        printf("wrote ");
        cli_print_text(out);
        printf(S_ISDIR(st.st_mode)
                   ? ", a replica with what was not pushed; 'ramet export' "
                     "makes a plain file of it\n"
                   : "\n");
    }
    return CLI_DONE;
}

static int
run_lost(const struct cli_args *args)
{
    struct lost lost = {NULL, NULL};
    struct ramet_err err = {0};
    enum ramet_rc rc;
    int code;

    if (args->operand_count == 2)
        return cli_usage(args->verb, "where to? FILE NAME OUT");
    rc = find_lost(args->operands[0], &lost, &err);
    if (rc != RAMET_OK)
        code = cli_fail(args, args->operands[0], rc, &err);
    else
        code = args->operand_count == 1 ? list_lost(args, &lost)
                                        : restore_lost(args, &lost);
    lost_done(&lost);
    return code;
}

const struct cli_verb cli_verb_lost = {
    .name = "lost",
    .operands = "FILE [NAME OUT]",
    .operands_min = 1,
    .operands_max = 3,
    .summary = "list what was set aside, or bring it back",
    .details =
        "Lists what is kept in FILE-ramet/lost/: plain files that 'ramet "
        "reset'\n"
        "gave up, and what was left of a file that was deleted with commits "
        "that\n"
        "the remote does not have. With NAME and OUT it makes a file of one, "
        "or "
        "a\n"
        "replica. Nothing there is ever removed by Ramet.",
    .example = "  $ ramet lost app.db\n"
               "  $ ramet lost app.db 20261123T100000Z-7.db before-reset.db",
    .reports = true,
    .run = run_lost,
};
