/*
 * test_remote.c - the client's HTTP remote against a real server: whatever a
 * direct store does, the same through the API.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "client/remote/http_conn.h"
#include "core/bytes.h"
#include "core/hash.h"
#include "core/thread.h"
#include "metastore/catalog.h"
#include "tests/server/fixture.h"
#include "tests/support/point.h"

static void
remote__commits_and_reads_like_a_store(void **state)
{
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 1);
    for (unsigned i = 0; i < 150; i++)
        model_random_commit(&model);
    for (uint64_t lsn = 1; lsn <= model.lsn; lsn += 7)
        model_check_lsn(&model, lsn);
    model_check_changed(&model, 3, model.lsn);
    model_reopen(&model);
    model_check_lsn(&model, model.lsn);
    model_done(&model);
    fixture_stop(&f);
}

static void
remote__mixes_with_direct_clients(void **state)
{
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 2);
    for (unsigned i = 0; i < 40; i++) {
        model.store = i % 2 == 0 ? f.remote->store : f.direct;
        model_reopen(&model);
        model_random_commit(&model);
        model_random_commit(&model);
    }
    model.store = f.direct;
    model_reopen(&model);
    model_check_lsn(&model, model.lsn);
    model.store = f.remote->store;
    model_reopen(&model);
    for (uint64_t lsn = 1; lsn <= model.lsn; lsn++)
        model_check_lsn(&model, lsn);
    model_done(&model);
    fixture_stop(&f);
}

static void
remote__large_segments_are_uploaded(void **state)
{
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 3);
    model.never_inline = true;
    model_write(&model, 1, 3000);
    model_write_random(&model, 500);
    model_reopen(&model);
    model_check_lsn(&model, 1);
    model_check_lsn(&model, 2);
    model_done(&model);
    fixture_stop(&f);
}

static void
remote__names_are_bound_and_listed(void **state)
{
    struct ramet_vid one, two, found;
    struct ramet_err err;
    struct fixture f;

    (void)state;
    fixture_start(&f, NULL);
    assert_int_equal(ramet_id_new(&one.id, &err), RAMET_OK);
    assert_int_equal(ramet_id_new(&two.id, &err), RAMET_OK);
    assert_int_equal(ramet_catalog_check(f.remote->store, false, &err),
                     RAMET_OK);
    assert_int_equal(
        ramet_catalog_resolve(f.remote->store, "app", &found, &err),
        RAMET_ENOTFOUND);
    assert_int_equal(
        ramet_catalog_bind(f.remote->store, "app", &one, false, &err),
        RAMET_OK);
    assert_int_equal(
        ramet_catalog_bind(f.remote->store, "app", &two, false, &err),
        RAMET_EEXIST);
    assert_int_equal(ramet_catalog_resolve(f.direct, "app", &found, &err),
                     RAMET_OK);
    assert_memory_equal(&found, &one, sizeof(one));
    assert_int_equal(
        ramet_catalog_bind(f.remote->store, "app", &two, true, &err), RAMET_OK);
    assert_int_equal(
        ramet_catalog_resolve(f.remote->store, "app", &found, &err), RAMET_OK);
    assert_memory_equal(&found, &two, sizeof(two));
    fixture_stop(&f);
}

/* The object of docs/format.md, "Names", under any number. */
static enum ramet_rc
put_name(struct ramet_objstore *store, const char *name, uint64_t seq,
         const struct ramet_vid *volume, struct ramet_err *err)
{
    uint8_t hashed[100] = "", *object = hashed + strlen(name);
    struct iovec part = {object, 48};
    char key[RAMET_KEY_MAX];
    struct ramet_hash hash;

    memcpy(hashed, name, strlen(name));
    memcpy(object, "RAMTNAM\x01", 8);
    ramet_put_le64(object + 8, seq);
    memcpy(object + 16, volume, sizeof(*volume));
    hash = ramet_hash128(hashed, strlen(name) + 32);
    memcpy(object + 32, &hash, sizeof(hash));
    (void)snprintf(key, sizeof(key), "names/%s/%016llx", name,
                   (unsigned long long)~seq);
    return ramet_objstore_put(store, key, &part, 1, err);
}

