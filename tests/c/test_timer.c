/* Timeout classes and alarms, on a clock that the test moves. */
#include <limits.h>

#include "check.h"
#include "clock.h"
#include "failing.h"
#include "loop_state.h"

/* What ran, in order: the tests give their timers numbers. */
static int ran[20000];
static size_t n_ran;

static mh_loop *new_loop(void) {
    mh_loop *loop = NULL;
    clock_stop();
    n_ran = 0;
    if (mh_loop_new(&loop, NULL) < 0) abort();
    return loop;
}

/* Runs what is due, in one step. */
static void step(mh_loop *loop) { CHECK(mh_loop_step(loop, 0) >= 0); }

#define CHECK_RAN(...)                                                                   \
    do {                                                                                 \
        const int numbers_[] = {__VA_ARGS__};                                            \
        CHECK_INT(n_ran, sizeof numbers_ / sizeof *numbers_);                            \
        for (size_t i_ = 0; i_ < n_ran && i_ < sizeof numbers_ / sizeof *numbers_; i_++) \
            CHECK_INT(ran[i_], numbers_[i_]);                                            \
        n_ran = 0;                                                                       \
    } while (0)

#define CHECK_NONE_RAN() CHECK_INT(n_ran, 0)

/* ---- classes --------------------------------------------------------------------------------- */

typedef struct item {
    mh__timer timer;
    int number;
    int cls;
    struct item *other; /* what its callback acts on */
} item;

static void note(mh_loop *loop, mh__timer *timer) {
    (void)loop;
    ran[n_ran++] = ((item *)timer)->number;
}

static void note_and_stop_other(mh_loop *loop, mh__timer *timer) {
    note(loop, timer);
    mh__timer_stop(&((item *)timer)->other->timer);
}

static void note_and_rearm(mh_loop *loop, mh__timer *timer) {
    note(loop, timer);
    CHECK(!mh__timer_armed(timer));
    mh__timer_arm(loop, timer, ((item *)timer)->cls);
}

static void note_and_rearm_other(mh_loop *loop, mh__timer *timer) {
    note(loop, timer);
    mh__timer_arm(loop, &((item *)timer)->other->timer, ((item *)timer)->other->cls);
}

static void a_class_is_found_again_by_its_length(void) {
    mh_loop *loop = new_loop();
    int a = mh__loop_class(loop, 10), b = mh__loop_class(loop, 20);
    CHECK(a >= 0 && b >= 0 && a != b);
    CHECK_INT(mh__loop_class(loop, 10), a);
    CHECK_INT(mh__loop_class(loop, 20), b);
    mh_loop_free(loop);
}

static void timers_of_a_class_run_in_the_order_of_arming(void) {
    mh_loop *loop = new_loop();
    int cls = mh__loop_class(loop, 10);
    item t[3] = {
        {{.fn = note}, 0, cls, NULL}, {{.fn = note}, 1, cls, NULL}, {{.fn = note}, 2, cls, NULL}};
    mh__timer_arm(loop, &t[0].timer, cls);
    mh__timer_arm(loop, &t[1].timer, cls);
    clock_pass_ms(4);
    mh__timer_arm(loop, &t[2].timer, cls);
    mh__timer_arm(loop, &t[0].timer, cls); /* armed again: now the last */
    clock_pass_ms(5);
    step(loop);
    CHECK_NONE_RAN();
    clock_pass_ms(1);
    step(loop);
    CHECK_RAN(1);
    CHECK(!mh__timer_armed(&t[1].timer));
    CHECK(mh__timer_armed(&t[0].timer));
    clock_pass_ms(4);
    step(loop);
    CHECK_RAN(2, 0);
    mh_loop_free(loop);
}

static void a_stopped_timer_does_not_run(void) {
    mh_loop *loop = new_loop();
    int cls = mh__loop_class(loop, 10);
    item t = {{.fn = note}, 0, cls, NULL};
    mh__timer_stop(&t.timer); /* not armed: nothing */
    mh__timer_arm(loop, &t.timer, cls);
    mh__timer_stop(&t.timer);
    mh__timer_stop(&t.timer);
    clock_pass_ms(100);
    step(loop);
    CHECK_NONE_RAN();
    CHECK(mh__timer_next(loop) == MH__NEVER);
    mh_loop_free(loop);
}

