/* conditional.h, date.h and accept.h against expressions of their grammars and the C library's
 * calendar. The input is a byte of choices, the time of the file and the present (eight bytes
 * each), its tag up to a LF, and then field lines, each "Name:value" and a LF. Lines that no parser
 * would let through are left out. */
#include "conditional.h"

#include <regex.h>
#include <time.h>

#include "accept.h"
#include "date.h"
#include "fuzz.h"

enum { LINES = 64 };

/* Bits of the byte of choices. */
enum { HAS_TAG = 1, WEAK = 2, HAS_DATE = 4, NEAR = 8 };

/* ---- expressions ----------------------------------------------------------------------------- */

#define OWS     "[ \t]*"
#define TAG     "(W/)?\"[^\"\x01-\x20\x7f]*\""
#define ELEMENT "(" OWS TAG OWS ")?"
#define MONTH   "(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
#define DAY     "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
#define LONGDAY "(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
#define TIME    "([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)"
#define QVALUE  "(0(\\.[0-9]{0,3})?|1(\\.0{0,3})?)"

typedef enum rule { ONE_TAG, TAGS, FIXDATE, RFC850, ASCTIME, CODING, RULES } rule;

static const char *const patterns[RULES] = {
    [ONE_TAG] = "^" TAG "$",
    [TAGS] = "^(" OWS "|" ELEMENT "(," ELEMENT "|," OWS ")*)$",
    [FIXDATE] = "^" DAY ", ([0-9]{2}) " MONTH " ([0-9]{4}) " TIME " GMT$",
    [RFC850] = "^" LONGDAY ", ([0-9]{2})-" MONTH "-([0-9]{2}) " TIME " GMT$",
    [ASCTIME] = "^" DAY " " MONTH " ([0-9]{2}| [0-9]) " TIME " ([0-9]{4})$",
    [CODING] = "^" OWS "([!#$%&'*+.^_`|~0-9A-Za-z-]+)" OWS "(;" OWS "[qQ]=" QVALUE OWS ")?$",
};

static bool matches(rule which, const char *text, regmatch_t *groups, size_t n) {
    static regex_t compiled[RULES];
    static bool ready[RULES];

    if (!ready[which]) FUZZ_CHECK(regcomp(&compiled[which], patterns[which], REG_EXTENDED) == 0);
    ready[which] = true;
    return regexec(&compiled[which], text, n, groups, 0) == 0;
}

/* ---- dates ----------------------------------------------------------------------------------- */

static int month_of(const char *name) {
    static const char all[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (int i = 0; i < 12; i++)
        if (memcmp(all + 3 * i, name, 3) == 0) return i;
    return -1;
}

/* Seconds of a date that exists; false if there is none such. */
static bool seconds_of(const struct tm *date, int64_t *t) {
    struct tm tm = *date;

    tm.tm_sec = 0; /* 60 is of the next minute */
    *t = timegm(&tm) + date->tm_sec;
    return tm.tm_mday == date->tm_mday && tm.tm_mon == date->tm_mon;
}

/* The year of two digits that is the last not over 50 years ahead. */
static void complete_year(struct tm *tm, int64_t now) {
    const int64_t last = 253402300799;
    int64_t t, most = (now < 0 ? 0 : now > last ? last : now) + (int64_t)(50 * 365 + 12) * 86400;

    for (tm->tm_year += 8000; tm->tm_year > 0; tm->tm_year -= 100) {
        seconds_of(tm, &t);
        if (t <= most) return;
    }
}

static bool judge_date(const char *text, int64_t now, int64_t *t) {
    regmatch_t g[8];
    struct tm tm = {0};
    int day, month, year, time;

    if (matches(FIXDATE, text, g, 8)) {
        day = g[2].rm_so, month = g[3].rm_so, year = g[4].rm_so, time = g[5].rm_so;
    } else if (matches(RFC850, text, g, 8)) {
        day = g[2].rm_so, month = g[3].rm_so, year = g[4].rm_so, time = g[5].rm_so;
    } else if (matches(ASCTIME, text, g, 8)) {
        day = g[3].rm_so, month = g[2].rm_so, year = g[7].rm_so, time = g[4].rm_so;
    } else {
        return false;
    }
    tm.tm_mday = atoi(text + day);
    tm.tm_mon = month_of(text + month);
    tm.tm_year = atoi(text + year) - 1900;
    tm.tm_hour = atoi(text + time);
    tm.tm_min = atoi(text + time + 3);
    tm.tm_sec = atoi(text + time + 6);
    if (text[year + 2] == ' ') { /* two digits: the first of these is 9900 and something */
        tm.tm_year += 1900;
        complete_year(&tm, now);
    }
    int64_t seconds;
    bool good = tm.tm_mday > 0 && seconds_of(&tm, &seconds);
    if (good) *t = seconds;
    return good;
}

/* ---- conditions ------------------------------------------------------------------------------ */

typedef struct line {
    char *name, *value; /* ended by NUL, of which they have none */
} line;

typedef struct request {
    mh__validators of;
    int64_t now;
    char *tag;
    line lines[LINES];
    size_t n;
} request;

static bool same_as_ours(const request *r, const char *tag, size_t n, bool strongly) {
    bool weak = n > 2 && tag[0] == 'W';

    if (strongly && (weak || r->of.weak)) return false;
    if (weak) tag += 2, n -= 2;
    return n == r->of.tag.n && memcmp(tag, r->of.tag.p, n) == 0;
}

static bool list_has(const request *r, const char *list, bool strongly) {
    bool found = false;

    if (strcmp(list, "*") == 0) return true;
    if (!matches(TAGS, list, NULL, 0)) return false;
    for (const char *p = list; (p = strchr(p, '"')) != NULL; p++) {
        const char *end = strchr(p + 1, '"');
        const char *start = p - list >= 2 && p[-1] == '/' ? p - 2 : p;
        found |= same_as_ours(r, start, (size_t)(end + 1 - start), strongly);
        p = end;
    }
    return found;
}

static size_t count(const request *r, const char *name) {
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++)
        n += strcasecmp(r->lines[i].name, name) == 0;
    return n;
}

