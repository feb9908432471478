#!/usr/bin/env bash
# Times our products and depthwise convolutions beside oneDNN's and OpenBLAS's.
#
#     tests/bench/kernels_vs_onednn.sh BUILD-DIRECTORY [gemm|conv]
#
#     FASTVLM_TIER=avx2 tests/bench/kernels_vs_onednn.sh build     each held to AVX2
#
# Wants Debian's libdnnl-dev, which nothing else here does. Processor time is counted, not the clock on
# the wall, so that a machine at work gives useful ratios; the table is best from an idle one.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
if [ $# -lt 1 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
elif [ ! -d "$1/engine/kernels" ]; then
    echo "kernels_vs_onednn: $1 is no build directory: there is no $1/engine/kernels" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$1
shift
if ! echo '#include <oneapi/dnnl/dnnl.h>' | cc -E - >/dev/null 2>&1; then
    echo "kernels_vs_onednn: there is no oneDNN (Debian: apt-get install libdnnl-dev)" >&2
    exit 1
fi
program=$(mktemp)
trap 'rm -f "$program"' EXIT
# shellcheck disable=SC2046 # flags are words
cc -std=gnu11 -O2 -D_GNU_SOURCE -I"$root/engine" -I"$root/tests" \
    "$root/tests/bench/kernels_vs_onednn.c" "$root/engine/base/cpu.c" -o "$program" \
    -Wl,--start-group "$build"/engine/kernels/libfastvlm-kernels*.a -Wl,--end-group \
    $(pkg-config --cflags --libs openblas) -ldnnl -lgomp -lm -pthread
case ${FASTVLM_TIER:-} in
avx2) env ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell "$program" "$@" ;;
*) "$program" "$@" ;;
esac
