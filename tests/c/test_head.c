/* head.h: what a response head looks like, and what is refused. Built twice, with vectors and with
 * MH_SCAN_PLAIN. The strings of the host are in allocations of exactly their size. */
#include "head.h"

#include "check.h"
#include "wire.h"

enum { MOST = 8 };

#define STR(text) ((mh_str){text, sizeof(text) - 1})

static mh_str copy_str(const char *p, size_t n) { return (mh_str){wire_copy(p, n), n}; }

/* Checks a plan of status, reason and the pairs of fields, up to a NULL. */
static int check_plan(mh__head_plan *plan, int status, const char *reason,
                      const char *const *fields, size_t server_len) {
    static mh_str kept[2 * MOST + 1];
    static size_t n;

    while (n > 0)
        free((void *)(uintptr_t)kept[--n].p);
    for (; fields && fields[n]; n++) {
        if (n == 2 * MOST) abort();
        kept[n] = copy_str(fields[n], strlen(fields[n]));
    }
    *plan = (mh__head_plan){.status = status, .fields = kept, .n = n / 2};
    plan->reason = (mh_str){reason, strlen(reason)};
    plan->has_date = plan->has_server = plan->has_length = true; /* all to be set anew */
    return mh__head_check(plan, server_len);
}

static int check_field(const char *name, size_t name_len, const char *value, size_t value_len) {
    mh_str fields[2] = {copy_str(name, name_len), copy_str(value, value_len)};
    mh__head_plan plan = {.status = 200, .fields = fields, .n = 1};
    int result = mh__head_check(&plan, 0);

    free((void *)(uintptr_t)fields[0].p);
    free((void *)(uintptr_t)fields[1].p);
    return result;
}

/* Writes into exactly plan->size bytes and compares. */
static void check_written(const mh__head_plan *plan, const mh__head_extra *extra,
                          const char *want) {
    char *buf = malloc(plan->size);
    if (!buf) abort();
    size_t n = mh__head_write(buf, plan, extra);

    CHECK(n <= plan->size);
    if (!wire_same(buf, n, want)) CHECK_FAIL_("\"%.*s\" instead of \"%s\"", (int)n, buf, want);
    free(buf);
}

static const char date[] = "Sun, 06 Nov 1994 08:49:37 GMT";

static void a_head_is_status_line_fields_ours_and_an_empty_line(void) {
    static const char *const fields[] = {"Content-Type", "text/plain",  "X", "",
                                         "set-cookie",   "a=b; c=\xe9", NULL};
    mh__head_plan plan;
    mh__head_extra extra = {.date = {date, 29},
                            .server = STR("meinheld/1.0"),
                            .frame = MH__FRAME_LENGTH,
                            .length = 13,
                            .connection = MH__CONNECTION_SILENT};

    REQUIRE(check_plan(&plan, 200, "OK", fields, 12) == MH_OK);
    CHECK(!plan.has_date && !plan.has_server && !plan.has_length);
    check_written(
        &plan, &extra,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX: \r\nset-cookie: a=b; c=\xe9\r\n"
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: meinheld/1.0\r\nContent-Length: "
        "13\r\n\r\n");
}

static void an_empty_reason_keeps_its_space(void) {
    mh__head_plan plan;
    mh__head_extra extra = {.frame = MH__FRAME_NONE};

    REQUIRE(check_plan(&plan, 999, "", NULL, 0) == MH_OK);
    check_written(&plan, &extra, "HTTP/1.1 999 \r\n\r\n");
    plan = (mh__head_plan){.status = 103, .reason = {NULL, 0}, .fields = NULL, .n = 0};
    REQUIRE(mh__head_check(&plan, 0) == MH_OK);
    check_written(&plan, &extra, "HTTP/1.1 103 \r\n\r\n");
}

