/* The grammar of a request head (RFC 9112 2 to 5), in two steps: the search for its end, which may
 * have to wait for bytes, and one pass over the complete head, which may not. The second leans on
 * what the first has made sure of: the head ends in an empty line, no other line is empty, and
 * every LF follows a CR. So every scan is stopped by the last CR at the latest, and only bare CRs
 * are left to be found. */
#include "parser.h"

#include <stdbool.h>

#include "scan.h"

enum { METHOD_MAX = 32, EMPTY_LINES_MAX = 2 };

/* Whether the request line of which [line, upto) has come, without its LF, is over limit even if a
 * CR at its end is half of the CRLF, which does not count. */
static bool line_is_over(const char *line, const char *upto, uint32_t limit) {
    size_t n = (size_t)(upto - line);

    return n > limit && (n - 1 > limit || upto[-1] != '\r');
}

/* The offset behind which no head may end, and no further byte need be looked at. */
static size_t search_end(const mh__search *s, const mh__limits *limits) {
    size_t end = (size_t)s->start + limits->head;

    return end < UINT32_MAX ? end : UINT32_MAX; /* what a span can say */
}

/* The first LF of [p, end), or end. */
static inline const char *find_lf(const char *p, const char *end) {
    for (; p < end; p += 16) {
        mh__mask lfs = mh__scan_lfs(p, end);
        if (lfs) return p + mh__mask_first(lfs);
    }
    return end;
}

/* Searches up to the end of the request line; s->lines tells whether it was found. Results as
 * mh__search_head. What an earlier byte decides is decided first, as it would be had that byte come
 * alone. */
static inline int64_t search_request_line(mh__search *s, const char *p, size_t n,
                                          const mh__limits *limits) {
    for (;;) {
        size_t most = search_end(s, limits);
        const char *line = p + s->start, *end = p + (n < most ? n : most);
        const char *lf = find_lf(p + s->pos, end);

        if (line_is_over(line, lf, limits->request_line)) return -414;
        s->pos = (uint32_t)(lf - p);
        if (lf == end) return n >= most ? -431 : 0;
        if (lf == line || lf[-1] != '\r') return -400; /* bare LF, row 1 */
        s->pos++;
        if (lf - line > 1) break;
        if (s->start == 2 * EMPTY_LINES_MAX) return -400; /* row 7 */
        s->start = s->pos;
    }
    s->line = s->pos;
    s->lines = 1;
    return 0;
}

int64_t mh__search_head(mh__search *s, const char *p, size_t n, const mh__limits *limits) {
    if (s->lines == 0) {
        int64_t result = search_request_line(s, p, n, limits);
        if (s->lines == 0) return result;
    }
    size_t most = search_end(s, limits);
    const char *from = p + s->pos, *end = p + (n < most ? n : most), *line = p + s->line;
    uint32_t lines = s->lines, most_fields = limits->fields;

    for (; from < end; from += 16) {
        for (mh__mask lfs = mh__scan_lfs(from, end); lfs; lfs &= lfs - 1) {
            const char *lf = from + mh__mask_first(lfs);
            if (lf[-1] != '\r') return -400; /* also behind another LF */
            if (lf - line == 1) return lf + 1 - p;
            if (lines++ > most_fields) return -431;
            line = lf + 1;
        }
    }
    s->pos = (uint32_t)(end - p);
    s->line = (uint32_t)(line - p);
    s->lines = lines;
    return n >= most ? -431 : 0;
}

/* HTTP-version and CRLF (RFC 9112 2.3), ten bytes at p. */
static int parse_version(uint8_t *minor, const char *p) {
    if (memcmp(p, "HTTP/", 5) != 0 || p[6] != '.' || p[8] != '\r' || p[9] != '\n') return 400;
    if (p[5] < '0' || p[5] > '9' || p[7] < '0' || p[7] > '9') return 400;
    if (p[5] != '1') return 505;
    *minor = p[7] > '0';
    return 0;
}

