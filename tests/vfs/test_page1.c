/*
 * test_page1.c - what SQLite is shown of the header's numbers. Getting this
 * wrong corrupts databases: what can be enumerated is, and a model of SQLite's
 * pager lives through random histories.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "vfs/page1.h"

static const uint32_t values[] = {
    0, 1, 2, 7, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
#define VALUES (sizeof(values) / sizeof(values[0]))

static void
make_snapshot(struct ramet_snapshot *out, uint32_t stored, uint32_t valid_for,
              uint32_t counter)
{
    memset(out, 0, sizeof(*out));
    out->byte_length = 8192;
    out->page_size = 4096;
    out->counter = counter;
    out->pages_seq = 5;
    out->schema_seq = 3;
    for (size_t i = 0; i < sizeof(out->header); i++)
        out->header[i] = (uint8_t)(i + 1);
    memcpy(out->header, "SQLite format 3", 16);
    ramet_put_be32(out->header + 24, stored);
    ramet_put_be32(out->header + 92, valid_for);
}

static uint32_t
counter_of(const struct ramet_page1 *page1, const struct ramet_snapshot *s)
{
    uint8_t header[100];

    memcpy(header, s->header, sizeof(header));
    ramet_page1_show(page1, s, header, sizeof(header));
    return ramet_get_be32(header + 24);
}

static uint32_t
cookie_of(const struct ramet_page1 *page1, const struct ramet_snapshot *s)
{
    uint8_t header[100];

    memcpy(header, s->header, sizeof(header));
    ramet_page1_show(page1, s, header, sizeof(header));
    return ramet_get_be32(header + 40);
}

static void
read_it(struct ramet_page1 *page1, const struct ramet_snapshot *s,
        uint8_t header[100])
{
    memcpy(header, s->header, 100);
    ramet_page1_read(page1, s, false, header, 100);
}

static void
show__keeps_all_but_three_numbers_and_equality(void **state)
{
    (void)state;
    for (size_t i = 0; i < VALUES * VALUES * VALUES; i++) {
        const uint32_t stored = values[i % VALUES];
        const uint32_t valid_for = values[i / VALUES % VALUES];
        const uint32_t counter = values[i / VALUES / VALUES];
        struct ramet_page1 page1 = {.was_read = false};
        struct ramet_snapshot s;
        uint8_t buf[100];

        make_snapshot(&s, stored, valid_for, counter);
        read_it(&page1, &s, buf);
        assert_int_equal(ramet_get_be32(buf + 24), counter);
        assert_int_equal(memcmp(buf + 24, buf + 92, 4) == 0,
                         stored == valid_for);
        assert_memory_equal(buf, s.header, 24);
        assert_memory_equal(buf + 28, s.header + 28, 64);
        assert_memory_equal(buf + 96, s.header + 96, 4);
        assert_true(ramet_page1_is_put_back(&page1, &s, buf));
        buf[24] ^= 1;
        assert_false(ramet_page1_is_put_back(&page1, &s, buf));
        buf[24] ^= 1;
        buf[95] ^= 1;
        assert_false(ramet_page1_is_put_back(&page1, &s, buf));
    }
}

static void
show__leaves_other_files_alone(void **state)
{
    struct ramet_page1 page1 = {.was_read = false};
    struct ramet_snapshot s;
    uint8_t buf[100];

    (void)state;
    make_snapshot(&s, 5, 5, 9);
    memcpy(buf, s.header, sizeof(buf));
    ramet_page1_show(&page1, &s, buf, 99); /* too short to be a database */
    assert_memory_equal(buf, s.header, sizeof(buf));
    for (size_t i = 0; i < 16; i++) {
        s.header[i] ^= 0x40;
        memcpy(buf, s.header, sizeof(buf));
        ramet_page1_show(&page1, &s, buf, 100);
        assert_memory_equal(buf, s.header, sizeof(buf));
        assert_false(ramet_page1_is_put_back(&page1, &s, buf));
        s.header[i] ^= 0x40;
    }
}

static void
counter__stays_for_the_same_pages_and_moves_for_others(void **state)
{
    (void)state;
    for (size_t i = 0; i < VALUES * VALUES; i++) {
        struct ramet_page1 page1 = {.was_read = false};
        struct ramet_snapshot s;
        uint8_t buf[100];
        uint32_t first;

        make_snapshot(&s, 5, 5, values[i % VALUES]);
        read_it(&page1, &s, buf);
        first = ramet_get_be32(buf + 24);
        s.seq = 77; /* a record that changed no page */
        assert_int_equal(counter_of(&page1, &s), first);
        s.pages_seq++;
        s.counter = values[i / VALUES];
        assert_true(ramet_number_is_ahead(counter_of(&page1, &s), first));
        /* To look does not move it, to read does. */
        s.pages_seq--;
        assert_int_equal(counter_of(&page1, &s), first);
        s.pages_seq++;
        read_it(&page1, &s, buf);
        s.pages_seq--;
        assert_true(ramet_number_is_ahead(counter_of(&page1, &s),
                                          ramet_get_be32(buf + 24)));
    }
}

