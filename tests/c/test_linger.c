/* The lingering close (RFC 9112 9.6): a peer that is still sending when it is refused can read why,
 * and can't hold the connection for ever. */
#include "timed.h"

#define REFUSED "NONSENSE\n"

/* Refused, answered, and still there. */
static void refuse(fix *f, peer *p) {
    peer_send(f, p, REFUSED);
    CHECK_ANSWER(f, p, 400, "Bad Request\n");
    CHECK_INT(mh_server_connections(f->srv), 1);
}

static void check_gone(fix *f) { CHECK_INT(mh_server_connections(f->srv), 0); }

static void a_refused_peer_that_falls_silent_is_closed_after_two_seconds(void) {
    fix f;
    peer p;
    begin(&f, &p);
    open_pair(&f, &p);
    refuse(&f, &p);
    pass(&f, 1999);
    CHECK_INT(mh_server_connections(f.srv), 1);
    pass(&f, 1);
    check_gone(&f);
    finish(&f, &p);
}

static void a_refused_peer_that_goes_on_sending_is_drained_for_thirty_seconds(void) {
    fix f;
    peer p;
    begin(&f, &p);
    open_pair(&f, &p);
    refuse(&f, &p);
    for (int s = 1; s < 30; s++) {
        pass(&f, 1000);
        peer_send(&f, &p, "more nonsense");
        settle(&f);
        CHECK_INT(mh_server_connections(f.srv), 1);
    }
    pass(&f, 999);
    CHECK_INT(mh_server_connections(f.srv), 1);
    pass(&f, 1);
    check_gone(&f);
    finish(&f, &p);
}

/* Its connection is drained for thirty seconds in all, whatever the peer sends. */
static void check_drained_for_thirty_seconds(fix *f, peer *p) {
    for (int s = 1; s < 30; s++) {
        pass(f, 1000);
        peer_send(f, p, "more");
        settle(f);
        CHECK_INT(mh_server_connections(f->srv), 1);
    }
    pass(f, 1000);
    check_gone(f);
}

static void begin_stream(fix *f, mh_req *req) {
    static char much[20000];
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, sizeof much), MH_OK);
    CHECK_INT(mh_res_write(req, much, sizeof much), MH_FULL);
}

static void end_stream(fix *f, mh_req *req) {
    (void)f;
    CHECK_INT(mh_res_end(req), MH_OK);
}

/* The callback runs in the very flush that has sent the last byte. */
static void an_answer_that_ends_in_on_writable_is_lingered_over_for_thirty_seconds(void) {
    fix f;
    peer p;
    answer a;
    begin(&f, &p);
    f.cfg.keepalive_timeout = 0;
    f.cfg.high_water = f.cfg.low_water = 10000;
    f.on_request = begin_stream;
    f.on_writable = end_stream;
    open_pair(&f, &p);
    peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    ANSWER(&f, &p, &a);
    CHECK(a.whole);
    answer_free(&a);
    settle(&f);
    CHECK_INT(f.whys[MH_FINISH_DONE], 1);
    check_drained_for_thirty_seconds(&f, &p);
    finish(&f, &p);
}

static void drain_once(fix *f, mh_req *req, int why) {
    (void)req;
    (void)why;
    CHECK_INT(mh_server_drain(f->srv, 0, NULL, NULL), MH_OK);
    f->on_finish = NULL;
}

/* As a host does that ends after so many requests. */
static void a_peer_that_is_drained_in_on_finish_is_lingered_over_for_thirty_seconds(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.cfg.low_water = 0;
    f.cfg.high_water = 1; /* the answer has to leave before the next request's turn */
    f.cfg.drain_idle = 0;
    f.on_request = say_hello;
    f.on_finish = drain_once;
    open_pair(&f, &p);
    peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_ANSWER(&f, &p, 200, "hello");
    settle(&f);
    check_drained_for_thirty_seconds(&f, &p);
    finish(&f, &p);
}

static void a_refused_peer_is_drained_of_a_bounded_amount(void) {
    static char zeros[1000];
    fix f;
    peer p;
    begin(&f, &p);
    f.cfg.linger_max = 5000;
    open_pair(&f, &p);
    refuse(&f, &p);
    for (int i = 0; i < 5; i++)
        peer_send_n(&f, &p, zeros, sizeof zeros);
    settle(&f);
    CHECK_INT(mh_server_connections(f.srv), 1);
    peer_send_n(&f, &p, zeros, 1);
    settle(&f);
    check_gone(&f);
    finish(&f, &p);
}

static void a_refused_peer_that_closes_is_let_go_at_once(void) {
    fix f;
    peer p;
    begin(&f, &p);
    open_pair(&f, &p);
    refuse(&f, &p);
    peer_close(&p);
    UNTIL(&f, mh_server_connections(f.srv) == 0);
    finish(&f, &p);
}

/* A callback has taken longer than the deadline, and a step takes only one event. */
static void a_refused_peer_whose_bytes_wait_at_the_deadline_is_kept(void) {
    enum { PEERS = 8 };
    fix f;
    peer p[PEERS];
    begin(&f, p);
    f.loop_cfg.max_events = 1;
    REQUIRE(fix_open(&f) == MH_OK);
    for (int i = 0; i < PEERS; i++) {
        peer_unix(&p[i], &f);
        peer_send(&f, &p[i], REFUSED);
        CHECK_ANSWER(&f, &p[i], 400, "Bad Request\n");
    }
    clock_pass_ms(2000);
    for (int i = 0; i < PEERS; i++) /* without a step */
        REQUIRE(send(p[i].fd, "more", 4, 0) == 4);
    for (int i = 0; i < PEERS; i++)
        UNTIL(&f, peer_taken(&p[i]));
    CHECK_INT(mh_server_connections(f.srv), PEERS);
    pass(&f, 2000);
    check_gone(&f);
    for (int i = 1; i < PEERS; i++)
        peer_close(&p[i]);
    finish(&f, p);
}

