/*
 * objstore.h - what Ramet asks of a place that keeps objects.
 *
 * Nothing is ever overwritten: an object is written once, by put-if-absent,
 * and then only read, or deleted whole. That is all that a directory, an S3
 * bucket or a Ramet server has to offer, and it makes every read cacheable
 * and every write retryable.
 *
 * Keys are relative paths such as "volumes/<vid>/commits/<~lsn>": segments of
 * `A-Za-z0-9._-` joined by '/', no segment empty or beginning with '.', at
 * most RAMET_KEY_MAX - 1 bytes. ramet_key_valid() says so; stores assert it.
 *
 * A store is thread-safe. Calls block; time-outs are the store's own affair
 * and come back as RAMET_EUNREACHABLE or RAMET_ETIMEOUT.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_OBJSTORE_H
#define RAMET_PAGESTORE_OBJSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/err.h"
#include "core/hash.h"
#include "core/os.h"

#define RAMET_KEY_MAX 256u

struct ramet_objstore;
struct ramet_upload;

/* Called for each key in ascending byte order; false stops the listing. */
typedef bool
ramet_objstore_visit(void *ctx, const char *key, uint64_t size_bytes);

enum ramet_store_trait {
    /* A LIST of one key costs one request, as in S3; without it (a directory)
     * whoever looks for the newest commit gallops over names instead. */
    RAMET_STORE_LISTS_CHEAPLY = 1 << 0,
    /* Somebody behind the store makes page maps (a Ramet server). */
    RAMET_STORE_MAKES_MAPS = 1 << 1,
    /* What will be read has mostly been sent ahead, as the exact ranges that
     * are needed: reads should not be joined across gaps. */
    RAMET_STORE_SENDS_AHEAD = 1 << 2,
    /* A commit is taken only on top of the newest one (a Ramet server): who
     * believes to know that need not look before. */
    RAMET_STORE_CHECKS_COMMITS = 1 << 3,
    /* Several ranged reads at a time take about as long as one (a bucket): it
     * has read_parts, and callers give it all that they need at once. */
    RAMET_STORE_READS_PARTS = 1 << 4,
    /* Each request is paid, and a LIST costs a dozen GETs (a bucket): who knows
     * a commit looks at the slot after it, and does not look before a commit
     * what the conditional write will tell. */
    RAMET_STORE_IS_PAID = 1 << 5,
    /* Somebody on the way keeps what he read (a server's cache, one of HTTP): what
     * is wrong may be right at the place itself. */
    RAMET_STORE_IS_KEPT = 1 << 6,
};

/* One of several ranged reads: exactly `len` bytes at `offset`, to `buf`; with
 * `to_end` fewer where the object ends. */
struct ramet_part {
    const char *key;
    uint64_t offset;
    size_t len;
    void *buf;
    bool to_end;
};
/* `got` bytes of a part are here. Called on the thread that reads, for one part at
 * a time, in any order; anything but RAMET_OK ends the call with it. */
typedef enum ramet_rc ramet_part_visit(void *ctx, const struct ramet_part *part,
                                       size_t got, struct ramet_err *err);

enum ramet_request_kind {
    RAMET_REQUEST_PUT, /* of an object, or a part of one */
    RAMET_REQUEST_POST,
    RAMET_REQUEST_LIST,
    RAMET_REQUEST_GET,
    RAMET_REQUEST_HEAD,
    RAMET_REQUEST_DELETE
};
#define RAMET_REQUEST_KINDS 6u

/* What a store that is paid by the request was asked so far. */
struct ramet_store_requests {
    uint64_t by_kind[RAMET_REQUEST_KINDS]; /* each try counted */
    uint64_t bytes_sent, bytes_received;   /* in bodies */
    uint64_t repeats, hedges, slowdowns;
    uint64_t nano_usd; /* at list price, without the bytes */
};

