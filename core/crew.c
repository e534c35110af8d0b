/*
 * crew.c - see crew.h.
 *
 * Who is to be called stands in a heap by time. A thread takes the first that is
 * due; with none, one of them watches the clock for the first one's time, and the
 * others are idle, and end after a while. A thread is started where somebody is due
 * whom none has time for, or nobody would watch the clock.
 */
#include "core/crew.h"

#include <assert.h>

#include "core/alloc.h"
#include "core/os.h"
#include "core/thread.h"

#define IDLE_MS 5000u
#define LONG_MS 3600000u /* nobody waits for longer without a look */

struct slot {
    struct ramet_thread thread;
    bool runs;
};

struct crew {
    unsigned fork_count;
    struct ramet_cond clock;          /* for the one that watches it */
    struct ramet_cond work;           /* for those that are idle */
    struct ramet_cond left;           /* a call, or the crew, has ended */
    struct ramet_crew_member **queue; /* a heap by `due_ms` */
    size_t queued, room;
    size_t members;
    struct slot slots[RAMET_CREW_MAX];
    unsigned threads, idle;
    bool is_watched;
    bool is_over; /* the last member left: its threads are being joined */
};

static struct ramet_mutex mutex = RAMET_MUTEX_INIT;
static struct crew *the_crew; /* mutex, as all that is in it */

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&mutex);
}

static uint64_t
now_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

/* ---- the queue -------------------------------------------------------------- */

static void
put_at(struct crew *crew, size_t place, struct ramet_crew_member *member)
{
    crew->queue[place - 1] = member;
    member->place = place;
}

static void
sift_up(struct crew *crew, struct ramet_crew_member *member)
{
    size_t place = member->place;

    for (; place > 1; place /= 2) {
        struct ramet_crew_member *const above = crew->queue[place / 2 - 1];

        if (above->due_ms <= member->due_ms)
            break;
        put_at(crew, place, above);
    }
    put_at(crew, place, member);
}

static void
sift_down(struct crew *crew, struct ramet_crew_member *member)
{
    size_t place = member->place;

    for (size_t below = 2 * place; below <= crew->queued; below = 2 * place) {
        if (below < crew->queued &&
            crew->queue[below]->due_ms < crew->queue[below - 1]->due_ms)
            below++;
        if (crew->queue[below - 1]->due_ms >= member->due_ms)
            break;
        put_at(crew, place, crew->queue[below - 1]);
        place = below;
    }
    put_at(crew, place, member);
}

/* Its time has come nearer, or is new. */
static void
hasten(struct crew *crew, struct ramet_crew_member *member, uint64_t due_ms)
{
    assert(member->place > 0);
    member->due_ms = due_ms;
    sift_up(crew, member);
    if (member->place == 1 && crew->is_watched)
        ramet_cond_signal(&crew->clock);
}

static void
enqueue(struct crew *crew, struct ramet_crew_member *member, uint64_t due_ms)
{
    assert(member->place == 0 && crew->queued < crew->room);
    put_at(crew, ++crew->queued, member);
    hasten(crew, member, due_ms);
}

static void
dequeue(struct crew *crew, struct ramet_crew_member *member)
{
    struct ramet_crew_member *const last = crew->queue[crew->queued - 1];
    const size_t place = member->place;

    assert(place > 0 && crew->queue[place - 1] == member);
    crew->queued--;
    member->place = 0;
    if (last == member)
        return;
    put_at(crew, place, last);
    sift_up(crew, last);
    sift_down(crew, last);
}

/* ---- threads ----------------------------------------------------------------- */

static void *serve(void *arg);

static bool
is_anybody_due(const struct crew *crew)
{
    return crew->queued > 0 && crew->queue[0]->due_ms <= now_ms();
}

/* One more, if a slot is free. */
static enum ramet_rc
start_thread(struct crew *crew, struct ramet_err *err)
{
    for (unsigned i = 0; i < RAMET_CREW_MAX; i++) {
        struct slot *const slot = &crew->slots[i];
        enum ramet_rc rc;

        if (slot->runs)
            continue;
        ramet_thread_join(&slot->thread); /* it has nothing more to do */
        slot->runs = true;
        crew->threads++;
        rc = ramet_thread_start(&slot->thread, "ramet-sync", serve, slot, err);
        if (rc == RAMET_OK)
            return rc;
        slot->runs = false;
        crew->threads--;
        return crew->threads > 0 ? RAMET_OK : rc;
    }
    return RAMET_OK;
}

/* While this thread is at something: somebody is due, or will be. */
static void
rouse(struct crew *crew)
{
    if (crew->queued == 0 || (crew->is_watched && !is_anybody_due(crew)))
        return;
    if (crew->idle > 0)
        ramet_cond_signal(&crew->work);
    else if (crew->is_watched)
        ramet_cond_signal(&crew->clock);
    else
        (void)!start_thread(crew, NULL); /* else once another is done */
}

