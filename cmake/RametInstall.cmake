# libramet for programs that embed Ramet without SQLite's VFS, and what
# `cmake --install` puts where: the command, the extension, the library, its
# one public header, CMake targets and ramet.pc; man pages; a systemd unit that
# names the command where it was installed, and a configuration to start from.

if(TARGET ramet_client AND EXISTS "${PROJECT_SOURCE_DIR}/client/ramet.h")
    # The archive holds the objects of every layer that it needs, so that a
    # program links one file and not four.
    set(layers ramet_core ramet_sqliteformat ramet_prefetch ramet_pagestore ramet_s3 ramet_metastore ${RAMET_CLIENT_ROOMS})
    set(objects)
    foreach(layer IN LISTS layers)
        list(APPEND objects $<TARGET_OBJECTS:${layer}>)
    endforeach()
    set(system_libs Threads::Threads PkgConfig::ZSTD PkgConfig::XXHASH
        PkgConfig::CURL PkgConfig::JANSSON PkgConfig::INIH PkgConfig::SQLITE3
        PkgConfig::OPENSSL PkgConfig::EXPAT)

    add_library(ramet_static STATIC ${objects})
    add_library(ramet_shared SHARED ${objects})
    foreach(target ramet_static ramet_shared)
        set_target_properties(${target} PROPERTIES
            OUTPUT_NAME ramet LINKER_LANGUAGE C
            PUBLIC_HEADER "${PROJECT_SOURCE_DIR}/client/ramet.h")
        target_include_directories(${target} INTERFACE
            $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/client>
            $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    endforeach()
    set_target_properties(ramet_static PROPERTIES EXPORT_NAME static)
    set_target_properties(ramet_shared PROPERTIES EXPORT_NAME ramet
        VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
    target_link_libraries(ramet_static PRIVATE ${system_libs})
    target_link_libraries(ramet_shared PRIVATE ${system_libs})

    install(TARGETS ramet_static ramet_shared EXPORT ramet-targets
            PUBLIC_HEADER DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
            ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
            LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
    install(EXPORT ramet-targets NAMESPACE ramet::
            DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/ramet")

    include(CMakePackageConfigHelpers)
    configure_package_config_file(
        "${PROJECT_SOURCE_DIR}/cmake/ramet-config.cmake.in"
        "${PROJECT_BINARY_DIR}/ramet-config.cmake"
        INSTALL_DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/ramet")
    write_basic_package_version_file(
        "${PROJECT_BINARY_DIR}/ramet-config-version.cmake"
        COMPATIBILITY SameMinorVersion)
    # Relative, so that it is right under whatever --prefix is installed to.
    file(RELATIVE_PATH RAMET_PC_TO_PREFIX
         "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
    string(REGEX REPLACE "/$" "" RAMET_PC_TO_PREFIX "${RAMET_PC_TO_PREFIX}")
    configure_file("${PROJECT_SOURCE_DIR}/cmake/ramet.pc.in"
                   "${PROJECT_BINARY_DIR}/ramet.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/ramet-config.cmake"
                  "${PROJECT_BINARY_DIR}/ramet-config-version.cmake"
            DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/ramet")
    install(FILES "${PROJECT_BINARY_DIR}/ramet.pc"
            DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endif()

if(TARGET ramet)
    install(TARGETS ramet RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
if(TARGET ramet_ask)
    install(TARGETS ramet_ask RUNTIME
            DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}")
endif()
# The extension keeps its name without "lib"; SQLite loads it by path.
if(TARGET ramet_vfs)
    install(TARGETS ramet_vfs
            LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()

if(TARGET ramet)
    install(FILES "${PROJECT_SOURCE_DIR}/docs/man/ramet.1"
            DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
    install(FILES "${PROJECT_SOURCE_DIR}/docs/man/ramet.conf.5"
            DESTINATION "${CMAKE_INSTALL_MANDIR}/man5")
    # Not into /etc: what stands there is the operator's.
    install(FILES "${PROJECT_SOURCE_DIR}/packaging/ramet.conf"
            DESTINATION "${CMAKE_INSTALL_DATADIR}/ramet")
    install(CODE "
        set(RAMET_BIN \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")
        set(RAMET_SHARE \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/ramet\")
        configure_file(\"${PROJECT_SOURCE_DIR}/packaging/ramet.service.in\"
            \"${PROJECT_BINARY_DIR}/ramet.service\" @ONLY)")
    install(FILES "${PROJECT_BINARY_DIR}/ramet.service"
            DESTINATION "lib/systemd/system")
endif()
