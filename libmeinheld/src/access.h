/* What is known of an exchange that has ended -> a line of the access log. Pure: writes into a
 * buffer of the caller's; only the time zone is the C library's.
 *
 * What a client sent is escaped so that it can neither end the line nor leave its quotes: control
 * bytes, '"', '\' and all from 0x7f on become \xHH in the combined format. In JSON they become
 * \u00HH, a quote and a backslash \" and \\: each byte is a character of ISO 8859-1 then, as it is
 * in a WSGI environ, so that the line is valid JSON and pure ASCII whatever came, and the bytes can
 * be had back. */
#ifndef MH_ACCESS_H
#define MH_ACCESS_H

#include <stddef.h>
#include <stdint.h>

#include "meinheld.h"

/* All strings have MH__SCAN_PAD (scan.h) readable bytes behind them. */
typedef struct mh__access {
    mh_str peer;  /* its address as text, at most 64 bytes; n == 0: none, on a unix socket */
    mh_str stamp; /* by mh__access_stamp, in the same format */
    mh_str line;  /* the request line, or what came of it; n == 0: nothing */
    mh_str method, protocol; /* two of its parts, with nothing to be escaped, at most 64 bytes each;
                                p == NULL: it was refused before it had any */
    mh_str target;
    mh_str host, referer, agent; /* p == NULL: not sent */
    int status;    /* 100 to 999, of the response, or what stands for the lack of one */
    int why;       /* MH_FINISH_* */
    uint64_t sent; /* bytes of the response's body */
    uint64_t taken_us;
} mh__access;

enum {
    MH__ACCESS_LONG = 16384, /* most bytes that a request line or target takes, escaped; what is
                                longer is cut and ends in "..." */
    MH__ACCESS_SHORT = 4096, /* the same for other values */
    MH__ACCESS_MOST = 32768, /* more than any line takes */
    MH__ACCESS_STAMP = 26    /* most bytes of a stamp */
};

/* Writes a line, its LF included, to buf, which has room for MH__ACCESS_MOST bytes. format is
 * MH_ACCESS_COMBINED or MH_ACCESS_JSON. Returns its length. */
size_t mh__access_write(char *buf, const mh__access *access, int format);

/* t (seconds since 1970) in local time, as format wants it, into buf (MH__ACCESS_STAMP bytes, not
 * terminated). Valid from 1970 to 9999. Returns its length. */
size_t mh__access_stamp(char *buf, int format, int64_t t);

#endif
