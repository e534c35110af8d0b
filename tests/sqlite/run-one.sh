#!/bin/bash
# run-one.sh FILE - run one test file of SQLite's (path within its source) in a
# process and a directory of its own; print one line, tab-separated:
#
#   FILE  STATE  TESTS  ERRORS  SECONDS  FAILED-CASES
#
# STATE: PASS; FAIL, a wrong result; ABORT, a Tcl error ended the script;
# CRASH, a signal; TIMEOUT; EMPTY, no case was run. run.sh sets what it needs.
file=$1
name=$(echo "$file" | sed 's,^test/,,; s,/,_,g; s,\.test$,,')
directory=$SUITE_RUN/$name
log=$SUITE_LOGS/$name.log
mkdir -p "$directory" && cd "$directory" || exit 1

began=$(date +%s%N)
timeout -k 5 "$SUITE_TIMEOUT" "$SUITE_PROGRAM" "$SUITE_SOURCE/$file" \
    >"$log" 2>&1 </dev/null
code=$?
seconds=$(awk -v a="$(date +%s%N)" -v b="$began" 'BEGIN { printf "%.1f", (a - b) / 1e9 }')

summary=$(grep -a -E '^[0-9]+ errors out of [0-9]+ tests' "$log" | tail -1)
tests=$(echo "$summary" | awk '{ print $5 + 0 }')
errors=$(echo "$summary" | awk '{ print $1 + 0 }')
cases=$(grep -a '^!Failures on these tests:' "$log" | tail -1 | cut -d: -f2- |
    tr -s '\t ' '  ')
grep -q -a -E '^[0-9]+ files were left open' "$log" &&
    cases="$cases #files_left_open"
grep -q -a '^Unfreed memory' "$log" && cases="$cases #unfreed_memory"

if [ $code -eq 124 ] || [ $code -eq 137 ]; then
    state=TIMEOUT
elif [ -z "$summary" ] && [ $code -ge 128 ]; then
    state=CRASH
elif [ -z "$summary" ]; then
    state=ABORT
elif [ "$errors" -eq 0 ] && [ $code -eq 0 ] && [ "$tests" -eq 0 ]; then
    state=EMPTY
elif [ "$errors" -eq 0 ] && [ $code -eq 0 ]; then
    state=PASS
else
    state=FAIL
    [ "$errors" -ne 0 ] || errors=1
fi
if [ $state = CRASH ] || [ $state = ABORT ]; then
    cases="code $code: $(tail -n 1 "$log" | tr '\t' ' ' | cut -c1-200)"
fi
printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$file" "$state" "${tests:-0}" \
    "${errors:-0}" "$seconds" "$cases"

if [ "$(stat -c %s "$log")" -gt 4000000 ]; then # keep both ends
    { head -c 1000000 "$log" && echo ... && tail -c 2000000 "$log"; } >"$log.cut"
    mv "$log.cut" "$log"
fi
if [ -z "$SUITE_KEEP" ]; then
    [ $state = PASS ] && rm -f "$log"
    rm -rf "$directory"
fi
exit 0
