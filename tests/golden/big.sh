#!/bin/sh
# The released shapes against the reference: all sizes of 0.5b.safetensors, by 1, 2 and 5 threads.
#
#     big.sh BUILD_DIR SHARED_DIR CHECKPOINT_DIR
#
# SHARED_DIR holds golden/, reference/ and tokenizer-qwen2/. The checkpoint, 1.5 GB, is made in
# CHECKPOINT_DIR unless it is there. Minutes; needs 4 GB of memory and python3-numpy.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -eu
[ $# -eq 3 ] || { sed -n '4p' "$0" >&2; exit 2; }
build=$(realpath "$1") shared=$(realpath "$2") checkpoint=$3
SOURCE_ROOT=$(realpath "$(dirname "$0")/../..")
FASTVLM=$build/engine/tools/fastvlm
GOLDEN_TOOL=$build/tests/golden/golden_tool
JSON_VALUE=$build/tests/cli/json_value
export SOURCE_ROOT FASTVLM GOLDEN_TOOL JSON_VALUE

if [ ! -e "$checkpoint/model.safetensors" ]; then
    /usr/bin/python3 "$shared/reference/synth_checkpoint.py" 0.5b "$checkpoint" \
        --tokenizer "$shared/tokenizer-qwen2"
fi
exec sh "$SOURCE_ROOT/tests/golden/test_dump.sh" "$(realpath "$checkpoint")" \
    "$shared/golden/0.5b.safetensors"
