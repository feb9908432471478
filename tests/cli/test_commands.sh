#!/bin/sh
# What the commands write when all is well, and how they stop when told to.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
. "$SOURCE_ROOT/tests/cli/lib.sh"

"$GOLDEN_TOOL" checkpoint speaking good --tokenizer "$SOURCE_ROOT/models/demo" || exit 1
"$GOLDEN_TOOL" checkpoint speaking mute || exit 1
"$GOLDEN_TOOL" picture 96 a.png && "$GOLDEN_TOOL" picture 200 b.png || exit 1
last_line=

same() { [ "$1" = "$2" ]; }

# --- caption ---
run caption a.png --model ./good --max-tokens 12
check "caption" is_success
check "caption writes text" [ -s out ]
cp out first
run caption a.png --model ./good --max-tokens 12 --json
check "caption --json" is_success
check "one object, one line" [ "$(wc -l <out)" -eq 1 ]
check "all keys are there" json image text tokens finish_reason confidence encode_ms prefill_ms \
    ttft_ms decode_ms total_ms
check "the text is the one streamed" same "$(json text)" "$(cat first)"
check "the image is the one named" same "$(json image)" a.png
check "no more tokens than asked for" [ "$(json tokens)" -le 12 ]
json confidence >confidence
check "the confidence is a probability" awk '!($1 > 0 && $1 <= 1) { exit 1 }' confidence
json encode_ms prefill_ms ttft_ms decode_ms total_ms >timings
check "the times add up" awk '!($1 > 0 && $2 > 0 && $3 >= $1 + $2 && $5 >= $3 && \
    $5 - $3 - $4 < 0.01 && $3 + $4 - $5 < 0.01) { exit 1 }' timings
run caption a.png --model ./good --max-tokens 1 --json
check "one token ends by length" same "$(json tokens finish_reason)" "1 length"
for threads in 1 2 5; do
    run caption a.png --model ./good --max-tokens 12 --threads $threads
    check "$threads threads say the same" cmp -s out first
done
run caption --model=./good --max-tokens=12 -- a.png
check "values behind =, and -- before images" cmp -s out first
run caption a.png --model ./good --max-tokens 3 --max-tokens 12
check "the last of an option wins" cmp -s out first

run caption a.png b.png --model ./good --max-tokens 12
check "two images" is_success
check "each answer is led by its file" same "$(head -n 1 out)" "a.png: $(head -n 1 first)"
run caption a.png nosuch.png b.png --model ./good --max-tokens 4 --json
check "a bad image among good ones" [ "$code" -eq 1 ]
check "is named" is_error_line nosuch.png
check "and the others are answered" same "$(json image | tr '\n' ' ')" "a.png b.png "
cp a.png "with blank.png" && cp a.png "$(printf 'not\377utf8.png')"
run caption "with blank.png" "$(printf 'not\377utf8.png')" --model ./good --max-tokens 4 --json
check "odd file names" is_success
check "make valid JSON" json image text

seeded() { run caption a.png --model ./good --temperature 1.5 --max-tokens 24 --seed "$1" --json; }
seeded 1 && json text >seed1
seeded 1 && json text >again
seeded 2 && json text >seed2
seeded 18446744073709551615 && check "the largest seed" is_success
check "same seed, same text" cmp -s seed1 again
check "another seed, another text" [ "$(cat seed1)" != "$(cat seed2)" ]
run caption a.png --model ./good --temperature 1.5 --top-k 1 --max-tokens 12
check "--top-k 1 is greedy" cmp -s out first
run caption a.png --model ./good --temperature 1.5 --top-p 0.000001 --max-tokens 12
check "a tiny --top-p is greedy" cmp -s out first
for fit in pad crop stretch; do
    run caption a.png --model ./good --fit $fit --resolution 128 --max-tokens 2
    check "--fit $fit" is_success
done
run caption a.png --model ./good --prompt "<|im_end|><image> Grüße, 世界" --system-prompt "" --max-tokens 2
check "special names and other scripts in a prompt" is_success
FASTVLM_MODELS="/nonexistent:$work"
export FASTVLM_MODELS
run caption a.png --model good --max-tokens 12
check "a model by its name" cmp -s out first
unset FASTVLM_MODELS
run caption nosuch.png --model ./good
check "no model is loaded for images that are not there" is_failure 1 nosuch.png

