/*
 * store_scenarios.c - what is cut off by test_crash.c.
 */
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/client/store/store_crash.h"

#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- set-ups --------------------------------------------------------------- */

static void
open_empty(struct crash_world *w)
{
    CRASH_OK(w, crash_open(w, RAMET_OPEN_CREATE, &w->session, e));
}

static void
some_commits(struct crash_world *w)
{
    open_empty(w);
    for (int i = 0; i < 4; i++)
        CRASH_OK(w, crash_commit(w, 6, true, e));
}

/* Held pages in the base, and a log on top of it. */
static void
commits_on_base(struct crash_world *w)
{
    some_commits(w);
    CRASH_OK(w, ramet_session_checkpoint(w->session, true, e));
    CRASH_OK(w, crash_commit(w, 5, true, e));
}

static void
closed_clean(struct crash_world *w)
{
    some_commits(w);
    crash_close(w);
}

static struct image *
remote_image(struct crash_world *w, unsigned pages)
{
    struct image *const image = image_new((uint64_t)pages * 4096, 4096);

    store_random_bytes(&w->rng, image->bytes, image->size);
    image_put_header(image, 4096, 7);
    return image;
}

static enum ramet_rc
make_clone(struct crash_world *w, struct ramet_err *err)
{
    const struct ramet_replica_options options = {.os = w->os, .kind = w->kind};
    const struct ramet_remote_point point = remote_point(&w->remote, 1);
    uint8_t page1[65536];

    image_page(w->remote.at[1], 1, page1);
    return ramet_replica_create_clone(
        w->path, &options, STORE_REMOTE_URL, &store_volume, &point,
        w->kind == RAMET_KIND_BLOB ? NULL : page1, err);
}

static void
have_remote(struct crash_world *w)
{
    struct image *const image = remote_image(w, 20);

    remote_add(&w->remote, image);
    crash_note(w, image_ref(image));
    w->acked = w->published = w->attempted;
    w->remote.brings_neighbours = false;
}

static enum ramet_rc
read_some(struct crash_world *w, unsigned every, struct ramet_err *err)
{
    uint8_t page[4096];
    size_t got;
    enum ramet_rc rc = ramet_session_pin(w->session, err);

    for (uint64_t at = 0; rc == RAMET_OK && at < ramet_session_size(w->session);
         at += UINT64_C(4096) * every) {
        rc = ramet_session_read(w->session, at, page, sizeof(page), &got, err);
        if (rc == RAMET_OK &&
            memcmp(page, w->versions[w->published]->bytes + at, 4096) != 0)
            crash_fail(w, __LINE__, "a page", "was read wrong");
    }
    ramet_session_unpin(w->session);
    return rc;
}

static void
cloned(struct crash_world *w)
{
    have_remote(w);
    CRASH_OK(w, make_clone(w, e));
    CRASH_OK(w, crash_open(w, 0, &w->session, e));
    CRASH_OK(w, read_some(w, 3, e));
}

/* Of which not even page 1 is here, which then comes like any other. */
static void
cloned_blob(struct crash_world *w)
{
    w->kind = RAMET_KIND_BLOB;
    have_remote(w);
    CRASH_OK(w, make_clone(w, e));
    CRASH_OK(w, crash_open(w, 0, &w->session, e));
}

static void
cloned_with_commit(struct crash_world *w)
{
    cloned(w);
    CRASH_OK(w, crash_commit(w, 4, true, e));
}

static void
hydrated(struct crash_world *w)
{
    cloned(w);
    CRASH_OK(w, read_some(w, 1, e));
    CRASH_OK(w, ramet_session_checkpoint(w->session, true, e));
}

static void
crashed_in_checkpoint(struct crash_world *w)
{
    commits_on_base(w);
    faultos_settle(w->faults);
    w->acked = w->published;
    faultos_stop_at(w->faults, (long)store_below(&w->rng, 20));
    (void)!ramet_session_checkpoint(w->session, true, NULL);
    crash_close(w);
    faultos_crash(w->faults, store_random(&w->rng));
}

static void
plain_file(struct crash_world *w)
{
    struct image *const image = remote_image(w, 12);

    store_write_plain(w->path, image);
    crash_note(w, image);
    w->published = w->attempted;
    w->open_flags = RAMET_OPEN_ADOPT;
    faultos_settle(w->faults);
}

/* ---- acts ------------------------------------------------------------------ */

