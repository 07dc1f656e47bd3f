/* The library's watches: what callbacks get, what epoll is told and when, and the table. */
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "child.h"
#include "failing.h"
#include "watching.h"

static void on_io(mh_loop *loop, int fd, uint32_t events, void *user) {
    (void)loop;
    (void)fd;
    note("%s%s%s%s%s%s", (const char *)user, events & EPOLLIN ? "+in" : "",
         events & EPOLLOUT ? "+out" : "", events & EPOLLRDHUP ? "+rdhup" : "",
         events & EPOLLHUP ? "+hup" : "", events & EPOLLERR ? "+err" : "");
}

/* ---- events ---------------------------------------------------------------------------------- */

static void a_watched_fd_gets_the_events_it_asked_for(void) {
    mh_loop *loop = new_loop(64, 16);
    pair p = new_pair();
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN | EPOLLRDHUP, on_io, "a"), MH_OK);
    step(loop);
    CHECK_JOURNAL("");
    say(p.far);
    step(loop);
    step(loop);
    CHECK_JOURNAL("a+in a+in"); /* level-triggered */
    mh__loop_set(loop, p.near, EPOLLOUT);
    step(loop);
    CHECK_JOURNAL("a+out");
    mh__loop_set(loop, p.near, 0);
    step(loop);
    CHECK_JOURNAL("");
    mh__loop_del(loop, p.near);
    close_pair(p);
    mh_loop_free(loop);
}

static void half_close_and_close_are_told_apart(void) {
    mh_loop *loop = new_loop(64, 16);
    pair p = new_pair();
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLRDHUP, on_io, "a"), MH_OK);
    shutdown(p.far, SHUT_WR);
    step(loop);
    CHECK_JOURNAL("a+rdhup");
    mh__loop_set(loop, p.near, 0);
    step(loop);
    CHECK_JOURNAL("");
    close(p.far);
    step(loop);
    CHECK_JOURNAL("a+hup"); /* can't be masked */
    mh__loop_del(loop, p.near);
    close(p.near);
    mh_loop_free(loop);
}

static void an_error_is_delivered_whatever_was_asked_for(void) {
    mh_loop *loop = new_loop(64, 16);
    int fd[2];
    REQUIRE(pipe(fd) == 0);
    CHECK_INT(mh__loop_add(loop, fd[1], 0, on_io, "w"), MH_OK);
    close(fd[0]);
    step(loop);
    CHECK_JOURNAL("w+err");
    mh__loop_del(loop, fd[1]);
    close(fd[1]);
    mh_loop_free(loop);
}

static void more_ready_fds_than_a_step_takes_are_served_in_the_next(void) {
    mh_loop *loop = new_loop(64, 1);
    pair p[3];
    static char name[3][2] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        p[i] = new_pair();
        CHECK_INT(mh__loop_add(loop, p[i].near, EPOLLIN, on_io, name[i]), MH_OK);
        say(p[i].far);
    }
    for (int i = 0; i < 3; i++)
        step(loop);
    CHECK_INT(journal_n, strlen("a+in b+in c+in"));
    for (int i = 0; i < 3; i++)
        CHECK(strstr(journal, name[i]));
    for (int i = 0; i < 3; i++) {
        mh__loop_del(loop, p[i].near);
        close_pair(p[i]);
    }
    mh_loop_free(loop);
}

/* ---- within one batch ------------------------------------------------------------------------ */

/* Two watches that are ready together; whichever is called first acts on the other one. */
static pair both[2];

static int other_of(int fd) { return fd == both[0].near ? both[1].near : both[0].near; }

static mh_loop *two_ready(mh__io_cb cb) {
    mh_loop *loop = new_loop(64, 16);
    for (int i = 0; i < 2; i++) {
        both[i] = new_pair();
        CHECK_INT(mh__loop_add(loop, both[i].near, EPOLLIN, cb, NULL), MH_OK);
        say(both[i].far);
    }
    return loop;
}

static void end_two(mh_loop *loop) {
    for (int i = 0; i < 2; i++) {
        mh__loop_del(loop, both[i].near);
        close_pair(both[i]);
    }
    mh_loop_free(loop);
}

static void disarm_other(mh_loop *loop, int fd, uint32_t events, void *user) {
    (void)events;
    (void)user;
    note("first");
    mh__loop_set(loop, other_of(fd), 0);
}

