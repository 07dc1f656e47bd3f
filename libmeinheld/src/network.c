/* Networks of addresses: see network.h. An IPv4 address that is mapped into IPv6 is always taken
 * for what it is, in lists and of clients, so that the two meet however they are written. */
#include "network.h"

#include <arpa/inet.h>
#include <string.h>

#include "meinheld.h"

enum { MAPPED = 12 /* bytes before the IPv4 address in a mapped one */, IPV4 = 32, IPV6 = 128 };

static bool is_mapped(const uint8_t bytes[16]) {
    static const uint8_t before[MAPPED] = {[10] = 0xff, [11] = 0xff};
    return memcmp(bytes, before, MAPPED) == 0;
}

/* Whether the first bits of a and b are the same. */
static bool share(const uint8_t *a, const uint8_t *b, unsigned bits) {
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0) return false;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

/* Whether all bits of it behind the first net->bits are 0. */
static bool ends_in_zeroes(const mh__network *net) {
    unsigned whole = net->bits / 8, rest = net->bits % 8;
    if (rest > 0 && (net->bytes[whole] << rest & 0xff) != 0) return false;
    for (unsigned i = whole + (rest > 0); i < sizeof net->bytes; i++)
        if (net->bytes[i] != 0) return false;
    return true;
}

/* A number of bits: up to most, in at most three digits without heading zeroes. */
static bool read_bits(uint8_t *bits, mh_str s, unsigned most) {
    unsigned value = 0;
    if (s.n == 0 || s.n > 3 || (s.p[0] == '0' && s.n > 1)) return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        value = value * 10 + (unsigned)(s.p[i] - '0');
    }
    *bits = (uint8_t)value;
    return value <= most;
}

static bool read_network(mh__network *net, mh_str s) {
    *net = (mh__network){.family = AF_UNSPEC};
    if (s.n == 1 && s.p[0] == '*') return true;
    const char *slash = memchr(s.p, '/', s.n);
    size_t n = slash ? (size_t)(slash - s.p) : s.n;
    char text[INET6_ADDRSTRLEN];
    if (n >= sizeof text) return false;
    memcpy(text, s.p, n);
    text[n] = '\0';
    net->family = memchr(text, ':', n) ? AF_INET6 : AF_INET;
    net->bits = net->family == AF_INET ? IPV4 : IPV6;
    if (inet_pton(net->family, text, net->bytes) != 1) return false;
    if (slash && !read_bits(&net->bits, (mh_str){slash + 1, s.n - n - 1}, net->bits)) return false;
    if (net->family == AF_INET6 && net->bits >= IPV6 - IPV4 && is_mapped(net->bytes)) {
        net->family = AF_INET;
        net->bits = (uint8_t)(net->bits - (IPV6 - IPV4));
        memmove(net->bytes, net->bytes + MAPPED, 4);
        memset(net->bytes + 4, 0, MAPPED);
    }
    return ends_in_zeroes(net);
}

int mh__networks_read(mh__network *out, const char *list) {
    static const char between[] = ", ";
    int count = 0;
    for (const char *p = list + strspn(list, between); *p; p += strspn(p, between)) {
        mh__network net;
        size_t n = strcspn(p, between);
        if (!read_network(&net, (mh_str){p, n})) return MH_EINVAL;
        if (out) out[count] = net;
        count++;
        p += n;
    }
    return count;
}

bool mh__networks_have(const mh__network *networks, size_t n, const mh__addr *addr) {
    const uint8_t *bytes = addr->bytes;
    int family = addr->family;
    if (family == AF_INET6 && is_mapped(bytes)) {
        family = AF_INET;
        bytes += MAPPED;
    }
    for (size_t i = 0; i < n; i++) {
        const mh__network *net = &networks[i];
        if (net->family == AF_UNSPEC) return true;
        if (net->family == family && share(net->bytes, bytes, net->bits)) return true;
    }
    return false;
}
