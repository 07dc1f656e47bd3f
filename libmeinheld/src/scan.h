/* Scanning for the end of a run of bytes: sixteen at a time with SSE2 or NEON, one at a time
 * elsewhere. Which of them is chosen when compiling, never at run time; MH_SCAN_PLAIN asks for the
 * plain one, so that tests can run both.
 *
 * A scan (mh__scan_*) runs inside a complete request head and returns the first byte that stops it.
 * It needs no end, since a head ends in LF, which stops every scan; but it loads sixteen bytes at a
 * time, so MH__SCAN_PAD bytes behind the head must be readable, whatever they are. What comes from
 * elsewhere is asked as a whole (mh__all_*), and nothing outside of it is read. */
#ifndef MH_SCAN_H
#define MH_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MH__SCAN_INLINE static inline __attribute__((always_inline))

/* Readable bytes that a head needs behind it. */
enum { MH__SCAN_PAD = 16 };

#if !defined(MH_SCAN_PLAIN) && defined(__SSE2__)
#define MH__SCAN_VECTOR 1
#include <emmintrin.h>
#elif !defined(MH_SCAN_PLAIN) && defined(__aarch64__) && defined(__ARM_NEON) && \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define MH__SCAN_VECTOR 1
#include <arm_neon.h>
#else
#define MH__SCAN_VECTOR 0
#endif

/* ---- classes of single bytes ----------------------------------------------------------------- */

enum {
    MH__CH_TOKEN = 1, /* tchar (RFC 9110 5.6.2) */
    MH__CH_HOST = 2, /* unreserved or sub-delims (RFC 3986 2.2, 2.3) but the comma: see framing.c */
    MH__CH_BOTH = 3
};

static const uint8_t mh__ch_class[256] = {
    ['0' ... '9'] = MH__CH_BOTH, ['A' ... 'Z'] = MH__CH_BOTH, ['a' ... 'z'] = MH__CH_BOTH,
    ['!'] = MH__CH_BOTH,         ['$'] = MH__CH_BOTH,         ['&'] = MH__CH_BOTH,
    ['\''] = MH__CH_BOTH,        ['*'] = MH__CH_BOTH,         ['+'] = MH__CH_BOTH,
    ['-'] = MH__CH_BOTH,         ['.'] = MH__CH_BOTH,         ['_'] = MH__CH_BOTH,
    ['~'] = MH__CH_BOTH,         ['#'] = MH__CH_TOKEN,        ['%'] = MH__CH_TOKEN,
    ['^'] = MH__CH_TOKEN,        ['`'] = MH__CH_TOKEN,        ['|'] = MH__CH_TOKEN,
    ['('] = MH__CH_HOST,         [')'] = MH__CH_HOST,         [';'] = MH__CH_HOST,
    ['='] = MH__CH_HOST,
};

MH__SCAN_INLINE bool mh__is_token(char c) { return mh__ch_class[(uint8_t)c] & MH__CH_TOKEN; }

MH__SCAN_INLINE bool mh__is_host(char c) { return mh__ch_class[(uint8_t)c] & MH__CH_HOST; }

/* OWS and BWS are made of these (RFC 9110 5.6.3). */
MH__SCAN_INLINE bool mh__is_space(char c) { return c == ' ' || c == '\t'; }

/* What no field value, reason or quoted string may hold: control bytes but HT, and DEL (RFC
 * 9110 5.5). */
MH__SCAN_INLINE bool mh__is_control(char c) {
    return ((uint8_t)c < 0x20 && c != '\t') || c == 0x7f;
}

/* 0 to 15, or -1 for a byte that is no hexadecimal digit. */
MH__SCAN_INLINE int mh__hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
    return -1;
}

/* Whether p[0..n) is lower, which has n bytes, in any case. lower holds only small letters, digits
 * and '-', and p no control bytes but HT: then setting bit 5 folds capitals and makes no other byte
 * equal to one of lower. */
