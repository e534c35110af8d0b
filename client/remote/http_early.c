/*
 * http_early.c - see http_early.h.
 */
#include "client/remote/http_early.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "core/os.h"

#define MOMENT_MS 2000u

/* Tells the calling thread from all others of this process, also from those that
 * ended: an address of its own it may have from one of them. */
static uint64_t
me(void)
{
    static _Atomic uint64_t last;
    static _Thread_local uint64_t number;

    if (number == 0)
        number = atomic_fetch_add(&last, 1) + 1;
    return number;
}

static uint64_t
now_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

void
ramet_http_early_init(struct ramet_http_early *early)
{
    *early = (struct ramet_http_early){.next = 0};
    ramet_mutex_init(&early->mutex);
}

void
ramet_http_early_done(struct ramet_http_early *early)
{
    ramet_mutex_done(&early->mutex);
}

void
ramet_http_early_note(struct ramet_http_early *early, const char *prefix,
                      const char *key, const struct ramet_hash *hash)
{
    struct ramet_http_early_entry *entry;

    assert(prefix[0] != '\0' && strlen(prefix) < RAMET_KEY_MAX);
    assert(ramet_key_valid(key));
    ramet_mutex_lock(&early->mutex);
    entry = &early->entries[early->next++ % RAMET_HTTP_EARLY_MAX];
    *entry = (struct ramet_http_early_entry){.who = me(),
                                             .until_ms = now_ms() + MOMENT_MS};
    strcpy(entry->prefix, prefix);
    strcpy(entry->key, key);
    if (hash != NULL)
        entry->hash = *hash;
    ramet_mutex_unlock(&early->mutex);
}

void
ramet_http_early_forget(struct ramet_http_early *early)
{
    ramet_mutex_lock(&early->mutex);
    for (unsigned i = 0; i < RAMET_HTTP_EARLY_MAX; i++)
        if (early->entries[i].who == me())
            early->entries[i].prefix[0] = '\0';
    ramet_mutex_unlock(&early->mutex);
}

bool
ramet_http_early_take(struct ramet_http_early *early, const char *prefix,
                      char out_key[RAMET_KEY_MAX], struct ramet_hash *out_hash)
{
    bool is_told = false;

    ramet_mutex_lock(&early->mutex);
    for (unsigned i = 0; i < RAMET_HTTP_EARLY_MAX; i++) {
        struct ramet_http_early_entry *const entry = &early->entries[i];

        if (entry->who != me() || entry->prefix[0] == '\0' ||
            strcmp(entry->prefix, prefix) != 0)
            continue;
        is_told = now_ms() < entry->until_ms; /* invariant (1) */
        strcpy(out_key, entry->key);
        *out_hash = entry->hash;
        entry->prefix[0] = '\0';
    }
    ramet_mutex_unlock(&early->mutex);
    return is_told;
}
