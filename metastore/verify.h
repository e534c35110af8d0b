/*
 * verify.h - what verifying a volume is made of: the objects that one commit
 * names, and one page map, byte by byte against their hashes.
 *
 *   verify.c          a volume's commits
 *   verify_objects.c  what they name
 *   verify_maps.c     its page maps
 *   copy_objects.c    the same of each object that arrives
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_VERIFY_H
#define RAMET_METASTORE_VERIFY_H

#include "metastore/head_cache.h"
#include "metastore/table.h"

/* Bytes of an object that were read last. */
struct ramet_verify_window {
    char key[RAMET_KEY_MAX]; /* "": none */
    uint64_t offset;
    size_t len;
    uint8_t *bytes;
};

/* One thread's. Begun by ramet_verify_begin(), which may fail and needs
 * ramet_verify_done() all the same. */
struct ramet_verify {
    struct ramet_history *line;    /* whose commits say what there must be */
    struct ramet_history *history; /* whose objects are looked at */
    ramet_verify_report *report;
    void *ctx;
    uint64_t done, total;
    uint64_t damaged;
    uint64_t deltas; /* pages that were made of one */
    struct ramet_table_cursor cursor;
    struct ramet_hasher *hasher;
    struct ramet_verify_window window;
};

RAMET_NODISCARD enum ramet_rc
ramet_verify_begin(struct ramet_verify *v, struct ramet_history *line,
                   struct ramet_history *history, ramet_verify_report *report,
                   void *ctx, struct ramet_err *err);
void ramet_verify_done(struct ramet_verify *v);

/* Damage is reported, counted and done with (RAMET_OK); other failures, those
 * that hinder, are passed on. */
RAMET_NODISCARD enum ramet_rc
ramet_verify_note(struct ramet_verify *v, enum ramet_rc rc,
                  const struct ramet_err *found, struct ramet_err *err);
/* The object is there, and has so many bytes. RAMET_ENOTFOUND, RAMET_ECORRUPT. */
RAMET_NODISCARD enum ramet_rc
ramet_verify_size(struct ramet_verify *v, const char *key, uint64_t expected,
                  struct ramet_err *err);
/* Every byte of segment `index` of a commit of `line`; findings as above. */
RAMET_NODISCARD enum ramet_rc
ramet_verify_segment(struct ramet_verify *v,
                     const struct ramet_loaded_head *head, uint32_t index,
                     struct ramet_err *err);
/* Every byte of the blocks of deltas of a commit of `line`, if it has any, and
 * that nothing else lies in their segment; findings as above. What they make is
 * not looked at. */
RAMET_NODISCARD enum ramet_rc
ramet_verify_deltas(struct ramet_verify *v,
                    const struct ramet_loaded_head *head,
                    struct ramet_err *err);
/* A dictionary. Damage is RAMET_ECORRUPT or RAMET_ENOTFOUND. */
RAMET_NODISCARD enum ramet_rc
ramet_verify_dict(struct ramet_verify *v, const struct ramet_extent *dict,
                  struct ramet_err *err);

struct ramet_map_item {
    uint64_t lsn;
    struct ramet_mid id;
    uint64_t size_bytes;
};

/* The page maps of a volume, ascending by LSN and id. Zeroed is empty. */
struct ramet_map_list {
    const struct ramet_vid *volume; /* borrowed */
    struct ramet_map_item *items;
    size_t count, capacity;
    bool no_memory;
};
RAMET_NODISCARD enum ramet_rc
ramet_map_list_read(struct ramet_map_list *list, struct ramet_history *history,
                    struct ramet_err *err);
void ramet_map_list_done(struct ramet_map_list *list);
/* NULL: there is none. */
const struct ramet_map_item *
ramet_map_list_find(const struct ramet_map_list *list, uint64_t lsn,
                    const struct ramet_mid *id);

/* Each node of one map of `list`, and that the maps it refers to are in the
 * list. Damage is RAMET_ECORRUPT or RAMET_ENOTFOUND. */
RAMET_NODISCARD enum ramet_rc
ramet_verify_map(struct ramet_verify *v, const struct ramet_map_list *list,
                 const struct ramet_map_item *map, struct ramet_err *err);

#endif
