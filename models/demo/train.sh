#!/bin/sh
# Make the demo model again, from nothing to the files beside this script:
#   test patterns -> tokenizer -> training -> export -> scores on held-out scenes
# Usage: train.sh WORKDIR [options of train.py]     (WORKDIR takes about 250 MB; can be started again)
# Needs Debian's python3-torch python3-numpy python3-pil python3-regex python3-gi
# gir1.2-gstreamer-1.0 gstreamer1.0-plugins-base fonts-dejavu-core.
# SPDX-License-Identifier: LGPL-2.1-or-later
set -eu
[ $# -ge 1 ] || { echo "usage: $0 WORKDIR [options of train.py]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
work=$1
shift
python=/usr/bin/python3
export PYTHONDONTWRITEBYTECODE=1
mkdir -p "$work"
[ -f "$work/patterns.npz" ] || "$python" "$here/patterns.py" "$work/patterns.npz"
[ -f "$work/run/checkpoint.pt" ] || "$python" "$here/tokenizer.py" "$work/patterns.npz" "$here"
"$python" "$here/train.py" "$work/run" --patterns "$work/patterns.npz" "$@"
"$python" "$here/export.py" "$work/run/checkpoint.pt" "$here"
"$python" "$here/evaluate.py" "$work/patterns.npz" --model "$here" --count 1000
