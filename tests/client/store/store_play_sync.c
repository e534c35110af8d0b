/*
 * store_play_sync.c - pulls, pushes, fetched pages and upkeep of a play.
 */
#include "tests/client/store/store_play.h"

#include "client/store/exchange.h"
#include "core/alloc.h"
#include "sqliteformat/dbheader.h"
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- binding and remote commits -------------------------------------------- */

static void
bind_replica(struct play *play)
{
    if (play->is_bound || play->writer >= 0)
        return;
    OK(ramet_session_bind(play_any_idle(play)->session, STORE_REMOTE_URL,
                          &store_volume, e));
    play->is_bound = true;
}

/* Somebody else's commit, on top of what the remote has. */
void
play_remote_commit(struct play *play)
{
    const struct image *const from = play->remote.at[play->remote.newest];
    struct image *const image = image_copy(from);
    uint64_t rounds = store_below(&play->rng, 5);

    if (play->remote.newest > REMOTE_MAX - 10) {
        image_unref(image);
        return;
    }
    if (image->page_size == 0)
        image->page_size =
            play->newest->page_size == 0 ? 4096 : play->newest->page_size;
    if (play->kind == RAMET_KIND_SQLITE && store_chance(&play->rng, 8))
        image->page_size = 512u << store_below(&play->rng, 8);
    if (store_chance(&play->rng, 30))
        image_resize(image, store_below(&play->rng, image->size + 1));
    while (rounds-- > 0) {
        const uint64_t at = store_below(&play->rng, play->size_max);
        uint8_t bytes[5000];

        store_random_bytes(&play->rng, bytes, sizeof(bytes));
        image_write(image, at, bytes, 1 + store_below(&play->rng, 5000));
    }
    if (play->kind == RAMET_KIND_SQLITE) {
        const uint64_t over = image->size % image->page_size;

        if (over != 0)
            image_resize(image, image->size + image->page_size - over);
        if (image->size > 0)
            image_put_header(image, image->page_size,
                             (uint32_t)store_below(&play->rng, 1000));
    }
    remote_add(&play->remote, image);
}

/* ---- pull and reset -------------------------------------------------------- */

/* What the remote changed from the replica's LSN on, and for a reset what the
 * replica did since: the set that pull() is to be given. */
static void
target_set(struct play *play, struct play_slot *slot, const struct image *to,
           struct ramet_pageset *out_set)
{
    struct ramet_replica_state state;
    const uint32_t last = image_pages(to);
    uint32_t least = image_pages(play->newest);

    memset(&state, 0, sizeof(state));
    OK(ramet_session_state(slot->session, &state, e));
    if (state.commits_in_flight > 0 && state.least_page_count_in_flight < least)
        least = state.least_page_count_in_flight;
    if (state.commits_later > 0 && state.least_page_count_later < least)
        least = state.least_page_count_later;
    if (play->lsn == 0 || play->newest->page_size != to->page_size) {
        least = 0;
    } else {
        image_diff(play->remote.at[play->lsn], to, out_set);
        OK(ramet_pageset_add_set(out_set, &state.in_flight));
        OK(ramet_pageset_add_set(out_set, &state.later));
    }
    if (!play->is_pending && least > 0)
        least = last; /* what grew is zeros, or in the set */
    if (least < last)
        OK(ramet_pageset_add_run(out_set, (struct ramet_run){least + 1, last}));
    for (int i = 0; last > 0 && i < 2; i++) /* more than need be: no harm */
        OK(ramet_pageset_add(out_set,
                             1 + (uint32_t)store_below(&play->rng, last)));
    ramet_pageset_truncate(out_set, last);
    ramet_replica_state_done(&state);
}

static void
after_pull(struct play *play, struct play_slot *slot, uint64_t lsn)
{
    const struct ramet_snapshot *s;

    play_adopted(play, image_ref(play->remote.at[lsn]));
    play->lsn = lsn;
    play->is_pending = false;
    image_unref(play->frozen);
    play->frozen = NULL;
    play_unpin_slot(slot);
    play_pin_slot(play, slot);
    s = ramet_session_snapshot(slot->session);
    assert_true(ramet_number_is_ahead(s->counter, play->counter));
    play->counter = s->counter;
    if (store_chance(&play->rng, 30))
        store_expect(slot->session, play->newest, __LINE__);
}

