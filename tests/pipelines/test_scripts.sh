#!/usr/bin/env bash
# The scripts in pipelines/ do what they say, with a finished build.
#
#     test_scripts.sh SOURCE-ROOT BUILD-DIRECTORY
#
# Speaks TAP.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -uo pipefail
root=$(cd "$1" && pwd)
FASTVLM_BUILD=$(cd "$2" && pwd)
export FASTVLM_BUILD
export GST_REGISTRY=$FASTVLM_BUILD/scripts.registry
unset DISPLAY WAYLAND_DISPLAY
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 1
media=$root/pipelines/media

n=0
failed=0
# check NAME COMMAND...
check()
{
    local name=$1
    shift
    n=$((n + 1))
    if "$@" >output 2>&1 </dev/null; then
        echo "ok $n $name"
    else
        echo "not ok $n $name"
        sed 's/^/# /' output
        failed=1
    fi
}
fails() { ! "$@"; }
lines_at_least() { [ "$(grep -c -e "$2" "$3")" -ge "$1" ]; }

# Messages as gst-launch-1.0 -m prints them, with every kind of escape.
cat >messages <<'TEXT'
Setting pipeline to PLAYING ...
Got message #9 from element "c" (element): fastvlm-caption, type=(string)partial, text=(string)"A", prompt=(string)p, stream-time=(guint64)0;
Got message #10 from element "c" (element): fastvlm-caption, type=(string)final, text=(string)"A\ \"red\"\ caf\303\251\,\012\\b\;\ -", prompt=(string)"text\=\(string\)no", pts=(guint64)1, stream-time=(guint64)65999999999;
Got message #11 from element "c" (element): fastvlm-caption, type=(string)final, text=(string)42, prompt=(string)p, stream-time=(guint64)5000000000;
Got message #12 from element "c" (element): fastvlm-caption, type=(string)final, text=(string)"", prompt=(string)p, stream-time=(guint64)600000000000;
TEXT
printf '%s\n' '[1:05] A "red" café, \b; -' '[0:05] 42' '[10:00] ' >expected
"$root/pipelines/print-captions.sh" <messages >captions
check "print-captions.sh undoes GStreamer's escapes" diff expected captions

"$root/pipelines/demo.sh" >demo.out 2>demo.err </dev/null
check "demo.sh ends well" [ $? -eq 0 ]
check "demo.sh complains of nothing" [ ! -s demo.err ]
check "demo.sh prints twenty captions or more" lines_at_least 20 '^\[0:[0-3][0-9]\] [A-Z]' demo.out
check "demo.sh sees the red circle" grep -q '^\[0:.*red circle' demo.out
check "demo.sh reaches the end of the video" grep -q '^\[0:2[5-9]\]' demo.out
check "demo.sh says what is next" grep -q 'fastvlm caption' demo.out

check "caption-file.sh writes all three" \
    "$root/pipelines/caption-file.sh" "$media/demo.webm" interval=3000000000
cp output said
check "caption-file.sh shows progress" grep -q '^caption-file: 100 %' said
check "WebVTT has a header" grep -q '^WEBVTT' demo.vtt
check "WebVTT has ten subtitles" lines_at_least 10 '-->' demo.vtt
check "SubRip has ten subtitles" lines_at_least 10 '-->' demo.srt
tracks()
{
    ffprobe -v error -show_entries stream=codec_name -of csv=p=0 "$1" | tr '\n' ' '
}
check "Matroska has the video as it was and a text track" \
    [ "$(tracks demo.captions.mkv)" = 'vp8 subrip ' ]
ffmpeg -nostdin -v error -i demo.captions.mkv -map 0:s -f srt track.srt
check "the text track is the SubRip file" diff -w demo.srt track.srt
check "caption-file.sh leaves nothing else behind" \
    [ "$(echo demo.*)" = 'demo.captions.mkv demo.err demo.out demo.srt demo.vtt' ]
ffmpeg -nostdin -v error -f lavfi -i sine=duration=4 -i "$media/demo.webm" -c:v copy -t 4 "it's.mkv"
check "caption-file.sh keeps the sound, whatever the file is called" \
    "$root/pipelines/caption-file.sh" "it's.mkv" "so it is.mkv"
tracks "so it is.mkv" >said
check "sound and text are there" grep -q '^vp8 .* subrip $' said
# refuses STATUS PATTERN ARGUMENT...: in one line
refuses()
{
    local status=$1 pattern=$2
    shift 2
    "$root/pipelines/caption-file.sh" "$@" >said 2>&1
    [ $? -eq "$status" ] && [ "$(wc -l <said)" -eq 1 ] && grep -q -e "^caption-file: .*$pattern" said
}
check "caption-file.sh refuses other files" refuses 2 'a.x ends in' "$media/demo.webm" a.x
check "caption-file.sh names a missing file" refuses 1 'cannot read nothing' nothing.webm a.vtt
check "caption-file.sh never writes over the video" refuses 1 'the video itself' "it's.mkv" "./it's.mkv"
check "caption-file.sh says what the element says" \
    refuses 1 '/nowhere' "$media/demo.webm" b.vtt model-path=/nowhere
