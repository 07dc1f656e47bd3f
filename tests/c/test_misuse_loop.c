/* Wrong calls on a loop and on a server: bad arguments, calls at a wrong time, calls in a child of
 * the process. Each returns its error and changes nothing. What callbacks may not call is
 * test_misuse_callbacks.c's. */
#include "refused.h"

#include <sys/mman.h>

#include "child.h"
#include "journal.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

/* ---- listeners ------------------------------------------------------------------------------- */

static void on_watch(mh_loop *loop, int fd, unsigned events, void *user) {
    (void)loop;
    (void)fd;
    note("%s%s", (const char *)user, events & MH_READ ? "+read" : "");
}

/* It stays the host's, also with own, and as it was. */
#define FD_REFUSED(c, fd, want)                                   \
    do {                                                          \
        int flags_ = fcntl(fd, F_GETFL);                          \
        REFUSED(c, mh_server_listen_fd((c)->f.srv, fd, 1), want); \
        CHECK_INT(fcntl(fd, F_GETFL), flags_);                    \
    } while (0)

static void a_wrong_listener_is_refused_and_its_descriptor_stays_as_it_was(void) {
    counted c;
    int fds[2];
    open_counted(&c);
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), watched = listening_fd(NULL);
    FD_REFUSED(&c, -1, MH_EINVAL);
    FD_REFUSED(&c, fds[0], MH_EINVAL);
    FD_REFUSED(&c, udp, MH_EINVAL);
    FD_REFUSED(&c, tcp, MH_EINVAL);
    CHECK_INT(mh_loop_watch(c.f.loop, watched, MH_READ, on_watch, "mine"), MH_OK);
    FD_REFUSED(&c, watched, MH_ESTATE);
    CHECK_INT(mh_loop_unwatch(c.f.loop, watched), MH_OK); /* it was not taken away */
    failing_at(&c.mem, 1);
    FD_REFUSED(&c, watched, MH_ENOMEM);
    CHECK_INT(mh_server_listen_fd(c.f.srv, watched, 1), MH_OK);
    FD_REFUSED(&c, watched, MH_ESTATE);                                          /* twice */
    REFUSED(&c, mh_server_listen_tcp(c.f.srv, "127.0.0.1", 0, 0, 2), MH_EINVAL); /* no such flag */
    CHECK(mh_server_port(c.f.srv, 2) > 0);
    CHECK_INT(mh_server_port(c.f.srv, 3), MH_EINVAL);
    CHECK_INT(mh_server_port(c.f.srv, UINT32_MAX), MH_EINVAL);
    close(fds[0]);
    close(fds[1]);
    close(udp);
    close(tcp);
    close_counted(&c);
}

/* ---- access logs ----------------------------------------------------------------------------- */

static void a_wrong_log_is_refused_and_an_older_one_stays(void) {
    counted c;
    char got[16];
    int pipe_fds[2], udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int old = memfd_create("old", MFD_CLOEXEC);
    open_counted(&c);
    mh_server *srv = c.f.srv;
    REQUIRE(pipe2(pipe_fds, O_CLOEXEC) == 0);
    const struct {
        int fd, format;
    } rows[] = {{-2, MH_ACCESS_LINES},
                {2000000000, MH_ACCESS_JSON}, /* not open */
                {pipe_fds[0], MH_ACCESS_JSON},
                {udp, MH_ACCESS_COMBINED},
                {pipe_fds[1], -1},
                {pipe_fds[1], MH_ACCESS_LINES + 1},
                {-1, -1}};
    failing_at(&c.mem, 1);
    REFUSED(&c, mh_server_access_log(srv, old, MH_ACCESS_LINES), MH_ENOMEM);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            REFUSED(&c, mh_server_access_log(srv, rows[i].fd, rows[i].format), MH_EINVAL);
        CHECK_INT(mh_server_log_line(srv, "a line", 6), round == 0 ? MH_ESTATE : MH_OK);
        if (round == 0) CHECK_INT(mh_server_access_log(srv, old, MH_ACCESS_LINES), MH_OK);
    }
    close_counted(&c);
    CHECK_MEM(got, pread(old, got, sizeof got, 0), "a line\n");
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    close(udp);
    close(old);
}