/* So that there is always a next one. */
static void
remote__names_count_up_by_one(void **state)
{
    static const uint64_t refused[] = {
        0, 2, 3, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX};
    struct ramet_vid one, two, found;
    struct ramet_err err;
    struct fixture f;

    (void)state;
    fixture_start(&f, NULL);
    assert_int_equal(ramet_id_new(&one.id, &err), RAMET_OK);
    assert_int_equal(ramet_id_new(&two.id, &err), RAMET_OK);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_not_equal(
            put_name(f.remote->store, "app", refused[i], &one, &err), RAMET_OK);
    assert_int_equal(put_name(f.remote->store, "app", 1, &one, &err), RAMET_OK);
    assert_int_equal(put_name(f.remote->store, "app", 1, &two, &err),
                     RAMET_EEXIST);
    for (size_t i = 2; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(
            put_name(f.remote->store, "app", refused[i], &two, &err),
            RAMET_ECONFLICT);
    assert_int_equal(put_name(f.remote->store, "app", 2, &two, &err), RAMET_OK);
    assert_int_equal(ramet_catalog_resolve(f.direct, "app", &found, &err),
                     RAMET_OK);
    assert_memory_equal(&found, &two, sizeof(two));
    /* Put there by other means, it is told at once. */
    assert_int_equal(put_name(f.direct, "end", UINT64_MAX, &one, &err),
                     RAMET_OK);
    assert_int_equal(
        ramet_catalog_bind(f.remote->store, "end", &two, true, &err),
        RAMET_ETOOBIG);
    fixture_stop(&f);
}

/* The model's newest commit, as it is, into another store. */
static enum ramet_rc
put_newest(struct ramet_objstore *to, const struct model *model)
{
    uint8_t object[65536];
    char key[RAMET_KEY_MAX];
    struct iovec part = {object, 0};
    struct ramet_err err;

    ramet_commit_key(&model->volume, model->lsn, key);
    assert_int_equal(ramet_objstore_read(model->store, key, 0, object,
                                         sizeof(object), &part.iov_len, NULL),
                     RAMET_OK);
    assert_in_range(part.iov_len, 1, sizeof(object) - 1);
    return ramet_objstore_put(to, key, &part, 1, &err);
}

/* A server refuses a commit with one status where its slot is taken and where its base
 * is not there: who waits for the winner of a slot is told of one that there is. */
static void
remote__commit_on_another_base__has_not_lost_a_slot(void **state)
{
    struct ramet_objstore *elsewhere;
    struct model model;
    struct fixture f;
    char key[RAMET_KEY_MAX];

    (void)state;
    fixture_start(&f, NULL);
    assert_int_equal(ramet_memstore_open(&elsewhere, NULL), RAMET_OK);
    model_init(&model, elsewhere, 5);
    model_write(&model, 1, 3);
    assert_int_equal(put_newest(f.remote->store, &model), RAMET_OK);
    model_write(&model, 1, 1);
    assert_int_equal(put_newest(f.remote->store, &model), RAMET_OK);
    ramet_commit_key(&model.volume, 2, key);
    assert_int_equal(ramet_objstore_remove(elsewhere, key, NULL), RAMET_OK);
    model_drop_newest(&model);
    model_reopen(&model);
    model_write(&model, 2, 1);
    assert_int_equal(put_newest(f.remote->store, &model), RAMET_EEXIST);
    model_write(&model, 3, 1); /* on another commit 2 than the server's */
    assert_int_equal(put_newest(f.remote->store, &model), RAMET_EWENTBACK);
    model_write(&model, 1, 1); /* on no commit of the server's */
    assert_int_equal(put_newest(f.remote->store, &model), RAMET_EWENTBACK);
    model_done(&model);
    ramet_objstore_close(elsewhere);
    fixture_stop(&f);
}

static enum ramet_rc
count_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    (void)pgno;
    (void)page;
    (void)err;
    ++*(unsigned *)ctx;
    return RAMET_OK;
}

/* By name, at the newest: which volume, its head, and what all readers need. */
/* What the server has in memory of a commit says nothing of the store: above a gap it
 * takes none. */
