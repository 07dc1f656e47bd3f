/* Row 31 of docs/http.md, each deadline met to the millisecond: the clock is the test's own, so
 * that a minute takes no time and no result depends on the machine's. */
#include "timed.h"

#define GET  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"

/* Reads the body, and answers when that has ended. */
static void drink_and_answer(fix *f, mh_req *req) {
    char buf[16];
    int got;
    do
        got = mh_req_read(req, buf, sizeof buf);
    while (got > 0);
    if (got == MH_EOS) say_hello(f, req);
}

/* ---- heads and keep-alive -------------------------------------------------------------------- */

static void a_connection_that_says_nothing_is_closed_silently(void) {
    fix f;
    peer p;
    begin(&f, &p);
    open_pair(&f, &p);
    pass(&f, 9999);
    CHECK(is_open(&p));
    pass(&f, 1);
    CHECK_CLOSED(&f, &p);
    finish(&f, &p);
}

static void a_head_is_due_ten_seconds_from_its_first_byte_however_it_trickles(void) {
    fix f;
    peer p;
    begin(&f, &p);
    open_pair(&f, &p);
    pass(&f, 9000); /* before the first byte another deadline runs */
    for (int i = 0; i < 10; i++) {
        peer_send_n(&f, &p, &GET[i], 1);
        settle(&f);
        pass(&f, i < 9 ? 1000 : 999);
        CHECK(is_open(&p));
    }
    pass(&f, 1);
    CHECK_ANSWER(&f, &p, 408, "Request Timeout\n");
    CHECK_CLOSED(&f, &p);
    CHECK_INT(f.begun, 0);
    finish(&f, &p);
}

static void a_head_whose_last_bytes_wait_at_its_deadline_is_served(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = say_hello;
    open_pair(&f, &p);
    peer_send_n(&f, &p, GET, 10);
    settle(&f);
    clock_pass_ms(10000);
    peer_send(&f, &p, &GET[10]); /* may step */
    CHECK_ANSWER(&f, &p, 200, "hello");
    finish(&f, &p);
}

static void a_head_still_in_pieces_at_its_deadline_is_late(void) {
    fix f;
    peer p;
    begin(&f, &p);
    open_pair(&f, &p);
    peer_send_n(&f, &p, GET, 10);
    settle(&f);
    clock_pass_ms(10000);
    REQUIRE(send(p.fd, &GET[10], 1, 0) == 1);
    CHECK_ANSWER(&f, &p, 408, "Request Timeout\n");
    finish(&f, &p);
}

enum { WAITING = 8 };

