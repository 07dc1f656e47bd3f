/* Posts and wakeups, from this thread, other threads and signal handlers. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#include "check.h"
#include "failing.h"
#include "journal.h"
#include "loop_state.h"

static mh_loop *new_loop(failing *f) {
    mh_loop_config cfg;
    failing_config(f, &cfg);
    mh_loop *loop = NULL;
    journal_clear();
    if (mh_loop_new(&loop, &cfg) < 0) abort();
    return loop;
}

static void end_loop(mh_loop *loop, failing *f) {
    mh_loop_free(loop);
    CHECK_INT(f->blocks, 0);
}

static void on_post(mh_loop *loop, void *user) {
    (void)loop;
    note("%s", (const char *)user);
}

static void post_again(mh_loop *loop, void *user) {
    on_post(loop, user);
    CHECK_INT(mh_loop_post(loop, on_post, "later"), MH_OK);
}

static void posts_run_in_order_and_those_of_posts_in_the_next_step(void) {
    failing f;
    mh_loop *loop = new_loop(&f);
    CHECK_INT(mh_loop_post(loop, on_post, "a"), MH_OK);
    CHECK_INT(mh_loop_post(loop, post_again, "b"), MH_OK);
    CHECK_INT(mh_loop_post(loop, on_post, "c"), MH_OK);
    CHECK_INT(mh_loop_step(loop, -1), 1);
    CHECK_JOURNAL("a b c");
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_JOURNAL("later");
    end_loop(loop, &f);
}

static void a_post_without_memory_is_refused_and_those_before_it_run(void) {
    failing f;
    mh_loop *loop = new_loop(&f);
    CHECK_INT(mh_loop_post(loop, on_post, "a"), MH_OK);
    failing_at(&f, 1);
    CHECK_INT(mh_loop_post(loop, on_post, "b"), MH_ENOMEM);
    CHECK_INT(mh_loop_post(loop, NULL, NULL), MH_EINVAL);
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_JOURNAL("a");
    end_loop(loop, &f);
}

static void a_wakeup_ends_the_next_wait_and_only_that(void) {
    failing f;
    mh_loop *loop = new_loop(&f);
    CHECK_INT(mh_loop_wakeup(loop), MH_OK);
    CHECK_INT(mh_loop_wakeup(loop), MH_OK);
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_INT(mh_loop_timer(loop, 1, on_post, "timer", NULL), MH_OK);
    CHECK_INT(mh_loop_step(loop, -1), 0); /* waited for the timer: there is no wakeup left */
    CHECK_JOURNAL("timer");
    end_loop(loop, &f);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { THREADS = 4, POSTS = 5000 };

typedef struct poster {
    pthread_t thread;
    mh_loop *loop;
    int sent;
    int received;
    bool in_order;
    struct poster *all; /* THREADS of them */
} poster;

typedef struct letter {
    poster *from;
    int number;
} letter;

static void on_letter(mh_loop *loop, void *user) {
    letter *l = user;
    poster *p = l->from;
    p->in_order = p->in_order && l->number == p->received;
    p->received++;
    free(l);
    int n = 0;
    for (int i = 0; i < THREADS; i++)
        n += p->all[i].received;
    if (n == THREADS * POSTS) mh_loop_stop(loop);
}

static void *post_letters(void *user) {
    poster *p = user;
    for (int i = 0; i < POSTS; i++) {
        letter *l = malloc(sizeof *l);
        if (!l) abort();
        *l = (letter){p, i};
        if (mh_loop_post(p->loop, on_letter, l) != MH_OK) abort();
        p->sent++;
        if (i % 100 == 0) mh_loop_wakeup(p->loop);
    }
    return NULL;
}

static void posts_of_many_threads_all_run_each_threads_in_order(void) {
    failing f;
    mh_loop *loop = new_loop(&f);
    poster p[THREADS];
    for (int i = 0; i < THREADS; i++)
        p[i] = (poster){.loop = loop, .in_order = true, .all = p};
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&p[i].thread, NULL, post_letters, &p[i]) == 0);
    CHECK_INT(mh_loop_run(loop), MH_OK); /* waits without a limit: a lost wakeup would hang */
    for (int i = 0; i < THREADS; i++) {
        REQUIRE(pthread_join(p[i].thread, NULL) == 0);
        CHECK_INT(p[i].sent, POSTS);
        CHECK_INT(p[i].received, POSTS);
        CHECK(p[i].in_order);
    }
    end_loop(loop, &f);
}

/* One post or wakeup at a time, each after the loop has acted on the one before: every single wait
 * must end. */
typedef struct ping {
    mh_loop *loop;
    atomic_int seen;
} ping;

static void on_ping(mh_loop *loop, void *user) {
    (void)loop;
    ping *p = user;
    atomic_fetch_add(&p->seen, 1);
}

static void *send_pings(void *user) {
    ping *p = user;
    for (int i = 0; i < 2000; i++) {
        if (mh_loop_post(p->loop, on_ping, p) != MH_OK) abort();
        while (atomic_load(&p->seen) <= i)
            continue;
    }
    return NULL;
}

static void each_post_ends_a_wait(void) {
    failing f;
    mh_loop *loop = new_loop(&f);
    ping p = {.loop = loop};
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, send_pings, &p) == 0);
    while (atomic_load(&p.seen) < 2000)
        CHECK(mh_loop_step(loop, -1) >= 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
    CHECK_INT(p.seen, 2000);
    end_loop(loop, &f);
}

static void *run_its_own(void *user) {
    mh_loop *loop = NULL;
    int *ok = user;
    if (mh_loop_new(&loop, NULL) < 0) return NULL;
    ping p = {.loop = loop};
    for (int i = 0; i < 1000; i++)
        if (mh_loop_post(loop, on_ping, &p) != MH_OK || mh_loop_step(loop, -1) != 0) break;
    *ok = atomic_load(&p.seen) == 1000;
    mh_loop_free(loop);
    return NULL;
}

static void several_threads_have_loops_of_their_own(void) {
    pthread_t thread[THREADS];
    int ok[THREADS] = {0};
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&thread[i], NULL, run_its_own, &ok[i]) == 0);
    for (int i = 0; i < THREADS; i++) {
        REQUIRE(pthread_join(thread[i], NULL) == 0);
        CHECK(ok[i]);
    }
}

/* ---- a signal handler ------------------------------------------------------------------------ */

static mh_loop *signalled;

static void wake_from_handler(int sig) {
    (void)sig;
    mh_loop_wakeup(signalled);
}

static void a_handlers_wakeup_before_the_wait_is_kept(void) {
    failing f;
    signalled = new_loop(&f);
    struct sigaction act = {.sa_handler = wake_from_handler}, old;
    REQUIRE(sigaction(SIGUSR1, &act, &old) == 0);
    errno = ERANGE;
    REQUIRE(raise(SIGUSR1) == 0); /* has run when raise returns */
    CHECK_INT(errno, ERANGE);
    CHECK_INT(mh_loop_step(signalled, -1), 0);
    REQUIRE(sigaction(SIGUSR1, &old, NULL) == 0);
    end_loop(signalled, &f);
}

int main(void) {
    RUN(posts_run_in_order_and_those_of_posts_in_the_next_step);
    RUN(a_post_without_memory_is_refused_and_those_before_it_run);
    RUN(a_wakeup_ends_the_next_wait_and_only_that);
    RUN(posts_of_many_threads_all_run_each_threads_in_order);
    RUN(each_post_ends_a_wait);
    RUN(several_threads_have_loops_of_their_own);
    RUN(a_handlers_wakeup_before_the_wait_is_kept);
    return check_end();
}
