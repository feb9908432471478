#!/bin/sh
# fastvlm dump against vectors of a reference, by 1, 2 and 5 threads, whose files must be equal.
#
#     test_dump.sh CHECKPOINT VECTORS
#
# CHECKPOINT is a case of golden_tool, or a directory. VECTORS that begin with ../shared/ lie in the
# directory that FASTVLM_SHARED names, or beside the tree; they are skipped where they are not there.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$SOURCE_ROOT/tests/cli/lib.sh"

checkpoint=$1 vectors=$2
case $vectors in
../shared/*) vectors=${FASTVLM_SHARED:-$SOURCE_ROOT/../shared}/${vectors#../shared/} ;;
esac
if [ ! -e "$vectors" ]; then
    echo "1..0 # SKIP no $2 here (or FASTVLM_SHARED)"
    exit 0
fi
if [ ! -d "$checkpoint" ]; then
    "$GOLDEN_TOOL" checkpoint "$checkpoint" checkpoint || exit 1
    checkpoint=checkpoint
fi
prefix=$("$GOLDEN_TOOL" ids "$vectors" prefix_ids) || exit 1
suffix=$("$GOLDEN_TOOL" ids "$vectors" suffix_ids) || exit 1
sizes=$("$GOLDEN_TOOL" sizes "$vectors") || exit 1
for size in $sizes; do
    "$GOLDEN_TOOL" picture "$size" picture.png || exit 1
    n_tokens=$("$GOLDEN_TOOL" ids "$vectors" "$size.tokens" | tr , '\n' | wc -l)
    for threads in 1 2 5; do
        run dump picture.png --model "$checkpoint" --resolution "$size" --prefix-ids "$prefix" \
            --suffix-ids "$suffix" --max-tokens "$n_tokens" --threads $threads \
            --output by$threads.safetensors
        check "$size px, $threads threads: dump" is_success
        check "$size px, $threads threads: the bytes of one thread" \
            cmp by1.safetensors by$threads.safetensors
    done
    check "$size px: agrees with $(basename "$vectors")" \
        "$GOLDEN_TOOL" compare "$vectors" "$size" by1.safetensors
done
finish