# --- tokenize ---
run tokenize ./good "Describe the image."
check "tokenize" is_success
check "ids on a line" grep -Eqx '[0-9]+( [0-9]+)*' out
ids=$(cat out)
run tokenize ./good "Describe the image." --json
check "tokenize --json" same "$(json ids)" "[$(echo "$ids" | tr ' ' ,)]"
printf '{"text":"Describe the image."}\r\n\n{"id": 7, "text":""}\n{"text":"a\\u0000b"}' >lines
run tokenize ./good --jsonl lines
check "tokenize --jsonl" is_success
check "a line a text, blank lines passed over" same "$(wc -l <out)" 3
check "the same ids" same "$(json ids | head -n 1)" "[$(echo "$ids" | tr ' ' ,)]"
check "no ids of no text" same "$(json ids | sed -n 2p)" "[]"
cp out first_ids
"$FASTVLM" tokenize ./good --jsonl - <lines >out
check "tokenize from standard input" cmp -s out first_ids
FASTVLM_MODELS="$SOURCE_ROOT/models"
export FASTVLM_MODELS
run tokenize demo "<|im_end|>"
unset FASTVLM_MODELS
check "the name of a special token is that token" grep -Eqx '[0-9]+' out
run tokenize ./good -- --model
check "a text that looks like an option" is_success

# --- preprocess ---
"$GOLDEN_TOOL" picture 128 c.png
run preprocess c.png --resolution 128 --output seen.png
check "preprocess" is_success
check "writes nothing else" [ ! -s out ]
check "a square of that size is left as it is" "$GOLDEN_TOOL" same-picture c.png seen.png 128
run preprocess a.png --resolution 192 --fit crop --output seen.png --json
check "preprocess --json" same "$(json output resolution fit)" "seen.png 192 crop"
check "has the size asked for" "$GOLDEN_TOOL" size seen.png 192

# --- dump ---
run dump a.png --model ./mute --resolution 128 --prefix-ids 1,2 --suffix-ids 3 --max-tokens 5 \
    --output numbers.safetensors
check "dump" is_success
check "writes nothing else" [ ! -s out ]
check "the tensors are there" "$GOLDEN_TOOL" shapes numbers.safetensors
cp numbers.safetensors one
run dump a.png --model ./mute --resolution 128 --prefix-ids 1,2 --suffix-ids 3 --max-tokens 5 \
    --threads 5 --output numbers.safetensors --json
check "5 threads write the same bytes" cmp -s numbers.safetensors one
check "dump --json" same "$(json prompt_tokens)" 7
run dump a.png --model ./good --max-tokens 200 --output numbers.safetensors --json
check "dump with a prompt" is_success
check "is never stopped" same "$(json tokens | tr -cd , | wc -c)" 199

# --- info ---
run info --model ./good
check "info" is_success
for row in model layout weights parameters picture encoder decoder vocabulary context precision \
    memory processor licence; do
    check "info has $row" grep -q "^$row  *[^ ]" out
done
run info --model ./good --json --threads 3
check "info --json" is_success
check "sizes" same "$(json layout vision.resolution vision.image_tokens threads)" "llava_qwen2 256 16 3"
check "all of it" json path parameters.total parameters.vision language.tokenizer_size \
    weights_bytes.f32 auto refused stored_dtypes cpu_tier blas licence precisions file_size_bytes
FASTVLM_TIER=scalar
export FASTVLM_TIER
run info --model ./good
check "info says why auto is f32" grep -q "auto: f32, because" out
unset FASTVLM_TIER

# --- bench ---
run bench --model ./mute --resolution 128 --prompt-tokens 20 --decode-tokens 4 --runs 3 --json \
    --precision bf16
check "bench --json" is_success
check "what was measured" same "$(json resolution prompt_tokens decode_tokens runs precision)" \
    "128 20 4 3 bf16"
check "where" json cpu_tier threads blas model
for figure in load_ms preprocess_ms encode_ms prefill_tok_s decode_tok_s ttft_ms peak_rss_mb; do
    json $figure.min $figure.median $figure.max >figure
    check "$figure: min, median, max" awk '!($1 > 0 && $1 <= $2 && $2 <= $3) { exit 1 }' figure
done
run bench --model ./good --runs 1 --decode-tokens 2
check "bench" is_success
check "a table" grep -Eq '^encode_ms( +[0-9.]+){3}$' out
run bench --model ./mute --resolution 128 --decode-tokens 8 --runs 2 --sessions 3 --json
check "bench --sessions" is_success
check "how many" same "$(json sessions runs)" "3 2"
for figure in load_ms total_tok_s captions_s peak_rss_mb; do
    json $figure.min $figure.median $figure.max >figure
    check "$figure: min, median, max" awk '!($1 > 0 && $1 <= $2 && $2 <= $3) { exit 1 }' figure