static void an_event_disarmed_in_the_same_batch_is_not_delivered(void) {
    mh_loop *loop = two_ready(disarm_other);
    step(loop);
    CHECK_JOURNAL("first");
    end_two(loop);
}

static void del_other(mh_loop *loop, int fd, uint32_t events, void *user) {
    (void)events;
    (void)user;
    note("first");
    mh__loop_del(loop, other_of(fd));
}

static void an_event_of_a_watch_ended_in_the_same_batch_is_not_delivered(void) {
    mh_loop *loop = two_ready(del_other);
    step(loop);
    CHECK_JOURNAL("first");
    end_two(loop);
}

static pair fresh;

static void reuse_other(mh_loop *loop, int fd, uint32_t events, void *user) {
    (void)events;
    (void)user;
    int other = other_of(fd);
    note("first");
    mh__loop_del(loop, other);
    close(other);
    fresh = new_pair(); /* takes the lowest number, which is other's */
    if (fresh.near != other) abort();
    CHECK_INT(mh__loop_add(loop, other, EPOLLIN, on_io, "fresh"), MH_OK);
}

static void a_stale_event_does_not_reach_a_reused_fd(void) {
    mh_loop *loop = two_ready(reuse_other);
    int unused = dup(0); /* the numbers below both[] are all taken */
    step(loop);
    CHECK_JOURNAL("first");
    mh__loop_set(loop, other_of(fresh.near), 0);
    step(loop);
    CHECK_JOURNAL("");
    say(fresh.far);
    step(loop);
    CHECK_JOURNAL("fresh+in");
    close(fresh.far);
    close(unused);
    end_two(loop);
}

/* ---- what epoll is told ---------------------------------------------------------------------- */

static void epoll_is_told_just_before_the_wait_and_of_an_end_at_once(void) {
    mh_loop *loop = new_loop(64, 16);
    pair p = new_pair();
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN, on_io, "a"), MH_OK);
    CHECK_INT(epoll_has(loop, p.near), -1);
    step(loop);
    CHECK_INT(epoll_has(loop, p.near), EPOLLIN);
    mh__loop_set(loop, p.near, EPOLLOUT | EPOLLRDHUP);
    CHECK_INT(epoll_has(loop, p.near), EPOLLIN);
    step(loop);
    CHECK_INT(epoll_has(loop, p.near), EPOLLOUT | EPOLLRDHUP);
    mh__loop_del(loop, p.near);
    CHECK_INT(epoll_has(loop, p.near), -1);
    mh__loop_del(loop, p.near); /* nothing */
    mh__loop_del(loop, 1 << 20);
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN, on_io, "a"), MH_OK);
    mh__loop_del(loop, p.near); /* came and went: epoll never heard of it */
    for (int i = 0; i < 1000; i++) {
        CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN, on_io, "a"), MH_OK);
        mh__loop_del(loop, p.near);
    }
    CHECK_INT(loop->watches.n_changes, 1); /* so the list can't outgrow the table */
    step(loop);
    CHECK_INT(epoll_has(loop, p.near), -1);
    close_pair(p);
    mh_loop_free(loop);
}

static void change_and_change_back(mh_loop *loop) {
    loop = new_loop(64, 16);
    pair p = new_pair();
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN, on_io, "a"), MH_OK);
    CHECK_INT(mh_loop_watch(loop, p.far, MH_READ, on_io, "b"), MH_OK);
    step(loop);
    if (!deny(SYS_epoll_ctl, EINVAL)) return;
    mh__loop_set(loop, p.near, EPOLLOUT);
    mh__loop_set(loop, p.near, EPOLLIN);
    CHECK_INT(mh_loop_watch(loop, p.far, MH_READ, on_io, "c"), MH_OK);
    step(loop);
    CHECK_JOURNAL(""); /* no error */
    mh_loop_free(loop);
}

static void a_change_taken_back_costs_no_epoll_ctl(void) {
    CHECK(in_child(NULL, change_and_change_back));
}

static void a_watch_ended_while_the_description_lives_on_is_gone_from_epoll(void) {
    mh_loop *loop = new_loop(64, 16);
    pair p = new_pair();
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN, on_io, "a"), MH_OK);
    step(loop);
    int copy = dup(p.near); /* as a child of a fork holds it */
    mh__loop_del(loop, p.near);
    close(p.near);
    say(p.far);
    step(loop);
    CHECK_JOURNAL("");
    CHECK_INT(epoll_has(loop, p.near), -1);
    close(copy);
    close(p.far);
    mh_loop_free(loop);
}

