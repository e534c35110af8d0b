/*
 * fuzz_replica_log.c - hostile log, fetch, presence and index files under a replica
 * that is opened, read, checkpointed and closed.
 *
 * The input is a program that writes these files: frames and trailers with
 * fields of its choosing, under right checksums (else those would hide what is
 * behind them), with raw bytes in between. Whatever comes of it is a result
 * code or some bytes, never a crash, a hang or a wild access.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/replicas.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE = 512, FILE_MAX = 64 << 10, SALT = 77 };

struct program {
    struct ramet_reader in;
    uint8_t *out;
    size_t len;
    uint64_t count;
    uint64_t sum;
    struct ramet_pos start;
    uint64_t prev;
    uint64_t seq;
};

static char folder[64];
static struct ramet_id base_id;

static void
put_file(const char *name, const void *bytes, size_t len)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
        abort();
    close(fd);
}

static void
remove_folder(void)
{
    rmdir(folder);
}

/* A small, whole replica without a log. */
static void
make_replica(void)
{
    static struct ramet_state_file state;
    uint8_t base[PAGE * 4];
    char path[128];
    struct stat st;
    int dir;

    memset(base, ' ', sizeof(base));
    snprintf(path, sizeof(path), "%s/a-ramet", folder);
    mkdir(path, 0777);
    put_file("a-ramet/lock", "", 0);
    snprintf(path, sizeof(path), "%s/a-ramet/lock", folder);
    if (stat(path, &st) != 0)
        abort();
    memset(&state, 0, sizeof(state));
    state.base_id = base_id;
    state.fold.replica.id = base_id;
    state.fold.kind = RAMET_KIND_BLOB;
    state.lock_device = st.st_dev;
    state.lock_inode = st.st_ino;
    state.default_held = true;
    state.oldest_log = state.oldest_fetched = 1;
    state.base_page_count = 4;
    state.base_page_size = PAGE;
    state.fold.newest.tail = ramet_pos_make(1, RAMET_FRAME_FILE_HEADER_SIZE);
    state.fold.newest.page_size = PAGE;
    state.fold.newest.page_count = 4;
    state.fold.newest.byte_length = sizeof(base);
    state.fold.newest.lsn = 1;
    state.fold.newest.remote_page_count = 4;
    /* The mark as base.c writes it, by way of its public effect. */
    memcpy(base,
           "This is a Ramet replica, not a database; use 'ramet export'.\n",
           61);
    ramet_id_format(&base_id, path);
    memcpy(base + 64, path, 36);
    put_file("a", base, sizeof(base));
    snprintf(path, sizeof(path), "%s/a-ramet", folder);
    dir = open(path, O_RDONLY | O_DIRECTORY);
    if (ramet_state_file_write(ramet_os_system(), dir, &state, NULL) !=
        RAMET_OK)
        abort();
    close(dir);
}

/* Of pages: few as a rule, since each is gone through again and again. */
static uint32_t
read_count(struct program *p)
{
    const uint32_t count = ramet_read_le16(&p->in);

    return count < 0xff00 ? count % 96 : count;
}

static void
begin_file(struct program *p, enum ramet_frames_type type)
{
    const struct ramet_frame_file_header header = {type, SALT, 1, PAGE,
                                                   base_id};

    ramet_frame_file_header_encode(&header, p->out);
    p->len = RAMET_FRAME_FILE_HEADER_SIZE;
}

static void
add_frame(struct program *p)
{
    uint8_t *const at = p->out + p->len;
    const struct ramet_pos pos = ramet_pos_make(1, p->len);
    const uint32_t pgno = read_count(p) + 1u;
    const unsigned chosen = ramet_read_u8(&p->in) % 6;
    /* One that nobody writes among them; trailers have a form of their own. */
    const enum ramet_logframe_kind kind =
        chosen == RAMET_LOGFRAME_TRAILER ? RAMET_LOGFRAME_DEAD
                                         : (enum ramet_logframe_kind)chosen;
    const struct ramet_entry replaced = {ramet_read_varint(&p->in)};
    uint64_t hash = 0;
    size_t size = RAMET_LOGFRAME_HEADER_SIZE;

    if (ramet_logframe_has_page(kind)) {
        memset(at + size, ramet_read_u8(&p->in), PAGE);
        hash = ramet_hash64(at + size, PAGE);
        size += PAGE;
    }
    p->sum = ramet_logframes_sum(
        p->sum,
        ramet_logframe_encode(at, pgno, kind, replaced, pos, SALT, hash));
    p->count++;
    p->len += size;
}