static enum ramet_rc
act_create(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc;

    w->open_flags = RAMET_OPEN_CREATE;
    rc = crash_open(w, RAMET_OPEN_CREATE, &w->session, err);
    return rc == RAMET_OK ? crash_commit(w, 3, true, err) : rc;
}

static enum ramet_rc
act_commits(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    for (int i = 0; rc == RAMET_OK && i < 4; i++)
        rc = crash_commit(w, 1 + (unsigned)i, i != 1, err);
    return rc;
}

static enum ramet_rc
act_big_commit(struct crash_world *w, struct ramet_err *err)
{
    const enum ramet_rc rc = crash_commit(w, 700, true, err);

    return rc == RAMET_OK ? crash_commit(w, 2, true, err) : rc;
}

/* Past the end of a log file. */
static enum ramet_rc
act_log_files(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    for (int i = 0; rc == RAMET_OK && i < 6; i++)
        rc = crash_commit(w, 500, i % 2 == 1, err);
    return rc;
}

/* Prepared and synced, then taken back; then committed otherwise. */
static enum ramet_rc
act_void(struct crash_world *w, struct ramet_err *err)
{
    struct image *const image = image_copy(w->versions[w->published]);
    const uint8_t bytes[4096] = {1, 2, 3};
    enum ramet_rc rc = ramet_session_pin(w->session, err);

    if (rc == RAMET_OK)
        rc = ramet_session_reserve(w->session, err);
    if (rc == RAMET_OK)
        rc = ramet_session_write(w->session, 4096, bytes, sizeof(bytes), err);
    image_write(image, 4096, bytes, sizeof(bytes));
    crash_note(w, image);
    if (rc == RAMET_OK)
        rc = ramet_session_prepare(w->session, NULL, err);
    if (rc == RAMET_OK)
        rc = ramet_session_sync(w->session, err);
    ramet_session_release(w->session);
    ramet_session_unpin(w->session);
    if (faultos_has_stopped(w->faults))
        return rc;
    w->attempted--; /* whatever failed, it was taken back */
    return rc == RAMET_OK ? crash_commit(w, 2, true, err) : rc;
}

static enum ramet_rc
act_checkpoint(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_checkpoint(w->session, true, err);

    if (rc == RAMET_OK)
        rc = crash_commit(w, 3, true, err);
    return rc == RAMET_OK ? ramet_session_checkpoint(w->session, true, err)
                          : rc;
}

static enum ramet_rc
act_close(struct crash_world *w, struct ramet_err *err)
{
    (void)err;
    crash_close(w);
    return RAMET_OK;
}

/* What a program that comes and goes does. */
static enum ramet_rc
act_reopen(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    for (int i = 0; rc == RAMET_OK && i < 2; i++) {
        crash_close(w);
        rc = crash_open(w, 0, &w->session, err);
        if (rc == RAMET_OK)
            rc = crash_commit(w, 2, true, err);
    }
    return rc;
}

static enum ramet_rc
act_fetch(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = read_some(w, 2, err);

    if (rc == RAMET_OK)
        rc = ramet_session_checkpoint(w->session, true, err);
    return rc == RAMET_OK ? read_some(w, 1, err) : rc;
}

static enum ramet_rc
pull_next(struct crash_world *w, bool reset, struct ramet_err *err)
{
    const struct image *const from = w->remote.at[w->remote.newest];
    struct image *const to = image_copy(from);
    struct ramet_remote_point point;
    struct ramet_snapshot base;
    struct ramet_pageset changed;
    uint8_t bytes[4096];
    uint8_t page1[65536];
    enum ramet_rc rc;

    for (int i = 0; i < 4; i++) {
        store_random_bytes(&w->rng, bytes, sizeof(bytes));
        image_write(to, store_below(&w->rng, 24) * 4096, bytes, 4096);
    }
    image_put_header(to, 4096, 9);
    ramet_pageset_init(&changed);
    image_diff(from, to, &changed);
    if (reset) { /* whatever was changed here */
        const struct ramet_run all = {1, image_pages(to)};

        rc = ramet_pageset_add_run(&changed, all);
        if (rc != RAMET_OK) /* it was to fail once */
            rc = ramet_pageset_add_run(&changed, all);
        assert_int_equal(rc, RAMET_OK);
    }
    remote_add(&w->remote, to);
    crash_note(w, image_ref(to));
    point = remote_point(&w->remote, w->remote.newest);
    image_page(to, 1, page1);
    base = *ramet_session_snapshot(w->session);
    rc = reset ? ramet_session_lock_push(w->session, err) : RAMET_OK;
    if (rc == RAMET_OK)
        rc = ramet_session_pull(w->session, &base, &point, &changed, page1,
                                reset, err);
    ramet_session_unlock_push(w->session);
    if (rc == RAMET_OK)
        w->published = w->attempted;
    ramet_pageset_done(&changed);
    return rc;
}

