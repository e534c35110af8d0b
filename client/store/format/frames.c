/*
 * frames.c - see frames.h. The byte tables are in docs/replica.md.
 *
 * A frame's checksum is the page's hash XORed with the seeded hash of its
 * header, so that the page's own hash can be had back from it: the checkpoint
 * keeps that as the page's checksum without hashing the page again.
 */
#include "client/store/format/frames.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"

#define HASHED                                                                 \
    (RAMET_LOGFRAME_HEADER_SIZE - 8u) /* header without its checksum */

/* By type. */
static const struct {
    uint8_t magic[8];
    const char *name;
} file_types[] = {
    [RAMET_FRAMES_LOG] = {{'R', 'A', 'M', 'T', 'L', 'O', 'G', 1}, "log"},
    [RAMET_FRAMES_FETCHED] = {{'R', 'A', 'M', 'T', 'F', 'I', 'L', 1}, "fill"},
    [RAMET_FRAMES_RETAINED] = {{'R', 'A', 'M', 'T', 'P', 'S', 'T', 1}, "past"},
};

void
ramet_frame_file_header_encode(const struct ramet_frame_file_header *header,
                               uint8_t out[RAMET_FRAME_FILE_HEADER_SIZE])
{
    assert(header->type >= RAMET_FRAMES_LOG &&
           header->type <= RAMET_FRAMES_RETAINED);
    assert(ramet_page_size_ok(header->page_size));
    assert(header->number >= 1 && header->number <= RAMET_FRAME_FILE_MAX);
    memset(out, 0, RAMET_FRAME_FILE_HEADER_SIZE);
    memcpy(out, file_types[header->type].magic, 8);
    ramet_put_le64(out + 8, header->salt);
    ramet_put_le64(out + 16, header->number);
    ramet_put_le32(out + 24, header->page_size);
    memcpy(out + 32, header->base_id.bytes, RAMET_ID_SIZE);
    ramet_put_le64(out + 56, ramet_hash64(out, 56));
}

bool
ramet_frame_file_header_decode(const uint8_t in[RAMET_FRAME_FILE_HEADER_SIZE],
                               struct ramet_frame_file_header *out)
{
    struct ramet_frame_file_header header = {.type = RAMET_FRAMES_LOG};

    while (header.type <= RAMET_FRAMES_RETAINED &&
           memcmp(in, file_types[header.type].magic, 8) != 0)
        header.type++;
    if (header.type > RAMET_FRAMES_RETAINED ||
        ramet_get_le64(in + 56) != ramet_hash64(in, 56))
        return false;
    header.salt = ramet_get_le64(in + 8);
    header.number = ramet_get_le64(in + 16);
    header.page_size = ramet_get_le32(in + 24);
    memcpy(header.base_id.bytes, in + 32, RAMET_ID_SIZE);
    if (header.number == 0 || header.number > RAMET_FRAME_FILE_MAX ||
        !ramet_page_size_ok(header.page_size) || ramet_get_le32(in + 28) != 0 ||
        ramet_get_le64(in + 48) != 0)
        return false;
    *out = header;
    return true;
}

void
ramet_frame_file_name(enum ramet_frames_type type, uint64_t number,
                      char out[32])
{
    assert(type >= RAMET_FRAMES_LOG && type <= RAMET_FRAMES_RETAINED);
    snprintf(out, 32, "%s-%016" PRIx64, file_types[type].name, number);
}

/* What follows the type's name and a dash; NULL: no type's name is there. */
static const char *
parse_type(const char *name, enum ramet_frames_type *out_type)
{
    for (unsigned type = RAMET_FRAMES_LOG; type <= RAMET_FRAMES_RETAINED;
         type++) {
        const size_t length = strlen(file_types[type].name);

        if (strncmp(name, file_types[type].name, length) == 0 &&
            name[length] == '-') {
            *out_type = (enum ramet_frames_type)type;
            return name + length + 1;
        }
    }
    return NULL;
}

bool
ramet_frame_file_name_parse(const char *name, enum ramet_frames_type *out_type,
                            uint64_t *out_number)
{
    enum ramet_frames_type type;
    const char *const digits = parse_type(name, &type);
    uint64_t number = 0;

    if (digits == NULL || strlen(digits) != 16)
        return false;
    for (const char *p = digits; *p != '\0'; p++) {
        if (*p >= '0' && *p <= '9')
            number = number << 4 | (uint64_t)(*p - '0');
        else if (*p >= 'a' && *p <= 'f')
            number = number << 4 | (uint64_t)(*p - 'a' + 10);
        else
            return false;
    }
    *out_type = type;
    *out_number = number;
    return true;
}