/* Implementations embed `struct ramet_objstore` first and fill `ops`. */
struct ramet_objstore_ops {
    enum ramet_rc (*put)(struct ramet_objstore *store, const char *key,
                         const struct iovec *parts, int part_count,
                         struct ramet_err *err);
    enum ramet_rc (*upload_begin)(struct ramet_objstore *store, const char *key,
                                  struct ramet_upload **out_upload,
                                  struct ramet_err *err);
    enum ramet_rc (*upload_write)(struct ramet_upload *upload, const void *data,
                                  size_t len, struct ramet_err *err);
    enum ramet_rc (*upload_finish)(struct ramet_upload *upload,
                                   struct ramet_err *err); /* frees it */
    void (*upload_abort)(struct ramet_upload *upload);     /* frees it */
    enum ramet_rc (*read)(struct ramet_objstore *store, const char *key,
                          uint64_t offset, void *buf, size_t len,
                          size_t *out_got, struct ramet_err *err);
    /* As ramet_objstore_read_parts(), with many requests under way at a time;
     * it returns when none is any longer. NULL: one after the other. */
    enum ramet_rc (*read_parts)(struct ramet_objstore *store,
                                const struct ramet_part *parts, size_t count,
                                ramet_part_visit *visit, void *ctx,
                                struct ramet_err *err);
    enum ramet_rc (*size)(struct ramet_objstore *store, const char *key,
                          uint64_t *out_size_bytes, struct ramet_err *err);
    enum ramet_rc (*list)(struct ramet_objstore *store, const char *prefix,
                          const char *after, ramet_objstore_visit *visit,
                          void *ctx, struct ramet_err *err);
    /* NULL: by a list of one. */
    enum ramet_rc (*first)(struct ramet_objstore *store, const char *prefix,
                           char out_key[RAMET_KEY_MAX],
                           struct ramet_hash *out_told, struct ramet_err *err);
    enum ramet_rc (*remove)(struct ramet_objstore *store, const char *key,
                            struct ramet_err *err);
    /* NULL: one after the other. */
    enum ramet_rc (*remove_many)(struct ramet_objstore *store,
                                 const char *const *keys, size_t count,
                                 struct ramet_err *err);
    /* NULL: it keeps nothing of what it reads. */
    void (*refresh)(struct ramet_objstore *store, const char *key);
    /* The same of a range alone. NULL: refresh() does. */
    void (*doubt)(struct ramet_objstore *store, const char *key,
                  uint64_t offset, uint64_t len);
    /* NULL: there is nothing to prepare. */
    void (*expect)(struct ramet_objstore *store, unsigned count);
    /* NULL: its requests cost nothing. */
    void (*requests)(const struct ramet_objstore *store,
                     struct ramet_store_requests *out);
    void (*close)(struct ramet_objstore *store);
};

struct ramet_objstore {
    const struct ramet_objstore_ops *ops;
    unsigned traits;  /* of enum ramet_store_trait */
    const char *name; /* for error texts: "file:///backups"; the store's own */
};

struct ramet_upload {
    struct ramet_objstore *store;
};

bool ramet_key_valid(const char *key);

/*
 * Write one whole object, durably, unless `key` exists.
 *
 * When it returns RAMET_OK the object is whole and will survive a crash of
 * the store; until then nobody sees any of it. RAMET_EEXIST: somebody was
 * first (perhaps an earlier try of ours), nothing was changed. RAMET_EUNKNOWN:
 * sent, and no answer: read the key to find out. RAMET_EFULL, RAMET_EAUTH,
 * RAMET_EUNREACHABLE, RAMET_EIO: not written.
 */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_put(struct ramet_objstore *store, const char *key,
                   const struct iovec *parts, int part_count,
                   struct ramet_err *err);

