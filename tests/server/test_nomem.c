/*
 * test_nomem.c - the n-th allocation fails, for n = 0, 1, 2 …, in the server or
 * in the remote that talks to it: an error at worst, and all is well again
 * with the next request.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/remote/http_pages.h"
#include "core/alloc.h"
#include "pagestore/delta_loose.h"
#include "tests/server/fixture.h"
#include "tests/support/point.h"

#define PAGES 40u
#define CALLS 500

static enum ramet_rc
ignore_page(void *ctx, uint32_t pgno, const uint8_t *page,
            struct ramet_err *err)
{
    (void)ctx;
    (void)pgno;
    (void)page;
    (void)err;
    return RAMET_OK;
}

/* A little of everything; what comes back does not matter. */
static void
try_all(struct ramet_remote *remote, const struct model *model)
{
    struct ramet_history *history = NULL;
    struct ramet_upload *upload = NULL;
    struct ramet_head head;
    struct ramet_vid found;
    uint32_t pgnos[PAGES];
    struct ramet_err err;
    char key[RAMET_KEY_MAX], id[RAMET_ID_TEXT_SIZE];

    for (uint32_t i = 0; i < PAGES; i++)
        pgnos[i] = i + 1;
    if (ramet_history_open(remote->store, &model->volume, NULL, &history,
                           &err) != RAMET_OK)
        return;
    if (ramet_history_newest(history, &head, &err) == RAMET_OK &&
        head.lsn > 0) {
        (void)!remote->ops->bring(remote, &model->volume,
                                  point_at(history, head.lsn), pgnos, PAGES,
                                  true, ignore_page, NULL, &err);
        (void)!ramet_history_read_pages(history, point_at(history, head.lsn),
                                        pgnos, PAGES, false, ignore_page, NULL,
                                        &err);
    }
    ramet_history_close(history);
    (void)!ramet_catalog_resolve(remote->store, "nobody", &found, &err);
    ramet_id_format(&model->volume.id, id);
    (void)snprintf(key, sizeof(key), "volumes/%s/segments/%s", id, id);
    if (ramet_objstore_upload_begin(remote->store, key, &upload, &err) ==
        RAMET_OK) {
        (void)!ramet_objstore_upload_write(upload, key, sizeof(key), &err);
        (void)!ramet_objstore_upload_finish(upload, &err);
    }
    (void)!remote->ops->wait(remote, &model->volume, 0, 10, NULL, &err);
}

static void
nomem__at_any_call_is_survived(void **state)
{
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 31);
    model_write(&model, 1, PAGES);
    for (unsigned i = 0; i < 10; i++)
        model_write_random(&model, 2);
    for (long n = 0; n < CALLS; n++) {
        struct ramet_remote *remote =
            fixture_connect_hasty(ramet_server_port(f.server));

        ramet_alloc_fail_at(n);
        try_all(remote, &model);
        ramet_alloc_fail_at(-1);
        remote->ops->close(remote);
        if (n % 25 == 0) {
            model_reopen(&model);
            model_check_lsn(&model, model.lsn);
        }
    }
    model_write_random(&model, 2);
    model_reopen(&model);
    model_check_lsn(&model, model.lsn);
    model_done(&model);
    fixture_stop(&f);
}

/* ---- deltas out of their blocks ----------------------------------------------- */

#define SLICE 64u /* pages that a server finds at a time */
#define ASKED (2 * SLICE)

/* What an answer has, of which all came. */
struct answered {
    struct ramet_loose_reader *reader;
    unsigned loose[2]; /* pages of either slice whose deltas came so */
};

static void
count_loose(void *ctx, uint32_t pgno, const struct ramet_delta *delta)
{
    struct answered *const answered = ctx;

    (void)delta;
    assert_in_range(pgno, 1, ASKED);
    answered->loose[(pgno - 1) / SLICE]++;
}

static void
take_loose(void *ctx, const uint8_t *record, size_t len)
{
    struct answered *const answered = ctx;

    assert_int_equal(ramet_loose_read(answered->reader, record, len, 512,
                                      count_loose, answered, NULL),
                     RAMET_OK);
}

static void
ignore_range(void *ctx, const char *key, uint64_t offset, const uint8_t *data,
             size_t len, bool ends_object)
{
    (void)ctx;
    (void)key;
    (void)offset;
    (void)data;
    (void)len;
    (void)ends_object;
}