static const char *value_of(const request *r, const char *name) {
    for (size_t i = 0; i < r->n; i++)
        if (strcasecmp(r->lines[i].name, name) == 0) return r->lines[i].value;
    return NULL;
}

static bool any_has(const request *r, const char *name, bool strongly) {
    for (size_t i = 0; i < r->n; i++)
        if (strcasecmp(r->lines[i].name, name) == 0 && list_has(r, r->lines[i].value, strongly))
            return true;
    return false;
}

/* The date of a field that is there once and can be read. */
static bool date_of(const request *r, const char *name, int64_t *t) {
    return r->of.has_date && count(r, name) == 1 && judge_date(value_of(r, name), r->now, t);
}

/* RFC 9110 13.2.2, step by step. */
static int judge_status(const request *r) {
    int64_t t;

    if (count(r, "If-Match") > 0) {
        if (!any_has(r, "If-Match", true)) return 412;
    } else if (date_of(r, "If-Unmodified-Since", &t) && r->of.date > t) {
        return 412;
    }
    if (count(r, "If-None-Match") > 0) return any_has(r, "If-None-Match", false) ? 304 : 200;
    return date_of(r, "If-Modified-Since", &t) && r->of.date <= t ? 304 : 200;
}

static const char *judge_range(const request *r) {
    int64_t t;

    if (count(r, "Range") != 1) return "";
    if (count(r, "If-Range") == 0) return value_of(r, "Range");
    if (count(r, "If-Range") > 1) return "";
    const char *value = value_of(r, "If-Range");
    bool holds = matches(ONE_TAG, value, NULL, 0) ? same_as_ours(r, value, strlen(value), true)
                                                  : date_of(r, "If-Range", &t) && t == r->of.date;
    return holds ? value_of(r, "Range") : "";
}

/* ---- codings --------------------------------------------------------------------------------- */

/* Weights in thousandths, by name; -1: not mentioned. */
static int weight_of(const request *r, const char *want, const char *alias) {
    int weight = -1;

    for (size_t i = 0; i < r->n; i++) {
        if (strcasecmp(r->lines[i].name, "Accept-Encoding") != 0) continue;
        char *list = strdup(r->lines[i].value);
        if (!list) abort();
        for (char *next = list; next;) {
            regmatch_t g[4];
            char *element = next, *comma = strchr(next, ',');
            next = comma ? comma + 1 : NULL;
            if (comma) *comma = '\0';
            if (!matches(CODING, element, g, 4)) continue;
            size_t n = (size_t)(g[1].rm_eo - g[1].rm_so);
            if (!fuzz_same_name(element + g[1].rm_so, n, want) &&
                !fuzz_same_name(element + g[1].rm_so, n, alias))
                continue;
            weight = g[3].rm_so < 0 ? 1000 : (int)(atof(element + g[3].rm_so) * 1000 + 0.5);
        }
        free(list);
    }
    return weight;
}

