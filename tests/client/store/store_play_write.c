/*
 * store_play_write.c - transactions of a play; see store_play.h.
 */
#include "tests/client/store/store_play.h"

#include "client/store/exchange.h"
#include "sqliteformat/dbheader.h"
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

static void
begin_work(struct play *play)
{
    image_unref(play->work);
    image_unref(play->prepared);
    play->prepared = NULL;
    play->work = image_copy(play->newest);
    play->has_work = false;
    play->touched_page1 = false;
    play->is_stale = false;
}

static void
reserve_slot(struct play *play, struct play_slot *slot)
{
    struct ramet_err err = {.text = ""};
    const enum ramet_rc rc = ramet_session_reserve(slot->session, &err);

    if (play->writer >= 0 && &play->slots[play->writer] == slot) {
        assert_int_equal(rc, RAMET_OK);
        return;
    }
    if (play->writer >= 0) {
        assert_int_equal(rc, RAMET_EBUSY);
        assert_true(ramet_session_write_locked(slot->session));
    } else if (slot->epoch != play->epoch) {
        assert_int_equal(rc, RAMET_ESNAPSHOT);
        assert_false(ramet_session_is_reserved(slot->session));
        play_unpin_slot(slot);
    } else {
        store_ok(rc, &err, "reserve", __FILE__, __LINE__);
        play->writer = (int)(slot - play->slots);
        begin_work(play);
    }
}

void
play_reserve(struct play *play)
{
    reserve_slot(play, play_any_pinned(play));
}

void
play_reserve_newest(struct play *play)
{
    struct play_slot *const slot = play_any_idle(play);

    if (play->writer >= 0)
        return;
    play_unpin_slot(slot);
    play_pin_slot(play, slot);
    reserve_slot(play, slot);
}

/* A write that failed, for want of the remote, leaves nothing to rely on. */
static void
give_up_work(struct play *play)
{
    struct play_slot *const slot = &play->slots[play->writer];

    ramet_session_discard(slot->session);
    begin_work(play);
    store_expect(slot->session, play->work, __LINE__);
}

static void
write_bytes(struct play *play, uint64_t offset, const uint8_t *bytes,
            uint64_t len)
{
    struct play_slot *const slot = &play->slots[play->writer];
    struct image *const work = play->work;
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc;

    if (len == 0)
        return;
    play->remote.is_down = store_chance(&play->rng, 5);
    rc = ramet_session_write(slot->session, offset, bytes, len, &err);
    if (rc == RAMET_EUNREACHABLE && play->remote.is_down) {
        play->remote.is_down = false;
        give_up_work(play);
        return;
    }
    play->remote.is_down = false;
    store_ok(rc, &err, "write", __FILE__, __LINE__);
    if (!play->has_work) {
        if (work->size == 0 && play->kind == RAMET_KIND_SQLITE && len >= 512 &&
            len <= 65536 && (len & (len - 1)) == 0)
            work->page_size = (uint32_t)len;
        else if (work->page_size == 0)
            work->page_size = 4096;
        play->has_work = true;
    }
    play->touched_page1 |= offset < work->page_size;
    play->is_stale = true;
    image_write(work, offset, bytes, len);
}

static void
write_header(struct play *play)
{
    struct image *const piece = image_new(512, 512);
    const uint32_t size = store_chance(&play->rng, 70)
                              ? play->work->page_size
                              : play_page_sizes[store_below(&play->rng, 8)];

    memcpy(piece->bytes, play->work->bytes,
           play->work->size < 512 ? play->work->size : 512);
    image_put_header(piece, size == 0 ? 4096 : size,
                     play->counter + (uint32_t)store_below(&play->rng, 3));
    write_bytes(play, 0, piece->bytes, 28 + store_below(&play->rng, 200));
    image_unref(piece);
}

