/* framing.h: Host and the request-target, rows 21 to 25 of docs/http.md. Built twice, with vectors
 * and with MH_SCAN_PLAIN. */
#include "framed.h"

#include <arpa/inet.h>

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

int main(void) {
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
    return check_end();
}
