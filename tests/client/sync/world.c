/*
 * world.c - see world.h.
 */
#include "tests/client/sync/world.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "metastore/catalog.h"
#include "tests/client/store/plain.h"
#include "tests/support/faultstore.h"

static void
close_remote(struct ramet_remote *remote)
{
    ramet_free(remote); /* the store is the world's */
}

static const struct ramet_remote_ops remote_ops = {.close = close_remote};

void
world_ok(enum ramet_rc rc, const struct ramet_err *err, const char *what,
         int line)
{
    if (rc != RAMET_OK)
        fail_msg("line %d: %s: %s: %s", line, what, ramet_rc_name(rc),
                 err->text);
}

static void
make_client(struct world *world, unsigned machine)
{
    struct ramet_remote *const remote = ramet_calloc(1, sizeof(*remote));

    assert_non_null(remote);
    remote->ops = &remote_ops;
    remote->store = world->faults[machine];
    OK(ramet_url_parse(world->urls[machine], &remote->url, e));
    OK(ramet_remote_client_share(NULL, remote, &world->clients[machine], e));
}

static int
setup(void **state, bool in_directory)
{
    static unsigned worlds; /* one that failed may have left its clients */
    struct world *const world = calloc(1, sizeof(*world));
    const char *const tmp = getenv("TMPDIR");

    assert_non_null(world);
    unsetenv("RAMET_REMOTE");
    worlds++;
    snprintf(world->dir, sizeof(world->dir), "%s/ramet-world-XXXXXX",
             tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(world->dir));
    if (in_directory)
        OK(ramet_dirstore_open(NULL, world_path(world, "store"), true,
                               &world->store, e));
    else
        OK(ramet_memstore_open(&world->store, e));
    OK(ramet_catalog_check(world->store, true, e));
    for (unsigned i = 0; i < WORLD_MACHINES; i++) {
        world->faults[i] = ramet_faultstore_new(world->store);
        assert_non_null(world->faults[i]);
        snprintf(world->urls[i], sizeof(world->urls[i]), "file:///m%u.%u/vol",
                 worlds, i);
        make_client(world, i);
    }
    *state = world;
    return 0;
}

int
world_setup(void **state)
{
    return setup(state, false);
}

int
world_setup_dir(void **state)
{
    return setup(state, true);
}

int
world_teardown(void **state)
{
    struct world *const world = *state;
    char command[300];

    for (unsigned i = 0; i < WORLD_MACHINES; i++) {
        ramet_remote_client_close(world->clients[i]);
        ramet_objstore_close(world->faults[i]);
    }
    ramet_objstore_close(world->store);
    snprintf(command, sizeof(command), "rm -rf '%s'", world->dir);
    if (system(command) != 0)
        return -1;
    free(world);
    return 0;
}

void
world_restart(struct world *world, unsigned machine)
{
    ramet_remote_client_close(world->clients[machine]);
    make_client(world, machine);
}

const char *
world_path(const struct world *world, const char *name)
{
    static _Thread_local char paths[8][300];
    static _Thread_local unsigned next;
    char *const path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", world->dir, name);
    return path;
}

void
world_options(const struct world *world, unsigned machine,
              struct ramet_file_options *options)
{
    ramet_file_options_init(options);
    options->flags = RAMET_OPEN_CREATE | RAMET_OPEN_ADOPT;
    options->remote = world->urls[machine];
    options->sync = RAMET_SYNC_MANUAL;
    options->kind_of_new = RAMET_KIND_BLOB;
    options->fetch_timeout_ms = 2000;
    options->commit_timeout_ms = 2000;
}

struct ramet_file *
world_open(const struct world *world, unsigned machine, const char *name)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    world_options(world, machine, &options);
    OK(ramet_file_open(world_path(world, name), &options, &file, e));
    return file;
}

struct ramet_file *
world_clone(const struct world *world, unsigned machine, const char *name,
            bool hydrate)
{
    struct ramet_file_options options;

    world_options(world, machine, &options);
    options.hydrate = hydrate;
    OK(ramet_file_clone(world->urls[machine], world_path(world, name), &options,
                        NULL, NULL, NULL, e));
    return world_open(world, machine, name);
}

enum ramet_rc
world_try_write(struct ramet_file *file, uint64_t offset, const void *data,
                size_t len, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_file_pin(file, err);

    if (rc != RAMET_OK)
        return rc;
    rc = ramet_file_reserve(file, err);
    if (rc == RAMET_OK) {
        rc = ramet_file_write(file, offset, data, len, err);
        if (rc == RAMET_OK)
            rc = ramet_file_prepare(file, NULL, err);
        if (rc == RAMET_OK)
            rc = ramet_file_sync_local(file, err);
        if (rc == RAMET_OK)
            ramet_file_publish(file);
        ramet_file_release(file);
    }
    ramet_file_unpin(file);
    return rc;
}

