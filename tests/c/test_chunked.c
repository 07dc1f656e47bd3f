/* chunked.h: rows 16 to 19 of docs/http.md. Each case comes whole, split at every byte, in single
 * bytes and at random, in buffers that end with the last byte that has come: the outcome must not
 * change. */
#include "chunked.h"

#include "check.h"
#include "wire.h"

static const mh__chunk_limits usual = {.ext = 4096, .trailer = 32768, .lines = 100};

typedef struct outcome {
    int result;     /* the last one */
    size_t used;    /* bytes taken; of a refused body, whatever */
    size_t n;       /* decoded */
    char data[512]; /* them */
} outcome;

/* Feeds one piece, in an allocation of its size. */
static void feed(outcome *out, mh__chunked *c, const char *p, size_t n, size_t max,
                 const mh__chunk_limits *limits) {
    char *copy = wire_copy(p, n);
    const char *q = copy, *end = copy + n, *data;
    size_t run;

    do {
        out->result = mh__chunked_next(c, &q, end, max, &data, &run, limits);
        CHECK(q >= copy && q <= end);
        if (out->result != MH__CHUNKED_DATA) break;
        CHECK(run > 0 && run <= max && data >= copy && data + run == q);
        REQUIRE(out->n + run <= sizeof(out->data));
        memcpy(out->data + out->n, data, run);
        out->n += run;
    } while (1);
    CHECK(out->result != MH__CHUNKED_MORE || q == end);
    out->used += (size_t)(q - copy);
    free(copy);
}

/* In pieces of step bytes (0: whole; -1: at random), the first of them first bytes long if that is
 * not 0. */
static outcome decode_in_steps(const char *p, size_t n, size_t first, int step, size_t max,
                               const mh__chunk_limits *limits, uint32_t *seed) {
    outcome out = {.result = MH__CHUNKED_MORE};
    mh__chunked c;

    mh__chunked_init(&c);
    for (size_t at = 0, run = first; at < n && out.result == MH__CHUNKED_MORE; at += run, run = 0) {
        if (run == 0) run = step == 0 ? n : step > 0 ? (size_t)step : 1 + wire_random(seed, 30);
        if (run > n - at) run = n - at;
        feed(&out, &c, p + at, run, max, limits);
    }
    return out;
}

static void check_same(const outcome *a, const outcome *b, const char *what) {
    if (a->result != b->result || a->n != b->n || memcmp(a->data, b->data, a->n) != 0 ||
        (a->result != MH__CHUNKED_BAD && a->used != b->used))
        CHECK_FAIL_("%s: %d with %zu of %zu bytes, not %d with %zu of %zu", what, a->result, a->n,
                    a->used, b->result, b->n, b->used);
}

static outcome decode(const char *p, size_t n, const mh__chunk_limits *limits) {
    outcome whole = decode_in_steps(p, n, 0, 0, SIZE_MAX, limits, NULL), other;
    uint32_t seed = (uint32_t)n + 1;

    for (size_t cut = 1; cut < n; cut++) {
        other = decode_in_steps(p, n, cut, 0, SIZE_MAX, limits, NULL);
        check_same(&other, &whole, "cut in two");
    }
    other = decode_in_steps(p, n, 0, 1, SIZE_MAX, limits, NULL);
    check_same(&other, &whole, "in single bytes");
    other = decode_in_steps(p, n, 0, 0, 1, limits, NULL);
    check_same(&other, &whole, "with room for one byte");
    for (int i = 0; i < 4; i++) {
        other = decode_in_steps(p, n, 0, -1, 1 + wire_random(&seed, 9), limits, &seed);
        check_same(&other, &whole, "at random");
    }
    return whole;
}

typedef struct example {
    const char *bytes;
    size_t n;
    const char *want; /* the data; NULL: refused */
    size_t left;      /* bytes behind the body */
} example;

#define BODY(text) text, sizeof(text) - 1

