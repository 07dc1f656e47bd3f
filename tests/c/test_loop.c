/* Steps: the order of their phases, tasks, the flush rule, run and stop, signals, fork, making and
 * freeing. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "check.h"
#include "child.h"
#include "clock.h"
#include "failing.h"
#include "fds.h"
#include "journal.h"
#include "loop_state.h"

static mh_loop *new_loop(void) {
    mh_loop *loop = NULL;
    journal_clear();
    if (mh_loop_new(&loop, NULL) < 0) abort();
    return loop;
}

/* A task with a name; ms pass on the false clock while it runs. */
typedef struct job {
    mh__task task;
    const char *name;
    uint64_t us;
    bool answers; /* finishes an answer at its end */
    struct job *other;
} job;

static void on_job(mh_loop *loop, mh__task *task) {
    const job *j = (job *)task;
    note("%s", j->name);
    clock_pass_us(j->us);
    if (j->answers) mh__loop_answered(loop);
}

static void again_run(mh_loop *loop, mh__task *task) {
    on_job(loop, task);
    mh__loop_run_task(loop, task);
}

static void again_flush(mh_loop *loop, mh__task *task) {
    on_job(loop, task);
    mh__loop_flush_task(loop, task);
}

static void cancel_other(mh_loop *loop, mh__task *task) {
    on_job(loop, task);
    mh__task_cancel(&((job *)task)->other->task);
}

static void flush_other(mh_loop *loop, mh__task *task) {
    on_job(loop, task);
    mh__loop_flush_task(loop, &((job *)task)->other->task);
}

static void on_io(mh_loop *loop, int fd, uint32_t events, void *user) {
    (void)events;
    note("io");
    mh__loop_set(loop, fd, 0);
    if (user) mh__loop_run_task(loop, user);
}

static void on_alarm(mh_loop *loop, void *user) {
    (void)loop;
    note("%s", (const char *)user);
}

/* ---- phases and tasks ------------------------------------------------------------------------ */

static void a_step_goes_through_its_phases_in_order(void) {
    mh_loop *loop = new_loop();
    int fd[2];
    REQUIRE(pipe(fd) == 0);
    job before = {{.fn = on_job}, .name = "before"}, flush = {{.fn = on_job}, .name = "flush"};
    job run = {{.fn = flush_other}, .name = "run", .other = &flush};
    CHECK_INT(mh_loop_post(loop, on_alarm, "post"), MH_OK);
    CHECK_INT(mh_loop_timer(loop, 0, on_alarm, "timer", NULL), MH_OK);
    CHECK_INT(mh__loop_add(loop, fd[1], EPOLLOUT, on_io, &run.task), MH_OK);
    mh__loop_flush_task(loop, &before.task);
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_JOURNAL("before io timer post run flush");
    mh__loop_del(loop, fd[1]);
    close(fd[0]);
    close(fd[1]);
    mh_loop_free(loop);
}

static void tasks_run_in_order_once_and_not_if_cancelled(void) {
    mh_loop *loop = new_loop();
    job c = {{.fn = on_job}, .name = "c"}, d = {{.fn = on_job}, .name = "d"};
    job a = {{.fn = cancel_other}, .name = "a", .other = &c}, b = {{.fn = on_job}, .name = "b"};
    mh__task_cancel(&a.task); /* not queued: nothing */
    mh__loop_run_task(loop, &b.task);
    mh__loop_run_task(loop, &a.task);
    mh__loop_run_task(loop, &b.task);   /* queued: stays where it is */
    mh__loop_flush_task(loop, &b.task); /* in either queue */
    mh__loop_run_task(loop, &c.task);
    mh__loop_run_task(loop, &d.task);
    CHECK(mh__task_queued(&c.task));
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_JOURNAL("b a d");
    CHECK(!mh__task_queued(&a.task) && !mh__task_queued(&c.task));
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_JOURNAL("");
    mh_loop_free(loop);
}

