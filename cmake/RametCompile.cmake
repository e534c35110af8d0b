# Compiler, packages and the function that makes a library of a layer.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# "Dev" is optimised and keeps its assertions. CMake makes an empty entry for a
# build type that it does not know.
if("${CMAKE_C_FLAGS_DEV}" STREQUAL "")
    set(CMAKE_C_FLAGS_DEV "-O2 -g" CACHE STRING "Flags of build type Dev" FORCE)
endif()

add_compile_definitions(_POSIX_C_SOURCE=200809L _DEFAULT_SOURCE
                        _FILE_OFFSET_BITS=64)
add_compile_options(-Wall -Wextra -Wshadow -Wstrict-prototypes
                    -Wmissing-prototypes -Wpointer-arith -Wundef -Wvla)
if(RAMET_WERROR)
    add_compile_options(-Werror)
endif()

if(RAMET_SANITIZE)
    add_compile_options(-fsanitize=${RAMET_SANITIZE} -fno-omit-frame-pointer
                        -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${RAMET_SANITIZE})
endif()
if(RAMET_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(RAMET_COVERAGE)
    add_compile_options(--coverage)
    add_link_options(--coverage)
    add_library(ramet_counts OBJECT
                "${PROJECT_SOURCE_DIR}/tests/support/counts.c")
    link_libraries($<TARGET_OBJECTS:ramet_counts>)
    add_link_options(-Wl,--export-dynamic-symbol=ramet_counts_write)
endif()
if(RAMET_HARDEN)
    add_compile_options(-fstack-protector-strong -fstack-clash-protection
                        $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
        add_compile_options(-fcf-protection=full)
    endif()
    add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
    add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie>)
endif()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# Targets PkgConfig::ZSTD and so on. One that only some folders need is looked
# for here all the same, so that a missing package is one clear message.
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd>=1.4)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.75)
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3>=3.35)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd>=0.9.71)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(EXPAT REQUIRED IMPORTED_TARGET expat)

# ramet_library(NAME SOURCES … LIBS …): a static library of one layer. LIBS
# are public: whoever links the layer gets those below it.
function(ramet_library name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
    add_library(${name} STATIC ${arg_SOURCES})
    target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${name} PUBLIC ${arg_LIBS})
endfunction()

# Sources that call Linux itself, beyond POSIX: ramet_gnu_source(FILE …).
function(ramet_gnu_source)
    set_source_files_properties(${ARGN} PROPERTIES COMPILE_DEFINITIONS
                                _GNU_SOURCE)
endfunction()