static void framing_and_connection_are_written_by_the_library(void) {
    static const struct {
        mh__head_extra extra;
        const char *want;
    } cases[] = {
        {{.frame = MH__FRAME_NONE}, ""},
        {{.frame = MH__FRAME_CHUNKED}, "Transfer-Encoding: chunked\r\n"},
        {{.frame = MH__FRAME_LENGTH, .length = 0}, "Content-Length: 0\r\n"},
        {{.frame = MH__FRAME_LENGTH, .length = 10}, "Content-Length: 10\r\n"},
        {{.frame = MH__FRAME_LENGTH, .length = UINT64_MAX},
         "Content-Length: 18446744073709551615\r\n"},
        {{.frame = MH__FRAME_NONE, .connection = MH__CONNECTION_CLOSE}, "Connection: close\r\n"},
        {{.frame = MH__FRAME_CHUNKED, .connection = MH__CONNECTION_KEEP_ALIVE},
         "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"},
    };
    mh__head_plan plan;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char want[200];
        snprintf(want, sizeof(want), "HTTP/1.1 204 No Content\r\n%s\r\n", cases[i].want);
        REQUIRE(check_plan(&plan, 204, "No Content", NULL, 0) == MH_OK);
        check_written(&plan, &cases[i].extra, want);
    }
}

static void a_426_says_to_what_and_connection_names_that(void) {
    static const char *const fields[] = {"upGrade", "websocket", NULL};
    static const struct {
        enum mh__head_connection connection;
        const char *want;
    } cases[] = {{MH__CONNECTION_SILENT, "upgrade"},
                 {MH__CONNECTION_CLOSE, "close, upgrade"},
                 {MH__CONNECTION_KEEP_ALIVE, "keep-alive, upgrade"}};
    mh__head_plan plan;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        mh__head_extra extra = {.frame = MH__FRAME_NONE, .connection = cases[i].connection};
        char want[200];
        snprintf(want, sizeof(want),
                 "HTTP/1.1 426 \r\nupGrade: websocket\r\nConnection: %s\r\n\r\n", cases[i].want);
        REQUIRE(check_plan(&plan, 426, "", fields, 0) == MH_OK);
        check_written(&plan, &extra, want);
    }
    CHECK_INT(check_plan(&plan, 425, "", fields, 0), MH_EINVAL);
    CHECK_INT(check_plan(&plan, 101, "", fields, 0), MH_EINVAL);
}

static void the_largest_head_fits_into_its_size(void) {
    static const char *const fields[] = {"Upgrade", "b", NULL};
    mh__head_plan plan;
    mh__head_extra extra = {.date = {date, 29},
                            .server = STR("s"),
                            .frame = MH__FRAME_LENGTH,
                            .length = UINT64_MAX,
                            .connection = MH__CONNECTION_KEEP_ALIVE};

    REQUIRE(check_plan(&plan, 426, "r", fields, 1) == MH_OK);
    check_written(
        &plan, &extra,
        "HTTP/1.1 426 r\r\nUpgrade: b\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: s\r\n"
        "Content-Length: 18446744073709551615\r\nConnection: keep-alive, upgrade\r\n\r\n");
}

static void strings_of_every_length_are_copied_whole(void) {
    char text[101], want[400];
    mh__head_plan plan;
    mh__head_extra extra = {.frame = MH__FRAME_NONE};

    for (size_t n = 1; n <= 100; n++) {
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('a' + i % 26);
        text[n] = '\0';
        const char *fields[] = {text, text, NULL};
        REQUIRE(check_plan(&plan, 200, text, fields, 0) == MH_OK);
        snprintf(want, sizeof(want), "HTTP/1.1 200 %s\r\n%s: %s\r\n\r\n", text, text, text);
        check_written(&plan, &extra, want);
    }
}

static void the_hosts_date_server_and_length_are_noted(void) {
    static const char *const fields[] = {"DATE", "x",   "sErVer", "y", "content-LENGTH",
                                         "0042", "Dat", "z",      NULL};
    mh__head_plan plan;
    mh__head_extra extra = {.frame = MH__FRAME_LENGTH, .length = 42};

    REQUIRE(check_plan(&plan, 200, "OK", fields, 0) == MH_OK);
    CHECK(plan.has_date && plan.has_server && plan.has_length);
    CHECK_INT(plan.length, 42);
    /* the length is written once, and by us */
    check_written(
        &plan, &extra,
        "HTTP/1.1 200 OK\r\nDATE: x\r\nsErVer: y\r\nDat: z\r\nContent-Length: 42\r\n\r\n");
}