static void a_wrong_line_is_refused_and_is_not_in_the_log(void) {
    static char longest[32768], got[2 * sizeof longest];
    counted c;
    int log = memfd_create("log", MFD_CLOEXEC);
    open_counted(&c);
    mh_server *srv = c.f.srv;
    memset(longest, 'x', sizeof longest);
    REFUSED(&c, mh_server_log_line(srv, "no log", 6), MH_ESTATE);
    CHECK_INT(mh_server_access_log(srv, log, MH_ACCESS_LINES), MH_OK);
    REFUSED(&c, mh_server_log_line(srv, "a\nb", 3), MH_EINVAL);
    REFUSED(&c, mh_server_log_line(srv, "\n", 1), MH_EINVAL);
    REFUSED(&c, mh_server_log_line(srv, longest, sizeof longest), MH_EINVAL);
    CHECK_INT(mh_server_log_line(srv, longest, sizeof longest - 1), MH_OK);
    CHECK_INT(mh_server_log_line(srv, "", 0), MH_OK);
    CHECK_INT(mh_server_access_log(srv, -1, MH_ACCESS_LINES), MH_OK);
    REFUSED(&c, mh_server_log_line(srv, "no log", 6), MH_ESTATE);
    close_counted(&c);
    CHECK_INT(pread(log, got, sizeof got, 0), sizeof longest + 1);
    CHECK_MEM(got + sizeof longest - 2, 3, "x\n\n");
    close(log);
}

/* ---- draining -------------------------------------------------------------------------------- */

static void on_drained(mh_server *srv, void *user) {
    (void)srv;
    ++*(int *)user;
}

static void check_drains(counted *c) {
    char path[80];
    int fd = listening_fd(NULL), again = 0;
    mh_server *srv = c->f.srv;
    snprintf(path, sizeof path, "%s-2", c->f.path);
    REFUSED(c, mh_server_drain(srv, 0, on_drained, &again), MH_ESTATE);
    REFUSED(c, mh_server_drain(srv, 1, on_drained, &again), MH_ESTATE);
    REFUSED(c, mh_server_listen_tcp(srv, "127.0.0.1", 0, 0, 0), MH_ESTATE);
    REFUSED(c, mh_server_listen_unix(srv, path, 0600, 0), MH_ESTATE);
    CHECK_INT(access(path, F_OK), -1);
    FD_REFUSED(c, fd, MH_ESTATE);
    CHECK_INT(mh_server_port(srv, 0), MH_EINVAL);
    settle(&c->f);
    CHECK_INT(again, 0);
    CHECK_INT(close(fd), 0);
}

static void a_server_that_drains_takes_no_listener_and_no_second_drain(void) {
    counted c;
    peer p;
    int drained = 0;
    open_counted(&c);
    peer_unix(&p, &c.f);
    peer_send(&c.f, &p, GET);
    UNTIL(&c.f, c.f.req);
    failing_at(&c.mem, 1);
    REFUSED(&c, mh_server_drain(c.f.srv, 1000, on_drained, &drained), MH_ENOMEM);
    CHECK(mh_server_port(c.f.srv, 0) > 0); /* it listens still */
    CHECK_INT(mh_server_drain(c.f.srv, 0, on_drained, &drained), MH_OK);
    check_drains(&c);
    CHECK_INT(drained, 0);
    CHECK_INT(say(c.f.req, "last"), MH_OK);
    CHECK_ANSWER(&c.f, &p, 200, "last");
    peer_close(&p);
    UNTIL(&c.f, drained == 1);
    check_drains(&c); /* nor one that has drained */
    CHECK_INT(drained, 1);
    close_counted(&c);
}

/* ---- watches, timers, posts ------------------------------------------------------------------ */

