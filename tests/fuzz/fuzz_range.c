/* range.h against the rules of RFC 9110 14.1, written down as an expression for each element and
 * sums in 128 bits. The input is the size of the representation, eight bytes whose first says how
 * large it may be, then the value of the field. */
#include "range.h"

#include <regex.h>

#include "fuzz.h"

enum { TEXT_MOST = 1024, ELEMENTS = 600 };

__extension__ typedef unsigned __int128 wide;

/* ---- the reference --------------------------------------------------------------------------- */

/* Digits as a number, those that 64 bits can't hold as the largest. */
static uint64_t number_of(const char *digits, size_t n) {
    wide value = 0;

    for (size_t i = 0; i < n; i++) {
        value = value * 10u + (unsigned)(digits[i] - '0');
        if (value > UINT64_MAX) value = UINT64_MAX;
    }
    return (uint64_t)value;
}

typedef struct verdict {
    enum mh__range_result result;
    mh__range ranges[ELEMENTS];
    size_t n;
} verdict;

/* One element without the spaces around it; false if it is no range. */
static bool judge_element(verdict *v, const char *text, uint64_t size) {
    static regex_t compiled;
    static bool ready;
    regmatch_t g[3];

    if (!ready) FUZZ_CHECK(regcomp(&compiled, "^([0-9]*)-([0-9]*)$", REG_EXTENDED) == 0);
    ready = true;
    if (regexec(&compiled, text, 3, g, 0) != 0) return false;
    size_t first_n = (size_t)g[1].rm_eo, last_n = (size_t)(g[2].rm_eo - g[2].rm_so);
    uint64_t first = number_of(text, first_n), last = number_of(text + g[2].rm_so, last_n);
    if (first_n == 0 && last_n == 0) return false;
    if (first_n > 0 && last_n > 0 && last < first) return false;
    if (first_n == 0) {
        first = last > size ? 0 : size - last;
        last = size - 1;
    } else if (last_n == 0 || last > size - 1) {
        last = size - 1;
    }
    if (first >= size) return true; /* it is good, but nothing of it is there */
    mh__range *before = v->n > 0 ? &v->ranges[v->n - 1] : NULL;
    if (before && first >= before->first && first - before->first <= before->n) {
        uint64_t end = before->first + before->n > last + 1 ? before->first + before->n : last + 1;
        before->n = end - before->first;
    } else {
        v->ranges[v->n++] = (mh__range){first, last - first + 1};
    }
    return true;
}

/* The elements of the list, one after another; false if one is bad or there are too many. */
static bool judge_list(verdict *v, char *list, uint64_t size) {
    size_t elements = 0;

    for (char *next = list; next;) {
        char *text = next, *comma = strchr(next, ',');
        next = comma ? comma + 1 : NULL;
        if (comma) *comma = '\0';
        text += strspn(text, " \t");
        for (size_t n = strlen(text); n > 0 && fuzz_is_space(text[n - 1]); n--)
            text[n - 1] = '\0';
        if (*text == '\0') continue;
        if (++elements > MH__RANGES_MOST || !judge_element(v, text, size)) return false;
    }
    return elements > 0;
}

static void judge(verdict *v, const char *p, size_t n, uint64_t size) {
    char text[TEXT_MOST + 1];
    wide sum = 0;

    *v = (verdict){.result = MH__RANGE_WHOLE};
    if (size == 0 || n < 6 || strncasecmp(p, "bytes=", 6) != 0) return;
    memcpy(text, p + 6, n - 6);
    text[n - 6] = '\0';
    if (strlen(text) != n - 6 || !judge_list(v, text, size)) return;
    for (size_t i = 0; i < v->n; i++)
        sum += v->ranges[i].n;
    if (sum > size) return;
    v->result = v->n > 0 ? MH__RANGE_PARTS : MH__RANGE_NONE;
}

/* ---- the comparison -------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size);
    uint64_t whole = fuzz_u64(&in);
    whole >>= whole >> 58; /* of all magnitudes, small ones often */
    size_t n = fuzz_left(&in), count = 77;
    if (n > TEXT_MOST) n = TEXT_MOST;
    char *value = wire_copy(in.p, n);
    mh__range *ranges = malloc(MH__RANGES_MOST * sizeof *ranges); /* not one more */
    static verdict want;

    if (!ranges) abort();
    enum mh__range_result got = mh__ranges_read(ranges, &count, value, n, whole);
    judge(&want, value, n, whole);
    FUZZ_CHECK(got == want.result);
    if (got == MH__RANGE_PARTS) {
        FUZZ_CHECK(count == want.n);
        for (size_t i = 0; i < count; i++)
            FUZZ_CHECK(ranges[i].first == want.ranges[i].first && ranges[i].n == want.ranges[i].n);
    }
    free(ranges);
    free(value);
    return 0;
}
