/*
 * remote.h - where a volume's truth lives, as the client sees it.
 *
 * A remote URL names a store and a volume in it:
 *
 *   file:///dir/name                 a directory, directly
 *   http://host:port/name, https://  a Ramet server
 *   s3://bucket/prefix/name?…        an S3-compatible store, directly
 *
 * Whatever it is, it is reached through a `struct ramet_objstore`: directly,
 * or as a server's HTTP API dressed as one. So the metastore's code runs
 * unchanged on both, and verifies everything that a server says. What a
 * server does better (many pages in one round trip, being told of commits)
 * are the two optional hooks below.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_REMOTE_H
#define RAMET_CLIENT_REMOTE_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/remote/question.h"
#include "core/bytes.h"
#include "core/err.h"
#include "core/id.h"
#include "metastore/catalog.h"
#include "metastore/history.h"
#include "pagestore/objstore.h"

enum ramet_remote_scheme {
    RAMET_REMOTE_FILE,
    RAMET_REMOTE_HTTP,
    RAMET_REMOTE_HTTPS,
    RAMET_REMOTE_S3
};

/* A parsed URL; all strings NUL-terminated inside. */
struct ramet_url {
    enum ramet_remote_scheme scheme;
    char root[1024]; /* store: directory path, "http://host:port[/prefix]", … */
    char name[RAMET_NAME_MAX + 1]; /* volume name or id; "" names the store */
    bool has_lsn;
    uint64_t at_lsn; /* name@42 */
    bool has_time;
    uint64_t at_time_ms; /* name@2026-11-23T10:00:00Z */
    char query[512];     /* after '?', as written */
};

/* RAMET_EINVAL names what is wrong and shows the right form. `name:volume`
 * of ramet.conf is resolved by the caller (client/config.h). */
RAMET_NODISCARD enum ramet_rc
ramet_url_parse(const char *text, struct ramet_url *out_url,
                struct ramet_err *err);
/* The URL without snapshot, in its one normal form, for keeping. */
void ramet_url_format(const struct ramet_url *url, char *out, size_t out_size);
/* "2026-11-23T10:00:00Z", "…+02:00", fractions allowed; also "@unix". */
bool ramet_time_parse(const char *text, uint64_t *out_unix_ms);
void ramet_time_format(uint64_t unix_ms, char out[32]);

/* What a remote told of a volume by itself. */
struct ramet_heard {
    bool is_alive;             /* it would have told of more */
    struct ramet_point newest; /* that was told of */
    /* So long ago (CLOCK_BOOTTIME, ms) the store had nothing newer than this.
     * 0: never. */
    struct ramet_point confirmed;
    uint64_t confirmed_ms;
};

/* Who follows a volume: called when there may be something new, by any thread. It
 * must not wait, nor call back. */
struct ramet_follower {
    void (*heard)(void *ctx);
    void *ctx;
};

/* What opening a volume asks, all at once. */
struct ramet_opening_question {
    const char *name;              /* of the volume, or its id */
    const char *profile;           /* NULL: none */
    struct ramet_buf *out_profile; /* the object, as it is stored; or nothing */
};

struct ramet_question; /* client/remote/question.h */
struct ramet_remote;
struct ramet_pace; /* client/remote/pace.h */

