#!/bin/bash
# Fuzzes: builds the targets of tests/fuzz with clang, libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer in
# .build/fuzz, and runs each for a while, two at a time. Nothing is written into the repository: what a run learns stays
# in .build/fuzzing/NAME/corpus for the next, and what it finds in .build/fuzzing/NAME/found.
#
# usage: tools/fuzz.sh [NAME...]    (all targets, if none is named)
# environment: FUZZ_SECONDS (60, for each target)
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
build=.build/fuzz
work=.build/fuzzing
at_once=2

check_compiler() {
    local package=clang
    if ! echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' |
        clang -fsanitize=fuzzer,address,undefined -x c -o /dev/null - 2>/dev/null; then
        if version=$(clang -dumpversion 2>/dev/null); then
            package="libclang-rt-${version%%.*}-dev"
        fi
        echo "meinheld: there is no clang that can build with libFuzzer; please run, and try again:" >&2
        echo "$([ "$(id -u)" = 0 ] || echo 'sudo ')apt-get install $package" >&2
        exit 1
    fi
}

# The most bytes of an input for $1: what its seeds need and a little more, since short inputs run fast.
max_len() {
    case $1 in
    chunked | head) echo 512 ;;
    conn) echo 2048 ;;
    *) echo 1024 ;;
    esac
}

# Runs target $1. Prints what came of it; fails if that is a finding.
fuzz() {
    local name=$1 directory=$work/$1 status=0
    local program=$build/tests/fuzz/fuzz_$name seeds=tests/fuzz/corpus/$name
    mkdir -p "$directory/corpus" "$directory/found"
    touch "$directory/started"
    nice "$program" -max_total_time="$seconds" -max_len="$(max_len "$name")" -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 -dict=tests/fuzz/http.dict -artifact_prefix="$directory/found/" \
        "$directory/corpus" "$seeds" >"$directory/log" 2>&1 || status=$?
    if [ "$status" = 0 ]; then
        echo "$name: $(grep -o '^Done .*' "$directory/log")," \
            "$(grep -o 'cov: .* corp: [0-9]*' "$directory/log" | tail -n 1)"
        return
    fi
    [ "$status" != 72 ] || return 1 # interrupted
    # the part of the report that says what does not hold
    { grep -v '^INFO' "$directory/log" | grep -m 1 -A 12 -E 'does not hold|ERROR|runtime error|ALARM' ||
        tail -n 20 "$directory/log"; } | sed "s/^/$name: /"
    local found
    found=$(find "$directory/found" -type f -newer "$directory/started" | sort | head -n 1)
    echo "$name: FOUND something, all of the report is in $directory/log"
    [ -z "$found" ] || echo "$name: again:    $program $found"
    [ -z "$found" ] || echo "$name: to keep:  cp $found $seeds/found-WHAT"
    return 1
}

check_compiler
CC=clang tools/configure.sh "$build" -Dfuzz=true -Dpython=disabled -Dexamples=false -Db_sanitize=address,undefined \
    -Db_lundef=false -Dc_args=-fno-sanitize-recover=all -Dwerror="${WERROR:-false}"
"${NINJA:-.venv/bin/ninja}" --quiet -C "$build" fuzz # which is all of the list in tests/fuzz/meson.build

names=("$@")
if [ ${#names[@]} = 0 ]; then
    for program in "$build"/tests/fuzz/fuzz_*; do
        [ ! -f "$program" ] || names+=("${program##*/fuzz_}")
    done
fi
status=0
running=0
for name in "${names[@]}"; do
    if [ ! -x "$build/tests/fuzz/fuzz_$name" ]; then
        echo "meinheld: there is no fuzz target '$name'" >&2
        exit 1
    fi
done
echo "meinheld: fuzzing ${names[*]}, $seconds s each, $at_once at a time"
for name in "${names[@]}"; do
    if [ $running = $at_once ]; then
        wait -n || status=1
        running=$((running - 1))
    fi
    fuzz "$name" &
    running=$((running + 1))
done
while [ $running -gt 0 ]; do
    wait -n || status=1
    running=$((running - 1))
done
[ $status != 0 ] || echo "meinheld: nothing found (to keep what was learnt: tests/fuzz/README.md)"
exit $status
