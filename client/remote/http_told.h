/*
 * http_told.h - what a server said unasked: which key is the first with a prefix.
 *
 *   (1) it answers one question, of the thread that was told, and for a moment: who
 *       asks later, or elsewhere, wants to know what came meanwhile
 *
 * Thread-safe. Layer: client, remote.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_TOLD_H
#define RAMET_CLIENT_REMOTE_HTTP_TOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/thread.h"
#include "pagestore/objstore.h"

#define RAMET_HTTP_TOLD_MAX 4u

struct ramet_http_told_entry {
    const void *who;            /* a thread */
    char prefix[RAMET_KEY_MAX]; /* "": free */
    char key[RAMET_KEY_MAX];
    struct ramet_hash hash;
    uint64_t until_ms;
};

struct ramet_http_told {
    struct ramet_mutex mutex; /* of all that follows */
    struct ramet_http_told_entry entries[RAMET_HTTP_TOLD_MAX];
    unsigned next;
};

void ramet_http_told_init(struct ramet_http_told *told);
void ramet_http_told_done(struct ramet_http_told *told);
/* The calling thread was told; `hash` NULL: nothing of what is in it. */
void ramet_http_told_note(struct ramet_http_told *told, const char *prefix,
                          const char *key, const struct ramet_hash *hash);
/* Was it told the first key that begins with `prefix`? Then it is no longer. */
bool
ramet_http_told_take(struct ramet_http_told *told, const char *prefix,
                     char out_key[RAMET_KEY_MAX], struct ramet_hash *out_hash);
/* What it was told, and has not asked for, answers nothing. */
void ramet_http_told_forget(struct ramet_http_told *told);

#endif
