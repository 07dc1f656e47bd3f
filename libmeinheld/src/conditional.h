/* Conditional requests (RFC 9110 13): whether what is asked for is sent, whole or in part, is not
 * modified, or is not what the client takes it for. Pure. */
#ifndef MH_CONDITIONAL_H
#define MH_CONDITIONAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meinheld.h"

/* What is known of the representation that would be sent (RFC 9110 8.8). */
typedef struct mh__validators {
    mh_str tag;    /* its entity tag, quotes included, without W/; n == 0: it has none */
    bool weak;     /* which is a weak one */
    bool has_date; /* it has a Last-Modified, which then is a strong validator too (8.8.2.2) */
    int64_t date;  /* that, in seconds since 1970 */
} mh__validators;

typedef struct mh__conditions {
    const mh__validators *of;
    int64_t now;
    /* what the fields taken so far say */
    bool match, matches;           /* If-Match is there; the tag is in it */
    bool none_match, none_matches; /* If-None-Match */
    uint8_t modified, unmodified;  /* If-Modified-Since, If-Unmodified-Since: enum in the .c */
    uint8_t ranges, if_ranges;     /* how many lines of each, 2 for more */
    bool range_holds;              /* If-Range */
    mh_str range;                  /* the value of Range */
} mh__conditions;

/* of has to stay; now: seconds since 1970, for dates with a year of two digits. */
void mh__conditions_init(mh__conditions *c, const mh__validators *of, int64_t now);
/* Takes a field line of the request; others than those of RFC 9110 13.1 and Range mean nothing. A
 * list of tags that is malformed has none in it, a date that is one too many or none is passed
 * over. The line has to stay. */
void mh__conditions_take(mh__conditions *c, mh_str name, mh_str value);
/* What GET and HEAD are answered, in the order of RFC 9110 13.2.2: 200, 304 or 412. */
int mh__conditions_status(const mh__conditions *c);
/* The value of the one Range field if it is to be heeded, as far as If-Range goes; n is 0 if not.
 * It is for GET alone (RFC 9110 14.2). */
mh_str mh__conditions_range(const mh__conditions *c);

#endif
