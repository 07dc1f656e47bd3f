/* The event loop: the order of a step, the two queues of tasks, and the one descriptor that
 * stands for it all.
 *
 * A step is: flush what was written outside, tell epoll what changed, wait, then hand out events
 * (watch.c), deadlines (timer.c), posts (post.c) and RUN tasks, and at last run the FLUSH tasks,
 * so that all a step wrote leaves together. Each phase does what it found when it began; what
 * its callbacks queue for the same phase is for the next step, which then doesn't wait. So a
 * step is bounded whatever callbacks do.
 *
 * Between two callbacks the FLUSH tasks run early if the rule of mh_loop_flush_due asks for it:
 * a finished answer waits for at most one long callback. The clock is read for this only while a
 * finished answer waits.
 *
 * Shared mode starts with mh_loop_fd, for a host that polls epoll's descriptor in a loop of its
 * own. Outside a step that descriptor must then be readable exactly when a step would find
 * something, so the end of a step applies the changes that an own loop leaves for the next one;
 * a timerfd stands for the earliest deadline, and a write to the eventfd for everything else
 * ("dirty"). Without mh_loop_fd none of this costs a system call. */
#include "loop_state.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>

#include "sized.h"

/* The rule of mh_loop_flush_due, in ns. */
#define PIECE_NS  50000u
#define ANSWER_NS 200000u

/* ---- tasks ----------------------------------------------------------------------------------- */

static void queue_init(mh__task *queue) { queue->next = queue->prev = queue; }

static bool queue_empty(const mh__task *queue) { return queue->next == queue; }

static void enqueue(mh_loop *loop, mh__task *queue, mh__task *task) {
    if (mh__task_queued(task)) return;
    task->prev = queue->prev;
    task->next = queue;
    queue->prev->next = task;
    queue->prev = task;
    mh__loop_touch(loop);
}

void mh__loop_run_task(mh_loop *loop, mh__task *task) { enqueue(loop, &loop->run, task); }

void mh__loop_flush_task(mh_loop *loop, mh__task *task) { enqueue(loop, &loop->flush, task); }

void mh__task_cancel(mh__task *task) {
    if (!mh__task_queued(task)) return;
    task->prev->next = task->next;
    task->next->prev = task->prev;
    task->next = task->prev = NULL;
}

/* Moves all of queue to batch, where tasks can still be cancelled. */
static void queue_take(mh__task *queue, mh__task *batch) {
    queue_init(batch);
    if (queue_empty(queue)) return;
    batch->next = queue->next;
    batch->prev = queue->prev;
    batch->next->prev = batch->prev->next = batch;
    queue_init(queue);
}

static void run_first(mh_loop *loop, mh__task *queue) {
    mh__task *task = queue->next;
    mh__task_cancel(task);
    task->fn(loop, task);
}

static void run_flush(mh_loop *loop) {
    mh__task batch;
    queue_take(&loop->flush, &batch);
    loop->answer_ns = loop->piece_ns = 0;
    while (!queue_empty(&batch))
        run_first(loop, &batch);
}

static void run_tasks(mh_loop *loop) {
    mh__task batch;
    queue_take(&loop->run, &batch);
    while (!queue_empty(&batch)) {
        run_first(loop, &batch);
        mh__loop_between(loop);
    }
}

/* ---- the flush rule -------------------------------------------------------------------------- */

void mh__loop_answered(mh_loop *loop) {
    if (!loop->answer_ns) loop->answer_ns = mh__loop_tick(loop);
}

/* Whether the piece of work that ends at ns was long, or the oldest answer is old; the next
 * piece begins. A piece whose beginning nobody timed began with the answer, as far as we know. */
static bool flush_is_due(mh_loop *loop, uint64_t ns) {
    uint64_t answer = loop->answer_ns ? loop->answer_ns : ns;
    uint64_t piece = loop->piece_ns ? loop->piece_ns : answer;
    loop->piece_ns = ns;
    return ns - piece > PIECE_NS || ns - answer > ANSWER_NS;
}