static void a_timer_stopped_by_one_due_in_the_same_step_does_not_run(void) {
    mh_loop *loop = new_loop();
    int cls = mh__loop_class(loop, 10), later = mh__loop_class(loop, 11);
    item t[4] = {{{.fn = note_and_stop_other}, 0, cls, &t[1]},
                 {{.fn = note}, 1, cls, NULL},
                 {{.fn = note_and_stop_other}, 2, cls, &t[3]},
                 {{.fn = note}, 3, later, NULL}};
    for (int i = 0; i < 4; i++)
        mh__timer_arm(loop, &t[i].timer, t[i].cls);
    clock_pass_ms(50);
    step(loop);
    CHECK_RAN(0, 2);
    CHECK(!mh__timer_armed(&t[1].timer) && !mh__timer_armed(&t[3].timer));
    mh_loop_free(loop);
}

static void a_timer_armed_again_by_a_callback_waits_its_length(void) {
    mh_loop *loop = new_loop();
    int cls = mh__loop_class(loop, 10);
    item t[3] = {{{.fn = note_and_rearm}, 0, cls, NULL},
                 {{.fn = note_and_rearm_other}, 1, cls, &t[2]},
                 {{.fn = note}, 2, cls, NULL}};
    for (int i = 0; i < 3; i++)
        mh__timer_arm(loop, &t[i].timer, cls);
    clock_pass_ms(10);
    step(loop);
    CHECK_RAN(0, 1); /* 2 was due as well, but has been put off */
    step(loop);
    CHECK_NONE_RAN();
    clock_pass_ms(10);
    step(loop);
    CHECK_RAN(0, 2);
    mh_loop_free(loop);
}

static void a_class_of_no_length_runs_in_every_step_once(void) {
    mh_loop *loop = new_loop();
    int cls = mh__loop_class(loop, 0);
    item t = {{.fn = note_and_rearm}, 7, cls, NULL};
    mh__timer_arm(loop, &t.timer, cls);
    CHECK_INT(mh_loop_step(loop, -1), 1); /* it is due again: the next step will not wait */
    CHECK_RAN(7);
    CHECK_INT(mh_loop_step(loop, -1), 1);
    CHECK_RAN(7);
    mh__timer_stop(&t.timer);
    CHECK_INT(mh_loop_step(loop, 0), 0);
    CHECK_NONE_RAN();
    mh_loop_free(loop);
}

static void arming_outside_a_step_reads_the_clock(void) {
    mh_loop *loop = new_loop();
    int cls = mh__loop_class(loop, 10);
    item t = {{.fn = note}, 0, cls, NULL};
    clock_pass_ms(1000); /* the host was elsewhere */
    mh__timer_arm(loop, &t.timer, cls);
    step(loop);
    CHECK_NONE_RAN();
    clock_pass_ms(10);
    step(loop);
    CHECK_RAN(0);
    mh_loop_free(loop);
}

/* ---- alarms ---------------------------------------------------------------------------------- */

static void alarm_note(mh_loop *loop, void *user) {
    (void)loop;
    ran[n_ran++] = (int)(intptr_t)user;
}

/* Makes an alarm that notes number; its id. */
static uint64_t alarm_in(mh_loop *loop, uint64_t ms, int number) {
    uint64_t id = 0;
    CHECK_INT(mh_loop_timer(loop, ms, alarm_note, (void *)(intptr_t)number, &id), MH_OK);
    CHECK(id != 0);
    return id;
}

static void alarms_run_by_deadline_and_equal_ones_in_the_order_of_making(void) {
    mh_loop *loop = new_loop();
    alarm_in(loop, 30, 0);
    alarm_in(loop, 10, 1);
    alarm_in(loop, 20, 2);
    alarm_in(loop, 10, 3);
    alarm_in(loop, 30, 4);
    alarm_in(loop, 10, 5);
    clock_pass_ms(9);
    step(loop);
    CHECK_NONE_RAN();
    clock_pass_ms(1);
    step(loop);
    CHECK_RAN(1, 3, 5);
    clock_pass_ms(100);
    step(loop);
    CHECK_RAN(2, 0, 4);
    mh_loop_free(loop);
}

