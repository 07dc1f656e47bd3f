/* What the tests of watched descriptors share: loops, pairs of sockets, and what epoll itself
 * knows. */
#ifndef WATCHING_H
#define WATCHING_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "check.h"
#include "journal.h"
#include "loop_state.h"

static inline mh_loop *new_loop(uint32_t initial_fds, uint32_t max_events) {
    mh_loop_config cfg;
    mh_loop_config_init(&cfg);
    cfg.initial_fds = initial_fds;
    cfg.max_events = max_events;
    mh_loop *loop = NULL;
    journal_clear();
    if (mh_loop_new(&loop, &cfg) < 0) abort();
    return loop;
}

static inline void step(mh_loop *loop) { CHECK(mh_loop_step(loop, 0) >= 0); }

/* A pair of connected sockets: near is watched, far acts. */
typedef struct pair {
    int near, far;
} pair;

static inline pair new_pair(void) {
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) < 0) abort();
    return (pair){fd[0], fd[1]};
}

static inline void say(int fd) { CHECK_INT(write(fd, "x", 1), 1); }

static inline void close_pair(pair p) {
    close(p.near);
    close(p.far);
}

/* What epoll itself says it waits for on fd (proc(5), fdinfo), or -1 if it doesn't have it. */
static inline long epoll_has(const mh_loop *loop, int fd) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", loop->epfd);
    FILE *file = fopen(path, "r");
    if (!file) abort();
    long events = -1;
    int tfd;
    unsigned mask;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, " tfd: %d events: %x", &tfd, &mask) == 2 && tfd == fd)
            events = (long)(mask & ~(unsigned)(EPOLLERR | EPOLLHUP)); /* the kernel adds these */
    fclose(file);
    return events;
}

#endif