static void check_examples(const example *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const example *e = &cases[i];
        outcome got = decode(e->bytes, e->n, &usual);
        if (got.result != (e->want ? MH__CHUNKED_END : MH__CHUNKED_BAD)) {
            CHECK_FAIL_("case %zu, \"%s\": %d", i, e->bytes, got.result);
        } else if (e->want &&
                   (!wire_same(got.data, got.n, e->want) || got.used != e->n - e->left)) {
            CHECK_FAIL_("case %zu, \"%s\": %zu bytes, %zu used", i, e->bytes, got.n, got.used);
        }
    }
}

#define CHECK_EXAMPLES(cases) check_examples(cases, sizeof(cases) / sizeof(*(cases)))

static void chunks_become_their_data(void) {
    static const example cases[] = {
        {BODY("0\r\n\r\n"), "", 0},
        {BODY("5\r\nhello\r\n0\r\n\r\n"), "hello", 0},
        {BODY("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET / "), "hello world", 6},
        {BODY("00000005\r\nhello\r\n000\r\n\r\n\r\n"), "hello", 2},
        {BODY("a\r\n0123456789\r\nB\r\n01234567890\r\n0\r\n\r\n"), "012345678901234567890", 0},
        {BODY("0000000000000001\r\nx\r\n0\r\n\r\n"), "x", 0},
        {BODY("7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n"), "0\r\n\r\n\r\n", 0},
        {BODY("1F\r\n0123456789012345678901234567890\r\n0\r\n\r\n"),
         "0123456789012345678901234567890", 0},
    };
    CHECK_EXAMPLES(cases);
}

static void a_body_that_is_not_complete_is_waited_for(void) {
    static const char text[] = "5;a=\"b\"\r\nhello\r\n0\r\nA: b\r\n\r\n";

    for (size_t n = 1; n < sizeof(text) - 1; n++) {
        outcome got = decode(text, n, &usual);
        CHECK_INT(got.result, MH__CHUNKED_MORE);
        CHECK_INT(got.used, n);
        CHECK_INT(got.n, n < 9 ? 0 : n < 14 ? n - 9 : 5);
    }
    CHECK_INT(decode(text, sizeof(text) - 1, &usual).result, MH__CHUNKED_END);
}

