/*
 * test_presence.c - the words of `presence`: any bits that flip in one
 * are noticed, and a replica of before they had check bits is understood.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/state.h"
#include "client/store/replicas.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/bytes.h"

static const uint64_t values[] = {
    RAMET_PRESENCE_HELD,      RAMET_PRESENCE_ZERO,
    RAMET_PRESENCE_ABSENT,    4,
    UINT64_C(0x123456789abc), UINT64_C(0x800000000000),
    RAMET_PRESENCE_MASK - 1};
static const uint32_t pages[] = {1, 2, 77, 4096, 1u << 20, UINT32_MAX};

static void
word__of_each_value__comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        for (size_t j = 0; j < sizeof(pages) / sizeof(pages[0]); j++)
            for (int checked = 0; checked < 2; checked++) {
                const uint64_t word =
                    ramet_presence_encode(pages[j], values[i], checked);

                if (checked == 0 && pages[j] == 1 && values[i] > 3)
                    continue; /* of page 1 the sum had more */
                assert_int_equal(ramet_presence_decode(pages[j], word, checked),
                                 values[i]);
            }
    for (size_t j = 0; j < sizeof(pages) / sizeof(pages[0]); j++) {
        assert_int_equal(
            ramet_presence_encode(pages[j], RAMET_PRESENCE_DEFAULT, true), 0);
        assert_int_equal(ramet_presence_decode(pages[j], 0, true),
                         RAMET_PRESENCE_DEFAULT);
        /* What is damaged stays so when the words around it are written. */
        assert_int_equal(
            ramet_presence_decode(
                pages[j],
                ramet_presence_encode(pages[j], RAMET_PRESENCE_DAMAGED, true),
                true),
            RAMET_PRESENCE_DAMAGED);
    }
}

static void
word__with_one_two_or_three_flipped_bits__is_damaged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        const uint64_t word = ramet_presence_encode(77, values[i], true);

        for (unsigned a = 0; a < 64; a++)
            for (unsigned b = a; b < 64; b++)
                for (unsigned c = b; c < 64; c++) {
                    const uint64_t flips =
                        UINT64_C(1) << a | UINT64_C(1) << b | UINT64_C(1) << c;

                    assert_int_equal(
                        ramet_presence_decode(77, word ^ flips, true),
                        RAMET_PRESENCE_DAMAGED);
                }
    }
    for (unsigned a = 0; a < 64; a++) /* of a word that nobody wrote */
        assert_int_equal(ramet_presence_decode(77, UINT64_C(1) << a, true),
                         RAMET_PRESENCE_DAMAGED);
}

static void
word__of_another_page__is_damaged(void **state)
{
    const uint64_t word = ramet_presence_encode(1000, values[4], true);

    (void)state;
    for (uint32_t pgno = 1; pgno < 2000; pgno++)
        assert_int_equal(ramet_presence_decode(pgno, word, true),
                         pgno == 1000 ? values[4] : RAMET_PRESENCE_DAMAGED);
}

static void
checksum__is_never_a_word_of_another_meaning(void **state)
{
    const uint64_t hashes[] = {0,
                               1,
                               2,
                               3,
                               4,
                               RAMET_PRESENCE_MASK,
                               RAMET_PRESENCE_MASK - 1,
                               UINT64_MAX,
                               UINT64_C(0xffff000000000003)};

    (void)state;
    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        const uint64_t value = ramet_presence_of_hash(hashes[i]);

        assert_true(ramet_presence_is_sum(value));
        assert_true(value < RAMET_PRESENCE_MASK);
    }
}

/* ---- in a replica ---------------------------------------------------------- */

/* A clone of 20 pages, of which the first ten were brought into the base. */
static struct image *
make_half(struct place *p)
{
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *const image = place_image(5, 20 * PLACE_PAGE);
    struct ramet_remote_point point;
    struct ramet_session *session;
    uint8_t buf[10 * PLACE_PAGE];
    size_t got;

    remote_add(&p->remote, image_ref(image));
    p->remote.brings_neighbours = false;
    point = remote_point(&p->remote, 1);
    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    session = place_open(p, 0);
    OK(ramet_session_pin(session, e));
    OK(ramet_session_read(session, 0, buf, sizeof(buf), &got, e));
    ramet_session_unpin(session);
    OK(ramet_session_checkpoint(session, true, e));
    ramet_session_close(session);
    return image;
}

static void
change_file(const struct place *p, const char *name, size_t at,
            const void *with, size_t len)
{
    char path[300];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, with, len, (off_t)at), (ssize_t)len);
    close(fd);
}

static void
cut_file(const struct place *p, const char *name, size_t len)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    assert_int_equal(truncate(path, (off_t)len), 0);
}

static size_t
read_file(const struct place *p, const char *name, uint8_t *out, size_t max)
{
    char path[300];
    ssize_t got;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    got = read(fd, out, max);
    assert_true(got >= 0 && (size_t)got < max);
    close(fd);
    return (size_t)got;
}

