/* The simulated kernel: see kernel.h. Descriptors are numbered from FIRST_FD on, the lowest free
 * one first, as Linux does, so that a number is soon used again. */
#include "kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"

enum { FIRST_FD = 500, FDS = 64, CLIENTS = 64 };

/* How the library must call; not an assert, which NDEBUG would take away. */
#define MUST(cond)                                                                       \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            fprintf(stderr, "%s:%d: called otherwise: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                                     \
        }                                                                                \
    } while (0)

typedef struct bytes {
    char *p;
    size_t n, cap, pos; /* p[pos..n) has not been taken off */
} bytes;

struct kernel_client {
    bool used;
    bool gone;       /* the client has closed */
    bool fin, reset; /* what it has sent */
    bool shut;       /* the server has sent FIN */
    bool cut;        /* the server has closed with RST */
    int fd;          /* the server's; -1: not accepted, or closed */
    size_t window;
    bytes in, out; /* to the server, to the client */
};

enum kind { FREE, LISTENER, STREAM, EPOLL, EVENT, TIMER, REGULAR };

typedef struct slot {
    enum kind kind;
    kernel_client *client; /* STREAM */
    bool linger_0;         /* close sends RST */
    bool fired;            /* EVENT, TIMER: something has happened since the last report */
    uint64_t due_ns;       /* TIMER; 0: not set */
    bool watched;
    uint32_t events;
    epoll_data_t data;
} slot;

static struct {
    bool running;
    slot slots[FDS];
    kernel_client clients[CLIENTS];
    kernel_client *backlog[CLIENTS]; /* the first accepted first */
    size_t n_backlog;
    bool disk_busy;
    bytes file;           /* what was written to it */
    unsigned first_ready; /* where the next epoll_wait begins to look */
} k;

/* ---- bytes ----------------------------------------------------------------------------------- */

static size_t left(const bytes *b) { return b->n - b->pos; }

