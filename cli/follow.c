/*
 * follow.c - see follow.h.
 *
 *   (1) A local commit, of whatever process, is noticed within PUSH_POLL_MS:
 *       looking costs a pin, no system call.
 *   (2) The remote is asked every interval; after a failure the interval
 *       doubles, to RETRY_MAX_MS, and one success brings it back.
 *   (3) On a stop, what is pending is pushed once more.
 */
#include "cli/follow.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/target.h"

#define PUSH_POLL_MS 20u
#define INTERVAL_DEFAULT_MS 1000u
#define RETRY_MAX_MS 60000u

struct follower {
    const struct cli_args *args;
    const char *path;
    struct ramet_file *file;
    uint64_t interval_ms;
    uint64_t pause_ms; /* until the next try; interval_ms unless failing */
    uint64_t told_lsn;
    uint64_t seen_seq;   /* local record up to which all was pushed */
    enum ramet_rc state; /* of the last try */
    struct ramet_err err;
};

/* The number of the newest local record. */
static enum ramet_rc
local_seq(struct follower *follower, uint64_t *out_seq, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_file_pin(follower->file, err);

    if (rc != RAMET_OK)
        return rc;
    *out_seq = ramet_file_snapshot(follower->file)->seq;
    ramet_file_unpin(follower->file);
    return RAMET_OK;
}

static void
tell(struct follower *follower, const struct ramet_sync_result *result)
{
    char bytes[CLI_TEXT_SIZE];

    if (follower->args->quiet || result->durable_lsn == follower->told_lsn)
        return;
    follower->told_lsn = result->durable_lsn;
    if (follower->args->json)
        cli_print_json(json_pack("{s:s, s:o, s:I, s:I, s:I}", "verb", "sync",
                                 "file", cli_json_text(follower->path),
                                 "durable_lsn", (json_int_t)result->durable_lsn,
                                 "pages", (json_int_t)result->pages, "bytes",
                                 (json_int_t)result->bytes));
    else
        printf("at LSN %" PRIu64 ": %" PRIu64 " %s, %s\n", result->durable_lsn,
               result->pages, cli_plural(result->pages, "page", "pages"),
               cli_bytes(bytes, result->bytes));
    fflush(stdout);
}

/* One pull and push. A failure is told when it begins, not at every retry. */
static void
sync_once(struct follower *follower)
{
    struct ramet_sync_result result = {0};
    uint64_t seq = 0;
    enum ramet_rc rc;

    /* Read before the push, so that what comes in meanwhile is noticed. */
    rc = local_seq(follower, &seq, &follower->err);
    if (rc == RAMET_OK)
        rc = ramet_file_sync(follower->file, &result, &follower->err);
    if (rc == RAMET_OK) {
        if (follower->state != RAMET_OK)
            fprintf(stderr, "ramet: sync: going on\n");
        follower->seen_seq = seq;
        follower->pause_ms = follower->interval_ms;
        tell(follower, &result);
    } else if (rc == RAMET_EBUSY || rc == RAMET_ESNAPSHOT) {
        rc = follower->state; /* somebody is writing: next time */
        follower->pause_ms = PUSH_POLL_MS;
    } else {
        if (rc != follower->state)
            cli_fail(follower->args, follower->path, rc, &follower->err);
        follower->pause_ms = follower->pause_ms >= RETRY_MAX_MS / 2
                                 ? RETRY_MAX_MS
                                 : follower->pause_ms * 2;
    }
    follower->state = rc;
}

/* False once a stop is wanted; true when it is time for the next sync. */
static bool
wait_for_work(struct follower *follower)
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

int
cli_follow(const struct cli_args *args, const char *path)
{
    struct follower follower = {
        .args = args, .path = path, .interval_ms = INTERVAL_DEFAULT_MS};
    const char *const interval = cli_value(args, "interval");
    enum ramet_rc rc;

    if (interval != NULL &&
        (!cli_parse_duration(interval, &follower.interval_ms) ||
         follower.interval_ms == 0))
        return cli_usage(args->verb, "--interval '%s' is no time, such as 5s",
                         interval);
    rc = cli_file_open(args, path, &follower.file, &follower.err);
    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &follower.err);

    follower.pause_ms = follower.interval_ms;
    do
        sync_once(&follower);
    while (wait_for_work(&follower));
    sync_once(&follower);

    ramet_file_close(follower.file);
    return (int)cli_exit_of(follower.state);
}