static void a_task_that_queues_itself_runs_once_a_step_and_the_next_does_not_wait(void) {
    mh_loop *loop = new_loop();
    job run = {{.fn = again_run}, .name = "run"}, flush = {{.fn = again_flush}, .name = "flush"};
    mh__loop_run_task(loop, &run.task);
    CHECK_INT(mh_loop_step(loop, -1), 1);
    CHECK_INT(mh_loop_step(loop, -1), 1);
    CHECK_JOURNAL("run run");
    mh__task_cancel(&run.task);
    mh__loop_flush_task(loop, &flush.task);
    CHECK_INT(mh_loop_step(loop, -1), 1); /* before the wait and at the end */
    CHECK_JOURNAL("flush flush");
    mh__task_cancel(&flush.task);
    CHECK_INT(mh_loop_step(loop, 0), 0);
    mh_loop_free(loop);
}

static void flush_runs_what_was_written_outside_a_step(void) {
    mh_loop *loop = new_loop();
    job a = {{.fn = on_job}, .name = "a"}, b = {{.fn = flush_other}, .name = "b", .other = &a};
    mh__loop_flush_task(loop, &b.task);
    CHECK_INT(mh_loop_flush(loop), MH_OK);
    CHECK_JOURNAL("b"); /* what callbacks write is for the next one */
    CHECK_INT(mh_loop_flush(loop), MH_OK);
    CHECK_INT(mh_loop_flush(loop), MH_OK);
    CHECK_JOURNAL("a");
    mh_loop_free(loop);
}

static void on_time(mh_loop *loop, mh__task *task) {
    (void)task;
    note("%u", (unsigned)(mh_loop_now(loop) % 86400000));
}

static void what_is_flushed_first_sees_the_time_it_is(void) {
    clock_stop();
    mh_loop *loop = new_loop();
    mh__task flush = {.fn = on_time};
    mh__loop_flush_task(loop, &flush);
    clock_pass_ms(700); /* the host was elsewhere, and flushing arms timeouts */
    CHECK_INT(mh_loop_step(loop, 0), 0);
    mh__loop_flush_task(loop, &flush);
    clock_pass_ms(100);
    CHECK_INT(mh_loop_flush(loop), MH_OK);
    CHECK_JOURNAL("700 800");
    mh_loop_free(loop);
    clock_go();
}

/* ---- the flush rule -------------------------------------------------------------------------- */

/* Queues the n jobs and a FLUSH task, and steps. */
static void step_with(mh_loop *loop, job *jobs, size_t n, job *flush) {
    for (size_t i = 0; i < n; i++)
        mh__loop_run_task(loop, &jobs[i].task);
    jobs[0].task.fn = flush_other; /* so that it is queued in the step, not before it */
    jobs[0].other = flush;
    CHECK(mh_loop_step(loop, 0) >= 0);
}

static void an_answer_waits_for_no_more_than_one_long_callback(void) {
    clock_stop();
    mh_loop *loop = new_loop();
    job flush = {{.fn = on_job}, .name = "F"};
    job jobs[3] = {{{.fn = on_job}, .name = "1", .us = 5000, .answers = true},
                   {{.fn = on_job}, .name = "2", .us = 51},
                   {{.fn = on_job}, .name = "3"}};
    step_with(loop, jobs, 3, &flush);
    CHECK_JOURNAL("1 2 F 3");
    mh_loop_free(loop);
    clock_go();
}

static void short_callbacks_are_batched_until_the_oldest_answer_is_old(void) {
    clock_stop();
    mh_loop *loop = new_loop();
    job flush = {{.fn = on_job}, .name = "F"}, jobs[8];
    for (int i = 0; i < 8; i++)
        jobs[i] = (job){{.fn = on_job}, .name = "j", .us = 40, .answers = true};
    step_with(loop, jobs, 8, &flush);
    CHECK_JOURNAL("j j j j j j j F j"); /* 6 callbacks of 40 us after the first answer */
    mh_loop_free(loop);
    clock_go();
}

