/*
 * database.h - a database that SQLite itself made, in memory.
 */
#ifndef RAMET_TESTS_SQLITEFORMAT_DATABASE_H
#define RAMET_TESTS_SQLITEFORMAT_DATABASE_H

#include <sqlite3.h>
#include <stdint.h>

struct database {
    sqlite3 *db; /* to ask SQLite what is in it */
    unsigned char *bytes;
    uint32_t page_size;
    uint32_t page_count;
    uint32_t usable;
};

/* Asserts that all goes well. */
struct database database_make(uint32_t page_size, const char *sql);
void database_done(struct database *database);
const uint8_t *database_page(const struct database *database, uint32_t pgno);
/* The one number that `sql` yields. */
int64_t database_number(const struct database *database, const char *sql);

#endif
