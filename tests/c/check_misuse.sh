#!/bin/sh
# The tests of wrong use have every function that the header declares: those of a request in the table of its states,
# the others beside it, and all of them among what a host does in callbacks.
# usage: check_misuse.sh HEADER FOLDER
set -eu

# Nothing about these can be wrong: any argument is right, at any time.
always_right='mh_strerror mh_version mh_loop_stop mh_loop_now mh_server_trim mh_req_trim mh_req_close'

# The functions whose parameters begin with $1.
declared() {
    sed -n 's/^MH_API .*[ *]\(mh_[a-z0-9_]*\)('"$1"'.*/\1/p' "$header" | tr '\n' ' '
}

# Whether one of the files calls the function $1.
check() {
    name=$1
    shift
    grep -q "\<$name(" "$@" && return
    echo "$name is not called in $*"
    status=1
}

header=$1
status=0
all=$(declared '')
of_requests=$(declared '\(const \)\{0,1\}mh_req \*')
[ -n "$all" ]
[ -n "$of_requests" ]
cd "$2"
for function in $all; do
    check "$function" misuse_acts.h test_misuse_callbacks.c
done
for function in $of_requests; do
    case "$always_right " in
    *"$function "*) ;;
    *) check "$function" misuse.h misuse_calls.h ;;
    esac
done
for function in $all; do
    case " $of_requests$always_right " in
    *" $function "*) ;;
    *) check "$function" test_misuse.c test_misuse_config.c test_misuse_loop.c ;;
    esac
done
exit $status