static void
call(struct crew *crew, struct ramet_crew_member *member)
{
    uint64_t wait_ms;

    dequeue(crew, member);
    member->runs = true;
    member->again = false;
    rouse(crew);
    ramet_mutex_unlock(&mutex);
    wait_ms = member->work(member->ctx);
    ramet_mutex_lock(&mutex);
    member->runs = false;
    if (wait_ms > LONG_MS)
        wait_ms = LONG_MS;
    if (member->leaves)
        ramet_cond_broadcast(&crew->left);
    else
        enqueue(crew, member, now_ms() + (member->again ? 0 : wait_ms));
}

static void
watch_clock(struct crew *crew)
{
    const uint64_t now = now_ms();
    const uint64_t until =
        crew->queued > 0 ? crew->queue[0]->due_ms : now + LONG_MS;

    crew->is_watched = true;
    if (until > now)
        (void)ramet_cond_wait_until_ms(&crew->clock, &mutex, until);
    crew->is_watched = false;
}

/* Nobody is due. False: there was nothing to do for long. */
static bool
wait_for_work(struct crew *crew)
{
    bool in_time;

    if (!crew->is_watched) {
        watch_clock(crew);
        return true;
    }
    crew->idle++;
    in_time = ramet_cond_wait_ms(&crew->work, &mutex, IDLE_MS);
    crew->idle--;
    return in_time;
}

static void *
serve(void *arg)
{
    struct slot *const slot = arg;
    struct crew *crew;
    bool goes_on = true;

    ramet_mutex_lock(&mutex);
    crew = the_crew;
    while (goes_on && !crew->is_over) {
        if (is_anybody_due(crew))
            call(crew, crew->queue[0]);
        else
            goes_on = wait_for_work(crew);
    }
    slot->runs = false;
    crew->threads--;
    ramet_mutex_unlock(&mutex);
    return NULL;
}

/* ---- members ------------------------------------------------------------------ */

static struct crew *
crew_new(void)
{
    struct crew *const crew = ramet_calloc(1, sizeof(*crew));

    if (crew == NULL)
        return NULL;
    crew->fork_count = ramet_os_fork_count();
    ramet_cond_init(&crew->clock);
    ramet_cond_init(&crew->work);
    ramet_cond_init(&crew->left);
    return crew;
}

/* This process's, which is not being ended; NULL: no memory. */
static struct crew *
need_crew(void)
{
    if (the_crew != NULL && the_crew->fork_count != ramet_os_fork_count())
        the_crew = NULL; /* invariant (4): it leaks here */
    while (the_crew != NULL && the_crew->is_over)
        ramet_cond_wait(&the_crew->left, &mutex);
    if (the_crew == NULL)
        the_crew = crew_new();
    return the_crew;
}

/* Room for one member more: a heap never grows while it is used. */
static bool
make_room(struct crew *crew)
{
    struct ramet_crew_member **grown;
    const size_t room = crew->room == 0 ? 16 : 2 * crew->room;

    if (crew->members < crew->room)
        return true;
    grown = ramet_realloc(crew->queue, room * sizeof(*grown));
    if (grown == NULL)
        return false;
    crew->queue = grown;
    crew->room = room;
    return true;
}

enum ramet_rc
ramet_crew_join(struct ramet_crew_member *member, struct ramet_err *err)
{
    struct crew *crew;
    enum ramet_rc rc = RAMET_OK;

    ramet_mutex_lock(&mutex);
    crew = need_crew();
    if (crew == NULL || !make_room(crew))
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "background: no memory");
    if (rc == RAMET_OK && crew->threads == 0)
        rc = start_thread(crew, err);
    if (rc == RAMET_OK) {
        member->place = 0;
        member->runs = member->again = member->leaves = false;
        crew->members++;
        enqueue(crew, member, now_ms());
        rouse(crew);
    }
    ramet_mutex_unlock(&mutex);
    return rc;
}

void
ramet_crew_wake(struct ramet_crew_member *member)
{
    struct crew *crew;

    ramet_mutex_lock(&mutex);
    crew = the_crew;
    if (member->runs) {
        member->again = true; /* invariant (2) */
    } else if (member->place > 0) {
        const uint64_t now = now_ms();

        if (now < member->due_ms) /* who is due already keeps its turn */
            hasten(crew, member, now);
        rouse(crew);
    }
    ramet_mutex_unlock(&mutex);
}

/* Nobody is left: its threads end. What waits for it to be over finds none. */
static void
end_crew(struct crew *crew)
{
    assert(crew->queued == 0);
    crew->is_over = true;
    ramet_cond_broadcast(&crew->clock);
    ramet_cond_broadcast(&crew->work);
    ramet_mutex_unlock(&mutex);
    for (unsigned i = 0; i < RAMET_CREW_MAX; i++)
        ramet_thread_join(&crew->slots[i].thread);
    ramet_mutex_lock(&mutex);
    assert(crew->threads == 0);
    crew->is_over = false;
    ramet_cond_broadcast(&crew->left);
}

void
ramet_crew_leave(struct ramet_crew_member *member)
{
    struct crew *crew;

    ramet_mutex_lock(&mutex);
    crew = the_crew;
    assert(!member->leaves);
    member->leaves = true;
    if (member->place > 0)
        dequeue(crew, member);
    while (member->runs)
        ramet_cond_wait(&crew->left, &mutex);
    if (--crew->members == 0)
        end_crew(crew);
    ramet_mutex_unlock(&mutex);
}
