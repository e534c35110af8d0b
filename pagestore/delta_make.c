/*
 * delta_make.c - from a base and a page to the steps between them.
 *
 * Most of a changed page stands where it stood in its base, or is moved as a
 * whole, and what points to it with it. So the page is gone through once: on as the last
 * copy went, else from where the base has the same bytes, else as a literal.
 * Where both have a table of numbers (struct ramet_delta_shape), what comes behind it is
 * done first, since numbers follow the copies.
 *
 *   (1) the base is indexed by the 8 bytes at each fourth place, so that 11
 *       bytes in common are found wherever they begin; and only if the page is not
 *       in line with it
 *   (2) whatever is chosen here is applied and compared before it is taken
 *
 * Layer: pagestore.
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/delta_steps.h"

#define ALIGN 4u
#define KEY 8u
#define ALONG_MIN 4u  /* bytes that are worth a copy in line with the last */
#define MOVED_MIN 12u /* elsewhere in the base */
#define ZEROS_MIN 8u
#define AHEAD_MAX 8u  /* bytes that may differ in line */
#define AHEAD_MIN 16u /* bytes that must be the same behind them */
#define SURE 24u      /* a run in line that nothing is compared with */
#define LITERALS_MANY 128u
/* Has no divisor in common with ALIGN, so that what is moved by any distance is found. */
#define LITERALS_STEP 3u
#define STEPS_MAX 2048u

struct ramet_delta_maker {
    uint32_t page_size;
    uint32_t mask;
    uint16_t *index; /* place / ALIGN + 1, by the hash of what stands there */
    bool is_indexed;
    /* What is compared. */
    const uint8_t *base, *page;
    int64_t shift; /* of the copy that was found last */
    struct ramet_delta_step *steps, *behind; /* the table */
    uint32_t step_count;
    uint32_t done; /* the page is covered, or left to literals, up to here */
    uint32_t literals, most; /* how many are left so far, and may be left */
    bool is_over;            /* there were more */
    struct ramet_delta_run *runs;
    size_t run_count;
    uint16_t *numbers; /* the base's table as it follows */
    struct ramet_buf out_steps, out_literals;
};

struct ramet_delta_maker *
ramet_delta_maker_new(uint32_t page_size)
{
    struct ramet_delta_maker *const maker = ramet_calloc(1, sizeof(*maker));

    assert(ramet_page_size_valid(page_size));
    if (maker == NULL)
        return NULL;
    maker->page_size = page_size;
    maker->mask = page_size / ALIGN * 2 - 1;
    maker->index = ramet_alloc((maker->mask + 1) * sizeof(*maker->index));
    maker->steps = ramet_alloc(STEPS_MAX * sizeof(*maker->steps));
    maker->behind = ramet_alloc(STEPS_MAX * sizeof(*maker->behind));
    maker->runs = ramet_alloc(RAMET_DELTA_COPIES_MAX * sizeof(*maker->runs));
    maker->numbers = ramet_alloc(page_size);
    ramet_buf_init(&maker->out_steps, RAMET_DELTA_BLOCK_MAX);
    ramet_buf_init(&maker->out_literals, RAMET_DELTA_BLOCK_MAX);
    if (maker->index == NULL || maker->steps == NULL || maker->behind == NULL ||
        maker->runs == NULL || maker->numbers == NULL) {
        ramet_delta_maker_free(maker);
        return NULL;
    }
    return maker;
}

void
ramet_delta_maker_free(struct ramet_delta_maker *maker)
{
    if (maker == NULL)
        return;
    ramet_buf_done(&maker->out_steps);
    ramet_buf_done(&maker->out_literals);
    ramet_free(maker->index);
    ramet_free(maker->steps);
    ramet_free(maker->behind);
    ramet_free(maker->runs);
    ramet_free(maker->numbers);
    ramet_free(maker);
}

/* ---- what is the same ------------------------------------------------------ */

static uint32_t
same_bytes(const uint8_t *a, const uint8_t *b, uint32_t most)
{
    uint32_t n = 0;

    assert(a != NULL && b != NULL);
    for (; n + 8 <= most; n += 8) {
        const uint64_t x = ramet_get_le64(a + n) ^ ramet_get_le64(b + n);

        if (x != 0)
            return n + (uint32_t)__builtin_ctzll(x) / 8;
    }
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

static uint32_t
zeros_at(const uint8_t *page, uint32_t most)
{
    uint32_t n = 0;

    assert(page != NULL);
    while (n < most && page[n] == 0)
        n++;
    return n;
}

static inline uint32_t
place_of(uint64_t key, uint32_t mask)
{
    return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 40) & mask;
}

