/*
 * warm.c - see warm.h.
 *
 * What a process has begun to record is on a list of its own until it ends, so that
 * a program that opens and closes a connection for each request has one profile and
 * not as many. A child of fork() finds none of it.
 *
 * Locks: the process lock < none; a recording's mutex < none. Neither is held while
 * the remote is asked.
 */
#include "client/remote/warm.h"

#include <assert.h>
#include <string.h>

#include "client/remote/process.h"
#include "client/remote/touched.h"
#include "core/alloc.h"
#include "core/log.h"
#include "core/os.h"
#include "core/thread.h"
#include "metastore/profile.h"

#define RECORDINGS_MAX 64u /* of a process; past that nothing is recorded */

/* Ending: no user any more, what there is now is kept. */
enum recorder { IDLE, RUNNING, ENDING };

struct ramet_warm {
    struct ramet_warm *next; /* under the process lock, as users */
    unsigned fork_count;
    unsigned users;
    struct ramet_vid volume;
    char name[RAMET_NAME_MAX + 1];
    uint64_t until_ms; /* invariant (1) */
    struct ramet_touched touched;
    struct ramet_mutex mutex; /* guards what follows */
    struct ramet_cond ending;
    bool was_read; /* `profile` is what the remote had */
    struct ramet_profile profile;
    bool brought; /* something for it: the process was cold */
    /* The recorder's; set while it is idle, which the mutex guards. */
    enum recorder recorder;
    struct ramet_remote_client *client;
    struct ramet_pipeline *pipeline;
    struct ramet_thread thread;
};

static struct ramet_warm *recordings; /* under the process lock */

static uint64_t
now_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

static struct ramet_warm *
new_recording(const struct ramet_vid *volume, const char *name)
{
    struct ramet_warm *const warm = ramet_calloc(1, sizeof(*warm));

    assert(strlen(name) <= RAMET_NAME_MAX);
    if (warm == NULL)
        return NULL;
    warm->fork_count = ramet_os_fork_count();
    warm->volume = *volume;
    memcpy(warm->name, name, strlen(name) + 1);
    warm->until_ms = now_ms() + RAMET_WARM_MS;
    ramet_touched_init(&warm->touched);
    ramet_mutex_init(&warm->mutex);
    ramet_cond_init(&warm->ending);
    ramet_profile_init(&warm->profile);
    return warm;
}

static void
free_recording(struct ramet_warm *warm)
{
    if (warm == NULL)
        return;
    assert(warm->recorder == IDLE && warm->client == NULL);
    ramet_touched_done(&warm->touched);
    ramet_profile_done(&warm->profile);
    ramet_cond_done(&warm->ending);
    ramet_mutex_done(&warm->mutex);
    ramet_free(warm);
}

/* The recording of that volume and name, with one more user. NULL: there are too
 * many. */
static struct ramet_warm *
join(const struct ramet_vid *volume, const char *name)
{
    struct ramet_warm *const fresh = new_recording(volume, name);
    const unsigned fork_count = ramet_os_fork_count();
    struct ramet_warm *found;
    unsigned count = 0;

    if (fresh == NULL)
        return NULL;
    ramet_process_lock();
    for (found = recordings; found != NULL; found = found->next) {
        if (found->fork_count == fork_count && strcmp(found->name, name) == 0 &&
            ramet_id_compare(&found->volume.id, &volume->id) == 0)
            break;
        count++;
    }
    if (found == NULL && count < RECORDINGS_MAX) {
        found = fresh;
        found->next = recordings;
        recordings = found;
    }
    if (found != NULL)
        found->users++;
    ramet_process_unlock();
    if (found != fresh)
        free_recording(fresh);
    return found;
}

/* ---- what is kept ---------------------------------------------------------------- */

