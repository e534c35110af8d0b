# Tests of the local store, against a model.
ramet_library(ramet_store_world SOURCES store_world.c
              LIBS ramet_client PkgConfig::CMOCKA)
ramet_test(test_store_model
           SOURCES test_store_model.c store_play.c store_play_sync.c
           LIBS ramet_store_world ramet_client TIMEOUT 600)
ramet_test(test_store_versions SOURCES test_store_versions.c
           LIBS ramet_store_world ramet_client)
ramet_test(test_store_crash
           SOURCES test_store_crash.c store_crash.c store_scenarios.c
           LIBS ramet_store_world ramet_test_support ramet_client TIMEOUT 900)
ramet_test(test_store_processes SOURCES test_store_processes.c
           LIBS ramet_store_world ramet_client TIMEOUT 600)
ramet_test(test_store_review SOURCES test_store_review.c
           LIBS ramet_store_world ramet_client)