/* Invariant (1). */
static void
index_base(struct ramet_delta_maker *maker)
{
    const uint8_t *const base = maker->base;
    const uint32_t mask = maker->mask, last = maker->page_size / ALIGN - 2;
    uint16_t *const index = maker->index;

    assert(!maker->is_indexed && (mask & (mask + 1)) == 0); /* all ones */
    static_assert(KEY == 2 * ALIGN, "the last key ends with the page");
    memset(index, 0, (mask + 1) * sizeof(*index));
    for (uint32_t i = 0; i <= last; i++) {
        const uint64_t key = ramet_get_le64(base + (size_t)i * ALIGN);

        if (key != 0)
            index[place_of(key, mask)] = (uint16_t)(i + 1);
    }
    maker->is_indexed = true;
}

/* Where the base has the KEY bytes that stand at `at`, if the index knows. */
static inline bool
look_up(struct ramet_delta_maker *maker, uint32_t at, uint32_t *out_source)
{
    uint64_t key;
    uint32_t entry;

    assert(at + KEY <= maker->page_size);
    if (!maker->is_indexed)
        index_base(maker);
    key = ramet_get_le64(maker->page + at);
    entry = maker->index[place_of(key, maker->mask)];
    *out_source = (entry - 1) * ALIGN;
    return entry != 0 && ramet_get_le64(maker->base + *out_source) == key;
}

/* A run of the base that has the page's bytes at `at`, and perhaps some before. */
struct found {
    uint32_t at, source, length;
};

/* In line with the last copy. */
static struct found
find_along(const struct ramet_delta_maker *maker, uint32_t at, uint32_t end)
{
    const int64_t source = (int64_t)at + maker->shift;
    struct found found = {.at = at};
    uint32_t most = end - at;

    assert(at < end && end <= maker->page_size);
    if (source < 0 || source >= (int64_t)maker->page_size)
        return found;
    found.source = (uint32_t)source;
    if (most > maker->page_size - found.source)
        most = maker->page_size - found.source;
    found.length =
        same_bytes(maker->base + found.source, maker->page + at, most);
    return found;
}

static struct found
find_moved(struct ramet_delta_maker *maker, uint32_t at, uint32_t end)
{
    struct found found = {.at = at};
    uint32_t most = end - at;

    assert(maker->done <= at && at < end && end <= maker->page_size);
    if (most < KEY || !look_up(maker, at, &found.source))
        return found;
    if (most > maker->page_size - found.source)
        most = maker->page_size - found.source;
    found.length =
        same_bytes(maker->base + found.source, maker->page + at, most);
    while (found.at > maker->done && found.source > 0 &&
           maker->page[found.at - 1] == maker->base[found.source - 1]) {
        found.at--;
        found.source--;
        found.length++;
    }
    return found;
}

/* May there be a run in line of AHEAD_MIN bytes, or up to the end, from one of the next
 * AHEAD_MAX places on? All such have the same eight bytes. */
static bool
may_go_on(const struct ramet_delta_maker *maker, uint32_t at, uint32_t end)
{
    const uint32_t middle = at + AHEAD_MAX;
    const int64_t source = (int64_t)middle + maker->shift;

    static_assert(AHEAD_MIN >= AHEAD_MAX + 8, "they lie in each");
    if (middle + 8 > end)
        return true;
    return source >= 0 && source + 8 <= (int64_t)maker->page_size &&
           ramet_get_le64(maker->page + middle) ==
               ramet_get_le64(maker->base + source);
}

/* How many bytes differ here before it goes on in line; 0: too many. */
static uint32_t
count_differing(const struct ramet_delta_maker *maker, uint32_t at,
                uint32_t end)
{
    assert(at < end && end <= maker->page_size);
    if (!may_go_on(maker, at, end))
        return 0;
    for (uint32_t skip = 1; skip <= AHEAD_MAX && at + skip < end; skip++) {
        const struct found found = find_along(maker, at + skip, end);

        if (found.length >= AHEAD_MIN ||
            (found.length > 0 && at + skip + found.length == end))
            return skip;
    }
    return 0;
}

/* ---- steps ----------------------------------------------------------------- */

