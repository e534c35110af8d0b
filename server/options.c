/*
 * options.c - options by name, from ramet.conf and from the environment.
 *
 * One table says what there is; the command line, the environment and the
 * file all go through it.
 */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/server.h"

enum kind { TEXT, SIZE, NUMBER, FLAG };

struct option {
    const char *name;
    enum kind kind;
    size_t offset;
    size_t text_size;
    uint64_t min, max;
};

#define OPT_TEXT(field)                                                        \
    {                                                                          \
#field, TEXT, offsetof(struct ramet_server_options, field),            \
            sizeof(((struct ramet_server_options *)0)->field), 0, 0            \
    }
#define OPT_NUM(field, kind, min, max)                                         \
    {                                                                          \
#field, kind, offsetof(struct ramet_server_options, field), 0, min,    \
            max                                                                \
    }

static const struct option table[] = {
    OPT_TEXT(listen),
    OPT_TEXT(data),
    OPT_TEXT(store),
    OPT_TEXT(token_file),
    OPT_TEXT(tls_cert),
    OPT_TEXT(tls_key),
    OPT_TEXT(cache_dir),
    OPT_TEXT(access_log),
    OPT_NUM(insecure, FLAG, 0, 1),
    OPT_NUM(prefetch_queries, FLAG, 0, 1),
    OPT_TEXT(prefetch_helper),
    OPT_NUM(cache_memory, SIZE, 1u << 20, UINT64_C(1) << 40),
    OPT_NUM(cache_disk, SIZE, 1u << 20, UINT64_C(1) << 44),
    OPT_NUM(workers, NUMBER, 1, 64),
    OPT_NUM(queue, NUMBER, 1, 1u << 20),
    OPT_NUM(max_connections, NUMBER, 8, 1u << 20),
    OPT_NUM(max_connections_per_ip, NUMBER, 0, 1u << 20),
    OPT_NUM(max_commit, SIZE, 256u << 10, 64u << 20),
    OPT_NUM(max_bodies, SIZE, 1u << 20, UINT64_C(1) << 34),
    OPT_NUM(header_timeout, NUMBER, 1, 3600),
    OPT_NUM(idle_timeout, NUMBER, 1, 86400),
    OPT_NUM(drain, NUMBER, 0, 3600),
};
#define OPTION_COUNT (sizeof(table) / sizeof(table[0]))

void
ramet_server_options_init(struct ramet_server_options *options)
{
    *options = (struct ramet_server_options){
        .listen = "127.0.0.1:7411",
        .data = "ramet-data",
        .access_log = "stderr",
        .cache_memory = 24u << 20,
        .cache_disk = UINT64_C(1) << 30,
        .workers = 8,
        .queue = 1024,
        .max_connections = 4096,
        .max_commit = 16u << 20,
        .max_bodies = 24u << 20,
        .header_timeout = 10,
        .idle_timeout = 75,
        .drain = 10,
    };
}

static bool
parse_number(const char *text, bool suffixes, uint64_t *out)
{
    unsigned long long value;
    unsigned shift = 0;
    char *end;

    assert(text != NULL && out != NULL);
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    if (suffixes && *end != '\0') {
        const char *const at = strchr("KMG", toupper((unsigned char)*end));

        if (at == NULL)
            return false;
        shift = *at == 'K' ? 10 : *at == 'M' ? 20 : 30;
        end++;
        if (end[0] == 'i' && end[1] == 'B')
            end += 2;
    }
    if (*end != '\0' || value > UINT64_MAX >> shift)
        return false;
    *out = (uint64_t)value << shift;
    return true;
}

static enum ramet_rc
set_number(struct ramet_server_options *options, const struct option *option,
           const char *value, struct ramet_err *err)
{
    uint64_t number;

    assert(option->kind == SIZE || option->kind == NUMBER);
    assert(option->min <= option->max);
    if (!parse_number(value, option->kind == SIZE, &number) ||
        number < option->min || number > option->max)
        return RAMET_FAIL(
            err, RAMET_EINVAL, "%s: \"%s\" is not a %s from %llu to %llu",
            option->name, value, option->kind == SIZE ? "size" : "number",
            (unsigned long long)option->min, (unsigned long long)option->max);
    memcpy((char *)options + option->offset, &number, sizeof(number));
    return RAMET_OK;
}

