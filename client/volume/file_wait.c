/*
 * file_wait.c - see file_wait.h.
 */
#include "client/volume/file_wait.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/remote_client.h"
#include "client/store/exchange.h"
#include "client/sync/replica_sync.h"
#include "client/volume/deadline.h"
#include "client/volume/file_impl.h"
#include "client/volume/stateless.h"

#define STEP_MS 20u  /* how soon an interrupt is seen */
#define PULL_MS 200u /* between pulls where nobody tells */

/* ---- tokens --------------------------------------------------------------------- */

struct wanted {
    bool has_volume;
    struct ramet_vid volume;
    struct ramet_point at; /* a hash only with a volume */
};

static const char *
parse_number(const char *text, uint64_t *out)
{
    const char *const from = text;

    *out = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (*out > (UINT64_MAX - 9) / 10)
            return NULL;
        *out = *out * 10 + (uint64_t)(*text - '0');
    }
    assert(text >= from);
    return text > from ? text : NULL;
}

static bool
parse_wanted(const char *text, struct wanted *out)
{
    const char *const colon = strchr(text, ':');
    char id[RAMET_ID_TEXT_SIZE];

    memset(out, 0, sizeof(*out));
    if (colon != NULL) {
        if ((size_t)(colon - text) != sizeof(id) - 1)
            return false;
        memcpy(id, text, sizeof(id) - 1);
        id[sizeof(id) - 1] = '\0';
        out->has_volume = true;
        if (!ramet_id_parse(id, &out->volume.id))
            return false;
        text = colon + 1;
    }
    text = parse_number(text, &out->at.lsn);
    if (text == NULL || out->at.lsn == 0)
        return false;
    if (!out->has_volume)
        return *text == '\0';
    assert(out->has_volume && out->at.lsn > 0);
    return *text == ':' && ramet_hash_parse(text + 1, &out->at.hash);
}

static void
format_token(const struct ramet_replica_state *state,
             char out[RAMET_COMMIT_TOKEN_SIZE])
{
    const struct ramet_hash *const hash = &state->newest.lsn_hash;
    char id[RAMET_ID_TEXT_SIZE];
    size_t len;

    out[0] = '\0';
    if (state->newest.lsn == 0)
        return;
    ramet_id_format(&state->volume.id, id);
    len = (size_t)snprintf(out, RAMET_COMMIT_TOKEN_SIZE, "%s:%" PRIu64 ":", id,
                           state->newest.lsn);
    assert(len + 2 * sizeof(hash->bytes) < RAMET_COMMIT_TOKEN_SIZE);
    for (size_t i = 0; i < sizeof(hash->bytes); i++)
        (void)snprintf(out + len + 2 * i, 3, "%02x", hash->bytes[i]);
}

enum ramet_rc
ramet_file_wait_durable(struct ramet_file *file, uint64_t timeout_ms,
                        char out_token[RAMET_COMMIT_TOKEN_SIZE],
                        struct ramet_err *err)
{
    struct ramet_err last = {.code = RAMET_OK};
    struct ramet_deadline deadline;
    enum ramet_rc rc;

    assert(ramet_file_is_whole(file)); /* invariant 1 of file_impl.h */
    ramet_deadline_begin(&deadline, file, timeout_ms);
    do
        rc = ramet_file_push(file, NULL, &last);
    while (rc != RAMET_OK && ramet_deadline_may_pass(rc) &&
           ramet_deadline_wait(&deadline));
    if (rc != RAMET_OK && ramet_deadline_may_pass(rc))
        rc = ramet_deadline_in_vain(file, &deadline,
                                    "not all commits are in the remote",
                                    timeout_ms, &last, err);
    else if (rc != RAMET_OK && err != NULL)
        *err = last;
    assert(file->patience == &deadline.base);
    ramet_deadline_end(&deadline, file);
    if (rc == RAMET_OK)
        rc = ramet_session_state(file->session, &file->state, err);
    if (rc == RAMET_OK)
        format_token(&file->state, out_token);
    return rc;
}

/* ---- waiting -------------------------------------------------------------------- */

/* Where the file stands, and in which volume. */
static enum ramet_rc
look(struct ramet_file *file, struct ramet_point *out_at,
     struct ramet_vid *out_volume, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(ramet_file_is_whole(file)); /* invariant 1 of file_impl.h */
    if (file->stateless != NULL) {
        *out_at = ramet_head_point(ramet_stateless_head(file->stateless));
        *out_volume = *ramet_stateless_volume(file->stateless);
        return RAMET_OK;
    }
    rc = ramet_session_state(file->session, &file->state, err);
    if (rc != RAMET_OK)
        return rc;
    *out_at = ramet_snapshot_point(&file->state.newest);
    *out_volume = file->state.volume;
    return RAMET_OK;
}

