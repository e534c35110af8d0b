# Remotes, sync, files, the public API.
foreach(name breaker url config pace http_early http_failure http_idle http_spare http_store pagecache remote_client news_feed)
    ramet_test(test_client_${name} SOURCES remote/test_${name}.c LIBS ramet_client)
endforeach()
foreach(name env_remote)
    ramet_test(test_client_${name} SOURCES volume/test_${name}.c LIBS ramet_client)
endforeach()
foreach(name pacer)
    ramet_test(test_client_${name} SOURCES sync/test_${name}.c LIBS ramet_client)
endforeach()
foreach(name path trailer)
    ramet_test(test_client_${name} SOURCES store/test_${name}.c LIBS ramet_client)
endforeach()
ramet_test(test_client_stateless SOURCES volume/test_stateless.c
           LIBS ramet_client ramet_test_model ramet_faultstore)
ramet_test(test_client_pipeline SOURCES remote/test_pipeline.c
           LIBS ramet_client ramet_test_model)

add_library(ramet_test_world STATIC sync/world.c)
target_include_directories(ramet_test_world PUBLIC "${PROJECT_SOURCE_DIR}")
target_link_libraries(ramet_test_world PUBLIC ramet_client ramet_faultstore
                      ramet_test_support PkgConfig::CMOCKA)
foreach(name sync sync_model sync_starved fetcher push_faults durable bases bases_file
        background meanwhile places lines doubt refusal kept binding export)
    ramet_test(test_client_${name} SOURCES sync/test_${name}.c
               LIBS ramet_test_world)
endforeach()

ramet_test(test_client_fresh SOURCES volume/test_fresh.c LIBS ramet_test_world)

# The public header alone, as C99 and as C++.
ramet_test(test_client_api SOURCES volume/test_api.c LIBS ramet_client)
set_target_properties(test_client_api PROPERTIES C_STANDARD 99)
target_include_directories(test_client_api PRIVATE
                           "${PROJECT_SOURCE_DIR}/client")
find_program(RAMET_CXX NAMES c++ g++ clang++)
if(RAMET_CXX)
    add_test(NAME header_is_cxx
             COMMAND ${RAMET_CXX} -x c++ -std=c++11 -Wall -Wextra -Wpedantic
                     -Werror -fsyntax-only "${PROJECT_SOURCE_DIR}/client/ramet.h")
    set_tests_properties(header_is_cxx PROPERTIES LABELS unit)
endif()

# By hand: see its head.
add_executable(bench_sync sync/bench_sync.c)
set_target_properties(bench_sync PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
target_link_libraries(bench_sync PRIVATE ramet_client)
