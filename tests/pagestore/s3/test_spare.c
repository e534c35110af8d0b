/*
 * test_spare.c - connections that are set up before they are needed, by the invariants
 * of spare.h.
 */
#include "tests/support/cmocka_all.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "pagestore/s3/spare.h"

struct service {
    int fd;
    struct sockaddr_in address;
    struct ramet_s3_spares spares;
};

static void
service_open(struct service *s)
{
    socklen_t length = sizeof(s->address);

    memset(s, 0, sizeof(*s));
    s->address.sin_family = AF_INET;
    s->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(s->fd >= 0);
    assert_int_equal(
        bind(s->fd, (struct sockaddr *)&s->address, sizeof(s->address)), 0);
    assert_int_equal(listen(s->fd, 64), 0);
    assert_int_equal(
        getsockname(s->fd, (struct sockaddr *)&s->address, &length), 0);
    memcpy(&s->spares.last.bytes, &s->address, sizeof(s->address));
    s->spares.last.length = sizeof(s->address);
}

static void
service_close(struct service *s)
{
    ramet_s3_spares_done(&s->spares);
    assert_int_equal(s->spares.count, 0);
    close(s->fd);
}

/* Wait until spare `at` has what `events` says. */
static void
wait_for(const struct service *s, unsigned at, short events)
{
    struct pollfd one = {.fd = s->spares.all[at].fd, .events = events};

    assert_int_equal(poll(&one, 1, 20000), 1);
}

static int
take(struct service *s, uint64_t now_ms)
{
    return ramet_s3_spares_take(&s->spares, (struct sockaddr *)&s->address,
                                sizeof(s->address), now_ms);
}

static void
spares__are_prepared_once_and_bounded(void **state)
{
    struct service s;

    (void)state;
    service_open(&s);
    ramet_s3_spares_prepare(&s.spares, 3, 1000);
    ramet_s3_spares_prepare(&s.spares, 3, 1000);
    assert_int_equal(s.spares.count, 3);
    ramet_s3_spares_prepare(&s.spares, 1000, 1000);
    assert_int_equal(s.spares.count, RAMET_S3_SPARES);
    service_close(&s);
}

static void
spare__is_given_once_and_to_its_address_alone(void **state)
{
    struct service s;
    struct sockaddr_in other;
    int first, second;

    (void)state;
    service_open(&s);
    other = s.address;
    other.sin_port ^= 1;
    ramet_s3_spares_prepare(&s.spares, 2, 1000);
    wait_for(&s, 0, POLLOUT);
    wait_for(&s, 1, POLLOUT);
    assert_int_equal(ramet_s3_spares_take(&s.spares, (struct sockaddr *)&other,
                                          sizeof(other), 1000),
                     -1);
    first = take(&s, 1000);
    second = take(&s, 1000);
    assert_true(first >= 0 && second >= 0 && first != second);
    assert_int_equal(take(&s, 1000), -1);
    close(first);
    close(second);
    service_close(&s);
}

/* One that the service closed, and one that is too old. */
static void
spare__that_may_be_dead_is_given_to_nobody(void **state)
{
    struct service s;
    int accepted;

    (void)state;
    service_open(&s);
    ramet_s3_spares_prepare(&s.spares, 1, 1000);
    accepted = accept(s.fd, NULL, NULL);
    assert_true(accepted >= 0);
    close(accepted);
    wait_for(&s, 0, POLLIN);
    assert_int_equal(take(&s, 1000), -1);
    assert_int_equal(s.spares.count, 0);
    ramet_s3_spares_prepare(&s.spares, 1, 1000);
    wait_for(&s, 0, POLLOUT);
    assert_int_equal(
        ramet_s3_spares_trim(&s.spares, 1000 + RAMET_S3_SPARE_AGE_MS), 1);
    assert_int_equal(take(&s, 1001 + RAMET_S3_SPARE_AGE_MS), -1);
    assert_int_equal(s.spares.count, 0);
    service_close(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spares__are_prepared_once_and_bounded),
        cmocka_unit_test(spare__is_given_once_and_to_its_address_alone),
        cmocka_unit_test(spare__that_may_be_dead_is_given_to_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
