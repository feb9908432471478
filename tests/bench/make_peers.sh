#!/usr/bin/env bash
# Fills a folder with the other engines and the same model in their formats, for reach.py.
#
#     make_peers.sh CHECKPOINT FOLDER
#
# CHECKPOINT is the 0.5B shape (build/tests/synth/make_checkpoint) with the tokenizer files of any
# Qwen2 checkpoint. Wants Debian's npm, python3-numpy, python3-torch and python3-onnx, 8 GB of memory,
# 12 GB of disk and some ten minutes. What is there already is not made again.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
if [ $# -ne 2 ] || [ ! -f "$1/model.safetensors" ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
checkpoint=$(cd "$1" && pwd)
mkdir -p "$2"
cd "$2"
export NODE_PATH=$PWD/node_modules

# make FILE COMMAND...: the command writes to its last argument, which becomes FILE when it is whole.
make()
{
    local file=$1
    shift
    [ -e "$file" ] && return
    echo "$file"
    "$@" "partial-$file" >"$file.log" 2>&1 || { tail -n 5 "$file.log" >&2; exit 1; }
    mv "partial-$file" "$file"
    rm "$file.log"
}

python()
{
    local script=$1
    shift
    /usr/bin/python3 "$here/$script" "$@"
}

# The two packages bring their binaries with them: nothing is built.
[ -d node_modules/node-llama-cpp ] && [ -d node_modules/onnxruntime-node ] ||
    npm install onnxruntime-node@1.30.0 node-llama-cpp@3.22.1 --ignore-scripts

for side in 512 1024; do
    name=encoder-$side
    make $name-f32.onnx python export_onnx.py "$checkpoint" $side
    make $name-ranges.onnx python quantize_onnx.py ranges $name-f32.onnx
    make $name-ranges.json node "$here/onnxruntime.js" $name-ranges.onnx 1,3,$side,$side 2 0
    static()
    {
        python quantize_onnx.py static $name-f32.onnx "$1" $name-ranges.json
    }
    make $name-int8.onnx static
done
for n in 280 1; do
    make decoder-$n-f32.onnx python export_decoder_onnx.py "$checkpoint" $n
    make decoder-$n-int8.onnx python quantize_onnx.py dynamic decoder-$n-f32.onnx
done
make head-f32.onnx python export_decoder_onnx.py "$checkpoint" head
make head-int8.onnx python quantize_onnx.py dynamic head-f32.onnx
make siglip-384-f32.onnx python export_siglip_onnx.py
for kind in q8_0 q4_0; do
    make decoder-$kind.gguf python write_gguf.py "$checkpoint" $kind
done
