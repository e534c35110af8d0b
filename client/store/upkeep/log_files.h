/*
 * log_files.h - files of the log that are made before they are needed, or are
 * needed no more. All of it needs the checkpoint lock.
 *
 * Layer: client, store/upkeep.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_LOG_FILES_H
#define RAMET_CLIENT_STORE_UPKEEP_LOG_FILES_H

#include "client/store/shared/session.h"

/* The next log file, so that no committer has to make it. */
void ramet_log_file_make_ahead(struct ramet_session *session);
/* Retired: whole ones of the usual size go on as those to come. What
 * the system has of them, memory and places on disk, is used again. */
void ramet_log_files_recycle(struct ramet_session *session, uint64_t first,
                             uint64_t last);
/* Of a clean close, after which nobody may write for long: retired ones go, and those
 * to come but for the next. `kept` stays as it is; 0: none. */
void ramet_log_files_remove(struct ramet_session *session, uint64_t first,
                            uint64_t last, uint64_t kept);
/* Of a clean close: may the next session write over the file? Then its salt. */
bool ramet_log_file_may_be_kept(struct ramet_session *session, uint64_t number,
                                uint64_t *out_salt);

#endif
