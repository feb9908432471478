# Completion of the fastvlm command for bash.
#
# SPDX-License-Identifier: LGPL-2.1-or-later

_fastvlm_options() {
    local model="--model --vision --head --precision --threads --no-cache --json --help"
    case $1 in
    caption)
        echo "$model --prompt --system-prompt --resolution --fit --max-tokens --temperature" \
            "--top-p --top-k --seed --choices"
        ;;
    info) echo "$model" ;;
    bench)
        echo "$model --resolution --prompt-tokens --decode-tokens --runs --sessions --grid" \
            "--resolutions --svg"
        ;;
    tokenize) echo "--jsonl --json --help" ;;
    cache) echo "list clear --json --help" ;;
    pull)
        echo "0.5b 1.5b 7b 0.5b-stage2 1.5b-stage2 7b-stage2 --to --accept-license --base-url" \
            "--sha256 --no-verify --retries --force --json --help"
        ;;
    preprocess) echo "--resolution --fit --output --json --help" ;;
    dump)
        echo "$model --resolution --fit --prompt --prefix-ids --suffix-ids --max-tokens --output"
        ;;
    *) echo "caption info bench tokenize preprocess dump cache pull --help --version" ;;
    esac
}

_fastvlm() {
    local word=${COMP_WORDS[COMP_CWORD]} command=
    [ "$COMP_CWORD" -gt 1 ] && command=${COMP_WORDS[1]}
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    --precision) mapfile -t COMPREPLY < <(compgen -W "auto f32 bf16 int8 int4" -- "$word") ;;
    --head) mapfile -t COMPREPLY < <(compgen -W "auto tied own" -- "$word") ;;
    --fit) mapfile -t COMPREPLY < <(compgen -W "pad crop stretch" -- "$word") ;;
    --model | --vision) mapfile -t COMPREPLY < <(compgen -W "demo" -- "$word"; compgen -d -- "$word") ;;
    --to) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
    --output | --jsonl | --svg) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    *)
        if [[ $word == -* || -z $command || $command == cache || $command == pull ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$(_fastvlm_options "$command")" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
        ;;
    esac
}

complete -o filenames -F _fastvlm fastvlm
