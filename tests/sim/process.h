/*
 * process.h - simulated processes: copies of the image, begun, killed and
 * looked after.
 */
#ifndef RAMET_TESTS_SIM_PROCESS_H
#define RAMET_TESTS_SIM_PROCESS_H

#include "tests/sim/image/image.h"
#include "tests/sim/os.h"

struct sim_process;

/* Load `count` copies of the image at `path`; once. */
void sim_images_load(const char *path, unsigned count);

/* Begin a process in a free copy; `env` is copied, its `os` and `process` made.
 * `disk` and `trouble` are its machine's. */
struct sim_process *
sim_process_start(const struct sim_env *env, const char *name,
                  struct sim_disk *disk, struct sim_trouble *trouble);
bool sim_process_has_ended(const struct sim_process *process);
/* Tell one that serves to end. */
void sim_process_end(struct sim_process *process);
/* As kill -9: nothing of it runs again, what it had open is closed. */
void sim_process_kill(struct sim_process *process);
/* One that has ended by itself: it must have left nothing behind. */
void sim_process_reap(struct sim_process *process);
const struct sim_env *sim_process_env(const struct sim_process *process);

#endif
