/* framing.h: what a head means, rows 10 to 29 of docs/http.md. Built twice, with vectors and with
 * MH_SCAN_PLAIN. */
#include "framing.h"

#include <arpa/inet.h>

#include "check.h"
#include "wire.h"

enum { FIELDS = 100 };

static const mh__limits limits = {.request_line = 8192, .head = 32768, .fields = FIELDS};

typedef struct framed {
    char *p; /* the head alone, to be freed */
    mh__framing f;
} framed;

/* The status that refuses the request whose whole head text is, or 0. */
static int frame_with(framed *out, const char *text, size_t n, bool accept_connect) {
    static mh__field fields[FIELDS];
    mh__search s = {0};
    mh__head head;

    out->p = wire_copy_head(text, n);
    if (mh__search_head(&s, out->p, n, &limits) != (int64_t)n) abort();
    int status = mh__parse_head(&head, fields, out->p, n, &s, &limits);
    if (status != 0) return status;
    mh__field *exact = malloc(head.n_fields * sizeof(*exact) + 1);
    if (!exact) abort();
    memcpy(exact, fields, head.n_fields * sizeof(*exact));
    status = mh__frame(&out->f, out->p, &head, exact, accept_connect);
    free(exact);
    return status;
}

static int frame(framed *out, const char *text) {
    return frame_with(out, text, strlen(text), false);
}

static int status_of(const char *text) {
    framed got;
    int status = frame(&got, text);

    free(got.p);
    return status;
}

static bool span_is(const framed *got, mh__span span, const char *want) {
    return wire_same(got->p + span.off, span.n, want);
}

typedef struct verdict {
    const char *text;
    int status;
} verdict;

/* Each text stands between before and after in a request. */
static void check_verdicts(const verdict *cases, size_t n, const char *before, const char *after) {
    for (size_t i = 0; i < n; i++) {
        char text[1024];
        snprintf(text, sizeof(text), "%s%s%s", before, cases[i].text, after);
        int status = status_of(text);
        if (status != cases[i].status)
            CHECK_FAIL_("\"%s\": %d, not %d", cases[i].text, status, cases[i].status);
    }
}

#define CHECK_VERDICTS(cases, before, after) \
    check_verdicts(cases, sizeof(cases) / sizeof(*(cases)), before, after)

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

/* ---- Host ------------------------------------------------------------------------------------ */

