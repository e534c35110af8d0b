/*
 * progress.c - see progress.h.
 */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/stop.h"
#include "core/os.h"

#define FIRST_AFTER_NS 300000000u
#define EVERY_NS 100000000u

static uint64_t
now_ns(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx);
}

void
cli_progress_begin(struct cli_progress *progress, bool quiet)
{
    *progress = (struct cli_progress){
        .shown = !quiet && isatty(STDERR_FILENO) == 1,
        .began_ns = now_ns(),
    };
}

uint64_t
cli_progress_elapsed_ms(const struct cli_progress *progress)
{
    return (now_ns() - progress->began_ns) / 1000000;
}

/* By what has a known total; 0 where that can't be told yet. */
static uint64_t
left_ms(const struct ramet_progress *step, uint64_t elapsed_ms)
{
    const bool by_bytes = step->bytes_total > 0;
    const uint64_t done = by_bytes ? step->bytes_done : step->pages_done;
    const uint64_t total = by_bytes ? step->bytes_total : step->pages_total;

    if (done == 0 || total <= done)
        return 0;
    return (uint64_t)((double)elapsed_ms * (double)(total - done) /
                      (double)done);
}

static void
draw(const struct ramet_progress *step, uint64_t elapsed_ms)
{
    char done[CLI_TEXT_SIZE], total[CLI_TEXT_SIZE], bytes[CLI_TEXT_SIZE];
    char rate[CLI_TEXT_SIZE], left[CLI_TEXT_SIZE];
    const uint64_t to_go_ms = left_ms(step, elapsed_ms);
    const uint64_t ms = elapsed_ms == 0 ? 1 : elapsed_ms;

    fprintf(stderr, "\r\033[K%s: %s", step->verb,
            cli_count(done, step->pages_done));
    if (step->pages_total > 0)
        fprintf(stderr, " of %s", cli_count(total, step->pages_total));
    fprintf(stderr, " %s, %s, %s/s", step->unit == NULL ? "pages" : step->unit,
            cli_bytes(bytes, step->bytes_done),
            cli_bytes(rate, (uint64_t)((double)step->bytes_done * 1000.0 /
                                       (double)ms)));
    if (to_go_ms > 0)
        fprintf(stderr, ", %s left", cli_duration(left, to_go_ms));
    fflush(stderr);
}

bool
cli_progress_step(void *ctx, const struct ramet_progress *step)
{
    struct cli_progress *const progress = ctx;
    const uint64_t now = now_ns();

    if (cli_stop_wanted())
        return false;
    if (!progress->shown || now - progress->began_ns < FIRST_AFTER_NS ||
        now - progress->drawn_ns < EVERY_NS)
        return true;
    progress->drawn_ns = now;
    progress->drawn = true;
    draw(step, (now - progress->began_ns) / 1000000);
    return true;
}

void
cli_progress_end(struct cli_progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", stderr);
    progress->drawn = false;
}
