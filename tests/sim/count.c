/*
 * count.c - see count.h.
 */
#include "tests/sim/count.h"

#include <stdio.h>

/* Each call's number is a variable by itself, which image/count.c names. */
#define SIM_VARIABLE(name, text)                                               \
    SIM_API extern uint64_t sim_calls_of_##name;                               \
    uint64_t sim_calls_of_##name;
SIM_CALLS(SIM_VARIABLE)

#define SIM_ADDRESS(name, text) &sim_calls_of_##name,
static const uint64_t *const calls[] = {SIM_CALLS(SIM_ADDRESS)};

static struct sim_counts counted; /* but for those */

void
sim_count(enum sim_count what)
{
    counted.events[what]++;
}

void
sim_count_deed(enum sim_deed deed, bool is_killed)
{
    if (is_killed)
        counted.killed_in[deed]++;
    else
        counted.begun[deed]++;
}

void
sim_counts_add(struct sim_counts *out)
{
    for (unsigned i = 0; i < SIM_DEED_COUNT; i++) {
        out->begun[i] += counted.begun[i];
        out->killed_in[i] += counted.killed_in[i];
    }
    for (unsigned i = 0; i < SIM_EVENT_COUNT; i++)
        out->events[i] += counted.events[i];
    for (unsigned i = 0; i < SIM_CALL_COUNT; i++)
        out->calls[i] += *calls[i];
}

#define SIM_TEXT(name, text) text,
static const char *const deeds[] = {SIM_DEEDS(SIM_TEXT)};
static const char *const events[] = {SIM_EVENTS(SIM_TEXT)};
static const char *const call_texts[] = {SIM_CALLS(SIM_TEXT)};

static void
print(uint64_t count, const char *what)
{
    printf("%12llu  %s\n", (unsigned long long)count, what);
}

void
sim_counts_print(const struct sim_counts *counts)
{
    for (unsigned i = 0; i < SIM_DEED_COUNT; i++)
        printf("%12llu  %s; killed in it: %llu\n",
               (unsigned long long)counts->begun[i], deeds[i],
               (unsigned long long)counts->killed_in[i]);
    for (unsigned i = 0; i < SIM_EVENT_COUNT; i++)
        print(counts->events[i], events[i]);
    for (unsigned i = 0; i < SIM_CALL_COUNT; i++)
        print(counts->calls[i], call_texts[i]);
}
