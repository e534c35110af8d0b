/*
 * err.c - see err.h.
 */
#include "core/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/show.h"

enum ramet_rc
ramet_err_set(struct ramet_err *err, enum ramet_rc rc, int errnum,
              const char *fmt, ...)
{
    /* Formatted aside, since an argument may point into err->text; with room
     * to see whether the limit falls within a character. */
    char text[RAMET_ERR_TEXT_MAX + 4];
    char reason[128] = "";
    const int saved_errno = errno;
    size_t len;
    va_list args;
    int wanted;

    assert(rc < 0);
    if (err == NULL)
        return rc;

    if (errnum != 0) {
        memcpy(reason, ": ", 3);
        if (strerror_r(errnum, reason + 2, sizeof(reason) - 2) != 0)
            snprintf(reason, sizeof(reason), ": error %d", errnum);
    }

    va_start(args, fmt);
    wanted = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (wanted < 0) /* an encoding error: the code alone must do */
        text[0] = '\0';

    err->code = rc;
    err->sys_errno = errnum;
    /* Whatever it quotes, an error's text can be shown. */
    len = ramet_show_text(RAMET_SHOW_PLAIN, text, strlen(text), err->text,
                          RAMET_ERR_TEXT_MAX - strlen(reason));
    memcpy(err->text + len, reason, strlen(reason) + 1);
    errno = saved_errno;
    return rc;
}

enum ramet_rc
ramet_rc_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return RAMET_EFULL;
    case EACCES:
    case EPERM:
        return RAMET_EAUTH;
    case EROFS:
        return RAMET_EREADONLY;
    case ENOENT:
        return RAMET_ENOTFOUND;
    case EEXIST:
        return RAMET_EEXIST;
    case ENOMEM:
        return RAMET_ENOMEM;
    default:
        return RAMET_EIO;
    }
}

const char *
ramet_rc_name(enum ramet_rc rc)
{
    switch (rc) {
    case RAMET_OK:
        return "ok";
    case RAMET_ENOMEM:
        return "nomem";
    case RAMET_EIO:
        return "io";
    case RAMET_ECORRUPT:
        return "corrupt";
    case RAMET_EINVAL:
        return "invalid";
    case RAMET_ENOTFOUND:
        return "notfound";
    case RAMET_EEXIST:
        return "exists";
    case RAMET_EBUSY:
        return "busy";
    case RAMET_ESNAPSHOT:
        return "snapshot";
    case RAMET_ECONFLICT:
        return "conflict";
    case RAMET_EDIVERGED:
        return "diverged";
    case RAMET_EAUTH:
        return "auth";
    case RAMET_EUNREACHABLE:
        return "unreachable";
    case RAMET_ETIMEOUT:
        return "timeout";
    case RAMET_EFULL:
        return "full";
    case RAMET_EREADONLY:
        return "readonly";
    case RAMET_ETOOBIG:
        return "toobig";
    case RAMET_EVERSION:
        return "version";
    case RAMET_EUNKNOWN:
        return "unknown";
    case RAMET_EFOREIGN:
        return "foreign";
    case RAMET_ECANCELLED:
        return "cancelled";
    case RAMET_EFORKED:
        return "forked";
    case RAMET_ECLOCK:
        return "clock";
    case RAMET_EWENTBACK:
        return "wentback";
    case RAMET_EREFUSED:
        return "refused";
    }
    return "unlisted";
}
