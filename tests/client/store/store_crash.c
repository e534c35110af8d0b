/*
 * store_crash.c - see store_crash.h.
 */
#include "tests/client/store/store_crash.h"

#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "client/store/shared/base.h"
#include "core/alloc.h"
#include "tests/client/store/plain.h"
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
crash_fail(const struct crash_world *w, int line, const char *what,
           const char *text)
{
    fail_msg("%s, stop or fault %ld, seed %llu, line %d: %s: %s", w->scenario,
             w->stop, (unsigned long long)w->crash_seed, line, what, text);
}

/* ---- beginning and end ----------------------------------------------------- */

void
crash_begin(struct crash_world *w, const struct crash_scenario *scenario,
            uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->scenario = scenario->name;
    w->rng = seed;
    w->kind = RAMET_KIND_SQLITE;
    store_folder_make(w->folder);
    snprintf(w->disk, sizeof(w->disk), "%s/disk", w->folder);
    snprintf(w->path, sizeof(w->path), "%s/app.db", w->disk);
    assert_int_equal(mkdir(w->disk, 0700), 0);
    remote_init(&w->remote, seed);
    w->faults = faultos_new(w->disk);
    w->os = faultos_os(w->faults);
    w->versions[0] = image_new(0, 4096);
    scenario->set_up(w);
    faultos_settle(w->faults);
    w->acked = w->attempted = w->published;
}

void
crash_close(struct crash_world *w)
{
    ramet_session_close(w->session);
    ramet_session_close(w->other);
    w->session = w->other = NULL;
}

void
crash_end(struct crash_world *w)
{
    crash_close(w);
    faultos_free(w->faults);
    for (unsigned i = 0; i < CRASH_VERSIONS; i++)
        image_unref(w->versions[i]);
    remote_done(&w->remote);
    store_folder_remove(w->folder);
    memset(w, 0, sizeof(*w));
}

enum ramet_rc
crash_open(struct crash_world *w, unsigned flags, struct ramet_session **out,
           struct ramet_err *err)
{
    const struct ramet_replica_options options = {
        .os = w->os,
        .flags = flags,
        .kind = w->kind,
        .page_size = 4096,
    };
    const enum ramet_rc rc = ramet_session_open(w->path, &options, out, err);

    if (rc == RAMET_OK)
        ramet_replica_set_fetcher(ramet_session_replica(*out), remote_fetch,
                                  &w->remote);
    return rc;
}

/* ---- commits --------------------------------------------------------------- */

void
crash_note(struct crash_world *w, struct image *image)
{
    assert_true(w->attempted + 1 < CRASH_VERSIONS);
    w->attempted++;
    image_unref(w->versions[w->attempted]); /* one that did not come about */
    w->versions[w->attempted] = image;
}

static enum ramet_rc
write_pages(struct crash_world *w, struct image *image, unsigned pages,
            struct ramet_err *err)
{
    uint8_t bytes[4096];
    enum ramet_rc rc = RAMET_OK;

    if (store_chance(&w->rng, 25) && image->size > 0) {
        const uint64_t size =
            store_below(&w->rng, image->size / 4096) * UINT64_C(4096);

        rc = ramet_session_truncate(w->session, size, err);
        image_resize(image, size);
    }
    for (unsigned i = 0; rc == RAMET_OK && i < pages; i++) {
        const uint64_t at =
            pages > 64 ? i : store_below(&w->rng, image->size / 4096 + 3);

        store_random_bytes(&w->rng, bytes, sizeof(bytes));
        rc = ramet_session_write(w->session, at * 4096, bytes, sizeof(bytes),
                                 err);
        image_write(image, at * 4096, bytes, sizeof(bytes));
    }
    return rc;
}

enum ramet_rc
crash_commit(struct crash_world *w, unsigned pages, bool sync,
             struct ramet_err *err)
{
    struct ramet_session *const session = w->session;
    struct image *const image = image_copy(w->versions[w->published]);
    enum ramet_rc rc = ramet_session_pin(session, err);

    if (rc == RAMET_OK)
        rc = ramet_session_reserve(session, err);
    if (rc == RAMET_OK)
        rc = write_pages(w, image, pages, err);
    if (rc != RAMET_OK) {
        image_unref(image);
        goto done;
    }
    crash_note(w, image);
    rc = ramet_session_prepare(session, NULL, err);
    if (rc == RAMET_OK && sync)
        rc = ramet_session_sync(session, err);
    if (rc != RAMET_OK)
        goto done;
    if (sync)
        w->acked = w->attempted;
    ramet_session_publish(session);
    w->published = w->attempted;

done:
    ramet_session_release(session);
    ramet_session_unpin(session);
    return rc;
}

