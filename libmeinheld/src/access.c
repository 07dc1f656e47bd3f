/* Lines of the access log: see access.h. Nearly all bytes need no escape, so they are copied and
 * looked at sixteen at a time. */
#include "access.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "scan.h"

/* Appends a string literal. */
#define PUT(q, literal) put((q), (literal), sizeof(literal) - 1)

static char *put(char *q, const char *p, size_t n) {
    memcpy(q, p, n);
    return q + n;
}

/* The same where 15 bytes behind the n can be read, and written. */
static char *put_loosely(char *q, const char *p, size_t n) {
    for (size_t i = 0; i < n; i += 16)
        memcpy(q + i, p + i, 16);
    return q + n;
}

/* Exactly n digits, with zeros in front. */
static char *put_digits(char *q, uint64_t value, unsigned n) {
    for (unsigned i = n; i > 0; value /= 10)
        q[--i] = (char)('0' + value % 10);
    return q + n;
}

static char *put_number(char *q, uint64_t value) {
    unsigned n = 1;
    for (uint64_t rest = value; rest >= 10; rest /= 10)
        n++;
    return put_digits(q, value, n);
}

/* ---- what clients sent ----------------------------------------------------------------------- */

enum { STEP_MOST = 16 + 6 /* a vector of plain bytes, then an escape */ };

/* Out of the way of the loop below, which then needs few registers. */
static __attribute__((noinline, cold)) char *put_escape(char *q, char c, bool json) {
    static const char digits[] = "0123456789abcdef";
    uint8_t byte = (uint8_t)c;
    if (json && (c == '"' || c == '\\')) {
        *q++ = '\\';
        *q++ = c;
        return q;
    }
    q = json ? PUT(q, "\\u00") : PUT(q, "\\x");
    *q++ = digits[byte >> 4];
    *q++ = digits[byte & 15];
    return q;
}

/* Appends s, escaped, cut when it has taken about most bytes; it never takes more. Bytes are copied
 * by the vector: the last ones may be none of s, and are overwritten. */
static char *put_value(char *q, mh_str s, size_t most, bool json) {
    const char *p = s.p, *end = s.p + s.n, *stop = q + most - STEP_MOST - 3;
    while (p < end) {
        if (q > stop) return PUT(q, "...");
        size_t left = (size_t)(end - p);
        mh__mask escapes = mh__scan_quoted(p, left);
        memcpy(q, p, 16);
        if (escapes) {
            size_t n = mh__mask_first(escapes);
            q = put_escape(q + n, p[n], json);
            p += n + 1;
        } else if (left <= 16) {
            return q + left;
        } else {
            p += 16;
            q += 16;
        }
    }
    return q;
}

/* ---- combined -------------------------------------------------------------------------------- */

static char *put_quoted(char *q, mh_str s, size_t most) {
    *q++ = '"';
    q = s.n > 0 ? put_value(q, s, most, false) : PUT(q, "-");
    *q++ = '"';
    return q;
}

