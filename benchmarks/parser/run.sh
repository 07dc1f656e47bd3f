#!/bin/sh
# Builds and runs the parser benchmark. Needs a C compiler and Debian's libhttp-parser-dev.
# CC and CFLAGS may be set: "-O2 -flto" inlines across the files, -DMH_SCAN_PLAIN scans without vectors.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
src=$here/../../libmeinheld/src
if [ ! -e /usr/include/http_parser.h ]; then
    echo "http_parser is missing: apt-get install libhttp-parser-dev" >&2
    exit 1
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# shellcheck disable=SC2086 # CFLAGS is a list
${CC:-cc} -std=gnu11 ${CFLAGS:--O2} -I"$src" -o "$out/bench_parser" \
    "$here/bench_parser.c" "$src/parser.c" "$src/framing.c" -lhttp_parser
"$out/bench_parser"
