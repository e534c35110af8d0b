# Seconds that the slow tests take, roughly: ctest starts the dearest first, so
# that none of them is left to run alone at the end. (After a first run it goes by
# what it measured.)
set(RAMET_TEST_COSTS
    sqlite_suite_setup=300 sqlite_suite_quick=250 sqlite_suite_rollback=200
    sim_replicas_1=40 sim_replicas_2=40 oracle_rollback=80 oracle_snapshot=80 oracle_file=80 oracle_http=80
    test_store_crash=90 test_pagestore_dirstore=65 vfs_test_attach=60
    test_pagestore_segment=50 server_vfs=32 test_client_sync_starved=32
    cli_kill_http=30 cli_kill_file=30 cli_verbs_http=28 vfs_test_concurrency=27
    test_client_doubt=27 server_hostile=25 test_server_liar=23
    test_store_model=22 cli_verbs_file=20 test_client_sync=18
    vfs_test_oracle=18 test_client_sync_model=16 test_server_remote=16
    vfs_test_deleted=14 test_store_retained=14 server_fairness=12 vfs_test_pull=12
    cli_leaving_http=11 cli_follow_http=10 test_client_push_faults=10)

# ramet_test_cost(NAME): of a test that was just added.
function(ramet_test_cost name)
    foreach(entry IN LISTS RAMET_TEST_COSTS)
        if(entry MATCHES "^${name}=([0-9]+)$")
            set_property(TEST ${name} PROPERTY COST ${CMAKE_MATCH_1})
        endif()
    endforeach()
endfunction()
