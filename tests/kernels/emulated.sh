#!/usr/bin/env bash
# Runs checkers under an emulator, each of whose processors must get just the tiers that it has.
# Prints TAP.
#
#     emulated.sh ARCHITECTURE CPU='TIER...'... CHECKER...
#
#     emulated.sh x86_64 Westmere=scalar Haswell='scalar avx2' build/tests/kernels/check_kernels
#
# Each CHECKER is run with --quick: emulation is slow.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -uo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
architecture=$1
shift
emulator=$(command -v "qemu-$architecture" "qemu-$architecture-static" | head -n 1)
if [ -z "$emulator" ]; then
    echo "1..0 # SKIP there is no qemu-$architecture (Debian: qemu-user)"
    exit 0
fi
processors=()
while [ $# -gt 0 ] && [[ $1 == *=* ]]; do
    processors+=("$1")
    shift
done
status=0
count=0
echo "1..$((${#processors[@]} * $#))"
for processor in "${processors[@]}"; do
    cpu=${processor%%=*} tiers=${processor#*=}
    for checker in "$@"; do
        count=$((count + 1))
        what="$(basename "$checker"): $tiers on $cpu"
        output=$("$emulator" -cpu "$cpu" "$checker" --quick 2>&1)
        result=$?
        checked=$(sed -n 's/^ok [0-9]* - \([a-z0-9_]*\)$/\1/p' <<<"$output" | tr '\n' ' ')
        if [ $result -eq 0 ] && [ "${checked% }" = "$tiers" ]; then
            echo "ok $count - $what"
        else
            echo "not ok $count - $what"
            echo "# exit status $result, checked: $checked"
            printf '# %s\n' "${output//$'\n'/$'\n'# }"
            status=1
        fi
    done
done
exit $status
