/*
 * bases_step.h - a record of the file `bases` as it is written: section by section.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_BASES_STEP_H
#define RAMET_CLIENT_SYNC_BASES_STEP_H

#include "client/sync/bases_format.h"
#include "core/os.h"

/* A record that is being written. */
struct ramet_bases_step {
    bool is_on; /* false: none, or it failed */
    const struct ramet_os *os;
    int fd;
    uint64_t offset;        /* of the record */
    uint64_t body_length;   /* written, or in `body` */
    uint64_t packed_length; /* of packed pages in it */
    struct ramet_buf body;
    struct ramet_buf directory;
    uint32_t next_chunk; /* of the directory */
    /* The open section: its chunk (RAMET_BASES_CHUNKS_MAX: none), what it has so far, and
     * images that are still to be noted, one behind the other. */
    uint32_t chunk;
    uint64_t section_packed;
    uint32_t last; /* page noted last, these not counted */
    struct ramet_buf notes;
    struct ramet_buf images; /* their sums */
    uint32_t first_image;
};

void ramet_bases_step_init(struct ramet_bases_step *step);
void ramet_bases_step_done(struct ramet_bases_step *step);
/* Begin, at `offset` of a file, which is borrowed. */
void ramet_bases_step_begin(struct ramet_bases_step *step,
                            const struct ramet_os *os, int fd, uint64_t offset);
/* A note; pages ascend. What fails ends the step. Of an image `sum` is told, and it is
 * one. Before a note with a packed page: ramet_bases_step_at() that page, and its bytes
 * appended to `body`. */
void ramet_bases_step_at(struct ramet_bases_step *step, uint32_t pgno);
void ramet_bases_step_note(struct ramet_bases_step *step,
                           const struct ramet_base_note *note);
/* All of the body is written. */
void ramet_bases_step_end(struct ramet_bases_step *step);

#endif
