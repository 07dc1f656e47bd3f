/* The library over real sockets: a fixture (a loop and a server in the test's own thread) and a raw
 * client. Nothing waits by sleeping: UNTIL steps the loop until a condition holds, and gives up by
 * a real clock. Include it in one file of a program, after clock.h if the program sets the clock.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "check.h"
#include "meinheld.h"

/* ---- the fixture ----------------------------------------------------------------------------- */

typedef struct fix fix;
typedef void (*fix_cb)(fix *f, mh_req *req);

struct fix {
    mh_loop_config loop_cfg;
    mh_config cfg;
    mh_loop *loop;
    mh_server *srv;
    int port;      /* of TCP on 127.0.0.1 */
    char path[64]; /* of the unix socket */
    int step_ms;   /* how long a step of UNTIL may wait; 0 where the clock is false */
    fix_cb on_request, on_readable, on_writable, on_hangup; /* NULL: nothing but the counting */
    void (*on_finish)(fix *f, mh_req *req, int why);
    mh_req *req; /* the last exchange that began, NULL once it is finished */
    unsigned begun, readable, writable, hangups, finished;
    unsigned whys[6];  /* exchanges by MH_FINISH_* */
    int why;           /* of the last that finished */
    uint64_t sent;     /* mh_res_sent of it */
    unsigned open_max; /* most exchanges open at a time */
    unsigned told[5];  /* how often on_log told each MH_LOG_* */
    int64_t detail;    /* of the last */
    void (*on_log)(fix *f, int what);
    unsigned refused; /* how often on_refused was called */
    void (*on_refused)(fix *f, const mh_refused *what);
    void *user;
    int n; /* the test's own */
};

/* The real monotonic clock in ms, also where clock.h took clock_gettime's place. */
static inline uint64_t real_ms(void) {
    struct timespec ts;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

#ifndef UNTIL_MS
#define UNTIL_MS 8000
#endif

/* Steps f's loop until cond holds; fails the test if it never does. */
#define UNTIL(f, cond)                                \
    do {                                              \
        uint64_t end_ = real_ms() + UNTIL_MS;         \
        while (!(cond)) {                             \
            if (real_ms() > end_) {                   \
                CHECK_FAIL_("never came: %s", #cond); \
                break;                                \
            }                                         \
            mh_loop_step((f)->loop, (f)->step_ms);    \
        }                                             \
    } while (0)

static inline void fix_request_(mh_req *req, void *user) {
    fix *f = (fix *)user;
    f->begun++;
    if (f->begun - f->finished > f->open_max) f->open_max = f->begun - f->finished;
    f->req = req;
    if (f->on_request) f->on_request(f, req);
}

static inline void fix_readable_(mh_req *req, void *user) {
    fix *f = (fix *)user;
    f->readable++;
    if (f->on_readable) f->on_readable(f, req);
}

static inline void fix_writable_(mh_req *req, void *user) {
    fix *f = (fix *)user;
    f->writable++;
    if (f->on_writable) f->on_writable(f, req);
}

static inline void fix_hangup_(mh_req *req, void *user) {
    fix *f = (fix *)user;
    f->hangups++;
    if (f->on_hangup) f->on_hangup(f, req);
}

static inline void fix_finish_(mh_req *req, int why, void *user) {
    fix *f = (fix *)user;
    f->finished++;
    f->whys[why]++;
    f->why = why;
    f->sent = mh_res_sent(req);
    if (f->on_finish) f->on_finish(f, req, why);
    if (f->req == req) f->req = NULL;
}

static inline void fix_log_(mh_server *srv, int what, int64_t detail, void *user) {
    fix *f = (fix *)user;
    (void)srv;
    f->told[what]++;
    f->detail = detail;
    if (f->on_log) f->on_log(f, what);
}

static inline void fix_refused_(mh_server *srv, const mh_refused *what, void *user) {
    fix *f = (fix *)user;
    (void)srv;
    f->refused++;
    if (f->on_refused) f->on_refused(f, what);
}

/* Defaults, to be changed before fix_open. */
static inline void fix_init(fix *f) {
    memset(f, 0, sizeof *f);
    mh_loop_config_init(&f->loop_cfg);
    mh_config_init(&f->cfg);
    f->step_ms = 5;
    f->why = -1;
}

/* The server alone, on f->loop. */
static inline int fix_server(fix *f) {
    mh_handlers h;
    mh_handlers_init(&h);
    h.on_request = fix_request_;
    h.on_readable = fix_readable_;
    h.on_writable = fix_writable_;
    h.on_hangup = fix_hangup_;
    h.on_finish = fix_finish_;
    h.on_log = fix_log_;
    h.on_refused = fix_refused_;
    h.user = f;
    return mh_server_new(&f->srv, f->loop, &h, &f->cfg);
}

/* A loop and a server that listens on TCP (127.0.0.1, listener 0) and on a unix socket (listener
 * 1). */
static inline int fix_open(fix *f) {
    static unsigned number;
    int error = mh_loop_new(&f->loop, &f->loop_cfg);
    if (error == MH_OK) error = fix_server(f);
    if (error == MH_OK) error = mh_server_listen_tcp(f->srv, "127.0.0.1", 0, 0, 0);
    if (error < 0) return error;
    f->port = mh_server_port(f->srv, 0);
    snprintf(f->path, sizeof f->path, "/tmp/mh-test-%d-%u.sock", (int)getpid(), number++);
    return mh_server_listen_unix(f->srv, f->path, 0600, 0);
}

static inline void fix_close(fix *f) {
    mh_loop_free(f->loop);
    CHECK_INT(f->finished, f->begun); /* exactly once each */
    f->loop = NULL;
}

/* A TCP socket of 127.0.0.1 that listens, in blocking mode; its port, unless that is NULL. */
static inline int listening_fd(int *port) {
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t n = sizeof sa;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 5) < 0) abort();
    getsockname(fd, (struct sockaddr *)&sa, &n);
    if (port) *port = ntohs(sa.sin_port);
    return fd;
}

