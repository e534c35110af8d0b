/*
 * bench_pagestore.c - what frames, dictionaries and threads cost and save on a
 * given file; docs/decisions/0001-frames-and-dictionary.md quotes it.
 *
 *   bench_pagestore dict FILE [PAGE_SIZE]     dictionary sizes and trainers
 *   bench_pagestore frames FILE [PAGE_SIZE]   pages a frame, levels
 *   bench_pagestore write FILE DIR [PAGE_SIZE [THREADS [LEVEL]]]
 *                                 the whole file as segments in a directory
 *   bench_pagestore update OLD NEW DIR [PAGE_SIZE]
 *                                 the pages of NEW that differ from OLD
 *
 * Not a test: it is built, and run by hand.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <fcntl.h>
#include <unistd.h>

#define ZDICT_STATIC_LINKING_ONLY
#include <zdict.h>

#include "core/alloc.h"
#include "core/os.h"
#include "pagestore/codec.h"
#include "pagestore/segment.h"

#define SAMPLE_BYTES (5u << 20)

struct input {
    uint8_t *data;
    uint32_t page_size;
    uint32_t page_count;
};

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "bench_pagestore: %s\n", what);
        exit(1);
    }
}

static double
now_s(void)
{
    return (double)ramet_os_system()->mono_ns(NULL) / 1e9;
}

static double
cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static struct input
load(const char *path, uint32_t page_size)
{
    struct input in = {.page_size = page_size};
    FILE *file = fopen(path, "rb");
    long size;

    require(file != NULL, path);
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    in.page_count = (uint32_t)((uint64_t)size / page_size);
    require(in.page_count > 0, "file smaller than a page");
    in.data = malloc((size_t)in.page_count * page_size);
    require(in.data != NULL, "no memory");
    require(fread(in.data, page_size, in.page_count, file) == in.page_count,
            "can't read");
    fclose(file);
    return in;
}

/* Evenly spread pages, as the client samples them. */
static uint8_t *
sample(const struct input *in, uint32_t *out_count)
{
    uint32_t count = SAMPLE_BYTES / in->page_size;
    uint8_t *pages;

    count = count < in->page_count ? count : in->page_count;
    pages = malloc((size_t)count * in->page_size);
    require(pages != NULL, "no memory");
    for (uint32_t i = 0; i < count; i++)
        memcpy(pages + (size_t)i * in->page_size,
               in->data + (uint64_t)i * in->page_count / count * in->page_size,
               in->page_size);
    *out_count = count;
    return pages;
}

struct result {
    uint64_t bytes;
    uint64_t frames;
    double compress_s;
    double decompress_s;
};

/* Every `stride`th frame of the file. */
static struct result
run_frames(const struct input *in, uint32_t pages_per_frame, int level,
           const uint8_t *dict, size_t dict_len, uint32_t stride)
{
    const size_t frame_bytes = (size_t)pages_per_frame * in->page_size;
    const size_t bound = ZSTD_compressBound(frame_bytes);
    const ZSTD_compressionParameters params =
        ZSTD_getCParams(level, frame_bytes, dict_len);
    ZSTD_CCtx *cctx = ZSTD_createCCtx();
    ZSTD_DCtx *dctx = ZSTD_createDCtx();
    ZSTD_CDict *cdict =
        ZSTD_createCDict_advanced(dict, dict_len, ZSTD_dlm_byCopy,
                                  ZSTD_dct_auto, params, ZSTD_defaultCMem);
    ZSTD_DDict *ddict = ZSTD_createDDict(dict, dict_len);
    uint8_t *packed = malloc(bound);
    uint8_t *plain = malloc(frame_bytes);
    struct result result = {0};

    ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(cctx, ZSTD_c_dictIDFlag, 0);
    if (dict_len > 0)
        ZSTD_CCtx_refCDict(cctx, cdict);
    for (uint64_t page = 0; page + pages_per_frame <= in->page_count;
         page += (uint64_t)pages_per_frame * stride) {
        const uint8_t *src = in->data + page * in->page_size;
        const double start = now_s();
        const size_t got =
            ZSTD_compress2(cctx, packed, bound, src, frame_bytes);
        const double middle = now_s();
        size_t back;

        require(!ZSTD_isError(got), "compression failed");
        back = ZSTD_decompress_usingDDict(dctx, plain, frame_bytes, packed, got,
                                          dict_len > 0 ? ddict : NULL);
        result.decompress_s += now_s() - middle;
        result.compress_s += middle - start;
        require(back == frame_bytes && memcmp(plain, src, back) == 0,
                "round trip failed");
        result.bytes += got;
        result.frames++;
    }
    free(packed);
    free(plain);
    ZSTD_freeCCtx(cctx);
    ZSTD_freeDCtx(dctx);
    ZSTD_freeCDict(cdict);
    ZSTD_freeDDict(ddict);
    return result;
}

