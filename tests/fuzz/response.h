/* Reads responses, strictly: what they may not have ends the process. */
#ifndef RESPONSE_H
#define RESPONSE_H

#include "fuzz.h"
#include "meinheld.h"

/* One line of p[0..n): its length without CRLF, or SIZE_MAX if its end has not come. */
static inline size_t line_of(const char *p, size_t n) {
    const char *lf = memchr(p, '\n', n);
    if (!lf) return SIZE_MAX;
    FUZZ_CHECK(lf > p && lf[-1] == '\r');
    return (size_t)(lf - p) - 1;
}

typedef struct response {
    int status;
    bool chunked, close;
    int64_t length;     /* -1: not said */
    mh_str type, range; /* Content-Type, Content-Range */
} response;

/* Whether line begins with name; what follows is *value then. */
static inline bool field_is(mh_str line, const char *name, mh_str *value) {
    size_t n = strlen(name);
    if (line.n < n || strncasecmp(line.p, name, n) != 0) return false;
    *value = (mh_str){line.p + n, line.n - n};
    return true;
}

static inline void read_field(response *r, mh_str line) {
    mh_str value;
    const char *colon = memchr(line.p, ':', line.n);
    FUZZ_CHECK(colon && fuzz_all(line.p, (size_t)(colon - line.p), fuzz_is_tchar));
    FUZZ_CHECK(fuzz_all(colon, line.n - (size_t)(colon - line.p), fuzz_is_text));
    if (field_is(line, "content-length: ", &value)) {
        FUZZ_CHECK(r->length < 0);
        r->length = atoll(value.p);
    }
    if (field_is(line, "transfer-encoding: chunked", &value)) r->chunked = true;
    if (field_is(line, "connection: close", &value)) r->close = true;
    if (field_is(line, "content-type: ", &value)) r->type = value;
    if (field_is(line, "content-range: ", &value)) r->range = value;
}

/* Reads a head. Returns its length, or 0 if it is not whole. */
static inline size_t read_head(response *r, const char *p, size_t n) {
    size_t at = 0, line;
    *r = (response){.length = -1};
    for (unsigned number = 0;; number++) {
        line = line_of(p + at, n - at);
        if (line == SIZE_MAX) return 0;
        if (number == 0) {
            FUZZ_CHECK(line > 13 && memcmp(p, "HTTP/1.1 ", 9) == 0);
            r->status = atoi(p + 9);
            FUZZ_CHECK(r->status >= 100 && r->status <= 599);
        } else if (line == 0) {
            return at + 2;
        } else {
            read_field(r, (mh_str){p + at, line});
        }
        at += line + 2;
    }
}

/* The length of a chunked body at p, or SIZE_MAX if it is not whole. */
static inline size_t chunked_length(const char *p, size_t n) {
    for (size_t at = 0;;) {
        size_t line = line_of(p + at, n - at);
        if (line == SIZE_MAX) return SIZE_MAX;
        FUZZ_CHECK(line > 0 && line <= 16);
        size_t size = strtoull(p + at, NULL, 16);
        at += line + 2;
        if (n - at < 2 || size > n - at - 2) return SIZE_MAX;
        FUZZ_CHECK(memcmp(p + at + size, "\r\n", 2) == 0);
        at += size + 2;
        if (size == 0) return at;
    }
}

#endif
