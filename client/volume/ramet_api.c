/*
 * ramet_api.c - the public interface (ramet.h) on top of file.h.
 *
 *   (1) `in_transaction` is true between begin and the end of a transaction;
 *       the file is pinned then, and reserved if `writing`
 *
 * Layer: client.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ramet.h"
#include "client/store/store.h"
#include "client/sync/progress.h"
#include "client/volume/file.h"
#include "client/volume/file_impl.h"
#include "client/volume/file_wait.h"
#include "core/alloc.h"

struct ramet_volume {
    struct ramet_file *file;
    bool in_transaction;
    bool writing;
};

static_assert(RAMET_ERROR_CORRUPT == (int)RAMET_ECORRUPT &&
                  RAMET_ERROR_INVALID == (int)RAMET_EINVAL &&
                  RAMET_ERROR_NOT_FOUND == (int)RAMET_ENOTFOUND &&
                  RAMET_ERROR_EXISTS == (int)RAMET_EEXIST &&
                  RAMET_ERROR_BUSY == (int)RAMET_EBUSY &&
                  RAMET_ERROR_SNAPSHOT == (int)RAMET_ESNAPSHOT &&
                  RAMET_ERROR_CONFLICT == (int)RAMET_ECONFLICT &&
                  RAMET_ERROR_DIVERGED == (int)RAMET_EDIVERGED &&
                  RAMET_ERROR_AUTH == (int)RAMET_EAUTH &&
                  RAMET_ERROR_UNREACHABLE == (int)RAMET_EUNREACHABLE &&
                  RAMET_ERROR_TIMEOUT == (int)RAMET_ETIMEOUT &&
                  RAMET_ERROR_FULL == (int)RAMET_EFULL &&
                  RAMET_ERROR_READONLY == (int)RAMET_EREADONLY,
              "the public codes are the internal ones");
static_assert(sizeof(((ramet_error *)0)->text) == RAMET_ERR_TEXT_MAX,
              "an error's text fits");

/* The internal error as the caller's. */
static int
give(enum ramet_rc rc, const struct ramet_err *err, ramet_error *out)
{
    assert(rc == RAMET_OK || err != NULL);
    if (out != NULL && rc != RAMET_OK) {
        out->code = rc;
        out->system_errno = err->sys_errno;
        snprintf(out->text, sizeof(out->text), "%s",
                 err->text[0] != '\0' ? err->text : ramet_rc_name(rc));
    }
    return rc;
}

static int
refuse(const char *why, ramet_error *out)
{
    struct ramet_err err = {.code = RAMET_OK};

    return give(RAMET_FAIL(&err, RAMET_EINVAL, "%s", why), &err, out);
}

const char *
ramet_version(void)
{
    return RAMET_VERSION_STRING;
}

static bool
parse_sync(const char *text, enum ramet_sync_mode *out)
{
    if (text == NULL)
        *out = RAMET_SYNC_DEFAULT;
    else if (strcmp(text, "auto") == 0)
        *out = RAMET_SYNC_AUTO;
    else if (strcmp(text, "manual") == 0)
        *out = RAMET_SYNC_MANUAL;
    else if (strcmp(text, "commit") == 0)
        *out = RAMET_SYNC_COMMIT;
    else
        return false;
    return true;
}

/* What the caller was compiled with; fields that it does not know are 0. */
static bool
copy_options(const ramet_options *options, ramet_options *out)
{
    memset(out, 0, sizeof(*out));
    if (options == NULL) {
        out->create = 1;
        return true;
    }
    if (options->size < offsetof(ramet_options, remote) + sizeof(char *) ||
        options->size > sizeof(*out))
        return false;
    memcpy(out, options, options->size);
    return true;
}

static void
fill_options(const ramet_options *options, struct ramet_file_options *out)
{
    ramet_file_options_init(out);
    out->flags = RAMET_OPEN_ADOPT;
    if (options->create)
        out->flags |= RAMET_OPEN_CREATE;
    if (options->readonly)
        out->flags |= RAMET_OPEN_READONLY;
    if (options->allow_pull)
        out->flags |= RAMET_OPEN_PULL;
    out->page_size = options->page_size;
    out->remote = options->remote;
    out->at = options->at;
    out->stateless = options->stateless != 0;
    out->cache_limit_bytes = options->cache_limit_bytes;
    out->fetch_timeout_ms = options->fetch_timeout_ms;
    out->commit_timeout_ms = options->commit_timeout_ms;
    out->push_interval_ms = options->push_interval_ms;
    out->bounds_age = options->max_stale_ms > 0;
    out->max_stale_ms = options->max_stale_ms;
    out->profile =
        options->profile != NULL ? options->profile : getenv("RAMET_PROFILE");
    if (out->profile != NULL && out->profile[0] == '\0')
        out->profile = NULL;
    if (options->close_wait_ms > 0)
        out->close_wait_ms = options->close_wait_ms;
}