/* ---- the client ------------------------------------------------------------------------------ */

typedef struct peer {
    int fd;
    char *in; /* what came and was not yet taken; terminated for printing */
    size_t n, cap;
    bool eof, reset;
} peer;

static inline void peer_open_(peer *p, int fd) {
    memset(p, 0, sizeof *p);
    p->fd = fd;
    p->in = calloc(1, p->cap = 4096);
    if (fd >= 0) fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* rcvbuf > 0: a small window, so that the server's socket fills soon. */
static inline void peer_tcp(peer *p, const fix *f, int rcvbuf) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (rcvbuf > 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) CHECK_FAIL_("connect: errno %d", errno);
    peer_open_(p, fd);
}

static inline int unix_connect(const char *path) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0) return fd;
    close(fd);
    return -1;
}

static inline void peer_unix(peer *p, const fix *f) {
    int fd = unix_connect(f->path);
    if (fd < 0) CHECK_FAIL_("connect: errno %d", errno);
    peer_open_(p, fd);
}

/* Takes what there is, at most about max bytes. Returns how many came. */
static inline size_t peer_pull_some(peer *p, size_t max) {
    size_t before = p->n;
    while (!p->eof && !p->reset && p->n - before < max) {
        if (p->cap - p->n < 4096) p->in = realloc(p->in, p->cap *= 2);
        size_t room = p->cap - p->n - 1;
        ssize_t n = recv(p->fd, p->in + p->n, room < max ? room : max, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (n == 0) p->eof = true;
        if (n < 0) p->reset = true;
        if (n > 0) p->n += (size_t)n;
    }
    p->in[p->n] = '\0';
    return p->n - before;
}

static inline bool peer_pull(peer *p) {
    peer_pull_some(p, SIZE_MAX);
    return true;
}

/* Whether the peer has been told of the end. */
static inline bool peer_over(peer *p) {
    peer_pull(p);
    return p->eof || p->reset;
}

/* Sends all, stepping f while the socket is full. */
static inline void peer_send_n(fix *f, peer *p, const char *s, size_t n) {
    uint64_t end = real_ms() + UNTIL_MS;
    while (n > 0 && real_ms() < end) {
        ssize_t sent = send(p->fd, s, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return; /* it has been refused, and will see the answer */
        if (sent > 0) s += sent, n -= (size_t)sent;
        if (n > 0) mh_loop_step(f->loop, 0);
    }
}

static inline void peer_send(fix *f, peer *p, const char *s) { peer_send_n(f, p, s, strlen(s)); }

static inline void peer_close(peer *p) {
    if (p->fd >= 0) close(p->fd);
    free(p->in);
    *p = (peer){.fd = -1};
}

/* With RST (TCP). */
static inline void peer_reset(peer *p) {
    struct linger rst = {.l_onoff = 1, .l_linger = 0};
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
    peer_close(p);
}

/* Whether the kernel has handed all that p sent over to the server's socket, and that has been
 * read. */
static inline bool peer_taken(const peer *p) {
    int left = 0;
    return ioctl(p->fd, TIOCOUTQ, &left) < 0 || left == 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

typedef struct answer {
    int status; /* 0: none came */
    int minor;
    char head[4096]; /* with both CRLFs at its end */
    char *body;      /* decoded; to be freed by answer_free */
    size_t n;
    bool whole; /* ended by its framing, not by a cut */
    bool chunked, until_close;
} answer;

static inline void answer_free(answer *a) {
    free(a->body);
    a->body = NULL;
}

/* The value of a field of a's head, "" if it isn't there. Good until the next call. */
static inline const char *answer_field(const answer *a, const char *name) {
    static char value[1024];
    size_t n = strlen(name);
    value[0] = '\0';
    for (const char *p = strstr(a->head, "\r\n"); p && p[2] && p[2] != '\r';
         p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, name, n) != 0 || p[2 + n] != ':') continue;
        const char *v = p + 2 + n + 1, *end = strstr(v, "\r\n");
        while (*v == ' ')
            v++;
        snprintf(value, sizeof value, "%.*s", (int)(end - v), v);
        break;
    }
    return value;
}

/* Decodes the chunks at p[0..n) into a->body. Returns the bytes used, 0 if it isn't whole yet. */
static inline size_t answer_chunks_(answer *a, const char *p, size_t n) {
    const char *at = p, *end = p + n;
    for (;;) {
        const char *line = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!line) return 0;
        size_t size = strtoull(at, NULL, 16);
        at = line + 2;
        if ((size_t)(end - at) < size + 2) return 0;
        if (memcmp(at + size, "\r\n", 2) != 0) CHECK_FAIL_("a chunk of %zu bytes has no end", size);
        memcpy(a->body + a->n, at, size);
        a->n += size;
        at += size + 2;
        if (size == 0) return (size_t)(at - p);
    }
}

