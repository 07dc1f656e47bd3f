/* parser.h: the grammar of a request head, row by row of docs/http.md, each case also split at
 * every byte. Built twice, with vectors and with MH_SCAN_PLAIN. */
#include "parser.h"

#include <stdbool.h>

#include "check.h"
#include "wire.h"

enum { FIELDS = 100 };

static const mh__limits usual = {.request_line = 8192, .head = 32768, .fields = FIELDS};

/* Feeds p[0..n) in pieces that end where step says (0: all at once, k: every k bytes, -1: at
 * random), each time in a buffer of its own. Returns what the
 * search returns at last. */
static int64_t search_in_steps(mh__search *s, const char *p, size_t n, const mh__limits *limits,
                               int step, uint32_t *seed) {
    size_t have = 0;
    int64_t result;

    *s = (mh__search){0};
    do {
        have += step == 0 ? n : step > 0 ? (size_t)step : 1 + wire_random(seed, 40);
        if (have > n) have = n;
        char *copy = wire_copy_head(p, have);
        result = mh__search_head(s, copy, have, limits);
        free(copy);
    } while (result == 0 && have < n);
    return result;
}

/* The search's verdict, which must be the same however the bytes come. */
static int64_t search(mh__search *s, const char *p, size_t n, const mh__limits *limits) {
    int64_t whole = search_in_steps(s, p, n, limits, 0, NULL);
    mh__search other;
    uint32_t seed = (uint32_t)n + 1;

    for (int step = 1; step <= 17; step += step < 3 ? 1 : 7) {
        CHECK_INT(search_in_steps(&other, p, n, limits, step, NULL), whole);
        if (whole > 0) CHECK_INT(other.start, s->start);
    }
    for (int i = 0; i < 4; i++)
        CHECK_INT(search_in_steps(&other, p, n, limits, -1, &seed), whole);
    for (size_t cut = 1; cut < n; cut++) { /* two pieces */
        char *copy = wire_copy_head(p, cut);
        other = (mh__search){0};
        int64_t result = mh__search_head(&other, copy, cut, limits);
        free(copy);
        copy = wire_copy_head(p, n);
        if (result == 0) result = mh__search_head(&other, copy, n, limits);
        free(copy);
        if (result != whole) CHECK_FAIL_("cut at %zu: %lld", cut, (long long)result);
    }
    return whole;
}

static bool inside(mh__span span, size_t n) { return span.off <= n && span.n <= n - span.off; }

static bool is_trimmed(const char *p, mh__span v) {
    if (v.n == 0) return true;
    return !memchr(" \t", p[v.off], 2) && !memchr(" \t", p[v.off + v.n - 1], 2);
}

/* What holds for every head that was accepted. */
static void check_head(const char *p, size_t n, const mh__head *head, const mh__field *fields) {
    CHECK(inside(head->method, n) && head->method.n > 0 && head->method.n <= 32);
    CHECK(inside(head->target, n) && head->target.n > 0);
    CHECK(inside(head->block, n) && head->block.off + head->block.n + 2 == n);
    CHECK_INT(head->size, n);
    CHECK(head->minor <= 1);
    CHECK(!memchr(p + head->target.off, ' ', head->target.n));
    CHECK(!memchr(p, '\0', n));
    for (uint32_t i = 0; i < head->n_fields; i++) {
        mh__span name = fields[i].name, value = fields[i].value;
        CHECK(inside(name, n) && name.n > 0 && p[name.off + name.n] == ':');
        CHECK(inside(value, n) && value.off > name.off + name.n);
        CHECK(is_trimmed(p, value));
        CHECK(!memchr(p + value.off, '\r', value.n) && !memchr(p + value.off, '\n', value.n));
    }
}

/* mh__take_head must say what the search and the parser say, however the bytes come; want is that
 * status, -1 for a head that is not complete. */
