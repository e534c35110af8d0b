/*
 * credentials.h - whose keys requests are signed with, and where they come
 * from; renewed before they expire, without a restart.
 *
 * Looked for in the order of AWS's own tools; the first that is there is it:
 *
 *   (1) AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   (2) web identity: AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE (or of the
 *       profile), exchanged at the security token service
 *   (3) the profile's keys: AWS_PROFILE, ~/.aws/credentials, ~/.aws/config
 *   (4) the container's: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI
 *   (5) the machine's: the EC2 metadata service (its second version), unless
 *       AWS_EC2_METADATA_DISABLED is true
 *
 * What a service hands out is asked for again five minutes before it expires;
 * if that fails, or brings none that live longer, the old ones serve for as long as
 * they are valid, and it is asked again after half a minute. Of a profile
 * the files are read again when a store says that its keys have expired.
 *
 * Where these may go is place.h's affair.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_CREDENTIALS_H
#define RAMET_PAGESTORE_S3_CREDENTIALS_H

#include "core/err.h"
#include "pagestore/s3/engine.h"
#include "pagestore/s3/settings.h"

struct ramet_s3_credentials;

/* No I/O. The engine must live on. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_credentials_new(const struct ramet_s3_settings *settings,
                         struct ramet_s3_engine *engine,
                         struct ramet_s3_credentials **out,
                         struct ramet_err *err);
void ramet_s3_credentials_free(struct ramet_s3_credentials *credentials);

/* Keys for a request now; may ask a service, one thread for all.
 * RAMET_EAUTH: there are none, in words that say what was looked for. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_credentials_get(struct ramet_s3_credentials *credentials,
                         struct ramet_s3_keys *out_keys, struct ramet_err *err);
/* The store takes these no longer: the next get asks anew. False: there is
 * nobody to ask who could say something else. */
bool ramet_s3_credentials_refused(struct ramet_s3_credentials *credentials,
                                  const struct ramet_s3_keys *keys);

#endif
