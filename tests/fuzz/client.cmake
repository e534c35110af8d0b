ramet_fuzzer(config SOURCES fuzz_config.c LIBS ramet_client)
ramet_fuzzer(url SOURCES fuzz_url.c LIBS ramet_client)
ramet_fuzzer(replica_state SOURCES fuzz_replica_state.c LIBS ramet_client)
ramet_fuzzer(replica_log SOURCES fuzz_replica_log.c LIBS ramet_client)