void mh__loop_flush_if_due(mh_loop *loop) {
    if (flush_is_due(loop, mh__loop_tick(loop))) run_flush(loop);
}

/* ---- shared mode ----------------------------------------------------------------------------- */

/* Whether a step would find work without waiting, deadlines and descriptors aside. */
static bool left_over(const mh_loop *loop) {
    return !queue_empty(&loop->run) || !queue_empty(&loop->flush) || loop->watches.n_failed > 0 ||
           atomic_load_explicit(&loop->posts, memory_order_relaxed);
}

void mh__loop_dirty(mh_loop *loop) {
    if (loop->dirty || !mh__loop_mine(loop)) return;
    loop->dirty = true;
    mh__post_wake(loop);
}

/* The timerfd is moved when the earliest deadline is earlier than what it is set to, when it has
 * fired and when no deadline is left, but not when the earliest one was stopped: that happens
 * with every request, and the price of leaving it is one step that finds nothing. Watched
 * edge-triggered, so it need not be read either. */
void mh__loop_set_timerfd(mh_loop *loop) {
    uint64_t next = mh__timer_next(loop);
    bool move = next == MH__NEVER ? loop->timer_due != MH__NEVER : next < loop->timer_due;
    if (!move || !mh__loop_mine(loop)) return;
    struct itimerspec its = {{0, 0}, {0, 0}};
    if (next != MH__NEVER) {
        its.it_value.tv_sec = (time_t)(next / 1000u);
        its.it_value.tv_nsec = (long)(next % 1000u) * 1000000 + 1; /* all zero would disarm it */
    }
    if (timerfd_settime(loop->timerfd, TFD_TIMER_ABSTIME, &its, NULL) == 0) loop->timer_due = next;
}

static void timerfd_fired(mh_loop *loop, int fd, uint32_t events, void *user) {
    (void)fd;
    (void)events;
    (void)user;
    loop->timer_due = MH__NEVER; /* it is set to nothing now, and sync_shared sets it anew */
}

static void woken(mh_loop *loop, int fd, uint32_t events, void *user) {
    (void)loop;
    (void)fd;
    (void)events;
    (void)user;
}

/* Makes epoll's descriptor say what a step would find. */
static void sync_shared(mh_loop *loop) {
    mh__watch_apply(loop);
    if (left_over(loop)) mh__loop_dirty(loop);
    mh__loop_set_timerfd(loop);
}

int mh_loop_fd(mh_loop *loop) {
    if (!mh__loop_mine(loop)) return MH_EFORK;
    if (loop->shared) return loop->epfd;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0) return mh__loop_sys(loop);
    int r = mh__watch_own(loop, fd, EPOLLIN | EPOLLET, timerfd_fired);
    if (r < 0) {
        close(fd);
        return r;
    }
    loop->timerfd = fd;
    loop->shared = true;
    if (!loop->in_step) sync_shared(loop);
    return loop->epfd;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static int enter(mh_loop *loop) {
    if (!mh__loop_mine(loop)) return MH_EFORK;
    if (loop->in_step) return MH_ESTATE;
    loop->in_step = true;
    loop->wall = 0;
    return MH_OK;
}

static void leave(mh_loop *loop) {
    loop->in_step = false;
    if (loop->shared) sync_shared(loop);
}

/* How long epoll may wait. The clock is read again, since the callbacks of the last step may
 * have taken long, but only where that matters. An int can't hold every deadline: a step that
 * wakes early finds nothing. */
static int wait_ms(mh_loop *loop, int timeout_ms) {
    if (timeout_ms == 0 || left_over(loop)) return 0;
    uint64_t next = mh__timer_next(loop);
    if (next != MH__NEVER) {
        mh__loop_tick(loop);
        uint64_t left = next > loop->now ? next - loop->now : 0;
        if (left > INT_MAX) left = INT_MAX;
        if (timeout_ms < 0 || left < (uint64_t)timeout_ms) return (int)left;
    }
    return timeout_ms < 0 ? -1 : timeout_ms;
}