/* ---- afterwards ------------------------------------------------------------ */

static bool
exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* It is not there, and nothing of it: all right if so it may be. Makes it
 * anew, as a user would. */
static void
check_gone(struct crash_world *w, const char *text)
{
    char dir[200];

    if (!w->may_be_gone && !w->must_be_gone && !w->may_not_be)
        crash_fail(w, __LINE__, "the replica is gone", text);
    snprintf(dir, sizeof(dir), "%s-ramet", w->path);
    rmdir(dir); /* an empty one does no harm */
    if (!w->may_not_be && (exists(w->path) || exists(dir)))
        crash_fail(w, __LINE__, "the replica", "is gone in part");
    if (w->may_not_be && w->remote.newest > 0) {
        const struct ramet_replica_options options = {.kind = w->kind};
        const struct ramet_remote_point point = remote_point(&w->remote, 1);
        uint8_t page1[65536];

        image_page(w->remote.at[1], 1, page1);
        CRASH_OK(w,
                 ramet_replica_create_clone(w->path, &options, STORE_REMOTE_URL,
                                            &store_volume, &point, page1, e));
    } else {
        w->acked = w->attempted = w->published = 0;
        CRASH_OK(w, crash_open(w, RAMET_OPEN_CREATE, &w->session, e));
    }
}

/* Which version is it? */
static void
check_version(struct crash_world *w)
{
    CRASH_OK(w, ramet_session_pin(w->session, e));
    for (unsigned i = w->attempted + 1; i-- > w->acked;) {
        bool equal;

        CRASH_OK(w, store_compare(w->session, w->versions[i], &equal, e));
        if (equal) {
            w->published = i;
            ramet_session_unpin(w->session);
            return;
        }
    }
    for (unsigned i = 0; i < w->acked; i++) {
        bool equal;

        CRASH_OK(w, store_compare(w->session, w->versions[i], &equal, e));
        if (equal)
            crash_fail(w, __LINE__, "commits",
                       "that were acknowledged are lost");
    }
    crash_fail(w, __LINE__, "the content", "is no version that there was");
}

static void
check_checksums(struct crash_world *w)
{
    uint64_t checked;
    uint64_t bad;

    CRASH_OK(w, ramet_session_verify(w->session, &checked, &bad, e));
    if (bad != 0)
        crash_fail(w, __LINE__, "verify", "finds damaged pages");
}

static void
check_intent(struct crash_world *w)
{
    struct ramet_replica_state state;
    uint8_t *object = NULL;
    size_t len = 0;

    memset(&state, 0, sizeof(state));
    CRASH_OK(w, ramet_session_state(w->session, &state, e));
    if (w->durable_lsn != 0 && (state.newest.lsn != w->durable_lsn ||
                                !ramet_id_is_nil(&state.intent.id)))
        crash_fail(w, __LINE__, "mark_durable", "was lost");
    if (w->intent_kept && !w->durable_tried &&
        ramet_id_is_nil(&state.intent.id))
        crash_fail(w, __LINE__, "an intent", "was lost");
    if (w->intent_kept && !ramet_id_is_nil(&state.intent.id)) {
        CRASH_OK(w, ramet_session_load_intent(w->session, &object, &len, e));
        if (len != sizeof(w->object) || memcmp(object, w->object, len) != 0)
            crash_fail(w, __LINE__, "an intent", "has other bytes");
        ramet_free(object);
    }
    ramet_replica_state_done(&state);
}

static void
reopen(struct crash_world *w, unsigned flags)
{
    struct ramet_err err = {.text = ""};
    const enum ramet_rc rc = crash_open(w, flags, &w->session, &err);

    if (rc == RAMET_ENOTFOUND)
        check_gone(w, err.text);
    else if (rc != RAMET_OK)
        crash_fail(w, __LINE__, "open", err.text);
    else if (w->must_be_gone)
        crash_fail(w, __LINE__, "the replica", "came back from the dead");
    if (w->session == NULL)
        CRASH_OK(w, crash_open(w, 0, &w->session, e));
}

