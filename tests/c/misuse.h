/* Wrong calls on an exchange: a stage on which it is brought to a state, called wrongly and carried
 * on to its end. Include it in one file of a program.
 *
 * A state is a row: what the client sends, what the host does until the state is reached, where it
 * calls here(), and how it goes on, by right calls only, to the end. here() makes the wrong calls
 * and holds their results against the row's cells, and all that can be observed against what it was
 * before. What the client got and how the exchange finished is then compared with a play of the
 * same state without a wrong call. */
#ifndef MISUSE_H
#define MISUSE_H

#include "fds.h"
#include "misuse_calls.h"

/* ---- what can be observed -------------------------------------------------------------------- */

enum { VIEWS = 8, FACTS = 13 };

typedef struct sight {
    size_t pending, blocks, bytes;
    uint64_t sent, taken_us;
    int fds;
    uint32_t connections;
    void *user;
    mh_loop *loop;
    mh_str views[VIEWS]; /* of the request; they stay where they are */
    int64_t facts[FACTS];
    unsigned begun, finished, readable, writable, hangups, done;
} sight;

static inline void look_at_request(sight *at, const mh_req *req) {
    char host[64];
    uint16_t port;
    const mh_str views[VIEWS - 2] = {mh_req_method(req), mh_req_target(req),
                                     mh_req_path(req),   mh_req_query(req),
                                     mh_req_host(req),   mh_req_field_block(req)};
    const int64_t facts[FACTS] = {mh_req_version(req),
                                  mh_req_length(req),
                                  mh_req_expects_continue(req),
                                  mh_req_host_from_target(req),
                                  mh_req_complete(req),
                                  (int64_t)mh_req_fields(req),
                                  mh_req_listener(req),
                                  mh_req_fd(req),
                                  mh_res_status(req),
                                  mh_res_started(req),
                                  mh_req_proxy_protocol(req) != NULL,
                                  mh_req_proxy_to(req, host, sizeof host, &port),
                                  mh_req_proxy_sender(req, host, sizeof host, &port)};
    memcpy(at->views, views, sizeof views);
    memcpy(at->facts, facts, sizeof facts);
    mh_req_field(req, 0, &at->views[VIEWS - 2], &at->views[VIEWS - 1]);
}

static inline sight look(const stage *s, const mh_req *req) {
    const fix *f = &s->f;
    sight at = {.pending = mh_res_pending(req),
                .blocks = s->mem.blocks,
                .bytes = s->mem.bytes,
                .sent = mh_res_sent(req),
                .taken_us = mh_req_taken_us(req),
                .fds = count_fds(),
                .connections = mh_server_connections(f->srv),
                .user = mh_req_user(req),
                .loop = mh_req_loop(req),
                .begun = f->begun,
                .finished = f->finished,
                .readable = f->readable,
                .writable = f->writable,
                .hangups = f->hangups,
                .done = s->done};
    look_at_request(&at, req);
    return at;
}

static inline void check_request_unchanged(const sight *a, const sight *b) {
    for (int i = 0; i < VIEWS; i++)
        CHECK(b->views[i].p == a->views[i].p && b->views[i].n == a->views[i].n);
    for (int i = 0; i < FACTS; i++)
        CHECK_INT(b->facts[i], a->facts[i]);
    CHECK(b->user == a->user);
    CHECK(b->loop == a->loop);
    CHECK(b->taken_us >= a->taken_us);
}

/* Memory may be taken by a call that queues an empty piece for its done callback. */
static inline void check_unchanged(sight a, sight b, bool memory_too) {
    check_request_unchanged(&a, &b);
    CHECK_INT(b.pending, a.pending);
    CHECK_INT(b.sent, a.sent);
    CHECK_INT(b.fds, a.fds);
    CHECK_INT(b.connections, a.connections);
    CHECK_INT(b.begun, a.begun);
    CHECK_INT(b.finished, a.finished);
    CHECK_INT(b.readable, a.readable);
    CHECK_INT(b.writable, a.writable);
    CHECK_INT(b.hangups, a.hangups);
    CHECK_INT(b.done, a.done);
    if (!memory_too) return;
    CHECK_INT(b.blocks, a.blocks);
    CHECK_INT(b.bytes, a.bytes);
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* The cell of a state's row, or 0 if the row is too short. */
static inline char cell(const state *st, enum column column) {
    unsigned i = 0;
    for (const char *p = st->cells; *p; p++)
        if (*p != ' ' && i++ == column) return *p;
    return 0;
}

static inline int result_of(char letter) {
    static const struct {
        char letter;
        int result;
    } rows[] = {{'0', MH_OK},     {'A', MH_EAGAIN}, {'B', MH_EBODY},  {'C', MH_ECLOSED},
                {'E', MH_EOS},    {'I', MH_EINVAL}, {'N', MH_ENOENT}, {'R', MH_ERANGE},
                {'S', MH_ESTATE}, {'T', MH_ETOOBIG}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].letter == letter) return rows[i].result;
    abort(); /* no such cell */
}

