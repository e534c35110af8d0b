/*
 * connection.h - what is kept of a connection: whether it has our functions,
 * whether a question is run on it, and its last failure in words.
 *
 *   (1) a connection is in the list from when our functions are registered on
 *       it until SQLite drops them, at its close
 *   (2) what failed on one connection is never told on another
 *   (3) one question at most is run on it, and while it is nothing acts
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_CONNECTION_H
#define RAMET_VFS_CONNECTION_H

#include <stdbool.h>

#include "core/err.h"
#include "vfs/api.h"

struct ramet_connection;

/* Its entry, made if it has none, with a reference for the caller to hand to
 * SQLite together with ramet_connection_drop(). NULL: no memory. */
struct ramet_connection *ramet_connection_get(sqlite3 *handle);
/* An sqlite3_create_function_v2() destructor. */
void ramet_connection_drop(void *connection);

/* Does it have one, hence our functions? */
bool ramet_connection_is_known(const sqlite3 *handle);

/* Keep `text` as the last failure of `handle`, if it has an entry. */
void ramet_connection_note(sqlite3 *handle, const char *text);
/* The last failure, "" if there was none. */
void ramet_connection_last(struct ramet_connection *connection, char *out,
                           size_t out_size);

/* Invariant (3): the question that ramet_prefetch() runs here begins. False: it is
 * asked by another, or `handle` has no entry. */
bool ramet_connection_begin_question(sqlite3 *handle);
void ramet_connection_end_question(sqlite3 *handle);
bool ramet_connection_has_question(const sqlite3 *handle);

#endif