static void the_hosts_content_length_is_one_number(void) {
    static const char *const good[] = {"0", "5", "9223372036854775807", "0000000000000000001"};
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      "1 ",
                                      " 1",
                                      "1,1",
                                      "0x1",
                                      "1.0",
                                      "x",
                                      "9223372036854775808",
                                      "00000000000000000001",
                                      "99999999999999999999"};
    static const char *const twice[] = {"Content-Length", "5", "content-length", "5", NULL};
    mh__head_plan plan;

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        CHECK_INT(check_field("Content-Length", 14, good[i], strlen(good[i])), MH_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        CHECK_INT(check_field("Content-Length", 14, bad[i], strlen(bad[i])), MH_EINVAL);
    CHECK_INT(check_plan(&plan, 200, "", twice, 0), MH_EINVAL);
}

static void a_status_is_100_to_999(void) {
    static const int bad[] = {-200, -1, 0, 1, 99, 1000, 2000, INT32_MAX, INT32_MIN};
    mh__head_plan plan;

    for (int status = 100; status <= 999; status++) {
        char want[64];
        mh__head_extra extra = {.frame = MH__FRAME_NONE};
        REQUIRE(check_plan(&plan, status, "x", NULL, 0) == MH_OK);
        snprintf(want, sizeof(want), "HTTP/1.1 %d x\r\n\r\n", status);
        check_written(&plan, &extra, want);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        CHECK_INT(check_plan(&plan, bad[i], "x", NULL, 0), MH_EINVAL);
}

static void names_are_tokens_and_text_has_no_control_bytes(void) {
    for (unsigned b = 0; b < 256; b++) {
        bool alnum = (b >= '0' && b <= '9') || ((b | 0x20) >= 'a' && (b | 0x20) <= 'z' && b < 128);
        bool token = alnum || (b && strchr("!#$%&'*+-.^_`|~", (int)b));
        bool text_byte = b >= 0x20 ? b != 0x7f : b == '\t';

        for (size_t n = 1; n <= 40; n += 13) {
            for (size_t at = 0; at < n; at++) {
                char text[40];
                memset(text, 'x', sizeof(text));
                text[at] = (char)b;
                if (check_field(text, n, "v", 1) != (token ? MH_OK : MH_EINVAL))
                    CHECK_FAIL_("name with %u at %zu of %zu", b, at, n);
                if (check_field("n", 1, text, n) != (text_byte ? MH_OK : MH_EINVAL))
                    CHECK_FAIL_("value with %u at %zu of %zu", b, at, n);
                mh__head_plan plan = {.status = 200, .reason = copy_str(text, n)};
                if (mh__head_check(&plan, 0) != (text_byte ? MH_OK : MH_EINVAL))
                    CHECK_FAIL_("reason with %u at %zu of %zu", b, at, n);
                free((void *)(uintptr_t)plan.reason.p);
            }
        }
    }
    CHECK_INT(check_field("", 0, "v", 1), MH_EINVAL);
    CHECK_INT(check_field("n", 1, "", 0), MH_OK);
}

static void hop_by_hop_fields_are_refused(void) {
    static const char *const refused[] = {"Connection", "KEEP-ALIVE", "proxy-connection",
                                          "Te",         "Trailer",    "Transfer-Encoding",
                                          "UPGRADE"};
    static const char *const taken[] = {
        "Connectio",         "Connections",  "Keep_Alive",       "TF", "Trailers", "Upgrades",
        "Transfer-Encodinh", "X-Connection", "Proxy-Connectiom", "Via"};

    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        if (check_field(refused[i], strlen(refused[i]), "x", 1) != MH_EINVAL)
            CHECK_FAIL_("%s", refused[i]);
    for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
        if (check_field(taken[i], strlen(taken[i]), "x", 1) != MH_OK) CHECK_FAIL_("%s", taken[i]);
}

static void a_size_that_overflows_is_refused(void) {
    mh__head_plan plan = {.status = 200};

    CHECK_INT(mh__head_check(&plan, SIZE_MAX), MH_EINVAL);
    CHECK_INT(mh__head_check(&plan, 12), MH_OK);
}

static void standard_statuses_have_their_reasons(void) {
    static const struct {
        int status;
        const char *reason;
    } cases[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {511, "Network Authentication Required"},
        {199, ""},
        {299, ""},
        {306, ""},
        {418, ""},
        {600, ""},
        {0, ""},
        {-1, ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        mh_str reason = mh__reason(cases[i].status);
        if (!wire_same(reason.p, reason.n, cases[i].reason)) CHECK_FAIL_("%d", cases[i].status);
    }
    for (int status = 100; status <= 999; status++) {
        mh__head_plan plan = {.status = status, .reason = mh__reason(status)};
        CHECK_INT(mh__head_check(&plan, 0), MH_OK);
    }
}

/* ---- mutations ------------------------------------------------------------------------------- */

/* Whatever strings a host passes, what is written holds as many lines as there are fields. */
static void no_string_can_add_a_line(void) {
    uint32_t seed = 5;
    int counts[2] = {0};

    for (int round = 0; round < 200000; round++) {
        static const char *const seeds[] = {
            "Content-Type", "Content-Length", "Date", "a value of some length", "17", "OK"};
        mh_str parts[5];
        for (size_t i = 0; i < 5; i++) {
            char text[64];
            const char *from = seeds[i == 4 ? 5 : wire_random(&seed, 5)];
            size_t n = strlen(from);
            memcpy(text, from, n);
            if (wire_random(&seed, 3) == 0) n = wire_mutate(&seed, text, n, sizeof(text));
            parts[i] = copy_str(text, n);
        }
        mh__head_plan plan = {.status = 200, .reason = parts[4], .fields = parts, .n = 2};
        mh__head_extra extra = {.date = {date, 29}, .frame = MH__FRAME_NONE};
        int result = mh__head_check(&plan, 0);
        counts[result == MH_OK]++;
        if (result == MH_OK) {
            char *buf = malloc(plan.size);
            if (!buf) abort();
            size_t n = mh__head_write(buf, &plan, &extra), lines = 0;
            CHECK(n <= plan.size && n >= 4 && memcmp(buf + n - 4, "\r\n\r\n", 4) == 0);
            for (size_t i = 0; i < n; i++) {
                lines += buf[i] == '\n';
                if (buf[i] == '\n') CHECK(i > 0 && buf[i - 1] == '\r');
            }
            CHECK_INT(lines, 1 + 2 - plan.has_length + 1 + 1);
            free(buf);
        }
        for (size_t i = 0; i < 5; i++)
            free((void *)(uintptr_t)parts[i].p);
    }
    CHECK(counts[0] && counts[1]);
}

int main(void) {
    RUN(a_head_is_status_line_fields_ours_and_an_empty_line);
    RUN(an_empty_reason_keeps_its_space);
    RUN(framing_and_connection_are_written_by_the_library);
    RUN(a_426_says_to_what_and_connection_names_that);
    RUN(the_largest_head_fits_into_its_size);
    RUN(strings_of_every_length_are_copied_whole);
    RUN(the_hosts_date_server_and_length_are_noted);
    RUN(the_hosts_content_length_is_one_number);
    RUN(a_status_is_100_to_999);
    RUN(names_are_tokens_and_text_has_no_control_bytes);
    RUN(hop_by_hop_fields_are_refused);
    RUN(a_size_that_overflows_is_refused);
    RUN(standard_statuses_have_their_reasons);
    RUN(no_string_can_add_a_line);
    return check_end();
}