static void check_take(const char *p, size_t n, const mh__limits *limits, int want,
                       const mh__head *want_head, const mh__field *want_fields) {
    uint32_t seed = (uint32_t)n;

    for (int step = 0; step < 4; step++) { /* whole, two pieces, more */
        mh__search s = {0};
        mh__head head;
        mh__field fields[FIELDS];
        size_t have = 0;
        int status;
        do {
            have += step == 0 || have + 1 >= n ? n : 1 + wire_random(&seed, (uint32_t)(n - have));
            if (have > n) have = n;
            char *copy = wire_copy_head(p, have);
            status = mh__take_head(&head, fields, &s, copy, have, limits);
            free(copy);
        } while (status == MH__HEAD_PART && have < n);
        CHECK_INT(status, want < 0 ? MH__HEAD_PART : want == 0 ? MH__HEAD_WHOLE : want);
        if (status != MH__HEAD_WHOLE || want != 0) continue;
        CHECK_INT(head.size, want_head->size);
        CHECK_INT(head.minor, want_head->minor);
        CHECK(memcmp(&head.target, &want_head->target, sizeof(head.target)) == 0);
        CHECK(memcmp(&head.block, &want_head->block, sizeof(head.block)) == 0);
        CHECK_INT(head.n_fields, want_head->n_fields);
        CHECK(memcmp(fields, want_fields, head.n_fields * sizeof(*fields)) == 0);
    }
}

typedef struct parsed {
    char *p; /* the head alone, to be freed */
    mh__head head;
    mh__field fields[FIELDS];
} parsed;

/* The status that refuses p[0..n), or 0 for a complete and good head, or -1 if it is not complete.
 */
static int parse(parsed *out, const char *p, size_t n, const mh__limits *limits) {
    mh__search s;
    int64_t end = search(&s, p, n, limits);

    out->p = NULL;
    if (end <= 0) {
        check_take(p, n, limits, end < 0 ? (int)-end : -1, NULL, NULL);
        return end < 0 ? (int)-end : -1;
    }
    CHECK(end <= (int64_t)n);
    out->p = wire_copy_head(p, (size_t)end);
    mh__field *fields =
        malloc(limits->fields * sizeof(*fields) + 1); /* exactly as many as it may fill */
    if (!fields) abort();
    int status = mh__parse_head(&out->head, fields, out->p, (size_t)end, &s, limits);
    if (status == 0) {
        check_head(out->p, (size_t)end, &out->head, fields);
        memcpy(out->fields, fields, out->head.n_fields * sizeof(*fields));
    }
    check_take(p, n, limits, status, &out->head, fields);
    free(fields);
    return status;
}

typedef struct verdict {
    const char *what, *bytes;
    size_t n;
    int status; /* as parse */
} verdict;

#define BYTES(text) text, sizeof(text) - 1
#define OK_LINE     "GET / HTTP/1.1\r\n"

static void check_verdicts(const verdict *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        parsed got;
        int status = parse(&got, cases[i].bytes, cases[i].n, &usual);
        if (status != cases[i].status)
            CHECK_FAIL_("%s: %d, not %d", cases[i].what, status, cases[i].status);
        free(got.p);
    }
}

#define CHECK_VERDICTS(cases) check_verdicts(cases, sizeof(cases) / sizeof(*(cases)))

static void lines_end_in_crlf_only(void) {
    static const verdict cases[] = {
        {"bare LF after the request line", BYTES("GET / HTTP/1.1\nHost: a\r\n\r\n"), 400},
        {"bare LF after a field", BYTES(OK_LINE "Host: a\n\r\n"), 400},
        {"bare LF as the empty line", BYTES(OK_LINE "Host: a\r\n\n"), 400},
        {"only LFs", BYTES("GET / HTTP/1.1\n\n"), 400},
        {"LF first", BYTES("\n"), 400},
        {"LF after an empty line", BYTES("\r\n\n"), 400},
        {"bare LF in the method", BYTES("GE\nT / HTTP/1.1\r\n\r\n"), 400},
        {"bare CR in the request line", BYTES("GET /\r HTTP/1.1\r\n\r\n"), 400},
        {"CR CR LF after the request line", BYTES("GET / HTTP/1.1\r\r\n\r\n"), 400},
        {"bare CR in a value", BYTES(OK_LINE "A: b\rc\r\n\r\n"), 400},
        {"CR CR LF after a value", BYTES(OK_LINE "A: b\r\r\n\r\n"), 400},
        {"bare CR in a name", BYTES(OK_LINE "A\rb: c\r\n\r\n"), 400},
        {"a line that is a CR", BYTES(OK_LINE "\r\r\n\r\n"), 400},
        {"bare CR before the request line", BYTES("\rGET / HTTP/1.1\r\n\r\n"), 400},
    };
    CHECK_VERDICTS(cases);
}

