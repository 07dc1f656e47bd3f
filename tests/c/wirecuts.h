/* The deliveries of tests/wire/README.md: every way to cut a case that must make no difference. */
#ifndef WIRECUTS_H
#define WIRECUTS_H

#include "wirecase.h"

enum {
    WIRE_LONG = 1024,  /* bytes: longer input is cut near what matters only, not at every byte */
    WIRE_NEAR = 2,     /* bytes: how near that is */
    WIRE_PART = 997,   /* bytes of each part, where a longer case is sent in parts */
    WIRE_RUN_ENDS = 10 /* delimiters that matter at either end of what a `*` line made */
};

/* Sends a case in n parts, the i-th of which ends at ends[i]; the places of its waits are among
 * these. False: it has failed, and need not be delivered in more ways. */
typedef bool (*wire_deliver)(const wire_case *c, const char *how, const size_t *ends, size_t n,
                             void *user);

typedef struct wire_delivery {
    const wire_case *c;
    wire_deliver deliver;
    void *user;
    bool *cut;    /* for each place of the data, whether a part ends there */
    bool *wanted; /* whether it is one of the places at which to cut in two */
    size_t *ends; /* the places of cut as a list */
} wire_delivery;

static inline bool wire_deliver_cuts(const wire_delivery *d, const char *how) {
    size_t n = 0;
    for (size_t at = 1; at <= d->c->data.n; at++)
        if (d->cut[at]) d->ends[n++] = at;
    return d->deliver(d->c, how, d->ends, n, d->user);
}

/* Where there is nothing to be cut but what waits cut, and the end. */
static inline void wire_uncut(const wire_delivery *d) {
    memset(d->cut, 0, d->c->data.n + 1);
    for (size_t i = 0; i < d->c->n_waits; i++)
        d->cut[d->c->wait_at[i]] = true;
    d->cut[d->c->data.n] = true;
}

/* In parts of size bytes; what is behind a wait begins anew. */
static inline bool wire_deliver_parts(const wire_delivery *d, size_t size) {
    char how[40];
    snprintf(how, sizeof how, "in parts of %zu", size);
    for (size_t at = 1, from = 0; at < d->c->data.n; at++) {
        if (d->cut[at] || at - from == size) from = at;
        d->cut[at] = from == at;
    }
    bool good = wire_deliver_cuts(d, how);
    wire_uncut(d);
    return good;
}

/* In two, at each of the wanted places. */
static inline void wire_deliver_halves(const wire_delivery *d) {
    bool good = true;
    for (size_t at = 1; at < d->c->data.n && good; at++) {
        char how[40];
        if (!d->wanted[at] || d->cut[at]) continue;
        snprintf(how, sizeof how, "cut at %zu", at);
        d->cut[at] = true;
        good = wire_deliver_cuts(d, how);
        d->cut[at] = false;
    }
}

/* Wants the places of `within` that are near one. */
static inline void wire_want_near(const wire_delivery *d, size_t place, wire_range within) {
    size_t at = place > within.from + WIRE_NEAR ? place - WIRE_NEAR : within.from;
    for (; at <= place + WIRE_NEAR && at <= within.to; at++)
        d->wanted[at] = true;
}

/* The delimiters of `in`, which is part of `within`; of a run only the first and the last few. */
static inline void wire_want_delimiters(const wire_delivery *d, wire_range in, bool run,
                                        wire_range within) {
    static const char delimiters[] = "\r\n \t:;,";
    const char *data = d->c->data.p;
    size_t all = 0, n = 0;
    for (size_t at = in.from; at < in.to; at++)
        all += memchr(delimiters, data[at], sizeof delimiters - 1) != NULL;
    for (size_t at = in.from; at < in.to; at++) {
        if (!memchr(delimiters, data[at], sizeof delimiters - 1)) continue;
        if (!run || n < WIRE_RUN_ENDS || all - n <= WIRE_RUN_ENDS) wire_want_near(d, at, within);
        n++;
    }
}

/* The places at which to cut what is sent before or between waits. */
static inline void wire_want(const wire_delivery *d, wire_range in) {
    static const size_t limits[] = {8192, 32768};
    const wire_case *c = d->c;
    wire_range plain = {in.from, in.from};
    bool all = in.to - in.from <= WIRE_LONG;
    memset(d->wanted + in.from, all, in.to - in.from);
    if (all) return;
    for (size_t i = 0; i < c->n_runs; i++) {
        if (c->runs[i].from < in.from || c->runs[i].to > in.to) continue;
        plain.to = c->runs[i].from;
        wire_want_delimiters(d, plain, false, in);
        wire_want_delimiters(d, c->runs[i], true, in);
        wire_want_near(d, c->runs[i].from, in);
        wire_want_near(d, c->runs[i].to, in);
        plain.from = c->runs[i].to;
    }
    plain.to = in.to;
    wire_want_delimiters(d, plain, false, in);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (in.from + limits[i] < in.to + WIRE_NEAR) wire_want_near(d, in.from + limits[i], in);
}

/* Delivers c in every way that must make no difference. */
static inline void wire_deliver_all(const wire_case *c, wire_deliver deliver, void *user) {
    size_t n = c->data.n;
    wire_delivery d = {c,
                       deliver,
                       user,
                       wire_alloc(NULL, n + 1),
                       wire_alloc(NULL, n + 1),
                       wire_alloc(NULL, (n + 1) * sizeof(size_t))};
    wire_range in = {0, 0};
    wire_uncut(&d);
    for (size_t i = 0; i <= c->n_waits; i++, in.from = in.to) {
        in.to = i < c->n_waits ? c->wait_at[i] : n;
        wire_want(&d, in);
    }
    if (wire_deliver_cuts(&d, "whole") && !c->whole &&
        wire_deliver_parts(&d, n <= WIRE_LONG ? 1 : WIRE_PART))
        wire_deliver_halves(&d);
    free(d.cut);
    free(d.wanted);
    free(d.ends);
}

#endif
