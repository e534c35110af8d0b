/*
 * link.c - rows of one tree that lead to leaves of another.
 *
 * An index's rows have the rowids of its table's; a row of one table may have
 * the key of another's. Which column leads where shows from the pages alone:
 * when a leaf is read by a jump, it is seen which rows of the leaves that were
 * read last have a value that belongs there. From then on the rows that follow
 * are looked up in the interior pages that are here, and their leaves asked for.
 *
 * At first only the rows that have the same leading value are followed: an
 * equality ends where that ends. Once two rows differ there, it is a range, and
 * the window grows with how many rows were followed.
 *
 *   (1) a link is trusted as long as it would have led to the leaves that are
 *       read: after MISSES_MAX others its search is over
 *
 * Layer: prefetch.
 */
#include <assert.h>

#include "prefetch/link_rows.h"
#include "prefetch/predictor.h"

#define TRUSTED 2u /* score from which a link is followed */
#define MISSES_MAX 3u
#define NEAR_BEHIND 2u /* rows about the last one, where the next is sought */
#define NEAR_AHEAD 60u
#define LEAVES_APART 3u
#define WINDOW_MIN 8u
#define WINDOW_FREE 256u
#define CHAIN_WINDOW_MIN 4u
#define GAPS_MAX 128u /* interior pages that one look ahead may ask for */
#define INTERIORS 3u  /* windows for which interior pages are looked up */
#define ROWS_MIN 64u  /* that one look ahead may pass */
#define SEARCHES_MIN 3u
#define ROWS_FIRST 8u    /* with which what begins anew begins */
#define VALUES_MAX 8192u /* of one leaf that are compared */

/* A leaf that was just read, and the values that belong into it. */
struct aim {
    struct ramet_tree *tree;
    uint32_t leaf;
    bool is_table;
    bool has_low;
    bool has_high;
    struct ramet_value low;
    struct ramet_value high;
};

/* Rows that lead to it, of those looked at: the first and last, and the nearest
 * on either side of the row that was followed last. Row 0 is none of them
 * unless `any`. */
struct matches {
    bool any;
    bool any_before;
    bool any_after;
    uint32_t count;
    uint32_t first;
    uint32_t last;
    uint32_t before;
    uint32_t after;
};

static void
take_aim(struct ramet_prefetch *p, struct ramet_tree *tree, uint32_t leaf,
         bool is_table, struct aim *out)
{
    struct ramet_btpage page;
    struct ramet_btcell cell;

    assert(leaf != 0 && tree->root != 0);
    *out = (struct aim){.tree = tree, .leaf = leaf, .is_table = is_table};
    out->has_low = ramet_forest_separator(&p->forest, leaf, -1, &page, &cell) &&
                   ramet_forest_key(&page, &cell, &out->low);
    out->has_high = ramet_forest_separator(&p->forest, leaf, 1, &page, &cell) &&
                    ramet_forest_key(&page, &cell, &out->high);
}

static bool
is_key(const struct ramet_value *value, bool is_table)
{
    if (value->type == RAMET_VALUE_INTEGER)
        return true;
    return !is_table &&
           (value->type == RAMET_VALUE_TEXT || value->type == RAMET_VALUE_BLOB);
}

/* Would a look-up of `value` read this leaf? */
static bool
leads_to(struct ramet_prefetch *p, const struct aim *aim,
         const struct ramet_value *value)
{
    bool is_leaf;

    assert(aim->leaf != 0);
    if (!is_key(value, aim->is_table) ||
        (aim->has_low &&
         ramet_value_compare(value, &aim->low) < (aim->is_table ? 1 : 0)) ||
        (aim->has_high && ramet_value_compare(value, &aim->high) > 0))
        return false;
    if (aim->is_table)
        return true;
    return ramet_forest_find(&p->forest, aim->tree->root, aim->tree->depth,
                             value, &is_leaf) == aim->leaf;
}

/* ---- the table of links --------------------------------------------------- */

