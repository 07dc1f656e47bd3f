/* Lines of the access log: what they say, that nothing in them can end them or leave its quotes,
 * and that they always fit. */
#include "access.h"

#include <stdbool.h>
#include <time.h>

#include "check.h"
#include "json.h"
#include "scan.h"
#include "wire.h"

static mh_str str(const char *s) {
    size_t n = strlen(s);
    return (mh_str){wire_copy_head(s, n), n};
}

/* A line, to be freed; not one byte more than promised, for AddressSanitizer. */
static char *line_of(const mh__access *a, int format, size_t *n) {
    char *room = malloc(MH__ACCESS_MOST);
    if (!room) abort();
    *n = mh__access_write(room, a, format);
    CHECK(*n <= MH__ACCESS_MOST && room[*n - 1] == '\n');
    return room;
}

#define CHECK_LINE(a, format, want)               \
    do {                                          \
        size_t size_;                             \
        char *line_ = line_of(a, format, &size_); \
        CHECK_MEM(line_, size_, want);            \
        free(line_);                              \
    } while (0)

static mh__access usual(void) {
    return (mh__access){
        .peer = str("192.0.2.1"),
        .stamp = str("26/Nov/2026:01:26:14 +0000"),
        .line = str("GET /a?b=c HTTP/1.1"),
        .method = str("GET"),
        .target = str("/a?b=c"),
        .protocol = str("HTTP/1.1"),
        .host = str("example.org:8000"),
        .referer = str("http://example.org/"),
        .agent = str("curl/8.0"),
        .status = 200,
        .why = MH_FINISH_DONE,
        .sent = 12,
        .taken_us = 1234567,
    };
}

static void discard(mh__access *a) {
    const char *all[] = {a->peer.p,     a->stamp.p, a->line.p,    a->method.p, a->target.p,
                         a->protocol.p, a->host.p,  a->referer.p, a->agent.p};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free((char *)(uintptr_t)all[i]);
}

/* ---- what they say --------------------------------------------------------------------------- */

static void the_combined_line_is_apaches(void) {
    mh__access a = usual();
    CHECK_LINE(&a, MH_ACCESS_COMBINED,
               "192.0.2.1 - - [26/Nov/2026:01:26:14 +0000] \"GET /a?b=c HTTP/1.1\" 200 12 "
               "\"http://example.org/\" \"curl/8.0\"\n");
    discard(&a);
}

static void json_names_what_it_says(void) {
    mh__access a = usual();
    CHECK_LINE(
        &a, MH_ACCESS_JSON,
        "{\"time\":\"26/Nov/2026:01:26:14 +0000\",\"remote_addr\":\"192.0.2.1\","
        "\"method\":\"GET\",\"target\":\"/a?b=c\",\"protocol\":\"HTTP/1.1\","
        "\"host\":\"example.org:8000\",\"status\":200,\"bytes\":12,\"duration\":1.234567,"
        "\"end\":\"done\",\"referer\":\"http://example.org/\",\"user_agent\":\"curl/8.0\"}\n");
    discard(&a);
}

static void what_there_is_not_is_a_dash_or_null(void) {
    mh__access a = {.stamp = str("T"), .status = 408, .why = MH_FINISH_TIMEOUT, .taken_us = 5};
    CHECK_LINE(&a, MH_ACCESS_COMBINED, "- - - [T] \"-\" 408 - \"-\" \"-\"\n");
    CHECK_LINE(&a, MH_ACCESS_JSON,
               "{\"time\":\"T\",\"remote_addr\":null,\"method\":null,\"target\":null,"
               "\"protocol\":null,\"line\":null,\"host\":null,\"status\":408,\"bytes\":0,"
               "\"duration\":0.000005,\"end\":\"timeout\",\"referer\":null,\"user_agent\":null}\n");
    discard(&a);
}

static void a_refused_line_is_told_as_it_came(void) {
    mh__access a = {.stamp = str("T"), .line = str("NON\"SENSE"), .status = 400};
    CHECK_LINE(&a, MH_ACCESS_COMBINED, "- - - [T] \"NON\\x22SENSE\" 400 - \"-\" \"-\"\n");
    CHECK_LINE(&a, MH_ACCESS_JSON,
               "{\"time\":\"T\",\"remote_addr\":null,\"method\":null,\"target\":null,"
               "\"protocol\":null,\"line\":\"NON\\\"SENSE\",\"host\":null,\"status\":400,"
               "\"bytes\":0,\"duration\":0.000000,\"end\":\"done\",\"referer\":null,"
               "\"user_agent\":null}\n");
    discard(&a);
}