/* Invariant (1), of a file that stands on `own` or past it. */
static enum ramet_rc
check_line(struct ramet_file *file, const struct wanted *wanted,
           const struct ramet_point *own, struct ramet_err *err)
{
    struct ramet_remote_client *const client =
        file->stateless != NULL ? ramet_stateless_client(file->stateless)
                                : ramet_replica_sync_client(file->replica_sync);
    struct ramet_history *history;
    struct ramet_head head;
    enum ramet_rc rc = RAMET_OK;

    assert(own->lsn >= wanted->at.lsn);
    assert(wanted->at.lsn > 0);
    if (!wanted->has_volume || client == NULL)
        return RAMET_OK;
    if (own->lsn == wanted->at.lsn)
        rc = ramet_hash_equal(&own->hash, &wanted->at.hash) ? RAMET_OK
                                                            : RAMET_EWENTBACK;
    else if (ramet_remote_client_history(client, &wanted->volume, &history,
                                         NULL) == RAMET_OK)
        rc = ramet_history_head_of(history, &wanted->at, &head, NULL);
    return rc == RAMET_EWENTBACK
               ? RAMET_FAIL(err, rc,
                            "%s: LSN %" PRIu64 " is not the commit that is "
                            "waited for: the remote went back in time, and "
                            "another way",
                            file->path, wanted->at.lsn)
               : RAMET_OK; /* what can't be asked just now was in its line */
}

static bool
is_told(struct ramet_file *file)
{
    struct ramet_remote_client *const client =
        ramet_replica_sync_client(file->replica_sync);
    struct ramet_vid volume;
    struct ramet_head head;

    assert(file->replica_sync != NULL);
    return client != NULL &&
           atomic_load(&file->replica_sync->background) != NULL &&
           ramet_replica_sync_volume(file->replica_sync, &volume) &&
           ramet_remote_client_told(client, &volume, &head);
}

/* Move on, if something is there to move on to; waits for news a little. */
static enum ramet_rc
advance(struct ramet_file *file, uint64_t *io_pulled_ms, struct ramet_err *err)
{
    const uint64_t now_ms = file->os->mono_ns(file->os->ctx) / 1000000u;
    const bool follows = file->replica_sync != NULL &&
                         atomic_load(&file->replica_sync->background) != NULL;
    const bool may_pull = (file->flags & RAMET_OPEN_READONLY) == 0 ||
                          (file->flags & RAMET_OPEN_PULL) != 0;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_file_is_whole(file)); /* invariant 1 of file_impl.h */
    assert(file->patience != NULL);
    if (*io_pulled_ms == 0 ||
        (now_ms - *io_pulled_ms >= PULL_MS && (!follows || !is_told(file)))) {
        *io_pulled_ms = now_ms + (now_ms == 0);
        if (file->stateless != NULL)
            return ramet_stateless_fetch(file->stateless, err);
        if (may_pull || !follows)
            rc = ramet_file_pull(file, NULL, err);
        return rc;
    }
    if (file->replica_sync != NULL)
        ramet_replica_sync_wait_moved(file->replica_sync, STEP_MS);
    else
        file->os->sleep_us(file->os->ctx, STEP_MS * 1000u);
    return RAMET_OK;
}

enum ramet_rc
ramet_file_wait(struct ramet_file *file, const char *token, uint64_t timeout_ms,
                uint64_t *out_lsn, struct ramet_err *err)
{
    struct ramet_err last = {.code = RAMET_OK};
    struct ramet_point own = {.lsn = 0};
    struct ramet_vid volume;
    struct wanted wanted;
    struct ramet_deadline deadline;
    uint64_t pulled_ms = 0;
    enum ramet_rc rc = ramet_file_check_fork(file, err);

    if (rc != RAMET_OK)
        return rc;
    if (!parse_wanted(token, &wanted))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: \"%.100s\" is neither an LSN nor a token of "
                          "ramet_wait_durable()",
                          file->path, token);
    assert(wanted.at.lsn > 0);
    ramet_deadline_begin(&deadline, file, timeout_ms);
    for (;;) {
        rc = look(file, &own, &volume, err);
        if (rc == RAMET_OK && wanted.has_volume &&
            !ramet_id_is_nil(&volume.id) &&
            ramet_id_compare(&volume.id, &wanted.volume.id) != 0)
            rc = RAMET_FAIL(err, RAMET_EINVAL,
                            "%s: the token is of another volume", file->path);
        if (rc != RAMET_OK || own.lsn >= wanted.at.lsn)
            break;
        if (ramet_deadline_is_over(&deadline)) {
            rc = ramet_deadline_in_vain(file, &deadline,
                                        "the commit is not here", timeout_ms,
                                        &last, err);
            break;
        }
        rc = advance(file, &pulled_ms, &last);
        if (rc != RAMET_OK && !ramet_deadline_may_pass(rc) &&
            rc != RAMET_ENOTFOUND) {
            if (err != NULL)
                *err = last;
            break;
        }
    }
    ramet_deadline_end(&deadline, file);
    if (rc == RAMET_OK)
        rc = check_line(file, &wanted, &own, err);
    if (rc == RAMET_OK && out_lsn != NULL)
        *out_lsn = own.lsn;
    return rc;
}
