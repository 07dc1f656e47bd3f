/* A list of codings with weights -> those worth looking for, in order. */
#include "accept.h"

#include <stdbool.h>

#include "scan.h"

static void skip_spaces(const char **p, const char *end) {
    while (*p < end && mh__is_space(**p))
        ++*p;
}

/* qvalue, in thousandths, at *p, which is moved behind it (RFC 9110 12.4.2). */
static bool read_weight(const char **p, const char *end, int16_t *weight) {
    if (*p == end || (**p != '0' && **p != '1')) return false;
    int value = *(*p)++ == '1' ? 1000 : 0;
    if (*p < end && **p == '.') {
        ++*p;
        for (int unit = 100; unit > 0 && *p < end && **p >= '0' && **p <= '9'; unit /= 10)
            value += unit * (*(*p)++ - '0');
    }
    *weight = (int16_t)value;
    return value <= 1000;
}

/* Which of ours a coding's name is, or -1. */
static int find_coding(mh_str name) {
    switch (name.n) {
    case 2:
        return mh__fold_eq(name.p, "br", 2) ? MH__CODING_BR : -1;
    case 4:
        return mh__fold_eq(name.p, "gzip", 4) ? MH__CODING_GZIP : -1;
    case 6:
        return mh__fold_eq(name.p, "x-gzip", 6) ? MH__CODING_GZIP : -1; /* RFC 9110 8.4.1.3 */
    case 8:
        return mh__fold_eq(name.p, "identity", 8) ? MH__CODING_IDENTITY : -1;
    default:
        return -1;
    }
}

/* One element of the list, without the comma. */
static void take_element(mh__accept *a, const char *p, const char *end) {
    skip_spaces(&p, end);
    mh_str name = {p, 0};
    while (p < end && mh__is_token(*p))
        p++;
    name.n = (size_t)(p - name.p);
    int16_t weight = 1000;
    skip_spaces(&p, end);
    if (p < end) {
        if (*p++ != ';') return;
        skip_spaces(&p, end);
        if (end - p < 2 || (*p | 0x20) != 'q' || p[1] != '=') return;
        p += 2;
        if (!read_weight(&p, end, &weight)) return;
        skip_spaces(&p, end);
        if (p < end) return;
    }
    int coding = find_coding(name);
    if (coding >= 0) a->weight[coding] = weight;
    if (name.n == 1 && *name.p == '*') a->any = weight;
}

void mh__accept_init(mh__accept *a) { *a = (mh__accept){{-1, -1, -1}, -1}; }

void mh__accept_take(mh__accept *a, mh_str value) {
    const char *p = value.p, *end = p + value.n;
    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        take_element(a, p, comma ? comma : end);
        p = comma ? comma + 1 : end;
    }
}

size_t mh__accept_order(const mh__accept *a, mh__coding order[MH__CODINGS - 1]) {
    int weight[MH__CODINGS];
    size_t n = 0;
    for (int i = 0; i < MH__CODINGS; i++) {
        weight[i] = a->weight[i] >= 0 ? a->weight[i] : a->any;
        if (weight[i] < 0) weight[i] = 0; /* and identity is taken, but never preferred */
    }
    for (int i = 0; i < MH__CODING_IDENTITY; i++)
        if (weight[i] > 0 && weight[i] >= weight[MH__CODING_IDENTITY]) order[n++] = (mh__coding)i;
    if (n == 2 && weight[order[1]] > weight[order[0]]) {
        order[0] = MH__CODING_GZIP;
        order[1] = MH__CODING_BR;
    }
    return n;
}
