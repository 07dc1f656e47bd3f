/* Dates as HTTP writes them. Both ways count days in the same calendar: years from 1 March of year
 * 0, so that the leap day is the last of its year, in eras of 400 years, which all have 146097
 * days. Reading follows a pattern for each of the three forms. */
#include "date.h"

#include <string.h>

enum { DAY = 86400, EPOCH = 719468 /* days from 1 March of year 0 to 1 January 1970 */ };

static const int64_t last_second = 253402300799;        /* of year 9999 */
static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1 January 1970 was a Thursday */
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
/* Days of the year before each month, from March. */
static const unsigned short before[] = {0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337};

/* ---- writing --------------------------------------------------------------------------------- */

static void put_two(char *q, unsigned v) {
    q[0] = (char)('0' + v / 10);
    q[1] = (char)('0' + v % 10);
}

/* The civil date of a day since 1970; month from 0 for January. */
static void civil_date(unsigned days, unsigned *year, unsigned *month, unsigned *day) {
    unsigned d = days + EPOCH;
    unsigned era = d / 146097, m = 11;

    d %= 146097;
    /* whole centuries of 36524 days, but the fourth has one more; then spans of four years, then
     * years likewise */
    unsigned century = d / 36524 < 3 ? d / 36524 : 3;
    d -= century * 36524;
    unsigned four = d / 1461;
    d -= four * 1461;
    unsigned one = d / 365 < 3 ? d / 365 : 3;
    d -= one * 365;
    while (before[m] > d)
        m--;
    *year = 400 * era + 100 * century + 4 * four + one + (m >= 10);
    *month = m >= 10 ? m - 10 : m + 2;
    *day = d - before[m] + 1;
}

void mh__date_write(char *buf, int64_t t) {
    static const char shape[] = "Thu, 01 Jan 1970 00:00:00 GMT"; /* filled in below */
    unsigned year, month, day;

    if (t < 0) t = 0; /* a clock may be set to anything */
    if (t > last_second) t = last_second;
    unsigned days = (unsigned)(t / DAY), second = (unsigned)(t % DAY);
    civil_date(days, &year, &month, &day);

    memcpy(buf, shape, MH__DATE_SIZE);
    memcpy(buf, weekdays + 3 * (size_t)(days % 7), 3);
    put_two(buf + 5, day);
    memcpy(buf + 8, months + 3 * (size_t)month, 3);
    put_two(buf + 12, year / 100);
    put_two(buf + 14, year % 100);
    put_two(buf + 17, second / 3600);
    put_two(buf + 20, second / 60 % 60);
    put_two(buf + 23, second % 60);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The parts of a date, as they are read. */
typedef struct parts {
    unsigned year, month, day; /* month from 0 */
    unsigned hour, minute, second;
    bool short_year;
} parts;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* n digits at *p, which is moved behind them. */
static bool read_digits(const char **p, const char *end, unsigned n, unsigned *out) {
    if ((size_t)(end - *p) < n) return false;
    *out = 0;
    for (; n > 0; n--, ++*p) {
        if (!is_digit(**p)) return false;
        *out = *out * 10 + (unsigned)(**p - '0');
    }
    return true;
}

/* Three letters at *p that are in names, a run of such; *out is which. */
static bool read_name(const char **p, const char *end, const char *names, unsigned *out) {
    if (end - *p < 3) return false;
    for (unsigned i = 0; names[3 * i]; i++) {
        if (memcmp(*p, names + 3 * i, 3) != 0) continue;
        *p += 3;
        *out = i;
        return true;
    }
    return false;
}

/* The rest of the long name of weekday number day. */
static bool read_rest_of_weekday(const char **p, const char *end, unsigned day) {
    static const char *const rests[] = {"rsday", "day", "urday", "day", "day", "sday", "nesday"};
    size_t n = strlen(rests[day]);
    if ((size_t)(end - *p) < n || memcmp(*p, rests[day], n) != 0) return false;
    *p += n;
    return true;
}

/* A day of the month of two characters, the first of which may be a space (asctime). */
static bool read_padded_day(const char **p, const char *end, unsigned *day) {
    bool padded = *p < end && **p == ' ';
    *p += padded;
    return read_digits(p, end, padded ? 1 : 2, day);
}

static bool read_time(const char **p, const char *end, parts *d) {
    if (!read_digits(p, end, 2, &d->hour) || *p == end || *(*p)++ != ':') return false;
    if (!read_digits(p, end, 2, &d->minute) || *p == end || *(*p)++ != ':') return false;
    return read_digits(p, end, 2, &d->second);
}

/* One part at *p, by its letter in a pattern: w weekday, W its long name, d day, D the same padded,
 * m month, Y year, y its last two digits, t time. */
static bool read_part(char part, const char **p, const char *end, parts *d) {
    unsigned weekday;
    switch (part) {
    case 'w':
        return read_name(p, end, weekdays, &weekday);
    case 'W':
        return read_name(p, end, weekdays, &weekday) && read_rest_of_weekday(p, end, weekday);
    case 'd':
        return read_digits(p, end, 2, &d->day);
    case 'D':
        return read_padded_day(p, end, &d->day);
    case 'm':
        return read_name(p, end, months, &d->month);
    case 'Y':
        return read_digits(p, end, 4, &d->year);
    case 'y':
        d->short_year = true;
        return read_digits(p, end, 2, &d->year);
    default: /* 't' */
        return read_time(p, end, d);
    }
}

/* Whether p[0..n) follows the pattern, in which '%' stands before a part. */
static bool read_parts(parts *d, const char *pattern, const char *p, size_t n) {
    const char *end = p + n;
    *d = (parts){0};
    for (; *pattern; pattern++) {
        bool good =
            *pattern == '%' ? read_part(*++pattern, &p, end, d) : p < end && *p++ == *pattern;
        if (!good) return false;
    }
    return p == end;
}

/* Seconds since 1970; the day may be one that its month has not. */
static int64_t seconds_of(const parts *d) {
    unsigned m = (d->month + 10) % 12; /* from March */
    int64_t year = (int64_t)d->year - (d->month < 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + before[m] + d->day - 1;
    return (days - EPOCH) * DAY + (int64_t)d->hour * 3600 + d->minute * 60 + d->second;
}

/* The century of a short year (RFC 9110 5.6.7): the last that does not make it too late. */
static void complete_year(parts *d, int64_t now) {
    if (now < 0) now = 0;
    if (now > last_second) now = last_second;
    const int64_t most = now + (int64_t)(50 * 365 + 12) * DAY;
    unsigned digits = d->year;
    for (d->year = 9900 + digits; d->year > 1900 && seconds_of(d) > most;)
        d->year -= 100;
}

static bool is_possible(const parts *d) {
    static const unsigned char lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = d->year % 4 == 0 && (d->year % 100 != 0 || d->year % 400 == 0);
    if (d->day < 1 || d->day > lengths[d->month]) return false;
    if (d->month == 1 && d->day == 29 && !leap) return false;
    return d->hour < 24 && d->minute < 60 && d->second <= 60;
}

bool mh__date_read(int64_t *t, const char *p, size_t n, int64_t now) {
    parts d;
    if (!read_parts(&d, "%w, %d %m %Y %t GMT", p, n) &&
        !read_parts(&d, "%W, %d-%m-%y %t GMT", p, n) && !read_parts(&d, "%w %m %D %t %Y", p, n))
        return false;
    if (d.short_year) complete_year(&d, now);
    if (!is_possible(&d)) return false;
    *t = seconds_of(&d);
    return true;
}