static void append(bytes *b, const void *p, size_t n) {
    if (b->cap - b->n < n) {
        b->p = realloc(b->p, b->cap = 2 * (b->n + n));
        if (!b->p) abort();
    }
    if (n > 0) memcpy(b->p + b->n, p, n);
    b->n += n;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static slot *slot_of(int fd) {
    if (fd < FIRST_FD || fd >= FIRST_FD + FDS) return NULL;
    slot *s = &k.slots[fd - FIRST_FD];
    return s->kind == FREE ? NULL : s;
}

static kernel_client *client_of(int fd) {
    slot *s = slot_of(fd);
    return s && s->kind == STREAM ? s->client : NULL;
}

static int fail(int error) {
    errno = error;
    return -1;
}

static int open_slot(enum kind kind) {
    for (int i = 0; i < FDS; i++) {
        if (k.slots[i].kind != FREE) continue;
        k.slots[i] = (slot){.kind = kind};
        return FIRST_FD + i;
    }
    return fail(EMFILE);
}

/* ---- faults ---------------------------------------------------------------------------------- */

enum call {
    CALL_ACCEPT,
    CALL_RECV,
    CALL_SEND,
    CALL_SENDFILE,
    CALL_PREADV2,
    CALL_FADVISE,
    CALL_EPOLL_CTL,
    CALL_EPOLL_WAIT,
    CALL_IOCTL,
    CALL_SHUTDOWN,
    CALL_SETSOCKOPT,
    CALL_GETSOCKNAME,
    CALL_CLOSE,
    CALL_OPEN, /* epoll_create1, eventfd, timerfd_create */
    CALL_TIMERFD_SETTIME,
    CALL_WRITE, /* to a file */
    CALLS
};

/* Does less than it was asked for. */
#define SHORT (-1)

/* Up to the first 0: those to get over, then the others. */
static const struct {
    const char *name;
    int passing[10], lasting[8];
} ways[CALLS] = {
    [CALL_ACCEPT] = {"accept4",
                     {EINTR, ECONNABORTED, EPROTO, EPERM, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM},
                     {0}},
    [CALL_RECV] = {"recv",
                   {EINTR, EAGAIN, SHORT},
                   {ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENOMEM, ENOBUFS}},
    [CALL_SEND] = {"send", {EINTR, EAGAIN, SHORT}, {EPIPE, ECONNRESET, ENOBUFS, ENOMEM}},
    [CALL_SENDFILE] = {"sendfile", {EINTR, EAGAIN, SHORT}, {EPIPE, ECONNRESET, EIO, ENOMEM}},
    [CALL_PREADV2] = {"preadv2", {EAGAIN, EOPNOTSUPP}, {0}},
    [CALL_FADVISE] = {"posix_fadvise", {EINVAL}, {0}},
    [CALL_EPOLL_CTL] = {"epoll_ctl", {0}, {ENOMEM, ENOSPC}},
    [CALL_EPOLL_WAIT] = {"epoll_wait", {EINTR}, {0}},
    [CALL_IOCTL] = {"ioctl", {EINVAL}, {0}},
    [CALL_SHUTDOWN] = {"shutdown", {ENOTCONN}, {0}},
    [CALL_SETSOCKOPT] = {"setsockopt", {ENOPROTOOPT}, {0}},
    [CALL_GETSOCKNAME] = {"getsockname", {ENOBUFS}, {0}},
    [CALL_CLOSE] = {"close", {EINTR, EIO}, {0}}, /* closed all the same (close(2)) */
    [CALL_OPEN] = {"an open", {0}, {EMFILE, ENFILE, ENOMEM}},
    [CALL_TIMERFD_SETTIME] = {"timerfd_settime", {EINVAL}, {0}},
    [CALL_WRITE] = {"write", {EINTR, EAGAIN, SHORT, ENOSPC, EDQUOT, EIO, EFBIG, EBADF}, {0}},
};

static struct {
    size_t calls, at, variant;
    kernel_fault made;
} plan;

static size_t count_ways(const int *list, size_t most) {
    size_t n = 0;
    while (n < most && list[n] != 0)
        n++;
    return n;
}

/* What this call is to fail with: an errno, SHORT, or 0. */
static int fault(enum call call) {
    if (++plan.calls != plan.at) return 0;
    size_t n_passing = count_ways(ways[call].passing, 10);
    size_t n_lasting = count_ways(ways[call].lasting, 8), v = plan.variant;
    plan.made.reached = true;
    if (v >= n_passing + n_lasting) return 0;
    int error = v < n_passing ? ways[call].passing[v] : ways[call].lasting[v - n_passing];
    plan.made.made = true;
    plan.made.passing = v < n_passing;
    snprintf(plan.made.name, sizeof plan.made.name, "%s: %s", ways[call].name,
             error == SHORT ? "less than was asked for" : strerror(error));
    return error;
}

void kernel_plan_fault(size_t at, size_t variant) {
    plan.at = at > 0 ? plan.calls + at : 0;
    plan.variant = variant;
    plan.made = (kernel_fault){0};
}

kernel_fault kernel_fault_made(void) { return plan.made; }

/* ---- clients --------------------------------------------------------------------------------- */

kernel_client *kernel_connect(void) {
    for (int i = 0; i < CLIENTS; i++) {
        kernel_client *c = &k.clients[i];
        if (c->used) continue;
        *c = (kernel_client){.used = true, .fd = -1, .window = 1 << 20};
        k.backlog[k.n_backlog++] = c;
        return c;
    }
    return NULL;
}

size_t kernel_waiting(void) { return k.n_backlog; }
void kernel_send(kernel_client *c, const void *p, size_t n) { append(&c->in, p, n); }
void kernel_window(kernel_client *c, size_t n) { c->window = n; }

size_t kernel_take(kernel_client *c, size_t n) {
    if (n > left(&c->out)) n = left(&c->out);
    c->out.pos += n;
    return n;
}

const char *kernel_taken(const kernel_client *c, size_t *n) {
    *n = c->out.pos;
    return c->out.p;
}

void kernel_shut(kernel_client *c) { c->fin = true; }

void kernel_leave(kernel_client *c) {
    c->fin = c->gone = true;
    if (left(&c->out) > 0) c->reset = true; /* RFC 9293 3.6: it closes on what it has not read */
}

void kernel_reset(kernel_client *c) { c->fin = c->gone = c->reset = true; }
bool kernel_ended(const kernel_client *c) { return c->shut || c->cut; }
uint16_t kernel_port(const kernel_client *c) { return (uint16_t)(40000 + (c - k.clients)); }
bool kernel_was_reset(const kernel_client *c) { return c->cut; }

/* ---- the simulated machine ------------------------------------------------------------------- */

void kernel_start(void) {
    clock_stop();
    memset(&k, 0, sizeof k);
    memset(&plan, 0, sizeof plan);
    k.running = true;
}

unsigned kernel_stop(void) {
    unsigned open = 0;
    for (int i = 0; i < FDS; i++)
        open += k.slots[i].kind != FREE;
    for (int i = 0; i < CLIENTS; i++) {
        free(k.clients[i].in.p);
        free(k.clients[i].out.p);
    }
    free(k.file.p);
    k.file = (bytes){0};
    k.running = false;
    clock_go();
    return open;
}

void kernel_pass_ms(uint64_t ms) { clock_pass_ms(ms); }
void kernel_pass_us(uint64_t us) { clock_pass_us(us); }
uint64_t kernel_now_ns(void) { return clock_ns; }

void kernel_disk_busy(bool busy) { k.disk_busy = busy; }

int kernel_file(void) { return open_slot(REGULAR); }

const char *kernel_written(size_t *n) {
    *n = k.file.n;
    return k.file.p;
}

int kernel_listen(void) { return open_slot(LISTENER); }

/* What epoll and poll say of it; their events have the same bits (epoll_ctl(2)). */
static uint32_t stream_events(const kernel_client *c) {
    if (c->reset) return EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLERR | EPOLLHUP;
    uint32_t events = 0;
    if (left(&c->in) > 0 || c->fin) events |= EPOLLIN;
    if (c->fin) events |= EPOLLRDHUP;
    if (c->fin && c->shut) events |= EPOLLHUP;
    if (left(&c->out) < c->window) events |= EPOLLOUT;
    return events;
}

/* ---- sockets, as the library calls them ------------------------------------------------------ */

int accept4(int fd, struct sockaddr *restrict addr, socklen_t *restrict n, int flags) {
    slot *s = slot_of(fd);
    if (!s) return (int)syscall(SYS_accept4, fd, addr, n, flags);
    MUST((flags & SOCK_NONBLOCK) && (flags & SOCK_CLOEXEC));
    int error = fault(CALL_ACCEPT);
    if (error) return fail(error);
    if (k.n_backlog == 0) return fail(EAGAIN);
    int conn = open_slot(STREAM);
    if (conn < 0) return conn;
    kernel_client *c = k.backlog[0];
    memmove(k.backlog, k.backlog + 1, --k.n_backlog * sizeof *k.backlog);
    c->fd = conn;
    slot_of(conn)->client = c;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(kernel_port(c))};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(addr, &sa, sizeof sa);
    *n = sizeof sa;
    return conn;
}

