/* conditional.h: what a request's conditions come to, field by field and together. */
#include "conditional.h"

#include "check.h"
#include "wire.h"

#define TEXT(s) ((mh_str){s, sizeof(s) - 1})

enum { NOW = 1800000000, DATE = 784111777 };

#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define EQUAL  "Sun, 06 Nov 1994 08:49:37 GMT"
#define AFTER  "Sun, 06 Nov 1994 08:49:38 GMT"

static const mh__validators strong = {TEXT("\"a\""), false, true, DATE};
static const mh__validators weak = {TEXT("\"a\""), true, false, DATE};
static const mh__validators none = {.tag = {"", 0}};

typedef struct line {
    const char *name, *value;
} line;

/* What these lines (up to one without a name) come to, each in memory of its own. */
static mh__conditions take(const mh__validators *of, const line *lines) {
    mh__conditions c;
    mh__conditions_init(&c, of, NOW);
    for (; lines->name; lines++) {
        size_t name_n = strlen(lines->name), value_n = strlen(lines->value);
        char *name = wire_copy(lines->name, name_n), *value = wire_copy(lines->value, value_n);
        mh__conditions_take(&c, (mh_str){name, name_n}, (mh_str){value, value_n});
        if (value == c.range.p) c.range.p = lines->value;
        free(name);
        free(value);
    }
    return c;
}

static int status_of(const mh__validators *of, const line *lines) {
    mh__conditions c = take(of, lines);
    return mh__conditions_status(&c);
}

static int status_of_one(const mh__validators *of, const char *name, const char *value) {
    const line lines[] = {{name, value}, {NULL, NULL}};
    return status_of(of, lines);
}

#define CHECK_STATUS(of, want, ...)                        \
    do {                                                   \
        const line lines_[] = {__VA_ARGS__, {NULL, NULL}}; \
        CHECK_INT(status_of(of, lines_), want);            \
    } while (0)

static void without_conditions_it_is_sent(void) {
    CHECK_INT(status_of(&strong, &(line){NULL, NULL}), 200);
    CHECK_STATUS(&strong, 200, {"Accept", "*"}, {"If", "\"a\""}, {"X-None-Match", "\"a\""});
}

static void if_none_match_compares_weakly(void) {
    static const struct {
        const char *value;
        int want;
    } cases[] = {
        {"\"a\"", 304},
        {"W/\"a\"", 304},
        {"*", 304},
        {"\"b\"", 200},
        {"\"b\", \"a\"", 304},
        {"\"b\",W/\"a\" ,\"c\"", 304},
        {", \"a\",,", 304},
        {"\"b\"", 200},
        {"\"A\"", 200},
        {"", 200},
        {"a", 200},
        {"\"a", 200},
        {"a\"", 200},
        {"\"a\" \"b\"", 200},
        {"\"a\"x", 200},
        {"w/\"a\"", 200},
        {"W\"a\"", 200},
        {"W/ \"a\"", 200},
        {"*, \"a\"", 200},
        {"\"a\", *", 200},
        {"\"a\", b", 200},
        {"\"a,b\"", 200},
        {"\"b,\", \"a\"", 304},
        {"\"\"", 200},
        {"\"a\tb\", \"a\"", 200},
        {"\"a b\", \"a\"", 200},
        {"\"\xe9\", \"a\"", 304},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int strongly = status_of_one(&strong, "If-None-Match", cases[i].value);
        int weakly = status_of_one(&weak, "if-none-match", cases[i].value);
        if (strongly != cases[i].want || weakly != cases[i].want)
            CHECK_FAIL_("%s: %d and %d, not %d", cases[i].value, strongly, weakly, cases[i].want);
    }
    CHECK_INT(status_of_one(&none, "If-None-Match", "\"\""), 200);
    CHECK_INT(status_of_one(&none, "If-None-Match", "*"), 304);
}

