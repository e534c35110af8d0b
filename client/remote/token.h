/*
 * token.h - which server gets which token.
 *
 * A replica's `state` names a server, and a replica may come from anybody: as
 * an attachment, out of a backup, from a directory that others write to. So
 * that a server is named there is no reason to send it a token.
 *
 *   (1) a token goes to the server that it was given for, and to no other:
 *       that of `token_file` in ramet.conf to URLs of that remote; RAMET_TOKEN
 *       to servers that whoever runs this process has named, and, where
 *       RAMET_TOKEN_HOST is set, to the hosts in that list alone
 *   (2) *named* is what was said to this process (a URL or --remote, `remote=`,
 *       RAMET_REMOTE, a name of ramet.conf) or was said to an earlier one of
 *       the same user, with RAMET_TOKEN set, when a replica was bound: such are
 *       kept in a file that only that user writes
 *   (3) none goes over plain http to another machine, unless RAMET_TOKEN_PLAIN,
 *       or `token_plain` of that remote, says so
 *
 * docs/decisions/0013-tokens-belong-to-servers.md says why.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_TOKEN_H
#define RAMET_CLIENT_REMOTE_TOKEN_H

#include <stdbool.h>

#include "client/remote/remote.h"

/* How the URL came to this process. */
enum ramet_naming {
    RAMET_NAMED_BY_REPLICA, /* a replica's state alone */
    RAMET_NAMED_BY_USER,    /* for this once */
    RAMET_NAMED_FOR_GOOD,   /* by the user, for a replica */
};

struct ramet_token {
    char *text;               /* NULL: none goes there; ramet_free() */
    const char *withheld_why; /* a constant: why not the one that there is */
    /* Of an s3:// URL: ramet.conf has a remote with its endpoint, so the
     * environment's credentials may go there (pagestore/s3/place.h). */
    bool s3_configured;
};

/* `config` as in struct ramet_file_options. RAMET_EINVAL, RAMET_EIO and
 * others: ramet.conf or a token file can't be read. */
RAMET_NODISCARD enum ramet_rc
ramet_token_for(const struct ramet_url *url, enum ramet_naming naming,
                const char *config, struct ramet_token *out_token,
                struct ramet_err *err);

#endif
