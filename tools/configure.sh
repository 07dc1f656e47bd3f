#!/bin/sh
# Configures a build directory, unless it was configured with the same compiler and arguments already. Later changes
# of meson.build are ninja's business.
#
# usage: tools/configure.sh DIRECTORY ARGUMENT...
set -eu
cd "$(dirname "$0")/.."

directory=$1
shift
wanted="CC=${CC:-} $*"
stamp=$directory/configured-with
[ -e "$directory/build.ninja" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit

rm -rf "$directory"
mkdir -p "$directory"
if ! .venv/bin/meson setup "$directory" "$@" >"$directory.log" 2>&1; then
    cat "$directory.log" >&2
    exit 1
fi
printf '%s\n' "$wanted" >"$stamp"