static void
print_result(const char *name, const struct result *result, size_t frame_bytes)
{
    const double plain = (double)result->frames * (double)frame_bytes;

    printf("%-28s ratio %5.3f  %7.0f bytes/frame  compress %4.0f MB/s  "
           "decompress %5.0f MB/s\n",
           name, plain / (double)result->bytes,
           (double)result->bytes / (double)result->frames,
           plain / 1e6 / result->compress_s,
           plain / 1e6 / result->decompress_s);
    fflush(stdout);
}

/* What a dictionary takes in the store. */
static size_t
stored_len(const uint8_t *dict, size_t len)
{
    const size_t bound = ZSTD_compressBound(len);
    uint8_t *packed = malloc(bound);
    size_t got;

    require(packed != NULL, "no memory");
    got = ZSTD_compress(packed, bound, dict, len, 19);
    free(packed);
    return got;
}

static void
bench_dict(const struct input *in)
{
    static const unsigned sizes[] = {8, 16, 32, 64, 112};
    static const unsigned segments[] = {64, 256, 512, 1024};
    uint32_t count;
    uint8_t *pages = sample(in, &count);
    size_t *sample_sizes = malloc(count * sizeof(*sample_sizes));
    uint8_t *dict = malloc(RAMET_DICT_BYTES_MAX);
    struct result result = run_frames(in, 1, 3, NULL, 0, 7);

    require(sample_sizes != NULL && dict != NULL, "no memory");
    for (uint32_t i = 0; i < count; i++)
        sample_sizes[i] = in->page_size;
    print_result("none", &result, in->page_size);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
        for (size_t k = 0; k < sizeof(segments) / sizeof(segments[0]); k++) {
            const ZDICT_fastCover_params_t params = {.k = segments[k],
                                                     .d = 8,
                                                     .f = 18,
                                                     .accel = 4,
                                                     .zParams.compressionLevel =
                                                         3};
            const double start = now_s();
            const size_t len = ZDICT_trainFromBuffer_fastCover(
                dict, (size_t)sizes[s] << 10, pages, sample_sizes, count,
                params);
            const double took = now_s() - start;
            char name[64];

            if (ZDICT_isError(len))
                continue;
            result = run_frames(in, 1, 3, dict, len, 7);
            snprintf(name, sizeof(name), "%3u KiB k=%-4u %3.0f ms, %zu",
                     sizes[s], segments[k], took * 1e3, stored_len(dict, len));
            print_result(name, &result, in->page_size);
        }
    free(pages);
    free(sample_sizes);
    free(dict);
}

static void
bench_frames(const struct input *in)
{
    static const uint32_t counts[] = {1, 2, 4, 8, 16, 64};
    static const int levels[] = {1, 2, 3, 4};
    uint32_t count;
    uint8_t *pages = sample(in, &count);
    uint8_t *dict = NULL;
    size_t dict_len = 0;
    bool worth = false;
    const double start = now_s();
    const enum ramet_rc rc = ramet_dict_train(pages, count, in->page_size,
                                              &worth, &dict, &dict_len, NULL);

    require(rc == RAMET_OK, "training failed");
    printf("dictionary: %s, %zu bytes, %.0f ms\n", worth ? "worth it" : "not",
           dict_len, (now_s() - start) * 1e3);
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++)
        for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++)
            for (int with = 0; with <= (worth ? 1 : 0); with++) {
                const struct result result =
                    run_frames(in, counts[c], levels[l], with ? dict : NULL,
                               with ? dict_len : 0, 7);
                char name[64];

                snprintf(name, sizeof(name), "%2u pages level %d%s", counts[c],
                         levels[l], with ? " dict" : "");
                print_result(name, &result, (size_t)counts[c] * in->page_size);
            }
    ramet_free(dict);
    free(pages);
}

