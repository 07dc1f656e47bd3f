/* What a parsed head means. Everything that two servers on one connection could understand
 * differently is decided here once, and refused where it is not plain. The bytes have passed the
 * parser: names are tokens, values hold no control bytes but HT and no white space around them, a
 * target is visible ASCII without '#'.
 *
 * The functions below return 0 or the status that refuses the request, and run in the order:
 * fields, target, Host, body, Expect; the first to refuse decides. */
#include "framing.h"

#include <string.h>

#include "scan.h"

/* ---- numbers --------------------------------------------------------------------------------- */

/* With constants for base and max_digits, this is inlined without the tests that they make
 * needless. */
static inline bool number(const char *p, size_t n, unsigned base, unsigned max_digits,
                          uint64_t *out) {
    bool may_overflow = max_digits > (base == 10 ? 19 : 16);
    uint64_t value = 0;

    if (n == 0 || n > max_digits) return false;
    for (const char *end = p + n; p < end; p++) {
        unsigned digit = (unsigned)(uint8_t)*p - '0';
        if (digit > 9) {
            if (base != 16 || mh__hex_value(*p) < 0) return false;
            digit = (unsigned)mh__hex_value(*p);
        }
        if (may_overflow && value > (UINT64_MAX - digit) / base) return false;
        value = value * base + digit;
    }
    *out = value;
    return true;
}

bool mh__wire_number(const char *p, size_t n, unsigned base, unsigned max_digits, uint64_t *out) {
    return number(p, n, base, max_digits, out);
}

/* ---- authorities (RFC 3986 3.2) -------------------------------------------------------------- */

/* Whether an escape that stands for a byte other than NUL is at p, which is at '%'. */
static bool escape_is_good(const char *p, const char *end) {
    if (end - p < 3) return false;
    int high = mh__hex_value(p[1]), low = mh__hex_value(p[2]);
    return high >= 0 && low >= 0 && high + low > 0;
}

/* IPv4address: four decimal octets without leading zeros. */
static bool ipv4_is_good(const char *p, const char *end) {
    for (int octets = 1;; octets++) {
        const char *start = p;
        uint64_t value;

        while (p < end && *p != '.')
            p++;
        if (!number(start, (size_t)(p - start), 10, 3, &value) || value > 255) return false;
        if (*start == '0' && p - start > 1) return false;
        if (octets == 4) return p == end;
        if (p == end) return false;
        p++;
    }
}

/* IPv6address: eight groups of up to four hex digits; "::" once, for one or more groups of zeros;
 * the last two groups may be an IPv4address. A zone (RFC 6874) means nothing to another host and is
 * refused. */
static bool ipv6_is_good(const char *p, const char *end) {
    int groups = 0;
    bool gap = false;

    if (end - p >= 2 && p[0] == ':' && p[1] == ':') {
        gap = true;
        p += 2;
    }
    while (p < end) {
        const char *start = p;

        while (p < end && mh__hex_value(*p) >= 0)
            p++;
        if (p < end && *p == '.') {
            groups += 2;
            return groups + gap <= 8 && (gap || groups == 8) && ipv4_is_good(start, end);
        }
        if (p == start || p - start > 4 || ++groups > 8) return false;
        if (p == end) break;
        if (*p++ != ':' || p == end) return false;
        if (*p == ':') {
            if (gap) return false;
            gap = true;
            p++;
        }
    }
    return gap ? groups <= 7 : groups == 8;
}

/* IPvFuture = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ) */
static bool ipvfuture_is_good(const char *p, const char *end) {
    const char *start = ++p;

    while (p < end && mh__hex_value(*p) >= 0)
        p++;
    if (p == start || p == end || *p != '.') return false;
    start = ++p;
    while (p < end && (mh__is_host(*p) || *p == ':'))
        p++;
    return p > start && p == end;
}

/* The end of the host at p, or NULL. A comma, which RFC 3986 allows
 * in a reg-name, is refused: it is how a list of hosts looks (row 21). So are escapes that are bad
 * or stand for NUL. */
static const char *host_end(const char *p, const char *end) {
    if (p < end && *p == '[') {
        const char *close = memchr(p, ']', (size_t)(end - p));
        if (!close || ++p == close) return NULL;
        bool good = *p == 'v' || *p == 'V' ? ipvfuture_is_good(p, close) : ipv6_is_good(p, close);
        return good ? close + 1 : NULL;
    }
    for (;;) {
        p = mh__scan_host(p);
        if (p == end || *p != '%') return p;
        if (!escape_is_good(p, end)) return NULL;
        p += 3;
    }
}

/* authority = host [ ":" port ], host not empty, no userinfo (RFC 9110 4.2.4). The port may be
 * empty, as in RFC 3986 3.2.3, unless port_needed. */
