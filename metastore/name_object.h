/*
 * name_object.h - the object that says what a name means: its key, its bytes. Byte
 * layout: docs/format.md, "Names".
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_NAME_OBJECT_H
#define RAMET_METASTORE_NAME_OBJECT_H

#include "metastore/catalog.h"

void ramet_name_key(const char *name, uint64_t seq, char out[RAMET_KEY_MAX]);
/* Split "names/<name>/<~seq>"; false for a key of another form. */
bool ramet_name_key_parse(const char *key, char name[RAMET_NAME_MAX + 1],
                          uint64_t *out_seq);
/* `volume` nil: it means nothing any more. */
void ramet_name_encode(const char *name, uint64_t seq,
                       const struct ramet_vid *volume,
                       uint8_t out[RAMET_NAME_OBJECT_SIZE]);
/* What the object under a number says. RAMET_ECORRUPT, RAMET_EVERSION, or any code of
 * ramet_objstore_read(). */
RAMET_NODISCARD enum ramet_rc
ramet_name_read(struct ramet_objstore *store, const char *name, uint64_t seq,
                struct ramet_vid *out_volume, struct ramet_err *err);

#endif
