# What comes over HTTP, on either side.
if(TARGET ramet_server)
    foreach(name server_pages server_route token_file)
        ramet_fuzzer(${name} SOURCES fuzz_${name}.c LIBS ramet_server)
    endforeach()
endif()
if(TARGET ramet_client)
    ramet_fuzzer(http_answers SOURCES fuzz_http_answers.c LIBS ramet_client)
endif()
