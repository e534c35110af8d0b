/*
 * test_sync_model.c - two machines take turns in writing, growing, cutting and
 * regrowing a file, pushing and pulling in every order; a model holds the
 * bytes of every LSN. Seeded: RAMET_SEED=n repeats a run.
 */
#include "client/store/exchange.h"
#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/bytes.h"
#include "tests/client/sync/world.h"
#include "tests/support/faultstore.h"

enum { LSNS = 300, BYTES_MAX = 400000 };

struct version {
    uint8_t *bytes;
    size_t len;
};

/* One machine: its replica, and what it must hold. */
struct machine {
    unsigned index;
    const char *name;
    struct ramet_file *file;
    uint64_t lsn; /* that it stands on */
    struct version local;
};

struct play {
    struct world *world;
    struct version remote[LSNS + 1];
    uint64_t newest;
    uint64_t random;
    enum ramet_volume_kind kind;
    uint32_t page_size;
};

static uint64_t
rnd(struct play *play, uint64_t below)
{
    play->random = play->random * 6364136223846793005u + 1442695040888963407u;
    return (play->random >> 33) % below;
}

static void
copy_version(struct version *to, const struct version *from)
{
    uint8_t *const bytes = malloc(from->len + 1);

    assert_non_null(bytes);
    if (from->len > 0)
        memcpy(bytes, from->bytes, from->len);
    free(to->bytes);
    *to = (struct version){bytes, from->len};
}

static void
resize(struct version *v, size_t len)
{
    v->bytes = realloc(v->bytes, len + 1);
    assert_non_null(v->bytes);
    if (len > v->len)
        memset(v->bytes + v->len, 0, len - v->len);
    v->len = len;
}

/* For a database the length is a number of whole pages, and page 1 bears a
 * header that tells their size. */
static size_t
round_len(const struct play *play, size_t len)
{
    return play->kind == RAMET_KIND_SQLITE
               ? (len + play->page_size - 1) / play->page_size * play->page_size
               : len;
}

static void
write_piece(struct play *play, struct machine *m, size_t at, size_t len)
{
    uint8_t piece[20000];

    assert_true(len <= sizeof(piece));
    if (rnd(play, 4) == 0)
        memset(piece, 0, len); /* zeros are pages, too */
    else
        world_fill(piece, len, rnd(play, 1u << 30));
    if (at + len > m->local.len)
        resize(&m->local, round_len(play, at + len));
    memcpy(m->local.bytes + at, piece, len);
    OK(ramet_file_write(m->file, at, piece, len, e));
    if (play->kind == RAMET_KIND_SQLITE &&
        ramet_file_size(m->file) < m->local.len)
        OK(ramet_file_write(m->file, m->local.len - 1,
                            m->local.bytes + m->local.len - 1, 1, e));
}

static void
write_header(struct play *play, struct machine *m)
{
    uint8_t header[100] = "SQLite format 3";

    header[16] = (uint8_t)(play->page_size >> 8);
    header[17] = (uint8_t)(play->page_size >> 16);
    ramet_put_be32(header + 24, (uint32_t)rnd(play, 1u << 30));
    memcpy(header + 92, header + 24, 4);
    if (m->local.len < play->page_size)
        resize(&m->local, play->page_size);
    memcpy(m->local.bytes, header, sizeof(header));
    OK(ramet_file_write(m->file, 0, m->local.bytes, play->page_size, e));
}

static void
change_something(struct play *play, struct machine *m)
{
    size_t len;

    switch (rnd(play, 6)) {
    case 0: /* cut */
        len = round_len(play, rnd(play, m->local.len + 1));
        if (play->kind == RAMET_KIND_SQLITE && len < play->page_size)
            len = play->page_size;
        if (len < m->local.len) {
            resize(&m->local, len);
            OK(ramet_file_truncate(m->file, len, e));
        }
        break;
    case 1: /* grow, perhaps leaving a hole */
        len = 1 + rnd(play, 9000);
        if (m->local.len + 60000 < BYTES_MAX)
            write_piece(play, m, m->local.len + rnd(play, 30000), len);
        break;
    default:
        len = 1 + rnd(play, rnd(play, 3) == 0 ? 20000 : 700);
        write_piece(play, m,
                    100 + rnd(play, m->local.len > 100 ? m->local.len - 99 : 1),
                    len);
    }
}

