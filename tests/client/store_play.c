/*
 * store_play.c - sessions, reads and writes of a play; see store_play.h.
 */
#include "tests/client/store_play.h"

#include "client/store/exchange.h"
#include "client/store/whole.h"
#include "sqliteformat/dbheader.h"
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t page_sizes[] = {512,  1024,  2048,  4096,
                                      8192, 16384, 32768, 65536};

/* ---- slots ----------------------------------------------------------------- */

static void
open_slot(struct play *play, struct play_slot *slot)
{
    const struct ramet_replica_options options = {.flags = 0};

    OK(ramet_session_open(play->path, &options, &slot->session, e));
    ramet_replica_set_fetcher(ramet_session_replica(slot->session),
                              remote_fetch, &play->remote);
}

void
play_unpin_slot(struct play_slot *slot)
{
    if (slot->seen == NULL)
        return;
    ramet_session_unpin(slot->session);
    assert_false(ramet_session_is_pinned(slot->session));
    image_unref(slot->seen);
    slot->seen = NULL;
}

/* The writer's transaction is gone. */
static void
forget_work(struct play *play)
{
    image_unref(play->work);
    image_unref(play->prepared);
    play->work = play->prepared = NULL;
    play->writer = NO_WRITER;
}

static struct play_slot *
pick(struct play *play, bool pinned, bool idle)
{
    const unsigned start = (unsigned)store_below(&play->rng, PLAY_SLOTS);

    for (unsigned i = 0; i < PLAY_SLOTS; i++) {
        const int at = (int)((start + i) % PLAY_SLOTS);
        struct play_slot *const slot = &play->slots[at];

        if (slot->session != NULL && (!pinned || slot->seen != NULL) &&
            (!idle || at != play->writer))
            return slot;
    }
    return NULL;
}

struct play_slot *
play_any(struct play *play)
{
    if (pick(play, false, false) == NULL)
        open_slot(play, &play->slots[store_below(&play->rng, PLAY_SLOTS)]);
    return pick(play, false, false);
}

struct play_slot *
play_any_idle(struct play *play)
{
    struct play_slot *slot = pick(play, false, true);

    for (int i = 0; slot == NULL; i++)
        if (play->slots[i].session == NULL) {
            slot = &play->slots[i];
            open_slot(play, slot);
        }
    return slot;
}

void
play_pin_slot(struct play *play, struct play_slot *slot)
{
    const struct ramet_snapshot *s;

    if (slot->seen != NULL)
        return;
    OK(ramet_session_pin(slot->session, e));
    slot->seen = image_ref(play->newest);
    slot->epoch = play->epoch;
    s = ramet_session_snapshot(slot->session);
    assert_int_equal(s->byte_length, play->newest->size);
    if (play->newest->size > 0) {
        assert_int_equal(s->page_size, play->newest->page_size);
        assert_int_equal(s->page_count, image_pages(play->newest));
    }
    assert_int_equal(s->lsn, play->lsn);
    if (play->kind == RAMET_KIND_SQLITE &&
        play->newest->size >= sizeof(s->header))
        assert_memory_equal(s->header, play->newest->bytes, sizeof(s->header));
    if (play->lsn != 0)
        assert_int_equal(s->remote_page_count,
                         image_pages(play->remote.at[play->lsn]));
}

struct play_slot *
play_any_pinned(struct play *play)
{
    struct play_slot *slot = pick(play, true, false);

    if (slot == NULL) {
        slot = play_any(play);
        play_pin_slot(play, slot);
    }
    return slot;
}

void
play_unpin_all(struct play *play, const struct play_slot *except)
{
    for (int i = 0; i < PLAY_SLOTS; i++)
        if (&play->slots[i] != except && i != play->writer)
            play_unpin_slot(&play->slots[i]);
}

/* ---- beginning and end ----------------------------------------------------- */

static struct image *
random_image(struct play *play, uint32_t page_size)
{
    const uint64_t pages = store_below(&play->rng, play->size_max / page_size);
    struct image *const image = image_new(pages * page_size, page_size);

    for (uint64_t i = 0; i < pages; i++)
        if (store_chance(&play->rng, 80))
            store_random_bytes(&play->rng, image->bytes + i * page_size,
                               page_size);
    if (play->kind == RAMET_KIND_BLOB && pages > 0)
        image_resize(image, image->size - store_below(&play->rng, page_size));
    else if (pages > 0)
        image_put_header(image, page_size, 1);
    return image;
}

static void
begin_empty(struct play *play, uint32_t page_size)
{
    const struct ramet_replica_options options = {
        .flags = RAMET_OPEN_CREATE,
        .kind = play->kind,
        .page_size = page_size,
    };

    play->newest = image_new(0, page_size);
    OK(ramet_session_open(play->path, &options, &play->slots[0].session, e));
    ramet_replica_set_fetcher(ramet_session_replica(play->slots[0].session),
                              remote_fetch, &play->remote);
}

