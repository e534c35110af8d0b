/*
 * native.h - the VFS below Ramet's: plain files on the simulated disk.
 */
#ifndef RAMET_TESTS_SIM_IMAGE_NATIVE_H
#define RAMET_TESTS_SIM_IMAGE_NATIVE_H

/* Make it SQLite's default, and give SQLite this process's heap. Before anything
 * else is asked of SQLite. */
void sim_native_begin(void);

#endif
