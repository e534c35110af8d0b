/*
 * settings.h - what the environment and the AWS files say about S3.
 *
 * The variables and the two files are those that every AWS tool reads, with
 * the same meaning, so that what works for them works here. Of the files only
 * what is listed below is taken; the rest is somebody else's.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_SETTINGS_H
#define RAMET_PAGESTORE_S3_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define RAMET_S3_SETTING_MAX 1024u
#define RAMET_S3_ACCESS_MAX 160u
#define RAMET_S3_SECRET_MAX 256u
#define RAMET_S3_SESSION_MAX 8192u

/* Keys to sign with. */
struct ramet_s3_keys {
    char access[RAMET_S3_ACCESS_MAX]; /* "": there are none */
    char secret[RAMET_S3_SECRET_MAX];
    char session[RAMET_S3_SESSION_MAX]; /* "": permanent */
    uint64_t expires_ms;                /* Unix time; 0: never */
};
/* They were somebody's secret. */
void ramet_s3_keys_wipe(struct ramet_s3_keys *keys);

/* "" where nothing is said. */
struct ramet_s3_settings {
    char profile[128];
    bool profile_found;
    char endpoint[RAMET_S3_SETTING_MAX];         /* …_S3, or of the service */
    char general_endpoint[RAMET_S3_SETTING_MAX]; /* of all services */
    char region[64];
    char ca_bundle[RAMET_S3_SETTING_MAX];
    struct ramet_s3_keys profile_keys;
    char role_arn[RAMET_S3_SETTING_MAX]; /* web identity, all three */
    char token_file[RAMET_S3_SETTING_MAX];
    char session_name[128];
    const char *unsupported; /* a way to get keys that the profile names and we
                                don't know; a constant */
};

/* A variable of the environment; NULL: it is not set, or empty. */
const char *ramet_s3_env(const char *name);

/* Environment and files. RAMET_EINVAL: a profile that was asked for is nowhere,
 * or a file can't be read. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_settings_load(struct ramet_s3_settings *out, struct ramet_err *err);

/*
 * One of AWS's files, into `settings`. `is_config`: of the two the one in which
 * a section is called [profile NAME]. Lines that are none are passed over, as
 * AWS's tools do. For tests and fuzzers too.
 */
void ramet_s3_settings_parse(struct ramet_s3_settings *settings,
                             const char *text, size_t len, bool is_config);

#endif