static void
transaction(struct play *play, struct machine *m)
{
    const uint64_t count = 1 + rnd(play, 4);

    OK(ramet_file_pin(m->file, e));
    OK(ramet_file_reserve(m->file, e));
    if (play->kind == RAMET_KIND_SQLITE)
        write_header(play, m);
    for (uint64_t i = 0; i < count; i++)
        change_something(play, m);
    if (play->kind == RAMET_KIND_SQLITE)
        write_header(play, m);
    OK(ramet_file_prepare(m->file, NULL, e));
    OK(ramet_file_sync_local(m->file, e));
    ramet_file_publish(m->file);
    ramet_file_release(m->file);
    ramet_file_unpin(m->file);
}

static void
push(struct play *play, struct machine *m)
{
    const bool pending = world_status(m->file).local_commits > 0;
    struct ramet_sync_result result;

    OK(ramet_file_push(m->file, &result, e));
    if (!pending && play->newest > 0)
        return; /* but a volume's first commit may be empty */
    assert_true(result.durable_lsn == play->newest + 1);
    play->newest++;
    m->lsn = play->newest;
    copy_version(&play->remote[play->newest], &m->local);
}

static void
pull(struct play *play, struct machine *m)
{
    struct ramet_sync_result result;

    OK(ramet_file_pull(m->file, &result, e));
    assert_true(result.durable_lsn == play->newest);
    m->lsn = play->newest;
    copy_version(&m->local, &play->remote[play->newest]);
}

static void
read_something(struct play *play, struct machine *m)
{
    uint8_t got[5000];
    const size_t at = rnd(play, m->local.len + 10);
    const size_t len = 1 + rnd(play, sizeof(got));
    size_t got_len;

    OK(ramet_file_pin(m->file, e));
    OK(ramet_file_read(m->file, at, got, len, &got_len, e));
    ramet_file_unpin(m->file);
    assert_true(got_len == (at >= m->local.len        ? 0
                            : len < m->local.len - at ? len
                                                      : m->local.len - at));
    assert_memory_equal(got, m->local.bytes + at, got_len);
}

static void
open_machine(struct play *play, struct machine *m)
{
    struct ramet_file_options options;

    world_options(play->world, m->index, &options);
    options.kind = play->kind;
    options.page_size = play->page_size;
    OK(ramet_file_open(world_path(play->world, m->name), &options, &m->file,
                       e));
}

static void
check_machine(struct machine *m)
{
    world_expect(m->file, m->local.bytes, m->local.len);
}

/* What machine 2, which nobody talked to before, sees of every LSN. */
static void
check_every_lsn(struct play *play)
{
    for (uint64_t lsn = 1; lsn <= play->newest; lsn++) {
        const struct version *const v = &play->remote[lsn];
        struct ramet_file_options options;
        struct ramet_file *stateless = NULL;
        char at[24];

        world_options(play->world, 2, &options);
        snprintf(at, sizeof(at), "%llu", (unsigned long long)lsn);
        options.at = at;
        OK(ramet_file_open(world_path(play->world, "none"), &options,
                           &stateless, e));
        OK(ramet_file_export(stateless, world_path(play->world, "out"), NULL,
                             e));
        world_expect_plain(world_path(play->world, "out"), v->bytes, v->len);
        ramet_file_close(stateless);
    }
}

/* What becomes of base images that are kept costs bytes alone: a bit is flipped,
 * they are cut off, are gone, or the other machine's, or as they were earlier. */