int
ramet_open(const char *path, const ramet_options *options,
           ramet_volume **out_volume, ramet_error *error)
{
    struct ramet_file_options file_options;
    struct ramet_err err = {.code = RAMET_OK};
    ramet_options mine;
    ramet_volume *volume;
    enum ramet_rc rc;

    if (path == NULL || out_volume == NULL)
        return refuse("ramet_open: a path and a place for the handle", error);
    if (!copy_options(options, &mine))
        return refuse("ramet_open: options.size must be sizeof(ramet_options)",
                      error);
    fill_options(&mine, &file_options);
    if (!parse_sync(mine.sync, &file_options.sync))
        return refuse("ramet_open: sync is \"auto\", \"manual\" or \"commit\"",
                      error);
    /* A file that is there tells its kind itself. */
    file_options.kind_of_new = RAMET_KIND_BLOB;
    volume = ramet_calloc(1, sizeof(*volume));
    if (volume == NULL)
        return give(RAMET_FAIL(&err, RAMET_ENOMEM, "%s: no memory", path), &err,
                    error);
    rc = ramet_file_open(path, &file_options, &volume->file, &err);
    if (rc != RAMET_OK) {
        ramet_free(volume);
        return give(rc, &err, error);
    }
    assert(volume->file != NULL);
    assert(!volume->in_transaction && !volume->writing); /* invariant 1 */
    *out_volume = volume;
    return RAMET_SUCCESS;
}

void
ramet_close(ramet_volume *volume)
{
    if (volume == NULL)
        return;
    ramet_rollback(volume);
    assert(!volume->in_transaction && !volume->writing); /* invariant 1 */
    ramet_file_close(volume->file);
    ramet_free(volume);
}

int
ramet_begin(ramet_volume *volume, int mode, ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};
    enum ramet_rc rc;

    if (volume->in_transaction)
        return refuse("ramet_begin: a transaction is open", error);
    assert(!volume->writing); /* invariant 1 */
    if (mode != RAMET_READ && mode != RAMET_WRITE)
        return refuse("ramet_begin: mode is RAMET_READ or RAMET_WRITE", error);
    rc = ramet_file_pin(volume->file, &err);
    if (rc != RAMET_OK)
        return give(rc, &err, error);
    if (mode == RAMET_WRITE) {
        rc = ramet_file_reserve(volume->file, &err);
        if (rc != RAMET_OK) {
            ramet_file_unpin(volume->file);
            return give(rc, &err, error);
        }
    }
    assert(mode == RAMET_READ || !ramet_file_is_readonly(volume->file));
    volume->in_transaction = true;
    volume->writing = mode == RAMET_WRITE;
    return RAMET_SUCCESS;
}

static void
end_transaction(ramet_volume *volume)
{
    assert(volume->in_transaction); /* invariant 1 */
    if (volume->writing)
        ramet_file_release(volume->file);
    ramet_file_unpin(volume->file);
    volume->in_transaction = false;
    volume->writing = false;
}

int
ramet_commit(ramet_volume *volume, ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};
    enum ramet_rc rc = RAMET_OK;

    if (!volume->in_transaction)
        return refuse("ramet_commit: no transaction is open", error);
    if (volume->writing) {
        rc = ramet_file_prepare(volume->file, NULL, &err);
        if (rc == RAMET_OK)
            rc = ramet_file_sync_local(volume->file, &err);
        if (rc == RAMET_OK)
            ramet_file_publish(volume->file);
        else
            ramet_file_discard(volume->file);
    }
    assert(volume->in_transaction); /* invariant 1 */
    end_transaction(volume);
    return give(rc, &err, error);
}

void
ramet_rollback(ramet_volume *volume)
{
    if (volume == NULL || !volume->in_transaction)
        return;
    if (volume->writing)
        ramet_file_discard(volume->file);
    end_transaction(volume);
}

/* Outside a transaction every read is one of its own. */
static enum ramet_rc
pin_for_read(ramet_volume *volume, struct ramet_err *err)
{
    assert(volume->in_transaction || !volume->writing); /* invariant 1 */
    return volume->in_transaction ? RAMET_OK
                                  : ramet_file_pin(volume->file, err);
}

static void
unpin_after_read(ramet_volume *volume)
{
    assert(volume->in_transaction || !volume->writing); /* invariant 1 */
    if (!volume->in_transaction)
        ramet_file_unpin(volume->file);
}

int64_t
ramet_read(ramet_volume *volume, uint64_t offset, void *buf, size_t len,
           ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};
    size_t got = 0;
    enum ramet_rc rc;

    if (len > INT64_MAX)
        return refuse("ramet_read: the length is out of range", error);
    rc = pin_for_read(volume, &err);
    if (rc != RAMET_OK)
        return give(rc, &err, error);
    rc = ramet_file_read(volume->file, offset, buf, len, &got, &err);
    assert(rc != RAMET_OK || got <= len);
    unpin_after_read(volume);
    return rc == RAMET_OK ? (int64_t)got : give(rc, &err, error);
}

