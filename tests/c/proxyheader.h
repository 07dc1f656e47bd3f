/* PROXY headers of version 2, as a sender makes them. */
#ifndef PROXYHEADER_H
#define PROXYHEADER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PROXYHEADER_MOST = 8192 };

typedef struct proxyheader {
    char p[PROXYHEADER_MOST];
    size_t n;
} proxyheader;

/* Its first 16 bytes, with a length of 0; what is added counts in that. */
static inline void proxyheader_begin(proxyheader *h, int version_command, int family) {
    static const char signature[12] = {13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10};
    memcpy(h->p, signature, 12);
    h->p[12] = (char)version_command;
    h->p[13] = (char)family;
    h->p[14] = h->p[15] = 0;
    h->n = 16;
}

static inline void proxyheader_say_length(proxyheader *h, size_t length) {
    h->p[14] = (char)(length >> 8);
    h->p[15] = (char)length;
}

static inline void proxyheader_add(proxyheader *h, const void *p, size_t n) {
    if (n > sizeof h->p - h->n) abort();
    memcpy(h->p + h->n, p, n);
    h->n += n;
    proxyheader_say_length(h, h->n - 16);
}

/* From 192.0.2.1 port 5000 to 192.0.2.2 port 443. */
static inline void proxyheader_ipv4(proxyheader *h) {
    static const uint8_t block[12] = {192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 0x01, 0xbb};
    proxyheader_add(h, block, sizeof block);
}

/* From 2001:db8::1 port 5000 to 2001:db8::2 port 443. */
static inline void proxyheader_ipv6(proxyheader *h) {
    static const uint8_t block[36] = {0x20, 0x01, 0x0d,     0xb8, [15] = 1, 0x20, 0x01,
                                      0x0d, 0xb8, [31] = 2, 0x13, 0x88,     0x01, 0xbb};
    proxyheader_add(h, block, sizeof block);
}

static inline void proxyheader_tlv(proxyheader *h, int type, const void *p, size_t n) {
    const uint8_t head[3] = {(uint8_t)type, (uint8_t)(n >> 8), (uint8_t)n};
    proxyheader_add(h, head, sizeof head);
    proxyheader_add(h, p, n);
}

/* CRC32c by the long division of RFC 9260 appendix A, a bit at a time over bits in the order of
 * transmission; of the four bytes at zeroed, 0. */
static inline uint32_t proxyheader_crc32c(const char *p, size_t n, size_t zeroed) {
    uint32_t rest = UINT32_MAX, reflected = 0;
    for (size_t i = 0; i < 8 * n; i++) {
        unsigned byte = i / 8 - zeroed < 4 ? 0 : (unsigned char)p[i / 8];
        unsigned bit = (byte >> i % 8 & 1) ^ rest >> 31;
        rest = rest << 1 ^ (bit ? 0x1edc6f41u : 0);
    }
    for (int i = 0; i < 32; i++)
        reflected |= (~rest >> i & 1) << (31 - i);
    return reflected;
}

/* A checksum of all that is there, which is then right if wrong is 0. */
static inline void proxyheader_checksum(proxyheader *h, uint32_t wrong) {
    proxyheader_tlv(h, 3, "\0\0\0", 4);
    size_t at = h->n - 4;
    uint32_t crc = proxyheader_crc32c(h->p, h->n, at) ^ wrong;
    for (size_t i = 0; i < 4; i++)
        h->p[at + i] = (char)(crc >> (24 - 8 * i));
}

#endif
