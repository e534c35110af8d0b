/*
 * state.c - see state.h; the bytes are in docs/replica.md, "state".
 */
#include "client/store/format/state.h"

#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/format/slots.h"
#include "client/store/store.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "sqliteformat/dbheader.h"

#define STATE_SIZE_MAX (512u << 20)
#define STATE_RUNS_MAX (32u << 20)
#define HASH_SIZE 8u
#define VERSION 4u        /* written; those before are read as well */
#define SLOTS_SINCE 3u    /* versions before it have one checksum over all */
#define UNSYNCED_SINCE 4u /* those before count absent pages */
#define READ_TRIES 3u     /* by who may meet a writer */

#define MAGIC(version)                                                         \
    {                                                                          \
        'R', 'A', 'M', 'T', 'S', 'T', 'A', version                             \
    }

static const uint8_t magic[RAMET_SLOT_MAGIC_SIZE] = MAGIC(VERSION);

enum {
    FLAG_DEFAULT_HELD = 1,
    FLAG_CLEAN = 2,
    FLAG_ADOPTING = 4,
    FLAG_SIZE_IN_FLIGHT = 8,
    FLAG_SIZE_LATER = 16,
    FLAGS_OF_VERSION_1 = 31,
    FLAG_PRESENCE_CHECKED = 32,
    FLAG_UNSUMMED = 64,
    FLAG_CLEAN_HEADER = 128,
    FLAG_SCHEMA_MOVED = 256,
    FLAGS_OF_VERSION_2 = 511,
    FLAG_LOG_KEPT = 512,
    FLAG_LAZY = 1024,
    FLAGS_ALL = 2047
};

void
ramet_state_file_done(struct ramet_state_file *state)
{
    ramet_replica_state_done(&state->fold);
}

/* ---- what page 1 of the base has ------------------------------------------ */

void
ramet_state_choose_clean_header(struct ramet_state_file *state)
{
    const struct ramet_snapshot *const s = &state->fold.newest;
    const uint32_t counter = ramet_dbheader_counter(s->header);
    const uint32_t cookie = ramet_dbheader_cookie(s->header);
    struct ramet_clean_header *const b = &state->clean_header;

    assert(s->byte_length == 0 || s->page_size != 0);
    if (!b->is_set) {
        b->counter = counter;
        b->cookie = cookie;
    } else if (b->own_counter != s->counter) { /* pages changed */
        b->counter = ramet_number_after(b->counter, counter);
        if (state->fold.schema_moved || b->own_cookie != cookie)
            b->cookie = ramet_number_after(b->cookie, cookie);
    }
    b->is_set = true;
    b->own_counter = s->counter;
    b->own_cookie = cookie;
    state->fold.schema_moved = false;
}

void
ramet_state_true_header(const struct ramet_state_file *state,
                        uint8_t out[RAMET_TRUE_HEADER_SIZE])
{
    const struct ramet_snapshot *const s = &state->fold.newest;

    memcpy(out, s->header, RAMET_TRUE_HEADER_SIZE);
    if (state->fold.kind == RAMET_KIND_SQLITE && state->clean_header.is_set &&
        ramet_dbheader_is(out, s->byte_length))
        ramet_dbheader_show(out, state->clean_header.counter,
                            state->clean_header.cookie);
}

/* ---- bytes --------------------------------------------------------------- */

static void
put_snapshot(struct ramet_buf *out, const struct ramet_snapshot *s)
{
    assert(!ramet_pos_is_none(s->tail));
    ramet_buf_le64(out, s->seq);
    ramet_buf_le64(out, s->tail.raw);
    ramet_buf_le32(out, s->page_size);
    ramet_buf_le32(out, s->page_count);
    ramet_buf_le64(out, s->byte_length);
    ramet_buf_le32(out, s->counter);
    ramet_buf_le32(out, s->remote_page_count);
    ramet_buf_le64(out, s->lsn);
    ramet_buf_bytes(out, s->header, sizeof(s->header));
}

