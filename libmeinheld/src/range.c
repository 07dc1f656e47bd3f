/* bytes=0-99, 200-, -5 -> ranges of a representation whose size is known. Numbers may have any
 * number of digits: what 64 bits can't hold lies behind every end, and stays as large as they can
 * say. */
#include "range.h"

#include <stdbool.h>

#include "scan.h"

/* Digits at *p, which is moved behind them; false if there are none. */
static bool read_position(const char **p, const char *end, uint64_t *out) {
    const char *start = *p;
    uint64_t value = 0;
    for (; *p < end && **p >= '0' && **p <= '9'; ++*p) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**p - '0'), &value))
            value = UINT64_MAX;
    }
    *out = value;
    return *p > start;
}

/* One range at *p, which is moved behind it. Its n is 0 if none of it is there; size > 0. */
static bool read_range(const char **p, const char *end, uint64_t size, mh__range *range) {
    uint64_t first, last;
    bool has_first = read_position(p, end, &first);
    if (*p == end || *(*p)++ != '-') return false;
    bool has_last = read_position(p, end, &last);
    if (!has_first) { /* the last so many bytes */
        if (!has_last) return false;
        range->n = last < size ? last : size;
        range->first = size - range->n;
        return true;
    }
    if (has_last && last < first) return false;
    if (!has_last || last >= size) last = size - 1;
    range->first = first;
    range->n = first < size ? last - first + 1 : 0;
    return true;
}

/* Adds range to *count others, or to the last of them. The size of the whole bounds all sums. */
static void add(mh__range *ranges, size_t *count, mh__range range) {
    mh__range *last = *count > 0 ? &ranges[*count - 1] : NULL;
    if (range.n == 0) return;
    if (last && range.first >= last->first && range.first <= last->first + last->n) {
        uint64_t end = range.first + range.n;
        if (end > last->first + last->n) last->n = end - last->first;
        return;
    }
    ranges[(*count)++] = range;
}

static void skip_spaces(const char **p, const char *end) {
    while (*p < end && mh__is_space(**p))
        ++*p;
}

/* A list of ranges, in which empty elements mean nothing (RFC 9110 5.6.1.2). False if it is
 * malformed, too long, or empty. */
static bool read_list(mh__range *ranges, size_t *count, const char *p, const char *end,
                      uint64_t size) {
    size_t elements = 0;
    for (;; p++) {
        skip_spaces(&p, end);
        if (p < end && *p != ',') {
            mh__range range;
            if (++elements > MH__RANGES_MOST || !read_range(&p, end, size, &range)) return false;
            add(ranges, count, range);
            skip_spaces(&p, end);
        }
        if (p == end) return elements > 0;
        if (*p != ',') return false;
    }
}

enum mh__range_result mh__ranges_read(mh__range *ranges, size_t *count, const char *p, size_t n,
                                      uint64_t size) {
    static const char unit[] = "bytes";
    const char *end = p + n;
    uint64_t sum = 0;
    *count = 0;
    if (size == 0 || n < sizeof unit || !mh__fold_eq(p, unit, sizeof unit - 1)) {
        return MH__RANGE_WHOLE;
    }
    p += sizeof unit - 1;
    if (*p++ != '=' || !read_list(ranges, count, p, end, size)) return MH__RANGE_WHOLE;
    for (size_t i = 0; i < *count; i++) {
        if (ranges[i].n > size - sum) return MH__RANGE_WHOLE;
        sum += ranges[i].n;
    }
    return *count > 0 ? MH__RANGE_PARTS : MH__RANGE_NONE;
}
