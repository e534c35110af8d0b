#!/bin/bash
# race.s3.sh [--seconds N] [--seed N] - the race of tests/server/race.c on one
# bucket, 1,000 commits at a time: half of the time on Ceph's gateway, half on
# versitygw (docs/testing.md); all of it on the one that there is.
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
    echo "usage: race.s3.sh [--seconds N] [--seed N]" >&2
    exit 2
}
export RAMET_BUILD=${RAMET_BUILD:-build}
kinds=()
! command -v radosgw >/dev/null || kinds+=(rgw)
! command -v go >/dev/null || kinds+=(versitygw)
[ ${#kinds[@]} -gt 0 ] || {
    echo "left out: neither radosgw nor go is here"
    exit 0
}

# What runs beside a gateway: races until its share of the time is over.
race() { # SECONDS SEED
    local rounds=0 log
    log=$(mktemp)
    while [ "$rounds" -eq 0 ] || [ "$SECONDS" -lt "$1" ]; do
        "$RAMET_BUILD/tests/ramet_race" "$RAMET_BUILD/tests/ramet_serve" \
            1000 $(($2 + rounds)) s3 2>"$log" || {
            tail -n 100 "$log" >&2 # what race and servers said
            rm -f "$log"
            exit 1
        }
        rounds=$((rounds + 1))
    done
    rm -f "$log"
    echo "$RAMET_TEST_S3_KIND: $rounds races of 1000 commits"
}
export -f race

for kind in "${kinds[@]}"; do
    scripts/s3-gateway.sh "$kind" bash -euo pipefail -c \
        "race $((seconds / ${#kinds[@]})) $seed"
done
echo "races on ${kinds[*]}, no commit lost, doubled or mixed up"