static void
remote__commit_on_what_a_restore_took__is_refused(void **state)
{
    struct ramet_objstore *elsewhere;
    struct model model;
    struct fixture f;
    char key[RAMET_KEY_MAX];
    uint64_t size;

    (void)state;
    fixture_start(&f, NULL);
    assert_int_equal(ramet_memstore_open(&elsewhere, NULL), RAMET_OK);
    model_init(&model, elsewhere, 7);
    for (unsigned i = 0; i < 3; i++) {
        model_write(&model, 1, 3);
        assert_int_equal(put_newest(f.remote->store, &model), RAMET_OK);
    }
    ramet_commit_key(&model.volume, 3, key);
    assert_int_equal(ramet_objstore_remove(f.direct, key, NULL), RAMET_OK);
    model_write(&model, 1, 1);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(put_newest(f.remote->store, &model), RAMET_EWENTBACK);
    ramet_commit_key(&model.volume, 4, key);
    assert_int_equal(ramet_objstore_size(f.direct, key, &size, NULL),
                     RAMET_ENOTFOUND);
    model_done(&model);
    ramet_objstore_close(elsewhere);
    fixture_stop(&f);
}

static void
remote__opens_a_volume_in_one_request(void **state)
{
    struct ramet_history *history;
    struct ramet_remote *fresh;
    struct ramet_vid volume;
    struct ramet_head head;
    const uint32_t first = 1;
    unsigned came = 0;
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 4);
    model_write(&model, 1, 2000);
    model_write_random(&model, 5);
    assert_int_equal(
        ramet_catalog_bind(f.remote->store, "app", &model.volume, false, &err),
        RAMET_OK);

    fresh = fixture_connect(&f, NULL);
    assert_int_equal(
        fresh->ops->open(fresh, &(struct ramet_opening_question){.name = "app"},
                         &err),
        RAMET_OK);
    assert_int_equal(fresh->ops->requests(fresh), 1);
    assert_int_equal(ramet_catalog_resolve(fresh->store, "app", &volume, &err),
                     RAMET_OK);
    assert_int_equal(ramet_id_compare(&volume.id, &model.volume.id), 0);
    assert_int_equal(
        ramet_history_open(fresh->store, &volume, NULL, &history, &err),
        RAMET_OK);
    assert_int_equal(ramet_history_newest(history, &head, &err), RAMET_OK);
    assert_int_equal(head.lsn, model.lsn);
    assert_int_equal(fresh->ops->bring(fresh, &volume,
                                       point_at(history, head.lsn), &first, 1,
                                       false, count_page, &came, &err),
                     RAMET_OK);
    assert_int_equal(came, 1);
    assert_int_equal(fresh->ops->requests(fresh), 1);
    /* What was said unasked is an answer once: who looks again asks. */
    model_write_random(&model, 1);
    assert_int_equal(ramet_history_newest(history, &head, &err), RAMET_OK);
    assert_int_equal(head.lsn, model.lsn);
    assert_true(fresh->ops->requests(fresh) > 1);
    ramet_history_close(history);
    /* A volume that is not there is not there, as without it. */
    assert_int_equal(
        fresh->ops->open(
            fresh, &(struct ramet_opening_question){.name = "nobody"}, &err),
        RAMET_OK);
    assert_int_equal(
        ramet_catalog_resolve(fresh->store, "nobody", &volume, &err),
        RAMET_ENOTFOUND);
    fresh->ops->close(fresh);
    model_done(&model);
    fixture_stop(&f);
}

struct asker {
    struct ramet_history *history;
    struct ramet_head head;
    enum ramet_rc rc;
};

static void *
ask_newest(void *arg)
{
    struct asker *const asker = arg;
    struct ramet_err err;

    asker->rc = ramet_history_newest(asker->history, &asker->head, &err);
    return NULL;
}

/* What was told to who opened is no answer to others, who may know of more, nor
 * to what is begun later. */
