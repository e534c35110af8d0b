/*
 * model.c - see model.h.
 */
#include "tests/sim/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "tests/sim/disk.h"

#define STAMP_AT_IN_PAGE_1 100u
#define ALIKE 16u /* versions */
#define LSNS_MAX 4096u
#define PLACES_MAX 8u
#define CLAIMS_MAX 256u
#define UPHEAVALS_MAX 32u

struct version {
    uint32_t parent;
    uint32_t depth;
    uint32_t page_count;
    uint32_t stamps[SIM_PAGES_MAX]; /* which version wrote it; 0: zeros */
    enum sim_state state;
    const struct sim_process *process; /* that made it */
    struct sim_place *place;
    bool was_acknowledged;
    bool was_kept;    /* by a reset, with all that it comes from */
    bool may_be_lost; /* it was not synced when the power went */
    bool was_durable; /* somebody was told so, before a restore */
    bool was_taken;   /* by a restore, or it comes from what was */
};

/* (4): somebody was told that the remote has what did not come from `floor`. */
struct claim {
    uint32_t floor;
    uint64_t newest; /* LSN that the remote had */
};

struct sim_place {
    char name[16];
    uint32_t floor;    /* whoever looks from now on sees it, or more */
    uint32_t attested; /* a later record says that it was synced: (7) */
    bool is_rotten, has_rotten_log; /* (7) */
    bool has_let_go;
    bool has_failed_sync; /* since the last that was acknowledged as synced */
    bool has_other;       /* (8) */
    bool has_parted;      /* the other one may tell of what a reset gave up */
    uint32_t both;        /* the last that was acknowledged there */
    uint32_t synced;      /* is here whatever happens */
    uint32_t pushed;      /* that a push from here was told to be durable */
    uint64_t upheavals;   /* begun and ended */
    unsigned under_way;   /* of them, and whose they are */
    const struct sim_process *whose[UPHEAVALS_MAX];
};

static struct {
    struct version *versions; /* 0: the empty volume */
    uint32_t count;
    uint32_t page_size;
    bool is_database;
    uint32_t durable; /* the newest that was acknowledged as such */
    uint32_t line[LSNS_MAX];
    struct claim claims[CLAIMS_MAX];
    unsigned claim_count;
    uint64_t newest_lsn; /* that anybody saw */
    struct sim_place places[PLACES_MAX];
    unsigned place_count;
    unsigned restores;
    uint32_t restored_at; /* versions were there */
    struct {
        uint64_t lsn;
        uint32_t version;
    } seen, copied;
} model;

void
sim_model_begin(uint32_t page_size, bool is_database)
{
    free(model.versions);
    memset(&model, 0, sizeof(model));
    for (size_t i = 0; i < LSNS_MAX; i++)
        model.line[i] = SIM_NO_VERSION;
    model.page_size = page_size;
    model.is_database = is_database;
    model.versions = sim_grow(NULL, 0, sizeof(*model.versions));
    memset(model.versions, 0, sizeof(*model.versions));
    model.versions[0].state = SIM_COMMITTED;
    model.count = 1;
}

void
sim_model_end(void)
{
    free(model.versions);
    model.versions = NULL;
}

struct sim_place *
sim_place_new(const char *name, bool has_other)
{
    struct sim_place *const place = &model.places[model.place_count++];

    snprintf(place->name, sizeof(place->name), "%s", name);
    place->has_other = has_other;
    return place;
}

/* ---- pages ----------------------------------------------------------------- */

uint32_t
sim_page_size(void)
{
    return model.page_size;
}

uint32_t
sim_pages_max(void)
{
    return SIM_FILE_MAX / model.page_size;
}

/* Easy to compress, and no page like another; but those of versions that follow
 * one another differ little, a word in each sector, as a page does of which a row
 * was changed. */