uint64_t
ramet_logframe_encode(uint8_t out[RAMET_LOGFRAME_HEADER_SIZE], uint32_t pgno,
                      enum ramet_logframe_kind kind,
                      struct ramet_entry replaced, struct ramet_pos pos,
                      uint64_t salt, uint64_t page_hash)
{
    uint64_t sum;

    assert(pgno != 0 && !ramet_pos_is_none(pos));
    ramet_put_le32(out + 8, pgno);
    ramet_put_le32(out + 12, (uint32_t)kind);
    ramet_put_le64(out + 16, replaced.raw);
    ramet_put_le64(out + 24, pos.raw);
    sum = page_hash ^ ramet_hash64_seeded(out + 8, HASHED, salt);
    ramet_put_le64(out, sum);
    return sum;
}

bool
ramet_logframe_decode(const uint8_t in[RAMET_LOGFRAME_HEADER_SIZE],
                      struct ramet_pos pos, struct ramet_logframe *out)
{
    const uint32_t kind = ramet_get_le32(in + 12);

    out->sum = ramet_get_le64(in);
    out->pgno = ramet_get_le32(in + 8);
    out->replaced.raw = ramet_get_le64(in + 16);
    out->pos.raw = ramet_get_le64(in + 24);
    out->kind = (enum ramet_logframe_kind)kind;
    return out->pgno != 0 && ramet_pos_same(out->pos, pos) &&
           (kind == RAMET_LOGFRAME_IMAGE || kind == RAMET_LOGFRAME_ZERO ||
            kind == RAMET_LOGFRAME_REMOTE || kind == RAMET_LOGFRAME_DEAD);
}

uint64_t
ramet_logframe_page_hash(const uint8_t in[RAMET_LOGFRAME_HEADER_SIZE],
                         uint64_t salt)
{
    return ramet_get_le64(in) ^ ramet_hash64_seeded(in + 8, HASHED, salt);
}

void
ramet_fetched_encode(uint8_t out[RAMET_FETCHED_HEADER_SIZE], uint32_t pgno,
                     enum ramet_logframe_kind kind, struct ramet_entry replaced,
                     struct ramet_pos pos, const struct ramet_point *at,
                     uint64_t salt, uint64_t page_hash)
{
    assert(pgno != 0 && !ramet_pos_is_none(pos));
    assert(kind == RAMET_LOGFRAME_IMAGE ||
           (kind == RAMET_LOGFRAME_ZERO && page_hash == 0));
    ramet_put_le32(out + 8, pgno);
    ramet_put_le32(out + 12, kind);
    ramet_put_le64(out + 16, replaced.raw);
    ramet_put_le64(out + 24, pos.raw);
    ramet_put_le64(out + 32, at->lsn);
    memcpy(out + 40, at->hash.bytes, RAMET_HASH_SIZE);
    memset(out + 56, 0, RAMET_FETCHED_HEADER_SIZE - 56);
    ramet_put_le64(out, page_hash ^
                            ramet_hash64_seeded(
                                out + 8, RAMET_FETCHED_HEADER_SIZE - 8, salt));
}

bool
ramet_fetched_decode(const uint8_t in[RAMET_FETCHED_HEADER_SIZE],
                     struct ramet_pos pos, uint64_t salt,
                     struct ramet_logframe *out, struct ramet_point *out_at,
                     uint64_t *out_page_hash)
{
    if (!ramet_logframe_decode(in, pos, out) ||
        (out->kind != RAMET_LOGFRAME_IMAGE && out->kind != RAMET_LOGFRAME_ZERO))
        return false;
    out_at->lsn = ramet_get_le64(in + 32);
    memcpy(out_at->hash.bytes, in + 40, RAMET_HASH_SIZE);
    *out_page_hash =
        ramet_get_le64(in) ^
        ramet_hash64_seeded(in + 8, RAMET_FETCHED_HEADER_SIZE - 8, salt);
    return true;
}

void
ramet_retained_frame_encode(uint8_t out[RAMET_RETAINED_HEADER_SIZE],
                            const struct ramet_retained_frame *frame,
                            uint64_t salt)
{
    assert(frame->kind == RAMET_ENTRY_IMAGE || frame->page_hash == 0);
    assert(frame->pgno != 0 && !ramet_pos_before(frame->most, frame->least));
    memset(out, 0, RAMET_RETAINED_HEADER_SIZE);
    ramet_put_le32(out + 8, frame->pgno);
    ramet_put_le32(out + 12, (uint32_t)frame->kind);
    ramet_put_le64(out + 16, frame->before.raw);
    ramet_put_le64(out + 24, frame->pos.raw);
    ramet_put_le64(out + 32, frame->least.raw);
    ramet_put_le64(out + 40, frame->most.raw);
    ramet_put_le64(out, frame->page_hash ^
                            ramet_hash64_seeded(
                                out + 8, RAMET_RETAINED_HEADER_SIZE - 8, salt));
}

