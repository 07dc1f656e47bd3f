/* The Range field (RFC 9110 14): what of a representation is asked for. Pure. */
#ifndef MH_RANGE_H
#define MH_RANGE_H

#include <stddef.h>
#include <stdint.h>

enum { MH__RANGES_MOST = 32 }; /* ranges in one field; a field with more is passed over */

typedef struct mh__range {
    uint64_t first, n; /* n > 0 bytes from first */
} mh__range;

enum mh__range_result {
    MH__RANGE_WHOLE, /* passed over: all of the representation is to be sent */
    MH__RANGE_PARTS, /* the ranges, in the order in which they were asked for */
    MH__RANGE_NONE   /* not one byte of what is asked for is there: 416 */
};

/* Reads p[0..n), the value of a Range field, for a representation of size bytes. ranges has room
 * for MH__RANGES_MOST; *count (> 0) of them are set if the result says so. One that begins in or
 * right behind the one before it is joined to it.
 *
 * Passed over are: another unit than bytes; what is malformed, a range that ends before it begins
 * included (RFC 9110 14.1.1); more ranges than there is room for, and ranges that together are
 * longer than the whole (RFC 9110 17.15); and any, if size is 0. */
enum mh__range_result mh__ranges_read(mh__range *ranges, size_t *count, const char *p, size_t n,
                                      uint64_t size);

#endif
