/*
 * model.h - a volume in a store beside a model of it: for every LSN an array
 * that says what each page holds.
 *
 * A page's content is made from a number; number 0 is a page of zeros. The
 * model knows nothing of heads, tables and maps.
 */
#ifndef RAMET_TESTS_METASTORE_MODEL_H
#define RAMET_TESTS_METASTORE_MODEL_H

#include "core/pageset.h"
#include "metastore/history_core.h"

struct model_version {
    uint32_t page_size;
    uint32_t page_count;
    uint64_t *pages;  /* pages[pgno - 1]: number of the content */
    uint64_t *images; /* the same of the page's base image; 0: it has none */
};

struct model {
    struct ramet_objstore *store;
    struct ramet_history *history;
    struct ramet_vid volume;
    struct model_version *versions; /* versions[lsn]; [0] is empty */
    uint64_t lsn;
    uint64_t next_content;
    uint64_t random;        /* state of the generator */
    uint32_t segment_pages; /* a new segment after so many; 0: one segment */
    uint32_t pages_per_frame;
    bool never_inline;
    unsigned delta_percent; /* of pages that may be written as deltas */
    bool own_bases;         /* which are over no other page's image then */
    struct ramet_pageset
        deltas;          /* those that the last commit has, and for each */
    uint64_t *bases;     /* the content of its base */
    const uint8_t *dict; /* borrowed; NULL: none */
    size_t dict_len;
    struct ramet_extent dict_extent;
    const struct ramet_map_sizes *map_sizes; /* NULL: as in any history */
    uint64_t last_object_bytes;
    uint32_t last_head_bytes;
};

/* What a commit does, and in what order: cut to `least`, then set the count,
 * then write the pages in `changed`. */
struct model_change {
    uint32_t page_size;
    uint32_t least;
    uint32_t page_count;
    struct ramet_pageset changed;
};

/* Borrows the store. */
void
model_init(struct model *model, struct ramet_objstore *store, uint64_t seed);
void model_done(struct model *model);
/* Forget all that the history's cache holds; from now on it makes maps as
 * model->map_sizes says. */
void model_reopen(struct model *model);

uint64_t model_random(struct model *model, uint64_t below);
void model_fill(uint8_t *page, uint32_t page_size, uint64_t content);

/* Compress with a dictionary from here on, trained on pages of contents from `content`
 * on; *out_dict is the caller's. */
void model_use_dict(struct model *model, uint64_t content, uint8_t **out_dict);

/* Make the commit object for `change` on top of `base`; the caller frees
 * `out`. What fails is returned. */
enum ramet_rc model_encode(struct model *model, const struct ramet_head *base,
                           const struct model_change *change,
                           const struct ramet_cid *id, uint64_t first_content,
                           struct ramet_buf *out, struct ramet_err *err);
/* The newest is no version any more: the store was set back by hand. */
void model_drop_newest(struct model *model);
/* Commit it to store and model alike; asserts success. */
void model_commit(struct model *model, const struct model_change *change);
void model_random_commit(struct model *model);
/* Write `count` pages from `first` on in one commit, growing if need be. */
void model_write(struct model *model, uint32_t first, uint32_t count);
/* Write `count` random pages of those that are there. */
void model_write_random(struct model *model, uint32_t count);

/* Every page of `lsn` equals the model. */
void model_check_lsn(struct model *model, uint64_t lsn);
/* Every page that differs between two LSNs is in ramet_history_changed(). */
void model_check_changed(struct model *model, uint64_t from, uint64_t to);

struct ramet_cid model_new_cid(void);

#endif