static void at_most_two_empty_lines_come_first(void) {
    static const verdict cases[] = {
        {"one", BYTES("\r\n" OK_LINE "\r\n"), 0},
        {"two", BYTES("\r\n\r\n" OK_LINE "\r\n"), 0},
        {"three", BYTES("\r\n\r\n\r\n" OK_LINE "\r\n"), 400},
        {"three and nothing else", BYTES("\r\n\r\n\r\n"), 400},
        {"two and nothing else", BYTES("\r\n\r\n"), -1},
        {"two and half of the third", BYTES("\r\n\r\n\r"), -1},
        {"a space", BYTES(" \r\n" OK_LINE "\r\n"), 400},
    };
    CHECK_VERDICTS(cases);

    parsed got;
    REQUIRE(parse(&got, BYTES("\r\n\r\nPUT /x HTTP/1.0\r\nA: b\r\n\r\nrest"), &usual) == 0);
    CHECK(wire_same(got.p + got.head.method.off, got.head.method.n, "PUT"));
    CHECK(wire_same(got.p + got.head.target.off, got.head.target.n, "/x"));
    CHECK_INT(got.head.minor, 0);
    CHECK(wire_same(got.p + got.head.block.off, got.head.block.n, "A: b\r\n"));
    free(got.p);
}

static void an_incomplete_head_is_waited_for(void) {
    static const char text[] = OK_LINE "Host: a\r\nB: c\r\n\r\n";

    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        mh__search s;
        CHECK_INT(search(&s, text, n, &usual), 0);
    }
    mh__search s;
    CHECK_INT(search(&s, BYTES(text), &usual), sizeof(text) - 1);
}

static void the_head_ends_before_what_follows_it(void) {
    mh__search s;

    CHECK_INT(search(&s, BYTES(OK_LINE "\r\nbody\r\n\r\n"), &usual), 18);
    CHECK_INT(search(&s, BYTES(OK_LINE "A: b\r\n\r\n\n\n\r\n"), &usual), 24);
}

static void the_request_line_has_three_parts_and_single_spaces(void) {
    static const verdict cases[] = {
        {"plain", BYTES("GET / HTTP/1.1\r\n\r\n"), 0},
        {"two spaces after the method", BYTES("GET  / HTTP/1.1\r\n\r\n"), 400},
        {"two spaces after the target", BYTES("GET /  HTTP/1.1\r\n\r\n"), 400},
        {"space at the end", BYTES("GET / HTTP/1.1 \r\n\r\n"), 400},
        {"space at the start", BYTES(" GET / HTTP/1.1\r\n\r\n"), 400},
        {"a tab for a space", BYTES("GET\t/ HTTP/1.1\r\n\r\n"), 400},
        {"a tab in the target", BYTES("GET /\t HTTP/1.1\r\n\r\n"), 400},
        {"no version", BYTES("GET /\r\n\r\n"), 400},
        {"no version but its space", BYTES("GET / \r\n\r\n"), 400},
        {"no target", BYTES("GET HTTP/1.1\r\n\r\n"), 400},
        {"empty target", BYTES("GET  HTTP/1.1\r\n\r\n"), 400},
        {"method alone", BYTES("GET\r\n\r\n"), 400},
        {"one byte", BYTES("G\r\n\r\n"), 400},
        {"no method", BYTES("/ HTTP/1.1\r\n\r\n"), 400},
        {"four parts", BYTES("GET / x HTTP/1.1\r\n\r\n"), 400},
    };
    CHECK_VERDICTS(cases);
}

