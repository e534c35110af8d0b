/*
 * bench_sync.c - one verb on one file, timed, for measuring by hand:
 *
 *   bench_sync init FILE URL | push FILE | pull FILE | clone URL FILE |
 *              hydrate FILE | export FILE OUT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "client/volume/file.h"

static double
seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static enum ramet_rc
run_on_file(const char *verb, char **args,
            const struct ramet_file_options *options,
            struct ramet_sync_result *result, struct ramet_err *err)
{
    struct ramet_file *file = NULL;
    enum ramet_rc rc = ramet_file_open(args[0], options, &file, err);

    if (rc != RAMET_OK)
        return rc;
    if (strcmp(verb, "push") == 0)
        rc = ramet_file_push(file, result, err);
    else if (strcmp(verb, "pull") == 0)
        rc = ramet_file_pull(file, result, err);
    else if (strcmp(verb, "hydrate") == 0)
        rc = ramet_file_hydrate(file, result, err);
    else
        rc = ramet_file_export(file, args[1], NULL, err);
    ramet_file_close(file);
    return rc;
}

static enum ramet_rc
run(const char *verb, char **args, struct ramet_sync_result *result,
    struct ramet_err *err)
{
    struct ramet_file_options options;

    ramet_file_options_init(&options);
    options.sync = RAMET_SYNC_MANUAL;
    if (strcmp(verb, "init") == 0)
        return ramet_file_init(args[0], args[1], &options, NULL, NULL, result,
                               err);
    if (strcmp(verb, "clone") == 0)
        return ramet_file_clone(args[0], args[1], &options, NULL, NULL, result,
                                err);
    return run_on_file(verb, args, &options, result, err);
}

int
main(int argc, char **argv)
{
    struct ramet_sync_result result = {0};
    struct ramet_err err = {0};
    struct rusage usage;
    double began;
    enum ramet_rc rc;

    if (argc < 3) {
        fprintf(stderr, "usage: see the head of bench_sync.c\n");
        return 2;
    }
    began = seconds();
    rc = run(argv[1], argv + 2, &result, &err);
    getrusage(RUSAGE_SELF, &usage);
    if (rc != RAMET_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], err.text);
        return 1;
    }
    printf("%s: %.3f s, cpu %.2f s, lsn %llu, %llu pages, %llu bytes, %llu "
           "requests, peak %ld KiB\n",
           argv[1], seconds() - began,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
           (unsigned long long)result.durable_lsn,
           (unsigned long long)result.pages, (unsigned long long)result.bytes,
           (unsigned long long)result.requests, usage.ru_maxrss);
    return 0;
}
