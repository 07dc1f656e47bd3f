/* A log (log.h) and the numbered lines that go to it. write and the clock are the test's own.
 * Include it in one file of a program. */
#ifndef LINES_H
#define LINES_H

#include "clock.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "failing.h"
#include "log.h"
#include "loop_state.h"

enum { MOST = 10000 };

/* ---- write ----------------------------------------------------------------------------------- */

static int watched_fd = -1;                /* whose writes the next three are of */
static int write_error;                    /* with which they fail, 0: they don't */
static size_t write_most;                  /* bytes that one takes, 0: all */
static unsigned write_budget;              /* how many succeed before the disk is full */
static unsigned interrupted;               /* how many of the next are, by a signal */
static unsigned writes, ragged, long_ones; /* all; not ended by LF; over 4096 bytes */

ssize_t write(int fd, const void *p, size_t n) {
    if (fd != watched_fd) return syscall(SYS_write, fd, p, n);
    writes++;
    if (interrupted > 0 || write_error) {
        errno = interrupted > 0 ? EINTR : write_error;
        interrupted -= interrupted > 0;
        return -1;
    }
    if (write_budget-- == 0) {
        write_budget = 0;
        errno = ENOSPC;
        return -1;
    }
    ragged += ((const char *)p)[n - 1] != '\n';
    long_ones += n > MH__LOG_PIECE;
    if (write_most > 0 && n > write_most) n = write_most;
    return syscall(SYS_write, fd, p, n);
}

/* ---- a log ----------------------------------------------------------------------------------- */

typedef struct fixture {
    failing mem;
    mh_loop *loop;
    mh__log *log;
    int fd;              /* where it is read */
    unsigned stuck, on;  /* how often each was told */
    int error;           /* that was told last */
    uint64_t lost;       /* the same */
    unsigned made, kept; /* lines: all, and those for which there was room */
} fixture;

static inline void tell(void *user, int error, uint64_t lost) {
    fixture *f = user;
    if (error)
        f->stuck++, f->error = error;
    else
        f->on++, f->lost = lost;
}

static inline void open_loop(fixture *f) {
    mh_loop_config cfg;
    *f = (fixture){.fd = -1};
    failing_config(&f->mem, &cfg);
    clock_stop();
    if (mh_loop_new(&f->loop, &cfg) < 0) abort();
    watched_fd = -1;
    write_error = 0;
    write_most = 0;
    write_budget = UINT_MAX;
    interrupted = writes = ragged = long_ones = 0;
}

static inline void open_on(fixture *f, int fd) {
    open_loop(f);
    watched_fd = f->fd = fd;
    CHECK_INT(mh__log_open(&f->log, f->loop, fd, MOST, tell, f), MH_OK);
}

static inline int new_file(void) {
    int fd = memfd_create("log", MFD_CLOEXEC);
    if (fd < 0) abort();
    return fd;
}

static inline void open_file(fixture *f) { open_on(f, new_file()); }

static inline void finish(fixture *f) {
    mh__log_close(f->log, false);
    mh_loop_free(f->loop);
    CHECK_INT(f->mem.blocks, 0);
    if (f->fd >= 0) close(f->fd);
    clock_go();
}

/* Lines are numbered and have n bytes each. */
static inline void log_lines(fixture *f, unsigned count, size_t n) {
    for (unsigned i = 0; i < count; i++) {
        char *at = mh__log_room(f->log);
        unsigned number = f->made++;
        if (!at) continue;
        memset(at, 'x', n);
        snprintf(at, n, "%u", number);
        at[strlen(at)] = ' ';
        at[n - 1] = '\n';
        mh__log_commit(f->log, n);
        f->kept++;
    }
}

static inline void pass(fixture *f, uint64_t ms) {
    clock_pass_ms(ms);
    for (int i = 0; i < 3; i++)
        mh_loop_step(f->loop, 0);
}

/* What has been written to a file, to be freed. */
static inline char *written(int fd, size_t *n) {
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = malloc((size_t)size + 1);
    if (!text || pread(fd, text, (size_t)size, 0) != size) abort();
    *n = (size_t)size;
    return text;
}

/* The lines of text must be whole, of n bytes each, and in order. Returns how many there are. */
static inline unsigned check_lines(const char *text, size_t size, size_t n) {
    long last = -1;
    CHECK_INT(size % n, 0);
    for (size_t at = 0; at + n <= size; at += n) {
        long number = strtol(text + at, NULL, 10);
        CHECK(text[at + n - 1] == '\n' && memchr(text + at, '\n', n) == text + at + n - 1);
        CHECK(number > last);
        last = number;
    }
    return (unsigned)(size / n);
}

static inline unsigned lines_of(int fd, size_t n) {
    size_t size;
    char *text = written(fd, &size);
    unsigned lines = check_lines(text, size, n);
    free(text);
    return lines;
}

#endif