static int listener(struct sockaddr_in *addr) {
    socklen_t n = sizeof *addr;
    *addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)addr, sizeof *addr) < 0 || listen(fd, 5) < 0 ||
        getsockname(fd, (struct sockaddr *)addr, &n) < 0)
        abort();
    return fd;
}

static void an_exclusive_fd_is_paused_and_resumed_without_mod(void) {
    mh_loop *loop = new_loop(64, 16);
    struct sockaddr_in addr;
    int fd = listener(&addr), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(mh__loop_add(loop, fd, EPOLLIN | EPOLLEXCLUSIVE, on_io, "l"), MH_OK);
    step(loop);
    CHECK(epoll_has(loop, fd) & EPOLLIN);
    mh__loop_set(loop, fd, 0);
    step(loop);
    CHECK_INT(epoll_has(loop, fd), -1);
    REQUIRE(connect(client, (struct sockaddr *)&addr, sizeof addr) == 0);
    step(loop);
    CHECK_JOURNAL("");
    mh__loop_set(loop, fd, EPOLLIN);
    mh__loop_set(loop, fd, 0);
    mh__loop_set(loop, fd, EPOLLIN);
    step(loop);
    CHECK_JOURNAL("l+in");
    CHECK((unsigned long)epoll_has(loop, fd) & EPOLLEXCLUSIVE);
    mh__loop_set(loop, fd, EPOLLIN | EPOLLOUT); /* neither paused nor resumed: still no MOD */
    step(loop);
    CHECK_JOURNAL("l+in");
    CHECK(epoll_has(loop, fd) & EPOLLOUT);
    mh__loop_set(loop, fd, 0);
    step(loop);
    mh__loop_del(loop, fd);
    CHECK_JOURNAL("");
    close(client);
    close(fd);
    mh_loop_free(loop);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void end_on_error(mh_loop *loop, int fd, uint32_t events, void *user) {
    on_io(loop, fd, events, user);
    if (events & EPOLLERR) mh__loop_del(loop, fd);
}

static void a_refused_add_is_an_error_event_in_that_step(void) {
    mh_loop *loop = new_loop(64, 16);
    FILE *file = tmpfile(); /* regular files are EPERM */
    REQUIRE(file);
    pair p = new_pair();
    say(p.far);
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN, on_io, "a"), MH_OK);
    CHECK_INT(mh__loop_add(loop, fileno(file), EPOLLIN, end_on_error, "f"), MH_OK);
    CHECK_INT(mh_loop_step(loop, -1), 0); /* doesn't wait, and serves the others too */
    CHECK_JOURNAL("f+err a+in");
    step(loop);
    CHECK_JOURNAL("a+in");
    mh__loop_del(loop, p.near);
    close_pair(p);
    fclose(file);
    mh_loop_free(loop);
}

static void a_refused_fd_that_is_kept_is_tried_again_in_every_step(void) {
    mh_loop *loop = new_loop(64, 16);
    FILE *file = tmpfile();
    REQUIRE(file);
    pair p = new_pair();
    say(p.far);
    int fd = fileno(file);
    CHECK_INT(mh__loop_add(loop, fd, EPOLLIN, on_io, "f"), MH_OK);
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_JOURNAL("f+err f+err");
    CHECK_INT(dup2(p.near, fd), fd); /* the condition passes */
    step(loop);
    CHECK_JOURNAL("f+in");
    mh__loop_del(loop, fd);
    close_pair(p);
    fclose(file);
    mh_loop_free(loop);
}

static int second;

static void del_second(mh_loop *loop, int fd, uint32_t events, void *user) {
    end_on_error(loop, fd, events, user);
    mh__loop_del(loop, second);
    CHECK_INT(mh__loop_add(loop, second, 0, on_io, "again"), MH_OK);
}

static void a_refused_fd_whose_watch_ends_first_is_not_told(void) {
    mh_loop *loop = new_loop(64, 16);
    FILE *a = tmpfile(), *b = tmpfile();
    REQUIRE(a && b);
    second = fileno(b);
    CHECK_INT(mh__loop_add(loop, fileno(a), EPOLLIN, del_second, "a"), MH_OK);
    CHECK_INT(mh__loop_add(loop, second, EPOLLIN, on_io, "b"), MH_OK);
    step(loop);
    CHECK_JOURNAL("a+err");
    step(loop);
    CHECK_JOURNAL("again+err");
    mh__loop_del(loop, second);
    fclose(a);
    fclose(b);
    mh_loop_free(loop);
}