/* SQLite counted on, and there is nothing to record: the commit that the next
 * one makes must not get the number that it has already. */
static void
counter__of_a_commit_that_recorded_nothing_is_never_shown_of_another(
    void **state)
{
    struct ramet_page1 page1 = {.was_read = false};
    struct ramet_snapshot s;
    uint8_t buf[100];

    (void)state;
    make_snapshot(&s, 8, 8, 8);
    read_it(&page1, &s, buf);
    ramet_put_be32(buf + 24, 9);
    ramet_put_be32(buf + 92, 9);
    ramet_page1_wrote(&page1, buf);
    ramet_page1_published(&page1, s.pages_seq, &s);
    assert_int_equal(counter_of(&page1, &s), 9); /* its cache is good */
    make_snapshot(&s, 9, 9, 9);
    s.pages_seq++;
    assert_int_equal(counter_of(&page1, &s), 10);
}

static void
counter__after_what_was_given_up_is_a_new_one(void **state)
{
    struct ramet_page1 page1 = {.was_read = false};
    struct ramet_snapshot s;
    uint8_t buf[100];

    (void)state;
    make_snapshot(&s, 8, 8, 8);
    read_it(&page1, &s, buf);
    ramet_put_be32(buf + 24, 11); /* thrice spilled */
    ramet_put_be32(buf + 92, 11);
    ramet_page1_wrote(&page1, buf);
    ramet_put_be32(buf + 24, 8); /* and put back */
    ramet_put_be32(buf + 92, 8);
    assert_true(ramet_page1_is_put_back(&page1, &s, buf));
    ramet_page1_wrote(&page1, buf);
    assert_int_equal(counter_of(&page1, &s), 8);
    ramet_page1_forget(&page1);
    assert_int_equal(counter_of(&page1, &s), 12);
    ramet_page1_published(&page1, s.pages_seq, &s);
    assert_int_equal(counter_of(&page1, &s), 12); /* forgotten is forgotten */
}

static void
cookie__is_shifted_where_the_schema_may_be_another(void **state)
{
    (void)state;
    for (size_t i = 0; i < VALUES * VALUES; i++) {
        const uint32_t before = values[i % VALUES];
        const uint32_t after = values[i / VALUES];
        struct ramet_page1 page1 = {.was_read = false};
        struct ramet_snapshot s;
        uint8_t buf[100];
        uint32_t shown;

        make_snapshot(&s, 8, 8, 8);
        ramet_put_be32(s.header + 40, before);
        assert_int_equal(cookie_of(&page1, &s), before);
        read_it(&page1, &s, buf);
        assert_int_equal(ramet_get_be32(buf + 40), before);
        s.pages_seq++; /* somebody's commit: the stored cookie tells */
        ramet_put_be32(s.header + 40, after);
        assert_int_equal(cookie_of(&page1, &s), after);
        s.schema_seq++;
        shown = cookie_of(&page1, &s);
        assert_true(ramet_number_is_ahead(shown, before));
        if (ramet_number_is_ahead(after, before))
            assert_int_equal(shown, after);
        read_it(&page1, &s, buf);
        assert_int_equal(ramet_get_be32(buf + 40), shown);
        /* A schema change of its own, and of others. */
        assert_int_equal(ramet_page1_stored_cookie(&page1, shown + 1),
                         after + 1);
        s.pages_seq++;
        ramet_put_be32(s.header + 40, after + 2);
        assert_int_equal(cookie_of(&page1, &s), shown + 2);
    }
}

static void
cookie__that_its_writer_lowered_is_avoided_all_the_same(void **state)
{
    struct ramet_page1 page1 = {.was_read = false};
    struct ramet_snapshot s;
    uint8_t buf[100];

    (void)state;
    make_snapshot(&s, 8, 8, 8);
    ramet_put_be32(s.header + 40, 20);
    read_it(&page1, &s, buf);
    ramet_put_be32(buf + 40, 3); /* PRAGMA schema_version=3 */
    ramet_page1_wrote(&page1, buf);
    s.pages_seq++;
    s.schema_seq++;
    ramet_put_be32(s.header + 40, 20);
    assert_int_equal(cookie_of(&page1, &s), 21);
}

