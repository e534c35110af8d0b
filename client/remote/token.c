/*
 * token.c - see token.h.
 *
 * The file of invariant (2) is $XDG_STATE_HOME/ramet/token-hosts, or
 * ~/.local/state/ramet/token-hosts: an origin a line. It counts only if it is
 * this user's and nobody else may write to it; what can't be kept is named
 * again next time, and that is all.
 *
 *   (4) `named` has each origin once; under the process lock, never freed:
 *       there are as many as the program names
 *
 * Layer: client.
 */
#include "client/remote/token.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/remote/config.h"
#include "client/remote/process.h"
#include "client/remote/remote.h"
#include "client/snapshot.h"
#include "core/alloc.h"
#include "core/origin.h"
#include "core/os.h"

#define KEPT_NAME "token-hosts"
#define KEPT_BYTES_MAX (256u << 10)
#define PATH_MAX_BYTES 4096u
#define BLANKS " \t\n\r,"

static const char unnamed_why[] =
    "RAMET_TOKEN was not sent: only the replica names this server. If it is "
    "the right one, say so once by `ramet init FILE --remote URL`, or in "
    "RAMET_TOKEN_HOST";
static const char elsewhere_why[] =
    "RAMET_TOKEN was not sent: it is for the hosts in RAMET_TOKEN_HOST";
static const char plain_why[] =
    "no token was sent, since http to another machine shows it to everybody in "
    "between: use https, or allow it by RAMET_TOKEN_PLAIN=1, or `token_plain = "
    "yes` for a remote of `ramet.conf`";

/* ---- named in this process ------------------------------------------------ */

struct named {
    struct named *next;
    char origin[];
};

static struct named *named; /* invariant (4) */

/* Needs the process lock. */
static bool
is_named(const char *origin)
{
    for (const struct named *n = named; n != NULL; n = n->next)
        if (strcmp(n->origin, origin) == 0)
            return true;
    return false;
}

static void
note_named(const char *origin)
{
    struct named *const fresh =
        ramet_alloc(sizeof(*fresh) + strlen(origin) + 1);

    if (fresh == NULL)
        return; /* it is named again next time */
    assert(origin[0] != '\0');
    strcpy(fresh->origin, origin);
    ramet_process_lock();
    if (is_named(origin)) {
        ramet_free(fresh);
    } else {
        fresh->next = named;
        named = fresh;
    }
    ramet_process_unlock();
}

static bool
was_named(const char *origin)
{
    bool was;

    ramet_process_lock();
    was = is_named(origin);
    ramet_process_unlock();
    return was;
}

/* ---- named before --------------------------------------------------------- */

/* "$XDG_STATE_HOME/ramet"; false where no home is known. */
static bool
state_dir(char out[PATH_MAX_BYTES])
{
    const char *const xdg = getenv("XDG_STATE_HOME");
    const char *const home = getenv("HOME");
    int len = -1;

    if (xdg != NULL && xdg[0] == '/')
        len = snprintf(out, PATH_MAX_BYTES, "%s/ramet", xdg);
    else if (home != NULL && home[0] == '/')
        len = snprintf(out, PATH_MAX_BYTES, "%s/.local/state/ramet", home);
    return len > 0 && (size_t)len < PATH_MAX_BYTES;
}

/* The directory, ours; negative: there is none that counts. */
static int
open_dir(const struct ramet_os *os)
{
    char path[PATH_MAX_BYTES];
    struct ramet_os_stat st;
    int fd;

    if (!state_dir(path))
        return -1;
    fd = os->open(os->ctx, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd >= 0 &&
        (os->stat(os->ctx, fd, &st) != 0 || st.uid != os->user(os->ctx) ||
         (st.mode & (S_IWGRP | S_IWOTH)) != 0)) {
        os->close(os->ctx, fd);
        return -1;
    }
    return fd;
}

/* Make `path` in `parent`, unless that is somebody else's: root with a user's
 * home must leave nothing there that the user can't write. */