void
world_write(struct ramet_file *file, uint64_t offset, const void *data,
            size_t len)
{
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc;

    /* As a program with a busy time-out; the background writes, too. */
    for (unsigned i = 0; i < 2000; i++) {
        rc = world_try_write(file, offset, data, len, &err);
        if (rc != RAMET_EBUSY)
            break;
        usleep(1000);
    }
    world_ok(rc, &err, "world_try_write()", __LINE__);
}

void
world_truncate(struct ramet_file *file, uint64_t byte_length)
{
    OK(ramet_file_pin(file, e));
    OK(ramet_file_reserve(file, e));
    OK(ramet_file_truncate(file, byte_length, e));
    OK(ramet_file_prepare(file, NULL, e));
    OK(ramet_file_sync_local(file, e));
    ramet_file_publish(file);
    ramet_file_release(file);
    ramet_file_unpin(file);
}

void
world_fill(void *out, size_t len, uint64_t seed)
{
    uint8_t *const bytes = out;

    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            seed = seed * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(seed >> (32 + i % 8 * 4) & 0x3f);
    }
}

void
world_expect(struct ramet_file *file, const void *bytes, size_t len)
{
    uint8_t *const got = malloc(len + 1);
    size_t got_len = 0;

    assert_non_null(got);
    OK(ramet_file_pin(file, e));
    assert_true(ramet_file_size(file) == len);
    OK(ramet_file_read(file, 0, got, len + 1, &got_len, e));
    ramet_file_unpin(file);
    assert_true(got_len == len);
    for (size_t i = 0; i < len; i++)
        if (got[i] != ((const uint8_t *)bytes)[i])
            fail_msg("byte %zu of %zu: %02x, not %02x", i, len, got[i],
                     ((const uint8_t *)bytes)[i]);
    free(got);
}

void
world_expect_remote(struct world *world, uint64_t lsn, const void *bytes,
                    size_t len)
{
    struct ramet_file_options options;
    struct ramet_file *stateless = NULL;

    world_restart(world, 2);
    world_options(world, 2, &options);
    options.stateless = true;
    OK(ramet_file_open(world_path(world, "stateless"), &options, &stateless,
                       e));
    OK(ramet_file_pin(stateless, e));
    assert_int_equal(ramet_file_snapshot(stateless)->lsn, lsn);
    ramet_file_unpin(stateless);
    world_expect(stateless, bytes, len);
    ramet_file_close(stateless);
}

static void
expect_file(const char *path, const void *bytes, size_t len, bool is_base)
{
    uint8_t *const got = malloc(len + 1);
    FILE *const file = fopen(path, "rb");

    assert_non_null(got);
    if (file == NULL)
        fail_msg("%s: is not there", path);
    assert_true(fread(got, 1, len + 1, file) == len);
    if (is_base ? !is_plain_right(got, bytes, len)
                : memcmp(got, bytes, len) != 0)
        fail_msg("%s: has other bytes", path);
    fclose(file);
    free(got);
}

void
world_expect_plain(const char *path, const void *bytes, size_t len)
{
    expect_file(path, bytes, len, false);
}

void
world_expect_base(const char *path, const void *bytes, size_t len)
{
    expect_file(path, bytes, len, true);
}

void
world_write_plain(const char *path, const void *bytes, size_t len)
{
    FILE *const file = fopen(path, "wb");

    assert_non_null(file);
    assert_true(fwrite(bytes, 1, len, file) == len);
    assert_int_equal(fclose(file), 0);
}

struct ramet_file_status
world_status(struct ramet_file *file)
{
    struct ramet_file_status status;

    OK(ramet_file_status(file, &status, e));
    return status;
}

struct ramet_remote_point
world_newest_point(const struct world *world)
{
    struct ramet_remote_point point;
    struct ramet_history *history;
    struct ramet_vid volume;
    struct ramet_head head;

    OK(ramet_remote_client_resolve(world->clients[0], &volume, e));
    OK(ramet_remote_client_history(world->clients[0], &volume, &history, e));
    OK(ramet_history_newest(history, &head, e));
    point = (struct ramet_remote_point){
        .lsn = head.lsn,
        .hash = head.hash,
        .time_ms = head.time_ms,
        .page_size = head.page_size,
        .page_count = head.page_count,
        .byte_length = head.byte_length,
    };
    return point;
}
