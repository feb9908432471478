#!/bin/sh
# What can go wrong with files: exit status 1 and one line that names the file and the remedy.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$SOURCE_ROOT/tests/cli/lib.sh"

"$GOLDEN_TOOL" checkpoint speaking good --tokenizer "$SOURCE_ROOT/models/demo" || exit 1
"$GOLDEN_TOOL" picture 96 a.png || exit 1
last_line=

# broken NAME: a copy of the good checkpoint in the directory broken.
broken() {
    rm -rf broken
    cp -r good broken
}

failure "no model of that name" 1 "nosuchmodel" caption a.png --model nosuchmodel
failure "no such directory" 1 "no/such/dir" caption a.png --model no/such/dir
failure "a file for a model" 1 "a.png" caption a.png --model ./a.png
mkdir empty
failure "an empty directory" 1 "empty/config.json" caption a.png --model ./empty
broken && echo '{"hidden_size": ' >broken/config.json
failure "a config that is no JSON" 1 "broken/config.json" caption a.png --model ./broken
broken && echo '{}' >broken/config.json
failure "a config with nothing in it" 1 "broken/config.json" caption a.png --model ./broken
broken && rm broken/model.safetensors
failure "no weights" 1 "model.safetensors" caption a.png --model ./broken
broken && head -c 100000 good/model.safetensors >broken/model.safetensors
failure "weights cut short" 1 "broken/model.safetensors" caption a.png --model ./broken
broken && : >broken/model.safetensors
failure "empty weights" 1 "broken/model.safetensors" caption a.png --model ./broken
broken && echo "version https://git-lfs.github.com/spec/v1" >broken/model.safetensors
failure "a pointer for weights" 1 "broken/model.safetensors" caption a.png --model ./broken
broken && rm broken/vocab.json
failure "no vocabulary" 1 "vocab.json" caption a.png --model ./broken
broken && echo '[1]' >broken/vocab.json
failure "a vocabulary that is none" 1 "broken/vocab.json" caption a.png --model ./broken
for name in info bench; do
    failure "$name: no such directory" 1 "no/such/dir" "$name" --model no/such/dir
done
failure "dump: no such directory" 1 "no/such/dir" \
    dump a.png --model no/such/dir --prefix-ids 1 --output out.safetensors
failure "tokenize: no such directory" 1 "no/such/dir: no such directory or model, expected" tokenize no/such/dir text
failure "tokenize: an empty directory" 1 "empty" tokenize empty text
for choices in "" "yes" "yes," "yes,no,yes"; do
    failure "choices \"$choices\"" 2 "--choices" caption a.png --model ./good --choices "$choices"
done

failure "no such image" 1 "nosuch.png" caption nosuch.png --model ./good
failure "no name of an image" 1 '"": expected the name of a PNG or JPEG file' \
    caption "" --model ./good
failure "a directory for an image" 1 "empty" caption empty --model ./good
: >nothing.png
failure "an empty image" 1 "nothing.png" caption nothing.png --model ./good
echo "a cat on a mat" >text.png
failure "text for an image" 1 "text.png" caption text.png --model ./good
head -c 300 a.png >short.png
failure "an image cut short" 1 "short.png" caption short.png --model ./good
printf 'GIF89a' >moving.gif
failure "a kind of image that is not read" 1 "moving.gif" caption moving.gif --model ./good
for name in preprocess dump; do
    failure "$name: no such image" 1 "nosuch.png" \
        $name nosuch.png --resolution 64 --output made
    check "$name: and no file" [ ! -e made ]
done
FASTVLM_TIER=avx3
export FASTVLM_TIER
failure "no such tier" 1 'FASTVLM_TIER is "avx3": expected one of scalar, avx2,' caption a.png --model ./good
FASTVLM_TIER=
run caption a.png --model ./good
check "an empty name of a tier is none" is_success
unset FASTVLM_TIER
FASTVLM_BLAS=mkl
export FASTVLM_BLAS
failure "no such BLAS" 1 'FASTVLM_BLAS is "mkl": expected openblas' caption a.png --model ./good
unset FASTVLM_BLAS
if mkfifo pipe; then
    code=0
    timeout -k 20 -s TERM 2 "$FASTVLM" caption pipe --model ./good >out 2>err || code=$?
    last_line="fastvlm caption pipe"
    check "a pipe that nobody writes to: one signal ends it" [ "$code" -eq 124 ]
    check "and is told of" is_error_line "interrupted"
