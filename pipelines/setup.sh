#!/usr/bin/env bash
# Install the Debian packages that are missing.
#
#     pipelines/setup.sh build      what it takes to build and to run the demo
#     pipelines/setup.sh pipelines  and for windows, subtitles and common video files
#     pipelines/setup.sh tests      what it takes to build and to run the tests
#
# As root apt installs them; other users need sudo, and without it the missing packages are named.
# Where apt is not to be found nothing is installed, and the build itself says what it misses.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail

# The only list of packages there is.
build_packages=(
    gcc libc6-dev meson ninja-build pkg-config
    libglib2.0-dev libjansson-dev libopenblas-dev libpng-dev libjpeg62-turbo-dev
    libcurl4-openssl-dev ca-certificates libarchive-dev
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libpango1.0-dev
    gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
    fonts-dejavu-core
)
pipelines_packages=(
    gstreamer1.0-x gstreamer1.0-plugins-bad gstreamer1.0-libav
    ffmpeg libespeak-ng-dev espeak-ng-data
)
tests_packages=(
    g++ python3 gstreamer1.0-x gstreamer1.0-plugins-bad ffmpeg
    libespeak-ng-dev espeak-ng-data libgstrtspserver-1.0-dev gstreamer1.0-libav
)
# Their tests are skipped, and say so, where these are not to be had.
optional_packages=(
    clang-format-14 shellcheck libopenblas0-openmp libopenblas0-serial
    gir1.2-gstreamer-1.0 python3-gi openssl libspeechd-dev
    qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
)

# apt and dpkg want the system's directories, which a user's PATH or an empty one may lack.
export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin"

is_installed()
{
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_of()
{
    local package
    for package in "$@"; do
        is_installed "$package" || echo "$package"
    done
}

known_of()
{
    local package
    for package in "$@"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            echo "$package"
        else
            echo "setup: there is no package $package here; going on without it" >&2
        fi
    done
}

case ${1:-} in
build)
    needed=("${build_packages[@]}")
    optional=()
    ;;
pipelines)
    needed=("${build_packages[@]}" "${pipelines_packages[@]}")
    optional=()
    ;;
tests)
    needed=("${build_packages[@]}" "${tests_packages[@]}")
    optional=("${optional_packages[@]}")
    ;;
*)
    echo "usage: $0 build|pipelines|tests" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "setup: no apt here; the packages, by their names in Debian: ${needed[*]}" >&2
    exit 0
fi

mapfile -t missing < <(missing_of "${needed[@]}")
mapfile -t missing_optional < <(missing_of ${optional[@]+"${optional[@]}"})
if [ $((${#missing[@]} + ${#missing_optional[@]})) -eq 0 ]; then
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=(env)
elif command -v sudo >/dev/null; then
    as_root=(sudo)
    [ -t 0 ] || as_root=(sudo -n)
    as_root+=(env)
elif [ ${#missing[@]} -eq 0 ]; then
    echo "setup: not installed, their tests are skipped: ${missing_optional[*]}" >&2
    exit 0
else
    echo "setup: these packages are missing, and neither root nor sudo is at hand:" >&2
    echo "    apt-get install ${missing[*]}" >&2
    exit 1
fi

# Quiet but for what goes wrong. A machine that has just started may hold apt's lock for its upgrades.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt_get()
{
    "${as_root[@]}" DEBIAN_FRONTEND=noninteractive PATH="$PATH" LC_ALL=C.UTF-8 \
        apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" \
        </dev/null >"$log" 2>&1
}

if ! apt_get update; then
    tail -n 5 "$log" >&2
    echo "setup: apt-get update failed; trying with the lists at hand" >&2
fi
mapfile -t missing_optional < <(known_of ${missing_optional[@]+"${missing_optional[@]}"})
echo "Installing packages, which can take some minutes: ${missing[*]} ${missing_optional[*]}"
if ! apt_get install --no-install-recommends "${missing[@]}" \
    ${missing_optional[@]+"${missing_optional[@]}"}; then
    tail -n 20 "$log" >&2
    echo "setup: apt-get could not install them; by hand, as root:" >&2
    echo "    apt-get install ${missing[*]}" >&2
    exit 1
fi
