/*
 * analyze.h - for analyze.py: what a compiler that sees one file can't know, that
 * whatever fails yields a code that is not RAMET_OK.
 */
#include "core/err.h"

#undef RAMET_FAIL
#undef RAMET_FAIL_SYS
#undef RAMET_FAIL_OS
#define RAMET_FAIL(err, rc, ...)                                               \
    ((void)!ramet_err_set((err), (rc), 0, __VA_ARGS__), (rc))
#define RAMET_FAIL_SYS(err, rc, errnum, ...)                                   \
    ((void)!ramet_err_set((err), (rc), (errnum), __VA_ARGS__), (rc))
#define RAMET_FAIL_OS(err, result, ...)                                        \
    ((void)!ramet_err_set((err), ramet_rc_of_errno(-(result)), -(result),      \
                          __VA_ARGS__),                                        \
     RAMET_EIO)
