/*
 * stop.c - see stop.h. The flag is the process's one mutable global: a signal
 * handler can reach nothing else.
 */
#include "cli/stop.h"

#include <signal.h>
#include <stddef.h>
#include <time.h>

static volatile sig_atomic_t wanted;

static void
on_signal(int number)
{
    (void)number;
    wanted = 1;
}

void
cli_stop_install(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND; /* the second one kills */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    /* A reader of our output that goes away is an error of ours to report. */
    action.sa_handler = SIG_IGN;
    action.sa_flags = 0;
    sigaction(SIGPIPE, &action, NULL);
}

bool
cli_stop_wanted(void)
{
    return wanted != 0;
}

void
cli_stop_want(void)
{
    wanted = 1;
}

bool
cli_stop_sleep(uint64_t ms)
{
    while (!cli_stop_wanted() && ms > 0) {
        /* A signal between the test and the sleep is noticed after one slice. */
        const uint64_t slice_ms = ms < 100 ? ms : 100;
        const struct timespec slice = {.tv_nsec = (long)(slice_ms * 1000000)};

        nanosleep(&slice, NULL);
        ms -= slice_ms;
    }
    return !cli_stop_wanted();
}