/* The state is reached: makes the wrong calls of this play. */
static inline void here(fix *f, mh_req *req) {
    stage *s = stage_of(f);
    s->reached++;
    mh_req_set_user(req, s);
    for (size_t i = s->from; i < s->to; i++) {
        const call *c = &calls[i];
        char letter = cell(s->state, c->column);
        if (letter == '.') continue;
        int want = result_of(letter), failed = check_failed;
        check_failed = 0;
        sight before = look(s, req);
        CHECK_INT(c->make(s, req, c->arg), want);
        check_unchanged(before, look(s, req), want < 0 && want != MH_ERANGE);
        if (check_failed) CHECK_FAIL_("in the state \"%s\": %s", s->state->name, c->name);
        check_failed |= failed;
    }
}

/* ---- plays ----------------------------------------------------------------------------------- */

/* What came of a play. */
typedef struct outcome {
    char *bytes; /* all that the client got, with every Date masked */
    size_t n;
    bool eof, reset;
    int why;
    uint64_t sent;
    unsigned begun, finished, readable, writable, hangups;
} outcome;

static inline void mask_dates(char *p, size_t n) {
    static const char name[] = "\r\nDate: ";
    char *end = p + n;
    while ((p = memmem(p, (size_t)(end - p), name, sizeof name - 1)) && end - p > 38)
        p = (char *)memset(p + sizeof name - 1, '*', 29) + 29;
}

static inline bool is_over(stage *s) {
    unsigned n = s->state->exchanges ? s->state->exchanges : 1;
    if (s->p.fd >= 0) peer_pull(&s->p);
    return s->f.finished >= n;
}

static inline void open_stage(stage *s) {
    fix *f = &s->f;
    fix_init(f);
    failing_config(&s->mem, &f->loop_cfg);
    f->on_request = s->state->on_request;
    f->cfg.max_body = 32;
    f->cfg.drain_idle = 1;
    f->cfg.high_water = 1 << 20;
    if (s->state->body_timeout) f->cfg.body_timeout = s->state->body_timeout;
    if (fix_open(f) < 0 || mh_static_new(&s->dir, f->loop, "/", NULL) < 0) abort();
    peer_unix(&s->p, f);
}

static inline outcome play(const state *st, size_t from, size_t to) {
    int fds = count_fds();
    stage *s = calloc(1, sizeof *s);
    fix *f = &s->f;
    *s = (stage){.state = st, .from = from, .to = to, .taken = -1};
    open_stage(s);
    peer_send(f, &s->p, st->request);
    settle(f);
    if (st->outside) st->outside(s);
    if (st->rest) peer_send(f, &s->p, st->rest);
    UNTIL(f, is_over(s));
    settle(f);
    if (s->p.fd >= 0) peer_pull(&s->p);
    CHECK_INT(s->reached, 1);
    CHECK_INT(s->done, s->owed);
    outcome o = {.n = s->p.n,
                 .eof = s->p.eof,
                 .reset = s->p.reset,
                 .why = f->why,
                 .sent = f->sent,
                 .begun = f->begun,
                 .finished = f->finished,
                 .readable = f->readable,
                 .writable = f->writable,
                 .hangups = f->hangups};
    o.bytes = s->p.in;
    s->p.in = NULL;
    if (o.n > 0) mask_dates(o.bytes, o.n);
    peer_close(&s->p);
    if (s->taken >= 0) close(s->taken);
    fix_close(f);
    CHECK_INT(s->mem.blocks, 0);
    CHECK_INT(count_fds(), fds);
    free(s);
    return o;
}

/* The play of st with the wrong calls from..to must come to what it comes to without any. */
static inline void check_play(const state *st, const outcome *want, size_t from, size_t to) {
    int failed = check_failed;
    check_failed = 0;
    outcome o = play(st, from, to);
    CHECK_INT(o.n, want->n);
    if (o.n == want->n && o.n > 0) CHECK(memcmp(o.bytes, want->bytes, o.n) == 0);
    CHECK_INT(o.eof, want->eof);
    CHECK_INT(o.reset, want->reset);
    CHECK_INT(o.why, want->why);
    CHECK_INT(o.sent, want->sent);
    CHECK_INT(o.begun, want->begun);
    CHECK_INT(o.finished, want->finished);
    CHECK_INT(o.readable, want->readable);
    CHECK_INT(o.writable, want->writable);
    CHECK_INT(o.hangups, want->hangups);
    free(o.bytes);
    if (check_failed)
        CHECK_FAIL_("the play of \"%s\" with %s%s", st->name, calls[from].name,
                    to - from > 1 ? " and all others" : "");
    check_failed |= failed;
}

#endif
