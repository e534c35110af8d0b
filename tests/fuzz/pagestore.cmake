ramet_fuzzer(frame_table SOURCES fuzz_frame_table.c LIBS ramet_pagestore)
ramet_fuzzer(frame SOURCES fuzz_frame.c LIBS ramet_pagestore)
ramet_fuzzer(s3_answers SOURCES fuzz_s3_answers.c LIBS ramet_s3)
ramet_fuzzer(s3_settings SOURCES fuzz_s3_settings.c LIBS ramet_s3)
