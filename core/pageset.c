/*
 * pageset.c - the set itself; pageset_codec.c has its encoding. See pageset.h.
 *
 *   (1) runs are ascending, and last + 1 < first of the next one
 *   (2) first >= 1 in every run
 *   (3) additions leave run_max runs at most, if it is not 0
 *   (4) a call that fails leaves the set as it was: memory is had before
 *       anything is moved
 */
#include "core/pageset.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"

#define CAPACITY_MIN 8u

/* With fewer runs in `other` than a sixteenth of ours, moving the tail of the
 * array for each beats copying all of it once. */
#define FEW_SHIFT 4

void
ramet_pageset_init(struct ramet_pageset *set)
{
    *set = (struct ramet_pageset){0};
}

void
ramet_pageset_done(struct ramet_pageset *set)
{
    if (set == NULL)
        return;
    ramet_free(set->runs);
    ramet_pageset_init(set);
}

void
ramet_pageset_clear(struct ramet_pageset *set)
{
    set->run_count = 0;
}

void
ramet_pageset_swap(struct ramet_pageset *a, struct ramet_pageset *b)
{
    const struct ramet_pageset tmp = *a;

    *a = *b;
    *b = tmp;
}

/* Room for `count` runs in all. */
static enum ramet_rc
reserve_runs(struct ramet_pageset *set, size_t count)
{
    size_t capacity = set->run_capacity * 2;
    struct ramet_run *runs;

    if (count <= set->run_capacity)
        return RAMET_OK;
    if (capacity < CAPACITY_MIN)
        capacity = CAPACITY_MIN;
    if (capacity < count)
        capacity = count;
    if (capacity > SIZE_MAX / sizeof(*runs))
        return RAMET_ENOMEM;
    runs = ramet_realloc(set->runs, capacity * sizeof(*runs));
    if (runs == NULL)
        return RAMET_ENOMEM;
    set->runs = runs;
    set->run_capacity = capacity;
    return RAMET_OK;
}