/* All that the server says to a request for these pages. */
static size_t
ask_raw(unsigned port, const struct model *model, char *out, size_t room)
{
    const uint8_t body[] = {1, 1 | 2 | 16, (uint8_t)model->lsn,
                            1, 0,          ASKED - 1};
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    char id[RAMET_ID_TEXT_SIZE], head[512];
    size_t len = 0;
    ssize_t got;

    ramet_id_format(&model->volume.id, id);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    (void)snprintf(head, sizeof(head),
                   "POST /v1/volumes/%s/pages HTTP/1.1\r\nHost: x\r\n"
                   "Connection: close\r\nContent-Length: %zu\r\n"
                   "Content-Type: application/vnd.ramet.pages\r\n\r\n",
                   id, sizeof(body));
    (void)send(fd, head, strlen(head), MSG_NOSIGNAL);
    (void)send(fd, body, sizeof(body), MSG_NOSIGNAL);
    while (len < room && (got = recv(fd, out + len, room - len, 0)) > 0)
        len += (size_t)got;
    assert_true(len < room);
    out[len] = '\0';
    (void)close(fd);
    return len;
}

/* The bytes of its chunks, in their place; false: it has none, or was cut off. */
static bool
join_chunks(char *answer, size_t len, size_t *out_len)
{
    char *at = strstr(answer, "\r\n\r\n");

    *out_len = 0;
    if (at == NULL || strncmp(answer, "HTTP/1.1 200", 12) != 0)
        return false;
    for (at += 4; at < answer + len;) {
        const size_t chunk = strtoul(at, &at, 16);

        at += 2;
        if (chunk == 0)
            return true;
        if (chunk > (size_t)(answer + len - at))
            return false;
        memmove(answer + *out_len, at, chunk);
        *out_len += chunk;
        at += chunk + 2;
    }
    return false;
}

/* True: there was an answer, which is one from beginning to end. */
static bool
check_answer(const struct model *model, char *answer, size_t len,
             struct answered *out)
{
    struct ramet_err err = {.code = RAMET_OK};
    struct ramet_pages_stream stream;
    enum ramet_rc rc;

    *out = (struct answered){.reader = NULL};
    if (!join_chunks(answer, len, &len))
        return false;
    out->reader = ramet_loose_reader_new();
    ramet_pages_stream_init(&stream, &model->volume, ignore_range, out);
    stream.loose = take_loose;
    rc = ramet_pages_stream_feed(&stream, (const uint8_t *)answer, len, &err);
    if (rc == RAMET_OK)
        rc = ramet_pages_stream_end(&stream, &err);
    if (rc != RAMET_OK && rc != RAMET_ENOMEM)
        fail_msg("%s", err.text);
    ramet_pages_stream_done(&stream);
    ramet_loose_reader_free(out->reader);
    return rc == RAMET_OK;
}

static void
nomem__where_deltas_come_loose__leaves_whole_records(void **state)
{
    static char answer[1u << 20];
    struct answered all, some;
    unsigned without = 0;
    struct fixture f;
    struct model model;
    unsigned port;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 33);
    model_write(&model, 1, ASKED);
    model.delta_percent = 90;
    for (unsigned i = 0; i < 12; i++)
        model_write_random(&model, 40);
    port = ramet_server_port(f.server);
    assert_true(check_answer(
        &model, answer, ask_raw(port, &model, answer, sizeof(answer)), &all));
    assert_true(all.loose[0] > 0 && all.loose[1] > 0);
    for (long n = 0; n < CALLS; n++) {
        size_t len;

        ramet_alloc_fail_at(n);
        len = ask_raw(port, &model, answer, sizeof(answer));
        ramet_alloc_fail_at(-1);
        if (!check_answer(&model, answer, len, &some))
            continue;
        for (unsigned i = 0; i < 2; i++)
            if (some.loose[i] != 0) /* of a slice all come so, or none */
                assert_int_equal(some.loose[i], all.loose[i]);
        without += some.loose[1] == 0;
    }
    assert_true(without > 0);
    model_done(&model);
    fixture_stop(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nomem__at_any_call_is_survived),
        cmocka_unit_test(nomem__where_deltas_come_loose__leaves_whole_records),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
