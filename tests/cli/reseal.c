/*
 * reseal.c - put one text in another's place in a file whose last eight bytes
 * are the checksum of all before, and seal it again: so that what an earlier
 * version left in one folder can be looked at in another.
 *
 *   reseal FILE OLD NEW        both of one length
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/hash.h"

#define SUM_SIZE 8u

int
main(int argc, char **argv)
{
    static uint8_t data[1u << 20];
    size_t len;
    size_t found = 0;
    size_t text_len;
    FILE *file;

    if (argc != 4 || strlen(argv[2]) != strlen(argv[3]))
        return 2;
    text_len = strlen(argv[2]);
    file = fopen(argv[1], "r+b");
    if (file == NULL)
        return 1;
    len = fread(data, 1, sizeof(data), file);
    if (len < SUM_SIZE + text_len || len == sizeof(data) ||
        ramet_get_le64(data + len - SUM_SIZE) !=
            ramet_hash64(data, len - SUM_SIZE)) {
        fprintf(stderr, "%s: not sealed\n", argv[1]);
        return 1;
    }
    for (size_t at = 0; at + text_len <= len - SUM_SIZE; at++)
        if (memcmp(data + at, argv[2], text_len) == 0) {
            memcpy(data + at, argv[3], text_len);
            found++;
        }
    ramet_put_le64(data + len - SUM_SIZE, ramet_hash64(data, len - SUM_SIZE));
    rewind(file);
    if (fwrite(data, 1, len, file) != len || fclose(file) != 0)
        return 1;
    return found > 0 ? 0 : 1;
}
