/*
 * ramet.h - Ramet's public C interface: volumes of pages, without SQLite.
 *
 * A volume is a versioned file. Writers commit locally and at once; commits
 * travel to a remote; replicas read what they need, when they need it.
 *
 *     ramet_volume *v;
 *     ramet_error e;
 *     if (ramet_open("model.bin", NULL, &v, &e) != RAMET_SUCCESS)
 *         errx(1, "%s", e.text);
 *     ramet_begin(v, RAMET_WRITE, &e);
 *     ramet_write(v, 4096, data, sizeof(data), &e);
 *     ramet_commit(v, &e);
 *     ramet_push(v, NULL, &e);
 *     ramet_close(v);
 *
 * A handle is used by one thread at a time; open one a thread. Functions
 * return RAMET_SUCCESS (0) or a negative code; with `error` not NULL it says
 * what, where and what to do. Nothing here aborts or prints.
 *
 * Clean as C99 and C++.
 */
#ifndef RAMET_H
#define RAMET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RAMET_API __attribute__((visibility("default")))
#else
#define RAMET_API
#endif

#define RAMET_VERSION_STRING "0.1.0"

/* The codes are those of docs/errors.md; these are the ones programs test. */
#define RAMET_SUCCESS 0
#define RAMET_ERROR_CORRUPT (-3)
#define RAMET_ERROR_INVALID (-4)
#define RAMET_ERROR_NOT_FOUND (-5)
#define RAMET_ERROR_EXISTS (-6)
#define RAMET_ERROR_BUSY (-7)
#define RAMET_ERROR_SNAPSHOT (-8)
#define RAMET_ERROR_CONFLICT (-9)
#define RAMET_ERROR_DIVERGED (-10)
#define RAMET_ERROR_AUTH (-11)
#define RAMET_ERROR_UNREACHABLE (-12)
#define RAMET_ERROR_TIMEOUT (-13)
#define RAMET_ERROR_FULL (-14)
#define RAMET_ERROR_READONLY (-15)
#define RAMET_ERROR_CLOCK (-22)
#define RAMET_ERROR_WENT_BACK (-23)
#define RAMET_ERROR_REFUSED (-24)

typedef struct ramet_volume ramet_volume; /* opaque */

typedef struct ramet_error {
    int code;
    int system_errno;
    char text[512];
} ramet_error;

typedef struct ramet_options {
    size_t size;        /* sizeof(ramet_options): lets it grow */
    const char *remote; /* URL, or NULL */
    const char *at;     /* LSN or time: a read-only snapshot; or NULL */
    const char *sync;   /* "auto", "manual", "commit"; NULL: auto */
    int create;         /* make the file (or volume) if absent */
    int readonly;  /* refuses what acts, see `allow_pull`; with a remote and
                      sync "auto" it pulls in the background, no more */
    int stateless; /* nothing on disk; needs `remote` */
    uint32_t page_size; /* of a new volume; 0: 4096 */
    uint64_t cache_limit_bytes;
    uint32_t fetch_timeout_ms, commit_timeout_ms, close_wait_ms;
    int allow_pull; /* with `readonly`: ramet_fetch() and ramet_pull() may be
                       called, which are refused else, as all that acts is */
    uint32_t push_interval_ms; /* 0: 50; 1: at once */
    uint32_t
        max_stale_ms; /* how old what is read may be; 0: any (docs/sqlite.md) */
    const char *profile; /* of a warm start (docs/sqlite.md), or NULL */
} ramet_options;

typedef struct ramet_info {
    uint64_t lsn;        /* durable: newest remote commit that it stands on */
    uint64_t remote_lsn; /* newest known */
    uint64_t local_commits;
    uint64_t byte_length;
    uint32_t page_size;
    uint64_t pages, cached_pages, dirty_pages;
    const char *state; /* "clean", "ahead", "behind", "diverged", … */
} ramet_info;

/* Where nothing is at `path` and a remote is named, it is cloned lazily, whatever
 * it is: what is read through here comes when it is read, and volumes of a process
 * share what came. Programs that read such a file by themselves find zeros in the
 * place of what is not here, and what they write there is not seen. */
RAMET_API const char *ramet_version(void);
RAMET_API int ramet_open(const char *path, const ramet_options *options,
                         ramet_volume **out_volume, ramet_error *error);
RAMET_API void ramet_close(ramet_volume *volume);

/* A transaction sees one snapshot, and its own writes. RAMET_WRITE fails with
 * RAMET_ERROR_BUSY while another writer is at work. */
enum { RAMET_READ = 0, RAMET_WRITE = 1 };
RAMET_API int ramet_begin(ramet_volume *volume, int mode, ramet_error *error);
/* RAMET_WRITE: atomic, and durable on this disk when it returns. */
RAMET_API int ramet_commit(ramet_volume *volume, ramet_error *error);
RAMET_API void ramet_rollback(ramet_volume *volume);

/* Bytes read, which is less than `len` only at the end; or negative. Outside
 * a transaction it reads the newest snapshot. */
RAMET_API int64_t ramet_read(ramet_volume *volume, uint64_t offset, void *buf,
                             size_t len, ramet_error *error);
RAMET_API int ramet_write(ramet_volume *volume, uint64_t offset,
                          const void *buf, size_t len, ramet_error *error);
RAMET_API int
ramet_truncate(ramet_volume *volume, uint64_t byte_length, ramet_error *error);
RAMET_API int64_t ramet_length(ramet_volume *volume, ramet_error *error);

/* Reading what was written elsewhere. ramet_wait_durable() pushes, and gives a token of
 * the commit that is in the remote then ("" where there is none);
 * ramet_wait() waits until the volume is at that commit or a later one: for a
 * token, or an LSN in decimal. RAMET_ERROR_TIMEOUT after `timeout_ms`. `out_lsn` may
 * be NULL. */
#define RAMET_TOKEN_SIZE 100
RAMET_API int
ramet_wait_durable(ramet_volume *volume, uint32_t timeout_ms,
                   char out_token[RAMET_TOKEN_SIZE], ramet_error *error);
RAMET_API int
ramet_wait(ramet_volume *volume, const char *token, uint32_t timeout_ms,
           uint64_t *out_lsn, ramet_error *error);
/* `out_lsn` may be NULL. */
RAMET_API int
ramet_push(ramet_volume *volume, uint64_t *out_lsn, ramet_error *error);
RAMET_API int
ramet_pull(ramet_volume *volume, uint64_t *out_lsn, ramet_error *error);
RAMET_API int
ramet_fetch(ramet_volume *volume, uint64_t *out_remote_lsn, ramet_error *error);
RAMET_API int
ramet_hydrate(ramet_volume *volume, uint64_t *out_pages, ramet_error *error);
RAMET_API int
ramet_reset(ramet_volume *volume, int discard, ramet_error *error);
RAMET_API int
ramet_stat(ramet_volume *volume, ramet_info *out_info, ramet_error *error);

#ifdef __cplusplus
}
#endif

#endif
