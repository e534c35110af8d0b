#!/bin/bash
# many.sh [--seconds N] [--seed N] - a thousand databases in one process, pushed to a
# bucket: three descriptors each and 32 threads. In memory, and once: it takes as long
# as it takes.
#
#   RAMET_BUILD=build    where the programs are
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

readonly COUNT=1000
most=$(ulimit -Hn)
[ "$most" = unlimited ] || [ "$most" -gt $((3 * COUNT + 1024)) ] || {
    echo "left out: no process here may have $((3 * COUNT + 1024)) descriptors"
    exit 0
}
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm
RAMET_TEST_MANY=$COUNT ctest --test-dir "${RAMET_BUILD:-build}" --timeout 1200 \
    --output-on-failure -R '^cli_bucket_many$'
echo "$COUNT databases in one process"
