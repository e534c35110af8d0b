# Programs in which threads of the product meet: under the preset tsan these are
# built by the target thread_tests and run by `ctest -L threads`, as `./dev test`
# does. What forks alone is not here: ThreadSanitizer sees one process.
# (test_metastore_history is left out for its time.)
set(RAMET_THREAD_TESTS
    test_core_beside test_core_crew test_core_os_fork test_core_thread
    test_pagestore_frame test_pagestore_objstore test_s3_engine
    test_metastore_races
    test_store_park test_store_processes test_store_races
    test_client_background test_client_fetcher test_client_http_early
    test_client_http_failure test_client_http_store test_client_news_feed
    test_client_remote_client
    test_server_bring test_server_cache_threads test_server_delete
    test_server_patience test_server_remote test_server_streams
    test_vfs_names)

add_custom_target(thread_tests)

# ramet_test_threads(NAME): of a test that was just added.
function(ramet_test_threads name)
    if(name IN_LIST RAMET_THREAD_TESTS)
        set_property(TEST ${name} APPEND PROPERTY LABELS threads)
        add_dependencies(thread_tests ${name})
    endif()
endfunction()
