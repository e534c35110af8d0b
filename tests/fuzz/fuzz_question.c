/*
 * fuzz_question.c - what a client may send to have a statement run: JSON of any
 * form. What is accepted keeps the bounds of ask_wire.h.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server/ask_wire.h"
#include "server/question.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *const json = json_loadb((const char *)data, size, 0, NULL);
    struct ramet_asked asked;
    struct ramet_err err = {.text = ""};
    const enum ramet_rc rc = ramet_question_parse(json, &asked, &err);

    if (rc == RAMET_OK &&
        (strlen(asked.sql) > RAMET_ASK_SQL_MAX ||
         asked.param_count > RAMET_ASK_PARAMS_MAX ||
         strlen(asked.sql) + asked.params.len > RAMET_ASK_BYTES_MAX))
        abort();
    if (rc != RAMET_OK && err.text[0] == '\0')
        abort();
    ramet_question_done(&asked);
    json_decref(json);
    return 0;
}