static bool
is_link(const struct ramet_link *l)
{
    assert(l->source == NULL || l->target != NULL);
    return l->source != NULL && ramet_tree_is(l->source, l->source_root) &&
           ramet_tree_is(l->target, l->target_root);
}

static struct ramet_link *
find_link(struct ramet_prefetch *p, const struct ramet_tree *source,
          uint32_t column, const struct ramet_tree *target)
{
    for (unsigned i = 0; i < RAMET_LINKS; i++) {
        struct ramet_link *const l = &p->links[i];

        if (l->source == source && l->target == target && l->column == column &&
            is_link(l))
            return l;
    }
    return NULL;
}

static void
reset_link(struct ramet_prefetch *p, struct ramet_link *l)
{
    struct ramet_run run;

    ramet_asks_end_run(&p->asks, &l->run);
    run = l->run;
    assert(run.ahead == 0 && run.taken == 0);
    *l = (struct ramet_link){.direction = 1, .run = run};
}

/* In place of the one not used for longest. */
static struct ramet_link *
make_link(struct ramet_prefetch *p, struct ramet_tree *source, uint32_t column,
          struct ramet_tree *target)
{
    struct ramet_link *l = &p->links[0];

    assert(source != target && source->root != 0 && target->root != 0);
    for (unsigned i = 1; i < RAMET_LINKS; i++)
        if (p->links[i].used < l->used)
            l = &p->links[i];
    reset_link(p, l);
    l->source = source;
    l->source_root = source->root;
    l->target = target;
    l->target_root = target->root;
    l->column = column;
    return l;
}

void
ramet_link_drop_tree(struct ramet_prefetch *p, const struct ramet_tree *tree)
{
    assert(tree >= p->trees && tree < p->trees + RAMET_TREES);
    for (unsigned i = 0; i < RAMET_LINKS; i++)
        if (p->links[i].source == tree || p->links[i].target == tree)
            reset_link(p, &p->links[i]);
}

/* One row that leads here may do so by chance, and what was read last may have
 * been none of its rows. */
bool
ramet_link_feeds(const struct ramet_prefetch *p, const struct ramet_tree *tree)
{
    assert(tree != NULL);
    for (unsigned i = 0; i < RAMET_LINKS; i++) {
        const struct ramet_link *const l = &p->links[i];

        if (l->target == tree && l->score >= TRUSTED && l->misses == 0 &&
            l->followed + l->searches > 1)
            return true;
    }
    return false;
}

bool
ramet_link_follows(const struct ramet_prefetch *p,
                   const struct ramet_tree *source)
{
    assert(source != NULL);
    for (unsigned i = 0; i < RAMET_LINKS; i++)
        if (p->links[i].source == source && p->links[i].score >= TRUSTED)
            return true;
    return false;
}

/* ---- looking ahead -------------------------------------------------------- */

/* What one look ahead has come to. */
struct look {
    struct ramet_prefetch *p;
    struct ramet_link *link;
    uint32_t window; /* leaves that it may have ahead */
    uint32_t ahead;
    uint32_t beyond; /* rows past the window: for their interior pages */
    uint32_t rows;   /* passed */
    uint32_t rows_max;
    uint32_t gaps;
    bool is_over; /* the rows with the same leading value are */
};

static bool
is_enough(const struct look *look)
{
    assert(look->window > 0);
    return look->is_over || look->gaps >= GAPS_MAX ||
           look->rows >= look->rows_max ||
           (look->ahead >= look->window &&
            look->beyond >= (INTERIORS - 1) * look->window);
}