static void an_alarm_is_never_early_by_a_part_of_a_millisecond(void) {
    mh_loop *loop = new_loop();
    clock_pass_us(900); /* mh_loop_now is rounded down */
    alarm_in(loop, 1, 0);
    clock_pass_us(999);
    step(loop);
    CHECK_NONE_RAN();
    clock_pass_us(101);
    step(loop);
    CHECK_RAN(0);
    mh_loop_free(loop);
}

static void alarm_makes_one_of_0_ms(mh_loop *loop, void *user) {
    alarm_note(loop, user);
    alarm_in(loop, 0, (int)(intptr_t)user + 1);
}

static void an_alarm_of_0_ms_runs_in_the_next_step(void) {
    mh_loop *loop = new_loop();
    CHECK_INT(mh_loop_timer(loop, 0, alarm_makes_one_of_0_ms, (void *)(intptr_t)10, NULL), MH_OK);
    CHECK_INT(mh_loop_step(loop, -1), 1);
    CHECK_RAN(10);
    CHECK_INT(mh_loop_step(loop, -1), 0);
    CHECK_RAN(11);
    mh_loop_free(loop);
}

static void a_cancelled_alarm_does_not_run_and_its_id_is_refused(void) {
    mh_loop *loop = new_loop();
    uint64_t a = alarm_in(loop, 10, 0), b = alarm_in(loop, 10, 1), c = alarm_in(loop, 10, 2);
    CHECK_INT(mh_loop_cancel(loop, b), MH_OK);
    CHECK_INT(mh_loop_cancel(loop, b), MH_ENOENT);
    uint64_t d = alarm_in(loop, 10, 3); /* in b's place */
    CHECK(d != b);
    CHECK_INT(mh_loop_cancel(loop, b), MH_ENOENT);
    clock_pass_ms(10);
    step(loop);
    CHECK_RAN(0, 2, 3);
    CHECK_INT(mh_loop_cancel(loop, a), MH_ENOENT);
    CHECK_INT(mh_loop_cancel(loop, c), MH_ENOENT);
    CHECK_INT(mh_loop_cancel(loop, 0), MH_ENOENT);
    CHECK_INT(mh_loop_cancel(loop, UINT64_MAX), MH_ENOENT);
    CHECK_INT(mh_loop_cancel(loop, a + 1000), MH_ENOENT);
    mh_loop_free(loop);
}

static uint64_t victim;
static int cancelled;

static void alarm_cancels_victim(mh_loop *loop, void *user) {
    alarm_note(loop, user);
    cancelled = mh_loop_cancel(loop, victim);
}

static void an_alarm_cancelled_by_one_due_in_the_same_step_does_not_run(void) {
    mh_loop *loop = new_loop();
    CHECK_INT(mh_loop_timer(loop, 5, alarm_cancels_victim, NULL, NULL), MH_OK);
    victim = alarm_in(loop, 6, 1);
    alarm_in(loop, 7, 2);
    clock_pass_ms(7);
    step(loop);
    CHECK_RAN(0, 2);
    CHECK_INT(cancelled, MH_OK);
    CHECK_INT(mh_loop_cancel(loop, victim), MH_ENOENT);
    mh_loop_free(loop);
}

static void an_alarm_can_not_cancel_itself_while_it_runs(void) {
    mh_loop *loop = new_loop();
    CHECK_INT(mh_loop_timer(loop, 5, alarm_cancels_victim, NULL, &victim), MH_OK);
    clock_pass_ms(5);
    step(loop);
    CHECK_RAN(0);
    CHECK_INT(cancelled, MH_ENOENT);
    mh_loop_free(loop);
}

static void ids_are_not_used_again(void) {
    mh_loop *loop = new_loop();
    uint64_t last = 0;
    for (int i = 0; i < 20000; i++) { /* one place of the table, over and over */
        uint64_t id = alarm_in(loop, 10, 0);
        CHECK(id > last);
        last = id;
        CHECK_INT(mh_loop_cancel(loop, id), MH_OK);
    }
    mh_loop_free(loop);
}