static void
get_snapshot(struct ramet_reader *in, struct ramet_snapshot *s)
{
    const uint8_t *header;

    s->seq = ramet_read_le64(in);
    s->tail.raw = ramet_read_le64(in);
    s->page_size = ramet_read_le32(in);
    s->page_count = ramet_read_le32(in);
    s->byte_length = ramet_read_le64(in);
    s->counter = ramet_read_le32(in);
    s->remote_page_count = ramet_read_le32(in);
    s->lsn = ramet_read_le64(in);
    header = ramet_read_bytes(in, sizeof(s->header));
    if (header != NULL)
        memcpy(s->header, header, sizeof(s->header));
}

static void
put_id(struct ramet_buf *out, const struct ramet_id *id)
{
    ramet_buf_bytes(out, id->bytes, sizeof(id->bytes));
}

static void
get_id(struct ramet_reader *in, struct ramet_id *id)
{
    const uint8_t *const bytes = ramet_read_bytes(in, sizeof(id->bytes));

    if (bytes != NULL)
        memcpy(id->bytes, bytes, sizeof(id->bytes));
}

static bool
is_log_kept(const struct ramet_state_file *s)
{
    assert(s->oldest_log >= 1);
    return s->kept_log == s->oldest_log;
}

static void
put_end(struct ramet_buf *out, const struct ramet_state_file *s)
{
    const struct ramet_clean_header *const b = &s->clean_header;

    assert(s->mark_now <= RAMET_MARK_TOKEN_MAX);
    assert(s->mark_next <= RAMET_MARK_TOKEN_MAX);
    ramet_buf_le64(out, s->fold.oldest_in_flight_ms);
    ramet_buf_le64(out, s->fold.oldest_later_ms);
    ramet_buf_le32(out, b->counter);
    ramet_buf_le32(out, b->cookie);
    ramet_buf_le32(out, b->own_counter);
    ramet_buf_le32(out, b->own_cookie);
    ramet_buf_le64(out, (uint64_t)s->base_ctime_ns);
    ramet_buf_le32(out, s->mark_now);
    ramet_buf_le32(out, s->mark_next);
    if (is_log_kept(s))
        ramet_buf_le64(out, s->kept_salt);
    ramet_unsynced_encode(&s->unsynced, out);
}

/* Only a clean close carries words, of pages that are in the base. */
static bool
is_unsynced_sane(const struct ramet_state_file *s)
{
    const struct ramet_unsynced *const u = &s->unsynced;

    return u->count == 0 ||
           (s->is_clean && u->pgnos[u->count - 1] <= s->base_page_count);
}

/* What version 1 does not have. */
static void
get_end(struct ramet_reader *in, unsigned version, struct ramet_state_file *s)
{
    struct ramet_clean_header *const b = &s->clean_header;

    s->fold.oldest_in_flight_ms = ramet_read_le64(in);
    s->fold.oldest_later_ms = ramet_read_le64(in);
    b->counter = ramet_read_le32(in);
    b->cookie = ramet_read_le32(in);
    b->own_counter = ramet_read_le32(in);
    b->own_cookie = ramet_read_le32(in);
    s->base_ctime_ns = (int64_t)ramet_read_le64(in);
    s->mark_now = ramet_read_le32(in);
    s->mark_next = ramet_read_le32(in);
    if (is_log_kept(s))
        s->kept_salt = ramet_read_le64(in);
    if (version >= UNSYNCED_SINCE)
        ramet_unsynced_decode(in, &s->unsynced);
    if (!is_unsynced_sane(s) || s->mark_now > RAMET_MARK_TOKEN_MAX ||
        s->mark_next > RAMET_MARK_TOKEN_MAX)
        in->bad = true;
}

static uint32_t
flags_of(const struct ramet_state_file *s)
{
    return (s->default_held ? FLAG_DEFAULT_HELD : 0u) |
           (s->is_clean ? FLAG_CLEAN : 0u) |
           (s->is_adopting ? FLAG_ADOPTING : 0u) |
           (s->fold.page_size_changed_in_flight ? FLAG_SIZE_IN_FLIGHT : 0u) |
           (s->fold.page_size_changed_later ? FLAG_SIZE_LATER : 0u) |
           (s->presence_is_checked ? FLAG_PRESENCE_CHECKED : 0u) |
           (s->is_unsummed ? FLAG_UNSUMMED : 0u) |
           (s->clean_header.is_set ? FLAG_CLEAN_HEADER : 0u) |
           (is_log_kept(s) ? FLAG_LOG_KEPT : 0u) |
           (s->is_lazy ? FLAG_LAZY : 0u) |
           (s->fold.schema_moved ? FLAG_SCHEMA_MOVED : 0u);
}

