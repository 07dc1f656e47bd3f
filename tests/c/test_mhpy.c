/* A hub: what it tells of requests, of their ends and of its log, what it watches, and the files
 * that it serves by itself. Answers are in test_mhpy_answer.c and test_mail.c, and what failing
 * allocations do in test_mhpy_memory.c. */
#include "clock.h"

#include "hub.h"

#include <sys/mman.h>

#define HOST "Host: a\r\n"

/* ---- requests and watches -------------------------------------------------------------------- */

/* Who takes what has come, and is busy with it, does not wait for more. */
static void a_part_of_a_body_is_read_without_waiting_for_the_rest(void) {
    static const char begun[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabc";
    char buf[100];
    host h;
    mhpy_batch batch;
    clock_stop();
    open_host(&h);
    h.step_ms = 0;
    int64_t name = ask_by(&h, begun);
    CHECK_INT(mhpy_keep(h.hub, name), MH_OK);
    CHECK_INT(mhpy_read(h.hub, name, buf, 2, 0), 2 << 2 | MHPY_READ_FULL);
    CHECK_INT(mhpy_read(h.hub, name, buf, sizeof buf, 0), 1 << 2 | MHPY_READ_FULL);
    clock_pass_ms(10 * h.options.config.body_timeout);
    turn(&h);
    turn(&h);
    CHECK_INT(h.finishes, 0);
    REQUIRE(send(h.client.fd, "d", 1, 0) == 1);
    CHECK_INT(mhpy_read(h.hub, name, buf, sizeof buf, 0), 1 << 2 | MHPY_READ_FULL);
    CHECK_INT(mhpy_read(h.hub, name, buf, sizeof buf, 0), MHPY_READ_WAIT);
    REQUIRE(send(h.client.fd, "e", 1, 0) == 1);
    CHECK_INT(mhpy_step(h.hub, -1, &batch), MHPY_EVENT_INTS);
    CHECK_INT(batch.ints[0], MHPY_READABLE);
    CHECK_INT(mhpy_read(h.hub, name, buf, sizeof buf, 0), 1 << 2 | MHPY_READ_END);
    CHECK_INT(mhpy_read(h.hub, name, buf, sizeof buf, 0), MHPY_READ_END);
    close_host(&h);
    clock_go();
}

/* Room for an event is kept for each. */
static void a_watch_that_takes_anothers_place_is_counted_once(void) {
    int fds[2];
    mhpy *hub;
    mhpy_options options;
    mhpy_options_init(&options);
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    REQUIRE(mhpy_new(&hub, &options) == MH_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(mhpy_watch(hub, fds[0], MH_READ), MH_OK);
        CHECK_INT(hub->watches, 1);
    }
    CHECK_INT(mhpy_watch(hub, fds[0], 8), MH_EINVAL);
    CHECK_INT(hub->watches, 0);
    CHECK_INT(mhpy_unwatch(hub, fds[0]), MH_ENOENT);
    CHECK_INT(hub->watches, 0);
    mhpy_free(hub);
    close(fds[0]);
    close(fds[1]);
}

/* ---- taking the socket ----------------------------------------------------------------------- */

#define UPGRADE "GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: x\r\n\r\n"

static void an_upgrade_takes_the_socket_and_what_was_read(void) {
    char buf[16];
    size_t n = 2;
    host h;
    open_host(&h);
    int64_t name = ask_by(&h, UPGRADE "rest");
    CHECK_INT(mhpy_upgrade(h.hub, name, buf, &n), MH_EINVAL);
    CHECK_INT(n, 4);
    n = sizeof buf;
    int fd = mhpy_upgrade(h.hub, name, buf, &n);
    REQUIRE(fd >= 0);
    CHECK_MEM(buf, n, "rest");
    CHECK_INT(mhpy_upgrade(h.hub, name, buf, &n), MH_ECLOSED);
    CHECK_INT(say_hello_to(&h, name), MH_ECLOSED);
    TURN_UNTIL(&h, h.finished == name);
    CHECK_INT(h.why, MH_FINISH_UPGRADED);
    CHECK_INT(mhpy_upgrade(h.hub, name, buf, &n), MH_ECLOSED);
    CHECK_INT(mhpy_upgrade(NULL, name, buf, &n), MH_ECLOSED);
    CHECK_INT(write(fd, "mine", 4), 4);
    TURN_UNTIL(&h, h.client.n == 4);
    CHECK_MEM(h.client.in, h.client.n, "mine");
    close(fd);
    close_host(&h);
}

/* The answer before it has to leave first, and a client that does not read keeps it. */
static void an_upgrade_comes_after_the_answer_before_it(void) {
    static char body[1 << 20];
    char buf[16];
    size_t n = sizeof buf;
    host h;
    mhpy_batch batch;
    init_host(&h);
    h.options.config.high_water = 1 << 24;
    open_hub(&h);
    connect_client(&h);
    int64_t first = ask(&h);
    CHECK_INT(mhpy_answer(h.hub, first, "200 OK", 6, 1, body, sizeof body, MHPY_NOW), MH_OK);
    REQUIRE(send(h.client.fd, UPGRADE "rest", sizeof UPGRADE "rest" - 1, MSG_NOSIGNAL) > 0);
    while (mhpy_step(h.hub, h.step_ms, &batch) == 0)
        continue;
    REQUIRE(batch.ints[0] == MHPY_REQUEST);
    int64_t second = batch.ints[1];
    CHECK_INT(mhpy_upgrade(h.hub, second, buf, &n), MH_EAGAIN);
    int fd = -1;
    for (uint64_t end = real_ms() + UNTIL_MS; fd < 0 && real_ms() < end;) {
        turn(&h);
        n = sizeof buf;
        fd = mhpy_upgrade(h.hub, second, buf, &n);
    }
    REQUIRE(fd >= 0);
    CHECK_MEM(buf, n, "rest");
    CHECK_INT(write(fd, "mine", 4), 4);
    TURN_UNTIL(&h, h.client.n > sizeof body && h.client.in[h.client.n - 1] == 'e');
    CHECK_MEM(h.client.in + h.client.n - 4, 4, "mine");
    close(fd);
    close_host(&h);
}

/* ---- logs and ends --------------------------------------------------------------------------- */

/* Which a step takes as it is: nobody reads the log. */
static void trouble_is_told(void) {
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    mhpy *hub;
    mhpy_options options;
    mhpy_batch batch;
    clock_stop();
    mhpy_options_init(&options);
    REQUIRE(full >= 0 && mhpy_new(&hub, &options) == MH_OK);
    CHECK_INT(mhpy_log_line(hub, "a", 1), MH_ESTATE);
    CHECK_INT(mhpy_access_log(hub, full, MH_ACCESS_LINES), MH_OK);
    CHECK_INT(mhpy_log_line(hub, "a", 1), MH_OK);
    clock_pass_ms(200);
    int n = mhpy_step(hub, 0, &batch);
    REQUIRE(n == MHPY_EVENT_INTS);
    CHECK_INT(batch.ints[0], MHPY_LOG);
    CHECK_INT(batch.ints[1], MH_LOG_LINES_STUCK);
    CHECK_INT(batch.ints[2], ENOSPC);
    mhpy_free(hub);
    close(full);
    clock_go();
}

/* What was written between two steps is sent by the next before it waits; its end must not wait
 * until something else happens. */
static void an_end_is_told_without_waiting_for_more(void) {
    host h;
    mhpy_batch batch;
    open_host(&h);
    CHECK_INT(mhpy_tell_ends(h.hub), MH_OK);
    CHECK_INT(say_hello_to(&h, ask(&h)), MH_OK);
    uint64_t begun = real_ms();
    int n = mhpy_step(h.hub, -1, &batch); /* else this waits until the idle connection is closed */
    CHECK(n > 0 && batch.ints[0] == MHPY_ENDED);
    CHECK(real_ms() - begun < h.options.config.keepalive_timeout / 2);
    close_host(&h);
}

/* Its line is cut where a NUL would end a piece. */
static void a_refusal_is_told_with_its_line(void) {
    static const char bad[] = "A\0\0B\r\n\r\n", pieces[] = "\0\0A\0\0B";
    host h;
    mhpy_batch batch = {0};
    open_host(&h);
    CHECK_INT(mhpy_tell_ends(h.hub), MH_OK);
    REQUIRE(send(h.client.fd, bad, sizeof bad - 1, 0) == sizeof bad - 1);
    REQUIRE(mhpy_step(h.hub, -1, &batch) == 2 * MHPY_EVENT_INTS);
    CHECK_INT(batch.ints[0], MHPY_REFUSED);
    CHECK_INT(batch.ints[1], 5);
    CHECK_INT(batch.ints[2], 400);
    CHECK_INT(batch.ints[3], 12);
    CHECK_INT(batch.pieces, 5);
    CHECK(batch.text_n == sizeof pieces && memcmp(batch.text, pieces, sizeof pieces) == 0);
    close_host(&h);
}

static void as_many_ends_as_were_asked_for_are_told_once(void) {
    host h;
    mhpy_batch batch;
    open_host(&h);
    CHECK_INT(mhpy_static(h.hub, "/etc", 4, &etc), MH_OK);
    CHECK_INT(mhpy_tell_count(h.hub, 1000), MH_OK);
    CHECK_INT(mhpy_tell_count(h.hub, 3), MH_OK);
    CHECK_INT(say_hello_to(&h, ask(&h)), MH_OK);
    mhpy_abort(h.hub, ask(&h));
    TURN_UNTIL(&h, h.finishes == 1);
    peer_close(&h.client);
    connect_client(&h);
    static const char file[] = "GET /etc/passwd HTTP/1.1\r\n" HOST "\r\n";
    REQUIRE(send(h.client.fd, file, sizeof file - 1, MSG_NOSIGNAL) == sizeof file - 1);
    REQUIRE(mhpy_step(h.hub, -1, &batch) == MHPY_EVENT_INTS);
    CHECK_INT(batch.ints[0], MHPY_COUNTED);
    CHECK_INT(say_hello_to(&h, ask(&h)), MH_OK);
    REQUIRE(mhpy_wakeup(h.hub) == MH_OK);
    CHECK_INT(mhpy_step(h.hub, -1, &batch), 0);
    CHECK_INT(mhpy_tell_count(NULL, 1), MH_ECLOSED);
    close_host(&h);
}

static void an_interim_response_leaves_at_once_and_before_the_final_one_alone(void) {
    static const char hint[] = "103 Early Hints\nLink\n</a.css>; rel=preload";
    static const char sent[] = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    char buf[sizeof sent];
    host h;
    open_host(&h);
    int64_t name = ask(&h);
    CHECK_INT(mhpy_inform(h.hub, name, hint, sizeof hint - 1, 3), MH_OK);
    CHECK_INT(recv(h.client.fd, buf, sizeof buf, 0), sizeof sent - 1);
    CHECK(memcmp(buf, sent, sizeof sent - 1) == 0);
    CHECK_INT(mhpy_inform(h.hub, name, hint, sizeof hint - 1, 1), MH_EINVAL);
    CHECK_INT(mhpy_inform(h.hub, name, "200", 3, 1), MH_EINVAL);
    CHECK_INT(say_hello_to(&h, name), MH_OK);
    CHECK(mhpy_inform(h.hub, name, hint, sizeof hint - 1, 3) < 0);
    CHECK_INT(mhpy_inform(NULL, name, hint, sizeof hint - 1, 3), MH_ECLOSED);
    close_host(&h);
}

static void a_request_may_be_its_connections_last(void) {
    host h;
    open_host(&h);
    int64_t name = ask(&h);
    CHECK_INT(mhpy_close(h.hub, name), MH_OK);
    CHECK_INT(say_hello_to(&h, name), MH_OK);
    TURN_UNTIL(&h, h.client.eof);
    CHECK(memmem(h.client.in, h.client.n, "\r\nConnection: close\r\n", 21));
    CHECK_INT(mhpy_close(h.hub, name), MH_ECLOSED);
    CHECK_INT(mhpy_close(NULL, name), MH_ECLOSED);
    close_host(&h);
}

static void a_closed_hub_logs_nothing(void) {
    CHECK_INT(mhpy_access_log(NULL, 1, MH_ACCESS_JSON), MH_ECLOSED);
    CHECK_INT(mhpy_log_line(NULL, "a", 1), MH_ECLOSED);
    CHECK_INT(mhpy_tell_ends(NULL), MH_ECLOSED);
}

/* ---- static files ---------------------------------------------------------------------------- */

static void what_cant_be_served_is_refused(void) {
    mhpy_static_options options = etc;
    mhpy_options hub_options;
    mhpy *hub;
    mhpy_options_init(&hub_options);
    REQUIRE(mhpy_new(&hub, &hub_options) == MH_OK);
    options.directory = "/nowhere";
    CHECK_INT(mhpy_static(hub, "/a", 2, &options), MH_ESYS);
    CHECK_INT(mhpy_errno(hub), ENOENT);
    options = etc;
    options.pieces = 3; /* a newline too many */
    CHECK_INT(mhpy_static(hub, "/a", 2, &options), MH_EINVAL);
    options.pieces = 6; /* one too few */
    CHECK_INT(mhpy_static(hub, "/a", 2, &options), MH_EINVAL);
    options.fields_n = 5, options.pieces = 3; /* no pairs */
    CHECK_INT(mhpy_static(hub, "/a", 2, &options), MH_EINVAL);
    CHECK_INT(hub->n_statics, 0);
    CHECK_INT(mhpy_static(NULL, "/a", 2, &etc), MH_ECLOSED);
    mhpy_free(hub);
}

/* The end of one that Python has never heard of. */
static void the_end_of_a_request_for_a_file_is_told_with_its_head(void) {
    static const char sends[] = "GET /etc/%70asswd?q HTTP/1.1\r\n" HOST "A: b\r\n\r\n";
    static const char pieces[] = "\0\0GET\0/etc/%70asswd?q\0/etc/%70asswd\0q\0HTTP/1.1\0"
                                 "Host\0a\0A\0b";
    host h;
    mhpy_batch batch = {0};
    open_host(&h);
    CHECK_INT(mhpy_static(h.hub, "/etc", 4, &etc), MH_OK);
    CHECK_INT(mhpy_tell_ends(h.hub), MH_OK);
    REQUIRE(send(h.client.fd, sends, sizeof sends - 1, MSG_NOSIGNAL) == sizeof sends - 1);
    REQUIRE(mhpy_step(h.hub, -1, &batch) == 2 * MHPY_EVENT_INTS);
    CHECK_INT(batch.ints[0], MHPY_SERVED);
    CHECK_INT(batch.ints[1], 11);
    CHECK_INT(batch.ints[2], 200);
    CHECK(batch.ints[3] > 0);
    CHECK_INT(batch.ints[4], MH_FINISH_DONE);
    CHECK_INT(batch.pieces, 11);
    CHECK(batch.text_n == sizeof pieces && memcmp(batch.text, pieces, sizeof pieces) == 0);
    close_host(&h);
}

/* None of them has a name, and no event is told of it, of its end neither. */
static void a_request_for_a_file_becomes_no_event(void) {
    host h;
    answer a;
    open_host(&h);
    CHECK_INT(mhpy_static(h.hub, "/etc", 4, &etc), MH_OK);
    for (int i = 0; i < 3; i++) {
        static const char sends[] = "GET /etc/passwd HTTP/1.1\r\n" HOST "\r\n";
        REQUIRE(send(h.client.fd, sends, sizeof sends - 1, MSG_NOSIGNAL) > 0);
        for (int turns = 0; turns < 100 && !answer_take(&h.client, &a, false); turns++) {
            mhpy_batch batch;
            CHECK_INT(mhpy_step(h.hub, 0, &batch), 0);
        }
        CHECK_INT(a.status, 200);
        CHECK_MEM(answer_field(&a, "C"), 1, "d");
        answer_free(&a);
    }
    mhpy_counts counts;
    CHECK_INT(mhpy_count(h.hub, &counts), MH_OK);
    CHECK_INT(counts.requests, 0);
    close_host(&h);
}

int main(void) {
    RUN(a_part_of_a_body_is_read_without_waiting_for_the_rest);
    RUN(a_watch_that_takes_anothers_place_is_counted_once);
    RUN(an_upgrade_takes_the_socket_and_what_was_read);
    RUN(an_upgrade_comes_after_the_answer_before_it);
    RUN(trouble_is_told);
    RUN(an_end_is_told_without_waiting_for_more);
    RUN(a_refusal_is_told_with_its_line);
    RUN(as_many_ends_as_were_asked_for_are_told_once);
    RUN(an_interim_response_leaves_at_once_and_before_the_final_one_alone);
    RUN(a_request_may_be_its_connections_last);
    RUN(a_closed_hub_logs_nothing);
    RUN(what_cant_be_served_is_refused);
    RUN(the_end_of_a_request_for_a_file_is_told_with_its_head);
    RUN(a_request_for_a_file_becomes_no_event);
    return check_end();
}
