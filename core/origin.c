/*
 * origin.c - see origin.h.
 */
#include "core/origin.h"

#include <stdio.h>
#include <string.h>

/* 127.0.0.0/8, written as four numbers. */
static bool
is_loopback_address(const char *host)
{
    unsigned parts = 0;

    if (strncmp(host, "127.", 4) != 0)
        return false;
    for (const char *p = host; parts < 4; parts++) {
        unsigned value = 0, digits = 0;

        for (; *p >= '0' && *p <= '9' && digits < 3; p++, digits++)
            value = value * 10 + (unsigned)(*p - '0');
        if (digits == 0 || value > 255 || *p != (parts < 3 ? '.' : '\0'))
            return false;
        p++;
    }
    return true;
}

static bool
is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           is_loopback_address(host);
}

bool
ramet_origin_of(const char *root, struct ramet_origin *out_origin)
{
    const bool is_plain = strncmp(root, "http://", 7) == 0;
    const char *const authority = root + (is_plain ? 7 : 8);
    struct ramet_origin origin = {.is_plain = is_plain};
    size_t len, host_len;
    const char *colon;

    if (!is_plain && strncmp(root, "https://", 8) != 0)
        return false;
    len = strcspn(authority, "/");
    if (len >= sizeof(origin.host))
        return false;
    /* The last colon, unless it stands inside [v6]. */
    host_len = authority[0] == '[' ? strcspn(authority, "]") : 0;
    colon = host_len < len ? memchr(authority + host_len, ':', len - host_len)
                           : NULL;
    host_len = colon != NULL ? (size_t)(colon - authority) : len;
    memcpy(origin.host, authority, host_len);
    if (snprintf(origin.port, sizeof(origin.port), "%.*s",
                 colon != NULL ? (int)(len - host_len - 1) : 0,
                 authority + host_len + (colon != NULL)) < 0)
        return false;
    if (origin.port[0] == '\0')
        strcpy(origin.port, is_plain ? "80" : "443");
    if (snprintf(origin.text, sizeof(origin.text), "%s://%s:%s",
                 is_plain ? "http" : "https", origin.host,
                 origin.port) >= (int)sizeof(origin.text))
        return false;
    origin.is_loopback = is_loopback(origin.host);
    *out_origin = origin;
    return true;
}
