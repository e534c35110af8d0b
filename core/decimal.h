/*
 * decimal.h - decimal numbers in text that others wrote.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_DECIMAL_H
#define RAMET_CORE_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

/* All of `text` is digits, one at least, and the number is below 2^64; else false,
 * and *out_value as it was. No sign, no blanks; zeros in front are fine. */
bool ramet_decimal_parse(const char *text, uint64_t *out_value);

#endif