static void
look_up_row(struct look *look, const struct ramet_rows *rows, uint32_t row)
{
    struct ramet_prefetch *const p = look->p;
    struct ramet_link *const l = look->link;
    struct ramet_value value;
    uint32_t pgno;
    bool is_leaf;

    assert(row < rows->count && is_link(l));
    if (!ramet_rows_value(rows, row, l->column, &value) ||
        value.type == RAMET_VALUE_NULL)
        return;
    pgno = ramet_forest_find(&p->forest, l->target->root, l->target->depth,
                             &value, &is_leaf);
    if (pgno == 0)
        return;
    if (!is_leaf) {
        look->gaps++;
        look->ahead++;
        if (look->ahead > look->window)
            look->beyond++;
        (void)ramet_predictor_ask(p, pgno, &p->loose, true);
        return;
    }
    if (look->ahead >= look->window) {
        look->beyond++;
        return;
    }
    if (ramet_predictor_ask(p, pgno, &l->run, false))
        look->ahead = l->run.ahead > look->ahead ? l->run.ahead : look->ahead;
    if (ramet_overflow_is_read(l->target) && value.type == RAMET_VALUE_INTEGER)
        ramet_overflow_expand_row(p, l->target, pgno, value.integer);
}

/* The rows of one leaf, from `row` on. */
static void
look_up_rows(struct look *look, const struct ramet_rows *rows, uint32_t row,
             const struct ramet_rows *from, uint32_t from_row)
{
    assert(look->link->direction == 1 || look->link->direction == -1);
    while (row < rows->count && !is_enough(look)) {
        look->rows++;
        look->is_over = !look->link->is_range &&
                        !ramet_rows_agree(from, from_row, rows, row);
        if (!look->is_over)
            look_up_row(look, rows, row);
        row += (uint32_t)look->link->direction; /* past all of them below 0 */
    }
}

/* The source's next leaf is not here: ask for it, and for as many more as the
 * window will need. */
static void
ask_source(struct look *look, uint32_t leaf, uint32_t row_count)
{
    struct ramet_prefetch *const p = look->p;
    const uint32_t more = look->window / (row_count < 8 ? 8 : row_count);
    uint32_t gap;

    assert(look->window > 0);
    for (uint32_t n = 0; leaf != 0 && n <= more; n++) {
        (void)ramet_predictor_ask(p, leaf, &p->loose, true);
        leaf =
            ramet_forest_beside(&p->forest, leaf, look->link->direction, &gap);
    }
}

static void
look_ahead(struct ramet_prefetch *p, struct ramet_link *l)
{
    struct look look = {.p = p, .link = l, .ahead = l->run.ahead};
    const uint64_t asked = l->run.ahead;
    struct ramet_rows from;
    struct ramet_rows rows;
    uint32_t row = l->row + (uint32_t)l->direction;

    assert(l->direction == 1 || l->direction == -1);
    look.window = l->window;
    if (ramet_overflow_is_read(l->target)) {
        look.window = (uint32_t)(l->window / l->target->row_pages);
        if (look.window < CHAIN_WINDOW_MIN)
            look.window = CHAIN_WINDOW_MIN;
    }
    assert(look.window > 0);
    look.rows_max = 4 * look.window > ROWS_MIN ? 4 * look.window : ROWS_MIN;
    if (l->run.ahead > look.window * 3 / 4 || p->asks.queued > p->budget ||
        !ramet_rows_open(&p->forest, l->leaf, &from))
        return;
    rows = from;
    for (;;) {
        uint32_t gap;
        uint32_t next;

        look_up_rows(&look, &rows, row, &from, l->row);
        if (is_enough(&look))
            break;
        next = ramet_forest_beside(&p->forest, rows.leaf, l->direction, &gap);
        if (next == 0) {
            (void)ramet_predictor_ask(p, gap, &p->loose, true);
            break;
        }
        look.rows++; /* so that empty leaves end it, too */
        if (!ramet_rows_open(&p->forest, next, &rows)) {
            ask_source(&look, next, rows.count);
            break;
        }
        row = ramet_rows_first(&rows, l->direction);
    }
    if (l->run.ahead == asked && look.gaps == 0)
        l->rest = l->window / 4; /* all of it is here */
}

