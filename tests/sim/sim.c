/*
 * sim.c - plays schedules, one after another, and says which one fails.
 *
 *   sim IMAGE [--seed N|clock] [--count N] [--seconds N] [--trace]
 *             [--may MASK] [--machines N] [--processes N] [--handles N]
 *             [--steps N] [--calm N] [--skip PROCESS.HANDLE.STEP,…]
 *
 * Schedules are played in children of this process, a batch in each, so that
 * one that crashes ends its batch only. The first one that fails is played
 * again, made shorter as long as it still fails, and printed with the command
 * that repeats it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <execinfo.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/count.h"
#include "tests/sim/process.h"
#include "tests/sim/sched.h"
#include "tests/sim/world.h"

#define IMAGES 9u
#define BATCH 50u
#define HANGS_AFTER_S 120 /* of processor time; and, if it waits for ever: */
#define WAITS_FOR_S 3000u
#define TEXT_SIZE 400u

struct options {
    const char *image;
    struct sim_plan plan;
    uint64_t count;
    double seconds; /* 0: no end but `count` */
    bool is_traced;
};

/* What a child tells its parent. */
struct board {
    uint64_t seed;           /* of the schedule that it plays */
    char failure[TEXT_SIZE]; /* what it says before it ends by that */
    uint64_t steps;
    struct sim_taken taken; /* in that schedule */
    struct sim_counts counts;
};
static struct board *board;

static double
now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- playing --------------------------------------------------------------------- */

static void
play(const struct sim_plan *plan)
{
    board->seed = plan->seed;
    sim_play_schedule(plan, &board->taken);
    board->steps += sim_steps();
}

/* ---- which failure it is ---------------------------------------------------------- */

/* What stays of a failure's words when it happens to other versions, in other
 * processes: each word with a digit in it is left out. */
static void
name_failure(const char *text, char out[TEXT_SIZE])
{
    size_t len = 0;

    while (*text != '\0' && len + 2 < TEXT_SIZE) {
        const size_t word = strcspn(text, " :,");
        const size_t rest = word + strspn(text + word, " :,");

        if (strcspn(text, "0123456789") < word)
            out[len++] = '#';
        else
            for (size_t i = 0; i < word && len + 2 < TEXT_SIZE; i++)
                out[len++] = text[i];
        out[len++] = ' ';
        text += rest;
    }
    out[len] = '\0';
}

/* The product's assertions, and the simulator's: its symbol comes before the C
 * library's. */
SIM_API void __assert_fail(const char *condition, const char *file,
                           unsigned line, const char *function);
void
__assert_fail(const char *condition, const char *file, unsigned line,
              const char *function)
{
    fprintf(stderr, "%s:%u: %s: assertion failed: %s\n", file, line, function,
            condition);
    snprintf(board->failure, sizeof(board->failure), "%s: %s", function,
             condition);
    abort();
}

/* Where a schedule crashed: addresses within the image are those of its file. */
static void
say_where(int number)
{
    void *frames[24];
    const int count = backtrace(frames, 24);

    backtrace_symbols_fd(frames, count, STDERR_FILENO);
    signal(number, SIG_DFL);
    raise(number);
}

/* On a machine that has other things to do, too, time by the clock says little. */
static void
end_if_it_hangs(void)
{
    const struct itimerval most = {.it_value = {.tv_sec = HANGS_AFTER_S}};

    setitimer(ITIMER_PROF, &most, NULL);
    alarm(WAITS_FOR_S);
}

