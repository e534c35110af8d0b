/*
 * show.h - text of others, fit for a log or a terminal.
 *
 * What a peer, a file's name or a server's answer says is shown, not obeyed:
 *
 *   (1) Out come printable characters of well-formed UTF-8, and nothing else.
 *       C0, DEL and C1 controls, characters that turn the direction of a line
 *       or can't be seen, and line separators become \uXXXX (beyond U+FFFF a
 *       pair of them); a byte that is no UTF-8 becomes \ufffd.
 *   (2) A text that does not fit is cut before a character, never within an
 *       escape.
 *
 * Every error text goes through it (core/err.c), every line of a log
 * (core/log.c, server/access.c) and what the command prints of others.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_SHOW_H
#define RAMET_CORE_SHOW_H

#include <stdbool.h>
#include <stddef.h>

enum ramet_show {
    RAMET_SHOW_PLAIN, /* for people */
    /* The inside of a JSON string or a logfmt value: '"' and '\' too. */
    RAMET_SHOW_QUOTED,
};

#define RAMET_SHOWN_MAX 12u /* what one character becomes, at most */

/* The next character of [*io_text, end), which is not empty: what is shown of
 * it, without a NUL; its length. Moves *io_text past it. */
size_t ramet_show_char(enum ramet_show how, const char **io_text,
                       const char *end, char out[RAMET_SHOWN_MAX]);

/* All of `text` that fits into out_size - 1 bytes, and a NUL; the length. */
size_t ramet_show_text(enum ramet_show how, const char *text, size_t len,
                       char *out, size_t out_size);

#endif