void
ramet_link_continue(struct ramet_prefetch *p, const struct ramet_tree *tree)
{
    for (unsigned i = 0; i < RAMET_LINKS; i++) {
        struct ramet_link *const l = &p->links[i];

        if ((l->source == tree || l->target == tree) && l->score >= TRUSTED &&
            l->window > 0 && is_link(l))
            look_ahead(p, l);
    }
}

/* ---- following ------------------------------------------------------------ */

static void
match_rows(struct ramet_prefetch *p, const struct aim *aim,
           const struct ramet_rows *rows, uint32_t column,
           const struct ramet_link *same, struct matches *out)
{
    const bool is_near =
        same != NULL && same->score >= TRUSTED && same->followed > 1;
    const uint32_t behind =
        is_near && same->direction < 0 ? NEAR_AHEAD : NEAR_BEHIND;
    const uint32_t ahead =
        is_near && same->direction < 0 ? NEAR_BEHIND : NEAR_AHEAD;
    uint32_t row = 0;
    uint32_t end = rows->count;

    assert(rows->count >= 2 && column < UINT32_MAX);
    *out = (struct matches){.any = false};
    if (is_near && same->row > behind)
        row = same->row - behind;
    if (is_near && same->row + ahead < end)
        end = same->row + ahead;
    for (; row < end; row++) {
        struct ramet_value value;

        if (!ramet_rows_value(rows, row, column, &value) ||
            !leads_to(p, aim, &value))
            continue;
        if (!out->any)
            out->first = row;
        out->any = true;
        out->count++;
        out->last = row;
        if (same != NULL && row < same->row) {
            out->any_before = true;
            out->before = row;
        } else if (same != NULL && row > same->row && !out->any_after) {
            out->any_after = true;
            out->after = row;
        }
    }
}

/* Which of the rows of the same leaf was followed now. */
static uint32_t
next_row(struct ramet_link *l, const struct matches *m)
{
    assert(m->any && m->first <= m->last);
    if (l->followed < 2 && m->any_before &&
        (!m->any_after || m->after - l->row > l->row - m->before))
        l->direction = -1;
    else if (l->followed < 2 && m->any_after)
        l->direction = 1;
    if (l->direction > 0)
        return m->any_after ? m->after : m->last;
    return m->any_before ? m->before : m->first;
}

/* Rows that are not all side by side: any of them may be it. */
static bool
is_ambiguous(const struct matches *m)
{
    assert(m->count > 0 && m->first <= m->last);
    return m->count < m->last - m->first + 1;
}

static void
begin_search(struct ramet_prefetch *p, struct ramet_link *l)
{
    assert(l->mean_length >= 0);
    if (l->followed > 0) {
        l->mean_length +=
            (l->followed - l->mean_length) * (l->searches > 0 ? .3 : 1);
        l->searches++;
    }
    l->score = 0;
    l->followed = 0;
    l->window = 0;
    l->rest = 0;
    l->is_range = false;
    l->direction = 1;
    ramet_asks_end_run(&p->asks, &l->run);
}

static void
miss(struct ramet_prefetch *p, struct ramet_link *l)
{
    assert(l->misses <= MISSES_MAX);
    if (++l->misses <= MISSES_MAX) /* invariant (1) */
        return;
    l->misses = 0;
    l->score = 0;
    l->window = 0;
    ramet_asks_end_run(&p->asks, &l->run);
}

