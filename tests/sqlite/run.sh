#!/bin/bash
# run.sh EXTENSION|native LIST [VFS]
#
# Run SQLite's own Tcl tests named in LIST on a VFS (ramet). "native" is
# SQLite's own VFS, for comparison. LIST: one test file a line; a second,
# tab-separated column has cases that may fail there. Ends with
# "N passed, N failed"; exits with 0 only if all passed.
#
#   SUITE_JOBS=2           parallel runs        SUITE_TIMEOUT=120  s a file
#   SUITE_MEMJOURNAL=1     journal_mode=memory on each connection
#   SUITE_FIXTURE=[debug-]testfixture           SUITE_KEEP=1  keep all logs
#   SUITE_RESULTS=DIR      default: a new one in RAMET_SUITE_DIR, which goes
#                          again when all passed
set -uo pipefail
# shellcheck source=tests/sqlite/common.sh
. "$(dirname "$0")/common.sh"
[ $# -ge 2 ] || usage
list=$2
[ -f "$list" ] || list=$here/lists/$2.txt
[ -f "$list" ] || fail "no list $2"
choose_vfs "$1" "${3:-}"
"$here/setup.sh" || exit 2

results=${SUITE_RESULTS:-$(mktemp -d "$suite/results-XXXXXX")}
SUITE_RUN=$(scratch)
export SUITE_SOURCE=$source_dir SUITE_LOGS=$results/logs SUITE_RUN
export SUITE_PROGRAM=$bin/${SUITE_FIXTURE:-testfixture}
export SUITE_TIMEOUT=${SUITE_TIMEOUT:-120} SUITE_KEEP=${SUITE_KEEP:-}
if [ -n "${SUITE_MEMJOURNAL:-}" ]; then
    export SUITE_PRESQL="PRAGMA journal_mode=memory"
    export SUITE_PERMUTATION=inmemory_journal
fi
[ -x "$SUITE_PROGRAM" ] || fail "no $SUITE_PROGRAM; is SUITE_DEBUG=1 needed?"
rm -rf "$results"
mkdir -p "$SUITE_LOGS"
trap 'rm -rf "$SUITE_RUN"' EXIT
grep -v -E '^(#|$)' "$list" >"$results/list.tsv"

began=$SECONDS
cut -f1 "$results/list.tsv" |
    xargs -P "${SUITE_JOBS:-2}" -n 1 "$here/run-one.sh" >"$results/raw.tsv"

# What fails only in cases that the list allows, passes.
awk -F'\t' -v OFS='\t' '
    NR == FNR { allowed[$1] = " " $2 " "; next }
    $2 == "FAIL" {
        n = split($6, cases, " ")
        bad = n == 0
        for (i = 1; i <= n; i++)
            if (index(allowed[$1], " " cases[i] " ") == 0)
                bad = 1
        if (!bad)
            $2 = "PASS-ALLOWED"
    }
    { print }' "$results/list.tsv" "$results/raw.tsv" |
    sort >"$results/results.tsv"
awk -F'\t' '$2 !~ /^PASS/' "$results/results.tsv" >"$results/failures.tsv"
cut -f1,2,6 "$results/failures.tsv" | cut -c1-300

awk -F'\t' -v name="$(basename "$list")" -v seconds=$((SECONDS - began)) \
    -v want="$(wc -l <"$results/list.tsv")" -v logs="$SUITE_LOGS" '
    {
        state[$2]++
        tests += $3
        if ($2 != "PASS-ALLOWED")
            errors += $4
    }
    END {
        passed = state["PASS"] + state["PASS-ALLOWED"]
        printf "%s: %d of %d files run in %d s, %d assertions, %d wrong\n",
            name, NR, want, seconds, tests, errors
        if (state["PASS-ALLOWED"])
            printf "%d of them passed but for cases that fail by design\n",
                state["PASS-ALLOWED"]
        printf "wrong result %d, aborted %d, crashed %d, timed out %d, empty %d",
            state["FAIL"], state["ABORT"], state["CRASH"], state["TIMEOUT"],
            state["EMPTY"]
        printf "; logs: %s\n%d passed, %d failed\n", logs, passed, want - passed
        exit passed != want || want == 0
    }' "$results/results.tsv"
status=$?
[ $status -ne 0 ] || [ -n "${SUITE_RESULTS:-}${SUITE_KEEP:-}" ] ||
    rm -rf "$results"
exit $status
