/*
 * make_volume.c - make a volume through a server, and print what it is.
 *
 *   make_volume PORT NAME PAGES COMMITS EXPECTED
 *
 * PAGES pages of 4 KiB, then COMMITS commits of a few random pages each; the
 * content at the end is written to the file EXPECTED. Prints its id and LSN.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "metastore/catalog.h"
#include "tests/server/fixture.h"

static void
write_expected(const struct model *model, const char *path)
{
    const struct model_version *last = &model->versions[model->lsn];
    uint8_t *page = ramet_alloc(last->page_size);
    FILE *out = fopen(path, "wb");

    assert_non_null(page);
    assert_non_null(out);
    for (uint32_t i = 0; i < last->page_count; i++) {
        model_fill(page, last->page_size, last->pages[i]);
        assert_int_equal(fwrite(page, last->page_size, 1, out), 1);
    }
    assert_int_equal(fclose(out), 0);
    ramet_free(page);
}

static void
model_begin(struct model *model, uint32_t pages)
{
    struct model_change change = {
        .page_size = 4096, .least = 0, .page_count = pages};

    ramet_pageset_init(&change.changed);
    assert_int_equal(
        ramet_pageset_add_run(&change.changed, (struct ramet_run){1, pages}),
        RAMET_OK);
    model_commit(model, &change);
    ramet_pageset_done(&change.changed);
}

int
main(int argc, char **argv)
{
    struct ramet_remote *remote;
    struct ramet_err err;
    struct model model;
    char id[RAMET_ID_TEXT_SIZE];

    if (argc != 6) {
        (void)fprintf(stderr,
                      "usage: make_volume PORT NAME PAGES COMMITS EXPECTED\n");
        return 2;
    }
    remote =
        fixture_connect_port((unsigned)atoi(argv[1]), getenv("RAMET_TOKEN"));
    model_init(&model, remote->store, 1);
    if (ramet_catalog_bind(remote->store, argv[2], &model.volume, false,
                           &err) != RAMET_OK) {
        (void)fprintf(stderr, "make_volume: %s\n", err.text);
        return 1;
    }
    model_begin(&model, (uint32_t)atoi(argv[3]));
    for (int i = 0; i < atoi(argv[4]); i++)
        model_write_random(&model, 3);
    write_expected(&model, argv[5]);
    ramet_id_format(&model.volume.id, id);
    (void)printf("%s %llu\n", id, (unsigned long long)model.lsn);
    model_done(&model);
    remote->ops->close(remote);
    return 0;
}
