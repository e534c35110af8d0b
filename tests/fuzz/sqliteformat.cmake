ramet_fuzzer(btpage SOURCES fuzz_btpage.c LIBS ramet_sqliteformat)
ramet_fuzzer(schema SOURCES fuzz_schema.c LIBS ramet_sqliteformat)
ramet_fuzzer(tree_order SOURCES fuzz_tree_order.c LIBS ramet_sqliteformat)
