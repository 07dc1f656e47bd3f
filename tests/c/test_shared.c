/* mh_loop_fd: one descriptor that is readable when, and only when, a step would find something. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>

#include "check.h"
#include "failing.h"
#include "journal.h"
#include "loop_state.h"

static int loop_fd;

static mh_loop *new_shared_loop(void) {
    mh_loop *loop = NULL;
    journal_clear();
    if (mh_loop_new(&loop, NULL) < 0 || (loop_fd = mh_loop_fd(loop)) < 0) abort();
    return loop;
}

/* As a host's own loop does: whether the descriptor is readable now, or within ms. */
static bool readable(int ms) {
    struct pollfd p = {.fd = loop_fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1 && (p.revents & POLLIN);
}

static void on_note(mh_loop *loop, void *user) {
    (void)loop;
    note("%s", (const char *)user);
}

static void on_task(mh_loop *loop, mh__task *task) {
    (void)loop;
    (void)task;
    note("task");
}

static void on_task_again(mh_loop *loop, mh__task *task) {
    on_task(loop, task);
    mh__loop_run_task(loop, task);
}

static void on_io(mh_loop *loop, int fd, uint32_t events, void *user) {
    (void)loop;
    (void)fd;
    (void)events;
    note("%s", (const char *)user);
}

/* One readable descriptor, one step that uses it up. */
#define CHECK_ONE_STEP(loop, words)          \
    do {                                     \
        CHECK(readable(0));                  \
        CHECK_INT(mh_loop_step(loop, 0), 0); \
        CHECK_JOURNAL(words);                \
        CHECK(!readable(0));                 \
        CHECK_INT(mh_loop_step(loop, 0), 0); \
        CHECK_JOURNAL("");                   \
        CHECK(!readable(0));                 \
    } while (0)

static void it_is_the_same_every_time_and_quiet_when_idle(void) {
    mh_loop *loop = new_shared_loop();
    CHECK_INT(mh_loop_fd(loop), loop_fd);
    CHECK(fcntl(loop_fd, F_GETFD) & FD_CLOEXEC);
    CHECK(!readable(0));
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK(!readable(20));
    mh_loop_free(loop);
}

static void tasks_queued_outside_a_step_make_it_readable(void) {
    mh_loop *loop = new_shared_loop();
    mh__task run = {.fn = on_task}, flush = {.fn = on_task};
    mh__loop_run_task(loop, &run);
    CHECK_ONE_STEP(loop, "task");
    mh__loop_flush_task(loop, &flush);
    CHECK_ONE_STEP(loop, "task");
    mh__loop_run_task(loop, &run);
    mh__loop_flush_task(loop, &flush);
    CHECK_ONE_STEP(loop, "task task");
    mh_loop_free(loop);
}

static void work_left_over_keeps_it_readable(void) {
    mh_loop *loop = new_shared_loop();
    mh__task run = {.fn = on_task_again};
    mh__loop_run_task(loop, &run);
    for (int i = 0; i < 3; i++) {
        CHECK(readable(0));
        CHECK_INT(mh_loop_step(loop, 0), 1);
    }
    CHECK(readable(0));
    mh__task_cancel(&run);
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_JOURNAL("task task task");
    CHECK(!readable(0));
    mh_loop_free(loop);
}

static void flush_outside_a_step_leaves_what_it_made_readable(void) {
    mh_loop *loop = new_shared_loop();
    mh__task flush = {.fn = on_task_again};
    mh__loop_flush_task(loop, &flush);
    CHECK_INT(mh_loop_flush(loop), MH_OK);
    CHECK_JOURNAL("task");
    flush.fn = on_task;
    CHECK_ONE_STEP(loop, "task");
    mh_loop_free(loop);
}

static void posts_and_wakeups_make_it_readable(void) {
    mh_loop *loop = new_shared_loop();
    CHECK_INT(mh_loop_post(loop, on_note, "post"), MH_OK);
    CHECK_ONE_STEP(loop, "post");
    CHECK_INT(mh_loop_wakeup(loop), MH_OK);
    CHECK_ONE_STEP(loop, "");
    mh_loop_free(loop);
}

static void *post_from_thread(void *loop) {
    mh_loop_post(loop, on_note, "post");
    return NULL;
}

static void a_post_of_another_thread_ends_the_hosts_poll(void) {
    mh_loop *loop = new_shared_loop();
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, post_from_thread, loop) == 0);
    CHECK(readable(-1));
    REQUIRE(pthread_join(thread, NULL) == 0);
    CHECK_ONE_STEP(loop, "post");
    mh_loop_free(loop);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static int ends[2];

