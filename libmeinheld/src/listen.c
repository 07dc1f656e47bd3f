/* Listeners: making them (TCP, unix, adopted), accepting in bounded batches, pausing when the
 * machine or the server has had enough.
 *
 * A listener is watched with EPOLLEXCLUSIVE, so that one connection wakes one of several processes
 * that share the socket. Such a watch can only be added and deleted (epoll_ctl(2): MOD is EINVAL),
 * which mh__loop_set knows. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "conn.h"

enum { LISTENING = EPOLLIN | EPOLLEXCLUSIVE };

struct mh__listener {
    mh__listener *next;
    mh_server *srv;
    int fd;
    uint16_t number; /* from 0, in order of listening */
    bool own;        /* close fd at the end */
    bool resting;    /* after EMFILE and its like: rest runs */
    pid_t pid;       /* who bound path */
    mh__timer rest;
    char path[]; /* of a unix socket that we bound, to be unlinked; else "" */
};

/* ---- accepting ------------------------------------------------------------------------------- */

static void listener_set(mh__listener *l) {
    bool on = !l->srv->paused && !l->resting;
    mh__loop_set(l->srv->loop, l->fd, on ? LISTENING : 0);
}

void mh__listeners_update(mh_server *srv) {
    for (mh__listener *l = srv->listeners; l; l = l->next)
        listener_set(l);
}

static void on_rested(mh_loop *loop, mh__timer *timer) {
    mh__listener *l = (mh__listener *)(void *)((char *)timer - offsetof(mh__listener, rest));
    (void)loop;
    l->resting = false;
    listener_set(l);
}

/* Takes no more for a while. Says so if that is new, at last, since the host may then drain the
 * server. error: errno, 0 if that is not known. */
static void rest(mh__listener *l, int error) {
    mh_server *srv = l->srv;
    l->resting = true;
    mh__timer_arm(srv->loop, &l->rest, srv->cls.accept_rest);
    listener_set(l);
    mh__timer_arm(srv->loop, &srv->accept_calm, srv->cls.accept_calm);
    if (srv->accept_failures++ == 0) mh__server_tell(srv, MH_LOG_ACCEPT_FAILS, error);
}

void mh__listeners_calm(mh_loop *loop, mh__timer *timer) {
    mh_server *srv = (mh_server *)(void *)((char *)timer - offsetof(mh_server, accept_calm));
    uint64_t failures = srv->accept_failures;
    (void)loop;
    srv->accept_failures = 0;
    mh__server_tell(srv, MH_LOG_ACCEPT_GOES_ON, (int64_t)failures);
}

/* Accept failed with error. True if the next attempt may go better at once; else l may have gone.
 */
static bool accept_again(mh__listener *l, int error) {
    switch (error) {
    case EAGAIN:
        return false;
    /* Errors of the one connection that was to be accepted (accept(2), "Error handling"). */
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPERM:
        return true;
    /* No descriptors or memory: the connection stays in the backlog, and epoll would tell of it for
     * ever. */
    default:
        rest(l, error);
        return false;
    }
}

/* Makes a connection of what accept4 returned. */
static void take(mh__listener *l, int fd, const struct sockaddr_storage *peer) {
    mh_server *srv = l->srv;
    mh__conn_new(srv, fd, peer, l->number);
    if (srv->n_conns >= srv->cfg.max_connections) {
        srv->paused = true;
        mh__listeners_update(srv);
    }
}

