#!/usr/bin/env bash
# Caption a video file: every sample gets its words, however long that takes.
#
#     video -> fastvlmcaption mode=complete -> text_src -> WebVTT, SubRip
#     video's own picture and sound, untouched + SubRip -> Matroska with a text track
#
# Files appear under their names when they are whole; after an error or ^C there is none.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage()
{
    cat <<TEXT
usage: $0 VIDEO [OUT.srt] [OUT.vtt] [OUT.mkv] [PROPERTY=VALUE...]

Writes subtitles of a video file, and a copy of it with the subtitles as a text track. Without OUT:
all three, named like the video, in the current directory (VIDEO.captions.mkv). The copy has the
video's own picture and sound as they are; subtitles that it had are left out.

PROPERTY=VALUE: of fastvlmcaption, for example interval=2000000000 (nanoseconds between captions),
model-path=DIRECTORY, prompt="What is happening?".
TEXT
}

fail()
{
    echo "caption-file: $1" >&2
    exit "${2:-1}"
}

case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
'')
    usage >&2
    exit 2
    ;;
esac
input=$1
shift
[ -f "$input" ] && [ -r "$input" ] || fail "cannot read $input: name a video file"

srt='' vtt='' mkv='' properties=()
for argument; do
    case $argument in
    *=*) properties+=("$argument") ;;
    *.srt) srt=$argument ;;
    *.vtt) vtt=$argument ;;
    *.mkv) mkv=$argument ;;
    *) fail "$argument ends in none of .srt, .vtt, .mkv and is no PROPERTY=VALUE" 2 ;;
    esac
done
if [ -z "$srt$vtt$mkv" ]; then
    name=$(basename "$input")
    name=${name%.*}
    srt=./$name.srt vtt=./$name.vtt mkv=./$name.captions.mkv
fi
for output in "$srt" "$vtt" "$mkv"; do
    [ -n "$output" ] || continue
    [ ! "$output" -ef "$input" ] || fail "$output is the video itself: name another file"
    [ -d "$(dirname "$output")" ] || fail "cannot write $output: there is no directory for it"
    [ -w "$(dirname "$output")" ] || fail "cannot write $output: the directory is read-only"
done
prepare_fastvlm pipelines
if [ -n "$mkv" ] && ! command -v ffmpeg >/dev/null; then
    fail "there is no ffmpeg here, which joins video and subtitles: install it, or leave out $mkv"
fi

work=$(mktemp -d)
parts=()
trap 'rm -rf "$work" ${parts[@]+"${parts[@]}"}' EXIT
trap 'exit 130' INT TERM

# What gst-launch-1.0 -m says -> on a terminal one line that changes, elsewhere one every 10 %.
show_progress()
{
    local line percent last=-10
    while IFS= read -r line; do
        [[ $line == *': progress, percent=(int)'* ]] || continue
        percent=${line#*percent=(int)}
        percent=${percent%%,*}
        if [ -t 2 ]; then
            printf '\rcaption-file: %3d %%' "$percent" >&2
        elif [ "$percent" -ge $((last + 10)) ]; then
            last=$percent
            echo "caption-file: $percent %" >&2
        fi
    done
    if [ -t 2 ]; then
        printf '\r\033[K' >&2
    fi
}

# Nothing is linked straight to a file that waits for another: sinks are not to preroll together.
branches=()
for format in srt vtt; do
    encoder=srtenc
    [ "$format" = srt ] || encoder=webvttenc
    branches+=(texts. ! "$encoder" ! filesink "location=$work/text.$format" async=false)
done
if ! gst-launch-1.0 -m filesrc "location=$input" ! decodebin ! videoconvert \
    ! fastvlmcaption name=captions mode=complete ${properties[@]+"${properties[@]}"} \
    ! progressreport silent=true update-freq=1 format=time ! fakesink \
    captions.text_src ! tee name=texts "${branches[@]}" 2>"$work/errors" | show_progress; then
    reason=$(sed -n 's/^ERROR: from element [^ ]*: //p; s/^WARNING: erroneous pipeline: //p' \
        "$work/errors" | head -n 1)
    fail "$input: ${reason:-$(tail -n 1 "$work/errors")}"
fi
grep -q -e '-->' "$work/text.srt" ||
    fail "$input: not one caption: is there a video in it that is longer than nothing?"

# keep FILE OUTPUT
keep()
{
    parts+=("$2.part")
    if ! { cp "$1" "$2.part" && mv "$2.part" "$2"; } 2>"$work/errors"; then
        fail "cannot write $2: $(tail -n 1 "$work/errors")"
    fi
    echo "caption-file: wrote $2"
}
if [ -n "$mkv" ]; then
    ffmpeg -nostdin -v error -y -i "file:$input" -i "$work/text.srt" -map 0:v:0 -map '0:a?' -map 1 \
        -c copy -metadata:s:s:0 title=Captions -f matroska "$work/out.mkv" 2>"$work/errors" ||
        fail "cannot join $input and its subtitles: $(head -n 1 "$work/errors")"
fi
[ -z "$srt" ] || keep "$work/text.srt" "$srt"
[ -z "$vtt" ] || keep "$work/text.vtt" "$vtt"
[ -z "$mkv" ] || keep "$work/out.mkv" "$mkv"
