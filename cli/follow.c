/*
 * follow.c - see follow.h: a follower for each file that was named, and for each
 * replica that is in a directory that was, or appears there.
 */
#include "cli/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/exit.h"
#include "cli/follower.h"
#include "cli/output.h"
#include "cli/replicas.h"
#include "cli/stop.h"
#include "cli/target.h"
#include "core/alloc.h"

#define INTERVAL_DEFAULT_MS 1000u
#define LOOK_MS 1000u      /* at directories */
#define FOLLOWERS_MAX 512u /* each has a thread */

struct party {
    const struct cli_args *args;
    uint64_t interval_ms;
    struct cli_follower *first;
    unsigned count;
    enum ramet_rc looks[CLI_OPERANDS_MAX]; /* at directories: the last one's */
    enum ramet_rc failed; /* of one that could not even begin, or is over */
};

static bool
has(const struct party *party, const char *path)
{
    for (const struct cli_follower *f = party->first; f != NULL; f = f->next)
        if (strcmp(f->path, path) == 0)
            return true;
    return false;
}

/* Takes `file`, also on failure. */
static enum ramet_rc
add(struct party *party, const char *path, bool is_found,
    struct ramet_file *file, struct ramet_err *err)
{
    struct cli_follower *const follower = ramet_calloc(1, sizeof(*follower));
    enum ramet_rc rc;

    if (follower == NULL) {
        ramet_file_close(file);
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to follow it");
    }
    follower->args = party->args;
    follower->path = ramet_strdup(path);
    follower->is_found = is_found;
    follower->interval_ms = party->interval_ms;
    follower->file = file;
    if (follower->path == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory to follow it");
    else if (party->count == FOLLOWERS_MAX)
        rc = RAMET_FAIL(err, RAMET_ETOOBIG,
                        "%u files are followed already: let another process "
                        "follow the rest",
                        FOLLOWERS_MAX);
    else
        rc = cli_follower_start(follower, err);
    if (rc != RAMET_OK) {
        (void)cli_follower_end(follower);
        return rc;
    }
    follower->next = party->first;
    party->first = follower;
    party->count++;
    return RAMET_OK;
}

static bool
add_found(void *ctx, const char *path)
{
    struct party *const party = ctx;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (has(party, path))
        return true;
    rc = add(party, path, true, NULL, &err);
    if (rc == RAMET_OK)
        return true;
    if (rc != party->failed)
        cli_fail(party->args, path, rc, &err);
    party->failed = rc;
    return false;
}

static void
look_into(struct party *party, int operand)
{
    const char *const directory = party->args->operands[operand];
    struct ramet_err err = {0};
    const enum ramet_rc rc = cli_replicas_in(directory, add_found, party, &err);

    if (rc != RAMET_OK && rc != party->looks[operand])
        cli_fail(party->args, directory, rc, &err);
    party->looks[operand] = rc;
}

static void
end_those_that_are_over(struct party *party)
{
    struct cli_follower **link = &party->first;

    while (*link != NULL) {
        struct cli_follower *const follower = *link;

        if (!atomic_load(&follower->is_over)) {
            link = &follower->next;
            continue;
        }
        *link = follower->next;
        party->count--;
        (void)cli_follower_end(follower);
    }
}

/* What it was told of at the end: of one follower or directory that fails still. */
static enum ramet_rc
end_all(struct party *party)
{
    enum ramet_rc rc = party->failed;

    while (party->first != NULL) {
        struct cli_follower *const follower = party->first;
        enum ramet_rc state;

        party->first = follower->next;
        state = cli_follower_end(follower);
        if (state != RAMET_OK)
            rc = state;
    }
    for (int i = 0; i < party->args->operand_count; i++)
        if (party->looks[i] != RAMET_OK)
            rc = party->looks[i];
    return rc;
}

/* Alone, a file that can't be opened is a failure at once: nobody else would be
 * held up by it. */
static enum ramet_rc
add_named(struct party *party, const char *path, struct ramet_err *err)
{
    struct ramet_file *file = NULL;
    enum ramet_rc rc = RAMET_OK;

    if (party->args->operand_count == 1)
        rc = cli_file_open(party->args, path, &file, err);
    return rc == RAMET_OK ? add(party, path, false, file, err) : rc;
}

static bool
is_directory(const struct party *party, int operand)
{
    return cli_is_directory(party->args->operands[operand]);
}

/* Who starts it by hand is about to look at the files with other tools. */
static void
print_hint(const struct cli_args *args)
{
    if (!args->quiet && isatty(STDERR_FILENO) != 0)
        fputs("while this runs, open the files with vfs=ramet: to tools that "
              "know nothing of Ramet they are no databases ('ramet export' "
              "copies one)\n",
              stderr);
}

int
cli_follow(const struct cli_args *args)
{
    struct party party = {.args = args, .interval_ms = INTERVAL_DEFAULT_MS};
    const char *const interval = cli_value(args, "interval");
    struct ramet_err err = {0};
    enum ramet_rc rc = RAMET_OK;
    const char *failed_path = NULL;

    if (interval != NULL &&
        (!cli_parse_duration(interval, &party.interval_ms) ||
         party.interval_ms == 0))
        return cli_usage(args->verb, "--interval '%s' is not a time such as 5s",
                         interval);
    print_hint(args);
    for (int i = 0; rc == RAMET_OK && i < args->operand_count; i++)
        if (!is_directory(&party, i)) {
            failed_path = args->operands[i];
            rc = add_named(&party, failed_path, &err);
        }
    while (rc == RAMET_OK && !cli_stop_wanted()) {
        for (int i = 0; i < args->operand_count; i++)
            if (is_directory(&party, i))
                look_into(&party, i);
        (void)cli_stop_sleep(LOOK_MS);
        end_those_that_are_over(&party);
    }
    if (rc != RAMET_OK) {
        cli_stop_want();
        (void)end_all(&party);
        return cli_fail(args, failed_path, rc, &err);
    }
    return (int)cli_exit_of(end_all(&party));
}
