/*
 * log_damage.c - see log_damage.h; hostile bytes.
 *
 *   (1) each trailer tells up to where the log was on disk when it was written;
 *       one behind the end that tells of a place past the end is proof of damage
 *   (2) a file's header was on disk before the second record in it was written.
 *       So where the header can't be read, and with it the salt that shows a
 *       trailer to be whole, trailers are taken at their word: if all of it is
 *       the leftover of a crash, none tells of a place in this file
 *   (3) such a file may be one that a clean close kept, with records of before in
 *       it: those are older than the snapshot at the end, and prove nothing
 *   (4) nothing is missing before the record that would be the next. It may be what
 *       a transaction wrote over, at the beginning of a file that is after the end
 *   (5) a file that is missing proves nothing, and ends nothing: what is in those
 *       after it may. Their names may have come to the disk before its own
 */
#include "client/store/log/log_damage.h"

#include <assert.h>
#include <fcntl.h>

#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "core/alloc.h"

#define WINDOW_SIZE (64u << 10)

struct search {
    struct ramet_replica *replica;
    struct ramet_pos end; /* where the log seems to end */
    uint64_t seq;         /* of the snapshot there */
    uint8_t *window;
    bool is_damaged;
};

/* A log file as it is searched. */
struct suspect {
    uint64_t number;
    int fd;
    const uint64_t *salt; /* NULL: its header is spoilt */
};

static bool
proves_damage(const struct search *search, const struct suspect *file,
              const uint8_t *in, size_t size, struct ramet_pos pos)
{
    struct ramet_trailer t;
    struct ramet_pos synced;
    uint64_t seq;

    assert(size != 0 && size <= WINDOW_SIZE);
    if (file->salt != NULL)
        return ramet_trailer_decode(in, size, pos, *file->salt, &t) &&
               t.seq > search->seq + 1 && /* invariant (4) */
               ramet_pos_before(search->end, t.synced) && !t.is_void;
    return ramet_trailer_peek_synced(in, size, pos, &synced, &seq) &&
           seq > search->seq && /* invariant (3) */
           ramet_pos_before(search->end, synced) &&
           ramet_pos_before(synced, pos);
}

static enum ramet_rc
search_file(struct search *search, const struct suspect *file, uint64_t from,
            struct ramet_err *err)
{
    const struct ramet_os *const os = search->replica->os;

    assert(file->fd >= 0 && from >= RAMET_FRAME_FILE_HEADER_SIZE);
    for (uint64_t at = from; !search->is_damaged;) {
        const uint8_t *const window = search->window;
        size_t got = 0;
        size_t i;
        const enum ramet_rc rc = ramet_os_read_some(
            os, file->fd, search->window, WINDOW_SIZE, at, &got, "log", err);

        assert(at % RAMET_POS_UNIT == 0);
        if (rc != RAMET_OK)
            return rc;
        for (i = 0; i + RAMET_LOGFRAME_HEADER_SIZE <= got;
             i += RAMET_POS_UNIT) {
            const size_t size = ramet_trailer_peek_size(window + i);

            if (size != 0 && i + size > got && got == WINDOW_SIZE)
                break; /* look at it again from its beginning */
            if (size != 0 && i + size <= got &&
                proves_damage(search, file, window + i, size,
                              ramet_pos_make(file->number, at + i)))
                search->is_damaged = true;
        }
        if (got < WINDOW_SIZE)
            break;
        at += i == 0 ? RAMET_POS_UNIT : i;
    }
    return RAMET_OK;
}

/* A file that has the name of a log file and no header that can be read.
 * RAMET_ENOTFOUND: there is none, or it belongs to another replica. */