/* An error after which the connection is no more. */
static int fail_stream(kernel_client *c, int error) {
    if (error != EINTR && error != EAGAIN && error != ENOMEM && error != ENOBUFS && error != EIO)
        c->reset = c->fin = true;
    return fail(error);
}

ssize_t recv(int fd, void *buf, size_t n, int flags) {
    kernel_client *c = client_of(fd);
    if (!c) return syscall(SYS_recvfrom, fd, buf, n, flags, NULL, NULL);
    MUST(flags & MSG_DONTWAIT);
    int error = fault(CALL_RECV);
    if (error > 0) return fail_stream(c, error);
    if (c->reset) return fail(ECONNRESET);
    if (left(&c->in) == 0) return c->fin ? 0 : fail(EAGAIN);
    if (error == SHORT && n > 1) n = 1;
    if (n > left(&c->in)) n = left(&c->in);
    memcpy(buf, c->in.p + c->in.pos, n);
    c->in.pos += n;
    return (ssize_t)n;
}

/* Whether c takes anything, and how much of n bytes; else errno is set. */
static bool admit(kernel_client *c, int error, size_t *n) {
    if (error > 0) {
        fail_stream(c, error);
        return false;
    }
    if (c->reset || c->shut) {
        fail(EPIPE);
        return false;
    }
    size_t under_way = left(&c->out), room = c->window > under_way ? c->window - under_way : 0;
    if (room == 0) {
        fail(EAGAIN);
        return false;
    }
    if (*n > room) *n = room;
    if (error == SHORT && *n > 1) *n = 1;
    if (c->gone) c->reset = true; /* nobody is there: RST comes back */
    return true;
}