static void if_match_compares_strongly(void) {
    CHECK_INT(status_of_one(&strong, "If-Match", "\"a\""), 200);
    CHECK_INT(status_of_one(&strong, "If-Match", "*"), 200);
    CHECK_INT(status_of_one(&strong, "If-Match", "\"b\", \"a\""), 200);
    CHECK_INT(status_of_one(&strong, "If-Match", "W/\"a\""), 412);
    CHECK_INT(status_of_one(&strong, "If-Match", "\"b\""), 412);
    CHECK_INT(status_of_one(&strong, "If-Match", "nonsense"), 412);
    CHECK_INT(status_of_one(&weak, "If-Match", "\"a\""), 412);
    CHECK_INT(status_of_one(&weak, "If-Match", "W/\"a\""), 412);
    CHECK_INT(status_of_one(&weak, "If-Match", "*"), 200);
    CHECK_INT(status_of_one(&none, "If-Match", "*"), 200);
    CHECK_INT(status_of_one(&none, "If-Match", "\"\""), 412);
}

static void several_lines_are_one_list(void) {
    CHECK_STATUS(&strong, 304, {"If-None-Match", "\"b\""}, {"If-None-Match", "\"a\""});
    CHECK_STATUS(&strong, 304, {"If-None-Match", "\"a\""}, {"If-None-Match", "\"b\""});
    CHECK_STATUS(&strong, 200, {"If-Match", "\"b\""}, {"If-Match", "\"a\""});
    CHECK_STATUS(&strong, 412, {"If-Match", "\"b\""}, {"If-Match", "\"c\""});
}

static void dates_are_compared_in_seconds(void) {
    CHECK_INT(status_of_one(&strong, "If-Modified-Since", BEFORE), 200);
    CHECK_INT(status_of_one(&strong, "If-Modified-Since", EQUAL), 304);
    CHECK_INT(status_of_one(&strong, "If-Modified-Since", AFTER), 304);
    CHECK_INT(status_of_one(&strong, "If-Modified-Since", "Sun Nov  6 08:49:37 1994"), 304);
    CHECK_INT(status_of_one(&strong, "If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT"), 304);
    CHECK_INT(status_of_one(&strong, "If-Unmodified-Since", BEFORE), 412);
    CHECK_INT(status_of_one(&strong, "If-Unmodified-Since", EQUAL), 200);
    CHECK_INT(status_of_one(&strong, "If-Unmodified-Since", AFTER), 200);
}

static void dates_that_cant_be_read_are_passed_over(void) {
    static const char *const bad[] = {"", "yesterday", "784111777", EQUAL ", " EQUAL};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_INT(status_of_one(&strong, "If-Modified-Since", bad[i]), 200);
        CHECK_INT(status_of_one(&strong, "If-Unmodified-Since", bad[i]), 200);
    }
    CHECK_STATUS(&strong, 200, {"If-Modified-Since", EQUAL}, {"If-Modified-Since", EQUAL});
    CHECK_STATUS(&strong, 200, {"If-Unmodified-Since", BEFORE}, {"If-Unmodified-Since", BEFORE});
    CHECK_STATUS(&strong, 200, {"If-Unmodified-Since", BEFORE}, {"If-Unmodified-Since", BEFORE},
                 {"If-Unmodified-Since", BEFORE});
}

static void without_a_date_of_its_own_dates_mean_nothing(void) {
    CHECK_INT(status_of_one(&weak, "If-Modified-Since", AFTER), 200);
    CHECK_INT(status_of_one(&weak, "If-Unmodified-Since", BEFORE), 200);
}

