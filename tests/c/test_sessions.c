/* Long sessions of clients and a host that do anything at any time, made by a seed, on the kernel
 * of kernel.h. What a session must keep to at each moment is looked up in the library's own
 * structures:
 *
 * - a host that polls the loop's descriptor is woken whenever a step would find something, and is
 *   left in peace otherwise: no event is told for ever;
 * - each connection waits for something that has a deadline, or for the host;
 * - each exchange is finished once, and the answers that have left are whole and in order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "conn.h"
#include "failing.h"
#include "kernel.h"
#include "loop_state.h"

enum { CLIENTS = 48, REQUESTS = 12, EXCHANGES = CLIENTS * REQUESTS, SERVERS = 2, FILLING = 70000 };

typedef struct exchange {
    mh_req *req; /* NULL: not begun, or finished */
    int client, number;
    size_t size;    /* of the answer's body */
    size_t written; /* of it */
    bool ended;     /* by the host */
} exchange;

typedef struct client {
    kernel_client *of;
    char wire[REQUESTS * 1400];
    size_t n, at; /* bytes of wire, and those that have been sent */
    bool left;    /* it has closed or reset */
    bool shut;    /* it has sent FIN */
    bool harmed;  /* the host has aborted one of its exchanges */
    bool heads[REQUESTS];
    int begun, done;
} client;

static struct {
    unsigned long long number;
    uint64_t seed;
    mh_loop *loop;
    mh_server *srv[SERVERS];
    client clients[CLIENTS];
    int n_clients;
    exchange all[EXCHANGES];
    int n_all;
    bool shared;
    bool timed;   /* a drain has had a limit */
    bool proxied; /* each connection begins with a PROXY header */
    unsigned begun, finished, lent, returned;
    uint64_t timer;
} w;

static char filling[FILLING];

/* Nothing that comes after a fault means anything: the session is told, which always goes
 * the same way, and the program ends. */