/* The profile with what was touched, if that is something new: invariant (2). */
static bool
turn(struct ramet_warm *warm, struct ramet_profile *out)
{
    struct ramet_profile *const before = &warm->profile;
    struct ramet_touched *const touched = &warm->touched;
    const struct ramet_os *const os = ramet_os_system();
    bool is_new = false;

    ramet_mutex_lock(&warm->mutex);
    ramet_mutex_lock(&touched->mutex);
    if (before->page_size != touched->page_size) {
        ramet_pageset_clear(&before->recent); /* its numbers mean others */
        ramet_pageset_clear(&before->older);
    }
    before->page_size = touched->page_size;
    if (touched->count > 0 && (touched->missed || warm->brought) &&
        ramet_profile_differs(before, &touched->pages)) {
        *out = (struct ramet_profile){.seq = before->seq,
                                      .lsn = touched->lsn,
                                      .time_ms = os->wall_ms(os->ctx),
                                      .page_size = touched->page_size};
        is_new =
            ramet_pageset_copy(&out->recent, &before->recent) == RAMET_OK &&
            ramet_profile_turn(out, &touched->pages) == RAMET_OK;
    }
    ramet_mutex_unlock(&touched->mutex);
    ramet_mutex_unlock(&warm->mutex);
    return is_new;
}

static void
keep(struct ramet_warm *warm)
{
    struct ramet_profile fresh;
    struct ramet_err err = {.code = RAMET_OK};
    bool probes;
    enum ramet_rc rc;

    assert(warm->client != NULL);
    ramet_profile_init(&fresh);
    if (!turn(warm, &fresh)) {
        ramet_profile_done(&fresh);
        return;
    }
    rc = ramet_meter_check(ramet_remote_client_meter(warm->client), &probes,
                           &err);
    if (rc == RAMET_OK)
        rc = ramet_profile_write(ramet_remote_client_store(warm->client),
                                 &warm->volume, warm->name, &fresh, &err);
    if (rc != RAMET_OK && rc != RAMET_EEXIST)
        ramet_log(RAMET_LOG_DEBUG, "a warm profile was not kept", "name",
                  warm->name, "why", err.text, NULL);
    ramet_mutex_lock(&warm->mutex);
    if (rc == RAMET_OK) { /* the next difference is one from this */
        const struct ramet_profile before = warm->profile;

        warm->profile = fresh;
        fresh = before;
    }
    ramet_mutex_unlock(&warm->mutex);
    ramet_profile_done(&fresh);
}

/* Until the time is up, or nobody is left. */
static void *
record(void *arg)
{
    struct ramet_warm *const warm = arg;
    uint64_t now = now_ms();

    assert(warm->client != NULL && warm->pipeline != NULL);
    ramet_mutex_lock(&warm->mutex);
    while (warm->recorder != ENDING && now < warm->until_ms) {
        (void)ramet_cond_wait_ms(&warm->ending, &warm->mutex,
                                 warm->until_ms - now);
        now = now_ms();
    }
    ramet_mutex_unlock(&warm->mutex);
    ramet_pipeline_touches(warm->pipeline, &warm->touched, false);
    keep(warm);
    return NULL;
}

/* ---- begin and end ----------------------------------------------------------------- */

/* Once a process: the remote's profile. */
static void
read_profile(struct ramet_warm *warm, struct ramet_remote_client *client)
{
    struct ramet_profile found;
    struct ramet_err err = {.code = RAMET_OK};
    bool was_read;
    enum ramet_rc rc;

    ramet_mutex_lock(&warm->mutex);
    was_read = warm->was_read;
    warm->was_read = true;
    ramet_mutex_unlock(&warm->mutex);
    if (was_read)
        return;
    ramet_profile_init(&found);
    rc = ramet_remote_client_profile(client, &warm->volume, warm->name, &found,
                                     &err);
    if (rc != RAMET_OK)
        ramet_log(RAMET_LOG_DEBUG, "a warm profile can't be read", "name",
                  warm->name, "why", err.text, NULL);
    ramet_mutex_lock(&warm->mutex);
    warm->profile = found;
    ramet_mutex_unlock(&warm->mutex);
}

/* All of the profile's pages that the commit has and that are not here. */
static void
bring(struct ramet_warm *warm, struct ramet_pipeline *pipeline,
      const struct ramet_head *head)
{
    struct ramet_pageset pages;
    bool brings = false;

    assert(head->page_size != 0);
    ramet_pageset_init(&pages);
    ramet_mutex_lock(&warm->mutex);
    if (warm->profile.page_size == head->page_size &&
        ramet_pageset_copy(&pages, &warm->profile.recent) == RAMET_OK &&
        ramet_pageset_add_set(&pages, &warm->profile.older) == RAMET_OK)
        ramet_pageset_truncate(&pages, head->page_count);
    ramet_mutex_unlock(&warm->mutex);
    if (pages.run_count > 0)
        brings = ramet_pipeline_bring_ahead(pipeline, head, &pages, 0) > 0;
    ramet_pageset_done(&pages);
    ramet_mutex_lock(&warm->mutex);
    warm->brought = warm->brought || brings;
    ramet_mutex_unlock(&warm->mutex);
}

