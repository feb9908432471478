#!/usr/bin/env bash
# Fuzz everything that reads a stranger's file, with ASan and UBSan, and keep what was found.
#
#     tests/fuzz.sh MINUTES [TARGET...]    each target for so long, one after the other
#     tests/fuzz.sh --minimise             what was found -> tests/fuzz/corpora, the smallest set
#
# Needs clang. An input that breaks a target stands in build-fuzz/found/TARGET, and its report in
# build-fuzz/found/TARGET.log. FASTVLM_BUILDS: where build-fuzz goes; the source tree if unset.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${FASTVLM_BUILDS:-$top}/build-fuzz
corpora=$top/tests/fuzz/corpora
if ! [[ ${1:-} =~ ^([1-9][0-9]*|--minimise)$ ]]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
mode=$1
shift

if ! [ -f "$build/build.ninja" ]; then
    CC=${CC:-clang} meson setup "$build" "$top" -Dfuzz=true -Dgst=disabled \
        -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false
fi
mapfile -t binaries < <(ninja -C "$build" -t targets all | sed -n 's|^\(tests/fuzz/fuzz_[a-z_]*\):.*|\1|p')
ninja -C "$build" --quiet "${binaries[@]}"
targets=("$@")
[ $# -gt 0 ] || targets=("${binaries[@]#tests/fuzz/fuzz_}")

export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export LSAN_OPTIONS=suppressions=$top/tests/lsan.supp:print_suppressions=0

# fuzz TARGET: FALSE where something was found
fuzz()
{
    local found=$build/found/$1
    mkdir -p "$found" "$build/corpora/$1"
    echo "== $1: $mode minutes"
    "$build/tests/fuzz/fuzz_$1" -max_total_time=$((60 * mode)) -timeout=25 -rss_limit_mb=2048 \
        -max_len=30000 -dict="$top/tests/fuzz/json.dict" -print_final_stats=1 \
        -artifact_prefix="$found/" "$build/corpora/$1" "$corpora/$1" >"$found.log" 2>&1 ||
        { tail -n 40 "$found.log" >&2; return 1; }
    sed -n 's/^stat::number_of_executed_units: */   executions: /p' "$found.log"
}

# minimise TARGET: the smallest inputs that reach all that the known ones reach
minimise()
{
    local kept
    kept=$(mktemp -d)
    mkdir -p "$build/corpora/$1"
    "$build/tests/fuzz/fuzz_$1" -set_cover_merge=1 -max_len=30000 "$kept" "$corpora/$1" \
        "$build/corpora/$1" >"$build/merge-$1.log" 2>&1
    rm -rf "${corpora:?}/$1"
    mkdir -p "$corpora/$1"
    cp "$kept"/* "$corpora/$1/"
    rm -rf "$kept"
    echo "$1: $(find "$corpora/$1" -type f | wc -l) inputs, $(du -sk "$corpora/$1" | cut -f1) kB"
}

failed=()
for target in "${targets[@]}"; do
    if [ "$mode" = --minimise ]; then
        minimise "$target"
    elif ! fuzz "$target"; then
        failed+=("$target")
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "fuzz: found something in: ${failed[*]}; see $build/found" >&2
    exit 1
fi