/* request-line = method SP request-target SP HTTP-version (RFC 9112 3); *cur is left behind its
 * CRLF. */
static inline int parse_request_line(mh__head *head, const char *base, const char **cur,
                                     const char *end) {
    const char *p = *cur;
    const char *q = memcmp(p, "GET ", 4) == 0 ? p + 3 : mh__scan_token(p);

    if (q == p || *q != ' ') return 400;
    if (q - p > METHOD_MAX) return 501; /* row 8 */
    head->method = mh__span_of(base, p, q);
    p = q + 1;
    q = mh__scan_target(p);
    if (q == p || *q != ' ') return 400;
    head->target = mh__span_of(base, p, q);
    p = q + 1;
    if (end - p < 10) return 400;
    *cur = p + 10;
    head->minor = 1;
    return memcmp(p, "HTTP/1.1\r\n", 10) == 0 ? 0 : parse_version(&head->minor, p);
}

/* field-line = field-name ":" OWS field-value OWS (RFC 9112 5). Neither space before the colon nor
 * a line that begins with one (obs-fold, row 6) is a name. */
static inline bool parse_field(mh__field *f, const char *base, const char **cur) {
    const char *p = *cur;
    const char *q = mh__scan_token(p);

    if (q == p || *q != ':') return false;
    f->name = mh__span_of(base, p, q);
    p = q + 1;
    while (mh__is_space(*p))
        p++;
    q = mh__scan_text(p);
    if (memcmp(q, "\r\n", 2) != 0) return false; /* row 2, 3 */
    *cur = q + 2;
    while (q > p && mh__is_space(q[-1]))
        q--;
    f->value = mh__span_of(base, p, q);
    return true;
}

/* Whether a field line is longer than limit. */
static bool has_long_field(const mh__head *head, const mh__field *fields, uint32_t limit) {
    uint32_t next = head->block.off + head->block.n;

    for (uint32_t i = head->n_fields; i-- > 0; next = fields[i].name.off)
        if (next - 2 - fields[i].name.off > limit) return true;
    return false;
}

/* Parses a head of which the last bytes before end are an empty line, but which may end before. */
static int parse(mh__head *head, mh__field *fields, const char *p, const char *end, uint32_t start,
                 const mh__limits *limits) {
    const char *cur = p + start, *block;
    mh__field *f = fields, *most = fields + limits->fields;
    int status = parse_request_line(head, p, &cur, end);

    if (status != 0) return status;
    for (block = cur; cur[0] != '\r' || cur[1] != '\n'; f++) {
        if (f == most) return 431;
        if (!parse_field(f, p, &cur)) return 400;
    }
    head->block = mh__span_of(p, block, cur);
    head->n_fields = (uint32_t)(f - fields);
    head->size = (uint32_t)(cur + 2 - p);
    return limits->field > 0 && has_long_field(head, fields, limits->field) ? 431 : 0;
}

int mh__parse_head(mh__head *head, mh__field *fields, const char *p, size_t n, const mh__search *s,
                   const mh__limits *limits) {
    return parse(head, fields, p, p + n, s->start, limits);
}

int mh__take_head(mh__head *head, mh__field *fields, mh__search *s, const char *p, size_t n,
                  const mh__limits *limits) {
    /* A request mostly comes alone and whole, and is in order. Its last bytes then stop every scan,
     * and parsing it finds its end. What is wrong with it, if it is not so, is for the search to
     * say. */
    bool whole = s->pos == 0 && n >= 4 && memcmp(p + n - 4, "\r\n\r\n", 4) == 0;
    if (whole && n <= limits->request_line && n <= limits->head &&
        parse(head, fields, p, p + n, 0, limits) == 0)
        return MH__HEAD_WHOLE;

    int64_t size = mh__search_head(s, p, n, limits);
    if (size <= 0) return (int)-size;
    int status = mh__parse_head(head, fields, p, (size_t)size, s, limits);
    return status != 0 ? status : MH__HEAD_WHOLE;
}
