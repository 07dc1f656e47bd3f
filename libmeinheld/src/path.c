/* Each escape is decoded once, and no byte that it stands for is looked at as if it were syntax:
 * what would be is refused. */
#include "path.h"

#include <string.h>

#include "scan.h"

/* The byte at *p, which is moved behind it; -1 for a malformed escape. */
static int read_byte(const char **p, const char *end) {
    if (**p != '%') return (unsigned char)*(*p)++;
    if (end - *p < 3) return -1;
    int high = mh__hex_value((*p)[1]), low = mh__hex_value((*p)[2]);
    if (high < 0 || low < 0) return -1;
    *p += 3;
    return high * 16 + low;
}

static bool segment_is_good(const char *p, size_t n, bool first) {
    static const char known[] = ".well-known";
    if (n == 0) return false;
    return *p != '.' || (first && n == sizeof known - 1 && memcmp(p, known, n) == 0);
}

bool mh__path_decode(mh__path *path, char *out, size_t cap, mh_str raw) {
    const char *p = raw.p, *end = p + raw.n;
    char *q = out, *segment = out;
    path->dir = raw.n > 0 && end[-1] == '/';
    if (p < end && *p == '/') p++;
    if (path->dir && p < end) end--;
    while (p < end) {
        bool encoded = *p == '%', slash = *p == '/';
        int byte = read_byte(&p, end);
        if (byte < 0x20 || byte == 0x7f || byte == '\\' || (byte == '/' && encoded)) return false;
        if (slash && !segment_is_good(segment, (size_t)(q - segment), segment == out)) return false;
        if ((size_t)(q - out) + 1 >= cap) return false;
        *q++ = (char)byte;
        if (slash) segment = q;
    }
    /* The path "" or "/" is the directory itself; any other has a last segment. */
    if ((q > out || raw.n > 1) && !segment_is_good(segment, (size_t)(q - segment), segment == out))
        return false;
    path->n = (size_t)(q - out);
    *q = '\0';
    return true;
}

bool mh__path_below(mh_str raw, mh_str prefix, mh_str *below) {
    const char *p = raw.p, *end = p + raw.n;
    if (prefix.n > 0 && prefix.p[prefix.n - 1] == '/') prefix.n--;
    for (size_t i = 0; i < prefix.n; i++)
        if (p == end || read_byte(&p, end) != (unsigned char)prefix.p[i]) return false;
    mh_str rest = {p, (size_t)(end - p)};
    if (p == end ? prefix.n == 0 : read_byte(&p, end) != '/') return false;
    *below = rest;
    return true;
}