int mh_loop_step(mh_loop *loop, int timeout_ms) {
    int r = enter(loop);
    if (r < 0) return r;
    loop->piece_ns = 0;
    if (!queue_empty(&loop->flush)) {
        mh__loop_tick(loop); /* flushing arms timeouts */
        run_flush(loop);
    }
    mh__watch_apply(loop);
    int n = epoll_wait(loop->epfd, loop->watches.events, loop->watches.max_events,
                       wait_ms(loop, timeout_ms));
    if (n < 0) {
        r = errno == EINTR ? MH_EINTR : mh__loop_sys(loop);
    } else {
        mh__loop_tick(loop);
        loop->wall = 0;
        loop->dirty = false;
        mh__watch_dispatch(loop, n);
        mh__timer_expire(loop);
        mh__post_run(loop);
        run_tasks(loop);
        run_flush(loop);
    }
    leave(loop);
    return r < 0 ? r : left_over(loop) || mh__timer_next(loop) <= loop->now;
}

int mh_loop_run(mh_loop *loop) {
    if (!mh__loop_mine(loop)) return MH_EFORK;
    if (loop->in_step) return MH_ESTATE;
    while (!loop->stopping) {
        int r = mh_loop_step(loop, -1);
        if (r < 0) return r;
    }
    loop->stopping = false;
    return MH_OK;
}

void mh_loop_stop(mh_loop *loop) { loop->stopping = true; }

int mh_loop_flush(mh_loop *loop) {
    int r = enter(loop);
    if (r < 0) return r;
    if (!queue_empty(&loop->flush)) {
        mh__loop_tick(loop);
        run_flush(loop);
    }
    leave(loop);
    return MH_OK;
}

int mh_loop_flush_due(mh_loop *loop) {
    int r = enter(loop);
    if (r < 0) return r;
    if (flush_is_due(loop, mh__loop_tick(loop)) && !queue_empty(&loop->flush)) {
        run_flush(loop);
        loop->piece_ns = mh__loop_tick(loop); /* flushing is not the host's work */
    }
    leave(loop);
    return MH_OK;
}

/* ---- making and freeing ---------------------------------------------------------------------- */

void mh_loop_config_init_sized(mh_loop_config *cfg, size_t size) {
    const mh_loop_config defaults = {.size = size, .initial_fds = 1024, .max_events = 32};
    mh__sized_fill(cfg, size, &defaults, sizeof defaults);
}

/* A page with a 1 in it that the kernel empties in children. NULL where that isn't to be had. It
 * is the one piece of memory that doesn't come from the allocator: it has to be a page of its
 * own. */
static const volatile int *mark_new(void) {
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    int *mark = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mark == MAP_FAILED) return NULL;
    if (madvise(mark, size, MADV_WIPEONFORK) < 0) {
        munmap(mark, size);
        return NULL;
    }
    *mark = 1;
    return mark;
}

static int open_fds(mh_loop *loop) {
    loop->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epfd < 0) return MH_ESYS;
    loop->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wakefd < 0) return MH_ESYS;
    return mh__watch_own(loop, loop->wakefd, EPOLLIN | EPOLLET, woken);
}

/* Gives back all that a loop holds, however far its making got. Leaves errno alone. */
static void release(mh_loop *loop) {
    int saved = errno;
    mh__post_clear(loop);
    mh__timer_clear(loop);
    mh__watch_clear(loop);
    if (loop->timerfd >= 0) close(loop->timerfd);
    if (loop->wakefd >= 0) close(loop->wakefd);
    if (loop->epfd >= 0) close(loop->epfd);
    if (loop->mark) munmap((void *)(uintptr_t)loop->mark, (size_t)sysconf(_SC_PAGESIZE));
    mh__mem mem = loop->mem;
    mh__mem_free(&mem, loop);
    errno = saved;
}

