/*
 * recent_bases.c - see recent_bases.h.
 *
 * Layer: client.
 */
#include "client/sync/recent_bases.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"

struct ramet_recent_bases {
    uint32_t page_size;
    uint32_t count;   /* places */
    uint32_t *pgnos;  /* 0: empty */
    uint8_t **images; /* made as they are filled */
};

void
ramet_recent_bases_free(struct ramet_recent_bases *recent)
{
    if (recent == NULL)
        return;
    for (uint32_t i = 0; i < recent->count; i++)
        ramet_free(recent->images[i]);
    ramet_free(recent->pgnos);
    ramet_free(recent->images);
    ramet_free(recent);
}

static struct ramet_recent_bases *
make(uint32_t page_size)
{
    struct ramet_recent_bases *const recent = ramet_calloc(1, sizeof(*recent));
    const uint32_t count = RAMET_RECENT_BASES_BYTES / page_size;

    assert(page_size != 0 && page_size <= RAMET_RECENT_BASES_BYTES);
    if (recent == NULL)
        return NULL;
    recent->page_size = page_size;
    recent->pgnos = ramet_calloc(count, sizeof(*recent->pgnos));
    recent->images = ramet_calloc(count, sizeof(*recent->images));
    if (recent->pgnos == NULL || recent->images == NULL) {
        ramet_recent_bases_free(recent);
        return NULL;
    }
    recent->count = count;
    return recent;
}

const uint8_t *
ramet_recent_bases_get(const struct ramet_recent_bases *recent, uint32_t pgno,
                       uint32_t page_size)
{
    uint32_t place;

    if (recent == NULL || recent->page_size != page_size)
        return NULL;
    place = pgno % recent->count;
    return recent->pgnos[place] == pgno ? recent->images[place] : NULL;
}

void
ramet_recent_bases_put(struct ramet_recent_bases **io_recent, uint32_t pgno,
                       const uint8_t *image, uint32_t page_size)
{
    struct ramet_recent_bases *recent = *io_recent;
    uint32_t place;

    assert(pgno >= 1 && image != NULL);
    if (recent != NULL && recent->page_size != page_size) {
        ramet_recent_bases_free(recent);
        recent = NULL;
    }
    if (recent == NULL)
        recent = make(page_size);
    *io_recent = recent;
    if (recent == NULL)
        return;
    place = pgno % recent->count;
    if (recent->images[place] == NULL)
        recent->images[place] = ramet_alloc(page_size);
    recent->pgnos[place] = recent->images[place] != NULL ? pgno : 0;
    if (recent->images[place] != NULL && recent->images[place] != image)
        memcpy(recent->images[place], image, page_size);
}