/* ---- the table ------------------------------------------------------------------------------- */

static void the_table_grows_to_any_fd(void) {
    mh_loop *loop = new_loop(1, 16);
    struct rlimit limit;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur <= 5000) {
        REQUIRE(limit.rlim_max > 5000);
        limit.rlim_cur = 5001;
        REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    }
    pair p = new_pair();
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN, on_io, "low"), MH_OK);
    CHECK_INT(dup2(p.near, 5000), 5000);
    CHECK_INT(mh__loop_add(loop, 5000, EPOLLIN, on_io, "high"), MH_OK);
    CHECK(loop->watches.n_slots > 5000);
    say(p.far);
    step(loop);
    CHECK_INT(journal_n, strlen("low+in high+in"));
    CHECK(strstr(journal, "low+in") && strstr(journal, "high+in"));
    mh__loop_del(loop, 5000);
    mh__loop_del(loop, p.near);
    close(5000);
    close_pair(p);
    mh_loop_free(loop);
}

static void grow(mh_loop *loop, int fd, uint32_t events, void *user) {
    on_io(loop, fd, events, user);
    CHECK_INT(dup2(fd, 700), 700);
    CHECK_INT(mh__loop_add(loop, 700, EPOLLIN, on_io, "grown"), MH_OK);
    mh__loop_set(loop, fd, 0);
}

static void the_table_may_grow_inside_a_callback(void) {
    mh_loop *loop = new_loop(1, 16);
    pair p = new_pair();
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN, grow, "a"), MH_OK);
    say(p.far);
    step(loop);
    step(loop);
    CHECK_JOURNAL("a+in grown+in");
    mh__loop_del(loop, 700);
    mh__loop_del(loop, p.near);
    close(700);
    close_pair(p);
    mh_loop_free(loop);
}

static void a_table_that_can_not_grow_leaves_all_as_it_was(void) {
    failing f;
    mh_loop_config cfg;
    failing_config(&f, &cfg);
    cfg.initial_fds = 16;
    mh_loop *loop = NULL;
    journal_clear();
    REQUIRE(mh_loop_new(&loop, &cfg) == MH_OK);
    pair p = new_pair();
    CHECK_INT(dup2(p.near, 100), 100);
    for (size_t k = 1; k <= 2; k++) { /* the slots, and the list of changes */
        failing_at(&f, k);
        CHECK_INT(mh__loop_add(loop, 100, EPOLLIN, on_io, "a"), MH_ENOMEM);
        failing_at(&f, k);
        CHECK_INT(mh_loop_watch(loop, 100, MH_READ, on_io, "a"), MH_ENOMEM);
        CHECK_INT(mh_loop_unwatch(loop, 100), MH_ENOENT);
    }
    CHECK_INT(f.failed, 4);
    CHECK_INT(mh__loop_add(loop, 100, EPOLLIN, on_io, "a"), MH_OK);
    say(p.far);
    step(loop);
    CHECK_JOURNAL("a+in");
    mh__loop_del(loop, 100);
    close(100);
    close_pair(p);
    mh_loop_free(loop);
    CHECK_INT(f.blocks, 0);
}

int main(void) {
    RUN(a_watched_fd_gets_the_events_it_asked_for);
    RUN(half_close_and_close_are_told_apart);
    RUN(an_error_is_delivered_whatever_was_asked_for);
    RUN(more_ready_fds_than_a_step_takes_are_served_in_the_next);
    RUN(an_event_disarmed_in_the_same_batch_is_not_delivered);
    RUN(an_event_of_a_watch_ended_in_the_same_batch_is_not_delivered);
    RUN(a_stale_event_does_not_reach_a_reused_fd);
    RUN(epoll_is_told_just_before_the_wait_and_of_an_end_at_once);
    RUN(a_change_taken_back_costs_no_epoll_ctl);
    RUN(a_watch_ended_while_the_description_lives_on_is_gone_from_epoll);
    RUN(an_exclusive_fd_is_paused_and_resumed_without_mod);
    RUN(a_refused_add_is_an_error_event_in_that_step);
    RUN(a_refused_fd_that_is_kept_is_tried_again_in_every_step);
    RUN(a_refused_fd_whose_watch_ends_first_is_not_told);
    RUN(the_table_grows_to_any_fd);
    RUN(the_table_may_grow_inside_a_callback);
    RUN(a_table_that_can_not_grow_leaves_all_as_it_was);
    return check_end();
}