/* RFC 9110 13.2.2 */
static void tags_go_before_dates_and_match_before_none_match(void) {
    CHECK_STATUS(&strong, 200, {"If-None-Match", "\"b\""}, {"If-Modified-Since", AFTER});
    CHECK_STATUS(&strong, 304, {"If-None-Match", "\"a\""}, {"If-Modified-Since", BEFORE});
    CHECK_STATUS(&strong, 200, {"If-Match", "\"a\""}, {"If-Unmodified-Since", BEFORE});
    CHECK_STATUS(&strong, 412, {"If-Match", "\"b\""}, {"If-Unmodified-Since", AFTER});
    CHECK_STATUS(&strong, 412, {"If-None-Match", "\"a\""}, {"If-Match", "\"b\""});
    CHECK_STATUS(&strong, 304, {"If-Match", "\"a\""}, {"If-None-Match", "\"a\""});
    CHECK_STATUS(&strong, 304, {"If-Match", "\"a\""}, {"If-Modified-Since", EQUAL});
    CHECK_STATUS(&strong, 412, {"If-Unmodified-Since", BEFORE}, {"If-None-Match", "\"a\""});
    CHECK_STATUS(&strong, 304, {"If-Unmodified-Since", EQUAL}, {"If-None-Match", "\"a\""});
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static bool heeded(const mh__validators *of, const line *lines) {
    mh__conditions c = take(of, lines);
    mh_str range = mh__conditions_range(&c);
    if (range.n > 0) CHECK_MEM(range.p, range.n, "bytes=0-1");
    return range.n > 0;
}

#define HEEDED(of, ...) heeded(of, (const line[]){__VA_ARGS__, {NULL, NULL}})
#define RANGE \
    { "Range", "bytes=0-1" }

static void a_range_is_heeded_once(void) {
    CHECK(HEEDED(&strong, RANGE));
    CHECK(HEEDED(&none, {"rAnGe", "bytes=0-1"}));
    CHECK(!HEEDED(&strong, RANGE, RANGE));
    CHECK(!HEEDED(&strong, RANGE, RANGE, RANGE));
    CHECK(!HEEDED(&strong, {"Accept", "*"}));
}

static void if_range_takes_a_strong_tag_or_the_very_date(void) {
    CHECK(HEEDED(&strong, RANGE, {"If-Range", "\"a\""}));
    CHECK(HEEDED(&strong, {"If-Range", EQUAL}, RANGE));
    CHECK(HEEDED(&strong, RANGE, {"If-Range", "Sunday, 06-Nov-94 08:49:37 GMT"}));
    CHECK(!HEEDED(&strong, RANGE, {"If-Range", "W/\"a\""}));
    CHECK(!HEEDED(&strong, RANGE, {"If-Range", "\"b\""}));
    CHECK(!HEEDED(&strong, RANGE, {"If-Range", BEFORE}));
    CHECK(!HEEDED(&strong, RANGE, {"If-Range", AFTER}));
    CHECK(!HEEDED(&strong, RANGE, {"If-Range", ""}));
    CHECK(!HEEDED(&strong, RANGE, {"If-Range", "*"}));
    CHECK(!HEEDED(&strong, RANGE, {"If-Range", "\"a\", \"a\""}));
    CHECK(!HEEDED(&strong, RANGE, {"If-Range", "\"a\" "}));
    CHECK(!HEEDED(&strong, RANGE, {"If-Range", "\"a\""}, {"If-Range", "\"a\""}));
    CHECK(!HEEDED(&weak, RANGE, {"If-Range", "\"a\""}));
    CHECK(!HEEDED(&weak, RANGE, {"If-Range", "W/\"a\""}));
    CHECK(!HEEDED(&weak, RANGE, {"If-Range", EQUAL}));
    CHECK(!HEEDED(&none, RANGE, {"If-Range", "\"\""}));
    CHECK(!HEEDED(&strong, {"If-Range", "\"a\""}));
}

static void mutations_are_read_inside_their_bytes(void) {
    static const char *const names[] = {"If-Match",          "If-None-Match",       "If-Range",
                                        "If-Modified-Since", "If-Unmodified-Since", "Range"};
    static const char *const values[] = {"\"a\", W/\"b\", *", EQUAL,
                                         "Sunday, 06-Nov-94 08:49:37 GMT", "W/\"a\""};
    uint32_t seed = 13;
    for (int i = 0; i < 100000; i++) {
        mh__conditions c;
        char text[64];
        const char *name = names[i % 6], *from = values[i % 4];
        size_t n = strlen(from);
        memcpy(text, from, n);
        n = wire_mutate(&seed, text, n, sizeof text);
        char *copy = wire_copy(text, n);
        mh__conditions_init(&c, &strong, NOW);
        mh__conditions_take(&c, (mh_str){name, strlen(name)}, (mh_str){copy, n});
        int status = mh__conditions_status(&c);
        CHECK(status == 200 || status == 304 || status == 412);
        mh__conditions_range(&c);
        free(copy);
    }
}

int main(void) {
    RUN(without_conditions_it_is_sent);
    RUN(if_none_match_compares_weakly);
    RUN(if_match_compares_strongly);
    RUN(several_lines_are_one_list);
    RUN(dates_are_compared_in_seconds);
    RUN(dates_that_cant_be_read_are_passed_over);
    RUN(without_a_date_of_its_own_dates_mean_nothing);
    RUN(tags_go_before_dates_and_match_before_none_match);
    RUN(a_range_is_heeded_once);
    RUN(if_range_takes_a_strong_tag_or_the_very_date);
    RUN(mutations_are_read_inside_their_bytes);
    return check_end();
}
