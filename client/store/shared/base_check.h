/*
 * base_check.h - is the base ours? Whether somebody else wrote to it, or put
 * another file in its place; docs/replica.md, "Opening".
 *
 *   (1) size, device, inode and times say that something happened; then content
 *       decides: pages against their checksums
 *   (2) what content can't confirm is foreign, unless nothing but device or
 *       time of change says that something happened
 *   (3) what a crash of ours leaves is never foreign
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_BASE_CHECK_H
#define RAMET_CLIENT_STORE_SHARED_BASE_CHECK_H

#include "client/store/shared/session.h"

enum ramet_base_form {
    RAMET_BASE_CLEAN,          /* the true header, as `state` says */
    RAMET_BASE_MARKED,         /* the replica mark */
    RAMET_BASE_MARKED_IN_PART, /* of a file shorter than it */
};

struct ramet_base_look {
    enum ramet_base_form form;
    uint32_t token;    /* of the mark, if it is marked */
    bool has_happened; /* something: content has to decide */
    bool is_strict;    /* what content can't confirm is foreign */
    struct ramet_os_stat st;
};

/* Does its inode say that somebody wrote? What differs though it does not has
 * rotted. */
bool ramet_base_was_written(const struct ramet_state_file *state,
                            const struct ramet_os_stat *st);
/* Form and inode against what `state` says of them; `seen_ctime` is from the
 * index that was there, or 0. RAMET_EFOREIGN where no content could help. */
RAMET_NODISCARD enum ramet_rc
ramet_base_check(struct ramet_replica *replica,
                 const struct ramet_state_file *state, int64_t seen_ctime,
                 struct ramet_base_look *out, struct ramet_err *err);
/* Content, if something has happened; the index knows log and fetched pages. The base
 * lock, or alone. RAMET_EFOREIGN; with `is_lenient` not where size and time of
 * modification say that nobody wrote. */
RAMET_NODISCARD enum ramet_rc
ramet_base_compare(struct ramet_replica *replica,
                   const struct ramet_base_look *look, bool is_lenient,
                   struct ramet_err *err);
/* While it is in use: is the base as it was when we were last done with it? By
 * its inode, else by content. RAMET_EFOREIGN. */
RAMET_NODISCARD enum ramet_rc
ramet_base_confirm(struct ramet_replica *replica, struct ramet_err *err);
/* As far as its inode tells. */
bool ramet_base_is_at_rest(const struct ramet_replica *replica);

#endif
