/* The host's watches: mh_loop_watch and mh_loop_unwatch. */
#include <errno.h>
#include <fcntl.h>

#include "child.h"
#include "failing.h"
#include "watching.h"

static void on_io(mh_loop *loop, int fd, uint32_t events, void *user) {
    (void)loop;
    (void)fd;
    (void)events;
    note("%s", (const char *)user);
}

static void on_watch(mh_loop *loop, int fd, unsigned events, void *user) {
    (void)loop;
    (void)fd;
    note("%s%s%s%s", (const char *)user, events & MH_READ ? "+read" : "",
         events & MH_WRITE ? "+write" : "", events & MH_ERROR ? "+error" : "");
}

static void a_hosts_watch_reads_writes_and_sees_errors(void) {
    mh_loop *loop = new_loop(64, 16);
    pair p = new_pair();
    CHECK_INT(mh_loop_watch(loop, p.near, MH_READ, on_watch, "a"), MH_OK);
    CHECK_INT(epoll_has(loop, p.near), EPOLLIN); /* at once */
    step(loop);
    CHECK_JOURNAL("");
    say(p.far);
    step(loop);
    CHECK_JOURNAL("a+read");
    CHECK_INT(mh_loop_watch(loop, p.near, MH_READ | MH_WRITE, on_watch, "b"), MH_OK);
    step(loop);
    CHECK_JOURNAL("b+read+write");
    CHECK_INT(mh_loop_watch(loop, p.near, 0, on_watch, "c"), MH_OK);
    step(loop);
    CHECK_JOURNAL("");
    close(p.far);
    step(loop);
    CHECK_JOURNAL("c+error");
    CHECK_INT(mh_loop_unwatch(loop, p.near), MH_OK);
    CHECK_INT(mh_loop_unwatch(loop, p.near), MH_ENOENT);
    step(loop);
    CHECK_JOURNAL("");
    CHECK_INT(fcntl(p.near, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC); /* still open: the host's */
    close(p.near);
    mh_loop_free(loop);
}

static pair both[2];

static void unwatch_other(mh_loop *loop, int fd, unsigned events, void *user) {
    (void)events;
    (void)user;
    note("first");
    CHECK_INT(mh_loop_unwatch(loop, fd == both[0].near ? both[1].near : both[0].near), MH_OK);
}

static void an_unwatched_fd_is_not_called_for_events_already_taken(void) {
    mh_loop *loop = new_loop(64, 16);
    for (int i = 0; i < 2; i++) {
        both[i] = new_pair();
        CHECK_INT(mh_loop_watch(loop, both[i].near, MH_READ, unwatch_other, NULL), MH_OK);
        say(both[i].far);
    }
    step(loop);
    CHECK_JOURNAL("first");
    mh_loop_free(loop); /* with the other one still watched */
    close_pair(both[0]);
    close_pair(both[1]);
}

static void a_watch_that_epoll_refuses_is_an_error_with_errno(void) {
    failing f;
    mh_loop_config cfg;
    failing_config(&f, &cfg);
    mh_loop *loop = NULL;
    REQUIRE(mh_loop_new(&loop, &cfg) == MH_OK);
    FILE *file = tmpfile();
    REQUIRE(file);
    CHECK_INT(mh_loop_watch(loop, fileno(file), MH_READ, on_watch, "f"), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), EPERM);
    CHECK_INT(mh_loop_unwatch(loop, fileno(file)), MH_ENOENT);
    size_t bytes = f.bytes;
    CHECK_INT(mh_loop_watch(loop, 2000000000, MH_READ, on_watch, "f"), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), EBADF);
    CHECK_INT(f.bytes, bytes); /* no table for a number that is no descriptor */
    fclose(file);
    mh_loop_free(loop);
}

static void fail_to_change(mh_loop *loop) {
    loop = new_loop(64, 16);
    pair p = new_pair();
    CHECK_INT(mh_loop_watch(loop, p.near, MH_READ, on_watch, "old"), MH_OK);
    if (!deny(SYS_epoll_ctl, ENOMEM)) return;
    CHECK_INT(mh_loop_watch(loop, p.near, MH_WRITE, on_watch, "new"), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), ENOMEM);
    say(p.far);
    step(loop);
    CHECK_JOURNAL("old+read");
    mh_loop_free(loop);
}

static void a_watch_that_can_not_be_changed_stays_as_it_was(void) {
    CHECK(in_child(NULL, fail_to_change));
}

static void wrong_arguments_and_fds_of_others_are_refused(void) {
    mh_loop *loop = new_loop(64, 16);
    pair p = new_pair();
    CHECK_INT(mh_loop_watch(loop, -1, MH_READ, on_watch, NULL), MH_EINVAL);
    CHECK_INT(mh_loop_watch(loop, p.near, 8, on_watch, NULL), MH_EINVAL);
    CHECK_INT(mh_loop_watch(loop, p.near, MH_READ, NULL, NULL), MH_EINVAL);
    CHECK_INT(mh_loop_unwatch(loop, -1), MH_ENOENT);
    CHECK_INT(mh_loop_unwatch(loop, 1 << 20), MH_ENOENT);
    CHECK_INT(mh_loop_watch(loop, loop->wakefd, MH_READ, on_watch, NULL), MH_ESTATE);
    CHECK_INT(mh_loop_unwatch(loop, loop->wakefd), MH_ENOENT);
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN, on_io, "a"), MH_OK);
    CHECK_INT(mh__loop_add(loop, p.near, EPOLLIN, on_io, "a"), MH_ESTATE);
    CHECK_INT(mh_loop_watch(loop, p.near, MH_READ, on_watch, "a"), MH_ESTATE);
    CHECK_INT(mh_loop_watch(loop, p.far, MH_READ, on_watch, "b"), MH_OK);
    CHECK_INT(mh__loop_add(loop, p.far, EPOLLIN, on_io, "b"), MH_ESTATE);
    mh__loop_del(loop, p.far); /* not the library's to end */
    say(p.near);
    step(loop);
    CHECK_JOURNAL("b+read");
    CHECK_INT(mh_loop_unwatch(loop, p.far), MH_OK);
    mh__loop_del(loop, p.near);
    close_pair(p);
    mh_loop_free(loop);
}

int main(void) {
    RUN(a_hosts_watch_reads_writes_and_sees_errors);
    RUN(an_unwatched_fd_is_not_called_for_events_already_taken);
    RUN(a_watch_that_epoll_refuses_is_an_error_with_errno);
    RUN(a_watch_that_can_not_be_changed_stays_as_it_was);
    RUN(wrong_arguments_and_fds_of_others_are_refused);
    return check_end();
}
