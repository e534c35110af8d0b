/*
 * delta_loose.h - deltas out of their blocks, as a server sends those that somebody asked
 * for: which pages they are of, and one zstd frame. Byte layout: docs/protocol.md,
 * "Loose deltas".
 *
 *   (1) They carry no sum: that is in the front of the block that they are of, which its
 *       parent's hash vouches for. Whoever makes a page of one compares it.
 *   (2) What a record says is hostile: no page comes twice, memory and time are bounded by
 *       RAMET_LOOSE_CONTENT_MAX.
 *   (3) The content of the record before, in the same answer, is the prefix of the next one.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_DELTA_LOOSE_H
#define RAMET_PAGESTORE_DELTA_LOOSE_H

#include "core/bytes.h"
#include "pagestore/delta.h"

/* Of a record: pages, bytes of its content, and of the record itself. */
#define RAMET_LOOSE_PAGES_MAX 4096u
#define RAMET_LOOSE_CONTENT_MAX (128u << 10)
#define RAMET_LOOSE_RECORD_MAX (RAMET_LOOSE_CONTENT_MAX + (64u << 10))

/* The records of one answer. One thread at a time. */
struct ramet_loose_writer;
struct ramet_loose_writer *ramet_loose_writer_new(void); /* NULL: no memory */
void ramet_loose_writer_free(struct ramet_loose_writer *writer); /* or NULL */
/* One more; pages ascend within a record. False: it is too large for this record, or
 * there is no memory; then the record is as it was. */
bool ramet_loose_writer_add(struct ramet_loose_writer *writer, uint32_t pgno,
                            const struct ramet_delta *delta);
/* What has been added since the last record. */
size_t ramet_loose_writer_pages(const struct ramet_loose_writer *writer);
size_t ramet_loose_writer_bytes(const struct ramet_loose_writer *writer);
/* Append a record of it to `out`; the next one begins. RAMET_ENOMEM. */
RAMET_NODISCARD enum ramet_rc
ramet_loose_writer_end(struct ramet_loose_writer *writer, struct ramet_buf *out,
                       struct ramet_err *err);

struct ramet_loose_reader;
struct ramet_loose_reader *ramet_loose_reader_new(void); /* NULL: no memory */
void ramet_loose_reader_free(struct ramet_loose_reader *reader); /* or NULL */
/* One page's, without its sum; it lies in the reader until the next record. */
typedef void
ramet_loose_visit(void *ctx, uint32_t pgno, const struct ramet_delta *delta);
/* A record, hostile bytes: all of its deltas, or RAMET_ECORRUPT and none (and of those
 * that follow in this answer neither); RAMET_ENOMEM. */
RAMET_NODISCARD enum ramet_rc
ramet_loose_read(struct ramet_loose_reader *reader, const uint8_t *record,
                 size_t len, uint32_t page_size, ramet_loose_visit *visit,
                 void *ctx, struct ramet_err *err);

#endif
