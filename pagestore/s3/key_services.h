/*
 * key_services.h - asking the services that hand out keys: the security token
 * service, a container's endpoint, a machine's metadata service.
 *
 * Each call waits for its answers. RAMET_EAUTH: it gives none; RAMET_EUNREACHABLE: it
 * is not there now; RAMET_ECORRUPT: what it answered are none.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_KEY_SERVICES_H
#define RAMET_PAGESTORE_S3_KEY_SERVICES_H

#include <stdbool.h>

#include "core/err.h"
#include "pagestore/s3/engine.h"
#include "pagestore/s3/settings.h"

/* The settings name a role, and a file with a token for it. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_keys_of_web_identity(struct ramet_s3_engine *engine,
                              const struct ramet_s3_settings *settings,
                              struct ramet_s3_keys *out_keys,
                              struct ramet_err *err);
/* AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI says where. RAMET_EINVAL: that
 * may not be asked. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_keys_of_container(struct ramet_s3_engine *engine,
                           struct ramet_s3_keys *out_keys,
                           struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_s3_keys_of_machine(struct ramet_s3_engine *engine,
                         struct ramet_s3_keys *out_keys, struct ramet_err *err);

/* May a container's endpoint be asked? https, or http on this machine or at
 * the two addresses that container services have. */
bool ramet_s3_is_container_host(const char *url);

#endif
