/*
 * http_known.c - see http_known.h.
 */
#include "client/remote/http_known.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"

/* What a server takes of either list, and characters that they take of the query. */
#define PAGES_MAX 256u
#define LIST_MAX ((RAMET_KNOWN_QUERY_MAX - 16u) / 2)
/* Of a request under way, the first ones, and the last: a block reaches over a border. */
#define COMING_EACH 24u
/* What came longer ago is not named: readers are elsewhere by now. */
#define REQUESTS_NAMED 32u
/* What is shorter, a block or a front, has few pages: it may come again. */
#define BLOCK_LEAST 64u

void
ramet_known_init(struct ramet_known *known, struct ramet_ranges *ranges)
{
    memset(known, 0, sizeof(*known));
    known->ranges = ranges;
    ramet_mutex_init(&known->lock);
    ramet_cond_init(&known->ended);
}

void
ramet_known_done(struct ramet_known *known)
{
    assert(known->asking == NULL);
    ramet_cond_done(&known->ended);
    ramet_mutex_done(&known->lock);
}

/* With the lock. */
static void
clear(struct ramet_known *known)
{
    memset(known->blocks, 0, sizeof(known->blocks));
    memset(known->recent, 0, sizeof(known->recent));
    memset(&known->dict, 0, sizeof(known->dict));
}

/* What is known is of one commit. With the lock. */
static void
turn_to(struct ramet_known *known, const struct ramet_point *at)
{
    if (ramet_point_equal(&known->at, at))
        return;
    clear(known);
    known->at = *at;
}

void
ramet_known_forget(struct ramet_known *known)
{
    ramet_mutex_lock(&known->lock);
    clear(known);
    ramet_mutex_unlock(&known->lock);
}

static struct ramet_known_block
block_at(const struct ramet_known *known, const char *key, uint64_t offset,
         size_t len, uint32_t pgno)
{
    assert(pgno >= 1 && len <= UINT32_MAX);
    return (struct ramet_known_block){.key = ramet_hash128(key, strlen(key)),
                                      .offset = offset,
                                      .length_bytes = (uint32_t)len,
                                      .pgno = pgno,
                                      .came = known->begun};
}

void
ramet_known_located(struct ramet_known *known, const struct ramet_point *at,
                    uint32_t pgno, const struct ramet_located *located)
{
    struct ramet_known_page page = {.pgno = pgno};
    char key[RAMET_KEY_MAX];

    assert(pgno >= 1);
    ramet_mutex_lock(&known->lock);
    turn_to(known, at);
    if (located != NULL && ramet_located_has_delta(located)) {
        ramet_extent_key(&located->block.extent, key);
        page.block =
            block_at(known, key, located->block.extent.offset_bytes, 1, pgno);
    }
    if (located != NULL && located->image.kind == RAMET_FRAME_DICT)
        known->dict = located->image.base;
    known->recent[known->recent_next++ % RAMET_KNOWN_RECENT] = page;
    ramet_mutex_unlock(&known->lock);
}

void
ramet_known_block_came(struct ramet_known *known, const struct ramet_point *at,
                       uint32_t pgno, const char *key, uint64_t offset,
                       size_t len)
{
    struct ramet_known_block block;
    size_t at_slot;

    if (len < BLOCK_LEAST)
        return;
    ramet_mutex_lock(&known->lock);
    turn_to(known, at);
    block = block_at(known, key, offset, len, pgno);
    at_slot = (block.key.bytes[0] + (size_t)offset * 31) % RAMET_KNOWN_BLOCKS;
    known->blocks[at_slot] = block;
    ramet_mutex_unlock(&known->lock);
}

bool
ramet_known_dict(struct ramet_known *known, const struct ramet_point *at,
                 struct ramet_extent *out)
{
    bool has;

    ramet_mutex_lock(&known->lock);
    turn_to(known, at);
    has = known->dict.length_bytes > 0;
    *out = known->dict;
    ramet_mutex_unlock(&known->lock);
    return has;
}

/* ---- a query ------------------------------------------------------------------ */

/* Page numbers as text: runs in decimal. */
struct list {
    char text[LIST_MAX];
    size_t len;
    size_t count;         /* pages */
    uint32_t first, last; /* of the run that is not written yet; 0: none */
};