/* The link by this column, if a row of `rows` leads to the leaf. */
static struct ramet_link *
match_column(struct ramet_prefetch *p, const struct aim *aim,
             struct ramet_tree *source, const struct ramet_rows *rows,
             uint32_t column)
{
    struct ramet_link *l = find_link(p, source, column, aim->tree);
    const bool same = l != NULL && l->leaf == rows->leaf;
    struct matches m;
    int moved = 0;
    uint32_t row;

    match_rows(p, aim, rows, column, same ? l : NULL, &m);
    if (!m.any) {
        if (same)
            miss(p, l);
        return NULL;
    }
    if (l == NULL)
        l = make_link(p, source, column, aim->tree);
    else if (!same && l->leaf != 0)
        moved = ramet_forest_distance(&p->forest, l->leaf, rows->leaf,
                                      LEAVES_APART);
    if (same) {
        row = next_row(l, &m);
    } else if (moved != 0 && l->score > 0) {
        l->direction = moved > 0 ? 1 : -1;
        row = l->direction > 0 ? m.first : m.last;
    } else {
        begin_search(p, l);
        row = m.first;
        l->is_guess = is_ambiguous(&m);
    }
    /* What is ahead was meant for other rows than those that are read. */
    if (same && row != l->row + (uint32_t)l->direction && row != l->row &&
        p->wanted_by != &l->run)
        ramet_asks_end_run(&p->asks, &l->run);
    if (same)
        l->is_guess = false;
    if (same && l->score > 0 && !ramet_rows_agree(rows, row, rows, l->row))
        l->is_range = true;
    if (!same || row != l->row) {
        l->score++;
        l->followed++;
    }
    assert(row < rows->count && is_link(l));
    l->misses = 0;
    l->leaf = rows->leaf;
    l->row = row;
    l->used = p->forest.turn;
    return l;
}

/* Rows may end anywhere: past WINDOW_FREE, however much the link would hold, a
 * third of what was followed. */
static uint32_t
grown_window(const struct ramet_prefetch *p, const struct ramet_link *l)
{
    const uint64_t n = l->followed;
    const uint64_t most = n / 3 > WINDOW_FREE ? n / 3 : WINDOW_FREE;

    assert(p->budget >= WINDOW_MIN);
    return ramet_predictor_window(p, n * (n < 16 ? 1 : 2), WINDOW_MIN,
                                  most < p->budget ? (uint32_t)most
                                                   : p->budget);
}

/* A row was followed: look ahead, as far as the link has earned. */
static void
follow(struct ramet_prefetch *p, struct ramet_link *l)
{
    assert(is_link(l) && l->misses == 0);
    if (l->is_guess)
        return; /* the next row will tell */
    if (l->is_range && l->searches >= SEARCHES_MIN &&
        l->followed <= 2 * l->mean_length) {
        /* As many rows as the searches before had. */
        const double left = l->mean_length + .5 - l->followed;

        if (left < 1)
            return;
        l->window = left < p->budget ? (uint32_t)left : p->budget;
    } else if (l->is_range && l->score < TRUSTED) {
        return;
    } else {
        l->window = grown_window(p, l);
    }
    if (l->score < TRUSTED)
        l->score = TRUSTED;
    if (l->rest > 0)
        l->rest--;
    else
        look_ahead(p, l);
}

/* The best link by which a row of this leaf of `source` leads there; NULL: none does. */
static struct ramet_link *
match_leaf(struct ramet_prefetch *p, const struct aim *aim,
           struct ramet_tree *source, uint32_t leaf)
{
    uint32_t columns[RAMET_COLUMNS_MAX];
    struct ramet_link *best = NULL;
    struct ramet_rows rows;
    uint32_t count;

    assert(leaf != 0 && source != aim->tree);
    if (!ramet_rows_open(&p->forest, leaf, &rows))
        return NULL;
    count = ramet_rows_columns(&rows, columns);
    while (count > 1 && count * rows.count > VALUES_MAX)
        count--;
    for (uint32_t c = 0; c < count; c++) {
        struct ramet_link *const l =
            match_column(p, aim, source, &rows, columns[c]);

        if (l != NULL && (best == NULL || l->score > best->score))
            best = l;
    }
    return best;
}

