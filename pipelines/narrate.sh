#!/usr/bin/env bash
# Hear what a camera or a video shows, as it happens.
#
#     pipelines/narrate.sh [SOURCE] [OPTION...]
#
#     SOURCE -> fastvlm-watch -> fastvlmspeechd, where a speech-dispatcher answers
#                             -> fastvlmspeak -> loudspeaker, where none does
#
# SOURCE is an rtsp:// address, a /dev/video device or a video file; without one it is the demo video.
# The newest sentence is said, none twice; an alert interrupts; a camera that is lost or back and a
# model that loads are told, once. Options are those of fastvlm-watch: --voice de, --speak-to FILE.wav
# to record instead, --speak-by espeak (or dispatcher) to have it said by that, --prompt TEXT, ...;
# --help lists them. Who speaks is said on standard error. The same goes to standard output as JSON.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
case ${1:-} in
'' | -*)
    # Options alone, and perhaps --cameras among them.
    case " $* " in
    *' --help '* | *' -h '* | *' --cameras'*) ;;
    *) set -- "$top/pipelines/media/demo.webm" "$@" ;;
    esac
    ;;
esac
prepare_fastvlm pipelines >&2
exec fastvlm-watch --speak "$@"
