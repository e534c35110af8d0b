/*
 * gone.h - the volumes that this server deleted, and who is writing to one.
 *
 * A deletion removes what it finds; what is written behind its back would stay
 * for ever, in a volume that nobody can read.
 *
 *   (1) Nobody begins to write to a volume that is marked, and whoever had
 *       begun has ended when ramet_gone_mark() returns.
 *   (2) RAMET_GONE_MAX of them are remembered, the newest. What an older one
 *       still has to fear is told in docs/protocol.md, "Deleting".
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_GONE_H
#define RAMET_SERVER_GONE_H

#include <stdbool.h>

#include "core/err.h"
#include "core/id.h"

#define RAMET_GONE_MAX 1024u

struct ramet_gone;

RAMET_NODISCARD enum ramet_rc
ramet_gone_new(struct ramet_gone **out_gone, struct ramet_err *err);
void ramet_gone_free(struct ramet_gone *gone); /* NULL is fine */

/* Never waits. */
bool ramet_gone_has(struct ramet_gone *gone, const struct ramet_vid *volume);
/* Around what makes a written object visible: not for long. False: the volume
 * is gone, and there is nothing to leave. */
RAMET_NODISCARD bool
ramet_gone_enter(struct ramet_gone *gone, const struct ramet_vid *volume);
void ramet_gone_leave(struct ramet_gone *gone, const struct ramet_vid *volume);

/* Waits for those who write to it. */
void ramet_gone_mark(struct ramet_gone *gone, const struct ramet_vid *volume);

#endif