/* Does one of the first rows of the tree lead there? Then the leaf that has them. */
static uint32_t
first_leaf(struct ramet_prefetch *p, const struct aim *aim,
           const struct ramet_tree *source)
{
    const struct ramet_value least = {.type = RAMET_VALUE_NULL};
    uint32_t columns[RAMET_COLUMNS_MAX];
    struct ramet_rows rows;
    struct ramet_value value;
    bool is_leaf;
    const uint32_t leaf = ramet_forest_find(&p->forest, source->root,
                                            source->depth, &least, &is_leaf);

    assert(source->root != 0);
    if (leaf == 0 || !is_leaf || !ramet_rows_open(&p->forest, leaf, &rows))
        return 0;
    for (uint32_t c = ramet_rows_columns(&rows, columns); c-- > 0;)
        for (uint32_t row = 0; row < rows.count && row < ROWS_FIRST; row++)
            if (ramet_rows_value(&rows, row, columns[c], &value) &&
                leads_to(p, aim, &value))
                return leaf;
    return 0;
}

/* The link of that tree which followed rows of another leaf since its last one was
 * read: SQLite does not read what its own cache has. */
static struct ramet_link *
unread_link(struct ramet_prefetch *p, const struct aim *aim,
            const struct ramet_recent *recent)
{
    struct ramet_link *found = NULL;

    for (unsigned i = 0; i < RAMET_LINKS; i++) {
        struct ramet_link *const l = &p->links[i];

        if (l->source == recent->tree && l->target == aim->tree && is_link(l) &&
            l->score > 0 && l->leaf != recent->leaf && l->used > recent->turn &&
            (found == NULL || l->score > found->score))
            found = l;
    }
    return found;
}

/* By the rows where it is, or those of the leaf behind that. */
static struct ramet_link *
match_unread(struct ramet_prefetch *p, const struct aim *aim,
             struct ramet_link *l)
{
    struct ramet_tree *const source = l->source;
    const uint32_t leaf = l->leaf;
    uint32_t gap = 0;
    struct ramet_link *found = match_leaf(p, aim, source, leaf);
    uint32_t next;

    if (found != NULL)
        return found;
    next = ramet_forest_beside(&p->forest, leaf, l->direction, &gap);
    return next != 0 ? match_leaf(p, aim, source, next) : NULL;
}

/* Where all of a tree was read, it may be read again from its first leaf. */
static struct ramet_link *
match_anew(struct ramet_prefetch *p, const struct aim *aim,
           const struct ramet_recent *recent)
{
    uint32_t gap = 0;
    uint32_t leaf;

    assert(recent->leaf != 0);
    if (ramet_forest_beside(&p->forest, recent->leaf, 1, &gap) != 0 || gap != 0)
        return NULL;
    leaf = first_leaf(p, aim, recent->tree);
    return leaf != 0 && leaf != recent->leaf
               ? match_leaf(p, aim, recent->tree, leaf)
               : NULL;
}

void
ramet_link_seen(struct ramet_prefetch *p, struct ramet_tree *tree,
                uint32_t leaf)
{
    struct ramet_link *found = NULL;
    struct ramet_btpage page;
    struct aim aim;
    bool is_jump;

    assert(leaf != 0 && tree->last == leaf);
    if (!ramet_forest_leaf(&p->forest, leaf, &page))
        return;
    take_aim(p, tree, leaf, ramet_btpage_is_table(&page), &aim);
    is_jump = tree->length == 0 && aim.has_low; /* and no scan that begins */
    for (unsigned n = 0; n < 2 * RAMET_RECENT && found == NULL; n++) {
        const struct ramet_recent *const recent = &p->recent[n % RAMET_RECENT];
        struct ramet_link *unread;

        if (recent->tree == NULL || recent->tree == tree)
            continue;
        unread = unread_link(p, &aim, recent);
        if (n >= RAMET_RECENT)
            found =
                unread == NULL && is_jump ? match_anew(p, &aim, recent) : NULL;
        else if (unread != NULL)
            found = match_unread(p, &aim, unread);
        else
            found = match_leaf(p, &aim, recent->tree, recent->leaf);
    }
    if (found != NULL)
        follow(p, found);
}
