/* The cases of tests/wire on the library itself: a server on a unix socket, with the host of the
 * README, gets each in every delivery, each part when the one before has been read, and once whole
 * over TCP. What comes back must be what the case says, all of it and nothing more; then no
 * exchange is open, the connection is gone, and the loop has nothing to do. */
#include "wirehost.h"

#include <sys/epoll.h>

#include "wirecuts.h"

/* ---- a loop that is quiet -------------------------------------------------------------------- */

static unsigned events_taken;

/* In libc's place: counts what the loop is told. */
int epoll_wait(int epfd, struct epoll_event *events, int most, int timeout) {
    int n = epoll_pwait(epfd, events, most, timeout, NULL);
    if (n > 0) events_taken += (unsigned)n;
    return n;
}

/* Whether a bounded number of steps does all there is to do: a loop that is told again of what it
 * leaves, or that queues the same task for ever, spins. */
static bool quiet(fix *f) {
    int calm = 0;
    for (int i = 0; i < 1000 && calm < 3; i++) {
        events_taken = 0;
        bool left = mh_loop_step(f->loop, 0) != 0;
        calm = left || events_taken > 0 ? 0 : calm + 1;
    }
    return calm == 3;
}

/* ---- a dialogue ------------------------------------------------------------------------------ */

typedef struct dialogue {
    fix *f;
    const wirehost *host;
    const wire_case *c;
    const char *how;
    bool tcp;
    peer p;
    size_t at;     /* so much of p's input has been read as answers */
    answer last;   /* the last final one */
    size_t finals; /* so many of these */
} dialogue;

#define FAIL(d, ...) WIRE_FAIL((d)->c, (d)->how, __VA_ARGS__)

/* Whether the next response is to HEAD. A request that is refused never was the host's; a case has
 * HEAD for its first, or for none. */
static bool to_head(const dialogue *d) {
    const char *data = d->c->data.p;
    if (d->finals < d->host->n) return d->host->to_head[d->finals];
    return d->finals == 0 && strncmp(data + strspn(data, "\r\n"), "HEAD ", 5) == 0;
}

/* Reads the next answer, which has come or does now; false if none does. */
static bool next_answer(dialogue *d, answer *a) {
    size_t used = 0;
    UNTIL(d->f, (peer_pull(&d->p), used = answer_read(a, &d->p, d->at, to_head(d))) > 0 ||
                    peer_over(&d->p));
    if (used == 0) used = answer_read(a, &d->p, d->at, to_head(d));
    d->at += used;
    return used > 0;
}

/* One final response, which must be the next that the case names. */
static void take_final(dialogue *d, const answer *a) {
    answer_free(&d->last);
    d->last = *a;
    if (d->finals == d->c->n_statuses)
        FAIL(d, "a response too many: %d %s", a->status, wire_quote(a->body, a->n));
    else if (a->status != d->c->statuses[d->finals])
        FAIL(d, "response %zu is %d, not %d: %s", d->finals + 1, a->status,
             d->c->statuses[d->finals], wire_quote(a->body, a->n));
    else if (!a->whole)
        FAIL(d, "response %zu is cut", d->finals + 1);
    d->finals++;
}

/* Reads answers until an interim one of this status, or, if that is 0, until all final ones. */
static void listen_for(dialogue *d, int interim) {
    while (!check_failed && (interim > 0 || d->finals < d->c->n_statuses)) {
        answer a;
        if (!next_answer(d, &a)) {
            FAIL(d, "the connection ends behind %zu responses", d->finals);
        } else if (a.status >= 200) {
            take_final(d, &a);
        } else {
            answer_free(&a);
            if (a.status == interim) return;
        }
    }
}

static void say_parts(dialogue *d, const size_t *ends, size_t n) {
    size_t from = 0, waits = 0;
    for (size_t i = 0; i < n && !check_failed; i++) {
        peer_send_n(d->f, &d->p, d->c->data.p + from, ends[i] - from);
        if (i + 1 < n) UNTIL(d->f, peer_taken(&d->p) || peer_over(&d->p));
        for (; waits < d->c->n_waits && d->c->wait_at[waits] == ends[i]; waits++)
            listen_for(d, d->c->waits[waits]);
        from = ends[i];
    }
    if (d->c->end) shutdown(d->p.fd, SHUT_WR);
}

