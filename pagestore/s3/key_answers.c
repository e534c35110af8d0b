/*
 * key_answers.c - see key_answers.h.
 */
#include "pagestore/s3/key_answers.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pagestore/s3/xml.h"

/* Invariant (1). */
static bool
fill(char *out, size_t size, const char *value)
{
    assert(out != NULL && size > 0);
    if (value == NULL || strlen(value) >= size)
        return false;
    for (const char *p = value; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~')
            return false;
    strcpy(out, value);
    return true;
}

/* "2026-11-23T10:00:00Z", fractions passed over. */
static bool
parse_expiry(const char *text, uint64_t *out_ms)
{
    struct tm parts = {.tm_isdst = 0};
    time_t seconds;

    assert(out_ms != NULL);
    if (text == NULL || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &parts.tm_year,
                               &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
                               &parts.tm_min, &parts.tm_sec) != 6)
        return false;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    seconds = timegm(&parts);
    if (seconds <= 0)
        return false;
    *out_ms = (uint64_t)seconds * 1000;
    return true;
}

static enum ramet_rc
finish_keys(const char *access, const char *secret, const char *session,
            const char *expiry, struct ramet_s3_keys *out_keys,
            struct ramet_err *err)
{
    struct ramet_s3_keys keys = {.expires_ms = 0};

    if (access == NULL || access[0] == '\0' ||
        !fill(keys.access, sizeof(keys.access), access) ||
        !fill(keys.secret, sizeof(keys.secret), secret) ||
        !fill(keys.session, sizeof(keys.session),
              session != NULL ? session : "") ||
        (expiry != NULL && expiry[0] != '\0' &&
         !parse_expiry(expiry, &keys.expires_ms)))
        return RAMET_FAIL(
            err, RAMET_ECORRUPT,
            "S3: the credentials service answered without credentials");
    assert(keys.access[0] != '\0');
    *out_keys = keys;
    ramet_s3_keys_wipe(&keys);
    return RAMET_OK;
}

enum ramet_rc
ramet_s3_keys_from_json(const void *data, size_t len,
                        struct ramet_s3_keys *out_keys, struct ramet_err *err)
{
    json_t *const json = json_loadb(data, len, 0, NULL);
    enum ramet_rc rc = finish_keys(
        json_string_value(json_object_get(json, "AccessKeyId")),
        json_string_value(json_object_get(json, "SecretAccessKey")),
        json_string_value(json_object_get(json, "Token")),
        json_string_value(json_object_get(json, "Expiration")), out_keys, err);

    assert(data != NULL || len == 0);
    json_decref(json);
    return rc;
}

enum ramet_rc
ramet_s3_keys_from_xml(const void *data, size_t len,
                       struct ramet_s3_keys *out_keys, struct ramet_err *err)
{
    static const char root[] = "AssumeRoleWithWebIdentityResponse/"
                               "AssumeRoleWithWebIdentityResult/Credentials/";
    struct ramet_s3_keys keys = {.expires_ms = 0};
    char path[160], expiry[64] = "";
    enum ramet_rc rc = RAMET_OK;
    const struct {
        const char *name;
        char *out;
        size_t size;
    } fields[] = {{"AccessKeyId", keys.access, sizeof(keys.access)},
                  {"SecretAccessKey", keys.secret, sizeof(keys.secret)},
                  {"SessionToken", keys.session, sizeof(keys.session)},
                  {"Expiration", expiry, sizeof(expiry)}};

    assert(data != NULL || len == 0);
    for (size_t i = 0; rc == RAMET_OK && i < sizeof(fields) / sizeof(fields[0]);
         i++) {
        (void)snprintf(path, sizeof(path), "%s%s", root, fields[i].name);
        if (!ramet_s3_field(data, len, path, fields[i].out, fields[i].size))
            rc = RAMET_FAIL(
                err, RAMET_ECORRUPT,
                "S3: the security token service answered without credentials");
    }
    if (rc == RAMET_OK)
        rc = finish_keys(keys.access, keys.secret, keys.session, expiry,
                         out_keys, err);
    ramet_s3_keys_wipe(&keys);
    return rc;
}

enum ramet_rc
ramet_s3_keys_from_environment(struct ramet_s3_keys *out_keys,
                               struct ramet_err *err)
{
    struct ramet_s3_keys keys = {.expires_ms = 0};
    const char *const session = ramet_s3_env("AWS_SESSION_TOKEN");

    if (!fill(keys.access, sizeof(keys.access),
              ramet_s3_env("AWS_ACCESS_KEY_ID")) ||
        !fill(keys.secret, sizeof(keys.secret),
              ramet_s3_env("AWS_SECRET_ACCESS_KEY")) ||
        !fill(keys.session, sizeof(keys.session),
              session != NULL ? session : ""))
        return RAMET_FAIL(err, RAMET_EAUTH,
                          "S3 credentials: AWS_ACCESS_KEY_ID is set, and "
                          "AWS_SECRET_ACCESS_KEY (and the session token, if "
                          "any) has to go with it, each without a blank or a "
                          "line's end in it");
    assert(keys.access[0] != '\0' && keys.secret[0] != '\0');
    *out_keys = keys;
    ramet_s3_keys_wipe(&keys);
    return RAMET_OK;
}
