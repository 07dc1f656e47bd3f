/* What the tests of the pure layers share: input in allocations of exactly its size, so that
 * AddressSanitizer sees the first byte that is read outside, and a generator of numbers with a
 * fixed seed, so that a failure repeats. */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A copy of p[0..n) in n bytes of its own (one, never read, if n is 0), to be freed. */
static inline char *wire_copy(const char *p, size_t n) {
    char *copy = malloc(n > 0 ? n : 1);

    if (!copy) abort();
    if (n > 0) memcpy(copy, p, n);
    return copy;
}

/* The same with the MH__SCAN_PAD bytes behind it that a head needs, to be freed: each time others,
 * of those that could be taken for a part of it. */
static inline char *wire_copy_head(const char *p, size_t n) {
    static const char pads[] = "\n\rx \n:%?";
    static unsigned calls;
    char *copy = malloc(n + 16);

    if (!copy) abort();
    if (n > 0) memcpy(copy, p, n);
    memset(copy + n, pads[calls++ % (sizeof(pads) - 1)], 16);
    return copy;
}

/* Whether p[0..n) are the bytes of the string want. */
static inline bool wire_same(const char *p, size_t n, const char *want) {
    return n == strlen(want) && (n == 0 || memcmp(p, want, n) == 0);
}

/* Below n > 0 (xorshift, G. Marsaglia 2003). */
static inline uint32_t wire_random(uint32_t *state, uint32_t n) {
    uint32_t x = *state;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *state = x;
    return x % n;
}

/* Changes p[0..n), in a buffer of cap bytes, at one to four places: replaces, inserts, removes or
 * doubles bytes, mostly with some that mean something to a parser. Returns the new length. */
static inline size_t wire_mutate(uint32_t *state, char *p, size_t n, size_t cap) {
    static const char meant[] = "\r\n\r\n \t:;,=\"\\%?#/*@[]0159afAFxZ_-.\x00\x01\x7f\x80\xff";

    for (uint32_t edits = 1 + wire_random(state, 4); edits > 0 && n > 0; edits--) {
        size_t at = wire_random(state, (uint32_t)n);
        char byte = wire_random(state, 8) > 0 ? meant[wire_random(state, sizeof(meant) - 1)]
                                              : (char)wire_random(state, 256);
        size_t run = 1 + wire_random(state, 20);

        if (run > n - at) run = n - at;
        switch (wire_random(state, 4)) {
        case 0:
            p[at] = byte;
            break;
        case 1:
            if (n == cap) break;
            memmove(p + at + 1, p + at, n - at);
            p[at] = byte;
            n++;
            break;
        case 2:
            memmove(p + at, p + at + run, n - at - run);
            n -= run;
            break;
        default:
            if (n + run > cap) break;
            memmove(p + at + run, p + at, n - at);
            n += run;
            break;
        }
    }
    return n;
}

#endif