static void
remote__what_opening_was_told_answers_nobody_later(void **state)
{
    struct asker asker;
    struct ramet_thread thread;
    struct ramet_remote *fresh;
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.direct, 6);
    model_write(&model, 1, 20);
    assert_int_equal(
        ramet_catalog_bind(f.direct, "app", &model.volume, false, &err),
        RAMET_OK);
    fresh = fixture_connect(&f, NULL);
    assert_int_equal(ramet_history_open(fresh->store, &model.volume, NULL,
                                        &asker.history, &err),
                     RAMET_OK);
    assert_int_equal(
        fresh->ops->open(fresh, &(struct ramet_opening_question){.name = "app"},
                         &err),
        RAMET_OK);
    model_write_random(&model, 1);
    assert_int_equal(
        ramet_thread_start(&thread, "asker", ask_newest, &asker, &err),
        RAMET_OK);
    ramet_thread_join(&thread);
    assert_int_equal(asker.rc, RAMET_OK);
    assert_int_equal(asker.head.lsn, model.lsn);
    model_write_random(&model, 1);
    fresh->ops->begin(fresh);
    ask_newest(&asker);
    assert_int_equal(asker.rc, RAMET_OK);
    assert_int_equal(asker.head.lsn, model.lsn);
    ramet_history_close(asker.history);
    fresh->ops->close(fresh);
    model_done(&model);
    fixture_stop(&f);
}

/* LSN 2 becomes another commit, past the server. */
static void
change_line(struct fixture *f, struct model *model)
{
    char key[RAMET_KEY_MAX];

    model->store = f->direct;
    model_reopen(model);
    ramet_commit_key(&model->volume, 2, key);
    assert_int_equal(ramet_objstore_remove(f->direct, key, NULL), RAMET_OK);
    assert_int_equal(model->lsn, 2);
    model_drop_newest(model);
    model_reopen(model);
    model_write(model, 1, 1);
}

static enum ramet_rc
bring_at(const struct fixture *f, const struct ramet_vid *volume,
         const struct ramet_point *at, struct ramet_err *err)
{
    struct ramet_remote *const fresh = fixture_connect(f, NULL);
    const uint32_t pgno = 3;
    unsigned pages = 0;
    const enum ramet_rc rc = fresh->ops->bring(fresh, volume, at, &pgno, 1,
                                               false, count_page, &pages, err);

    assert_int_equal(fresh->ops->requests(fresh), 1);
    fresh->ops->close(fresh);
    return rc;
}

static void
remote__that_went_another_way__says_so(void **state)
{
    struct ramet_point mine, theirs;
    struct ramet_history *history;
    struct ramet_err err = {.text = ""};
    struct ramet_head head;
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 6);
    model_write(&model, 1, 10);
    model_write(&model, 3, 1);
    mine = *point_at(model.history, 2);
    assert_int_equal(ramet_history_open(f.remote->store, &model.volume, NULL,
                                        &history, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
    assert_int_equal(bring_at(&f, &model.volume, &mine, &err), RAMET_OK);
    change_line(&f, &model);
    theirs = *point_at(model.history, 2);
    assert_false(ramet_hash_equal(&mine.hash, &theirs.hash));
    /* What the server remembers is no reason to refuse what is there, */
    assert_int_equal(bring_at(&f, &model.volume, &theirs, &err), RAMET_OK);
    /* nor to give what is not, */
    assert_int_equal(bring_at(&f, &model.volume, &mine, &err), RAMET_EWENTBACK);
    assert_non_null(strstr(err.text, "another way"));
    /* and who follows notices, in the one request of a look. */
    assert_int_equal(ramet_history_newest(history, &head, &err),
                     RAMET_EWENTBACK);
    assert_non_null(strstr(err.text, "went back in time"));
    ramet_history_close(history);
    model_done(&model);
    fixture_stop(&f);
}

struct waiter {
    struct ramet_remote *remote;
    struct ramet_vid volume;
    uint64_t after;
    enum ramet_rc rc;
};

static void *
wait_for_commit(void *arg)
{
    struct waiter *w = arg;
    struct ramet_err err;

    w->rc = w->remote->ops->wait(w->remote, &w->volume, w->after, 20000, NULL,
                                 &err);
    return NULL;
}

static void
remote__wait_hears_of_commits(void **state)
{
    struct waiter waiters[3];
    struct ramet_thread threads[3] = {{.running = false}};
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 5);
    model_write(&model, 1, 4);
    assert_int_equal(
        f.remote->ops->wait(f.remote, &model.volume, 1, 50, NULL, &err),
        RAMET_ETIMEOUT);
    for (unsigned i = 0; i < 3; i++) {
        waiters[i] = (struct waiter){fixture_connect(&f, NULL), model.volume, 1,
                                     RAMET_EIO};
        assert_int_equal(ramet_thread_start(&threads[i], "wait",
                                            wait_for_commit, &waiters[i], &err),
                         RAMET_OK);
    }
    model_write(&model, 1, 1);
    for (unsigned i = 0; i < 3; i++) {
        ramet_thread_join(&threads[i]);
        assert_int_equal(waiters[i].rc, RAMET_OK);
    }
    /* A commit that was made past the server is heard of as well. */
    model.store = f.direct;
    model_reopen(&model);
    model_write(&model, 2, 1);
    waiters[0].after = 2;
    (void)wait_for_commit(&waiters[0]);
    assert_int_equal(waiters[0].rc, RAMET_OK);
    for (unsigned i = 0; i < 3; i++)
        waiters[i].remote->ops->close(waiters[i].remote);
    model_done(&model);
    fixture_stop(&f);
}

