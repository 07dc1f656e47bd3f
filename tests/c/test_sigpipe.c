/* SIGPIPE never reaches the host, whichever call meets a peer that has gone, and one that the host
 * has pending stays. The test counts the signals; sendfile below stands for the kernel's where a
 * race would be needed. */
#include "client.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include "outq.h"

static volatile sig_atomic_t pipes;
static bool partial; /* the next sendfile sends a part and raises SIGPIPE, as one whose peer goes in
                        the middle does */

static void on_pipe(int sig) {
    (void)sig;
    pipes++;
}

ssize_t sendfile(int out, int in, off_t *offset, size_t n) {
    if (!partial) return syscall(SYS_sendfile, out, in, offset, n);
    partial = false;
    ssize_t sent = syscall(SYS_sendfile, out, in, offset, n / 2);
    raise(SIGPIPE);
    return sent;
}

static void catch_it(void) {
    struct sigaction sa = {.sa_handler = on_pipe};
    sigaction(SIGPIPE, &sa, NULL);
    pipes = 0;
}

static bool is_pending(void) {
    sigset_t set;
    sigpending(&set);
    return sigismember(&set, SIGPIPE) == 1;
}

static void send_memory(fix *f, mh_req *req) {
    static char big[1 << 20];
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, sizeof big), MH_OK);
    CHECK_INT(mh_res_write(req, big, sizeof big), MH_FULL);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static int file_of(size_t n) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)n) < 0) abort();
    return fd;
}

static void send_file(fix *f, mh_req *req) {
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, 10 << 20), MH_OK);
    CHECK_INT(mh_res_file(req, file_of(10 << 20), 0, -1, 1), MH_FULL);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void a_peer_that_leaves_in_mid_response_raises_nothing(void) {
    for (int i = 0; i < 4; i++) {
        fix f;
        peer p;
        catch_it();
        fix_init(&f);
        f.on_request = i & 1 ? send_file : send_memory;
        REQUIRE(fix_open(&f) == MH_OK);
        if (i & 2)
            peer_tcp(&p, &f, 0);
        else
            peer_unix(&p, &f);
        peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        UNTIL(&f, peer_pull_some(&p, 100) > 0);
        peer_close(&p);
        UNTIL(&f, f.finished == 1);
        CHECK_INT(f.why, MH_FINISH_PEER_CLOSED);
        CHECK_INT(pipes, 0);
        fix_close(&f);
    }
}

/* The queue by itself, to whose socket nobody listens. */
static enum mh__outq_result send_to_nobody(bool file, bool ignored, bool half) {
    mh__mem mem;
    mh__outq_env env;
    mh__outq q;
    int fds[2];
    mh__mem_init(&mem, NULL, NULL);
    mh__outq_env_init(&env, &mem, ignored);
    mh__outq_init(&q);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) abort();
    if (!half) close(fds[1]);
    partial = half;
    if (file)
        mh__outq_file(&env, &q, file_of(100), 0, 100, true);
    else
        mh__outq_copy(&env, &q, "x", 1);
    enum mh__outq_result result = mh__outq_send(&env, &q, fds[0], 1000);
    mh__outq_clear(&env, &q);
    mh__outq_env_clear(&env);
    close(fds[0]);
    if (half) close(fds[1]);
    return result;
}

static void neither_send_nor_sendfile_raises_it(void) {
    catch_it();
    CHECK_INT(send_to_nobody(false, false, false), MH__OUTQ_GONE);
    CHECK_INT(send_to_nobody(true, false, false), MH__OUTQ_GONE);
    CHECK_INT(pipes, 0);
    CHECK(!is_pending());
}

static void a_sendfile_cut_in_the_middle_raises_nothing(void) {
    catch_it();
    CHECK_INT(send_to_nobody(true, false, true), MH__OUTQ_EMPTY);
    CHECK(!partial);
    CHECK_INT(pipes, 0);
    CHECK(!is_pending());
}

static void a_pending_one_of_the_hosts_own_survives(void) {
    sigset_t set, old;
    catch_it();
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    raise(SIGPIPE);
    CHECK_INT(send_to_nobody(true, false, false), MH__OUTQ_GONE);
    CHECK_INT(send_to_nobody(false, false, false), MH__OUTQ_GONE);
    CHECK(is_pending());
    CHECK_INT(pipes, 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    CHECK_INT(pipes, 1);
}

static void the_hosts_mask_is_as_it_was(void) {
    sigset_t set, old, after;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    send_to_nobody(true, false, false);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    CHECK_INT(sigismember(&after, SIGPIPE), 0);
    CHECK_INT(sigismember(&after, SIGUSR1), 1);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void a_host_that_ignores_it_is_served_without_masking(void) {
    signal(SIGPIPE, SIG_IGN);
    CHECK_INT(send_to_nobody(true, true, false), MH__OUTQ_GONE);
    CHECK_INT(send_to_nobody(false, true, false), MH__OUTQ_GONE);
    catch_it();
}

int main(void) {
    RUN(a_peer_that_leaves_in_mid_response_raises_nothing);
    RUN(neither_send_nor_sendfile_raises_it);
    RUN(a_sendfile_cut_in_the_middle_raises_nothing);
    RUN(a_pending_one_of_the_hosts_own_survives);
    RUN(the_hosts_mask_is_as_it_was);
    RUN(a_host_that_ignores_it_is_served_without_masking);
    return check_end();
}
