/*
 * file_opening.h - an open under way: file_open.c decides what is opened and opens a
 * replica, file_remote.c finds its remote, file_snapshot.c opens a snapshot.
 *
 * Where the remote comes from: the option; else what RAMET_REMOTE has for the
 * file; else the binding of the replica that is there.
 *
 * Layer: client, volume.
 */
#ifndef RAMET_CLIENT_VOLUME_FILE_OPENING_H
#define RAMET_CLIENT_VOLUME_FILE_OPENING_H

#include <stdbool.h>
#include <stdint.h>

#include "client/remote/remote.h"
#include "client/remote/remote_client.h"
#include "client/remote/token.h"
#include "client/volume/file.h"
#include "core/err.h"
#include "core/os.h"

/* What an open knows while it works. */
struct ramet_opening {
    const struct ramet_file_options *options;
    const struct ramet_os *os;
    const char *path; /* absolute */
    bool has_url;
    bool url_is_explicit;
    struct ramet_url url;
    enum ramet_naming naming; /* of url */
    struct ramet_file *file;
    struct ramet_remote_client
        *cloned_from; /* what it knows is of use once more */
};

static inline uint64_t
ramet_fetch_timeout_of(const struct ramet_file_options *options)
{
    return options->fetch_timeout_ms > 0 ? options->fetch_timeout_ms : 10000u;
}

/* ---- file_remote.c --------------------------------------------------------- */

/* What the option or RAMET_REMOTE names. */
RAMET_NODISCARD enum ramet_rc
ramet_opening_find_url(struct ramet_opening *opening, struct ramet_err *err);
/* What `state` says counts; but if somebody says the same, he named it. */
RAMET_NODISCARD enum ramet_rc
ramet_opening_take_url_of_state(struct ramet_opening *opening,
                                struct ramet_err *err);
/* The replica is open: give it its remote. RAMET_EEXIST: it has another. */
RAMET_NODISCARD enum ramet_rc
ramet_opening_attach_remote(struct ramet_opening *opening,
                            struct ramet_err *err);
/* RAMET_EINVAL, of what could never be pushed as a database. */
RAMET_NODISCARD enum ramet_rc
ramet_opening_refuse_no_database(const struct ramet_opening *opening,
                                 struct ramet_err *err);

/* ---- file_snapshot.c ------------------------------------------------------- */

/* A snapshot straight from the remote (stateless.h), that the options or the URL name. */
RAMET_NODISCARD enum ramet_rc
ramet_opening_stateless(struct ramet_opening *opening, struct ramet_err *err);

#endif
