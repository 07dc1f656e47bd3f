/* The inside of mh_loop, for loop.c, watch.c, timer.c and post.c only; everybody else sees
 * loop.h.
 *
 * loop.c owns the order of a step and the tasks, watch.c the descriptors, timer.c the deadlines,
 * post.c what comes from other threads. Only `posts` is touched by other threads; `mem`,
 * `wakefd`, `mark` and `pid` are read by them and never change once the loop is made. */
#ifndef MH_LOOP_STATE_H
#define MH_LOOP_STATE_H

#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "mem.h"

/* ---- descriptors (watch.c) ------------------------------------------------------------------- */

enum {
    MH__SLOT_KNOWN = 1,  /* epoll has the fd, with `armed` */
    MH__SLOT_LISTED = 2, /* the fd is in `changes`, at most once */
    MH__SLOT_FAILED = 4, /* epoll refused the last change, and the owner has not been told yet */
    MH__SLOT_PUBLIC = 8  /* a watch of the host's: events are MH_*, changes reach epoll at once */
};

typedef struct mh__slot {
    mh__io_cb cb; /* NULL: not watched */
    void *user;   /* the watcher's */
    uint32_t gen; /* moves on when a watch ends; epoll's data carries it, so a stale event shows */
    uint32_t wanted; /* EPOLL* the watcher asked for */
    uint32_t armed;  /* EPOLL* that epoll was told, if KNOWN */
    uint32_t flags;  /* MH__SLOT_* */
} mh__slot;

typedef struct mh__watches {
    mh__slot *slots;            /* by fd */
    int *changes;               /* fds whose wanted and armed may differ; room for n_slots */
    struct epoll_event *events; /* room for max_events */
    uint32_t n_slots, n_changes;
    uint32_t n_failed; /* changes[0..n_failed) were refused by the last apply */
    int max_events;
} mh__watches;

/* Errors: MH_ENOMEM. Whatever it got is released by mh__watch_clear. */
int mh__watch_init(mh_loop *loop, uint32_t initial_fds, uint32_t max_events);
void mh__watch_clear(mh_loop *loop);
/* mh__loop_add for the loop's own fds, telling epoll at once. Errors: MH_ENOMEM, MH_ESYS. */
int mh__watch_own(mh_loop *loop, int fd, uint32_t events, mh__io_cb cb);
/* Tells epoll every change; those that it refuses are left in `changes`, n_failed of them. */
void mh__watch_apply(mh_loop *loop);
/* Hands out EPOLLERR for the refused changes and the n events taken from epoll. */
void mh__watch_dispatch(mh_loop *loop, int n);

/* ---- deadlines (timer.c) --------------------------------------------------------------------- */

#define MH__NEVER UINT64_MAX

typedef struct mh__class mh__class;
typedef struct mh__alarm mh__alarm;

typedef struct mh__timers {
    mh__class **classes; /* by number; allocated one by one, because timers point into them */
    mh__alarm **alarms;  /* the public timers, by the low bits of their id; kept for reuse */
    mh__alarm **heap;    /* those that run, earliest first; room for cap_alarms */
    mh__alarm *free;     /* those that don't */
    uint64_t seq;        /* public timers made so far: orders equal deadlines */
    uint32_t n_classes, n_alarms, cap_alarms, n_heap;
} mh__timers;

void mh__timer_clear(mh_loop *loop);
/* The earliest deadline, exactly; MH__NEVER without one. */
uint64_t mh__timer_next(const mh_loop *loop);
/* Runs what is due at loop->now and was armed before this call. */
void mh__timer_expire(mh_loop *loop);

/* ---- other threads (post.c) ------------------------------------------------------------------ */

typedef struct mh__post mh__post;

/* Runs the posts made before this call. */
void mh__post_run(mh_loop *loop);
/* Drops the posts not yet run. */
void mh__post_clear(mh_loop *loop);
/* Makes the eventfd readable. Async-signal-safe; leaves errno alone. */
void mh__post_wake(const mh_loop *loop);

/* ---- the loop (loop.c) ----------------------------------------------------------------------- */

struct mh_loop {
    mh__mem mem;
    mh__watches watches;
    mh__timers timers;
    mh__task run, flush;       /* sentinels of the two queues */
    mh__child children;        /* sentinel; last made first */
    _Atomic(mh__post *) posts; /* a stack, newest first */
    uint64_t now;              /* ms of CLOCK_MONOTONIC */
    uint64_t now_ns;           /* the same reading in ns */
    int64_t wall;              /* s since 1970, 0: not read in this step */
    uint64_t answer_ns;        /* when the oldest unsent answer was finished, 0: none waits */
    uint64_t piece_ns;         /* when the piece of work in hand began, 0: not known */
    uint64_t timer_due;        /* what the timerfd is set to */
    const volatile int *mark;  /* non-zero in the process that made the loop; NULL: compare pid */
    pid_t pid;
    int epfd;
    int wakefd;   /* eventfd, watched edge-triggered: never read, each write is an edge */
    int timerfd;  /* -1 unless shared; edge-triggered as well */
    int errnum;   /* for mh_loop_errno */
    bool in_step; /* callbacks may be running */
    bool stopping;
    bool shared; /* mh_loop_fd was called: a foreign loop polls epfd */
    bool dirty;  /* shared, and wakefd has been written for work of this thread's own */
    bool sigpipe_ignored;
};

/* Whether this process made the loop. The mark is in a page that fork wipes in the child
 * (madvise(2), MADV_WIPEONFORK): getpid(2) would be a system call in every step. */
static inline bool mh__loop_mine(const mh_loop *loop) {
    return loop->mark ? *loop->mark != 0 : loop->pid == getpid();
}

static inline uint64_t mh__clock_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Reads the clock into loop->now; returns it in ns. */
static inline uint64_t mh__loop_tick(mh_loop *loop) {
    uint64_t ns = loop->now_ns = mh__clock_ns();
    loop->now = ns / 1000000u;
    return ns;
}

/* Sends if the rule of mh_loop_flush_due says so. Only with an answer waiting. */
void mh__loop_flush_if_due(mh_loop *loop);

/* To be called between any two callbacks of a step. The clock is read only while an answer
 * waits. */
static inline void mh__loop_between(mh_loop *loop) {
    if (loop->answer_ns) mh__loop_flush_if_due(loop);
}

/* Makes mh_loop_fd readable, once until the next step. Only in shared mode and outside a step. */
void mh__loop_dirty(mh_loop *loop);
/* Sets the timerfd for the earliest deadline. Only in shared mode and outside a step. */
void mh__loop_set_timerfd(mh_loop *loop);

/* To be called where a step has got something to do. Inside a step its end sees to it. */
static inline void mh__loop_touch(mh_loop *loop) {
    if (loop->shared && !loop->in_step) mh__loop_dirty(loop);
}

/* The same where the earliest deadline may have moved. */
static inline void mh__loop_touch_timers(mh_loop *loop) {
    if (loop->shared && !loop->in_step) mh__loop_set_timerfd(loop);
}

#endif
