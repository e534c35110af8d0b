/*
 * doctor.c - see doctor.h.
 */
#include "cli/doctor_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/output.h"
#include "cli/stop.h"
#include "client/ramet.h"
#include "core/alloc.h"
#include "pagestore/s3/rules.h"

/* A commit's time may be this far ahead of a server's clock; S3 services refuse
 * requests past 15 minutes. What is worth telling begins earlier. */
#define CLOCK_MAX_MS RAMET_SKEW_MAX_MS
#define CLOCK_TELL_MS 2000

double
cli_doctor_now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- findings ------------------------------------------------------------ */

void
cli_doctor_fine(struct doctor *d, const char *name, const char *fmt, ...)
{
    struct cli_finding finding = {
        .name = name, .state = CLI_FINDING_OK, .todo = ""};
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(finding.text, sizeof(finding.text), fmt, args);
    va_end(args);
    d->report(d->ctx, &finding);
}

void
cli_doctor_skipped(struct doctor *d, const char *name, const char *why)
{
    struct cli_finding finding = {
        .name = name, .state = CLI_FINDING_SKIPPED, .todo = ""};

    (void)snprintf(finding.text, sizeof(finding.text), "%s", why);
    d->report(d->ctx, &finding);
}

enum ramet_rc
cli_doctor_problem(struct doctor *d, const char *name, enum ramet_rc rc,
                   const char *text, const char *todo)
{
    struct cli_finding finding = {
        .name = name, .state = CLI_FINDING_PROBLEM, .rc = rc, .todo = todo};

    (void)snprintf(finding.text, sizeof(finding.text), "%s", text);
    if (d->rc == RAMET_OK)
        d->rc = rc;
    d->report(d->ctx, &finding);
    return rc;
}

/* ---- to get there -------------------------------------------------------- */

static const char *
kind_of(const struct doctor *d)
{
    switch (d->url.scheme) {
    case RAMET_REMOTE_FILE:
        return "a directory";
    case RAMET_REMOTE_HTTP:
    case RAMET_REMOTE_HTTPS:
        return "a Ramet server";
    case RAMET_REMOTE_S3:
        return "an S3 bucket";
    }
    return "";
}

/* Which line a failure to get there belongs to, and what to do. */
static void
no_way(struct doctor *d, enum ramet_rc rc, const struct ramet_err *err)
{
    if (rc == RAMET_EINVAL)
        (void)cli_doctor_problem(d, "address", rc, err->text,
                                 "mend the URL, or ramet.conf");
    else if (cli_doctor_is_refusal(rc))
        (void)cli_doctor_problem(
            d, "credentials", rc, err->text,
            "check whose it is and who may use it: RAMET_TOKEN or "
            "token_file for a server, AWS_… for S3, ls -ld for a "
            "directory");
    else if (rc == RAMET_ENOTFOUND)
        (void)cli_doctor_problem(
            d, "store", rc, err->text,
            "if the place is right: 'ramet init FILE --remote URL' "
            "makes the first volume and the store");
    else if (rc == RAMET_EVERSION)
        (void)cli_doctor_problem(d, "version", rc, err->text,
                                 "upgrade ramet here");
    else
        (void)cli_doctor_problem(
            d, "reach", rc, err->text,
            "check name, port, firewall and proxy, and that the "
            "service runs");
}

static enum ramet_rc
reach(struct doctor *d, const char *text)
{
    const double began = cli_doctor_now_s();
    struct ramet_err err = {0};
    enum ramet_rc rc;

    rc = cli_remote_open(d->args, text, RAMET_NAMED_BY_USER, &d->url,
                         &d->remote, &err);
    if (rc == RAMET_OK)
        rc = ramet_catalog_check(d->remote->store, false, &err);
    if (rc != RAMET_OK) {
        no_way(d, rc, &err);
        return rc;
    }
    cli_doctor_fine(d, "reach", "%s answers; the first question took %.0f ms",
                    kind_of(d), (cli_doctor_now_s() - began) * 1000);
    cli_doctor_fine(d, "version", "ramet %s here, storage format %u there",
                    RAMET_VERSION_STRING, RAMET_STORE_FORMAT);
    return RAMET_OK;
}