bool
ramet_retained_frame_decode(const uint8_t in[RAMET_RETAINED_HEADER_SIZE],
                            struct ramet_pos pos, uint64_t salt,
                            struct ramet_retained_frame *out)
{
    const uint32_t kind = ramet_get_le32(in + 12);

    out->pgno = ramet_get_le32(in + 8);
    out->kind = (enum ramet_entry_kind)kind;
    out->before.raw = ramet_get_le64(in + 16);
    out->pos.raw = ramet_get_le64(in + 24);
    out->least.raw = ramet_get_le64(in + 32);
    out->most.raw = ramet_get_le64(in + 40);
    out->page_hash =
        ramet_get_le64(in) ^
        ramet_hash64_seeded(in + 8, RAMET_RETAINED_HEADER_SIZE - 8, salt);
    return out->pgno != 0 && ramet_pos_same(out->pos, pos) &&
           ramet_pos_before(out->before, pos) &&
           !ramet_pos_before(out->most, out->least) &&
           (kind == RAMET_ENTRY_IMAGE ||
            ((kind == RAMET_ENTRY_ZERO || kind == RAMET_ENTRY_ABSENT) &&
             out->page_hash == 0));
}

/* ---- trailers ------------------------------------------------------------ */

/* Behind the name: the time, if it has one, and the void word. */
static size_t
trailer_size(size_t super_length, bool timed)
{
    const size_t size =
        RAMET_TRAILER_FIXED + super_length + (timed ? 8 : 0) + 8;

    assert(super_length <= RAMET_SUPER_NAME_MAX);
    return (size + RAMET_POS_UNIT - 1) / RAMET_POS_UNIT * RAMET_POS_UNIT;
}

size_t
ramet_trailer_void_offset(const struct ramet_trailer *trailer)
{
    return trailer_size(trailer->super_length, trailer->time_ms != 0) - 8;
}

/* What a right checksum does not prove: that the fields make sense. */
static bool
is_sane(const struct ramet_trailer *t)
{
    const uint64_t bound = (uint64_t)t->page_count * t->page_size;

    if (t->type < RAMET_RECORD_COMMIT || t->type > RAMET_RECORD_RESET)
        return false;
    if ((t->flags & RAMET_RECORD_DOUBT) != 0 &&
        (t->type != RAMET_RECORD_COMMIT || ramet_id_is_nil(&t->commit.id)))
        return false;
    if (ramet_pos_before(t->pos, t->start) ||
        ramet_pos_file(t->start) != ramet_pos_file(t->pos))
        return false;
    if (t->page_size == 0)
        return t->page_count == 0 && t->byte_length == 0;
    return ramet_page_size_ok(t->page_size) && t->byte_length <= bound &&
           bound - t->byte_length < t->page_size &&
           t->least_page_count <= t->page_count;
}

size_t
ramet_trailer_encode(struct ramet_trailer *trailer, uint64_t salt, uint8_t *out)
{
    const bool timed = trailer->time_ms != 0;
    const size_t size = trailer_size(trailer->super_length, timed);

    assert(trailer->super_length == 0 || trailer->super_journal != NULL);
    ramet_put_le32(out + 8, 0);
    out[12] = RAMET_LOGFRAME_TRAILER;
    out[13] = (uint8_t)trailer->type;
    ramet_put_le16(out + 14, (uint16_t)(size / RAMET_POS_UNIT));
    ramet_put_le64(out + 16, trailer->start.raw);
    ramet_put_le64(out + 24, trailer->pos.raw);
    ramet_put_le64(out + 32, trailer->seq);
    ramet_put_le64(out + 40, trailer->prev);
    ramet_put_le64(out + 48, trailer->frame_count);
    ramet_put_le64(out + 56, trailer->frames_sum);
    ramet_put_le64(out + 64, trailer->synced.raw);
    ramet_put_le64(out + 72, trailer->byte_length);
    ramet_put_le32(out + 80, trailer->page_size);
    ramet_put_le32(out + 84, trailer->page_count);
    ramet_put_le32(out + 88, trailer->least_page_count);
    ramet_put_le32(out + 92, trailer->counter);
    ramet_put_le32(out + 96, trailer->remote_page_count);
    ramet_put_le32(out + 100,
                   trailer->flags | (timed ? RAMET_RECORD_TIMED : 0u));
    ramet_put_le64(out + 104, trailer->lsn);
    ramet_put_le64(out + 112, trailer->lsn_time_ms);
    memcpy(out + 120, trailer->lsn_hash.bytes, RAMET_HASH_SIZE);
    memcpy(out + 136, trailer->commit.id.bytes, RAMET_ID_SIZE);
    memcpy(out + 152, trailer->header, RAMET_TRUE_HEADER_SIZE);
    ramet_put_le16(out + 252, (uint16_t)trailer->super_length);
    ramet_put_le16(out + 254, 0);
    if (trailer->super_length != 0)
        memcpy(out + RAMET_TRAILER_FIXED, trailer->super_journal,
               trailer->super_length);
    memset(out + RAMET_TRAILER_FIXED + trailer->super_length, 0,
           size - RAMET_TRAILER_FIXED - trailer->super_length);
    if (timed)
        ramet_put_le64(out + size - 16, trailer->time_ms);
    trailer->sum = ramet_hash64_seeded(out + 8, size - 16, salt);
    trailer->tail = ramet_pos_add(trailer->pos, size);
    trailer->is_void = trailer->is_confirmed = false;
    ramet_put_le64(out, trailer->sum);
    assert(ramet_trailer_peek_size(out) == size);
    return size;
}

