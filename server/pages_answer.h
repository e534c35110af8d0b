/*
 * pages_answer.h - the answer to a request for pages, made piece by piece as
 * the client takes it.
 *
 *   (1) A frame, and a range of metadata, is sent once in an answer.
 *   (2) Between two pieces an answer holds the request's runs, the places of
 *       what a slice of pages needs, and a number for each range that may be
 *       met again: ramet_answer_held(). No page, no node, no history.
 *   (3) A failure is told within the answer, unless it comes in the midst of a
 *       range: then the answer is cut off, and lacks its end record.
 *   (4) A frame that goes into one piece is sent only if its checksum is right. A cache
 *       that has it otherwise forgets what was read, and the store is asked.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_PAGES_ANSWER_H
#define RAMET_SERVER_PAGES_ANSWER_H

#include "server/open_volume.h"
#include "server/pages.h"
#include "server/server_impl.h"

struct ramet_answer;

/* Takes over `vol` and the request, whatever happens. */
RAMET_NODISCARD enum ramet_rc
ramet_answer_new(struct ramet_server *server, struct ramet_open_volume *vol,
                 struct ramet_pages_request *request,
                 const struct ramet_head *head,
                 struct ramet_answer **out_answer, struct ramet_err *err);
void ramet_answer_free(struct ramet_answer *answer); /* NULL is fine */
/* The most that it ever holds between two pieces. */
size_t ramet_answer_held(const struct ramet_answer *answer);

/* Pages that are found while an answer is under way. */
struct ramet_answer_source {
    /* Some more of the same commit, and what stands before them to `out`, which is
     * empty; no runs: that was all. In a worker, and takes its time. */
    enum ramet_rc (*more)(void *ctx, struct ramet_buf *out,
                          struct ramet_pages_request *out_request,
                          struct ramet_err *err);
    const char *(*trailer)(void *ctx,
                           const char **out_name); /* as a stream's */
    void (*free)(void *ctx); /* before the volume is given back */
    void *ctx;
    uint32_t pages_max; /* all of them */
};
/* Before the first piece. What is made goes out before more is looked for. */
void ramet_answer_set_source(struct ramet_answer *answer,
                             const struct ramet_answer_source *source);

/* Append to `out`, which has a maximum; *out_done at the end. On failure `out`
 * holds whole records, or *out_cut says that the last one is not. */
RAMET_NODISCARD enum ramet_rc
ramet_answer_piece(struct ramet_answer *answer, struct ramet_buf *out,
                   bool *out_done, bool *out_cut, struct ramet_err *err);

/* As ramet_api_note_loss(), of what ended a piece. */
void ramet_answer_note_loss(struct ramet_answer *answer, enum ramet_rc *rc,
                            struct ramet_err *err);

#define RAMET_TYPE_FRAMES "application/vnd.ramet.frames"
/* api_pages.c: answer the call with it, behind what `first` has. The first piece
 * is made here, so that a failure still has its own status. Takes over both. */
void ramet_api_reply_pages(struct call *call, struct ramet_answer *answer,
                           struct ramet_buf *first);
/* The same for what `request` names at `head`; NULL: `first` is all there is. Takes
 * over the volume, what the request has, and `first`. */
void ramet_api_reply_after(struct call *call, struct ramet_buf *first,
                           struct ramet_open_volume *vol,
                           struct ramet_pages_request *request,
                           const struct ramet_head *head);

/* As a stream: failures become records. `state` is the answer. */
extern const struct ramet_http_stream_ops ramet_answer_ops;
const char *ramet_answer_trailer(void *state, const char **out_name);

#endif