static void
cookie__of_an_empty_file_is_not_shifted(void **state)
{
    struct ramet_page1 page1 = {.was_read = false};
    struct ramet_snapshot s;
    struct ramet_snapshot empty = {.pages_seq = 9, .schema_seq = 9};
    uint8_t buf[100];

    (void)state;
    make_snapshot(&s, 8, 8, 8);
    ramet_put_be32(s.header + 40, 4);
    read_it(&page1, &s, buf);
    memset(buf, 0, sizeof(buf));
    ramet_page1_read(&page1, &empty, false, buf, 0);
    assert_int_equal(ramet_page1_stored_cookie(&page1, 1), 1);
    s.pages_seq = s.schema_seq = 10;
    assert_int_equal(cookie_of(&page1, &s), 5);
}

/* ---- a model of SQLite's pager --------------------------------------------
 *
 * It keeps bytes 24-39 and a cache, drops that where a look shows others, and
 * reads page 1 after that, unless it is interrupted. The pages of a snapshot
 * are one number, which its cache must have when it is not dropped.
 */

struct pager {
    struct ramet_page1 page1;
    uint8_t version[16];
    bool has_cache;
    uint64_t cached; /* pages_seq of what is in the cache */
    /* Statements that were compiled at some cookie, for some schema. */
    struct {
        uint32_t cookie;
        uint64_t schema;
    } compiled[256];
    uint32_t compiled_count;
};

struct model {
    struct ramet_snapshot newest;
    uint64_t schema; /* number of the schema there is */
    uint64_t random;
};

static uint32_t
draw(struct model *m, uint32_t below)
{
    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(m->random >> 33) % below;
}

static void
load_page1(struct model *m, struct pager *p, uint8_t page[100])
{
    memcpy(page, m->newest.header, 100);
    ramet_page1_read(&p->page1, &m->newest, false, page, 100);
    memcpy(p->version, page + 24, 16);
    p->has_cache = true;
    p->cached = m->newest.pages_seq;
}

/* What was compiled at this cookie, at any time, must be right now. */
static void
compile(const struct model *m, struct pager *p, uint32_t cookie)
{
    for (uint32_t i = 0; i < p->compiled_count; i++)
        if (p->compiled[i].cookie == cookie) {
            assert_int_equal(p->compiled[i].schema, m->schema);
            return;
        }
    assert_in_range(p->compiled_count, 0, 255);
    p->compiled[p->compiled_count].cookie = cookie;
    p->compiled[p->compiled_count++].schema = m->schema;
}

/* Take a shared lock; false: something came in between. */
static bool
begin(struct model *m, struct pager *p, uint8_t page[100])
{
    uint8_t seen[100];

    memcpy(seen, m->newest.header, sizeof(seen));
    ramet_page1_show(&p->page1, &m->newest, seen, sizeof(seen));
    if (memcmp(seen + 24, p->version, 16) != 0)
        p->has_cache = false;
    if (draw(m, 10) == 0)
        return false;
    if (p->has_cache) {
        assert_int_equal(p->cached, m->newest.pages_seq);
        memcpy(page, seen, 100);
    } else {
        load_page1(m, p, page);
    }
    compile(m, p, ramet_get_be32(page + 40));
    return true;
}

static void
write_page1(struct pager *p, uint8_t page[100])
{
    const uint32_t next = ramet_get_be32(p->version) + 1;

    ramet_put_be32(page + 24, next);
    ramet_put_be32(page + 92, next);
    ramet_page1_wrote(&p->page1, page);
    memcpy(p->version, page + 24, 16);
}

/* The record that a transaction becomes; without page 1 only the replica's
 * number grows. */
static void
publish(struct model *m, struct pager *p, const uint8_t *page1, bool records)
{
    const uint64_t base = m->newest.pages_seq;
    struct ramet_snapshot *const s = &m->newest;

    if (records) {
        s->seq++;
        s->pages_seq = s->seq;
        if (page1 != NULL) {
            const uint32_t cookie = ramet_page1_stored_cookie(
                &p->page1, ramet_get_be32(page1 + 40));

            memcpy(s->header, page1, 100);
            ramet_put_be32(s->header + 40, cookie);
        }
        s->counter = ramet_dbheader_count_on(s->counter, s->header, 8192);
    }
    ramet_page1_published(&p->page1, base, s);
    p->cached = s->pages_seq;
}

static void
transact(struct model *m, struct pager *p)
{
    uint8_t page[100];
    uint8_t before[100];
    const uint32_t kind = draw(m, 8);

    if (!begin(m, p, page))
        return;
    memcpy(before, page, sizeof(before));
    if (kind < 2) /* reads */
        return;
    for (uint32_t spills = draw(m, 3); spills != 0; spills--)
        write_page1(p, page);
    if (kind == 2) { /* rolls back */
        ramet_page1_wrote(&p->page1, before);
        memcpy(p->version, before + 24, 16);
        ramet_page1_forget(&p->page1);
        return;
    }
    if (kind == 3) { /* a write fails, which SQLite takes for done */
        write_page1(p, page);
        ramet_page1_forget(&p->page1);
        p->has_cache = draw(m, 2) == 0 ? false : p->has_cache;
        p->cached = UINT64_MAX; /* whatever it has is not the file's */
        return;
    }
    if (kind == 4) { /* another schema */
        ramet_put_be32(page + 40, ramet_get_be32(page + 40) + 1);
        m->schema = m->schema * 31 + 7;
        compile(m, p, ramet_get_be32(page + 40));
        write_page1(p, page);
        publish(m, p, page, true);
        return;
    }
    write_page1(p, page);
    publish(m, p, kind == 5 ? page : NULL, kind != 6);
}

