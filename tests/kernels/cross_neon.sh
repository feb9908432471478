#!/usr/bin/env bash
# Builds kernels and checkers for 64-bit ARM and runs them under an emulator, by emulated.sh. Prints TAP.
#
#     cross_neon.sh DIRECTORY INCLUDE -mFLAG SOURCE... [-mFLAG SOURCE...] CHECKER...
#
# Sources after a flag are compiled with it, to DIRECTORY; a source check_*.c makes a program. CC_AARCH64
# names the compiler, with options where it takes them.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
directory=$1 include=$2
shift 2
read -ra compiler <<<"${CC_AARCH64:-aarch64-linux-gnu-gcc}"
if ! command -v "${compiler[0]}" >/dev/null; then
    echo "1..0 # SKIP there is no ${compiler[0]} (Debian: gcc-aarch64-linux-gnu)"
    exit 0
fi
rm -rf "$directory"
mkdir -p "$directory"
if ! "${compiler[@]}" -static -x c - -o "$directory/links" <<<'#include <math.h>
int main(void) { return 0; }' 2>/dev/null; then
    echo "1..0 # SKIP ${compiler[0]} has no C library (Debian: libc6-dev-arm64-cross)"
    exit 0
fi
compiler+=(-std=gnu11 -O3 -ffp-contract=off -fno-math-errno -D_GNU_SOURCE -I"$include"
    -Wall -Wextra -Wshadow -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
    -Wno-unused-parameter -Werror)

objects=() checkers=() flag=
for argument in "$@"; do
    case $argument in
    -m*)
        flag=$argument
        ;;
    */check_*.c)
        checkers+=("$argument")
        ;;
    *)
        object=$directory/$(basename "$(dirname "$argument")")-$(basename "$argument" .c).o
        "${compiler[@]}" "$flag" -c "$argument" -o "$object"
        objects+=("$object")
        ;;
    esac
done
programs=()
for checker in "${checkers[@]}"; do
    program=$directory/$(basename "$checker" .c)
    "${compiler[@]}" -static "$checker" "${objects[@]}" -lm -o "$program"
    programs+=("$program")
done

exec "$(dirname "$0")/emulated.sh" aarch64 cortex-a57='scalar neon' \
    neoverse-n1='scalar neon neon_dotprod' max='scalar neon neon_dotprod neon_bf16' \
    "${programs[@]}"