void
play_pull(struct play *play)
{
    struct play_slot *const slot = play_any_idle(play);
    const struct image *to;
    struct ramet_remote_point point;
    struct ramet_snapshot base;
    struct ramet_pageset changed;
    struct ramet_err err = {.text = ""};
    const bool reset = store_chance(&play->rng, 40);
    const bool was_diverged = play->is_pending || play->frozen != NULL;
    uint8_t page1[65536];
    enum ramet_rc rc;

    bind_replica(play);
    if (!play->is_bound)
        return;
    if (play->remote.newest == play->lsn)
        play_remote_commit(play);
    to = play->remote.at[play->remote.newest];
    point = remote_point(&play->remote, play->remote.newest);
    image_page(to, 1, page1);
    ramet_pageset_init(&changed);
    target_set(play, slot, to, &changed);
    play_unpin_slot(slot);
    if (to->page_size != play->newest->page_size && play->writer < 0)
        play_unpin_all(play, NULL);
    base = store_newest(slot->session);
    if (reset)
        OK(ramet_session_lock_push(slot->session, e));
    rc = ramet_session_pull(
        slot->session, &base, &point, &changed,
        play->kind == RAMET_KIND_SQLITE && to->size > 0 ? page1 : NULL, reset,
        &err);
    ramet_session_unlock_push(slot->session);
    ramet_pageset_done(&changed);
    if (play->writer >= 0)
        assert_true(rc == RAMET_EBUSY || rc == RAMET_EDIVERGED);
    else if (was_diverged && !reset)
        assert_int_equal(rc, RAMET_EDIVERGED);
    else {
        store_ok(rc, &err, "pull", __FILE__, __LINE__);
        after_pull(play, slot, point.lsn);
    }
}

/* ---- push ------------------------------------------------------------------ */

/* `from` with the pages in `set` as in `to`, cut at `least` in between: that
 * is what the remote makes of a commit. It must be `to`. */
static void
check_commit(const struct image *from, const struct image *to,
             const struct ramet_pageset *set, uint32_t least, bool all)
{
    struct ramet_pageset differing;
    struct image *const cut = image_copy(from);

    if (all) { /* every page is sent */
        image_unref(cut);
        return;
    }
    ramet_pageset_init(&differing);
    if (to->size > 0 && cut->page_size == 0)
        cut->page_size = to->page_size;
    if (image_pages(cut) > least)
        image_resize(cut, (uint64_t)least * cut->page_size);
    image_diff(cut, to, &differing);
    OK(ramet_pageset_remove_set(&differing, set));
    if (ramet_pageset_count(&differing) != 0)
        fail_msg("page %u changed and is not pending",
                 ramet_pageset_next(&differing, 0));
    ramet_pageset_done(&differing);
    image_unref(cut);
}

static void
check_state(struct play *play, const struct ramet_replica_state *state)
{
    const struct image *const at_lsn = play->remote.at[play->lsn];

    assert_int_equal(state->newest.lsn, play->lsn);
    assert_int_equal(state->newest.byte_length, play->newest->size);
    assert_int_equal(!ramet_id_is_nil(&state->intent.id), play->frozen != NULL);
    assert_int_equal(state->kind, play->kind);
    assert_int_equal(state->remote[0] != '\0', play->is_bound);
    if (!play->is_pending) {
        assert_int_equal(state->commits_later + state->commits_in_flight, 0);
        assert_int_equal(ramet_pageset_count(&state->later), 0);
        assert_int_equal(ramet_pageset_count(&state->in_flight), 0);
        return;
    }
    if (play->frozen != NULL) {
        check_commit(at_lsn, play->frozen, &state->in_flight,
                     state->least_page_count_in_flight,
                     state->page_size_changed_in_flight);
        if (!play->wrote_since_freeze)
            assert_int_equal(state->commits_later, 0);
        else
            check_commit(play->frozen, play->newest, &state->later,
                         state->least_page_count_later,
                         state->page_size_changed_later);
    } else if (play->lsn != 0) {
        assert_true(state->commits_later > 0);
        check_commit(at_lsn, play->newest, &state->later,
                     state->least_page_count_later,
                     state->page_size_changed_later);
    }
}