/* A callback has taken longer than every deadline, and a step takes only one event. */
static void what_waits_in_its_socket_at_a_deadline_is_served(void) {
    static const char *const first[] = {"", GET, "GET / HT",
                                        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nh"};
    static const char *const second[] = {GET, GET, &GET[8], "ello"};
    for (size_t state = 0; state < 4; state++) {
        fix f;
        peer p[WAITING];
        begin(&f, p);
        f.loop_cfg.max_events = 1;
        f.on_request = f.on_readable = drink_and_answer;
        REQUIRE(fix_open(&f) == 0);
        for (int i = 0; i < WAITING; i++) {
            peer_unix(&p[i], &f);
            peer_send(&f, &p[i], first[state]);
            settle(&f);
            if (state == 1) CHECK_ANSWER(&f, &p[i], 200, "hello");
        }
        clock_pass_ms(60000);
        for (int i = 0; i < WAITING; i++) /* without a step */
            REQUIRE(send(p[i].fd, second[state], strlen(second[state]), 0) > 0);
        for (int i = 0; i < WAITING; i++)
            CHECK_ANSWER(&f, &p[i], 200, "hello");
        for (int i = 1; i < WAITING; i++)
            peer_close(&p[i]);
        finish(&f, p);
    }
}

static void the_second_head_has_a_deadline_of_its_own(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = say_hello;
    open_pair(&f, &p);
    peer_send(&f, &p, GET "GET");
    CHECK_ANSWER(&f, &p, 200, "hello");
    pass(&f, 9999);
    CHECK(is_open(&p));
    pass(&f, 1);
    CHECK_ANSWER(&f, &p, 408, "Request Timeout\n");
    finish(&f, &p);
}

static void an_idle_connection_is_closed_silently_after_keepalive(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = say_hello;
    open_pair(&f, &p);
    for (int i = 0; i < 3; i++) {
        peer_send(&f, &p, GET);
        CHECK_ANSWER(&f, &p, 200, "hello");
        pass(&f, 4999); /* starts anew with each */
        CHECK(is_open(&p));
    }
    pass(&f, 1);
    CHECK_CLOSED(&f, &p);
    CHECK_INT(f.whys[MH_FINISH_DONE], 3);
    finish(&f, &p);
}

static void keepalive_zero_closes_after_each_answer(void) {
    fix f;
    peer p;
    answer a;
    begin(&f, &p);
    f.on_request = say_hello;
    f.cfg.keepalive_timeout = 0;
    open_pair(&f, &p);
    pass(&f, 5000); /* the first request may take its time */
    peer_send(&f, &p, GET);
    ANSWER(&f, &p, &a);
    CHECK(strcmp(answer_field(&a, "Connection"), "close") == 0);
    answer_free(&a);
    CHECK_CLOSED(&f, &p);
    finish(&f, &p);
}

/* ---- the host's own time --------------------------------------------------------------------- */

static void a_parked_request_has_no_deadline(void) {
    fix f;
    peer p;
    begin(&f, &p);
    open_pair(&f, &p);
    peer_send(&f, &p, GET);
    UNTIL(&f, f.req);
    pass(&f, 86400000);
    REQUIRE(f.req);
    CHECK_INT(say(f.req, "at last"), MH_OK);
    CHECK_ANSWER(&f, &p, 200, "at last");
    pass(&f, 4999); /* idle since the answer */
    CHECK(is_open(&p));
    finish(&f, &p);
}

static int read_some(mh_req *req, size_t n) {
    static char buf[4096];
    return mh_req_read(req, buf, n);
}

static void a_host_that_does_not_read_is_not_the_clients_fault(void) {
    fix f;
    peer p;
    begin(&f, &p);
    open_pair(&f, &p);
    peer_send(&f, &p, POST);
    UNTIL(&f, f.req);
    pass(&f, 3600000);
    REQUIRE(f.req);
    CHECK_INT(read_some(f.req, 1), MH_EAGAIN);
    peer_send(&f, &p, "abc");
    settle(&f);
    CHECK_INT(f.readable, 1);
    pass(&f, 3600000);
    REQUIRE(f.req);
    CHECK_INT(read_some(f.req, 3), 3);
    /* asks, is told to wait, and gets it without having waited for on_readable */
    CHECK_INT(read_some(f.req, 3), MH_EAGAIN);
    REQUIRE(send(p.fd, "def", 3, 0) == 3);
    CHECK_INT(read_some(f.req, 3), 3);
    pass(&f, 3600000);
    REQUIRE(f.req);
    CHECK_INT(f.readable, 1);
    CHECK_INT(say(f.req, "enough"), MH_OK);
    CHECK_ANSWER(&f, &p, 200, "enough");
    finish(&f, &p);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static void drink(fix *f, mh_req *req) {
    int got;
    (void)f;
    while ((got = read_some(req, 4096)) > 0) {}
    if (got == MH_EOS) say(req, "all");
}

static void a_silent_body_times_out(void) {
    for (int rate = 0; rate < 2; rate++) {
        fix f;
        peer p;
        begin(&f, &p);
        f.on_request = f.on_readable = drink;
        f.cfg.min_rate = rate ? 240 : 0;
        open_pair(&f, &p);
        peer_send(&f, &p, POST);
        settle(&f);
        pass(&f, rate ? 14999 : 29999); /* grace and window, or idle */
        CHECK_INT(f.finished, 0);
        pass(&f, 1);
        CHECK_INT(f.whys[MH_FINISH_TIMEOUT], 1);
        UNTIL(&f, peer_over(&p));
        finish(&f, &p);
    }
}

static void a_host_that_asks_again_and_again_does_not_prolong_it(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = drink;
    f.cfg.min_rate = 0;
    open_pair(&f, &p);
    peer_send(&f, &p, POST);
    UNTIL(&f, f.req);
    for (int i = 0; i < 30 && f.req; i++) {
        CHECK_INT(read_some(f.req, 1), MH_EAGAIN);
        pass(&f, 1000);
    }
    CHECK_INT(f.whys[MH_FINISH_TIMEOUT], 1);
    finish(&f, &p);
}

/* Sends `bytes` each second for a minute. Whether the request lived. */
static bool trickle(unsigned bytes, bool chunked) {
    static char zeros[1000], part[1100];
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = f.on_readable = drink;
    open_pair(&f, &p);
    memset(zeros, '0', sizeof zeros);
    peer_send(&f, &p,
              chunked ? "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" : POST);
    settle(&f);
    for (int i = 0; i < 60; i++) {
        if (chunked)
            snprintf(part, sizeof part, "%x\r\n%.*s\r\n", bytes, (int)bytes, zeros);
        else
            snprintf(part, sizeof part, "%.*s", (int)bytes, zeros);
        peer_send(&f, &p, part);
        settle(&f);
        pass(&f, 1000);
    }
    bool lived = f.finished == 0;
    CHECK_INT(f.whys[MH_FINISH_TIMEOUT], !lived);
    finish(&f, &p);
    return lived;
}

static void a_body_is_cut_below_the_minimum_rate_and_not_above(void) {
    CHECK(trickle(300, false));
    CHECK(trickle(300, true));
    CHECK(!trickle(200, false));
    CHECK(!trickle(1, false));
    CHECK(!trickle(1, true));
}

static void an_answered_request_whose_body_never_comes_is_done(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = say_hello;
    open_pair(&f, &p);
    peer_send(&f, &p, POST);
    CHECK_ANSWER(&f, &p, 200, "hello");
    pass(&f, 15000);
    CHECK_INT(f.whys[MH_FINISH_DONE], 1);
    CHECK_CLOSED(&f, &p); /* in good order, not by a reset */
    finish(&f, &p);
}

/* Below min_rate, which says as little against the answer. */
static void an_answered_request_whose_body_trickles_is_done(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = say_hello;
    open_pair(&f, &p);
    peer_send(&f, &p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    CHECK_ANSWER(&f, &p, 200, "hello");
    for (int s = 1; s <= 16; s++) {
        pass(&f, 1000);
        peer_send(&f, &p, "x");
        settle(&f);
    }
    CHECK_INT(f.whys[MH_FINISH_DONE], 1);
    CHECK_CLOSED(&f, &p);
    finish(&f, &p);
}

/* ---- responses ------------------------------------------------------------------------------- */

static void send_much(fix *f, mh_req *req) {
    static char big[8 << 20];
    const mh_str piece = {big, sizeof big};
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
    CHECK_INT(mh_res_writev(req, &piece, 1, NULL, NULL), MH_FULL);
}

static void a_reader_that_takes_nothing_times_out(void) {
    for (int rate = 0; rate < 2; rate++) {
        fix f;
        peer p;
        begin(&f, &p);
        f.on_request = send_much;
        f.cfg.min_rate = rate ? 240 : 0;
        open_pair(&f, &p);
        peer_send(&f, &p, GET);
        settle(&f);
        pass(&f, rate ? 14999 : 59999);
        CHECK_INT(f.finished, 0);
        pass(&f, 1);
        CHECK_INT(f.whys[MH_FINISH_TIMEOUT], 1);
        finish(&f, &p);
    }
}

static void answer_much(fix *f, mh_req *req) {
    send_much(f, req);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void open_tcp(fix *f, peer *p) {
    if (fix_open(f) < 0) abort();
    peer_tcp(p, f, 1 << 20); /* with our kernel's 4 MiB at most, less than the response */
    settle(f);
}

/* A callback takes longer than the peer has, which reads all there is meanwhile. */
static void a_slow_callback_is_not_the_readers_fault(void (*open)(fix *f, peer *p)) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = answer_much;
    open(&f, &p);
    peer_send(&f, &p, GET);
    settle(&f);
    REQUIRE(f.finished == 0);
    while (f.finished == 0) {
        peer_pull(&p);
        pass(&f, 60000);
    }
    CHECK_INT(f.why, MH_FINISH_DONE);
    finish(&f, &p);
}

static void a_slow_callback_cuts_no_response(void) {
    a_slow_callback_is_not_the_readers_fault(open_pair);
    a_slow_callback_is_not_the_readers_fault(open_tcp);
}

static void a_connection_is_not_idle_while_its_answer_is_being_read(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = answer_much;
    f.cfg.high_water = 1 << 23; /* the next request may come before this answer has left */
    open_pair(&f, &p);
    peer_send(&f, &p, GET);
    settle(&f);
    for (int i = 0; i < 40; i++) {
        pass(&f, 1000);
        peer_pull_some(&p, 100000);
        CHECK(!p.eof && !p.reset);
    }
    UNTIL(&f, peer_pull(&p) && f.finished == 1);
    CHECK_INT(f.why, MH_FINISH_DONE);
    pass(&f, 4999);
    CHECK(is_open(&p));
    finish(&f, &p);
}

/* The reader takes `bytes` each second for up to a minute, the rule being min a second. Whether the
 * response lived. */
static bool sip_by(void (*open)(fix *f, peer *p), size_t bytes, uint32_t step_write, uint32_t min) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = send_much;
    f.cfg.step_write = step_write;
    f.cfg.min_rate = min;
    open(&f, &p);
    peer_send(&f, &p, GET);
    settle(&f);
    for (int i = 0; i < 60 && f.finished == 0; i++) {
        peer_pull_some(&p, bytes);
        p.n = 0;
        settle(&f);
        pass(&f, 1000);
    }
    bool lived = f.finished == 0;
    CHECK_INT(f.whys[MH_FINISH_TIMEOUT], !lived);
    finish(&f, &p);
    return lived;
}

static bool sip(size_t bytes, uint32_t step_write, uint32_t min) {
    return sip_by(open_pair, bytes, step_write, min);
}

/* Our kernel holds megabytes for a reader, and tells of room only when a third of that is free. */
static void a_fair_reader_may_be_far_behind_the_kernel(void) {
    CHECK(sip_by(open_tcp, 100000, 262144, 240));
    CHECK(!sip_by(open_tcp, 100000, 262144, 1000000));
}

/* A unix socket takes more only when a good part of what it held was read: far from the limit,
 * both. */
static void a_response_is_cut_for_a_slow_reader_and_not_for_a_fast_one(void) {
    CHECK(sip(100000, 262144, 240));
    CHECK(sip(100000, 1000, 240)); /* each flush ends at its budget */
    CHECK(sip(100000, 10, 240));
    CHECK(!sip(1, 262144, 240));
    CHECK(!sip(1, 1000, 240));
    CHECK(!sip(100000, 262144, 1000000));
    CHECK(!sip(100000, 1000, 1000000));
}

static void write_a_little(fix *f, mh_req *req) {
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
    CHECK_INT(mh_res_write(req, "x", 1), MH_OK);
}

static void a_slow_host_is_not_the_readers_fault(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = write_a_little;
    open_pair(&f, &p);
    peer_send(&f, &p, GET);
    UNTIL(&f, f.req);
    for (int i = 0; i < 100; i++) {
        REQUIRE(f.req);
        CHECK_INT(mh_res_write(f.req, "y", 1), MH_OK);
        pass(&f, 60000);
        peer_pull(&p);
    }
    CHECK_INT(mh_res_end(f.req), MH_OK);
    UNTIL(&f, f.finished == 1);
    CHECK_INT(f.why, MH_FINISH_DONE);
    finish(&f, &p);
}

int main(void) {
    RUN(a_connection_that_says_nothing_is_closed_silently);
    RUN(a_head_is_due_ten_seconds_from_its_first_byte_however_it_trickles);
    RUN(a_head_whose_last_bytes_wait_at_its_deadline_is_served);
    RUN(a_head_still_in_pieces_at_its_deadline_is_late);
    RUN(what_waits_in_its_socket_at_a_deadline_is_served);
    RUN(the_second_head_has_a_deadline_of_its_own);
    RUN(an_idle_connection_is_closed_silently_after_keepalive);
    RUN(keepalive_zero_closes_after_each_answer);
    RUN(a_parked_request_has_no_deadline);
    RUN(a_host_that_does_not_read_is_not_the_clients_fault);
    RUN(a_silent_body_times_out);
    RUN(a_host_that_asks_again_and_again_does_not_prolong_it);
    RUN(a_body_is_cut_below_the_minimum_rate_and_not_above);
    RUN(an_answered_request_whose_body_never_comes_is_done);
    RUN(an_answered_request_whose_body_trickles_is_done);
    RUN(a_reader_that_takes_nothing_times_out);
    RUN(a_response_is_cut_for_a_slow_reader_and_not_for_a_fast_one);
    RUN(a_fair_reader_may_be_far_behind_the_kernel);
    RUN(a_slow_callback_cuts_no_response);
    RUN(a_connection_is_not_idle_while_its_answer_is_being_read);
    RUN(a_slow_host_is_not_the_readers_fault);
    return check_end();
}
