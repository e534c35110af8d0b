/*
 * moves.c - a replica goes over to another name of its store, leaves its remote, and
 * becomes a volume of its own.
 */
#include <stdio.h>
#include <string.h>

#include "client/remote/remote.h"
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "client/store/store.h"
#include "tests/sim/image/play.h"

#define MOVE_PERCENT 6u

/* What the replica says of itself; false: it can't be told now. */
static bool
ask(const struct sim_handle *h, struct ramet_replica_state *out)
{
    const struct ramet_replica_options options = {.os = ramet_os_system()};
    struct ramet_session *session = NULL;
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc =
        ramet_session_open(sim_env->path, &options, &session, &err);

    memset(out, 0, sizeof(*out));
    if (rc == RAMET_OK)
        rc = ramet_session_state(session, out, &err);
    ramet_session_close(session);
    sim_expect_rc(h, "state", rc, &err);
    return rc == RAMET_OK;
}

void
sim_ask(struct sim_handle *h)
{
    struct ramet_replica_state state;

    sim_env->is_asked = ask(h, &state);
    sim_env->is_there =
        sim_env->is_asked && strcmp(state.remote, sim_env->to) == 0;
    ramet_replica_state_done(&state);
}

/* With whatever it is bound to: what is in doubt only that one can resolve. */
static void
run_verb(struct sim_handle *h, enum sim_verb verb)
{
    const bool is_pushed = sim_durable_floor() != 0;
    struct ramet_err err = {.text = ""};
    uint64_t lsn = 0;
    enum ramet_rc rc;

    sim_env->url = NULL;
    h->file = sim_open(h, NULL);
    if (h->file == NULL)
        return;
    rc = sim_driver()->verb(h, verb, &lsn, &err);
    if (is_pushed || (rc != RAMET_EINVAL && rc != RAMET_ENOTFOUND))
        sim_expect_rc(h, sim_verb_name(verb), rc, &err);
    sim_driver()->close(h->file);
    h->file = NULL;
}

/* ---- rebinding ----------------------------------------------------------------- */

static enum ramet_rc
rebind(const char *url, struct ramet_err *err)
{
    struct ramet_file_options options;
    struct ramet_rebound out;

    ramet_file_options_init(&options);
    return ramet_file_rebind(sim_env->path, url, &options, &out, err);
}

/* Has that store the commit on which the replica stands? As the store's own bytes
 * have it; true as well where that can't be told. */
static bool
has_line(const char *text, const struct ramet_replica_state *state)
{
    const struct ramet_remote_options options = {.create_store = false};
    struct ramet_history *history = NULL;
    struct ramet_remote *remote = NULL;
    struct ramet_head head;
    struct ramet_url url;
    enum ramet_rc rc = ramet_url_parse(text, &url, NULL);

    if (rc == RAMET_OK)
        rc = ramet_remote_open(&url, &options, &remote, NULL);
    if (rc == RAMET_OK)
        rc = ramet_history_open(remote->store, &state->volume, NULL, &history,
                                NULL);
    if (rc == RAMET_OK)
        rc = ramet_history_head(history, state->newest.lsn, &head, NULL);
    ramet_history_close(history);
    ramet_remote_close(remote);
    return rc == RAMET_OK
               ? ramet_hash_equal(&head.hash, &state->newest.lsn_hash)
               : rc != RAMET_ENOTFOUND;
}

/* A store of the same volume that went another way, or is behind, is refused. */
static void
try_other_line(const struct sim_handle *h)
{
    struct ramet_replica_state state;
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc;

    if (ask(h, &state) && state.newest.lsn > 0 &&
        !has_line(sim_env->other_line, &state)) {
        rc = rebind(sim_env->other_line, &err);
        sim_expect_rc(h, "rebind to another line", rc, &err);
        if (rc == RAMET_OK)
            sim_fail("%s: was bound to %s, which has not its line", h->name,
                     sim_env->other_line);
        sim_count(SIM_COUNT_REFUSED);
    }
    ramet_replica_state_done(&state);
}

void
sim_rebind(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc;

    sim_begins(h, SIM_DOES_REBIND);
    run_verb(h, SIM_PUSH);
    if (sim_env->other_line != NULL)
        try_other_line(h);
    rc = rebind(sim_env->to, &err);
    if (rc != RAMET_EINVAL || sim_durable_floor() != 0)
        sim_expect_rc(h, "rebind", rc, &err);
    if (rc == RAMET_ECONFLICT && sim_restores() == 0)
        sim_fail("%s: %s", h->name, err.text);
    if (rc == RAMET_OK)
        sim_count(SIM_COUNT_REBOUND);
    sim_env->doing[h->number] = 0;
}

/* ---- leaving ------------------------------------------------------------------- */

void
sim_leave(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};
    struct ramet_detached detached;

    sim_begins(h, SIM_DOES_DETACH);
    run_verb(h, SIM_HYDRATE);
    run_verb(h, SIM_PUSH); /* or what is in doubt stays so */
    sim_expect_rc(
        h, "detach",
        ramet_replica_detach(ramet_os_system(), sim_env->path, &detached, &err),
        &err);
    sim_env->doing[h->number] = 0;
}

static uint32_t
must_read(struct sim_handle *h, const char *at)
{
    const struct sim_look look = sim_look_begin(sim_env->place);
    struct ramet_err err = {.text = ""};
    void *const file = sim_open(h, at);
    uint32_t version;

    if (file == NULL)
        sim_fail("%s: can't be opened", h->name);
    if (sim_driver()->pin(file, &err) != RAMET_OK)
        sim_fail("%s: pin: %s", h->name, err.text);
    version = sim_read(h, file, true);
    sim_driver()->unpin(file);
    if (version == SIM_NO_VERSION)
        sim_fail("%s: what is its own can't be read", h->name);
    if (at == NULL)
        sim_look_end(sim_env->place, &look, version, h->name);
    h->file = file;
    return version;
}

void
sim_bind(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};
    uint64_t lsn = 0;
    uint32_t version;
    char at[24];

    sim_env->url = sim_env->to;
    version = must_read(h, NULL);
    if (sim_driver()->verb(h, SIM_PUSH, &lsn, &err) != RAMET_OK)
        sim_fail("%s: the push of a new volume fails: %s", h->name, err.text);
    sim_driver()->close(h->file);
    snprintf(at, sizeof(at), "%llu", (unsigned long long)lsn);
    if (must_read(h, at) != version)
        sim_fail("%s: the new volume is not version %u", h->name, version);
    sim_driver()->close(h->file);
    sim_kept_version(version);
}
