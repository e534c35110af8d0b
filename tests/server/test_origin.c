/*
 * test_origin.c - which server a root names, and whether that is this machine.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "core/origin.h"

static void
origin__of_a_root__is_its_scheme_host_and_port(void **state)
{
    static const struct {
        const char *root, *text;
        bool is_loopback;
    } cases[] = {
        {"http://localhost", "http://localhost:80", true},
        {"https://localhost/team", "https://localhost:443", true},
        {"http://localhost:7411/a:b", "http://localhost:7411", true},
        {"http://localhost.example", "http://localhost.example:80", false},
        {"http://localhost.", "http://localhost.:80", false},
        {"http://xlocalhost", "http://xlocalhost:80", false},
        {"http://127.0.0.1:1", "http://127.0.0.1:1", true},
        {"http://127.255.3.9", "http://127.255.3.9:80", true},
        {"http://127.0.0.1.example", "http://127.0.0.1.example:80", false},
        {"http://127.0.0.256", "http://127.0.0.256:80", false},
        {"http://127.0.0", "http://127.0.0:80", false},
        {"http://127.0.0.1.2", "http://127.0.0.1.2:80", false},
        {"http://127.example", "http://127.example:80", false},
        {"http://1270.0.0.1", "http://1270.0.0.1:80", false},
        {"https://[::1]:5/x", "https://[::1]:5", true},
        {"https://[::1]", "https://[::1]:443", true},
        {"https://[::2]:5", "https://[::2]:5", false},
        {"http://10.0.0.1", "http://10.0.0.1:80", false},
    };
    struct ramet_origin origin;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(ramet_origin_of(cases[i].root, &origin));
        assert_string_equal(origin.text, cases[i].text);
        if (origin.is_loopback != cases[i].is_loopback)
            fail_msg("%s", cases[i].root);
        assert_int_equal(origin.is_plain, cases[i].root[4] == ':');
    }
    assert_false(ramet_origin_of("file:///a", &origin));
    assert_false(ramet_origin_of("/srv/store", &origin));
    assert_false(ramet_origin_of("s3://bucket", &origin));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origin__of_a_root__is_its_scheme_host_and_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
