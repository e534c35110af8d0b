/*
 * test_races.c - threads and processes that append to one line of commits.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/thread.h"
#include "tests/metastore/line.h"
#include "tests/support/child.h"
#include "tests/support/point.h"

enum { RACERS = 4, WINS_EACH = 25 };

/* Commits WINS_EACH times to one volume; ids of what was acknowledged. */
struct racer {
    struct ramet_objstore *store;
    struct ramet_vid volume;
    struct ramet_cid ids[WINS_EACH];
    uint64_t seed;
};

static void *
race(void *arg)
{
    struct racer *const racer = arg;
    struct model model;
    unsigned wins = 0;

    model_init(&model, racer->store, racer->seed);
    model.volume = racer->volume;
    model_reopen(&model);
    while (wins < WINS_EACH) {
        struct model_change change = {.page_size = 512, .page_count = 50};
        const struct ramet_cid id = model_new_cid();
        struct ramet_head base;
        struct ramet_buf out;
        enum ramet_rc rc;

        ramet_pageset_init(&change.changed);
        assert_int_equal(ramet_history_newest(model.history, &base, NULL),
                         RAMET_OK);
        change.least = base.page_count;
        assert_int_equal(
            ramet_pageset_add(&change.changed,
                              (uint32_t)model_random(&model, 50) + 1),
            RAMET_OK);
        ramet_buf_init(&out, 1u << 20);
        assert_int_equal(
            model_encode(&model, &base, &change, &id, base.lsn + 1, &out, NULL),
            RAMET_OK);
        do
            rc = ramet_history_append(model.history, out.data, out.len, NULL,
                                      NULL);
        while (rc == RAMET_EUNKNOWN);
        assert_true(rc == RAMET_OK || rc == RAMET_ECONFLICT);
        if (rc == RAMET_OK)
            racer->ids[wins++] = id;
        ramet_buf_done(&out);
        ramet_pageset_done(&change.changed);
    }
    model_done(&model);
    return NULL;
}

/* LSNs without a gap, and each acknowledged id exactly once. */
static void
check_race(struct ramet_objstore *store, const struct ramet_vid *volume,
           const struct racer *racers)
{
    unsigned found = 0;
    struct ramet_history *history;
    struct ramet_head head;
    struct ramet_pageset set;
    struct ramet_err err = {.text = ""};

    assert_int_equal(ramet_history_open(store, volume, NULL, &history, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
    assert_int_equal(head.lsn, RACERS * WINS_EACH);
    for (unsigned r = 0; r < RACERS; r++) {
        for (unsigned i = 0; i < WINS_EACH; i++) {
            unsigned times = 0;

            for (uint64_t lsn = 1; lsn <= RACERS * WINS_EACH; lsn++) {
                assert_int_equal(ramet_history_head(history, lsn, &head, NULL),
                                 RAMET_OK);
                times +=
                    ramet_id_compare(&head.id.id, &racers[r].ids[i].id) == 0;
            }
            assert_int_equal(times, 1);
            found++;
        }
    }
    assert_int_equal(found, RACERS * WINS_EACH);
    ramet_pageset_init(&set); /* walks the line, and checks each hash */
    if (ramet_history_changed(
            history, point_at(history, RACERS * WINS_EACH / 2),
            point_at(history, RACERS * WINS_EACH), &set, &err) != RAMET_OK)
        fail_msg("%s", err.text);
    ramet_pageset_done(&set);
    ramet_history_close(history);
}

static void
open_directory(char path[32], struct ramet_objstore **out_store)
{
    strcpy(path, "/tmp/ramet-append-XXXXXX");
    assert_non_null(mkdtemp(path));
    assert_int_equal(ramet_dirstore_open(NULL, path, true, out_store, NULL),
                     RAMET_OK);
}

static void
remove_directory(const char *path)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

static void
append__threads_make_one_line(void **state)
{
    struct racer racers[RACERS];
    struct ramet_thread threads[RACERS];
    struct ramet_objstore *store;
    struct ramet_vid volume;
    char path[32];

    (void)state;
    open_directory(path, &store);
    assert_int_equal(ramet_id_new(&volume.id, NULL), RAMET_OK);
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.store = store, .volume = volume, .seed = i};
        assert_int_equal(
            ramet_thread_start(&threads[i], "race", race, &racers[i], NULL),
            RAMET_OK);
    }
    for (unsigned i = 0; i < RACERS; i++)
        ramet_thread_join(&threads[i]);
    check_race(store, &volume, racers);
    ramet_objstore_close(store);
    remove_directory(path);
}

static void
run_process(const char *path, const struct ramet_vid *volume, uint64_t seed,
            int result_fd)
{
    struct racer racer = {.volume = *volume, .seed = seed};

    if (ramet_dirstore_open(NULL, path, false, &racer.store, NULL) != RAMET_OK)
        _exit(1);
    race(&racer);
    ramet_objstore_close(racer.store);
    if (write(result_fd, racer.ids, sizeof(racer.ids)) != sizeof(racer.ids))
        _exit(1);
    _exit(0);
}

static void
append__processes_make_one_line(void **state)
{
    struct racer racers[RACERS];
    struct ramet_objstore *store;
    struct ramet_vid volume;
    int pipes[RACERS][2];
    char path[32];

    (void)state;
    open_directory(path, &store);
    assert_int_equal(ramet_id_new(&volume.id, NULL), RAMET_OK);
    for (unsigned i = 0; i < RACERS; i++) {
        pid_t pid;

        assert_int_equal(pipe(pipes[i]), 0);
        pid = child_fork();
        if (pid == 0)
            run_process(path, &volume, i + 100, pipes[i][1]);
    }
    for (unsigned i = 0; i < RACERS; i++) {
        int status;

        assert_int_equal(
            read(pipes[i][0], racers[i].ids, sizeof(racers[i].ids)),
            sizeof(racers[i].ids));
        close(pipes[i][0]);
        close(pipes[i][1]);
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    check_race(store, &volume, racers);
    ramet_objstore_close(store);
    remove_directory(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append__threads_make_one_line),
        cmocka_unit_test(append__processes_make_one_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