void mh__listeners_take_rest(mh_server *srv) {
    for (mh__listener *l = srv->listeners; l; l = l->next) {
        for (uint32_t i = 0; i < srv->cfg.max_connections && !srv->paused; i++) {
            struct sockaddr_storage peer = {0};
            socklen_t n = sizeof peer;
            int conn = accept4(l->fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (conn >= 0) {
                take(l, conn, &peer);
            } else if (errno != EINTR && errno != ECONNABORTED) {
                break;
            }
        }
    }
}

static void on_connections(mh_loop *loop, int fd, uint32_t events, void *user) {
    mh__listener *l = user;
    mh_server *srv = l->srv;
    (void)loop;
    if (events & EPOLLERR) { /* epoll refused the watch, and would be asked again in every step */
        rest(l, 0);
        return;
    }
    for (uint32_t i = 0; i < srv->cfg.accept_batch && !srv->paused; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t n = sizeof peer;
        int conn = accept4(fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (conn < 0) {
            if (!accept_again(l, errno)) return;
            continue;
        }
        take(l, conn, &peer);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static void listener_free(mh__listener *l) {
    mh_loop *loop = l->srv->loop;
    mh__timer_stop(&l->rest);
    mh__loop_del(loop, l->fd);
    if (l->own) close(l->fd);
    if (l->path[0] && l->pid == getpid()) unlink(l->path);
    mh__mem_free(mh__loop_mem(loop), l);
}

/* Frees all but the first keep. */
static void remove_last(mh_server *srv, unsigned keep) {
    mh__listener **end = &srv->listeners;
    while (*end && keep-- > 0)
        end = &(*end)->next;
    while (*end) {
        mh__listener *l = *end;
        *end = l->next;
        listener_free(l);
    }
}

void mh__listeners_close(mh_server *srv) {
    remove_last(srv, 0);
    mh__timer_stop(&srv->accept_calm);
}

/* ---- making ---------------------------------------------------------------------------------- */

static int add_listener(mh_server *srv, int fd, bool own, const char *path) {
    size_t path_n = path ? strlen(path) : 0;
    uint16_t number = 0;
    mh__listener **end = &srv->listeners;
    for (; *end; end = &(*end)->next)
        number++;
    mh__listener *l = mh__mem_zalloc(mh__loop_mem(srv->loop), sizeof *l + path_n + 1);
    if (!l) return MH_ENOMEM;
    l->srv = srv;
    l->fd = fd;
    l->own = own;
    l->number = number;
    l->pid = getpid();
    l->rest.fn = on_rested;
    if (path_n > 0) memcpy(l->path, path, path_n);
    int error = mh__loop_add(srv->loop, fd, srv->paused ? 0 : LISTENING, on_connections, l);
    if (error < 0) {
        mh__mem_free(mh__loop_mem(srv->loop), l);
        return error;
    }
    *end = l;
    return MH_OK;
}

static void set_option(int fd, int level, int option) {
    int one = 1;
    setsockopt(fd, level, option, &one, sizeof one); /* what it can't set it does without */
}

/* Inherited by what is accepted: no system call per connection (tcp(7)). */
static void set_nodelay(int fd) { set_option(fd, IPPROTO_TCP, TCP_NODELAY); }

static int bind_one(mh_server *srv, const struct addrinfo *ai, int backlog, unsigned flags) {
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0) return mh__loop_sys(srv->loop);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    if (flags & MH_LISTEN_REUSEPORT) set_option(fd, SOL_SOCKET, SO_REUSEPORT);
    set_nodelay(fd);
    int error;
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, backlog) < 0) {
        error = mh__loop_sys(srv->loop);
    } else {
        error = add_listener(srv, fd, true, NULL);
    }
    if (error < 0) close(fd);
    return error;
}

/* Whether bind_one failed because the machine has no such addresses: localhost is often ::1 too,
 * where there is no IPv6. */
static bool no_such_family(const mh_server *srv) {
    int error = mh_loop_errno(srv->loop);
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL;
}

static unsigned count_listeners(const mh_server *srv) {
    unsigned n = 0;
    for (const mh__listener *l = srv->listeners; l; l = l->next)
        n++;
    return n;
}

int mh_server_listen_tcp(mh_server *srv, const char *host, uint16_t port, int backlog,
                         unsigned flags) {
    if (srv->draining) return MH_ESTATE;
    if (flags & ~(unsigned)MH_LISTEN_REUSEPORT) return MH_EINVAL;
    bool any = !host || !*host;
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list;
    if (getaddrinfo(any ? "::" : host, service, &hints, &list) != 0) return MH_EINVAL;
    unsigned before = count_listeners(srv);
    int error = MH_OK;
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        error = bind_one(srv, ai, backlog > 0 ? backlog : SOMAXCONN, flags);
        if (error < 0 && !(error == MH_ESYS && no_such_family(srv))) break;
    }
    freeaddrinfo(list);
    if (error == MH_OK || (error == MH_ESYS && no_such_family(srv))) {
        if (count_listeners(srv) > before) return MH_OK;
        if (any) return mh_server_listen_tcp(srv, "0.0.0.0", port, backlog, flags);
    }
    remove_last(srv, before); /* all addresses of a name, or none */
    return error;
}

/* Whether a socket file can be replaced: nobody answers there. */
static bool stale(const struct sockaddr_un *sa) {
    struct stat st;
    if (lstat(sa->sun_path, &st) < 0) return false;
    if (!S_ISSOCK(st.st_mode)) return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    bool refused =
        connect(fd, (const struct sockaddr *)sa, sizeof *sa) < 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

int mh_server_listen_unix(mh_server *srv, const char *path, unsigned mode, int backlog) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (srv->draining) return MH_ESTATE;
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof sa.sun_path || mode > 0777) return MH_EINVAL;
    memcpy(sa.sun_path, path, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return mh__loop_sys(srv->loop);
    int error = MH_OK;
    bool bound = bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    if (!bound && errno == EADDRINUSE) {
        if (stale(&sa) && unlink(path) == 0)
            bound = bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
        else
            errno = EADDRINUSE;
    }
    /* Until it listens nobody can connect, whatever the mode that bind gave it. */
    if (!bound || chmod(path, mode) < 0 || listen(fd, backlog > 0 ? backlog : SOMAXCONN) < 0)
        error = mh__loop_sys(srv->loop);
    if (error == MH_OK) error = add_listener(srv, fd, true, path);
    if (error < 0) {
        if (bound) unlink(path);
        close(fd);
    }
    return error;
}

int mh_server_listen_fd(mh_server *srv, int fd, int own) {
    if (srv->draining) return MH_ESTATE;
    int type = 0, listening = 0;
    socklen_t n = sizeof type, m = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_STREAM ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &m) < 0 || !listening)
        return MH_EINVAL;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return mh__loop_sys(srv->loop);
    int error = add_listener(srv, fd, own != 0, NULL);
    if (error < 0) {
        fcntl(fd, F_SETFL, flags);
        return error;
    }
    set_nodelay(fd); /* refused on a unix socket, which needs none */
    return MH_OK;
}

int mh_server_port(const mh_server *srv, unsigned i) {
    const mh__listener *l = srv->listeners;
    while (l && i-- > 0)
        l = l->next;
    if (!l) return MH_EINVAL;
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    if (getsockname(l->fd, (struct sockaddr *)&sa, &n) < 0) return MH_EINVAL;
    return mh__addr_of(&sa).port;
}