static bool authority_is_good(const char *p, const char *end, bool port_needed) {
    const char *q = host_end(p, end);
    uint64_t port = 0;

    if (!q || q == p) return false;
    if (q == end) return !port_needed;
    if (*q++ != ':') return false;
    if (q == end) return !port_needed;
    return number(q, (size_t)(end - q), 10, 5, &port) && port <= 65535;
}

/* The same without port_needed, for most of those that come: up to sixteen bytes of letters,
 * digits, '-' and '.', and up to four digits of port. False: look again. */
static inline bool authority_is_plain(const char *p, const char *end) {
    if (p == end || end - p > 16) return false;
    mh__mask stops = mh__scan_hosts(p, (size_t)(end - p));
    if (!stops) return true;
    const char *colon = p + mh__mask_first(stops);
    if (colon == p || *colon != ':' || end - colon > 5) return false;
    return mh__scan_digits(colon + 1, (size_t)(end - colon - 1)) == 0;
}

/* ---- the target (RFC 9112 3.2) --------------------------------------------------------------- */

/* Path and query at p (row 25). The query's bytes are passed on as they are. */
static int frame_path(mh__framing *f, const char *base, const char *p, const char *end) {
    const char *q = p;

    while (q < end) {
        q = mh__scan_path(q);
        if (q == end || *q == '?') break;
        if (!escape_is_good(q, end)) return 400;
        q += 3;
    }
    f->path = mh__span_of(base, p, q);
    f->has_query = q < end;
    f->query = f->has_query ? mh__span_of(base, q + 1, end) : mh__span_of(base, q, q);
    return 0;
}

/* absolute-form (3.2.2); path and query may be missing. */
static int frame_absolute(mh__framing *f, const char *base, const char *p, const char *end) {
    const char *q;

    if (end - p >= 7 && mh__fold_eq(p, "http", 4) && memcmp(p + 4, "://", 3) == 0) {
        p += 7;
    } else if (end - p >= 8 && mh__fold_eq(p, "https", 5) && memcmp(p + 5, "://", 3) == 0) {
        p += 8;
    } else {
        return 400;
    }
    for (q = p; q < end && *q != '/' && *q != '?'; q++) {}
    if (!authority_is_good(p, q, false)) return 400;
    f->absolute = true;
    f->host = mh__span_of(base, p, q);
    return frame_path(f, base, q, end);
}

static bool method_is(const char *base, const mh__head *head, const char *name, size_t n) {
    return head->method.n == n && memcmp(base + head->method.off, name, n) == 0;
}

static int frame_target(mh__framing *f, const char *base, const mh__head *head,
                        bool accept_connect) {
    const char *p = base + head->target.off, *end = p + head->target.n;

    if (method_is(base, head, "CONNECT", 7)) { /* authority-form (3.2.3) */
        if (!accept_connect) return 501;
        if (!authority_is_good(p, end, true)) return 400;
        f->absolute = true;
        f->host = head->target;
        f->path = f->query = mh__span_of(base, end, end);
        return 0;
    }
    if (*p == '/' && head->target.n == 1) { /* very often */
        f->path = head->target;
        f->query = mh__span_of(base, end, end);
        return 0;
    }
    if (*p == '/') return frame_path(f, base, p, end);
    if (*p == '*' && head->target.n == 1) { /* asterisk-form (3.2.4) */
        if (!method_is(base, head, "OPTIONS", 7)) return 400;
        f->path = head->target;
        f->query = mh__span_of(base, end, end);
        return 0;
    }
    return frame_absolute(f, base, p, end);
}

/* ---- the fields ------------------------------------------------------------------------------ */

/* The fields that decide anything. NULL: not there. The first line of each is kept; how many there
 * are is counted where a second one matters. */
typedef struct facts {
    const mh__field *host, *length, *coding;
    bool close, keep_alive, upgrade_named, upgrade, continues;
} facts;

/* Takes the next non-empty element of the comma-separated list *cur (RFC 9110 5.6.1), without white
 * space around it. Returns false at the end. */
static bool next_element(const char **cur, const char *end, const char **p, size_t *n) {
    const char *q = *cur;

    while (q < end && (mh__is_space(*q) || *q == ','))
        q++;
    *p = q;
    while (q < end && *q != ',')
        q++;
    *cur = q;
    while (q > *p && mh__is_space(q[-1]))
        q--;
    *n = (size_t)(q - *p);
    return *n > 0;
}

static void take_connection(facts *found, const char *p, const char *end) {
    const char *name;
    size_t n;

    while (next_element(&p, end, &name, &n)) {
        if (n == 5 && mh__fold_eq(name, "close", 5)) found->close = true;
        if (n == 10 && mh__fold_eq(name, "keep-alive", 10)) found->keep_alive = true;
        if (n == 7 && mh__fold_eq(name, "upgrade", 7)) found->upgrade_named = true;
    }
}