static ssize_t deliver(kernel_client *c, const struct iovec *iov, size_t n_iov, int flags) {
    size_t n = 0;
    MUST((flags & MSG_DONTWAIT) && (flags & MSG_NOSIGNAL));
    for (size_t i = 0; i < n_iov; i++)
        n += iov[i].iov_len;
    if (!admit(c, fault(CALL_SEND), &n)) return -1;
    size_t rest = n;
    for (size_t i = 0; i < n_iov && rest > 0; i++) {
        size_t part = iov[i].iov_len < rest ? iov[i].iov_len : rest;
        append(&c->out, iov[i].iov_base, part);
        rest -= part;
    }
    return (ssize_t)n;
}

ssize_t send(int fd, const void *p, size_t n, int flags) {
    kernel_client *c = client_of(fd);
    if (!c) return syscall(SYS_sendto, fd, p, n, flags, NULL, 0);
    struct iovec iov = {(void *)(uintptr_t)p, n};
    return deliver(c, &iov, 1, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags) {
    kernel_client *c = client_of(fd);
    if (!c) return syscall(SYS_sendmsg, fd, msg, flags);
    return deliver(c, msg->msg_iov, msg->msg_iovlen, flags);
}

ssize_t sendfile(int fd, int file, off_t *offset, size_t n) {
    kernel_client *c = client_of(fd);
    if (!c) return syscall(SYS_sendfile, fd, file, offset, n);
    char block[4096];
    if (!admit(c, fault(CALL_SENDFILE), &n)) return -1;
    if (n > sizeof block) n = sizeof block;
    ssize_t got = pread(file, block, n, *offset);
    if (got <= 0) return got;
    append(&c->out, block, (size_t)got);
    *offset += got;
    return got;
}

/* Files are real, and in memory unless a fault says otherwise. */
ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags) {
    if (!k.running) return syscall(SYS_preadv2, fd, iov, n, offset, 0, flags);
    MUST(n == 1 && flags == RWF_NOWAIT);
    int error = fault(CALL_PREADV2);
    if (k.disk_busy) error = EAGAIN;
    return error ? fail(error) : pread(fd, iov->iov_base, iov->iov_len, offset);
}

int posix_fadvise(int fd, off_t offset, off_t n, int advice) {
    if (k.running) return fault(CALL_FADVISE);
    return syscall(SYS_fadvise64, fd, offset, n, advice) < 0 ? errno : 0;
}

