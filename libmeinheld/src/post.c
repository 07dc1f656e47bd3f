/* What comes from other threads: posts, and the eventfd that ends a wait.
 *
 * Posts are pushed on a lock-free stack and taken off all at once, then turned round, so they
 * run in the order of their pushes; a stack that is only ever emptied as a whole has no ABA
 * problem. Only the push that finds the stack empty writes to the eventfd: whoever takes the
 * stack afterwards takes the later ones with it.
 *
 * The eventfd is watched edge-triggered and never read. Each write is an event of its own
 * (epoll(7)), and its counter would need 2^64 writes to block: so a wakeup costs one system
 * call, not two. */
#include "loop_state.h"

#include <errno.h>

struct mh__post {
    mh__post *next; /* the one pushed before it */
    mh_post_cb cb;
    void *user;
};

void mh__post_wake(const mh_loop *loop) {
    int saved = errno;
    uint64_t one = 1;
    ssize_t n = write(loop->wakefd, &one, sizeof one);
    (void)n; /* can't fail: see above */
    errno = saved;
}

int mh_loop_wakeup(mh_loop *loop) {
    /* A child's copy of the eventfd is the parent's too. */
    if (!mh__loop_mine(loop)) return MH_EFORK;
    mh__post_wake(loop);
    return MH_OK;
}

int mh_loop_post(mh_loop *loop, mh_post_cb cb, void *user) {
    if (!cb) return MH_EINVAL;
    if (!mh__loop_mine(loop)) return MH_EFORK;
    mh__post *post = mh__mem_alloc(&loop->mem, sizeof *post);
    if (!post) return MH_ENOMEM;
    post->cb = cb;
    post->user = user;
    mh__post *below = atomic_load_explicit(&loop->posts, memory_order_relaxed);
    do {
        post->next = below;
    } while (!atomic_compare_exchange_weak_explicit(&loop->posts, &below, post,
                                                    memory_order_release, memory_order_relaxed));
    /* From here on post may have been run and freed. */
    if (!below) mh__post_wake(loop);
    return MH_OK;
}

/* All posts made so far, oldest first. */
static mh__post *take(mh_loop *loop) {
    mh__post *post = atomic_exchange_explicit(&loop->posts, NULL, memory_order_acquire);
    mh__post *oldest = NULL;
    while (post) {
        mh__post *below = post->next;
        post->next = oldest;
        oldest = post;
        post = below;
    }
    return oldest;
}

void mh__post_run(mh_loop *loop) {
    if (!atomic_load_explicit(&loop->posts, memory_order_relaxed)) return;
    for (mh__post *post = take(loop), *next; post; post = next) {
        mh_post_cb cb = post->cb;
        void *user = post->user;
        next = post->next;
        mh__mem_free(&loop->mem, post);
        cb(loop, user);
        mh__loop_between(loop);
    }
}

void mh__post_clear(mh_loop *loop) {
    for (mh__post *post = take(loop), *next; post; post = next) {
        next = post->next;
        mh__mem_free(&loop->mem, post);
    }
}