static void numbers_of_any_size_are_written_whole(void) {
    static const struct {
        uint64_t sent, taken_us;
        const char *want;
    } rows[] = {
        {0, 0, "\"bytes\":0,\"duration\":0.000000,"},
        {9, 999999, "\"bytes\":9,\"duration\":0.999999,"},
        {10, 1000000, "\"bytes\":10,\"duration\":1.000000,"},
        {UINT64_MAX, UINT64_MAX,
         "\"bytes\":18446744073709551615,\"duration\":18446744073709.551615,"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mh__access a = {.sent = rows[i].sent, .taken_us = rows[i].taken_us, .status = 200};
        size_t n, want_n = strlen(rows[i].want);
        char *line = line_of(&a, MH_ACCESS_JSON, &n);
        CHECK(memmem(line, n, rows[i].want, want_n) != NULL);
        free(line);
    }
}

static void each_end_has_its_name(void) {
    static const char *const names[] = {"done",    "peer_closed", "timeout",
                                        "aborted", "upgraded",    "file"};
    for (int why = MH_FINISH_DONE; why <= MH_FINISH_FILE; why++) {
        mh__access a = {.why = why, .status = 200};
        char want[40];
        size_t n;
        char *line = line_of(&a, MH_ACCESS_JSON, &n);
        int want_n = snprintf(want, sizeof want, "\"end\":\"%s\",", names[why]);
        CHECK(memmem(line, n, want, (size_t)want_n) != NULL);
        free(line);
    }
}

/* ---- what a client sends --------------------------------------------------------------------- */

/* Undoes the escapes of a quoted value of the combined format, in place. False: a byte of it may
 * not stand there. */
static bool unescape(char *p, size_t *n) {
    char *q = p, *end = p + *n;
    for (char *at = p; at < end; at++) {
        uint8_t c = (uint8_t)*at;
        if (c < 0x20 || c > 0x7e || c == '"') return false;
        if (c == '\\') {
            if (end - at < 4 || at[1] != 'x') return false;
            *q++ = (char)(json_hex(at[2]) * 16 + json_hex(at[3]));
            at += 3;
        } else {
            *q++ = *at;
        }
    }
    *n = (size_t)(q - p);
    return true;
}

/* The value comes out of both formats as it went in. */
static void check_round_trip(const char *p, size_t n) {
    mh__access a = {.stamp = str("T"), .agent = {wire_copy_head(p, n), n}, .status = 200};
    size_t size, got_n;
    bool found;

    char *line = line_of(&a, MH_ACCESS_COMBINED, &size);
    const char *front = "- - - [T] \"-\" 200 - \"-\" \"";
    size_t front_n = strlen(front);
    CHECK(size >= front_n + 2 && memcmp(line, front, front_n) == 0);
    CHECK(memchr(line, '\n', size) == line + size - 1 && line[size - 2] == '"');
    got_n = size - front_n - 2;
    CHECK(unescape(line + front_n, &got_n));
    CHECK(got_n == n && memcmp(line + front_n, p, n) == 0);
    free(line);

    line = line_of(&a, MH_ACCESS_JSON, &size);
    char *got = malloc(size);
    if (!got) abort();
    CHECK(json_object(line, size - 1, "user_agent", got, &got_n, &found) && found);
    CHECK(got_n == n && memcmp(got, p, n) == 0);
    free(got);
    free(line);
    discard(&a);
}

static void every_byte_comes_out_as_it_went_in(void) {
    char value[40];
    for (int byte = 0; byte < 256; byte++) {
        for (size_t n = 1; n <= sizeof value; n++) {
            memset(value, 'x', sizeof value);
            value[n - 1] = (char)byte;
            check_round_trip(value, n);
            value[0] = (char)byte;
            check_round_trip(value, n);
        }
        memset(value, byte, sizeof value);
        check_round_trip(value, sizeof value);
        if (check_failed) CHECK_FAIL_("with byte %02x", (unsigned)byte);
    }
}

static void bytes_behind_a_value_are_none_of_it(void) {
    char value[64];
    memset(value, '"', sizeof value);
    memset(value, 'x', 17);
    mh__access a = {.stamp = str("T"), .agent = {value, 17}, .status = 200};
    CHECK_LINE(&a, MH_ACCESS_COMBINED, "- - - [T] \"-\" 200 - \"-\" \"xxxxxxxxxxxxxxxxx\"\n");
    free((char *)(uintptr_t)a.stamp.p);
}

/* ---- length ---------------------------------------------------------------------------------- */

/* All values of n times that byte, in both formats. */
static void check_fits(char byte, size_t n) {
    char *text = malloc(n + MH__SCAN_PAD);
    if (!text) abort();
    memset(text, byte, n + MH__SCAN_PAD);
    mh__access a = usual();
    mh_str value = {text, n};
    mh__access long_one = a;
    long_one.line = long_one.target = long_one.host = long_one.referer = long_one.agent = value;
    for (int refused = 0; refused < 2; refused++) {
        if (refused) long_one.method = long_one.target = long_one.protocol = (mh_str){NULL, 0};
        for (int format = MH_ACCESS_COMBINED; format <= MH_ACCESS_JSON; format++) {
            size_t size, got_n;
            bool found;
            char *line = line_of(&long_one, format, &size);
            CHECK(memchr(line, '\n', size) == line + size - 1);
            char *got = malloc(size);
            if (!got) abort();
            if (format == MH_ACCESS_JSON)
                CHECK(json_object(line, size - 1, "user_agent", got, &got_n, &found) && found);
            if (format == MH_ACCESS_COMBINED) {
                const char *agent = memrchr(line, '"', size - 2);
                CHECK(line + size - 2 - (agent + 1) <= MH__ACCESS_SHORT);
            }
            if (n > MH__ACCESS_LONG) CHECK(memmem(line, size, "...\"", 4) != NULL);
            free(got);
            free(line);
        }
    }
    free(text);
    discard(&a);
}

static void what_is_too_long_is_cut_and_the_line_stays_whole(void) {
    static const char bytes[] = {'x', '"', '\\', '\n', '\xff'};
    for (size_t i = 0; i < sizeof bytes; i++) {
        check_fits(bytes[i], 100000);
        for (size_t n = 600; n < 700; n++) /* where four, six bytes each reach 4096 */
            check_fits(bytes[i], n);
        for (size_t n = MH__ACCESS_SHORT - 40; n < MH__ACCESS_SHORT + 40; n++)
            check_fits(bytes[i], n);
    }
}

static void a_target_of_8_kib_is_not_cut(void) {
    size_t n = 8192, size, got_n;
    bool found;
    char *text = malloc(n + MH__SCAN_PAD), *got;
    if (!text) abort();
    memset(text, '/', n + MH__SCAN_PAD);
    mh__access a = usual(), b = a;
    b.target = (mh_str){text, n};
    char *line = line_of(&b, MH_ACCESS_JSON, &size);
    got = malloc(size);
    if (!got) abort();
    CHECK(json_object(line, size - 1, "target", got, &got_n, &found) && found);
    CHECK_INT(got_n, n);
    free(got);
    free(line);
    free(text);
    discard(&a);
}

/* ---- the time -------------------------------------------------------------------------------- */

static void check_stamp(const char *zone, int64_t t, const char *combined, const char *rfc3339) {
    char buf[MH__ACCESS_STAMP];
    setenv("TZ", zone, 1);
    tzset();
    CHECK_MEM(buf, mh__access_stamp(buf, MH_ACCESS_COMBINED, t), combined);
    CHECK_MEM(buf, mh__access_stamp(buf, MH_ACCESS_JSON, t), rfc3339);
}

static void the_time_is_local_and_says_how_far_from_utc(void) {
    check_stamp("UTC0", 1795656374, "26/Nov/2026:01:26:14 +0000", "2026-11-26T01:26:14+00:00");
    check_stamp("XXX-5:30", 1795656374, "26/Nov/2026:06:56:14 +0530", "2026-11-26T06:56:14+05:30");
    check_stamp("XXX3:30", 1795656374, "25/Nov/2026:21:56:14 -0330", "2026-11-25T21:56:14-03:30");
    check_stamp("UTC0", 951782400, "29/Feb/2000:00:00:00 +0000", "2000-02-29T00:00:00+00:00");
}

static void a_clock_that_is_set_to_anything_gives_a_stamp(void) {
    check_stamp("UTC0", 0, "01/Jan/1970:00:00:00 +0000", "1970-01-01T00:00:00+00:00");
    check_stamp("UTC0", INT64_MIN, "01/Jan/1970:00:00:00 +0000", "1970-01-01T00:00:00+00:00");
    check_stamp("UTC0", INT64_MAX, "30/Dec/9999:23:59:59 +0000", "9999-12-30T23:59:59+00:00");
    check_stamp("XXX-14", INT64_MAX, "31/Dec/9999:13:59:59 +1400", "9999-12-31T13:59:59+14:00");
}

int main(void) {
    RUN(the_combined_line_is_apaches);
    RUN(json_names_what_it_says);
    RUN(what_there_is_not_is_a_dash_or_null);
    RUN(a_refused_line_is_told_as_it_came);
    RUN(numbers_of_any_size_are_written_whole);
    RUN(each_end_has_its_name);
    RUN(every_byte_comes_out_as_it_went_in);
    RUN(bytes_behind_a_value_are_none_of_it);
    RUN(what_is_too_long_is_cut_and_the_line_stays_whole);
    RUN(a_target_of_8_kib_is_not_cut);
    RUN(the_time_is_local_and_says_how_far_from_utc);
    RUN(a_clock_that_is_set_to_anything_gives_a_stamp);
    return check_end();
}
