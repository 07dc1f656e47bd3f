#!/bin/sh
# Makes sure of what the Makefile's targets stand on: a C compiler, Python with its headers, and a virtual environment
# in .venv with the named groups of requirements (tools/requirements.py).
#
# usage: tools/setup.sh GROUP...
# environment: CC, PYTHON (default: the newest of python3.13 to python3.10 and python3 that has all it takes)
#
# Does nothing, quickly, where all is there. What a distribution has to supply is named in one line for apt.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
made=$venv/made-with # its lines: this directory, the interpreter
missing=             # Debian packages

say() {
    printf 'meinheld: %s\n' "$*" >&2
}

# Whether $1 runs, and is a Python that the project works with.
suits() {
    "$1" -c '
import sys
sys.exit(sys.version_info < ((3, 9) if sys.implementation.name == "pypy" else (3, 10)))
' 2>/dev/null
}

# The Debian packages that Python $1 lacks, for extensions and for venv. The distribution's own python3 has its
# headers in python3-dev, its python3.12 in python3.12-dev.
lacks() {
    "$1" -c '
import importlib.util as util, os, sys, sysconfig
name = "%s%d.%d" % ("python", *sys.version_info[:2])
if sys.implementation.name == "pypy":
    name = "pypy3"
elif os.path.realpath("/usr/bin/python3") == os.path.realpath(sys.executable):
    name = "python3"
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print(name + "-dev")
if not getattr(util.find_spec("ensurepip"), "origin", None):
    print(name + "-venv")
'
}

check_compiler() {
    for cc in ${CC:+"$CC"} cc gcc clang; do
        # $cc unquoted: CC may be "ccache gcc". A compiler without the C library's headers is of no use.
        if printf '#include <stdio.h>\nint main(void) { return 0; }\n' |
            $cc -x c -o /dev/null - 2>/dev/null; then
            return
        fi
        [ -z "${CC:-}" ] || break
    done
    if [ -n "${CC:-}" ]; then
        say "the compiler CC='$CC' does not work"
        case $CC in
        clang*) missing="$missing ${CC%% *} libc6-dev" ;;
        *) missing="$missing gcc libc6-dev" ;;
        esac
    else
        say 'there is no working C compiler'
        missing="$missing gcc libc6-dev"
    fi
}

# Sets python to the first candidate that lacks nothing, else to the first that suits.
choose_python() {
    python=
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.10 python3}; do
        suits "$candidate" || continue
        if [ -z "$(lacks "$candidate")" ]; then
            python=$candidate
            return
        fi
        # The distribution's own is the one that apt can complete.
        [ -n "$python" ] && [ "$candidate" != python3 ] || python=$candidate
    done
    if [ -z "$python" ]; then
        say "there is no Python from 3.10 on${PYTHON:+ at PYTHON='$PYTHON'}"
        missing="$missing python3 python3-dev python3-venv"
    else
        say "$python can't build extensions or make virtual environments"
        for package in $(lacks "$python"); do
            missing="$missing $package"
        done
    fi
}

# Whether .venv was made here, by the interpreter that is asked for, which still works.
venv_stands() {
    [ -r "$made" ] || return 1
    { read -r made_in && read -r made_by; } <"$made"
    [ "$made_in" = "$PWD" ] && [ "${PYTHON:-$made_by}" = "$made_by" ] &&
        "$venv/bin/python" -c '' 2>/dev/null && [ -z "$(lacks "$venv/bin/python")" ]
}

# The build directories name the interpreter, so they go with it.
make_venv() {
    say "making $venv with $python ($("$python" -c 'import platform; print(platform.python_version())'))"
    rm -rf "$venv" .build
    "$python" -m venv "$venv"
    printf '%s\n%s\n' "$PWD" "$python" >"$made"
}

install_group() {
    stamp=$venv/has-$1
    [ ! -e "$stamp" ] || [ -n "$(find pyproject.toml -newer "$stamp")" ] || return 0
    say "installing into $venv what '$1' takes, from PyPI"
    "$venv/bin/python" tools/requirements.py "$1" >"$stamp.txt"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --requirement "$stamp.txt"
    touch "$stamp"
}

check_compiler
venv_stands || choose_python
if [ -n "$missing" ]; then
    sudo=$([ "$(id -u)" = 0 ] || echo 'sudo ')
    say 'please run, and try again:'
    echo "${sudo}apt-get install$missing" >&2
    exit 1
fi
venv_stands || make_venv
for group; do
    install_group "$group"
done
