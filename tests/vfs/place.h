/*
 * place.h - a folder for replicas, and connections to them in a program that has loaded
 * ramet.so on a VFS of under.h.
 */
#ifndef TESTS_VFS_PLACE_H
#define TESTS_VFS_PLACE_H

#include <sqlite3.h>

#include "tests/vfs/under.h"

extern char place_folder[80];
extern const char *place_extension;
extern int place_under_version;

/* How many allocations SQLite gets until one fails; < 0: all. */
extern int place_allocations_left;

/* The words of a test's command, RAMET_SO IVERSION: the extension is loaded, as the
 * default, on SQLite's own allocator. False, in words, where it can't be. */
bool place_begin(int argc, char **argv);

/* For cmocka, around each test. */
int place_set_up(void **state);
int place_tear_down(void **state);

/* A replica in the folder, made if need be; more parameters begin with '&'. NULL:
 * it failed. */
sqlite3 *place_open(const char *name, const char *parameters);

/* Make one with a table t(n, v) of so many rows. */
void place_make(const char *name, int rows);

/* Its rows, by a new connection. */
long place_rows(const char *name);

/* Of a file in the folder. */
void place_path(const char *name, char out[128]);

int place_run(sqlite3 *db, const char *sql);
void place_must(sqlite3 *db, const char *sql);
long place_number(sqlite3 *db, const char *sql);

#endif