/* Reads the answer at p->in + at. Returns the bytes that it takes, or 0 if it is not whole yet; one
 * that the connection's end has cut is returned as far as it came, unless its head is. */
static inline size_t answer_read(answer *a, const peer *p, size_t at, bool to_head) {
    const char *in = p->in + at, *end = memmem(in, p->n - at, "\r\n\r\n", 4);
    memset(a, 0, sizeof *a);
    if (!end) return 0;
    size_t head_n = (size_t)(end - in) + 4, rest = p->n - at - head_n, used = 0;
    snprintf(a->head, sizeof a->head, "%.*s", (int)head_n, in);
    if (sscanf(a->head, "HTTP/1.%d %d ", &a->minor, &a->status) != 2)
        CHECK_FAIL_("head: %s", a->head);
    a->body = calloc(1, rest + 1);
    a->chunked = strcasecmp(answer_field(a, "Transfer-Encoding"), "chunked") == 0;
    bool counted = *answer_field(a, "Content-Length") != '\0';
    size_t length = strtoull(answer_field(a, "Content-Length"), NULL, 10);
    bool none = to_head || a->status < 200 || a->status == 204 || a->status == 304;
    a->whole = true;
    if (!none && a->chunked) {
        used = answer_chunks_(a, in + head_n, rest);
        a->whole = used > 0;
    } else if (!none) {
        a->until_close = !counted;
        used = counted && length < rest ? length : rest;
        a->whole = counted ? rest >= length : p->eof;
        memcpy(a->body, in + head_n, a->n = used);
    }
    if (!a->whole && !p->eof && !p->reset) {
        answer_free(a);
        return 0;
    }
    return head_n + (a->whole ? used : rest);
}

/* Takes one answer off p's input, if it is whole or the connection is over. */
static inline bool answer_take(peer *p, answer *a, bool to_head) {
    peer_pull(p);
    size_t used = answer_read(a, p, 0, to_head);
    p->n -= used;
    memmove(p->in, p->in + used, p->n + 1);
    return used > 0 || p->eof || p->reset;
}

/* Steps until the next answer is there (or the connection over) and takes it. */
#define ANSWER(f, p, a) UNTIL(f, answer_take(p, a, false))

/* The next answer must have this status and body, and be whole. */
#define CHECK_ANSWER(f, p, status_, body_) \
    do {                                   \
        answer a_;                         \
        ANSWER(f, p, &a_);                 \
        CHECK_INT(a_.status, status_);     \
        CHECK_MEM(a_.body, a_.n, body_);   \
        CHECK(a_.whole);                   \
        answer_free(&a_);                  \
    } while (0)

/* The server must have closed, in good order and without another byte. */
#define CHECK_CLOSED(f, p)              \
    do {                                \
        UNTIL(f, peer_over(p));         \
        CHECK((p)->eof);                \
        CHECK_MEM((p)->in, (p)->n, ""); \
    } while (0)

/* Everything there is to do has been done. */
static inline void settle(fix *f) {
    for (int i = 0, idle = 0; i < 1000 && idle < 3; i++)
        idle = mh_loop_step(f->loop, 0) == 0 ? idle + 1 : 0;
}

/* Answers of hosts. */
static inline mh_str text(const char *s) { return (mh_str){s, strlen(s)}; }

static inline int say(mh_req *req, const char *body) {
    return mh_res_simple(req, 200, text("OK"), NULL, 0, text(body));
}

static inline void say_hello(fix *f, mh_req *req) {
    (void)f;
    CHECK_INT(say(req, "hello"), MH_OK);
}

static inline bool req_is(const mh_req *req, const char *path) {
    mh_str p = mh_req_path(req);
    return p.n == strlen(path) && memcmp(p.p, path, p.n) == 0;
}

#endif