/* libc's header says that poll only writes to fds, which then looks unset here; and gcc and clang
 * each complain of what only the other knows. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
/* Of one descriptor, without waiting. */
int poll(struct pollfd *fds, nfds_t n, int timeout) {
    kernel_client *c = n == 1 ? client_of(fds->fd) : NULL;
    struct timespec ts = {timeout / 1000, timeout % 1000 * 1000000};
    if (!c) return (int)syscall(SYS_ppoll, fds, n, timeout < 0 ? NULL : &ts, NULL, 0);
    MUST(timeout == 0);
    uint32_t wanted = (uint32_t)fds->events | EPOLLERR | EPOLLHUP;
    fds->revents = (short)(stream_events(c) & wanted);
    return fds->revents != 0;
}
#pragma GCC diagnostic pop

int shutdown(int fd, int how) {
    kernel_client *c = client_of(fd);
    if (!c) return (int)syscall(SYS_shutdown, fd, how);
    MUST(how == SHUT_WR);
    int error = fault(CALL_SHUTDOWN);
    if (error) return fail(error);
    c->shut = true;
    return 0;
}

int ioctl(int fd, unsigned long what, ...) {
    va_list args;
    va_start(args, what);
    void *arg = va_arg(args, void *);
    va_end(args);
    kernel_client *c = client_of(fd);
    if (!c) return (int)syscall(SYS_ioctl, fd, what, arg);
    MUST(what == FIONREAD || what == SIOCOUTQ);
    int error = fault(CALL_IOCTL);
    if (error) return fail(error);
    *(int *)arg = (int)left(what == FIONREAD ? &c->in : &c->out);
    return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t n) {
    slot *s = slot_of(fd);
    if (!s) return (int)syscall(SYS_setsockopt, fd, level, name, value, n);
    int error = fault(CALL_SETSOCKOPT);
    if (error) return fail(error);
    if (level == SOL_SOCKET && name == SO_LINGER) s->linger_0 = true;
    return 0;
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict n) {
    slot *s = slot_of(fd);
    if (!s) return (int)syscall(SYS_getsockopt, fd, level, name, value, n);
    MUST(level == SOL_SOCKET && (name == SO_TYPE || name == SO_ACCEPTCONN));
    *(int *)value = name == SO_TYPE ? SOCK_STREAM : s->kind == LISTENER;
    return 0;
}

int getsockname(int fd, struct sockaddr *restrict addr, socklen_t *restrict n) {
    if (!slot_of(fd)) return (int)syscall(SYS_getsockname, fd, addr, n);
    int error = fault(CALL_GETSOCKNAME);
    if (error) return fail(error);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(80)};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(addr, &sa, sizeof sa);
    *n = sizeof sa;
    return 0;
}

int fcntl(int fd, int what, ...) {
    va_list args;
    va_start(args, what);
    void *arg = va_arg(args, void *);
    va_end(args);
    slot *s = slot_of(fd);
    if (s) return what != F_GETFL ? 0 : s->kind == REGULAR ? O_WRONLY : O_NONBLOCK;
    return (int)syscall(SYS_fcntl, fd, what, arg);
}

int close(int fd) {
    slot *s = slot_of(fd);
    if (!s) return (int)syscall(SYS_close, fd);
    kernel_client *c = s->kind == STREAM ? s->client : NULL;
    int error = s->kind == STREAM ? fault(CALL_CLOSE) : 0;
    if (c) {
        c->fd = -1;
        if (s->linger_0 || left(&c->in) > 0) c->cut = true;
        c->shut = true;
    }
    *s = (slot){.kind = FREE};
    return error ? fail(error) : 0;
}

/* ---- epoll, eventfd, timerfd ----------------------------------------------------------------- */

static int open_counted(enum kind kind) {
    int error = fault(CALL_OPEN);
    return error ? fail(error) : open_slot(kind);
}

int epoll_create1(int flags) {
    return k.running ? open_counted(EPOLL) : (int)syscall(SYS_epoll_create1, flags);
}

int eventfd(unsigned count, int flags) {
    return k.running ? open_counted(EVENT) : (int)syscall(SYS_eventfd2, count, flags);
}