static void change_in_callback(mh_loop *loop, void *user) {
    (void)user;
    note("change");
    CHECK_INT(mh__loop_add(loop, ends[0], EPOLLIN, on_io, "io"), MH_OK);
}

static void changes_of_watches_reach_epoll_in_a_step(void) {
    mh_loop *loop = new_shared_loop();
    REQUIRE(pipe(ends) == 0);
    CHECK_INT(mh__loop_add(loop, ends[0], EPOLLIN, on_io, "io"), MH_OK);
    CHECK_ONE_STEP(loop, "");
    CHECK_INT(write(ends[1], "x", 1), 1);
    CHECK(readable(0));
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_JOURNAL("io");
    CHECK(readable(0)); /* level-triggered */
    mh__loop_set(loop, ends[0], 0);
    CHECK_ONE_STEP(loop, "");
    mh__loop_del(loop, ends[0]);
    /* Made inside a step, a change must not wait for the next one: nobody would call it. */
    CHECK_INT(mh_loop_post(loop, change_in_callback, NULL), MH_OK);
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK(readable(0));
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_JOURNAL("change io");
    mh__loop_del(loop, ends[0]);
    CHECK(!readable(0));
    close(ends[0]);
    close(ends[1]);
    mh_loop_free(loop);
}

static void end_on_error(mh_loop *loop, int fd, uint32_t events, void *user) {
    on_io(loop, fd, events, user);
    CHECK(events & EPOLLERR);
    mh__loop_del(loop, fd);
}

static void add_in_callback(mh_loop *loop, void *user) {
    note("add");
    CHECK_INT(mh__loop_add(loop, fileno((FILE *)user), EPOLLIN, end_on_error, "error"), MH_OK);
}