/* Every other page of `page_count`, or all. */
static void
change_pages(struct model *model, uint32_t page_count, uint32_t step)
{
    struct model_change change = {
        .page_size = 512, .least = page_count, .page_count = page_count};

    ramet_pageset_init(&change.changed);
    if (model->lsn == 0)
        change.least = 0;
    for (uint32_t pgno = 1; pgno <= page_count; pgno += step)
        assert_int_equal(ramet_pageset_add(&change.changed, pgno), RAMET_OK);
    model_commit(model, &change);
    ramet_pageset_done(&change.changed);
}

/* However many pages changed here and there, the answer is bounded. */
static void
remote__changes_are_told_in_bounded_runs(void **state)
{
    const uint32_t page_count = 40000;
    struct fixture f;
    struct model model;
    struct ramet_http_pool *pool = NULL;
    const struct ramet_remote_options options = {
        .token = "", .connect_timeout_ms = 5000, .stall_timeout_ms = 10000};
    char id[RAMET_ID_TEXT_SIZE], path[128];
    struct ramet_http_call call = {
        .method = "GET", .path = path, .body_max = 4u << 20};
    json_t *answer, *runs;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 1);
    change_pages(&model, page_count, 1);
    change_pages(&model, page_count, 2);
    assert_int_equal(
        ramet_http_pool_new(f.remote->url.root, &options, &pool, NULL),
        RAMET_OK);
    ramet_id_format(&model.volume.id, id);
    snprintf(path, sizeof(path), "/v1/volumes/%s/changes?after=1", id);
    assert_int_equal(ramet_http_perform(pool, &call, NULL), RAMET_OK);
    assert_int_equal(call.status, 200);
    answer = json_loadb((const char *)call.body.data, call.body.len, 0, NULL);
    runs = json_object_get(answer, "changed");
    assert_in_range(json_array_size(runs), 1, 16384);
    assert_in_range(json_integer_value(json_object_get(answer, "count")),
                    page_count / 2, page_count);
    json_decref(answer);
    ramet_buf_done(&call.body);
    ramet_http_pool_free(pool);
    model_done(&model);
    fixture_stop(&f);
}

static void
remote__out_of_reach_is_told(void **state)
{
    struct ramet_remote *remote = fixture_connect_port(1, NULL);
    struct ramet_err err;
    const struct iovec part = {(void *)(uintptr_t) "x", 1};
    char buf[16];
    size_t got;

    (void)state;
    assert_int_equal(ramet_objstore_read(remote->store, "ramet.json", 0, buf,
                                         sizeof(buf), &got, &err),
                     RAMET_EUNREACHABLE);
    assert_int_equal(
        ramet_objstore_put(remote->store,
                           "volumes/0192b7c5-2d2a-7000-8000-000000000001/"
                           "commits/fffffffffffffffe",
                           &part, 1, &err),
        RAMET_EUNREACHABLE);
    remote->ops->close(remote);
}