void
sim_page_fill(uint32_t stamp, uint32_t pgno, uint8_t *out)
{
    uint64_t alike = (uint64_t)(stamp / ALIKE) << 32 | pgno;
    uint64_t own = (uint64_t)stamp << 32 | pgno;
    uint64_t word = 0;

    if (stamp == 0) {
        memset(out, 0, model.page_size);
        return;
    }
    for (uint32_t at = 0; at < model.page_size; at += 8) {
        if (at % 128 == 0)
            word = sim_random(&alike);
        memcpy(out + at, &word, 8);
    }
    for (uint32_t at = 8; at < model.page_size; at += SIM_SECTOR) {
        word = sim_random(&own);
        memcpy(out + at, &word, 8);
    }
    if (pgno != 1)
        return;
    if (model.is_database) {
        memset(out, 0, STAMP_AT_IN_PAGE_1);
        memcpy(out, "SQLite format 3", 16);
        out[16] = (uint8_t)(model.page_size >> 8);
        out[17] = (uint8_t)(model.page_size >> 16);
        ramet_put_be32(out + 24, stamp);
        ramet_put_be32(out + 92, stamp);
    }
    ramet_put_be32(out + STAMP_AT_IN_PAGE_1, stamp);
    ramet_put_be32(out + STAMP_AT_IN_PAGE_1 + 4, ~stamp);
}

static uint32_t
version_in(const uint8_t *page1)
{
    const uint32_t version = ramet_get_be32(page1 + STAMP_AT_IN_PAGE_1);

    return ramet_get_be32(page1 + STAMP_AT_IN_PAGE_1 + 4) == ~version &&
                   version < model.count
               ? version
               : SIM_NO_VERSION;
}

uint32_t
sim_page1_version(const uint8_t *page, const char *who)
{
    const uint32_t version = version_in(page);

    if (version == SIM_NO_VERSION)
        sim_fail("%s: page 1 is none that anybody wrote", who);
    return version;
}

/* Which version's page it looks like, for whoever looks into it. */
static uint32_t
origin_of(uint32_t pgno, const uint8_t *page, uint8_t *buf)
{
    for (uint32_t v = 0; v < model.count; v++) {
        sim_page_fill(v, pgno, buf);
        if (memcmp(buf, page, model.page_size) == 0)
            return v;
    }
    return SIM_NO_VERSION;
}

void
sim_page_check(uint32_t version, uint32_t pgno, const uint8_t *page,
               const char *who)
{
    const struct version *const v = &model.versions[version];
    uint8_t expected[65536];
    uint32_t origin;

    if (pgno > v->page_count)
        sim_fail("%s: page %u of version %u, which has %u", who, pgno, version,
                 v->page_count);
    sim_page_fill(v->stamps[pgno - 1], pgno, expected);
    if (memcmp(expected, page, model.page_size) == 0)
        return;
    origin = origin_of(pgno, page, expected);
    if (origin == SIM_NO_VERSION)
        sim_fail("%s: page %u of version %u is no page that anybody wrote", who,
                 pgno, version);
    sim_fail("%s: page %u of version %u is that of %u, not of %u", who, pgno,
             version, origin, v->stamps[pgno - 1]);
}

/* ---- versions -------------------------------------------------------------- */

static struct version *
version_at(uint32_t version)
{
    if (version >= model.count)
        sim_fail("there is no version %u", version);
    return &model.versions[version];
}

uint32_t
sim_version_new(struct sim_place *place, uint32_t parent)
{
    struct version *v;

    model.versions =
        sim_grow(model.versions, model.count, sizeof(*model.versions));
    v = &model.versions[model.count];
    *v = model.versions[parent];
    v->parent = parent;
    v->depth = model.versions[parent].depth + 1;
    v->state = SIM_BUILDING;
    v->process = sim_process_of_caller();
    v->place = place;
    v->was_acknowledged = v->was_kept = false;
    v->may_be_lost = place->has_rotten_log;
    v->was_taken = model.versions[parent].was_taken;
    v->was_durable = false;
    return model.count++;
}

void
sim_version_resize(uint32_t version, uint32_t page_count)
{
    struct version *const v = version_at(version);

    for (uint32_t i = page_count; i < v->page_count; i++)
        v->stamps[i] = 0;
    v->page_count = page_count;
}

void
sim_version_write(uint32_t version, uint32_t pgno)
{
    struct version *const v = version_at(version);

    if (pgno > v->page_count)
        sim_version_resize(version, pgno);
    v->stamps[pgno - 1] = version;
}

