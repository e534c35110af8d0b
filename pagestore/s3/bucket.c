/*
 * bucket.c - see bucket.h.
 */
#include "pagestore/s3/bucket.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/os.h"
#include "pagestore/s3/settings.h"

static struct ramet_mutex process = RAMET_MUTEX_INIT;
static struct ramet_s3_bucket *buckets; /* process */

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&process);
}

static void
bucket_free(struct ramet_s3_bucket *bucket)
{
    assert(bucket->next == NULL || bucket->refs == 0);
    ramet_s3_credentials_free(bucket->credentials);
    ramet_s3_engine_close(bucket->engine);
    ramet_mutex_done(&bucket->proving);
    ramet_mutex_done(&bucket->mutex);
    ramet_free(bucket->ca_file);
    ramet_free(bucket->identity);
    ramet_free(bucket);
}

/* All that decides where requests go and what they are signed with. */
static char *
identify(const struct ramet_s3_target *target,
         const struct ramet_s3_settings *settings)
{
    const char *const access = getenv("AWS_ACCESS_KEY_ID");
    const char *const session = getenv("AWS_SESSION_TOKEN");

    assert(target->bucket[0] != '\0' && target->origin.text[0] != '\0');
    return ramet_asprintf("%s %s %s %d %d %s %s %s %s", target->origin.text,
                          target->bucket, target->region, target->path_style,
                          target->trusted, settings->ca_bundle,
                          settings->profile, access != NULL ? access : "",
                          session != NULL ? session : "");
}

static enum ramet_rc
bucket_new(const struct ramet_s3_target *target,
           const struct ramet_s3_settings *settings,
           struct ramet_s3_bucket **out_bucket, struct ramet_err *err)
{
    struct ramet_s3_bucket *const bucket = ramet_calloc(1, sizeof(*bucket));
    enum ramet_rc rc;

    if (bucket == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    bucket->refs = 1;
    bucket->fork_count = ramet_os_fork_count();
    bucket->target = *target;
    ramet_mutex_init(&bucket->mutex);
    ramet_mutex_init(&bucket->proving);
    bucket->identity = identify(target, settings);
    if (settings->ca_bundle[0] != '\0')
        bucket->ca_file = ramet_strdup(settings->ca_bundle);
    if (bucket->identity == NULL ||
        (settings->ca_bundle[0] != '\0' && bucket->ca_file == NULL))
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    else
        rc = ramet_s3_engine_open(&bucket->engine, err);
    if (rc == RAMET_OK && target->trusted)
        rc = ramet_s3_credentials_new(settings, bucket->engine,
                                      &bucket->credentials, err);
    if (rc != RAMET_OK) {
        bucket_free(bucket);
        return rc;
    }
    assert(target->trusted == (bucket->credentials != NULL));
    *out_bucket = bucket;
    return RAMET_OK;
}

/* The one that is open already, with one more reference, or NULL. */
static struct ramet_s3_bucket *
find(const char *identity)
{
    const unsigned fork_count = ramet_os_fork_count();

    for (struct ramet_s3_bucket *b = buckets; b != NULL; b = b->next)
        if (b->fork_count == fork_count && strcmp(b->identity, identity) == 0) {
            assert(b->refs > 0);
            b->refs++;
            return b;
        }
    return NULL;
}

enum ramet_rc
ramet_s3_bucket_open(const struct ramet_s3_place *place, bool configured,
                     struct ramet_s3_bucket **out_bucket, struct ramet_err *err)
{
    struct ramet_s3_settings *const settings =
        ramet_calloc(1, sizeof(*settings));
    struct ramet_s3_target target;
    struct ramet_s3_bucket *fresh = NULL, *found = NULL;
    enum ramet_rc rc;

    if (settings == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    rc = ramet_s3_settings_load(settings, err);
    if (rc == RAMET_OK)
        rc = ramet_s3_resolve(place, settings, configured, &target, err);
    if (rc == RAMET_OK)
        rc = bucket_new(&target, settings, &fresh, err);
    explicit_bzero(settings, sizeof(*settings));
    ramet_free(settings);
    if (rc != RAMET_OK)
        return rc;
    ramet_mutex_lock(&process);
    found = find(fresh->identity);
    if (found == NULL) {
        fresh->next = buckets;
        buckets = fresh;
    }
    ramet_mutex_unlock(&process);
    if (found != NULL)
        bucket_free(fresh);
    assert(found != fresh);
    *out_bucket = found != NULL ? found : fresh;
    return RAMET_OK;
}

void
ramet_s3_bucket_close(struct ramet_s3_bucket *bucket)
{
    bool last;

    /* In a child of fork() it is the parent's. */
    if (bucket == NULL || bucket->fork_count != ramet_os_fork_count())
        return;
    ramet_mutex_lock(&process);
    assert(bucket->refs > 0);
    last = --bucket->refs == 0;
    for (struct ramet_s3_bucket **b = &buckets; last && *b != NULL;
         b = &(*b)->next)
        if (*b == bucket) {
            *b = bucket->next;
            break;
        }
    ramet_mutex_unlock(&process);
    if (last)
        bucket_free(bucket);
}
