/*
 * recorder.h - a store that notes which ranges are read through it.
 *
 * A history over it tells what somebody else, who knows nothing yet, will have
 * to read. Used by one thread at a time.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_RECORDER_H
#define RAMET_SERVER_RECORDER_H

#include "pagestore/objstore.h"

#define RAMET_RECORDS_MAX 4096u

struct ramet_record {
    char key[RAMET_KEY_MAX];
    uint64_t offset;
    size_t asked, got; /* got < asked: the object ends there */
};

struct ramet_recorder {
    struct ramet_objstore store; /* first: it is the store */
    struct ramet_objstore *inner;
    struct ramet_record *records;
    size_t count, capacity;
};

void ramet_recorder_init(struct ramet_recorder *recorder,
                         struct ramet_objstore *inner);
void ramet_recorder_done(struct ramet_recorder *recorder);

#endif
