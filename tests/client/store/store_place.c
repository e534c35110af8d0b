/*
 * store_place.c - see store_place.h.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "client/store/exchange.h"
#include "client/store/format/state.h"
#include "core/bytes.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
place_setup(void **state)
{
    struct place *const p = calloc(1, sizeof(*p));

    store_folder_make(p->folder);
    snprintf(p->path, sizeof(p->path), "%s/app.db", p->folder);
    snprintf(p->dir, sizeof(p->dir), "%s-ramet", p->path);
    remote_init(&p->remote, 1);
    *state = p;
    return 0;
}

int
place_teardown(void **state)
{
    struct place *const p = *state;

    store_folder_remove(p->folder);
    remote_done(&p->remote);
    free(p);
    return 0;
}

static struct ramet_replica_options
options_of(unsigned flags, const struct ramet_os *os)
{
    return (struct ramet_replica_options){
        .os = os,
        .flags = flags,
        .kind = RAMET_KIND_BLOB,
        .page_size = PLACE_PAGE,
    };
}

struct ramet_session *
place_open_on(struct place *p, unsigned flags, const struct ramet_os *os)
{
    const struct ramet_replica_options options = options_of(flags, os);
    struct ramet_session *session;

    OK(ramet_session_open(p->path, &options, &session, e));
    ramet_replica_set_fetcher(ramet_session_replica(session), remote_fetch,
                              &p->remote);
    return session;
}

struct ramet_session *
place_open(struct place *p, unsigned flags)
{
    return place_open_on(p, flags, NULL);
}

enum ramet_rc
place_try_open(const char *path, unsigned flags, struct ramet_err *err)
{
    const struct ramet_replica_options options = options_of(flags, NULL);
    struct ramet_session *session;
    const enum ramet_rc rc = ramet_session_open(path, &options, &session, err);

    if (rc == RAMET_OK)
        ramet_session_close(session);
    return rc;
}

void
place_await_tick(const struct place *p)
{
    struct stat base;
    struct stat st;
    char path[300];

    assert_int_equal(stat(p->path, &base), 0);
    snprintf(path, sizeof(path), "%s/tick", p->folder);
    do {
        const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, "", 1), 1);
        assert_int_equal(fstat(fd, &st), 0);
        close(fd);
    } while (st.st_mtim.tv_sec == base.st_ctim.tv_sec &&
             st.st_mtim.tv_nsec == base.st_ctim.tv_nsec);
    assert_int_equal(unlink(path), 0);
}

void
place_copy(const struct place *p, const char *to)
{
    char command[2000];

    /* What has a temporary name is being made, and gone in a moment. */
    snprintf(command, sizeof(command),
             "cp -a --sparse=always '%s' '%s' && mkdir '%s-ramet' && "
             "chmod --reference='%s' '%s-ramet' && find '%s' -mindepth 1 "
             "-maxdepth 1 ! -name '*.tmp' -exec cp -a -t '%s-ramet' {} +",
             p->path, to, to, p->dir, to, p->dir, to);
    assert_int_equal(system(command), 0);
}

struct image *
place_image(uint64_t seed, uint64_t size)
{
    struct image *const image = image_new(size, PLACE_PAGE);

    store_random_bytes(&seed, image->bytes, size);
    return image;
}

enum ramet_rc
place_commit(struct ramet_session *session, const struct image *image,
             struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_pin(session, err);

    if (rc == RAMET_OK)
        rc = ramet_session_reserve(session, err);
    if (rc == RAMET_OK)
        rc = ramet_session_write(session, 0, image->bytes, image->size, err);
    if (rc == RAMET_OK)
        rc = ramet_session_truncate(session, image->size, err);
    if (rc == RAMET_OK)
        rc = ramet_session_prepare(session, NULL, err);
    if (rc == RAMET_OK)
        rc = ramet_session_sync(session, err);
    if (rc == RAMET_OK)
        ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    return rc;
}

void
place_expect(struct ramet_session *session, const struct image *image, int line)
{
    ramet_session_unpin(session);
    OK(ramet_session_pin(session, e));
    store_expect(session, image, line);
    ramet_session_unpin(session);
}

struct ramet_session *
place_open_in_child(struct place *p)
{
    const struct ramet_replica_options options = {.flags = 0};
    struct ramet_err err = {.text = ""};
    struct ramet_session *session = NULL;
    enum ramet_rc rc;

    do /* killed openers leave nothing, but others may be at it */
        rc = ramet_session_open(p->path, &options, &session, &err);
    while (rc == RAMET_EBUSY);
    child_require(rc == RAMET_OK, "open", &err);
    ramet_replica_set_fetcher(ramet_session_replica(session), remote_fetch,
                              &p->remote);
    return session;
}

size_t
place_state_of_version_3(const uint8_t *bytes, size_t size, uint8_t *out)
{
    const size_t absent_at = 152; /* a count that version 4 has no more */
    const size_t len = ramet_get_le32(bytes + 16);
    struct ramet_state_file *const state = calloc(1, sizeof(*state));
    size_t unsynced;

    OK(ramet_state_file_decode(bytes, size, state, e));
    unsynced = 2 + 12 * (size_t)state->unsynced.count;
    ramet_state_file_done(state);
    free(state);
    memcpy(out, bytes + 24, absent_at);
    memset(out + absent_at, 0, 8);
    memcpy(out + absent_at + 8, bytes + 24 + absent_at,
           len - unsynced - absent_at);
    return len - unsynced + 8;
}