static void
credentials(struct doctor *d)
{
    struct ramet_token token = {.text = NULL};
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (d->url.scheme == RAMET_REMOTE_FILE) {
        cli_doctor_fine(d, "credentials", "this user's, of the file system");
        return;
    }
    if (d->url.scheme == RAMET_REMOTE_S3) {
        cli_doctor_fine(d, "credentials",
                        "taken: requests are signed, or need not be");
        return;
    }
    rc = ramet_token_for(&d->url, RAMET_NAMED_BY_USER, d->args->config, &token,
                         &err);
    if (rc != RAMET_OK)
        (void)cli_doctor_problem(d, "credentials", rc, err.text,
                                 "mend ramet.conf");
    else if (token.text != NULL)
        cli_doctor_fine(d, "credentials", "a token is sent, and taken");
    else if (token.withheld_why != NULL)
        cli_doctor_fine(d, "credentials",
                        "a token is not sent: %s; it is not asked for",
                        token.withheld_why);
    else
        cli_doctor_fine(d, "credentials",
                        "no token is sent, and none is asked for");
    ramet_free(token.text);
}

static void
clock_skew(struct doctor *d)
{
    int64_t ahead_ms;
    char text[128], by[CLI_TEXT_SIZE];

    if (d->remote->ops->clock_ahead == NULL ||
        !d->remote->ops->clock_ahead(d->remote, &ahead_ms)) {
        cli_doctor_skipped(d, "clock", "it has none of its own");
        return;
    }
    (void)snprintf(text, sizeof(text), "%s %s the store's",
                   cli_duration(by, (uint64_t)llabs(ahead_ms)),
                   ahead_ms < 0 ? "behind" : "ahead of");
    if (llabs(ahead_ms) > CLOCK_MAX_MS)
        (void)cli_doctor_problem(
            d, "clock", RAMET_ECLOCK, text,
            "set the clock that is wrong, and keep it right (chrony, "
            "systemd-timesyncd): commits are refused");
    else
        cli_doctor_fine(d, "clock", "%s",
                        llabs(ahead_ms) < CLOCK_TELL_MS
                            ? "within 2 s of the store's"
                            : text);
}

/* ---- reading ------------------------------------------------------------- */

static bool
count_volume(void *ctx, const char *name, const struct ramet_vid *volume)
{
    (void)name;
    (void)volume;
    *(uint64_t *)ctx += 1;
    return !cli_stop_wanted();
}

static void
volumes(struct doctor *d)
{
    struct ramet_err err = {0};
    char text[CLI_TEXT_SIZE];
    uint64_t count = 0;
    const enum ramet_rc rc =
        ramet_catalog_list(d->remote->store, count_volume, &count, &err);

    if (rc != RAMET_OK)
        (void)cli_doctor_problem(d, "list", rc, err.text,
                                 "whoever asks needs the right to list there");
    else
        cli_doctor_fine(d, "list", "%s volume%s", cli_count(text, count),
                        cli_plural(count, "", "s"));
}

/* Of a bucket: do rules of its own take away what is here? */
static void
rules(struct doctor *d)
{
    char rule[RAMET_S3_RULE_MAX], text[RAMET_S3_RULE_MAX + 128];
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (d->url.scheme != RAMET_REMOTE_S3)
        return;
    rc = ramet_s3store_rules(d->remote->store, rule, &err);
    if (rc != RAMET_OK) {
        cli_doctor_skipped(d, "rules",
                           "the bucket's lifecycle rules can't be read: see "
                           "that none takes objects by age");
        return;
    }
    (void)snprintf(text, sizeof(text),
                   "the bucket's lifecycle rule '%s' takes objects by age",
                   rule);
    if (rule[0] != '\0')
        (void)cli_doctor_problem(d, "rules", RAMET_EREFUSED, text,
                                 "leave this prefix out of it: the oldest "
                                 "commit is needed like the newest");
    else
        cli_doctor_fine(d, "rules", "no lifecycle rule takes objects by age");
}

