ramet_fuzzer(btpage SOURCES fuzz_btpage.c LIBS ramet_sqliteformat)
ramet_fuzzer(schema SOURCES fuzz_schema.c LIBS ramet_sqliteformat)
