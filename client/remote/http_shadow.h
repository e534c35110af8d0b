/*
 * http_shadow.h - histories over nothing but the ranges that a server sent
 * ahead: they tell what is lacking for a page, and never ask for anything.
 *
 * A shadow's history verifies as every history does, from the hash of the commit
 * that pages are wanted of downwards; so what it finds is right, or it finds
 * nothing (RAMET_EUNREACHABLE).
 *
 * Thread-safe. Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_SHADOW_H
#define RAMET_CLIENT_REMOTE_HTTP_SHADOW_H

#include "client/remote/http_known.h"
#include "client/remote/http_ranges.h"
#include "metastore/history.h"

struct ramet_shadows; /* of a server's volumes; a bounded number */
struct ramet_shadow;

/* `ranges` is borrowed, `name` as well: for error texts. NULL on no memory. */
struct ramet_shadows *
ramet_shadows_new(struct ramet_ranges *ranges, const char *name);
void ramet_shadows_free(struct ramet_shadows *shadows); /* NULL is fine */
/* What is known of the volume was proven wrong. */
void ramet_shadows_forget(struct ramet_shadows *shadows,
                          const struct ramet_vid *volume);

/* The volume's, until ramet_shadow_give(). NULL on no memory. */
struct ramet_shadow *ramet_shadow_take(struct ramet_shadows *shadows,
                                       const struct ramet_vid *volume);
void
ramet_shadow_give(struct ramet_shadows *shadows, struct ramet_shadow *shadow);
struct ramet_history *ramet_shadow_history(struct ramet_shadow *shadow);
/* What a server need not send again of it. */
struct ramet_known *ramet_shadow_known(struct ramet_shadow *shadow);

#endif
