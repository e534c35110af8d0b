/*
 * deadline.h - what is waited for, for so long at most: a file's patience with an
 * end.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_VOLUME_DEADLINE_H
#define RAMET_CLIENT_VOLUME_DEADLINE_H

#include "client/volume/file_impl.h"
#include "core/waiting.h"

struct ramet_deadline {
    struct ramet_waiter base;
    const struct ramet_waiter
        *inner; /* whose patience it was before; or NULL */
    const struct ramet_os *os;
    uint64_t until_ns;
};

/* The file's patience is this one from here on, until _end. */
void ramet_deadline_begin(struct ramet_deadline *deadline,
                          struct ramet_file *file, uint64_t timeout_ms);
void ramet_deadline_end(const struct ramet_deadline *deadline,
                        struct ramet_file *file);
bool ramet_deadline_is_over(const struct ramet_deadline *deadline);
/* Sleeps a little; whether it is worth another try. */
bool ramet_deadline_wait(struct ramet_deadline *deadline);
/* A failure that another try may mend. */
bool ramet_deadline_may_pass(enum ramet_rc rc);
/* What a wait comes to that `last` did not end. */
enum ramet_rc
ramet_deadline_in_vain(const struct ramet_file *file,
                       const struct ramet_deadline *deadline, const char *what,
                       uint64_t timeout_ms, const struct ramet_err *last,
                       struct ramet_err *err);

#endif
