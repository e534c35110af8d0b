/*
 * fuzz_news.c - the stream of news that a server may send to a client: the same
 * comes out however it is cut.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/news.h"
#include "core/hash.h"

#define VOLUMES 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
    uint64_t count, sum;
};

static enum ramet_rc
hear(void *ctx, const struct ramet_news *news, struct ramet_err *err)
{
    struct heard *const heard = ctx;

    (void)err;
    if (news->volume >= VOLUMES || news->object_len > RAMET_NEWS_OBJECT_MAX ||
        (news->object == NULL) != (news->object_len == 0) ||
        (heard->count == 0) != (news->type == RAMET_NEWS_BEGIN))
        abort();
    heard->count++;
    heard->sum = heard->sum * 31 + news->at.lsn + news->time_ms + news->volume;
    if (news->object_len > 0)
        heard->sum += ramet_hash64(news->object, news->object_len);
    return RAMET_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ramet_news_stream whole, pieces;
    struct heard at_once = {.count = 0}, cut = {.count = 0};
    enum ramet_rc rc, rc_cut = RAMET_OK;

    ramet_news_stream_init(&whole, VOLUMES, hear, &at_once);
    ramet_news_stream_init(&pieces, VOLUMES, hear, &cut);
    rc = ramet_news_stream_feed(&whole, data, size, NULL);
    for (size_t i = 0; i < size && rc_cut == RAMET_OK;) {
        size_t n = 1 + data[i] % 97;

        if (n > size - i)
            n = size - i;
        rc_cut = ramet_news_stream_feed(&pieces, data + i, n, NULL);
        i += n;
    }
    if (rc != rc_cut || at_once.count != cut.count || at_once.sum != cut.sum)
        abort();
    return 0;
}
