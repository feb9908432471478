#!/usr/bin/env bash
# Times an encode beside ONNX Runtime's, the two taking turns, and prints the ratio of the medians.
#
#     compare_encode.sh FASTVLM CHECKPOINT MODEL.onnx RESOLUTION [ROUNDS [THREADS [PRECISION]]]
#
# FASTVLM is the built command, MODEL.onnx comes from export_onnx.py for the same checkpoint and
# resolution. Run it where onnxruntime-node is installed (npm install onnxruntime-node).
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
if [ $# -lt 4 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
fastvlm=$1 checkpoint=$2 onnx=$3 resolution=$4 rounds=${5:-3} threads=${6:-2}
precision=${7:-f32}
# Some machines hold OpenBLAS to slower kernels than theirs by these.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export NODE_PATH=${NODE_PATH:-$PWD/node_modules}

median()
{
    sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

ours=$(mktemp) theirs=$(mktemp)
trap 'rm -f "$ours" "$theirs"' EXIT
for ((round = 1; round <= rounds; round++)); do
    "$fastvlm" bench --model "$checkpoint" --resolution "$resolution" --threads "$threads" \
        --precision "$precision" --runs 3 --decode-tokens 2 --json |
        sed 's/.*"encode_ms":[^}]*"median": *\([0-9.]*\).*/\1/' >>"$ours"
    node "$here/onnxruntime.js" "$onnx" "$resolution" "$threads" 3 | median >>"$theirs"
    echo "round $round: fastvlm $(tail -n 1 "$ours") ms, ONNX Runtime $(tail -n 1 "$theirs") ms"
done
a=$(median <"$ours") b=$(median <"$theirs")
awk -v a="$a" -v b="$b" -v p="$precision" 'BEGIN {
    printf "median: fastvlm " p " %.0f ms, ONNX Runtime fp32 %.0f ms, ratio %.2f\n", a, b, a / b }'
