/* Descriptors: a table indexed by fd, and what epoll knows of it.
 *
 * Each slot holds what is wanted and what epoll was told. The library's own watches change only
 * `wanted` and put the fd on the list of changes, which is applied just before the wait: an fd
 * that came and went in one step costs no system call, and one that was armed and disarmed again
 * costs none either. ADD, MOD or DEL follows from the slot, never from trying. An epoll_ctl that
 * fails then has no caller to tell, so the owner gets EPOLLERR and closes. The host's watches
 * are told to epoll at once instead: the caller is there to be told that epoll refuses the fd (a
 * regular file is EPERM), and hosts change their watches rarely.
 *
 * Ending a watch moves the slot's generation on. Events carry the generation they were armed
 * with, so what is still in the batch for an fd that was closed and reused meets another
 * generation and is dropped. */
#include "loop_state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* fd tables can't be larger than this: fd is an int. */
#define MAX_SLOTS ((uint32_t)1 << 31)

static mh__slot *slot_of(mh_loop *loop, int fd) {
    assert(fd >= 0 && (uint32_t)fd < loop->watches.n_slots);
    return &loop->watches.slots[fd];
}

static bool has_slot(const mh_loop *loop, int fd) {
    return fd >= 0 && (uint32_t)fd < loop->watches.n_slots;
}

/* Makes the table n slots large. Errors: MH_ENOMEM, with the table as it was. */
static int resize(mh_loop *loop, uint32_t n) {
    mh__watches *w = &loop->watches;
    size_t slot_bytes, change_bytes;
    if (__builtin_mul_overflow(n, sizeof *w->slots, &slot_bytes) ||
        __builtin_mul_overflow(n, sizeof *w->changes, &change_bytes))
        return MH_ENOMEM;
    mh__slot *slots = mh__mem_realloc(&loop->mem, w->slots, slot_bytes);
    if (!slots) return MH_ENOMEM;
    w->slots = slots;
    int *changes = mh__mem_realloc(&loop->mem, w->changes, change_bytes);
    if (!changes) return MH_ENOMEM;
    w->changes = changes;
    memset(slots + w->n_slots, 0, (n - w->n_slots) * sizeof *slots);
    w->n_slots = n;
    return MH_OK;
}

static int reserve(mh_loop *loop, int fd) {
    uint32_t n = loop->watches.n_slots;
    if ((uint32_t)fd < n) return MH_OK;
    while (n <= (uint32_t)fd)
        n = n < MAX_SLOTS / 2 ? n * 2 : MAX_SLOTS;
    return resize(loop, n);
}

int mh__watch_init(mh_loop *loop, uint32_t initial_fds, uint32_t max_events) {
    mh__watches *w = &loop->watches;
    w->max_events = (int)max_events;
    w->events = mh__mem_alloc(&loop->mem, max_events * sizeof *w->events);
    if (!w->events) return MH_ENOMEM;
    return resize(loop, initial_fds);
}

void mh__watch_clear(mh_loop *loop) {
    mh__watches *w = &loop->watches;
    mh__mem_free(&loop->mem, w->slots);
    mh__mem_free(&loop->mem, w->changes);
    mh__mem_free(&loop->mem, w->events);
}

/* ---- telling epoll --------------------------------------------------------------------------- */

/* One epoll_ctl, remembered in the slot if it worked. Returns what epoll_ctl does. */
static int tell(mh_loop *loop, int op, int fd, uint32_t events) {
    mh__slot *slot = slot_of(loop, fd);
    struct epoll_event ev = {.events = events,
                             .data.u64 = (uint64_t)slot->gen << 32 | (uint32_t)fd};
    if (epoll_ctl(loop->epfd, op, fd, &ev) < 0) return -1;
    slot->armed = events;
    if (op == EPOLL_CTL_DEL)
        slot->flags &= ~(uint32_t)MH__SLOT_KNOWN;
    else
        slot->flags |= MH__SLOT_KNOWN;
    return 0;
}