static enum ramet_rc
set_option(struct ramet_server_options *options, const struct option *option,
           const char *value, struct ramet_err *err)
{
    char *const field = (char *)options + option->offset;
    bool flag;

    assert(option->offset < sizeof(*options));
    switch (option->kind) {
    case TEXT:
        if (strlen(value) >= option->text_size)
            return RAMET_FAIL(err, RAMET_EINVAL, "%s: longer than %zu bytes",
                              option->name, option->text_size - 1);
        strcpy(field, value);
        return RAMET_OK;
    case FLAG:
        flag = strcmp(value, "true") == 0 || strcmp(value, "1") == 0 ||
               strcmp(value, "on") == 0;
        if (!flag && strcmp(value, "false") != 0 && strcmp(value, "0") != 0 &&
            strcmp(value, "off") != 0)
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "%s: \"%s\" is neither true nor false",
                              option->name, value);
        memcpy(field, &flag, sizeof(flag));
        return RAMET_OK;
    case SIZE:
    case NUMBER:
        return set_number(options, option, value, err);
    }
    return RAMET_EINVAL;
}

enum ramet_rc
ramet_server_options_set(struct ramet_server_options *options, const char *name,
                         const char *value, struct ramet_err *err)
{
    char key[64];
    size_t len = strlen(name);

    if (len >= sizeof(key))
        len = sizeof(key) - 1;
    for (size_t i = 0; i < len; i++)
        key[i] = (char)(name[i] == '-' ? '_' : name[i]);
    key[len] = '\0';
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strcmp(table[i].name, key) != 0)
            continue;
        /* The later of the two says where; both at once is refused there. */
        if (strcmp(key, "store") == 0)
            options->data[0] = '\0';
        if (strcmp(key, "data") == 0)
            options->store[0] = '\0';
        return set_option(options, &table[i], value, err);
    }
    return RAMET_FAIL(err, RAMET_EINVAL, "there is no option \"%s\"", name);
}

struct loading {
    struct ramet_server_options *options;
    struct ramet_err *err;
    const char *path;
    enum ramet_rc rc;
};

static int
take_key(void *user, const char *section, const char *name, const char *value)
{
    struct loading *load = user;
    struct ramet_err why;

    if (strcmp(section, "server") != 0)
        return 1; /* the client's */
    if (load->rc != RAMET_OK)
        return 0;
    load->rc = ramet_server_options_set(load->options, name, value, &why);
    if (load->rc != RAMET_OK)
        load->rc = RAMET_FAIL(load->err, load->rc, "%s: [server] %s: %s",
                              load->path, name, why.text);
    return load->rc == RAMET_OK;
}

static bool
find_config(char *out, size_t out_size)
{
    const char *named = getenv("RAMET_CONFIG");
    const char *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");

    assert(out_size > 0);
    if (named != NULL && named[0] != '\0') {
        (void)snprintf(out, out_size, "%s", named);
        return true;
    }
    (void)snprintf(out, out_size, "ramet.conf");
    if (access(out, F_OK) == 0)
        return true;
    if (xdg != NULL && xdg[0] != '\0')
        (void)snprintf(out, out_size, "%s/ramet/ramet.conf", xdg);
    else if (home != NULL)
        (void)snprintf(out, out_size, "%s/.config/ramet/ramet.conf", home);
    else
        return false;
    return access(out, F_OK) == 0;
}

static enum ramet_rc
load_file(struct ramet_server_options *options, const char *path,
          struct ramet_err *err)
{
    struct loading load = {.options = options, .err = err, .path = path};
    const int line = ini_parse(path, take_key, &load);

    if (load.rc != RAMET_OK)
        return load.rc;
    if (line < 0)
        return RAMET_FAIL_OS(err, -errno, "%s", path);
    if (line > 0)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: line %d is not \"key = value\"", path, line);
    return RAMET_OK;
}

enum ramet_rc
ramet_server_options_load(struct ramet_server_options *options,
                          const char *path, struct ramet_err *err)
{
    char found[RAMET_SERVER_PATH_MAX];

    if (path != NULL || find_config(found, sizeof(found))) {
        const enum ramet_rc rc =
            load_file(options, path != NULL ? path : found, err);

        if (rc != RAMET_OK)
            return rc;
    }
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char name[64] = "RAMET_";
        const char *value;
        enum ramet_rc rc;

        for (size_t j = 0; j <= strlen(table[i].name); j++)
            name[6 + j] = (char)toupper((unsigned char)table[i].name[j]);
        value = getenv(name);
        if (value == NULL)
            continue;
        rc = ramet_server_options_set(options, table[i].name, value, err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}
