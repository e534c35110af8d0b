/*
 * rules.h - what a bucket's own lifecycle rules would take from a store: objects
 * that they expire, or move to where they can't be read at once. Either is the end
 * of a history, whose oldest commit is needed like its newest.
 *
 * Rules about other versions of objects than the newest, and about uploads that
 * were never finished, take nothing that is read.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_RULES_H
#define RAMET_PAGESTORE_S3_RULES_H

#include "core/err.h"
#include "pagestore/objstore.h"

#define RAMET_S3_RULE_MAX 256u

/* The first rule in a LifecycleConfiguration (hostile bytes) that takes objects
 * whose keys begin with `prefix`, by its ID; "" if none does. One that asks for
 * tags or sizes as well counts: what it asks may come true. RAMET_ECORRUPT. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_rules_parse(const void *data, size_t len, const char *prefix,
                     char out_rule[RAMET_S3_RULE_MAX], struct ramet_err *err);

/* The same of the bucket that a store (of ramet_s3store_open()) is in: one
 * request. RAMET_EAUTH: one needs the right to read them. RAMET_EREFUSED: the
 * service has no such thing. */
RAMET_NODISCARD enum ramet_rc
ramet_s3store_rules(struct ramet_objstore *store,
                    char out_rule[RAMET_S3_RULE_MAX], struct ramet_err *err);

#endif
