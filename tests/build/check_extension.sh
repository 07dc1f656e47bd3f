#!/bin/sh
# The extension exports its init function, CPython's or PyPy's, and keeps the library inside to itself.
# usage: check_extension.sh EXTENSION
set -eu

exports=$(nm --dynamic --defined-only --format=posix "$1" | cut -d' ' -f1)
case $exports in
PyInit__native | _cffi_pypyinit__native) ;;
*)
    echo "exported: $exports"
    exit 1
    ;;
esac
