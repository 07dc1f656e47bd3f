#!/bin/sh
# Runs on 64-bit ARM, by QEMU, the C tests that lean on no kernel: of the layers that scan bytes, which do it with NEON
# there, of buffers, and those on the kernel in memory; and all corpora. Where the compiler or QEMU is missing, says so.
set -eu
cd "$(dirname "$0")/.."

directory=.build/aarch64
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    if ! command -v "$tool" >/dev/null; then
        echo "meinheld: there is no $tool; please run, and try again:" >&2
        packages='gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user'
        echo "$([ "$(id -u)" = 0 ] || echo 'sudo ')apt-get install $packages" >&2
        exit 1
    fi
done
CC='' tools/configure.sh "$directory" --cross-file tools/aarch64.ini -Dpython=disabled -Dexamples=false \
    -Dwerror="${WERROR:-false}"
.venv/bin/meson test -C "$directory" --print-errorlogs --timeout-multiplier 4 \
    test_buf test_chunked test_faults test_framing test_head test_parser test_scan test_sessions test_target \
    test_wire_layers replay_chunked replay_conn replay_framing replay_head replay_parser
