/*
 * record.h - the columns of a SQLite record, and how their values compare.
 *
 * A record may be cut off (the rest is in overflow pages): a column that is not
 * whole is as if it were not there. Layout: "Database File Format", 2.1.
 *
 * Layer: sqliteformat.
 */
#ifndef RAMET_SQLITEFORMAT_RECORD_H
#define RAMET_SQLITEFORMAT_RECORD_H

#include <stdbool.h>
#include <stdint.h>

/* In the order in which SQLite sorts them. */
enum ramet_value_type {
    RAMET_VALUE_NULL,
    RAMET_VALUE_INTEGER,
    RAMET_VALUE_REAL, /* sorts among the integers */
    RAMET_VALUE_TEXT,
    RAMET_VALUE_BLOB
};

struct ramet_value {
    enum ramet_value_type type;
    int64_t integer;
    double real;
    const uint8_t *bytes; /* of text and blobs: in the record */
    uint32_t len;
};

/* How many columns the header of `record` names, as far as it is here. */
uint32_t ramet_record_columns(const uint8_t *record, uint32_t len);
/* Column `index` from 0; false: it is not here, or not whole. */
bool ramet_record_column(const uint8_t *record, uint32_t len, uint32_t index,
                         struct ramet_value *out_value);

/* Less than 0, 0, or more: text and blobs compare byte by byte. */
int
ramet_value_compare(const struct ramet_value *a, const struct ramet_value *b);

#endif
