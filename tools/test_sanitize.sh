#!/bin/sh
# Runs the C tests under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer, built by gcc and by clang.
# The Python tests are not among them: switching greenlets moves stacks, which AddressSanitizer takes for errors.
set -eu
cd "$(dirname "$0")/.."

status=0
for compiler in gcc clang; do
    directory=.build/sanitize-$compiler
    if ! echo 'int main(void) { return 0; }' |
        "$compiler" -fsanitize=address,undefined -x c -o /dev/null - 2>/dev/null; then
        package=$compiler
        if version=$(clang -dumpversion 2>/dev/null) && [ "$compiler" = clang ]; then
            package="libclang-rt-${version%%.*}-dev"
        fi
        echo "meinheld: $compiler can't build with sanitizers; please run, and try again:" >&2
        echo "$([ "$(id -u)" = 0 ] || echo 'sudo ')apt-get install $package" >&2
        exit 1
    fi
    CC=$compiler tools/configure.sh "$directory" -Dpython=disabled -Dwerror="${WERROR:-false}" \
        -Db_sanitize=address,undefined -Db_lundef=false -Dc_args=-fno-sanitize-recover=all
    .venv/bin/meson test -C "$directory" --print-errorlogs || status=1
done
exit $status
