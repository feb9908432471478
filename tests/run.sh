#!/usr/bin/env bash
# Install what is missing, build, run every test, and count.
#
#     gcc -Werror           all suites
#     gcc, ASan and UBSan   all suites but style and docs
#     clang -Werror         compiled only, where there is a clang
#
# The last line is `N passed, N failed, N skipped`; exit status 1 where anything failed.
# FASTVLM_BUILDS: where the build directories go; the source tree if unset.
# JOBS: how many things to do at once; the number of processors if unset.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -uo pipefail
export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}"
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
builds=${FASTVLM_BUILDS:-$top}
jobs=${JOBS:-$(nproc)}
cd "$top" || exit 1
unset DISPLAY WAYLAND_DISPLAY

results=() # for summary.py
finish()
{
    trap - EXIT
    if ! [ -x /usr/bin/python3 ]; then
        echo "0 passed, 1 failed, 0 skipped"
        exit 1
    fi
    /usr/bin/python3 tests/summary.py "${results[@]}"
    exit $?
}
trap finish EXIT
trap 'results+=(--step "interrupted=failed"); finish' INT TERM

# step NAME COMMAND...: one that is counted as a test
step()
{
    local name=$1 start=$SECONDS
    shift
    echo "== $name"
    if "$@" </dev/null; then
        results+=(--step "$name=ok")
        echo "== $name: done in $((SECONDS - start)) s"
    else
        results+=(--step "$name=failed")
        echo "== $name: FAILED: $*" >&2
        return 1
    fi
}

configure()
{
    local directory=$1
    shift
    if [ -f "$directory/build.ninja" ] &&
        meson setup --reconfigure "$directory" "$top" "$@" >"$directory.log" 2>&1; then
        return
    fi
    rm -rf "$directory"
    mkdir -p "$directory"
    meson setup "$directory" "$top" "$@" >"$directory.log" 2>&1
}

build()
{
    if ! configure "$@"; then
        cat "$1.log"
        return 1
    fi
    rm -f "$1.log"
    ninja -C "$1" -j "$jobs" --quiet
}

# run_suites NAME DIR OPTION...: each test is counted by itself, from meson's log
run_suites()
{
    local name=$1 directory=$2 start=$SECONDS
    shift 2
    echo "== $name: tests"
    rm -f "$directory/meson-logs/testlog.json"
    meson test -C "$directory" --no-rebuild --num-processes "$jobs" "$@" </dev/null
    results+=(--log "$name=$directory/meson-logs/testlog.json")
    echo "== $name: tests took $((SECONDS - start)) s"
}

step "install packages" pipelines/setup.sh tests || exit 1

# The prefix is inside the build directory, so that an installation can be tried too.
plain=$builds/build-tests
if step "build with gcc -Werror" build "$plain" -Dwerror=true -Dgst=enabled -Dtools=enabled \
    --prefix="$plain/installed"; then
    run_suites plain "$plain"
    step "install and use" tests/install.sh "$plain"
fi

asan=$builds/build-asan
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:halt_on_error=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export LSAN_OPTIONS=suppressions=$top/tests/lsan.supp:print_suppressions=0
if step "build with ASan and UBSan" build "$asan" -Dwerror=true -Dgst=enabled -Dtools=enabled \
    -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false; then
    GST_REGISTRY_FORK=no run_suites asan "$asan" --no-suite style --no-suite docs \
        --timeout-multiplier 4
fi
unset ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS

if command -v clang >/dev/null; then
    CC=clang step "build with clang -Werror" build "$builds/build-clang" -Dwerror=true
else
    echo "== build with clang -Werror: skipped, there is no clang"
fi