MH__SCAN_INLINE bool mh__fold_eq(const char *p, const char *lower, size_t n) {
    uint64_t a, b;
    uint32_t c, d;

    for (; n > 8; p += 8, lower += 8, n -= 8) {
        memcpy(&a, p, 8);
        memcpy(&b, lower, 8);
        if ((a | 0x2020202020202020) != b) return false;
    }
    if (n < 4) {
        for (; n > 0; p++, lower++, n--)
            if ((*p | 0x20) != *lower) return false;
        return true;
    }
    memcpy(&c, p, 4);
    memcpy(&d, lower, 4);
    if ((c | 0x20202020) != d) return false;
    memcpy(&c, p + n - 4, 4); /* some of these may be looked at again */
    memcpy(&d, lower + n - 4, 4);
    return (c | 0x20202020) == d;
}

/* ---- runs of bytes -----------------------------------------------------------------------------
 * A class of stopping bytes is a function on one byte and, for vectors, one on sixteen. The vectors
 * are the compiler's own (GCC manual 6.52), so that only "where is the first hit" differs between
 * the machines. */

typedef bool mh__stop1(char c);

/* The stopping bytes among sixteen, the lowest bit for the first: MH__MASK_BITS bits a byte, one of
 * them set. */
typedef uint64_t mh__mask;

#if MH__SCAN_VECTOR

typedef uint8_t mh__vec __attribute__((vector_size(16)));
typedef __typeof__((mh__vec){0} == (mh__vec){0}) mh__hits; /* all ones where a byte stops, else 0 */
typedef mh__hits mh__stop16(mh__vec v);

/* Which bytes are in [first, last]: moved up so that the range ends at the largest signed number,
 * it takes one comparison, and SSE2 has signed ones only. */
MH__SCAN_INLINE mh__hits mh__vec_in(mh__vec v, uint8_t first, uint8_t last) {
    return (mh__hits)(v + (uint8_t)(127 - last)) > (int8_t)(126 - (last - first));
}

#ifdef __SSE2__
#define MH__MASK_BITS 1
MH__SCAN_INLINE mh__mask mh__mask_of(mh__hits h) { return (unsigned)_mm_movemask_epi8((__m128i)h); }
#else
#define MH__MASK_BITS 4
MH__SCAN_INLINE mh__mask mh__mask_of(mh__hits h) {
    /* NEON has no movemask, but narrowing keeps four bits of each byte */
    uint8x8_t quads = vshrn_n_u16(vreinterpretq_u16_u8((uint8x16_t)h), 4);
    return vget_lane_u64(vreinterpret_u64_u8(quads), 0) & 0x1111111111111111;
}
#endif

#else
#define MH__MASK_BITS 1
#endif

/* The place of the first of a mask that is not 0. */
MH__SCAN_INLINE unsigned mh__mask_first(mh__mask m) {
    return (unsigned)__builtin_ctzll(m) / MH__MASK_BITS;
}

/* The bits of the first n bytes. */
MH__SCAN_INLINE mh__mask mh__mask_low(mh__mask m, size_t n) {
    return n < 16 ? m & (((mh__mask)1 << (MH__MASK_BITS * n)) - 1) : m;
}

#if MH__SCAN_VECTOR

/* stop1 and stop16 are constants at every call, here and below, so that all of this becomes
 * straight code. */
MH__SCAN_INLINE mh__mask mh__scan_mask(const char *p, mh__stop1 *stop1, mh__stop16 *stop16) {
    mh__vec v;

    (void)stop1;
    memcpy(&v, p, 16);
    return mh__mask_of(stop16(v));
}

MH__SCAN_INLINE const char *mh__scan(const char *p, mh__stop1 *stop1, mh__stop16 *stop16) {
    for (;; p += 16) {
        mh__mask m = mh__scan_mask(p, stop1, stop16);
        if (m) return p + mh__mask_first(m);
    }
}

