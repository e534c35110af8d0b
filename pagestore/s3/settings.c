/*
 * settings.c - see settings.h.
 *
 * Both files are made of lines: [section], key = value, and under a key with an
 * empty value indented keys of its own ("s3 =" in a section [services …]).
 * Comments begin a line with '#' or ';', or follow a blank.
 */
#include "pagestore/s3/settings.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/os.h"

#define FILE_MAX (1u << 20)
#define NAME_MAX_BYTES 160u

void
ramet_s3_keys_wipe(struct ramet_s3_keys *keys)
{
    assert(keys != NULL);
    explicit_bzero(keys, sizeof(*keys));
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* [from, to) without blanks at its ends. */
static void
trim(const char **from, const char **to)
{
    assert(*from <= *to);
    while (*from < *to && is_blank(**from))
        (*from)++;
    while (*to > *from && is_blank((*to)[-1]))
        (*to)--;
}

static bool
copy(const char *from, const char *to, char *out, size_t size)
{
    const size_t len = (size_t)(to - from);

    assert(from <= to && size > 0);
    if (len >= size || memchr(from, '\0', len) != NULL)
        return false;
    memcpy(out, from, len);
    out[len] = '\0';
    return true;
}

/* ---- one file ------------------------------------------------------------------ */

struct reading {
    struct ramet_s3_settings *settings;
    bool is_config;
    bool in_profile, in_services;  /* the sections that are meant */
    char services[NAME_MAX_BYTES]; /* that the profile names */
    char outer[NAME_MAX_BYTES];    /* key that indented ones belong to */
};

static void
enter_section(struct reading *r, const char *from, const char *to)
{
    char name[NAME_MAX_BYTES], wanted[NAME_MAX_BYTES];

    assert(from <= to);
    r->in_profile = r->in_services = false;
    r->outer[0] = '\0';
    trim(&from, &to);
    if (!copy(from, to, name, sizeof(name)))
        return;
    if (!r->is_config || strcmp(r->settings->profile, "default") == 0)
        r->in_profile = strcmp(name, r->settings->profile) == 0;
    if (r->is_config) {
        (void)snprintf(wanted, sizeof(wanted), "profile %s",
                       r->settings->profile);
        r->in_profile = r->in_profile || strcmp(name, wanted) == 0;
        (void)snprintf(wanted, sizeof(wanted), "services %.140s", r->services);
        r->in_services = r->services[0] != '\0' && strcmp(name, wanted) == 0;
    }
    if (r->in_profile)
        r->settings->profile_found = true;
}

struct named {
    const char *key;
    char *slot;
    size_t size;
};

static void
take_profile_key(struct reading *r, const char *key, const char *value)
{
    struct ramet_s3_settings *const s = r->settings;
    const struct named table[] = {
        {"aws_access_key_id", s->profile_keys.access,
         sizeof(s->profile_keys.access)},
        {"aws_secret_access_key", s->profile_keys.secret,
         sizeof(s->profile_keys.secret)},
        {"aws_session_token", s->profile_keys.session,
         sizeof(s->profile_keys.session)},
        {"region", s->region, sizeof(s->region)},
        {"endpoint_url", s->general_endpoint, sizeof(s->general_endpoint)},
        {"ca_bundle", s->ca_bundle, sizeof(s->ca_bundle)},
        {"role_arn", s->role_arn, sizeof(s->role_arn)},
        {"web_identity_token_file", s->token_file, sizeof(s->token_file)},
        {"role_session_name", s->session_name, sizeof(s->session_name)},
        {"services", r->services, sizeof(r->services)},
    };

    assert(r->in_profile);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(key, table[i].key) == 0 && strlen(value) < table[i].size)
            strcpy(table[i].slot, value);
    if (strcmp(key, "credential_process") == 0)
        s->unsupported = "credential_process";
    else if (strcmp(key, "sso_session") == 0 ||
             strcmp(key, "sso_start_url") == 0)
        s->unsupported = "sso";
    else if (strcmp(key, "source_profile") == 0 ||
             strcmp(key, "credential_source") == 0)
        s->unsupported = "source_profile";
}

static void
take_line(struct reading *r, const char *from, const char *to)
{
    const bool indented = from < to && is_blank(*from);
    char key[NAME_MAX_BYTES], value[RAMET_S3_SESSION_MAX];
    const char *equals, *key_end, *value_at;

    assert(from <= to);
    trim(&from, &to);
    if (from == to || *from == '#' || *from == ';')
        return;
    if (*from == '[') {
        const char *const end = memchr(from, ']', (size_t)(to - from));

        if (end != NULL)
            enter_section(r, from + 1, end);
        return;
    }
    equals = memchr(from, '=', (size_t)(to - from));
    if (equals == NULL || (!r->in_profile && !r->in_services))
        return;
    key_end = equals;
    value_at = equals + 1;
    trim(&from, &key_end);
    trim(&value_at, &to);
    for (const char *p = value_at; p + 1 < to; p++)
        if (is_blank(*p) && (p[1] == '#' || p[1] == ';'))
            to = p;
    trim(&value_at, &to);
    if (!copy(from, key_end, key, sizeof(key)) ||
        !copy(value_at, to, value, sizeof(value)))
        return;
    if (indented && r->in_services && strcmp(r->outer, "s3") == 0 &&
        strcmp(key, "endpoint_url") == 0 &&
        strlen(value) < sizeof(r->settings->endpoint))
        strcpy(r->settings->endpoint, value);
    if (indented)
        return; /* some service's own */
    strcpy(r->outer, value[0] == '\0' ? key : "");
    if (r->in_profile)
        take_profile_key(r, key, value);
}