static bool
see_any(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    *(bool *)ctx = true;
    return false;
}

/* Are there commits, whatever is missing among them? */
static enum ramet_rc
has_commits(struct doctor *d, const struct ramet_vid *vid, bool *out_has,
            struct ramet_err *err)
{
    char id[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];

    *out_has = false;
    ramet_id_format(&vid->id, id);
    (void)snprintf(prefix, sizeof(prefix), "volumes/%s/commits/", id);
    return ramet_objstore_list(d->remote->store, prefix, NULL, see_any, out_has,
                               err);
}

/* What Ramet keeps is all there was; what others took away shows at the oldest
 * end first, where a rule that deletes by age begins. */
static void
retention(struct doctor *d, struct ramet_history *history,
          const struct ramet_vid *vid)
{
    struct ramet_head first;
    struct ramet_err err = {0};
    char time[32];
    bool has = false;
    enum ramet_rc rc = has_commits(d, vid, &has, &err);

    if (rc == RAMET_OK && !has)
        return;
    if (rc == RAMET_OK)
        rc = ramet_history_head(history, 1, &first, &err);
    if (rc != RAMET_OK) {
        (void)cli_doctor_problem(
            d, "retention", rc, err.text,
            "somebody deletes objects there (a lifecycle rule, a "
            "clean-up job): stop that, then 'ramet verify URL'");
        return;
    }
    ramet_time_format(first.time_ms, time);
    cli_doctor_fine(
        d, "retention",
        "every commit is kept, from LSN 1 of %s on; nothing may delete by age "
        "there",
        time);
}

static void
volume(struct doctor *d)
{
    struct ramet_history *history = NULL;
    struct ramet_head head = {0};
    struct ramet_err err = {0};
    struct ramet_vid vid;
    char time[32], size[CLI_TEXT_SIZE];
    enum ramet_rc rc;

    if (d->url.name[0] == '\0') {
        cli_doctor_fine(
            d, "retention",
            "every commit is kept; nothing may delete by age there");
        return;
    }
    rc = ramet_catalog_resolve(d->remote->store, d->url.name, &vid, &err);
    if (rc == RAMET_OK)
        rc = ramet_history_open(d->remote->store, &vid, NULL, &history, &err);
    if (rc == RAMET_OK)
        rc = ramet_history_newest(history, &head, &err);
    if (rc != RAMET_OK) {
        (void)cli_doctor_problem(d, "volume", rc, err.text,
                                 rc == RAMET_ENOTFOUND
                                     ? "'ramet ls' of the store lists "
                                       "what there is"
                                     : "'ramet verify URL' says more");
    } else if (head.lsn == 0) {
        cli_doctor_fine(d, "volume", "no commit yet");
    } else {
        ramet_time_format(head.time_ms, time);
        cli_doctor_fine(d, "volume", "LSN %" PRIu64 " of %s, %s", head.lsn,
                        time, cli_bytes(size, head.byte_length));
    }
    if (rc == RAMET_OK)
        retention(d, history, &vid);
    ramet_history_close(history);
}

enum ramet_rc
cli_doctor(const struct cli_args *args, const char *text, bool writes,
           cli_finding_fn *report, void *ctx)
{
    struct doctor d = {.args = args, .report = report, .ctx = ctx};

    if (reach(&d, text) == RAMET_OK) {
        credentials(&d);
        volumes(&d);
        clock_skew(&d); /* by the answers so far */
        volume(&d);
        rules(&d);
        if (writes)
            cli_doctor_write(&d);
        else
            cli_doctor_skipped(&d, "write", "--read-only: nothing is written");
    }
    ramet_remote_close(d.remote);
    return d.rc;
}
