/*
 * frame_files.h - numbered files of frames, open in this process: of the log,
 * of fetched pages, of retained versions. (Files of the log alone:
 * upkeep/log_files.h.)
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_FRAME_FILES_H
#define RAMET_CLIENT_STORE_SHARED_FRAME_FILES_H

#include "client/store/format/frames.h"
#include "client/store/shared/session.h"

/* One of them. */
struct ramet_frame_file {
    struct ramet_frame_file *_Atomic next; /* in its bucket */
    struct ramet_frame_file *retired_next;
    uint64_t number;
    enum ramet_frames_type type;
    int fd;
    uint64_t salt;
    uint32_t page_size;
    uint64_t retired_epoch;
};

/* Of the log: a record begins in the next file past this. */
#define RAMET_LOG_FILE_SIZE (4u << 20)

/* The open file of that number. The caller is in an epoch, or holds a lock
 * that keeps the file from being retired. RAMET_ENOTFOUND: retired, or
 * never made. */
RAMET_NODISCARD enum ramet_rc
ramet_frame_file_get(struct ramet_replica *replica, enum ramet_frames_type type,
                     uint64_t number, struct ramet_frame_file **out_file,
                     struct ramet_err *err);
/* Make the file of that number (write lock or base lock). An existing
 * one with a right header and page size is taken. */
RAMET_NODISCARD enum ramet_rc
ramet_frame_file_create(struct ramet_replica *replica,
                        enum ramet_frames_type type, uint64_t number,
                        uint32_t page_size, struct ramet_frame_file **out_file,
                        struct ramet_err *err);
/* The file that frames are appended to at `end`, made if need be: the next one
 * where that one has pages of another size, or no room. `end` moves to where the
 * next frame goes, *out_pos too. */
RAMET_NODISCARD enum ramet_rc
ramet_frame_file_at_end(struct ramet_replica *replica,
                        enum ramet_frames_type type, struct ramet_pos_word *end,
                        uint32_t page_size, struct ramet_pos *out_pos,
                        struct ramet_frame_file **out_file,
                        struct ramet_err *err);
/* A clean close left the log's first file, and nobody has begun to write in it:
 * so the log is empty. */
bool ramet_frame_file_is_kept(struct ramet_replica *replica);
/* Forget files before the index's oldest; close what nobody reads. */
void ramet_frame_files_trim(struct ramet_replica *replica);
/* ... and those of retained versions, whose readers are gone: opened again if need be. */
void ramet_frame_files_trim_retained(struct ramet_replica *replica);
/* ... and all others: the caller has the write, checkpoint and base locks, so that
 * nobody uses one but in an epoch. The log must be synced: who opens it anew may not
 * hear of a write that failed before. */
void ramet_frame_files_let_go(struct ramet_replica *replica);
void ramet_frame_files_close_all(struct ramet_replica *replica);
/* A header with a new salt, which *out_header gets as well. Nobody uses the file
 * yet. */
RAMET_NODISCARD enum ramet_rc
ramet_frame_file_write_header(const struct ramet_replica *replica,
                              enum ramet_frames_type type, uint64_t number,
                              uint32_t page_size, int fd,
                              struct ramet_frame_file_header *out_header,
                              struct ramet_err *err);

#endif
