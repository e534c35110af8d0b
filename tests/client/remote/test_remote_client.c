/*
 * test_remote_client.c - a client whose remote tells of commits by itself, at times that
 * do not suit.
 */
#include "tests/support/cmocka_all.h"

#include <pthread.h>
#include <stdlib.h>

#include "client/remote/remote_client.h"
#include "core/alloc.h"
#include "metastore/catalog.h"

/* A remote that offers a commit of a thread of its own whenever it is asked for
 * something, and waits until that was looked at. */
struct telling {
    struct ramet_remote remote;
    struct ramet_vid volume;
    unsigned refused; /* of what it offered */
};

static void *
offer_one(void *arg)
{
    struct telling *const t = arg;
    const struct ramet_point at = {.lsn = 1};
    const uint8_t object[1] = {0};

    if (!t->remote.offer(t->remote.offer_ctx, &t->volume, &at, object,
                         sizeof(object)))
        t->refused++;
    return NULL;
}

static void
offer(struct telling *t)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, offer_one, t), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static enum ramet_rc
authorize(struct ramet_remote *remote, const char *token, struct ramet_err *err)
{
    (void)err;
    assert_string_equal(token, "secret");
    offer((struct telling *)remote);
    return RAMET_OK;
}

static unsigned refused_at_close;

static void
close_remote(struct ramet_remote *remote)
{
    struct telling *const t = (struct telling *)remote;

    offer(t); /* as a stream may until it is left */
    refused_at_close = t->refused;
    ramet_objstore_close(remote->store);
    ramet_free(t);
}

static const struct ramet_remote_ops telling_ops = {.authorize = authorize,
                                                    .close = close_remote};

static struct telling *
share(struct ramet_remote_client **out_client)
{
    struct telling *const t = ramet_calloc(1, sizeof(*t));
    struct ramet_history *history;

    assert_non_null(t);
    t->remote.ops = &telling_ops;
    assert_int_equal(ramet_memstore_open(&t->remote.store, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_check(t->remote.store, true, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_id_new(&t->volume.id, NULL), RAMET_OK);
    assert_int_equal(
        ramet_url_parse("http://nowhere.invalid/vol", &t->remote.url, NULL),
        RAMET_OK);
    assert_int_equal(
        ramet_remote_client_share(NULL, &t->remote, out_client, NULL),
        RAMET_OK);
    assert_int_equal(
        ramet_remote_client_history(*out_client, &t->volume, &history, NULL),
        RAMET_OK);
    return t;
}

static void
commit_that_comes_while_it_is_closed__touches_nothing_freed(void **state)
{
    struct ramet_remote_client *client;

    (void)state;
    refused_at_close = 0;
    (void)share(&client);
    ramet_remote_client_close(client);
    assert_int_equal(refused_at_close, 1);
}

static void
commit_that_comes_while_a_token_is_handed_over__holds_nobody_up(void **state)
{
    const struct ramet_remote_client_options options = {.token = "secret"};
    struct ramet_remote_client *client, *same;
    struct telling *const t = share(&client);

    (void)state;
    assert_int_equal(
        ramet_remote_client_open(&t->remote.url, &options, &same, NULL),
        RAMET_OK);
    assert_ptr_equal(same, client);
    assert_int_equal(t->refused, 1);
    ramet_remote_client_close(same);
    ramet_remote_client_close(client);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            commit_that_comes_while_it_is_closed__touches_nothing_freed),
        cmocka_unit_test(
            commit_that_comes_while_a_token_is_handed_over__holds_nobody_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
