/*
 * os_room.h - room for descriptors.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_OS_ROOM_H
#define RAMET_CORE_OS_ROOM_H

/*
 * This process may need so many descriptors: the limit is raised to that, as far as
 * the process may; it is never lowered. For who would run out of them otherwise: a
 * program that calls select() can't use one above 1,023. By one thread at a time.
 */
void ramet_os_want_descriptors(unsigned count);

/* How many this process may have open; UINT_MAX: more than that. */
unsigned ramet_os_descriptors(void);

#endif