static void read_then_say_much(fix *f, mh_req *req) {
    static char scrap[65536], much[40000];
    int got;
    (void)f;
    while ((got = mh_req_read(req, scrap, sizeof scrap)) > 0) {}
    if (got == MH_EAGAIN) return;
    CHECK_INT(got, MH_EOS);
    CHECK_INT(mh_res_simple(req, 200, text("OK"), NULL, 0, (mh_str){much, sizeof much}), MH_OK);
}

/* An old habit of clients (RFC 2.2). The host reads to the body's last byte, which lies beyond what
 * was read with the head. */
static void answer_to_a_last_body(bool half_close) {
    static const char *const heads[] = {
        "POST / HTTP/1.0\r\nContent-Length: 20000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 20000\r\n\r\n"};
    for (int i = 0; i < 2; i++) {
        static char request[20200];
        fix f;
        peer p;
        answer a;
        memset(request, 'x', sizeof request);
        size_t head_n = strlen(heads[i]), n = head_n + 20000;
        memcpy(request, heads[i], head_n);
        memcpy(request + n, "\r\n", 3);
        begin(&f, &p);
        f.on_request = f.on_readable = read_then_say_much;
        REQUIRE(fix_open(&f) == MH_OK);
        peer_tcp(&p, &f, 4096); /* so that much of the answer is still to be sent at the close */
        REQUIRE(send(p.fd, request, n + 2, 0) == (ssize_t)n + 2);
        if (half_close) shutdown(p.fd, SHUT_WR);
        UNTIL(&f, f.finished == 1);
        settle(&f);
        ANSWER(&f, &p, &a);
        CHECK_INT(a.n, 40000);
        CHECK(a.whole);
        answer_free(&a);
        CHECK_CLOSED(&f, &p);
        finish(&f, &p);
    }
}

static void an_empty_line_behind_a_last_body_cuts_no_answer(void) {
    answer_to_a_last_body(false);
    answer_to_a_last_body(true);
}

/* ---- ten mebibytes behind a head that is refused --------------------------------------------- */

enum { MUCH = 10 << 20 };

/* Sends head and then MUCH bytes, all before it reads, over TCP, where closing on unread input
 * would throw the answer away. */
static void send_much_then_read(const char *head, uint64_t max_body, int status) {
    static char filling[65536];
    fix f;
    peer p;
    answer a;
    memset(filling, 'x', sizeof filling);
    fix_init(&f);
    f.cfg.max_body = max_body;
    f.on_request = say_hello;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, head);
    for (size_t sent = 0; sent < MUCH; sent += sizeof filling)
        peer_send_n(&f, &p, filling, sizeof filling);
    UNTIL(&f, peer_taken(&p)); /* none of it was refused by a reset */
    ANSWER(&f, &p, &a);
    CHECK_INT(a.status, status);
    CHECK(a.whole);
    CHECK_MEM(answer_field(&a, "Connection"), strlen(answer_field(&a, "Connection")), "close");
    answer_free(&a);
    CHECK_CLOSED(&f, &p);
    peer_close(&p);
    UNTIL(&f, mh_server_connections(f.srv) == 0);
    fix_close(&f);
}

static void a_client_that_sends_10_mib_reads_its_400(void) {
    send_much_then_read("POST / HTTP/1.1\r\nHost: a b\r\nContent-Length: 10485760\r\n\r\n",
                        UINT64_C(1) << 30, 400);
}

static void a_client_that_sends_10_mib_reads_its_413(void) {
    send_much_then_read("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10485760\r\n\r\n", 1 << 20,
                        413);
}

static void a_client_that_sends_a_head_of_10_mib_reads_its_431(void) {
    send_much_then_read("POST / HTTP/1.1\r\nHost: a\r\nX: ", 1 << 20, 431);
}

static void a_client_that_sends_a_request_line_of_10_mib_reads_its_414(void) {
    send_much_then_read("GET /", 1 << 20, 414);
}

/* The host answers without reading: a rest that is too long to be dropped is lingered over. */
static void a_client_that_sends_10_mib_that_nobody_reads_gets_the_answer(void) {
    send_much_then_read("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10485760\r\n\r\n",
                        UINT64_C(1) << 30, 200);
}

int main(void) {
    RUN(a_refused_peer_that_falls_silent_is_closed_after_two_seconds);
    RUN(a_refused_peer_that_goes_on_sending_is_drained_for_thirty_seconds);
    RUN(an_answer_that_ends_in_on_writable_is_lingered_over_for_thirty_seconds);
    RUN(a_peer_that_is_drained_in_on_finish_is_lingered_over_for_thirty_seconds);
    RUN(a_refused_peer_is_drained_of_a_bounded_amount);
    RUN(a_refused_peer_that_closes_is_let_go_at_once);
    RUN(a_refused_peer_whose_bytes_wait_at_the_deadline_is_kept);
    RUN(an_empty_line_behind_a_last_body_cuts_no_answer);
    RUN(a_client_that_sends_10_mib_reads_its_400);
    RUN(a_client_that_sends_10_mib_reads_its_413);
    RUN(a_client_that_sends_a_head_of_10_mib_reads_its_431);
    RUN(a_client_that_sends_a_request_line_of_10_mib_reads_its_414);
    RUN(a_client_that_sends_10_mib_that_nobody_reads_gets_the_answer);
    return check_end();
}
