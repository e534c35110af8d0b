/*
 * store_audit.h - does what a replica has on its disk fit together?
 *
 * A model compares what readers get. This compares what they do not ask for yet:
 * counts, words and copies that are looked at after a crash, by `verify`, by who
 * closes, or when a bit rots.
 */
#ifndef RAMET_TESTS_CLIENT_STORE_STORE_AUDIT_H
#define RAMET_TESTS_CLIENT_STORE_STORE_AUDIT_H

#include "tests/client/store/store_world.h"

/* Takes the base lock, so nothing of the session may have it; it may write. With
 * `had_deaths` processes of the replica may have died between two steps. Fails the
 * test, with `line`. */
void store_audit(struct ramet_session *session, bool had_deaths, int line);

#endif
