/*
 * gens.h - files of the log, of fetched pages and of retained versions, open in this process.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_GENS_H
#define RAMET_CLIENT_STORE_SHARED_GENS_H

#include "client/store/format/logfile.h"
#include "client/store/shared/session.h"

/* One file of the log or of the fills, open in this process. */
struct ramet_gen {
    struct ramet_gen *_Atomic next; /* in its bucket */
    struct ramet_gen *retired_next;
    uint64_t gen;
    enum ramet_gen_type type;
    int fd;
    uint64_t salt;
    uint32_t page_size;
    uint64_t retired_epoch;
};

/* Of generations: a record begins in the next one past this. */
#define RAMET_GEN_SIZE (4u << 20)

/* The open file of a generation. The caller is in an epoch, or holds a lock
 * that keeps the generation from being retired. RAMET_ENOTFOUND: retired, or
 * never made. */
RAMET_NODISCARD enum ramet_rc
ramet_gen_get(struct ramet_replica *replica, enum ramet_gen_type type,
              uint64_t gen, struct ramet_gen **out_gen, struct ramet_err *err);
/* Make the file of generation `gen` (write lock or base lock). An existing
 * one with a right header and page size is taken. */
RAMET_NODISCARD enum ramet_rc
ramet_gen_create(struct ramet_replica *replica, enum ramet_gen_type type,
                 uint64_t gen, uint32_t page_size, struct ramet_gen **out_gen,
                 struct ramet_err *err);
/* The file that frames are appended to at `end`, made if need be: the next one
 * where that one has pages of another size, or no room. `end` moves to where the
 * next frame goes, *out_pos too. */
RAMET_NODISCARD enum ramet_rc
ramet_gen_at_end(struct ramet_replica *replica, enum ramet_gen_type type,
                 struct ramet_pos_word *end, uint32_t page_size,
                 struct ramet_pos *out_pos, struct ramet_gen **out_gen,
                 struct ramet_err *err);
/* A clean close left the log's first file, and nobody has begun to write in it:
 * so the log is empty. */
bool ramet_gen_is_kept(struct ramet_replica *replica);
/* Forget generations before the index's oldest; close what nobody reads. */
void ramet_gens_trim(struct ramet_replica *replica);
/* ... and those of retained versions, whose readers are gone: opened again if need be. */
void ramet_gens_trim_retained(struct ramet_replica *replica);
/* ... and all others: the caller has the write, checkpoint and base locks, so that
 * nobody uses one but in an epoch. The log must be synced: who opens it anew may not
 * hear of a write that failed before. */
void ramet_gens_let_go(struct ramet_replica *replica);
void ramet_gens_close_all(struct ramet_replica *replica);
/* A header with a new salt, which *out_header gets as well. Nobody uses the file
 * as a generation's yet. */
RAMET_NODISCARD enum ramet_rc
ramet_gen_write_header(const struct ramet_replica *replica,
                       enum ramet_gen_type type, uint64_t gen,
                       uint32_t page_size, int fd,
                       struct ramet_gen_header *out_header,
                       struct ramet_err *err);

#endif