done

# A grid; the name of one model is hostile to XML.
mv mute 'm<&">ute'
run bench --grid ./good './m<&">ute' --resolutions 128,256 --runs 2 --json --svg grid.svg
check "bench --grid" is_success
check "each model at each resolution" same "$(json resolution | tr '\n' ' ')" "128 256 128 256 "
check "named" same "$(json model | sort -u | tr '\n' ' ')" './good ./m<&">ute '
json ttft_ms.min ttft_ms.median ttft_ms.max encode_ms.median prefill_ms.median >figure
check "times that fit together" \
    awk '!($4 > 0 && $5 > 0 && $1 <= $2 && $2 <= $3 && $3 >= $4 + $5) { exit 1 }' figure
check "how, and how large" json threads cpu_tier precision parameters prompt_tokens runs
check "the plot is XML, a line for each model, all its points" python3 -c '
import xml.etree.ElementTree as tree
nodes = list(tree.parse("grid.svg").iter())
words = [node.text or "" for node in nodes if node.tag.endswith("text")]
lines = [node.get("d") for node in nodes if node.get("fill") == "none"]
assert any(word.startswith("m<&\">ute: ") for word in words), words
assert "256" in words and len(lines) == 2, words
assert all(line.count("L") == 1 for line in lines), lines'
mv 'm<&">ute' mute
run bench --grid --model ./mute --resolutions 64 --runs 1 --svg one.svg
check "one model at one resolution" is_success
check "a table" grep -Eq '^mute +64( +[0-9.]+){6}$' out
ln -s /dev/full full # were it replaced, only the link would go
run bench --grid --model ./mute --resolutions 64 --runs 1 --svg full
check "a full disk for the plot" is_error_line "full: cannot be written"
check "what is no file stays what it is" [ -c full ]
failure "no place for the plot" 1 "none/grid.svg: cannot be written" \
    bench --grid --model ./mute --svg none/grid.svg
failure "one model of the grid is not there" 1 "./none" bench --grid ./mute ./none --svg left.svg
check "no plot then" [ ! -e left.svg ]
cp -r mute short && sed -i 's/\("max_position_embeddings": *\)[0-9]*/\164/' short/config.json
failure "a picture larger than the context" 2 "leave it out" bench --grid ./short --resolutions 64,512

# --- progress and signals ---
# Work that never ends by itself, so that a fast machine shows its progress too.
endless="bench --model ./good --runs 10000 --resolution 1024"
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    for term in xterm dumb; do
        TERM=$term script -qec "timeout --foreground -s INT 6 '$FASTVLM' $endless >out" seen-$term \
            >/dev/null
    done
    last_line="$endless, on a terminal"
    check "progress on a terminal" grep -q "measuring  \[" seen-xterm
    check "but not on standard output" [ ! -s out ]
    check "no progress on a dumb terminal" same "$(grep -c measuring seen-dumb)" 0
else
    skip "progress on a terminal" "script is not installed, or there are no pseudo-terminals"
fi

# stopped CODE: no result, no progress (there is no terminal), one line on standard error.
stopped() { [ "$code" -eq "$1" ] && [ ! -s out ] && is_error_line interrupted; }

# interrupt SIGNAL ARGUMENT...
interrupt() {
    signal=$1
    shift
    code=0
    timeout --preserve-status -k 60 -s "$signal" 2 "$FASTVLM" "$@" >out 2>err || code=$?
    last_line="fastvlm $*, SIG$signal after 2 s"
}
interrupt INT $endless
check "bench stops at SIGINT" stopped 130
interrupt TERM $endless
check "bench stops at SIGTERM" stopped 143
interrupt INT bench --grid ./good --runs 10000 --resolutions 1024 --svg part.svg
: >out # the line of names
check "bench --grid stops at SIGINT" stopped 130
check "and leaves no plot" [ -z "$(ls part.svg* 2>/dev/null)" ]
interrupt INT dump b.png --model ./good --resolution 4096 --max-tokens 25000 \
    --output part.safetensors
check "dump stops at SIGINT" stopped 130
check "and leaves no file" [ -z "$(ls part.safetensors* 2>/dev/null)" ]
# More pictures than any machine describes in that time; those that it did describe are on stdout.
pictures=$(yes b.png | head -n 200)
interrupt INT caption $pictures --model ./good --resolution 4096
described=$(wc -l <out)
: >out
check "caption stops at SIGINT" stopped 130
check "and not after all pictures" [ "$described" -lt 200 ]

finish