int timerfd_create(int clock, int flags) {
    return k.running ? open_counted(TIMER) : (int)syscall(SYS_timerfd_create, clock, flags);
}

ssize_t write(int fd, const void *p, size_t n) {
    slot *s = slot_of(fd);
    if (!s) return syscall(SYS_write, fd, p, n);
    if (s->kind == REGULAR) {
        int error = fault(CALL_WRITE);
        if (error > 0) return fail(error);
        if (error == SHORT && n > 1) n = 1;
        append(&k.file, p, n);
    }
    s->fired = s->kind == EVENT;
    return (ssize_t)n;
}

int fstat(int fd, struct stat *st) {
    slot *s = slot_of(fd);
    if (!s) return (int)syscall(SYS_newfstatat, fd, "", st, AT_EMPTY_PATH);
    MUST(s->kind == REGULAR);
    *st = (struct stat){.st_mode = S_IFREG};
    return 0;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *from) {
    slot *s = slot_of(fd);
    if (!s) return (int)syscall(SYS_timerfd_settime, fd, flags, to, from);
    MUST(flags == TFD_TIMER_ABSTIME);
    int error = fault(CALL_TIMERFD_SETTIME);
    if (error) return fail(error);
    s->due_ns = (uint64_t)to->it_value.tv_sec * 1000000000u + (uint64_t)to->it_value.tv_nsec;
    return 0;
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev) {
    if (!slot_of(epfd)) return (int)syscall(SYS_epoll_ctl, epfd, op, fd, ev);
    slot *s = slot_of(fd);
    if (!s) return fail(EBADF);
    if (op == EPOLL_CTL_ADD && s->watched) return fail(EEXIST);
    if (op != EPOLL_CTL_ADD && !s->watched) return fail(ENOENT);
    if (op == EPOLL_CTL_MOD && ((ev->events | s->events) & EPOLLEXCLUSIVE)) return fail(EINVAL);
    int error = op == EPOLL_CTL_DEL ? 0 : fault(CALL_EPOLL_CTL);
    if (error) return fail(error);
    s->watched = op != EPOLL_CTL_DEL;
    s->events = ev->events;
    s->data = ev->data;
    return 0;
}

/* What s has to report now. */
static uint32_t ready_events(const slot *s) {
    uint32_t events = 0;
    if (s->kind == FREE || !s->watched) return 0;
    if (s->kind == LISTENER && k.n_backlog > 0) events = EPOLLIN;
    if (s->kind == STREAM) events = stream_events(s->client);
    if (s->fired || (s->due_ns && s->due_ns <= clock_ns)) events = EPOLLIN;
    return events & (s->events | EPOLLERR | EPOLLHUP);
}

/* It has been reported: EVENT and TIMER are watched edge-triggered. */
static void take_edge(slot *s) {
    s->fired = false;
    if (s->due_ns <= clock_ns) s->due_ns = 0;
}

bool kernel_is_ready(void) {
    for (int i = 0; i < FDS; i++)
        if (ready_events(&k.slots[i])) return true;
    return false;
}

/* Never waits. Begins behind the last one that was reported, as epoll's list of the ready does. */
int epoll_wait(int epfd, struct epoll_event *out, int most, int timeout) {
    if (!slot_of(epfd)) return (int)syscall(SYS_epoll_pwait, epfd, out, most, timeout, NULL, 0);
    int error = fault(CALL_EPOLL_WAIT), n = 0;
    if (error) return fail(error);
    for (unsigned i = 0, at = k.first_ready; i < FDS && n < most; i++) {
        slot *s = &k.slots[(at + i) % FDS];
        uint32_t events = ready_events(s);
        if (!events) continue;
        take_edge(s);
        out[n++] = (struct epoll_event){.events = events, .data = s->data};
        k.first_ready = (at + i + 1) % FDS;
    }
    return n;
}
