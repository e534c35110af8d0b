# Tests of the local store, against a model.
ramet_library(ramet_store_world SOURCES store_world.c store_place.c
              LIBS ramet_client PkgConfig::CMOCKA)
ramet_test(test_store_model
           SOURCES store/test_model.c store_play.c store_play_sync.c
           LIBS ramet_store_world ramet_client TIMEOUT 600)
ramet_test(test_store_versions SOURCES store/test_versions.c
           LIBS ramet_store_world ramet_client)
ramet_test(test_store_crash
           SOURCES store/test_crash.c store_crash.c store_scenarios.c
           LIBS ramet_store_world ramet_test_support ramet_client TIMEOUT 900
           ARGS cuts)
add_test(NAME test_store_faults COMMAND test_store_crash faults)
set_tests_properties(test_store_faults PROPERTIES
                     TIMEOUT 900 LABELS unit ENVIRONMENT "${RAMET_TEST_ENV}")
foreach(name processes others damage doubt deaths locks index gens checkpoint scan undo foreign past presence verify sums slots kept_log rest)
    ramet_test(test_store_${name} SOURCES store/test_${name}.c
               LIBS ramet_store_world ramet_test_support ramet_client
               TIMEOUT 600)
endforeach()
