#!/bin/sh
# What is installed is what a C program needs: the example builds with no more than pkg-config's word, against the
# shared library and against the static one, and takes both of them.
# usage: check_install.sh BUILD-DIRECTORY SOURCE COMPILER... -- MESON...
set -eu

build=$1
source=$2
shift 2
compiler=
while [ "$1" != -- ]; do
    compiler="$compiler $1"
    shift
done
shift

command -v pkg-config >/dev/null || exit 77 # meson: skipped

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
"$@" install -C "$build" --no-rebuild --quiet --destdir "$root/stage" --tags devel,runtime

pc=$(find "$root/stage" -name libmeinheld.pc)
export PKG_CONFIG_LIBDIR="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$root/stage"
$compiler "$source" -o "$root/shared" $(pkg-config --cflags --libs libmeinheld)
$compiler "$source" -o "$root/static" $(pkg-config --cflags libmeinheld) \
    "$(find "$root/stage" -name libmeinheld.a)" -pthread

library=$(find "$root/stage" -name 'libmeinheld.so')
LD_LIBRARY_PATH=${library%/*} "$root/shared" 2>&1 | grep '^usage:'
"$root/static" 2>&1 | grep '^usage:'
