#!/bin/sh
# Measures which lines of libmeinheld/src the C tests run: a table by file, every line that none of them runs, and a page
# in .build/coverage/html. Ends with an error below 95 % of the lines. docs/testing.md says why the rest is not run.
set -eu
cd "$(dirname "$0")/.."

directory=.build/coverage
# Not optimised, so that each line is there to be counted.
CC=gcc tools/configure.sh "$directory" -Dpython=disabled -Dexamples=false --buildtype=debug -Db_coverage=true \
    -Dwerror="${WERROR:-false}"
find "$directory" -name '*.gcda' -delete # of earlier runs
.venv/bin/meson test -C "$directory" --print-errorlogs --suite c --suite fuzz
mkdir -p "$directory/html"
.venv/bin/gcovr --root . --object-directory "$directory" --filter libmeinheld/src/ --merge-mode-functions=separate \
    --exclude-noncode-lines --txt --txt-metric line --html-details "$directory/html/index.html" --fail-under-line 95