/* Returns false for an expectation other than 100-continue (RFC 9110 10.1.1). */
static bool take_expect(facts *found, const char *p, const char *end) {
    const char *name;
    size_t n;

    while (next_element(&p, end, &name, &n)) {
        if (n != 12 || !mh__fold_eq(name, "100-continue", 12)) return false;
        found->continues = true;
    }
    return true;
}

/* Fills found. A second Host, Content-Length or Transfer-Encoding line is refused whatever it says
 * (rows 13, 15, 21). *expectation becomes 417 for an unknown one, to be answered only if nothing
 * else is wrong. */
static int take_fields(facts *found, int *expectation, const char *base, const mh__head *head,
                       const mh__field *fields) {
    for (const mh__field *f = fields, *last = f + head->n_fields; f < last; f++) {
        const char *name = base + f->name.off;
        const char *value = base + f->value.off, *end = value + f->value.n;
        const mh__field **once = NULL;

        switch (f->name.n) {
        case 4:
            if (mh__fold_eq(name, "host", 4)) once = &found->host;
            break;
        case 6:
            if (mh__fold_eq(name, "expect", 6) && !take_expect(found, value, end))
                *expectation = 417;
            break;
        case 7:
            if (mh__fold_eq(name, "upgrade", 7)) found->upgrade = true;
            break;
        case 10:
            if (mh__fold_eq(name, "connection", 10)) take_connection(found, value, end);
            break;
        case 14:
            if (mh__fold_eq(name, "content-length", 14)) once = &found->length;
            break;
        case 17:
            if (mh__fold_eq(name, "transfer-encoding", 17)) once = &found->coding;
            break;
        default:
            break;
        }
        if (!once) continue;
        if (*once) return 400;
        *once = f;
    }
    return 0;
}

/* Host (RFC 9112 3.2). With an absolute-form it is not used, but must be in order all the same. */
static int frame_host(mh__framing *f, const char *base, const mh__field *host, uint8_t minor) {
    if (!host) return minor == 0 ? 0 : 400;
    const char *p = base + host->value.off, *end = p + host->value.n;
    if (!authority_is_plain(p, end) && p < end && !authority_is_good(p, end, false)) return 400;
    if (!f->absolute) f->host = host->value;
    return 0;
}

/* Transfer-Encoding (RFC 9112 6.1), row 13: a plain "chunked" is taken, other codings before it are
 * not known (501), and all else is no way to find the body's end (400). */
static int frame_coding(const char *p, const char *end) {
    bool chunked = false, others = false;

    if (end - p == 7 && mh__fold_eq(p, "chunked", 7)) return 0;
    for (;; p++) {
        const char *name;

        while (p < end && mh__is_space(*p))
            p++;
        name = p;
        while (p < end && mh__is_token(*p))
            p++;
        if (p == name || chunked) return 400; /* an empty element, or something behind chunked */
        chunked = p - name == 7 && mh__fold_eq(name, "chunked", 7);
        others |= !chunked;
        while (p < end && mh__is_space(*p))
            p++;
        if (p == end) return chunked && others ? 501 : 400;
        if (*p != ',') return 400; /* parameters, or no list of tokens */
    }
}

static int frame_body(mh__framing *f, const char *base, const facts *found, uint8_t minor) {
    if (found->coding) {
        if (found->length || minor == 0) return 400; /* rows 12, 14 */
        const char *p = base + found->coding->value.off;
        f->body = MH__BODY_CHUNKED;
        return frame_coding(p, p + found->coding->value.n);
    }
    if (!found->length) return 0;
    mh__span value = found->length->value;
    f->body = MH__BODY_LENGTH;
    if (!number(base + value.off, value.n, 10, 19, &f->length)) return 400;
    return f->length > INT64_MAX ? 400 : 0; /* lengths are signed in meinheld.h */
}

int mh__frame(mh__framing *f, const char *p, const mh__head *head, const mh__field *fields,
              bool accept_connect) {
    facts found = {0};
    int expectation = 0, status;

    *f = (mh__framing){.body = MH__BODY_NONE};
    if ((status = take_fields(&found, &expectation, p, head, fields)) != 0) return status;
    if ((status = frame_target(f, p, head, accept_connect)) != 0) return status;
    if ((status = frame_host(f, p, found.host, head->minor)) != 0) return status;
    if ((status = frame_body(f, p, &found, head->minor)) != 0) return status;

    bool is_1_1 = head->minor > 0; /* & and | below: branches would cost more than they save */
    f->keep_alive = (is_1_1 | found.keep_alive) & (found.close ^ 1);
    f->upgrade = is_1_1 & found.upgrade_named & found.upgrade;
    f->expect = is_1_1 & found.continues & ((f->body == MH__BODY_CHUNKED) | (f->length > 0));
    return expectation;
}
