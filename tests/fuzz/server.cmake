# What comes over HTTP, on either side.
if(TARGET ramet_server)
    foreach(name server_pages server_route token_file)
        ramet_fuzzer(${name} SOURCES fuzz_${name}.c LIBS ramet_server)
    endforeach()
    ramet_fuzzer(question SOURCES fuzz_question.c
                 LIBS ramet_server PkgConfig::JANSSON)
endif()
if(TARGET ramet_client)
    ramet_fuzzer(http_answers SOURCES fuzz_http_answers.c LIBS ramet_client)
    ramet_fuzzer(http_client SOURCES fuzz_http_client.c LIBS ramet_client)
    ramet_fuzzer(news SOURCES fuzz_news.c LIBS ramet_client)
endif()
