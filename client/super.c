/*
 * super.c - commits across attached databases, after a crash.
 *
 * SQLite's super-journal is the commit point of such a transaction: it lists
 * the journals of the databases in it, and deleting it commits. A record that
 * names one, whose writer died before it was published, counts if the
 * super-journal is gone and is void if it is there.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/replica_impl.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define SUPER_SIZE_MAX (1u << 20)
#define TRAILER_OVERHEAD 20u /* around the name: see read_pointer() */

static const uint8_t journal_magic[8] = {0xd9, 0xd5, 0x05, 0xf9,
                                         0x20, 0xa1, 0x63, 0xd7};

/* `trailer`'s super-journal as a string of its own (ramet_free). */
static char *
name_of(const struct ramet_trailer *trailer)
{
    char *const name = ramet_alloc((size_t)trailer->super_length + 1);

    if (name != NULL) {
        memcpy(name, trailer->super_journal, trailer->super_length);
        name[trailer->super_length] = '\0';
    }
    return name;
}

enum ramet_rc
ramet_super_decide(struct ramet_replica *replica,
                   const struct ramet_trailer *trailer, bool *out_apply,
                   struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_stat st;
    char *name;
    int result;

    *out_apply = true;
    if (trailer->super_length == 0)
        return RAMET_OK;
    name = name_of(trailer);
    if (name == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
    result = os->stat_at(os->ctx, AT_FDCWD, name, &st);
    ramet_free(name);
    if (result < 0 && result != -ENOENT && result != -ENOTDIR)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                              "look for a super-journal of %s", replica->path);
    *out_apply = result < 0;
    return RAMET_OK;
}

/*
 * The super-journal's name at the end of a journal, as SQLite writes it: a
 * page number of 4 bytes, the name, its length and the sum of its bytes (both
 * big-endian), the journal magic. False if there is none; *out_only: the file
 * holds nothing else.
 */
static bool
read_pointer(const struct ramet_os *os, int dirfd, const char *path,
             char out[RAMET_SUPER_NAME_MAX + 1], bool *out_only)
{
    const int fd = os->open(os->ctx, dirfd, path, O_RDONLY | O_NONBLOCK, 0);
    uint8_t tail[16];
    struct ramet_stat st;
    uint32_t length;
    uint32_t sum = 0;
    bool is_right = false;

    if (fd < 0)
        return false;
    if (os->stat(os->ctx, fd, &st) == 0 && st.size_bytes > sizeof(tail) &&
        ramet_os_read_full(os, fd, tail, sizeof(tail),
                           st.size_bytes - sizeof(tail), path,
                           NULL) == RAMET_OK &&
        memcmp(tail + 8, journal_magic, sizeof(journal_magic)) == 0) {
        length = ramet_get_be32(tail);
        if (length != 0 && length <= RAMET_SUPER_NAME_MAX &&
            length <= st.size_bytes - sizeof(tail) &&
            ramet_os_read_full(os, fd, out, length,
                               st.size_bytes - sizeof(tail) - length, path,
                               NULL) == RAMET_OK) {
            for (uint32_t i = 0; i < length; i++)
                sum += (uint32_t)out[i]; /* char as SQLite has it here */
            out[length] = '\0';
            is_right = sum == ramet_get_be32(tail + 4);
            *out_only = st.size_bytes == length + TRAILER_OVERHEAD;
        }
    }
    os->close(os->ctx, fd);
    return is_right;
}

enum ramet_rc
ramet_super_clean(struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    char *const journal = ramet_asprintf("%s-journal", replica->name);
    char *const name = ramet_alloc(RAMET_SUPER_NAME_MAX + 1);
    bool only = false;
    enum ramet_rc rc = RAMET_OK;

    if (journal == NULL || name == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
    else if (read_pointer(os, replica->parent_fd, journal, name, &only) && only)
        os->unlink(os->ctx, replica->parent_fd, journal, false);
    ramet_free(journal);
    ramet_free(name);
    return rc;
}

/* Does one of the journals that the super-journal lists still point to it? */
static bool
is_needed(const struct ramet_os *os, const char *super, const uint8_t *list,
          size_t len, char *scratch)
{
    size_t at = 0;

    while (at < len) {
        const char *const journal = (const char *)list + at;
        bool only;

        if (read_pointer(os, AT_FDCWD, journal, scratch, &only) &&
            strcmp(scratch, super) == 0)
            return true;
        at += strlen(journal) + 1; /* the reader ends the data with a NUL */
    }
    return false;
}

enum ramet_rc
ramet_super_forget(struct ramet_replica *replica,
                   const struct ramet_trailer *trailer, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    char *name;
    char *scratch;
    uint8_t *list = NULL;
    size_t len = 0;
    enum ramet_rc rc;

    if (trailer->super_length == 0)
        return RAMET_OK;
    name = name_of(trailer);
    scratch = ramet_alloc(RAMET_SUPER_NAME_MAX + 1);
    if (name == NULL || scratch == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
        goto done;
    }
    rc = ramet_super_clean(replica, err); /* our own pointer goes first */
    if (rc != RAMET_OK)
        goto done;
    rc = ramet_os_read_file(os, AT_FDCWD, name, SUPER_SIZE_MAX, &list, &len,
                            err);
    if (rc == RAMET_ENOTFOUND)
        rc = RAMET_OK;
    else if (rc == RAMET_OK && !is_needed(os, name, list, len, scratch))
        os->unlink(os->ctx, AT_FDCWD, name, false);

done:
    ramet_free(name);
    ramet_free(scratch);
    ramet_free(list);
    return rc;
}
