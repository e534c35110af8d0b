/*
 * target.c - see target.h.
 */
#include "cli/target.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "client/remote/config.h"
#include "core/alloc.h"

bool
cli_is_url(const char *operand)
{
    const char *const colon = strchr(operand, ':');
    const char *const slash = strchr(operand, '/');

    if (strstr(operand, "://") != NULL)
        return true;
    return colon != NULL && colon != operand &&
           (slash == NULL || colon < slash) && access(operand, F_OK) != 0;
}

static enum ramet_rc
open_remote(const struct cli_args *args, const char *text,
            enum ramet_naming naming, bool create_store,
            struct ramet_url *out_url, struct ramet_remote **out_remote,
            struct ramet_err *err)
{
    struct ramet_remote_options options = {.create_store = create_store};
    struct ramet_config *config = NULL;
    struct ramet_token token = {.text = NULL};
    char resolved[RAMET_URL_MAX];
    struct ramet_url url;
    enum ramet_rc rc;

    rc = ramet_config_load(args->config, &config, err);
    if (rc != RAMET_OK)
        goto done;
    rc = ramet_config_url(config, text, resolved, sizeof(resolved), err);
    if (rc != RAMET_OK)
        goto done;
    rc = ramet_url_parse(resolved, &url, err);
    if (rc != RAMET_OK)
        goto done;
    rc = ramet_token_for(&url, naming, args->config, &token, err);
    if (rc != RAMET_OK)
        goto done;
    options.token = token.text;
    options.withheld_why = token.withheld_why;
    options.s3_configured = token.s3_configured;
    rc = ramet_remote_open(&url, &options, out_remote, err);
    if (rc == RAMET_OK)
        *out_url = url;

done:
    ramet_free(token.text);
    ramet_config_free(config);
    return rc;
}

enum ramet_rc
cli_remote_open(const struct cli_args *args, const char *text,
                enum ramet_naming naming, struct ramet_url *out_url,
                struct ramet_remote **out_remote, struct ramet_err *err)
{
    return open_remote(args, text, naming, false, out_url, out_remote, err);
}

enum ramet_rc
cli_remote_make(const struct cli_args *args, const char *text,
                struct ramet_url *out_url, struct ramet_remote **out_remote,
                struct ramet_err *err)
{
    return open_remote(args, text, RAMET_NAMED_BY_USER, true, out_url,
                       out_remote, err);
}

void
cli_file_options(const struct cli_args *args,
                 struct ramet_file_options *out_options)
{
    ramet_file_options_init(out_options);
    out_options->config = args->config;
    out_options->sync = RAMET_SYNC_MANUAL;
    out_options->binding_first = true;
}

enum ramet_rc
cli_file_open(const struct cli_args *args, const char *path,
              struct ramet_file **out_file, struct ramet_err *err)
{
    struct ramet_file_options options;

    cli_file_options(args, &options);
    return ramet_file_open(path, &options, out_file, err);
}

enum ramet_rc
cli_stateless_open(const struct cli_args *args, const char *url,
                   struct ramet_file **out_file, struct ramet_err *err)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;
    enum ramet_rc rc;

    cli_file_options(args, &options);
    options.flags = RAMET_OPEN_READONLY;
    options.stateless = true;
    options.remote = url;
    rc = ramet_file_open(url, &options, &file, err);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_file_snapshot(file)->lsn == 0) {
        ramet_file_close(file);
        return RAMET_FAIL(err, RAMET_ENOTFOUND, "%s: has no commit yet", url);
    }
    *out_file = file;
    return RAMET_OK;
}

enum ramet_rc
cli_volume_open(const struct cli_args *args, const char *url,
                enum ramet_naming naming, struct cli_volume *out_volume,
                struct ramet_err *err)
{
    struct cli_volume volume = {0};
    enum ramet_rc rc;

    rc = cli_remote_open(args, url, naming, &volume.url, &volume.remote, err);
    if (rc != RAMET_OK)
        return rc;
    if (volume.url.name[0] == '\0') {
        rc = RAMET_FAIL(err, RAMET_EINVAL,
                        "names a store, not a volume in it; see 'ramet ls %s'",
                        url);
        goto done;
    }
    rc = ramet_catalog_find(volume.remote->store, volume.url.name, &volume.id,
                            err);
    if (rc != RAMET_OK)
        goto done;
    rc = ramet_history_open(volume.remote->store, &volume.id, NULL,
                            &volume.history, err);
    if (rc != RAMET_OK)
        goto done;
    *out_volume = volume;
    volume = (struct cli_volume){0};

done:
    cli_volume_close(&volume);
    return rc;
}

void
cli_volume_close(struct cli_volume *volume)
{
    if (volume->history != NULL)
        ramet_history_close(volume->history);
    ramet_remote_close(volume->remote);
    *volume = (struct cli_volume){0};
}

enum ramet_rc
cli_volume_head(struct cli_volume *volume, struct ramet_head *out_head,
                struct ramet_err *err)
{
    struct ramet_head head;
    enum ramet_rc rc;

    assert(volume->history != NULL);
    if (volume->url.has_lsn) {
        rc = ramet_history_head(volume->history, volume->url.at_lsn, out_head,
                                err);
        return rc == RAMET_ENOTFOUND
                   ? RAMET_FAIL(err, rc, "there is no LSN %" PRIu64,
                                volume->url.at_lsn)
                   : rc;
    }
    if (volume->url.has_time)
        return ramet_history_at_time(volume->history, volume->url.at_time_ms,
                                     out_head, err);
    rc = ramet_history_newest(volume->history, &head, err);
    if (rc != RAMET_OK)
        return rc;
    *out_head = head;
    return RAMET_OK;
}
