#!/bin/sh
# Help, version, and command lines that make no sense: exit status 2 and one line that helps.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$SOURCE_ROOT/tests/cli/lib.sh"

commands="caption info bench tokenize preprocess dump cache"
[ "$HAVE_PULL" = no ] || commands="$commands pull"

run --version
check "--version" is_success
check "--version names the program and a number" grep -Eqx 'fastvlm [0-9]+\.[0-9]+\.[0-9]+' out
run --help
check "--help" is_success
for name in $commands; do
    check "--help lists $name" grep -q "^  $name " out
done

if [ "$HAVE_PULL" = no ]; then
    check "--help says that there is no pull" grep -q '^  pull .*not in this build' out
    failure "pull is not in this build" 1 "built without libcurl and libarchive" pull 0.5b
    check "and the line says what to do" grep -q 'name its directory with --model' err
fi

narrow() { [ "$(awk 'length > 80' out | wc -l)" -eq 0 ]; }
for name in $commands; do
    run "$name" --help
    check "$name --help" is_success
    check "$name --help begins with the usage" grep -q "^Usage: fastvlm $name" out
    check "$name --help fits 80 columns" narrow
    sed -n 's/^  \(--[a-z-]*\).*/\1/p' out | sort -u >"options.$name"
    check "$name has --json" grep -qx -- --json "options.$name"
done
for name in caption info bench dump; do
    for option in --model --precision --threads --no-cache; do
        check "$name has $option" grep -qx -- "$option" "options.$name"
    done
done
for option in --prompt --system-prompt --resolution --fit --max-tokens --temperature --top-p \
    --top-k --seed --choices; do
    check "caption has $option" grep -qx -- "$option" options.caption
done

# What is documented is what there is.
for name in $commands; do
    for option in $(cat "options.$name"); do
        check "the manual page has $option of $name" \
            grep -qF -- "$(echo "$option" | sed 's/-/\\-/g')" "$SOURCE_ROOT/docs/fastvlm.1"
        check "the completion has $option of $name" \
            grep -qF -- "$option" "$SOURCE_ROOT/docs/fastvlm.bash"
    done
done

failure "no command" 2 "no command given"
failure "an unknown command" 2 "describe: no such command" describe
failure "an unknown option before the command" 2 "--model: no such option" --model demo
for name in $commands; do
    failure "$name: an unknown option" 2 "--colour: no such option of $name" "$name" --colour
    check "$name: the line says where to look" grep -qF "see fastvlm $name --help" err
done
failure "caption: no image" 2 "no IMAGE given" caption
failure "a value is missing" 2 "--threads: expected a value" caption a.png --threads
failure "an option where a value should be" 2 "found --json" caption a.png --prompt --json
failure "a value for a flag" 2 "--json: takes no value" caption a.png --json=1
failure "not a number" 2 '--threads: found "two", expected a whole number' caption a.png --threads two
failure "a fraction for a whole number" 2 '--top-k: found "1.5"' caption a.png --top-k 1.5
failure "a grid of one session" 2 "--grid: measures to the first token" bench --grid --sessions 2
failure "a plot of no grid" 2 "--svg: is for --grid" bench --svg a.svg
failure "resolutions of no grid" 2 "--resolutions: is for --grid" bench --resolutions 64
failure "models of no grid" 2 'found "demo"' bench demo
for list in 100 0 64,64 512,256 64,8192; do
    failure "the grid $list" 2 "--resolutions: found" bench --grid --resolutions $list
done
failure "an empty grid" 2 "--resolutions: found nothing" bench --grid --resolutions=
failure "too many threads" 2 '--threads: found "257"' caption a.png --threads 257
failure "a negative number" 2 '--threads: found "-1"' caption a.png --threads -1
failure "a number beyond 64 bits" 2 '--seed: found "18446744073709551616"' \
    caption a.png --seed 18446744073709551616
failure "no multiple of 64" 2 '--resolution: found "100", expected a multiple of 64' \
    caption a.png --resolution 100
failure "a resolution too large" 2 '--resolution: found "4160"' caption a.png --resolution 4160
failure "an unknown fit" 2 '--fit: found "fill", expected one of pad, crop, stretch, auto' \
    caption a.png --fit fill
failure "an unknown precision" 2 '--precision: found "fp8"' caption a.png --precision fp8
failure "top-p above 1" 2 '--top-p: found "1.5", expected a number from 0 to 1' \
    caption a.png --top-p 1.5
failure "a temperature that is no number" 2 '--temperature: found "nan"' \
    caption a.png --temperature nan
failure "a temperature with a comma" 2 '--temperature: found "0,5"' caption a.png --temperature=0,5
failure "no tokens" 2 '--max-tokens: found "0"' caption a.png --max-tokens 0
failure "an empty number" 2 '--max-tokens: found ""' caption a.png --max-tokens ""
failure "an empty model" 2 '--model: found ""' caption a.png --model=
failure "a prompt that is not UTF-8" 2 "--prompt: found" caption a.png --prompt "$(printf 'a\377b')"
failure "bench: an argument" 2 'found "photo.jpg", expected options only' bench photo.jpg
failure "info: an argument" 2 "name a model with --model" info demo
failure "tokenize: no directory" 2 "no DIR given" tokenize
failure "tokenize: no text" 2 "nothing to tokenize" tokenize dir
failure "tokenize: text and file" 2 'found "text" too much' tokenize dir text --jsonl file
failure "preprocess: no image" 2 "expected one IMAGE, found 0" preprocess --resolution 64 --output o
failure "preprocess: no resolution" 2 "--resolution R is missing" preprocess a.png --output o
failure "preprocess: no output" 2 "--output OUT.png is missing" preprocess a.png --resolution 64
failure "dump: two images" 2 "expected one IMAGE, found 2" dump a.png b.png --output o
failure "dump: no output" 2 "--output OUT.safetensors is missing" dump a.png
failure "dump: ids that are none" 2 '--prefix-ids: found "1,,2"' dump a.png --prefix-ids 1,,2
failure "dump: an id below 0" 2 '--suffix-ids: found "1,-2"' dump a.png --suffix-ids 1,-2
failure "dump: ids and a prompt" 2 "--prompt: makes no sense" \
    dump a.png --prefix-ids 1 --prompt hello --output o
failure "a line break in a name stays one line" 2 "a b: no such command" "a
b"

finish
