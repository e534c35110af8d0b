/*
 * pulled_schema.h - does the schema stay as it was over a pull?.
 *
 * Layer: client, store/session.
 */
#ifndef RAMET_CLIENT_STORE_SESSION_PULLED_SCHEMA_H
#define RAMET_CLIENT_STORE_SESSION_PULLED_SCHEMA_H

#include "client/store/shared/session.h"

/* Does the schema stay as it was over a pull or reset to `point`, for certain?
 * The writer stands at the snapshot before. */
bool ramet_pull_keeps_schema(struct ramet_session *writer,
                             const struct ramet_remote_point *point,
                             const struct ramet_pageset *changed,
                             const uint8_t *page1);

#endif