static bool
is_snapshot_sane(const struct ramet_snapshot *s)
{
    const uint64_t bound = (uint64_t)s->page_count * s->page_size;

    if (s->page_size == 0)
        return s->page_count == 0 && s->byte_length == 0;
    return ramet_page_size_ok(s->page_size) && s->byte_length <= bound &&
           bound - s->byte_length < s->page_size;
}

static bool
is_state_sane(const struct ramet_state_file *s, uint32_t flags,
              unsigned version)
{
    const uint32_t kind = (uint32_t)s->fold.kind;
    const uint32_t known = version == 1   ? FLAGS_OF_VERSION_1
                           : version == 2 ? FLAGS_OF_VERSION_2
                                          : FLAGS_ALL;

    return (flags & ~known) == 0 &&
           (kind == RAMET_KIND_SQLITE || kind == RAMET_KIND_BLOB) &&
           s->oldest_log >= 1 && s->oldest_log <= RAMET_FRAME_FILE_MAX &&
           s->oldest_fetched >= 1 &&
           s->oldest_fetched <= RAMET_FRAME_FILE_MAX &&
           !ramet_pos_is_none(s->fold.newest.tail) && /* a pin of 0 is none */
           ramet_pos_file(s->fold.newest.tail) <= s->oldest_log &&
           (s->base_page_size == 0 ? s->base_page_count == 0
                                   : ramet_page_size_ok(s->base_page_size)) &&
           is_snapshot_sane(&s->fold.newest);
}

static enum ramet_rc
encode_state(const struct ramet_state_file *s, struct ramet_buf *out,
             struct ramet_err *err)
{
    const struct ramet_replica_state *const f = &s->fold;
    const size_t url_length = strlen(f->remote);
    enum ramet_rc rc;

    assert(is_state_sane(s, flags_of(s), VERSION) &&
           is_unsynced_sane(s)); /* as it is read */
    assert(url_length < RAMET_URL_MAX);
    ramet_buf_le32(out, flags_of(s));
    ramet_buf_le32(out, (uint32_t)f->kind);
    put_id(out, &s->base_id);
    put_id(out, &f->replica.id);
    put_id(out, &f->volume.id);
    put_id(out, &f->intent.id);
    ramet_buf_le64(out, s->host);
    ramet_buf_le64(out, s->lock_device);
    ramet_buf_le64(out, s->lock_inode);
    ramet_buf_le64(out, s->base_device);
    ramet_buf_le64(out, s->base_inode);
    ramet_buf_le64(out, s->base_size);
    ramet_buf_le64(out, (uint64_t)s->base_mtime_ns);
    ramet_buf_le64(out, s->oldest_log);
    ramet_buf_le64(out, s->oldest_fetched);
    ramet_buf_le32(out, s->base_page_count);
    ramet_buf_le32(out, s->base_page_size);
    put_snapshot(out, &f->newest);
    ramet_buf_bytes(out, f->newest.lsn_hash.bytes, RAMET_HASH_SIZE);
    ramet_buf_le64(out, f->lsn_time_ms);
    ramet_buf_le64(out, f->record_sum);
    ramet_buf_le64(out, f->commits_in_flight);
    ramet_buf_le64(out, f->commits_later);
    ramet_buf_le32(out, f->least_page_count_in_flight);
    ramet_buf_le32(out, f->least_page_count_later);
    ramet_buf_le16(out, (uint16_t)url_length);
    ramet_buf_bytes(out, f->remote, url_length);
    rc = ramet_pageset_encode(&f->in_flight, out);
    if (rc == RAMET_OK)
        rc = ramet_pageset_encode(&f->later, out);
    put_end(out, s);
    if (rc == RAMET_OK)
        rc = out->failed;
    return rc == RAMET_OK ? RAMET_OK
                          : RAMET_FAIL(err, rc, "state: no memory to write it");
}