static void
begin_clone(struct play *play, uint32_t page_size)
{
    const struct ramet_replica_options options = {.kind = play->kind};
    struct image *const image = random_image(play, page_size);
    struct ramet_remote_point point;
    uint8_t page1[65536];

    play->lsn = remote_add(&play->remote, image);
    play->newest = image_ref(image);
    play->is_bound = true;
    point = remote_point(&play->remote, play->lsn);
    image_page(image, 1, page1);
    OK(ramet_replica_create_clone(play->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point,
                                  image->size == 0 ? NULL : page1, e));
    open_slot(play, &play->slots[0]);
}

static void
begin_adopted(struct play *play, uint32_t page_size)
{
    const struct ramet_replica_options options = {
        .flags = RAMET_OPEN_ADOPT,
        .kind = play->kind,
        .page_size = page_size,
    };

    play->newest = random_image(play, page_size);
    play->is_pending = play->newest->size > 0;
    store_write_plain(play->path, play->newest);
    OK(ramet_session_open(play->path, &options, &play->slots[0].session, e));
    ramet_replica_set_fetcher(ramet_session_replica(play->slots[0].session),
                              remote_fetch, &play->remote);
}

void
play_begin(struct play *play, uint64_t seed)
{
    uint32_t page_size;

    memset(play, 0, sizeof(*play));
    play->seed = play->rng = seed;
    store_folder_make(play->folder);
    snprintf(play->path, sizeof(play->path), "%s/app.db", play->folder);
    remote_init(&play->remote, store_random(&play->rng));
    play->writer = NO_WRITER;
    play->kind =
        store_chance(&play->rng, 65) ? RAMET_KIND_SQLITE : RAMET_KIND_BLOB;
    page_size = page_sizes[store_below(&play->rng, 8)];
    play->size_max = store_chance(&play->rng, 15) ? 3 << 20 : 300 << 10;
    switch (store_below(&play->rng, 3)) {
    case 0:
        begin_empty(play, page_size);
        break;
    case 1:
        begin_clone(play, page_size);
        break;
    default:
        begin_adopted(play, page_size);
        break;
    }
    play_pin_slot(play, &play->slots[0]);
    play->counter = ramet_session_snapshot(play->slots[0].session)->counter;
}

void
play_drop(struct play *play)
{
    for (int i = 0; i < PLAY_SLOTS; i++) {
        ramet_session_close(play->slots[i].session);
        play->slots[i].session = NULL;
        image_unref(play->slots[i].seen);
        play->slots[i].seen = NULL;
    }
    forget_work(play);
    image_unref(play->newest);
    image_unref(play->borne);
    image_unref(play->frozen);
    play->newest = play->borne = play->frozen = NULL;
    ramet_replica_state_done(&play->kept);
    memset(&play->kept, 0, sizeof(play->kept));
    if (play->folder[0] != '\0') {
        remote_done(&play->remote);
        store_folder_remove(play->folder);
    }
    play->folder[0] = '\0';
}

void
play_end(struct play *play)
{
    play_close_all(play);
    play_read_all(play);
    play_state(play);
    play_close_all(play);
    play_drop(play);
}

/* ---- sessions -------------------------------------------------------------- */

void
play_open(struct play *play)
{
    struct play_slot *const from = play_any(play);

    for (int i = 0; i < PLAY_SLOTS; i++) {
        struct play_slot *const slot = &play->slots[i];

        if (slot->session != NULL)
            continue;
        if (store_chance(&play->rng, 50))
            OK(ramet_session_clone(from->session, &slot->session, e));
        else
            open_slot(play, slot);
        return;
    }
}

static void
close_slot(struct play *play, struct play_slot *slot)
{
    if (play->writer >= 0 && &play->slots[play->writer] == slot)
        forget_work(play);
    if (store_chance(&play->rng, 50) &&
        !ramet_session_is_reserved(slot->session))
        play_unpin_slot(slot);
    ramet_session_close(slot->session);
    slot->session = NULL;
    image_unref(slot->seen);
    slot->seen = NULL;
}

void
play_close(struct play *play)
{
    unsigned open_count = 0;

    for (int i = 0; i < PLAY_SLOTS; i++)
        open_count += play->slots[i].session != NULL;
    if (open_count > 1)
        close_slot(play, play_any(play));
}

static bool
is_database(const struct play *play, const struct image *image)
{
    return play->kind == RAMET_KIND_SQLITE &&
           ramet_dbheader_is(image->bytes, image->size);
}

/* The change counter is ahead of what the file bore with other content, and the
 * cookie is as stored or does not go back. All else is as stored. */
