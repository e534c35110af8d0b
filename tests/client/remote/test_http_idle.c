/*
 * test_http_idle.c - idle connections that a process keeps once.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/remote/http_idle.h"

static void
handle__goes_to_who_asks_for_its_server_next(void **state)
{
    CURL *a, *b, *c;

    (void)state;
    ramet_http_idle_join();
    a = ramet_http_idle_take("http://a:1");
    b = ramet_http_idle_take("http://b:1");
    assert_non_null(a);
    assert_non_null(b);
    ramet_http_idle_put("http://a:1", a);
    ramet_http_idle_put("http://b:1", b);
    assert_ptr_equal(ramet_http_idle_take("http://a:1"), a);
    c = ramet_http_idle_take("http://a:1");
    assert_ptr_not_equal(c, b); /* that is another server's */
    ramet_http_idle_put("http://a:1", a);
    ramet_http_idle_put("http://a:1", c);
    assert_ptr_equal(ramet_http_idle_take("http://a:1"), c); /* the warmest */
    ramet_http_idle_put("http://a:1", c);
    ramet_http_idle_leave();
}

/* The newest are kept. */
static void
idle_list__that_is_full_closes_what_was_idle_longest(void **state)
{
    CURL *curls[RAMET_HTTP_IDLE_MAX + 5];
    char server[32];

    (void)state;
    ramet_http_idle_join();
    for (unsigned i = 0; i < RAMET_HTTP_IDLE_MAX + 5; i++)
        curls[i] = ramet_http_idle_take("http://none");
    for (unsigned i = 0; i < RAMET_HTTP_IDLE_MAX + 5; i++) {
        snprintf(server, sizeof(server), "http://s%u", i);
        ramet_http_idle_put(server, curls[i]);
    }
    for (unsigned i = 5; i < RAMET_HTTP_IDLE_MAX + 5; i++) {
        snprintf(server, sizeof(server), "http://s%u", i);
        assert_ptr_equal(ramet_http_idle_take(server), curls[i]);
        ramet_http_idle_put(server, curls[i]);
    }
    ramet_http_idle_leave();
}

/* Its parent's connections are not a child's, and not for it to close. */
static void
child__has_no_connection_of_its_parent(void **state)
{
    CURL *const mine = ramet_http_idle_take("http://a:1");
    int status = 0;
    pid_t child;

    (void)state;
    ramet_http_idle_join();
    ramet_http_idle_put("http://a:1", mine);
    child = fork();
    if (child == 0) {
        CURL *own;

        ramet_http_idle_join();
        own = ramet_http_idle_take("http://a:1");
        if (own == NULL || own == mine)
            _exit(1);
        ramet_http_idle_put("http://a:1", own);
        if (ramet_http_idle_take("http://a:1") != own)
            _exit(2);
        ramet_http_idle_put("http://a:1", own);
        ramet_http_idle_leave();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_ptr_equal(ramet_http_idle_take("http://a:1"), mine);
    ramet_http_idle_put("http://a:1", mine);
    ramet_http_idle_leave();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handle__goes_to_who_asks_for_its_server_next),
        cmocka_unit_test(idle_list__that_is_full_closes_what_was_idle_longest),
        cmocka_unit_test(child__has_no_connection_of_its_parent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