check "caption-file.sh names a property that is none" \
    refuses 1 'no property "foo"' "$media/demo.webm" b.vtt foo=bar
check "caption-file.sh refuses what is no video" refuses 1 'README' "$root/README.md" b.vtt
check "nothing was written then" [ ! -e b.vtt ]
check "caption-file.sh has --help" "$root/pipelines/caption-file.sh" --help

# A file stands in for a camera; nothing but JSON is on standard output.
"$root/pipelines/watch-camera.sh" "film=$media/demo.webm" --interval 4 >watch.json 2>watch.err
check "watch-camera.sh ends well with the file" [ $? -eq 0 ]
check "watch-camera.sh complains of nothing" [ ! -s watch.err ]
check "watch-camera.sh writes JSON alone" /usr/bin/python3 -c '
import json
lines = [json.loads(line) for line in open("watch.json")]
assert all(line["camera"] == "film" for line in lines)
assert sum(line["type"] == "caption" for line in lines) >= 4, lines
assert lines[-1]["state"] == "ended", lines[-1]'
check "many-cameras.sh watches several" "$root/pipelines/many-cameras.sh" "a=$media/demo.webm" \
    "b=$media/demo.webm" --interval 9
cp output said
check "many-cameras.sh names the first" grep -q '"caption","camera":"a"' said
check "many-cameras.sh names the second" grep -q '"caption","camera":"b"' said
if [ -e "$FASTVLM_BUILD/gst-speak/libgstfastvlmspeak.so" ]; then
    check "narrate.sh records what it says" "$root/pipelines/narrate.sh" --speak-to said.wav --interval 2
    check "there is half a minute of it" [ "$(stat -c %s said.wav)" -gt $((22050 * 2 * 25)) ]
fi
# Who speaks: speech-dispatcher where one answers, here one that only writes it down.
if [ -e "$FASTVLM_BUILD/gst-speechd/libgstfastvlmspeechd.so" ]; then
    /usr/bin/python3 -B "$root/tests/pipelines/ssip_server.py" ssip heard &
    server=$!
    for _ in $(seq 100); do [ -S ssip ] || sleep 0.1; done
    gst-launch-1.0 -q videotestsrc num-buffers=50 ! video/x-raw,framerate=10/1 ! jpegenc \
        ! matroskamux ! filesink location=short.mkv
    narrate() {
        SPEECHD_ADDRESS=unix_socket:$1 "$root/pipelines/narrate.sh" short.mkv "${@:2}" \
            >said.json 2>said
    }
    check "narrate.sh is heard by speech-dispatcher" narrate "$PWD/ssip"
    check "narrate.sh says that it is" grep -qx 'fastvlm-watch: speech-dispatcher speaks' said
    check "and what it said arrived" grep -q '^PROGRESS: .*[a-z]' heard
    check "narrate.sh can be told to" narrate "$PWD/ssip" --speak-by dispatcher
    if [ -e "$FASTVLM_BUILD/gst-speak/libgstfastvlmspeak.so" ]; then
        : >heard
        check "narrate.sh can be told not to" narrate "$PWD/ssip" --speak-by espeak
        check "then espeak-ng speaks" grep -qx 'fastvlm-watch: espeak-ng speaks' said
        check "and nothing arrives" [ ! -s heard ]
        check "narrate.sh finds espeak-ng by itself" narrate /nowhere/ssip
        check "and says so" grep -qx 'fastvlm-watch: espeak-ng speaks' said
    fi
    kill "$server"
    check "narrate.sh says where nobody answers" fails narrate /nowhere/ssip --speak-by dispatcher
    check "and what to do" grep -q 'no speech-dispatcher that answers: start it' said
    check "narrate.sh knows who can write files" \
        fails "$root/pipelines/narrate.sh" --speak-by dispatcher --speak-to x.wav
fi
for script in watch-camera many-cameras narrate; do
    check "$script.sh has --help" "$root/pipelines/$script.sh" --help
    check "$script.sh names a missing file" fails "$root/pipelines/$script.sh" nothing.webm
done

check "show.sh says that there is no screen" fails "$root/pipelines/show.sh"
VIDEO_SINK=fakevideosink check "show.sh shows the demo video" "$root/pipelines/show.sh"
VIDEO_SINK=fakevideosink check "show.sh names a missing file" fails "$root/pipelines/show.sh" nothing.webm

# videorate takes caps of any feature, which nothing can be added to.
check "overlay gets along with whoever takes anything" env G_DEBUG=fatal-criticals \
    GST_PLUGIN_PATH="$FASTVLM_BUILD/gst-plugin" FASTVLM_MODELS="$root/models" \
    gst-launch-1.0 -q videotestsrc num-buffers=5 ! fastvlmcaption overlay=true ! videorate \
    ! video/x-raw,framerate=5/1 ! videoconvert ! fakesink

echo "1..$n"
exit $failed
