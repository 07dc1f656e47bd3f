/* The PROXY protocol, versions 1 and 2: the header with which a proxy begins a connection, and says
 * in it whose connection that is (HAProxy's doc/proxy-protocol.txt of 2020-03-05, "the text" here).
 * Pure: no allocation, no I/O. Rows are those of docs/http.md. */
#ifndef MH_PROXY_H
#define MH_PROXY_H

#include <stddef.h>
#include <stdint.h>

#include "addr.h"

/* The most bytes of a header of each version, all of it counted. That of version 1 is the text's;
 * it leaves that of version 2 open. */
enum { MH__PROXY_V1_MOST = 107, MH__PROXY_V2_MOST = 4096 };

/* What a header tells of. */
enum mh__proxy_kind {
    MH__PROXY_LOCAL,   /* of the proxy's own connection: v2's LOCAL */
    MH__PROXY_UNKNOWN, /* of a client without an address: v1's UNKNOWN, v2's UNSPEC */
    MH__PROXY_UNIX,    /* of a client on a unix socket, whose paths are not kept */
    MH__PROXY_TCP4,    /* and of clients with an address: */
    MH__PROXY_TCP6,
    MH__PROXY_UDP4,
    MH__PROXY_UDP6
};

typedef struct mh__proxy {
    uint8_t version; /* 1 or 2 */
    uint8_t kind;    /* enum mh__proxy_kind */
    mh__addr from;   /* the client; AF_UNSPEC where kind says that there is no address */
    mh__addr to;     /* where it connected to; likewise */
} mh__proxy;

/* Looks for a header at the beginning of p[0..n), as MH_PROXY_V1, MH_PROXY_V2 or both (mode) allow.
 * Returns its length (> 0) when it is complete, with *out filled; 0 when more is needed, or
 * MH_EINVAL as soon as a prefix can't become one. The outcome depends on the bytes only, not on how
 * they were split. Reads up to MH__PROXY_V2_MOST bytes when it is complete, else about a hundred.
 */
int mh__proxy_read(mh__proxy *out, int mode, const char *p, size_t n);

/* The protocol's name: "TCP4", "TCP6", "UDP4", "UDP6", "UNIX", "LOCAL", and "UNKNOWN" (version 1)
 * or "UNSPEC" (version 2). Statically allocated. */
const char *mh__proxy_name(const mh__proxy *proxy);

#endif
