/* Bytes in, views of a request head out. Pure: no allocation, no I/O, no state but what is passed.
 * What the head means is framing.h's business; here is only its grammar. Rows are those of
 * docs/http.md.
 *
 * Every p here and in framing.h points into a buffer of which MH__SCAN_PAD (scan.h) more bytes than
 * those of the head can be read; what they are does not matter. */
#ifndef MH_PARSER_H
#define MH_PARSER_H

#include <stddef.h>
#include <stdint.h>

/* Part of a head, as an offset from its first byte: survives the buffer's being moved. */
typedef struct mh__span {
    uint32_t off, n;
} mh__span;

static inline mh__span mh__span_of(const char *base, const char *p, const char *end) {
    return (mh__span){(uint32_t)(p - base), (uint32_t)(end - p)};
}

typedef struct mh__field {
    mh__span name, value; /* value without white space around it */
} mh__field;

typedef struct mh__limits {
    uint32_t request_line; /* bytes without CRLF */
    uint32_t head;         /* bytes from the request line to the last CRLF, both included */
    uint32_t fields;
    uint32_t field; /* bytes of one without CRLF; 0: no limit but head */
} mh__limits;

/* Where the search for the end of a head stands. Zeroed before a head's first byte. */
typedef struct mh__search {
    uint32_t pos;   /* bytes looked at */
    uint32_t line;  /* offset of the line that pos is in */
    uint32_t start; /* offset of the request line: past the empty lines of row 7 */
    uint32_t lines; /* lines ended since start */
} mh__search;

/* Looks for the head's end in p[0..n), which has grown since the last call with the same s; each
 * byte is looked at once. Returns the head's length including the empty line (> 0) when it is
 * complete, 0 when more is needed, or minus the status that refuses it as soon as a prefix decides
 * it: 400 (bare LF, too many empty lines), 414, 431. The outcome depends on the bytes only, not on
 * how they were split. */
int64_t mh__search_head(mh__search *s, const char *p, size_t n, const mh__limits *limits);

typedef struct mh__head {
    mh__span method, target;
    mh__span block; /* the field lines, to the last one's CRLF */
    uint32_t n_fields;
    uint32_t size; /* bytes of all of it, the empty line included */
    uint8_t minor; /* of HTTP/1.x: 0, or 1 for all later ones */
} mh__head;

/* Parses the complete head p[0..n) that mh__search_head found (s as it left it; n its result).
 * fields has room for limits->fields. Returns 0, or the status that refuses it: 400, 501 (method
 * over 32 bytes), 505, 431. */
int mh__parse_head(mh__head *head, mh__field *fields, const char *p, size_t n, const mh__search *s,
                   const mh__limits *limits);

enum { MH__HEAD_PART = 0, MH__HEAD_WHOLE = 1 };

/* Both of the above, the search being spared where p[0..n) is one head as it should be. Returns
 * MH__HEAD_WHOLE when head and fields are filled, MH__HEAD_PART when more is needed, or the status
 * (>= 400) that refuses it. */
int mh__take_head(mh__head *head, mh__field *fields, mh__search *s, const char *p, size_t n,
                  const mh__limits *limits);

#endif