static void a_wrong_watch_is_refused_and_an_older_one_stays(void) {
    counted c;
    int fds[2], own = listening_fd(NULL);
    open_counted(&c);
    mh_loop *loop = c.f.loop;
    int epoll = mh_loop_fd(loop);
    FILE *file = tmpfile();
    REQUIRE(file && pipe2(fds, O_CLOEXEC) == 0);
    CHECK_INT(mh_server_listen_fd(c.f.srv, own, 1), MH_OK);
    CHECK_INT(mh_loop_watch(loop, fds[0], MH_READ, on_watch, "old"), MH_OK);
    REFUSED(&c, mh_loop_watch(loop, -1, MH_READ, on_watch, "new"), MH_EINVAL);
    REFUSED(&c, mh_loop_watch(loop, fds[0], 8, on_watch, "new"), MH_EINVAL);
    REFUSED(&c, mh_loop_watch(loop, fds[0], MH_WRITE, NULL, "new"), MH_EINVAL);
    REFUSED(&c, mh_loop_watch(loop, own, MH_READ, on_watch, "new"), MH_ESTATE);
    REFUSED(&c, mh_loop_watch(loop, 2000000000, MH_READ, on_watch, "new"), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), EBADF);
    REFUSED(&c, mh_loop_watch(loop, fileno(file), MH_READ, on_watch, "new"), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), EPERM);
    REFUSED(&c, mh_loop_watch(loop, epoll, MH_READ, on_watch, "new"), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), EINVAL); /* epoll can't watch itself */
    REFUSED(&c, mh_loop_unwatch(loop, own), MH_ENOENT);
    REFUSED(&c, mh_loop_unwatch(loop, fileno(file)), MH_ENOENT);
    REFUSED(&c, mh_loop_unwatch(loop, -1), MH_ENOENT);
    REFUSED(&c, mh_loop_unwatch(loop, 1 << 30), MH_ENOENT);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK(mh_loop_step(loop, -1) >= 0);
    CHECK_JOURNAL("old+read");
    CHECK_INT(mh_loop_unwatch(loop, fds[0]), MH_OK);
    REFUSED(&c, mh_loop_unwatch(loop, fds[0]), MH_ENOENT);
    fclose(file);
    close(fds[0]);
    close(fds[1]);
    close_counted(&c);
}

/* The host must end a watch before it closes the descriptor. If it doesn't, the next connection of
 * that number is closed, and that is all. */
static void a_watch_of_a_closed_descriptor_harms_one_connection(void) {
    counted c;
    peer p;
    int fds[2];
    open_counted(&c);
    c.f.on_request = say_hello;
    peer_unix(&p, &c.f);
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    CHECK_INT(mh_loop_watch(c.f.loop, fds[0], MH_READ, on_watch, "closed"), MH_OK);
    close(fds[0]); /* accept takes the lowest number */
    UNTIL(&c.f, peer_over(&p));
    peer_close(&p);
    CHECK_INT(mh_server_connections(c.f.srv), 0);
    CHECK_INT(mh_loop_unwatch(c.f.loop, fds[0]), MH_OK);
    peer_unix(&p, &c.f);
    peer_send(&c.f, &p, GET);
    CHECK_ANSWER(&c.f, &p, 200, "hello");
    peer_close(&p);
    CHECK_JOURNAL("");
    close(fds[1]);
    close_counted(&c);
}

static void on_word(mh_loop *loop, void *user) {
    (void)loop;
    note("%s", (const char *)user);
}