/* A state brought up from time to time is what a new one is. */
static void
compare_states(const struct ramet_replica_state *a,
               const struct ramet_replica_state *b)
{
    assert_int_equal(a->newest.seq, b->newest.seq);
    assert_int_equal(a->newest.tail.raw, b->newest.tail.raw);
    assert_int_equal(a->newest.lsn, b->newest.lsn);
    assert_int_equal(a->newest.counter, b->newest.counter);
    assert_true(ramet_pageset_equal(&a->in_flight, &b->in_flight));
    assert_true(ramet_pageset_equal(&a->later, &b->later));
    assert_memory_equal(&a->intent, &b->intent, sizeof(a->intent));
    assert_memory_equal(&a->replica, &b->replica, sizeof(a->replica));
    assert_memory_equal(&a->newest.lsn_hash, &b->newest.lsn_hash,
                        sizeof(a->newest.lsn_hash));
    assert_int_equal(a->commits_in_flight, b->commits_in_flight);
    assert_int_equal(a->commits_later, b->commits_later);
    assert_int_equal(a->page_size_changed, b->page_size_changed);
    assert_int_equal(a->least_page_count_in_flight,
                     b->least_page_count_in_flight);
    assert_int_equal(a->least_page_count_later, b->least_page_count_later);
    assert_string_equal(a->remote, b->remote);
}

void
play_state(struct play *play)
{
    struct play_slot *const slot = play_any_idle(play);
    struct ramet_replica_state state;
    struct ramet_pageset absent;

    memset(&state, 0, sizeof(state));
    OK(ramet_session_state(slot->session, &state, e));
    check_state(play, &state);
    OK(ramet_session_state(slot->session, &play->kept, e));
    compare_states(&play->kept, &state);
    ramet_pageset_init(&absent);
    play_unpin_slot(slot);
    play_pin_slot(play, slot);
    OK(ramet_session_absent(slot->session, 0, 1, &absent, e));
    if (state.whole)
        assert_int_equal(ramet_pageset_count(&absent), 0);
    ramet_pageset_done(&absent);
    ramet_replica_state_done(&state);
}

void
play_freeze(struct play *play)
{
    struct play_slot *slot;
    struct play_slot *other;
    struct ramet_snapshot base;
    struct ramet_cid id;
    uint8_t object[3000];
    uint8_t *kept;
    size_t kept_len;

    bind_replica(play);
    if (!play->is_bound || play->writer >= 0 || play->frozen != NULL ||
        !play->is_pending)
        return;
    slot = play_any_idle(play);
    play_unpin_slot(slot);
    OK(ramet_session_lock_push(slot->session, e));
    other = play_any(play);
    if (other != slot)
        assert_int_equal(ramet_session_lock_push(other->session, NULL),
                         RAMET_EBUSY);
    OK(ramet_id_new(&id.id, e));
    base = store_newest(slot->session);
    OK(ramet_session_freeze(slot->session, &base, &id, e));
    play->frozen = image_ref(play->newest);
    play->wrote_since_freeze = false;
    slot->seen = image_ref(play->newest);
    slot->epoch = play->epoch;
    store_expect(slot->session, play->frozen, __LINE__);
    store_random_bytes(&play->rng, object, sizeof(object));
    OK(ramet_session_keep_intent(slot->session, object, sizeof(object), e));
    OK(ramet_session_load_intent(play_any(play)->session, &kept, &kept_len, e));
    assert_int_equal(kept_len, sizeof(object));
    assert_memory_equal(kept, object, kept_len);
    ramet_free(kept);
    ramet_session_unlock_push(slot->session);
    play_state(play);
}

void
play_resolve_intent(struct play *play)
{
    struct play_slot *slot;

    if (play->frozen == NULL || play->writer >= 0 ||
        play->remote.newest > REMOTE_MAX - 10)
        return;
    slot = play_any_idle(play);
    OK(ramet_session_lock_push(slot->session, e));
    if (play->remote.newest == play->lsn && store_chance(&play->rng, 75)) {
        const struct ramet_snapshot base = store_newest(slot->session);
        struct ramet_remote_point point;

        play->lsn = remote_add(&play->remote, image_ref(play->frozen));
        point = remote_point(&play->remote, play->lsn);
        OK(ramet_session_mark_durable(slot->session, &base, &point, e));
        play->is_pending = play->wrote_since_freeze;
    } else {
        OK(ramet_session_abandon_intent(slot->session, e));
    }
    ramet_session_unlock_push(slot->session);
    image_unref(play->frozen);
    play->frozen = NULL;
    play_state(play);
}

/* ---- pages that are not here ----------------------------------------------- */