#define HOLDS(cond)                                                                            \
    do {                                                                                       \
        if (!(cond)) {                                                                         \
            printf("not ok - %s:%d, session %llu: %s\n", __FILE__, __LINE__, w.number, #cond); \
            fflush(stdout);                                                                    \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

/* ---- chance ---------------------------------------------------------------------------------- */

static uint32_t chance(uint32_t n) {
    w.seed ^= w.seed << 13;
    w.seed ^= w.seed >> 7;
    w.seed ^= w.seed << 17;
    return (uint32_t)(w.seed >> 32) % n;
}

static uint32_t one_of(const uint32_t *list, uint32_t n) { return list[chance(n)]; }

/* ---- what must hold -------------------------------------------------------------------------- */

/* Whether a step would find something, sockets aside. */
static bool must_step(void) {
    const mh_loop *l = w.loop;
    uint64_t next = mh__timer_next(l);
    return l->run.next != &l->run || l->flush.next != &l->flush || l->watches.n_changes > 0 ||
           atomic_load(&l->posts) || (next != MH__NEVER && next * 1000000u < kernel_now_ns());
}

static void check_woken(void) { HOLDS(!w.shared || !must_step() || kernel_is_ready()); }

/* Nothing is under way: what will ever touch c again? */
static void check_guarded(const mh__conn *c) {
    bool in = mh__timer_armed(&c->in_timer), out = mh__timer_armed(&c->out_timer);
    HOLDS(!c->doomed && !c->readable && !c->hangup);
    HOLDS(!c->out.head || (out && mh__conn_waits_to_send(c)));
    switch ((mh__conn_state)c->state) {
    case MH__CONN_ACCEPT:
    case MH__CONN_IDLE:
        HOLDS(mh__input_n(&c->in) == 0);
        /* fall through */
    case MH__CONN_HEAD:
    case MH__CONN_PROXY:
        HOLDS(in && (c->events & EPOLLIN) && !c->eof && !c->last && !c->current);
        break;
    case MH__CONN_BODY:
        HOLDS(c->current && in == c->current->waiting);
        HOLDS(!in || (c->events & EPOLLIN));
        break;
    case MH__CONN_HOST:
        HOLDS(c->current && !in && !c->current->waiting);
        break;
    case MH__CONN_FLUSH:
        HOLDS(!c->current && (c->dropping ? in && (c->events & EPOLLIN) : out));
        break;
    case MH__CONN_LINGER:
        HOLDS(in && out && (c->events & EPOLLIN) && !c->first);
        break;
    case MH__CONN_CLOSED:
        HOLDS(false);
        break;
    }
    const mh_req *req = c->current;
    if (req && req->full) HOLDS(mh__outq_pending(&c->out) > c->srv->cfg.low_water);
}

static void step(void) {
    if (!w.shared || kernel_is_ready()) HOLDS(mh_loop_step(w.loop, 0) >= 0);
    check_woken();
}

/* Steps until there is nothing more to do, as a host of its kind would. */
static void settle(void) {
    int steps = 0;
    while (kernel_is_ready() || must_step()) {
        step();
        HOLDS(++steps < 100000);
    }
    for (int s = 0; s < SERVERS; s++) {
        const mh_server *srv = w.srv[s];
        bool accepts = !srv->draining && srv->n_conns < srv->cfg.max_connections;
        HOLDS(!accepts || kernel_waiting() == 0);
        for (const mh__conn *c = srv->conns; c; c = c->next)
            check_guarded(c);
    }
}

/* ---- the host -------------------------------------------------------------------------------- */

static mh_str text(const char *s) { return (mh_str){s, strlen(s)}; }

static void on_returned(void *user) {
    (void)user;
    w.returned++;
}

static void harm(exchange *x) {
    w.clients[x->client].harmed = true;
    int r = mh_req_abort(x->req);
    HOLDS(r == MH_OK || r == MH_ECLOSED);
}

static bool begin_answer(exchange *x, int64_t length) {
    char id[16];
    snprintf(id, sizeof id, "%d", x->number);
    const mh_str fields[] = {{"X-Id", 4}, text(id)};
    int r = mh_res_head(x->req, 200, text(""), fields, 1, length);
    HOLDS(r == MH_OK || r == MH_ECLOSED);
    return r == MH_OK;
}

static void write_on(exchange *x) {
    while (x->written < x->size) {
        size_t n = 1 + chance(9000);
        if (n > x->size - x->written) n = x->size - x->written;
        const mh_str pieces[] = {{filling, n / 2}, {filling, n - n / 2}};
        int r;
        if (chance(4) == 0) {
            r = mh_res_writev(x->req, pieces, 2, on_returned, NULL);
            if (r >= 0) w.lent++;
        } else if (chance(8) == 0) {
            int fd = memfd_create("session", MFD_CLOEXEC);
            HOLDS(fd >= 0 && ftruncate(fd, (off_t)n + 5) == 0);
            r = mh_res_file(x->req, fd, 5, -1, 1);
        } else {
            r = mh_res_write(x->req, filling, n);
        }
        HOLDS(r == MH_OK || r == MH_FULL || r == MH_ECLOSED);
        if (r == MH_ECLOSED) return;
        x->written += n;
        if (r == MH_FULL && x->written < x->size) return;
        if (chance(5) == 0) return; /* later */
    }
    x->ended = true;
    int r = mh_res_end(x->req);
    HOLDS(r == MH_OK || r == MH_ECLOSED);
}

static void answer_whole(exchange *x) {
    char id[16];
    snprintf(id, sizeof id, "%d", x->number);
    const mh_str fields[] = {{"X-Id", 4}, text(id)};
    x->ended = true;
    int r = mh_res_simple(x->req, 200, text(""), fields, 1, (mh_str){filling, x->size});
    HOLDS(r == MH_OK || r == MH_ECLOSED);
}

static void read_on(exchange *x) {
    char buf[900];
    int got;
    while ((got = mh_req_read(x->req, buf, 1 + chance(sizeof buf))) > 0)
        if (chance(6) == 0) return;
}

static void act(exchange *x) {
    if (!x->req || x->ended) return;
    if (mh_res_started(x->req)) {
        write_on(x);
        return;
    }
    switch (chance(10)) {
    case 0:
    case 1:
    case 2:
        answer_whole(x);
        break;
    case 3:
    case 4:
    case 5:
        if (begin_answer(x, chance(2) ? (int64_t)x->size : MH_LENGTH_UNKNOWN)) write_on(x);
        break;
    case 6:
    case 7:
        read_on(x);
        break;
    case 8:
        if (chance(20) == 0) harm(x);
        break;
    default:
        if (chance(4) == 0) mh_res_inform(x->req, 103, NULL, 0);
        break;
    }
}

static void drain(mh_server *srv) {
    uint32_t ms = chance(2) ? 3000 : 0;
    w.timed |= ms > 0;
    mh_server_drain(srv, ms, NULL, NULL);
}

static void on_request(mh_req *req, void *user) {
    char host[64];
    uint16_t port;
    (void)user;
    HOLDS(w.proxied ? mh_req_proxy_sender(req, host, sizeof host, &port) > 0
                    : mh_req_peer(req, host, sizeof host, &port) > 0);
    int i = port - kernel_port(w.clients[0].of);
    client *c = &w.clients[i];
    exchange *x = &w.all[w.n_all++];
    static const uint32_t sizes[] = {0, 1, 100, 4000, 20000, 65000};
    *x = (exchange){.req = req,
                    .client = i,
                    .number = c->begun,
                    .size = one_of(sizes, req->srv->cfg.step_write < 97 ? 4 : 6)};
    c->heads[c->begun++] =
        mh_req_method(req).n == 4 && memcmp(mh_req_method(req).p, "HEAD", 4) == 0;
    mh_req_set_user(req, x);
    w.begun++;
    if (chance(3)) act(x);
}

static void on_readable(mh_req *req, void *user) {
    (void)user;
    exchange *x = mh_req_user(req);
    if (chance(2))
        act(x);
    else
        read_on(x);
}

static void on_writable(mh_req *req, void *user) {
    (void)user;
    if (chance(4)) act(mh_req_user(req));
}

static void on_hangup(mh_req *req, void *user) {
    (void)user;
    if (chance(4) == 0) harm(mh_req_user(req));
}

static void on_finish(mh_req *req, int why, void *user) {
    exchange *x = mh_req_user(req);
    (void)user;
    HOLDS(x->req == req);
    x->req = NULL;
    w.finished++;
    if (why == MH_FINISH_DONE)
        w.clients[x->client].done++;
    else
        w.clients[x->client].harmed = true;
    if (chance(200) == 0) drain(w.srv[chance(SERVERS)]);
    /* another exchange of the same connection may be answered here */
    if (chance(3) == 0 && w.n_all > 0) act(&w.all[chance((uint32_t)w.n_all)]);
}

static void on_noted(mh_loop *loop, void *user) {
    (void)loop;
    (void)user;
    if (w.n_all > 0) act(&w.all[chance((uint32_t)w.n_all)]);
}

/* ---- the clients ----------------------------------------------------------------------------- */

static void say(client *c, const char *s) {
    size_t n = strlen(s);
    memcpy(c->wire + c->n, s, n);
    c->n += n;
}

#define CHUNKED                                                        \
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" \
    "5\r\nhello\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nA: b\r\n\r\n"

static void write_request(client *c) {
    enum { WITH_BODY = 6, BODY = 700 };
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        CHUNKED,
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 700\r\n\r\n",
        "BAD\r\n\r\n",
        "\r\nGET / HTTP/1.0\r\n\r\n"};
    static const uint32_t often[] = {0, 0, 0, 1, 1, 3, 4, 4, 5, 5, 6, 6, 6}, seldom[] = {2, 7, 8};
    uint32_t which = chance(20) > 0 ? one_of(often, 13) : one_of(seldom, 3);
    say(c, requests[which]);
    if (which == WITH_BODY)
        for (int i = 0; i < BODY; i++)
            c->wire[c->n++] = 'b';
}

#define PROXY "PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n"

static void connect_one(void) {
    if (w.n_clients == CLIENTS) return;
    client *c = &w.clients[w.n_clients++];
    c->of = kernel_connect();
    HOLDS(c->of);
    if (w.proxied) say(c, chance(20) > 0 ? PROXY : "PROXY NONE\r\n");
    for (uint32_t i = 0, n = 1 + chance(REQUESTS - 1); i < n; i++)
        write_request(c);
    if (chance(3) == 0) kernel_window(c->of, 1 + chance(3000));
}

static void send_some(client *c) {
    static const uint32_t pieces[] = {1, 7, 100, 20000};
    size_t n = one_of(pieces, 4);
    if (c->left || c->shut) return;
    if (n > c->n - c->at) n = c->n - c->at;
    if (n > 0) kernel_send(c->of, c->wire + c->at, n);
    c->at += n;
}

static void leave(client *c) {
    if (c->left) return;
    switch (chance(4)) {
    case 0:
        kernel_leave(c->of);
        c->left = true;
        break;
    case 1:
        kernel_reset(c->of);
        c->left = true;
        break;
    default:
        kernel_shut(c->of);
        c->shut = true;
        break;
    }
}

/* ---- what has come --------------------------------------------------------------------------- */

static size_t body_of(const char *head, const char *p, const char *end, bool *whole) {
    const char *length = strstr(head, "Content-Length: ");
    if (length) {
        size_t n = strtoull(length + 16, NULL, 10);
        *whole = n <= (size_t)(end - p);
        return *whole ? n : (size_t)(end - p);
    }
    if (!strstr(head, "chunked")) return (size_t)(end - p); /* until close */
    for (const char *at = p;;) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        size_t n = lf ? strtoull(at, NULL, 16) : 0;
        *whole = lf && n + 2 <= (size_t)(end - lf - 1);
        if (!*whole) return (size_t)(end - p);
        at = lf + 1 + n + 2;
        if (n == 0) return (size_t)(at - p);
    }
}

static void check_answers(const client *c) {
    size_t n;
    const char *p = kernel_taken(c->of, &n), *end = n > 0 ? p + n : p;
    int whole_ones = 0, refused = 0;
    bool whole = true;
    while (p < end) {
        char head[2000] = {0};
        HOLDS(whole && !refused);
        const char *e = memmem(p, (size_t)(end - p), "\r\n\r\n", 4);
        whole = e != NULL;
        if (!e) break;
        HOLDS((size_t)(e - p) < sizeof head - 4);
        memcpy(head, p, (size_t)(e - p) + 4);
        p = e + 4;
        int status = atoi(head + 9);
        if (status < 200) continue;
        const char *id = strstr(head, "X-Id: ");
        bool to_head = id && c->heads[whole_ones];
        if (id)
            HOLDS(atoi(id + 6) == whole_ones);
        else
            refused++;
        HOLDS(id || status >= 400);
        bool bodyless_refusal = !id && p == end;
        if (!to_head && !bodyless_refusal) p += body_of(head, p, end, &whole);
        if (whole && id) whole_ones++;
    }
    HOLDS(whole_ones >= c->done);
    if (!c->left && !c->harmed) {
        HOLDS(c->done == c->begun);
        /* What has begun no exchange may be cut: a refusal, a head at a drain's end. */
        HOLDS(kernel_was_reset(c->of) ? refused || !whole || w.timed : whole);
    }
}

/* ---- a session ------------------------------------------------------------------------------- */

static void open_server(int s) {
    static const uint32_t tiny[] = {1, 2, 97, 5000, 262144}, high[] = {1, 600, 5000, 65536};
    mh_config cfg;
    mh_handlers on;
    mh_config_init(&cfg);
    cfg.step_read = one_of(tiny, 5);
    cfg.step_write = one_of(tiny, 5);
    cfg.step_requests = one_of((const uint32_t[]){1, 2, 16}, 3);
    cfg.high_water = one_of(high, 4);
    cfg.low_water = chance(2) ? 0 : cfg.high_water;
    cfg.accept_batch = 1 + chance(3);
    cfg.max_connections = 1 + chance(20);
    cfg.unread_max = one_of((const uint32_t[]){0, 300, 1 << 20}, 3);
    cfg.linger_max = one_of((const uint32_t[]){0, 300, 64 << 20}, 3);
    if (chance(5) == 0) cfg.keepalive_timeout = 0;
    if (chance(5) == 0) cfg.min_rate = 0;
    cfg.proxy_protocol = w.proxied ? MH_PROXY_AUTO : MH_PROXY_OFF;
    cfg.proxy_from = "*";
    cfg.drain_idle = one_of((const uint32_t[]){0, 1, 2000}, 3);
    mh_handlers_init(&on);
    on.on_request = on_request;
    on.on_readable = on_readable;
    on.on_writable = on_writable;
    on.on_hangup = on_hangup;
    on.on_finish = on_finish;
    HOLDS(mh_server_new(&w.srv[s], w.loop, &on, &cfg) == MH_OK);
    int fd = kernel_listen();
    HOLDS(mh_server_listen_fd(w.srv[s], fd, 1) == MH_OK);
    HOLDS(mh_server_listen_fd(w.srv[s], kernel_listen(), 1) == MH_OK);
}

static void move_host(void) {
    switch (chance(8)) {
    case 0:
        HOLDS(mh_loop_flush(w.loop) == MH_OK);
        break;
    case 1:
        HOLDS(mh_loop_flush_due(w.loop) == MH_OK);
        break;
    case 2:
        HOLDS(mh_loop_post(w.loop, on_noted, NULL) == MH_OK);
        break;
    case 3:
        HOLDS(mh_loop_timer(w.loop, chance(3000), on_noted, NULL, &w.timer) == MH_OK);
        break;
    case 4:
        mh_loop_cancel(w.loop, w.timer);
        break;
    case 5:
        mh_server_trim(w.srv[chance(SERVERS)]);
        kernel_disk_busy(chance(2));
        break;
    case 6:
        mh_loop_wakeup(w.loop);
        break;
    default:
        if (chance(100) == 0) drain(w.srv[chance(SERVERS)]);
        break;
    }
}

static void move(void) {
    client *c = w.n_clients ? &w.clients[chance((uint32_t)w.n_clients)] : NULL;
    uint32_t kind = chance(20);
    if (kind < 2 || !c) {
        if (!c || chance(4) == 0) connect_one();
    } else if (kind < 6) {
        send_some(c);
    } else if (kind < 9) {
        kernel_take(c->of, one_of((const uint32_t[]){1, 500, 100000}, 3));
    } else if (kind == 9) {
        kernel_pass_us(
            one_of((const uint32_t[]){1, 60, 250, 999, 1000, 70001, 1500000, 5100000}, 8));
    } else if (kind == 10) {
        if (chance(20) == 0) leave(c);
    } else if (kind < 14) {
        if (w.n_all > 0) act(&w.all[chance((uint32_t)w.n_all)]);
    } else if (kind == 14) {
        move_host();
    } else if (kind == 15) {
        if (chance(4) == 0) settle();
    } else {
        step();
    }
    check_woken();
}

/* Everybody goes on to the end: what is owed is answered, read and waited for. */
static void wind_down(void) {
    kernel_disk_busy(false);
    for (int i = 0; i < w.n_clients; i++) {
        client *c = &w.clients[i];
        kernel_window(c->of, 1 << 20);
        if (!c->left && !c->shut && c->at < c->n)
            kernel_send(c->of, c->wire + c->at, c->n - c->at), c->at = c->n;
    }
    for (int quiet = 0, rounds = 0; quiet < 400; rounds++) {
        bool open = false;
        HOLDS(rounds < 20000);
        settle();
        for (int i = 0; i < w.n_all; i++) {
            exchange *x = &w.all[i];
            if (!x->req || x->ended) continue;
            open = true;
            if (mh_res_started(x->req))
                write_on(x);
            else
                answer_whole(x);
            check_woken();
        }
        settle();
        for (int i = 0; i < w.n_clients; i++)
            kernel_take(w.clients[i].of, SIZE_MAX);
        if (!open) kernel_pass_ms(200);
        quiet = open ? 0 : quiet + 1;
    }
    settle();
    /* 80 s without a word of the clients: keep-alive, bodies, lingering have all ended */
    for (int s = 0; s < SERVERS; s++)
        HOLDS(mh_server_connections(w.srv[s]) == 0);
}

static void session(unsigned long long number) {
    failing mem;
    mh_loop_config cfg;
    memset(&w, 0, sizeof w);
    w.number = number;
    w.proxied = number % 4 == 3;
    w.seed = number * UINT64_C(0x9e3779b97f4a7c15) + 1; /* neighbours have little in common */
    kernel_start();
    failing_config(&mem, &cfg);
    cfg.max_events = one_of((const uint32_t[]){1, 2, 32}, 3);
    HOLDS(mh_loop_new(&w.loop, &cfg) == MH_OK);
    w.shared = chance(2);
    if (w.shared) HOLDS(mh_loop_fd(w.loop) >= 0);
    for (int s = 0; s < SERVERS; s++)
        open_server(s);
    for (uint32_t i = 0, n = 200 + chance(4000); i < n; i++)
        move();
    wind_down();
    mh_loop_free(w.loop);
    for (int i = 0; i < w.n_clients; i++) {
        kernel_take(w.clients[i].of, SIZE_MAX);
        check_answers(&w.clients[i]);
    }
    CHECK_INT(w.finished, w.begun);
    CHECK_INT(w.returned, w.lent);
    CHECK_INT(mem.blocks, 0);
    CHECK_INT(kernel_stop(), 0);
}

static void sessions(unsigned long long number, unsigned long long end) {
    for (; number < end; number++)
        session(number);
}

/* test_sessions FIRST BATCHES runs others than make test does. */
int main(int argc, char **argv) {
    enum { BATCH = 25 };
    unsigned long long first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    unsigned long long batches = argc > 2 ? strtoull(argv[2], NULL, 10) : 6;
    memset(filling, 'x', sizeof filling);
    for (; batches > 0; batches--, first += BATCH)
        RUN_AS(sessions(first, first + BATCH), "sessions_from_%llu_hold", first);
    return check_end();
}