/* As mh__scan, for runs that seldom reach sixteen bytes, and a stop16 that may stop too early. */
MH__SCAN_INLINE const char *mh__scan_short(const char *p, mh__stop1 *stop1, mh__stop16 *stop16) {
    mh__mask m = mh__scan_mask(p, stop1, stop16);

    if (m) p += mh__mask_first(m);
    while (!stop1(*p))
        p++;
    return p;
}

/* The n bytes at p, 0 < n < 16, in a vector whose other bytes are some of them again. */
MH__SCAN_INLINE mh__vec mh__vec_of(const char *p, size_t n) {
    uint64_t halves[2];
    uint32_t a, b;
    mh__vec v;

    if (n >= 8) {
        memcpy(&halves[0], p, 8);
        memcpy(&halves[1], p + n - 8, 8);
    } else if (n >= 4) {
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        halves[0] = halves[1] = (uint64_t)a << 32 | b;
    } else {
        uint64_t all = 0x0101010101010101;
        halves[0] = all * (uint8_t)p[0];
        halves[1] = (all * (uint8_t)p[n / 2]) >> 32 | (all * (uint8_t)p[n - 1]) << 32;
    }
    memcpy(&v, halves, 16);
    return v;
}

/* Whether none of p[0..n) stops; a stop16 that stops too early makes it look again. */
MH__SCAN_INLINE bool mh__all(const char *p, size_t n, mh__stop1 *stop1, mh__stop16 *stop16) {
    if (n == 0) return true; /* p may be NULL */
    const char *end = p + n;
    mh__mask m = 0;

    if (n >= 16) {
        for (const char *q = p; end - q > 16; q += 16)
            m |= mh__scan_mask(q, stop1, stop16);
        m |= mh__scan_mask(end - 16, stop1, stop16);
    } else {
        m = mh__mask_of(stop16(mh__vec_of(p, n)));
    }
    if (!m) return true;
    while (p < end && !stop1(*p))
        p++;
    return p == end;
}

MH__SCAN_INLINE mh__hits mh__stop16_lf(mh__vec v) { return v == '\n'; }

MH__SCAN_INLINE mh__hits mh__stop16_text(mh__vec v) {
    return (mh__vec_in(v, 0, 0x1f) & (v != '\t')) | (v == 0x7f);
}

MH__SCAN_INLINE mh__hits mh__stop16_target(mh__vec v) {
    return ~mh__vec_in(v, 0x21, 0x7e) | (v == '#');
}

MH__SCAN_INLINE mh__hits mh__stop16_path(mh__vec v) {
    return mh__vec_in(v, 0, 0x20) | (v == '%') | (v == '?');
}

/* Names are nearly always letters, digits and '-'; other tchars stop this too. */
MH__SCAN_INLINE mh__hits mh__stop16_token(mh__vec v) {
    return ~(mh__vec_in(v | 0x20, 'a', 'z') | mh__vec_in(v, '0', '9') | (v == '-'));
}

/* And with '.' so are hosts. */
MH__SCAN_INLINE mh__hits mh__stop16_host(mh__vec v) {
    return ~(mh__vec_in(v | 0x20, 'a', 'z') | mh__vec_in(v, '0', '9') | (v == '-') | (v == '.'));
}

MH__SCAN_INLINE mh__hits mh__stop16_digit(mh__vec v) { return ~mh__vec_in(v, '0', '9'); }

MH__SCAN_INLINE mh__hits mh__stop16_quoted(mh__vec v) {
    return ~mh__vec_in(v, 0x20, 0x7e) | (v == '"') | (v == '\\');
}

#define MH__SCAN_CLASS(class) mh__stop1_##class, mh__stop16_##class

#else

MH__SCAN_INLINE mh__mask mh__scan_mask(const char *p, mh__stop1 *stop1) {
    mh__mask m = 0;

    for (unsigned i = 0; i < 16; i++)
        m |= (mh__mask)stop1(p[i]) << i;
    return m;
}

MH__SCAN_INLINE const char *mh__scan(const char *p, mh__stop1 *stop1) {
    while (!stop1(*p))
        p++;
    return p;
}