/* ---- what must have come --------------------------------------------------------------------- */

/* How often a has the field name (n bytes); *value is the first one's. */
static unsigned count_fields(const answer *a, const char *name, size_t n, mh_str *value) {
    unsigned count = 0;
    for (const char *p = strstr(a->head, "\r\n"); p && p[2] != '\r'; p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, name, n) != 0 || p[2 + n] != ':') continue;
        const char *from = p + 2 + n + 1;
        from += strspn(from, " ");
        if (count++ == 0) *value = (mh_str){from, strcspn(from, "\r")};
    }
    return count;
}

static void check_fields(const dialogue *d) {
    mh_str value;
    for (size_t i = 0; i < d->c->n_present; i++) {
        const char *line = d->c->present[i], *want = strstr(line, ": ");
        size_t n = (size_t)(want - line);
        want += 2;
        unsigned count = count_fields(&d->last, line, n, &value);
        if (count != 1)
            FAIL(d, "the field is there %u times: %s", count, line);
        else if (value.n != strlen(want) || memcmp(value.p, want, value.n) != 0)
            FAIL(d, "\"%.*s\", not \"%s\"", (int)value.n, value.p, line);
    }
    for (size_t i = 0; i < d->c->n_absent; i++)
        if (count_fields(&d->last, d->c->absent[i], strlen(d->c->absent[i]), &value) > 0)
            FAIL(d, "the field is there: %s: %.*s", d->c->absent[i], (int)value.n, value.p);
}

static void check_last(const dialogue *d) {
    if (d->finals == 0) return;
    mh_str value;
    const wire_case *c = d->c;
    bool closes = count_fields(&d->last, "Connection", 10, &value) == 1 && value.n == 5 &&
                  memcmp(value.p, "close", 5) == 0;
    /* Who ends its input needs no telling, and may not be told: it may do so after the answer. */
    bool may_close = c->outcome != WIRE_OPEN, must_close = c->outcome == WIRE_CLOSE && !c->end;
    if (closes ? !may_close : must_close)
        FAIL(d, "the last response says %s", closes ? "close" : "open");
    if (c->has_body && (d->last.n != c->body.n ||
                        (c->body.n > 0 && memcmp(d->last.body, c->body.p, c->body.n) != 0)))
        FAIL(d, "\"%s\", not \"%s\"", wire_quote(d->last.body, d->last.n),
             wire_quote(c->body.p, c->body.n));
    check_fields(d);
}

/* got as a case writes it: the values of Date and Server, which vary, by their names. */
static wire_bytes without_what_varies(const char *got, size_t n) {
    wire_bytes out = {0};
    for (const char *p = got, *end = got + n; p < end;) {
        const char *lf = memchr(p, '\n', (size_t)(end - p)), *next = lf ? lf + 1 : end;
        size_t line = (size_t)(next - p);
        if (line == 6 + 29 + 2 && memcmp(p, "Date: ", 6) == 0)
            wire_append(&out, "Date: DATE\r\n", 12);
        else if (line > 8 + 9 && memcmp(p, "Server: meinheld/", 17) == 0)
            wire_append(&out, "Server: SERVER\r\n", 16);
        else
            wire_append(&out, p, line);
        p = next;
    }
    return out;
}

static void check_exact(const dialogue *d) {
    if (!d->c->has_exact) return;
    wire_bytes got = without_what_varies(d->p.in, d->p.n);
    if (got.n != d->c->exact.n || (got.n > 0 && memcmp(got.p, d->c->exact.p, got.n) != 0))
        FAIL(d, "\"%s\", not \"%s\"", wire_quote(got.p, got.n),
             wire_quote(d->c->exact.p, d->c->exact.n));
    free(got.p);
}

