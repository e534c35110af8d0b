/*
 * access.h - the access log: a line for each request, written in batches by a
 * thread of its own, so that an event thread never waits for a disk.
 *
 * Lines wait in a buffer of 1 MiB; where a disk is slower than that, lines
 * are dropped and their number is logged.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_ACCESS_H
#define RAMET_SERVER_ACCESS_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct ramet_access_log;

/* "off" gives NULL; "stderr" or the name of a file (appended to). */
RAMET_NODISCARD enum ramet_rc
ramet_access_open(const char *where, struct ramet_access_log **out,
                  struct ramet_err *err);
void ramet_access_close(struct ramet_access_log *log); /* writes the rest */
/* Reopen the file: for log rotation. */
void ramet_access_reopen(struct ramet_access_log *log);

struct ramet_access_line {
    const char *peer, *method, *path, *agent;
    unsigned status;
    uint64_t bytes_in, bytes_out, duration_us;
};
void ramet_access_add(struct ramet_access_log *log,
                      const struct ramet_access_line *line);

#endif
