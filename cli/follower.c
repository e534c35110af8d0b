/*
 * follower.c - see follower.h.
 */
#include "cli/follower.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/target.h"
#include "client/store/replicas.h"
#include "core/alloc.h"

#define PUSH_POLL_MS 20u
#define RETRY_MAX_MS 60000u
#define UNBOUND_MS 5000u /* until one that has no remote is looked at again */

/* ---- what it tells -------------------------------------------------------- */

static uint64_t
now_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->wall_ms(os->ctx);
}

/* "12:03:04 app.db  ", by this machine's clock; stdout is locked. */
static void
print_stamp(const struct cli_follower *follower)
{
    const time_t now = (time_t)(now_ms() / 1000);
    struct tm local;
    char text[16] = "--:--:--";

    if (localtime_r(&now, &local) != NULL)
        (void)strftime(text, sizeof(text), "%H:%M:%S", &local);
    printf("%s ", text);
    cli_print_text(follower->path);
    printf("  ");
}

static void
print_count(const char *verb, uint64_t count)
{
    char text[CLI_TEXT_SIZE];

    if (count != 0)
        printf("%s %s %s, ", verb, cli_count(text, count),
               cli_plural(count, "commit", "commits"));
}

static void
tell_synced(struct cli_follower *follower,
            const struct ramet_sync_result *result)
{
    char pages[CLI_TEXT_SIZE], bytes[CLI_TEXT_SIZE];

    if (follower->args->quiet || result->durable_lsn == follower->told_lsn)
        return;
    follower->told_lsn = result->durable_lsn;
    flockfile(stdout);
    if (follower->args->json) {
        (void)cli_print_json(json_pack(
            "{s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "verb", "sync", "file",
            cli_json_text(follower->path), "time", cli_json_time(now_ms()),
            "durable_lsn", (json_int_t)result->durable_lsn, "pulled_commits",
            (json_int_t)result->pulled_commits, "pushed_commits",
            (json_int_t)result->pushed_commits, "pages",
            (json_int_t)result->pages, "bytes", (json_int_t)result->bytes));
    } else {
        print_stamp(follower);
        print_count("pulled", result->pulled_commits);
        print_count("pushed", result->pushed_commits);
        printf("%s %s, %s, LSN %" PRIu64 "\n", cli_count(pages, result->pages),
               cli_plural(result->pages, "page", "pages"),
               cli_bytes(bytes, result->bytes), result->durable_lsn);
    }
    fflush(stdout);
    funlockfile(stdout);
}

static void
tell_begin(const struct cli_follower *follower,
           const struct ramet_file_status *status)
{
    if (follower->args->quiet || follower->args->json)
        return;
    flockfile(stdout);
    print_stamp(follower);
    printf("follows ");
    cli_print_text(status->remote);
    printf(", LSN %" PRIu64 "\n", status->durable_lsn);
    fflush(stdout);
    funlockfile(stdout);
}

/* A failure is told when it begins, not at every retry. */
static void
note_failure(struct cli_follower *follower, enum ramet_rc rc,
             const struct ramet_err *err)
{
    if (rc != follower->state)
        cli_fail(follower->args, follower->path, rc, err);
    follower->state = rc;
    follower->pause_ms = follower->pause_ms >= RETRY_MAX_MS / 2
                             ? RETRY_MAX_MS
                             : follower->pause_ms * 2;
}

static void
note_success(struct cli_follower *follower)
{
    if (follower->state != RAMET_OK && !follower->args->json) {
        flockfile(stderr);
        fputs("ramet: sync ", stderr);
        cli_show(stderr, follower->path);
        fputs(": going on\n", stderr);
        funlockfile(stderr);
    }
    follower->state = RAMET_OK;
    follower->pause_ms = follower->interval_ms;
}

/* ---- in step -------------------------------------------------------------- */

/* The number of the newest local record. */
static enum ramet_rc
local_seq(struct cli_follower *follower, uint64_t *out_seq,
          struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_file_pin(follower->file, err);

    if (rc != RAMET_OK)
        return rc;
    *out_seq = ramet_file_snapshot(follower->file)->seq;
    ramet_file_unpin(follower->file);
    return RAMET_OK;
}