/* Apache's: %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i". */
static char *write_combined(char *q, const mh__access *a) {
    q = a->peer.n > 0 ? put_loosely(q, a->peer.p, a->peer.n) : PUT(q, "-");
    q = PUT(q, " - - [");
    q = put_loosely(q, a->stamp.p, a->stamp.n);
    q = PUT(q, "] ");
    q = put_quoted(q, a->line, MH__ACCESS_LONG);
    *q++ = ' ';
    q = put_digits(q, (unsigned)a->status, 3);
    *q++ = ' ';
    q = a->sent > 0 ? put_number(q, a->sent) : PUT(q, "-");
    *q++ = ' ';
    q = put_quoted(q, a->referer, MH__ACCESS_SHORT);
    *q++ = ' ';
    return put_quoted(q, a->agent, MH__ACCESS_SHORT);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* A string, or null if there is none. */
static char *put_json(char *q, mh_str s, size_t most) {
    if (!s.p) return PUT(q, "null");
    *q++ = '"';
    q = put_value(q, s, most, true);
    *q++ = '"';
    return q;
}

static char *put_end(char *q, int why) {
    switch (why) {
    case MH_FINISH_DONE:
        return PUT(q, "done");
    case MH_FINISH_PEER_CLOSED:
        return PUT(q, "peer_closed");
    case MH_FINISH_TIMEOUT:
        return PUT(q, "timeout");
    case MH_FINISH_UPGRADED:
        return PUT(q, "upgraded");
    case MH_FINISH_FILE:
        return PUT(q, "file");
    default:
        return PUT(q, "aborted");
    }
}

static char *write_json(char *q, const mh__access *a) {
    q = PUT(q, "{\"time\":\"");
    q = put_loosely(q, a->stamp.p, a->stamp.n);
    q = PUT(q, "\",\"remote_addr\":");
    if (a->peer.n > 0) {
        *q++ = '"';
        q = put_loosely(q, a->peer.p, a->peer.n);
        *q++ = '"';
    } else {
        q = PUT(q, "null");
    }
    if (a->method.p) {
        q = PUT(q, ",\"method\":\"");
        q = put_loosely(q, a->method.p, a->method.n);
        q = PUT(q, "\",\"target\":\"");
        q = put_value(q, a->target, MH__ACCESS_LONG, true);
        q = PUT(q, "\",\"protocol\":\"");
        q = put_loosely(q, a->protocol.p, a->protocol.n);
        *q++ = '"';
    } else {
        q = PUT(q, ",\"method\":null,\"target\":null,\"protocol\":null,\"line\":");
        q = put_json(q, (mh_str){a->line.n > 0 ? a->line.p : NULL, a->line.n}, MH__ACCESS_LONG);
    }
    q = PUT(q, ",\"host\":");
    q = put_json(q, a->host, MH__ACCESS_SHORT);
    q = PUT(q, ",\"status\":");
    q = put_digits(q, (unsigned)a->status, 3);
    q = PUT(q, ",\"bytes\":");
    q = put_number(q, a->sent);
    q = PUT(q, ",\"duration\":");
    q = put_number(q, a->taken_us / 1000000);
    *q++ = '.';
    q = put_digits(q, a->taken_us % 1000000, 6);
    q = PUT(q, ",\"end\":\"");
    q = put_end(q, a->why);
    q = PUT(q, "\",\"referer\":");
    q = put_json(q, a->referer, MH__ACCESS_SHORT);
    q = PUT(q, ",\"user_agent\":");
    q = put_json(q, a->agent, MH__ACCESS_SHORT);
    *q++ = '}';
    return q;
}

/* A target, three other values, and less than 1024 bytes besides. */
_Static_assert(MH__ACCESS_LONG + 3 * MH__ACCESS_SHORT + 1024 <= MH__ACCESS_MOST, "a line must fit");

size_t mh__access_write(char *buf, const mh__access *access, int format) {
    char *q = format == MH_ACCESS_JSON ? write_json(buf, access) : write_combined(buf, access);
    *q++ = '\n';
    return (size_t)(q - buf);
}

/* ---- the time -------------------------------------------------------------------------------- */

size_t mh__access_stamp(char *buf, int format, int64_t t) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const int64_t max = 253402214399; /* a day before the end of year 9999 */
    char *q = buf;
    struct tm tm = {0};

    if (t < 0) t = 0; /* a clock may be set to anything */
    if (t > max) t = max;
    time_t seconds = (time_t)t;
    if (!localtime_r(&seconds, &tm)) tm = (struct tm){.tm_mday = 1, .tm_year = 70};
    unsigned year = (unsigned)tm.tm_year + 1900, month = (unsigned)tm.tm_mon;
    bool json = format == MH_ACCESS_JSON;
    if (json) {
        q = put_digits(q, year, 4);
        *q++ = '-';
        q = put_digits(q, month + 1, 2);
        *q++ = '-';
        q = put_digits(q, (unsigned)tm.tm_mday, 2);
    } else {
        q = put_digits(q, (unsigned)tm.tm_mday, 2);
        *q++ = '/';
        q = put(q, months + 3 * (size_t)month, 3);
        *q++ = '/';
        q = put_digits(q, year, 4);
    }
    *q++ = json ? 'T' : ':';
    q = put_digits(q, (unsigned)tm.tm_hour, 2);
    *q++ = ':';
    q = put_digits(q, (unsigned)tm.tm_min, 2);
    *q++ = ':';
    q = put_digits(q, (unsigned)tm.tm_sec, 2);
    if (!json) *q++ = ' ';
    *q++ = tm.tm_gmtoff < 0 ? '-' : '+';
    unsigned minutes = (unsigned)(tm.tm_gmtoff < 0 ? -tm.tm_gmtoff : tm.tm_gmtoff) / 60;
    q = put_digits(q, minutes / 60, 2);
    if (json) *q++ = ':';
    q = put_digits(q, minutes % 60, 2);
    return (size_t)(q - buf);
}