size_t
ramet_trailer_peek_size(const uint8_t in[RAMET_LOGFRAME_HEADER_SIZE])
{
    const size_t size = (size_t)ramet_get_le16(in + 14) * RAMET_POS_UNIT;

    if (ramet_get_le32(in + 8) != 0 || in[12] != RAMET_LOGFRAME_TRAILER ||
        size < trailer_size(0, false) ||
        size > trailer_size(RAMET_SUPER_NAME_MAX, true))
        return 0;
    return size;
}

bool
ramet_trailer_peek_synced(const uint8_t *in, size_t size, struct ramet_pos pos,
                          struct ramet_pos *out_synced, uint64_t *out_seq)
{
    if (ramet_trailer_peek_size(in) != size ||
        ramet_get_le64(in + 24) != pos.raw)
        return false;
    out_synced->raw = ramet_get_le64(in + 64);
    *out_seq = ramet_get_le64(in + 32);
    return true;
}

bool
ramet_trailer_decode(const uint8_t *in, size_t size, struct ramet_pos pos,
                     uint64_t salt, struct ramet_trailer *out)
{
    struct ramet_trailer t = {0};
    uint64_t word;
    bool timed;

    if (ramet_trailer_peek_size(in) != size ||
        ramet_get_le64(in + 24) != pos.raw)
        return false;
    t.sum = ramet_get_le64(in);
    if (t.sum != ramet_hash64_seeded(in + 8, size - 16, salt))
        return false;
    t.type = (enum ramet_record_type)in[13];
    t.start.raw = ramet_get_le64(in + 16);
    t.pos = pos;
    t.tail = ramet_pos_add(pos, size);
    t.seq = ramet_get_le64(in + 32);
    t.prev = ramet_get_le64(in + 40);
    t.frame_count = ramet_get_le64(in + 48);
    t.frames_sum = ramet_get_le64(in + 56);
    t.synced.raw = ramet_get_le64(in + 64);
    t.byte_length = ramet_get_le64(in + 72);
    t.page_size = ramet_get_le32(in + 80);
    t.page_count = ramet_get_le32(in + 84);
    t.least_page_count = ramet_get_le32(in + 88);
    t.counter = ramet_get_le32(in + 92);
    t.remote_page_count = ramet_get_le32(in + 96);
    t.flags = ramet_get_le32(in + 100) & ~(uint32_t)RAMET_RECORD_TIMED;
    timed = t.flags != ramet_get_le32(in + 100);
    t.lsn = ramet_get_le64(in + 104);
    t.lsn_time_ms = ramet_get_le64(in + 112);
    memcpy(t.lsn_hash.bytes, in + 120, RAMET_HASH_SIZE);
    memcpy(t.commit.id.bytes, in + 136, RAMET_ID_SIZE);
    memcpy(t.header, in + 152, RAMET_TRUE_HEADER_SIZE);
    t.super_length = ramet_get_le16(in + 252);
    if (t.super_length > RAMET_SUPER_NAME_MAX ||
        trailer_size(t.super_length, timed) != size || !is_sane(&t))
        return false;
    if (timed)
        t.time_ms = ramet_get_le64(in + size - 16);
    if (timed && t.time_ms == 0)
        return false;
    if (t.super_length != 0)
        t.super_journal = (const char *)in + RAMET_TRAILER_FIXED;
    word = ramet_get_le64(in + size - 8);
    t.is_void = word == ramet_trailer_void_value(&t);
    t.is_confirmed = word == t.sum && (t.flags & RAMET_RECORD_DOUBT) != 0;
    if (word != 0 && !t.is_void && !t.is_confirmed)
        return false;
    assert(ramet_trailer_void_offset(&t) == size - 8);
    *out = t;
    return true;
}