fi
if [ "$(id -u)" -ne 0 ]; then
    cp a.png locked.png && chmod 0 locked.png
    failure "an image that may not be read" 1 "locked.png" caption locked.png --model ./good
else
    skip "an image that may not be read" "root may read everything"
fi

"$GOLDEN_TOOL" checkpoint speaking mute
failure "no tokenizer" 1 "no tokenizer files there" caption a.png --model ./mute
failure "a prompt without tokenizer" 1 "mute" dump a.png --model ./mute --output made
failure "an id past the vocabulary" 1 "--prefix-ids or --suffix-ids: token id 100000" \
    dump a.png --model ./good --prefix-ids 100000 --output made
check "and no file" [ ! -e made ]
failure "bench: a prompt without room for the picture" 2 "the picture alone takes 16" \
    bench --model ./good --resolution 256 --prompt-tokens 16
failure "bench: an answer longer than the context" 2 "--decode-tokens" \
    bench --model ./good --resolution 64 --decode-tokens 1000000 --runs 1

# Outputs.
for name in "preprocess a.png" "dump a.png --model ./good --prefix-ids 1 --max-tokens 2"; do
    set -- $name --resolution 64 --output
    failure "$1: no such directory for the output" 1 "no/such/dir/o: cannot be written" "$@" no/such/dir/o
    failure "$1: a directory for the output" 1 "empty: cannot be written" "$@" empty
    failure "$1: a full disk" 1 "/dev/full" "$@" /dev/full
    if [ -c /dev/null ]; then
        run "$@" /dev/null
        check "$1: /dev/null" is_success
        check "$1: /dev/null stays what it is" [ -c /dev/null ]
    else
        skip "$1: /dev/null stays what it is" "/dev/null is a file here"
    fi
    echo old >target && ln -sf target link
    run "$@" link
    check "$1: through a link" is_success
    check "$1: a link stays a link" [ -L link ]
    check "$1: and its target is new" [ "$(wc -c <target)" -gt 10 ]
    check "$1: nothing is left over" [ -z "$(ls target.* link.* made.* 2>/dev/null)" ]
    umask 027
    rm -f made && run "$@" made
    check "$1: the file's mode follows the umask" [ "$(stat -c %a made)" = 640 ]
    umask 022
    rm -f made
done
echo old >kept.png
failure "preprocess: a broken image" 1 "short.png" preprocess short.png --resolution 64 --output kept.png
check "leaves what was there" [ "$(cat kept.png)" = old ]
for line in "caption a.png --model ./good" "info --model ./good" "--help" "caption --help" \
    "tokenize ./good text" "bench --model ./good --runs 1 --resolution 64"; do
    code=0
    "$FASTVLM" $line >/dev/full 2>err || code=$?
    last_line="fastvlm $line >/dev/full"
    : >out
    check "a full disk under: $line" is_failure 1 "standard output"
done

# JSON lines.
printf '{"text":"a"}\n\n{"text":1}\n' >lines
run tokenize ./good --jsonl lines
check "tokenize: a line without text" is_error_line 'lines:3: no string "text"'
check "the lines before it are done" [ "$(wc -l <out)" -eq 1 ]
echo '{"text": "a"' >lines
failure "tokenize: a line that is no JSON" 1 "lines:1" tokenize ./good --jsonl lines
printf '{"text":"a\377"}\n' >lines
failure "tokenize: a line that is not UTF-8" 1 "lines:1" tokenize ./good --jsonl lines
failure "tokenize: no such file" 1 "nosuch.jsonl" tokenize ./good --jsonl nosuch.jsonl
failure "tokenize: a directory" 1 "empty" tokenize ./good --jsonl empty

finish
