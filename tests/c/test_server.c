/* Listeners, limits, accepting, the end; and that no descriptor leaks, neither in this process nor
 * into a child. */
#include "timed.h"

#include "fds.h"

#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static bool watches_full; /* as at /proc/sys/fs/epoll/max_user_watches */
static unsigned times_refused;

/* In place of libc's: the library is linked statically. */
int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev) {
    if (watches_full && op == EPOLL_CTL_ADD) {
        times_refused++;
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, ev);
}

/* A loop and a server without listeners. */
static void bare(fix *f) {
    if (mh_loop_new(&f->loop, &f->loop_cfg) < 0 || fix_server(f) < 0) abort();
    snprintf(f->path, sizeof f->path, "/tmp/mh-test-%d.sock", (int)getpid());
}

/* One exchange over an own connection. */
static void visit(fix *f, peer *p) {
    peer_send(f, p, GET);
    CHECK_ANSWER(f, p, 200, "hello");
    peer_close(p);
}

static int tcp_connect(int family, int port) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6,
                               .sin6_port = htons((uint16_t)port),
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = family == AF_INET ? connect(fd, (struct sockaddr *)&four, sizeof four)
                              : connect(fd, (struct sockaddr *)&six, sizeof six);
    if (r == 0) return fd;
    close(fd);
    return -1;
}

static bool has_ipv6(void) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&six, sizeof six) == 0;
    if (fd >= 0) close(fd);
    return has;
}

/* ---- listening ------------------------------------------------------------------------------- */

static void every_kind_of_address_is_served(void) {
    static const struct {
        const char *host;
        bool six;
    } rows[] = {{"127.0.0.1", false}, {"::1", true},      {NULL, false},
                {"", false},          {"0.0.0.0", false}, {NULL, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].six && !has_ipv6()) continue;
        fix f;
        peer p;
        fix_init(&f);
        f.on_request = say_hello;
        bare(&f);
        CHECK_INT(mh_server_listen_tcp(f.srv, rows[i].host, 0, 0, 0), MH_OK);
        int fd = tcp_connect(rows[i].six ? AF_INET6 : AF_INET, mh_server_port(f.srv, 0));
        REQUIRE(fd >= 0);
        peer_open_(&p, fd);
        visit(&f, &p);
        fix_close(&f);
    }
}

static char peer_name[64];

static void tell_peer(fix *f, mh_req *req) {
    uint16_t port;
    CHECK(mh_req_peer(req, peer_name, sizeof peer_name, &port) >= 0);
    f->n = port;
    say(req, "hello");
}

static void an_ipv6_client_has_its_name(void) {
    if (!has_ipv6()) return;
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = tell_peer;
    bare(&f);
    CHECK_INT(mh_server_listen_tcp(f.srv, "::1", 0, 0, 0), MH_OK);
    peer_open_(&p, tcp_connect(AF_INET6, mh_server_port(f.srv, 0)));
    visit(&f, &p);
    CHECK_MEM(peer_name, strlen(peer_name), "::1");
    fix_close(&f);
}

static void an_ipv4_client_of_an_ipv6_listener_keeps_its_name(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = tell_peer;
    bare(&f);
    CHECK_INT(mh_server_listen_tcp(f.srv, NULL, 0, 0, 0), MH_OK);
    f.port = mh_server_port(f.srv, 0);
    peer_tcp(&p, &f, 0);
    struct sockaddr_in own;
    socklen_t n = sizeof own;
    getsockname(p.fd, (struct sockaddr *)&own, &n);
    visit(&f, &p);
    CHECK_MEM(peer_name, strlen(peer_name), "127.0.0.1");
    CHECK_INT(f.n, ntohs(own.sin_port));
    fix_close(&f);
}

static void a_port_in_use_is_reported_and_nothing_is_left_of_it(void) {
    fix f;
    fix_init(&f);
    REQUIRE(fix_open(&f) == MH_OK);
    int before = count_fds();
    CHECK_INT(mh_server_listen_tcp(f.srv, "127.0.0.1", (uint16_t)f.port, 0, 0), MH_ESYS);
    CHECK_INT(mh_loop_errno(f.loop), EADDRINUSE);
    CHECK_INT(mh_server_listen_tcp(f.srv, "no such host", 80, 0, 0), MH_EINVAL);
    CHECK_INT(count_fds(), before);
    fix_close(&f);
}

