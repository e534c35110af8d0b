# How tests and fuzzers are registered.
#
#   ramet_test(NAME SOURCES … [LIBS …] [LABELS …] [TIMEOUT seconds] [ARGS …])
#       An executable on cmocka, run by ctest. Label "unit" unless told
#       otherwise; `ctest -L unit` is what the preset asan runs, and those of
#       RametTestThreads.cmake, "threads", what tsan does.
#
#   ramet_chance_test(NAME [OF TEST] COMMAND … [ENVIRONMENT …])
#       chance_NAME: what makes things up, some seconds of it, with a new seed each
#       time, beside the tests whose seeds are fixed; in TEST's environment. Label
#       "chance": `./dev test` tells what it finds, and stops no change for it.
#
#   ramet_fuzzer(NAME SOURCES … [LIBS …])
#       A libFuzzer harness fuzz_NAME. In the preset `fuzz` it is linked with
#       libFuzzer. Elsewhere it gets a small main() and runs its seeds in
#       tests/fuzz/corpus/NAME/ under ctest, as a regression test.

if(RAMET_TESTS)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()

# Any sanitizer's finding is a failed test, and names where it was found. Not
# so threads that a child of fork() never had, and that TSan takes for leaked.
set(RAMET_TEST_ENV
    "ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:strict_string_checks=1"
    "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:report_thread_leaks=0")

function(ramet_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT"
                          "SOURCES;LIBS;LABELS;ARGS")
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()
    if(NOT arg_LABELS)
        set(arg_LABELS unit)
    endif()
    add_executable(${name} ${arg_SOURCES})
    set_target_properties(${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${name} PRIVATE ${arg_LIBS} PkgConfig::CMOCKA
                          Threads::Threads)
    add_test(NAME ${name} COMMAND ${name} ${arg_ARGS})
    set_tests_properties(${name} PROPERTIES
        TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}"
        ENVIRONMENT "${RAMET_TEST_ENV}")
    ramet_test_cost(${name})
    ramet_test_threads(${name})
endfunction()

function(ramet_chance_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "OF" "COMMAND;ENVIRONMENT")
    set(env "${RAMET_TEST_ENV}")
    if(arg_OF)
        get_property(env TEST ${arg_OF} PROPERTY ENVIRONMENT)
    endif()
    list(APPEND env "RAMET_TEST_SEED=clock" "RAMET_SEED=clock"
         ${arg_ENVIRONMENT})
    add_test(NAME chance_${name} COMMAND ${arg_COMMAND})
    set_tests_properties(chance_${name} PROPERTIES
        TIMEOUT 300 LABELS chance ENVIRONMENT "${env}")
endfunction()

function(ramet_fuzzer name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
    set(target fuzz_${name})
    set(corpus "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}")
    add_executable(${target} ${arg_SOURCES})
    set_target_properties(${target} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/fuzz")
    target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${target} PRIVATE ${arg_LIBS} Threads::Threads)
    if(RAMET_FUZZ)
        target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    else()
        target_sources(${target} PRIVATE
                       "${PROJECT_SOURCE_DIR}/tests/fuzz/standalone_main.c")
    endif()
    if(RAMET_FUZZ)
        add_test(NAME ${target} COMMAND ${target} -runs=0 "${corpus}")
    else()
        add_test(NAME ${target} COMMAND ${target} "${corpus}")
    endif()
    set_tests_properties(${target} PROPERTIES
        TIMEOUT 120 LABELS "unit;fuzz" ENVIRONMENT "${RAMET_TEST_ENV}")
endfunction()
