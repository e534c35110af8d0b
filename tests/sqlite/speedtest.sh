#!/bin/bash
# speedtest.sh EXTENSION [VFS] [speedtest1 options...]
#
# SQLite's speedtest1 on the VFS and on SQLite's own with journal_mode DELETE
# and WAL, interleaved; a table of seconds (medians) and the ratio of totals.
# SIZE=25, RUNS=3; RAMET_SUITE_TMP should be on a real disk.
set -uo pipefail
# shellcheck source=tests/sqlite/common.sh
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || usage
extension=$1 vfs=${2:-ramet}
shift
[ $# -eq 0 ] || shift
options=("$@")
"$here/setup.sh" || exit 2
export RAMET_SUITE_TMP=${RAMET_SUITE_TMP:-$suite/run}
run=$(scratch)
trap 'rm -rf "$run"' EXIT

one() { # LABEL ROUND OPTION...
    local label=$1 round=$2
    shift 2
    rm -rf "$run/db"
    mkdir -p "$run/db"
    (cd "$run/db" && "$bin/speedtest1" --size "${SIZE:-25}" "$@" \
        "${options[@]}" test.db) >"$run/$label.$round.txt" 2>"$run/error" ||
        fail "$label: $(tail -n 2 "$run/error")"
}
for round in $(seq "${RUNS:-3}"); do
    choose_vfs native
    one delete "$round" --journal delete
    one wal "$round" --journal wal
    choose_vfs "$extension" "$vfs"
    one ramet "$round" --vfs "$vfs"
done

cd "$run" || exit 1
awk '
    function median(key, label, n, i, j, t, v) {
        n = split(values[key, label], v, " ")
        for (i = 1; i <= n; i++)
            for (j = i + 1; j <= n; j++)
                if (v[j] + 0 < v[i] + 0) { t = v[i]; v[i] = v[j]; v[j] = t }
        return v[int((n + 1) / 2)]
    }
    match($0, /[0-9]+\.[0-9]+s *$/) {
        label = FILENAME
        sub(/\..*/, "", label)
        seconds = substr($0, RSTART) + 0
        key = substr($0, 1, RSTART - 1)
        gsub(/[. ]+$/, "", key)
        if (!(key in seen)) { seen[key] = 1; keys[++count] = key }
        values[key, label] = values[key, label] " " seconds
    }
    END {
        printf "%-58s %9s %9s %9s\n", "speedtest1, seconds", "delete", "wal", "ramet"
        for (i = 1; i <= count; i++) {
            key = keys[i]
            printf "%-58s %9.3f %9.3f %9.3f\n", substr(key, 1, 58),
                median(key, "delete"), median(key, "wal"), median(key, "ramet")
            if (key ~ /TOTAL/) {
                d = median(key, "delete"); w = median(key, "wal"); r = median(key, "ramet")
            }
        }
        if (d > 0 && w > 0)
            printf "ramet/delete %.2f  ramet/wal %.2f\n", r / d, r / w
    }' delete.*.txt wal.*.txt ramet.*.txt
