/*
 * catalog.h - a store's volumes and their names.
 *
 * A name points at a volume through names/<name>/<~seq>: the highest seq
 * counts, so that giving or moving a name is one put-if-absent. Also the
 * store's format version (ramet.json).
 *
 * Layer: metastore.
 */
#ifndef RAMET_METASTORE_CATALOG_H
#define RAMET_METASTORE_CATALOG_H

#include "core/err.h"
#include "core/id.h"
#include "pagestore/objstore.h"

#define RAMET_STORE_FORMAT 5u /* docs/format.md, "Version rule" */
#define RAMET_NAME_MAX 128u

/* 1-128 of A-Za-z0-9._- not beginning with '.'. */
bool ramet_name_valid(const char *name);

/* Check ramet.json; with `create` write it where it is absent.
 * RAMET_EVERSION: a later format. RAMET_ENOTFOUND: not a Ramet store.
 * RAMET_EUNREACHABLE: also where the answer to that write was lost and nothing is
 * there. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_check(struct ramet_objstore *store, bool create,
                    struct ramet_err *err);

/* `name` may also be a volume id's text. RAMET_ENOTFOUND. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_resolve(struct ramet_objstore *store, const char *name,
                      struct ramet_vid *out_volume, struct ramet_err *err);

/*
 * The same for who has not looked at the store's format. What a name says, and each
 * object of its volume, bears its own version; so where each request is paid the
 * format is looked at only where the name, or the id, does not lead to such an object:
 * then it tells why. As ramet_catalog_check().
 */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_find(struct ramet_objstore *store, const char *name,
                   struct ramet_vid *out_volume, struct ramet_err *err);

/* The same of a name, and the number under which the store says so. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_newest_name(struct ramet_objstore *store, const char *name,
                          uint64_t *out_seq, struct ramet_vid *out_volume,
                          struct ramet_err *err);
/* Key and bytes of the object that gives `name` to `volume` under a number. */
#define RAMET_NAME_OBJECT_SIZE 48u
void ramet_catalog_name_object(const char *name, uint64_t seq,
                               const struct ramet_vid *volume,
                               char out_key[RAMET_KEY_MAX],
                               uint8_t out_object[RAMET_NAME_OBJECT_SIZE]);

/* Give `name` to `volume`. RAMET_EEXIST if it names another volume already
 * (with `move` false); RAMET_OK if it names this one. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_bind(struct ramet_objstore *store, const char *name,
                   const struct ramet_vid *volume, bool move,
                   struct ramet_err *err);
/* What `name` means; where it means nothing it means `fresh` from now on. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_claim(struct ramet_objstore *store, const char *name,
                    const struct ramet_vid *fresh, struct ramet_vid *out_volume,
                    struct ramet_err *err);
/* Take the name away (a tombstone under the next seq). */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_unbind(struct ramet_objstore *store, const char *name,
                     struct ramet_err *err);

/* May an object of a name be written under `seq`? It must be the next one:
 * RAMET_EEXIST if that is taken, RAMET_ECONFLICT if it would leave a gap. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_name_follows(struct ramet_objstore *store, const char *name,
                           uint64_t seq, struct ramet_err *err);

typedef bool ramet_catalog_visit(void *ctx, const char *name,
                                 const struct ramet_vid *volume);
/* All names, ascending; volumes without one come last with name "". */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_list(struct ramet_objstore *store, ramet_catalog_visit *visit,
                   void *ctx, struct ramet_err *err);

/* Was it deleted, if it ever had commits? Its line has an end, or it has no
 * commit 1. A look and, where that is not enough, a list. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_is_deleted(struct ramet_objstore *store,
                         const struct ramet_vid *volume, bool *out_deleted,
                         struct ramet_err *err);

/* Is there a name of it, or any object but its end? Also what a deletion that
 * was cut short left. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_exists(struct ramet_objstore *store,
                     const struct ramet_vid *volume, bool *out_exists,
                     struct ramet_err *err);

/* The first step of deleting a volume, after which it is deleted for everybody:
 * its line gets an end, and commit 1 is taken away. Errors as below; RAMET_EBUSY
 * also where others never let the end win a slot. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_end(struct ramet_objstore *store, const struct ramet_vid *volume,
                  struct ramet_err *err);
/* The key of the commit that ended the volume's line, or "": the newest, but for
 * what a late writer may have left above it. A list, and a read. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_find_end(struct ramet_objstore *store,
                       const struct ramet_vid *volume,
                       char out_key[RAMET_KEY_MAX], struct ramet_err *err);
/* Is it deleted: no commit 1, and its end, or no commit that could be read? */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_is_ended(struct ramet_objstore *store,
                       const struct ramet_vid *volume, bool *out_ended,
                       struct ramet_err *err);
/* Delete a volume: as above, then its names, and the rest; the end stays.
 * Refused (RAMET_EBUSY) while it has fork markers. Safe to repeat. */
RAMET_NODISCARD enum ramet_rc
ramet_catalog_delete(struct ramet_objstore *store,
                     const struct ramet_vid *volume, struct ramet_err *err);

#endif
