# Sources of remotes, sync, files and the public API; client/CMakeLists.txt
# includes this and adds them to ramet_client.
set(SYNC_SOURCES
    background.c builder.c config.c durable.c env_remote.c export.c fence.c fetcher.c file.c
    file_make.c file_open.c file_sync.c hydrate.c link.c meter.c pacer.c
    pagecache.c path.c process.c pull.c push.c ramet_api.c readahead.c refusal.c remote.c remote_direct.c
    source.c sync.c timestamp.c token.c url.c view.c waiting.c)
set(SYNC_LIBS PkgConfig::INIH)
# The remote over HTTP.
file(GLOB http_remote_sources CONFIGURE_DEPENDS
     RELATIVE "${CMAKE_CURRENT_LIST_DIR}"
     "${CMAKE_CURRENT_LIST_DIR}/http_*.c")
if("http_remote.c" IN_LIST http_remote_sources)
    list(APPEND SYNC_SOURCES ${http_remote_sources})
    list(APPEND SYNC_LIBS PkgConfig::CURL PkgConfig::JANSSON)
    set_source_files_properties(remote.c PROPERTIES COMPILE_DEFINITIONS
                                RAMET_WITH_HTTP)
endif()
