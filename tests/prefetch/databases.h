/*
 * databases.h - databases of a test, in a folder of its own: each is made by the
 * statements of a file in databases/.
 */
#ifndef RAMET_TESTS_PREFETCH_DATABASES_H
#define RAMET_TESTS_PREFETCH_DATABASES_H

#define DATABASE_PATH_MAX 128

/* A group's set-up and tear-down; the folder has nothing but databases. */
int databases_begin(void **state);
int databases_end(void **state);

void database_path(const char *name, char out[DATABASE_PATH_MAX]);
/* A database `name`, as databases/`recipe`.sql has it; `pragmas` come first. */
void database_make(const char *name, const char *recipe, const char *pragmas);

#endif