static bool
add_step(struct ramet_delta_maker *maker, enum ramet_delta_kind kind,
         uint32_t at, uint32_t source, uint32_t length)
{
    assert(at >= maker->done && at + length <= maker->page_size);
    assert(length > 0);
    if (maker->step_count == STEPS_MAX)
        return false;
    maker->steps[maker->step_count++] =
        (struct ramet_delta_step){0, kind, at, source, length};
    maker->literals += at - maker->done;
    maker->done = at + length;
    return true;
}

static bool
add_copy(struct ramet_delta_maker *maker, const struct found *found)
{
    assert(found->length > 0 &&
           found->source + found->length <= maker->page_size);
    maker->shift = (int64_t)found->source - (int64_t)found->at;
    return add_step(maker, RAMET_DELTA_COPY, found->at, found->source,
                    found->length);
}

/* The best run of the base for what stands at `at`; shorter than ALONG_MIN: none. */
static struct found
find_run(struct ramet_delta_maker *maker, uint32_t at, uint32_t end,
         const struct found *along)
{
    const struct found moved = find_moved(maker, at, end);

    assert(along->at == at && along->length < SURE);
    return moved.length >= MOVED_MIN &&
                   moved.length >= along->length + ALONG_MIN
               ? moved
               : *along;
}

/* May a run in line begin at `at`? */
static inline bool
may_begin(const struct ramet_delta_maker *maker, uint32_t at, uint32_t end)
{
    const int64_t source = (int64_t)at + maker->shift;

    if (source < 0 || source >= (int64_t)maker->page_size ||
        maker->page[at] != maker->base[source])
        return false;
    return end - at < ALONG_MIN ||
           source + (int64_t)ALONG_MIN > (int64_t)maker->page_size ||
           ramet_get_le32(maker->page + at) ==
               ramet_get_le32(maker->base + source);
}

/* Or zeros? */
static inline bool
may_be_zeros(const struct ramet_delta_maker *maker, uint32_t at, uint32_t end)
{
    static_assert(ALONG_MIN == 4 && ZEROS_MIN == 8, "as they are compared");
    return maker->page[at] == 0 && end - at >= ZEROS_MIN &&
           ramet_get_le64(maker->page + at) == 0;
}

/* The first place from `at` on where a step may begin: most literals are passed
 * over here, and the index is asked less often among many. */
static uint32_t
pass_literals(struct ramet_delta_maker *maker, uint32_t at, uint32_t end,
              bool moved)
{
    const uint32_t many = maker->done + LITERALS_MANY;
    uint32_t ask = at, known;

    assert(at <= end && end <= maker->page_size);
    for (; at < end; at++) {
        if (may_begin(maker, at, end) || may_be_zeros(maker, at, end))
            break;
        if (!moved || at < ask || end - at < KEY)
            continue;
        if (look_up(maker, at, &known))
            break;
        ask = at + (at < many ? 1 : LITERALS_STEP);
    }
    return at;
}

/* Cover the page up to `end`, as far as there is anything to cover it with: in line
 * alone, or with what was `moved` too. */
static bool
cover(struct ramet_delta_maker *maker, uint32_t end, bool moved)
{
    uint32_t at = maker->done;

    assert(end <= maker->page_size && maker->done <= end);
    while (at < end) {
        struct found found = find_along(maker, at, end);
        const bool is_sure = found.length >= SURE || at + found.length == end;
        uint32_t zeros = 0, skip = 0;

        if (found.length == 0 && at == maker->done)
            skip = count_differing(maker, at, end);
        if (skip == 0 && !is_sure && maker->page[at] == 0)
            zeros = zeros_at(maker->page + at, end - at);
        if (zeros >= ZEROS_MIN && zeros > found.length) {
            if (!add_step(maker, RAMET_DELTA_ZEROS, at, 0, zeros))
                return false;
        } else {
            if (skip == 0 && !is_sure && moved)
                found = find_run(maker, at, end, &found);
            if (skip > 0 || (found.length < ALONG_MIN && !is_sure)) {
                at = skip > 0 ? at + skip
                              : pass_literals(maker, at + 1, end, moved);
                if (maker->literals + (at - maker->done) > maker->most) {
                    maker->is_over = true;
                    return false;
                }
                continue;
            }
            if (!add_copy(maker, &found))
                return false;
        }
        at = maker->done;
    }
    assert(maker->done <= end);
    return true;
}

/* ---- numbers --------------------------------------------------------------- */

