/* Addresses of sockets as values and as text. */
#include "addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "meinheld.h"

mh__addr mh__addr_of(const struct sockaddr_storage *sa) {
    mh__addr addr = {.family = sa->ss_family};
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        addr.port = ntohs(in->sin_port);
        memcpy(addr.bytes, &in->sin_addr, sizeof in->sin_addr);
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        addr.port = ntohs(in6->sin6_port);
        memcpy(addr.bytes, &in6->sin6_addr, sizeof in6->sin6_addr);
    }
    return addr;
}

/* inet_ntop takes five times as long, and this runs for each request. */
static int ipv4_text(const uint8_t *addr, char *host) {
    char *p = host;
    for (int i = 0; i < 4; i++) {
        unsigned byte = addr[i];
        if (byte >= 100) *p++ = (char)('0' + byte / 100);
        if (byte >= 10) *p++ = (char)('0' + byte / 10 % 10);
        *p++ = (char)('0' + byte % 10);
        *p++ = i < 3 ? '.' : '\0';
    }
    return (int)(p - host) - 1;
}

int mh__addr_text(const mh__addr *addr, char *host, size_t cap) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (cap < INET6_ADDRSTRLEN) return MH_EINVAL;
    host[0] = '\0';
    if (addr->family == AF_INET) return ipv4_text(addr->bytes, host);
    if (addr->family != AF_INET6) return 0;
    /* a client of IPv4 on an IPv6 listener keeps its own name (RFC 4291 2.5.5.2) */
    if (memcmp(addr->bytes, mapped, sizeof mapped) == 0) return ipv4_text(addr->bytes + 12, host);
    if (!inet_ntop(AF_INET6, addr->bytes, host, (socklen_t)cap)) return MH_EINVAL;
    return (int)strnlen(host, cap);
}