/* Half of them held, half absent: neither is taken for the other. */
static void
presence__with_any_flipped_bit__is_noticed_and_repaired(void **state)
{
    struct place *const p = *state;
    struct image *const image = make_half(p);
    uint8_t raw[4096];
    const size_t size = read_file(p, "presence", raw, sizeof(raw));
    struct ramet_session *session;
    uint8_t page[PLACE_PAGE];
    uint64_t checked;
    uint64_t bad;
    size_t got;

    assert_true(size >= 80);
    for (size_t bit = 0; bit < size * 8; bit++) {
        const size_t at = bit / 8;
        const uint8_t flipped = raw[at] ^ (uint8_t)(1u << bit % 8);

        change_file(p, "presence", at, &flipped, 1);
        session = place_open(p, 0);
        OK(ramet_session_pin(session, e));
        assert_int_equal(ramet_session_read(session,
                                            (uint64_t)(at / 8) * PLACE_PAGE,
                                            page, PLACE_PAGE, &got, NULL),
                         RAMET_ECORRUPT);
        ramet_session_close(session);
        change_file(p, "presence", 0, raw, size);
    }
    for (uint32_t pgno = 1; pgno <= 2; pgno++) { /* page 1 can't be absent */
        raw[pgno * 8 - 8] ^= 1;
        change_file(p, "presence", 0, raw, size);
        session = place_open(p, 0);
        OK(ramet_session_verify(session, &checked, &bad, e));
        assert_int_equal(bad, pgno);
        place_expect(session, image, __LINE__);
        OK(ramet_session_verify(session, &checked, &bad, e));
        assert_int_equal(bad, 0);
        OK(ramet_session_checkpoint(session, true, e));
        ramet_session_close(session);
    }
    image_unref(image);
}

/* Whether the page is here can't be told: the base's hole is not taken for it while
 * any page may be absent. */
static void
presence__of_an_absent_page__is_damaged__does_not_make_it_zeros(void **state)
{
    static const uint8_t garbage[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct ramet_err err = {.text = ""};
    uint8_t page[PLACE_PAGE];
    size_t got;
    struct place *const p = *state;
    struct image *const image = make_half(p);
    struct ramet_session *session;
    uint64_t checked;
    uint64_t bad;

    change_file(p, "presence", 14 * sizeof(garbage), garbage, sizeof(garbage));
    session = place_open(p, 0);
    OK(ramet_session_pin(session, e));
    assert_int_equal(
        ramet_session_read(session, 14 * PLACE_PAGE, page, 1, &got, &err),
        RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "presence is damaged"));
    ramet_session_unpin(session);
    OK(ramet_session_verify(session, &checked, &bad, e));
    assert_int_equal(bad, 1);
    OK(ramet_session_verify(session, &checked, &bad, e));
    assert_int_equal(bad, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* As a replica of version 1 left it: state without the flags, and the times and
 * numbers at its end; words that are values alone. */
static void
presence__of_a_replica_of_version_1__is_understood(void **state)
{
    struct place *const p = *state;
    struct image *const image = make_half(p);
    uint8_t raw[8193];
    uint8_t fields[4096];
    uint64_t checked;
    uint64_t bad;
    size_t size = read_file(p, "presence", raw, sizeof(raw));
    struct ramet_session *session;

    for (uint32_t i = 0; i < size / 8; i++) {
        uint64_t value =
            ramet_presence_decode(i + 1, ramet_get_le64(raw + i * 8), true);

        if (ramet_presence_is_sum(value))
            value = ramet_hash64(image->bytes + i * PLACE_PAGE, PLACE_PAGE);
        ramet_put_le64(raw + i * 8, value);
    }
    change_file(p, "presence", 0, raw, size);
    /* The fields of a slot, without what stands at their end. */
    assert_int_equal(read_file(p, "state", raw, sizeof(raw)), 8192);
    size = place_state_of_version_3(raw, 8192, fields) - 48;
    size -= (ramet_get_le32(fields) & 512) != 0 ? 8 : 0; /* a kept log */
    memcpy(raw + 8, fields, size);
    raw[7] = 1;
    ramet_put_le32(raw + 8, ramet_get_le32(raw + 8) & 31);
    ramet_put_le64(raw + 8 + size, ramet_hash64(raw, 8 + size));
    change_file(p, "state", 0, raw, size + 16);
    cut_file(p, "state", size + 16);

    session = place_open(p, 0);
    OK(ramet_session_verify(session, &checked, &bad, e));
    assert_int_equal(bad, 0);
    assert_int_equal(checked, 10);
    OK(place_commit(session, image, e));
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    session = place_open(p, 0);
    OK(ramet_session_verify(session, &checked, &bad, e));
    assert_int_equal(bad, 0);
    assert_int_equal(checked, 20);
    ramet_session_close(session);
    image_unref(image);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(word__of_each_value__comes_back),
        cmocka_unit_test(word__with_one_two_or_three_flipped_bits__is_damaged),
        cmocka_unit_test(word__of_another_page__is_damaged),
        cmocka_unit_test(checksum__is_never_a_word_of_another_meaning),
        cmocka_unit_test_setup_teardown(
            presence__with_any_flipped_bit__is_noticed_and_repaired,
            place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(
            presence__of_an_absent_page__is_damaged__does_not_make_it_zeros,
            place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(
            presence__of_a_replica_of_version_1__is_understood, place_setup,
            place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
