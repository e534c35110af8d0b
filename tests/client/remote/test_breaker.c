/*
 * test_breaker.c - who may ask a remote that was found to be away, with a clock of
 * the test's own.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "client/remote/meter.h"

#define MS UINT64_C(1000000)

static uint64_t now_ns = 1000 * MS;

static uint64_t
test_clock(void *ctx)
{
    (void)ctx;
    return now_ns;
}

struct fixture {
    struct ramet_os os;
    struct ramet_meter meter;
    bool probes;
};

static void
begin(struct fixture *f)
{
    f->os = *ramet_os_system();
    f->os.mono_ns = test_clock;
    ramet_meter_init(&f->meter, &f->os);
}

static void
lose(struct fixture *f)
{
    struct ramet_err err;
    const enum ramet_rc rc = RAMET_FAIL(&err, RAMET_ETIMEOUT, "nobody answers");

    ramet_meter_note(&f->meter, rc, &err);
}

static enum ramet_rc
check(struct fixture *f)
{
    struct ramet_err err = {.text = ""};
    const enum ramet_rc rc = ramet_meter_check(&f->meter, &f->probes, &err);

    if (rc != RAMET_OK)
        assert_non_null(strstr(err.text, "nobody answers"));
    return rc;
}

static void
breaker__lets_one_through_at_a_time(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(check(&f), RAMET_OK);
        assert_false(f.probes);
    }
    lose(&f);
    assert_int_equal(check(&f), RAMET_EUNREACHABLE);
    for (unsigned round = 0; round < 3; round++) {
        now_ns += RAMET_BREAKER_MS * MS;
        assert_int_equal(check(&f), RAMET_OK);
        assert_true(f.probes);
        for (unsigned i = 0; i < 10; i++)
            assert_int_equal(check(&f), RAMET_EUNREACHABLE);
        lose(&f);
        assert_int_equal(check(&f), RAMET_EUNREACHABLE);
    }
    /* One of whom nothing is heard does not keep all others out. */
    now_ns += RAMET_BREAKER_MS * MS;
    assert_int_equal(check(&f), RAMET_OK);
    now_ns += RAMET_PROBE_MS * MS - 1;
    assert_int_equal(check(&f), RAMET_EUNREACHABLE);
    now_ns += 1;
    assert_int_equal(check(&f), RAMET_OK);
    ramet_meter_done(&f.meter);
}

static void
breaker__is_closed_by_any_answer(void **state)
{
    static const enum ramet_rc answers[] = {RAMET_OK, RAMET_ENOTFOUND,
                                            RAMET_EAUTH};
    struct fixture f;

    (void)state;
    begin(&f);
    for (size_t i = 0; i < 3; i++) {
        struct ramet_err err = {.text = "an answer"};

        lose(&f);
        assert_int_equal(check(&f), RAMET_EUNREACHABLE);
        ramet_meter_note(&f.meter, answers[i], &err);
        assert_int_equal(check(&f), RAMET_OK);
        assert_false(f.probes);
    }
    /* What says nothing of the remote changes nothing. */
    lose(&f);
    ramet_meter_note(&f.meter, RAMET_ENOMEM, NULL);
    ramet_meter_note(&f.meter, RAMET_ECANCELLED, NULL);
    assert_int_equal(check(&f), RAMET_EUNREACHABLE);
    ramet_meter_done(&f.meter);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breaker__lets_one_through_at_a_time),
        cmocka_unit_test(breaker__is_closed_by_any_answer),
    };

    return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