static void without_an_answer_nothing_is_flushed_early_and_no_clock_read(void) {
    clock_stop();
    mh_loop *loop = new_loop();
    job flush = {{.fn = on_job}, .name = "F"};
    job jobs[3] = {{{.fn = on_job}, .name = "1", .us = 5000},
                   {{.fn = on_job}, .name = "2", .us = 5000},
                   {{.fn = on_job}, .name = "3"}};
    clock_readings = 0;
    step_with(loop, jobs, 3, &flush);
    CHECK_JOURNAL("1 2 3 F");
    CHECK_INT(clock_readings, 1); /* after the wait */
    mh_loop_free(loop);
    clock_go();
}

static void flush_due_flushes_after_a_long_piece_or_an_old_answer(void) {
    clock_stop();
    mh_loop *loop = new_loop();
    job flush = {{.fn = on_job}, .name = "F"};
    CHECK_INT(mh_loop_flush_due(loop), MH_OK);
    mh__loop_flush_task(loop, &flush.task);
    clock_pass_us(50);
    CHECK_INT(mh_loop_flush_due(loop), MH_OK);
    CHECK_JOURNAL("");
    clock_pass_us(51);
    CHECK_INT(mh_loop_flush_due(loop), MH_OK);
    CHECK_JOURNAL("F");
    mh__loop_flush_task(loop, &flush.task);
    mh__loop_answered(loop);
    for (int i = 0; i < 4; i++) {
        clock_pass_us(50);
        CHECK_INT(mh_loop_flush_due(loop), MH_OK);
    }
    CHECK_JOURNAL("");
    clock_pass_us(1);
    flush.us = 500; /* the time that flushing takes is not the host's */
    CHECK_INT(mh_loop_flush_due(loop), MH_OK);
    CHECK_JOURNAL("F");
    mh__loop_flush_task(loop, &flush.task);
    clock_pass_us(51);
    CHECK_INT(mh_loop_flush_due(loop), MH_OK);
    CHECK_JOURNAL("F");
    mh__loop_flush_task(loop, &flush.task);
    clock_pass_us(50);
    CHECK_INT(mh_loop_flush_due(loop), MH_OK);
    CHECK_JOURNAL("");
    mh_loop_free(loop);
    clock_go();
}

/* ---- run, stop ------------------------------------------------------------------------------- */

static void on_stop(mh_loop *loop, void *user) {
    (void)user;
    note("stop");
    mh_loop_stop(loop);
}

static void run_returns_when_stopped_also_if_stopped_before(void) {
    mh_loop *loop = new_loop();
    mh_loop_stop(loop);
    CHECK_INT(mh_loop_run(loop), MH_OK);
    CHECK_INT(mh_loop_post(loop, on_stop, NULL), MH_OK);
    CHECK_INT(mh_loop_run(loop), MH_OK);
    CHECK_INT(mh_loop_timer(loop, 1, on_stop, NULL, NULL), MH_OK);
    CHECK_INT(mh_loop_run(loop), MH_OK);
    CHECK_JOURNAL("stop stop");
    mh_loop_free(loop);
}

static void an_idle_stretch_takes_one_step(void) {
    mh_loop *loop = new_loop();
    int fd[2];
    REQUIRE(pipe(fd) == 0);
    CHECK_INT(mh__loop_add(loop, fd[0], EPOLLIN, on_io, NULL), MH_OK);
    CHECK_INT(mh_loop_timer(loop, 1000, on_alarm, "timer", NULL), MH_OK);
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_JOURNAL("timer"); /* so it didn't return before */
    CHECK_INT(mh_loop_step(loop, 20), 0);
    CHECK_JOURNAL("");
    mh__loop_del(loop, fd[0]);
    close(fd[0]);
    close(fd[1]);
    mh_loop_free(loop);
}