/* The index of the first run that ends at or after `pgno`, or run_count. */
static size_t
find_run(const struct ramet_pageset *set, uint32_t pgno)
{
    size_t low = 0;
    size_t high = set->run_count;

    while (low < high) { /* runs before low end before pgno, from high not */
        const size_t middle = low + (high - low) / 2;

        if (set->runs[middle].last < pgno)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Replace runs [from, to) by the `count` runs given. Capacity is there. */
static void
splice_runs(struct ramet_pageset *set, size_t from, size_t to,
            const struct ramet_run *runs, size_t count)
{
    const size_t tail = set->run_count - to;

    assert(from <= to && to <= set->run_count);
    assert(from + count + tail <= set->run_capacity);
    if (from + count != to && tail != 0)
        memmove(set->runs + from + count, set->runs + to,
                tail * sizeof(*set->runs));
    for (size_t i = 0; i < count; i++)
        set->runs[from + i] = runs[i];
    set->run_count = from + count + tail;
}

/* Can `run` be added by looking at the last run alone? */
static bool
is_at_end(const struct ramet_pageset *set, struct ramet_run run)
{
    return set->run_count == 0 ||
           run.first > set->runs[set->run_count - 1].last;
}

/* Append a run that is_at_end(); a new run's capacity is there. */
static void
append_run(struct ramet_pageset *set, struct ramet_run run)
{
    struct ramet_run *const last = set->runs + set->run_count;

    assert(is_at_end(set, run));
    if (set->run_count > 0 && last[-1].last == run.first - 1) {
        last[-1].last = run.last;
        return;
    }
    assert(set->run_count < set->run_capacity);
    *last = run;
    set->run_count++;
}

/* As ramet_pageset_add_run(), with room for one more run. */
static void
insert_run(struct ramet_pageset *set, struct ramet_run run)
{
    size_t from;
    size_t to;

    if (is_at_end(set, run)) {
        append_run(set, run);
        return;
    }
    /* [from, to) overlap the run or touch it. first - 1 may be 0, which
     * finds run 0; last + 1 may not wrap. */
    from = find_run(set, run.first - 1);
    to = from;
    while (to < set->run_count &&
           (run.last == UINT32_MAX || set->runs[to].first <= run.last + 1))
        to++;
    if (from < to) {
        if (set->runs[from].first < run.first)
            run.first = set->runs[from].first;
        if (set->runs[to - 1].last > run.last)
            run.last = set->runs[to - 1].last;
    }
    splice_runs(set, from, to, &run, 1);
}

/* Runs that have at most `gap` pages between them become one. */
static void
join_runs(struct ramet_pageset *set, uint64_t gap)
{
    size_t count = 1;

    for (size_t i = 1; i < set->run_count; i++) {
        const struct ramet_run run = set->runs[i];

        if (run.first - (uint64_t)set->runs[count - 1].last - 1 <= gap)
            set->runs[count - 1].last = run.last;
        else
            set->runs[count++] = run;
    }
    set->run_count = count;
}

/* Invariant (3). Half of them go at once, so that it need not be done often. */
static void
keep_bound(struct ramet_pageset *set)
{
    const size_t most = set->run_max;
    struct ramet_run *runs;

    if (most == 0 || set->run_count <= most)
        return;
    for (uint64_t gap = 1; set->run_count > 1 && set->run_count > most / 2;
         gap *= 2)
        join_runs(set, gap);
    if (set->run_capacity / 2 <= most)
        return;
    runs = ramet_realloc(set->runs, most * sizeof(*runs));
    if (runs != NULL) {
        set->runs = runs;
        set->run_capacity = most;
    }
}

enum ramet_rc
ramet_pageset_add_run(struct ramet_pageset *set, struct ramet_run run)
{
    enum ramet_rc rc;

    assert(run.first >= 1 && run.first <= run.last);
    rc = reserve_runs(set, set->run_count + 1);
    if (rc != RAMET_OK)
        return rc;
    insert_run(set, run);
    keep_bound(set);
    return RAMET_OK;
}

enum ramet_rc
ramet_pageset_add(struct ramet_pageset *set, uint32_t pgno)
{
    assert(pgno >= 1);
    if (set->run_count > 0) { /* in order, most pages only extend a run */
        struct ramet_run *const last = set->runs + set->run_count - 1;

        if (last->last == pgno - 1) {
            last->last = pgno;
            return RAMET_OK;
        }
        if (last->first <= pgno && pgno <= last->last)
            return RAMET_OK;
    }
    return ramet_pageset_add_run(set, (struct ramet_run){pgno, pgno});
}

/* Merge two sets into `out`, which is empty and has room for both. */
static void
merge_sets(const struct ramet_pageset *a, const struct ramet_pageset *b,
           struct ramet_pageset *out)
{
    size_t i = 0;
    size_t j = 0;

    while (i < a->run_count || j < b->run_count) {
        const bool take_a =
            j == b->run_count ||
            (i < a->run_count && a->runs[i].first <= b->runs[j].first);
        const struct ramet_run run = take_a ? a->runs[i++] : b->runs[j++];
        struct ramet_run *const last = out->runs + out->run_count;

        if (is_at_end(out, run))
            append_run(out, run);
        else if (last[-1].last < run.last)
            last[-1].last = run.last;
    }
}

enum ramet_rc
ramet_pageset_add_set(struct ramet_pageset *set,
                      const struct ramet_pageset *other)
{
    struct ramet_pageset merged = {.run_max = set->run_max};
    enum ramet_rc rc;

    if (other->run_count == 0 || set == other)
        return RAMET_OK;
    if (is_at_end(set, other->runs[0]) ||
        other->run_count <= set->run_count >> FEW_SHIFT) {
        rc = reserve_runs(set, set->run_count + other->run_count);
        for (size_t i = 0; rc == RAMET_OK && i < other->run_count; i++)
            insert_run(set, other->runs[i]);
        keep_bound(set);
        return rc;
    }
    rc = reserve_runs(&merged, set->run_count + other->run_count);
    if (rc == RAMET_OK) {
        merge_sets(set, other, &merged);
        ramet_pageset_swap(set, &merged);
        keep_bound(set);
    }
    ramet_pageset_done(&merged);
    return rc;
}

/* As ramet_pageset_remove_run(), with room for one more run. */
static void
cut_run(struct ramet_pageset *set, struct ramet_run run)
{
    struct ramet_run rest[2];
    size_t rest_count = 0;
    const size_t from = find_run(set, run.first);
    size_t to = from;

    while (to < set->run_count && set->runs[to].first <= run.last)
        to++;
    if (from == to)
        return;
    if (set->runs[from].first < run.first)
        rest[rest_count++] =
            (struct ramet_run){set->runs[from].first, run.first - 1};
    if (set->runs[to - 1].last > run.last)
        rest[rest_count++] =
            (struct ramet_run){run.last + 1, set->runs[to - 1].last};
    splice_runs(set, from, to, rest, rest_count);
}

enum ramet_rc
ramet_pageset_remove_run(struct ramet_pageset *set, struct ramet_run run)
{
    enum ramet_rc rc;

    assert(run.first >= 1 && run.first <= run.last);
    rc = reserve_runs(set, set->run_count + 1);
    if (rc == RAMET_OK)
        cut_run(set, run);
    return rc;
}

/* `a` without `b` into `out`, which is empty and has room for both. */
static void
subtract_sets(const struct ramet_pageset *a, const struct ramet_pageset *b,
              struct ramet_pageset *out)
{
    size_t j = 0;

    for (size_t i = 0; i < a->run_count; i++) {
        struct ramet_run left = a->runs[i];
        bool is_left = true;

        while (j < b->run_count && b->runs[j].last < left.first)
            j++;
        /* The last run that cuts this one may cut the next one too. */
        for (size_t k = j; k < b->run_count && b->runs[k].first <= left.last;
             k++) {
            if (b->runs[k].first > left.first)
                append_run(
                    out, (struct ramet_run){left.first, b->runs[k].first - 1});
            is_left = b->runs[k].last < left.last;
            if (!is_left)
                break;
            left.first = b->runs[k].last + 1;
            j = k + 1;
        }
        if (is_left)
            append_run(out, left);
    }
}

enum ramet_rc
ramet_pageset_remove_set(struct ramet_pageset *set,
                         const struct ramet_pageset *other)
{
    struct ramet_pageset rest = {.run_max = set->run_max};
    enum ramet_rc rc;

    if (set->run_count == 0 || other->run_count == 0)
        return RAMET_OK;
    if (set == other) {
        ramet_pageset_clear(set);
        return RAMET_OK;
    }
    if (other->run_count <= set->run_count >> FEW_SHIFT) {
        rc = reserve_runs(set, set->run_count + other->run_count);
        for (size_t i = 0; rc == RAMET_OK && i < other->run_count; i++)
            cut_run(set, other->runs[i]);
        return rc;
    }
    rc = reserve_runs(&rest, set->run_count + other->run_count);
    if (rc == RAMET_OK) {
        subtract_sets(set, other, &rest);
        ramet_pageset_swap(set, &rest);
    }
    ramet_pageset_done(&rest);
    return rc;
}

void
ramet_pageset_truncate(struct ramet_pageset *set, uint32_t last)
{
    size_t count;

    if (set->run_count == 0)
        return;
    if (last == 0) {
        ramet_pageset_clear(set);
        return;
    }
    count = find_run(set, last);
    if (count < set->run_count && set->runs[count].first <= last) {
        set->runs[count].last = last;
        count++;
    }
    set->run_count = count;
}

enum ramet_rc
ramet_pageset_copy(struct ramet_pageset *dst, const struct ramet_pageset *src)
{
    enum ramet_rc rc;

    if (dst == src)
        return RAMET_OK;
    rc = reserve_runs(dst, src->run_count);
    if (rc != RAMET_OK)
        return rc;
    if (src->run_count != 0)
        memcpy(dst->runs, src->runs, src->run_count * sizeof(*dst->runs));
    dst->run_count = src->run_count;
    return RAMET_OK;
}

bool
ramet_pageset_contains(const struct ramet_pageset *set, uint32_t pgno)
{
    const size_t at = find_run(set, pgno);

    return at < set->run_count && set->runs[at].first <= pgno;
}

bool
ramet_pageset_intersects(const struct ramet_pageset *a,
                         const struct ramet_pageset *b)
{
    size_t i = 0;
    size_t j = 0;

    while (i < a->run_count && j < b->run_count) {
        if (a->runs[i].last < b->runs[j].first)
            i++;
        else if (b->runs[j].last < a->runs[i].first)
            j++;
        else
            return true;
    }
    return false;
}

bool
ramet_pageset_equal(const struct ramet_pageset *a,
                    const struct ramet_pageset *b)
{
    if (a->run_count != b->run_count)
        return false;
    for (size_t i = 0; i < a->run_count; i++)
        if (a->runs[i].first != b->runs[i].first ||
            a->runs[i].last != b->runs[i].last)
            return false;
    return true;
}

uint64_t
ramet_pageset_count(const struct ramet_pageset *set)
{
    uint64_t count = 0;

    for (size_t i = 0; i < set->run_count; i++)
        count += (uint64_t)set->runs[i].last - set->runs[i].first + 1;
    return count;
}

uint32_t
ramet_pageset_next(const struct ramet_pageset *set, uint32_t pgno)
{
    size_t at;

    if (pgno == UINT32_MAX)
        return 0;
    at = find_run(set, pgno + 1);
    if (at == set->run_count)
        return 0;
    return set->runs[at].first > pgno ? set->runs[at].first : pgno + 1;
}
