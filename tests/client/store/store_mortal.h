/*
 * store_mortal.h - a process that dies at its n-th change of the disk.
 */
#ifndef RAMET_TESTS_CLIENT_STORE_STORE_MORTAL_H
#define RAMET_TESTS_CLIENT_STORE_STORE_MORTAL_H

#include "core/os.h"

/* The system's table; changes of the disk are counted. */
const struct ramet_os *store_mortal_os(void);
/* After so many more this process ends, with status 0. */
void store_dies_after(long changes);

#endif
