/* date.h: dates as they are written, and as they are read in all three forms. */
#include "date.h"

#include <time.h>

#include "check.h"
#include "wire.h"

/* ---- writing --------------------------------------------------------------------------------- */

static void check_date(int64_t t) {
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char *buf = wire_copy("#############################", 29), want[64];
    time_t seconds = (time_t)t;
    struct tm tm;

    if (!gmtime_r(&seconds, &tm)) abort();
    snprintf(want, sizeof(want), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    mh__date_write(buf, t);
    if (!wire_same(buf, 29, want)) CHECK_FAIL_("%lld: %.29s, not %s", (long long)t, buf, want);
    free(buf);
}

static const int64_t end_of_9999 = 253402300799;

static void dates_are_those_of_gmtime(void) {
    uint32_t seed = 1994;

    check_date(784111777);
    check_date(0);
    check_date(end_of_9999);
    for (int64_t day = 0; day <= end_of_9999 / 86400;
         day += 1 + day / 60000) { /* each to the year 2134 */
        check_date(day * 86400);
        check_date(day * 86400 + 86399);
    }
    for (int64_t second = 0; second < 86400; second += 7)
        check_date(951782400 + second); /* 29 February 2000 */
    for (int i = 0; i < 100000; i++) {
        int64_t t = (int64_t)wire_random(&seed, 1u << 31) * 117 + wire_random(&seed, 117);
        check_date(t);
    }
}

static void a_clock_out_of_range_still_gives_a_date(void) {
    static const int64_t times[] = {-1, INT64_MIN, INT64_MAX, 253402300800};

    for (size_t i = 0; i < 4; i++) {
        char *buf = wire_copy("#############################", 29);
        mh__date_write(buf, times[i]);
        CHECK(wire_same(buf, 29,
                        times[i] < 0 ? "Thu, 01 Jan 1970 00:00:00 GMT"
                                     : "Fri, 31 Dec 9999 23:59:59 GMT"));
        free(buf);
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

enum { NOW = 1800000000 }; /* 15 January 2027 */

static bool read_date(const char *text, int64_t now, int64_t *t) {
    char *copy = wire_copy(text, strlen(text));
    bool good = mh__date_read(t, copy, strlen(text), now);
    free(copy);
    return good;
}

static void check_read(const char *text, int64_t want) {
    int64_t t = -1;
    if (!read_date(text, NOW, &t))
        CHECK_FAIL_("not read: %s", text);
    else if (t != want)
        CHECK_FAIL_("%s is %lld, not %lld", text, (long long)t, (long long)want);
}

static void check_refused(const char *text) {
    int64_t t = 77;
    if (read_date(text, NOW, &t)) CHECK_FAIL_("read as %lld: \"%s\"", (long long)t, text);
    CHECK_INT(t, 77);
}

static void all_three_forms_are_read(void) {
    check_read("Sun, 06 Nov 1994 08:49:37 GMT", 784111777);
    check_read("Sunday, 06-Nov-94 08:49:37 GMT", 784111777);
    check_read("Sun Nov  6 08:49:37 1994", 784111777);
    check_read("Wed Nov 16 08:49:37 1994", 784975777);
    check_read("Thu, 01 Jan 1970 00:00:00 GMT", 0);
    check_read("Wed, 31 Dec 1969 23:59:59 GMT", -1);
    check_read("Tue, 29 Feb 2000 12:00:00 GMT", 951825600);
    check_read("Fri, 31 Dec 9999 23:59:59 GMT", end_of_9999);
    check_read("Sat, 01 Jan 0000 00:00:00 GMT", -62167219200);
    check_read("Fri, 30 Jun 1972 23:59:60 GMT", 78796800); /* a leap second is the next one */
}

static void every_weekday_and_month_is_known_in_each_form(void) {
    static const char *const longs[] = {"Thursday", "Friday",  "Saturday", "Sunday",
                                        "Monday",   "Tuesday", "Wednesday"};
    for (int64_t day = 0; day < 800; day++) {
        char text[64];
        time_t seconds = (time_t)(day + 10957) * 86400 + 3723; /* from 2000 on */
        struct tm tm;
        if (!gmtime_r(&seconds, &tm)) abort();
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        check_read(text, seconds);
        strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &tm);
        check_read(text, seconds);
        size_t n = strftime(text, sizeof text, "%A, ", &tm);
        if (strncmp(text, longs[(day + 10957) % 7], n - 2) != 0) abort();
        strftime(text + n, sizeof text - n, "%d-%b-%y %H:%M:%S GMT", &tm);
        check_read(text, seconds);
    }
}

static void what_is_written_is_read_back(void) {
    uint32_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        int64_t t = (int64_t)wire_random(&seed, 1u << 31) * 117 + wire_random(&seed, 117), got;
        char *text = wire_copy("#############################", MH__DATE_SIZE);
        mh__date_write(text, t);
        CHECK(mh__date_read(&got, text, MH__DATE_SIZE, NOW));
        CHECK_INT(got, t);
        free(text);
    }
}

/* RFC 9110 5.6.7: what seems over 50 years ahead is of the century before. */
static void two_digits_are_a_year_at_most_50_years_ahead(void) {
    int64_t t, ahead = (int64_t)(50 * 365 + 12) * 86400;
    check_read("Monday, 06-Nov-76 08:49:37 GMT", 3371878177);
    check_read("Sunday, 06-Nov-78 08:49:37 GMT", 279190177);
    CHECK(read_date("Sunday, 06-Nov-94 08:49:37 GMT", 784111777 - ahead, &t));
    CHECK_INT(t, 784111777);
    CHECK(read_date("Sunday, 06-Nov-44 08:49:37 GMT", 2362034977 - ahead, &t));
    CHECK_INT(t, 2362034977); /* of 2044 */
    CHECK(read_date("Sunday, 06-Nov-44 08:49:37 GMT", 2362034977 - ahead - 1, &t));
    CHECK_INT(t, -793725023);                                           /* of 1944 */
    CHECK(read_date("Sunday, 06-Nov-05 08:49:37 GMT", 4090000000, &t)); /* in 2099 */
    CHECK_INT(t, 4286940577);                                           /* of 2105 */
    CHECK(read_date("Sunday, 06-Nov-05 08:49:37 GMT", -5, &t));
    CHECK_INT(t, 1131266977); /* a clock before 1970 is taken for 1970 */
    CHECK(read_date("Sunday, 06-Nov-05 08:49:37 GMT", INT64_MAX, &t));
    CHECK(read_date("Sunday, 06-Nov-05 08:49:37 GMT", INT64_MIN, &t));
}

static void the_weekday_need_not_be_the_right_one(void) {
    check_read("Mon, 06 Nov 1994 08:49:37 GMT", 784111777);
    check_read("Friday, 06-Nov-94 08:49:37 GMT", 784111777);
}

static void what_is_no_date_is_refused(void) {
    static const char *const bad[] = {
        "",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 GM",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun,  6 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sund, 06 Nov 1994 08:49:37 GMT",
        "Sunda, 06-Nov-94 08:49:37 GMT",
        "Thuday, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov   6 08:49:37 1994",
        "Sun Nov  6 08:49:37 94",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 32 Oct 1994 08:49:37 GMT",
        "Sun, 29 Feb 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 29 Feb 2200 08:49:37 GMT",
        "Sun, 30 Feb 2000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 19 4 08:49:37 GMT",
        "784111777",
        "0",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_refused(bad[i]);
}

/* Nothing is read beside what is given: AddressSanitizer sees to it. */
static void a_date_cut_anywhere_is_none(void) {
    static const char *const whole[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Wednesday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < 3; i++) {
        for (size_t n = 0; n < strlen(whole[i]); n++) {
            int64_t t;
            char *copy = wire_copy(whole[i], n);
            if (mh__date_read(&t, copy, n, NOW)) CHECK_FAIL_("read: %.*s", (int)n, copy);
            free(copy);
        }
    }
}

int main(void) {
    RUN(dates_are_those_of_gmtime);
    RUN(a_clock_out_of_range_still_gives_a_date);
    RUN(all_three_forms_are_read);
    RUN(every_weekday_and_month_is_known_in_each_form);
    RUN(what_is_written_is_read_back);
    RUN(two_digits_are_a_year_at_most_50_years_ahead);
    RUN(the_weekday_need_not_be_the_right_one);
    RUN(what_is_no_date_is_refused);
    RUN(a_date_cut_anywhere_is_none);
    return check_end();
}
