/*
 * process.c - see process.h.
 *
 * Each copy of the image is a file of its own in memory, since one file is
 * loaded once only. What a copy's variables held after it was loaded is kept,
 * and put back before a process begins in it.
 */
#define _GNU_SOURCE
#include "tests/sim/process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/sim/net.h"

#define COPIES_MAX 10u
#define PIECES_MAX 4u
/* What the product keeps for as long as a process lives: its crew (core/crew.c),
 * and the queue of that. */
#define BLOCKS_KEPT 2u
/* And, where it begins warm, what it records, with three sets of pages
 * (client/remote/warm.c). */
#define BLOCKS_RECORDED 4u

/* Variables of a copy, and what they held at first. */
struct piece {
    uint8_t *at;
    uint8_t *first;
    size_t len;
};

struct sim_process {
    const struct sim_image *image;
    void (*write_counts)(void); /* under gcov (tests/support/counts.c) */
    struct piece pieces[PIECES_MAX];
    unsigned piece_count;
    bool is_used;
    struct sim_env env;
    struct sim_os *os;
    char name[24];
};

static struct sim_process copies[COPIES_MAX];
static unsigned copy_count;

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "sim: %s: %s\n", what, dlerror());
        exit(2);
    }
}

/* ---- loading ---------------------------------------------------------------- */

struct search {
    const struct link_map *map;
    struct sim_process *copy;
};

static int
note_pieces(struct dl_phdr_info *info, size_t size, void *ctx)
{
    struct search *const search = ctx;
    uintptr_t protected_end = 0;

    (void)size;
    if (info->dlpi_addr != search->map->l_addr)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO)
            protected_end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr +
                            info->dlpi_phdr[i].p_memsz;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *const p = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + p->p_vaddr;
        const uintptr_t end = begin + p->p_memsz;
        struct piece *piece;

        if (p->p_type != PT_LOAD || (p->p_flags & PF_W) == 0)
            continue;
        if (protected_end > begin && protected_end <= end)
            begin = protected_end;
        must(search->copy->piece_count < PIECES_MAX, "an image in pieces");
        piece = &search->copy->pieces[search->copy->piece_count++];
        piece->at = (uint8_t *)begin;
        piece->len = end - begin;
        piece->first = malloc(piece->len + 1);
        must(piece->first != NULL, "no memory");
        memcpy(piece->first, piece->at, piece->len);
    }
    return 1;
}

static void
load(struct sim_process *copy, const char *path)
{
    const int from = open(path, O_RDONLY | O_CLOEXEC);
    const int fd = memfd_create("ramet-sim-image", MFD_CLOEXEC);
    struct search search = {.copy = copy};
    struct stat st;
    char name[40];
    off_t at = 0;
    void *handle;

    must(from >= 0 && fd >= 0 && fstat(from, &st) == 0, path);
    while (at < st.st_size)
        must(sendfile(fd, from, &at, (size_t)(st.st_size - at)) > 0, path);
    close(from);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    must(handle != NULL, "dlopen");
    copy->image = dlsym(handle, "sim_image");
    must(copy->image != NULL, "sim_image");
    copy->write_counts = (void (*)(void))dlsym(handle, "ramet_counts_write");
    must(dlinfo(handle, RTLD_DI_LINKMAP, &search.map) == 0, "dlinfo");
    must(dl_iterate_phdr(note_pieces, &search) == 1, "the image's variables");
    /* `fd` stays: another copy would be taken for this one by its name. */
}

void
sim_images_load(const char *path, unsigned count)
{
    must(count <= COPIES_MAX, "too many copies");
    for (copy_count = 0; copy_count < count; copy_count++)
        load(&copies[copy_count], path);
}

/* ---- a process's life --------------------------------------------------------- */

static void *
process_main(void *arg)
{
    struct sim_process *const process = arg;

    process->image->run(&process->env);
    return NULL;
}

struct sim_process *
sim_process_start(const struct sim_env *env, const char *name,
                  struct sim_disk *disk, struct sim_trouble *trouble)
{
    struct sim_process *process = NULL;

    for (unsigned i = 0; i < copy_count && process == NULL; i++)
        if (!copies[i].is_used)
            process = &copies[i];
    must(process != NULL, "no copy of the image is free");
    for (unsigned i = 0; i < process->piece_count; i++)
        memcpy(process->pieces[i].at, process->pieces[i].first,
               process->pieces[i].len);
    process->is_used = true;
    process->env = *env;
    process->env.is_done = false;
    process->env.is_damaged = process->env.is_there = process->env.is_asked =
        false;
    process->env.found = 0;
    process->env.process = process;
    process->env.trouble = trouble;
    sim_mappings_place(&process->env.shared_begin, &process->env.shared_end);
    process->os = sim_os_new(disk, trouble, env->seed ^ 0x5eed);
    process->env.os = sim_os_table(process->os);
    snprintf(process->name, sizeof(process->name), "%s", name);
    sim_trace("%s begins", process->name);
    sim_thread_start(process, process->name, process_main, process);
    return process;
}

const struct sim_env *
sim_process_env(const struct sim_process *process)
{
    return &process->env;
}

void
sim_process_end(struct sim_process *process)
{
    process->env.is_to_end = true;
}

bool
sim_process_has_ended(const struct sim_process *process)
{
    return sim_threads_alive(process) == 0;
}

static void
let_go(struct sim_process *process)
{
    process->image->heap_free();
    sim_place_killed(process);
    if (process->write_counts != NULL)
        process->write_counts();
    process->is_used = false;
}

void
sim_process_kill(struct sim_process *process)
{
    sim_trace("%s is killed", process->name);
    sim_count(SIM_COUNT_KILLS);
    for (unsigned i = 0; i < SIM_HANDLES_MAX; i++)
        if (process->env.doing[i] != 0)
            sim_count_deed(process->env.doing[i] - 1, true);
    sim_threads_kill(process);
    sim_net_killed(process);
    sim_os_free(process->os);
    let_go(process);
}

void
sim_process_reap(struct sim_process *process)
{
    const size_t blocks = process->image->heap_count();
    unsigned open;

    sim_net_killed(process);
    open = sim_os_free(process->os);
    if (open > 0)
        sim_fail("%s ends and has %u descriptors or maps left", process->name,
                 open);
    if (blocks >
        BLOCKS_KEPT + (process->env.profile != NULL ? BLOCKS_RECORDED : 0))
        sim_fail("%s ends and has %zu blocks of memory left", process->name,
                 blocks);
    let_go(process);
    sim_trace("%s ended", process->name);
}