static void wrong_timers_posts_and_ids_are_refused_and_the_others_run(void) {
    counted c;
    uint64_t ran, kept, cancelled, untouched = 7;
    open_counted(&c);
    mh_loop *loop = c.f.loop;
    CHECK_INT(mh_loop_timer(loop, 0, on_word, "ran", &ran), MH_OK);
    CHECK_INT(mh_loop_timer(loop, 1000000, on_word, "cancelled", &cancelled), MH_OK);
    CHECK(mh_loop_step(loop, 0) >= 0);
    CHECK_JOURNAL("ran");
    CHECK_INT(mh_loop_cancel(loop, cancelled), MH_OK);
    CHECK_INT(mh_loop_timer(loop, 0, on_word, "kept", &kept), MH_OK); /* in an old one's place */
    REFUSED(&c, mh_loop_timer(loop, 0, NULL, "no", &untouched), MH_EINVAL);
    REFUSED(&c, mh_loop_timer(loop, UINT64_MAX, on_word, "no", &untouched), MH_EINVAL);
    CHECK_INT(untouched, 7);
    REFUSED(&c, mh_loop_cancel(loop, ran), MH_ENOENT);
    REFUSED(&c, mh_loop_cancel(loop, cancelled), MH_ENOENT);
    REFUSED(&c, mh_loop_cancel(loop, 0), MH_ENOENT);
    REFUSED(&c, mh_loop_cancel(loop, UINT64_MAX), MH_ENOENT);
    REFUSED(&c, mh_loop_post(loop, NULL, "no"), MH_EINVAL);
    CHECK(mh_loop_step(loop, 0) >= 0);
    CHECK_JOURNAL("kept");
    REFUSED(&c, mh_loop_cancel(loop, kept), MH_ENOENT);
    close_counted(&c);
}

/* ---- another process ------------------------------------------------------------------------- */

static counted parent;

static void refused_and_freed(mh_loop *loop) {
    counted *c = &parent;
    REFUSED(c, mh_loop_step(loop, 0), MH_EFORK);
    REFUSED(c, mh_loop_run(loop), MH_EFORK);
    REFUSED(c, mh_loop_flush(loop), MH_EFORK);
    REFUSED(c, mh_loop_flush_due(loop), MH_EFORK);
    REFUSED(c, mh_loop_fd(loop), MH_EFORK);
    REFUSED(c, mh_loop_watch(loop, 0, MH_READ, on_watch, "no"), MH_EFORK);
    REFUSED(c, mh_loop_post(loop, on_word, "no"), MH_EFORK);
    REFUSED(c, mh_loop_wakeup(loop), MH_EFORK);
    CHECK_INT(c->f.finished, 0);
    CHECK_INT(mh_server_free(c->f.srv), MH_OK);
    CHECK_INT(c->f.whys[MH_FINISH_ABORTED], 1);
    close_counted(c);
}

/* With an exchange open, half its answer queued. */
static void a_child_is_refused_and_its_freeing_leaves_the_parents_exchange(void) {
    counted *c = &parent;
    peer p;
    open_counted(c);
    peer_unix(&p, &c->f);
    peer_send(&c->f, &p, GET);
    UNTIL(&c->f, c->f.req);
    CHECK_INT(mh_res_head(c->f.req, 200, text("OK"), NULL, 0, 5), MH_OK);
    CHECK_INT(mh_res_write(c->f.req, "he", 2), MH_OK);
    CHECK(in_child(c->f.loop, refused_and_freed));
    CHECK_INT(mh_res_write(c->f.req, "llo", 3), MH_OK);
    CHECK_INT(mh_res_end(c->f.req), MH_OK);
    CHECK_ANSWER(&c->f, &p, 200, "hello");
    peer_close(&p);
    peer_unix(&p, &c->f); /* the path is there still */
    c->f.on_request = say_hello;
    peer_send(&c->f, &p, GET);
    CHECK_ANSWER(&c->f, &p, 200, "hello");
    peer_close(&p);
    close_counted(c);
}

int main(void) {
    RUN(a_wrong_listener_is_refused_and_its_descriptor_stays_as_it_was);
    RUN(a_wrong_log_is_refused_and_an_older_one_stays);
    RUN(a_wrong_line_is_refused_and_is_not_in_the_log);
    RUN(a_server_that_drains_takes_no_listener_and_no_second_drain);
    RUN(a_wrong_watch_is_refused_and_an_older_one_stays);
    RUN(a_watch_of_a_closed_descriptor_harms_one_connection);
    RUN(wrong_timers_posts_and_ids_are_refused_and_the_others_run);
    RUN(a_child_is_refused_and_its_freeing_leaves_the_parents_exchange);
    return check_end();
}
