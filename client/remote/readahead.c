/*
 * readahead.c - see readahead.h.
 *
 * Layer: client.
 */
#include "client/remote/readahead.h"

#include <assert.h>

#define SKIP_MAX 8u /* pages that a scan may leave out and still be one */

uint32_t
ramet_readahead_miss(struct ramet_readahead *readahead, uint32_t pgno,
                     uint32_t max)
{
    unsigned chosen = 0;
    uint32_t count = 1;

    assert(max >= 1);
    /* The longest scan that this continues, else the place of the one not
     * used for longest. */
    for (unsigned i = 1; i < RAMET_STREAMS; i++)
        if (readahead->streams[i].used < readahead->streams[chosen].used)
            chosen = i;
    for (unsigned i = 0; i < RAMET_STREAMS; i++) {
        const uint32_t next = readahead->streams[i].next;

        if (next != 0 && pgno >= next && pgno - next <= SKIP_MAX &&
            readahead->streams[i].count * 2 > count) {
            chosen = i;
            count = readahead->streams[i].count * 2;
        }
    }
    if (count > max)
        count = max;
    readahead->streams[chosen].next =
        pgno <= UINT32_MAX - count ? pgno + count : 0;
    readahead->streams[chosen].count = count;
    readahead->streams[chosen].used = ++readahead->clock;
    return count;
}
