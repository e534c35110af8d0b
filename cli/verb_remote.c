/*
 * verb_remote.c - `ramet ls` and `ramet info`: what there is at a remote.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/stop.h"
#include "cli/target.h"
#include "metastore/mapshape.h"

/* ---- ls ------------------------------------------------------------------ */

struct lister {
    const struct cli_args *args;
    struct ramet_objstore *store;
    struct cli_json_array array;
    uint64_t count;
    enum ramet_rc rc; /* what ended the walk early */
    struct ramet_err *err;
};

static enum ramet_rc
newest_of(struct ramet_objstore *store, const struct ramet_vid *volume,
          struct ramet_head *out_head, struct ramet_err *err)
{
    struct ramet_history *history = NULL;
    enum ramet_rc rc;

    rc = ramet_history_open(store, volume, NULL, &history, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_history_newest(history, out_head, err);
    ramet_history_close(history);
    return rc;
}

/* One line of `ls`; a volume whose head can't be read ends the listing. */
static bool
list_volume(void *ctx, const char *name, const struct ramet_vid *volume)
{
    struct lister *const lister = ctx;
    struct ramet_head head = {0};
    char id[RAMET_ID_TEXT_SIZE], time[32] = "-", size[CLI_TEXT_SIZE];

    if (cli_stop_wanted())
        lister->rc = RAMET_FAIL(lister->err, RAMET_ECANCELLED, "interrupted");
    else
        lister->rc = newest_of(lister->store, volume, &head, lister->err);
    if (lister->rc != RAMET_OK)
        return false;
    lister->count++;
    ramet_id_format(&volume->id, id);
    if (lister->args->json) {
        cli_json_array_add(&lister->array,
                           json_pack("{s:s?, s:s, s:I, s:o, s:I}", "name",
                                     name[0] == '\0' ? NULL : name, "volume",
                                     id, "lsn", (json_int_t)head.lsn, "time",
                                     cli_json_time(head.time_ms), "byte_length",
                                     (json_int_t)head.byte_length));
        return true;
    }
    if (head.lsn > 0)
        ramet_time_format(head.time_ms, time);
    printf("%s  %8" PRIu64 "  %10s  %-24s  ", id, head.lsn,
           cli_bytes(size, head.byte_length), time);
    cli_print_text(name);
    putchar('\n');
    return true;
}

/* What makes `text` name a store and not a volume in it, so that a URL's last
 * part is a directory whether it ends with a slash or not. */
static const char *
store_suffix(const char *text)
{
    const size_t len = strlen(text);

    if (strstr(text, "://") == NULL)
        return strchr(text, ':') == NULL ? ":" : "";
    return text[len - 1] == '/' || strchr(text, '?') != NULL ? "" : "/";
}

static enum ramet_rc
open_store(const struct cli_args *args, const char *text,
           struct ramet_remote **out_remote, struct ramet_err *err)
{
    char store[RAMET_URL_MAX];
    struct ramet_url url;

