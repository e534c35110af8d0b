/*
 * store_place.h - a replica of a blob in a folder of its own, for tests that
 * look at what processes do to it.
 *
 * place_* and OK() fail the test. In a child no test can fail:
 * child_require() ends it instead, with a message.
 */
#ifndef RAMET_TESTS_CLIENT_STORE_STORE_PLACE_H
#define RAMET_TESTS_CLIENT_STORE_STORE_PLACE_H

#include "tests/client/store/store_world.h"
#include "tests/support/child.h"

#define PLACE_PAGE 4096u

struct place {
    char folder[128];
    char path[160];
    char dir[176]; /* path-ramet */
    struct remote remote;
};

/* cmocka setup and teardown; *state is the place. */
int place_setup(void **state);
int place_teardown(void **state);

/* A session whose pages come from the place's remote; `os` may be NULL. */
struct ramet_session *
place_open_on(struct place *p, unsigned flags, const struct ramet_os *os);
struct ramet_session *place_open(struct place *p, unsigned flags);
/* Open and close. */
enum ramet_rc
place_try_open(const char *path, unsigned flags, struct ramet_err *err);
/* What is written from here on has another time than the base has: a file
 * system's clock may tick a few hundred times a second only. */
void place_await_tick(const struct place *p);
/* Copy the replica, as `cp` does. */
void place_copy(const struct place *p, const char *to);

struct image *place_image(uint64_t seed, uint64_t size); /* random bytes */
/* The file becomes the image, in one synced transaction. */
enum ramet_rc place_commit(struct ramet_session *session,
                           const struct image *image, struct ramet_err *err);
/* The newest snapshot is the image. Leaves no pin. */
void place_expect(struct ramet_session *session, const struct image *image,
                  int line);

/* The fields of a file `state`, as version 3 has them; their length. */
size_t
place_state_of_version_3(const uint8_t *bytes, size_t size, uint8_t *out);

/* In a child: open what is there; waits for openers. */
struct ramet_session *place_open_in_child(struct place *p);

#endif
