# The local store's own tests and its benchmark.
add_executable(bench_replica store/bench_replica.c)
set_target_properties(bench_replica PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
target_link_libraries(bench_replica PRIVATE ramet_client)
