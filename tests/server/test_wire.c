/*
 * test_wire.c - bytes on the wire: page requests and their answers by vectors,
 * both ways, damaged in every way; news; ranges and conditions of HTTP.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/news.h"
#include "server/conditional.h"
#include "server/news.h"
#include "server/pages.h"
#include "server/server_impl.h"
#include "tests/server/wire_client.h"
#include "tests/support/cmocka_all.h"

static struct ramet_vid
some_volume(void)
{
    struct ramet_vid volume;

    memset(&volume, 0x11, sizeof(volume));
    return volume;
}

/* ---- requests ------------------------------------------------------------------ */

static void
request__is_the_vector_of_the_document(void **state)
{
    static const uint8_t vector[] = {1, 0, 3, 1, 0x0c, 0};
    static const uint8_t with_hash[] = {
        1,    4,    3,    0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a,
        0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 1,    0x0c, 0};
    const uint32_t pgno = 7;
    struct ramet_pages_request request;
    struct ramet_buf out;

    (void)state;
    ramet_buf_init(&out, 100);
    wire_encode(&out, 3, 0, &pgno, 1);
    assert_int_equal(out.len, sizeof(vector));
    assert_memory_equal(out.data, vector, sizeof(vector));
    assert_int_equal(ramet_pages_decode(vector, sizeof(vector), &request, NULL),
                     RAMET_OK);
    assert_int_equal(request.at.lsn, 3);
    assert_int_equal(request.page_count, 1);
    assert_int_equal(request.runs[0].first, 7);
    assert_int_equal(request.runs[0].last, 7);
    ramet_pages_request_done(&request);
    ramet_buf_clear(&out);
    wire_encode(&out, 3, 4, &pgno, 1); /* with a hash of 5a */
    assert_int_equal(out.len, sizeof(with_hash));
    assert_memory_equal(out.data, with_hash, sizeof(with_hash));
    assert_int_equal(ramet_pages_decode(out.data, out.len, &request, NULL),
                     RAMET_OK);
    assert_int_equal(request.at.lsn, 3);
    assert_memory_equal(request.at.hash.bytes, with_hash + 3, RAMET_HASH_SIZE);
    assert_int_equal(request.runs[0].first, 7);
    ramet_pages_request_done(&request);
    ramet_buf_done(&out);
}

static void
request__keeps_the_order(void **state)
{
    const uint32_t pgnos[] = {9, 10, 11, 4, 3, 2, UINT32_MAX, 1};
    struct ramet_pages_request request;
    struct ramet_buf out;
    size_t n = 0;

    (void)state;
    ramet_buf_init(&out, 1000);
    wire_encode(&out, 1u << 30, 3, pgnos, 8);
    assert_int_equal(ramet_pages_decode(out.data, out.len, &request, NULL),
                     RAMET_OK);
    assert_int_equal(request.flags, 3);
    assert_int_equal(request.page_count, 8);
    for (uint32_t i = 0; i < request.run_count; i++) {
        for (uint64_t p = request.runs[i].first; p <= request.runs[i].last; p++)
            assert_int_equal(p, pgnos[n++]);
    }
    assert_int_equal(n, 8);
    ramet_pages_request_done(&request);
    ramet_buf_done(&out);
}