/* How a child ended that did not end well, unless it said so itself. */
static void
note_end(int status)
{
    if (board->failure[0] != '\0' || status == 0)
        return;
    if (WIFSIGNALED(status))
        snprintf(board->failure, sizeof(board->failure), "by signal %s",
                 sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(board->failure, sizeof(board->failure), "by its exit");
}

/* `count` schedules in a child; true: all went well. */
static bool
play_batch(const struct sim_plan *plan, uint64_t count, bool is_quiet)
{
    pid_t child;
    int status;

    fflush(NULL);
    board->failure[0] = '\0';
    child = fork();
    if (child == 0) {
        end_if_it_hangs();
        signal(SIGSEGV, say_where);
        signal(SIGABRT, say_where);
        if (is_quiet && freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        for (uint64_t i = 0; i < count; i++) {
            struct sim_plan one = *plan;

            one.seed += i;
            play(&one);
        }
        sim_counts_add(&board->counts);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("sim: fork");
        exit(2);
    }
    note_end(status);
    if (WIFSIGNALED(status) && !is_quiet)
        fprintf(stderr, "FAILED by signal %d\n", WTERMSIG(status));
    return status == 0;
}

/* ---- making a failing schedule shorter --------------------------------------------- */

/* The failure that is looked for: another one, which a shorter schedule may have
 * besides, is none of it. */
static char wanted[TEXT_SIZE];

static bool
still_fails(const struct sim_plan *plan)
{
    char name[TEXT_SIZE];

    if (play_batch(plan, 1, true))
        return false;
    name_failure(board->failure, name);
    return strcmp(name, wanted) == 0;
}

/* The least value of *number, 1 at least, with which it fails. */
static void
lower(struct sim_plan *plan, unsigned *number, unsigned most)
{
    for (unsigned less = 1; less < most; less++) {
        const unsigned before = *number;

        *number = less;
        if (still_fails(plan))
            return;
        *number = before;
    }
}

/* Without `count` of these steps from `first` on, if it still fails then. */
static bool
leave_out(struct sim_plan *plan, const struct sim_taken *all, unsigned first,
          unsigned count)
{
    const unsigned before = plan->skip_count;

    for (unsigned i = first; i < first + count && i < all->count &&
                             plan->skip_count < SIM_STEPS_MAX;
         i++)
        plan->skips[plan->skip_count++] = all->steps[i];
    if (still_fails(plan))
        return true;
    plan->skip_count = before;
    return false;
}

/* Steps go, from many at a time to single ones, each tried once. */
static void
shorten_steps(struct sim_plan *plan)
{
    struct sim_taken all;

    if (!still_fails(plan))
        return; /* by chance of the machine's? */
    all = board->taken;
    for (unsigned count = SIM_STEPS_MAX / 8; count > 0; count /= 2)
        for (unsigned i = 0; i < all.count;)
            if (leave_out(plan, &all, i, count))
                all = board->taken; /* of the failure as it is now */
            else
                i += count;
}

static void
shorten(struct sim_plan *plan)
{
    for (unsigned bit = 1; bit < SIM_MAY_ALL; bit <<= 1) {
        plan->may &= ~bit;
        if (!still_fails(plan))
            plan->may |= bit;
    }
    lower(plan, &plan->machines_max, 3);
    lower(plan, &plan->processes_max, 2);
    lower(plan, &plan->handles_max, 3);
    lower(plan, &plan->steps_max, 14);
    shorten_steps(plan);
}

static void
print_command(const struct options *options, const struct sim_plan *plan)
{
    printf("%s %s --seed %llu --count 1 --may %u", program_invocation_name,
           options->image, (unsigned long long)plan->seed, plan->may);
    if (plan->machines_max != 0)
        printf(" --machines %u", plan->machines_max);
    if (plan->processes_max != 0)
        printf(" --processes %u", plan->processes_max);
    if (plan->handles_max != 0)
        printf(" --handles %u", plan->handles_max);
    if (plan->steps_max != 0)
        printf(" --steps %u", plan->steps_max);
    if (plan->calm != 0)
        printf(" --calm %u", plan->calm);
    for (unsigned i = 0; i < plan->skip_count; i++)
        printf("%s%u.%u.%u", i == 0 ? " --skip " : ",", plan->skips[i].process,
               plan->skips[i].handle, plan->skips[i].step);
    printf(" --trace\n");
}

static void
report(const struct options *options, uint64_t seed)
{
    struct sim_plan plan = options->plan;

    plan.seed = seed;
    name_failure(board->failure, wanted);
    printf("the schedule of seed %llu fails: %s\n", (unsigned long long)seed,
           board->failure);
    fflush(stdout);
    shorten(&plan);
    play_batch(&plan, 1, false);
    printf("again: ");
    print_command(options, &plan);
}

/* ---- options ------------------------------------------------------------------------ */

static void
parse_skips(struct sim_plan *plan, const char *text)
{
    struct sim_step_id step;
    int len;

    while (plan->skip_count < SIM_STEPS_MAX &&
           sscanf(text, "%u.%u.%u%n", &step.process, &step.handle, &step.step,
                  &len) == 3) {
        plan->skips[plan->skip_count++] = step;
        text += len;
        text += *text == ',';
    }
}

/* "clock": one that was not played yet; it is printed with a failure. */
static uint64_t
seed_of(const char *text)
{
    return strcmp(text, "clock") == 0 ? (uint64_t)time(NULL) * 1000
                                      : strtoull(text, NULL, 10);
}

static struct options
parse(int argc, char **argv)
{
    struct options o = {
        .plan = {.seed = 1, .may = SIM_MAY_ALL},
        .count = 1,
    };

    for (int i = 1; i < argc; i++) {
        const char *const name = argv[i];

        if (strcmp(name, "--trace") == 0) {
            o.is_traced = true;
            continue;
        }
        if (name[0] != '-') {
            o.image = name;
            continue;
        }
        if (i + 1 == argc) {
            fprintf(stderr, "sim: %s wants a number\n", name);
            exit(2);
        }
        i++;
        if (strcmp(name, "--seed") == 0)
            o.plan.seed = seed_of(argv[i]);
        else if (strcmp(name, "--count") == 0)
            o.count = strtoull(argv[i], NULL, 10);
        else if (strcmp(name, "--seconds") == 0)
            o.seconds = strtod(argv[i], NULL);
        else if (strcmp(name, "--may") == 0)
            o.plan.may = (unsigned)strtoul(argv[i], NULL, 10);
        else if (strcmp(name, "--machines") == 0)
            o.plan.machines_max = (unsigned)strtoul(argv[i], NULL, 10);
        else if (strcmp(name, "--processes") == 0)
            o.plan.processes_max = (unsigned)strtoul(argv[i], NULL, 10);
        else if (strcmp(name, "--handles") == 0)
            o.plan.handles_max = (unsigned)strtoul(argv[i], NULL, 10);
        else if (strcmp(name, "--steps") == 0)
            o.plan.steps_max = (unsigned)strtoul(argv[i], NULL, 10);
        else if (strcmp(name, "--calm") == 0)
            o.plan.calm = (unsigned)strtoul(argv[i], NULL, 10);
        else if (strcmp(name, "--skip") == 0)
            parse_skips(&o.plan, argv[i]);
        else {
            fprintf(stderr, "sim: %s?\n", name);
            exit(2);
        }
    }
    if (o.image == NULL) {
        fprintf(stderr, "usage: sim IMAGE [--seed N] [--count N] …\n");
        exit(2);
    }
    return o;
}

/* Threads take turns: on one processor that is cheapest. */
static void
stay_on_one_processor(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    sched_setaffinity(0, sizeof(set), &set);
}

int
main(int argc, char **argv)
{
    const struct options o = parse(argc, argv);
    const double begun = now_s();
    uint64_t done = 0;

    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return 2;
    sim_fail_into(board->failure, sizeof(board->failure));
    stay_on_one_processor();
    /* Blocks of all sizes are used again and again: they stay ours. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    sim_images_load(o.image, IMAGES);
    sim_trace_to(o.is_traced);
    while (done < o.count && (o.seconds == 0 || now_s() - begun < o.seconds)) {
        struct sim_plan plan = o.plan;
        const uint64_t left = o.count - done;
        const uint64_t batch = left < BATCH ? left : BATCH;

        plan.seed += done;
        if (!play_batch(&plan, batch, false)) {
            if (o.count > 1)
                report(&o, board->seed);
            return 1;
        }
        done += batch;
    }
    printf("%llu schedules from seed %llu on, %llu steps, %.1f s\n",
           (unsigned long long)done, (unsigned long long)o.plan.seed,
           (unsigned long long)board->steps, now_s() - begun);
    if (done > 1)
        sim_counts_print(&board->counts);
    return 0;
}
