#!/bin/sh
# The shared library exports the functions that the header declares, all of them and nothing else.
# usage: check_exports.sh LIBRARY HEADER
set -eu

nm --dynamic --defined-only --format=posix "$1" | cut -d' ' -f1 | sort >exports.txt
sed -n 's/^MH_API .*[ *]\(mh_[a-z0-9_]*\)(.*/\1/p' "$2" | sort >declared.txt
[ -s declared.txt ]
diff declared.txt exports.txt