static bool
take_recorder(struct ramet_warm *warm, enum recorder from, enum recorder to)
{
    bool taken;

    assert(from != to);
    ramet_mutex_lock(&warm->mutex);
    taken = warm->recorder == from;
    if (taken)
        warm->recorder = to;
    ramet_cond_broadcast(&warm->ending);
    ramet_mutex_unlock(&warm->mutex);
    return taken;
}

/* The recorder has a reference of its own, and with it the pipeline. */
static void
give_back(struct ramet_warm *warm)
{
    assert(warm->client != NULL);
    ramet_remote_client_close(warm->client);
    warm->client = NULL;
    (void)take_recorder(warm, ENDING, IDLE);
}

static void
begin_recording(struct ramet_warm *warm, struct ramet_remote_client *client,
                struct ramet_pipeline *pipeline)
{
    if (now_ms() >= warm->until_ms || !take_recorder(warm, IDLE, RUNNING))
        return;
    assert(warm->client == NULL);
    warm->client = ramet_remote_client_ref(client);
    warm->pipeline = pipeline;
    if (ramet_pipeline_touches(pipeline, &warm->touched, true) &&
        ramet_thread_start(&warm->thread, "ramet-warm", record, warm, NULL) ==
            RAMET_OK)
        return;
    ramet_pipeline_touches(pipeline, &warm->touched, false);
    if (take_recorder(warm, RUNNING, ENDING))
        give_back(warm);
}

struct ramet_warm *
ramet_warm_begin(struct ramet_remote_client *client,
                 struct ramet_pipeline *pipeline,
                 const struct ramet_vid *volume, const struct ramet_head *head,
                 const char *name, bool may_keep)
{
    struct ramet_warm *const warm = join(volume, name);

    assert(ramet_name_valid(name));
    if (warm == NULL)
        return NULL;
    read_profile(warm, client);
    bring(warm, pipeline, head);
    if (may_keep)
        begin_recording(warm, client, pipeline);
    return warm;
}

void
ramet_warm_end(struct ramet_warm *warm)
{
    bool is_last;

    if (warm == NULL || warm->fork_count != ramet_os_fork_count())
        return;
    ramet_process_lock();
    assert(warm->users > 0);
    is_last = --warm->users == 0;
    ramet_process_unlock();
    if (!is_last || !take_recorder(warm, RUNNING, ENDING))
        return;
    ramet_thread_join(&warm->thread);
    give_back(warm);
}

/* ---- a question ------------------------------------------------------------------- */

struct asked {
    struct ramet_pipeline *pipeline;
    const struct ramet_head *head;
    uint64_t pages; /* that were named */
    size_t brought; /* of them, that were not here */
};

static enum ramet_rc
bring_asked(void *ctx, struct ramet_pageset *pages, struct ramet_err *err)
{
    struct asked *const asked = ctx;

    (void)err;
    ramet_pageset_truncate(pages, asked->head->page_count);
    asked->pages += ramet_pageset_count(pages);
    asked->brought += ramet_pipeline_bring_ahead(asked->pipeline, asked->head,
                                                 pages, asked->brought);
    return RAMET_OK;
}

enum ramet_rc
ramet_warm_ask(struct ramet_remote_client *client,
               struct ramet_pipeline *pipeline, const struct ramet_vid *volume,
               const struct ramet_head *head,
               const struct ramet_question *question, uint64_t *out_pages,
               struct ramet_err *err)
{
    const struct ramet_point at = ramet_head_point(head);
    struct asked asked = {.pipeline = pipeline, .head = head};
    enum ramet_rc rc;

    assert(question != NULL && at.lsn > 0);
    rc = ramet_remote_client_ask(client, volume, &at, question, bring_asked,
                                 &asked, err);
    *out_pages = asked.pages;
    return rc;
}
