/*
 * key_answers.h - keys as somebody gives them: the services' answers, and the
 * environment's variables.
 *
 *   (1) What is no key is refused: one that does not fit, or holds what can't stand in a
 *       header, such as the end of a line.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_KEY_ANSWERS_H
#define RAMET_PAGESTORE_S3_KEY_ANSWERS_H

#include "core/err.h"
#include "pagestore/s3/settings.h"

/* What the container's and the machine's services answer; for tests and
 * fuzzers too. RAMET_ECORRUPT: it is none. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_keys_from_json(const void *data, size_t len,
                        struct ramet_s3_keys *out_keys, struct ramet_err *err);
/* What the security token service answers. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_keys_from_xml(const void *data, size_t len,
                       struct ramet_s3_keys *out_keys, struct ramet_err *err);
/* AWS_ACCESS_KEY_ID and what goes with it. RAMET_EAUTH: one is missing, or no key. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_keys_from_environment(struct ramet_s3_keys *out_keys,
                               struct ramet_err *err);

#endif
