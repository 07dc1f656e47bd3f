#!/bin/bash
# Runs the Python tests on the installed package with every Python at hand: what `pip install .` makes for the oldest
# CPython is installed into all of them, which holds the stable ABI to its word; PyPy gets a build of its own. The last
# of them runs all tests, once: what make test does twice, in a pool of threads or on bodies that are still coming, it
# does on one Python. The others run a few files that meet all of what differs from Python to Python; the first as well
# as the last tests/frameworks too, as between these the frameworks' releases are those of a neighbour. What a browser
# shows depends on no Python: make test looks at that.
#
# environment: PYTHONS (default: pypy3 python3.9 python3.10 python3.12 python3.13; the last one's summary comes last;
# 3.11 is what CI runs make test by)
set -euo pipefail
cd "$(dirname "$0")/.."

work=.build/pythons
limit=1500 # seconds for the tests of one interpreter
# For all Pythons but the last: applications, greenlets, contexts, signals, threads, what is patched, and every name.
# Streams and files are left out, whose work is the C half's on every Python.
few=(hello wsgi environ continuation tasks locals patch msocket signals threads sync_served websocket names)

# Whether $1 can build extensions and make virtual environments; prints its version as 3.11, or pypy3.9.
identify() {
    "$1" -c '
import importlib.util as util, os, sys, sysconfig
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit(1)
if not getattr(util.find_spec("ensurepip"), "origin", None):
    sys.exit(1)
print("pypy" * (sys.implementation.name == "pypy") + "%d.%d" % sys.version_info[:2])
' 2>/dev/null
}

# All candidates for $1, of PATH and of pyenv, whose shims run only the versions that are switched on.
candidates() {
    command -v "$1" || true
    if command -v pyenv >/dev/null; then
        compgen -G "$(pyenv root)/versions/${1#python}.*/bin/python" || true
    fi
}

# Prints the first candidate for $1 that works.
find_python() {
    local python
    while read -r python; do
        if [ "$(identify "$python")" = "${1#python}" ]; then
            echo "$python"
            return
        fi
    done < <(candidates "$1")
}

# Tests with interpreter $1 in directory $2; the wheel is $3, or built from the tree if that is empty; the few if $4 is
# set, else all; with frameworks if $5 is.
run_tests() {
    local python=$1 directory=$2 wheel=$3 only_few=$4 frameworks=$5
    "$python" -m venv --clear "$directory/venv"
    local pip=("$directory/venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input)
    if [ -z "$wheel" ]; then
        "${pip[@]}" wheel --no-deps --wheel-dir "$directory" .
        wheel=$(echo "$directory"/*.whl)
    fi
    "${pip[@]}" install "${wheel}[test${frameworks:+,frameworks}]"
    local tests=(tests/py)
    if [ -n "$only_few" ]; then
        tests=("${few[@]/#/tests/py/test_}")
        tests=("${tests[@]/%/.py}")
    fi
    # What tests/frameworks does in a pool of threads has threads among its parameters.
    timeout "$limit" "$directory/venv/bin/python" -m pytest --quiet --numprocesses 2 --dist worksteal --once \
        "${tests[@]}" ${frameworks:+tests/frameworks} --ignore tests/frameworks/test_chat_page.py \
        -k 'not while_it_comes and not threads- and not threads]'
}

rm -rf "$work"
mkdir -p "$work"
names=() pythons=()
for name in ${PYTHONS:-pypy3 python3.9 python3.10 python3.12 python3.13}; do
    if [ "$name" = pypy3 ]; then
        python=$(command -v pypy3 || true)
        [ -n "$python" ] && identify "$python" >/dev/null || python=
    else
        python=$(find_python "$name")
    fi
    if [ -z "$python" ]; then
        echo "== $name: not here, or without its headers or venv"
        continue
    fi
    names+=("$name")
    pythons+=("$python")
done

status=0
shared= # the wheel of the oldest CPython
last=$((${#names[@]} - 1))
for ((i = 0; i <= last; i++)); do
    name=${names[i]} python=${pythons[i]} only_few=yes frameworks=
    if ((i == 0 || i == last)); then
        frameworks=yes
    fi
    ((i < last)) || only_few=
    echo "== $name: $("$python" -c 'import sys; print(sys.version)' | tr '\n' ' ')"
    directory=$work/$name
    if [ "$name" = pypy3 ]; then
        run_tests "$python" "$directory" '' "$only_few" "$frameworks" || status=1
    else
        run_tests "$python" "$directory" "$shared" "$only_few" "$frameworks" || status=1
        [ -n "$shared" ] || shared=$(compgen -G "$directory/*-abi3-*.whl" || true)
    fi
done
exit $status