static void
add_fetched(struct program *p)
{
    uint8_t *const at = p->out + p->len;
    const uint32_t pgno = read_count(p) + 1u;
    const struct ramet_entry replaced = {ramet_read_varint(&p->in)};
    const struct ramet_point of = {.lsn = ramet_read_u8(&p->in)};

    memset(at + RAMET_FETCHED_HEADER_SIZE, ramet_read_u8(&p->in), PAGE);
    ramet_fetched_encode(at, pgno, RAMET_LOGFRAME_IMAGE, replaced,
                         ramet_pos_make(1, p->len), &of, SALT,
                         ramet_hash64(at + RAMET_FETCHED_HEADER_SIZE, PAGE));
    p->len += RAMET_FETCHED_HEADER_SIZE + PAGE;
}

static void
add_trailer(struct program *p)
{
    struct ramet_trailer t;

    memset(&t, 0, sizeof(t));
    t.type = (enum ramet_record_type)(ramet_read_u8(&p->in) % 8);
    t.flags = ramet_read_u8(&p->in) % 2;
    t.start = p->start;
    t.pos = ramet_pos_make(1, p->len);
    t.seq = ++p->seq;
    t.prev = p->prev;
    t.frame_count = p->count;
    t.frames_sum = p->sum;
    t.page_size = ramet_read_u8(&p->in) < 240 ? PAGE : 1024;
    t.page_count = read_count(p);
    t.byte_length = (uint64_t)t.page_count * t.page_size;
    t.byte_length -= ramet_read_u8(&p->in) < 200 ? 0 : 3;
    t.least_page_count = read_count(p);
    t.remote_page_count = read_count(p);
    t.lsn = ramet_read_varint(&p->in);
    t.synced.raw = ramet_read_varint(&p->in);
    p->len += ramet_trailer_encode(&t, SALT, p->out + p->len);
    p->prev = t.sum;
    p->start = ramet_pos_make(1, p->len);
    p->count = p->sum = 0;
}

static void
add_raw(struct program *p)
{
    const uint64_t value = ramet_read_varint(&p->in);

    for (unsigned i = 0; i < RAMET_POS_UNIT; i += 8)
        ramet_put_le64(p->out + p->len + i, value);
    p->len += RAMET_POS_UNIT;
}

/* Of presence: with right check bits, or not. */
static void
put_word(struct program *p, uint8_t *out, uint32_t pgno)
{
    const uint64_t value = ramet_read_u8(&p->in);

    ramet_put_le64(out, value < 128 ? ramet_presence_encode(pgno, value, true)
                                    : value << 40);
}

/* What the input has left, in the place of the index, behind its magic or not. */
static void
put_index(struct program *p)
{
    static uint8_t index[8192];
    const size_t left = p->in.bad ? 0 : ramet_reader_left(&p->in);
    const size_t len = left < sizeof(index) ? left : sizeof(index);

    if (len < 2)
        return;
    memset(index, 0, sizeof(index));
    memcpy(index, p->in.data + p->in.pos, len);
    if (index[0] % 2 == 0)
        memcpy(index, "RAMTIDX\1", 8);
    put_file("a-ramet/index", index, sizeof(index));
}

