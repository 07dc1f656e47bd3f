/* Requests that are answered later: answers from anywhere, peers that leave meanwhile, and no
 * spinning: the steps that one idle second takes are counted in every state. */
#include "client.h"

#define GET  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"

static void connect_as(fix *f, peer *p, bool tcp) {
    if (tcp)
        peer_tcp(p, f, 0);
    else
        peer_unix(p, f);
}

/* A parked exchange of one peer. */
static void park(fix *f, peer *p, bool tcp, const char *request) {
    if (fix_open(f) < 0) abort();
    connect_as(f, p, tcp);
    peer_send(f, p, request);
    UNTIL(f, f->req);
    settle(f);
}

static void finish(fix *f, peer *p) {
    peer_close(p);
    fix_close(f);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void an_answer_outside_of_any_callback_leaves_in_the_next_step(void) {
    fix f;
    peer p;
    fix_init(&f);
    park(&f, &p, true, GET);
    CHECK_INT(say(f.req, "later"), MH_OK);
    CHECK_INT(f.finished, 0); /* never inside the call */
    mh_loop_step(f.loop, 0);
    CHECK_INT(f.finished, 1);
    CHECK_ANSWER(&f, &p, 200, "later");
    peer_send(&f, &p, GET);
    UNTIL(&f, f.req);
    CHECK_INT(say(f.req, "again"), MH_OK);
    CHECK_INT(mh_loop_flush(f.loop), MH_OK); /* or at once */
    CHECK_INT(f.finished, 2);
    CHECK_ANSWER(&f, &p, 200, "again");
    finish(&f, &p);
}

static void answer_it(mh_loop *loop, void *user) {
    fix *f = user;
    (void)loop;
    CHECK_INT(say(f->req, "by a timer"), MH_OK);
}

static void an_answer_from_a_timer_or_a_post_leaves_in_that_step(void) {
    fix f;
    peer p;
    fix_init(&f);
    park(&f, &p, false, GET);
    CHECK_INT(mh_loop_timer(f.loop, 0, answer_it, &f, NULL), MH_OK);
    UNTIL(&f, f.finished == 1);
    CHECK_ANSWER(&f, &p, 200, "by a timer");
    peer_send(&f, &p, GET);
    UNTIL(&f, f.req);
    CHECK_INT(mh_loop_post(f.loop, answer_it, &f), MH_OK);
    mh_loop_step(f.loop, 0);
    CHECK_INT(f.finished, 2);
    finish(&f, &p);
}

static void what_was_pipelined_meanwhile_is_served_after_the_answer(void) {
    fix f;
    peer p;
    fix_init(&f);
    park(&f, &p, true, GET);
    for (int i = 0; i < 3; i++) {
        peer_send_n(&f, &p, GET, 10);
        settle(&f);
        peer_send(&f, &p, &GET[10]);
        settle(&f);
    }
    CHECK_INT(f.begun, 1); /* one after the other */
    for (unsigned i = 1; i <= 4; i++) {
        UNTIL(&f, f.begun == i && f.req);
        CHECK_INT(say(f.req, "x"), MH_OK);
        CHECK_ANSWER(&f, &p, 200, "x");
    }
    CHECK_INT(f.open_max, 1);
    CHECK_INT(f.hangups, 0);
    finish(&f, &p);
}

static void unread_pipelined_input_is_bounded(void) {
    static char zeros[1 << 20];
    fix f;
    peer p;
    fix_init(&f);
    park(&f, &p, false, GET);
    size_t sent = 0;
    for (int i = 0; i < 1000; i++) {
        ssize_t n = send(p.fd, zeros, sizeof zeros, MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        mh_loop_step(f.loop, 0);
    }
    CHECK(sent < 4 * sizeof zeros); /* the kernel's buffers and one of ours */
    CHECK_INT(say(f.req, "x"), MH_OK);
    CHECK_ANSWER(&f, &p, 200, "x");
    CHECK_ANSWER(&f, &p, 414, "URI Too Long\n"); /* what it pipelined was no request */
    finish(&f, &p);
}

/* ---- peers that leave ------------------------------------------------------------------------ */

static void a_fin_is_told_once_and_the_answer_still_leaves(void) {
    for (int tcp = 0; tcp < 2; tcp++) {
        fix f;
        peer p;
        fix_init(&f);
        park(&f, &p, tcp, GET);
        shutdown(p.fd, SHUT_WR);
        UNTIL(&f, f.hangups == 1);
        settle(&f);
        CHECK_INT(f.hangups, 1);
        CHECK_INT(f.finished, 0);
        CHECK_INT(say(f.req, "for a half"), MH_OK);
        CHECK_ANSWER(&f, &p, 200, "for a half");
        CHECK_CLOSED(&f, &p);
        CHECK_INT(f.why, MH_FINISH_DONE);
        finish(&f, &p);
    }
}

static void a_fin_behind_pipelined_requests_is_told_to_each(void) {
    for (int tcp = 0; tcp < 2; tcp++) {
        fix f;
        peer p;
        fix_init(&f);
        park(&f, &p, tcp, GET GET GET);
        shutdown(p.fd, SHUT_WR);
        for (unsigned i = 1; i <= 3; i++) {
            UNTIL(&f, f.begun == i && f.hangups == i);
            settle(&f);
            CHECK_INT(f.hangups, i);
            CHECK_INT(say(f.req, "x"), MH_OK);
        }
        UNTIL(&f, f.finished == 3);
        finish(&f, &p);
    }
}

/* So much is pipelined that it is left unread, and the FIN behind it is seen by its event only. */
static void a_fin_behind_unread_input_is_told_to_each(void) {
    static char many[100 * sizeof GET];
    fix f;
    peer p;
    fix_init(&f);
    for (int i = 0; i < 100; i++)
        strcat(many, GET);
    park(&f, &p, true, many);
    shutdown(p.fd, SHUT_WR);
    for (unsigned i = 1; i <= 3; i++) {
        UNTIL(&f, f.begun == i && f.hangups == i);
        settle(&f);
        CHECK_INT(f.hangups, i);
        if (i == 3) f.on_request = say_hello;
        CHECK_INT(say(f.req, "x"), MH_OK);
    }
    UNTIL(&f, f.finished == 100);
    CHECK_INT(f.whys[MH_FINISH_DONE], 100);
    finish(&f, &p);
}

static void a_reset_ends_the_exchange_at_once(void) {
    fix f;
    peer p;
    fix_init(&f);
    park(&f, &p, true, GET GET);
    peer_reset(&p);
    UNTIL(&f, f.finished == 1);
    CHECK_INT(f.why, MH_FINISH_PEER_CLOSED);
    CHECK_INT(mh_server_connections(f.srv), 0);
    finish(&f, &p);
}

static void a_closed_unix_peer_ends_the_exchange_at_once(void) {
    fix f;
    peer p;
    fix_init(&f);
    park(&f, &p, false, GET);
    peer_close(&p);
    UNTIL(&f, f.finished == 1);
    CHECK_INT(f.why, MH_FINISH_PEER_CLOSED);
    finish(&f, &p);
}

static void answer_now(fix *f, mh_req *req) {
    f->n++;
    CHECK_INT(say(req, "so late"), MH_OK);
}

static void abort_now(fix *f, mh_req *req) {
    f->n++;
    CHECK_INT(mh_req_abort(req), MH_OK);
}

static void on_hangup_may_answer_or_abort(void) {
    for (int i = 0; i < 2; i++) {
        fix f;
        peer p;
        fix_init(&f);
        f.on_hangup = i ? abort_now : answer_now;
        park(&f, &p, true, GET);
        shutdown(p.fd, SHUT_WR);
        UNTIL(&f, f.finished == 1);
        CHECK_INT(f.n, 1);
        CHECK_INT(f.why, i ? MH_FINISH_ABORTED : MH_FINISH_DONE);
        finish(&f, &p);
    }
}

static void answer_the_next(fix *f, mh_req *req, int why) {
    (void)why;
    if (f->req && f->req != req && f->n-- > 0) CHECK_INT(say(f->req, "second"), MH_OK);
}

/* The first has left and is being finished; what is then written for the second, the last, must
 * leave as well. */
static void on_finish_may_answer_the_exchange_behind(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_finish = answer_the_next;
    f.n = 1;
    park(&f, &p, true, GET "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    CHECK_INT(say(f.req, "first"), MH_OK);
    CHECK_ANSWER(&f, &p, 200, "first");
    UNTIL(&f, f.begun == 2);
    if (f.n > 0 && f.req) CHECK_INT(say(f.req, "second"), MH_OK); /* it had not begun yet */
    CHECK_ANSWER(&f, &p, 200, "second");
    CHECK_CLOSED(&f, &p);
    CHECK_INT(f.whys[MH_FINISH_DONE], 2);
    finish(&f, &p);
}

static void abort_the_next(fix *f, mh_req *req, int why) {
    (void)why;
    if (f->req && f->req != req) CHECK_INT(mh_req_abort(f->req), MH_OK);
}

static void any_callback_may_abort(void) {
    for (int i = 0; i < 3; i++) {
        fix f;
        peer p;
        char c;
        fix_init(&f);
        if (i == 0) f.on_readable = abort_now;
        if (i == 1) f.on_writable = abort_now;
        if (i == 2) f.on_finish = abort_the_next;
        park(&f, &p, false, i == 0 ? POST : GET GET);
        if (i == 0) {
            CHECK_INT(mh_req_read(f.req, &c, 1), MH_EAGAIN);
            peer_send(&f, &p, "x");
        } else if (i == 1) {
            static char big[1 << 20];
            CHECK_INT(mh_res_head(f.req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
            CHECK_INT(mh_res_write(f.req, big, sizeof big), MH_FULL);
        } else {
            CHECK_INT(say(f.req, "first"), MH_OK);
            UNTIL(&f, f.begun == 2);
            if (f.req) mh_req_abort(f.req);
        }
        UNTIL(&f, peer_over(&p));
        CHECK_INT(f.whys[MH_FINISH_ABORTED], 1);
        finish(&f, &p);
    }
}

static void a_fin_in_the_middle_of_an_awaited_body_is_an_error_of_the_read(void) {
    fix f;
    peer p;
    char c[100];
    fix_init(&f);
    park(&f, &p, true, POST "abc");
    CHECK_INT(mh_req_read(f.req, c, sizeof c), 3);
    CHECK_INT(mh_req_read(f.req, c, sizeof c), MH_EAGAIN);
    shutdown(p.fd, SHUT_WR);
    UNTIL(&f, f.readable == 1);
    CHECK_INT(mh_req_read(f.req, c, sizeof c), MH_ECLOSED);
    CHECK_INT(say(f.req, "cut"), MH_OK);
    CHECK_ANSWER(&f, &p, 200, "cut");
    CHECK_CLOSED(&f, &p);
    finish(&f, &p);
}

/* ---- taking the socket ----------------------------------------------------------------------- */

static void an_upgrade_takes_the_socket_and_what_was_read(void) {
    fix f;
    peer p;
    char buf[16];
    size_t n = 2;
    fix_init(&f);
    park(&f, &p, true, GET "rest");
    CHECK_INT(mh_req_upgrade(f.req, buf, &n), MH_EINVAL);
    CHECK_INT(n, 4);
    n = sizeof buf;
    int fd = mh_req_upgrade(f.req, buf, &n);
    REQUIRE(fd >= 0);
    CHECK_MEM(buf, n, "rest");
    CHECK_INT(mh_req_upgrade(f.req, buf, &n), MH_ECLOSED);
    CHECK_INT(say(f.req, "x"), MH_ECLOSED);
    UNTIL(&f, f.finished == 1);
    CHECK_INT(f.why, MH_FINISH_UPGRADED);
    CHECK_INT(mh_server_connections(f.srv), 0);
    CHECK_INT(write(fd, "mine", 4), 4);
    UNTIL(&f, peer_pull(&p) && p.n == 4);
    CHECK_MEM(p.in, p.n, "mine");
    close(fd);
    finish(&f, &p);
}

/* ---- no spinning ----------------------------------------------------------------------------- */

/* The steps of one idle second. */
static int steps_of_a_second(fix *f) {
    uint64_t end = real_ms() + 1000;
    int steps = 0;
    settle(f);
    for (uint64_t now; (now = real_ms()) < end; steps++)
        mh_loop_step(f->loop, (int)(end - now));
    return steps;
}

/* What the peer does once its request is parked; then a second must pass quietly. */
static void quiet(bool tcp, const char *request, bool fin, const char *more) {
    fix f;
    peer p;
    fix_init(&f);
    park(&f, &p, tcp, request);
    peer_send(&f, &p, more);
    if (fin) shutdown(p.fd, SHUT_WR);
    int steps = steps_of_a_second(&f);
    if (steps > 4)
        CHECK_FAIL_("%d steps: tcp %d, fin %d, %zu more bytes", steps, tcp, fin, strlen(more));
    CHECK_INT(f.finished, 0);
    finish(&f, &p);
}

static void a_parked_second_takes_few_steps(void) {
    static char flood[60000];
    memset(flood, 'x', sizeof flood - 1);
    quiet(true, GET, false, "");
    quiet(true, GET, true, "");
    quiet(false, GET, true, "");
    quiet(true, GET, false, "G");
    quiet(true, GET, true, GET);
    quiet(false, GET, false, flood);
    quiet(true, GET, true, flood);
}

static void a_second_with_an_unread_body_takes_few_steps(void) {
    quiet(true, POST, false, "");
    quiet(true, POST, false, "abc");
    quiet(true, POST, true, "abc");
    quiet(false, POST, true, "abc");
}

static void write_much(fix *f, mh_req *req) {
    static char big[8 << 20];
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
    CHECK_INT(mh_res_write(req, big, sizeof big), MH_FULL);
}

static void read_once(fix *f, mh_req *req) {
    char c;
    (void)f;
    CHECK_INT(mh_req_read(req, &c, 1), MH_EAGAIN);
}

/* Every other state in which a connection can wait. */
static void a_second_in_any_other_state_takes_few_steps(void) {
    static const struct {
        const char *name, *request;
        fix_cb on_request;
        bool fin;
    } rows[] = {
        {"accepted", "", NULL, false},
        {"half a head", "GET / HT", NULL, false},
        {"kept alive", GET, say_hello, false},
        {"dropping a body", POST "abc", say_hello, false},
        {"awaiting a body", POST, read_once, false},
        {"the reader does not read", GET, write_much, false},
        {"the reader does not read, pipelines and sends FIN", GET GET, write_much, true},
        {"lingering", "NONSENSE\n", NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fix f;
        peer p;
        fix_init(&f);
        f.on_request = rows[i].on_request;
        REQUIRE(fix_open(&f) == MH_OK);
        peer_tcp(&p, &f, 0);
        peer_send(&f, &p, rows[i].request);
        if (rows[i].fin) shutdown(p.fd, SHUT_WR);
        settle(&f);
        int steps = steps_of_a_second(&f);
        if (steps > 4) CHECK_FAIL_("%d steps: %s", steps, rows[i].name);
        CHECK_INT(mh_server_connections(f.srv), 1);
        finish(&f, &p);
    }
}

int main(void) {
    RUN(an_answer_outside_of_any_callback_leaves_in_the_next_step);
    RUN(an_answer_from_a_timer_or_a_post_leaves_in_that_step);
    RUN(what_was_pipelined_meanwhile_is_served_after_the_answer);
    RUN(unread_pipelined_input_is_bounded);
    RUN(a_fin_is_told_once_and_the_answer_still_leaves);
    RUN(a_fin_behind_pipelined_requests_is_told_to_each);
    RUN(a_fin_behind_unread_input_is_told_to_each);
    RUN(a_reset_ends_the_exchange_at_once);
    RUN(a_closed_unix_peer_ends_the_exchange_at_once);
    RUN(on_hangup_may_answer_or_abort);
    RUN(on_finish_may_answer_the_exchange_behind);
    RUN(any_callback_may_abort);
    RUN(a_fin_in_the_middle_of_an_awaited_body_is_an_error_of_the_read);
    RUN(an_upgrade_takes_the_socket_and_what_was_read);
    RUN(a_parked_second_takes_few_steps);
    RUN(a_second_with_an_unread_body_takes_few_steps);
    RUN(a_second_in_any_other_state_takes_few_steps);
    return check_end();
}
