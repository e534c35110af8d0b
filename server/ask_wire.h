/*
 * ask_wire.h - what a server and `ramet-ask`, the process that runs a question for
 * it, say to each other over a socket: both are of one build, on one machine.
 *
 *   server:  struct ramet_ask_begin, the statement, then each parameter: u8 type
 *            (of SQLite: 1 integer, 2 float, 3 text, 4 blob, 5 null), u32 length,
 *            bytes (8 of an integer or float)
 *   process: u32 page number, to which the server answers with the page; or
 *            u32 0, then struct ramet_ask_end and a text: the last it says
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_ASK_WIRE_H
#define RAMET_SERVER_ASK_WIRE_H

#include <stdint.h>

#define RAMET_ASK_MAGIC 0x4b534152u
#define RAMET_ASK_SQL_MAX (32u << 10)
#define RAMET_ASK_PARAMS_MAX 100u
#define RAMET_ASK_BYTES_MAX (128u << 10) /* statement and parameters */
#define RAMET_ASK_TEXT_MAX 400u

struct ramet_ask_begin {
    uint32_t magic;
    uint32_t page_size;
    uint32_t page_count;
    uint32_t sql_len;
    uint32_t param_count;
    uint32_t param_bytes; /* all of them, with type and length */
};

enum ramet_ask_outcome {
    RAMET_ASK_DONE,    /* it ran to its end */
    RAMET_ASK_STOPPED, /* at a limit, or at pages that make no sense */
    RAMET_ASK_REFUSED, /* it is no statement that may be run: see the text */
};

struct ramet_ask_end {
    uint32_t outcome;
    uint32_t text_len;
};

#endif
