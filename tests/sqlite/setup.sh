#!/bin/bash
# setup.sh - SQLite's source from Debian, and its test programs built with
# the hook that loads an extension. Does nothing that is done already.
#
# SUITE_DEBUG=1: also debug-testfixture, with SQLite's own assertions on.
set -euo pipefail
# shellcheck source=tests/sqlite/common.sh
. "$(dirname "$0")/common.sh"

# The version that lists/ was made with; a later one of Debian's serves, too.
version=${SQLITE_DEBIAN_VERSION:-3.40.1-2+deb12u2}

for package in gcc make dpkg-dev tcl tcl-dev zlib1g-dev xz-utils; do
    dpkg -s "$package" >/dev/null 2>&1 || fail "please install $package"
done
mkdir -p "$bin"
exec 9>"$suite/lock"
flock 9 # several tests may want it at once

# ---- source: a private copy of apt's configuration with deb-src lines, so
# that nothing in /etc changes and no right to do so is needed
fetch_source() {
    local apt=$suite/apt mirror options
    # shellcheck disable=SC1091
    . /etc/os-release
    mirror=$(grep -hoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list \
        /etc/apt/sources.list.d/* 2>/dev/null | head -1 | tr -d ' ') || true
    [ -n "$mirror" ] || fail "no Debian mirror found in /etc/apt"
    rm -rf "$apt" "$source_dir"
    mkdir -p "$apt/lists/partial" "$apt/parts" "$apt/download" "$apt/cache"
    {
        local key=/usr/share/keyrings/debian-archive-keyring.gpg
        echo "deb-src [signed-by=$key] $mirror $VERSION_CODENAME main"
        echo "deb-src [signed-by=$key] ${mirror%/}-security $VERSION_CODENAME-security main"
    } >"$apt/sources.list"
    options=(-o "Dir::Etc::sourcelist=$apt/sources.list"
        -o "Dir::Etc::sourceparts=$apt/parts"
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache"
        -o "APT::Sandbox::User=$(id -un)")
    apt-get "${options[@]}" update -qq
    (
        cd "$apt/download"
        apt-get "${options[@]}" source -qq --download-only "sqlite3=$version" ||
            apt-get "${options[@]}" source -qq --download-only sqlite3
    )
    dpkg-source --no-check -x "$apt"/download/sqlite3_*.dsc "$source_dir" \
        >"$suite/unpack.log" 2>&1
    rm -rf "$apt"
    touch "$source_dir/.unpacked"
}
[ -f "$source_dir/.unpacked" ] || fetch_source

# ---- the only changes to SQLite's files: tester.tcl sources two more, and
# attach.test does not give up when it is run as root
prepare_tests() {
    local test=$source_dir/test
    sed -i 's/if {\[file writable cannot-read\]}/if {0}/' "$test/attach.test"
    [ -f "$test/tester.tcl.orig" ] || cp "$test/tester.tcl" "$test/tester.tcl.orig"
    {
        echo 'source [file join $::env(SUITE_HARNESS) before.tcl]'
        cat "$test/tester.tcl.orig"
        echo 'source [file join $::env(SUITE_HARNESS) after.tcl]'
    } >"$test/tester.tcl.new"
    # Another run may be reading it: replaced, and only if it differs.
    if cmp -s "$test/tester.tcl.new" "$test/tester.tcl"; then
        rm "$test/tester.tcl.new"
    else
        mv "$test/tester.tcl.new" "$test/tester.tcl"
    fi
}
prepare_tests

# ---- programs, again only when what they are made of changed
is_built() { # NAME
    [ -x "$bin/$1" ] && [ -f "$build/$1.stamp" ]
}
if is_built all && { [ -z "${SUITE_DEBUG:-}" ] || is_built debug-testfixture; }; then
    exit 0
fi
mkdir -p "$build"
cd "$build"
features=(-DSQLITE_EXTRA_INIT=suite_extra_init -DSQLITE_ENABLE_DBSTAT_VTAB
    -DSQLITE_ENABLE_COLUMN_METADATA -DSQLITE_ENABLE_UNLOCK_NOTIFY
    -DSQLITE_ENABLE_STAT4)
libraries=(-lm -lz -ldl -lpthread)

logged() { # LOG COMMAND...
    local log=$1
    shift
    "$@" >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        fail "$* failed; see $build/$log"
    }
}

fixture() { # NAME [OPTION...]
    local name=$1
    shift
    rm -f testfixture
    logged "make-$name.log" make testfixture OPTS="${features[*]} $*" \
        TLIBS="${libraries[*]} $build/init.o" \
        LIBTCL="-UTCLSH_INIT_PROC -DTCLSH_INIT_PROC=suite_tcl_init $build/tcl.o -ltcl8.6"
    mv testfixture "$bin/$name"
    touch "$name.stamp"
}

program() { # NAME SOURCE...
    local name=$1
    shift
    logged "make-$name.log" gcc "${core[@]}" -I"$source_dir/src" \
        -I"$source_dir/test" "$@" core.o init.o -o "$bin/$name" "${libraries[@]}"
}

if [ ! -f Makefile ]; then
    CFLAGS="-O2 -g0" logged configure.log "$source_dir/configure" --enable-all \
        --enable-load-extension --disable-readline \
        --with-tcl="$(dirname "$(find /usr/lib -name tclConfig.sh | head -1)")"
fi
logged make-sources.log make sqlite3.c shell.c OPTS="${features[*]}"
logged make-init.log gcc -O2 -I. -c "$here/harness/init.c" -o init.o
logged make-tcl.log gcc -O2 -I. -I/usr/include/tcl8.6 -c "$here/harness/tcl.c" -o tcl.o
is_built testfixture || fixture testfixture
if [ -n "${SUITE_DEBUG:-}" ]; then
    # backcompat.test takes each testfixture?* for an older version.
    fixture debug-testfixture -UNDEBUG -DSQLITE_DEBUG
fi
core=(-O2 -I. -DSQLITE_EXTRA_INIT=suite_extra_init -DSQLITE_THREADSAFE=1
    -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE -DSQLITE_HAVE_ZLIB=1)
logged make-core.log gcc "${core[@]}" -c sqlite3.c -o core.o
program speedtest1 "$source_dir/test/speedtest1.c"
program mptester "$source_dir/mptest/mptest.c"
program threadtest3 "$source_dir/test/threadtest3.c" "$source_dir/src/test_multiplex.c"
touch "$bin/all"
chmod +x "$bin/all"
touch all.stamp
