/*
 * pages.c - a handle that reads and writes pages, as a program that embeds the
 * library does.
 */
#include <string.h>

#include "client/store/exchange.h"
#include "tests/sim/image/play.h"

/* How often a commit that is durable, and shows to nobody, is the moment of a
 * fate. */
#define PUBLISH_PERCENT 6u

static enum ramet_rc
pages_open(struct sim_handle *h, const char *at, void **out_file,
           struct ramet_err *err)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;
    enum ramet_rc rc;

    (void)h;
    ramet_file_options_init(&options);
    options.flags = RAMET_OPEN_CREATE | RAMET_OPEN_ADOPT;
    options.remote = sim_env->url;
    options.kind = at == NULL ? sim_env->kind : 0;
    options.page_size = sim_page_size();
    options.sync = at == NULL ? sim_env->sync : RAMET_SYNC_MANUAL;
    if (at != NULL && strcmp(at, SIM_NEWEST) == 0)
        options.stateless = true;
    else
        options.at = at;
    options.hydrate_auto = sim_env->hydrates_auto && at == NULL;
    options.profile = sim_env->profile;
    options.cache_limit_bytes = sim_env->cache_limit;
    options.fetch_timeout_ms = 2000;
    options.commit_timeout_ms = 2000;
    rc = ramet_file_open(sim_env->path, &options, &file, err);
    *out_file = file;
    return rc;
}

static void
pages_close(void *file)
{
    ramet_file_close(file);
}

static enum ramet_rc
pages_pin(void *file, struct ramet_err *err)
{
    return ramet_file_pin(file, err);
}

static void
pages_unpin(void *file)
{
    ramet_file_release(file);
    ramet_file_unpin(file);
}

/* ---- reading ------------------------------------------------------------------ */

static enum ramet_rc
read_bytes(struct sim_handle *h, struct ramet_file *file, size_t len,
           struct ramet_err *err)
{
    size_t got = 0;
    const enum ramet_rc rc = ramet_file_read(file, 0, h->bytes, len, &got, err);

    if (rc == RAMET_OK && got != len)
        sim_fail("%s: reads %zu of %zu bytes", h->name, got, len);
    return rc;
}

static enum ramet_rc
pages_read(struct sim_handle *h, void *file, bool all, uint32_t *out_version,
           struct ramet_err *err)
{
    const uint32_t page_size = sim_page_size();
    const uint64_t size = ramet_file_size(file);
    const uint32_t pages = (uint32_t)(size / page_size);
    enum ramet_rc rc;

    *out_version = 0;
    if (size == 0)
        return RAMET_OK;
    if (size % page_size != 0 || size > SIM_FILE_MAX)
        sim_fail("%s: the file has %llu bytes", h->name,
                 (unsigned long long)size);
    rc = read_bytes(h, file, page_size, err);
    if (rc != RAMET_OK)
        return rc;
    *out_version = sim_page1_version(h->bytes, h->name);
    if (sim_version_pages(*out_version) != pages)
        sim_fail("%s: version %u has %u pages, not %u", h->name, *out_version,
                 pages, sim_version_pages(*out_version));
    if (all)
        rc = read_bytes(h, file, (size_t)size, err);
    for (uint32_t pgno = 1; rc == RAMET_OK && pgno <= (all ? pages : 1); pgno++)
        sim_page_check(*out_version, pgno,
                       h->bytes + (size_t)(pgno - 1) * page_size, h->name);
    return rc;
}

/* ---- writing ------------------------------------------------------------------ */

static enum ramet_rc
pages_reserve(void *file, struct ramet_err *err)
{
    return ramet_file_reserve(file, err);
}

static enum ramet_rc
pages_write(struct sim_handle *h, uint32_t version, uint32_t pgno,
            struct ramet_err *err)
{
    const uint32_t page_size = sim_page_size();

    sim_page_fill(version, pgno, h->bytes);
    return ramet_file_write(h->file, (uint64_t)(pgno - 1) * page_size, h->bytes,
                            page_size, err);
}

static enum ramet_rc
pages_resize(struct sim_handle *h, uint32_t page_count, struct ramet_err *err)
{
    return ramet_file_truncate(h->file, (uint64_t)page_count * sim_page_size(),
                               err);
}

static enum ramet_rc
pages_commit(struct sim_handle *h, uint32_t version, bool syncs,
             struct ramet_err *err)
{
    enum ramet_rc rc;

    sim_version_is(version, sim_env->sync == RAMET_SYNC_COMMIT ? SIM_SENDING
                                                               : SIM_PREPARED);
    rc = ramet_file_prepare(h->file, NULL, err);
    if (rc == RAMET_OK && syncs)
        rc = ramet_file_sync_local(h->file, err);
    if (rc != RAMET_OK) {
        ramet_file_discard(h->file);
        return rc;
    }
    sim_version_is(version, SIM_COMMITTED);
    sim_moment(PUBLISH_PERCENT);
    ramet_file_publish(h->file);
    return RAMET_OK;
}

static enum ramet_rc
pages_reconsider(struct sim_handle *h, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_file_prepare(h->file, NULL, err);

    if (rc == RAMET_OK)
        rc = ramet_file_sync_local(h->file, err);
    ramet_file_discard(h->file);
    return rc;
}

static void
pages_rollback(void *file)
{
    ramet_file_discard(file);
}

/* ---- verbs -------------------------------------------------------------------- */

static enum ramet_rc
pages_verb(struct sim_handle *h, enum sim_verb verb, uint64_t *out_lsn,
           struct ramet_err *err)
{
    struct ramet_session *const session = ramet_file_session(h->file);
    struct ramet_sync_result result = {.durable_lsn = 0};
    enum ramet_rc rc = RAMET_EINVAL;
    uint64_t checked = 0;

    switch (verb) {
    case SIM_PUSH:
        rc = ramet_file_push(h->file, &result, err);
        break;
    case SIM_PULL:
        rc = ramet_file_pull(h->file, &result, err);
        break;
    case SIM_FETCH:
        rc = ramet_file_fetch(h->file, &result, err);
        break;
    case SIM_SYNC:
        rc = ramet_file_sync(h->file, &result, err);
        break;
    case SIM_HYDRATE:
        rc = ramet_file_hydrate(h->file, &result, err);
        break;
    case SIM_RESET:
    case SIM_DISCARD:
        rc = ramet_file_reset(h->file, verb == SIM_DISCARD, NULL, 0, &result,
                              err);
        break;
    case SIM_CHECKPOINT:
        rc = ramet_session_checkpoint(session, sim_chance(&h->rng, 60), err);
        break;
    case SIM_EVICT:
        rc = ramet_session_evict(session,
                                 sim_below(&h->rng, 8) * sim_page_size(), err);
        break;
    case SIM_VERIFY:
        return ramet_session_verify(session, &checked, out_lsn, err);
    }
    *out_lsn = verb == SIM_FETCH ? result.remote_lsn : result.durable_lsn;
    return rc;
}

/* There is nothing of the process's to begin or end. */
static void
pages_nothing(void)
{
}

const struct sim_driver sim_pages_driver = {
    .begin = pages_nothing,
    .open = pages_open,
    .close = pages_close,
    .pin = pages_pin,
    .unpin = pages_unpin,
    .read = pages_read,
    .reserve = pages_reserve,
    .write = pages_write,
    .resize = pages_resize,
    .commit = pages_commit,
    .rollback = pages_rollback,
    .reconsider = pages_reconsider,
    .verb = pages_verb,
    .end = pages_nothing,
};
