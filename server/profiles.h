/*
 * profiles.h - warm profiles as they were read of the store, so that one that many
 * begin with costs a list and a read a minute, not for each of them.
 *
 *   (1) What was read is good for RAMET_PROFILES_FRESH_MS; that there is none, too.
 *       What is written or taken away here is known at once; what somebody else
 *       wrote to the store after that time at most.
 *   (2) At most RAMET_PROFILES_MAX are kept, each no larger than a profile may be:
 *       those that were not asked for for longest go first.
 *   (3) What was being read while one was forgotten is not kept.
 *
 * Thread-safe. Layer: server.
 */
#ifndef RAMET_SERVER_PROFILES_H
#define RAMET_SERVER_PROFILES_H

#include "core/os.h"
#include "metastore/profile.h"

#define RAMET_PROFILES_MAX 128u
#define RAMET_PROFILES_FRESH_MS 60000u

struct ramet_profiles;

/* NULL on no memory. `os` outlives it. */
struct ramet_profiles *ramet_profiles_new(const struct ramet_os *os);
void ramet_profiles_free(struct ramet_profiles *profiles); /* NULL is fine */

/* As ramet_profile_read_object(). */
RAMET_NODISCARD enum ramet_rc
ramet_profiles_read(struct ramet_profiles *profiles,
                    struct ramet_objstore *store,
                    const struct ramet_vid *volume, const char *name,
                    uint8_t *out, size_t *out_len, struct ramet_err *err);
/* Another is in the store from here on, or none. */
void ramet_profiles_forget(struct ramet_profiles *profiles,
                           const struct ramet_vid *volume, const char *name);

#endif
