/*
 * config.c - see config.h.
 *
 *   (1) names are unique, and every remote has a url
 *   (2) a line is at most LINE_MAX_BYTES long: inih cuts longer ones silently
 *
 * Layer: client.
 */
#include "client/remote/config.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/remote/remote.h"
#include "client/snapshot.h"
#include "core/alloc.h"
#include "core/os.h"
#include "pagestore/s3/place.h"

#define LINE_MAX_BYTES 190u /* invariant (2) */
#define PATH_MAX_BYTES 4096u

struct named_remote {
    char *name;
    char *url;
    char *token_file;
    char *token_plain; /* "yes" or "no"; NULL: no */
};

struct ramet_config {
    char *path; /* NULL: empty */
    struct named_remote *remotes;
    size_t remote_count;
};

/* What inih's handler works on. */
struct parse {
    struct ramet_config *config;
    const char *name;
    struct ramet_err *err;
    enum ramet_rc rc; /* the first error */
};

static enum ramet_rc
no_memory(struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_ENOMEM, "ramet.conf: no memory");
}

static struct named_remote *
find_remote(const struct ramet_config *config, const char *name, size_t len)
{
    for (size_t i = 0; i < config->remote_count; i++)
        if (strlen(config->remotes[i].name) == len &&
            memcmp(config->remotes[i].name, name, len) == 0)
            return &config->remotes[i];
    return NULL;
}

static bool
name_is_right(const char *name)
{
    size_t len = 0;

    for (; name[len] != '\0'; len++)
        if (!isalnum((unsigned char)name[len]) && name[len] != '_' &&
            name[len] != '-')
            return false;
    return len >= 1 && len <= 64;
}

static enum ramet_rc
add_remote(struct parse *parse, const char *name, struct named_remote **out)
{
    struct ramet_config *const config = parse->config;
    struct named_remote *remotes;

    if (!name_is_right(name))
        return RAMET_FAIL(parse->err, RAMET_EINVAL,
                          "%s: [remote %.64s]: a name is 1 to 64 letters, "
                          "digits, '-' and '_'",
                          parse->name, name);
    if (config->remote_count == RAMET_CONFIG_REMOTES_MAX)
        return RAMET_FAIL(parse->err, RAMET_ETOOBIG, "%s: more than %u remotes",
                          parse->name, RAMET_CONFIG_REMOTES_MAX);
    remotes = ramet_realloc(config->remotes,
                            (config->remote_count + 1) * sizeof(*remotes));
    if (remotes == NULL)
        return no_memory(parse->err);
    config->remotes = remotes;
    remotes[config->remote_count] =
        (struct named_remote){.name = ramet_strdup(name)};
    if (remotes[config->remote_count].name == NULL)
        return no_memory(parse->err);
    *out = &remotes[config->remote_count++];
    return RAMET_OK;
}

static enum ramet_rc
set_key(struct parse *parse, const char *section, const char *key,
        const char *value)
{
    struct named_remote *remote;
    char **slot;
    enum ramet_rc rc;

    if (strcmp(section, "server") == 0)
        return RAMET_OK; /* the server's own */
    if (strncmp(section, "remote ", 7) != 0)
        return RAMET_FAIL(parse->err, RAMET_EINVAL,
                          "%s: '%.40s' in section [%.40s], which is not known; "
                          "there are [remote NAME] and [server]",
                          parse->name, key, section);
    remote = find_remote(parse->config, section + 7, strlen(section + 7));
    if (remote == NULL) {
        rc = add_remote(parse, section + 7, &remote);
        if (rc != RAMET_OK)
            return rc;
    }
    if (strcmp(key, "url") == 0)
        slot = &remote->url;
    else if (strcmp(key, "token_file") == 0)
        slot = &remote->token_file;
    else if (strcmp(key, "token_plain") == 0)
        slot = &remote->token_plain;
    else
        return RAMET_FAIL(parse->err, RAMET_EINVAL,
                          "%s: [%s]: unknown key '%.64s'; there are url, "
                          "token_file and token_plain",
                          parse->name, section, key);
    if (*slot != NULL)
        return RAMET_FAIL(parse->err, RAMET_EINVAL,
                          "%s: [%s]: %s is given twice", parse->name, section,
                          key);
    if (slot == &remote->token_plain && strcmp(value, "yes") != 0 &&
        strcmp(value, "no") != 0)
        return RAMET_FAIL(parse->err, RAMET_EINVAL,
                          "%s: [%s]: token_plain is yes or no", parse->name,
                          section);
    *slot = ramet_strdup(value);
    return *slot != NULL ? RAMET_OK : no_memory(parse->err);
}