static enum ramet_rc
act_pull(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = pull_next(w, false, err);

    if (rc == RAMET_OK)
        rc = read_some(w, 3, err);
    if (rc == RAMET_OK)
        rc = pull_next(w, false, err);
    if (rc == RAMET_OK)
        rc = crash_commit(w, 3, true, err);
    return rc == RAMET_OK ? ramet_session_checkpoint(w->session, true, err)
                          : rc;
}

/* All that the remote's newest commit has, whatever is here, into the base. */
static enum ramet_rc
place_all(struct crash_world *w, struct ramet_err *err)
{
    const struct image *const image = w->remote.at[w->remote.newest];
    const struct ramet_point at = remote_at(&w->remote, w->remote.newest);
    uint32_t pgnos[24];
    const uint32_t count = image_pages(image);
    bool settled;
    enum ramet_rc rc;

    assert_true(count <= 24 && image->size == (uint64_t)count * 4096);
    for (uint32_t i = 0; i < count; i++)
        pgnos[i] = i + 1;
    rc = ramet_session_place_fetched_run(w->session, &at, pgnos, count,
                                         image->bytes, 4096, err);
    return rc == RAMET_OK ? ramet_session_settle(w->session, &settled, err)
                          : rc;
}

static enum ramet_rc
act_place(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = place_all(w, err);

    if (rc == RAMET_OK)
        rc = read_some(w, 1, err);
    return rc == RAMET_OK ? crash_commit(w, 3, true, err) : rc;
}

static enum ramet_rc
act_place_after_a_pull(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = pull_next(w, false, err);

    if (rc == RAMET_OK)
        rc = ramet_session_checkpoint(w->session, true, err);
    if (rc == RAMET_OK)
        rc = place_all(w, err);
    return rc == RAMET_OK ? read_some(w, 1, err) : rc;
}

static enum ramet_rc
act_reset(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = pull_next(w, true, err);

    return rc == RAMET_OK ? read_some(w, 2, err) : rc;
}

static enum ramet_rc
act_push(struct crash_world *w, struct ramet_err *err)
{
    struct ramet_cid id = {{{9, 9}}};
    struct ramet_remote_point point;
    enum ramet_rc rc = ramet_session_lock_push(w->session, err);

    store_random_bytes(&w->rng, w->object, sizeof(w->object));
    if (rc == RAMET_OK)
        rc = ramet_session_freeze(w->session,
                                  ramet_session_snapshot(w->session), &id, err);
    ramet_session_unpin(w->session);
    if (rc == RAMET_OK)
        rc = ramet_session_keep_intent(w->session, w->object, sizeof(w->object),
                                       err);
    if (rc != RAMET_OK)
        return rc;
    w->intent_kept = true;
    remote_add(&w->remote, image_copy(w->versions[w->published]));
    rc = crash_commit(w, 2, true, err);
    if (rc != RAMET_OK)
        return rc;
    point = remote_point(&w->remote, w->remote.newest);
    w->durable_tried = true;
    rc = ramet_session_mark_durable(
        w->session, ramet_session_snapshot(w->session), &point, err);
    if (rc == RAMET_OK)
        w->durable_lsn = point.lsn;
    ramet_session_unlock_push(w->session);
    if (rc == RAMET_OK)
        rc = ramet_session_checkpoint(w->session, true, err);
    return rc;
}

static enum ramet_rc
act_abandon(struct crash_world *w, struct ramet_err *err)
{
    struct ramet_cid id = {{{8, 8}}};
    enum ramet_rc rc = ramet_session_lock_push(w->session, err);

    if (rc == RAMET_OK)
        rc = ramet_session_freeze(w->session,
                                  ramet_session_snapshot(w->session), &id, err);
    ramet_session_unpin(w->session);
    if (rc == RAMET_OK)
        rc = ramet_session_keep_intent(w->session, w->object, sizeof(w->object),
                                       err);
    if (rc == RAMET_OK)
        rc = ramet_session_abandon_intent(w->session, err);
    ramet_session_unlock_push(w->session);
    return rc == RAMET_OK ? crash_commit(w, 2, true, err) : rc;
}

