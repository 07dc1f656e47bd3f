/* Lines on their way to a descriptor: see log.h.
 *
 * A regular file is written to as it is: the page cache takes what comes, or says that the disk is
 * full. A pipe or terminal may be in blocking mode, and its mode is not ours to change, for others
 * share it (a process's standard output nearly always). So it is only written to when poll says
 * that there is room, and no more than the PIPE_BUF bytes for which there then is (pipe(7)); that
 * many are also never mixed with those of other processes. Of a terminal poll says less: there may
 * be room for one byte. So it is opened once more, for a mode of our own. */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sigpipe.h"

enum kind { KIND_FILE, KIND_PIPE /* and whatever else has poll */, KIND_TERMINAL, KIND_SOCKET };

struct mh__log {
    mh_loop *loop;
    mh__log_cb tell;
    void *user;
    int fd;
    bool own;     /* fd is to be closed */
    uint8_t kind; /* enum kind */
    bool begun;   /* buf begins in the middle of a line */
    bool told;    /* of the trouble */
    int error;    /* errno of the last write, 0: all is well */
    int trouble;  /* errno of the last one that failed */
    int cls;      /* of timer */
    uint64_t lost;
    mh__timer timer; /* armed while there is anything to write or to tell */
    size_t n;        /* bytes in buf, lines but for its beginning */
    size_t most;
    char buf[]; /* MH__LOG_GATHER + most */
};

/* ---- the descriptor -------------------------------------------------------------------------- */

/* Whether fd is a pseudoterminal's master: opened once more it would be another's. */
static bool is_master(int fd) {
    unsigned number;
    return ioctl(fd, TIOCGPTN, &number) == 0;
}

/* The kind of fd, or MH_EINVAL. */
static int kind_of(int fd) {
    int flags = fcntl(fd, F_GETFL), type = 0;
    socklen_t n = sizeof type;
    struct stat st;
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(fd, &st) < 0) return MH_EINVAL;
    if (S_ISREG(st.st_mode)) return KIND_FILE;
    if (S_ISCHR(st.st_mode) && isatty(fd) && !is_master(fd)) return KIND_TERMINAL;
    if (!S_ISSOCK(st.st_mode)) return KIND_PIPE;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_STREAM) return MH_EINVAL;
    return KIND_SOCKET;
}

/* From now on fd is written to. What can't be opened once more is written to as it is. */
static void use(mh__log *log, int fd, int kind) {
    char path[32];
    int own = -1;
    if (kind == KIND_TERMINAL) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
    log->fd = own < 0 ? fd : own;
    log->own = own >= 0;
    log->kind = (uint8_t)kind;
}

static void leave(const mh__log *log) {
    if (log->own) close(log->fd);
}

/* As many of n bytes as a pipe is to be given: whole lines, if it can be. */
static size_t piece_of(const char *p, size_t n) {
    if (n <= MH__LOG_PIECE) return n;
    const char *lf = memrchr(p, '\n', MH__LOG_PIECE);
    return lf ? (size_t)(lf + 1 - p) : MH__LOG_PIECE;
}

/* The same set of events on all that is no file; a reader that has gone counts, for write says so.
 */
static bool has_room(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) > 0;
}

static ssize_t write_pipe(const mh__log *log, const char *p, size_t n) {
    mh__sigpipe held;
    if (!has_room(log->fd)) {
        errno = EAGAIN;
        return -1;
    }
    n = piece_of(p, n);
    if (mh__loop_sigpipe_ignored(log->loop)) return write(log->fd, p, n);
    mh__sigpipe_hold(&held);
    ssize_t taken = write(log->fd, p, n);
    mh__sigpipe_release(&held, taken < 0 && errno == EPIPE);
    return taken;
}