static void methods_are_tokens_of_at_most_32_bytes(void) {
    static const verdict cases[] = {
        {"every kind of tchar", BYTES("aZ09!#$%&'*+-.^_`|~ / HTTP/1.1\r\n\r\n"), 0},
        {"32 bytes", BYTES("ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOP / HTTP/1.1\r\n\r\n"), 0},
        {"33 bytes", BYTES("ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n\r\n"), 501},
        {"33 bytes and no more", BYTES("ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOPQ\r\n\r\n"), 400},
        {"a byte that is no tchar", BYTES("G(T / HTTP/1.1\r\n\r\n"), 400},
        {"a colon", BYTES("G:T / HTTP/1.1\r\n\r\n"), 400},
        {"obs-text", BYTES("G\xe9T / HTTP/1.1\r\n\r\n"), 400},
        {"NUL", BYTES("G\0T / HTTP/1.1\r\n\r\n"), 400},
        {"starts like GET", BYTES("GETX / HTTP/1.1\r\n\r\n"), 0},
        {"shorter than four bytes", BYTES("A b HTTP/1.1\r\n\r\n"), 0},
    };
    CHECK_VERDICTS(cases);

    parsed got;
    REQUIRE(parse(&got, BYTES("gEt /a HTTP/1.1\r\n\r\n"), &usual) == 0);
    CHECK(wire_same(got.p + got.head.method.off, got.head.method.n, "gEt")); /* as sent */
    free(got.p);
}

static void targets_hold_visible_ascii_but_the_number_sign(void) {
    for (unsigned b = 0; b < 256; b++) {
        char text[] = "GET /abcdefghijklmn?opqrstuvw HTTP/1.1\r\nHost: a\r\n\r\n";
        bool good = b > 0x20 && b < 0x7f && b != '#';
        for (size_t at = 5; at <= 27; at += 11) {
            parsed got;
            char was = text[at];
            text[at] = (char)b;
            int status = parse(&got, text, sizeof(text) - 1, &usual);
            if (status != (good ? 0 : 400)) CHECK_FAIL_("byte %u at %zu: %d", b, at, status);
            free(got.p);
            text[at] = was;
        }
    }
}

static void versions_of_http_1_are_taken_and_others_told_apart(void) {
    static const verdict cases[] = {
        {"1.0", BYTES("GET / HTTP/1.0\r\n\r\n"), 0},
        {"1.1", BYTES("GET / HTTP/1.1\r\n\r\n"), 0},
        {"1.2", BYTES("GET / HTTP/1.2\r\n\r\n"), 0},
        {"1.9", BYTES("GET / HTTP/1.9\r\n\r\n"), 0},
        {"0.9", BYTES("GET / HTTP/0.9\r\n\r\n"), 505},
        {"2.0", BYTES("GET / HTTP/2.0\r\n\r\n"), 505},
        {"3.1", BYTES("GET / HTTP/3.1\r\n\r\n"), 505},
        {"9.9", BYTES("GET / HTTP/9.9\r\n\r\n"), 505},
        {"the preface of HTTP/2", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505},
        {"HTTP/2", BYTES("GET / HTTP/2\r\n\r\n"), 400},
        {"1.10", BYTES("GET / HTTP/1.10\r\n\r\n"), 400},
        {"11.1", BYTES("GET / HTTP/11.1\r\n\r\n"), 400},
        {"1.", BYTES("GET / HTTP/1.\r\n\r\n"), 400},
        {"1,1", BYTES("GET / HTTP/1,1\r\n\r\n"), 400},
        {"a letter", BYTES("GET / HTTP/1.x\r\n\r\n"), 400},
        {"a letter first", BYTES("GET / HTTP/x.1\r\n\r\n"), 400},
        {"lower case", BYTES("GET / http/1.1\r\n\r\n"), 400},
        {"another protocol", BYTES("GET / ICY/1.1\r\n\r\n"), 400},
        {"another protocol of that length", BYTES("GET / HTTQ/1.1\r\n\r\n"), 400},
        {"no slash", BYTES("GET / HTTP 1.1\r\n\r\n"), 400},
    };
    CHECK_VERDICTS(cases);

    for (char minor = '0'; minor <= '9'; minor++) {
        char text[] = "GET / HTTP/1.x\r\nA: b\r\n\r\n";
        parsed got;
        text[13] = minor;
        REQUIRE(parse(&got, text, sizeof(text) - 1, &usual) == 0);
        CHECK_INT(got.head.minor, minor != '0');
        free(got.p);
    }
}