static void long_deadlines_are_neither_clamped_nor_early(void) {
    mh_loop *loop = new_loop();
    uint64_t half = alarm_in(loop, UINT64_MAX / 2, 0);
    alarm_in(loop, (uint64_t)INT_MAX + 100, 1);
    CHECK_INT(mh_loop_timer(loop, UINT64_MAX, alarm_note, NULL, NULL), MH_EINVAL);
    CHECK_INT(mh_loop_timer(loop, UINT64_MAX - mh_loop_now(loop), alarm_note, NULL, NULL),
              MH_EINVAL);
    CHECK_INT(mh_loop_timer(loop, UINT64_MAX - mh_loop_now(loop) - 1, alarm_note, NULL, NULL),
              MH_OK);
    CHECK_INT(mh_loop_timer(loop, 1, NULL, NULL, NULL), MH_EINVAL);
    CHECK_INT(mh_loop_wakeup(loop), MH_OK);
    CHECK_INT(mh_loop_step(loop, -1), 0); /* a wait longer than an int holds */
    clock_pass_ms((uint64_t)INT_MAX + 99);
    step(loop);
    CHECK_NONE_RAN();
    clock_pass_ms(1);
    step(loop);
    CHECK_RAN(1);
    CHECK_INT(mh_loop_cancel(loop, half), MH_OK);
    mh_loop_free(loop);
}

/* ---- against a model ------------------------------------------------------------------------- */