uint32_t
sim_version_pages(uint32_t version)
{
    return version_at(version)->page_count;
}

uint32_t
sim_version_stamp(uint32_t version, uint32_t pgno)
{
    const struct version *const v = version_at(version);

    return pgno <= v->page_count ? v->stamps[pgno - 1] : 0;
}

uint32_t
sim_version_parent(uint32_t version)
{
    return version_at(version)->parent;
}

void
sim_version_is(uint32_t version, enum sim_state state)
{
    version_at(version)->state = state;
}

bool
sim_comes_from(uint32_t version, uint32_t old)
{
    const uint32_t depth = version_at(old)->depth;

    while (version_at(version)->depth > depth)
        version = model.versions[version].parent;
    return version == old;
}

/* ---- what is seen ---------------------------------------------------------- */

static const char *
state_name(enum sim_state state)
{
    static const char *const names[] = {
        [SIM_BUILDING] = "being written",
        [SIM_PREPARED] = "prepared, and not published",
        [SIM_SENDING] = "being sent",
        [SIM_COMMITTED] = "committed",
        [SIM_UNCERTAIN] = "uncertain",
        [SIM_ROLLED_BACK] = "rolled back",
    };

    return names[state];
}

/* (1) */
static void
check_visible(uint32_t version, const char *who)
{
    const enum sim_state state = version_at(version)->state;

    if (state == SIM_BUILDING || state == SIM_PREPARED ||
        state == SIM_ROLLED_BACK)
        sim_fail("%s: version %u is seen, which is %s", who, version,
                 state_name(state));
}

void
sim_visible(uint32_t version, const char *who)
{
    check_visible(version, who);
}

struct sim_look
sim_look_begin(const struct sim_place *place)
{
    return (struct sim_look){
        .floor = place->under_way > 0 ? 0 : place->floor,
        .both = place->under_way > 0 ? 0 : place->both,
        .has_parted = place->has_parted,
        .upheavals = place->upheavals,
        .restores = model.restores,
    };
}

/* Who reads on sees it still; it may be gone when all have closed the replica. Not what
 * was synced after that: then the log was whole. */
static bool
was_let_go(const struct sim_place *place, uint32_t version)
{
    if (!place->has_let_go)
        return false;
    for (; version != 0 && version != place->synced;
         version = model.versions[version].parent)
        if (model.versions[version].may_be_lost &&
            model.versions[version].place == place)
            return true;
    return false;
}

static void
raise_floor(struct sim_place *place, const struct sim_look *look,
            uint32_t version)
{
    if (place->upheavals == look->upheavals && place->under_way == 0 &&
        !place->has_rotten_log && !was_let_go(place, version) &&
        sim_comes_from(version, place->floor)) {
        if (version != place->floor)
            sim_trace("%s is seen at version %u", place->name, version);
        place->floor = version;
    }
}

void
sim_look_end(struct sim_place *place, const struct sim_look *look,
             uint32_t version, const char *who)
{
    check_visible(version, who);
    if (place->upheavals == look->upheavals &&
        !sim_comes_from(version, look->floor))
        sim_fail("%s: sees version %u on %s, where %u was seen before", who,
                 version, place->name, look->floor);
    raise_floor(place, look, version);
}

void
sim_acknowledged(struct sim_place *place, const struct sim_look *look,
                 uint32_t version, bool synced)
{
    struct version *const v = version_at(version);

    v->was_acknowledged = true;
    /* A reset that passed may have given it up, and kept it. */
    if (place->upheavals != look->upheavals || place->under_way > 0 ||
        place->has_rotten_log)
        return;
    if ((synced || !was_let_go(place, version)) &&
        sim_comes_from(version, place->floor))
        place->floor = version;
    if (place->has_other && sim_comes_from(version, place->both)) {
        place->both = version;
        place->has_parted = false;
    }
    if (version != place->synced && sim_comes_from(version, place->synced) &&
        !place->has_failed_sync)
        place->attested = place->synced;
    if (synced) {
        place->synced = version;
        place->has_failed_sync = false;
    }
}

/* (8): whoever pins the first one later sees what the second one had, and the second
 * one has what was seen of both before. */