static void
hurt_bases(struct play *play, struct machine *m)
{
    char path[400], other[400], command[1300];
    const char *const folder = play->world->dir;
    struct stat st;
    uint8_t byte;
    int fd;

    snprintf(path, sizeof(path), "%s/%s-ramet/bases", folder, m->name);
    snprintf(other, sizeof(other), "%s/bases", folder);
    if (stat(path, &st) != 0 || st.st_size == 0)
        return;
    switch (rnd(play, 5)) {
    case 0:
        fd = open(path, O_RDWR);
        st.st_size = (off_t)rnd(play, (uint64_t)st.st_size);
        assert_int_equal(pread(fd, &byte, 1, st.st_size), 1);
        byte ^= (uint8_t)(1u << rnd(play, 8));
        assert_int_equal(pwrite(fd, &byte, 1, st.st_size), 1);
        close(fd);
        return;
    case 1:
        assert_int_equal(truncate(path, (off_t)rnd(play, (uint64_t)st.st_size)),
                         0);
        return;
    case 2:
        assert_int_equal(unlink(path), 0);
        return;
    case 3:
        snprintf(command, sizeof(command), "cp '%s' '%s'", path, other);
        break;
    default:
        snprintf(command, sizeof(command), "test ! -e '%s' || cp '%s' '%s'",
                 other, other, path);
    }
    assert_int_equal(system(command), 0);
}

static void
step(struct play *play, struct machine *m)
{
    switch (rnd(play, 13)) {
    case 6:
        hurt_bases(play, m);
        break;
    case 0:
        ramet_file_close(m->file);
        open_machine(play, m);
        break;
    case 1:
        OK(ramet_file_hydrate(m->file, NULL, e));
        break;
    case 2:
        OK(ramet_session_checkpoint(ramet_file_session(m->file),
                                    rnd(play, 2) == 0, e));
        break;
    case 3:
        OK(ramet_session_evict(ramet_file_session(m->file), 20000, e));
        break;
    case 4:
    case 5:
        check_machine(m);
        break;
    default:
        read_something(play, m);
    }
}

static void
play_turns(struct play *play, struct machine machines[2], unsigned turns)
{
    for (unsigned i = 0; i < turns && play->newest < LSNS; i++) {
        struct machine *const m = &machines[rnd(play, 2)];
        const uint64_t writes = rnd(play, 4);

        if (m->lsn < play->newest)
            pull(play, m);
        for (uint64_t w = 0; w < writes; w++) {
            transaction(play, m);
            if (rnd(play, 3) == 0)
                step(play, m);
        }
        step(play, m);
        push(play, m);
        step(play, m);
        step(play, &machines[rnd(play, 2)]);
    }
}

static void
run(struct world *world, enum ramet_volume_kind kind, uint32_t page_size,
    unsigned turns)
{
    struct machine machines[2] = {{.index = 0, .name = "a"},
                                  {.index = 1, .name = "b"}};
    struct play play = {.world = world, .kind = kind, .page_size = page_size};
    const char *const seed = getenv("RAMET_SEED");

    play.random = seed != NULL ? strtoull(seed, NULL, 10) : 4711 + page_size;
    print_message("seed %llu\n", (unsigned long long)play.random);
    open_machine(&play, &machines[0]);
    transaction(&play, &machines[0]);
    push(&play, &machines[0]);
    open_machine(&play, &machines[1]);
    pull(&play, &machines[1]);
    play_turns(&play, machines, turns);
    for (unsigned i = 0; i < 2; i++) {
        if (machines[i].lsn < play.newest)
            pull(&play, &machines[i]);
        check_machine(&machines[i]);
        OK(ramet_file_hydrate(machines[i].file, NULL, e));
        ramet_file_close(machines[i].file);
        world_expect_base(world_path(world, machines[i].name),
                          machines[i].local.bytes, machines[i].local.len);
        free(machines[i].local.bytes);
    }
    check_every_lsn(&play);
    for (uint64_t lsn = 0; lsn <= play.newest; lsn++)
        free(play.remote[lsn].bytes);
}

static void
model__agrees_on_a_blob_of_small_pages(void **state)
{
    run(*state, RAMET_KIND_BLOB, 512, 150);
}

static void
model__agrees_on_a_blob(void **state)
{
    run(*state, RAMET_KIND_BLOB, 4096, 100);
}

static void
model__agrees_on_a_blob_of_large_pages(void **state)
{
    run(*state, RAMET_KIND_BLOB, 65536, 60);
}