static void
write_pages(struct play *play)
{
    const uint32_t page_size =
        play->work->page_size == 0 ? 4096 : play->work->page_size;
    const uint64_t room = play->size_max / page_size;
    const uint64_t first = store_below(
        &play->rng, store_chance(&play->rng, 70) && play->work->size > 0
                        ? image_pages(play->work) + 1
                        : room);
    uint64_t count = 1 + store_below(&play->rng, 6);
    uint8_t *bytes;

    if (store_chance(&play->rng, 5))
        count = 1 + store_below(&play->rng, room);
    if (count > room - (first < room ? first : room - 1))
        count = room - (first < room ? first : room - 1);
    bytes = calloc(count, page_size);
    if (store_chance(&play->rng, 75))
        store_random_bytes(&play->rng, bytes, count * page_size);
    for (uint64_t i = 0; i < count && store_chance(&play->rng, 20); i++)
        if ((first + i + 1) * page_size <= play->work->size) /* as it is */
            memcpy(bytes + i * page_size,
                   play->work->bytes + (first + i) * page_size, page_size);
    write_bytes(play, first * page_size, bytes, count * page_size);
    free(bytes);
}

static void
write_odd(struct play *play)
{
    const uint64_t offset = store_below(&play->rng, play->size_max);
    uint64_t len = 1 + store_below(&play->rng, 9000);
    uint8_t *const bytes = malloc(len);

    if (len > play->size_max - offset)
        len = play->size_max - offset;
    store_random_bytes(&play->rng, bytes, len);
    write_bytes(play, offset, bytes, len);
    free(bytes);
}

static void
truncate_to(struct play *play, uint64_t size)
{
    struct play_slot *const slot = &play->slots[play->writer];
    struct ramet_err err = {.text = ""};
    const bool after_prepare =
        play->prepared != NULL && !play->is_stale && size < play->work->size;
    enum ramet_rc rc;

    if (size == play->work->size)
        return;
    play->remote.is_down = store_chance(&play->rng, 5);
    rc = ramet_session_truncate(slot->session, size, &err);
    if (rc == RAMET_EUNREACHABLE && play->remote.is_down) {
        play->remote.is_down = false;
        give_up_work(play);
        return;
    }
    play->remote.is_down = false;
    store_ok(rc, &err, "truncate", __FILE__, __LINE__);
    if (!play->has_work) {
        if (play->work->page_size == 0)
            play->work->page_size = 4096;
        play->has_work = true;
    }
    if (!after_prepare) {
        play->touched_page1 |=
            size < play->work->size && size < play->work->page_size;
        play->is_stale = true;
    }
    image_resize(play->work, size);
}

/* Cut off, and written back as it was before the transaction, or a part of it: what a
 * rollback does, and who copies a file over itself. */
static void
write_back(struct play *play)
{
    const struct image *const newest = play->newest;
    const uint32_t page_size = newest->page_size;
    uint64_t first, len;

    if (newest->size < page_size || page_size == 0 ||
        play->work->page_size != page_size)
        return;
    first = store_below(&play->rng, newest->size / page_size);
    truncate_to(play, first * page_size);
    len = newest->size - first * page_size;
    if (store_chance(&play->rng, 50))
        len = (1 + store_below(&play->rng, len / page_size)) * page_size;
    write_bytes(play, first * page_size, newest->bytes + first * page_size,
                len);
}

/* More than memory holds, behind all that there ever was; most of it is cut off
 * again, and comes back as zeros. */
static void
write_much_and_cut(struct play *play)
{
    const uint32_t page_size =
        play->work->page_size == 0 ? 4096 : play->work->page_size;
    const uint64_t count = (5u << 18) / page_size;
    const uint64_t first = (play->work->size + page_size - 1) / page_size;
    uint8_t *bytes;

    if ((first + count) * page_size > play->size_max)
        return;
    bytes = malloc(count * page_size);
    store_random_bytes(&play->rng, bytes, count * page_size);
    write_bytes(play, first * page_size, bytes, count * page_size);
    free(bytes);
    truncate_to(play, (first + store_below(&play->rng, count)) * page_size);
    truncate_to(play, (first + count - store_below(&play->rng, count / 4)) *
                          page_size);
}

void
play_write(struct play *play)
{
    if (play->writer < 0)
        return;
    if (!play->is_old && (play->prepared == NULL || play->is_stale) &&
        store_chance(&play->rng, 15)) {
        if (store_chance(&play->rng, 60))
            write_back(play);
        else
            write_much_and_cut(play);
    } else if (play->kind == RAMET_KIND_SQLITE && store_chance(&play->rng, 20))
        write_header(play);
    else if (store_chance(&play->rng, 75))
        write_pages(play);
    else
        write_odd(play);
}