    if ((size_t)snprintf(store, sizeof(store), "%s%s", text,
                         store_suffix(text)) >= sizeof(store))
        return RAMET_FAIL(err, RAMET_EINVAL, "the URL is too long");
    return cli_remote_open(args, store, RAMET_NAMED_BY_USER, &url, out_remote,
                           err);
}

static int
run_ls(const struct cli_args *args)
{
    struct ramet_remote *remote = NULL;
    struct lister lister = {.args = args};
    struct ramet_err err = {0};
    enum ramet_rc rc;
    int code = CLI_DONE;

    lister.err = &err;
    rc = open_store(args, args->operands[0], &remote, &err);
    if (rc == RAMET_OK)
        rc = ramet_catalog_check(remote->store, false, &err);
    if (rc == RAMET_OK) {
        lister.store = remote->store;
        rc = ramet_catalog_list(remote->store, list_volume, &lister, &err);
    }
    if (rc == RAMET_OK)
        rc = lister.rc;
    if (args->json && (rc == RAMET_OK || lister.array.open))
        code = cli_json_array_end(&lister.array);
    else if (rc == RAMET_OK && lister.count == 0 && !args->quiet)
        printf("no volumes\n");
    ramet_remote_close(remote);
    return rc == RAMET_OK ? code : cli_fail(args, args->operands[0], rc, &err);
}

const struct cli_verb cli_verb_ls = {
    .name = "ls",
    .operands = "URL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "volumes of a store",
    .details = "Lists the volumes of the store at URL (a remote's URL without "
               "the name):\nid, newest LSN, length, time of the newest commit, "
               "name.",
    .example = "  $ ramet ls file:///backups",
    .reports = true,
    .run = run_ls,
};

/* ---- info ---------------------------------------------------------------- */

struct object_sum {
    uint64_t count;
    uint64_t bytes;
};

static bool
add_object(void *ctx, const char *key, uint64_t size_bytes)
{
    struct object_sum *const sum = ctx;

    (void)key;
    sum->count++;
    sum->bytes += size_bytes;
    return !cli_stop_wanted();
}

static enum ramet_rc
sum_objects(struct cli_volume *volume, struct object_sum *out_sum,
            struct ramet_err *err)
{
    char id[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];

    ramet_id_format(&volume->id.id, id);
    snprintf(prefix, sizeof(prefix), "volumes/%s/", id);
    return ramet_objstore_list(volume->remote->store, prefix, NULL, add_object,
                               out_sum, err);
}

static const char *
kind_name(enum ramet_volume_kind kind)
{
    switch (kind) {
    case RAMET_KIND_SQLITE:
        return "sqlite";
    case RAMET_KIND_BLOB:
        return "blob";
    }
    return "none"; /* a volume without commits */
}

/* How the commit is found again, and what deltas it has. */
struct shape {
    struct ramet_map_shape map;
    struct ramet_delta_counts deltas; /* of the last content commit */
};

static enum ramet_rc
look_at_shape(struct cli_volume *volume, const struct ramet_head *head,
              struct shape *out, struct ramet_err *err)
{
    const struct ramet_point at = ramet_head_point(head);
    struct ramet_commit_object commit;
    enum ramet_rc rc;

    if (head->lsn == 0)
        return RAMET_OK;
    rc = ramet_history_map_shape(volume->history, &at, &out->map, err);
    if (rc != RAMET_OK || head->content.lsn == 0)
        return rc;
    rc = ramet_history_commit(volume->history, head->content.lsn, &commit, err);
    if (rc != RAMET_OK)
        return rc;
    out->deltas = ramet_commit_delta_counts(&commit);
    ramet_commit_done(&commit);
    return RAMET_OK;
}

static json_t *
info_json(const struct cli_volume *volume, const struct ramet_head *head,
          const struct object_sum *sum, const struct shape *shape)
{
    char id[RAMET_ID_TEXT_SIZE], url[RAMET_URL_MAX];
    json_t *json;

    ramet_id_format(&volume->id.id, id);
    ramet_url_format(&volume->url, url, sizeof(url));
    json = json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "url", url,
        "volume", id, "kind", kind_name(head->kind), "lsn",
        (json_int_t)head->lsn, "time", cli_json_time(head->time_ms),
        "byte_length", (json_int_t)head->byte_length, "page_size",
        (json_int_t)head->page_size, "page_count", (json_int_t)head->page_count,
        "map_lsn", (json_int_t)head->map_lsn, "floor", (json_int_t)head->floor,
        "content_lsn", (json_int_t)head->content.lsn);
    if (json != NULL)
        json_object_update_new(
            json,
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "map_rollups",
                      (json_int_t)shape->map.rollups, "map_rollup_bytes",
                      (json_int_t)shape->map.rollup_bytes, "map_tree_lsn",
                      (json_int_t)shape->map.tree_lsn, "delta_pages",
                      (json_int_t)shape->deltas.pages, "delta_bytes",
                      (json_int_t)shape->deltas.bytes, "delta_saved_bytes",
                      (json_int_t)shape->deltas.saved_bytes));
    if (json != NULL && sum != NULL) {
        json_object_set_new(json, "objects",
                            json_integer((json_int_t)sum->count));
        json_object_set_new(json, "stored_bytes",
                            json_integer((json_int_t)sum->bytes));
    }
    return json;
}

