/*
 * store_play.c - sessions and reads of a play; see store_play.h.
 */
#include "tests/client/store/store_play.h"

#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "sqliteformat/dbheader.h"
#include "tests/client/store/store_audit.h"
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const uint32_t play_page_sizes[PLAY_PAGE_SIZES] = {512,  1024,  2048,  4096,
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
void
play_forget_work(struct play *play)
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
    page_size = play_page_sizes[store_below(&play->rng, 8)];
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
    play_forget_work(play);
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
        play_forget_work(play);
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

    /* Who died as it evicted said so of a page that is here still. */
    if (!whole && play->had_deaths && is_database(play, plain))
        whole = true;

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

/* ---- choosing -------------------------------------------------------------- */

static void
audit(struct play *play)
{
    if (play->acts++ % 4 != 0)
        return;
    for (int i = 0; i < PLAY_SLOTS; i++)
        if (play->slots[i].session != NULL) {
            store_audit(play->slots[i].session, play->had_deaths, __LINE__);
            return;
        }
}

void
play_choose(struct play *play, const struct play_choice *choices, size_t count)
{
    unsigned total = 0;
    uint64_t at;

    for (size_t i = 0; i < count; i++)
        total += choices[i].weight;
    at = store_below(&play->rng, total);
    for (size_t i = 0; i < count; i++) {
        if (at < choices[i].weight) {
            if (getenv("RAMET_TEST_TRACE") != NULL)
                printf("%s\n", choices[i].name);
            choices[i].act(play);
            audit(play);
            return;
        }
        at -= choices[i].weight;
    }
}

/* ---- many plays -------------------------------------------------------------- */

void
play_first(play_one *one, uint64_t count)
{
    for (uint64_t seed = 1; seed <= count; seed++)
        one(seed);
}

void
play_seeds(play_one *one, const uint64_t *seeds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        one(seeds[i]);
}

void
play_on(play_one *one, const char *program, double seconds)
{
    const double end = store_now() + store_seconds(seconds);
    uint64_t seed = store_seed(program);
    unsigned plays = 0;

    do {
        one(seed++);
        plays++;
    } while (store_now() < end);
    printf("%u plays\n", plays);
}

void
play_told_and_dropped(struct play *play)
{
    if (play->folder[0] != '\0')
        printf("the play with RAMET_TEST_SEED=%llu failed\n",
               (unsigned long long)play->seed);
    play_drop(play);
}