static void
model__agrees_on_a_database_of_small_pages(void **state)
{
    run(*state, RAMET_KIND_SQLITE, 512, 150);
}

static void
model__agrees_on_a_database(void **state)
{
    run(*state, RAMET_KIND_SQLITE, 4096, 100);
}

static void
model__agrees_on_a_database_of_large_pages(void **state)
{
    run(*state, RAMET_KIND_SQLITE, 65536, 40);
}

/* A remote that has sent along all that its store has: pulls keep what came with the
 * commits, whatever they cut off, grow again and overwrite. */
static struct ramet_remote_ops telling;

static bool
holds_all(struct ramet_remote *remote, const struct ramet_extent *place)
{
    (void)remote;
    (void)place;
    return true;
}

static void
tell_all(struct world *world)
{
    for (unsigned i = 0; i < WORLD_MACHINES; i++) {
        struct ramet_remote *const remote =
            ramet_remote_client_remote(world->clients[i]);

        telling = *remote->ops;
        telling.holds = holds_all;
        remote->ops = &telling;
    }
}

static void
model__agrees_on_a_blob_whose_pages_come_along(void **state)
{
    tell_all(*state);
    run(*state, RAMET_KIND_BLOB, 512, 150);
}

static void
model__agrees_on_a_database_whose_pages_come_along(void **state)
{
    tell_all(*state);
    run(*state, RAMET_KIND_SQLITE, 512, 150);
}

/* VACUUM to another size of pages, on one machine and then the other. */
static void
page_size__may_change_in_a_push(void **state)
{
    static const uint32_t sizes[] = {4096, 512, 65536, 1024, 8192, 512};
    struct world *const world = *state;
    struct machine machines[2] = {{.index = 0, .name = "a"},
                                  {.index = 1, .name = "b"}};
    struct play play = {.world = world,
                        .kind = RAMET_KIND_SQLITE,
                        .page_size = sizes[0],
                        .random = 99};

    open_machine(&play, &machines[0]);
    transaction(&play, &machines[0]);
    push(&play, &machines[0]);
    open_machine(&play, &machines[1]);
    pull(&play, &machines[1]);
    for (size_t i = 1; i < 6; i++) {
        struct machine *const m = &machines[i % 2];
        size_t len;

        if (m->lsn < play.newest)
            pull(&play, m);
        transaction(&play, m); /* pending as well, in the old size */
        play.page_size = sizes[i];
        OK(ramet_file_pin(m->file, e));
        OK(ramet_file_reserve(m->file, e));
        len = round_len(&play, m->local.len / 2);
        resize(&m->local, len);
        world_fill(m->local.bytes, len, i);
        OK(ramet_file_truncate(m->file, len, e));
        write_header(&play, m);
        for (size_t at = 0; at < len; at += play.page_size)
            OK(ramet_file_write(m->file, at, m->local.bytes + at,
                                play.page_size, e));
        OK(ramet_file_prepare(m->file, NULL, e));
        OK(ramet_file_sync_local(m->file, e));
        ramet_file_publish(m->file);
        ramet_file_release(m->file);
        ramet_file_unpin(m->file);
        check_machine(m);
        push(&play, m);
        pull(&play, &machines[1 - i % 2]);
        check_machine(&machines[1 - i % 2]);
    }
    for (unsigned i = 0; i < 2; i++) {
        ramet_file_close(machines[i].file);
        free(machines[i].local.bytes);
    }
    check_every_lsn(&play);
    for (uint64_t lsn = 0; lsn <= play.newest; lsn++)
        free(play.remote[lsn].bytes);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(model__agrees_on_a_blob_of_small_pages),
        T(model__agrees_on_a_blob),
        T(model__agrees_on_a_blob_of_large_pages),
        T(model__agrees_on_a_database_of_small_pages),
        T(model__agrees_on_a_database),
        T(model__agrees_on_a_database_of_large_pages),
        T(model__agrees_on_a_blob_whose_pages_come_along),
        T(model__agrees_on_a_database_whose_pages_come_along),
        T(page_size__may_change_in_a_push),
    };
    return cmocka_run_group_tests_name("sync_model", tests, NULL, NULL);
}
