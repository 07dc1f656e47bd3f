/* The grammar of a PROXY header. Sections are of the text that proxy.h names.
 *
 * Version 1 is a line of text, version 2 a block of bytes that says its own length; they differ in
 * their first byte. Whatever does not match exactly is refused (2.1: "must be discarded"). */
#include "proxy.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#include "meinheld.h"

/* ---- version 1 ------------------------------------------------------------------------------- */

static const char word[] = "PROXY ";
enum { WORD = sizeof word - 1, LINE_WORDS = 5 /* protocol, two addresses, two ports */ };

/* inet_pton of s, which has no NUL. */
static bool read_address(mh__addr *addr, int family, mh_str s) {
    char text[INET6_ADDRSTRLEN];
    if (s.n >= sizeof text || memchr(s.p, '\0', s.n)) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    addr->family = (uint16_t)family;
    return inet_pton(family, text, addr->bytes) == 1;
}

/* A decimal number up to 65535, without a sign or heading zeroes. */
static bool read_port(uint16_t *port, mh_str s) {
    uint32_t value = 0;
    if (s.n == 0 || s.n > 5 || (s.p[0] == '0' && s.n > 1)) return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        value = value * 10 + (uint32_t)(s.p[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

static bool is(mh_str s, const char *text) {
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

/* Splits p[0..n) at each blank. Returns the number of words, or LINE_WORDS + 1 if there are more
 * than LINE_WORDS. */
static unsigned split(mh_str words[LINE_WORDS], const char *p, size_t n) {
    const char *end = p + n;
    for (unsigned i = 0; i < LINE_WORDS; i++) {
        const char *blank = memchr(p, ' ', (size_t)(end - p));
        words[i] = (mh_str){p, (size_t)((blank ? blank : end) - p)};
        if (!blank) return i + 1;
        p = blank + 1;
    }
    return LINE_WORDS + 1;
}

/* What is between "PROXY " and CRLF. */
static bool read_line(mh__proxy *out, const char *p, size_t n) {
    mh_str words[LINE_WORDS];
    unsigned count = split(words, p, n);
    *out = (mh__proxy){.version = 1, .kind = MH__PROXY_UNKNOWN};
    if (is(words[0], "UNKNOWN")) return true; /* "must ignore anything presented before the CRLF" */
    int family = is(words[0], "TCP4") ? AF_INET : is(words[0], "TCP6") ? AF_INET6 : AF_UNSPEC;
    if (family == AF_UNSPEC || count != LINE_WORDS) return false;
    out->kind = family == AF_INET ? MH__PROXY_TCP4 : MH__PROXY_TCP6;
    return read_address(&out->from, family, words[1]) && read_address(&out->to, family, words[2]) &&
           read_port(&out->from.port, words[3]) && read_port(&out->to.port, words[4]);
}

static int read_v1(mh__proxy *out, const char *p, size_t n) {
    size_t most = n < MH__PROXY_V1_MOST ? n : MH__PROXY_V1_MOST;
    if (memcmp(p, word, n < WORD ? n : WORD) != 0) return MH_EINVAL;
    for (size_t i = WORD; i < most; i++) {
        if (p[i] == '\n') return MH_EINVAL;
        if (p[i] != '\r' || i + 1 == most) continue;
        if (p[i + 1] != '\n' || !read_line(out, p + WORD, i - WORD)) return MH_EINVAL;
        return (int)i + 2;
    }
    return n < MH__PROXY_V1_MOST ? 0 : MH_EINVAL;
}

/* ---- version 2 ------------------------------------------------------------------------------- */

/* With the version, which is the upper half of the byte behind it (2.2). */
static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
enum { SIGNATURE = sizeof signature - 1, FIXED = SIGNATURE + 4 };
enum { VERSION_LOCAL = 0x20, VERSION_PROXY = 0x21 };
enum { TLV = 3 /* bytes before its value */, TYPE_CRC32C = 3, CRC32C = 4 };

/* How addresses of a family lie in a header: the client's, ours, then both ports, if any. */
typedef struct layout {
    int family;       /* AF_UNSPEC: they are not read */
    uint8_t bytes;    /* of one address */
    uint8_t size;     /* of the whole */
    uint8_t kinds[3]; /* by the transport: unspecified, stream, datagram */
} layout;

/* By the number of the family. Where either half of the byte is "unspecified" the header has no
 * address that could be taken, and what follows is not looked at. */
static const layout layouts[] = {
    {AF_UNSPEC, 0, 0, {MH__PROXY_UNKNOWN, MH__PROXY_UNKNOWN, MH__PROXY_UNKNOWN}},
    {AF_INET, 4, 12, {MH__PROXY_UNKNOWN, MH__PROXY_TCP4, MH__PROXY_UDP4}},
    {AF_INET6, 16, 36, {MH__PROXY_UNKNOWN, MH__PROXY_TCP6, MH__PROXY_UDP6}},
    {AF_UNSPEC, 108, 216, {MH__PROXY_UNKNOWN, MH__PROXY_UNIX, MH__PROXY_UNIX}},
};
enum { FAMILIES = sizeof layouts / sizeof *layouts, TRANSPORTS = 3 };

static unsigned read_16(const char *p) {
    return (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

/* CRC32c (RFC 9260 appendix A) of a header, the four bytes at zeroed taken as 0. A table is not
 * worth its room for what comes once a connection. */
static uint32_t crc32c(const char *p, const char *end, const char *zeroed) {
    uint32_t crc = UINT32_MAX;
    for (; p < end; p++) {
        crc ^= p >= zeroed && p < zeroed + CRC32C ? 0 : (unsigned char)*p;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* Walks the TLVs of the header [p, end), which begin at tlv: they must fill it, and a checksum must
 * be right (2.2.3). What the others say is not looked at. */
static bool tlvs_are_sound(const char *p, const char *tlv, const char *end) {
    const char *checksum = NULL;
    while (tlv < end) {
        if (end - tlv < TLV) return false;
        unsigned type = (unsigned char)tlv[0], n = read_16(tlv + 1);
        tlv += TLV;
        if ((size_t)(end - tlv) < n) return false;
        if (type == TYPE_CRC32C) {
            if (n != CRC32C || checksum) return false;
            checksum = tlv;
        }
        tlv += n;
    }
    if (!checksum) return true;
    return crc32c(p, end, checksum) == ((uint32_t)read_16(checksum) << 16 | read_16(checksum + 2));
}

static void read_addresses(mh__proxy *out, const layout *l, const char *p) {
    if (l->family == AF_UNSPEC) return;
    const char *ports = p + 2 * l->bytes;
    out->from = (mh__addr){.family = (uint16_t)l->family, .port = (uint16_t)read_16(ports)};
    out->to = (mh__addr){.family = (uint16_t)l->family, .port = (uint16_t)read_16(ports + 2)};
    memcpy(out->from.bytes, p, l->bytes);
    memcpy(out->to.bytes, p + l->bytes, l->bytes);
}

/* A whole header of size bytes that is a client's. */
static bool read_block(mh__proxy *out, const char *p, size_t size) {
    const layout *l = &layouts[(unsigned char)p[13] >> 4];
    out->kind = l->kinds[p[13] & 0xf];
    if (out->kind == MH__PROXY_UNKNOWN) return true;
    if (size < (size_t)FIXED + l->size) return false;
    read_addresses(out, l, p + FIXED);
    return tlvs_are_sound(p, p + FIXED + l->size, p + size);
}

static int read_v2(mh__proxy *out, const char *p, size_t n) {
    if (memcmp(p, signature, n < SIGNATURE ? n : SIGNATURE) != 0) return MH_EINVAL;
    bool local = n > 12 && p[12] == VERSION_LOCAL;
    if (n > 12 && !local && p[12] != VERSION_PROXY) return MH_EINVAL;
    /* Of LOCAL the family "is ignored", and so is the rest of the block. */
    if (n > 13 && !local && ((unsigned char)p[13] >> 4 >= FAMILIES || (p[13] & 0xf) >= TRANSPORTS))
        return MH_EINVAL;
    if (n < FIXED) return 0;
    size_t size = FIXED + read_16(p + 14);
    if (size > MH__PROXY_V2_MOST) return MH_EINVAL;
    if (n < size) return 0;
    *out = (mh__proxy){.version = 2, .kind = MH__PROXY_LOCAL};
    return local || read_block(out, p, size) ? (int)size : MH_EINVAL;
}

/* ---- either ---------------------------------------------------------------------------------- */

int mh__proxy_read(mh__proxy *out, int mode, const char *p, size_t n) {
    if (n == 0) return 0;
    if (p[0] == signature[0]) return mode & MH_PROXY_V2 ? read_v2(out, p, n) : MH_EINVAL;
    return mode & MH_PROXY_V1 ? read_v1(out, p, n) : MH_EINVAL;
}

const char *mh__proxy_name(const mh__proxy *proxy) {
    static const char *const names[] = {
        [MH__PROXY_LOCAL] = "LOCAL", [MH__PROXY_UNKNOWN] = "UNKNOWN", [MH__PROXY_UNIX] = "UNIX",
        [MH__PROXY_TCP4] = "TCP4",   [MH__PROXY_TCP6] = "TCP6",       [MH__PROXY_UDP4] = "UDP4",
        [MH__PROXY_UDP6] = "UDP6",
    };
    return proxy->version == 2 && proxy->kind == MH__PROXY_UNKNOWN ? "UNSPEC" : names[proxy->kind];
}