MH__SCAN_INLINE bool mh__all(const char *p, size_t n, mh__stop1 *stop1) {
    if (n == 0) return true; /* p may be NULL */
    const char *end = p + n;

    while (p < end && !stop1(*p))
        p++;
    return p == end;
}

#define mh__scan_short        mh__scan
#define MH__SCAN_CLASS(class) mh__stop1_##class

#endif

MH__SCAN_INLINE bool mh__stop1_lf(char c) { return c == '\n'; }

MH__SCAN_INLINE bool mh__stop1_text(char c) { return mh__is_control(c); }

MH__SCAN_INLINE bool mh__stop1_target(char c) {
    return (uint8_t)c <= 0x20 || (uint8_t)c >= 0x7f || c == '#';
}

MH__SCAN_INLINE bool mh__stop1_path(char c) { return (uint8_t)c <= 0x20 || c == '%' || c == '?'; }

MH__SCAN_INLINE bool mh__stop1_token(char c) { return !mh__is_token(c); }

MH__SCAN_INLINE bool mh__stop1_host(char c) { return !mh__is_host(c); }

MH__SCAN_INLINE bool mh__stop1_digit(char c) { return c < '0' || c > '9'; }

MH__SCAN_INLINE bool mh__stop1_quoted(char c) {
    return (uint8_t)c < 0x20 || (uint8_t)c >= 0x7f || c == '"' || c == '\\';
}

/* The LFs among the first sixteen bytes of [p, end), which may not be a complete head yet. */
MH__SCAN_INLINE mh__mask mh__scan_lfs(const char *p, const char *end) {
    return mh__mask_low(mh__scan_mask(p, MH__SCAN_CLASS(lf)), (size_t)(end - p));
}

/* All that may be no part of a host among n <= 16 bytes, and all that is no digit. */
MH__SCAN_INLINE mh__mask mh__scan_hosts(const char *p, size_t n) {
    return mh__mask_low(mh__scan_mask(p, MH__SCAN_CLASS(host)), n);
}

MH__SCAN_INLINE mh__mask mh__scan_digits(const char *p, size_t n) {
    return mh__mask_low(mh__scan_mask(p, MH__SCAN_CLASS(digit)), n);
}

/* All that may not stand between quotes in a log as it is, among n <= 16 bytes: a control byte, a
 * quote, a backslash, or one outside of ASCII. */
MH__SCAN_INLINE mh__mask mh__scan_quoted(const char *p, size_t n) {
    return mh__mask_low(mh__scan_mask(p, MH__SCAN_CLASS(quoted)), n);
}

/* Up to the first byte that no field value may hold. */
MH__SCAN_INLINE const char *mh__scan_text(const char *p) {
    return mh__scan(p, MH__SCAN_CLASS(text));
}

/* Up to the first byte that no request-target may hold: space, control, DEL, '#', or one outside of
 * ASCII. */
MH__SCAN_INLINE const char *mh__scan_target(const char *p) {
    return mh__scan(p, MH__SCAN_CLASS(target));
}

/* Up to the first '%' or '?', or the end of the target. */
MH__SCAN_INLINE const char *mh__scan_path(const char *p) {
    return mh__scan(p, MH__SCAN_CLASS(path));
}

/* Up to the first byte that is no tchar. */
MH__SCAN_INLINE const char *mh__scan_token(const char *p) {
    return mh__scan_short(p, MH__SCAN_CLASS(token));
}

/* Up to the first byte that mh__is_host refuses. */
MH__SCAN_INLINE const char *mh__scan_host(const char *p) {
    return mh__scan_short(p, MH__SCAN_CLASS(host));
}

/* Whether p[0..n) is made of what a field value may hold, or a token. */
MH__SCAN_INLINE bool mh__all_text(const char *p, size_t n) {
    return mh__all(p, n, MH__SCAN_CLASS(text));
}

MH__SCAN_INLINE bool mh__all_token(const char *p, size_t n) {
    return mh__all(p, n, MH__SCAN_CLASS(token));
}

#endif