static void
get_fixed(struct ramet_reader *in, unsigned version, struct ramet_state_file *s)
{
    struct ramet_replica_state *const f = &s->fold;
    const uint8_t *hash;

    get_id(in, &s->base_id);
    get_id(in, &f->replica.id);
    get_id(in, &f->volume.id);
    get_id(in, &f->intent.id);
    s->host = ramet_read_le64(in);
    s->lock_device = ramet_read_le64(in);
    s->lock_inode = ramet_read_le64(in);
    s->base_device = ramet_read_le64(in);
    s->base_inode = ramet_read_le64(in);
    s->base_size = ramet_read_le64(in);
    s->base_mtime_ns = (int64_t)ramet_read_le64(in);
    s->oldest_log = ramet_read_le64(in);
    s->oldest_fetched = ramet_read_le64(in);
    s->base_page_count = ramet_read_le32(in);
    s->base_page_size = ramet_read_le32(in);
    if (version < UNSYNCED_SINCE)
        (void)ramet_read_le64(
            in); /* how many are absent: none, if it is clean */
    get_snapshot(in, &f->newest);
    hash = ramet_read_bytes(in, RAMET_HASH_SIZE);
    if (hash != NULL)
        memcpy(f->newest.lsn_hash.bytes, hash, RAMET_HASH_SIZE);
    f->lsn_time_ms = ramet_read_le64(in);
    f->record_sum = ramet_read_le64(in);
    f->commits_in_flight = ramet_read_le64(in);
    f->commits_later = ramet_read_le64(in);
    f->least_page_count_in_flight = ramet_read_le32(in);
    f->least_page_count_later = ramet_read_le32(in);
}

/* Version 1 does not say: a clean base has what is stored, and another never
 * had a number ahead of these. */
static void
guess_clean_header(struct ramet_state_file *s)
{
    const struct ramet_snapshot *const now = &s->fold.newest;

    assert(!s->clean_header.is_set); /* version 1 has no flag for it */
    s->clean_header = (struct ramet_clean_header){
        .is_set = true,
        .counter =
            s->is_clean ? ramet_dbheader_counter(now->header) : now->counter,
        .cookie = ramet_dbheader_cookie(now->header),
        .own_counter = s->is_clean ? now->counter : now->counter - 1,
        .own_cookie = ramet_dbheader_cookie(now->header),
    };
    s->fold.schema_moved = !s->is_clean;
}

static enum ramet_rc
decode_fields(struct ramet_reader *in, unsigned version,
              struct ramet_state_file *s, struct ramet_err *err)
{
    struct ramet_replica_state *const f = &s->fold;
    const uint32_t flags = ramet_read_le32(in);
    const uint8_t *url;
    size_t url_length;
    enum ramet_rc rc;

    assert(version >= 1 && version <= VERSION);
    f->kind = (enum ramet_volume_kind)ramet_read_le32(in);
    get_fixed(in, version, s);
    url_length = ramet_read_le16(in);
    if (url_length >= RAMET_URL_MAX)
        in->bad = true;
    url = in->bad ? NULL : ramet_read_bytes(in, url_length);
    if (url != NULL)
        memcpy(f->remote, url, url_length);
    if (in->bad || !is_state_sane(s, flags, version) ||
        strlen(f->remote) != url_length)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "state: fields contradict each other");
    s->default_held = (flags & FLAG_DEFAULT_HELD) != 0;
    s->is_clean = (flags & FLAG_CLEAN) != 0;
    s->is_adopting = (flags & FLAG_ADOPTING) != 0;
    s->is_unsummed =
        version == 1 ? s->default_held : (flags & FLAG_UNSUMMED) != 0;
    s->presence_is_checked = (flags & FLAG_PRESENCE_CHECKED) != 0;
    s->clean_header.is_set = (flags & FLAG_CLEAN_HEADER) != 0;
    s->is_lazy = (flags & FLAG_LAZY) != 0;
    if ((flags & FLAG_LOG_KEPT) != 0)
        s->kept_log = s->oldest_log;
    f->schema_moved = (flags & FLAG_SCHEMA_MOVED) != 0;
    f->page_size_changed_in_flight = (flags & FLAG_SIZE_IN_FLIGHT) != 0;
    f->page_size_changed_later = (flags & FLAG_SIZE_LATER) != 0;
    f->page_size_changed =
        f->page_size_changed_in_flight || f->page_size_changed_later;
    rc = ramet_pageset_decode(&f->in_flight, in, UINT32_MAX, STATE_RUNS_MAX,
                              err);
    if (rc == RAMET_OK)
        rc = ramet_pageset_decode(&f->later, in, UINT32_MAX, STATE_RUNS_MAX,
                                  err);
    if (rc != RAMET_OK)
        return rc;
    if (version == 1)
        guess_clean_header(s);
    else
        get_end(in, version, s);
    if (in->bad)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "state: truncated");
    else if (ramet_reader_left(in) != 0)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "state: %zu bytes too many",
                        ramet_reader_left(in));
    return rc;
}

