/* Lines on their way to a descriptor: when they leave, that they leave whole, and what comes of it
 * if they can't. write and the clock are the test's own. */
#include "clock.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>

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

static void tell(void *user, int error, uint64_t lost) {
    fixture *f = user;
    if (error)
        f->stuck++, f->error = error;
    else
        f->on++, f->lost = lost;
}

static void open_loop(fixture *f) {
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

static void open_on(fixture *f, int fd) {
    open_loop(f);
    watched_fd = f->fd = fd;
    CHECK_INT(mh__log_open(&f->log, f->loop, fd, MOST, tell, f), MH_OK);
}

static int new_file(void) {
    int fd = memfd_create("log", MFD_CLOEXEC);
    if (fd < 0) abort();
    return fd;
}

static void open_file(fixture *f) { open_on(f, new_file()); }

static void finish(fixture *f) {
    mh__log_close(f->log, false);
    mh_loop_free(f->loop);
    CHECK_INT(f->mem.blocks, 0);
    if (f->fd >= 0) close(f->fd);
    clock_go();
}

/* Lines are numbered and have n bytes each. */
static void log_lines(fixture *f, unsigned count, size_t n) {
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

static void pass(fixture *f, uint64_t ms) {
    clock_pass_ms(ms);
    for (int i = 0; i < 3; i++)
        mh_loop_step(f->loop, 0);
}

/* What has been written to a file, to be freed. */
static char *written(int fd, size_t *n) {
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = malloc((size_t)size + 1);
    if (!text || pread(fd, text, (size_t)size, 0) != size) abort();
    *n = (size_t)size;
    return text;
}

/* The lines of text must be whole, of n bytes each, and in order. Returns how many there are. */
static unsigned check_lines(const char *text, size_t size, size_t n) {
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

static unsigned lines_of(int fd, size_t n) {
    size_t size;
    char *text = written(fd, &size);
    unsigned lines = check_lines(text, size, n);
    free(text);
    return lines;
}

/* ---- when they leave ------------------------------------------------------------------------- */

static void lines_leave_200_ms_after_the_first(void) {
    fixture f;
    open_file(&f);
    log_lines(&f, 1, 100);
    pass(&f, 150);
    log_lines(&f, 1, 100);
    pass(&f, 49);
    CHECK_INT(lines_of(f.fd, 100), 0);
    pass(&f, 1);
    CHECK_INT(lines_of(f.fd, 100), 2);
    CHECK_INT(writes, 1);
    finish(&f);
}

static void or_when_there_are_64_kib_of_them(void) {
    fixture f;
    open_file(&f);
    log_lines(&f, 655, 100);
    CHECK_INT(writes, 0);
    log_lines(&f, 1, 100);
    CHECK_INT(writes, 1);
    CHECK_INT(lines_of(f.fd, 100), 656);
    finish(&f);
}

static void once_all_is_written_nothing_is_waited_for(void) {
    fixture f;
    open_file(&f);
    CHECK(mh__timer_next(f.loop) == MH__NEVER);
    log_lines(&f, 1, 100);
    CHECK(mh__timer_next(f.loop) != MH__NEVER);
    pass(&f, 200);
    CHECK(mh__timer_next(f.loop) == MH__NEVER);
    finish(&f);
}

static void closing_writes_what_is_there(void) {
    fixture f;
    open_file(&f);
    log_lines(&f, 3, 100);
    CHECK_INT(mh__log_close(f.log, true), 0);
    f.log = NULL;
    CHECK_INT(lines_of(f.fd, 100), 3);
    finish(&f);
}

static void closing_without_writing_writes_nothing(void) {
    fixture f;
    open_file(&f);
    log_lines(&f, 3, 100);
    CHECK_INT(mh__log_close(f.log, false), 3);
    f.log = NULL;
    CHECK_INT(writes, 0);
    finish(&f);
}

/* ---- whole ----------------------------------------------------------------------------------- */

static void a_write_that_takes_a_part_is_gone_on_with(void) {
    fixture f;
    open_file(&f);
    write_most = 7;
    log_lines(&f, 2000, 100);
    pass(&f, 200);
    CHECK_INT(lines_of(f.fd, 100), 2000);
    CHECK_INT(f.stuck + f.on, 0);
    finish(&f);
}

static void a_write_that_is_interrupted_is_made_again(void) {
    fixture f;
    open_file(&f);
    interrupted = 3;
    log_lines(&f, 1, 100);
    pass(&f, 200);
    CHECK_INT(lines_of(f.fd, 100), 1);
    CHECK_INT(f.stuck, 0);
    finish(&f);
}

static void a_write_to_a_file_holds_whole_lines(void) {
    fixture f;
    open_file(&f);
    for (size_t n = 10; n < MOST; n += 333) {
        log_lines(&f, 40, n);
        pass(&f, 200);
    }
    CHECK_INT(ragged, 0);
    finish(&f);
}

static void the_longest_line_fits(void) {
    fixture f;
    open_file(&f);
    log_lines(&f, 655, 100);
    log_lines(&f, 1, MOST);
    size_t n;
    char *text = written(f.fd, &n);
    CHECK_INT(n, 65500 + MOST);
    free(text);
    finish(&f);
}

/* ---- trouble --------------------------------------------------------------------------------- */

/* As long as writes fail with error: 64 KiB are kept, the others lost, and both told once. */
static void check_trouble(int error) {
    fixture f;
    open_file(&f);
    write_error = error;
    log_lines(&f, 1000, 100);
    CHECK_INT(f.kept, 656);
    CHECK_INT(f.stuck, 0); /* told from the loop, where nothing is under way */
    for (int i = 0; i < 10; i++)
        pass(&f, 200);
    CHECK_INT(f.stuck, 1);
    CHECK_INT(f.error, error);
    CHECK_INT(f.on, 0);
    CHECK_INT(writes, 11); /* not one a line */
    write_error = 0;
    pass(&f, 200);
    CHECK_INT(f.on, 1);
    CHECK_INT(f.lost, 1000 - 656);
    CHECK_INT(lines_of(f.fd, 100), 656);
    log_lines(&f, 5, 100);
    pass(&f, 200);
    pass(&f, 200);
    CHECK_INT(lines_of(f.fd, 100), 661);
    CHECK_INT(f.stuck, 1);
    CHECK_INT(f.on, 1);
    CHECK(mh__timer_next(f.loop) == MH__NEVER);
    finish(&f);
}

static void what_cant_be_written_is_kept_or_lost_and_told_once(void) {
    static const int errors[] = {ENOSPC, EAGAIN, EIO, EPIPE, EDQUOT, EFBIG, EBADF};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        check_trouble(errors[i]);
}

static void each_bout_is_told(void) {
    fixture f;
    open_file(&f);
    for (unsigned i = 1; i <= 3; i++) {
        write_error = ENOSPC;
        log_lines(&f, 1, 100);
        pass(&f, 200);
        CHECK_INT(f.stuck, i);
        write_error = 0;
        pass(&f, 200);
        CHECK_INT(f.on, i);
        CHECK_INT(f.lost, 0);
    }
    finish(&f);
}

/* It is over before the loop has had a turn, but lines are missing. */
static void lines_lost_in_a_short_bout_are_told_too(void) {
    fixture f;
    open_file(&f);
    write_error = EAGAIN;
    log_lines(&f, 657, 100);
    CHECK_INT(f.kept, 656);
    write_error = 0;
    mh__log_flush(f.log);
    pass(&f, 200);
    CHECK_INT(f.stuck, 1);
    CHECK_INT(f.error, EAGAIN);
    pass(&f, 200);
    CHECK_INT(f.on, 1);
    CHECK_INT(f.lost, 1);
    finish(&f);
}

static void a_line_that_was_begun_is_ended_when_there_is_room_again(void) {
    fixture f;
    open_file(&f);
    write_most = 150;
    write_budget = 1;
    log_lines(&f, 3, 100);
    pass(&f, 200);
    size_t n;
    free(written(f.fd, &n));
    CHECK_INT(n, 150);
    CHECK_INT(f.error, ENOSPC);
    log_lines(&f, 1, 100);
    write_budget = UINT_MAX;
    pass(&f, 200);
    CHECK_INT(lines_of(f.fd, 100), 4);
    CHECK_INT(f.lost, 0);
    finish(&f);
}

static void closing_says_how_many_lines_nobody_will_see(void) {
    fixture f;
    open_file(&f);
    write_error = ENOSPC;
    log_lines(&f, 700, 100);
    CHECK_INT(mh__log_close(f.log, true), 700);
    f.log = NULL;
    finish(&f);
}

/* The log is closed by who hears of its trouble. */
static void close_at_once(void *user, int error, uint64_t lost) {
    fixture *f = user;
    tell(f, error, lost);
    mh__log_close(f->log, true);
    f->log = NULL;
}

static void it_may_be_closed_when_trouble_is_told(void) {
    fixture f;
    open_loop(&f);
    watched_fd = f.fd = new_file();
    REQUIRE(mh__log_open(&f.log, f.loop, f.fd, MOST, close_at_once, &f) == MH_OK);
    write_error = ENOSPC;
    log_lines(&f, 1, 100);
    pass(&f, 200);
    CHECK_INT(f.stuck, 1);
    CHECK(!f.log);
    finish(&f);
}

/* ---- pipes and sockets ----------------------------------------------------------------------- */

static bool drain(int fd, char *text, size_t cap, size_t *n) {
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    ssize_t got;
    while (*n < cap && (got = read(fd, text + *n, cap - *n)) > 0)
        *n += (size_t)got;
    fcntl(fd, F_SETFL, flags);
    return *n < cap;
}

/* Both ends are in blocking mode, and nobody reads until the log is full. Then all that was kept
 * comes, in whole lines. */
static void check_stuck_reader(int reader, int writer) {
    static char text[1 << 20];
    size_t n = 0;
    fixture f;
    open_on(&f, writer);
    for (int i = 0; i < 100; i++) {
        log_lines(&f, 100, 100);
        pass(&f, 200); /* a write that waits would be ended by the alarm */
    }
    CHECK(f.kept < f.made && f.kept > 656);
    CHECK_INT(f.stuck, 1);
    CHECK_INT(f.error, EAGAIN);
    for (int i = 0; i < 100; i++) {
        CHECK(drain(reader, text, sizeof text, &n));
        pass(&f, 200);
    }
    CHECK_INT(check_lines(text, n, 100), f.kept);
    CHECK_INT(f.on, 1);
    CHECK_INT(f.lost, f.made - f.kept);
    CHECK_INT(long_ones, 0);
    CHECK_INT(ragged, 0);
    CHECK(!(fcntl(writer, F_GETFL) & O_NONBLOCK)); /* others may share it */
    finish(&f);
    close(reader);
}

static void a_reader_of_a_pipe_that_is_stuck_holds_up_nothing(void) {
    int fds[2];
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    check_stuck_reader(fds[0], fds[1]);
}

static void nor_does_one_of_a_socket(void) {
    int fds[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    check_stuck_reader(fds[0], fds[1]);
}

/* None of its bytes is to become two. */
static int open_terminal(int *reader) {
    struct termios raw;
    *reader = posix_openpt(O_RDWR | O_NOCTTY);
    if (*reader < 0 || grantpt(*reader) < 0 || unlockpt(*reader) < 0) abort();
    int fd = open(ptsname(*reader), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || tcgetattr(fd, &raw) < 0) abort();
    cfmakeraw(&raw);
    if (tcsetattr(fd, TCSANOW, &raw) < 0) abort();
    return fd;
}

static void nor_does_one_of_a_terminal(void) {
    int reader, writer = open_terminal(&reader);
    check_stuck_reader(reader, writer);
}

static void what_was_opened_for_a_terminal_is_closed(void) {
    fixture f;
    int reader, writer = open_terminal(&reader), before = dup(reader), after;
    close(before); /* the lowest that is free */
    open_on(&f, writer);
    CHECK_INT(mh__log_move(f.log, writer), MH_OK);
    finish(&f);
    after = dup(reader);
    CHECK(after <= before);
    close(after);
    close(reader);
}

static void lines_for_the_master_of_a_terminal_reach_its_slave(void) {
    char text[100];
    fixture f;
    int master, slave = open_terminal(&master);
    open_on(&f, master);
    log_lines(&f, 1, sizeof text);
    mh__log_flush(f.log);
    CHECK_INT(read(slave, text, sizeof text), sizeof text);
    CHECK_INT(check_lines(text, sizeof text, sizeof text), 1);
    finish(&f);
    close(slave);
}

static void a_line_of_over_4096_bytes_goes_through_a_pipe_in_pieces(void) {
    static char text[1 << 20];
    size_t n = 0;
    int fds[2];
    fixture f;
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    open_on(&f, fds[1]);
    log_lines(&f, 5, MOST);
    pass(&f, 200);
    CHECK(drain(fds[0], text, sizeof text, &n));
    CHECK_INT(check_lines(text, n, MOST), 5);
    CHECK_INT(long_ones, 0);
    finish(&f);
    close(fds[0]);
}

static volatile sig_atomic_t pipes;

static void on_pipe(int sig) {
    (void)sig;
    pipes++;
}

static void check_reader_gone(int reader, int writer) {
    fixture f;
    struct sigaction sa = {.sa_handler = on_pipe};
    sigaction(SIGPIPE, &sa, NULL);
    open_on(&f, writer);
    close(reader);
    log_lines(&f, 1, 100);
    pass(&f, 200);
    CHECK_INT(f.stuck, 1);
    CHECK_INT(f.error, EPIPE);
    CHECK_INT(pipes, 0);
    finish(&f);
}

static void a_reader_that_has_gone_raises_no_signal(void) {
    int fds[2];
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    check_reader_gone(fds[0], fds[1]);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    check_reader_gone(fds[0], fds[1]);
}

static void a_device_without_room_is_trouble(void) {
    fixture f;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    open_on(&f, fd);
    log_lines(&f, 1, 100);
    pass(&f, 200);
    CHECK_INT(f.error, ENOSPC);
    finish(&f);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static void what_cant_be_written_to_is_refused(void) {
    int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC), pair[2], ends[2];
    fixture f;
    open_loop(&f);
    REQUIRE(read_only >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0);
    const int bad[] = {read_only, ends[0], pair[0], 1000000};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_INT(mh__log_open(&f.log, f.loop, bad[i], MOST, tell, &f), MH_EINVAL);
        CHECK(!f.log);
    }
    f.fd = new_file();
    REQUIRE(mh__log_open(&f.log, f.loop, f.fd, MOST, tell, &f) == MH_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_INT(mh__log_move(f.log, bad[i]), MH_EINVAL);
    log_lines(&f, 1, 100); /* it still goes where it went */
    pass(&f, 200);
    CHECK_INT(lines_of(f.fd, 100), 1);
    const int open_ones[] = {read_only, pair[0], pair[1], ends[0], ends[1]};
    for (size_t i = 0; i < sizeof open_ones / sizeof *open_ones; i++)
        close(open_ones[i]);
    finish(&f);
}

static void moving_writes_to_the_old_one_first(void) {
    fixture f;
    int second = new_file();
    open_file(&f);
    log_lines(&f, 2, 100);
    CHECK_INT(mh__log_move(f.log, second), MH_OK);
    log_lines(&f, 3, 100);
    pass(&f, 200);
    CHECK_INT(lines_of(f.fd, 100), 2);
    CHECK_INT(lines_of(second, 100), 3);
    finish(&f);
    close(second);
}

/* The old one has taken half a line; its other half is of no use in the new one. */
static void moving_from_one_that_is_full_keeps_whole_lines(void) {
    static char text[1 << 20];
    size_t n = 0;
    int fds[2], second = new_file();
    fixture f;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    open_on(&f, fds[1]);
    for (int i = 0; i < 100 && f.kept == f.made; i++)
        log_lines(&f, 97, 1001);
    CHECK(f.kept < f.made);
    CHECK_INT(mh__log_move(f.log, second), MH_OK);
    pass(&f, 200); /* tells of the trouble, then of its end */
    pass(&f, 200);
    CHECK(drain(fds[0], text, sizeof text, &n));
    unsigned old = (unsigned)(n / 1001), begun = n % 1001 > 0;
    CHECK_INT(lines_of(second, 1001), f.kept - old - begun);
    CHECK_INT(f.lost, f.made - f.kept + begun);
    finish(&f);
    close(fds[0]);
    close(second);
}

static void without_memory_there_is_no_log(void) {
    fixture f;
    bool more = true;
    for (size_t k = 1; more; k++) {
        open_loop(&f);
        f.fd = new_file();
        failing_at(&f.mem, k);
        int error = mh__log_open(&f.log, f.loop, f.fd, MOST, tell, &f);
        more = !failing_pending(&f.mem);
        failing_at(&f.mem, 0);
        CHECK_INT(error, more ? MH_ENOMEM : MH_OK);
        CHECK(!more == (f.log != NULL));
        finish(&f);
    }
}

int main(void) {
    RUN(lines_leave_200_ms_after_the_first);
    RUN(or_when_there_are_64_kib_of_them);
    RUN(once_all_is_written_nothing_is_waited_for);
    RUN(closing_writes_what_is_there);
    RUN(closing_without_writing_writes_nothing);
    RUN(a_write_that_takes_a_part_is_gone_on_with);
    RUN(a_write_that_is_interrupted_is_made_again);
    RUN(a_write_to_a_file_holds_whole_lines);
    RUN(the_longest_line_fits);
    RUN(what_cant_be_written_is_kept_or_lost_and_told_once);
    RUN(each_bout_is_told);
    RUN(lines_lost_in_a_short_bout_are_told_too);
    RUN(a_line_that_was_begun_is_ended_when_there_is_room_again);
    RUN(closing_says_how_many_lines_nobody_will_see);
    RUN(it_may_be_closed_when_trouble_is_told);
    RUN(a_reader_of_a_pipe_that_is_stuck_holds_up_nothing);
    RUN(nor_does_one_of_a_socket);
    RUN(nor_does_one_of_a_terminal);
    RUN(what_was_opened_for_a_terminal_is_closed);
    RUN(lines_for_the_master_of_a_terminal_reach_its_slave);
    RUN(a_line_of_over_4096_bytes_goes_through_a_pipe_in_pieces);
    RUN(a_reader_that_has_gone_raises_no_signal);
    RUN(a_device_without_room_is_trouble);
    RUN(what_cant_be_written_to_is_refused);
    RUN(moving_writes_to_the_old_one_first);
    RUN(moving_from_one_that_is_full_keeps_whole_lines);
    RUN(without_memory_there_is_no_log);
    return check_end();
}
