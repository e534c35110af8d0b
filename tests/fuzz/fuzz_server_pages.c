/*
 * fuzz_server_pages.c - what clients send to POST pages, and the ranges and
 * conditions of HTTP.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "server/conditional.h"
#include "server/pages.h"
#include "server/server_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_request(const uint8_t *data, size_t size)
{
    struct ramet_pages_request request;
    uint64_t pages = 0;

    if (ramet_pages_decode(data, size, &request, NULL) != RAMET_OK)
        return;
    for (uint32_t i = 0; i < request.run_count; i++) {
        if (request.runs[i].first == 0 ||
            request.runs[i].last < request.runs[i].first)
            abort();
        pages += request.runs[i].last - request.runs[i].first + 1u;
    }
    if (pages != request.page_count || pages > RAMET_PAGES_MAX)
        abort();
    ramet_pages_request_done(&request);
}

static void
check_known(const char *text)
{
    struct ramet_pages_request request = {.known = NULL};
    const enum ramet_rc rc =
        ramet_pages_decode_known(text, text, &request, NULL);

    if (rc == RAMET_OK &&
        (request.known->here_count > RAMET_PAGES_KNOWN_MAX ||
         request.known->coming_count != request.known->here_count))
        abort();
    for (uint32_t i = 0; rc == RAMET_OK && i < request.known->here_count; i++)
        if (request.known->here[i] == 0 ||
            request.known->here[i] != request.known->coming[i])
            abort();
    ramet_pages_request_done(&request);
}

static void
check_text(const char *text)
{
    struct ramet_object_range object;
    struct byte_range range;
    uint64_t time;

    check_known(text);
    if (ramet_api_range(text, 1000, &range) == RANGE_PART &&
        (range.length == 0 || range.offset + range.length > 1000))
        abort();
    (void)ramet_api_etag_matches(text, "\"0123\"");
    (void)ramet_parse_date(text, &time);
    (void)ramet_range_of_key(text, 0, &object);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = ramet_alloc(size + 1);

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    check_request(data, size);
    check_text(text);
    ramet_free(text);
    return 0;
}