static void a_size_is_1_to_16_hexadecimal_digits(void) {
    static const example cases[] = {
        {BODY("\r\n\r\n"), NULL, 0},
        {BODY(";a\r\n\r\n"), NULL, 0},
        {BODY("+5\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("-1\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("0x5\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("5_0\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY(" 5\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("\t5\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("5g\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("5.\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("00000000000000005\r\nhello\r\n0\r\n\r\n"), NULL, 0}, /* 17 digits */
        {BODY("10000000000000000\r\nhello\r\n0\r\n\r\n"), NULL, 0}, /* 2^64 */
        {BODY("5\r\nhello\r\n00000000000000000\r\n\r\n"), NULL, 0},
        {BODY("5\r\nhello\r\n\r\n"), NULL, 0},
        {BODY("hello"), NULL, 0},
        {BODY("\xb5\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("\0005\r\nhello\r\n0\r\n\r\n"), NULL, 0},
    };
    CHECK_EXAMPLES(cases);
    CHECK_INT(decode(BODY("ffffffffffffffff\r\nx"), &usual).result, MH__CHUNKED_MORE);
}

static void lines_and_data_end_in_crlf_only(void) {
    static const example cases[] = {
        {BODY("5\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("5\r\nhello\n0\r\n\r\n"), NULL, 0},
        {BODY("5\r\nhello\r\n0\n\r\n"), NULL, 0},
        {BODY("5\r\nhello\r\n0\r\n\n"), NULL, 0},
        {BODY("5\rhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("5\r\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("5\r\nhello\r0\r\n\r\n"), NULL, 0},
        {BODY("5\r\nhello\r\r\n0\r\n\r\n"), NULL, 0},
        {BODY("5\r\nhello0\r\n\r\n"), NULL, 0},
        {BODY("5\r\nhello!\r\n0\r\n\r\n"), NULL, 0},
        {BODY("4\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("6\r\nhello\r\n0\r\n\r\n"), NULL, 0},
        {BODY("0\r\n\rx"), NULL, 0},
        {BODY("0\r\n\r\r\n"), NULL, 0},
    };
    CHECK_EXAMPLES(cases);
}

static const char *const good_extensions[] = {
    ";a",
    ";a=b",
    ";a;b=c;d",
    ";a=\"b\"",
    ";a=\"\"",
    ";a=\"b;c=d\\\"\\\\\"",
    ";a=\"\t \xe9\"",
    ";a=\"\\\xe9\\\t\"",
    " ;a",
    "\t;\ta",
    " ; a = b",
    ";a \t;b",
    ";a= \"b\" ;c",
    ";a\t=\tb ;c",
    ";!#$%&'*+-.^_`|~0=9",
};

static const char *const bad_extensions[] = {
    ";",
    ";;",
    ";a;",
    "; ",
    ";=b",
    ";a=",
    ";a= ",
    ";a==b",
    ";a=b=c",
    ";a b",
    ";a=b c",
    ";a=\"b",
    ";a=\"b\"c",
    ";a=\"b\"\"c\"",
    ";a=\"\\",
    ";a=b\"c\"",
    ";\"a\"",
    ";a=\"\x01\"",
    ";a=\"\\\x01\"",
    ";a=\"\x7f\"",
    ";a=\"\\\x7f\"",
    ";a=\"b\nc\"",
    ";a=\"b\rc\"",
    ";a\xe9",
    ";a=\xe9",
    ";a,b",
    ";a=b,c",
    ";a(b)",
    ";a/b",
    ";a:b",
    " ",
    "\t",
    " a",
    ";a ",
    ";a=b ",
    ";a=\"b\" ",
    ";a=b\t",
    "\v;a",
    ";\x01",
    ";a\x01",
    ";a=\x01",
    "=a",
    " =a",
};

static void extensions_follow_their_grammar(void) {
    char text[128];

    for (size_t i = 0; i < sizeof(good_extensions) / sizeof(*good_extensions); i++) {
        int n = snprintf(text, sizeof(text), "5%s\r\nhello\r\n0%s\r\n\r\n", good_extensions[i],
                         good_extensions[i]);
        outcome got = decode(text, (size_t)n, &usual);
        if (got.result != MH__CHUNKED_END || !wire_same(got.data, got.n, "hello"))
            CHECK_FAIL_("\"%s\": %d", good_extensions[i], got.result);
    }
    for (size_t i = 0; i < sizeof(bad_extensions) / sizeof(*bad_extensions); i++) {
        int n = snprintf(text, sizeof(text), "5%s\r\nhello\r\n0\r\n\r\n", bad_extensions[i]);
        if (decode(text, (size_t)n, &usual).result != MH__CHUNKED_BAD)
            CHECK_FAIL_("\"%s\"", bad_extensions[i]);
        n = snprintf(text, sizeof(text), "0%s\r\n\r\n", bad_extensions[i]);
        if (decode(text, (size_t)n, &usual).result != MH__CHUNKED_BAD)
            CHECK_FAIL_("\"%s\"", bad_extensions[i]);
    }
}

static void extensions_are_limited_over_the_whole_body(void) {
    /* 2 + 6 + 4 bytes, from behind the digits to the CR */
    static const char text[] = "1;a\r\nx\r\n1 ;b= c\r\ny\r\n0;a=b\r\n\r\n";
    mh__chunk_limits limits = usual;

    for (limits.ext = 0; limits.ext < 20; limits.ext++)
        CHECK_INT(decode(text, sizeof(text) - 1, &limits).result,
                  limits.ext >= 12 ? MH__CHUNKED_END : MH__CHUNKED_BAD);
    limits.ext = 0;
    CHECK_INT(decode(BODY("1\r\nx\r\n0\r\n\r\n"), &limits).result, MH__CHUNKED_END);
}

static void trailers_are_fields_and_are_dropped(void) {
    static const example cases[] = {
        {BODY("0\r\nA: b\r\n\r\nrest"), "", 4},
        {BODY("1\r\nx\r\n0\r\nA:b\r\nC:\r\nd_e: \t\xe9 : \r\n\r\n"), "x", 0},
        {BODY("0\r\nContent-MD5: x\r\nDigest: y\r\nServer-Timing: z\r\n\r\n"), "", 0},
        {BODY("0\r\nA: b\r\n"
              "a-name-of-more-than-thirty-two-bytes-in-a-trailer: c\r\n\r\n"),
         "", 0},
        {BODY("0\r\n: b\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA : b\r\n\r\n"), NULL, 0},
        {BODY("0\r\n A: b\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA: b\r\n c\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA: b\r\n\tc\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA: b\n\r\n"), NULL, 0},
        {BODY("0\r\nA: b\rc\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA: b\r\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA: \0\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA: \x1f\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA: \x7f\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA\xe9: b\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA(: b\r\n\r\n"), NULL, 0},
        {BODY("0\r\nA: b\r\n\n"), NULL, 0},
        {BODY("0\r\nA: b\r\n\rx"), NULL, 0},
        {BODY("0\r\n\0: b\r\n\r\n"), NULL, 0},
    };
    CHECK_EXAMPLES(cases);
}

static const char *const forbidden[] = {
    "Content-Length",
    "Transfer-Encoding",
    "Host",
    "Trailer",
    "TE",
    "Connection",
    "Upgrade",
    "Keep-Alive",
    "Proxy-Connection",
    "Authorization",
    "Proxy-Authorization",
    "Proxy-Authenticate",
    "WWW-Authenticate",
    "Authentication-Info",
    "Proxy-Authentication-Info",
    "Cookie",
    "Set-Cookie",
    "Expect",
    "Max-Forwards",
    "Cache-Control",
    "Pragma",
    "Range",
    "If-Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "Content-Encoding",
    "Content-Type",
    "Content-Range",
    "Forwarded",
    "Via",
    "X-Real-IP",
    "X-Forwarded-For",
    "X-Forwarded-",
    "X-Forwarded-Something-That-Is-Rather-Long",
};

static void trailers_that_frame_route_or_authenticate_are_refused(void) {
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
        char text[160], name[64];
        size_t n = strlen(forbidden[i]);
        int length;

        for (size_t k = 0; k <= n; k++) /* another case */
            name[k] =
                (char)(forbidden[i][k] >= 'a' && k % 2 ? forbidden[i][k] - 32 : forbidden[i][k]);
        length = snprintf(text, sizeof(text), "0\r\n%s: x\r\n\r\n", forbidden[i]);
        if (decode(text, (size_t)length, &usual).result != MH__CHUNKED_BAD)
            CHECK_FAIL_("%s", forbidden[i]);
        length = snprintf(text, sizeof(text), "0\r\nA: b\r\n%s:\r\n\r\n", name);
        if (decode(text, (size_t)length, &usual).result != MH__CHUNKED_BAD) CHECK_FAIL_("%s", name);
        length = snprintf(text, sizeof(text), "0\r\nA%s: x\r\nC: d\r\n\r\n", forbidden[i]);
        if (decode(text, (size_t)length, &usual).result != MH__CHUNKED_END)
            CHECK_FAIL_("A%s", forbidden[i]);
        if (forbidden[i][0] == 'X' && n > 9) continue; /* a prefix is enough there */
        length = snprintf(text, sizeof(text), "0\r\n%sA: x\r\n\r\n", forbidden[i]);
        if (decode(text, (size_t)length, &usual).result != MH__CHUNKED_END)
            CHECK_FAIL_("%sA", forbidden[i]);
    }
}

static void trailers_are_limited_in_bytes_and_lines(void) {
    static const char text[] = "0\r\nA: b\r\nC: d\r\n\r\n";
    mh__chunk_limits limits = usual;

    for (limits.trailer = 0; limits.trailer < 14; limits.trailer++)
        CHECK_INT(decode(text, sizeof(text) - 1, &limits).result,
                  limits.trailer >= 12 ? MH__CHUNKED_END : MH__CHUNKED_BAD);
    limits = usual;
    for (limits.lines = 0; limits.lines < 4; limits.lines++)
        CHECK_INT(decode(text, sizeof(text) - 1, &limits).result,
                  limits.lines >= 2 ? MH__CHUNKED_END : MH__CHUNKED_BAD);
    limits = (mh__chunk_limits){0, 0, 0};
    CHECK_INT(decode(BODY("0\r\n\r\n"), &limits).result, MH__CHUNKED_END);
}

static void the_end_and_a_refusal_are_final(void) {
    mh__chunked c;
    const char text[] = "0\r\n\r\n5\r\nhello", bad[] = "x5\r\nhello\r\n", *p = text, *data;
    size_t n;

    mh__chunked_init(&c);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(mh__chunked_next(&c, &p, text + sizeof(text) - 1, 100, &data, &n, &usual),
                  MH__CHUNKED_END);
        CHECK(p == text + 5);
    }
    CHECK_INT(mh__chunked_next(&c, &p, p, 100, &data, &n, &usual), MH__CHUNKED_END);
    mh__chunked_init(&c);
    p = bad;
    for (int i = 0; i < 3; i++)
        CHECK_INT(mh__chunked_next(&c, &p, bad + sizeof(bad) - 1, 100, &data, &n, &usual),
                  MH__CHUNKED_BAD);
}

static void a_huge_chunk_is_passed_on_as_it_comes(void) {
    static const char size[] = "fffffffffffffff0\r\n";
    char block[1000];
    mh__chunked c;
    const char *p = size, *data;
    size_t n;

    memset(block, 'x', sizeof(block));
    mh__chunked_init(&c);
    CHECK_INT(mh__chunked_next(&c, &p, size + 18, 100, &data, &n, &usual), MH__CHUNKED_MORE);
    for (uint64_t i = 1; i < 100; i++) {
        p = block;
        CHECK_INT(mh__chunked_next(&c, &p, block + 1000, SIZE_MAX, &data, &n, &usual),
                  MH__CHUNKED_DATA);
        CHECK(n == 1000 && data == block && p == block + 1000);
        CHECK(c.left == 0xfffffffffffffff0u - 1000 * i);
    }
}

static void whatever_comes_is_decoded_alike_at_any_split(void) {
    static const char *const seeds[] = {
        "5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "A;a=b;c=\"d\\\"\"\r\n0123456789\r\n1 ; x\r\n!\r\n0\r\nA: b\r\nX-Y: z\r\n\r\n",
        "0\r\nCookie: a\r\nHost: b\r\n\r\n",
        "00003\r\nabc\r\nff\r\n...",
    };
    static const mh__chunk_limits limits = {.ext = 24, .trailer = 24, .lines = 3};
    uint32_t seed = 4711;
    int counts[4] = {0};

    for (int round = 0; round < 200000; round++) {
        char text[256];
        const char *from = seeds[wire_random(&seed, 4)];
        size_t n = strlen(from);
        memcpy(text, from, n);
        n = wire_mutate(&seed, text, n, sizeof(text));

        outcome whole = decode_in_steps(text, n, 0, 0, SIZE_MAX, &limits, NULL);
        outcome split = decode_in_steps(text, n, 0, -1, 1 + wire_random(&seed, 20), &limits, &seed);
        check_same(&split, &whole, "at random");
        CHECK(whole.n <= n && whole.used <= n);
        counts[whole.result + 1]++;
    }
    CHECK(counts[MH__CHUNKED_BAD + 1] && counts[MH__CHUNKED_MORE + 1] &&
          counts[MH__CHUNKED_END + 1]);
}

int main(void) {
    RUN(chunks_become_their_data);
    RUN(a_body_that_is_not_complete_is_waited_for);
    RUN(a_size_is_1_to_16_hexadecimal_digits);
    RUN(lines_and_data_end_in_crlf_only);
    RUN(extensions_follow_their_grammar);
    RUN(extensions_are_limited_over_the_whole_body);
    RUN(trailers_are_fields_and_are_dropped);
    RUN(trailers_that_frame_route_or_authenticate_are_refused);
    RUN(trailers_are_limited_in_bytes_and_lines);
    RUN(the_end_and_a_refusal_are_final);
    RUN(a_huge_chunk_is_passed_on_as_it_comes);
    RUN(whatever_comes_is_decoded_alike_at_any_split);
    return check_end();
}