static void
print_shape(const struct shape *shape)
{
    const struct ramet_map_shape *const map = &shape->map;
    char a[CLI_TEXT_SIZE], b[CLI_TEXT_SIZE];

    if (map->lsn > 0)
        printf("map       of LSN %" PRIu64, map->lsn);
    if (map->rollups > 0)
        printf(": %s roll-up%s (%s) over the tree of LSN %" PRIu64,
               cli_count(a, map->rollups), cli_plural(map->rollups, "", "s"),
               cli_bytes(b, map->rollup_bytes), map->tree_lsn);
    if (map->lsn > 0)
        putchar('\n');
    if (shape->deltas.pages > 0)
        cli_print_deltas(&shape->deltas);
}

static void
print_info(const struct cli_volume *volume, const struct ramet_head *head,
           const struct object_sum *sum, const struct shape *shape)
{
    char id[RAMET_ID_TEXT_SIZE], url[RAMET_URL_MAX], time[32] = "-";
    char a[CLI_TEXT_SIZE], b[CLI_TEXT_SIZE];

    ramet_id_format(&volume->id.id, id);
    ramet_url_format(&volume->url, url, sizeof(url));
    if (head->lsn > 0)
        ramet_time_format(head->time_ms, time);
    printf("url       ");
    cli_print_text(url);
    printf("\nvolume    %s\nkind      %s\n", id, kind_name(head->kind));
    printf("LSN       %" PRIu64 " (%s)\n", head->lsn, time);
    printf("length    %s: %s pages of %" PRIu32 " bytes\n",
           cli_bytes(a, head->byte_length), cli_count(b, head->page_count),
           head->page_size);
    print_shape(shape);
    if (head->floor > 1)
        printf("kept      from LSN %" PRIu64 " on\n", head->floor);
    if (sum != NULL)
        printf("stored    %s in %s objects\n", cli_bytes(a, sum->bytes),
               cli_count(b, sum->count));
}

static const struct cli_option info_options[] = {
    {"objects", NULL, "count the objects stored and their bytes (lists them)"},
    {NULL, NULL, NULL},
};

static int
run_info(const struct cli_args *args)
{
    const bool objects = cli_flag(args, "objects");
    struct cli_volume volume = {0};
    struct object_sum sum = {0};
    struct ramet_head head = {0};
    struct shape shape = {.deltas = {.lsn = 0}};
    struct ramet_err err = {0};
    enum ramet_rc rc;
    int code = CLI_DONE;

    rc = cli_volume_open(args, args->operands[0], RAMET_NAMED_BY_USER, &volume,
                         &err);
    if (rc == RAMET_OK)
        rc = cli_volume_head(&volume, &head, &err);
    if (rc == RAMET_OK)
        rc = look_at_shape(&volume, &head, &shape, &err);
    if (rc == RAMET_OK && objects)
        rc = sum_objects(&volume, &sum, &err);
    if (rc == RAMET_OK && cli_stop_wanted())
        rc = RAMET_FAIL(&err, RAMET_ECANCELLED, "interrupted");
    if (rc == RAMET_OK && args->json)
        code = cli_print_json(
            info_json(&volume, &head, objects ? &sum : NULL, &shape));
    else if (rc == RAMET_OK && !args->quiet)
        print_info(&volume, &head, objects ? &sum : NULL, &shape);
    cli_volume_close(&volume);
    return rc == RAMET_OK ? code : cli_fail(args, args->operands[0], rc, &err);
}

const struct cli_verb cli_verb_info = {
    .name = "info",
    .operands = "URL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "one volume at its remote",
    .details =
        "Tells a volume's id, kind, newest commit (or that of URL@LSN or "
        "URL@TIME)\nand length.",
    .example = "  $ ramet info file:///backups/app.db@42",
    .options = info_options,
    .reports = true,
    .run = run_info,
};
