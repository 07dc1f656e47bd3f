/* Networks of addresses, as a list in a text, and whether an address is in one of them. Pure: no
 * allocation, no I/O. */
#ifndef MH_NETWORK_H
#define MH_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

typedef struct mh__network {
    uint16_t family; /* AF_INET, AF_INET6; AF_UNSPEC: all addresses, of either */
    uint8_t bits;    /* so many of bytes an address has to share */
    uint8_t bytes[16];
} mh__network;

/* The networks of a list, separated by commas and blanks: "ADDRESS", "ADDRESS/BITS" or "*". Puts
 * them into out, unless that is NULL. Returns how many there are, or MH_EINVAL if one is malformed
 * or has bits set behind the first BITS. */
int mh__networks_read(mh__network *out, const char *list);

/* Whether addr is in one of n networks. A client of IPv4 on an IPv6 listener has the address that
 * it has elsewhere (RFC 4291 2.5.5.2). */
bool mh__networks_have(const mh__network *networks, size_t n, const mh__addr *addr);

#endif