static void
read_lines(struct reading *r, const char *text, size_t len)
{
    const char *const end = text + len;

    assert(text != NULL || len == 0);
    r->in_profile = r->in_services = false;
    for (const char *line = text; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));

        if (stop == NULL)
            stop = end;
        take_line(r, line, stop);
        line = stop < end ? stop + 1 : end;
    }
}

void
ramet_s3_settings_parse(struct ramet_s3_settings *settings, const char *text,
                        size_t len, bool is_config)
{
    struct reading r = {.settings = settings, .is_config = is_config};

    assert(settings->profile[0] != '\0');
    read_lines(&r, text, len);
    if (r.services[0] != '\0') /* its section may have come before */
        read_lines(&r, text, len);
}

/* ---- the environment ------------------------------------------------------------ */

const char *
ramet_s3_env(const char *name)
{
    const char *const value = getenv(name);

    assert(name != NULL);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static void
take_env(const char *name, char *out, size_t size)
{
    const char *const value = ramet_s3_env(name);

    assert(size > 0);
    if (value != NULL && strlen(value) < size)
        strcpy(out, value);
}

static enum ramet_rc
read_file(struct ramet_s3_settings *settings, const char *variable,
          const char *in_home, bool is_config, struct ramet_err *err)
{
    const char *const named = ramet_s3_env(variable);
    const char *const home = getenv("HOME");
    char path[4096];
    uint8_t *data = NULL;
    size_t len;
    enum ramet_rc rc;

    assert(variable != NULL && in_home[0] == '/');
    if (named == NULL && home == NULL)
        return RAMET_OK;
    if (snprintf(path, sizeof(path), "%s%s", named != NULL ? named : home,
                 named != NULL ? "" : in_home) >= (int)sizeof(path))
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: too long", variable);
    rc = ramet_os_read_file(ramet_os_system(), AT_FDCWD, path, FILE_MAX, &data,
                            &len, err);
    if (rc == RAMET_ENOTFOUND)
        return RAMET_OK;
    if (rc != RAMET_OK)
        return rc;
    ramet_s3_settings_parse(settings, (const char *)data, len, is_config);
    explicit_bzero(data, len);
    ramet_free(data);
    return RAMET_OK;
}

enum ramet_rc
ramet_s3_settings_load(struct ramet_s3_settings *out, struct ramet_err *err)
{
    const char *const profile = ramet_s3_env("AWS_PROFILE");
    const char *const ignore =
        ramet_s3_env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    struct ramet_s3_settings s = {.profile = "default"};
    enum ramet_rc rc;

    if (profile != NULL && strlen(profile) >= sizeof(s.profile))
        return RAMET_FAIL(err, RAMET_EINVAL, "AWS_PROFILE: too long");
    if (profile != NULL)
        strcpy(s.profile, profile);
    rc = read_file(&s, "AWS_CONFIG_FILE", "/.aws/config", true, err);
    if (rc == RAMET_OK)
        rc = read_file(&s, "AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials",
                       false, err);
    if (rc != RAMET_OK)
        return rc;
    if (profile != NULL && !s.profile_found)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "AWS_PROFILE names '%s', which neither "
                          "~/.aws/credentials nor ~/.aws/config has",
                          s.profile);
    take_env("AWS_ENDPOINT_URL", s.general_endpoint,
             sizeof(s.general_endpoint));
    if (ramet_s3_env("AWS_ENDPOINT_URL") != NULL)
        s.endpoint[0] = '\0'; /* a variable comes before any file */
    take_env("AWS_ENDPOINT_URL_S3", s.endpoint, sizeof(s.endpoint));
    if (ignore != NULL && strcmp(ignore, "true") == 0)
        s.endpoint[0] = s.general_endpoint[0] = '\0';
    take_env("AWS_DEFAULT_REGION", s.region, sizeof(s.region));
    take_env("AWS_REGION", s.region, sizeof(s.region));
    take_env("RAMET_CA_FILE", s.ca_bundle, sizeof(s.ca_bundle));
    take_env("AWS_CA_BUNDLE", s.ca_bundle, sizeof(s.ca_bundle));
    take_env("AWS_ROLE_ARN", s.role_arn, sizeof(s.role_arn));
    take_env("AWS_WEB_IDENTITY_TOKEN_FILE", s.token_file, sizeof(s.token_file));
    take_env("AWS_ROLE_SESSION_NAME", s.session_name, sizeof(s.session_name));
    assert(s.profile[0] != '\0');
    *out = s;
    explicit_bzero(&s, sizeof(s));
    return RAMET_OK;
}
