/*
 * file_rebind.c - `ramet rebind`: a replica goes over to a copy of its volume.
 *
 * A copy has the volume's own commits, ids and hashes included. So what proves
 * that it is one is the commit on which the replica stands: a hash covers all
 * that was before it.
 *
 * Layer: client.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "client/remote/config.h"
#include "client/remote/remote_client.h"
#include "client/remote/token.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/volume/file.h"
#include "client/volume/file_impl.h"

struct rebinding {
    const char *path; /* for texts */
    struct ramet_session *session;
    struct ramet_replica_state state;
    struct ramet_remote_client *client; /* the copy */
    struct ramet_head newest;           /* its */
};

static enum ramet_rc
check_replica(struct rebinding *r, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_state(r->session, &r->state, err);

    assert(r->session != NULL);
    if (rc != RAMET_OK)
        return rc;
    if (r->state.newest.lsn == 0)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: nothing of it was pushed yet, so there is no "
                          "copy of it; 'ramet init FILE --remote URL' makes a "
                          "volume of it",
                          r->path);
    return ramet_session_check_resolved(r->session, &r->state, err);
}

static enum ramet_rc
open_copy(struct rebinding *r, const char *url,
          const struct ramet_file_options *options, struct ramet_err *err)
{
    struct ramet_url parsed;
    enum ramet_rc rc = ramet_config_remote(options->config, url, &parsed, err);

    assert(r->state.newest.lsn > 0);
    assert(r->client == NULL);
    if (rc == RAMET_OK && (parsed.has_lsn || parsed.has_time))
        rc = RAMET_FAIL(err, RAMET_EINVAL,
                        "%.200s: names a snapshot; leave out what follows '@'",
                        url);
    return rc == RAMET_OK
               ? ramet_file_open_client(options, &parsed, RAMET_NAMED_FOR_GOOD,
                                        &r->client, err)
               : rc;
}

static enum ramet_rc
check_line(struct rebinding *r, const struct ramet_point *point,
           struct ramet_err *err)
{
    struct ramet_history *history;
    struct ramet_head head;
    enum ramet_rc rc =
        ramet_remote_client_history(r->client, &r->state.volume, &history, err);

    assert(point->lsn > 0);
    if (rc == RAMET_OK)
        rc = ramet_history_head_of(history, point, &head, err);
    if (rc == RAMET_EWENTBACK)
        rc =
            RAMET_FAIL(err, RAMET_ECONFLICT,
                       "%.200s: its LSN %" PRIu64 " is another commit than "
                       "the one on which this replica stands: what was copied "
                       "went another way; nothing has changed, see 'ramet log'",
                       ramet_remote_client_text(r->client), point->lsn);
    return rc;
}

/* Is it a copy, and one that this replica could go on with? */
static enum ramet_rc
check_copy(struct rebinding *r, const struct ramet_point *point,
           struct ramet_err *err)
{
    const char *const text = ramet_remote_client_text(r->client);
    const uint64_t pending =
        r->state.commits_in_flight + r->state.commits_later;
    struct ramet_vid volume;
    enum ramet_rc rc = ramet_remote_client_resolve(r->client, &volume, err);

    assert(r->client != NULL);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_id_compare(&volume.id, &r->state.volume.id) != 0)
        return RAMET_FAIL(err, RAMET_ECONFLICT,
                          "%.200s: is another volume, and no copy of this "
                          "replica's; nothing has changed, see 'ramet info'",
                          text);
    rc = ramet_remote_client_newest(r->client, &volume, &r->newest, err);
    if (rc != RAMET_OK)
        return rc;
    if (r->newest.lsn < point->lsn)
        return RAMET_FAIL(err, RAMET_ECONFLICT,
                          "%.200s: is behind, at LSN %" PRIu64
                          ", and this replica stands on %" PRIu64
                          ": 'ramet copy' brings what it lacks; nothing has "
                          "changed here",
                          text, r->newest.lsn, point->lsn);
    assert(r->newest.lsn >= point->lsn);
    rc = check_line(r, point, err);
    if (rc == RAMET_OK && pending != 0 && r->newest.lsn != point->lsn)
        rc = RAMET_FAIL(err, RAMET_EDIVERGED,
                        "%.200s: is at LSN %" PRIu64
                        " already, and here are %" PRIu64
                        " commits on top of LSN %" PRIu64
                        ": one of both has to give way first ('ramet push "
                        "FILE', or 'ramet reset FILE')",
                        text, r->newest.lsn, pending, point->lsn);
    return rc;
}

static enum ramet_rc
run(struct rebinding *r, struct ramet_rebound *out, struct ramet_err *err)
{
    const struct ramet_point point = ramet_snapshot_point(&r->state.newest);
    const char *const text = ramet_remote_client_text(r->client);
    enum ramet_rc rc = check_copy(r, &point, err);

    assert(point.lsn > 0);
    assert(strlen(text) < sizeof(out->to));
    if (rc == RAMET_OK && strcmp(text, r->state.remote) != 0)
        rc = ramet_session_rebind(r->session, text, &point, err);
    if (rc != RAMET_OK)
        return rc;
    assert(r->newest.lsn >= point.lsn);
    assert(strlen(r->state.remote) < sizeof(out->from));
    *out = (struct ramet_rebound){
        .durable_lsn = point.lsn,
        .remote_lsn = r->newest.lsn,
        .local_commits = r->state.commits_in_flight + r->state.commits_later,
    };
    strcpy(out->from, r->state.remote);
    strcpy(out->to, text);
    return RAMET_OK;
}

enum ramet_rc
ramet_file_rebind(const char *path, const char *url,
                  const struct ramet_file_options *options,
                  struct ramet_rebound *out, struct ramet_err *err)
{
    const struct ramet_replica_options replica = {
        .os = options->os,
        .flags = RAMET_OPEN_EXCLUSIVE,
    };
    struct rebinding r = {.path = path};
    enum ramet_rc rc = ramet_session_open(path, &replica, &r.session, err);

    if (rc == RAMET_OK)
        rc = check_replica(&r, err);
    if (rc == RAMET_OK)
        rc = open_copy(&r, url, options, err);
    if (rc == RAMET_OK)
        rc = run(&r, out, err);
    ramet_remote_client_close(r.client);
    ramet_session_close(r.session);
    ramet_replica_state_done(&r.state);
    return rc;
}
