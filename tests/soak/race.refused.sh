#!/bin/bash
# race.refused.sh [--seconds N] [--seed N] - a store on which two writers win must be
# refused: s3s-fs, which answers one request after another rightly and loses races
# (docs/stores.md). Again and again by somebody who knows nothing of it, at a place
# of its own; the proof may miss it now and then, and not more often than it says.
#
#   RAMET_BUILD=build    where the programs are
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

seconds=60
[ "${1:-}" != --seconds ] || seconds=$2
command -v cargo >/dev/null || {
    echo "left out: cargo is not here"
    exit 0
}
export RAMET_BUILD=${RAMET_BUILD:-build}

# What runs beside it.
try_it() { # SECONDS
    local tries=0 refused=0
    work=$(mktemp -d "${TMPDIR:-/tmp}/ramet-refused-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    while [ "$tries" -lt 3 ] || [ "$SECONDS" -lt "$1" ]; do
        local url=s3://$RAMET_TEST_S3_BUCKET/try-$tries/app
        export XDG_CACHE_HOME=$work/cache-$tries
        echo "$tries" >"$work/$tries.txt"
        if "$RAMET_BUILD/bin/ramet" init "$work/$tries.txt" --remote "$url" \
            2>"$work/why"; then
            echo "try $tries: was not found out"
        else
            grep -q "two writers" "$work/why" || {
                cat "$work/why"
                exit 1
            }
            refused=$((refused + 1))
        fi
        tries=$((tries + 1))
    done
    [ $((tries - refused)) -le $((1 + tries / 8)) ] || {
        echo "$RAMET_TEST_S3_KIND: only $refused times of $tries refused"
        exit 1
    }
    echo "$RAMET_TEST_S3_KIND: refused, $refused times of $tries"
}
export -f try_it

scripts/s3-gateway.sh s3s-fs bash -euo pipefail -c "try_it $seconds"