/* One pull and push. */
static void
sync_once(struct cli_follower *follower)
{
    struct ramet_sync_result result = {0};
    struct ramet_err err = {0};
    uint64_t seq = 0;
    enum ramet_rc rc;

    /* Read before the push, so that what comes in meanwhile is noticed. */
    rc = local_seq(follower, &seq, &err);
    if (rc == RAMET_OK)
        rc = ramet_file_sync(follower->file, &result, &err);
    if (rc == RAMET_OK) {
        note_success(follower);
        follower->seen_seq = seq;
        tell_synced(follower, &result);
    } else if (rc == RAMET_EBUSY || rc == RAMET_ESNAPSHOT) {
        follower->pause_ms = PUSH_POLL_MS; /* somebody is writing: next time */
    } else {
        note_failure(follower, rc, &err);
    }
}

/* False once a stop is wanted; true when it is time for the next sync. */
static bool
wait_for_work(struct cli_follower *follower)
{
    for (uint64_t waited_ms = 0; waited_ms < follower->pause_ms;
         waited_ms += PUSH_POLL_MS) {
        uint64_t seq = follower->seen_seq;

        if (!cli_stop_sleep(PUSH_POLL_MS))
            return false;
        /* While the remote is failing only the clock starts a new try. */
        if (follower->state == RAMET_OK &&
            local_seq(follower, &seq, NULL) == RAMET_OK &&
            seq != follower->seen_seq)
            return true;
    }
    return true;
}

/* Until a stop, or until the file is not there any more. */
static void
keep_in_step(struct cli_follower *follower)
{
    do
        sync_once(follower);
    while (wait_for_work(follower) &&
           !ramet_session_has_moved(ramet_file_session(follower->file)));
    if (cli_stop_wanted())
        sync_once(follower); /* invariant (3) */
}

/* ---- opening -------------------------------------------------------------- */

/* RAMET_EINVAL: it has no remote to follow. */
static enum ramet_rc
check_remote(struct cli_follower *follower, struct ramet_file_status *status,
             struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_file_status(follower->file, status, err);

    if (rc != RAMET_OK || status->remote[0] != '\0')
        return rc;
    return RAMET_FAIL(err, RAMET_EINVAL,
                      "has no remote yet: 'ramet init FILE --remote URL'");
}

/* False: it was found, and is gone. */
static bool
open_file(struct cli_follower *follower)
{
    struct ramet_file_status *const status = ramet_calloc(1, sizeof(*status));
    struct ramet_err err = {0};
    bool goes_on = true;
    enum ramet_rc rc = RAMET_OK;

    if (status == NULL)
        rc = RAMET_FAIL(&err, RAMET_ENOMEM, "no memory");
    if (rc == RAMET_OK && follower->file == NULL)
        rc = cli_file_open(follower->args, follower->path, &follower->file,
                           &err);
    if (rc == RAMET_OK)
        rc = check_remote(follower, status, &err);
    if (rc == RAMET_OK) {
        follower->told_lsn = follower->args->json ? 0 : status->durable_lsn;
        tell_begin(follower, status);
    } else {
        ramet_file_close(follower->file);
        follower->file = NULL;
        if (follower->is_found && rc == RAMET_EINVAL)
            follower->pause_ms = UNBOUND_MS; /* invariant (4) */
        else if (follower->is_found && access(follower->path, F_OK) != 0)
            goes_on = false;
        else
            note_failure(follower, rc, &err);
    }
    ramet_free(status);
    return goes_on;
}

static void *
follow(void *arg)
{
    struct cli_follower *const follower = arg;

    follower->pause_ms = follower->interval_ms;
    while (!cli_stop_wanted() && open_file(follower)) {
        if (follower->file == NULL) {
            (void)cli_stop_sleep(follower->pause_ms);
            continue;
        }
        keep_in_step(follower);
        ramet_file_close(follower->file);
        follower->file = NULL;
    }
    atomic_store(&follower->is_over, true);
    return NULL;
}

enum ramet_rc
cli_follower_start(struct cli_follower *follower, struct ramet_err *err)
{
    return ramet_thread_start(&follower->thread, "ramet-follow", follow,
                              follower, err);
}

enum ramet_rc
cli_follower_end(struct cli_follower *follower)
{
    enum ramet_rc state;

    ramet_thread_join(&follower->thread);
    state = follower->state;
    ramet_file_close(follower->file);
    ramet_free(follower->path);
    ramet_free(follower);
    return state;
}