static bool
list_runs(struct ramet_delta_maker *maker)
{
    assert(maker->step_count <= STEPS_MAX);
    maker->run_count = 0;
    for (uint32_t i = 0; i < maker->step_count; i++) {
        const struct ramet_delta_step *const step = &maker->steps[i];

        if (step->kind != RAMET_DELTA_COPY)
            continue;
        if (maker->run_count == RAMET_DELTA_COPIES_MAX / 2)
            return false;
        maker->runs[maker->run_count++] =
            (struct ramet_delta_run){step->source, step->length, step->at};
    }
    return true;
}

static bool
add_numbers(struct ramet_delta_maker *maker, uint32_t at, uint32_t source,
            uint32_t count)
{
    assert(count > 0 && source + 2 * count <= maker->page_size);
    maker->shift = (int64_t)source - (int64_t)at;
    return add_step(maker, RAMET_DELTA_NUMBERS, at, source, 2 * count);
}

/* How many numbers of the page, from `at` on, follow from those of the base from
 * number `from` on. */
static uint32_t
same_numbers(const struct ramet_delta_maker *maker, uint32_t at, uint32_t end,
             uint32_t from, uint32_t count)
{
    uint32_t n = 0;

    assert(at <= end && end <= maker->page_size);
    assert(2 * count <= maker->page_size); /* that numbers[] has room for */
    while (at + 2 * n < end && from + n < count &&
           ramet_get_be16(maker->page + at + 2 * n) == maker->numbers[from + n])
        n++;
    return n;
}

/* The longest such run, of those that begin nearest to `near`. */
static uint32_t
find_numbers(const struct ramet_delta_maker *maker, uint32_t at, uint32_t end,
             uint32_t near, uint32_t count, uint32_t *out_from)
{
    uint32_t best = same_numbers(maker, at, end, near, count);
    const uint16_t first = ramet_get_be16(maker->page + at);

    assert(at < end);
    *out_from = near;
    for (uint32_t i = 0; best < 2 && i < count; i++) {
        const uint32_t n = maker->numbers[i] == first
                               ? same_numbers(maker, at, end, i, count)
                               : 0;

        if (n > best + 1) {
            best = n;
            *out_from = i;
        }
    }
    assert(best == 0 || *out_from + best <= count);
    return best;
}

static bool
cover_table(struct ramet_delta_maker *maker,
            const struct ramet_delta_shape *base_shape,
            const struct ramet_delta_shape *shape)
{
    const uint32_t end = shape->table + 2 * shape->count;
    const uint32_t count = base_shape->count;
    uint32_t at = shape->table, near = 0;

    assert(base_shape->count > 0 && shape->count > 0);
    assert(maker->done <= shape->table);
    for (uint32_t i = 0; i < count; i++)
        maker->numbers[i] = ramet_delta_follow(
            maker->runs, maker->run_count,
            ramet_get_be16(maker->base + base_shape->table + 2 * i));
    while (at < end) {
        uint32_t from;
        const uint32_t n = find_numbers(maker, at, end, near, count, &from);

        if (n > 0 && !add_numbers(maker, at, base_shape->table + 2 * from, n))
            return false;
        at += 2 * (n > 0 ? n : 1);
        near = (n > 0 ? from + n : near + 1);
    }
    return true;
}

/* All before the end of the table. */
static bool
cover_front(struct ramet_delta_maker *maker,
            const struct ramet_delta_shape *base_shape,
            const struct ramet_delta_shape *shape)
{
    const uint32_t lone = shape->lone, behind = shape->lone + 2;

    assert(behind <= shape->table); /* delta_writer.h: the table lies behind */
    maker->done = maker->step_count = 0;
    maker->shift = 0;
    if (!cover(maker, lone, false))
        return false;
    if (ramet_delta_follow(maker->runs, maker->run_count,
                           ramet_get_be16(maker->base + lone)) ==
            ramet_get_be16(maker->page + lone) &&
        !add_numbers(maker, lone, lone, 1))
        return false;
    if (shape->table - behind >= ALONG_MIN &&
        memcmp(maker->base + behind, maker->page + behind,
               shape->table - behind) == 0) {
        const struct found found = {behind, behind, shape->table - behind};

        if (!add_copy(maker, &found))
            return false;
    }
    return cover_table(maker, base_shape, shape);
}

