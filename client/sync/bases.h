/*
 * bases.h - the base images that deltas are made with, at hand in the replica.
 *
 * A page's next version is sent as a delta only if the image that readers will
 * find as its base is here. `bases`, beside the log, tells of pages which that is:
 * the page itself, as the remote has it, or an image from before it, packed in the
 * file. It is a cache: nothing is lost with it but bytes on the wire.
 *
 *   (1) What it knows is of one commit, number and hash; by the hash all that
 *       was before it is known, images and deltas alike. It is used to make the
 *       commit on top of that one, and no other.
 *   (2) Sent is not landed: what a push notes counts only for the commit's own
 *       hash. An intent that is abandoned, or sent by another process, leaves
 *       nothing; what others committed, or this one without noting it, is told
 *       by the history as changed, and forgotten.
 *   (3) An image is handed out only if it has the checksum of the one that was
 *       sent: whatever became of the file's pages meanwhile.
 *   (4) Whatever fails here costs an image, and no push.
 *
 * All of it needs the push lock; one thread at a time.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_BASES_H
#define RAMET_CLIENT_SYNC_BASES_H

#include "client/store/store.h"
#include "metastore/history.h"
#include "pagestore/delta.h"

#define RAMET_BASES_BYTES (64u << 20) /* the file's usual bound */

struct ramet_bases;

/* What is known of a base image. */
struct ramet_base {
    bool stays;      /* it is packed in the file, whatever its page becomes */
    uint32_t deltas; /* of the page since that image */
    uint64_t delta_bytes; /* of these */
    uint64_t sum;         /* XXH3-64 of the image */
};

/* No I/O. `replica` is borrowed. */
RAMET_NODISCARD enum ramet_rc
ramet_bases_new(const struct ramet_os *os, struct ramet_replica *replica,
                struct ramet_bases **out_bases, struct ramet_err *err);
void ramet_bases_free(struct ramet_bases *bases); /* NULL is fine */

/* Bytes of the file; 0: there is none. Needs no lock. */
uint64_t ramet_bases_size(struct ramet_replica *replica);

/* Begin: a commit of pages of `page_size` is to be made on top of `base`, which
 * is of `volume`. The file is to have `bytes_max` at most, about. */
void
ramet_bases_begin(struct ramet_bases *bases, const struct ramet_vid *volume,
                  struct ramet_history *history, const struct ramet_head *base,
                  uint32_t page_size, uint64_t bytes_max);
/* The base image of a page at that commit. `session` is pinned where the new
 * commit is made of; `remote_tail`: what the remote has (exchange.h). False: not
 * at hand. */
bool ramet_bases_get(struct ramet_bases *bases, struct ramet_session *session,
                     struct ramet_pos remote_tail, uint32_t pgno,
                     uint8_t *out_image, struct ramet_base *out_base);

/* The new commit has an image of the page, or the delta `made` over `image`,
 * which counts as `length` bytes; pages ascend. `own`: what was known of that
 * as the page's own base; NULL: it was another page's. */
void ramet_bases_note_image(struct ramet_bases *bases, uint32_t pgno,
                            const uint8_t *page);
void ramet_bases_note_delta(struct ramet_bases *bases, uint32_t pgno,
                            const uint8_t *page, const struct ramet_delta *made,
                            uint32_t length, const struct ramet_base *own,
                            const uint8_t *image);
/* The new commit is in the remote, as `point`; its pages above `least` without
 * image are zeros. */
void
ramet_bases_landed(struct ramet_bases *bases, const struct ramet_point *point,
                   uint32_t least_page_count);
/* End, landed or not. */
void ramet_bases_end(struct ramet_bases *bases);

#endif
