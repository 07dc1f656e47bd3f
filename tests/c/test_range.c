/* range.h: which bytes a Range field asks for, and when it is passed over. */
#include "range.h"

#include "check.h"
#include "wire.h"

/* What comes of text for a representation of size bytes, as text: "0+5 7+1", "whole" or "none". */
static const char *read_ranges(const char *text, uint64_t size) {
    static char said[2000];
    mh__range ranges[MH__RANGES_MOST];
    size_t count, at = 0, n = strlen(text);
    char *copy = wire_copy(text, n);
    enum mh__range_result result = mh__ranges_read(ranges, &count, copy, n, size);
    free(copy);
    if (result == MH__RANGE_WHOLE) return "whole";
    if (result == MH__RANGE_NONE) return count == 0 ? "none" : "none, and some";
    said[0] = '\0';
    for (size_t i = 0; i < count; i++)
        at +=
            (size_t)snprintf(said + at, sizeof said - at, "%s%llu+%llu", i > 0 ? " " : "",
                             (unsigned long long)ranges[i].first, (unsigned long long)ranges[i].n);
    return said;
}

typedef struct example {
    const char *text;
    uint64_t size;
    const char *want;
} example;

static void check_all(const example *examples, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *got = read_ranges(examples[i].text, examples[i].size);
        if (strcmp(got, examples[i].want) != 0)
            CHECK_FAIL_("\"%s\" of %llu: %s, not %s", examples[i].text,
                        (unsigned long long)examples[i].size, got, examples[i].want);
    }
}

#define CHECK_ALL(examples) check_all(examples, sizeof(examples) / sizeof *(examples))

static void a_range_is_the_bytes_that_it_says(void) {
    static const example examples[] = {
        {"bytes=0-0", 10, "0+1"},
        {"bytes=0-9", 10, "0+10"},
        {"bytes=3-5", 10, "3+3"},
        {"bytes=9-9", 10, "9+1"},
        {"bytes=5-", 10, "5+5"},
        {"bytes=0-", 10, "0+10"},
        {"bytes=-1", 10, "9+1"},
        {"bytes=-10", 10, "0+10"},
        {"bytes=-99", 10, "0+10"},
        {"bytes=5-99", 10, "5+5"},
        {"bytes=0-0", 1, "0+1"},
        {"bytes=-1", 1, "0+1"},
        {"BYTES=0-0", 10, "0+1"},
        {"Bytes=0-0", 10, "0+1"},
        {"bytes=00-01", 10, "0+2"},
        {"bytes=0-0", UINT64_MAX, "0+1"},
        {"bytes=1-", UINT64_MAX, "1+18446744073709551614"},
    };
    CHECK_ALL(examples);
}

static void several_come_in_their_order(void) {
    static const example examples[] = {
        {"bytes=0-0,2-2", 10, "0+1 2+1"},
        {"bytes=5-6,0-1", 10, "5+2 0+2"},
        {"bytes=0-0, -1", 10, "0+1 9+1"},
        {"bytes=0-0 ,\t4-4", 10, "0+1 4+1"},
        {"bytes= 0-0", 10, "0+1"},
        {"bytes=,0-0,,3-3,", 10, "0+1 3+1"},
        {"bytes=0-0,20-30,4-4", 10, "0+1 4+1"}, /* one is not there: the others are */
        {"bytes=20-30,-0,4-4", 10, "4+1"},
    };
    CHECK_ALL(examples);
}

static void neighbours_are_joined(void) {
    static const example examples[] = {
        {"bytes=0-1,2-3", 10, "0+4"},     {"bytes=0-4,2-3", 10, "0+5"},
        {"bytes=0-4,4-9", 10, "0+10"},    {"bytes=0-4,0-4,0-4", 10, "0+5"},
        {"bytes=0-1,3-4", 10, "0+2 3+2"}, {"bytes=2-3,0-1", 10, "2+2 0+2"},
        {"bytes=0-1,2-3,4-", 10, "0+10"},
    };
    CHECK_ALL(examples);
}

static void what_begins_behind_the_end_is_not_there(void) {
    static const example examples[] = {
        {"bytes=10-", 10, "none"},
        {"bytes=10-20", 10, "none"},
        {"bytes=-0", 10, "none"},
        {"bytes=11-11,-0,99-", 10, "none"},
        {"bytes=18446744073709551615-", UINT64_MAX, "none"},
    };
    CHECK_ALL(examples);
}

