/*
 * test_journal.c - the private journal against a plain array, through its
 * spill to a file; and what it learns of `synchronous` from SQLite's calls.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "vfs/journal.h"

#define MODEL_SIZE (4u << 20)

/* ---- a VFS below: files in memory that count and may fail ---------------- */

struct memfile {
    sqlite3_file base;
    uint8_t *bytes;
    uint64_t size;
};

static int open_files;
static int writes_until_failure = -1;

static int
mem_close(sqlite3_file *file)
{
    free(((struct memfile *)file)->bytes);
    open_files--;
    return SQLITE_OK;
}

static int
mem_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 at)
{
    struct memfile *mem = (struct memfile *)file;

    assert_true((uint64_t)at + (uint64_t)len <= mem->size);
    memcpy(buf, mem->bytes + at, (size_t)len);
    return SQLITE_OK;
}

static int
mem_write(sqlite3_file *file, const void *buf, int len, sqlite3_int64 at)
{
    struct memfile *mem = (struct memfile *)file;

    if (writes_until_failure == 0)
        return SQLITE_FULL;
    if (writes_until_failure > 0)
        writes_until_failure--;
    assert_true((uint64_t)at <= mem->size); /* no holes are left */
    assert_true(len <= 0x1ffff);            /* all that os_unix.c can take */
    assert_true((uint64_t)at + (uint64_t)len <= MODEL_SIZE);
    memcpy(mem->bytes + at, buf, (size_t)len);
    if ((uint64_t)at + (uint64_t)len > mem->size)
        mem->size = (uint64_t)at + (uint64_t)len;
    return SQLITE_OK;
}

static const sqlite3_io_methods mem_methods = {
    .iVersion = 1,
    .xClose = mem_close,
    .xRead = mem_read,
    .xWrite = mem_write,
};

static int
mem_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
         int *out_flags)
{
    struct memfile *mem = (struct memfile *)file;

    (void)vfs;
    (void)out_flags;
    assert_null(name); /* nobody can find it */
    assert_true(flags & SQLITE_OPEN_DELETEONCLOSE);
    mem->bytes = malloc(MODEL_SIZE);
    mem->size = 0;
    mem->base.pMethods = &mem_methods;
    open_files++;
    return SQLITE_OK;
}

static sqlite3_vfs mem_vfs = {
    .iVersion = 1,
    .szOsFile = sizeof(struct memfile),
    .xOpen = mem_open,
};

/* ---- a journal and its handle --------------------------------------------- */

struct fixture {
    struct ramet_journal journal;
    sqlite3_file *file;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->file = calloc(1, (size_t)ramet_journal_handle_size());
    ramet_journal_open(&f->journal, &mem_vfs, f->file, false);
    writes_until_failure = -1;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    f->file->pMethods->xClose(f->file);
    assert_false(f->journal.is_open);
    ramet_journal_done(&f->journal);
    assert_int_equal(open_files, 0);
    free(f->file);
    free(f);
    return 0;
}

static int
put(struct fixture *f, const void *buf, int len, sqlite3_int64 at)
{
    return f->file->pMethods->xWrite(f->file, buf, len, at);
}

static void
compare(struct fixture *f, const uint8_t *model, uint64_t size, uint64_t at,
        int len)
{
    uint8_t *got = malloc((size_t)len + 1);
    sqlite3_int64 journal_size = -1;
    const int code =
        f->file->pMethods->xRead(f->file, got, len, (sqlite3_int64)at);

    for (int i = 0; i < len; i++)
        assert_int_equal(got[i],
                         at + (uint64_t)i < size ? model[at + (uint64_t)i] : 0);
    assert_int_equal(
        code, at + (uint64_t)len <= size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ);
    f->file->pMethods->xFileSize(f->file, &journal_size);
    assert_int_equal(journal_size, size);
    free(got);
}

static void
assert_byte(struct fixture *f, uint64_t size, sqlite3_int64 at, uint8_t wanted)
{
    sqlite3_int64 journal_size = -1;
    uint8_t got = 0;

    assert_int_equal(f->file->pMethods->xRead(f->file, &got, 1, at), SQLITE_OK);
    assert_int_equal(got, wanted);
    f->file->pMethods->xFileSize(f->file, &journal_size);
    assert_int_equal(journal_size, size);
}

/* Appends mostly, as the pager does; overwrites, gaps and cuts now and then. */
static void
journal__equals_an_array(void **state)
{
    struct fixture *f = *state;
    uint8_t *model = calloc(1, MODEL_SIZE);
    uint8_t *data = malloc(70000);
    uint64_t size = 0;
    bool spilled = false;

    srand(42);
    for (int step = 0; step < 4000; step++) {
        const int len =
            rand() % 10 == 0 ? rand() % 66000 + 1 : rand() % 600 + 1;
        uint64_t at = size;
        const int kind = rand() % 40;

        if (kind == 0 && size > 0)
            at = (uint64_t)rand() % size;
        if (kind == 1)
            at = size + (uint64_t)(rand() % 4096);
        if (kind == 2 && rand() % 4 == 0) {
            const uint64_t cut = size > 0 ? (uint64_t)rand() % size : 0;

            assert_int_equal(
                f->file->pMethods->xTruncate(f->file, (sqlite3_int64)cut),
                SQLITE_OK);
            memset(model + cut, 0, MODEL_SIZE - cut);
            size = cut;
            continue;
        }
        if (at + (uint64_t)len > MODEL_SIZE)
            continue;
        for (int i = 0; i < len; i++)
            data[i] = (uint8_t)rand();
        assert_int_equal(put(f, data, len, (sqlite3_int64)at), SQLITE_OK);
        memcpy(model + at, data, (size_t)len);
        if (at + (uint64_t)len > size)
            size = at + (uint64_t)len;
        spilled = spilled || open_files > 0;
        assert_true(f->journal.window_capacity <= 2u * RAMET_JOURNAL_WINDOW);
        if (step % 3 == 0)
            compare(f, model, size, (uint64_t)rand() % (size + 1),
                    rand() % 70000);
    }
    assert_true(spilled);
    compare(f, model, size, 0, (int)size);
    free(model);
    free(data);
}