static void
write_files(struct program *p)
{
    uint8_t presence[64] = {0};

    begin_file(p, RAMET_FRAMES_LOG);
    p->start = ramet_pos_make(1, p->len);
    while (!p->in.bad && ramet_reader_left(&p->in) > 0 &&
           p->len < FILE_MAX - 8192) {
        const uint8_t what = ramet_read_u8(&p->in);

        if (what < 100)
            add_frame(p);
        else if (what < 200)
            add_trailer(p);
        else if (what < 210)
            add_raw(p);
        else
            break;
    }
    put_file("a-ramet/log-0000000000000001", p->out, p->len);
    begin_file(p, RAMET_FRAMES_FETCHED);
    while (!p->in.bad && ramet_reader_left(&p->in) > 0 &&
           p->len < FILE_MAX - 8192 && ramet_read_u8(&p->in) < 200)
        add_fetched(p);
    put_file("a-ramet/fill-0000000000000001", p->out, p->len);
    for (unsigned i = 0; i < 8; i++)
        put_word(p, presence + i * 8, i + 1);
    put_file("a-ramet/presence", presence, sizeof(presence));
    put_index(p);
}

static enum ramet_rc
give_page(void *ctx, const struct ramet_point *at, uint32_t pgno,
          struct ramet_page_request *sink, struct ramet_err *err)
{
    uint8_t page[1024];

    (void)ctx;
    memset(page, (int)(at->lsn + pgno), sizeof(page));
    return ramet_fetch_deliver(sink, pgno, page, err);
}

/* Errors are fine, all of them. */
static void
use_replica(const char *path)
{
    const struct ramet_replica_options options = {.flags = 0};
    struct ramet_replica_state state;
    struct ramet_session *session;
    uint8_t page[1024];
    uint64_t checked;
    uint64_t bad;
    size_t got;

    if (ramet_session_open(path, &options, &session, NULL) != RAMET_OK)
        return;
    ramet_replica_set_fetcher(ramet_session_replica(session), give_page, NULL);
    memset(&state, 0, sizeof(state));
    if (ramet_session_state(session, &state, NULL) == RAMET_OK)
        ramet_replica_state_done(&state);
    if (ramet_session_pin(session, NULL) == RAMET_OK) {
        for (uint64_t at = 0; at < ramet_session_size(session) && at < 65536;
             at += 512)
            if (ramet_session_read(session, at, page, 512, &got, NULL) !=
                RAMET_OK)
                continue;
        if (ramet_session_reserve(session, NULL) == RAMET_OK &&
            ramet_session_write(session, 700, page, 100, NULL) == RAMET_OK &&
            ramet_session_prepare(session, NULL, NULL) == RAMET_OK)
            ramet_session_publish(session);
        ramet_session_release(session);
        ramet_session_unpin(session);
    }
    if (ramet_session_verify(session, &checked, &bad, NULL) != RAMET_OK)
        checked = 0;
    if (ramet_session_checkpoint(session, true, NULL) != RAMET_OK)
        bad = 0;
    ramet_session_close(session);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[FILE_MAX];
    const char *const base = getenv("RAMET_TEST_TMP");
    struct program p;
    char path[96];
    char command[160];

    if (folder[0] == '\0') {
        snprintf(folder, sizeof(folder), "/tmp/ramet-fuzz-XXXXXX");
        if (base != NULL && strlen(base) < 40)
            snprintf(folder, sizeof(folder), "%s/ramet-fuzz-XXXXXX", base);
        else if (access("/dev/shm", W_OK) == 0)
            snprintf(folder, sizeof(folder), "/dev/shm/ramet-fuzz-XXXXXX");
        if (mkdtemp(folder) == NULL)
            abort();
        atexit(remove_folder);
        memset(base_id.bytes, 5, sizeof(base_id.bytes));
    }
    memset(&p, 0, sizeof(p));
    memset(out, 0, sizeof(out));
    p.out = out;
    ramet_reader_init(&p.in, data, size);
    make_replica();
    write_files(&p);
    snprintf(path, sizeof(path), "%s/a", folder);
    use_replica(path);
    if (ramet_replica_delete(NULL, path, NULL) != RAMET_OK) {
        snprintf(command, sizeof(command), "rm -rf '%s'/a-ramet", folder);
        if (system(command) != 0)
            abort();
    }
    return 0;
}
