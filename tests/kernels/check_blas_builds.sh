#!/usr/bin/env bash
# Runs check_blas on each of OpenBLAS's builds that Debian has: each wants to be held to one thread
# in its own way. Prints TAP; a build that is not installed is skipped.
#
#     check_blas_builds.sh CHECK_BLAS
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -uo pipefail
status=0
count=0
echo "1..3"
for build in pthread serial openmp; do
    count=$((count + 1))
    library=$(find /usr/lib -path "*/openblas-$build/libopenblas.so.0" 2>/dev/null | head -n 1)
    if [ -z "$library" ]; then
        echo "ok $count - $build # SKIP libopenblas0-$build is not installed"
    elif output=$(LD_PRELOAD=$library "$1"); then
        echo "ok $count - $build"
    else
        echo "not ok $count - $build"
        grep -v '^ok' <<<"$output" | sed 's/^/# /'
        status=1
    fi
done
exit $status
