# Helpers of the shell tests: TAP on standard output, one line a check.
#
# The environment names the programs: FASTVLM (under test), GOLDEN_TOOL (makes checkpoints and
# pictures, compares), JSON_VALUE (reads JSON lines), SOURCE_ROOT (the tree).
#
# SPDX-License-Identifier: LGPL-2.1-or-later

set -u
LC_ALL=C.UTF-8
export LC_ALL
unset FASTVLM_MODELS FASTVLM_CACHE_SIZE FASTVLM_CACHE_MIN_SIZE
FASTVLM_CACHE=off # no test touches the user's
export FASTVLM_CACHE
n_checks=0
n_failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# Runs fastvlm; leaves $code and the files out and err.
run() {
    code=0
    "$FASTVLM" "$@" >out 2>err || code=$?
    last_line="fastvlm $*"
}

# check NAME COMMAND...: COMMAND is to succeed.
check() {
    n_checks=$((n_checks + 1))
    check_name=$1
    shift
    if "$@" >/dev/null; then
        echo "ok $n_checks - $check_name"
        return
    fi
    n_failed=$((n_failed + 1))
    echo "not ok $n_checks - $check_name"
    echo "# failed: $*"
    echo "# after: $last_line: exit $code"
    for file in out err; do
        [ -f "$file" ] && { head -c 600 "$file"; echo; } | sed "s/^/# $file: /"
    done
}

skip() {
    n_checks=$((n_checks + 1))
    echo "ok $n_checks - $1 # SKIP $2"
}

# One line on standard error, nothing on standard output, and the exit code $1; $2 is in the line.
is_failure() {
    [ "$code" -eq "$1" ] && [ ! -s out ] && is_error_line "$2"
}

is_error_line() {
    [ "$(wc -l <err)" -eq 1 ] && [ "$(head -c 9 err)" = "fastvlm: " ] && grep -qF -- "$1" err
}

# Exit code 0 and nothing on standard error.
is_success() {
    [ "$code" -eq 0 ] && [ ! -s err ]
}

# failure NAME CODE FRAGMENT ARGUMENT...
failure() {
    failure_name=$1 failure_code=$2 fragment=$3
    shift 3
    run "$@"
    check "$failure_name" is_failure "$failure_code" "$fragment"
}

# json PATH...: the values in out.
json() {
    "$JSON_VALUE" "$@" <out
}

finish() {
    echo "1..$n_checks"
    [ "$n_failed" -eq 0 ]
}