void
play_truncate(struct play *play)
{
    uint64_t size;

    if (play->writer < 0)
        return;
    if (play->prepared != NULL && !play->is_stale) { /* what auto-vacuum does */
        if (play->work->page_size == 0)
            return;
        size = store_below(&play->rng, image_pages(play->work) + 1) *
               play->work->page_size;
        if (size < play->work->size)
            truncate_to(play, size);
        return;
    }
    size = store_below(&play->rng, play->size_max);
    if (store_chance(&play->rng, 60) && play->work->size > 0)
        size = store_below(&play->rng, play->work->size);
    if (store_chance(&play->rng, 5))
        size = 0;
    truncate_to(play, size);
}

/* The page size that prepare will choose. */
static uint32_t
page_size_to_be(const struct play *play)
{
    const uint32_t named = image_named_page_size(play->work);

    return play->kind == RAMET_KIND_SQLITE && play->has_work &&
                   play->touched_page1 && named != 0
               ? named
               : play->work->page_size;
}

/* A database ends at the end of a page. */
static void
round_up(struct play *play)
{
    const uint32_t page_size = page_size_to_be(play);
    uint64_t over;

    if (play->kind != RAMET_KIND_SQLITE || page_size == 0)
        return;
    over = play->work->size % page_size;
    if (over != 0)
        truncate_to(play, play->work->size + page_size - over);
}

static void
prepare(struct play *play)
{
    struct play_slot *slot;
    bool had;

    slot = &play->slots[play->writer];
    had = play->prepared != NULL;
    round_up(play);
    play->work->page_size = page_size_to_be(play);
    if (play->work->page_size != play->newest->page_size)
        play_unpin_all(play, slot);
    OK(ramet_session_prepare(slot->session, NULL, e));
    if (ramet_session_has_prepared(slot->session)) {
        image_unref(play->prepared);
        play->prepared = image_copy(play->work);
        play->is_stale = false;
        if (store_chance(&play->rng, 60))
            OK(ramet_session_sync(slot->session, e));
    } else {
        assert_false(had);
        assert_int_equal(play->work->size, play->newest->size);
        assert_memory_equal(play->work->bytes, play->newest->bytes,
                            play->work->size);
        begin_work(play);
    }
    store_expect(slot->session, play->work, __LINE__);
}

void
play_adopted(struct play *play, struct image *newest)
{
    image_unref(play->newest);
    play->newest = newest;
    play->epoch++;
}

void
play_publish(struct play *play)
{
    struct play_slot *slot;
    const struct ramet_snapshot *s;

    if (play->writer < 0)
        return;
    if (play->prepared == NULL || play->is_stale)
        prepare(play);
    slot = &play->slots[play->writer];
    if (play->prepared == NULL)
        return;
    ramet_session_publish(slot->session);
    assert_false(ramet_session_has_prepared(slot->session));
    play_adopted(play, image_ref(play->work));
    play->is_pending = true;
    play->wrote_since_freeze = true;
    begin_work(play);
    image_unref(slot->seen);
    slot->seen = image_ref(play->newest);
    slot->epoch = play->epoch;
    s = ramet_session_snapshot(slot->session);
    assert_true(ramet_number_is_ahead(s->counter, play->counter));
    play->counter = s->counter;
    assert_int_equal(s->byte_length, play->newest->size);
    if (play->newest->size > 0)
        assert_int_equal(s->page_size, play->newest->page_size);
    store_expect(slot->session, play->newest, __LINE__);
}

void
play_prepare(struct play *play)
{
    if (play->writer < 0)
        return;
    prepare(play);
    /* A change of page size keeps others out as long as it is prepared. */
    if (play->work->page_size != play->newest->page_size)
        play_publish(play);
}

void
play_discard(struct play *play)
{
    if (play->writer < 0)
        return;
    ramet_session_discard(play->slots[play->writer].session);
    begin_work(play);
    store_expect(play->slots[play->writer].session, play->work, __LINE__);
}

void
play_release(struct play *play)
{
    struct play_slot *slot;

    if (play->writer < 0)
        return;
    slot = &play->slots[play->writer];
    ramet_session_release(slot->session);
    assert_false(ramet_session_is_reserved(slot->session));
    play_forget_work(play);
    store_expect(slot->session, slot->seen, __LINE__);
}