/* Pages and header of another line, with whatever numbers. */
static void
pull(struct model *m)
{
    struct ramet_snapshot *const s = &m->newest;
    const uint32_t counter = ramet_get_be32(s->header + 24);
    const uint32_t cookie = ramet_get_be32(s->header + 40);

    s->seq++;
    s->pages_seq = s->seq;
    ramet_put_be32(s->header + 24, counter + draw(m, 7) - 4);
    if (draw(m, 4) == 0)
        ramet_put_be32(s->header + 24, values[draw(m, VALUES)]);
    memcpy(s->header + 92, s->header + 24, 4);
    s->counter = ramet_dbheader_count_on(s->counter, s->header, 8192);
    if (draw(m, 2) == 0) {
        s->schema_seq = s->seq;
        ramet_put_be32(s->header + 40, cookie + draw(m, 5) - 3);
        m->schema = m->schema * 31 + 8;
    }
}

static void
pagers__live_through_histories_and_trust_no_stale_cache(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct model m = {.random = seed};
        struct pager pagers[4];

        memset(pagers, 0, sizeof(pagers));
        make_snapshot(&m.newest, 3, 3, 3);
        ramet_put_be32(m.newest.header + 40, 2);
        m.newest.seq = 5;
        for (int step = 0; step < 200; step++) {
            const uint32_t what = draw(&m, 12);

            if (what == 0)
                pull(&m);
            else if (what == 1)
                m.newest.seq++; /* an intent, or that it landed */
            else
                transact(&m, &pagers[draw(&m, 4)]);
        }
    }
}

static void
touches__is_true_for_twelve_bytes(void **state)
{
    (void)state;
    for (uint64_t at = 0; at < 200; at++)
        for (size_t len = 0; len < 200; len++) {
            bool wanted = false;

            for (uint64_t i = at; i < at + len; i++)
                wanted = wanted || (i >= 24 && i < 28) || (i >= 40 && i < 44) ||
                         (i >= 92 && i < 96);
            assert_int_equal(ramet_page1_touches(at, len), wanted);
        }
}

static void
number_after__is_ahead_and_what_was_wanted_if_that_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < VALUES * VALUES; i++) {
        const uint32_t last = values[i % VALUES];
        const uint32_t wanted = values[i / VALUES];
        const uint32_t next = ramet_number_after(last, wanted);

        assert_true(ramet_number_is_ahead(next, last));
        assert_false(ramet_number_is_ahead(last, last));
        assert_int_equal(next,
                         wanted - last - 1 < 0x7fffffff ? wanted : last + 1);
    }
}

static void
wants_wal__looks_at_bytes_18_and_19(void **state)
{
    struct ramet_snapshot s;

    (void)state;
    make_snapshot(&s, 1, 1, 1);
    s.header[18] = s.header[19] = 1;
    assert_false(ramet_page1_wants_wal(s.header, 100));
    s.header[19] = 2;
    assert_true(ramet_page1_wants_wal(s.header, 100));
    assert_false(ramet_page1_wants_wal(s.header, 99));
    s.header[0] = 'X';
    assert_false(ramet_page1_wants_wal(s.header, 100));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(show__keeps_all_but_three_numbers_and_equality),
        cmocka_unit_test(show__leaves_other_files_alone),
        cmocka_unit_test(
            counter__stays_for_the_same_pages_and_moves_for_others),
        cmocka_unit_test(
            counter__of_a_commit_that_recorded_nothing_is_never_shown_of_another),
        cmocka_unit_test(counter__after_what_was_given_up_is_a_new_one),
        cmocka_unit_test(cookie__is_shifted_where_the_schema_may_be_another),
        cmocka_unit_test(
            cookie__that_its_writer_lowered_is_avoided_all_the_same),
        cmocka_unit_test(cookie__of_an_empty_file_is_not_shifted),
        cmocka_unit_test(
            pagers__live_through_histories_and_trust_no_stale_cache),
        cmocka_unit_test(touches__is_true_for_twelve_bytes),
        cmocka_unit_test(number_after__is_ahead_and_what_was_wanted_if_that_is),
        cmocka_unit_test(wants_wal__looks_at_bytes_18_and_19),
    };
    return cmocka_run_group_tests_name("page1", tests, NULL, NULL);
}