static void
make_one(const struct ramet_os *os, const char *parent, const char *path)
{
    struct ramet_os_stat st;

    assert(path[0] == '/' && parent[0] == '/');
    if (os->stat_at(os->ctx, AT_FDCWD, parent, &st) == 0 &&
        st.uid == os->user(os->ctx))
        (void)os->mkdir(os->ctx, AT_FDCWD, path, 0700);
}

static int
make_dir(const struct ramet_os *os)
{
    char path[PATH_MAX_BYTES], parent[PATH_MAX_BYTES];
    int fd = open_dir(os);

    if (fd >= 0 || !state_dir(path))
        return fd;
    for (size_t len = 1;; len++) {
        const char end = path[len];

        if (end != '/' && end != '\0')
            continue;
        memcpy(parent, path, len);
        parent[len] = '\0';
        *(strrchr(parent, '/') + 1) = '\0';
        path[len] = '\0';
        make_one(os, parent, path);
        path[len] = end;
        if (end == '\0')
            return open_dir(os);
    }
}

/* The file, if it counts; negative otherwise. */
static int
open_kept(const struct ramet_os *os, int dir, int flags)
{
    struct ramet_os_stat st;
    const int fd = os->open(os->ctx, dir, KEPT_NAME,
                            flags | O_NOFOLLOW | O_NONBLOCK, 0600);

    assert(dir >= 0);
    if (fd >= 0 && (os->stat(os->ctx, fd, &st) != 0 || !S_ISREG(st.mode) ||
                    st.uid != os->user(os->ctx) || st.link_count != 1 ||
                    (st.mode & (S_IWGRP | S_IWOTH)) != 0)) {
        os->close(os->ctx, fd);
        return -1;
    }
    return fd;
}

static bool
has_line(const char *text, const char *line)
{
    const size_t len = strlen(line);

    assert(line[0] != '\0' && strchr(line, '\n') == NULL);
    while (*text != '\0') {
        const size_t this_len = strcspn(text, "\n");

        if (this_len == len && memcmp(text, line, len) == 0)
            return true;
        text += this_len;
        text += *text == '\n';
    }
    return false;
}

static bool
read_kept(const struct ramet_os *os, int fd, const char *origin)
{
    char *const text = ramet_calloc(1, KEPT_BYTES_MAX + 1);
    size_t got = 0;
    bool has = false;

    assert(fd >= 0);
    if (text != NULL && ramet_os_read_some(os, fd, text, KEPT_BYTES_MAX, 0,
                                           &got, KEPT_NAME, NULL) == RAMET_OK)
        has = has_line(text, origin);
    ramet_free(text);
    return has;
}

static bool
was_kept(const char *origin)
{
    const struct ramet_os *const os = ramet_os_system();
    const int dir = open_dir(os);
    const int fd = dir >= 0 ? open_kept(os, dir, O_RDONLY) : -1;
    const bool was = fd >= 0 && read_kept(os, fd, origin);

    if (fd >= 0)
        os->close(os->ctx, fd);
    if (dir >= 0)
        os->close(os->ctx, dir);
    return was;
}

/* One write at the end, so that two who do it at once lose nothing: the place
 * is that of the last byte, and both are whole lines. */
static void
keep(const char *origin)
{
    const struct ramet_os *const os = ramet_os_system();
    const int dir = make_dir(os);
    const int fd =
        dir >= 0 ? open_kept(os, dir, O_RDWR | O_CREAT | O_APPEND) : -1;
    char line[RAMET_ORIGIN_MAX + 1];
    struct ramet_os_stat st;

    if (fd >= 0 && !read_kept(os, fd, origin) &&
        os->stat(os->ctx, fd, &st) == 0 &&
        st.size_bytes + sizeof(line) <= KEPT_BYTES_MAX) {
        const int len = snprintf(line, sizeof(line), "%s\n", origin);

        if (ramet_os_write_full(os, fd, line, (size_t)len, st.size_bytes,
                                KEPT_NAME, NULL) == RAMET_OK)
            (void)os->sync(os->ctx, fd);
    }
    if (fd >= 0)
        os->close(os->ctx, fd);
    if (dir >= 0)
        os->close(os->ctx, dir);
}

/* ---- the rule ------------------------------------------------------------- */

