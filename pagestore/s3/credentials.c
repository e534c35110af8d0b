/*
 * credentials.c - see credentials.h.
 */
#include "pagestore/s3/credentials.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "core/os.h"
#include "core/thread.h"
#include "pagestore/s3/key_answers.h"
#include "pagestore/s3/key_services.h"

#define RENEW_BEFORE_MS (5u * 60u * 1000u)
/* While the old ones serve, who hands out new ones is asked no sooner again: it
 * may be away, or have none that live longer yet. */
#define RENEW_PAUSE_MS (30u * 1000u)

enum origin { UNKNOWN, ENVIRONMENT, WEB_IDENTITY, PROFILE, CONTAINER, MACHINE };

struct ramet_s3_credentials {
    struct ramet_s3_engine *engine;
    struct ramet_mutex mutex; /* also while a service is asked */
    struct ramet_s3_settings settings;
    enum origin origin;
    struct ramet_s3_keys keys; /* access "": none yet */
    uint64_t asked_ms;         /* when, by the steady clock */
};

static uint64_t
wall_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->wall_ms(os->ctx);
}

static uint64_t
steady_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

enum ramet_rc
ramet_s3_credentials_new(const struct ramet_s3_settings *settings,
                         struct ramet_s3_engine *engine,
                         struct ramet_s3_credentials **out,
                         struct ramet_err *err)
{
    struct ramet_s3_credentials *const c = ramet_calloc(1, sizeof(*c));

    assert(engine != NULL);
    if (c == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    c->engine = engine;
    c->settings = *settings;
    ramet_mutex_init(&c->mutex);
    *out = c;
    return RAMET_OK;
}

void
ramet_s3_credentials_free(struct ramet_s3_credentials *credentials)
{
    assert(credentials == NULL || credentials->engine != NULL);
    if (credentials == NULL)
        return;
    ramet_mutex_done(&credentials->mutex);
    explicit_bzero(credentials, sizeof(*credentials));
    ramet_free(credentials);
}

/* ---- which --------------------------------------------------------------- */

static enum origin
find_origin(const struct ramet_s3_settings *settings)
{
    const char *const disabled = ramet_s3_env("AWS_EC2_METADATA_DISABLED");

    assert(settings->profile[0] != '\0');
    if (ramet_s3_env("AWS_ACCESS_KEY_ID") != NULL)
        return ENVIRONMENT;
    if (settings->role_arn[0] != '\0' && settings->token_file[0] != '\0')
        return WEB_IDENTITY;
    if (settings->profile_keys.access[0] != '\0')
        return PROFILE;
    if (ramet_s3_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != NULL ||
        ramet_s3_env("AWS_CONTAINER_CREDENTIALS_FULL_URI") != NULL)
        return CONTAINER;
    if (disabled == NULL || strcasecmp(disabled, "true") != 0)
        return MACHINE;
    return UNKNOWN;
}

static enum ramet_rc
none_found(const struct ramet_s3_credentials *c, const struct ramet_err *why,
           struct ramet_err *err)
{
    assert(c->keys.access[0] == '\0' || c->keys.expires_ms != 0);
    if (c->settings.unsupported != NULL)
        return RAMET_FAIL(err, RAMET_EAUTH,
                          "S3 credentials: the profile %s gets its own by %s, "
                          "which Ramet does not know; give AWS_ACCESS_KEY_ID "
                          "and AWS_SECRET_ACCESS_KEY",
                          c->settings.profile, c->settings.unsupported);
    return RAMET_FAIL(err, RAMET_EAUTH,
                      "S3 credentials: there are none: neither "
                      "AWS_ACCESS_KEY_ID, nor keys of profile %s in "
                      "~/.aws/credentials, nor a container's or machine's role"
                      "%s%.150s%s",
                      c->settings.profile, why != NULL ? " (" : "",
                      why != NULL ? why->text : "", why != NULL ? ")" : "");
}

static enum ramet_rc
fetch(struct ramet_s3_credentials *c, struct ramet_s3_keys *out_keys,
      struct ramet_err *err)
{
    struct ramet_err why;

    assert(out_keys->access[0] == '\0');
    c->origin = find_origin(&c->settings);
    switch (c->origin) {
    case ENVIRONMENT:
        return ramet_s3_keys_from_environment(out_keys, err);
    case WEB_IDENTITY:
        return ramet_s3_keys_of_web_identity(c->engine, &c->settings, out_keys,
                                             err);
    case PROFILE:
        *out_keys = c->settings.profile_keys;
        return RAMET_OK;
    case CONTAINER:
        return ramet_s3_keys_of_container(c->engine, out_keys, err);
    case MACHINE:
        return ramet_s3_keys_of_machine(c->engine, out_keys, &why) == RAMET_OK
                   ? RAMET_OK
                   : none_found(c, &why, err);
    case UNKNOWN:
        break;
    }
    return none_found(c, NULL, err);
}

/* Is it time to ask for others? */
static bool
are_due(const struct ramet_s3_credentials *c)
{
    const uint64_t now = wall_ms(), expires = c->keys.expires_ms;

    assert(c->keys.access[0] != '\0' || c->keys.expires_ms == 0);
    if (c->keys.access[0] == '\0')
        return true;
    if (expires == 0 || now + RENEW_BEFORE_MS < expires)
        return false;
    return now >= expires || steady_ms() - c->asked_ms >= RENEW_PAUSE_MS;
}

enum ramet_rc
ramet_s3_credentials_get(struct ramet_s3_credentials *c,
                         struct ramet_s3_keys *out_keys, struct ramet_err *err)
{
    struct ramet_s3_keys fresh = {.expires_ms = 0};
    enum ramet_rc rc = RAMET_OK;

    ramet_mutex_lock(&c->mutex);
    if (are_due(c)) {
        rc = fetch(c, &fresh, err);
        c->asked_ms = steady_ms();
        if (rc == RAMET_OK)
            c->keys = fresh;
        else if (c->keys.access[0] != '\0' && wall_ms() < c->keys.expires_ms)
            rc = RAMET_OK; /* the old ones still serve */
    }
    if (rc == RAMET_OK)
        *out_keys = c->keys;
    ramet_mutex_unlock(&c->mutex);
    ramet_s3_keys_wipe(&fresh);
    return rc;
}

bool
ramet_s3_credentials_refused(struct ramet_s3_credentials *c,
                             const struct ramet_s3_keys *keys)
{
    struct ramet_s3_settings *settings = NULL;
    bool worth_it = true;

    assert(keys->access[0] != '\0');
    ramet_mutex_lock(&c->mutex);
    if (strcmp(c->keys.access, keys->access) == 0 &&
        strcmp(c->keys.session, keys->session) == 0) {
        worth_it = c->origin != ENVIRONMENT && c->origin != UNKNOWN;
        settings = worth_it ? ramet_calloc(1, sizeof(*settings)) : NULL;
        if (settings != NULL &&
            ramet_s3_settings_load(settings, NULL) == RAMET_OK)
            c->settings = *settings; /* of a profile: somebody renewed it */
        if (worth_it)
            ramet_s3_keys_wipe(&c->keys);
    } /* else another thread did that already */
    ramet_mutex_unlock(&c->mutex);
    if (settings != NULL)
        explicit_bzero(settings, sizeof(*settings));
    ramet_free(settings);
    return worth_it;
}
