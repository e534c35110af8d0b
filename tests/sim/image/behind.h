/*
 * behind.h - what is behind a connection of SQLite's. Apart, since the VFS calls
 * SQLite through the table that an extension gets, and all else here directly.
 */
#ifndef RAMET_TESTS_SIM_IMAGE_BEHIND_H
#define RAMET_TESTS_SIM_IMAGE_BEHIND_H

#include "client/store/store.h"

struct sqlite3;

/* NULL: its main database is none of ours. */
struct ramet_file *sim_file_behind(struct sqlite3 *connection);
struct ramet_session *sim_session_behind(struct sqlite3 *connection);
/* Its last failure, since it was forgotten; RAMET_OK: none. */
enum ramet_rc
sim_error_behind(struct sqlite3 *connection, struct ramet_err *out);
void sim_error_forget(struct sqlite3 *connection);

#endif
