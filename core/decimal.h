/*
 * decimal.h - decimal numbers, and single hex digits, in text that others wrote.
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
/* Of a hex digit, large or small; -1: it is none. */
int ramet_hex_digit(char c);

#endif