static const verdict hosts[] = {
    {"a", 0},
    {"example.org", 0},
    {"EXAMPLE.org", 0},
    {"127.0.0.1", 0},
    {"999.1", 0},
    {"a.", 0},
    {"a-b_c~d!$&'()*+;=e", 0},
    {"xn--nxasmq6b", 0},
    {"%41b%c3%a9", 0},
    {"a:8000", 0},
    {"a:0", 0},
    {"a:00080", 0},
    {"a:65535", 0},
    {"a:", 0},
    {"a-name-that-is-longer-than-sixteen-bytes.example.org:80", 0},
    {"[::1]", 0},
    {"[::1]:8000", 0},
    {"[::]:", 0},
    {"[1:2:3:4:5:6:7:8]", 0},
    {"[ABCD::ef01]", 0},
    {"[::ffff:1.2.3.4]", 0},
    {"[1:2:3:4:5:6:1.2.3.4]", 0},
    {"[1::1.2.3.4]:80", 0},
    {"[1:2:3:4:5:6:7::]", 0},
    {"[v1.a:b]", 0},
    {"[vF0.~]:1", 0},
    {"a,b", 400},
    {"a, b", 400},
    {"a b", 400},
    {"a\tb", 400},
    {"user@a", 400},
    {"user:pw@a", 400},
    {"a/", 400},
    {"a/b", 400},
    {"http://a", 400},
    {"a?b", 400},
    {"a#b", 400},
    {"a\\b", 400},
    {"a\"", 400},
    {"<a>", 400},
    {"a|b", 400},
    {"a^b", 400},
    {"a`b", 400},
    {"{a}", 400},
    {"\xc3\xa9", 400},
    {"%4", 400},
    {"%", 400},
    {"%zz", 400},
    {"a%00b", 400},
    {"a%2", 400},
    {"a:65536", 400},
    {"a:99999", 400},
    {"a:100000", 400},
    {"a:000080", 400},
    {"a:-1", 400},
    {"a:+1", 400},
    {"a:8o", 400},
    {"a:80:80", 400},
    {"a: 80", 400},
    {"a :80", 400},
    {":80", 400},
    {":", 400},
    {"::1", 400},
    {"[::1", 400},
    {"::1]", 400},
    {"[]", 400},
    {"[]:80", 400},
    {"[::1]8", 400},
    {"[::1]]", 400},
    {"[[::1]]", 400},
    {"x[::1]", 400},
    {"[:::]", 400},
    {"[1:2:3:4:5:6:7]", 400},
    {"[1:2:3:4:5:6:7:8:9]", 400},
    {"[1::2::3]", 400},
    {"[12345::]", 400},
    {"[g::]", 400},
    {"[1:]", 400},
    {"[:1]", 400},
    {"[1:2:3:4:5:6:7:8::]", 400},
    {"[1.2.3.4]", 400},
    {"[::1.2.3]", 400},
    {"[::1.2.3.4.5]", 400},
    {"[::1.2.3.256]", 400},
    {"[::01.2.3.4]", 400},
    {"[::1.2.3.4:5]", 400},
    {"[1:2:3:4:5:6:7:1.2.3.4]", 400},
    {"[::1.2..4]", 400},
    {"[::1.2.3.]", 400},
    {"[fe80::1%25eth0]", 400},
    {"[fe80::1%eth0]", 400},
    {"[v1.]", 400},
    {"[v.a]", 400},
    {"[v1a]", 400},
    {"[v1.a/]", 400},
    {"[v]", 400},
    {"[::1]:65536", 400},
};

static void host_is_a_host_and_maybe_a_port(void) {
    framed got;

    CHECK_VERDICTS(hosts, "GET / HTTP/1.1\r\nHost: ", "\r\n\r\n");
    CHECK_VERDICTS(hosts, "GET / HTTP/1.0\r\nhost:", "\r\nAccept: */*\r\n\r\n");
    REQUIRE(frame(&got, "GET / HTTP/1.1\r\nHost: \texample.org:80 \r\n\r\n") == 0);
    CHECK(span_is(&got, got.f.host, "example.org:80"));
    CHECK(!got.f.absolute);
    free(got.p);
}