static void two_servers_share_a_port_with_reuseport(void) {
    fix a, b;
    fix_init(&a);
    fix_init(&b);
    bare(&a);
    bare(&b);
    CHECK_INT(mh_server_listen_tcp(a.srv, "127.0.0.1", 0, 0, MH_LISTEN_REUSEPORT), MH_OK);
    uint16_t port = (uint16_t)mh_server_port(a.srv, 0);
    CHECK_INT(mh_server_listen_tcp(b.srv, "127.0.0.1", port, 0, MH_LISTEN_REUSEPORT), MH_OK);
    fix_close(&a);
    fix_close(&b);
}

static void listeners_are_numbered_in_order_and_told_apart(void) {
    fix f;
    peer p;
    fix_init(&f);
    bare(&f);
    CHECK_INT(mh_server_listen_tcp(f.srv, "127.0.0.1", 0, 0, 0), MH_OK);
    CHECK_INT(mh_server_listen_unix(f.srv, f.path, 0600, 0), MH_OK);
    CHECK_INT(mh_server_listen_tcp(f.srv, "127.0.0.1", 0, 0, 0), MH_OK);
    CHECK(mh_server_port(f.srv, 0) > 0);
    CHECK_INT(mh_server_port(f.srv, 1), 0);
    CHECK(mh_server_port(f.srv, 2) > 0);
    CHECK(mh_server_port(f.srv, 0) != mh_server_port(f.srv, 2));
    for (unsigned i = 0; i < 3; i++) {
        f.port = mh_server_port(f.srv, i);
        if (i == 1)
            peer_unix(&p, &f);
        else
            peer_tcp(&p, &f, 0);
        peer_send(&f, &p, GET);
        UNTIL(&f, f.req);
        CHECK_INT(mh_req_listener(f.req), i);
        CHECK_INT(say(f.req, "hello"), MH_OK);
        CHECK_ANSWER(&f, &p, 200, "hello");
        peer_close(&p);
    }
    fix_close(&f);
}

/* ---- unix sockets ---------------------------------------------------------------------------- */