static void
take_numbers_off(struct play *play, struct image *plain)
{
    const uint8_t *const stored = play->newest->bytes;
    const struct image *const before = play->borne;
    const bool was_database = before != NULL && is_database(play, before);

    if (!is_database(play, plain) || !is_database(play, play->newest))
        return;
    if (was_database && (before->size != plain->size ||
                         memcmp(before->bytes + 100, plain->bytes + 100,
                                plain->size - 100) != 0))
        assert_true(
            ramet_number_is_ahead(ramet_dbheader_counter(plain->bytes),
                                  ramet_dbheader_counter(before->bytes)));
    if (was_database &&
        ramet_dbheader_cookie(plain->bytes) != ramet_dbheader_cookie(stored))
        assert_false(
            ramet_number_is_ahead(ramet_dbheader_cookie(before->bytes),
                                  ramet_dbheader_cookie(plain->bytes)));
    ramet_dbheader_show(plain->bytes, ramet_dbheader_counter(stored),
                        ramet_dbheader_cookie(stored));
}

static void
check_content(struct play *play, const struct image *plain)
{
    uint64_t at = 0;

    while (at < plain->size && at < play->newest->size &&
           plain->bytes[at] == play->newest->bytes[at])
        at++;
    if (at != plain->size || at != play->newest->size)
        fail_msg("a whole, clean replica's file is not its content: %llu "
                 "bytes, expected %llu; they differ at %llu",
                 (unsigned long long)plain->size,
                 (unsigned long long)play->newest->size,
                 (unsigned long long)at);
}

/* What a program that knows nothing of replicas finds. */
static void
check_plain_file(struct play *play, bool whole)
{
    struct image *plain = store_read_plain(play->path, play->newest->page_size);

    if (whole) {
        take_numbers_off(play, plain);
        check_content(play, plain);
        image_unref(plain);
        plain = store_read_plain(play->path, play->newest->page_size);
        image_unref(play->borne);
        play->borne = image_ref(plain);
    } else {
        assert_true(plain->size >= 16);
        assert_memory_not_equal(plain->bytes, "SQLite format 3", 16);
    }
    image_unref(plain);
}

void
play_close_all(struct play *play)
{
    struct play_slot *const slot = play_any_idle(play);
    struct ramet_pageset absent;
    bool whole;

    ramet_pageset_init(&absent);
    play_unpin_slot(slot);
    play_pin_slot(play, slot);
    OK(ramet_session_absent(slot->session, 0, 1, &absent, e));
    whole = ramet_pageset_count(&absent) == 0;
    ramet_pageset_done(&absent);
    for (int i = 0; i < PLAY_SLOTS; i++)
        if (play->slots[i].session != NULL)
            close_slot(play, &play->slots[i]);
    check_plain_file(play, whole);
}

void
play_pin(struct play *play)
{
    struct play_slot *const slot = play_any(play);

    if (play->writer >= 0 && &play->slots[play->writer] == slot)
        return;
    if (store_chance(&play->rng, 50))
        play_unpin_slot(slot);
    play_pin_slot(play, slot);
}

void
play_unpin(struct play *play)
{
    struct play_slot *const slot = play_any(play);

    if (play->writer < 0 || &play->slots[play->writer] != slot)
        play_unpin_slot(slot);
}

/* ---- reads ----------------------------------------------------------------- */

/* What a slot's session must see. */
static const struct image *
view_of(const struct play *play, const struct play_slot *slot)
{
    return play->writer >= 0 && &play->slots[play->writer] == slot ? play->work
                                                                   : slot->seen;
}

void
play_read(struct play *play)
{
    struct play_slot *const slot = play_any_pinned(play);
    const struct image *const view = view_of(play, slot);
    const uint64_t offset = store_below(&play->rng, view->size + 1000);
    const uint64_t len = store_below(
        &play->rng, store_chance(&play->rng, 50) ? 200 : play->size_max / 4);
    uint8_t *const buf = malloc(len + 1);
    struct ramet_err err;
    size_t got = 0;
    enum ramet_rc rc;

    play->remote.is_down = store_chance(&play->rng, 15);
    rc = ramet_session_read(slot->session, offset, buf, len, &got, &err);
    if (rc == RAMET_OK) {
        const uint64_t left = offset < view->size ? view->size - offset : 0;
        const uint64_t want = left < len ? left : len;

        assert_int_equal(got, want);
        assert_memory_equal(buf, view->bytes + offset, want);
        for (uint64_t i = want; i < len; i++)
            assert_int_equal(buf[i], 0);
    } else if (rc != RAMET_EUNREACHABLE || !play->remote.is_down) {
        fail_msg("read: %s", err.text);
    }
    play->remote.is_down = false;
    free(buf);
}

void
play_read_all(struct play *play)
{
    struct play_slot *const slot = play_any_pinned(play);

    assert_int_equal(ramet_session_size(slot->session),
                     view_of(play, slot)->size);
    store_expect(slot->session, view_of(play, slot), __LINE__);
}

/* ---- writes ---------------------------------------------------------------- */

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
                              : page_sizes[store_below(&play->rng, 8)];

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

void
play_write(struct play *play)
{
    if (play->writer < 0)
        return;
    if (play->kind == RAMET_KIND_SQLITE && store_chance(&play->rng, 20))
        write_header(play);
    else if (store_chance(&play->rng, 75))
        write_pages(play);
    else
        write_odd(play);
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
    forget_work(play);
    store_expect(slot->session, slot->seen, __LINE__);
}