/* ---- writing -------------------------------------------------------------- */

struct totals {
    uint64_t bytes;
    uint64_t table_bytes;
    uint64_t segments;
};

static void
finish(struct ramet_segment_writer *writer, struct totals *totals)
{
    struct ramet_segment_info info;
    struct ramet_err err = {0};
    uint8_t *bytes;
    size_t len;

    require(ramet_segment_writer_finish(writer, false, &info, &bytes, &len,
                                        &err) == RAMET_OK,
            err.text);
    totals->bytes += info.size_bytes;
    totals->segments++;
    for (uint32_t i = 0; i < info.chunk_count; i++)
        totals->table_bytes += info.chunks[i].length_bytes;
    ramet_segment_info_done(&info);
}

/* The sample, as a client takes it: from the file, by page. */
static bool
train_from(int fd, uint32_t page_count, uint32_t page_size, uint8_t **out_dict,
           size_t *out_len)
{
    uint32_t count = SAMPLE_BYTES / page_size;
    uint8_t *pages;
    bool worth = false;

    count = count < page_count ? count : page_count;
    pages = malloc((size_t)count * page_size);
    require(pages != NULL, "no memory");
    for (uint32_t i = 0; i < count; i++)
        require(pread(fd, pages + (size_t)i * page_size, page_size,
                      (off_t)((uint64_t)i * page_count / count * page_size)) ==
                    (ssize_t)page_size,
                "can't read");
    require(ramet_dict_train(pages, count, page_size, &worth, out_dict, out_len,
                             NULL) == RAMET_OK,
            "training failed");
    free(pages);
    return worth;
}

static void
bench_write(const char *path, const char *dir, uint32_t page_size,
            unsigned threads, int level)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const uint32_t page_count =
        (uint32_t)((uint64_t)lseek(fd, 0, SEEK_END) / page_size);
    struct ramet_codec codec = {.threads = threads, .level = level};
    struct ramet_segment_writer *writer = NULL;
    struct ramet_objstore *store = NULL;
    struct totals totals = {0};
    struct ramet_vid volume;
    struct ramet_err err = {0};
    uint8_t *chunk = malloc(1u << 20);
    uint8_t *dict = NULL;
    const double start = now_s();
    double trained;
    struct rusage usage;

    require(fd >= 0 && chunk != NULL, path);
    require(ramet_dirstore_open(NULL, dir, true, &store, &err) == RAMET_OK,
            err.text);
    require(ramet_id_new(&volume.id, &err) == RAMET_OK, err.text);
    if (train_from(fd, page_count, page_size, &dict, &codec.dict_len)) {
        codec.dict = dict;
        require(ramet_dict_store(store, &volume, dict, codec.dict_len,
                                 &codec.dict_extent, &err) == RAMET_OK,
                err.text);
    }
    trained = now_s();
    for (uint32_t pgno = 1; pgno <= page_count;) {
        const size_t at = (size_t)(pgno - 1) * page_size;
        const ssize_t got = pread(fd, chunk, 1u << 20, (off_t)at);

        require(got > 0, "can't read");
        for (size_t i = 0; i + page_size <= (size_t)got; i += page_size) {
            if (writer == NULL)
                require(ramet_segment_writer_new(store, &volume, page_size,
                                                 &codec, &writer,
                                                 &err) == RAMET_OK,
                        err.text);
            require(ramet_segment_writer_add(writer, pgno++, chunk + i, &err) ==
                        RAMET_OK,
                    err.text);
            if (ramet_segment_writer_size(writer) > RAMET_SEGMENT_BYTES_MAX) {
                finish(writer, &totals);
                writer = NULL;
            }
        }
    }
    if (writer != NULL)
        finish(writer, &totals);
    getrusage(RUSAGE_SELF, &usage);
    printf("%u pages, %.1f MB stored (%.2f MB tables), %llu segments, "
           "dictionary %zu bytes\n",
           page_count, (double)totals.bytes / 1e6,
           (double)totals.table_bytes / 1e6,
           (unsigned long long)totals.segments, codec.dict_len);
    printf("%.2f s (%.2f s of it training), %.2f s CPU, peak memory %.1f MiB\n",
           now_s() - start, trained - start, cpu_s(),
           (double)usage.ru_maxrss / 1024);
    ramet_objstore_close(store);
    ramet_free(dict);
    free(chunk);
    close(fd);
}