void
sim_other_seen(const struct sim_place *place, const struct sim_look *look,
               uint32_t other, uint32_t version, const char *who)
{
    if (other != 0)
        check_visible(other, who);
    if (place->upheavals != look->upheavals || place->under_way > 0 ||
        look->has_parted || sim_place_is_rotten(place))
        return;
    if (!sim_comes_from(version, other))
        sim_fail("%s: sees version %u on %s, and the database beside it has %u",
                 who, version, place->name, other);
    if (look->both != 0 && !sim_comes_from(other, look->both))
        sim_fail("%s: the database beside that on %s has version %u, and had "
                 "%u",
                 who, place->name, other, look->both);
}

/* One upheaval of that process is over; false: there is none. */
static bool
end_upheaval(struct sim_place *place, const struct sim_process *process)
{
    for (unsigned i = 0; i < place->under_way; i++)
        if (place->whose[i] == process) {
            place->whose[i] = place->whose[--place->under_way];
            place->upheavals++;
            return true;
        }
    return false;
}

void
sim_upheaval(struct sim_place *place, bool begins)
{
    const struct sim_process *const process = sim_process_of_caller();

    place->floor = 0;
    place->synced = place->attested = place->both = 0;
    place->has_parted = true;
    if (!begins) {
        end_upheaval(place, process);
        return;
    }
    place->upheavals++;
    if (place->under_way == UPHEAVALS_MAX)
        sim_fail("too many resets at a time");
    place->whose[place->under_way++] = process;
}

void
sim_pulled(struct sim_place *place, const struct sim_look *look,
           uint32_t version)
{
    if (place->upheavals != look->upheavals || place->under_way > 0 ||
        look->restores != model.restores || place->has_rotten_log ||
        sim_comes_from(place->floor, version))
        return;
    if (!sim_comes_from(version, place->floor))
        sim_fail("a pull succeeds on %s at version %u, and the remote had %u",
                 place->name, place->floor, version);
    place->floor = version;
}

/* (3) */
void
sim_durable(uint32_t version, const char *who)
{
    if (sim_comes_from(model.durable, version))
        return;
    if (!sim_comes_from(version, model.durable))
        sim_fail("%s: version %u is durable, and %u was before, of another "
                 "line",
                 who, version, model.durable);
    model.durable = version;
}

void
sim_pushed(struct sim_place *place, const struct sim_look *look,
           const char *who)
{
    if (place->upheavals == look->upheavals && look->floor > 0)
        place->pushed = look->floor;
    /* Who has nothing to push is not told of a restore. */
    if (place->upheavals == look->upheavals && place->under_way == 0 &&
        look->restores == model.restores && look->floor >= model.restored_at &&
        look->floor > 0)
        sim_durable(look->floor, who);
}

void
sim_diverged(const struct sim_place *place, const struct sim_look *look,
             uint64_t newest)
{
    if (place->upheavals == look->upheavals && place->under_way == 0 &&
        !place->is_rotten && look->restores == model.restores &&
        model.claim_count < CLAIMS_MAX)
        model.claims[model.claim_count++] =
            (struct claim){place->floor, newest};
}

uint32_t
sim_durable_floor(void)
{
    return model.durable;
}

void
sim_at_lsn(uint64_t lsn, uint32_t version, const char *who)
{
    if (lsn >= LSNS_MAX)
        sim_fail("%s: LSN %llu", who, (unsigned long long)lsn);
    check_visible(version, who);
    if (model.line[lsn] != SIM_NO_VERSION && model.line[lsn] != version)
        sim_fail("%s: LSN %llu is version %u, and was %u", who,
                 (unsigned long long)lsn, version, model.line[lsn]);
    model.line[lsn] = version;
    if (lsn > model.newest_lsn)
        model.newest_lsn = lsn;
    for (uint64_t other = 1; other <= model.newest_lsn; other++) {
        const uint32_t there = model.line[other];

        if (there != SIM_NO_VERSION &&
            !(other <= lsn ? sim_comes_from(version, there)
                           : sim_comes_from(there, version)))
            sim_fail("%s: LSN %llu is version %u and LSN %llu is %u: no line",
                     who, (unsigned long long)lsn, version,
                     (unsigned long long)other, there);
    }
}

