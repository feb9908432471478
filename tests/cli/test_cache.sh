#!/bin/sh
# Packed copies of a model: made, used, listed, removed; what a user meets when they cannot be.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$SOURCE_ROOT/tests/cli/lib.sh"

"$GOLDEN_TOOL" checkpoint speaking good --tokenizer "$SOURCE_ROOT/models/demo" || exit 1
"$GOLDEN_TOOL" picture 96 a.png || exit 1
unset FASTVLM_CACHE
XDG_CACHE_HOME=$PWD/xdg FASTVLM_CACHE_MIN_SIZE=0
export XDG_CACHE_HOME FASTVLM_CACHE_MIN_SIZE
last_line=

same() { [ "$1" = "$2" ]; }
n_copies() { find xdg -name '*.packed' 2>/dev/null | wc -l; }
n_parts() { find xdg -name '*.part' 2>/dev/null | wc -l; }

# --- the first load writes, the next one reads ---
for precision in f32 bf16 int8 int4; do
    dump="dump a.png --model ./good --precision $precision --max-tokens 5 --resolution 128"
    run $dump --no-cache --output plain.safetensors
    run $dump --output first.safetensors
    check "$precision: a load that writes a copy" is_success
    run $dump --output second.safetensors
    check "$precision: a load that reads it" is_success
    check "$precision: writing changes no number" cmp -s plain.safetensors first.safetensors
    check "$precision: nor does reading" cmp -s plain.safetensors second.safetensors
done
check "a copy each" same "$(n_copies)" 4
check "nothing else is left" same "$(n_parts)" 0
check "it is the user's alone" same "$(stat -c %a xdg/fastvlm)" 700
check "and so are the copies" same "$(stat -c %a xdg/fastvlm/*.packed | sort -u)" 600

bench="bench --model ./good --precision int8 --runs 1 --decode-tokens 2 --json"
run $bench
check "bench says where weights came from" grep -q '"cache":"read from /.*\.packed"' out
run $bench --no-cache
check "--no-cache is obeyed" grep -q '"cache":"none: switched off"' out

# --- list, info ---
run cache list
check "cache list" is_success
check "a line for each and one for all" same "$(wc -l <out)" 5
check "it names the checkpoint" grep -q "int8 .*$PWD/good" out
run cache list --json
check "the same in JSON" same "$(json precision | sort | tr '\n' ' ')" "bf16 f32 int4 int8 "
check "with all that is known" json path model precision bytes last_used in_use
run info --model ./good
check "info tells of copies" grep -q "packed copies of this model" out
run info --model ./good --json
check "and in JSON" json cache.directory cache.copies.int8 weights_bytes.int8 weights_bytes.bf16
run info --model ./good --no-cache --json
check "not with --no-cache" grep -q '"cache":null' out

# --- a changed checkpoint ---
sleep 0.02
touch good/model.safetensors
run $bench
check "a touched checkpoint is packed anew" grep -q '"cache":"written to ' out
check "in the place of the old copy" same "$(n_copies)" 4
run caption a.png --model ./good --precision int8 --max-tokens 8
cp out told
copy=$(find xdg -name '*-fiiiiii.packed')
printf 'x' | dd of="$copy" bs=1 seek=5000 conv=notrunc 2>/dev/null
run caption a.png --model ./good --precision int8 --max-tokens 8
check "a damaged copy does no harm" is_success
check "and changes nothing" cmp -s out told
run $bench
check "it was replaced" grep -q '"cache":"read from ' out
truncate -s 10000 "$copy"
run $bench
check "so is one cut short" grep -q '"cache":"written to ' out
: >xdg/fastvlm/broken.packed
run cache list
check "list shows what is no copy" grep -q "broken.packed (damaged" out

# --- limits ---
FASTVLM_CACHE_SIZE=1 run $bench
check "a copy that is there is used, whatever the limit" grep -q '"cache":"read from ' out
rm -f "$copy"
FASTVLM_CACHE_SIZE=1 run $bench
check "a copy larger than the limit" grep -q 'none: .*FASTVLM_CACHE_SIZE' out
FASTVLM_CACHE_SIZE=many run $bench
check "a limit that is none" grep -q 'none: FASTVLM_CACHE_SIZE: found many' out
FASTVLM_CACHE_SIZE=many run cache list
check "list says so too" is_failure 1 "FASTVLM_CACHE_SIZE: found many"
run cache clear
check "cache clear" is_success
check "nothing is left" same "$(n_copies)" 0
run cache clear
check "again" is_success
run cache list --json
check "an empty list" [ ! -s out ]

size=$("$FASTVLM" info --model ./good --json >out && json weights_bytes.f32)
FASTVLM_CACHE_SIZE=$((size * 5 / 4)) run $bench
FASTVLM_CACHE_SIZE=$((size * 5 / 4)) run caption a.png --model ./good --precision f32
run cache list --json
check "the one unused for longest makes room" same "$(json precision)" f32
rm -f "$copy"
(ulimit -f 100 && exec "$FASTVLM" $bench) >out 2>err
check "a limit on file sizes" grep -q 'none: .*ulimit' out
check "leaves nothing behind" same "$(n_parts)" 0

FASTVLM_CACHE=off run $bench
check "FASTVLM_CACHE=off" grep -q 'none: FASTVLM_CACHE is off' out
FASTVLM_CACHE=$PWD/told run $bench
check "a place that is a file" grep -q 'none: .*told' out
FASTVLM_CACHE=off run cache list
check "list without a cache" grep -q "FASTVLM_CACHE is off" out
FASTVLM_CACHE_MIN_SIZE='' run $bench
check "a small model has no copy" grep -q 'none: a model this small' out

# --- two at once ---
run cache clear
"$FASTVLM" $bench >one &
"$FASTVLM" $bench >two
wait $!
check "two loads at once" same "$(n_copies) $(n_parts)" "1 0"
run $bench
check "make one good copy" grep -q '"cache":"read from ' out

failure "cache: nothing" 2 "expected one of list, clear" cache
failure "cache: another word" 2 "found prune" cache prune
finish
