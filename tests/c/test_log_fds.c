/* Lines on their way to pipes, sockets, terminals and devices, of which none may hold up the loop;
 * to what can't be written to; and from one descriptor to another. */
#include "lines.h"

#include <signal.h>
#include <sys/socket.h>
#include <termios.h>

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

int main(void) {
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
    return check_end();
}
