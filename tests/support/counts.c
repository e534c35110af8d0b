/*
 * counts.c - linked into whatever is built for gcov: counts are written when asked.
 *
 * gcov writes them as a process exits. Those of one that ends by _exit(), or of a
 * simulated process, which ends within the simulator, would be lost. Each image
 * (program, extension) has its own counts, and its own copy of this.
 */
void __gcov_dump(void);
void __gcov_reset(void);
void ramet_counts_write(void);

__attribute__((visibility("default"))) void
ramet_counts_write(void)
{
    __gcov_dump();
    __gcov_reset();
}