/* Implementations embed this first. */
struct ramet_remote_ops {
    /* Bring near, in one exchange, what opening the volume of this name will
     * ask: which it is, its newest commit, the pages that all read, and a warm
     * profile. A hint;
     * errors only where the remote is out of reach. NULL: there is no such
     * way. */
    enum ramet_rc (*open)(struct ramet_remote *remote,
                          const struct ramet_opening_question *question,
                          struct ramet_err *err);
    /* The calling thread begins something anew: what `open` was told for it is
     * an answer to none of its questions from here on. NULL: nothing is told. */
    void (*begin)(struct ramet_remote *remote);
    /* Pages of `volume` at `at`, in the order wanted, in one exchange: each goes
     * to `visit` as soon as it is here and verified, on the calling thread. A
     * hint: pages that don't come, or come damaged, are left out, and some
     * others may come along if `want_extra`. Errors only where the remote is out
     * of reach, or refuses (RAMET_EWENTBACK where it has another commit at that
     * LSN), and the visitor's. NULL: there is no better way than the store. */
    enum ramet_rc (*bring)(struct ramet_remote *remote,
                           const struct ramet_vid *volume,
                           const struct ramet_point *at, const uint32_t *pgnos,
                           size_t pgno_count, bool want_extra,
                           ramet_page_visit *visit, void *ctx,
                           struct ramet_err *err);
    /* Bring near, in one exchange, the pages that a statement reads at `at`; `visit`
     * is told which, some at a time, as they come. RAMET_ENOTFOUND: it runs none;
     * RAMET_EINVAL: not this. NULL: there is no such way. */
    enum ramet_rc (*ask)(struct ramet_remote *remote,
                         const struct ramet_vid *volume,
                         const struct ramet_point *at,
                         const struct ramet_question *question,
                         ramet_question_visit *visit, void *ctx,
                         struct ramet_err *err);
    /* What its link is found to be like; lives as long as the remote. NULL: it
     * does not measure. */
    struct ramet_pace *(*pace)(struct ramet_remote *remote);
    /* Block until a commit past `after` may exist, the time-out passes, or
     * `*cancel` becomes true. NULL: the caller polls. */
    enum ramet_rc (*wait)(struct ramet_remote *remote,
                          const struct ramet_vid *volume, uint64_t after,
                          uint64_t timeout_ms, const volatile bool *cancel,
                          struct ramet_err *err);
    /* Be told of commits past `after` by follower->heard(), until unfollow(), after
     * which it is not called. NULL, as both that go with it: the caller polls. */
    enum ramet_rc (*follow)(struct ramet_remote *remote,
                            const struct ramet_vid *volume, uint64_t after,
                            const struct ramet_follower *follower,
                            struct ramet_err *err);
    void (*unfollow)(struct ramet_remote *remote,
                     const struct ramet_vid *volume,
                     const struct ramet_follower *follower);
    /* What is known by that; false: nothing was heard. */
    bool (*heard)(struct ramet_remote *remote, const struct ramet_vid *volume,
                  struct ramet_heard *out);
    /* Can these bytes of an object be read without a request? NULL: no. */
    bool (*holds)(struct ramet_remote *remote,
                  const struct ramet_extent *place);
    /* What was heard did not come true: begin anew with what is told.
     * NULL: nothing to do. */
    void (*disbelieve)(struct ramet_remote *remote,
                       const struct ramet_vid *volume);
    /* Does the URL lead to another place than the one that is open: was a
     * directory moved or replaced? NULL: each request goes where it leads. */
    bool (*moved)(struct ramet_remote *remote);
    /* What is kept of the volume was proven wrong: keep none of it, neither
     * bytes nor news. NULL: nothing is kept. */
    void (*forget)(struct ramet_remote *remote, const struct ramet_vid *volume);
    /* By how much this machine's clock is ahead of the store's own, as far as
     * that said. False: it has none, or did not. NULL: it has none. */
    bool (*clock_ahead)(struct ramet_remote *remote, int64_t *out_ms);
    /* A token after all, where it had none. NULL: it needs none. */
    enum ramet_rc (*authorize)(struct ramet_remote *remote, const char *token,
                               struct ramet_err *err);
    /* Delete the volume, as ramet_catalog_delete(). NULL: that, on the store. */
    enum ramet_rc (*delete_volume)(struct ramet_remote *remote,
                                   const struct ramet_vid *volume,
                                   struct ramet_err *err);
    /* Nobody asked for pages for a while: keep nothing ready for more. NULL: nothing
     * is. */
    void (*rest)(struct ramet_remote *remote);
    /* How many requests were made so far; NULL: one for each call of the
     * store. */
    uint64_t (*requests)(const struct ramet_remote *remote);
    void (*close)(struct ramet_remote *remote);
};
struct ramet_remote {
    const struct ramet_remote_ops *ops;
    struct ramet_objstore *store; /* owned by the remote */
    struct ramet_url url;
    /* Whoever opened it: is offered commit objects that came by themselves, before
     * anybody is told; whether one was of use. NULL: nobody. By any thread. */
    bool (*offer)(void *ctx, const struct ramet_vid *volume,
                  const struct ramet_point *at, const uint8_t *object,
                  size_t len);
    void *offer_ctx;
};

struct ramet_remote_options {
    bool create_store;           /* make a directory store that is not there */
    const char *token;           /* bearer token, or NULL: client/token.h */
    const char *withheld_why;    /* why not one that there is; a constant */
    uint64_t connect_timeout_ms; /* 0: 5,000 */
    uint64_t stall_timeout_ms;   /* no byte for so long; 0: 10,000 */
    bool s3_configured;          /* token.h: who names the endpoint may */
};

/* Opens by scheme: client/remote.c dispatches to remote_direct.c (file) and
 * http_remote.c (http, https), remote_s3.c (s3). */
RAMET_NODISCARD enum ramet_rc
ramet_remote_open(const struct ramet_url *url,
                  const struct ramet_remote_options *options,
                  struct ramet_remote **out_remote, struct ramet_err *err);
void ramet_remote_close(struct ramet_remote *remote); /* NULL is fine */
/* Delete a volume, its names and history. Done again, it finishes one that was
 * cut short. RAMET_ENOTFOUND; RAMET_EBUSY while forks need it; RAMET_EAUTH. */
RAMET_NODISCARD enum ramet_rc
ramet_remote_delete(struct ramet_remote *remote, const struct ramet_vid *volume,
                    struct ramet_err *err);

/* Made by its own file; ramet_remote_open() calls them. */
RAMET_NODISCARD enum ramet_rc
ramet_remote_open_direct(const struct ramet_url *url,
                         const struct ramet_remote_options *options,
                         struct ramet_remote **out_remote,
                         struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_remote_open_s3(const struct ramet_url *url,
                     const struct ramet_remote_options *options,
                     struct ramet_remote **out_remote, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_remote_open_http(const struct ramet_url *url,
                       const struct ramet_remote_options *options,
                       struct ramet_remote **out_remote, struct ramet_err *err);

#endif