static void
request__damaged_is_refused_or_another_request(void **state)
{
    const uint32_t pgnos[] = {70000, 5, 6, 7, 1};
    struct ramet_buf out;

    (void)state;
    ramet_buf_init(&out, 1000);
    wire_encode(&out, 12345, 1, pgnos, 5);
    for (size_t cut = 0; cut < out.len; cut++) {
        struct ramet_pages_request request;

        assert_int_equal(ramet_pages_decode(out.data, cut, &request, NULL),
                         RAMET_EINVAL);
    }
    for (size_t bit = 0; bit < out.len * 8; bit++) {
        struct ramet_pages_request request;

        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (ramet_pages_decode(out.data, out.len, &request, NULL) == RAMET_OK) {
            assert_true(request.page_count <= RAMET_PAGES_MAX);
            for (uint32_t i = 0; i < request.run_count; i++)
                assert_true(request.runs[i].first >= 1 &&
                            request.runs[i].last >= request.runs[i].first);
            ramet_pages_request_done(&request);
        }
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ramet_buf_done(&out);
}

/* ---- answers ------------------------------------------------------------------- */

static void
append_answer(struct ramet_buf *out)
{
    static const char *const keys[] = {
        "volumes/11111111-1111-1111-1111-111111111111/segments/"
        "0192b7c5-2d2a-7000-8000-000000000001",
        "volumes/11111111-1111-1111-1111-111111111111/commits/"
        "fffffffffffffffd",
        "volumes/0192b7c5-2d2a-7000-8000-000000000009/maps/"
        "0000000000000002.0192b7c5-2d2a-7000-8000-000000000003",
    };
    const struct ramet_vid volume = some_volume();

    for (unsigned i = 0; i < 3; i++) {
        struct ramet_object_range range;

        assert_true(ramet_range_of_key(keys[i], 1000 * i, &range));
        ramet_range_begin(out, &volume, &range, i == 1, 50 * i);
        for (unsigned j = 0; j < 50 * i; j++)
            ramet_buf_u8(out, (uint8_t)('a' + i));
    }
}

static void
answer__comes_back_as_it_was_sent(void **state)
{
    const struct ramet_vid volume = some_volume();
    struct wire_range ranges[4];
    struct ramet_buf out;
    size_t count;

    (void)state;
    ramet_buf_init(&out, 10000);
    append_answer(&out);
    ramet_range_end(&out, 3);
    assert_int_equal(
        wire_parse(out.data, out.len, &volume, ranges, 4, &count, NULL),
        RAMET_OK);
    assert_int_equal(count, 3);
    assert_string_equal(ranges[0].key,
                        "volumes/11111111-1111-1111-1111-111111111111/segments/"
                        "0192b7c5-2d2a-7000-8000-000000000001");
    assert_int_equal(ranges[0].len, 0);
    assert_string_equal(ranges[1].key,
                        "volumes/11111111-1111-1111-1111-111111111111/commits/"
                        "fffffffffffffffd");
    assert_true(ranges[1].ends_object);
    assert_int_equal(ranges[1].first_byte, 'b');
    assert_string_equal(ranges[2].key,
                        "volumes/0192b7c5-2d2a-7000-8000-000000000009/maps/"
                        "0000000000000002.0192b7c5-2d2a-7000-8000-"
                        "000000000003");
    assert_int_equal(ranges[2].offset, 2000);
    assert_int_equal(ranges[2].len, 100);
    ramet_buf_done(&out);
}

static void
answer__an_error_ends_it(void **state)
{
    const struct ramet_vid volume = some_volume();
    struct wire_range ranges[4];
    struct ramet_buf out;
    struct ramet_err err;
    size_t count;

    (void)state;
    ramet_buf_init(&out, 10000);
    append_answer(&out);
    ramet_range_error(&out, RAMET_ECORRUPT, "page 7\n is damaged");
    assert_int_equal(
        wire_parse(out.data, out.len, &volume, ranges, 4, &count, &err),
        RAMET_ECORRUPT);
    assert_string_equal(err.text, "page 7? is damaged");
    assert_int_equal(count, 3);
    ramet_buf_done(&out);
}

static void
answer__cut_off_is_noticed(void **state)
{
    const struct ramet_vid volume = some_volume();
    struct wire_range ranges[4];
    struct ramet_buf out;
    size_t count;

    (void)state;
    ramet_buf_init(&out, 10000);
    append_answer(&out);
    ramet_range_end(&out, 3);
    for (size_t cut = 0; cut < out.len; cut++)
        assert_int_equal(
            wire_parse(out.data, cut, &volume, ranges, 4, &count, NULL),
            RAMET_ECORRUPT);
    for (size_t bit = 0; bit < out.len * 8; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)wire_parse(out.data, out.len, &volume, ranges, 4, &count, NULL);
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* A count that is not theirs. */
    out.data[out.len - 1] = 2;
    assert_int_equal(
        wire_parse(out.data, out.len, &volume, ranges, 4, &count, NULL),
        RAMET_ECORRUPT);
    ramet_buf_done(&out);
}

/* ---- news ------------------------------------------------------------------------ */

/* What a stream said, as text. */
static enum ramet_rc
note_news(void *ctx, const struct ramet_news *news, struct ramet_err *err)
{
    char *const out = (char *)ctx + strlen(ctx);

    (void)err;
    (void)snprintf(out, 80, "%u:%u:%llu:%02x:%llu:%zu:%02x ",
                   (unsigned)news->type, news->volume,
                   (unsigned long long)news->at.lsn, news->at.hash.bytes[15],
                   (unsigned long long)news->time_ms, news->object_len,
                   news->object != NULL ? news->object[0] : 0);
    return RAMET_OK;
}

/* At once, and byte by byte. */
static enum ramet_rc
read_news(const uint8_t *data, size_t len, char out[4000])
{
    static struct ramet_news_stream whole, bytewise;
    char again[4000] = "";
    enum ramet_rc rc, rc_again = RAMET_OK;

    out[0] = '\0';
    ramet_news_stream_init(&whole, 2, note_news, out);
    rc = ramet_news_stream_feed(&whole, data, len, NULL);
    ramet_news_stream_init(&bytewise, 2, note_news, again);
    for (size_t i = 0; i < len && rc_again == RAMET_OK; i++)
        rc_again = ramet_news_stream_feed(&bytewise, data + i, 1, NULL);
    assert_int_equal(rc, rc_again);
    assert_string_equal(out, again);
    return rc;
}

static size_t
put_point(uint8_t *out, uint8_t type, uint8_t volume, uint8_t lsn, uint8_t hash)
{
    out[0] = type;
    out[1] = volume;
    out[2] = lsn;
    memset(out + 3, hash, 16);
    return 19;
}

/* The examples of docs/protocol.md, "News". */
static size_t
put_news(uint8_t out[200])
{
    static const uint8_t clock[] = {0x00, 0xe8, 0x07};
    static const uint8_t time[] = {0xe8, 0x07};
    static const uint8_t object[] = {0xe9, 0x07, 2, 0xaa, 0xbb};
    static const uint8_t gone[] = {3, 1, 4, 1};
    size_t n = 0;

    memcpy(out, clock, sizeof(clock));
    n += sizeof(clock);
    n += put_point(out + n, 2, 0, 2, 0x5a);
    memcpy(out + n, time, sizeof(time));
    n += sizeof(time);
    n += put_point(out + n, 1, 0, 3, 0x5b);
    memcpy(out + n, object, sizeof(object));
    n += sizeof(object);
    memcpy(out + n, gone, sizeof(gone));
    return n + sizeof(gone);
}

static void
news__are_those_of_the_document(void **state)
{
    uint8_t data[200];
    char text[4000];
    const size_t len = put_news(data);

    (void)state;
    assert_int_equal(read_news(data, len, text), RAMET_OK);
    assert_string_equal(text, "0:0:0:00:1000:0:00 2:0:2:5a:1000:0:00 "
                              "1:0:3:5b:1001:2:aa 3:1:0:00:0:0:00 "
                              "4:1:0:00:0:0:00 ");
    for (size_t cut = 0; cut < len; cut++) /* waits for more */
        assert_int_equal(read_news(data, cut, text), RAMET_OK);
}

static void
news__of_another_form_are_refused(void **state)
{
    static const uint8_t twice[] = {0, 1, 0, 1}, late[] = {3, 0},
                         unknown[] = {0, 1, 5, 0}, no_volume[] = {0, 1, 3, 2};
    uint8_t large[100] = {0, 1};
    char text[4000];
    size_t n = 2;

    (void)state;
    assert_int_equal(read_news(twice, sizeof(twice), text), RAMET_ECORRUPT);
    assert_int_equal(read_news(late, sizeof(late), text), RAMET_ECORRUPT);
    assert_int_equal(read_news(unknown, sizeof(unknown), text), RAMET_ECORRUPT);
    /* A number that no volume has is known to be one when the rest could be
     * there. */
    memcpy(large, no_volume, sizeof(no_volume));
    assert_int_equal(read_news(large, sizeof(large), text), RAMET_ECORRUPT);
    memset(large, 0, sizeof(large));
    large[1] = 1;
    n += put_point(large + n, 1, 0, 3, 0x5b);
    large[n++] = 1;
    large[n++] = 0x81; /* an object of 8193 bytes */
    large[n++] = 0x40;
    assert_int_equal(read_news(large, sizeof(large), text), RAMET_ECORRUPT);
    memset(large + 2, 0, sizeof(large) - 2);
    (void)put_point(large + 2, 1, 0, 0, 0); /* a commit 0 */
    assert_int_equal(read_news(large, sizeof(large), text), RAMET_ECORRUPT);
}

static void
news__with_flipped_bits_do_no_harm(void **state)
{
    uint8_t data[200];
    char text[4000];
    const size_t len = put_news(data);

    (void)state;
    for (size_t bit = 0; bit < len * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)!read_news(data, len, text);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void
watch__is_that_of_the_document(void **state)
{
    struct ramet_vid one, two;
    struct ramet_watched decoded[RAMET_NEWS_VOLUMES_MAX];
    struct ramet_buf out;
    unsigned count = 0;

    (void)state;
    memset(&one, 0x11, sizeof(one));
    memset(&two, 0x22, sizeof(two));
    ramet_buf_init(&out, 1000);
    ramet_watch_begin(&out, 2);
    ramet_watch_add(&out, &one, 2);
    ramet_watch_add(&out, &two, 0);
    assert_int_equal(out.len, 3 + 17 + 17);
    assert_memory_equal(out.data, "\1\0\2\x11", 4);
    assert_memory_equal(out.data + 19, "\2\x22", 2);
    assert_int_equal(out.data[36], 0);
    assert_int_equal(
        ramet_news_decode(out.data, out.len, decoded, &count, NULL), RAMET_OK);
    assert_int_equal(count, 2);
    assert_int_equal(decoded[0].known_lsn, 2);
    assert_int_equal(ramet_id_compare(&decoded[1].volume.id, &two.id), 0);
    for (size_t cut = 0; cut < out.len; cut++)
        assert_int_equal(
            ramet_news_decode(out.data, cut, decoded, &count, NULL),
            RAMET_EINVAL);
    ramet_buf_done(&out);
}

/* ---- HTTP ------------------------------------------------------------------------ */

static void
ranges__are_parsed(void **state)
{
    static const struct {
        const char *text;
        enum range_answer answer;
        uint64_t offset, length;
    } cases[] = {
        {"bytes=0-0", RANGE_PART, 0, 1},
        {"bytes=0-999", RANGE_PART, 0, 1000},
        {"bytes=0-5000", RANGE_PART, 0, 1000},
        {"bytes=999-", RANGE_PART, 999, 1},
        {"bytes=-1", RANGE_PART, 999, 1},
        {"bytes=-5000", RANGE_PART, 0, 1000},
        {"bytes=1000-", RANGE_BAD, 0, 0},
        {"bytes=-0", RANGE_BAD, 0, 0},
        {"bytes=99999999999999999999999-", RANGE_BAD, 0, 0},
        {"bytes=5-99999999999999999999999", RANGE_PART, 5, 995},
        {"bytes=5-4", RANGE_WHOLE, 0, 1000},
        {"bytes=1-2,4-5", RANGE_WHOLE, 0, 1000},
        {"bytes=a-", RANGE_WHOLE, 0, 1000},
        {"bytes=", RANGE_WHOLE, 0, 1000},
        {"bytes=--1", RANGE_WHOLE, 0, 1000},
        {"items=0-1", RANGE_WHOLE, 0, 1000},
        {"", RANGE_WHOLE, 0, 1000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct byte_range range;

        assert_int_equal(ramet_api_range(cases[i].text, 1000, &range),
                         cases[i].answer);
        if (cases[i].answer == RANGE_BAD)
            continue;
        assert_int_equal(range.offset, cases[i].offset);
        assert_int_equal(range.length, cases[i].length);
    }
}

static void
etags__are_compared(void **state)
{
    (void)state;
    assert_true(ramet_api_etag_matches("\"a\"", "\"a\""));
    assert_true(ramet_api_etag_matches("W/\"a\"", "\"a\""));
    assert_true(ramet_api_etag_matches("\"b\", \"a\"", "\"a\""));
    assert_true(ramet_api_etag_matches("*", "\"a\""));
    assert_false(ramet_api_etag_matches("\"aa\"", "\"a\""));
    assert_false(ramet_api_etag_matches("a", "\"a\""));
    assert_false(ramet_api_etag_matches("", "\"a\""));
    assert_false(ramet_api_etag_matches("\"b\",,,", "\"a\""));
}

static void
dates__round_trip(void **state)
{
    uint64_t back;
    char text[32];

    (void)state;
    ramet_render_date(784111777000u, text);
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_true(ramet_parse_date(text, &back));
    assert_int_equal(back, 784111777000u);
    assert_false(ramet_parse_date("yesterday", &back));
    assert_false(ramet_parse_date("Sun, 06 Foo 1994 08:49:37 GMT", &back));
    assert_false(ramet_parse_date("Sun, 06 anF 1994 08:49:37 GMT", &back));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request__is_the_vector_of_the_document),
        cmocka_unit_test(request__keeps_the_order),
        cmocka_unit_test(request__damaged_is_refused_or_another_request),
        cmocka_unit_test(answer__comes_back_as_it_was_sent),
        cmocka_unit_test(answer__an_error_ends_it),
        cmocka_unit_test(answer__cut_off_is_noticed),
        cmocka_unit_test(news__are_those_of_the_document),
        cmocka_unit_test(news__of_another_form_are_refused),
        cmocka_unit_test(news__with_flipped_bits_do_no_harm),
        cmocka_unit_test(watch__is_that_of_the_document),
        cmocka_unit_test(ranges__are_parsed),
        cmocka_unit_test(etags__are_compared),
        cmocka_unit_test(dates__round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