/* ---- TLS ------------------------------------------------------------------- */

static void
make_certificate(const char *dir)
{
    char command[512];

    (void)snprintf(command, sizeof(command),
                   "openssl req -x509 -newkey ec -pkeyopt "
                   "ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ramet "
                   "-addext subjectAltName=IP:127.0.0.1 -keyout %s/key.pem "
                   "-out %s/cert.pem 2>/dev/null",
                   dir, dir);
    assert_int_equal(system(command), 0);
}

static void
use_tls(struct ramet_server_options *options)
{
    char dir[128];

    (void)snprintf(dir, sizeof(dir), "%.100s", options->data);
    *strrchr(dir, '/') = '\0';
    make_certificate(dir);
    (void)snprintf(options->tls_cert, sizeof(options->tls_cert), "%s/cert.pem",
                   dir);
    (void)snprintf(options->tls_key, sizeof(options->tls_key), "%s/key.pem",
                   dir);
}

static void
remote__speaks_tls_and_checks_the_certificate(void **state)
{
    struct ramet_remote *remote;
    struct ramet_err err;
    struct fixture f;
    struct model model;
    char buf[16], dir[64];
    size_t got;

    (void)state;
    (void)unsetenv("RAMET_CA_FILE");
    fixture_start(&f, use_tls);
    remote = fixture_connect_tls(&f);
    assert_int_equal(ramet_objstore_read(remote->store, "ramet.json", 0, buf,
                                         sizeof(buf), &got, &err),
                     RAMET_EUNREACHABLE);
    remote->ops->close(remote);

    assert_int_equal(setenv("RAMET_CA_FILE", f.options.tls_cert, 1), 0);
    remote = fixture_connect_tls(&f);
    model_init(&model, remote->store, 7);
    model_write(&model, 1, 300);
    model_write_random(&model, 10);
    /* New certificate: old connections go on, new ones get the new one. */
    strcpy(dir, f.dir);
    make_certificate(dir);
    assert_int_equal(ramet_server_reload(f.server, &err), RAMET_OK);
    model_write_random(&model, 10);
    model_check_lsn(&model, model.lsn);
    model_done(&model);
    remote->ops->close(remote);
    remote = fixture_connect_tls(&f);
    assert_int_equal(ramet_objstore_read(remote->store, "ramet.json", 0, buf,
                                         sizeof(buf), &got, &err),
                     RAMET_OK);
    remote->ops->close(remote);
    /* A certificate that is none changes nothing. */
    (void)truncate(f.options.tls_cert, 10);
    assert_int_not_equal(ramet_server_reload(f.server, &err), RAMET_OK);
    (void)unsetenv("RAMET_CA_FILE");
    fixture_stop(&f);
}

/* ---- a server that goes away and comes back --------------------------------- */

static void
remote__survives_a_restart(void **state)
{
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 8);
    model_write(&model, 1, 100);
    for (unsigned i = 0; i < 3; i++) {
        fixture_restart(&f);
        model_reopen(&model);
        model_write_random(&model, 3);
        model_check_lsn(&model, model.lsn);
    }
    model_done(&model);
    fixture_stop(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remote__commits_and_reads_like_a_store),
        cmocka_unit_test(remote__mixes_with_direct_clients),
        cmocka_unit_test(remote__large_segments_are_uploaded),
        cmocka_unit_test(remote__names_are_bound_and_listed),
        cmocka_unit_test(remote__names_count_up_by_one),
        cmocka_unit_test(remote__commit_on_another_base__has_not_lost_a_slot),
        cmocka_unit_test(remote__commit_on_what_a_restore_took__is_refused),
        cmocka_unit_test(remote__opens_a_volume_in_one_request),
        cmocka_unit_test(remote__what_opening_was_told_answers_nobody_later),
        cmocka_unit_test(remote__that_went_another_way__says_so),
        cmocka_unit_test(remote__wait_hears_of_commits),
        cmocka_unit_test(remote__changes_are_told_in_bounded_runs),
        cmocka_unit_test(remote__out_of_reach_is_told),
        cmocka_unit_test(remote__speaks_tls_and_checks_the_certificate),
        cmocka_unit_test(remote__survives_a_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
