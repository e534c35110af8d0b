#!/bin/bash
# programs.sh EXTENSION|native [VFS]
#
# SQLite's other test programs for concurrency:
#   threadtest3   threads on one database, each with its own connection (those
#                 of its tests that need no WAL); about 1.5 minutes
#   mptester      multiwrite01, five processes that write; crash01, processes
#                 that stop in the midst of a transaction
set -uo pipefail
# shellcheck source=tests/sqlite/common.sh
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || usage
choose_vfs "$1" "${2:-}"
"$here/setup.sh" || exit 2
run=$(scratch)
trap 'rm -rf "$run"' EXIT
logs=$(mktemp -d "$suite/programs-XXXXXX")
passed=0 failed=0

one() { # NAME LIMIT-SECONDS COMMAND...
    local name=$1 limit=$2 began=$SECONDS code
    shift 2
    mkdir -p "$run/$name"
    (cd "$run/$name" && timeout -k 5 "$limit" "$@") >"$logs/$name.log" 2>&1 </dev/null
    code=$?
    if [ $code -eq 0 ]; then
        passed=$((passed + 1))
        echo "PASS $name $((SECONDS - began)) s"
    else
        failed=$((failed + 1))
        echo "FAIL $name, code $code, $((SECONDS - began)) s; see $logs/$name.log"
        tail -n 5 "$logs/$name.log"
    fi
    rm -rf "${run:?}/$name"
}

for test in create_drop_index_1 lookaside1 vacuum1 stress1 shared1 dynamic_triggers; do
    one "threadtest3-$test" 120 "$bin/threadtest3" "$test"
done
for test in multiwrite01 crash01; do
    one "mptester-$test" 180 "$bin/mptester" mptest.db \
        "$source_dir/mptest/$test.test" --journalmode delete --timeout 60000 \
        ${SUITE_VFS:+--vfs "$SUITE_VFS"}
done
[ $failed -ne 0 ] || rm -rf "$logs"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