static void field_lines_are_a_name_a_colon_and_a_value(void) {
    static const verdict cases[] = {
        {"plain", BYTES(OK_LINE "A: b\r\n\r\n"), 0},
        {"no space", BYTES(OK_LINE "A:b\r\n\r\n"), 0},
        {"no value", BYTES(OK_LINE "A:\r\n\r\n"), 0},
        {"a value of white space", BYTES(OK_LINE "A: \t \r\n\r\n"), 0},
        {"colons in the value", BYTES(OK_LINE "A: :b:\r\n\r\n"), 0},
        {"an underscore", BYTES(OK_LINE "A_b: c\r\n\r\n"), 0},
        {"space before the colon", BYTES(OK_LINE "A : b\r\n\r\n"), 400},
        {"tab before the colon", BYTES(OK_LINE "A\t: b\r\n\r\n"), 400},
        {"space in the name", BYTES(OK_LINE "A b: c\r\n\r\n"), 400},
        {"empty name", BYTES(OK_LINE ": b\r\n\r\n"), 400},
        {"no colon", BYTES(OK_LINE "Ab\r\n\r\n"), 400},
        {"no colon in the last line", BYTES(OK_LINE "A: b\r\nxxxxxxxxxxxxxxxxxxx\r\n\r\n"), 400},
        {"obs-fold with a space", BYTES(OK_LINE "A: b\r\n c\r\n\r\n"), 400},
        {"obs-fold with a tab", BYTES(OK_LINE "A: b\r\n\tc\r\n\r\n"), 400},
        {"obs-fold of nothing", BYTES(OK_LINE "A: b\r\n \r\n\r\n"), 400},
        {"white space before the first field", BYTES(OK_LINE " A: b\r\n\r\n"), 400},
        {"a line of white space", BYTES(OK_LINE " \r\nA: b\r\n\r\n"), 400},
    };
    CHECK_VERDICTS(cases);
}

static void names_hold_tchars_and_values_no_control_bytes(void) {
    for (unsigned b = 0; b < 256; b++) {
        char text[] = OK_LINE "Abcdefghijklmnopqr: some value of length\r\nB: c\r\n\r\n";
        bool alnum = (b >= '0' && b <= '9') || ((b | 0x20) >= 'a' && (b | 0x20) <= 'z' && b < 128);
        bool token = alnum || (b && strchr("!#$%&'*+-.^_`|~", (int)b));
        bool text_byte = b >= 0x20 ? b != 0x7f : b == '\t';

        for (size_t at = 17; at <= 32;
             at += 15) { /* after the first byte of the name, and near its end */
            parsed got;
            char was = text[at];
            text[at] = (char)b;
            int status = parse(&got, text, sizeof(text) - 1, &usual);
            if (status != (token || b == ':' ? 0 : 400)) CHECK_FAIL_("name, %u: %d", b, status);
            free(got.p);
            text[at] = was;
        }
        for (size_t at = 36; at <= 54; at += 6) {
            parsed got;
            char was = text[at];
            text[at] = (char)b;
            int status = parse(&got, text, sizeof(text) - 1, &usual);
            if (status != (text_byte ? 0 : 400)) CHECK_FAIL_("value, %u: %d", b, status);
            free(got.p);
            text[at] = was;
        }
    }
}

