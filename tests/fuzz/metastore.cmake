ramet_fuzzer(commit SOURCES fuzz_commit.c LIBS ramet_metastore)
ramet_fuzzer(map SOURCES fuzz_map.c LIBS ramet_metastore)
ramet_fuzzer(catalog SOURCES fuzz_catalog.c LIBS ramet_metastore)
ramet_fuzzer(posted_commit SOURCES fuzz_posted_commit.c
             LIBS ramet_test_model ramet_metastore)
ramet_fuzzer(profile SOURCES fuzz_profile.c LIBS ramet_metastore)