/* Brings epoll in line with the slot. Returns what epoll_ctl does. */
static int tell_wanted(mh_loop *loop, int fd) {
    const mh__slot *slot = slot_of(loop, fd);
    uint32_t wanted = slot->wanted;
    bool known = slot->flags & MH__SLOT_KNOWN;
    if (known && slot->armed == wanted) return 0;
    if (!(wanted & EPOLLEXCLUSIVE))
        return tell(loop, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, wanted);
    /* epoll_ctl(2): EPOLL_CTL_MOD is EINVAL for an fd added with EPOLLEXCLUSIVE. */
    if (known && tell(loop, EPOLL_CTL_DEL, fd, 0) < 0) return -1;
    if (wanted == EPOLLEXCLUSIVE) return 0; /* paused */
    return tell(loop, EPOLL_CTL_ADD, fd, wanted);
}

static void list_change(mh_loop *loop, int fd) {
    mh__watches *w = &loop->watches;
    mh__slot *slot = slot_of(loop, fd);
    if (!(slot->flags & MH__SLOT_LISTED)) {
        slot->flags |= MH__SLOT_LISTED;
        w->changes[w->n_changes++] = fd;
    }
    mh__loop_touch(loop);
}

void mh__watch_apply(mh_loop *loop) {
    mh__watches *w = &loop->watches;
    uint32_t failed = 0;
    for (uint32_t i = 0; i < w->n_changes; i++) {
        int fd = w->changes[i];
        mh__slot *slot = slot_of(loop, fd);
        if (slot->cb && tell_wanted(loop, fd) < 0) {
            slot->flags |= MH__SLOT_FAILED;
            w->changes[failed++] = fd; /* stays listed: tried again if its owner keeps it */
        } else {
            slot->flags &= ~(uint32_t)(MH__SLOT_LISTED | MH__SLOT_FAILED);
        }
    }
    w->n_changes = w->n_failed = failed;
}

/* Ends the watch. Closing the fd would take it out of epoll only when no other descriptor shares
 * its open file description (epoll(7), question 6), and a child of a fork may hold one: then
 * events of a connection that is gone would come for ever. So epoll is told now, while the fd
 * still names it. In such a child the epoll instance is the parent's and is left alone. */
static void end(mh_loop *loop, int fd) {
    mh__slot *slot = slot_of(loop, fd);
    if ((slot->flags & MH__SLOT_KNOWN) && mh__loop_mine(loop))
        (void)tell(loop, EPOLL_CTL_DEL, fd, 0); /* fails only if the fd was closed too early */
    slot->gen++;
    slot->cb = NULL;
    slot->user = NULL;
    slot->wanted = slot->armed = 0;
    slot->flags &= MH__SLOT_LISTED; /* the list still has it */
}

/* ---- handing out events ---------------------------------------------------------------------- */

static unsigned public_events(uint32_t events) {
    return (events & EPOLLIN ? (unsigned)MH_READ : 0) |
           (events & EPOLLOUT ? (unsigned)MH_WRITE : 0) |
           (events & (EPOLLERR | EPOLLHUP) ? (unsigned)MH_ERROR : 0);
}

/* Events that are no longer wanted, since a callback of this very batch disarmed them, are
 * dropped. */
static void deliver(mh_loop *loop, int fd, uint32_t events) {
    const mh__slot *slot = slot_of(loop, fd);
    assert(slot->cb); /* the generation was right */
    events &= slot->wanted | EPOLLERR | EPOLLHUP;
    if (!events) return;
    if (slot->flags & MH__SLOT_PUBLIC) events = public_events(events);
    slot->cb(loop, fd, events, slot->user); /* may move the table */
    mh__loop_between(loop);
}

static void dispatch_failed(mh_loop *loop) {
    mh__watches *w = &loop->watches;
    for (uint32_t i = 0; i < w->n_failed; i++) { /* callbacks only append to changes */
        int fd = w->changes[i];
        mh__slot *slot = slot_of(loop, fd);
        if (!(slot->flags & MH__SLOT_FAILED)) continue;
        slot->flags &= ~(uint32_t)MH__SLOT_FAILED;
        deliver(loop, fd, EPOLLERR);
    }
    w->n_failed = 0;
}

