ramet_fuzzer(frame_table SOURCES fuzz_frame_table.c LIBS ramet_pagestore)
ramet_fuzzer(frame SOURCES fuzz_frame.c LIBS ramet_pagestore)
