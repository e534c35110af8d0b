#!/bin/bash
# run.sh [MINUTES] - the long tests; `./dev soak` calls it.
#
# The bank (bank.py) gets all of the time: that many minutes of clerks who are
# killed. Beside it, one after another, the other parts share the same minutes:
# the local store's tests with new seeds, the simulator, calls that fail
# (test_faults.py), races of servers (race.*), a thousand databases in one process
# (many.sh), the oracle for SQL with ever new schedules, fuzzers,
# and from 20 minutes on SQLite's own suite. What there is not is left out, and
# said so. Each part ends with one line; the last line counts them. A part that
# failed leaves its output, and the seeds with which it can be repeated.
#
#   RAMET_BUILD=build    where the programs are
#   RAMET_SOAK_SEED=N    begin with this seed
#   RAMET_SOAK_LOGS=DIR  where outputs go; default: a new folder in /tmp
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." || exit 2

minutes=${1:-10}
if ! [[ $minutes =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: run.sh [MINUTES]" >&2
    exit 2
fi
build=$(readlink -f "${RAMET_BUILD:-build}")
export RAMET_BUILD=$build RAMET_SO=$build/lib/ramet.so PYTHONDONTWRITEBYTECODE=1
logs=${RAMET_SOAK_LOGS:-$(mktemp -d /tmp/ramet-soak-XXXXXX)}
mkdir -p "$logs"
export RAMET_ORACLE_KEEP=$logs # schedules that failed
seed=${RAMET_SOAK_SEED:-$(($(date +%s) % 1000000))}
end=$((SECONDS + minutes * 60))
readonly bank_seed=$seed
# The system's: others may have been built without loadable extensions.
readonly python=/usr/bin/python3
passed=0
failed=0
parts=0 # still to come, for sharing the time
bank=

stop_children() {
    [ -z "$bank" ] || kill -KILL -- "-$bank" 2>/dev/null # and its clerks
    exit 130
}
trap stop_children INT TERM

say() {
    printf '%s\n' "$*"
}

# count NAME STATUS SECONDS TEXT
count() {
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
        say "ok      $1: $3 s, $4"
    else
        failed=$((failed + 1))
        say "FAILED  $1: $3 s, $4; see $logs/$1.log"
        tail -n 12 "$logs/$1.log" | sed 's/^/        /'
    fi
}

# Seconds for the next part: an even share of what is left, 10 at least.
share() {
    local left=$(((end - SECONDS) / (parts > 0 ? parts : 1)))

    echo $((left > 10 ? left : 10))
}

# Run a test again and again, each time with a new seed, for its share.
repeat() { # NAME PROGRAM
    local name=$1 program=$2 seconds began=$SECONDS first=$seed rounds=0
    local status=0

    seconds=$(share)
    parts=$((parts - 1))
    : >"$logs/$name.log"
    while [ "$status" -eq 0 ]; do
        local left=$((began + seconds - SECONDS))

        [ "$left" -gt 0 ] || break
        RAMET_TEST_SEED=$seed RAMET_TEST_SECONDS=$((left < 59 ? left : 59)) \
            timeout $((left + 600)) "$program" >>"$logs/$name.log" 2>&1 ||
            status=$?
        seed=$((seed + 1000))
        rounds=$((rounds + 1))
    done
    count "$name" "$status" $((SECONDS - began)) \
        "$rounds round(s) from seed $first on"
}

run_fuzzer() { # PROGRAM
    local program=$1 name seconds began=$SECONDS status=0 corpus found

    name=$(basename "$program")
    corpus=tests/fuzz/corpus/${name#fuzz_}
    found=$logs/found-$name
    seconds=$(share)
    parts=$((parts - 1))
    mkdir -p "$found"
    "$program" -seed="$seed" -max_total_time="$seconds" -timeout=20 \
        -rss_limit_mb=1024 -artifact_prefix="$found/crash-" \
        "$found" "$corpus" >"$logs/$name.log" 2>&1 || status=$?
    count "$name" "$status" $((SECONDS - began)) "seed $seed"
}

# Schedules of seeds that nobody played yet, for their share.
run_simulator() {
    local seconds began=$SECONDS status=0

    seconds=$(share)
    parts=$((parts - 1))
    "$simulator" "$build/lib/libramet_sim_image.so" --seed $((seed * 1000)) \
        --count 100000000 --seconds "$seconds" >"$logs/simulator.log" 2>&1 ||
        status=$?
    count simulator "$status" $((SECONDS - began)) \
        "$(tail -n 1 "$logs/simulator.log")"
}

# Faults that nobody chose yet, about as many as fit into its share: of verbs on a
# directory, through a server, in the server, and of SQL.
run_faults() { # NAME PER-SECOND SCRIPT [VARIABLE=VALUE...]
    local name=$1 rate=$2 script=$3 seconds began=$SECONDS status=0

    seconds=$(share)
    parts=$((parts - 1))
    env "${@:4}" RAMET_TEST_SEED="$seed" \
        RAMET_TEST_FAULTS=$((seconds * rate / 10 + 24)) \
        timeout $((seconds * 4 + 600)) "$python" "$script" \
        >"$logs/$name.log" 2>&1 || status=$?
    count "$name" "$status" $((SECONDS - began)) \
        "$(grep trials "$logs/$name.log" | tail -n 1) (seed $seed)"
}

run_race() { # SCRIPT
    local script=$1 name seconds began=$SECONDS status=0 run=(bash)

    name=$(basename "$script" | tr . -)
    [[ $script != *.py ]] || run=("$python")
    seconds=$(share)
    parts=$((parts - 1))
    timeout $((seconds + 600)) "${run[@]}" "$script" --seconds "$seconds" \
        --seed "$seed" >"$logs/$name.log" 2>&1 || status=$?
    count "$name" "$status" $((SECONDS - began)) \
        "$(tail -n 1 "$logs/$name.log") (seed $seed)"
}

# What takes as long as it takes: not cut off within the first 40 minutes, nor a file
# of it where others keep the machine busy.
run_suite() {
    local began=$SECONDS status=0

    parts=$((parts - 1))
    SUITE_RESULTS=$logs/sqlite SUITE_TIMEOUT=900 timeout 2400 tests/sqlite/run.sh \
        "$build/lib/ramet.so" all >"$logs/sqlite.log" 2>&1 || status=$?
    count sqlite "$status" $((SECONDS - began)) \
        "$(tail -n 1 "$logs/sqlite.log")"
}

shopt -s nullglob
stores=("$build"/tests/test_store_{model,crash,processes,others,damage})
races=(tests/soak/race.* tests/soak/many.sh)
[ ! -f "$build/lib/ramet.so" ] || races+=(tests/oracle/{oracle,history}.py)
fuzzers=(build-fuzz/fuzz/fuzz_*)
found_stores=()
for program in "${stores[@]}"; do
    [ -x "$program" ] && found_stores+=("$program")
done
parts=$((${#found_stores[@]} + ${#races[@]} + ${#fuzzers[@]}))
readonly simulator=$build/tests/ramet_sim
[ ! -x "$simulator" ] || parts=$((parts + 1))
readonly shim=$build/tests/ramet_fault_shim.so
[ ! -f "$shim" ] || parts=$((parts + 4))
say "soak: $minutes min, seed $seed, outputs in $logs"
[ ${#fuzzers[@]} -gt 0 ] ||
    say "left out: fuzzers ('./dev build fuzz' makes them)"
[ ${#races[@]} -gt 0 ] || say "left out: races of servers"
[ "$minutes" -ge 20 ] || say "left out: SQLite's own suite (from 20 min on)"

if [ -f "$build/lib/ramet.so" ] && [ -f tests/soak/bank.py ]; then
    setsid "$python" tests/soak/bank.py "$minutes" --seed "$bank_seed" \
        >"$logs/bank.log" 2>&1 &
    bank=$!
else
    : >"$logs/bank.log"
    count bank 1 0 "there is no $build/lib/ramet.so"
fi
[ "$minutes" -lt 20 ] || {
    parts=$((parts + 1))
    run_suite
}
for program in "${found_stores[@]}"; do
    repeat "$(basename "$program")" "$program"
done
[ ! -x "$simulator" ] || run_simulator
[ ! -f "$shim" ] || {
    run_faults faults-file 30 tests/cli/test_faults.py RAMET_TEST_REMOTE=file
    run_faults faults-http 20 tests/cli/test_faults.py RAMET_TEST_REMOTE=http
    run_faults faults-server 20 tests/cli/test_faults.py \
        RAMET_TEST_REMOTE=http RAMET_TEST_FAULTS_IN=server
    run_faults faults-sql 2 tests/vfs/test_faults.py "RAMET_TEST_SECONDS=$(share)"
}
for script in "${races[@]}"; do
    run_race "$script"
done
for program in "${fuzzers[@]}"; do
    run_fuzzer "$program"
done
if [ -n "$bank" ]; then
    status=0
    wait "$bank" || status=$?
    bank=
    count bank "$status" $((minutes * 60)) \
        "$(grep -v '^bank: seed' "$logs/bank.log" | tail -n 1) (seed $bank_seed)"
fi

say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
