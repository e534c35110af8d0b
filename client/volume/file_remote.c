/*
 * file_remote.c - the remote of a file that is opened: which URL counts, its
 * client, and whether it is the one that the replica belongs to.
 *
 * Layer: client, volume.
 */
#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "client/remote/config.h"
#include "client/remote/remote.h"
#include "client/remote/remote_client.h"
#include "client/remote/token.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/replica_sync.h"
#include "client/volume/env_remote.h"
#include "client/volume/file.h"
#include "client/volume/file_impl.h"
#include "client/volume/file_opening.h"
#include "core/alloc.h"

enum ramet_rc
ramet_file_open_client(const struct ramet_file_options *options,
                       const struct ramet_url *url, enum ramet_naming naming,
                       struct ramet_remote_client **out_client,
                       struct ramet_err *err)
{
    struct ramet_remote_client_options client = {
        .os = options->os,
        .timeout_ms = ramet_fetch_timeout_of(options),
    };
    struct ramet_token token = {.text = NULL};
    enum ramet_rc rc;

    assert(url != NULL);
    assert(client.timeout_ms > 0);
    if (options->sync == RAMET_SYNC_COMMIT && options->commit_timeout_ms > 0 &&
        options->commit_timeout_ms < client.timeout_ms)
        client.timeout_ms = options->commit_timeout_ms;
    rc = ramet_token_for(url, naming, options->config, &token, err);
    client.token = token.text;
    client.withheld_why = token.withheld_why;
    client.s3_configured = token.s3_configured;
    if (rc == RAMET_OK)
        rc = ramet_remote_client_open(url, &client, out_client, err);
    if (rc == RAMET_OK && options->profile != NULL)
        ramet_remote_client_want_profile(*out_client, options->profile);
    ramet_free(token.text);
    return rc;
}

enum ramet_rc
ramet_opening_find_url(struct ramet_opening *opening, struct ramet_err *err)
{
    const struct ramet_file_options *const options = opening->options;
    enum ramet_rc rc;

    assert(opening->path != NULL);
    assert(!opening->has_url);
    opening->url_is_explicit =
        options->remote != NULL && options->remote[0] != '\0';
    opening->has_url = opening->url_is_explicit;
    opening->naming = RAMET_NAMED_FOR_GOOD;
    if (opening->url_is_explicit)
        return ramet_config_remote(options->config, options->remote,
                                   &opening->url, err);
    rc = ramet_env_remote(opening->os, options->config, opening->path,
                          &opening->url, &opening->has_url, err);
    opening->url_is_explicit = opening->has_url && !options->binding_first;
    assert(!opening->url_is_explicit || opening->has_url);
    return rc;
}

/* What `state` says counts; but if somebody says the same, he named it. */
enum ramet_rc
ramet_opening_take_url_of_state(struct ramet_opening *opening,
                                struct ramet_err *err)
{
    const char *const remote = opening->file->state.remote;
    char said[RAMET_URL_MAX];

    assert(remote != NULL);
    assert(opening->file->stateless == NULL);
    if (opening->has_url) {
        ramet_url_format(&opening->url, said, sizeof(said));
        if (strcmp(said, remote) == 0)
            return RAMET_OK;
    }
    opening->naming = RAMET_NAMED_BY_REPLICA;
    opening->has_url = true;
    return ramet_url_parse(remote, &opening->url, err);
}

/* Another URL is fine if it leads to the same volume: a server's, say, for
 * what was cloned from its directory. */
static enum ramet_rc
check_other_url(const struct ramet_opening *opening,
                const struct ramet_replica_state *state,
                struct ramet_remote_client *client, struct ramet_err *err)
{
    struct ramet_vid volume;
    enum ramet_rc rc;

    assert(!ramet_id_is_nil(&state->volume.id));
    assert(client != NULL);
    if (strcmp(ramet_remote_client_text(client), state->remote) == 0)
        return RAMET_OK;
    rc = ramet_remote_client_resolve(client, &volume, err);
    if (rc == RAMET_OK && ramet_id_compare(&volume.id, &state->volume.id) == 0)
        return RAMET_OK;
    if (rc != RAMET_OK && rc != RAMET_ENOTFOUND)
        return rc;
    return RAMET_FAIL(err, RAMET_EEXIST,
                      "%s: belongs to %.200s, not to %.200s; 'ramet rebind "
                      "FILE URL' goes over to a copy of its volume, 'ramet "
                      "detach FILE' makes it a plain file",
                      opening->path, state->remote,
                      ramet_remote_client_text(client));
}

/*
 * The volume is made by the first push, which may be long in coming: what is
 * named here is noted at once, so that others who look at the replica know that
 * it is to have a remote. That it can't be noted is no reason not to open.
 */
static void
note_remote(const struct ramet_opening *opening, const char *text)
{
    static const struct ramet_vid none;
    struct ramet_file *const file = opening->file;

    assert(ramet_id_is_nil(&file->state.volume.id));
    assert(file->session != NULL);
    if ((file->flags & (RAMET_OPEN_CREATE | RAMET_OPEN_ADOPT)) == 0 ||
        (file->flags & RAMET_OPEN_READONLY) != 0 ||
        strcmp(file->state.remote, text) == 0)
        return;
    (void)!ramet_session_bind(file->session, text, &none, NULL);
}

enum ramet_rc
ramet_opening_refuse_no_database(const struct ramet_opening *opening,
                                 struct ramet_err *err)
{
    return RAMET_FAIL(
        err, RAMET_EINVAL,
        "%s is not a SQLite database, and no commit could carry it "
        "as one",
        opening->path);
}

/* What could never be pushed is not bound to a remote. */
static enum ramet_rc
check_can_be_sent(const struct ramet_opening *opening, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &opening->file->state.newest;

    assert(opening->has_url);
    return opening->file->state.kind == RAMET_KIND_SQLITE &&
                   s->page_size != 0 && s->byte_length % s->page_size != 0
               ? ramet_opening_refuse_no_database(opening, err)
               : RAMET_OK;
}

enum ramet_rc
ramet_opening_attach_remote(struct ramet_opening *opening,
                            struct ramet_err *err)
{
    struct ramet_file *const file = opening->file;
    const struct ramet_replica_state *const state = &file->state;
    const bool bound = !ramet_id_is_nil(&state->volume.id);
    const bool noted = !bound && !opening->has_url && state->remote[0] != '\0';
    struct ramet_remote_client *client = NULL;
    enum ramet_rc rc;

    assert(file->session != NULL &&
           file->replica_sync != NULL); /* invariant 1 */
    if (noted || (bound && !opening->url_is_explicit)) {
        rc = ramet_opening_take_url_of_state(opening, err);
        if (rc != RAMET_OK)
            return rc;
    }
    if (!opening->has_url)
        return RAMET_OK;
    rc = check_can_be_sent(opening, err);
    if (rc == RAMET_OK)
        rc = ramet_file_open_client(opening->options, &opening->url,
                                    opening->naming, &client, err);
    if (rc != RAMET_OK)
        return rc;
    assert(client != NULL);
    if (bound)
        rc = check_other_url(opening, state, client, err);
    if (rc == RAMET_OK)
        rc = ramet_replica_sync_attach(file->replica_sync, client,
                                       &state->volume, err);
    if (rc == RAMET_OK && (noted || (file->flags & RAMET_OPEN_CREATE) != 0))
        atomic_store(&file->replica_sync->may_create, true);
    if (rc == RAMET_OK && !bound && !noted)
        note_remote(opening, ramet_remote_client_text(client));
    ramet_remote_client_close(client);
    return rc;
}