static void views_are_the_bytes_that_were_sent(void) {
    parsed got;

    REQUIRE(parse(&got,
                  BYTES("DELETE http://h/p?q HTTP/1.1\r\nHost: example.org\r\nX:\t  a b\t \r\n"
                        "Empty:   \r\nobs: \xe9\xff\r\nlast:z\r\n\r\nGET"),
                  &usual) == 0);
    static const char *const want[][2] = {
        {"Host", "example.org"}, {"X", "a b"}, {"Empty", ""}, {"obs", "\xe9\xff"}, {"last", "z"}};
    CHECK(wire_same(got.p + got.head.method.off, got.head.method.n, "DELETE"));
    CHECK(wire_same(got.p + got.head.target.off, got.head.target.n, "http://h/p?q"));
    CHECK(
        wire_same(got.p + got.head.block.off, got.head.block.n,
                  "Host: example.org\r\nX:\t  a b\t \r\nEmpty:   \r\nobs: \xe9\xff\r\nlast:z\r\n"));
    REQUIRE(got.head.n_fields == 5);
    for (size_t i = 0; i < 5; i++) {
        CHECK(wire_same(got.p + got.fields[i].name.off, got.fields[i].name.n, want[i][0]));
        CHECK(wire_same(got.p + got.fields[i].value.off, got.fields[i].value.n, want[i][1]));
    }
    free(got.p);
}

