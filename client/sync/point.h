/*
 * point.h - a remote commit as the replica wants to know it.
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_POINT_H
#define RAMET_CLIENT_SYNC_POINT_H

#include "client/snapshot.h"
#include "core/err.h"
#include "metastore/history.h"

/* The commit in `object` as the replica wants to know it. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_point(const uint8_t *object, size_t len,
                 const struct ramet_vid *volume,
                 struct ramet_remote_point *out_point, struct ramet_cid *out_id,
                 struct ramet_err *err);
/* The same of a head. */
void ramet_sync_point_of(const struct ramet_head *head,
                         struct ramet_remote_point *out_point);

#endif
