/* What a parsed head means: the body's framing, the target's form, Host, Connection, Expect. Every
 * strictness rule lives here or in parser.c, chunked.c. Pure. Rows are those of docs/http.md. */
#ifndef MH_FRAMING_H
#define MH_FRAMING_H

#include <stdbool.h>
#include <stdint.h>

#include "parser.h"

typedef enum mh__body { MH__BODY_NONE, MH__BODY_LENGTH, MH__BODY_CHUNKED } mh__body;

typedef struct mh__framing {
    mh__body body;
    uint64_t length; /* of MH__BODY_LENGTH, else 0 */
    bool keep_alive; /* what the client asked for (row 27) */
    bool expect;     /* it waits for 100 Continue: 1.1, and a body announced (row 29) */
    bool absolute;   /* host comes from the target, not from Host */
    bool upgrade;    /* Connection names Upgrade, and Upgrade is there, in 1.1 */
    mh__span path;  /* without the query; "*"; empty for CONNECT; "/" for an absolute-form without a
                       path  has n == 0 and is the caller's to supply (RFC 9110 4.2.3) */
    mh__span query; /* what follows '?' */
    bool has_query;
    mh__span host; /* the authority in force, may be empty */
} mh__framing;

/* Decides everything above for the head parsed from p. accept_connect: authority-form is the
 * caller's. Returns 0, or the status that refuses the request: 400, 417, 501. (413 is the caller's:
 * it knows max_body.) A refused request is always answered with Connection: close. */
int mh__frame(mh__framing *f, const char *p, const mh__head *head, const mh__field *fields,
              bool accept_connect);

/* The one function that reads a number off the wire: p[0..n) all digits of base 10 or 16, at most
 * max_digits of them. Returns false if empty, malformed, too long or over UINT64_MAX. */
bool mh__wire_number(const char *p, size_t n, unsigned base, unsigned max_digits, uint64_t *out);

#endif
