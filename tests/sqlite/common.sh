# Sourced by the scripts of this folder.
#
#   RAMET_SUITE_DIR   where SQLite's source, programs and results go (default
#                     /var/tmp/ramet-sqlite-suite-UID); nothing is written
#                     beside the scripts
#   RAMET_SUITE_TMP   parent of the directories that tests run in (default:
#                     /dev/shm if there is room; SQLite's tests sync a lot)
# shellcheck shell=bash disable=SC2034
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
suite=${RAMET_SUITE_DIR:-/var/tmp/ramet-sqlite-suite-$(id -u)}
source_dir=$suite/src
# SQLite's source is for every checkout; programs are for those whose harness is
# the same, and the Tcl part of the harness is each one's own.
stamp=$(cat "$here"/harness/*.c "$here/setup.sh" | md5sum | cut -c1-12)
build=$suite/build-$stamp
bin=$suite/bin-$stamp
export SUITE_HARNESS=$here/harness

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 2
}

# usage: the comment at the top of the script that calls it.
usage() {
    sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$0"
    exit 2
}

scratch() {
    local parent=${RAMET_SUITE_TMP:-${RAMET_TEST_TMP:-}}
    if [ -z "$parent" ]; then
        parent=$suite/run
        if [ -w /dev/shm ] &&
            [ "$(df -Pk /dev/shm | awk 'NR==2{print $4}')" -gt 2000000 ]; then
            parent=/dev/shm/ramet-sqlite-suite-$(id -u)
        fi
    fi
    mkdir -p "$parent" && sweep "$parent" && mktemp -d "$parent/$$-XXXXXX"
}

# sweep PARENT: what runs that were killed have left there.
sweep() {
    local left pid
    for left in "$1"/*-*; do
        pid=${left##*/}
        pid=${pid%%-*}
        [ ! -d "$left" ] || [ -d "/proc/$pid" ] || rm -rf "$left"
    done
}

# choose_vfs EXTENSION VFS: what harness/init.c reads; "native" for none.
choose_vfs() {
    if [ "$1" = native ]; then
        unset SUITE_EXTENSION SUITE_VFS
        return
    fi
    SUITE_EXTENSION=$(realpath -e "$1") || fail "no extension $1"
    export SUITE_EXTENSION SUITE_VFS=${2:-ramet}
}