static void a_unix_path_is_unlinked_at_the_end_and_has_its_mode(void) {
    fix f;
    struct stat st;
    fix_init(&f);
    bare(&f);
    CHECK_INT(mh_server_listen_unix(f.srv, f.path, 0640, 0), MH_OK);
    CHECK_INT(stat(f.path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0640);
    fix_close(&f);
    CHECK_INT(stat(f.path, &st), -1);
}

static void a_stale_path_is_replaced_and_a_live_one_or_a_file_is_not(void) {
    fix f, g;
    peer p;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    fix_init(&f);
    fix_init(&g);
    f.on_request = say_hello;
    bare(&f);
    bare(&g);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", f.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0);
    close(fd); /* the path stays */
    CHECK_INT(mh_server_listen_unix(f.srv, f.path, 0600, 0), MH_OK);
    CHECK_INT(mh_server_listen_unix(g.srv, f.path, 0600, 0), MH_ESYS);
    CHECK_INT(mh_loop_errno(g.loop), EADDRINUSE);
    peer_unix(&p, &f); /* the live one is still there */
    visit(&f, &p);
    fix_close(&f);
    fd = open(g.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK_INT(mh_server_listen_unix(g.srv, g.path, 0600, 0), MH_ESYS);
    CHECK_INT(mh_loop_errno(g.loop), EADDRINUSE);
    CHECK_INT(unlink(g.path), 0); /* the file is still there */
    close(fd);
    fix_close(&g);
}

static void wrong_unix_paths_are_refused(void) {
    fix f;
    char path[200];
    fix_init(&f);
    bare(&f);
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[108] = '\0';
    CHECK_INT(mh_server_listen_unix(f.srv, path, 0600, 0), MH_EINVAL);
    CHECK_INT(mh_server_listen_unix(f.srv, "", 0600, 0), MH_EINVAL);
    CHECK_INT(mh_server_listen_unix(f.srv, f.path, 01777, 0), MH_EINVAL);
    CHECK_INT(mh_server_listen_unix(f.srv, "/nonexistent/folder/socket", 0600, 0), MH_ESYS);
    CHECK_INT(mh_loop_errno(f.loop), ENOENT);
    fix_close(&f);
}

/* ---- adopted descriptors --------------------------------------------------------------------- */

static void an_adopted_socket_serves_and_is_closed_only_if_given_away(void) {
    for (int own = 0; own < 2; own++) {
        fix f;
        peer p;
        fix_init(&f);
        f.on_request = say_hello;
        bare(&f);
        int fd = listening_fd(&f.port); /* blocking: the server must not hang in accept */
        CHECK_INT(mh_server_listen_fd(f.srv, fd, own), MH_OK);
        CHECK_INT(mh_server_port(f.srv, 0), f.port);
        peer_tcp(&p, &f, 0);
        visit(&f, &p);
        fix_close(&f);
        CHECK_INT(fcntl(fd, F_GETFD) < 0, own);
        if (!own) close(fd);
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void at_the_cap_accepting_stops_and_below_it_goes_on(void) {
    enum { CAP = 3 };
    fix f;
    peer p[CAP + 2];
    fix_init(&f);
    f.on_request = say_hello;
    f.cfg.max_connections = CAP;
    REQUIRE(fix_open(&f) == MH_OK);
    for (int i = 0; i < CAP + 2; i++) {
        if (i & 1)
            peer_tcp(&p[i], &f, 0);
        else
            peer_unix(&p[i], &f);
        peer_send(&f, &p[i], GET);
    }
    for (int i = 0; i < 50; i++)
        mh_loop_step(f.loop, 1);
    CHECK_INT(mh_server_connections(f.srv), CAP);
    CHECK_INT(f.begun, CAP);
    for (int i = 0; i < CAP + 2; i++) { /* each that leaves makes room for one more */
        int heard = 0;
        for (int k = 0; k < CAP + 2 && heard == 0; k++)
            if (p[k].fd >= 0 && peer_pull(&p[k]) && p[k].n > 0) heard = k + 1;
        REQUIRE(heard > 0);
        peer_close(&p[heard - 1]);
        unsigned want = i + CAP < CAP + 2 ? (unsigned)(i + CAP + 1) : CAP + 2;
        UNTIL(&f, f.finished >= want);
        UNTIL(&f, mh_server_connections(f.srv) == (i < 2 ? CAP : (unsigned)(CAP + 1 - i)));
    }
    CHECK_INT(f.begun, CAP + 2);
    fix_close(&f);
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void without_descriptors_accepting_rests_and_goes_on(void) {
    fix f;
    peer p, q;
    fix_init(&f);
    f.on_request = say_hello;
    f.cfg.accept_pause = 10;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    visit(&f, &p);
    peer_tcp(&p, &f, 0);
    peer_unix(&q, &f);
    refuse_descriptors(true);
    int steps = 0;
    for (uint64_t end = real_ms() + 300; real_ms() < end; steps++)
        mh_loop_step(f.loop, 5);
    refuse_descriptors(false);
    CHECK_INT(mh_server_connections(f.srv), 0);
    CHECK(steps < 300); /* it rests: it does not spin */
    visit(&f, &p);
    visit(&f, &q);
    fix_close(&f);
}

static void a_listener_that_epoll_refuses_rests_and_goes_on(void) {
    for (int recovers = 0; recovers < 2; recovers++) {
        fix f;
        peer p;
        fix_init(&f);
        f.on_request = say_hello;
        f.cfg.accept_pause = recovers ? 1 : 600000;
        REQUIRE(fix_open(&f) == MH_OK);
        watches_full = true; /* listeners are watched from the first step */
        times_refused = 0;
        for (int i = 0; i < 20; i++)
            mh_loop_step(f.loop, 0);
        CHECK(times_refused > 0);
        if (!recovers) CHECK_INT(times_refused, 2); /* TCP and unix, once each: it does not spin */
        watches_full = false;
        if (recovers) {
            peer_tcp(&p, &f, 0);
            visit(&f, &p);
        }
        fix_close(&f);
    }
}

static void a_bout_in_which_accepting_fails_is_told_once_and_so_is_its_end(void) {
    fix f;
    peer p, q;
    begin(&f, &p);
    f.on_request = say_hello;
    REQUIRE(fix_open(&f) == MH_OK);
    for (unsigned bout = 1; bout <= 2; bout++) {
        peer_unix(&p, &f);
        peer_tcp(&q, &f, 0);
        refuse_descriptors(true);
        settle(&f);
        for (int i = 0; i < 30; i++)
            pass(&f, 100);
        refuse_descriptors(false);
        CHECK_INT(f.told[MH_LOG_ACCEPT_FAILS], bout);
        CHECK_INT(f.detail, EMFILE);
        pass(&f, 4999); /* they are accepted now, but it may begin again */
        CHECK_INT(mh_server_connections(f.srv), 2);
        CHECK_INT(f.told[MH_LOG_ACCEPT_GOES_ON], bout - 1);
        pass(&f, 1);
        CHECK_INT(f.told[MH_LOG_ACCEPT_GOES_ON], bout);
        CHECK(f.detail >= 60 && f.detail <= 64); /* two listeners, each ten times a second */
        peer_close(&p);
        peer_close(&q);
        settle(&f);
    }
    finish(&f, &p);
}

static void drain_at_once(fix *f, int what) {
    if (what == MH_LOG_ACCEPT_FAILS) CHECK_INT(mh_server_drain(f->srv, 0, NULL, NULL), MH_OK);
}

static void the_server_may_be_drained_when_it_is_told(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_log = drain_at_once;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    refuse_descriptors(true);
    settle(&f);
    for (int i = 0; i < 100; i++)
        pass(&f, 100);
    refuse_descriptors(false);
    CHECK_INT(f.told[MH_LOG_ACCEPT_FAILS], 1);
    CHECK_INT(f.told[MH_LOG_ACCEPT_GOES_ON], 0);
    CHECK_INT(mh_server_port(f.srv, 0), MH_EINVAL);
    finish(&f, &p);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void freeing_ends_open_exchanges_and_leaks_no_descriptor(void) {
    int before = count_fds();
    for (int i = 0; i < 2; i++) {
        fix f;
        peer p[4];
        fix_init(&f);
        REQUIRE(fix_open(&f) == MH_OK);
        for (int k = 0; k < 4; k++) {
            peer_tcp(&p[k], &f, 0);
            peer_send(&f, &p[k], k < 3 ? GET : "GET");
        }
        UNTIL(&f, f.begun == 3 && mh_server_connections(f.srv) == 4);
        if (i) CHECK_INT(mh_server_free(f.srv), MH_OK);
        fix_close(&f);
        CHECK_INT(f.whys[MH_FINISH_ABORTED], 3);
        for (int k = 0; k < 4; k++)
            peer_close(&p[k]);
    }
    CHECK_INT(count_fds(), before);
}

/* Which descriptors over 2 a program sees that this process starts. */
static int inherited(void) {
    int fds[2];
    char out[4096] = "";
    size_t n = 0;
    if (pipe(fds) < 0) abort();
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], 1);
        close(fds[1]);
        execlp("ls", "ls", "/proc/self/fd", (char *)NULL);
        _exit(1);
    }
    close(fds[1]);
    for (ssize_t got; (got = read(fds[0], out + n, sizeof out - 1 - n)) > 0;)
        n += (size_t)got;
    close(fds[0]);
    waitpid(pid, NULL, 0);
    int lines = 0;
    for (const char *p = out; (p = strchr(p, '\n')); p++)
        lines++;
    return lines;
}

static void no_descriptor_is_inherited_by_a_child(void) {
    int before = inherited();
    fix f;
    peer p, q;
    fix_init(&f);
    REQUIRE(fix_open(&f) == MH_OK);
    CHECK(mh_loop_fd(f.loop) >= 0);
    peer_tcp(&p, &f, 0);
    peer_unix(&q, &f);
    peer_send(&f, &p, GET);
    UNTIL(&f, f.begun == 1 && mh_server_connections(f.srv) == 2);
    CHECK_INT(inherited(), before);
    peer_close(&p);
    peer_close(&q);
    fix_close(&f);
}

int main(void) {
    RUN(every_kind_of_address_is_served);
    RUN(an_ipv6_client_has_its_name);
    RUN(an_ipv4_client_of_an_ipv6_listener_keeps_its_name);
    RUN(a_port_in_use_is_reported_and_nothing_is_left_of_it);
    RUN(two_servers_share_a_port_with_reuseport);
    RUN(listeners_are_numbered_in_order_and_told_apart);
    RUN(a_unix_path_is_unlinked_at_the_end_and_has_its_mode);
    RUN(a_stale_path_is_replaced_and_a_live_one_or_a_file_is_not);
    RUN(wrong_unix_paths_are_refused);
    RUN(an_adopted_socket_serves_and_is_closed_only_if_given_away);
    RUN(at_the_cap_accepting_stops_and_below_it_goes_on);
    RUN(without_descriptors_accepting_rests_and_goes_on);
    RUN(a_listener_that_epoll_refuses_rests_and_goes_on);
    RUN(a_bout_in_which_accepting_fails_is_told_once_and_so_is_its_end);
    RUN(the_server_may_be_drained_when_it_is_told);
    RUN(freeing_ends_open_exchanges_and_leaks_no_descriptor);
    RUN(no_descriptor_is_inherited_by_a_child);
    return check_end();
}
