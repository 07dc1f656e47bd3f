/* The access log itself: turned on, off and over, with lines of the host's own, and what becomes of
 * lines that wait when the server is drained, copied or freed. */
#include "accesslog.h"

#include <sys/wait.h>

#include "loop_state.h"

static void without_a_log_nothing_is_kept_waiting(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    CHECK_INT(mh_server_access_log(f.srv, -1, 0), MH_OK);
    CHECK_INT(mh_server_access_log(f.srv, -1, 0), MH_OK);
    CHECK_INT(mh_server_log_line(f.srv, "a", 1), MH_ESTATE);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    pass(&f, 200);
    CHECK_LOGGED("");
    end_log(&f, &p);
}

static void it_can_be_turned_on_off_and_over_while_exchanges_are_open(void) {
    fix f;
    peer p, q;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_send(&f, &p, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    mh_req *first = f.req;
    CHECK_INT(mh_server_access_log(f.srv, -1, 0), MH_OK);
    pass(&f, 1500);
    CHECK_INT(mh_server_access_log(f.srv, log_fd, MH_ACCESS_COMBINED), MH_OK);
    peer_unix(&q, &f);
    peer_send(&f, &q, GET);
    CHECK_ANSWER(&f, &q, 200, "hello");
    peer_close(&q);
    settle(&f);
    CHECK_INT(mh_server_access_log(f.srv, log_fd, MH_ACCESS_JSON), MH_OK);
    say(first, "hello");
    settle(&f);
    pass(&f, 200);
    CHECK(strncmp(member("\"duration\":"), "1.500000,", 9) == 0);
    CHECK(strncmp(member("\"time\":"), "\"2023-11-14T22:13:20+00:00\"", 27) == 0);
    CHECK_INT(count_lines(logged()), 2);
    end_log(&f, &p);
}

static void lines_of_the_hosts_own_stand_alone_or_among_ours(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_LINES);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_INT(mh_server_log_line(f.srv, "first", 5), MH_OK);
    CHECK_INT(mh_server_access_log(f.srv, log_fd, MH_ACCESS_COMBINED), MH_OK);
    CHECK_INT(mh_server_log_line(f.srv, "second", 6), MH_OK);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    pass(&f, 200);
    CHECK_LOGGED("first\nsecond\n" UNIX_AT "\"GET / HTTP/1.1\" 200 5" NOBODY);
    end_log(&f, &p);
}

static unsigned lines_at_the_end;

static void drained(mh_server *srv, void *user) {
    (void)srv;
    (void)user;
    lines_at_the_end = count_lines(logged());
}

static void at_the_end_of_a_drain_all_is_written(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_send(&f, &p, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    CHECK_INT(mh_server_drain(f.srv, 0, drained, NULL), MH_OK);
    say(f.req, "hello");
    lines_at_the_end = 0;
    CHECK_ANSWER(&f, &p, 200, "hello");
    peer_close(&p);
    UNTIL(&f, lines_at_the_end == 1);
    end_log(&f, &p);
}

/* The lines that wait are the parent's. */
static void a_child_that_frees_its_copy_writes_nothing(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_send(&f, &p, GET "GET /park HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    for (int i = 0; i < 2; i++) /* with one line more the buffer would be written */
        CHECK_INT(mh_server_log_line(f.srv, big, 32700), MH_OK);
    fflush(stdout);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        mh_loop_free(f.loop);
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK_LOGGED("");
    pass(&f, 200);
    const char first[] = UNIX_AT "\"GET / HTTP/1.1\" 200 5" NOBODY;
    CHECK(memcmp(logged(), first, sizeof first - 1) == 0);
    end_log(&f, &p);
}

static void log_again(fix *f, int what) {
    if (what == MH_LOG_LINES_GO_ON) f->n = mh_server_access_log(f->srv, log_fd, MH_ACCESS_COMBINED);
}

static void lines_that_are_lost_at_the_end_are_told(void) {
    fix f;
    peer p;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    REQUIRE(full >= 0);
    open_log(&f, &p, MH_ACCESS_COMBINED);
    CHECK_INT(mh_server_access_log(f.srv, full, MH_ACCESS_COMBINED), MH_OK);
    f.on_log = log_again;
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    pass(&f, 200);
    CHECK_INT(f.told[MH_LOG_LINES_STUCK], 1);
    CHECK_INT(f.detail, ENOSPC);
    fix_close(&f);
    CHECK_INT(f.told[MH_LOG_LINES_GO_ON], 1);
    CHECK_INT(f.detail, 1);
    CHECK_INT(f.n, MH_ESTATE); /* too late for another log */
    peer_close(&p);
    clock_go();
    close(log_fd);
    close(full);
}

static void an_idle_server_with_a_log_waits_for_nothing_more(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    peer_close(&p);
    settle(&f);
    pass(&f, 200);
    CHECK(mh__timer_next(f.loop) == MH__NEVER);
    end_log(&f, &p);
}

int main(void) {
    prepare();
    RUN(without_a_log_nothing_is_kept_waiting);
    RUN(it_can_be_turned_on_off_and_over_while_exchanges_are_open);
    RUN(lines_of_the_hosts_own_stand_alone_or_among_ours);
    RUN(at_the_end_of_a_drain_all_is_written);
    RUN(a_child_that_frees_its_copy_writes_nothing);
    RUN(lines_that_are_lost_at_the_end_are_told);
    RUN(an_idle_server_with_a_log_waits_for_nothing_more);
    return check_end();
}