static int
on_key(void *user, const char *section, const char *key, const char *value)
{
    struct parse *const parse = user;

    if (parse->rc == RAMET_OK)
        parse->rc = set_key(parse, section, key, value);
    return parse->rc == RAMET_OK;
}

static enum ramet_rc
check_lines(const char *name, const char *text, size_t len,
            struct ramet_err *err)
{
    unsigned line = 1;
    size_t start = 0;

    for (size_t i = 0; i <= len; i++) {
        if (i < len && text[i] == '\0')
            return RAMET_FAIL(err, RAMET_EINVAL, "%s:%u: a zero byte", name,
                              line);
        if (i < len && text[i] != '\n')
            continue;
        if (i - start > LINE_MAX_BYTES)
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "%s:%u: the line is longer than %u characters",
                              name, line, LINE_MAX_BYTES);
        start = i + 1;
        line++;
    }
    return RAMET_OK;
}

static enum ramet_rc
check_remotes(const struct ramet_config *config, const char *name,
              struct ramet_err *err)
{
    for (size_t i = 0; i < config->remote_count; i++) {
        struct ramet_url url;
        enum ramet_rc rc;

        if (config->remotes[i].url == NULL)
            return RAMET_FAIL(err, RAMET_EINVAL, "%s: [remote %s] has no url",
                              name, config->remotes[i].name);
        rc = ramet_url_parse(config->remotes[i].url, &url, err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_config_parse(const char *name, const char *text, size_t len,
                   struct ramet_config **out, struct ramet_err *err)
{
    struct parse parse = {.name = name, .err = err, .rc = RAMET_OK};
    char *copy = NULL;
    int line;
    enum ramet_rc rc;

    rc = check_lines(name, text, len, err);
    if (rc != RAMET_OK)
        return rc;
    copy = ramet_alloc(len + 1);
    parse.config = ramet_calloc(1, sizeof(*parse.config));
    if (parse.config != NULL)
        parse.config->path = ramet_strdup(name);
    if (copy == NULL || parse.config == NULL || parse.config->path == NULL) {
        rc = no_memory(err);
        goto done;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    line = ini_parse_string(copy, on_key, &parse);
    rc = parse.rc;
    if (rc == RAMET_OK && line != 0)
        rc = RAMET_FAIL(err, RAMET_EINVAL,
                        "%s:%d: neither [section] nor key = value", name, line);
    if (rc == RAMET_OK)
        rc = check_remotes(parse.config, name, err);
    if (rc != RAMET_OK)
        goto done;
    *out = parse.config;
    parse.config = NULL;

done:
    ramet_config_free(parse.config);
    ramet_free(copy);
    return rc;
}

void
ramet_config_free(struct ramet_config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->remote_count; i++) {
        ramet_free(config->remotes[i].name);
        ramet_free(config->remotes[i].url);
        ramet_free(config->remotes[i].token_file);
        ramet_free(config->remotes[i].token_plain);
    }
    ramet_free(config->remotes);
    ramet_free(config->path);
    ramet_free(config);
}

static enum ramet_rc
load_file(const char *path, struct ramet_config **out, struct ramet_err *err)
{
    uint8_t *data = NULL;
    size_t len;
    enum ramet_rc rc;

    rc = ramet_os_read_file(ramet_os_system(), AT_FDCWD, path,
                            RAMET_CONFIG_BYTES_MAX, &data, &len, err);
    if (rc == RAMET_OK)
        rc = ramet_config_parse(path, (const char *)data, len, out, err);
    ramet_free(data);
    return rc;
}

/* $XDG_CONFIG_HOME/ramet/ramet.conf; false where no home is known. */
static bool
xdg_path(char *out, size_t out_size)
{
    const char *const xdg = getenv("XDG_CONFIG_HOME");
    const char *const home = getenv("HOME");
    int len = -1;

    if (xdg != NULL && xdg[0] == '/')
        len = snprintf(out, out_size, "%s/ramet/ramet.conf", xdg);
    else if (home != NULL && home[0] == '/')
        len = snprintf(out, out_size, "%s/.config/ramet/ramet.conf", home);
    return len > 0 && (size_t)len < out_size;
}

enum ramet_rc
ramet_config_load(const char *path, struct ramet_config **out,
                  struct ramet_err *err)
{
    char xdg[PATH_MAX_BYTES];
    enum ramet_rc rc;

    if (path == NULL)
        path = getenv("RAMET_CONFIG");
    if (path != NULL && path[0] != '\0')
        return load_file(path, out, err);
    rc = load_file("./ramet.conf", out, err);
    if (rc == RAMET_ENOTFOUND && xdg_path(xdg, sizeof(xdg)))
        rc = load_file(xdg, out, err);
    if (rc == RAMET_ENOTFOUND) {
        struct ramet_config *const empty = ramet_calloc(1, sizeof(*empty));

        if (empty == NULL)
            return no_memory(err);
        *out = empty;
        rc = RAMET_OK;
    }
    return rc;
}

/* What was typed is neither a URL nor a name: of what may have been meant, say
 * how it is written. `len`: of what would be the name. */
static enum ramet_rc
no_remote(const struct ramet_config *config, const char *remote, size_t len,
          struct ramet_err *err)
{
    char cwd[PATH_MAX_BYTES] = "";

    if (len > 0 && isdigit((unsigned char)remote[len + (remote[len] == ':')]))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "remote '%.200s': no URL; of a server it is "
                          "http://%.200s or https://…",
                          remote, remote);
    if (memchr(remote, '/', len) == NULL && remote[0] != '.')
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "remote '%.*s': no URL (scheme://…), and %s names "
                          "no remote '%.*s'",
                          (int)(remote[len] == ':' && remote[len + 1] == '\0'
                                    ? len
                                    : strlen(remote)),
                          remote,
                          config->path != NULL ? config->path : "ramet.conf",
                          (int)(len < 64 ? len : 64), remote);
    if (remote[0] == '/' || getcwd(cwd, sizeof(cwd)) == NULL)
        cwd[0] = '\0';
    return RAMET_FAIL(err, RAMET_EINVAL,
                      "remote '%.*s': no URL; a directory is named "
                      "file://%.200s%s%.*s",
                      (int)(len < 200 ? len : 200), remote, cwd,
                      cwd[0] != '\0' ? "/" : "", (int)(len < 200 ? len : 200),
                      remote);
}

enum ramet_rc
ramet_config_url(const struct ramet_config *config, const char *remote,
                 char *out_url, size_t out_size, struct ramet_err *err)
{
    const char *const colon = strchr(remote, ':');
    const size_t len =
        colon != NULL ? (size_t)(colon - remote) : strlen(remote);
    const struct named_remote *named;
    size_t url_len;
    size_t query_at;
    int written;

    assert(out_size > 0);
    if (strstr(remote, "://") != NULL) {
        written = snprintf(out_url, out_size, "%s", remote);
    } else {
        named = find_remote(config, remote, len);
        if (named == NULL)
            return no_remote(config, remote, len, err);
        query_at = strcspn(named->url, "?");
        url_len = query_at;
        while (url_len > 0 && named->url[url_len - 1] == '/')
            url_len--;
        written = colon == NULL
                      ? snprintf(out_url, out_size, "%s", named->url)
                      : snprintf(out_url, out_size, "%.*s/%s%s", (int)url_len,
                                 named->url, colon + 1, named->url + query_at);
    }
    if (written < 0 || (size_t)written >= out_size)
        return RAMET_FAIL(err, RAMET_EINVAL, "remote: the URL is too long");
    return RAMET_OK;
}

/* Does `url` lie at or under `prefix`? */
static size_t
prefix_length(const char *prefix, const char *url)
{
    struct ramet_url parsed;
    char normal[RAMET_URL_MAX];
    size_t len;

    if (ramet_url_parse(prefix, &parsed, NULL) != RAMET_OK)
        return 0;
    ramet_url_format(&parsed, normal, sizeof(normal));
    len = strlen(normal);
    while (len > 0 && normal[len - 1] == '/')
        len--;
    if (strncmp(normal, url, len) != 0)
        return 0;
    return url[len] == '/' || url[len] == '\0' || url[len] == '?' ? len : 0;
}

/* `file` as seen from the directory of the configuration. */
static bool
token_path(const struct ramet_config *config, const char *file, char *out,
           size_t out_size)
{
    const char *const slash = strrchr(config->path, '/');
    int len;

    if (file[0] == '/' || slash == NULL)
        len = snprintf(out, out_size, "%s", file);
    else
        len = snprintf(out, out_size, "%.*s/%s", (int)(slash - config->path),
                       config->path, file);
    return len > 0 && (size_t)len < out_size;
}

/* The remote whose token is for `url`, or NULL. */
static const struct named_remote *
token_owner(const struct ramet_config *config, const char *url)
{
    const struct named_remote *best = NULL;
    size_t best_len = 0;

    for (size_t i = 0; i < config->remote_count; i++) {
        const size_t match = prefix_length(config->remotes[i].url, url);

        if (config->remotes[i].token_file != NULL && match > best_len) {
            best = &config->remotes[i];
            best_len = match;
        }
    }
    return best;
}

bool
ramet_config_token_is_plain(const struct ramet_config *config, const char *url)
{
    const struct named_remote *const owner = token_owner(config, url);

    return owner != NULL && owner->token_plain != NULL &&
           strcmp(owner->token_plain, "yes") == 0;
}

enum ramet_rc
ramet_config_token(const struct ramet_config *config, const char *url,
                   char **out_token, struct ramet_err *err)
{
    const struct named_remote *const best = token_owner(config, url);
    char path[PATH_MAX_BYTES];
    uint8_t *data = NULL;
    char *token;
    size_t len;
    enum ramet_rc rc;

    if (best == NULL) {
        *out_token = NULL;
        return RAMET_OK;
    }
    if (!token_path(config, best->token_file, path, sizeof(path)))
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: [remote %s]: token_file",
                          config->path, best->name);
    rc = ramet_os_read_file(ramet_os_system(), AT_FDCWD, path, RAMET_TOKEN_MAX,
                            &data, &len, err);
    if (rc != RAMET_OK)
        return rc;
    while (len > 0 && isspace(data[len - 1]))
        len--;
    token = ramet_alloc(len + 1);
    if (token != NULL) {
        memcpy(token, data, len);
        token[len] = '\0';
    }
    ramet_free(data);
    if (token == NULL)
        return no_memory(err);
    for (size_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] > '~') {
            ramet_free(token);
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "%s: a token is one line of printable ASCII",
                              path);
        }
    *out_token = token;
    return RAMET_OK;
}

