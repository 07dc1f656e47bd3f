/* What the library says about itself: names of its result codes, and its version. */
#include "meinheld.h"

const char *mh_strerror(int code) {
    switch (code) {
    case MH_OK:
        return "success";
    case MH_FULL:
        return "output is at its high-water mark";
    case MH_EAGAIN:
        return "nothing yet";
    case MH_EOS:
        return "end of the request body";
    case MH_EINVAL:
        return "invalid argument";
    case MH_ESTATE:
        return "not allowed in this state";
    case MH_ECLOSED:
        return "the connection has gone";
    case MH_ENOMEM:
        return "out of memory";
    case MH_EBODY:
        return "malformed or incomplete request body";
    case MH_ETOOBIG:
        return "request body too large";
    case MH_EFORK:
        return "the loop was made by another process";
    case MH_EINTR:
        return "interrupted by a signal";
    case MH_ESYS:
        return "a system call failed";
    case MH_ENOENT:
        return "no such watch, timer or field";
    case MH_ERANGE:
        return "more bytes than the declared length";
    default:
        return "unknown code";
    }
}

const char *mh_version(void) { return MH_VERSION; }
