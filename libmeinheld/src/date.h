/* HTTP dates (RFC 9110 5.6.7), from seconds since 1970 and back. Pure. */
#ifndef MH_DATE_H
#define MH_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MH__DATE_SIZE = 29 }; /* bytes of an IMF-fixdate */

/* t as IMF-fixdate into buf, MH__DATE_SIZE bytes, not terminated. Valid to year 9999; a time out of
 * range is moved into it. */
void mh__date_write(char *buf, int64_t t);

/* Reads p[0..n), a date in any of the three forms and nothing else, into *t. A year of two digits
 * is the last that is not over 50 years (18262 days) after now. The name of the weekday has to be
 * one, but not the right one: the date says which it was. Second 60 is the one after 59. Returns
 * false, with *t as it was, for what is no date. */
bool mh__date_read(int64_t *t, const char *p, size_t n, int64_t now);

#endif