static void check_codings(const request *r) {
    mh__accept a;
    mh__coding order[MH__CODINGS - 1];

    mh__accept_init(&a);
    for (size_t i = 0; i < r->n; i++) {
        const char *value = r->lines[i].value;
        if (strcasecmp(r->lines[i].name, "Accept-Encoding") != 0) continue;
        char *copy = wire_copy(value, strlen(value));
        mh__accept_take(&a, (mh_str){copy, strlen(value)});
        free(copy);
    }
    size_t n = mh__accept_order(&a, order);
    int any = weight_of(r, "*", "*"), br = weight_of(r, "br", "br");
    int gzip = weight_of(r, "gzip", "x-gzip"), identity = weight_of(r, "identity", "identity");
    if (br < 0) br = any;
    if (gzip < 0) gzip = any;
    if (identity < 0) identity = any;
    bool takes_br = br > 0 && br >= identity, takes_gzip = gzip > 0 && gzip >= identity;
    FUZZ_CHECK(n == (size_t)takes_br + (size_t)takes_gzip);
    if (n == 1) FUZZ_CHECK(order[0] == (takes_br ? MH__CODING_BR : MH__CODING_GZIP));
    if (n == 2) FUZZ_CHECK(order[0] == (br >= gzip ? MH__CODING_BR : MH__CODING_GZIP));
    if (n == 2) FUZZ_CHECK(order[0] + order[1] == MH__CODING_BR + MH__CODING_GZIP);
}

/* ---- the input ------------------------------------------------------------------------------- */

/* The bytes up to the next LF, ended by NUL; to be freed. */
static char *take_text(fuzz_input *in) {
    const char *start = in->p, *lf = fuzz_left(in) > 0 ? memchr(start, '\n', fuzz_left(in)) : NULL;
    size_t n = lf ? (size_t)(lf - start) : fuzz_left(in);
    char *text = malloc(n + 1);

    if (!text) abort();
    if (n > 0) memcpy(text, start, n);
    text[n] = '\0';
    in->p = lf ? lf + 1 : in->end;
    return text;
}

/* A line as a parser gives it: a token, and text without white space around it. */
static bool take_line(fuzz_input *in, line *out) {
    char *name = take_text(in), *colon = strchr(name, ':');

    *out = (line){name, NULL};
    if (!colon) return false;
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t n = strlen(value);
    while (n > 0 && fuzz_is_space(value[n - 1]))
        value[--n] = '\0';
    out->value = value;
    return *name && fuzz_all(name, strlen(name), fuzz_is_tchar) && fuzz_all(value, n, fuzz_is_text);
}

static void decode(request *r, fuzz_input *in) {
    uint8_t choices = fuzz_byte(in);
    int64_t date = (int64_t)(fuzz_u64(in) % 253402300800u), now = (int64_t)fuzz_u64(in);

    *r = (request){.now = choices & NEAR ? (int64_t)((uint64_t)now % 253402300800u) : now};
    r->tag = take_text(in);
    size_t n = strlen(r->tag);
    bool good = n >= 2 && r->tag[0] == '"' && matches(ONE_TAG, r->tag, NULL, 0);
    if (choices & HAS_TAG && good) r->of.tag = (mh_str){r->tag, n};
    r->of.weak = choices & WEAK;
    r->of.has_date = choices & HAS_DATE;
    r->of.date = date;
    while (fuzz_left(in) > 0 && r->n < LINES) {
        if (take_line(in, &r->lines[r->n]))
            r->n++;
        else
            free(r->lines[r->n].name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size);
    mh__conditions c;
    request r;
    char *copies[2 * LINES];

    decode(&r, &in);
    mh__conditions_init(&c, &r.of, r.now);
    for (size_t i = 0; i < r.n; i++) {
        size_t name_n = strlen(r.lines[i].name), value_n = strlen(r.lines[i].value);
        copies[2 * i] = wire_copy(r.lines[i].name, name_n);
        copies[2 * i + 1] = wire_copy(r.lines[i].value, value_n);
        mh__conditions_take(&c, (mh_str){copies[2 * i], name_n},
                            (mh_str){copies[2 * i + 1], value_n});
        int64_t got = 77, want = 77;
        bool read = mh__date_read(&got, copies[2 * i + 1], value_n, r.now);
        FUZZ_CHECK(read == judge_date(r.lines[i].value, r.now, &want) && got == want);
    }
    FUZZ_CHECK(mh__conditions_status(&c) == judge_status(&r));
    mh_str range = mh__conditions_range(&c);
    FUZZ_CHECK(wire_same(range.p, range.n, judge_range(&r)));
    check_codings(&r);
    for (size_t i = 0; i < r.n; i++) {
        free(r.lines[i].name);
        free(copies[2 * i]);
        free(copies[2 * i + 1]);
    }
    free(r.tag);
    return 0;
}