/* A fixed sequence; the numbers are those of Knuth's MMIX generator. */
static uint64_t seed;
static uint32_t rnd(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

enum { MODEL_MAX = 4000 };
typedef struct model {
    uint64_t due[MODEL_MAX], id[MODEL_MAX];
    bool alive[MODEL_MAX];
    int n;
} model;

/* The earliest of those alive and due, the first made among equals, or -1: by looking at all. */
static int model_pop(model *m, uint64_t now) {
    int best = -1;
    for (int i = 0; i < m->n; i++)
        if (m->alive[i] && m->due[i] <= now && (best < 0 || m->due[i] < m->due[best])) best = i;
    if (best >= 0) m->alive[best] = false;
    return best;
}

static void model_make(model *m, mh_loop *loop) {
    uint64_t ms = rnd(8) == 0 ? rnd(100000) : rnd(60);
    m->due[m->n] = (ms ? (clock_ns + 999999) / 1000000 : clock_ns / 1000000) + ms;
    m->id[m->n] = alarm_in(loop, ms, m->n);
    m->alive[m->n++] = true;
}

static void alarms_agree_with_a_naive_model(void) {
    static model m;
    mh_loop *loop = new_loop();
    m.n = 0;
    seed = 20;
    while (m.n < MODEL_MAX) {
        uint32_t what = rnd(10);
        if (what < 6) {
            model_make(&m, loop);
        } else if (what < 8) {
            int i = (int)rnd((uint32_t)m.n + 1);
            if (i == m.n) continue;
            CHECK_INT(mh_loop_cancel(loop, m.id[i]), m.alive[i] ? MH_OK : MH_ENOENT);
            m.alive[i] = false;
        } else {
            clock_pass_us(rnd(20000));
            n_ran = 0;
            step(loop);
            for (size_t i = 0; i < n_ran; i++)
                CHECK_INT(ran[i], model_pop(&m, clock_ns / 1000000));
            CHECK_INT(model_pop(&m, clock_ns / 1000000), -1);
        }
    }
    clock_pass_ms(200000);
    n_ran = 0;
    step(loop);
    CHECK(n_ran > 100);
    for (size_t i = 0; i < n_ran; i++)
        CHECK_INT(ran[i], model_pop(&m, UINT64_MAX));
    CHECK_INT(model_pop(&m, UINT64_MAX), -1);
    CHECK(mh__timer_next(loop) == MH__NEVER);
    mh_loop_free(loop);
}

static void class_timers_agree_with_a_naive_model(void) {
    enum { ITEMS = 200 };
    static const uint32_t ms[] = {0, 1, 7, 30, 1000};
    static item t[ITEMS];
    static uint64_t due[ITEMS]; /* 0: not armed */
    mh_loop *loop = new_loop();
    seed = 22;
    for (int i = 0; i < ITEMS; i++) {
        t[i] = (item){{.fn = note}, i, mh__loop_class(loop, ms[i % 5]), NULL};
        due[i] = 0;
    }
    for (int round = 0; round < 20000; round++) {
        int i = (int)rnd(ITEMS);
        uint32_t what = rnd(10);
        if (what < 6) {
            mh__timer_arm(loop, &t[i].timer, t[i].cls);
            due[i] = clock_ns / 1000000 + ms[i % 5];
        } else if (what < 8) {
            mh__timer_stop(&t[i].timer);
            due[i] = 0;
        } else {
            clock_pass_us(rnd(3000));
            n_ran = 0;
            step(loop);
            for (size_t k = 0; k < n_ran; k++) {
                CHECK(due[ran[k]] != 0 && due[ran[k]] <= clock_ns / 1000000);
                due[ran[k]] = 0;
            }
            for (int k = 0; k < ITEMS; k++) {
                CHECK(due[k] == 0 || due[k] > clock_ns / 1000000);
                CHECK_INT(mh__timer_armed(&t[k].timer), due[k] != 0);
            }
        }
    }
    mh_loop_free(loop);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void a_failed_allocation_leaves_everything_as_it_was(void) {
    clock_stop();
    failing f;
    mh_loop_config cfg;
    failing_config(&f, &cfg);
    mh_loop *loop = NULL;
    n_ran = 0;
    REQUIRE(mh_loop_new(&loop, &cfg) == MH_OK);
    uint32_t n = 0;
    for (size_t k = 1; k <= 2; k++) { /* the table of classes, and the class */
        failing_at(&f, k);
        CHECK_INT(mh__loop_class(loop, 10), MH_ENOMEM);
        CHECK_INT(loop->timers.n_classes, 0);
    }
    CHECK_INT(mh__loop_class(loop, 10), 0);
    for (int made = 0; made < 100;) { /* both tables grow on the way */
        failing_at(&f, 1 + n++ % 3);
        int r = mh_loop_timer(loop, 10, alarm_note, (void *)(intptr_t)made, NULL);
        CHECK(r == MH_OK || r == MH_ENOMEM);
        if (r == MH_OK) made++;
    }
    CHECK(f.failed > 10);
    failing_at(&f, 0);
    clock_pass_ms(10);
    step(loop);
    CHECK_INT(n_ran, 100);
    for (int i = 0; i < 100; i++)
        CHECK_INT(ran[i], i);
    mh_loop_free(loop);
    CHECK_INT(f.blocks, 0);
}

static void alarms_of_the_past_serve_new_ones_without_memory(void) {
    clock_stop();
    failing f;
    mh_loop_config cfg;
    failing_config(&f, &cfg);
    mh_loop *loop = NULL;
    REQUIRE(mh_loop_new(&loop, &cfg) == MH_OK);
    for (int i = 0; i < 10; i++)
        alarm_in(loop, 1, i);
    clock_pass_ms(1);
    step(loop);
    failing_from(&f, 1);
    for (int i = 0; i < 10; i++)
        alarm_in(loop, 1, i);
    CHECK_INT(f.failed, 0);
    mh_loop_free(loop); /* with alarms still running */
    CHECK_INT(f.blocks, 0);
}

int main(void) {
    RUN(a_class_is_found_again_by_its_length);
    RUN(timers_of_a_class_run_in_the_order_of_arming);
    RUN(a_stopped_timer_does_not_run);
    RUN(a_timer_stopped_by_one_due_in_the_same_step_does_not_run);
    RUN(a_timer_armed_again_by_a_callback_waits_its_length);
    RUN(a_class_of_no_length_runs_in_every_step_once);
    RUN(arming_outside_a_step_reads_the_clock);
    RUN(alarms_run_by_deadline_and_equal_ones_in_the_order_of_making);
    RUN(an_alarm_is_never_early_by_a_part_of_a_millisecond);
    RUN(an_alarm_of_0_ms_runs_in_the_next_step);
    RUN(a_cancelled_alarm_does_not_run_and_its_id_is_refused);
    RUN(an_alarm_cancelled_by_one_due_in_the_same_step_does_not_run);
    RUN(an_alarm_can_not_cancel_itself_while_it_runs);
    RUN(ids_are_not_used_again);
    RUN(long_deadlines_are_neither_clamped_nor_early);
    RUN(alarms_agree_with_a_naive_model);
    RUN(class_timers_agree_with_a_naive_model);
    RUN(a_failed_allocation_leaves_everything_as_it_was);
    RUN(alarms_of_the_past_serve_new_ones_without_memory);
    return check_end();
}