static void
journal__keeps_little_memory_when_emptied(void **state)
{
    struct fixture *f = *state;
    uint8_t page[4096] = {1};

    for (int i = 0; i < 500; i++)
        assert_int_equal(put(f, page, 4096, i * 4096), SQLITE_OK);
    assert_int_equal(open_files, 1);
    assert_int_equal(f->file->pMethods->xTruncate(f->file, 0), SQLITE_OK);
    assert_int_equal(open_files, 0);
    assert_true(f->journal.window_capacity <= RAMET_JOURNAL_KEEP);
    compare(f, page, 0, 0, 100);
}

static void
journal__passes_on_a_full_disk(void **state)
{
    struct fixture *f = *state;
    uint8_t page[4096] = {1};
    int code = SQLITE_OK;
    int i;

    writes_until_failure = 0;
    for (i = 0; i < 500 && code == SQLITE_OK; i++)
        code = put(f, page, 4096, i * 4096);
    assert_int_equal(code, SQLITE_FULL);
    assert_true(i > 200);
    writes_until_failure = -1; /* and goes on when there is room again */
    assert_int_equal(put(f, page, 4096, (i - 1) * 4096), SQLITE_OK);
    assert_byte(f, (uint64_t)i * 4096, (i - 1) * 4096, 1);
}

static void
journal__survives_failure_of_each_allocation(void **state)
{
    struct fixture *f = *state;
    uint8_t page[4096] = {1};

    for (long nth = 0; nth < 10; nth++) {
        ramet_alloc_fail_at(nth);
        for (int i = 0; i < 400; i++) {
            const int code = put(f, page, 4096, i * 4096);

            assert_true(code == SQLITE_OK || code == SQLITE_NOMEM);
            if (code == SQLITE_NOMEM)
                assert_int_equal(put(f, page, 4096, i * 4096), SQLITE_OK);
        }
        ramet_alloc_fail_at(-1);
        assert_byte(f, 400 * 4096, 399 * 4096, 1);
        assert_int_equal(f->file->pMethods->xTruncate(f->file, 0), SQLITE_OK);
        ramet_journal_done(&f->journal);
    }
}

/* ---- what it learns -------------------------------------------------------- */

static void
begin(struct fixture *f)
{
    uint8_t bytes[512] = {1};

    assert_int_equal(put(f, bytes, 512, 0), SQLITE_OK);
    assert_int_equal(put(f, bytes, 4, 512), SQLITE_OK);
    assert_int_equal(put(f, bytes, 512, 516), SQLITE_OK);
    assert_int_equal(put(f, bytes, 4, 1028), SQLITE_OK);
}

static void
sync_record_count(struct fixture *f, bool full)
{
    uint8_t bytes[12] = {1};

    if (full)
        f->file->pMethods->xSync(f->file, SQLITE_SYNC_NORMAL);
    /* The first header's record count lies at offset 0 (pager.c). */
    assert_int_equal(put(f, bytes, 12, 0), SQLITE_OK);
    f->file->pMethods->xSync(f->file, SQLITE_SYNC_NORMAL);
}

static void
journal__tells_full_from_normal(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[512] = {1};

    assert_false(ramet_journal_says_normal(&f->journal)); /* in doubt, full */
    for (int spills = 0; spills < 3; spills++) {
        begin(f);
        assert_true(f->journal.begun);
        assert_false(ramet_journal_says_normal(&f->journal));
        for (int i = 0; i <= spills; i++) {
            sync_record_count(f, false);
            assert_int_equal(put(f, bytes, 512, 2048), SQLITE_OK);
        }
        sync_record_count(f, false);
        assert_true(ramet_journal_says_normal(&f->journal));

        begin(f);
        assert_false(ramet_journal_says_normal(&f->journal));
        for (int i = 0; i <= spills; i++) {
            sync_record_count(f, true);
            assert_int_equal(put(f, bytes, 512, 2048), SQLITE_OK);
        }
        assert_false(ramet_journal_says_normal(&f->journal));
        ramet_journal_end(&f->journal);
        assert_false(f->journal.begun);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(journal__equals_an_array, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            journal__keeps_little_memory_when_emptied, setup, teardown),
        cmocka_unit_test_setup_teardown(journal__passes_on_a_full_disk, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            journal__survives_failure_of_each_allocation, setup, teardown),
        cmocka_unit_test_setup_teardown(journal__tells_full_from_normal, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
