# What comes over HTTP, on either side.
if(TARGET ramet_server)
    ramet_fuzzer(server_pages SOURCES fuzz_server_pages.c LIBS ramet_server)
endif()
if(TARGET ramet_client)
    ramet_fuzzer(http_answers SOURCES fuzz_http_answers.c LIBS ramet_client)
endif()
