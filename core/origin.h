/*
 * origin.h - the server that a root names: scheme, host and port.
 *
 * Hosts are compared whole: `localhost.example` is not this machine, nor is
 * `127.0.0.1.example`.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_ORIGIN_H
#define RAMET_CORE_ORIGIN_H

#include <stdbool.h>

#define RAMET_ORIGIN_MAX 300u

struct ramet_origin {
    char text[RAMET_ORIGIN_MAX]; /* "https://host:443": the port always */
    char host[RAMET_ORIGIN_MAX]; /* "host", "[::1]" */
    char port[8];
    bool is_plain;    /* http, not https */
    bool is_loopback; /* this machine, without asking anybody */
};

/* `root` is struct ramet_url's, of http or https; false if it is another. */
bool ramet_origin_of(const char *root, struct ramet_origin *out_origin);

#endif
