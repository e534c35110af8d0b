# Tests of the local store, against a model.
ramet_library(ramet_store_world SOURCES store/store_world.c store/store_mortal.c store/store_place.c
                      store/store_audit.c
              LIBS ramet_client ramet_test_support PkgConfig::CMOCKA)
foreach(name model upkeep)
    ramet_test(test_store_${name}
               SOURCES store/test_${name}.c store/store_play.c
                       store/store_play_sync.c store/store_play_upkeep.c
                       store/store_play_write.c
               LIBS ramet_store_world ramet_client TIMEOUT 600)
endforeach()
ramet_test(test_store_versions SOURCES store/test_versions.c
           LIBS ramet_store_world ramet_client)
ramet_test(test_store_crash
           SOURCES store/test_crash.c store/store_crash.c store/store_scenarios.c
           LIBS ramet_store_world ramet_test_support ramet_client TIMEOUT 900
           ARGS cuts)
add_test(NAME test_store_faults COMMAND test_store_crash faults)
add_test(NAME test_store_memory COMMAND test_store_crash memory)
set_tests_properties(test_store_faults test_store_memory PROPERTIES
                     TIMEOUT 900 LABELS unit ENVIRONMENT "${RAMET_TEST_ENV}")
foreach(name processes others cuts damage doubt deaths locks races mark repage torn index frame_files log_files log_grow log_sync log_places checkpoint scan recent undo foreign presence unsynced verify sums slots kept_log opening park sessions super deleted placed)
    ramet_test(test_store_${name} SOURCES store/test_${name}.c
               LIBS ramet_store_world ramet_test_support ramet_client
               TIMEOUT 600)
endforeach()
foreach(name retained retained_deaths)
    ramet_test(test_store_${name} SOURCES store/test_${name}.c store/long_readers.c
               LIBS ramet_store_world ramet_client TIMEOUT 600)
endforeach()
ramet_chance_test(store_model COMMAND test_store_model
                  ENVIRONMENT RAMET_TEST_SECONDS=5)
ramet_chance_test(store_crash COMMAND test_store_crash cuts
                  ENVIRONMENT "RAMET_TEST_ONLY=*: commits*")
ramet_chance_test(store_processes COMMAND test_store_processes
                  ENVIRONMENT RAMET_TEST_SECONDS=2)
ramet_chance_test(store_retained_deaths COMMAND test_store_retained_deaths
                  ENVIRONMENT RAMET_TEST_SECONDS=2)
ramet_chance_test(store_retained COMMAND test_store_retained
                  ENVIRONMENT "RAMET_TEST_ONLY=*bits_flip*")
