/*
 * ask_process.h - the process that a question runs in (ask_main.c), as the server has
 * it: a socket, and a time after which nothing is waited for.
 *
 *   (1) It gets no environment, no arguments, and no descriptor but the socket's.
 *   (2) It is gone once ramet_ask_process_end() returns, whatever it does.
 *
 * One thread at a time. Layer: server.
 */
#ifndef RAMET_SERVER_ASK_PROCESS_H
#define RAMET_SERVER_ASK_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/err.h"

struct ramet_ask_process {
    pid_t pid;
    int fd;
    uint64_t until_ms; /* by the monotonic clock; the caller's to move */
};

/* The program `helper`. RAMET_EIO: it can't be had. */
RAMET_NODISCARD enum ramet_rc
ramet_ask_process_begin(struct ramet_ask_process *process, const char *helper,
                        struct ramet_err *err);
/* How it ended, or that we ended it. */
int ramet_ask_process_end(struct ramet_ask_process *process);

/* All of it, or false: the time is up, or it is gone. */
bool ramet_ask_process_receive(struct ramet_ask_process *process, void *out,
                               size_t len);
bool ramet_ask_process_send(struct ramet_ask_process *process, const void *data,
                            size_t len);

/* The program beside this one; false: there is none. */
bool ramet_ask_process_find(char *out, size_t size);

uint64_t ramet_ask_process_now_ms(void);

#endif