/* A clean close may give the header other numbers: counter and schema cookie. */
static void
hide_numbers(struct image *plain, const struct image *expected)
{
    static const unsigned at[] = {24, 40, 92};

    for (unsigned i = 0; plain->size >= 100 && expected->size >= 100 && i < 3;
         i++)
        memcpy(plain->bytes + at[i], expected->bytes + at[i], 4);
}

/* Closed with nothing done to it, a whole replica is a plain file. */
static void
check_plain_close(struct crash_world *w)
{
    const struct image *const expected = w->versions[w->published];
    struct ramet_pageset absent;
    struct image *plain;
    bool whole;

    ramet_pageset_init(&absent);
    CRASH_OK(w, ramet_session_pin(w->session, e));
    CRASH_OK(w, ramet_session_absent(w->session, 0, 1, &absent, e));
    whole = ramet_pageset_count(&absent) == 0;
    ramet_pageset_done(&absent);
    crash_close(w);
    plain = store_read_plain(w->path, 4096);
    hide_numbers(plain, expected);
    if (whole && (plain->size != expected->size ||
                  !is_plain_right(plain->bytes, expected->bytes, plain->size)))
        crash_fail(w, __LINE__, "a whole, clean replica's file",
                   "is not its content");
    image_unref(plain);
    CRASH_OK(w, crash_open(w, 0, &w->session, e));
    check_version(w);
}

/* Marked; or zeros where the mark was being written: no database either way. */
static bool
is_no_database(const struct image *plain)
{
    static const uint8_t zeros[16];

    return plain->size == 0 ||
           memcmp(plain->bytes, zeros, sizeof(zeros)) == 0 ||
           (plain->size >= RAMET_DBHEADER_SIZE &&
            ramet_base_is_any_mark(plain->bytes));
}

static bool
is_version(const struct crash_world *w, const struct image *plain,
           unsigned least)
{
    for (unsigned i = least; i <= w->attempted; i++) {
        const struct image *const version = w->versions[i];

        hide_numbers((struct image *)plain, version);
        if (plain->size == version->size &&
            is_plain_right(plain->bytes, version->bytes, plain->size))
            return true;
    }
    return false;
}

/* As the crash left it, and before we mend anything: to who knows nothing of
 * us the base is a version that there was, perhaps an older one, or no database
 * at all. */
static void
check_base(struct crash_world *w)
{
    struct image *plain;

    if (w->kind != RAMET_KIND_SQLITE || !exists(w->path))
        return;
    plain = store_read_plain(w->path, 4096);
    if (!is_no_database(plain) && !is_version(w, plain, 0))
        crash_fail(w, __LINE__, "the base",
                   "passes for a database that there never was");
    image_unref(plain);
}

/* What was detached is a plain file, whole, without what lies beside it. */
static void
check_detached(struct crash_world *w)
{
    struct image *plain;

    if (ramet_replica_exists(w->os, w->path)) {
        if (w->must_be_plain)
            crash_fail(w, __LINE__, "detach", "was lost");
        return;
    }
    if (!exists(w->path) || (w->open_flags & RAMET_OPEN_ADOPT) == 0)
        return;
    plain = store_read_plain(w->path, 4096);
    if (!is_version(w, plain, w->acked))
        crash_fail(w, __LINE__, "a plain file", "is no version that there was");
    image_unref(plain);
}

void
crash_check(struct crash_world *w)
{
    crash_close(w);
    faultos_free(w->faults); /* and the second names that it gives to files */
    w->faults = NULL;
    w->os = ramet_os_system();
    check_base(w);
    check_detached(w);
    reopen(w, w->open_flags);
    check_version(w);
    if (store_chance(&w->rng, 50))
        check_plain_close(w);
    check_checksums(w);
    check_intent(w);
    w->acked = w->attempted = w->published;
    if (w->attempted + 2 >= CRASH_VERSIONS)
        crash_fail(w, __LINE__, "the test", "has too many versions");
    CRASH_OK(w, crash_commit(w, 3, true, e));
    check_version(w);
    crash_close(w);
    CRASH_OK(w, crash_open(w, 0, &w->session, e));
    check_version(w);
    check_checksums(w);
    crash_close(w);
}

void
crash_check_open(struct crash_world *w)
{
    bool equal;

    if (w->session == NULL)
        return;
    CRASH_OK(w, ramet_session_pin(w->session, e));
    CRASH_OK(w,
             store_compare(w->session, w->versions[w->published], &equal, e));
    if (!equal)
        crash_fail(w, __LINE__, "the open session", "sees something else");
    ramet_session_unpin(w->session);
}
