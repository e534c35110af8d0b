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

#include "core/err.h"
#include "core/pageset.h"

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

/* Some of the pages that it reads; what they are made of is here. Not under any
 * lock; the rest is on its way, and waits for it. */
typedef enum ramet_rc
ramet_question_visit(void *ctx, struct ramet_pageset *pages,
                     struct ramet_err *err);

#endif
