/* Keeps SIGPIPE from the host around calls that have no flag against it: sendfile(2), and write(2)
 * to a pipe. The signal is blocked in this thread, and a new one taken off. */
#ifndef MH_SIGPIPE_H
#define MH_SIGPIPE_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

typedef struct mh__sigpipe {
    sigset_t old;
    bool was_pending;
} mh__sigpipe;

static inline void mh__sigpipe_hold(mh__sigpipe *held) {
    sigset_t pipe_set, pending;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    held->was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_set, &held->old);
}

/* came: the call may have raised it. Leaves errno alone. */
static inline void mh__sigpipe_release(const mh__sigpipe *held, bool came) {
    int error = errno;
    if (came && !held->was_pending) {
        static const struct timespec now = {0, 0};
        sigset_t pipe_set;
        sigemptyset(&pipe_set);
        sigaddset(&pipe_set, SIGPIPE);
        while (sigtimedwait(&pipe_set, NULL, &now) < 0 && errno == EINTR) {}
    }
    pthread_sigmask(SIG_SETMASK, &held->old, NULL);
    errno = error;
}

#endif
