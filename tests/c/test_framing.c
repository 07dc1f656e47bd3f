/* framing.h: what a head means, rows 10 to 20 and 27 to 29 of docs/http.md; test_target.c has the
 * rest. Built twice, with vectors and with MH_SCAN_PLAIN. */
#include "framed.h"

/* ---- numbers --------------------------------------------------------------------------------- */

static void numbers_are_digits_within_their_bounds(void) {
    static const struct {
        const char *text;
        unsigned base, digits;
        bool good;
        uint64_t value;
    } cases[] = {
        {"0", 10, 19, true, 0},
        {"00012", 10, 19, true, 12},
        {"9999999999999999999", 10, 19, true, 9999999999999999999u},
        {"10000000000000000000", 10, 19, false, 0},
        {"18446744073709551615", 10, 20, true, UINT64_MAX},
        {"18446744073709551616", 10, 20, false, 0},
        {"99999999999999999999", 10, 20, false, 0},
        {"ffffffffffffffff", 16, 16, true, UINT64_MAX},
        {"FfFf", 16, 16, true, 65535},
        {"10000000000000000", 16, 17, false, 0},
        {"0fffffffffffffffF", 16, 17, true, UINT64_MAX},
        {"0ffffffffffffffff", 16, 16, false, 0},
        {"", 10, 19, false, 0},
        {"", 16, 16, false, 0},
        {"+1", 10, 19, false, 0},
        {"-1", 10, 19, false, 0},
        {" 1", 10, 19, false, 0},
        {"1 ", 10, 19, false, 0},
        {"1a", 10, 19, false, 0},
        {"0x1", 16, 16, false, 0},
        {"1_0", 16, 16, false, 0},
        {"g", 16, 16, false, 0},
        {"1,1", 10, 19, false, 0},
        {"\xb2", 10, 19, false, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t n = strlen(cases[i].text);
        char *p = wire_copy(cases[i].text, n);
        uint64_t value = 0;
        bool good = mh__wire_number(p, n, cases[i].base, cases[i].digits, &value);
        if (good != cases[i].good || value != cases[i].value)
            CHECK_FAIL_("\"%s\" of base %u", cases[i].text, cases[i].base);
        free(p);
    }
}

/* ---- the body -------------------------------------------------------------------------------- */

#define POST   "POST / HTTP/1.1\r\nHost: a\r\n"
#define POST10 "POST / HTTP/1.0\r\n"

static void a_content_length_is_one_number(void) {
    static const verdict cases[] = {
        {"0", 0},
        {"5", 0},
        {"007", 0},
        {"9223372036854775807", 0},
        {"9223372036854775808", 400}, /* more than a signed length holds */
        {"9999999999999999999", 400},
        {"10000000000000000000", 400},
        {"99999999999999999999999", 400},
        {"00000000000000000001", 400}, /* 20 digits */
        {"", 400},
        {"+5", 400},
        {"-5", 400},
        {"0x5", 400},
        {"5 5", 400},
        {"5,5", 400},
        {"5, 5", 400},
        {"5;", 400},
        {"5.0", 400},
        {"1e3", 400},
        {"five", 400},
        {"\xb2", 400},
        {"5\t5", 400},
    };
    framed got;

    CHECK_VERDICTS(cases, POST "Content-Length: ", "\r\n\r\n");
    REQUIRE(frame(&got, POST "cONTENT-lENGTH:\t 17 \r\n\r\n") == 0);
    CHECK_INT(got.f.body, MH__BODY_LENGTH);
    CHECK_INT(got.f.length, 17);
    free(got.p);
}

static void a_second_content_length_is_refused_even_if_equal(void) {
    CHECK_INT(status_of(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), 400);
    CHECK_INT(status_of(POST "Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n\r\n"), 400);
    CHECK_INT(status_of(POST "Content-Length: 5\r\nContent-Length:\r\n\r\n"), 400);
}

static void transfer_encoding_is_chunked_once_and_alone(void) {
    static const verdict cases[] = {
        {"chunked", 0},
        {"Chunked", 0},
        {"CHUNKED", 0},
        {"  chunked\t", 0},
        {"gzip, chunked", 501},
        {"gzip,chunked", 501},
        {"x, y ,\tChunked", 501},
        {"identity, chunked", 501},
        {"", 400},
        {"identity", 400},
        {"gzip", 400},
        {"chunked, gzip", 400},
        {"chunked,", 400},
        {",chunked", 400},
        {", chunked", 400},
        {"gzip,,chunked", 400},
        {"chunked, chunked", 400},
        {"gzip, chunked, chunked", 400},
        {"chunked;a=b", 400},
        {"gzip;q=1, chunked", 400},
        {"chunked chunked", 400},
        {"xchunked", 400},
        {"chunkedx", 400},
        {"chunke", 400},
        {"\"chunked\"", 400},
        {"chunked\xff", 400},
        {"chunKed\x0b", 400},
        {"gzip chunked", 400},
    };
    framed got;

    CHECK_VERDICTS(cases, POST "Transfer-Encoding: ", "\r\n\r\n");
    CHECK_VERDICTS(cases, POST "transfer-ENCODING:", "\r\n\r\n");
    REQUIRE(frame(&got, POST "Transfer-Encoding: chunked\r\n\r\n") == 0);
    CHECK_INT(got.f.body, MH__BODY_CHUNKED);
    CHECK_INT(got.f.length, 0);
    free(got.p);
    CHECK_INT(status_of(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
              400);
    CHECK_INT(status_of(POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

static void transfer_encoding_with_content_length_or_in_1_0_is_refused(void) {
    CHECK_INT(status_of(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), 400);
    CHECK_INT(status_of(POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    CHECK_INT(status_of(POST "Content-Length: 0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), 400);
    CHECK_INT(status_of(POST10 "Transfer-Encoding: chunked\r\n\r\n"), 400);
    CHECK_INT(status_of(POST10 "Transfer-Encoding: gzip, chunked\r\n\r\n"), 400);
    CHECK_INT(status_of(POST10 "Content-Length: 5\r\n\r\n"), 0);
}

static void a_body_is_framed_by_its_fields_whatever_the_method(void) {
    static const char *const methods[] = {"GET", "HEAD", "DELETE", "OPTIONS", "FOO"};
    char text[200];
    framed got;

    for (size_t i = 0; i < 5; i++) {
        snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
                 methods[i]);
        CHECK_INT(frame(&got, text), 0);
        CHECK_INT(got.f.body, MH__BODY_LENGTH);
        free(got.p);
        snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\n\r\n", methods[i]);
        CHECK_INT(frame(&got, text), 0);
        CHECK_INT(got.f.body, MH__BODY_NONE);
        free(got.p);
    }
}

/* ---- Connection, Upgrade, Expect ------------------------------------------------------------- */

static void close_wins_and_1_0_closes_by_default(void) {
    static const struct {
        const char *fields;
        bool v11, v10; /* whether the connection is kept */
    } cases[] = {
        {"", true, false},
        {"Connection: close\r\n", false, false},
        {"connection:CLOSE\r\n", false, false},
        {"Connection: keep-alive\r\n", true, true},
        {"Connection: Keep-Alive\r\n", true, true},
        {"Connection: keep-alive, close\r\n", false, false},
        {"Connection: close, keep-alive\r\n", false, false},
        {"Connection: keep-alive\r\nConnection: close\r\n", false, false},
        {"Connection: close\r\nConnection: keep-alive\r\n", false, false},
        {"Connection: x\r\nConnection: y ,\tClose\t, z\r\n", false, false},
        {"Connection: ,, ,close,,\r\n", false, false},
        {"Connection: , keep-alive ,\r\n", true, true},
        {"Connection:\r\n", true, false},
        {"Connection: ,\r\n", true, false},
        {"Connection: closed\r\n", true, false},
        {"Connection: xclose\r\n", true, false},
        {"Connection: close x\r\n", true, false},
        {"Connection: \"close\"\r\n", true, false},
        {"Connection: x=y, (\xff), close\r\n", false, false},
        {"Connections: close\r\n", true, false},
        {"Connectiox: close\r\n", true, false},
        {"Keep-Alive: timeout=5\r\n", true, false},
        {"Proxy-Connection: close\r\n", true, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (int minor = 0; minor <= 1; minor++) {
            char text[256];
            framed got;
            snprintf(text, sizeof(text), "GET / HTTP/1.%d\r\nHost: a\r\n%s\r\n", minor,
                     cases[i].fields);
            int status = frame(&got, text);
            if (status != 0 || got.f.keep_alive != (minor ? cases[i].v11 : cases[i].v10))
                CHECK_FAIL_("1.%d with %s: %d", minor, cases[i].fields, status);
            free(got.p);
        }
    }
}

static void upgrade_takes_both_fields_and_1_1(void) {
    static const struct {
        const char *rest;
        bool upgrade;
    } cases[] = {
        {"1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", true},
        {"1\r\nUpgrade: websocket\r\nConnection: keep-alive, upgrade\r\n", true},
        {"1\r\nUpgrade: h2c\r\n", false},
        {"1\r\nConnection: Upgrade\r\n", false},
        {"1\r\nConnection: Upgrades\r\nUpgrade: websocket\r\n", false},
        {"0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[256];
        framed got;
        snprintf(text, sizeof(text),
                 "GET / HTTP/1.%s"
                 "Host: a\r\n\r\n",
                 cases[i].rest);
        CHECK_INT(frame(&got, text), 0);
        if (got.f.upgrade != cases[i].upgrade) CHECK_FAIL_("%s", cases[i].rest);
        free(got.p);
    }
}

static void expectations_other_than_100_continue_are_417(void) {
    static const verdict cases[] = {
        {"100-continue", 0},
        {"100-CONTINUE", 0},
        {"100-continue, 100-continue", 0},
        {", 100-continue,", 0},
        {"", 0},
        {",", 0},
        {"100-continue;a=b", 417},
        {"100-continue=1", 417},
        {"200-ok", 417},
        {"100-continu", 417},
        {"100-continued", 417},
        {"100-continue, x", 417},
        {"x, 100-continue", 417},
        {"100 continue", 417},
    };

    CHECK_VERDICTS(cases, POST "Content-Length: 5\r\nExpect: ", "\r\n\r\n");
    CHECK_VERDICTS(cases, POST "Expect:", "\r\nAccept: */*\r\n\r\n");
    CHECK_VERDICTS(cases, POST10 "Expect: ", "\r\n\r\n");
    /* what makes the request malformed is said first */
    CHECK_INT(status_of(POST "Expect: x\r\nContent-Length: y\r\n\r\n"), 400);
    CHECK_INT(status_of("GET / HTTP/1.1\r\nExpect: x\r\n\r\n"), 400);
}

static void only_1_1_with_a_body_to_come_waits_for_100(void) {
    static const struct {
        const char *text;
        bool expect;
    } cases[] = {
        {POST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", true},
        {POST "Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n", true},
        {POST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", false},
        {POST "Expect: 100-continue\r\n\r\n", false},
        {POST "Expect:\r\nContent-Length: 5\r\n\r\n", false},
        {POST "Content-Length: 5\r\n\r\n", false},
        {POST10 "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        framed got;
        CHECK_INT(frame(&got, cases[i].text), 0);
        if (got.f.expect != cases[i].expect) CHECK_FAIL_("%s", cases[i].text);
        free(got.p);
    }
}

/* ---- mutations ------------------------------------------------------------------------------- */

static bool inside(mh__span span, size_t n) { return span.off <= n && span.n <= n - span.off; }

static void check_framing(const mh__framing *f, const char *p, size_t n, const mh__head *head) {
    CHECK(inside(f->path, n) && inside(f->query, n) && inside(f->host, n));
    CHECK(f->has_query || f->query.n == 0);
    CHECK(f->body == MH__BODY_LENGTH || f->length == 0);
    CHECK(f->length <= INT64_MAX);
    CHECK(f->body != MH__BODY_CHUNKED || head->minor == 1);
    CHECK(!f->expect || (head->minor == 1 && f->body != MH__BODY_NONE));
    CHECK(f->path.n == 0 || p[f->path.off] == '/' || p[f->path.off] == '*');
    CHECK(f->path.n > 0 || f->absolute);
    CHECK(!memchr(p + f->path.off, '?', f->path.n));
    CHECK(!memchr(p + f->host.off, '@', f->host.n) && !memchr(p + f->host.off, ',', f->host.n));
}

static void whatever_comes_is_answered_and_views_stay_inside(void) {
    static const char *const seeds[] = {
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n",
        "POST http://[::1]:80/a%20b?c=%d HTTP/1.1\r\nHost: [1::2.3.4.5]:80\r\nContent-Length: "
        "5\r\n\r\n",
        "PUT /x?y HTTP/1.1\r\nHost: a%41\r\nTransfer-Encoding: chunked\r\nExpect: "
        "100-continue\r\n\r\n",
        "OPTIONS * HTTP/1.0\r\nConnection: keep-alive, Upgrade\r\nUpgrade: x\r\nHost: a:1\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    };
    uint32_t seed = 77;
    int counts[600] = {0};

    for (int round = 0; round < 200000; round++) {
        char text[256];
        const char *from = seeds[wire_random(&seed, 5)];
        size_t n = strlen(from);
        memcpy(text, from, n);
        n = wire_mutate(&seed, text, n, sizeof(text));

        mh__field fields[FIELDS];
        mh__search s = {0};
        mh__head head;
        mh__framing f;
        int64_t end = mh__search_head(&s, text, n, &limits);
        if (end <= 0) continue;
        char *p = wire_copy_head(text, (size_t)end);
        if (mh__parse_head(&head, fields, p, (size_t)end, &s, &limits) == 0) {
            int status = mh__frame(&f, p, &head, fields, round % 2 == 0);
            CHECK(status == 0 || status == 400 || status == 417 || status == 501);
            if (status == 0) check_framing(&f, p, (size_t)end, &head);
            counts[status]++;
        }
        free(p);
    }
    CHECK(counts[0] && counts[400] && counts[417] && counts[501]);
}

int main(void) {
    RUN(numbers_are_digits_within_their_bounds);
    RUN(a_content_length_is_one_number);
    RUN(a_second_content_length_is_refused_even_if_equal);
    RUN(transfer_encoding_is_chunked_once_and_alone);
    RUN(transfer_encoding_with_content_length_or_in_1_0_is_refused);
    RUN(a_body_is_framed_by_its_fields_whatever_the_method);
    RUN(close_wins_and_1_0_closes_by_default);
    RUN(upgrade_takes_both_fields_and_1_1);
    RUN(expectations_other_than_100_continue_are_417);
    RUN(only_1_1_with_a_body_to_come_waits_for_100);
    RUN(whatever_comes_is_answered_and_views_stay_inside);
    return check_end();
}
