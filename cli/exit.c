/*
 * exit.c - see exit.h.
 */
#include "cli/exit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"

enum cli_exit
cli_exit_of(enum ramet_rc rc)
{
    switch (rc) {
    case RAMET_OK:
        return CLI_DONE;
    case RAMET_ENOMEM:
    case RAMET_EIO:
    case RAMET_EEXIST:
    case RAMET_EBUSY:
    case RAMET_EFULL:
    case RAMET_ETOOBIG:
    case RAMET_EVERSION:
    case RAMET_ECANCELLED:
    case RAMET_EFORKED:
    case RAMET_ECLOCK:
    case RAMET_EREFUSED:
        return CLI_FAILED;
    case RAMET_EINVAL:
        return CLI_USAGE;
    case RAMET_ESNAPSHOT:
    case RAMET_ECONFLICT:
    case RAMET_EDIVERGED:
    case RAMET_EFOREIGN:
    case RAMET_EWENTBACK:
        return CLI_CONFLICT;
    case RAMET_ENOTFOUND:
        return CLI_NOT_FOUND;
    case RAMET_EAUTH:
    case RAMET_EREADONLY:
        return CLI_NOT_PERMITTED;
    case RAMET_EUNREACHABLE:
    case RAMET_ETIMEOUT:
    case RAMET_EUNKNOWN:
        return CLI_UNREACHABLE;
    case RAMET_ECORRUPT:
        return CLI_DAMAGED;
    }
    return CLI_FAILED;
}

/* What to do, where the code tells it; else "". `is_local`: the system of this
 * machine refused it, not a remote. */
static const char *
way_out(enum ramet_rc rc, bool is_local)
{
    switch (rc) {
    case RAMET_EDIVERGED:
    case RAMET_ECONFLICT:
        return "keep the remote's state with 'ramet reset FILE' (local "
               "commits are kept in FILE-ramet/lost/)";
    case RAMET_EFOREIGN:
        return "keep the edit with 'ramet adopt FILE', or go back with 'ramet "
               "restore URL FILE --replace'";
    case RAMET_ETIMEOUT:
        return "nothing is lost: wait for longer, or check that the remote is "
               "up and reached";
    case RAMET_EUNREACHABLE:
        return "check the URL and that the remote is up; nothing is lost, try "
               "again";
    case RAMET_EUNKNOWN:
        return "run it again: it first finds out what became of the commit";
    case RAMET_EFULL:
        return "free some space and run it again";
    case RAMET_EBUSY:
        return "another process is at work; try again";
    case RAMET_EVERSION:
        return "another version of ramet made this: only that one reads it";
    case RAMET_ESNAPSHOT:
        return "run it again";
    case RAMET_ECORRUPT:
        return "'ramet verify' lists all damage; docs/errors.md tells what "
               "can be saved";
    case RAMET_ECLOCK:
        return "set this machine's clock right and run it again; nothing is "
               "lost";
    case RAMET_EWENTBACK:
        return "'ramet export FILE COPY' saves what is whole here, 'ramet "
               "reset FILE' adopts what the remote has (and keeps a copy, but "
               "for --discard)";
    case RAMET_EREFUSED:
        return "nothing is lost; run it again";
    case RAMET_EAUTH:
        return is_local ? "check whose it is and who may use it (ls -ld), or "
                          "run this as its owner"
                        : "check RAMET_TOKEN, or token_file in ramet.conf";
    case RAMET_OK:
    case RAMET_ENOMEM:
    case RAMET_EIO:
    case RAMET_EINVAL:
    case RAMET_ENOTFOUND:
    case RAMET_EEXIST:
    case RAMET_EREADONLY:
    case RAMET_ETOOBIG:
    case RAMET_ECANCELLED:
    case RAMET_EFORKED:
        return "";
    }
    return "";
}

/* One object on stderr: what stands on stdout is of the work that was done. */
static void
print_json_error(const char *verb, const char *object, enum ramet_rc rc,
                 const char *text, const char *todo)
{
    json_t *const error = json_pack(
        "{s:{s:s, s:o, s:s, s:i, s:o, s:s}}", "error", "verb", verb, "object",
        cli_json_text(object), "code", ramet_rc_name(rc), "exit",
        (int)cli_exit_of(rc), "text", cli_json_text(text), "todo", todo);

    if (error == NULL || json_dumpf(error, stderr, JSON_COMPACT) != 0)
        fputs("{\"error\":null}", stderr);
    fputc('\n', stderr);
    json_decref(error);
}

/* Whoever wrote a text may have known better what to do. */
static bool
says_what_to_do(const char *text)
{
    return strstr(text, "ramet ") != NULL || strstr(text, "check the ") != NULL;
}

/* The text without the name of what it is about, which most begin with, perhaps
 * with its directory in front: that is said already. */
static const char *
without_name(const char *text, const char *object)
{
    const char *const at = object[0] != '\0' ? strstr(text, object) : NULL;
    const char *rest;

    if (at == NULL || (at != text && (text[0] != '/' || at[-1] != '/' ||
                                      memchr(text, ' ', (size_t)(at - text)))))
        return text;
    rest = at + strlen(object);
    if (*rest != ':' && *rest != ' ')
        return text;
    return rest + strspn(rest, ": ");
}

int
cli_fail(const struct cli_args *args, const char *object, enum ramet_rc rc,
         const struct ramet_err *err)
{
    const bool told = err != NULL && err->code == rc && err->text[0] != '\0';
    const char *const text = told ? err->text : ramet_rc_name(rc);
    const char *const todo =
        says_what_to_do(text) ? "" : way_out(rc, told && err->sys_errno != 0);

    if (args->json) {
        print_json_error(args->verb->name, object, rc, text, todo);
        return (int)cli_exit_of(rc);
    }
    flockfile(stderr);
    fputs("ramet: ", stderr);
    fputs(args->verb->name, stderr);
    if (object != NULL) {
        fputc(' ', stderr);
        cli_show(stderr, object);
    }
    fputs(": ", stderr);
    cli_show(stderr, object != NULL ? without_name(text, object) : text);
    if (todo[0] != '\0') {
        fputs("; ", stderr);
        fputs(todo, stderr);
    }
    fputc('\n', stderr);
    funlockfile(stderr);
    return (int)cli_exit_of(rc);
}

int
cli_usage(const struct cli_verb *verb, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    if (vsnprintf(text, sizeof(text), fmt, args) < 0)
        text[0] = '\0';
    va_end(args);

    flockfile(stderr);
    fputs("ramet: ", stderr);
    if (verb != NULL) {
        fputs(verb->name, stderr);
        fputs(": ", stderr);
    }
    cli_show(stderr, text);
    if (verb != NULL)
        fprintf(stderr, "; see 'ramet help %s'\n", verb->name);
    else
        fputs("; see 'ramet help'\n", stderr);
    funlockfile(stderr);
    return CLI_USAGE;
}

int
cli_finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "ramet: standard output: %s\n", strerror(errno));
    return code == CLI_DONE ? CLI_FAILED : code;
}