/* The fields in the file's bytes, and their version. */
static enum ramet_rc
find_fields(const uint8_t *data, size_t len, unsigned *out_version,
            const uint8_t **out_fields, size_t *out_len, unsigned *out_copies,
            struct ramet_err *err)
{
    const bool is_ours = len >= sizeof(magic) + HASH_SIZE &&
                         memcmp(data, magic, sizeof(magic) - 1) == 0;
    const unsigned version = is_ours ? data[sizeof(magic) - 1] : VERSION;
    enum ramet_rc rc = RAMET_OK;

    *out_version = version;
    *out_copies = 0;
    if (version == 0 || version > VERSION)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "state: version %u is not known to this program",
                          version);
    if (version >= SLOTS_SINCE)
        rc = ramet_slots_decode((const uint8_t[])MAGIC((uint8_t)version), data,
                                len, out_fields, out_len, out_copies, NULL);
    else if (ramet_get_le64(data + len - HASH_SIZE) !=
             ramet_hash64(data, len - HASH_SIZE))
        rc = RAMET_ECORRUPT;
    if (rc != RAMET_OK)
        return RAMET_FAIL(err, rc,
                          is_ours ? "state: checksum" : "state: bad magic");
    if (version < SLOTS_SINCE) {
        *out_fields = data + sizeof(magic);
        *out_len = len - sizeof(magic) - HASH_SIZE;
    }
    assert(*out_len <= len);
    return RAMET_OK;
}

enum ramet_rc
ramet_state_file_decode(const uint8_t *data, size_t len,
                        struct ramet_state_file *out_state,
                        struct ramet_err *err)
{
    struct ramet_state_file *s;
    struct ramet_reader in;
    const uint8_t *fields;
    size_t fields_len;
    unsigned version;
    unsigned copies;
    enum ramet_rc rc =
        find_fields(data, len, &version, &fields, &fields_len, &copies, err);

    if (rc != RAMET_OK)
        return rc;
    s = ramet_calloc(1, sizeof(*s));
    if (s == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "state: no memory to read it");
    ramet_reader_init(&in, fields, fields_len);
    assert(fields >= data && fields_len <= len - (size_t)(fields - data));
    s->copies = copies;
    rc = decode_fields(&in, version, s, err);
    if (rc == RAMET_OK)
        *out_state = *s;
    else
        ramet_state_file_done(s);
    ramet_free(s);
    return rc;
}

enum ramet_rc
ramet_state_file_read(const struct ramet_os *os, int dir_fd,
                      struct ramet_state_file *out_state, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_ECORRUPT;

    assert(dir_fd >= 0);
    /* One slot is whole at any time, but not while all of it is read. */
    for (unsigned i = 0; rc == RAMET_ECORRUPT && i < READ_TRIES; i++) {
        uint8_t *data = NULL;
        size_t len = 0;

        rc = ramet_os_read_own_file(os, dir_fd, RAMET_STATE_NAME,
                                    STATE_SIZE_MAX, &data, &len, err);
        if (rc == RAMET_OK)
            rc = ramet_state_file_decode(data, len, out_state, err);
        ramet_free(data);
    }
    return rc;
}

enum ramet_rc
ramet_state_file_write(const struct ramet_os *os, int dir_fd,
                       const struct ramet_state_file *state,
                       struct ramet_err *err)
{
    struct ramet_buf out;
    enum ramet_rc rc;

    assert(dir_fd >= 0);
    ramet_buf_init(&out, STATE_SIZE_MAX);
    rc = encode_state(state, &out, err);
    if (rc == RAMET_OK)
        rc = ramet_slots_write(os, dir_fd, RAMET_STATE_NAME, magic, out.data,
                               out.len, err);
    ramet_buf_done(&out);
    return rc;
}