static void host_is_there_once_in_1_1(void) {
    CHECK_INT(status_of("GET / HTTP/1.1\r\n\r\n"), 400);
    CHECK_INT(status_of("GET / HTTP/1.1\r\nHos: a\r\nHost1: b\r\n\r\n"), 400);
    CHECK_INT(status_of("GET / HTTP/1.5\r\n\r\n"), 400);
    CHECK_INT(status_of("GET / HTTP/1.0\r\n\r\n"), 0);
    CHECK_INT(status_of("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
    CHECK_INT(status_of("GET / HTTP/1.1\r\nHost: a\r\nhOST:\r\n\r\n"), 400);
    CHECK_INT(status_of("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
}

static void an_empty_host_is_accepted(void) {
    framed got;

    REQUIRE(frame(&got, "GET / HTTP/1.1\r\nHost:\r\n\r\n") == 0);
    CHECK_INT(got.f.host.n, 0);
    free(got.p);
}

/* Texts of colons, dots and digits, most of them wrong, judged by inet_pton(3) as well. */
static void ipv6_addresses_are_those_that_inet_pton_knows(void) {
    static const char *const parts[] = {":", "::",      "1",   "ab",    "ffff", "0",
                                        ".", "1.2.3.4", "255", "12345", "01"};
    uint32_t seed = 99;
    int good = 0;

    for (int round = 0; round < 100000; round++) {
        char address[128] = "", text[256];
        struct in6_addr out;

        for (uint32_t i = 1 + wire_random(&seed, 16); i > 0; i--) {
            const char *part = parts[wire_random(&seed, wire_random(&seed, 4) ? 5 : 11)];
            strcat(address, part);
            if (i > 1 && part[0] != ':') strcat(address, ":");
        }
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: [%s]\r\n\r\n", address);
        int known = inet_pton(AF_INET6, address, &out);
        int status = status_of(text);
        if (status != (known == 1 ? 0 : 400)) CHECK_FAIL_("%s: %d", address, status);
        good += known;
    }
    CHECK(good > 1000);
}

/* ---- the target ------------------------------------------------------------------------------ */

static void the_four_forms_of_a_target_are_told_apart(void) {
    static const struct {
        const char *line, *path, *query, *host; /* query NULL: none */
        bool absolute;
    } cases[] = {
        {"GET /", "/", NULL, "h", false},
        {"GET /a/b", "/a/b", NULL, "h", false},
        {"GET /?", "/", "", "h", false},
        {"GET /a?b?c=%zz", "/a", "b?c=%zz", "h", false},
        {"GET //a//b", "//a//b", NULL, "h", false},
        {"GET /http://x/", "/http://x/", NULL, "h", false},
        {"GET /a%20b%C3%a9/a-longer-path-than-sixteen", "/a%20b%C3%a9/a-longer-path-than-sixteen",
         NULL, "h", false},
        {"GET /a-longer-path-than-sixteen?q", "/a-longer-path-than-sixteen", "q", "h", false},
        {"OPTIONS *", "*", NULL, "h", false},
        {"OPTIONS /", "/", NULL, "h", false},
        {"GET http://x", "", NULL, "x", true},
        {"GET http://x/", "/", NULL, "x", true},
        {"GET http://x?", "", "", "x", true},
        {"GET http://x?q/r", "", "q/r", "x", true},
        {"GET HTTPS://x:81/p?q", "/p", "q", "x:81", true},
        {"GET hTTp://[::1]:8/p", "/p", NULL, "[::1]:8", true},
        {"OPTIONS http://x", "", NULL, "x", true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[256];
        framed got;
        snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: h\r\n\r\n", cases[i].line);
        int status = frame(&got, text);
        const char *query = cases[i].query ? cases[i].query : "";
        if (status != 0 || !span_is(&got, got.f.path, cases[i].path) ||
            !span_is(&got, got.f.query, query) || got.f.has_query != (cases[i].query != NULL) ||
            !span_is(&got, got.f.host, cases[i].host) || got.f.absolute != cases[i].absolute)
            CHECK_FAIL_("%s: %d", cases[i].line, status);
        free(got.p);
    }
}

static void targets_of_no_form_are_refused(void) {
    static const verdict cases[] = {
        {"GET *", 400},
        {"options *", 400},
        {"POST *", 400},
        {"OPTIONS **", 400},
        {"OPTIONS *?", 400},
        {"GET a", 400},
        {"GET a:80", 400},
        {"GET a/b", 400},
        {"GET ?q", 400},
        {"GET \\", 400},
        {"GET ftp://x/", 400},
        {"GET http:/x", 400},
        {"GET http:x", 400},
        {"GET http", 400},
        {"GET http:", 400},
        {"GET http://", 400},
        {"GET http:///", 400},
        {"GET http:///p", 400},
        {"GET http://?q", 400},
        {"GET https://", 400},
        {"GET http://u@x/", 400},
        {"GET http://u:p@x/", 400},
        {"GET http://x:y/", 400},
        {"GET http://:80/", 400},
        {"GET http://x,y/", 400},
        {"GET httpx://x/", 400},
        {"GET ws://x/", 400},
        {"GET http://x/%", 400},
        {"GET http://x%00/", 400},
        {"GET http://[::1/", 400},
        {"GET http//x", 400},
    };
    CHECK_VERDICTS(cases, "", " HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK_VERDICTS(cases, "", " HTTP/1.0\r\n\r\n");
}

static void the_authority_of_a_target_follows_the_rules_of_host(void) {
    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
        if (strpbrk(hosts[i].text, "/?")) continue; /* which end an authority */
        check_verdicts(&hosts[i], 1, "GET http://", "/p HTTP/1.1\r\nHost: h\r\n\r\n");
        check_verdicts(&hosts[i], 1, "GET https://", " HTTP/1.0\r\n\r\n");
        check_verdicts(&hosts[i], 1, "GET HTTP://", "?q HTTP/1.1\r\nHost:\r\n\r\n");
    }
}

static void an_absolute_form_still_needs_a_good_host_field(void) {
    CHECK_INT(status_of("GET http://x/ HTTP/1.1\r\n\r\n"), 400);
    CHECK_INT(status_of("GET http://x/ HTTP/1.1\r\nHost: a b\r\n\r\n"), 400);
    CHECK_INT(status_of("GET http://x/ HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"), 400);
    CHECK_INT(status_of("GET http://x/ HTTP/1.1\r\nHost:\r\n\r\n"), 0);
    CHECK_INT(status_of("GET http://x/ HTTP/1.0\r\n\r\n"), 0);
}

static void escapes_are_checked_in_the_path_only(void) {
    static const verdict cases[] = {
        {"/%41", 0},
        {"/%fF", 0},
        {"/%01", 0},
        {"/%0a", 0},
        {"/%7f", 0},
        {"/%25%32", 0},
        {"/?%", 0},
        {"/?%00", 0},
        {"/?%zz", 0},
        {"/a?b%", 0},
        {"/%2f?%1", 0},
        {"/%", 400},
        {"/%4", 400},
        {"/%4?1", 400},
        {"/%?", 400},
        {"/%zz", 400},
        {"/%4z", 400},
        {"/%z4", 400},
        {"/%00", 400},
        {"/%41%00", 400},
        {"/%%41", 400},
        {"/%u0041", 400},
        {"/abcdefghijklmnopqrstuvwxyz/%4", 400},
        {"/abcdefghijklmnopqrstuvwxyz/%4a", 0},
        {"/abcdefghijklmnopqrstuvwxyz?%4", 0},
    };

    CHECK_VERDICTS(cases, "GET ", " HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK_VERDICTS(cases, "GET http://h", " HTTP/1.1\r\nHost: h\r\n\r\n");
}

static void connect_is_501_unless_it_is_asked_for(void) {
    static const verdict targets[] = {
        {"a:80", 0},     {"[::1]:443", 0}, {"a:65535", 0}, {"a", 400},           {"a:", 400},
        {":80", 400},    {"/", 400},       {"*", 400},     {"http://a:80", 400}, {"a:65536", 400},
        {"u@a:80", 400}, {"a:80/", 400},   {"a:80?", 400},
    };
    framed got;

    for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
        char text[100];
        int n =
            snprintf(text, sizeof(text), "CONNECT %s HTTP/1.1\r\nHost: a\r\n\r\n", targets[i].text);
        CHECK_INT(frame_with(&got, text, (size_t)n, false), 501);
        free(got.p);
        CHECK_INT(frame_with(&got, text, (size_t)n, true), targets[i].status);
        if (targets[i].status == 0) {
            CHECK(span_is(&got, got.f.host, targets[i].text) && got.f.absolute);
            CHECK(got.f.path.n == 0 && !got.f.has_query);
        }
        free(got.p);
    }
    CHECK_INT(status_of("connect a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400); /* another method */
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
    RUN(host_is_a_host_and_maybe_a_port);
    RUN(host_is_there_once_in_1_1);
    RUN(an_empty_host_is_accepted);
    RUN(ipv6_addresses_are_those_that_inet_pton_knows);
    RUN(the_four_forms_of_a_target_are_told_apart);
    RUN(targets_of_no_form_are_refused);
    RUN(the_authority_of_a_target_follows_the_rules_of_host);
    RUN(an_absolute_form_still_needs_a_good_host_field);
    RUN(escapes_are_checked_in_the_path_only);
    RUN(connect_is_501_unless_it_is_asked_for);
    RUN(close_wins_and_1_0_closes_by_default);
    RUN(upgrade_takes_both_fields_and_1_1);
    RUN(expectations_other_than_100_continue_are_417);
    RUN(only_1_1_with_a_body_to_come_waits_for_100);
    RUN(whatever_comes_is_answered_and_views_stay_inside);
    return check_end();
}
