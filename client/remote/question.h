/*
 * question.h - a statement of which a server is asked what it reads: docs/protocol.md,
 * "Prefetch by question".
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_QUESTION_H
#define RAMET_CLIENT_REMOTE_QUESTION_H

#include <stddef.h>
#include <stdint.h>

/* Borrowed, as all of it. */
struct ramet_question_value {
    enum {
        RAMET_VALUE_IS_NULL,
        RAMET_VALUE_IS_INTEGER,
        RAMET_VALUE_IS_REAL,
        RAMET_VALUE_IS_TEXT,
        RAMET_VALUE_IS_BLOB
    } type;
    int64_t integer;
    double real;
    const void *bytes;
    size_t len;
};

struct ramet_question {
    const char *sql;
    const struct ramet_question_value *values;
    size_t value_count;
};

#endif
