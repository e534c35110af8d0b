/*
 * made_up.h - commits that are nowhere, for maps of large volumes: to a map only
 * places matter. What fails ends the process.
 */
#ifndef RAMET_TESTS_METASTORE_MADE_UP_H
#define RAMET_TESTS_METASTORE_MADE_UP_H

#include "metastore/history.h"

/* A volume whose first commit wrote all pages, and whose others are of one row. */
struct made_up {
    struct ramet_objstore *store;
    struct ramet_history *history;
    uint32_t page_count;
    uint64_t lsn;
    struct ramet_map_ref map;
    uint64_t map_bytes; /* of all maps but the first */
};

void made_up_init(struct made_up *made_up, uint32_t page_count);
void made_up_done(struct made_up *made_up);
/* `count` commits (64 at most), each with a delta of page 1 and one of a random
 * page, and a map. */
void made_up_commits(struct made_up *made_up, unsigned count);

/* `map` becomes one that is changed by a commit with images of `pages`, which is
 * empty then; its object's size. */
uint64_t
made_up_map(struct ramet_history *history, struct ramet_map_ref *map,
            uint64_t lsn, uint32_t page_count, struct ramet_pageset *pages);
uint32_t made_up_random(uint32_t below);
void made_up_check(enum ramet_rc rc, const struct ramet_err *err);

#endif
