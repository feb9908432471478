#!/usr/bin/env bash
# Install into the build's prefix, then use the copy as a stranger would: the command, the library
# through pkg-config, the element by its plugin path. Nothing of the source tree is pointed to.
#
#     tests/install.sh BUILD-DIRECTORY    (configured with a prefix that may be overwritten)
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
build=$(cd "$1" && pwd)
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
photo=$top/pipelines/media/photo.jpg

prefix=$(meson introspect "$build" --buildoptions | /usr/bin/python3 -c '
import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
case $prefix in
"$build"/*) rm -rf "$prefix" ;;
*)
    echo "install: the prefix $prefix is not below $build; not touching it" >&2
    exit 1
    ;;
esac
meson install -C "$build" --no-rebuild --quiet
libdir=$(dirname "$(find "$prefix" -name 'libfastvlm.so' | head -n 1)")
export LD_LIBRARY_PATH=$libdir
unset FASTVLM_MODELS GST_PLUGIN_PATH
cd "$prefix"

echo "install: the command captions a picture with the installed model"
text=$(bin/fastvlm caption "$photo")
echo "    $text"
[ -n "$text" ]

echo "install: a program finds the library through pkg-config"
cat >consumer.c <<'C'
#include <fastvlm/fastvlm.h>
#include <stdio.h>
int main(void)
{
    g_autoptr(GError) error = NULL;
    FastvlmModelParams params = {.n_threads = 1};
    FastvlmModel *model = fastvlm_model_load("demo", &params, &error);
    puts(model != NULL ? "loaded" : error->message);
    g_clear_pointer(&model, fastvlm_model_unref);
    return error != NULL;
}
C
export PKG_CONFIG_PATH=$libdir/pkgconfig
# shellcheck disable=SC2046  # the flags are words
cc -std=gnu11 -Wall -Werror -o consumer consumer.c $(pkg-config --cflags --libs fastvlm)
./consumer

echo "install: GStreamer finds the element"
GST_REGISTRY=$prefix/registry.bin GST_PLUGIN_PATH=$libdir/gstreamer-1.0 \
    gst-inspect-1.0 fastvlmcaption >/dev/null
echo "install: all there"