static enum ramet_rc
act_evict(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = crash_commit(w, 3, true, err);

    if (rc == RAMET_OK)
        rc = ramet_session_evict(w->session, 5 * 4096, err);
    if (rc == RAMET_OK)
        rc = read_some(w, 2, err);
    return rc == RAMET_OK ? ramet_session_evict(w->session, 0, err) : rc;
}

static enum ramet_rc
act_open(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc = crash_open(w, w->open_flags, &w->session, err);

    if (rc == RAMET_OK)
        rc = crash_commit(w, 2, true, err);
    crash_close(w);
    return rc;
}

static enum ramet_rc
act_delete(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc;

    crash_close(w);
    w->may_be_gone = true;
    w->open_flags = 0;
    rc = ramet_replica_delete(w->os, w->path, err);
    if (rc == RAMET_OK)
        w->must_be_gone = true;
    return rc;
}

static enum ramet_rc
act_detach(struct crash_world *w, struct ramet_err *err)
{
    struct ramet_detached detached;
    enum ramet_rc rc;

    crash_close(w);
    w->open_flags = RAMET_OPEN_ADOPT;
    rc = ramet_replica_detach(w->os, w->path, &detached, err);
    if (rc == RAMET_OK)
        w->must_be_plain = true;
    return rc;
}

static enum ramet_rc
act_clone(struct crash_world *w, struct ramet_err *err)
{
    enum ramet_rc rc;

    w->may_not_be = true;
    rc = make_clone(w, err);
    if (rc != RAMET_OK)
        return rc;
    rc = crash_open(w, 0, &w->session, err);
    if (rc == RAMET_OK)
        rc = crash_commit(w, 2, true, err);
    if (rc == RAMET_OK)
        w->may_not_be = false;
    return rc;
}

/* Another session stays pinned to what was before. */
static enum ramet_rc
act_old_reader(struct crash_world *w, struct ramet_err *err)
{
    bool equal = false;
    const unsigned old = w->published;
    enum ramet_rc rc = ramet_session_clone(w->session, &w->other, err);

    if (rc == RAMET_OK)
        rc = ramet_session_pin(w->other, err);
    if (rc == RAMET_OK)
        rc = crash_commit(w, 8, true, err);
    if (rc == RAMET_OK)
        rc = ramet_session_checkpoint(w->session, true, err);
    if (rc == RAMET_OK)
        rc = store_compare(w->other, w->versions[old], &equal, err);
    if (rc == RAMET_OK && !equal)
        crash_fail(w, __LINE__, "an old snapshot", "changed");
    return rc;
}

static void
nothing(struct crash_world *w)
{
    (void)w;
}

const struct crash_scenario crash_scenarios[] = {
    {"create", nothing, act_create},
    {"commits", some_commits, act_commits},
    {"commits on a base", commits_on_base, act_commits},
    {"commits on a clean file", closed_clean, act_reopen},
    {"big commit", some_commits, act_big_commit},
    {"log files", some_commits, act_log_files},
    {"void", some_commits, act_void},
    {"checkpoint", commits_on_base, act_checkpoint},
    {"old reader", commits_on_base, act_old_reader},
    {"clean close", commits_on_base, act_close},
    {"reopen", commits_on_base, act_reopen},
    {"fetch", cloned, act_fetch},
    {"fetch over a commit", cloned_with_commit, act_fetch},
    {"fetch of a blob", cloned_blob, act_fetch},
    {"place", cloned, act_place},
    {"place beside a commit", cloned_with_commit, act_place},
    {"place after a pull", hydrated, act_place_after_a_pull},
    {"pull", cloned, act_pull},
    {"reset", cloned_with_commit, act_reset},
    {"push", cloned_with_commit, act_push},
    {"abandon", cloned_with_commit, act_abandon},
    {"evict", hydrated, act_evict},
    {"close of a hydrated clone", hydrated, act_close},
    {"recovery", crashed_in_checkpoint, act_open},
    {"delete", commits_on_base, act_delete},
    {"detach", commits_on_base, act_detach},
    {"detach of a hydrated clone", hydrated, act_detach},
    {"adopt", plain_file, act_open},
    {"clone", have_remote, act_clone},
};
const unsigned crash_scenario_count =
    sizeof(crash_scenarios) / sizeof(crash_scenarios[0]);
