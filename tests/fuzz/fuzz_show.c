/*
 * fuzz_show.c - text of others, as it is shown: no control character, no byte
 * that is no UTF-8, and what is quoted ends where its quotes do.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/show.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(enum ramet_show how, const char *text, size_t len, size_t out_size)
{
    char *out = ramet_alloc(out_size), *again = ramet_alloc(out_size);
    size_t shown;

    if (out == NULL || again == NULL)
        abort();
    shown = ramet_show_text(how, text, len, out, out_size);
    if (shown >= out_size || out[shown] != '\0')
        abort();
    for (size_t i = 0; i < shown; i++) {
        const unsigned char c = (unsigned char)out[i];

        if (c < ' ' || c == 127 ||
            (how == RAMET_SHOW_QUOTED && c == '"' &&
             (i == 0 || out[i - 1] != '\\')))
            abort();
    }
    /* Shown again it is the same: nothing is left to escape. */
    if (how == RAMET_SHOW_PLAIN &&
        (ramet_show_text(how, out, shown, again, out_size) != shown ||
         memcmp(out, again, shown) != 0))
        abort();
    ramet_free(out);
    ramet_free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;

    check(RAMET_SHOW_PLAIN, text, size, 6 * size + 1);
    check(RAMET_SHOW_QUOTED, text, size, 6 * size + 1);
    check(RAMET_SHOW_PLAIN, text, size, size / 2 + 1);
    check(RAMET_SHOW_QUOTED, text, size, 1);
    return 0;
}