static void a_head_without_fields_has_an_empty_block(void) {
    parsed got;

    REQUIRE(parse(&got, BYTES(OK_LINE "\r\n"), &usual) == 0);
    CHECK_INT(got.head.n_fields, 0);
    CHECK_INT(got.head.block.n, 0);
    CHECK_INT(got.head.block.off, 16);
    free(got.p);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static int parse_text(const char *p, size_t n, const mh__limits *limits) {
    parsed got;
    int status = parse(&got, p, n, limits);

    free(got.p);
    return status;
}

static void a_request_line_over_its_limit_is_414(void) {
    for (uint32_t length = 14; length <= 60; length++) {
        char text[128];
        int n =
            snprintf(text, sizeof(text), "GET /%0*d HTTP/1.1\r\nA: b\r\n\r\n", (int)length - 14, 0);
        if (length == 14) n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nA: b\r\n\r\n");
        mh__limits limits = usual;

        limits.request_line = length;
        CHECK_INT(parse_text(text, (size_t)n, &limits), 0);
        limits.request_line = length - 1;
        CHECK_INT(parse_text(text, (size_t)n, &limits), 414);
        /* decided by the first byte that can't be part of the line or its CR, and not before */
        mh__search s;
        CHECK_INT(search(&s, text, length, &limits), -414);
        CHECK_INT(search(&s, text, length - 1, &limits), 0);
    }
}

static void a_cr_at_the_limit_may_be_half_of_the_crlf(void) {
    mh__limits limits = {.request_line = 14, .head = 1000, .fields = 10};
    mh__search s;

    CHECK_INT(search(&s, BYTES("GET / HTTP/1.1\r"), &limits), 0);
    CHECK_INT(search(&s, BYTES("GET / HTTP/1.1\rx"), &limits), -414);
    CHECK_INT(search(&s, BYTES("GET / HTTP/1.1\r\r\n\r\n"), &limits), -414);
    CHECK_INT(search(&s, BYTES("GET / HTTP/1.1\r\n\r\n"), &limits), 18);
    CHECK_INT(search(&s, BYTES("GET / HTTP/1.1x"), &limits), -414);
    CHECK_INT(search(&s, BYTES("GET / HTTP/1.1\n"), &limits), -400);
    CHECK_INT(search(&s, BYTES("GET / HTTP/1.1x\n"), &limits), -414);
    /* the empty lines before it do not count */
    CHECK_INT(search(&s, BYTES("\r\n\r\nGET / HTTP/1.1\r\n\r\n"), &limits), 22);
    CHECK_INT(search(&s, BYTES("\r\n\r\nGET / HTTP/1.1x"), &limits), -414);
}

static void a_head_over_its_limit_is_431(void) {
    static const char text[] = OK_LINE "Host: example.org\r\nAccept: */*\r\n\r\n";
    const uint32_t n = sizeof(text) - 1;
    mh__limits limits = usual;

    limits.head = n;
    CHECK_INT(parse_text(text, n, &limits), 0);
    CHECK_INT(
        parse_text("\r\n\r\n" OK_LINE "Host: example.org\r\nAccept: */*\r\n\r\n", n + 4, &limits),
        0);
    for (uint32_t less = 1; less <= n; less++) {
        mh__search s;
        limits.head = n - less;
        CHECK_INT(parse_text(text, n, &limits), 431);
        /* decided as soon as the bytes are used up, and not before */
        CHECK_INT(search(&s, text, n - less, &limits), -431);
        if (n - less > 0) CHECK_INT(search(&s, text, n - less - 1, &limits), 0);
    }
}

static void a_field_line_over_its_limit_is_431(void) {
    static const char text[] = OK_LINE "A: b\r\nHost:  example.org \r\nAccept: */*\r\n\r\n";
    const uint32_t n = sizeof(text) - 1, longest = sizeof("Host:  example.org ") - 1;
    mh__limits limits = usual;

    limits.field = longest;
    CHECK_INT(parse_text(text, n, &limits), 0);
    limits.field = longest - 1;
    CHECK_INT(parse_text(text, n, &limits), 431);
    CHECK_INT(parse_text(OK_LINE "A: b\r\n\r\n", sizeof(OK_LINE "A: b\r\n\r\n") - 1, &limits), 0);
    CHECK_INT(parse_text(OK_LINE "\r\n", sizeof(OK_LINE "\r\n") - 1, &limits), 0);
}

static void what_is_decided_first_is_answered(void) {
    mh__limits limits = {.request_line = 20, .head = 40, .fields = 10};
    mh__search s;

    CHECK_INT(search(&s, BYTES("GET /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), &limits),
              -414);
    CHECK_INT(search(&s, BYTES(OK_LINE "A: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"), &limits), -431);
    CHECK_INT(search(&s, BYTES(OK_LINE "A: xx\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), &limits), -400);
    limits.head = 10; /* less than a request line may be */
    CHECK_INT(search(&s, BYTES("GET /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), &limits), -431);
    CHECK_INT(search(&s, BYTES("GET /xxxx\n"), &limits), -400);
}

static void more_fields_than_the_limit_are_431(void) {
    char text[2000] = OK_LINE;
    size_t n = sizeof(OK_LINE) - 1;

    for (uint32_t fields = 0; fields <= 101; fields++) {
        mh__limits limits = usual;
        memcpy(text + n, "\r\n", 2);
        limits.fields = fields < FIELDS ? fields : FIELDS;
        CHECK_INT(parse_text(text, n + 2, &limits), fields <= FIELDS ? 0 : 431);
        if (fields > 0) {
            limits.fields = fields - 1 < FIELDS ? fields - 1 : FIELDS;
            CHECK_INT(parse_text(text, n + 2, &limits), 431);
        }
        memcpy(text + n, "Ab: c\r\n", 7);
        n += 7;
    }
}

static void the_usual_limits_hold_to_the_byte(void) {
    static char text[40000];
    mh__search s;

    memset(text, 'x', sizeof(text));
    memcpy(text, "GET /", 5);
    memcpy(text + 8192 - 9, " HTTP/1.1\r\n\r\n", 13);
    s = (mh__search){0};
    CHECK_INT(mh__search_head(&s, text, 8192 + 4, &usual), 8192 + 4);
    memmove(text + 8, text + 7, 8192 + 4 - 7);
    s = (mh__search){0};
    CHECK_INT(mh__search_head(&s, text, 8192 + 5, &usual), -414);

    memset(text, 'x', sizeof(text));
    memcpy(text, OK_LINE "A: ", 19);
    memcpy(text + 32768 - 4, "\r\n\r\n", 4);
    s = (mh__search){0};
    CHECK_INT(mh__search_head(&s, text, sizeof(text), &usual), 32768);
    memcpy(text + 32768 - 4, "x\r\n\r\n", 5);
    s = (mh__search){0};
    CHECK_INT(mh__search_head(&s, text, sizeof(text), &usual), -431);
}

static void the_largest_limits_do_not_overflow(void) {
    mh__limits limits = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    mh__search s;

    CHECK_INT(search(&s, BYTES("\r\n\r\n" OK_LINE "A: b\r\n\r\n"), &limits), 28);
    CHECK_INT(search(&s, BYTES("\r\n\r\n" OK_LINE "A: b\r\n\r"), &limits), 0);
}

/* ---- mutations ------------------------------------------------------------------------------- */

static void whatever_comes_is_answered_and_views_stay_inside(void) {
    static const char *const seeds[] = {
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n",
        "\r\n\r\nPOST /a?b=c HTTP/1.0\r\nContent-Length: 5\r\nX:\r\n\r\nhello",
        "PRI * HTTP/2.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost:\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n",
    };
    static const mh__limits limits = {.request_line = 24, .head = 90, .fields = 4};
    uint32_t seed = 20240611;
    int counts[600] = {0};

    for (int round = 0; round < 200000; round++) {
        char text[256];
        const char *from = seeds[wire_random(&seed, 4)];
        size_t n = strlen(from);
        memcpy(text, from, n);
        n = wire_mutate(&seed, text, n, sizeof(text));

        mh__search s, split;
        int64_t end = search_in_steps(&s, text, n, &limits, 0, NULL);
        CHECK_INT(search_in_steps(&split, text, n, &limits, -1, &seed), end);
        CHECK(end <= (int64_t)n && (end >= 0 || end == -400 || end == -414 || end == -431));
        counts[end < 0 ? -end : end > 0]++;
        if (end <= 0) {
            check_take(text, n, &limits, end < 0 ? (int)-end : -1, NULL, NULL);
            continue;
        }
        mh__head head;
        mh__field *fields = malloc(limits.fields * sizeof(*fields));
        char *p = wire_copy_head(text, (size_t)end);
        if (!fields) abort();
        int status = mh__parse_head(&head, fields, p, (size_t)end, &s, &limits);
        CHECK(status == 0 || status == 400 || status == 501 || status == 505);
        if (status == 0) check_head(p, (size_t)end, &head, fields);
        check_take(text, n, &limits, status, &head, fields);
        counts[500 + (status == 0)]++;
        free(fields);
        free(p);
    }
    /* all kinds of answers have been seen */
    CHECK(counts[0] && counts[1] && counts[400] && counts[414] && counts[431]);
    CHECK(counts[500] && counts[501]);
}

int main(void) {
    RUN(lines_end_in_crlf_only);
    RUN(at_most_two_empty_lines_come_first);
    RUN(an_incomplete_head_is_waited_for);
    RUN(the_head_ends_before_what_follows_it);
    RUN(the_request_line_has_three_parts_and_single_spaces);
    RUN(methods_are_tokens_of_at_most_32_bytes);
    RUN(targets_hold_visible_ascii_but_the_number_sign);
    RUN(versions_of_http_1_are_taken_and_others_told_apart);
    RUN(field_lines_are_a_name_a_colon_and_a_value);
    RUN(names_hold_tchars_and_values_no_control_bytes);
    RUN(views_are_the_bytes_that_were_sent);
    RUN(a_head_without_fields_has_an_empty_block);
    RUN(a_request_line_over_its_limit_is_414);
    RUN(a_cr_at_the_limit_may_be_half_of_the_crlf);
    RUN(a_head_over_its_limit_is_431);
    RUN(a_field_line_over_its_limit_is_431);
    RUN(what_is_decided_first_is_answered);
    RUN(more_fields_than_the_limit_are_431);
    RUN(the_usual_limits_hold_to_the_byte);
    RUN(the_largest_limits_do_not_overflow);
    RUN(whatever_comes_is_answered_and_views_stay_inside);
    return check_end();
}