static bool
is_set(const char *name)
{
    const char *const value = getenv(name);

    return value != NULL && value[0] != '\0' && strcmp(value, "0") != 0;
}

/* "host" is that host at any port, "host:port" at that one. */
static bool
is_in_list(const char *list, const struct ramet_origin *origin)
{
    while (*(list += strspn(list, BLANKS)) != '\0') {
        const size_t len = strcspn(list, BLANKS);
        const size_t host = strlen(origin->host);

        if (len >= host && strncmp(list, origin->host, host) == 0 &&
            (len == host ||
             (list[host] == ':' && len == host + 1 + strlen(origin->port) &&
              strncmp(list + host + 1, origin->port, len - host - 1) == 0)))
            return true;
        list += len;
    }
    return false;
}

/* Invariants (1) and (2) for RAMET_TOKEN: NULL, or why not. */
static const char *
why_not_there(const struct ramet_origin *origin, enum ramet_naming naming)
{
    const char *const list = getenv("RAMET_TOKEN_HOST");

    if (list != NULL && list[0] != '\0')
        return is_in_list(list, origin) ? NULL : elsewhere_why;
    if (naming != RAMET_NAMED_BY_REPLICA)
        note_named(origin->text);
    if (naming == RAMET_NAMED_FOR_GOOD)
        keep(origin->text);
    if (naming != RAMET_NAMED_BY_REPLICA || was_named(origin->text) ||
        was_kept(origin->text))
        return NULL;
    return unnamed_why;
}

static bool
is_exposed(const struct ramet_origin *origin)
{
    return origin->is_plain && !origin->is_loopback;
}

static enum ramet_rc
take_from_config(const struct ramet_url *url, const struct ramet_origin *origin,
                 const char *path, struct ramet_token *token,
                 struct ramet_err *err)
{
    struct ramet_config *config = NULL;
    char text[RAMET_URL_MAX];
    bool plain = false;
    enum ramet_rc rc;

    ramet_url_format(url, text, sizeof(text));
    rc = ramet_config_load(path, &config, err);
    if (rc == RAMET_OK)
        rc = ramet_config_token(config, text, &token->text, err);
    if (rc == RAMET_OK)
        plain = ramet_config_token_is_plain(config, text);
    ramet_config_free(config);
    if (rc == RAMET_OK && token->text != NULL && is_exposed(origin) && !plain) {
        ramet_free(token->text);
        token->text = NULL;
        token->withheld_why = plain_why;
    } else if (token->text != NULL) {
        token->withheld_why = NULL;
    }
    return rc;
}

static enum ramet_rc
look_for_endpoint(const struct ramet_url *url, const char *path,
                  bool *out_configured, struct ramet_err *err)
{
    struct ramet_config *config = NULL;
    const enum ramet_rc rc = ramet_config_load(path, &config, err);

    if (rc != RAMET_OK)
        return rc;
    *out_configured = ramet_config_names_endpoint(config, url);
    ramet_config_free(config);
    return RAMET_OK;
}

enum ramet_rc
ramet_token_for(const struct ramet_url *url, enum ramet_naming naming,
                const char *config, struct ramet_token *out_token,
                struct ramet_err *err)
{
    const char *const given = getenv("RAMET_TOKEN");
    struct ramet_origin origin;

    *out_token = (struct ramet_token){.text = NULL};
    if (url->scheme == RAMET_REMOTE_S3)
        return look_for_endpoint(url, config, &out_token->s3_configured, err);
    if (!ramet_origin_of(url->root, &origin))
        return RAMET_OK; /* a directory needs none */
    if (given != NULL && given[0] != '\0') {
        out_token->withheld_why = why_not_there(&origin, naming);
        if (out_token->withheld_why == NULL && is_exposed(&origin) &&
            !is_set("RAMET_TOKEN_PLAIN"))
            out_token->withheld_why = plain_why;
        if (out_token->withheld_why == NULL) {
            out_token->text = ramet_strdup(given);
            return out_token->text != NULL
                       ? RAMET_OK
                       : RAMET_FAIL(err, RAMET_ENOMEM, "token: no memory");
        }
    }
    return take_from_config(url, &origin, config, out_token, err);
}