static void
write_run(struct list *list)
{
    char run[2 * 10 + 2 + 1];
    int len;

    if (list->first == 0)
        return;
    assert(list->last >= list->first);
    len = list->first == list->last
              ? snprintf(run, sizeof(run), "%s%" PRIu32,
                         list->len > 0 ? "," : "", list->first)
              : snprintf(run, sizeof(run), "%s%" PRIu32 "-%" PRIu32,
                         list->len > 0 ? "," : "", list->first, list->last);
    if (len > 0 && (size_t)len < sizeof(list->text) - list->len) {
        memcpy(list->text + list->len, run, (size_t)len + 1);
        list->len += (size_t)len;
    }
    list->first = 0;
}

static void
add_page(struct list *list, uint32_t pgno)
{
    if (pgno == 0 || list->count == PAGES_MAX)
        return;
    assert(list->len < sizeof(list->text));
    list->count++;
    if (list->first == 0 || pgno != list->last + 1) {
        write_run(list);
        list->first = pgno;
    }
    list->last = pgno;
}

/* The pages of requests that are under way. With the lock. */
static void
list_coming(const struct ramet_known *known, const struct ramet_point *at,
            struct list *list)
{
    for (const struct ramet_known_asking *a = known->asking; a != NULL;
         a = a->next) {
        if (!ramet_point_equal(&a->at, at))
            continue;
        for (size_t i = 0; i < a->count; i++)
            if (i < COMING_EACH || a->count - i <= COMING_EACH)
                add_page(list, a->pgnos[i]);
    }
    write_run(list);
}

static bool
is_here(const struct ramet_known *known, const struct ramet_known_block *block)
{
    return ramet_ranges_has_at(known->ranges, &block->key, block->offset,
                               block->length_bytes);
}

/* Those first that lead to what is asked for. With the lock. */
static void
list_here(const struct ramet_known *known, struct list *list)
{
    for (size_t i = 0; i < RAMET_KNOWN_RECENT; i++) {
        const struct ramet_known_page *const page = &known->recent[i];

        if (page->block.pgno == 0 || is_here(known, &page->block))
            add_page(list, page->pgno);
    }
    for (size_t i = 0; i < RAMET_KNOWN_BLOCKS; i++) {
        const struct ramet_known_block *const block = &known->blocks[i];

        if (block->pgno != 0 && block->came + REQUESTS_NAMED >= known->begun &&
            is_here(known, block))
            add_page(list, block->pgno);
    }
    write_run(list);
}

void
ramet_known_begin(struct ramet_known *known, struct ramet_known_asking *asking,
                  char out_query[RAMET_KNOWN_QUERY_MAX])
{
    struct list here = {.len = 0}, coming = {.len = 0};

    assert(asking->count > 0);
    ramet_mutex_lock(&known->lock);
    turn_to(known, &asking->at);
    list_here(known, &here);
    list_coming(known, &asking->at, &coming);
    asking->next = known->asking;
    known->asking = asking;
    asking->number = ++known->begun;
    ramet_mutex_unlock(&known->lock);
    out_query[0] = '\0';
    if (here.len > 0 || coming.len > 0)
        (void)snprintf(out_query, RAMET_KNOWN_QUERY_MAX, "?has=%s&comes=%s",
                       here.text, coming.text);
}

void
ramet_known_end(struct ramet_known *known, struct ramet_known_asking *asking)
{
    struct ramet_known_asking **link;

    ramet_mutex_lock(&known->lock);
    link = &known->asking;
    while (*link != asking)
        link = &(*link)->next;
    *link = asking->next;
    ramet_cond_broadcast(&known->ended);
    ramet_mutex_unlock(&known->lock);
}

bool
ramet_known_wait(struct ramet_known *known,
                 const struct ramet_known_asking *asking, uint64_t ms)
{
    bool is_any = false;

    ramet_mutex_lock(&known->lock);
    for (const struct ramet_known_asking *a = known->asking; a != NULL;
         a = a->next)
        is_any = is_any || (a->number < asking->number &&
                            ramet_point_equal(&a->at, &asking->at));
    if (is_any)
        (void)ramet_cond_wait_ms(&known->ended, &known->lock, ms);
    ramet_mutex_unlock(&known->lock);
    return is_any;
}
