/*
 * store_mortal.h - a process that dies before or right after a change of the disk.
 */
#ifndef RAMET_TESTS_CLIENT_STORE_STORE_MORTAL_H
#define RAMET_TESTS_CLIENT_STORE_STORE_MORTAL_H

#include "core/os.h"

/* The system's table; the moments before and after each change of the disk are
 * counted. */
const struct ramet_os *store_mortal_os(void);
/* After so many of them this process ends, with status 0. */
void store_dies_after(long moments);

#endif
