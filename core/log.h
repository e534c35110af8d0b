/*
 * log.h - what an operator reads: logfmt lines (or JSON) on standard error or
 * in a file, with levels. Libraries never log an error that they return.
 *
 *   ts=2026-11-23T10:00:00.123Z level=info msg="pushed" volume=… lsn=42
 *
 * RAMET_LOG=stderr|FILE turns it on in programs that embed Ramet (off by
 * default there); RAMET_LOG_LEVEL=debug|info|warn|error; RAMET_LOG_FORMAT=json.
 * Thread-safe; a line is one write(2).
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_LOG_H
#define RAMET_CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

enum ramet_log_level {
    RAMET_LOG_DEBUG,
    RAMET_LOG_INFO,
    RAMET_LOG_WARN,
    RAMET_LOG_ERROR
};

/* Read RAMET_LOG* once. `default_on` is for programs of our own (the server):
 * where RAMET_LOG says nothing they log to standard error, also when an earlier
 * call in this process left the log off. */
void ramet_log_init_from_env(bool default_on);
bool ramet_log_enabled(enum ramet_log_level level);

/*
 * Log `msg` with fields: a NULL-terminated list of key, value strings.
 *   ramet_log(RAMET_LOG_INFO, "pushed", "volume", vid_text, "lsn", n, NULL);
 * Values are quoted and escaped as needed; control characters never get out.
 */
void ramet_log(enum ramet_log_level level, const char *msg, ...)
    __attribute__((sentinel));

/* An integer as text, in a caller's buffer, for the list above. */
#define RAMET_LOG_NUM_SIZE 21
const char *ramet_log_num(char buf[RAMET_LOG_NUM_SIZE], uint64_t value);

#endif
