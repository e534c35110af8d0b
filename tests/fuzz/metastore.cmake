ramet_fuzzer(commit SOURCES fuzz_commit.c LIBS ramet_metastore)
ramet_fuzzer(map SOURCES fuzz_map.c LIBS ramet_metastore)