static void numbers_of_any_length_are_understood(void) {
    static const example examples[] = {
        {"bytes=0-18446744073709551615", 10, "0+10"},
        {"bytes=0-18446744073709551616", 10, "0+10"},
        {"bytes=2-99999999999999999999999999999999", 10, "2+8"},
        {"bytes=-99999999999999999999999999999999", 10, "0+10"},
        {"bytes=99999999999999999999999999999999-", 10, "none"},
        {"bytes=18446744073709551616-18446744073709551617", 10, "none"},
        {"bytes=0000000000000000000000000000000001-1", 10, "1+1"},
    };
    CHECK_ALL(examples);
}

static void what_is_malformed_is_passed_over(void) {
    static const char *const bad[] = {
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes= ",
        "bytes=-",
        "bytes=a-b",
        "bytes=0",
        "bytes=5-4",
        "bytes=0-0x",
        "bytes=0--1",
        "bytes=--1",
        "bytes=0-0;1-1",
        "bytes=0-0 1-1",
        "bytes=+0-1",
        "bytes 0-1",
        "bytes =0-1",
        "bytes:0-1",
        "byte=0-1",
        "bytess=0-1",
        "items=0-1",
        "none",
        "bytes=0 -1",
        "bytes=0- 1",
        "bytes=0-1,x",
        "bytes=0-1,5-4",
        "bytes=0-1/10",
        "bytes=0x0-1",
        "=0-1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const example one = {bad[i], 10, "whole"};
        check_all(&one, 1);
    }
}

static void of_nothing_nothing_can_be_asked(void) {
    static const example examples[] = {
        {"bytes=0-", 0, "whole"}, {"bytes=0-0", 0, "whole"}, {"bytes=-5", 0, "whole"}};
    CHECK_ALL(examples);
}

/* CVE-2011-3192 and its like: many ranges, overlapping or small. */
static void a_flood_is_passed_over(void) {
    char text[2000];
    for (size_t most = MH__RANGES_MOST - 1; most <= MH__RANGES_MOST + 1; most++) {
        size_t n = (size_t)snprintf(text, sizeof text, "bytes=");
        for (size_t i = 0; i < most; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%zu-%zu", i > 0 ? "," : "", 3 * i,
                                  3 * i);
        bool whole = strcmp(read_ranges(text, 1000), "whole") == 0;
        CHECK_INT(whole, most > MH__RANGES_MOST);
    }
    static const example examples[] = {
        {"bytes=0-,0-,5-,-3", 10, "0+10"}, /* which is one */
        {"bytes=5-9,0-9", 10, "whole"},    {"bytes=5-9,0-5", 10, "whole"},
        {"bytes=5-9,0-4", 10, "5+5 0+5"},  {"bytes=1-,0-", 10, "whole"},
    };
    CHECK_ALL(examples);
}

static void what_is_malformed_behind_what_is_not_there_counts(void) {
    static const example examples[] = {{"bytes=20-30,x", 10, "whole"},
                                       {"bytes=x,20-", 10, "whole"}};
    CHECK_ALL(examples);
}

/* Whatever the bytes: inside the whole, never more than the whole, no more than there is room for.
 */
static void mutations_never_give_what_is_not_there(void) {
    static const char *const seeds[] = {"bytes=0-4,6-7,-2", "bytes=3-, 1-2", "bytes=99-,-0,5-6"};
    uint32_t seed = 14;
    for (int i = 0; i < 200000; i++) {
        char text[64];
        const char *from = seeds[i % 3];
        mh__range ranges[MH__RANGES_MOST];
        size_t count, n = strlen(from);
        uint64_t size = wire_random(&seed, 12), sum = 0;
        memcpy(text, from, n);
        n = wire_mutate(&seed, text, n, sizeof text);
        char *copy = wire_copy(text, n);
        enum mh__range_result result = mh__ranges_read(ranges, &count, copy, n, size);
        for (size_t k = 0; result == MH__RANGE_PARTS && k < count; k++) {
            CHECK(ranges[k].n > 0 && ranges[k].first < size && ranges[k].n <= size);
            CHECK(ranges[k].first + ranges[k].n <= size);
            sum += ranges[k].n;
        }
        CHECK(sum <= size);
        free(copy);
        if (check_failed) break;
    }
}

int main(void) {
    RUN(a_range_is_the_bytes_that_it_says);
    RUN(several_come_in_their_order);
    RUN(neighbours_are_joined);
    RUN(what_begins_behind_the_end_is_not_there);
    RUN(numbers_of_any_length_are_understood);
    RUN(what_is_malformed_is_passed_over);
    RUN(what_is_malformed_behind_what_is_not_there_counts);
    RUN(of_nothing_nothing_can_be_asked);
    RUN(a_flood_is_passed_over);
    RUN(mutations_never_give_what_is_not_there);
    return check_end();
}