/* What an update costs: a dictionary of the old pages, and the changed ones. */
static void
bench_update(const char *old_path, const char *new_path, const char *dir,
             uint32_t page_size)
{
    const struct input before = load(old_path, page_size);
    const struct input after = load(new_path, page_size);
    struct ramet_codec codec = {0};
    struct ramet_segment_writer *writer = NULL;
    struct ramet_segment_info info;
    struct ramet_objstore *store = NULL;
    struct ramet_vid volume = {{{1}}};
    struct ramet_err err = {0};
    uint8_t *dict = NULL;
    uint8_t *bytes;
    size_t len;
    uint64_t table = 0;
    uint32_t count;
    uint8_t *pages = sample(&before, &count);
    bool worth = false;

    require(ramet_dirstore_open(NULL, dir, true, &store, &err) == RAMET_OK,
            err.text);
    require(ramet_dict_train(pages, count, page_size, &worth, &dict,
                             &codec.dict_len, &err) == RAMET_OK,
            err.text);
    codec.dict = dict;
    require(ramet_segment_writer_new(store, &volume, page_size, &codec, &writer,
                                     &err) == RAMET_OK,
            err.text);
    for (uint32_t i = 0; i < after.page_count; i++) {
        const uint8_t *page = after.data + (size_t)i * page_size;

        if (i < before.page_count &&
            memcmp(before.data + (size_t)i * page_size, page, page_size) == 0)
            continue;
        require(ramet_segment_writer_add(writer, i + 1, page, &err) == RAMET_OK,
                err.text);
    }
    require(ramet_segment_writer_finish(writer, true, &info, &bytes, &len,
                                        &err) == RAMET_OK,
            err.text);
    for (uint32_t i = 0; i < info.chunk_count; i++)
        table += info.chunks[i].length_bytes;
    printf("%u frames, %llu bytes%s, %llu of them tables\n", info.frame_count,
           (unsigned long long)info.size_bytes, len > 0 ? " inline" : "",
           (unsigned long long)table);
    ramet_segment_info_done(&info);
    ramet_free(bytes);
    ramet_free(dict);
    ramet_objstore_close(store);
    free(pages);
    free(before.data);
    free(after.data);
}

static uint32_t
number(int argc, char **argv, int at, uint32_t otherwise)
{
    return argc > at ? (uint32_t)strtoul(argv[at], NULL, 10) : otherwise;
}

int
main(int argc, char **argv)
{
    struct input in;

    require(argc >= 3,
            "dict|frames FILE | write FILE DIR | update OLD NEW DIR");
    if (strcmp(argv[1], "update") == 0) {
        require(argc >= 5, "update OLD NEW DIR [PAGE_SIZE]");
        bench_update(argv[2], argv[3], argv[4], number(argc, argv, 5, 4096));
        return 0;
    }
    if (strcmp(argv[1], "write") == 0) {
        require(argc >= 4, "write FILE DIR [PAGE_SIZE [THREADS [LEVEL]]]");
        bench_write(argv[2], argv[3], number(argc, argv, 4, 4096),
                    number(argc, argv, 5, 1), (int)number(argc, argv, 6, 0));
        return 0;
    }
    in = load(argv[2], number(argc, argv, 3, 4096));
    if (strcmp(argv[1], "dict") == 0)
        bench_dict(&in);
    else
        bench_frames(&in);
    free(in.data);
    return 0;
}
