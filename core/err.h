/*
 * err.h - result codes, and the text that goes with a failure.
 *
 * A function that can fail returns `enum ramet_rc`: RAMET_OK is 0, every
 * failure is negative. What touches disk, network or foreign bytes also takes
 * an optional, caller-owned `struct ramet_err *`. Whoever *detects* a failure
 * writes the text, once, with key, page or offset in it; everybody above
 * passes it on unchanged. Libraries never log an error that they return.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_ERR_H
#define RAMET_CORE_ERR_H

#include <stddef.h>

#if defined(__GNUC__) || defined(__clang__)
#define RAMET_NODISCARD __attribute__((warn_unused_result))
#define RAMET_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define RAMET_NODISCARD
#define RAMET_PRINTF(fmt, args)
#endif

/*
 * What went wrong, as far as a caller has to tell cases apart. The mapping to
 * SQLITE_*, HTTP status and exit code lives in one `switch` without `default`
 * each, so that the compiler reports a forgotten code. docs/errors.md says
 * what a user should do about each.
 */
enum ramet_rc {
    RAMET_OK = 0,
    RAMET_ENOMEM = -1,     /* allocation failed */
    RAMET_EIO = -2,        /* the system refused an operation; errno is kept */
    RAMET_ECORRUPT = -3,   /* bytes fail a checksum or break the format */
    RAMET_EINVAL = -4,     /* the caller, or what a user typed, is wrong */
    RAMET_ENOTFOUND = -5,  /* no such object, volume, name or snapshot */
    RAMET_EEXIST = -6,     /* put-if-absent found something there */
    RAMET_EBUSY = -7,      /* a lock is held by somebody else; try later */
    RAMET_ESNAPSHOT = -8,  /* the snapshot is no longer the newest */
    RAMET_ECONFLICT = -9,  /* somebody else's commit was first */
    RAMET_EDIVERGED = -10, /* local commits, and the remote went elsewhere */
    RAMET_EAUTH = -11,     /* not permitted */
    RAMET_EUNREACHABLE = -12, /* the remote is out of reach */
    RAMET_ETIMEOUT = -13,     /* a bound on waiting was reached */
    RAMET_EFULL = -14,        /* disk or quota is full */
    RAMET_EREADONLY = -15,    /* a past snapshot, a read-only token or disk */
    RAMET_ETOOBIG = -16,      /* a configured or format limit is exceeded */
    RAMET_EVERSION = -17,     /* written by a later version of the format */
    RAMET_EUNKNOWN = -18, /* sent, and no answer: may or may not have landed */
    RAMET_EFOREIGN = -19, /* the base was changed behind our back */
    RAMET_ECANCELLED = -20, /* interrupted by the caller */
    RAMET_EFORKED = -21,    /* used in a child of fork() */
    RAMET_ECLOCK = -22,     /* a clock is too far from the store's */
    RAMET_EWENTBACK = -23,  /* the store lacks a commit that it had */
    RAMET_EREFUSED = -24,   /* the remote does not take these bytes */
};
/* The codes are all numbers from here to 0. */
#define RAMET_RC_LEAST RAMET_EREFUSED

#define RAMET_ERR_TEXT_MAX 512

/* Caller-owned. Only the function that returns a failure writes to it. */
struct ramet_err {
    enum ramet_rc code;
    int sys_errno; /* errno where the system was the cause, else 0 */
    char text[RAMET_ERR_TEXT_MAX];
};

/*
 * Record a failure and yield its code: `return RAMET_FAIL(err, rc, "fmt", …)`.
 * `err` may be NULL. Text that does not fit is cut at a character boundary;
 * what could not be shown as it is, whoever said it, is escaped (core/show.h).
 */
#define RAMET_FAIL(err, rc, ...) ramet_err_set((err), (rc), 0, __VA_ARGS__)

/* As RAMET_FAIL, keeping `errnum` and appending ": " and strerror(errnum). */
#define RAMET_FAIL_SYS(err, rc, errnum, ...)                                   \
    ramet_err_set((err), (rc), (errnum), __VA_ARGS__)

/* The same of what a call of core/os.h returned: a negative errno. */
#define RAMET_FAIL_OS(err, result, ...)                                        \
    ramet_err_set((err), ramet_rc_of_errno(-(result)), -(result), __VA_ARGS__)

enum ramet_rc ramet_err_set(struct ramet_err *err, enum ramet_rc rc, int errnum,
                            const char *fmt, ...) RAMET_PRINTF(4, 5);

/* The code for a system error: ENOSPC and EDQUOT are RAMET_EFULL, EACCES and
 * EPERM RAMET_EAUTH, EROFS RAMET_EREADONLY, ENOENT RAMET_ENOTFOUND, EEXIST
 * RAMET_EEXIST, ENOMEM RAMET_ENOMEM, all else RAMET_EIO. */
enum ramet_rc ramet_rc_of_errno(int errnum);

/* A short name such as "corrupt"; never NULL. */
const char *ramet_rc_name(enum ramet_rc rc);

#endif
