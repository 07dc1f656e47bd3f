/* Addresses of sockets, without the room that sockaddr_storage wastes, and as text. */
#ifndef MH_ADDR_H
#define MH_ADDR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

typedef struct mh__addr {
    uint16_t family; /* AF_INET, AF_INET6 or AF_UNIX; AF_UNSPEC: not known */
    uint16_t port;   /* host order; 0 for AF_UNIX */
    uint8_t bytes[16];
} mh__addr;

mh__addr mh__addr_of(const struct sockaddr_storage *sa);

/* The text of addr, terminated, into host; "" for AF_UNIX. Returns its length, or MH_EINVAL if cap
 * is less than INET6_ADDRSTRLEN (46). */
int mh__addr_text(const mh__addr *addr, char *host, size_t cap);

#endif