static void the_wall_clock_is_read_once_a_step(void) {
    clock_stop();
    mh_loop *loop = new_loop();
    CHECK_INT(mh__loop_wall(loop), 1700000000);
    clock_wall_s = 1700000005;
    CHECK_INT(mh__loop_wall(loop), 1700000005); /* outside a step: the time it is */
    loop->in_step = true;
    CHECK_INT(mh__loop_wall(loop), 1700000005);
    clock_wall_s = 1700000006;
    CHECK_INT(mh__loop_wall(loop), 1700000005);
    loop->in_step = false;
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_INT(mh__loop_wall(loop), 1700000006);
    mh_loop_free(loop);
    clock_go();
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_signal(int sig) { (void)sig; }

static void a_signal_ends_the_wait_and_loses_nothing(void) {
    mh_loop *loop = new_loop();
    struct sigaction act = {.sa_handler = on_signal}, old;
    REQUIRE(sigaction(SIGALRM, &act, &old) == 0);
    /* Again and again, since one might come just before the wait. */
    struct itimerval every = {{0, 10000}, {0, 10000}}, off = {{0, 0}, {0, 0}};
    REQUIRE(setitimer(ITIMER_REAL, &every, NULL) == 0);
    CHECK_INT(mh_loop_step(loop, -1), MH_EINTR);
    CHECK_INT(mh_loop_run(loop), MH_EINTR);
    REQUIRE(setitimer(ITIMER_REAL, &off, NULL) == 0);
    REQUIRE(sigaction(SIGALRM, &old, NULL) == 0);
    alarm(60); /* check.h's, which shares that timer */
    job run = {{.fn = on_job}, .name = "run"};
    mh__loop_run_task(loop, &run.task);
    CHECK_INT(mh_loop_post(loop, on_alarm, "post"), MH_OK);
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_JOURNAL("post run");
    mh_loop_free(loop);
}

/* ---- fork ------------------------------------------------------------------------------------ */

static int watched;

static void everything_is_refused(mh_loop *loop) {
    CHECK(!mh__loop_mine(loop));
    CHECK_INT(mh_loop_step(loop, 0), MH_EFORK);
    CHECK_INT(mh_loop_run(loop), MH_EFORK);
    CHECK_INT(mh_loop_flush(loop), MH_EFORK);
    CHECK_INT(mh_loop_flush_due(loop), MH_EFORK);
    CHECK_INT(mh_loop_fd(loop), MH_EFORK);
    CHECK_INT(mh_loop_wakeup(loop), MH_EFORK);
    CHECK_INT(mh_loop_post(loop, on_alarm, "post"), MH_EFORK);
    CHECK_INT(mh_loop_watch(loop, watched, MH_READ, NULL, NULL), MH_EINVAL);
    CHECK_INT(mh_loop_watch(loop, watched, MH_READ, on_io, NULL), MH_EFORK);
    int epfd = loop->epfd;
    mh__loop_del(loop, watched);
    mh_loop_free(loop);
    CHECK(fcntl(epfd, F_GETFD) < 0 && errno == EBADF);
    CHECK(fcntl(watched, F_GETFD) >= 0);
}

static void a_child_is_refused_and_frees_without_disturbing_the_parent(void) {
    mh_loop *loop = new_loop();
    int fd[2];
    REQUIRE(pipe(fd) == 0);
    watched = fd[0];
    CHECK_INT(mh__loop_add(loop, fd[0], EPOLLIN, on_io, NULL), MH_OK);
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK(in_child(loop, everything_is_refused));
    CHECK(mh__loop_mine(loop));
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_JOURNAL("");
    CHECK_INT(write(fd[1], "x", 1), 1);
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_JOURNAL("io"); /* still registered */
    mh__loop_del(loop, fd[0]);
    close(fd[0]);
    close(fd[1]);
    mh_loop_free(loop);
}

static void a_new_loop_works(mh_loop *loop) {
    (void)loop;
    loop = new_loop();
    CHECK_INT(mh_loop_post(loop, on_alarm, "post"), MH_OK);
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_JOURNAL("post");
    CHECK(in_child(loop, everything_is_refused));
    mh_loop_free(loop);
}

static void a_child_can_make_a_loop_of_its_own(void) {
    mh_loop *loop = new_loop();
    watched = 0;
    CHECK(in_child(loop, a_new_loop_works));
    mh_loop_free(loop);
}

/* As on a kernel before 4.14. */
static void no_wipe_on_fork(mh_loop *loop) {
    if (!deny(SYS_madvise, EINVAL)) return;
    loop = new_loop();
    CHECK(loop->mark == NULL);
    mh_loop_free(loop);
    a_new_loop_works(NULL);
}

static void without_a_page_wiped_on_fork_the_pid_tells(void) {
    CHECK(in_child(NULL, no_wipe_on_fork));
}

/* ---- making and freeing ---------------------------------------------------------------------- */

static void the_config_has_its_defaults_and_is_heeded(void) {
    mh_loop *loop;
    mh_loop_config cfg;
    mh_loop_config_init(&cfg);
    CHECK_INT(cfg.size, sizeof cfg);
    CHECK_INT(cfg.initial_fds, 1024);
    CHECK_INT(cfg.max_events, 32);
    cfg.sigpipe_ignored = 1;
    CHECK_INT(mh_loop_new(&loop, &cfg), MH_OK);
    CHECK(mh__loop_sigpipe_ignored(loop));
    mh_loop_free(loop);
    mh_loop_free(NULL);
}

static void a_loop_leaves_no_memory_and_no_fd_behind(void) {
    failing f;
    mh_loop_config cfg;
    failing_config(&f, &cfg);
    mh_loop *loop = NULL;
    int fds = count_fds();
    REQUIRE(mh_loop_new(&loop, &cfg) == MH_OK);
    CHECK(mh__loop_mem(loop)->user == &f);
    CHECK_INT(mh_loop_fd(loop), loop->epfd);
    CHECK_INT(fcntl(loop->epfd, F_GETFD), FD_CLOEXEC);
    CHECK_INT(fcntl(loop->wakefd, F_GETFD), FD_CLOEXEC);
    CHECK_INT(fcntl(loop->timerfd, F_GETFD), FD_CLOEXEC);
    CHECK(mh__loop_class(loop, 5) >= 0);
    CHECK_INT(mh_loop_timer(loop, 5, on_alarm, NULL, NULL), MH_OK);
    CHECK_INT(mh_loop_post(loop, on_alarm, "dropped"), MH_OK);
    mh_loop_free(loop);
    CHECK_INT(f.blocks, 0);
    CHECK_INT(f.bytes, 0);
    CHECK_INT(count_fds(), fds);
}

static void a_loop_that_can_not_be_made_leaves_nothing_behind(void) {
    int fds = count_fds();
    size_t k = 0;
    int r;
    do {
        failing f;
        mh_loop_config cfg;
        failing_config(&f, &cfg);
        cfg.initial_fds = 1; /* so that making grows the table as well */
        failing_at(&f, ++k);
        mh_loop *loop = (mh_loop *)&f;
        r = mh_loop_new(&loop, &cfg);
        CHECK(r == MH_OK || (r == MH_ENOMEM && loop == NULL));
        if (r == MH_OK) mh_loop_free(loop);
        CHECK_INT(f.blocks, 0);
        CHECK_INT(count_fds(), fds);
    } while (r == MH_ENOMEM);
    CHECK_INT(k, 7); /* the loop, events, slots and changes, slots and changes again, and none */
}

static void no_fd_is_esys_with_errno(void) {
    struct rlimit old, low;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
    low = (struct rlimit){64, old.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
    int taken[64], n = 0;
    while ((taken[n] = dup(0)) >= 0)
        n++;
    CHECK_INT(errno, EMFILE);
    mh_loop *loop = NULL;
    for (int left = 0; left < 2; left++) { /* none for epoll, then none for the eventfd */
        if (left) close(taken[--n]);
        errno = 0;
        CHECK_INT(mh_loop_new(&loop, NULL), MH_ESYS);
        CHECK_INT(errno, EMFILE);
        CHECK(loop == NULL);
    }
    close(taken[--n]);
    CHECK_INT(mh_loop_new(&loop, NULL), MH_OK);
    CHECK_INT(mh_loop_fd(loop), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), EMFILE);
    while (n > 0)
        close(taken[--n]);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
    CHECK(mh_loop_fd(loop) >= 0);
    mh_loop_free(loop);
}

/* As at /proc/sys/fs/epoll/max_user_watches. */
static void no_more_watches(mh_loop *loop) {
    loop = new_loop();
    mh_loop *second = NULL;
    int fds = count_fds();
    if (!deny(SYS_epoll_ctl, ENOSPC)) return;
    CHECK_INT(mh_loop_new(&second, NULL), MH_ESYS);
    CHECK_INT(errno, ENOSPC);
    CHECK_INT(mh_loop_fd(loop), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), ENOSPC);
    CHECK_INT(count_fds(), fds);
    CHECK_INT(mh_loop_step(loop, 0), 0);
    mh_loop_free(loop);
}

