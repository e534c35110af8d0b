#!/bin/bash
# race.sh [--seconds N] [--seed N] - the race of tests/server/race.c, 5,000
# commits at a time, each time with a new seed, until the time is over.
#
#   RAMET_BUILD=build    where the programs are
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

seconds=60
seed=1
while [ $# -ge 2 ]; do
    case $1 in
    --seconds) seconds=$2 ;;
    --seed) seed=$2 ;;
    *) break ;;
    esac
    shift 2
done
[ $# -eq 0 ] || {
    echo "usage: race.sh [--seconds N] [--seed N]" >&2
    exit 2
}
build=${RAMET_BUILD:-build}
rounds=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
while [ "$rounds" -eq 0 ] || [ "$SECONDS" -lt "$seconds" ]; do
    "$build/tests/ramet_race" "$build/tests/ramet_serve" 5000 \
        $((seed + rounds)) 2>"$log" || {
        tail -n 100 "$log" >&2 # what race and servers said
        exit 1
    }
    rounds=$((rounds + 1))
done
echo "$rounds races of 5000 commits, none lost, doubled or mixed up"
