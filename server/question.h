/*
 * question.h - which pages a statement reads at a snapshot: found by running it, in
 * a process that can do nothing else (ask_main.c). It runs by turns, so that the
 * first pages are on their way to the client while it reads others; between two turns
 * it waits.
 *
 *   (1) That process gets pages of that snapshot, and nothing else of the server's:
 *       no environment, no descriptors but a socket, no arguments.
 *   (2) What it says is taken for hostile. All of its turns take RAMET_QUESTION_MS
 *       together at most, whatever it does, but for a read of the store that was
 *       begun.
 *   (3) At most as many pages as a profile may have, ramet_profile_pages_max().
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_QUESTION_H
#define RAMET_SERVER_QUESTION_H

#include "core/pageset.h"
#include "server/question_pages.h"

#define RAMET_QUESTION_MS 5000u
#define RAMET_QUESTION_WHY_SIZE 401u

/* What is asked: the bytes of ask_wire.h behind its beginning. */
struct ramet_asked {
    const char *sql;
    uint32_t param_count;
    struct ramet_buf params;
};

/* JSON, {"sql":…,"params":[…]}: numbers, texts, null, and {"hex":"…"} for blobs.
 * Hostile bytes. `json` is the document, which lives as long as the question.
 * RAMET_EINVAL, RAMET_ETOOBIG. */
struct json_t;
RAMET_NODISCARD enum ramet_rc
ramet_question_parse(struct json_t *json, struct ramet_asked *out,
                     struct ramet_err *err);
void ramet_question_done(struct ramet_asked *question);

/* Why a question was not run to its end; printable ASCII. "": it was. */
struct ramet_question_stop {
    char why[RAMET_QUESTION_WHY_SIZE];
};

/* One that runs. */
struct ramet_question;

/* `source`, of `head`, is borrowed; `asked` only for the call. RAMET_EIO: no process
 * can be had. */
RAMET_NODISCARD enum ramet_rc
ramet_question_begin(const char *helper, const struct ramet_asked *asked,
                     struct ramet_question_pages *source,
                     const struct ramet_head *head, struct ramet_question **out,
                     struct ramet_err *err);
/* Until it has read `most` pages that it had not, which are added to `pages`, or has
 * ended. RAMET_EINVAL: it is not to be run, and why. After a failure it is not gone
 * on with. */
RAMET_NODISCARD enum ramet_rc
ramet_question_turn(struct ramet_question *question, uint64_t most,
                    struct ramet_pageset *pages, bool *out_ended,
                    struct ramet_err *err);
/* Ended or not. out->why: it came to a limit, and what it read is what it had read
 * before. NULL for either is fine. */
void ramet_question_end(struct ramet_question *question,
                        struct ramet_question_stop *out);

#endif