static void a_refused_change_makes_it_readable(void) {
    mh_loop *loop = new_shared_loop();
    FILE *file = tmpfile();
    REQUIRE(file);
    CHECK_INT(mh_loop_post(loop, add_in_callback, file), MH_OK);
    CHECK(readable(0));
    CHECK(mh_loop_step(loop, 0) >= 0);
    CHECK_JOURNAL("add");
    CHECK_ONE_STEP(loop, "error");
    fclose(file);
    mh_loop_free(loop);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void a_timer_makes_it_readable_when_due(void) {
    mh_loop *loop = new_shared_loop();
    CHECK_INT(mh_loop_timer(loop, 60000, on_note, "late", NULL), MH_OK);
    CHECK(!readable(0));
    CHECK_INT(mh_loop_timer(loop, 30, on_note, "b", NULL), MH_OK);
    CHECK_INT(mh_loop_timer(loop, 10, on_note, "a", NULL), MH_OK); /* earlier than what is set */
    CHECK(readable(-1));
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_MEM(journal, 1, "a"); /* and perhaps b, on a slow machine */
    while (journal_n < strlen("a b")) {
        CHECK(readable(-1));
        CHECK_INT(mh_loop_step(loop, 0), 0);
    }
    CHECK_JOURNAL("a b");
    CHECK(!readable(0));
    mh_loop_free(loop);
}

static void a_timer_of_0_ms_makes_it_readable_at_once(void) {
    mh_loop *loop = new_shared_loop();
    CHECK_INT(mh_loop_timer(loop, 0, on_note, "now", NULL), MH_OK);
    CHECK(readable(-1));
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_JOURNAL("now");
    CHECK(!readable(0));
    mh_loop_free(loop);
}

static void a_cancelled_timer_leaves_it_quiet(void) {
    mh_loop *loop = new_shared_loop();
    uint64_t id;
    CHECK_INT(mh_loop_timer(loop, 20, on_note, "never", &id), MH_OK);
    CHECK_INT(mh_loop_cancel(loop, id), MH_OK);
    CHECK(!readable(60));
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_JOURNAL("");
    mh_loop_free(loop);
}

static void on_class(mh_loop *loop, mh__timer *timer) {
    (void)loop;
    (void)timer;
    note("class");
}

static void a_class_timer_makes_it_readable_and_a_stopped_one_at_most_once(void) {
    mh_loop *loop = new_shared_loop();
    mh__timer timer = {.fn = on_class};
    int cls = mh__loop_class(loop, 10);
    mh__timer_arm(loop, &timer, cls);
    CHECK(readable(-1));
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_JOURNAL("class");
    CHECK(!readable(0));
    mh__timer_arm(loop, &timer, cls);
    mh__timer_stop(&timer); /* doesn't know its loop */
    CHECK(readable(-1));
    CHECK_ONE_STEP(loop, "");
    CHECK(!readable(40));
    mh_loop_free(loop);
}

/* ---- the first call -------------------------------------------------------------------------- */

static void what_was_there_before_the_first_call_counts(void) {
    mh_loop *loop = NULL;
    journal_clear();
    REQUIRE(mh_loop_new(&loop, NULL) == MH_OK);
    REQUIRE(pipe(ends) == 0);
    mh__task run = {.fn = on_task};
    mh__loop_run_task(loop, &run);
    CHECK_INT(mh__loop_add(loop, ends[0], EPOLLIN, on_io, "io"), MH_OK);
    CHECK_INT(mh_loop_timer(loop, 0, on_note, "timer", NULL), MH_OK);
    loop_fd = mh_loop_fd(loop);
    CHECK(readable(0));
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_JOURNAL("timer task");
    CHECK(!readable(0));
    CHECK_INT(write(ends[1], "x", 1), 1);
    CHECK(readable(0)); /* the watch had reached epoll */
    mh__loop_del(loop, ends[0]);
    close(ends[0]);
    close(ends[1]);
    mh_loop_free(loop);
}

static void on_first_fd(mh_loop *loop, void *user) {
    mh__task *task = user;
    loop_fd = mh_loop_fd(loop);
    mh__loop_run_task(loop, task); /* in this step's RUN phase */
}

static void the_first_call_may_come_in_a_callback(void) {
    mh_loop *loop = NULL;
    journal_clear();
    REQUIRE(mh_loop_new(&loop, NULL) == MH_OK);
    mh__task run = {.fn = on_task_again};
    CHECK_INT(mh_loop_post(loop, on_first_fd, &run), MH_OK);
    CHECK_INT(mh_loop_step(loop, 0), 1);
    CHECK_JOURNAL("task");
    run.fn = on_task;
    CHECK_ONE_STEP(loop, "task");
    mh_loop_free(loop);
}

static void a_first_call_without_memory_can_be_repeated(void) {
    failing f;
    mh_loop_config cfg;
    failing_config(&f, &cfg);
    mh_loop *loop = NULL;
    int last = dup(0); /* the next free number, and so the timerfd, lies beyond the table */
    REQUIRE(last > 0);
    cfg.initial_fds = (uint32_t)last + 2; /* epoll and the eventfd fit */
    close(last);
    REQUIRE(mh_loop_new(&loop, &cfg) == MH_OK);
    int next = dup(0);
    close(next);
    CHECK_INT(next, last + 2);
    failing_at(&f, 1);
    CHECK_INT(mh_loop_fd(loop), MH_ENOMEM);
    CHECK(fcntl(next, F_GETFD) < 0);
    loop_fd = mh_loop_fd(loop);
    CHECK(loop_fd >= 0);
    CHECK(!readable(0));
    mh_loop_free(loop);
    CHECK_INT(f.blocks, 0);
}

int main(void) {
    RUN(it_is_the_same_every_time_and_quiet_when_idle);
    RUN(tasks_queued_outside_a_step_make_it_readable);
    RUN(work_left_over_keeps_it_readable);
    RUN(flush_outside_a_step_leaves_what_it_made_readable);
    RUN(posts_and_wakeups_make_it_readable);
    RUN(a_post_of_another_thread_ends_the_hosts_poll);
    RUN(changes_of_watches_reach_epoll_in_a_step);
    RUN(a_refused_change_makes_it_readable);
    RUN(a_timer_makes_it_readable_when_due);
    RUN(a_timer_of_0_ms_makes_it_readable_at_once);
    RUN(a_cancelled_timer_leaves_it_quiet);
    RUN(a_class_timer_makes_it_readable_and_a_stopped_one_at_most_once);
    RUN(what_was_there_before_the_first_call_counts);
    RUN(the_first_call_may_come_in_a_callback);
    RUN(a_first_call_without_memory_can_be_repeated);
    return check_end();
}
