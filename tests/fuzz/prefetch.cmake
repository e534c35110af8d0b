ramet_fuzzer(prefetch SOURCES fuzz_prefetch.c LIBS ramet_prefetch)