static void a_full_epoll_is_esys_with_errno(void) { CHECK(in_child(NULL, no_more_watches)); }

typedef struct child {
    mh__child link;
    mh_loop *loop;
    const char *name;
    struct child *makes; /* adopted while this one is freed */
} child;

static void child_free(mh__child *link) {
    child *c = (child *)link;
    note("%s", c->name);
    CHECK_INT(mh_loop_step(c->loop, 0), MH_ESTATE); /* its callbacks are callbacks too */
    mh__loop_disown(link);                          /* twice is nothing */
    if (c->makes) mh__loop_adopt(c->loop, &c->makes->link);
}

static void children_are_freed_first_and_the_last_made_before_the_others(void) {
    mh_loop *loop = new_loop();
    child d = {{.free = child_free}, loop, "d", NULL}, a = {{.free = child_free}, loop, "a", &d};
    child b = {{.free = child_free}, loop, "b", NULL}, c = {{.free = child_free}, loop, "c", NULL};
    mh__loop_adopt(loop, &a.link);
    mh__loop_adopt(loop, &b.link);
    mh__loop_adopt(loop, &c.link);
    mh__loop_disown(&b.link);
    mh_loop_free(loop);
    CHECK_JOURNAL("c a d");
}

int main(void) {
    RUN(a_step_goes_through_its_phases_in_order);
    RUN(tasks_run_in_order_once_and_not_if_cancelled);
    RUN(a_task_that_queues_itself_runs_once_a_step_and_the_next_does_not_wait);
    RUN(flush_runs_what_was_written_outside_a_step);
    RUN(what_is_flushed_first_sees_the_time_it_is);
    RUN(an_answer_waits_for_no_more_than_one_long_callback);
    RUN(short_callbacks_are_batched_until_the_oldest_answer_is_old);
    RUN(without_an_answer_nothing_is_flushed_early_and_no_clock_read);
    RUN(flush_due_flushes_after_a_long_piece_or_an_old_answer);
    RUN(run_returns_when_stopped_also_if_stopped_before);
    RUN(an_idle_stretch_takes_one_step);
    RUN(the_wall_clock_is_read_once_a_step);
    RUN(a_signal_ends_the_wait_and_loses_nothing);
    RUN(a_child_is_refused_and_frees_without_disturbing_the_parent);
    RUN(a_child_can_make_a_loop_of_its_own);
    RUN(without_a_page_wiped_on_fork_the_pid_tells);
    RUN(the_config_has_its_defaults_and_is_heeded);
    RUN(a_loop_leaves_no_memory_and_no_fd_behind);
    RUN(a_loop_that_can_not_be_made_leaves_nothing_behind);
    RUN(no_fd_is_esys_with_errno);
    RUN(a_full_epoll_is_esys_with_errno);
    RUN(children_are_freed_first_and_the_last_made_before_the_others);
    return check_end();
}