/* One by one, or many at once; some of them twice. */
static void
offer_some(struct play *play, struct ramet_session *session,
           const struct image *image, const struct ramet_point *at)
{
    enum { MOST = 24 };
    uint8_t *const pages = malloc((size_t)MOST * image->page_size);
    const size_t count =
        store_chance(&play->rng, 50) ? 1 : store_below(&play->rng, MOST + 1u);
    uint32_t pgnos[MOST];

    assert_non_null(pages);
    for (size_t i = 0; i < count; i++) {
        pgnos[i] = 1 + (uint32_t)store_below(&play->rng, image_pages(image));
        image_page(image, pgnos[i], pages + i * image->page_size);
    }
    if (store_chance(&play->rng, 50))
        OK(ramet_session_keep_fetched_run(session, at, pgnos, count, pages,
                                          image->page_size, e));
    else
        OK(ramet_session_place_fetched_run(session, at, pgnos, count, pages,
                                           image->page_size, e));
    free(pages);
    if (store_chance(&play->rng, 20)) {
        bool settled;

        OK(ramet_session_settle(session, &settled, e));
    }
}

void
play_fetched(struct play *play)
{
    struct play_slot *const slot = play_any(play);
    uint8_t page[65536];
    const struct image *image;
    struct ramet_point at;
    uint64_t lsn = play->lsn;

    if (lsn == 0)
        return;
    if (store_chance(&play->rng, 20)) { /* what nobody should take */
        lsn = lsn - 1 + store_below(&play->rng, 3);
        image = play->remote.at[play->lsn];
        store_random_bytes(&play->rng, page, sizeof(page));
        at = remote_at(&play->remote, lsn);
        if (lsn == play->lsn) /* of another line */
            at.hash.bytes[9] ^= 1;
        OK(ramet_session_keep_fetched(
            slot->session, &at,
            1 + (uint32_t)store_below(&play->rng, image_pages(image) + 1u),
            page, e));
        return;
    }
    image = play->remote.at[lsn];
    at = remote_at(&play->remote, lsn);
    if (image->size > 0)
        offer_some(play, slot->session, image, &at);
}

/* With the remote down exactly the absent pages can't be read. */
void
play_absent(struct play *play)
{
    struct play_slot *const slot = play_any_pinned(play);
    const struct image *const seen = slot->seen;
    struct ramet_pageset absent;
    struct ramet_pageset more;
    uint8_t *const buf = malloc(65536);
    uint8_t *const want = malloc(65536);

    ramet_pageset_init(&absent);
    ramet_pageset_init(&more);
    OK(ramet_session_absent(slot->session, 0, SIZE_MAX, &absent, e));
    if (ramet_pageset_count(&absent) > 0) {
        const uint32_t first = ramet_pageset_next(&absent, 0);

        OK(ramet_session_absent(slot->session, first, 1, &more, e));
        assert_int_equal(ramet_pageset_next(&more, 0),
                         ramet_pageset_next(&absent, first));
    }
    play->remote.is_down = true;
    for (uint32_t pgno = 1; pgno <= image_pages(seen); pgno++) {
        const uint64_t at = (uint64_t)(pgno - 1) * seen->page_size;
        struct ramet_err err = {.text = ""};
        size_t got;
        enum ramet_rc rc;

        if (play->writer >= 0 && &play->slots[play->writer] == slot)
            break; /* own writes hide what is absent */
        rc = ramet_session_read(slot->session, at, buf, seen->page_size, &got,
                                &err);
        image_page(seen, pgno, want);
        if (ramet_pageset_contains(&absent, pgno)) {
            if (rc != RAMET_EUNREACHABLE)
                fail_msg("page %u is absent, and read: %s", pgno,
                         ramet_rc_name(rc));
        } else {
            store_ok(rc, &err, "read of a page that is here", __FILE__,
                     __LINE__);
            assert_memory_equal(buf, want, seen->page_size);
        }
    }
    play->remote.is_down = false;
    ramet_pageset_done(&absent);
    ramet_pageset_done(&more);
    free(buf);
    free(want);
}

void
play_upkeep(struct play *play)
{
    struct play_slot *const slot = play_any(play);
    uint64_t checked = 0;
    uint64_t bad = 0;

    switch (store_below(&play->rng, 8)) {
    case 0:
    case 1:
    case 2:
        OK(ramet_session_checkpoint(slot->session, true, e));
        break;
    case 3:
        OK(ramet_session_checkpoint(slot->session, false, e));
        break;
    case 4:
        OK(ramet_session_evict(slot->session, 0, e));
        break;
    case 5:
        OK(ramet_session_evict(slot->session,
                               store_below(&play->rng, play->size_max), e));
        break;
    case 6:
        OK(ramet_session_sum(slot->session, e));
        break;
    default:
        OK(ramet_session_verify(slot->session, &checked, &bad, e));
        assert_int_equal(bad, 0);
        break;
    }
}
