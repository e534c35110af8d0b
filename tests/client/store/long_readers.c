/*
 * long_readers.c - readers that stay while checkpoints pass them: what the tests of
 * the past share.
 */
#include "tests/client/store/long_readers.h"

#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "client/store/exchange.h"

struct long_usage
long_usage_of(const struct place *p, const char *prefix)
{
    struct long_usage usage = {0, 0};
    DIR *const dir = opendir(p->dir);
    const struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;

        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
            fstatat(dirfd(dir), entry->d_name, &st, 0) != 0)
            continue;
        usage.files++;
        usage.bytes += (uint64_t)st.st_size;
    }
    closedir(dir);
    return usage;
}

struct long_reader
long_pin_newest_on(struct place *p, const struct image *newest,
                   const struct ramet_os *os)
{
    const struct long_reader r = {place_open_on(p, 0, os), image_copy(newest)};

    OK(ramet_session_pin(r.session, e));
    return r;
}

struct long_reader
long_pin_newest(struct place *p, const struct image *newest)
{
    return long_pin_newest_on(p, newest, NULL);
}

void
long_end_reader(struct long_reader *r)
{
    ramet_session_close(r->session);
    image_unref(r->seen);
    r->session = NULL;
}

void
long_change_pages(struct image *image, uint64_t *rng, unsigned count)
{
    while (count-- > 0) {
        const uint32_t pgno = (uint32_t)store_below(rng, image_pages(image));

        store_random_bytes(rng, image->bytes + (uint64_t)pgno * PLACE_PAGE,
                           PLACE_PAGE);
    }
}

void
long_commit_log_file(struct ramet_session *writer, const struct image *image)
{
    OK(place_commit(writer, image, e));
    OK(ramet_session_checkpoint(writer, true, e));
}

void
long_commit_log_files(struct ramet_session *writer, struct image *image,
                      uint64_t *rng, unsigned pages)
{
    for (unsigned i = 0; i < LOG_FILES; i++) {
        long_change_pages(image, rng, pages);
        long_commit_log_file(writer, image);
    }
}
