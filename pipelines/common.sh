# What the scripts beside this file share: a build, and an environment in which GStreamer and the
# fastvlm command find it. To be sourced by bash, from a script in this directory.
#
#     missing packages -> setup.sh     sources -> build/     -> GST_PLUGIN_PATH, FASTVLM_MODELS, PATH
#
# FASTVLM_BUILD: a finished build directory to use instead; then nothing is installed or built.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}"

# Any old directory will do: one that cannot be configured again is made anew.
configure_build()
{
    # Where Debian has its libraries; meson by itself knows only with dpkg-dev installed.
    local multiarch
    multiarch=$(gcc -print-multiarch 2>/dev/null || true)
    local options=(-Dgst=enabled -Dtools=enabled -Dtests=false
        "--libdir=lib${multiarch:+/$multiarch}")

    if [ -f "$1/build.ninja" ] && meson setup --reconfigure "$1" "$top" "${options[@]}"; then
        return
    fi
    [ ! -d "$1/meson-private" ] || rm -rf "$1"
    meson setup "$1" "$top" "${options[@]}"
}

# Quiet but for what goes wrong.
build_fastvlm()
{
    local build=$1 log=$1.log

    if ! { configure_build "$build" && ninja -C "$build"; } >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        echo "build: could not build into $build; $log has all of it" >&2
        return 1
    fi
    rm -f "$log"
}

# prepare_fastvlm SET: the set of packages, see setup.sh
prepare_fastvlm()
{
    local build=${FASTVLM_BUILD:-$top/build}

    if [ -z "${FASTVLM_BUILD:-}" ]; then
        "$top/pipelines/setup.sh" "$1"
        echo "Building into $build ..."
        build_fastvlm "$build"
    fi
    GST_PLUGIN_PATH="$build/gst-plugin:$build/gst-speak:$build/gst-speechd${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}"
    export GST_PLUGIN_PATH
    export FASTVLM_MODELS="$top/models${FASTVLM_MODELS:+:$FASTVLM_MODELS}"
    export PATH="$build/engine/tools:$build/watch:$PATH"
}
