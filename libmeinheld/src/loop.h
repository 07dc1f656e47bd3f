/* What the library's other files see of the event loop, beyond meinheld.h: watches without a public
 * callback, timeout classes, tasks in two phases. Nothing here knows HTTP. */
#ifndef MH_LOOP_H
#define MH_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "meinheld.h"
#include "mem.h"

/* ---- descriptors -------------------------------------------------------------------------------
 * An array indexed by fd. What a slot wants and what epoll was told are remembered apart, and
 * epoll is told only just before the wait: an fd closed in the step that opened it never costs
 * an epoll_ctl. */

typedef void (*mh__io_cb)(mh_loop *loop, int fd, uint32_t events, void *user); /* events: EPOLL* */

/* Begins to watch fd for EPOLLIN, EPOLLOUT, EPOLLRDHUP (any set, also none; EPOLLERR and
 * EPOLLHUP always come) and EPOLLEXCLUSIVE. If epoll refuses it or a later change (no memory,
 * max_user_watches), cb gets EPOLLERR in the step that tried, and must end the watch. Errors:
 * MH_ENOMEM, MH_ESTATE (watched already). */
int mh__loop_add(mh_loop *loop, int fd, uint32_t events, mh__io_cb cb, void *user);
/* Changes what a watched fd waits for. Cheap; no system call before the next wait. An fd with
 * EPOLLEXCLUSIVE is paused by 0 and resumed by its first events: that becomes DEL and ADD, since
 * MOD is EINVAL. */
void mh__loop_set(mh_loop *loop, int fd, uint32_t events);
/* Ends the watch, before close(fd) or to hand the fd over: no event reaches cb any more. Tells
 * epoll if it knew the fd (a fork may hold the description open, and closing would then not
 * remove it). No effect if not watched. */
void mh__loop_del(mh_loop *loop, int fd);

/* ---- timers ------------------------------------------------------------------------------------
 * A class is a FIFO of timers of one constant length: arming is O(1). Intrusive, so arming can't
 * fail. */

typedef struct mh__timer mh__timer;
struct mh__timer {
    mh__timer *next, *prev; /* NULL when not armed */
    uint64_t due;           /* ms, as mh_loop_now */
    void (*fn)(mh_loop *loop, mh__timer *timer);
};

/* The number (>= 0) of the class of ms milliseconds, made if new; classes live as long as the loop.
 * Errors: MH_ENOMEM. */
int mh__loop_class(mh_loop *loop, uint32_t ms);
/* Arms or re-arms: fn runs once, a class length from now. timer->fn is set by the caller
 * beforehand. */
void mh__timer_arm(mh_loop *loop, mh__timer *timer, int cls);
/* No effect if not armed. Safe on timers that are due in this very step: they don't run. */
void mh__timer_stop(mh__timer *timer);
static inline bool mh__timer_armed(const mh__timer *timer) { return timer->next != NULL; }

/* ---- tasks -------------------------------------------------------------------------------------
 * A step is: flush (what was written outside), wait, I/O callbacks, timers, posts, RUN tasks,
 * FLUSH tasks. A task queued while its queue is being run waits for the next step, which then
 * does not wait for anything else: a FLUSH task that stops at its budget and queues itself again
 * can't hold the step. */

typedef struct mh__task mh__task;
struct mh__task {
    mh__task *next, *prev; /* NULL when not queued */
    void (*fn)(mh_loop *loop, mh__task *task);
};

/* Queue at the end; no effect if queued (in either queue). Outside a step this also makes
 * mh_loop_fd readable. */
void mh__loop_run_task(mh_loop *loop, mh__task *task);
void mh__loop_flush_task(mh_loop *loop, mh__task *task);
/* Takes it off its queue, if on one. */
void mh__task_cancel(mh__task *task);
static inline bool mh__task_queued(const mh__task *task) { return task->next != NULL; }

/* Says that an answer has been finished now and waits in a FLUSH task: from here on the FLUSH
 * tasks run between two callbacks as soon as the rule of mh_loop_flush_due asks for it. Reads
 * the clock for the first of several. */
void mh__loop_answered(mh_loop *loop);

/* ---- the rest -------------------------------------------------------------------------------- */

mh__mem *mh__loop_mem(mh_loop *loop);
/* Whether callbacks are being run, that is, whether freeing is refused. */
bool mh__loop_in_step(const mh_loop *loop);
/* False in a child of the process that made it. */
bool mh__loop_is_ours(const mh_loop *loop);
/* Callbacks will run, and have run, outside of a step: what is refused inside one is refused in
 * between. */
void mh__loop_begin(mh_loop *loop);
void mh__loop_end(mh_loop *loop);
/* Records errno for mh_loop_errno and returns MH_ESYS. */
int mh__loop_sys(mh_loop *loop);
/* Seconds since 1970, read once in this step, for Date. */
int64_t mh__loop_wall(mh_loop *loop);
/* Nanoseconds of CLOCK_MONOTONIC: what mh_loop_now was read as, and a reading of its own. */
uint64_t mh__loop_ns(const mh_loop *loop);
uint64_t mh__loop_clock_ns(void);
bool mh__loop_sigpipe_ignored(const mh_loop *loop);

/* Servers hang on the loop, which frees them before itself; last made, first freed. */
typedef struct mh__child mh__child;
struct mh__child {
    mh__child *next, *prev;
    void (*free)(mh__child *child);
};
void mh__loop_adopt(mh_loop *loop, mh__child *child);
/* For what the callbacks of servers may still use: freed after all servers. */
void mh__loop_adopt_last(mh_loop *loop, mh__child *child);
void mh__loop_disown(mh__child *child);

#endif
