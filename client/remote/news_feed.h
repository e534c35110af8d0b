/*
 * news_feed.h - being told of commits: one stream of news a server, token and
 * process, for all volumes that somebody follows there.
 *
 * A thread reads the stream, begins it anew where it broke off (later and later,
 * where that goes on) or where volumes were added, and passes on what it hears.
 *
 *   (1) Feeds are found by server and token; a process forked from ours finds none
 *       of them.
 *   (2) When ramet_news_feed_unfollow() returns nothing more is passed on to that
 *       follower.
 *   (3) An LSN is confirmed as of a time of our own clock at which the server
 *       had nothing newer, or earlier: a stream that is held up confirms nothing.
 *   (4) What is heard is bounded: bytes that bring nothing new end the stream.
 *
 * Locks: a feed's is held while followers are told; those must not call back.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_NEWS_FEED_H
#define RAMET_CLIENT_REMOTE_NEWS_FEED_H

#include "client/remote/remote.h"

struct ramet_news_feed;

/* Who is told: all by the feed's thread, under its lock. */
struct ramet_news_taker {
    /* A commit object, not verified; whether it was of use. NULL: not wanted. */
    bool (*take)(void *ctx, const struct ramet_vid *volume,
                 const struct ramet_point *at, const uint8_t *object,
                 size_t len);
    void *ctx;
};

/* No I/O, no thread yet. */
RAMET_NODISCARD enum ramet_rc
ramet_news_feed_join(const char *root,
                     const struct ramet_remote_options *options,
                     struct ramet_news_feed **out_feed, struct ramet_err *err);
/* Takes `owner`'s volumes off, and the reference. NULL is fine. */
void ramet_news_feed_leave(struct ramet_news_feed *feed, const void *owner);

/* Follow a volume for `owner` (a key, and whose taker it is), past `after`. More
 * than once is fine; as many unfollows. */
RAMET_NODISCARD enum ramet_rc
ramet_news_feed_follow(struct ramet_news_feed *feed, const void *owner,
                       const struct ramet_news_taker *taker,
                       const struct ramet_vid *volume, uint64_t after,
                       const struct ramet_follower *follower,
                       struct ramet_err *err);
void ramet_news_feed_unfollow(struct ramet_news_feed *feed, const void *owner,
                              const struct ramet_vid *volume,
                              const struct ramet_follower *follower);

/* What `owner` follows in one feed it follows in the other from here on; who waits
 * there waits to the end. */
void ramet_news_feed_move(struct ramet_news_feed *from,
                          struct ramet_news_feed *to, const void *owner);

/* As ramet_remote_ops.heard. */
bool
ramet_news_feed_heard(struct ramet_news_feed *feed, const void *owner,
                      const struct ramet_vid *volume, struct ramet_heard *out);
/* As ramet_remote_ops.wait, of a volume that is followed or not. */
RAMET_NODISCARD enum ramet_rc
ramet_news_feed_wait(struct ramet_news_feed *feed, const void *owner,
                     const struct ramet_news_taker *taker,
                     const struct ramet_vid *volume, uint64_t after,
                     uint64_t timeout_ms, const volatile bool *cancel,
                     struct ramet_err *err);
/* What was heard of it is not believed any more: the stream is begun anew. */
void ramet_news_feed_forget(struct ramet_news_feed *feed, const void *owner,
                            const struct ramet_vid *volume);

#endif