static bool
cover_shaped(struct ramet_delta_maker *maker,
             const struct ramet_delta_shape *base_shape,
             const struct ramet_delta_shape *shape)
{
    uint32_t behind;

    assert(shape->table + 2 * shape->count < maker->page_size);
    maker->done = shape->table + 2 * shape->count;
    if (!cover(maker, maker->page_size, true) || !list_runs(maker))
        return false;
    behind = maker->step_count;
    memcpy(maker->behind, maker->steps, behind * sizeof(*maker->behind));
    if (!cover_front(maker, base_shape, shape) ||
        maker->step_count + behind > STEPS_MAX)
        return false;
    memcpy(maker->steps + maker->step_count, maker->behind,
           behind * sizeof(*maker->behind));
    maker->step_count += behind;
    return true;
}

/* ---- writing them down ----------------------------------------------------- */

static void
put_literals(struct ramet_delta_maker *maker, uint32_t from, uint32_t to)
{
    assert(from <= to && to <= maker->page_size);

    ramet_buf_varint(&maker->out_steps, to - from);
    if (to > from)
        ramet_buf_bytes(&maker->out_literals, maker->page + from, to - from);
}

void
ramet_delta_put_step(struct ramet_buf *out, const struct ramet_delta_step *step,
                     uint32_t page_size, int64_t *io_shift)
{
    const int64_t shift = (int64_t)step->source - (int64_t)step->at;
    const int64_t more = shift - *io_shift;
    uint64_t count = step->length;

    assert(step->length > 0 && step->kind != RAMET_DELTA_END);
    if (step->kind == RAMET_DELTA_NUMBERS)
        count /= 2;
    else if (step->at + step->length == page_size)
        count = 0;
    ramet_buf_varint(out, count * 4 + (uint64_t)step->kind);
    if (step->kind == RAMET_DELTA_ZEROS)
        return;
    ramet_buf_varint(out,
                     more < 0 ? (uint64_t)-more * 2 - 1 : (uint64_t)more * 2);
    *io_shift = shift;
}

static bool
put_steps(struct ramet_delta_maker *maker, uint32_t most)
{
    uint32_t made = 0;
    int64_t shift = 0;

    ramet_buf_clear(&maker->out_steps);
    ramet_buf_clear(&maker->out_literals);
    for (uint32_t i = 0; i < maker->step_count; i++) {
        const struct ramet_delta_step *const step = &maker->steps[i];

        put_literals(maker, made, step->at);
        ramet_delta_put_step(&maker->out_steps, step, maker->page_size, &shift);
        made = step->at + step->length;
    }
    assert(made <= maker->page_size);
    if (made < maker->page_size)
        put_literals(maker, made, maker->page_size);
    maker->is_over = maker->out_steps.len + maker->out_literals.len > most;
    return maker->out_steps.failed == RAMET_OK &&
           maker->out_literals.failed == RAMET_OK && !maker->is_over;
}

static bool
have_tables(const struct ramet_delta_maker *maker,
            const struct ramet_delta_shape *a,
            const struct ramet_delta_shape *b)
{
    assert(a != NULL && b != NULL);
    return a->count > 0 && b->count > 0 && a->lone == b->lone &&
           a->table == b->table &&
           a->table + 2 * (uint64_t)a->count <= maker->page_size &&
           b->table + 2 * (uint64_t)b->count < maker->page_size;
}

bool
ramet_delta_maker_is_over(const struct ramet_delta_maker *maker)
{
    return maker->is_over;
}

bool
ramet_delta_make(struct ramet_delta_maker *maker, const uint8_t *base,
                 const struct ramet_delta_shape *base_shape,
                 const uint8_t *page, const struct ramet_delta_shape *shape,
                 uint32_t most, struct ramet_delta *out_delta)
{
    bool is_covered;

    assert(base != NULL && page != NULL && base != page);
    maker->base = base;
    maker->page = page;
    maker->is_indexed = maker->is_over = false;
    maker->step_count = maker->done = maker->literals = 0;
    maker->most = most;
    maker->shift = 0;
    is_covered = have_tables(maker, base_shape, shape)
                     ? cover_shaped(maker, base_shape, shape)
                     : cover(maker, maker->page_size, true);
    if (!is_covered || !put_steps(maker, most))
        return false;
    *out_delta = (struct ramet_delta){
        .steps = maker->out_steps.data,
        .steps_len = (uint32_t)maker->out_steps.len,
        .literals = maker->out_literals.data,
        .literals_len = (uint32_t)maker->out_literals.len,
    };
    return true;
}
