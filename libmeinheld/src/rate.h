/* Is a peer fast enough? Bytes are counted in windows of constant length, after a grace; a window
 * in which too few came is a verdict. Time in which nobody waited for the peer does not count.
 * Pure. */
#ifndef MH_RATE_H
#define MH_RATE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mh__rate {
    uint64_t end;    /* ms: the window in hand ends here; 0 before the first wait */
    uint64_t paused; /* ms: since when nobody waits; 0 while somebody does */
    uint64_t bytes;  /* in this window */
    bool judged;     /* a window has passed: the grace is over */
} mh__rate;

typedef struct mh__rate_rule {
    uint32_t min;    /* bytes per second; 0: none */
    uint32_t window; /* ms */
    uint32_t grace;  /* ms before the first window begins */
} mh__rate_rule;

/* Somebody begins, or goes on, to wait for the peer. */
static inline void mh__rate_wait(mh__rate *rate, const mh__rate_rule *rule, uint64_t now) {
    if (rate->end == 0) rate->end = now + rule->grace + rule->window;
    if (rate->paused) rate->end += now - rate->paused;
    rate->paused = 0;
}

/* Nobody waits any more. */
static inline void mh__rate_pause(mh__rate *rate, uint64_t now) {
    if (rate->end != 0 && rate->paused == 0) rate->paused = now;
}

/* n bytes came or went. */
static inline void mh__rate_count(mh__rate *rate, uint64_t n) { rate->bytes += n; }

/* False if the window that is over had too few bytes. */
static inline bool mh__rate_pass(mh__rate *rate, const mh__rate_rule *rule, uint64_t now) {
    if (rate->end == 0 || rate->paused || now < rate->end) return true;
    bool enough = rate->bytes * 1000 >= (uint64_t)rule->min * rule->window;
    rate->end = now + rule->window;
    rate->bytes = 0;
    rate->judged = true;
    return enough;
}

/* The longest silence, in ms, that neither idle nor the rule forbids; first: no window has passed
 * yet. */
static inline uint32_t mh__rate_patience(const mh__rate_rule *rule, uint32_t idle, bool first) {
    if (rule->min == 0) return idle;
    uint64_t most = (uint64_t)rule->window + (first ? rule->grace : 0);
    return most < idle ? (uint32_t)most : idle;
}

#endif