/* The connection takes one more request. */
static void check_open(dialogue *d) {
    answer a;
    peer_send(d->f, &d->p, "GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n");
    if (!next_answer(d, &a)) {
        FAIL(d, "the connection ends before the next request");
        return;
    }
    if (a.status != 200 || a.n != 17 || memcmp(a.body, "GET /probe probe ", 17) != 0)
        FAIL(d, "the next request is answered %d %s", a.status, wire_quote(a.body, a.n));
    answer_free(&a);
}

/* It has been closed, in order. */
static void check_closed(dialogue *d) {
    UNTIL(d->f, peer_over(&d->p));
    if (!d->p.eof) FAIL(d, "it is reset");
}

/* It has ended so that nobody takes what came for a whole response. A unix socket knows no reset.
 */
static void check_aborted(dialogue *d) {
    answer a;
    UNTIL(d->f, peer_over(&d->p));
    size_t used = answer_read(&a, &d->p, d->at, to_head(d));
    if (used > 0 && a.whole) FAIL(d, "a whole response: %s", wire_quote(a.head, strlen(a.head)));
    if (d->tcp && !d->p.reset) FAIL(d, "it is closed in order");
    d->at = d->p.n;
    answer_free(&a);
}

/* ---- files of the runner http ---------------------------------------------------------------- */

typedef struct ground {
    fix f;
    wirehost host;
} ground;

static void converse(dialogue *d, const size_t *ends, size_t n) {
    say_parts(d, ends, n);
    listen_for(d, 0);
    if (check_failed) return;
    check_last(d);
    if (d->c->outcome == WIRE_CLOSE) check_closed(d);
    if (d->c->outcome == WIRE_ABORT) check_aborted(d);
    if (!quiet(d->f)) FAIL(d, "the loop spins with the connection");
    peer_pull(&d->p);
    if (d->p.n > d->at) FAIL(d, "more has come: %s", wire_quote(d->p.in + d->at, d->p.n - d->at));
    check_exact(d);
    if (d->c->outcome == WIRE_OPEN && !check_failed) check_open(d);
}

static bool deliver_by(ground *g, const wire_case *c, const char *how, const size_t *ends, size_t n,
                       bool tcp) {
    dialogue d = {.f = &g->f, .host = &g->host, .c = c, .how = how, .tcp = tcp};
    g->host.n = 0;
    if (tcp)
        peer_tcp(&d.p, &g->f, 0);
    else
        peer_unix(&d.p, &g->f);
    converse(&d, ends, n);
    answer_free(&d.last);
    peer_close(&d.p);
    UNTIL(&g->f, mh_server_connections(g->f.srv) == 0);
    if (g->f.finished != g->f.begun) FAIL(&d, "an exchange was left open");
    if (!quiet(&g->f)) FAIL(&d, "the loop spins after the connection");
    return !check_failed;
}

static bool deliver(const wire_case *c, const char *how, const size_t *ends, size_t n, void *user) {
    if (strcmp(how, "whole") == 0 && !deliver_by(user, c, "over TCP", ends, n, true)) return false;
    return deliver_by(user, c, how, ends, n, false);
}

static void run_http(wire_file *f) {
    ground g;
    fix_init(&g.f);
    g.f.cfg = f->cfg;
    wirehost_init(&g.host, &g.f);
    if (fix_open(&g.f) < 0 || wirehost_open(&g.host, &g.f) < 0)
        wire_bad(f->name, 0, "no server can be had with these settings");
    for (size_t i = 0; i < f->n; i++)
        RUN_AS(wire_deliver_all(&f->cases[i], deliver, &g), "%s: %s", f->name, f->cases[i].name);
    RUN_AS(fix_close(&g.f), "%s: each exchange has ended once", f->name);
    wirehost_close(&g.host);
}

static const wire_runner runners[] = {
    {"http", run_http},
};

int main(int argc, char **argv) {
    return wire_main(argc, argv, runners, sizeof runners / sizeof *runners);
}
