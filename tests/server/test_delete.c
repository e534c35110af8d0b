/*
 * test_delete.c - a volume that is deleted while others write to it, read it
 * and listen to it: nothing of it stays, nobody is told that it was damaged.
 */
#include <arpa/inet.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/thread.h"
#include "metastore/catalog.h"
#include "server/gone.h"
#include "tests/server/fixture.h"

/* ---- requests as plain text ------------------------------------------------ */

static int
connect_to(const struct ramet_server *server)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port =
                                 htons((uint16_t)ramet_server_port(server)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct timeval patience = {.tv_sec = 15};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)),
        0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void
send_request(int fd, const char *method, const char *path)
{
    char text[512];
    const int len = snprintf(text, sizeof(text),
                             "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, path);

    assert_int_equal(send(fd, text, (size_t)len, 0), len);
}

/* Reads on until `want` is there; false: the end, or silence. */
static bool
hear(int fd, char *text, size_t size, const char *want)
{
    size_t len = strlen(text);

    while (strstr(text, want) == NULL) {
        const ssize_t got = recv(fd, text + len, size - 1 - len, 0);

        if (got <= 0)
            return false;
        len += (size_t)got;
        text[len] = '\0';
    }
    return true;
}

static unsigned
ask(const struct ramet_server *server, const char *method, const char *path,
    char *text, size_t size)
{
    const int fd = connect_to(server);

    text[0] = '\0';
    send_request(fd, method, path);
    assert_true(hear(fd, text, size, "\r\n\r\n"));
    (void)close(fd);
    return (unsigned)atoi(text + strlen("HTTP/1.1 "));
}

static void
volume_path(const struct model *model, const char *leaf, char out[100])
{
    char id[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&model->volume.id, id);
    (void)snprintf(out, 100, "/v1/volumes/%s%s", id, leaf);
}

static unsigned
delete_of(const struct ramet_server *server, const struct model *model)
{
    char path[100], text[2000];

    volume_path(model, "", path);
    return ask(server, "DELETE", path, text, sizeof(text));
}

static unsigned
status_of(const struct ramet_server *server, const struct model *model,
          const char *leaf)
{
    char path[100], text[65536];

    volume_path(model, leaf, path);
    return ask(server, "GET", path, text, sizeof(text));
}

static void
check_no_damage(const struct ramet_server *server)
{
    const int fd = connect_to(server);
    char text[65536] = "";

    send_request(fd, "GET", "/metrics");
    assert_true(
        hear(fd, text, sizeof(text), "ramet_store_written_bytes_total"));
    assert_non_null(strstr(text, "ramet_damaged_total 0\n"));
    assert_null(strstr(text, "status=\"500\""));
    (void)close(fd);
}

static bool
count_key(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    ++*(unsigned *)ctx;
    return true;
}

static unsigned
objects_of(const struct fixture *f, const struct model *model)
{
    char id[RAMET_ID_TEXT_SIZE], prefix[100];
    unsigned count = 0;

    ramet_id_format(&model->volume.id, id);
    (void)snprintf(prefix, sizeof(prefix), "volumes/%s/", id);
    assert_int_equal(
        ramet_objstore_list(f->direct, prefix, "", count_key, &count, NULL),
        RAMET_OK);
    return count;
}

/* ---- a commit that is ready to be sent -------------------------------------- */

static void
prepare(struct model *model, struct ramet_buf *out)
{
    struct model_change change = {
        .page_size = 512, .page_count = 10, .least = 10};
    const struct ramet_cid id = model_new_cid();
    struct ramet_head base;

    assert_int_equal(ramet_history_newest(model->history, &base, NULL),
                     RAMET_OK);
    change.page_size = base.page_size;
    change.page_count = base.page_count;
    change.least = base.page_count;
    ramet_pageset_init(&change.changed);
    assert_int_equal(ramet_pageset_add(&change.changed, 1), RAMET_OK);
    ramet_buf_init(out, 1u << 20);
    assert_int_equal(model_encode(model, &base, &change, &id, 1000, out, NULL),
                     RAMET_OK);
    ramet_pageset_done(&change.changed);
}

static void
start(struct fixture *f, struct model *model, uint64_t seed)
{
    fixture_start(f, NULL);
    model_init(model, f->remote->store, seed);
    model_write(model, 1, 30);
    model_write_random(model, 2);
    model_write_random(model, 2);
}

static void
stop(struct fixture *f, struct model *model)
{
    model_done(model);
    fixture_stop(f);
}

/* ---- tests ------------------------------------------------------------------ */

static void
commit__on_a_volume_that_was_deleted__is_refused(void **state)
{
    struct ramet_buf object;
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    start(&f, &model, 21);
    prepare(&model, &object);
    assert_int_equal(delete_of(f.server, &model), 204);
    assert_int_equal(ramet_history_append(model.history, object.data,
                                          object.len, NULL, &err),
                     RAMET_EWENTBACK);
    assert_non_null(strstr(err.text, "deleted"));
    assert_int_equal(objects_of(&f, &model), 1);
    assert_int_equal(delete_of(f.server, &model), 404);
    /* Also by a server that does not remember. */
    fixture_restart(&f);
    assert_int_equal(ramet_history_append(model.history, object.data,
                                          object.len, NULL, &err),
                     RAMET_EWENTBACK);
    assert_int_equal(objects_of(&f, &model), 1);
    check_no_damage(f.server);
    ramet_buf_done(&object);
    stop(&f, &model);
}

static void
objects__of_a_volume_that_was_deleted__are_refused(void **state)
{
    static const uint8_t header[32] = "RAMTSEG\x02";
    const struct iovec part = {(void *)(uintptr_t)header, sizeof(header)};
    char id[RAMET_ID_TEXT_SIZE], key[RAMET_KEY_MAX];
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    start(&f, &model, 22);
    assert_int_equal(delete_of(f.server, &model), 204);
    ramet_id_format(&model.volume.id, id);
    (void)snprintf(key, sizeof(key), "volumes/%s/segments/%s", id, id);
    assert_int_equal(ramet_objstore_put(f.remote->store, key, &part, 1, &err),
                     RAMET_EWENTBACK);
    assert_int_equal(ramet_catalog_bind(f.remote->store, "again", &model.volume,
                                        false, &err),
                     RAMET_EWENTBACK);
    assert_int_equal(objects_of(&f, &model), 1);
    stop(&f, &model);
}

/* The other server has seen the volume, holds it in memory, and is asked to go
 * on with it. */
static void
deletion__by_another_server__is_no_damage(void **state)
{
    struct ramet_server_options options;
    struct ramet_server *other;
    struct ramet_remote *remote;
    char path[100], text[8192] = "";
    struct ramet_buf object;
    struct ramet_err err;
    struct fixture f;
    struct model model;
    int events;

    (void)state;
    start(&f, &model, 23);
    options = f.options;
    assert_int_equal(ramet_server_start(&options, &other, &err), RAMET_OK);
    remote = fixture_connect_port(ramet_server_port(other), NULL);
    model.store = remote->store;
    model_reopen(&model);
    model_check_lsn(&model, 3);
    prepare(&model, &object);
    assert_int_equal(status_of(other, &model, "/content"), 200);
    events = connect_to(other);
    volume_path(&model, "/events", path);
    send_request(events, "GET", path);
    assert_true(hear(events, text, sizeof(text), "\r\n\r\n"));

    assert_int_equal(delete_of(f.server, &model), 204);
    assert_int_equal(ramet_history_append(model.history, object.data,
                                          object.len, NULL, &err),
                     RAMET_EWENTBACK);
    assert_int_equal(status_of(other, &model, "/head"), 404);
    assert_int_equal(status_of(other, &model, "/content"), 404);
    assert_true(hear(events, text, sizeof(text), "event: gone"));
    assert_int_equal(objects_of(&f, &model), 1);
    check_no_damage(other);

    (void)close(events);
    model_done(&model);
    remote->ops->close(remote);
    ramet_server_stop(other);
    ramet_buf_done(&object);
    fixture_stop(&f);
}

/* Whoever commits straight to the directory has its base in memory and asks
 * nobody; what it put behind the deletion is taken back. */
static void
commit__straight_to_the_directory_after_a_deletion__is_taken_back(void **state)
{
    struct ramet_buf object;
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    start(&f, &model, 24);
    model.store = f.direct;
    model_reopen(&model);
    prepare(&model, &object);
    assert_int_equal(delete_of(f.server, &model), 204);
    assert_int_equal(ramet_history_append(model.history, object.data,
                                          object.len, NULL, &err),
                     RAMET_EWENTBACK);
    assert_int_equal(objects_of(&f, &model), 1);
    ramet_buf_done(&object);
    stop(&f, &model);
}

/* Cut short after any object, a deletion has deleted; done again it ends. */
static void
deletion__that_was_cut_short__can_be_finished(void **state)
{
    char key[RAMET_KEY_MAX];
    struct ramet_vid found;
    struct fixture f;
    struct model model;

    (void)state;
    start(&f, &model, 25);
    assert_int_equal(
        ramet_catalog_bind(f.direct, "half", &model.volume, false, NULL),
        RAMET_OK);
    ramet_commit_key(&model.volume, 1, key);
    assert_int_equal(ramet_objstore_remove(f.direct, key, NULL), RAMET_OK);
    fixture_restart(&f);
    assert_int_equal(status_of(f.server, &model, "/head"), 404);
    assert_int_equal(status_of(f.server, &model, "/content"), 404);
    assert_true(objects_of(&f, &model) > 0);
    assert_int_equal(delete_of(f.server, &model), 204);
    assert_int_equal(objects_of(&f, &model), 0);
    assert_int_equal(ramet_catalog_resolve(f.direct, "half", &found, NULL),
                     RAMET_ENOTFOUND);
    check_no_damage(f.server);
    stop(&f, &model);
}

static void
leftovers__of_a_writer_that_did_not_know__can_be_deleted(void **state)
{
    static const char text[] = "anything";
    const struct iovec part = {(void *)(uintptr_t)text, sizeof(text)};
    char key[RAMET_KEY_MAX];
    struct ramet_vid found;
    struct fixture f;
    struct model model;

    (void)state;
    start(&f, &model, 26);
    assert_int_equal(delete_of(f.server, &model), 204);
    ramet_commit_key(&model.volume, 7, key);
    assert_int_equal(ramet_objstore_put(f.direct, key, &part, 1, NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_catalog_bind(f.direct, "late", &model.volume, false, NULL),
        RAMET_OK);
    assert_int_equal(delete_of(f.server, &model), 204);
    assert_int_equal(objects_of(&f, &model), 1);
    assert_int_equal(ramet_catalog_resolve(f.direct, "late", &found, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(delete_of(f.server, &model), 404);
    stop(&f, &model);
}

/* ---- all at once ------------------------------------------------------------- */

struct committer {
    struct ramet_thread thread;
    struct model model;
    _Atomic unsigned committed;
    enum ramet_rc rc; /* the last one's */
};

static void *
commit_until_refused(void *arg)
{
    struct committer *c = arg;

    do {
        struct ramet_buf object;

        struct model_change change = {
            .page_size = 512, .page_count = 30, .least = 30};
        const struct ramet_cid id = model_new_cid();
        struct ramet_head base;

        ramet_pageset_init(&change.changed);
        ramet_buf_init(&object, 1u << 20);
        c->rc = ramet_pageset_add(&change.changed, 1);
        if (c->rc == RAMET_OK)
            c->rc = ramet_history_seen(c->model.history, &base, NULL);
        change.page_size = base.page_size;
        if (c->rc == RAMET_OK)
            c->rc = model_encode(&c->model, &base, &change, &id, 1000, &object,
                                 NULL);
        if (c->rc == RAMET_OK)
            c->rc = ramet_history_append(c->model.history, object.data,
                                         object.len, NULL, NULL);
        ramet_buf_done(&object);
        ramet_pageset_done(&change.changed);
        if (c->rc == RAMET_OK)
            atomic_fetch_add(&c->committed, 1);
    } while (c->rc == RAMET_OK);
    return NULL;
}

/* Three volumes at a time, each with its committer: over this server, over
 * another one, and straight on the directory. */
static void
deletions__against_committers__leave_nothing(void **state)
{
    struct ramet_server_options options;
    struct ramet_server *other;
    struct ramet_remote *remote;
    struct ramet_err err;
    struct fixture f;

    (void)state;
    fixture_start(&f, NULL);
    options = f.options;
    assert_int_equal(ramet_server_start(&options, &other, &err), RAMET_OK);
    remote = fixture_connect_port(ramet_server_port(other), NULL);
    for (unsigned round = 0; round < 8; round++) {
        struct ramet_objstore *const stores[] = {f.remote->store, remote->store,
                                                 f.direct};
        struct committer c[3];

        memset(c, 0, sizeof(c));
        for (unsigned i = 0; i < 3; i++) {
            model_init(&c[i].model, stores[i], 100 + round * 3 + i);
            model_write(&c[i].model, 1, 30);
            assert_int_equal(ramet_thread_start(&c[i].thread, "commits",
                                                commit_until_refused, &c[i],
                                                &err),
                             RAMET_OK);
        }
        for (unsigned i = 0; i < 3; i++) {
            while (atomic_load(&c[i].committed) < round)
                (void)usleep(200);
            assert_int_equal(delete_of(f.server, &c[i].model), 204);
        }
        for (unsigned i = 0; i < 3; i++) {
            ramet_thread_join(&c[i].thread);
            assert_int_equal(c[i].rc, RAMET_EWENTBACK);
            assert_int_equal(status_of(f.server, &c[i].model, "/head"), 404);
            assert_int_equal(status_of(other, &c[i].model, "/head"), 404);
            assert_int_equal(objects_of(&f, &c[i].model), 1);
            model_done(&c[i].model);
        }
    }
    check_no_damage(f.server);
    check_no_damage(other);
    remote->ops->close(remote);
    ramet_server_stop(other);
    fixture_stop(&f);
}

struct late_writer {
    struct ramet_gone *gone;
    struct ramet_vid volume;
    atomic_bool is_done;
};

/* It has begun, and goes on until somebody marks the volume. */
static void *
write_late(void *arg)
{
    struct late_writer *const w = arg;

    while (!ramet_gone_has(w->gone, &w->volume))
        sched_yield();
    for (int i = 0; i < 1000; i++) /* who does not wait is through by then */
        sched_yield();
    atomic_store(&w->is_done, true);
    ramet_gone_leave(w->gone, &w->volume);
    return NULL;
}

static void
mark__waits_for_who_has_begun_to_write(void **state)
{
    struct late_writer w = {.is_done = false};
    struct ramet_thread thread;

    (void)state;
    assert_int_equal(ramet_gone_new(&w.gone, NULL), RAMET_OK);
    assert_int_equal(ramet_id_new(&w.volume.id, NULL), RAMET_OK);
    assert_true(ramet_gone_enter(w.gone, &w.volume));
    assert_int_equal(
        ramet_thread_start(&thread, "late-writer", write_late, &w, NULL),
        RAMET_OK);
    ramet_gone_mark(w.gone, &w.volume);
    assert_true(atomic_load(&w.is_done));
    ramet_thread_join(&thread);
    assert_false(ramet_gone_enter(w.gone, &w.volume));
    ramet_gone_free(w.gone);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit__on_a_volume_that_was_deleted__is_refused),
        cmocka_unit_test(objects__of_a_volume_that_was_deleted__are_refused),
        cmocka_unit_test(deletion__by_another_server__is_no_damage),
        cmocka_unit_test(
            commit__straight_to_the_directory_after_a_deletion__is_taken_back),
        cmocka_unit_test(deletion__that_was_cut_short__can_be_finished),
        cmocka_unit_test(
            leftovers__of_a_writer_that_did_not_know__can_be_deleted),
        cmocka_unit_test(deletions__against_committers__leave_nothing),
        cmocka_unit_test(mark__waits_for_who_has_begun_to_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
