/*
 * log_damage.h - does the log end here, or is it damaged here?
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_STORE_LOG_LOG_DAMAGE_H
#define RAMET_CLIENT_STORE_LOG_LOG_DAMAGE_H

#include "client/store/shared/replica.h"

/*
 * `end` is where reading the log record by record stopped, with the newest
 * snapshot. RAMET_ECORRUPT if
 * what stands behind it says that the log was on disk past that place. Of the
 * last record nothing behind it speaks: damage there is taken for a crash.
 */
RAMET_NODISCARD enum ramet_rc
ramet_log_search_damage(struct ramet_replica *replica, struct ramet_pos end,
                        struct ramet_err *err);

#endif
