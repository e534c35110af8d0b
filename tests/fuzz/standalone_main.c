/*
 * standalone_main.c - runs a fuzzer's harness over files, without libFuzzer.
 *
 * Arguments are files, or folders of files (not nested). So what a fuzzer once
 * found, and the seeds it starts from, are regression tests in every build. No
 * input at all is a failure: a test that ran nothing must not pass.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (16u << 20)

/* False, with a message, if the file can't be read. */
static int
run_file(const char *path)
{
    FILE *const file = fopen(path, "rb");
    uint8_t *data = malloc(INPUT_MAX);
    uint8_t *exact = NULL;
    size_t size = 0;
    int ok = 0;

    if (file == NULL || data == NULL) {
        perror(path);
        goto done;
    }
    size = fread(data, 1, INPUT_MAX, file);
    if (ferror(file)) {
        perror(path);
        goto done;
    }
    /* A block of just that size, so that ASan sees a read past its end. */
    exact = malloc(size != 0 ? size : 1);
    if (exact == NULL) {
        perror(path);
        goto done;
    }
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    ok = 1;

done:
    free(exact);
    free(data);
    if (file != NULL)
        fclose(file);
    return ok;
}

/* The number of files run, or -1. */
static int
run_folder(const char *path)
{
    DIR *const dir = opendir(path);
    const struct dirent *entry;
    int count = 0;

    if (dir == NULL) {
        perror(path);
        return -1;
    }
    while (count >= 0 && (entry = readdir(dir)) != NULL) {
        char file[4096];
        const int len =
            snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);

        if (entry->d_name[0] == '.')
            continue;
        if (len < 0 || (size_t)len >= sizeof(file) || !run_file(file))
            count = -1;
        else
            count++;
    }
    closedir(dir);
    return count;
}

int
main(int argc, char **argv)
{
    int total = 0;

    for (int i = 1; i < argc; i++) {
        struct stat st;
        int count = -1;

        if (stat(argv[i], &st) != 0)
            perror(argv[i]);
        else if (S_ISDIR(st.st_mode))
            count = run_folder(argv[i]);
        else if (run_file(argv[i]))
            count = 1;
        if (count < 0)
            return EXIT_FAILURE;
        total += count;
    }
    printf("%d inputs\n", total);
    return total > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