/* ---- the store goes back in time -------------------------------------------- */

void
sim_newest_seen(uint64_t lsn, uint32_t version)
{
    model.seen.lsn = lsn;
    model.seen.version = version;
}

bool
sim_newest_is(uint64_t lsn, uint32_t *out_version)
{
    *out_version = model.seen.version;
    return lsn != 0 && model.seen.lsn == lsn;
}

void
sim_store_copied(uint64_t lsn, uint32_t version)
{
    model.copied.lsn = lsn;
    model.copied.version = version;
}

void
sim_store_restored(void)
{
    model.restores++;
    for (uint64_t lsn = model.copied.lsn + 1; lsn < LSNS_MAX; lsn++)
        model.line[lsn] = SIM_NO_VERSION;
    model.newest_lsn = model.copied.lsn;
    model.claim_count = 0;
    for (uint32_t v = model.durable; v != 0; v = model.versions[v].parent)
        model.versions[v].was_durable = true;
    for (uint32_t i = 1; i < model.count; i++)
        if (!sim_comes_from(model.copied.version, i))
            model.versions[i].was_taken = true;
    model.durable = model.copied.version;
    model.restored_at = model.count;
}

/* (6): what it stands on may be a fence, which changed nothing, so that its own commits
 * since come from nothing that was taken. */
void
sim_place_cannot_be_kept(const struct sim_place *place)
{
    if (model.restores == 0)
        sim_fail("%s stands on what is gone, and nothing was restored",
                 place->name);
    for (uint32_t i = model.restored_at; i < model.count; i++)
        if (model.versions[i].place == place)
            model.versions[i].was_taken = true;
}

unsigned
sim_restores(void)
{
    return model.restores;
}

/* Was the place told that the remote has it? What others made came from there; of its
 * own a push said so, or it may be in doubt yet, and land again. */
static bool
knows_as_durable(const struct sim_place *place, uint32_t version)
{
    return model.versions[version].place != place ||
           sim_comes_from(place->pushed, version);
}

bool
sim_lsn_was_taken(uint64_t lsn, unsigned restores)
{
    return model.restores != restores && lsn > model.copied.lsn;
}

/* (6): of versions that are not on the line those that a process saw as durable
 * are known to have been taken. */
void
sim_in_step(const struct sim_place *place, const struct sim_look *look,
            uint64_t commits, const char *what, const char *who)
{
    uint32_t version = look->floor;

    /* What was acknowledged, and is still kept to be sent, may land again. */
    if (commits != model.copied.lsn)
        return;
    if (model.restores == 0 || look->restores != model.restores ||
        look->upheavals != place->upheavals || place->under_way > 0)
        return;
    for (; version != 0; version = model.versions[version].parent)
        if (model.versions[version].was_durable &&
            model.versions[version].was_taken &&
            knows_as_durable(place, version))
            sim_fail("%s: a %s succeeds on %s, which stands on version %u, and "
                     "a restore took that",
                     who, what, place->name, version);
}

/* ---- what is lost ---------------------------------------------------------- */

void
sim_place_killed(const struct sim_process *process)
{
    for (unsigned i = 0; i < model.place_count; i++)
        while (end_upheaval(&model.places[i], process))
            continue;
    for (uint32_t i = 1; i < model.count; i++) {
        struct version *const v = &model.versions[i];

        if (v->process != process)
            continue;
        if (v->state == SIM_BUILDING)
            v->state = SIM_ROLLED_BACK;
        else if (v->state == SIM_PREPARED || v->state == SIM_SENDING)
            v->state = SIM_UNCERTAIN;
    }
}

/* Nobody counts on more there than that version. */
static void
fall_to(struct sim_place *place, uint32_t version)
{
    place->upheavals++;
    place->floor = place->both = version;
    place->attested = 0;
    for (uint32_t i = 1; i < model.count; i++) {
        struct version *const v = &model.versions[i];

        if (v->place == place && !sim_comes_from(version, i))
            v->may_be_lost = true;
    }
}

void
sim_place_cut(struct sim_place *place)
{
    fall_to(place, place->synced);
}

