/*
 * under.h - a VFS for ramet.so to stand on: SQLite's own, of which the n-th call
 * fails.
 */
#ifndef TESTS_VFS_UNDER_H
#define TESTS_VFS_UNDER_H

#include <sqlite3.h>
#include <stdbool.h>

#define UNDER_NAME "under"

/* Become the default, before ramet.so is loaded; `version` is iVersion. */
void under_register(int version);

/* The nth call (0: the next) of any method that may fail fails with `code`. */
void under_fail_at(int nth, int code);

/* Off; did it happen? */
bool under_disarm(void);

/* Calls since under_fail_at(). */
int under_calls(void);

/* Files that are open through it. */
int under_open_files(void);

#endif