int
ramet_write(ramet_volume *volume, uint64_t offset, const void *buf, size_t len,
            ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};

    if (!volume->writing)
        return refuse("ramet_write: begin with RAMET_WRITE first", error);
    assert(volume->in_transaction); /* invariant 1 */
    return give(ramet_file_write(volume->file, offset, buf, len, &err), &err,
                error);
}

int
ramet_truncate(ramet_volume *volume, uint64_t byte_length, ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};

    if (!volume->writing)
        return refuse("ramet_truncate: begin with RAMET_WRITE first", error);
    assert(volume->in_transaction); /* invariant 1 */
    return give(ramet_file_truncate(volume->file, byte_length, &err), &err,
                error);
}

int64_t
ramet_length(ramet_volume *volume, ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};
    const enum ramet_rc rc = pin_for_read(volume, &err);
    int64_t length;

    if (rc != RAMET_OK)
        return give(rc, &err, error);
    length = (int64_t)ramet_file_size(volume->file);
    unpin_after_read(volume);
    return length;
}

/* ---- sync ----------------------------------------------------------------- */

typedef enum ramet_rc
file_verb(struct ramet_file *file, struct ramet_sync_result *out,
          struct ramet_err *err);

static int
run(ramet_volume *volume, file_verb *verb, struct ramet_sync_result *out,
    ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};

    if (volume->in_transaction)
        return refuse("end the transaction first", error);
    assert(!volume->writing); /* invariant 1 */
    return give(verb(volume->file, out, &err), &err, error);
}

int
ramet_wait_durable(ramet_volume *volume, uint32_t timeout_ms,
                   char out_token[RAMET_TOKEN_SIZE], ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};

    if (volume->in_transaction)
        return refuse("end the transaction first", error);
    assert(!volume->writing); /* invariant 1 */
    return give(
        ramet_file_wait_durable(volume->file, timeout_ms, out_token, &err),
        &err, error);
}

int
ramet_wait(ramet_volume *volume, const char *token, uint32_t timeout_ms,
           uint64_t *out_lsn, ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};

    if (volume->in_transaction)
        return refuse("end the transaction first", error);
    assert(!volume->writing); /* invariant 1 */
    return give(ramet_file_wait(volume->file, token, timeout_ms, out_lsn, &err),
                &err, error);
}

int
ramet_push(ramet_volume *volume, uint64_t *out_lsn, ramet_error *error)
{
    struct ramet_sync_result result;
    const int rc = run(volume, ramet_file_push, &result, error);

    if (rc == RAMET_SUCCESS && out_lsn != NULL)
        *out_lsn = result.durable_lsn;
    return rc;
}

int
ramet_pull(ramet_volume *volume, uint64_t *out_lsn, ramet_error *error)
{
    struct ramet_sync_result result;
    const int rc = run(volume, ramet_file_pull, &result, error);

    if (rc == RAMET_SUCCESS && out_lsn != NULL)
        *out_lsn = result.durable_lsn;
    return rc;
}

int
ramet_fetch(ramet_volume *volume, uint64_t *out_remote_lsn, ramet_error *error)
{
    struct ramet_sync_result result;
    const int rc = run(volume, ramet_file_fetch, &result, error);

    if (rc == RAMET_SUCCESS && out_remote_lsn != NULL)
        *out_remote_lsn = result.remote_lsn;
    return rc;
}

int
ramet_hydrate(ramet_volume *volume, uint64_t *out_pages, ramet_error *error)
{
    struct ramet_sync_result result;
    const int rc = run(volume, ramet_file_hydrate, &result, error);

    if (rc == RAMET_SUCCESS && out_pages != NULL)
        *out_pages = result.pages;
    return rc;
}

int
ramet_reset(ramet_volume *volume, int discard, ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};

    if (volume->in_transaction)
        return refuse("ramet_reset: end the transaction first", error);
    assert(!volume->writing); /* invariant 1 */
    return give(
        ramet_file_reset(volume->file, discard != 0, NULL, 0, NULL, &err), &err,
        error);
}

int
ramet_stat(ramet_volume *volume, ramet_info *out_info, ramet_error *error)
{
    struct ramet_err err = {.code = RAMET_OK};
    struct ramet_file_status *const status = ramet_alloc(sizeof(*status));
    enum ramet_rc rc;

    if (status == NULL)
        return give(RAMET_FAIL(&err, RAMET_ENOMEM, "no memory"), &err, error);
    rc = ramet_file_status(volume->file, status, &err);
    if (rc == RAMET_OK) {
        const int64_t length = ramet_length(volume, error);

        rc = length < 0 ? (enum ramet_rc)length : RAMET_OK;
        *out_info = (ramet_info){
            .lsn = status->durable_lsn,
            .remote_lsn = status->remote_lsn,
            .local_commits = status->local_commits,
            .byte_length = length < 0 ? 0 : (uint64_t)length,
            .page_size = status->page_size,
            .pages = status->pages,
            .cached_pages = status->cached_pages,
            .dirty_pages = status->dirty_pages,
            .state = ramet_sync_state_name(status->state),
        };
    } else {
        give(rc, &err, error);
    }
    ramet_free(status);
    return rc;
}