/*
 * The same for an object that doesn't fit into memory: begin, write any
 * number of times, then finish (errors as ramet_objstore_put) or abort. The
 * upload is freed by either, whatever finish returns. One thread at a time.
 */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_upload_begin(struct ramet_objstore *store, const char *key,
                            struct ramet_upload **out_upload,
                            struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_objstore_upload_write(struct ramet_upload *upload, const void *data,
                            size_t len, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_objstore_upload_finish(struct ramet_upload *upload,
                             struct ramet_err *err);
void ramet_objstore_upload_abort(struct ramet_upload *upload);

/*
 * Read `len` bytes from `offset`; *out_got < len only where the object ends.
 * RAMET_ENOTFOUND if there is no such object. An offset at or past the end
 * gives 0 bytes and RAMET_OK.
 */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_read(struct ramet_objstore *store, const char *key,
                    uint64_t offset, void *buf, size_t len, size_t *out_got,
                    struct ramet_err *err);
/* Exactly `len` bytes, or RAMET_ECORRUPT naming key and offset. */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_read_full(struct ramet_objstore *store, const char *key,
                         uint64_t offset, void *buf, size_t len,
                         struct ramet_err *err);
/* One part, by itself. */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_read_part(struct ramet_objstore *store,
                         const struct ramet_part *part, size_t *out_got,
                         struct ramet_err *err);
/*
 * Several of these, each visited as soon as it is here: the first ones of
 * `parts` are begun first. The first failure ends it (errors as
 * ramet_objstore_read_full()); some parts may not have been visited then.
 */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_read_parts(struct ramet_objstore *store,
                          const struct ramet_part *parts, size_t count,
                          ramet_part_visit *visit, void *ctx,
                          struct ramet_err *err);
/* So many requests at a time, beside what was asked so far, are about to come: what
 * they need may be set up meanwhile. No wait. */
void ramet_objstore_expect(struct ramet_objstore *store, unsigned count);
/* What lies between two places that are read is read along, in one read, where it is
 * no more than this: one read more would cost as much. */
uint64_t ramet_objstore_gap(const struct ramet_objstore *store);
RAMET_NODISCARD enum ramet_rc
ramet_objstore_size(struct ramet_objstore *store, const char *key,
                    uint64_t *out_size_bytes, struct ramet_err *err);
/* Keys that begin with `prefix` and are > `after` ("" or NULL: from the
 * start), ascending. Keys written while it runs may or may not be seen. */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_list(struct ramet_objstore *store, const char *prefix,
                    const char *after, ramet_objstore_visit *visit, void *ctx,
                    struct ramet_err *err);
/* For a list of which the first key is enough, into a char[RAMET_KEY_MAX]. */
bool ramet_objstore_take_key(void *ctx, const char *key, uint64_t size_bytes);
/*
 * The first key that begins with `prefix`; "" if there is none. Where the store
 * knows what is in that object, *out_told says it unasked (of a commit: its
 * hash; unverified); else it is zero.
 */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_first(struct ramet_objstore *store, const char *prefix,
                     char out_key[RAMET_KEY_MAX], struct ramet_hash *out_told,
                     struct ramet_err *err);
/* RAMET_OK also where it was not there. */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_remove(struct ramet_objstore *store, const char *key,
                      struct ramet_err *err);
/* The same of several, in any order; after a failure some may be left. */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_remove_many(struct ramet_objstore *store,
                           const char *const *keys, size_t count,
                           struct ramet_err *err);
/* What was read of `key` is not what it should be: the next read of it is one of
 * the place itself. Objects never change, so a cache may keep them for ever;
 * but a store can be put back from a backup, and then written by others. */
void ramet_objstore_refresh(struct ramet_objstore *store, const char *key);
/* The same of what begins at `offset` alone: the next read there is anew. */
void ramet_objstore_doubt(struct ramet_objstore *store, const char *key,
                          uint64_t offset, uint64_t len);
/* What was read there has another checksum than it must: read it once more, of the
 * place itself. RAMET_ECORRUPT, and `err` as it is: it would be the same
 * (no RAMET_STORE_IS_KEPT). */
RAMET_NODISCARD enum ramet_rc
ramet_objstore_read_anew(struct ramet_objstore *store, const char *key,
                         uint64_t offset, void *buf, size_t len,
                         struct ramet_err *err);
/* False, and nothing in `out`: it does not count. */
bool ramet_objstore_requests(const struct ramet_objstore *store,
                             struct ramet_store_requests *out);
/* "put", "list", … */
const char *ramet_request_kind_name(enum ramet_request_kind kind);
void ramet_objstore_close(struct ramet_objstore *store); /* NULL is fine */

/* In memory, for tests and for stateless work. */
RAMET_NODISCARD enum ramet_rc
ramet_memstore_open(struct ramet_objstore **out_store, struct ramet_err *err);

/*
 * A directory (made if `create`, with its parents). put-if-absent is a synced
 * temporary file, link(2), and a sync of the directory; new directories are
 * synced into their parents before anything in them is reported as written.
 * Temporary files live under "tmp/"; what a crash left there for over an hour
 * is removed on open. `os` NULL: the system.
 */
RAMET_NODISCARD enum ramet_rc
ramet_dirstore_open(const struct ramet_os *os, const char *path, bool create,
                    struct ramet_objstore **out_store, struct ramet_err *err);

/* What error texts call a directory's store from now on, where its path is
 * nobody's business. Before others use it. */
RAMET_NODISCARD enum ramet_rc
ramet_dirstore_call(struct ramet_objstore *store, const char *name,
                    struct ramet_err *err);

#endif
