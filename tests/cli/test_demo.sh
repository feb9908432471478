#!/bin/sh
# What a newcomer types: fastvlm caption PICTURE, with nothing but the demo model.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$SOURCE_ROOT/tests/cli/lib.sh"

FASTVLM_MODELS=$SOURCE_ROOT/models
export FASTVLM_MODELS
data=$SOURCE_ROOT/tests/data/demo

same() { [ "$1" = "$2" ]; }

run info
check "info knows the demo model" is_success
check "it can be asked" grep -q "tokenizer makes" out

# The first question about each of the first pictures; how many are answered word for word.
"$JSON_VALUE" image <"$data/expected.jsonl" | awk '!seen[$0]++ { print NR }' | head -n 10 >lines
n_asked=0 n_right=0
while read -r line; do
    sed -n "${line}p" "$data/expected.jsonl" >question
    image=$("$JSON_VALUE" image <question) prompt=$("$JSON_VALUE" prompt <question)
    run caption "$data/$image" --prompt "$prompt"
    check "$image: $prompt" is_success
    check "$image: an answer" [ -s out ]
    n_asked=$((n_asked + 1))
    [ "$(cat out)" = "$("$JSON_VALUE" answer <question)" ] && n_right=$((n_right + 1))
done <lines
last_line="$n_right of $n_asked right"
check "ten pictures were asked about" [ "$n_asked" -eq 10 ]
check "seven are answered word for word" [ "$n_right" -ge 7 ]

# Choices: the answer is one of them, all have a probability, and these are one in all.
for case in "scene01.png|Is there a circle?|yes,no|no" \
    "scene01.png|What number is shown?|19,21,the number 22|21"; do
    IFS='|' read -r image prompt choices answer <<END
$case
END
    run caption "$data/$image" --prompt "$prompt" --choices "$choices"
    check "$prompt of $choices: $answer" [ "$(cat out)" = "$answer" ]
    run caption "$data/$image" --prompt "$prompt" --choices "$choices" --json
    check "$prompt in JSON" same "$(json text) $(json finish_reason)" "$answer choice"
    check "$prompt: probabilities" awk "BEGIN { exit !($(json "choices.$answer") > 0.5) }"
done
sum=$(for name in 19 21 "the number 22"; do json "choices.$name"; done |
    awk '{ sum += $1 } END { print (sum > 0.9999 && sum < 1.0001) }')
check "probabilities are one in all" same "$sum" 1
run caption "$data/scene01.png" --json
check "no choices, no field" is_success
check "no choices in JSON" [ "$(grep -c '"choices"' out)" -eq 0 ]

finish
