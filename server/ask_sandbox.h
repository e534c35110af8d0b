/*
 * ask_sandbox.h - a process gives up all it could do but to compute, and to talk
 * over the descriptors that it has.
 *
 *   (1) Afterwards it opens nothing, connects to nothing, starts nothing and signals
 *       nobody: whatever is not on a short list of system calls fails with EPERM.
 *   (2) Its memory, processor time and files are bounded.
 *   (3) Where the kernel can't see to (1), it says so, and nothing is run.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_ASK_SANDBOX_H
#define RAMET_SERVER_ASK_SANDBOX_H

#include <stdbool.h>

bool ramet_ask_lock_down(void);

#endif