bool
ramet_config_names_endpoint(const struct ramet_config *config,
                            const struct ramet_url *url)
{
    struct ramet_s3_place wanted, named;
    struct ramet_url remote;

    if (ramet_s3_place_parse(url->root, url->query, &wanted) != NULL)
        return false;
    for (size_t i = 0; i < config->remote_count; i++)
        if (ramet_url_parse(config->remotes[i].url, &remote, NULL) ==
                RAMET_OK &&
            remote.scheme == RAMET_REMOTE_S3 &&
            ramet_s3_place_parse(remote.root, remote.query, &named) == NULL &&
            ramet_s3_same_endpoint(named.endpoint, wanted.endpoint))
            return true;
    return false;
}

enum ramet_rc
ramet_config_remote(const char *path, const char *remote,
                    struct ramet_url *out_url, struct ramet_err *err)
{
    struct ramet_config *config = NULL;
    char url[RAMET_URL_MAX];
    enum ramet_rc rc;

    if (strstr(remote, "://") != NULL)
        return ramet_url_parse(remote, out_url, err);
    rc = ramet_config_load(path, &config, err);
    if (rc == RAMET_OK)
        rc = ramet_config_url(config, remote, url, sizeof(url), err);
    ramet_config_free(config);
    return rc == RAMET_OK ? ramet_url_parse(url, out_url, err) : rc;
}