int mh_loop_new(mh_loop **out, const mh_loop_config *cfg) {
    *out = NULL;
    mh_loop_config c;
    mh_loop_config_init(&c);
    if (cfg) {
        if (cfg->size < sizeof c) return MH_EINVAL; /* less than the first version's */
        c = *cfg;
    }
    if (c.initial_fds == 0 || c.initial_fds > INT_MAX || c.max_events == 0 ||
        c.max_events > INT_MAX / sizeof(struct epoll_event)) /* epoll_wait's own limit */
        return MH_EINVAL;
    mh__mem mem;
    mh__mem_init(&mem, c.alloc, c.alloc_user);
    mh_loop *loop = mh__mem_zalloc(&mem, sizeof *loop);
    if (!loop) return MH_ENOMEM;
    loop->mem = mem;
    loop->epfd = loop->wakefd = loop->timerfd = -1;
    loop->timer_due = MH__NEVER;
    loop->sigpipe_ignored = c.sigpipe_ignored != 0;
    loop->pid = getpid();
    loop->mark = mark_new();
    atomic_init(&loop->posts, NULL);
    queue_init(&loop->run);
    queue_init(&loop->flush);
    loop->children.next = loop->children.prev = &loop->children;
    mh__loop_tick(loop);
    int r = mh__watch_init(loop, c.initial_fds, c.max_events);
    if (r == MH_OK) r = open_fds(loop);
    if (r < 0)
        release(loop);
    else
        *out = loop;
    return r;
}

void mh_loop_free(mh_loop *loop) {
    if (!loop || loop->in_step) return; /* a callback's loop is still in use: refused */
    loop->in_step = true;               /* freeing servers runs callbacks */
    while (loop->children.next != &loop->children) {
        mh__child *child = loop->children.next;
        mh__loop_disown(child);
        child->free(child);
    }
    release(loop);
}

static void adopt(mh__child *after, mh__child *child) {
    child->prev = after;
    child->next = after->next;
    child->next->prev = child;
    after->next = child;
}

void mh__loop_adopt(mh_loop *loop, mh__child *child) { adopt(&loop->children, child); }
void mh__loop_adopt_last(mh_loop *loop, mh__child *child) { adopt(loop->children.prev, child); }

void mh__loop_disown(mh__child *child) {
    if (!child->next) return;
    child->prev->next = child->next;
    child->next->prev = child->prev;
    child->next = child->prev = NULL;
}

/* ---- what others ask ------------------------------------------------------------------------- */

uint64_t mh_loop_now(const mh_loop *loop) { return loop->now; }

int mh_loop_errno(const mh_loop *loop) { return loop->errnum; }

mh__mem *mh__loop_mem(mh_loop *loop) { return &loop->mem; }

bool mh__loop_in_step(const mh_loop *loop) { return loop->in_step; }

bool mh__loop_is_ours(const mh_loop *loop) { return mh__loop_mine(loop); }

void mh__loop_begin(mh_loop *loop) { loop->in_step = true; }

void mh__loop_end(mh_loop *loop) {
    loop->in_step = false;
    if (loop->shared && mh__loop_mine(loop)) sync_shared(loop);
}

int mh__loop_sys(mh_loop *loop) {
    loop->errnum = errno;
    return MH_ESYS;
}

/* Outside a step nobody says how old the last reading is. The coarse clock's ms are enough for
 * seconds, and it is the cheapest. */
int64_t mh__loop_wall(mh_loop *loop) {
    if (loop->wall && loop->in_step) return loop->wall;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    return loop->wall = ts.tv_sec;
}

uint64_t mh__loop_ns(const mh_loop *loop) { return loop->now_ns; }

uint64_t mh__loop_clock_ns(void) { return mh__clock_ns(); }

bool mh__loop_sigpipe_ignored(const mh_loop *loop) { return loop->sigpipe_ignored; }
