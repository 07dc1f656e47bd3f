/* The chunked body decoder (RFC 9112 7.1): bytes in, runs of decoded bytes out, at any split. Pure;
 * a decoder is a small value. Trailers are checked by the same rules as fields and dropped (rows 16
 * to 19 of docs/http.md). */
#ifndef MH_CHUNKED_H
#define MH_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

typedef struct mh__chunked {
    uint64_t left;    /* of the chunk in hand; while its size is read, the size so far */
    uint32_t ext;     /* bytes of extensions so far, all chunks together */
    uint32_t trailer; /* bytes of trailers so far */
    uint16_t lines;   /* trailer lines so far */
    uint8_t state;    /* private to chunked.c */
    uint8_t digits;   /* of the size so far */
    uint8_t name_len; /* of the trailer name in hand */
    char name[32];    /* its first bytes, lower case, to know the forbidden ones */
} mh__chunked;

typedef struct mh__chunk_limits {
    uint32_t ext;     /* bytes of extensions per body: 4096 */
    uint32_t trailer; /* bytes of trailers: as a head's */
    uint32_t lines;   /* trailer lines: as a head's fields */
} mh__chunk_limits;

void mh__chunked_init(mh__chunked *c);

enum { MH__CHUNKED_MORE = 0, MH__CHUNKED_DATA = 1, MH__CHUNKED_END = 2, MH__CHUNKED_BAD = -1 };

/* Consumes bytes from *p up to end, at most to the next run of data, and moves *p on.
 * DATA: data[0..n) is a run of decoded bytes, inside the input, at most max (> 0) bytes; *p is
 * behind it. MORE: the input is used up. END: the body is complete, *p is at the first byte behind
 * it. BAD: refuse with 400. */
int mh__chunked_next(mh__chunked *c, const char **p, const char *end, size_t max, const char **data,
                     size_t *n, const mh__chunk_limits *limits);

#endif