/* Who recovers the log may not have got it to the disk: the next record says no
 * more than was known. */
void
sim_place_fails_sync(struct sim_place *place)
{
    place->has_failed_sync = true;
}

void
sim_place_lets_go(struct sim_place *place)
{
    place->has_let_go = true;
    fall_to(place, place->synced);
}

void
sim_place_rots(struct sim_place *place, bool in_log)
{
    place->is_rotten = true;
    if (!in_log)
        return;
    place->has_rotten_log = true;
    place->synced = place->attested;
    fall_to(place, place->attested);
}

void
sim_place_given_up(struct sim_place *place)
{
    const bool has_rotted = place->is_rotten;

    place->is_rotten = place->has_rotten_log = place->has_let_go = false;
    place->has_parted = true;
    if (has_rotted) {
        place->synced = 0;
        fall_to(place, 0);
        return;
    }
    /* What was synced must not be lost by that. */
    fall_to(place, place->synced);
    place->floor = place->synced = 0;
}

bool
sim_place_is_rotten(const struct sim_place *place)
{
    return place->is_rotten || place->has_let_go;
}

void
sim_kept_version(uint32_t version)
{
    check_visible(version, "a file that a reset kept");
    for (; version != 0; version = model.versions[version].parent)
        model.versions[version].was_kept = true;
}

uint32_t
sim_version_of(const uint8_t *bytes, uint64_t size)
{
    uint8_t page[65536];
    uint32_t version;

    if (size < model.page_size || size % model.page_size != 0)
        return SIM_NO_VERSION;
    version = version_in(bytes);
    if (version == SIM_NO_VERSION ||
        size / model.page_size != model.versions[version].page_count)
        return SIM_NO_VERSION;
    for (uint32_t i = 0; i < size / model.page_size; i++) {
        sim_page_fill(model.versions[version].stamps[i], i + 1, page);
        if (memcmp(page, bytes + (size_t)i * model.page_size,
                   model.page_size) != 0)
            return SIM_NO_VERSION;
    }
    return version;
}

bool
sim_kept(const uint8_t *bytes, uint64_t size)
{
    const uint32_t version = sim_version_of(bytes, size);

    if (version != SIM_NO_VERSION)
        sim_kept_version(version);
    return version != SIM_NO_VERSION;
}

void
sim_place_left(struct sim_place *place, uint32_t version)
{
    if (place->under_way == 0 && !sim_comes_from(version, place->floor))
        sim_fail("%s left its remote with version %u, and had %u", place->name,
                 version, place->floor);
    sim_kept_version(version);
}

void
sim_place_came_back(struct sim_place *place)
{
    place->upheavals++;
    place->has_parted = true;
    place->floor = place->synced = place->attested = place->both = 0;
}

static void
check_claim(const struct claim *claim)
{
    for (uint64_t lsn = 1; lsn <= claim->newest && lsn < LSNS_MAX; lsn++)
        if (model.line[lsn] != SIM_NO_VERSION &&
            !sim_comes_from(claim->floor, model.line[lsn]))
            return;
    for (uint64_t lsn = 1; lsn <= model.newest_lsn; lsn++)
        sim_trace("LSN %llu is version %u", (unsigned long long)lsn,
                  model.line[lsn]);
    sim_trace("the remote had %llu commits then",
              (unsigned long long)claim->newest);
    sim_fail("version %u was said to have parted from the remote's line, all "
             "of which it comes from",
             claim->floor);
}

void
sim_model_settled(uint32_t newest)
{
    for (unsigned i = 0; i < model.claim_count; i++)
        check_claim(&model.claims[i]);
    if (!sim_comes_from(newest, model.durable))
        sim_fail("the remote ends with version %u, and had %u", newest,
                 model.durable);
    for (uint32_t i = 1; i < model.count; i++) {
        const struct version *const v = &model.versions[i];

        if (v->was_acknowledged && !v->may_be_lost && !v->was_taken &&
            !v->was_kept && !sim_comes_from(newest, i))
            sim_fail("version %u, acknowledged on %s, is lost: the remote ends "
                     "with %u",
                     i, v->place->name, newest);
    }
}
