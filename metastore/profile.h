/*
 * profile.h - warm profiles: what readers of a volume read first, kept beside it
 * under a name, so that the next to begin with that name has it at once. Byte
 * layout: docs/format.md, "Profiles".
 *
 *   (1) A profile is a hint. One that is damaged, of another volume, or of an LSN
 *       long ago costs whoever uses it at most its bounds.
 *   (2) Pages age by generations: those that the last start touched are *recent*,
 *       those that only the one before touched are *older*, others are gone.
 *
 * Layer: metastore.
 */
#ifndef RAMET_METASTORE_PROFILE_H
#define RAMET_METASTORE_PROFILE_H

#include "core/id.h"
#include "core/pageset.h"
#include "metastore/catalog.h"
#include "pagestore/objstore.h"

#define RAMET_PROFILE_PAGES_MAX 4096u
#define RAMET_PROFILE_BYTES_MAX (8u << 20) /* of its pages */
#define RAMET_PROFILE_OBJECT_MAX (32u << 10)
#define RAMET_PROFILE_NAMES_MAX 64u /* of a volume */

/* Place it yourself; ramet_profile_init() and ramet_profile_done(). */
struct ramet_profile {
    uint64_t seq; /* 0: there is none */
    uint64_t lsn; /* at which it was recorded */
    uint64_t time_ms;
    uint32_t page_size;
    struct ramet_pageset recent, older; /* no page in both */
};

void ramet_profile_init(struct ramet_profile *profile);
void ramet_profile_done(struct ramet_profile *profile);
uint64_t ramet_profile_pages(const struct ramet_profile *profile);
/* How many pages of that size may be in one. */
uint32_t ramet_profile_pages_max(uint32_t page_size);
/* Is `recent` (what a start touched) so unlike the profile that it should be
 * written anew? */
bool ramet_profile_differs(const struct ramet_profile *profile,
                           const struct ramet_pageset *touched);
/* The profile after a start that touched these: invariant (2). RAMET_ENOMEM. */
RAMET_NODISCARD enum ramet_rc
ramet_profile_turn(struct ramet_profile *profile,
                   const struct ramet_pageset *touched);

/* What ramet_profile_pages_max() bounds holds: asserted. */
RAMET_NODISCARD enum ramet_rc
ramet_profile_encode(const struct ramet_vid *volume, const char *name,
                     const struct ramet_profile *profile,
                     struct ramet_buf *out);
/* Hostile bytes, to an initialised profile. RAMET_ECORRUPT, RAMET_EVERSION. */
RAMET_NODISCARD enum ramet_rc
ramet_profile_decode(const struct ramet_vid *volume, const char *name,
                     const uint8_t *object, size_t len,
                     struct ramet_profile *profile, struct ramet_err *err);

/* ---- in a store ------------------------------------------------------------- */

void ramet_profile_key(const struct ramet_vid *volume, const char *name,
                       uint64_t seq, char out[RAMET_KEY_MAX]);
/* The newest of that name; seq 0 where there is none. A list and a read. Of one
 * that can't be read (RAMET_ECORRUPT, RAMET_EVERSION) the number alone. */
RAMET_NODISCARD enum ramet_rc
ramet_profile_read(struct ramet_objstore *store, const struct ramet_vid *volume,
                   const char *name, struct ramet_profile *profile,
                   struct ramet_err *err);
/* The same as it is stored; *out_len 0 where there is none. `out` has
 * RAMET_PROFILE_OBJECT_MAX bytes. */
RAMET_NODISCARD enum ramet_rc
ramet_profile_read_object(struct ramet_objstore *store,
                          const struct ramet_vid *volume, const char *name,
                          uint8_t *out, size_t *out_len, struct ramet_err *err);
/* Write it under the number after its own, and take away those before. Somebody
 * was first: RAMET_EEXIST, and theirs counts. A name too many: RAMET_ETOOBIG. */
RAMET_NODISCARD enum ramet_rc
ramet_profile_write(struct ramet_objstore *store,
                    const struct ramet_vid *volume, const char *name,
                    struct ramet_profile *profile, struct ramet_err *err);
/* May one be written under that number? It is the next, and the volume has room
 * for another name: RAMET_EEXIST, RAMET_ECONFLICT, RAMET_ETOOBIG. */
RAMET_NODISCARD enum ramet_rc
ramet_profile_follows(struct ramet_objstore *store,
                      const struct ramet_vid *volume, const char *name,
                      uint64_t seq, struct ramet_err *err);
/* The newest of each name, by name; false ends it. `rc` says why one could not
 * be read, and then the profile has its number alone. */
typedef bool ramet_profile_visit(void *ctx, const char *name,
                                 const struct ramet_profile *profile,
                                 enum ramet_rc rc, const struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_profile_list(struct ramet_objstore *store, const struct ramet_vid *volume,
                   ramet_profile_visit *visit, void *ctx,
                   struct ramet_err *err);
/* All objects of that name. RAMET_ENOTFOUND: there is none. */
RAMET_NODISCARD enum ramet_rc
ramet_profile_remove(struct ramet_objstore *store,
                     const struct ramet_vid *volume, const char *name,
                     struct ramet_err *err);
/* What the target lacks of the source's: older than what it has stays away. */
RAMET_NODISCARD enum ramet_rc
ramet_profile_copy(struct ramet_objstore *from, struct ramet_objstore *to,
                   const struct ramet_vid *volume, struct ramet_err *err);

#endif
