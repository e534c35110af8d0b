/*
 * ask_vfs.h - a database of which each page is asked for over a descriptor: the
 * VFS "ask", which reads, and does nothing else.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_ASK_VFS_H
#define RAMET_SERVER_ASK_VFS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All of it, or false: the other end is gone. */
bool ramet_ask_read(void *out, size_t len);
bool ramet_ask_write(const void *data, size_t len);

/* Register it, for a database of that size. */
int ramet_ask_vfs_register(uint32_t page_size, uint32_t page_count);

#endif