void mh__watch_dispatch(mh_loop *loop, int n) {
    if (loop->watches.n_failed) dispatch_failed(loop);
    for (int i = 0; i < n; i++) {
        const struct epoll_event *ev = &loop->watches.events[i];
        int fd = (int)(uint32_t)ev->data.u64;
        if (slot_of(loop, fd)->gen == (uint32_t)(ev->data.u64 >> 32)) deliver(loop, fd, ev->events);
    }
}

/* ---- watches of the library ------------------------------------------------------------------ */

static int begin(mh_loop *loop, int fd, uint32_t events, mh__io_cb cb, void *user) {
    assert(fd >= 0 && cb);
    int r = reserve(loop, fd);
    if (r < 0) return r;
    mh__slot *slot = slot_of(loop, fd);
    if (slot->cb) return MH_ESTATE;
    slot->cb = cb;
    slot->user = user;
    slot->wanted = events;
    return MH_OK;
}

int mh__loop_add(mh_loop *loop, int fd, uint32_t events, mh__io_cb cb, void *user) {
    int r = begin(loop, fd, events, cb, user);
    if (r == MH_OK) list_change(loop, fd);
    return r;
}

int mh__watch_own(mh_loop *loop, int fd, uint32_t events, mh__io_cb cb) {
    int r = begin(loop, fd, events, cb, NULL);
    if (r < 0 || tell_wanted(loop, fd) == 0) return r;
    r = mh__loop_sys(loop);
    end(loop, fd);
    return r;
}

void mh__loop_set(mh_loop *loop, int fd, uint32_t events) {
    mh__slot *slot = slot_of(loop, fd);
    assert(slot->cb && !(slot->flags & MH__SLOT_PUBLIC));
    events |= slot->wanted & EPOLLEXCLUSIVE; /* a property of the watch */
    if (slot->wanted == events) return;
    slot->wanted = events;
    list_change(loop, fd);
}

void mh__loop_del(mh_loop *loop, int fd) {
    if (!has_slot(loop, fd)) return;
    const mh__slot *slot = slot_of(loop, fd);
    if (slot->cb && !(slot->flags & MH__SLOT_PUBLIC)) end(loop, fd);
}

/* ---- watches of the host --------------------------------------------------------------------- */

int mh_loop_watch(mh_loop *loop, int fd, unsigned events, mh_watch_cb cb, void *user) {
    if (fd < 0 || !cb || (events & ~(unsigned)(MH_READ | MH_WRITE | MH_ERROR))) return MH_EINVAL;
    if (!mh__loop_mine(loop)) return MH_EFORK;
    if (!has_slot(loop, fd)) {
        /* A number that is no descriptor must not cost a table of its size. */
        if (fcntl(fd, F_GETFD) < 0) return mh__loop_sys(loop);
        int r = reserve(loop, fd);
        if (r < 0) return r;
    }
    mh__slot *slot = slot_of(loop, fd);
    if (slot->cb && !(slot->flags & MH__SLOT_PUBLIC)) return MH_ESTATE;
    uint32_t before = slot->wanted;
    slot->wanted =
        (events & MH_READ ? (uint32_t)EPOLLIN : 0) | (events & MH_WRITE ? (uint32_t)EPOLLOUT : 0);
    if (tell_wanted(loop, fd) < 0) {
        slot->wanted = before;
        return mh__loop_sys(loop);
    }
    slot->cb = cb;
    slot->user = user;
    slot->flags |= MH__SLOT_PUBLIC;
    return MH_OK;
}

int mh_loop_unwatch(mh_loop *loop, int fd) {
    if (!has_slot(loop, fd)) return MH_ENOENT;
    const mh__slot *slot = slot_of(loop, fd);
    if (!slot->cb || !(slot->flags & MH__SLOT_PUBLIC)) return MH_ENOENT;
    end(loop, fd);
    return MH_OK;
}
