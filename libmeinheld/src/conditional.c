/* The fields of a conditional request are held against the validators one by one, as they come; the
 * precedence among them is decided at the end. */
#include "conditional.h"

#include <string.h>

#include "date.h"
#include "scan.h"

/* Of a field that says a date: there are two, or one that can't be read, and all are passed over.
 */
enum date_said { DATE_NONE, DATE_BAD, DATE_BEFORE, DATE_NOT_BEFORE };

/* ---- entity tags (RFC 9110 8.8.3) ------------------------------------------------------------ */

typedef struct tag {
    mh_str text; /* with its quotes */
    bool weak;
} tag;

static bool is_etagc(char c) {
    unsigned char b = (unsigned char)c;
    return b == 0x21 || (b >= 0x23 && b != 0x7f);
}

/* A tag at *p, which is moved behind it. */
static bool read_tag(const char **p, const char *end, tag *out) {
    out->weak = end - *p >= 2 && (*p)[0] == 'W' && (*p)[1] == '/';
    if (out->weak) *p += 2;
    const char *start = *p;
    if (*p == end || *(*p)++ != '"') return false;
    while (*p < end && is_etagc(**p))
        ++*p;
    if (*p == end || *(*p)++ != '"') return false;
    out->text = (mh_str){start, (size_t)(*p - start)};
    return true;
}

static bool same_tag(const mh__conditions *c, const tag *t, bool strongly) {
    const mh__validators *of = c->of;
    if (strongly && (t->weak || of->weak)) return false; /* RFC 9110 8.8.3.2 */
    return t->text.n == of->tag.n && memcmp(t->text.p, of->tag.p, of->tag.n) == 0;
}

/* Whether "*" or a list of tags has ours in it. */
static bool list_has(const mh__conditions *c, mh_str list, bool strongly) {
    const char *p = list.p, *end = p + list.n;
    bool found = false;
    if (list.n == 1 && *p == '*') return true; /* there is a representation */
    for (;; p++) {
        tag t;
        while (p < end && mh__is_space(*p))
            p++;
        if (p < end && *p != ',') {
            if (!read_tag(&p, end, &t)) return false;
            found |= same_tag(c, &t, strongly);
            while (p < end && mh__is_space(*p))
                p++;
        }
        if (p == end) return found;
        if (*p != ',') return false;
    }
}

/* ---- the fields ------------------------------------------------------------------------------ */

static uint8_t take_date(const mh__conditions *c, uint8_t before, mh_str value) {
    int64_t date;
    if (before != DATE_NONE || !mh__date_read(&date, value.p, value.n, c->now)) return DATE_BAD;
    return date < c->of->date ? DATE_BEFORE : DATE_NOT_BEFORE;
}

/* RFC 9110 13.1.5: equal, and strong. */
static bool if_range_holds(const mh__conditions *c, mh_str value) {
    const char *p = value.p, *end = p + value.n;
    int64_t date;
    tag t;
    if (read_tag(&p, end, &t)) return p == end && same_tag(c, &t, true);
    return c->of->has_date && mh__date_read(&date, value.p, value.n, c->now) && date == c->of->date;
}

void mh__conditions_init(mh__conditions *c, const mh__validators *of, int64_t now) {
    *c = (mh__conditions){.of = of, .now = now};
}

#define NAME_IS(name, text) mh__fold_eq((name).p, text, sizeof(text) - 1)

void mh__conditions_take(mh__conditions *c, mh_str name, mh_str value) {
    switch (name.n) {
    case 5:
        if (!NAME_IS(name, "range")) return;
        c->ranges = c->ranges ? 2 : 1;
        c->range = value;
        return;
    case 8:
        if (NAME_IS(name, "if-match")) {
            c->match = true;
            c->matches |= list_has(c, value, true);
        } else if (NAME_IS(name, "if-range")) {
            c->if_ranges = c->if_ranges ? 2 : 1;
            c->range_holds = if_range_holds(c, value);
        }
        return;
    case 13:
        if (!NAME_IS(name, "if-none-match")) return;
        c->none_match = true;
        c->none_matches |= list_has(c, value, false);
        return;
    case 17:
        if (NAME_IS(name, "if-modified-since")) c->modified = take_date(c, c->modified, value);
        return;
    case 19:
        if (NAME_IS(name, "if-unmodified-since"))
            c->unmodified = take_date(c, c->unmodified, value);
        return;
    default:
        return;
    }
}

/* ---- the decision ---------------------------------------------------------------------------- */

int mh__conditions_status(const mh__conditions *c) {
    if (c->match) {
        if (!c->matches) return 412;
    } else if (c->of->has_date && c->unmodified == DATE_BEFORE) {
        return 412;
    }
    if (c->none_match) return c->none_matches ? 304 : 200;
    return c->of->has_date && c->modified == DATE_NOT_BEFORE ? 304 : 200;
}

mh_str mh__conditions_range(const mh__conditions *c) {
    bool heeded = c->ranges == 1 && (c->if_ranges == 0 || (c->if_ranges == 1 && c->range_holds));
    return heeded ? c->range : (mh_str){"", 0};
}
