/*
 * http_early.h - an answer that came before its question: which key is the first
 * with a prefix.
 *
 *   (1) it answers one question, of the thread that was told, and for a moment: who
 *       asks later, or elsewhere, wants to know what came meanwhile
 *
 * Thread-safe. Layer: client, remote.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_EARLY_H
#define RAMET_CLIENT_REMOTE_HTTP_EARLY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/thread.h"
#include "pagestore/objstore.h"

#define RAMET_HTTP_EARLY_MAX 4u

struct ramet_http_early_entry {
    uint64_t who;               /* a thread's number */
    char prefix[RAMET_KEY_MAX]; /* "": free */
    char key[RAMET_KEY_MAX];
    struct ramet_hash hash;
    uint64_t until_ms;
};

struct ramet_http_early {
    struct ramet_mutex mutex; /* of all that follows */
    struct ramet_http_early_entry entries[RAMET_HTTP_EARLY_MAX];
    unsigned next;
};

void ramet_http_early_init(struct ramet_http_early *early);
void ramet_http_early_done(struct ramet_http_early *early);
/* The calling thread was told; `hash` NULL: nothing of what is in it. */
void ramet_http_early_note(struct ramet_http_early *early, const char *prefix,
                           const char *key, const struct ramet_hash *hash);
/* Was it told the first key that begins with `prefix`? Then it is no longer. */
bool
ramet_http_early_take(struct ramet_http_early *early, const char *prefix,
                      char out_key[RAMET_KEY_MAX], struct ramet_hash *out_hash);
/* What it was told, and has not asked for, answers nothing. */
void ramet_http_early_forget(struct ramet_http_early *early);

#endif
