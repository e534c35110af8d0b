/*
 * trace.h - which pages of a database a statement reads.
 *
 * The statement runs on SQLite itself, over a VFS that notes each read of the
 * main database. What SQLite's own cache answers is not in the trace, as it is
 * not with Ramet's VFS.
 */
#ifndef RAMET_TESTS_PREFETCH_TRACE_H
#define RAMET_TESTS_PREFETCH_TRACE_H

#include <stddef.h>
#include <stdint.h>

struct trace {
    uint32_t *pgnos;
    size_t count;
};

/* Of `sql`, one statement or several, on the database at `path`: what is read
 * after the schema was. Prints what is wrong, and exits, on any failure. */
struct trace trace_statements(const char *path, const char *sql);
void trace_done(struct trace *trace);
/* Make a database by the statements of a file; `pragmas` come first. */
void trace_prepare(const char *path, const char *pragmas, const char *sql_path);

#endif
