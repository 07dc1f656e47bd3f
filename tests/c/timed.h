/* A server and a peer whose time is the test's own: what is due happens when the test lets it.
 * Include it in one file of a program, in place of client.h. */
#ifndef TIMED_H
#define TIMED_H

#include "clock.h"

#include "client.h"

static inline void begin(fix *f, peer *p) {
    clock_stop();
    fix_init(f);
    f->step_ms = 0;
    p->fd = -1;
}

static inline void open_pair(fix *f, peer *p) {
    if (fix_open(f) < 0) abort();
    peer_unix(p, f);
    settle(f);
}

static inline void finish(fix *f, peer *p) {
    peer_close(p);
    fix_close(f);
    clock_go();
}

/* Lets ms pass, all that is due happening on the way. */
static inline void pass(fix *f, uint64_t ms) {
    clock_pass_ms(ms);
    settle(f);
}

static inline bool is_open(peer *p) { return !peer_over(p); }

#endif