/* One system call's worth: the number of bytes taken, > 0, or -1 with errno. */
static ssize_t write_some(const mh__log *log, const char *p, size_t n) {
    ssize_t taken;
    do {
        switch ((enum kind)log->kind) {
        case KIND_SOCKET:
            taken = send(log->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
            break;
        case KIND_PIPE:
        case KIND_TERMINAL:
            taken = write_pipe(log, p, n);
            break;
        default:
            taken = write(log->fd, p, n);
            break;
        }
    } while (taken < 0 && errno == EINTR);
    if (taken == 0) errno = EIO; /* of no such descriptor; and asking for ever would be worse */
    return taken > 0 ? taken : -1;
}

/* ---- the buffer ------------------------------------------------------------------------------ */

/* Takes the first n bytes off. */
static void drop_first(mh__log *log, size_t n) {
    if (n == 0) return;
    log->begun = log->buf[n - 1] != '\n';
    log->n -= n;
    memmove(log->buf, log->buf + n, log->n);
}

static uint64_t count_lines(const mh__log *log) {
    uint64_t lines = 0;
    for (size_t i = 0; i < log->n; i++)
        lines += log->buf[i] == '\n';
    return lines;
}

void mh__log_flush(mh__log *log) {
    size_t at = 0;
    int error = 0;
    while (at < log->n && !error) {
        ssize_t taken = write_some(log, log->buf + at, log->n - at);
        if (taken < 0)
            error = errno;
        else
            at += (size_t)taken;
    }
    drop_first(log, at);
    log->error = error;
    if (error) log->trouble = error;
}

static void arm(mh__log *log) {
    if (!mh__timer_armed(&log->timer)) mh__timer_arm(log->loop, &log->timer, log->cls);
}

char *mh__log_room(mh__log *log) {
    /* A bout of trouble is tried again by the timer alone: a call a line would be in vain. */
    if (log->n > MH__LOG_GATHER && !log->error) mh__log_flush(log);
    if (log->n <= MH__LOG_GATHER) return log->buf + log->n;
    log->lost++;
    return NULL;
}

void mh__log_commit(mh__log *log, size_t n) {
    log->n += n;
    arm(log);
    if (log->n >= MH__LOG_GATHER && !log->error) mh__log_flush(log);
}

static void on_time(mh_loop *loop, mh__timer *timer) {
    mh__log *log = (mh__log *)(void *)((char *)timer - offsetof(mh__log, timer));
    (void)loop;
    mh__log_flush(log);
    bool fails = log->error || log->lost > 0;
    if (fails) arm(log); /* what is there is tried again */
    if (fails && !log->told) {
        log->told = true;
        log->tell(log->user, log->trouble, 0);
    } else if (!log->error && log->told) {
        uint64_t lost = log->lost;
        log->told = false;
        log->lost = 0;
        log->tell(log->user, 0, lost);
    }
}

/* ---- making and end -------------------------------------------------------------------------- */

int mh__log_open(mh__log **out, mh_loop *loop, int fd, size_t most, mh__log_cb tell, void *user) {
    *out = NULL;
    int kind = kind_of(fd);
    if (kind < 0) return kind;
    int cls = mh__loop_class(loop, MH__LOG_DELAY);
    if (cls < 0) return cls;
    mh__log *log = mh__mem_alloc(mh__loop_mem(loop), sizeof *log + MH__LOG_GATHER + most);
    if (!log) return MH_ENOMEM;
    *log = (mh__log){
        .loop = loop, .tell = tell, .user = user, .cls = cls, .timer.fn = on_time, .most = most};
    use(log, fd, kind);
    *out = log;
    return MH_OK;
}

int mh__log_move(mh__log *log, int fd) {
    int kind = kind_of(fd);
    if (kind < 0) return kind;
    mh__log_flush(log);
    if (log->begun) {
        const char *lf = memchr(log->buf, '\n', log->n);
        drop_first(log, (size_t)(lf + 1 - log->buf));
        log->lost++;
    }
    leave(log);
    use(log, fd, kind);
    log->error = 0;
    return MH_OK;
}

uint64_t mh__log_close(mh__log *log, bool flush) {
    if (!log) return 0;
    if (flush) mh__log_flush(log);
    uint64_t lost = log->lost + count_lines(log);
    mh__timer_stop(&log->timer);
    leave(log);
    mh__mem_free(mh__loop_mem(log->loop), log);
    return lost;
}
