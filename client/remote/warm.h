/*
 * warm.h - warm profiles at work: what the last processes that began with a name
 * read first is brought before it is asked for, and what this one reads in its
 * first seconds is kept for the next, where it is anything new
 * (docs/prefetch.md, "Warm profiles").
 *
 *   (1) A process records once for a volume and name, RAMET_WARM_MS from its
 *       first opening on, over however many openings.
 *   (2) Nothing is written by whoever may not write, for what was read without
 *       asking the remote, or for what is much as it was.
 *   (3) All of it is a hint: what fails here is nobody's failure.
 *
 * Thread-safe, but for one handle. Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_WARM_H
#define RAMET_CLIENT_REMOTE_WARM_H

#include "client/remote/pipeline.h"
#include "client/remote/remote_client.h"

#define RAMET_WARM_MS 10000u

struct ramet_warm;

/* An opening of the volume with that name: asks for the profile, has its pages
 * brought that are not here, and begins to record if it `may_keep` something.
 * NULL: nothing to end. */
struct ramet_warm *
ramet_warm_begin(struct ramet_remote_client *client,
                 struct ramet_pipeline *pipeline,
                 const struct ramet_vid *volume, const struct ramet_head *head,
                 const char *name, bool may_keep);
/* That opening is over. The last one to be waits until what is new is kept, as
 * long as the remote answers. NULL is fine. */
void ramet_warm_end(struct ramet_warm *warm);

/* Have the pages brought that a statement reads; *out_pages: how many they are. Errors
 * as ramet_remote_client_ask(). */
RAMET_NODISCARD enum ramet_rc
ramet_warm_ask(struct ramet_remote_client *client,
               struct ramet_pipeline *pipeline, const struct ramet_vid *volume,
               const struct ramet_head *head,
               const struct ramet_question *question, uint64_t *out_pages,
               struct ramet_err *err);

#endif
