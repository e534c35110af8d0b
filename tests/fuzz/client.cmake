ramet_fuzzer(config SOURCES fuzz_config.c LIBS ramet_client)
ramet_fuzzer(url SOURCES fuzz_url.c LIBS ramet_client)
