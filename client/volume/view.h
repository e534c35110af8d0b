/*
 * view.h - a read-only snapshot straight from a remote: nothing on disk,
 * pages in bounded memory, which views of one volume in a process share.
 *
 * A view either stays at one LSN, or follows: each pin then looks whether
 * there is a newer commit, but asks the remote at most once per
 * RAMET_VIEW_LOOK_MS. While the remote is out of reach it stays where it was.
 *
 * One thread at a time. Layer: client, internal.
 */
#ifndef RAMET_CLIENT_VOLUME_VIEW_H
#define RAMET_CLIENT_VOLUME_VIEW_H

#include "client/remote/remote_client.h"
#include "client/volume/file.h"

#define RAMET_VIEW_LOOK_MS 1000u
#define RAMET_VIEW_CACHE_BYTES (16u << 20)

struct ramet_view;

/* Where a view stands. */
struct ramet_view_point {
    bool fixed;
    uint64_t lsn;     /* fixed, and not 0 */
    uint64_t time_ms; /* fixed, and lsn is 0 */
};
/* "42" or "2026-11-23T10:00:00Z". */
RAMET_NODISCARD enum ramet_rc
ramet_view_point_parse(const char *text, struct ramet_view_point *out_place,
                       struct ramet_err *err);

/* `client` is referenced on its own. `volume` NULL: the one that its name
 * stands for. RAMET_ENOTFOUND: no such volume or snapshot; a volume without
 * commits is empty. */
RAMET_NODISCARD enum ramet_rc
ramet_view_open(struct ramet_remote_client *client,
                const struct ramet_vid *volume,
                const struct ramet_view_point *place, size_t cache_bytes,
                const struct ramet_os *os, struct ramet_view **out_view,
                struct ramet_err *err);
void ramet_view_close(struct ramet_view *view);

RAMET_NODISCARD enum ramet_rc
ramet_view_pin(struct ramet_view *view, struct ramet_err *err);
void ramet_view_unpin(struct ramet_view *view);
const struct ramet_snapshot *ramet_view_snapshot(struct ramet_view *view);
RAMET_NODISCARD enum ramet_rc
ramet_view_read(struct ramet_view *view, uint64_t offset, void *buf, size_t len,
                size_t *out_got, struct ramet_err *err);
const struct ramet_head *ramet_view_head(const struct ramet_view *view);
const struct ramet_vid *ramet_view_volume(const struct ramet_view *view);
/* When (CLOCK_BOOTTIME, ms) the last look began that found it in place; 0:
 * none did. */
uint64_t ramet_view_looked_boot_ms(const struct ramet_view *view);
struct ramet_remote_client *ramet_view_client(struct ramet_view *view);
struct ramet_warm; /* client/remote/warm.h; NULL: nothing to end */
struct ramet_warm *
ramet_view_warm(struct ramet_view *view, const char *profile, bool may_keep);
/* As ramet_file_prefetch(). */
RAMET_NODISCARD enum ramet_rc
ramet_view_prefetch(struct ramet_view *view,
                    const struct ramet_question *question, uint64_t *out_pages,
                    struct ramet_err *err);
/* Newest LSN known; asks nobody. */
uint64_t ramet_view_remote_lsn(const struct ramet_view *view);
/* Look at the remote now, whatever was asked when. */
RAMET_NODISCARD enum ramet_rc
ramet_view_fetch(struct ramet_view *view, struct ramet_err *err);

#endif
