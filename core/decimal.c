/*
 * decimal.c - see decimal.h.
 */
#include "core/decimal.h"

bool
ramet_decimal_parse(const char *text, uint64_t *out_value)
{
    uint64_t value = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        const unsigned digit = (unsigned)(*text - '0');

        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out_value = value;
    return true;
}