static enum ramet_rc
search_spoilt(struct search *search, uint64_t number, struct ramet_err *err)
{
    const struct ramet_os *const os = search->replica->os;
    struct suspect file = {.number = number};
    struct ramet_frame_file_header header;
    uint8_t raw[RAMET_FRAME_FILE_HEADER_SIZE];
    char name[32];
    size_t got = 0;
    enum ramet_rc rc;

    ramet_frame_file_name(RAMET_FRAMES_LOG, number, name);
    file.fd = ramet_dir_open(os, search->replica->dir_fd, name, O_RDONLY);
    if (file.fd < 0)
        return RAMET_FAIL_OS(err, file.fd, "open %s", name);
    rc = ramet_os_read_some(os, file.fd, raw, sizeof(raw), 0, &got, name, err);
    if (rc == RAMET_OK && got == sizeof(raw) &&
        ramet_frame_file_header_decode(raw, &header))
        rc = RAMET_FAIL(err, RAMET_ENOTFOUND,
                        "%s does not belong to this replica", name);
    if (rc == RAMET_OK)
        rc = search_file(search, &file, RAMET_FRAME_FILE_HEADER_SIZE, err);
    os->close(os->ctx, file.fd);
    return rc;
}

static enum ramet_rc
search_log_file(struct search *search, uint64_t number, uint64_t from,
                struct ramet_err *err)
{
    struct suspect file = {.number = number};
    struct ramet_frame_file *opened;
    const enum ramet_rc rc = ramet_frame_file_get(
        search->replica, RAMET_FRAMES_LOG, number, &opened, err);

    assert(from % RAMET_POS_UNIT == 0);
    if (rc == RAMET_ENOTFOUND)
        return search_spoilt(search, number, err);
    if (rc != RAMET_OK)
        return rc;
    file.fd = opened->fd;
    file.salt = &opened->salt;
    return search_file(search, &file, from, err);
}

struct next {
    uint64_t from;
    uint64_t least; /* 0: there is none from there on */
};

static int
note_next(void *ctx, const char *name, bool is_dir)
{
    struct next *const next = ctx;
    enum ramet_frames_type type;
    uint64_t number;

    assert(name[0] != '\0');
    if (!is_dir && ramet_frame_file_name_parse(name, &type, &number) &&
        type == RAMET_FRAMES_LOG && number <= RAMET_FRAME_FILE_MAX &&
        number >= next->from && (next->least == 0 || number < next->least))
        next->least = number;
    return 0;
}

/* The number of the first log file after `number`; 0: there is none. */
static uint64_t
find_next(const struct ramet_replica *replica, uint64_t number)
{
    const struct ramet_os *const os = replica->os;
    struct next next = {.from = number + 1};

    assert(number <= RAMET_FRAME_FILE_MAX);
    /* Where it can't be listed nothing is proved. */
    return os->list(os->ctx, replica->dir_fd, ".", note_next, &next) == 0
               ? next.least
               : 0;
}

enum ramet_rc
ramet_log_search_damage(struct ramet_replica *replica, struct ramet_pos end,
                        struct ramet_err *err)
{
    struct search search = {.replica = replica, .end = end};
    struct ramet_published newest;
    uint64_t number = ramet_pos_file(end);
    uint64_t from = ramet_pos_offset(end);
    enum ramet_rc rc = RAMET_OK;

    assert(!ramet_pos_is_none(end));
    search.window = ramet_alloc(WINDOW_SIZE);
    if (search.window == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to read the log");
    ramet_index_newest(replica, &newest);
    search.seq = newest.snapshot.seq;
    while (rc == RAMET_OK && number != 0 && !search.is_damaged) {
        rc = search_log_file(&search, number, from, err);
        if (rc == RAMET_ENOTFOUND) /* invariant (5) */
            rc = RAMET_OK;
        number = find_next(replica, number);
        from = RAMET_FRAME_FILE_HEADER_SIZE;
    }
    ramet_free(search.window);
    if (search.is_damaged)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: log %llu is damaged at %llu, before its end; "
                          "'ramet reset' gives up what is in it",
                          replica->path,
                          (unsigned long long)ramet_pos_file(end),
                          (unsigned long long)ramet_pos_offset(end));
    return rc;
}
