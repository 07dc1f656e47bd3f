/* Wrong calls on an exchange: each call in each state that does not allow it returns its error and
 * changes nothing. The table says what each call returns in each state, as meinheld.h has it;
 * misuse.h makes the calls. */
#include "misuse.h"

#define HOST  "Host: a\r\n"
#define GET   "GET " PATH " HTTP/1.1\r\n" HOST "\r\n"
#define POST6 "POST " PATH " HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\n"

enum { BIG = 600000 }; /* more than a unix socket takes, less than high water */

static char big[1 << 20];

/* ---- what the host does, with here() where the state is reached ------------------------------ */

static void greet(fix *f, mh_req *req) {
    here(f, req);
    CHECK_INT(say(req, "hello"), MH_OK);
}

static void greet_outside(stage *s) { greet(&s->f, s->f.req); }

/* Reads what there is; at the body's end answers with it, at its error with that. */
static void echo(fix *f, mh_req *req) {
    stage *s = stage_of(f);
    char word[16];
    int got;
    while ((got = mh_req_read(req, s->body + s->n, sizeof s->body - s->n)) > 0)
        s->n += (size_t)got;
    if (got == MH_EAGAIN) return;
    snprintf(word, sizeof word, "%d", got);
    CHECK_INT(mh_res_simple(req, 200, text(""), NULL, 0,
                            got == MH_EOS ? (mh_str){s->body, s->n} : text(word)),
              MH_OK);
}

static void before_reading(fix *f, mh_req *req) {
    f->on_readable = echo;
    here(f, req);
    echo(f, req);
}

/* Some of the body has been read, and more has come. */
static void in_mid_body(fix *f, mh_req *req) {
    stage *s = stage_of(f);
    f->on_readable = echo;
    CHECK_INT(mh_req_read(req, s->body, 2), 2);
    s->n = 2;
    here(f, req);
    echo(f, req);
}

static void wait_for_body(fix *f, mh_req *req) {
    f->on_readable = echo;
    echo(f, req);
}

static void here_outside(stage *s) { here(&s->f, s->f.req); }

static void here_on_readable(fix *f, mh_req *req) {
    f->on_readable = before_reading;
    echo(f, req);
}

/* Reads as far as it goes, which is the end or an error. */
static void after_reading(fix *f, mh_req *req) {
    stage *s = stage_of(f);
    int got;
    while ((got = mh_req_read(req, s->body + s->n, sizeof s->body - s->n)) > 0)
        s->n += (size_t)got;
    here(f, req);
    echo(f, req);
}

static void cut_body(stage *s) {
    shutdown(s->p.fd, SHUT_WR);
    after_reading(&s->f, s->f.req);
}

/* The peer leaves something unread, which makes of its close a reset. */
static void reset_body(stage *s) {
    CHECK_INT(mh_res_inform(s->f.req, 103, NULL, 0), MH_OK);
    CHECK_INT(mh_loop_flush(s->f.loop), MH_OK);
    peer_close(&s->p);
    after_reading(&s->f, s->f.req);
}

static void inform_first(fix *f, mh_req *req) {
    CHECK_INT(mh_res_inform(req, 103, NULL, 0), MH_OK);
    greet(f, req);
}

static void start(mh_req *req, int status, int64_t length) {
    CHECK_INT(mh_res_head(req, status, text(""), NULL, 0, length), MH_OK);
}

static void finish(mh_req *req, const char *rest) {
    CHECK_INT(mh_res_write(req, rest, strlen(rest)), MH_OK);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void counted(fix *f, mh_req *req) {
    start(req, 200, 5);
    CHECK_INT(mh_res_write(req, "he", 2), MH_OK);
    here(f, req);
    finish(req, "llo");
}

/* The length is that of a field. */
static void counted_full(fix *f, mh_req *req) {
    CHECK_INT(mh_res_head(req, 200, text(""), five, 1, MH_LENGTH_UNKNOWN), MH_OK);
    CHECK_INT(mh_res_write(req, "hello", 5), MH_OK);
    here(f, req);
    finish(req, "");
}

static void uncounted(fix *f, mh_req *req) {
    start(req, 200, MH_LENGTH_UNKNOWN);
    CHECK_INT(mh_res_write(req, "he", 2), MH_OK);
    here(f, req);
    finish(req, "llo");
}

static void bodyless_200(fix *f, mh_req *req) {
    start(req, 200, 5);
    here(f, req);
    finish(req, "hello");
}

static void bodyless_204(fix *f, mh_req *req) {
    start(req, 204, MH_LENGTH_UNKNOWN);
    here(f, req);
    finish(req, "");
}

static void bodyless_304(fix *f, mh_req *req) {
    start(req, 304, 5);
    here(f, req);
    finish(req, "");
}

static void end_it(fix *f, mh_req *req) {
    (void)f;
    finish(req, "tail");
}

static void at_high_water(fix *f, mh_req *req) {
    f->on_writable = end_it;
    start(req, 200, MH_LENGTH_UNKNOWN);
    CHECK_INT(mh_res_write(req, big, sizeof big), MH_FULL);
    here(f, req);
}

static void here_and_end(fix *f, mh_req *req) {
    here(f, req);
    end_it(f, req);
}

static void here_on_writable(fix *f, mh_req *req) {
    f->on_writable = here_and_end;
    start(req, 200, MH_LENGTH_UNKNOWN);
    CHECK_INT(mh_res_write(req, big, sizeof big), MH_FULL);
}

static void after_the_end(fix *f, mh_req *req) {
    CHECK_INT(say(req, "hello"), MH_OK);
    here(f, req);
}

static void answer_much(mh_req *req) {
    CHECK_INT(mh_res_simple(req, 200, text(""), NULL, 0, (mh_str){big, BIG}), MH_OK);
}

static void answer_much_and_wait(fix *f, mh_req *req) {
    (void)f;
    answer_much(req);
}

/* The first answer is stuck. */
static void here_in_the_second(fix *f, mh_req *req) {
    if (f->begun == 1)
        answer_much(req);
    else
        greet(f, req);
}

static void after_abort(fix *f, mh_req *req) {
    start(req, 200, 5);
    CHECK_INT(mh_req_abort(req), MH_OK);
    here(f, req);
}

static void after_a_short_end(fix *f, mh_req *req) {
    start(req, 200, 5);
    CHECK_INT(mh_res_end(req), MH_ERANGE);
    here(f, req);
}

static void upgrade(stage *s, mh_req *req) {
    size_t n = 0;
    CHECK((s->taken = mh_req_upgrade(req, NULL, &n)) >= 0);
}

static void after_upgrade(fix *f, mh_req *req) {
    upgrade(stage_of(f), req);
    here(f, req);
}

/* ---- the same in on_finish ------------------------------------------------------------------- */

static void here_at_finish(fix *f, mh_req *req, int why) {
    (void)why;
    here(f, req);
}

static void done_then_here(fix *f, mh_req *req) {
    f->on_finish = here_at_finish;
    CHECK_INT(say(req, "hello"), MH_OK);
}

static void await_then_here(fix *f, mh_req *req) {
    f->on_finish = here_at_finish;
    echo(f, req);
}

static void leave(stage *s) { peer_close(&s->p); }

static void abort_then_here(fix *f, mh_req *req) {
    f->on_finish = here_at_finish;
    CHECK_INT(mh_req_abort(req), MH_OK);
}

static void upgrade_then_here(fix *f, mh_req *req) {
    f->on_finish = here_at_finish;
    upgrade(stage_of(f), req);
}

/* The file is a byte shorter than the answer. */
static void fail_a_file_then_here(fix *f, mh_req *req) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    f->on_finish = here_at_finish;
    CHECK_INT(mh_res_head(req, 200, text(""), NULL, 0, 1), MH_OK);
    CHECK_INT(mh_res_file(req, fd, 0, 1, 1), MH_OK);
    CHECK_INT(mh_res_end(req), MH_OK);
}

/* The connection has gone; the first exchange is being finished, the second will be. */
static void here_for_the_second(fix *f, mh_req *req, int why) {
    (void)why;
    if (req != stage_of(f)->second) here(f, stage_of(f)->second);
}

static void hold_the_second(fix *f, mh_req *req) {
    f->on_finish = here_for_the_second;
    if (f->begun == 1)
        answer_much(req);
    else
        stage_of(f)->second = req;
}

/* ---- the server drains, the peer has sent FIN ------------------------------------------------ */

static void drain_first(fix *f, mh_req *req) {
    CHECK_INT(mh_server_drain(f->srv, 0, NULL, NULL), MH_OK);
    greet(f, req);
}

static void await_hangup(fix *f, mh_req *req) {
    (void)req;
    f->on_hangup = greet;
}

static void hang_up(stage *s) { shutdown(s->p.fd, SHUT_WR); }

/* ---- the table ------------------------------------------------------------------------------- */

/* In each row's cells, from left to right:
 *
 *     ... head     right, wrong, with a Content-Length that is not its length
 *     ..  inform   right, wrong
 *     ..  write    something, nothing
 *     ..  writev   something, nothing
 *     ..  file     right, wrong
 *     .   end
 *     ..  simple   right, wrong
 *     ..  static   right, of another loop
 *     ..  read     right, wrong
 *     .   abort
 *     ..  upgrade  right, without room for what was read
 *     ... peer, local    with too little room; fd
 *     .   field    beyond the last
 *     .   find     what is not there
 *     .   below    what it is beside
 *
 *     .  right here, not made      A  MH_EAGAIN     E  MH_EOS       R  MH_ERANGE
 *     0  MH_OK, does nothing       B  MH_EBODY      I  MH_EINVAL    S  MH_ESTATE
 *                                  C  MH_ECLOSED    N  MH_ENOENT    T  MH_ETOOBIG */
static const state states[] = {
    /* nothing is answered yet */
    {".II .I SS SS SS S .I .I EI . .. II. I N N", "in on_request", GET, .on_request = greet},
    {".I. .I SS SS SS S .I .I EI . .. II. I N N", "in on_request of HEAD",
     "HEAD " PATH " HTTP/1.1\r\n" HOST "\r\n", .on_request = greet},
    {".II 0I SS SS SS S .I .I EI . .. II. I N N", "in on_request of 1.0",
     "GET " PATH " HTTP/1.0\r\n\r\n", .on_request = greet},
    {".II .I SS SS SS S .I .I EI . .. II. I N N", "parked", GET, .outside = greet_outside},
    {".II .I SS SS SS S .I .I EI . .I II. I N N", "more than the head was read", GET "mine",
     .on_request = greet, .rest = " too\r\n\r\n"},
    {".II .I SS SS SS S .I .I EI . AA II. I N N", "an interim response is queued", GET,
     .on_request = inform_first},
    {".II .I SS SS SS S .I .I EI . AA II. I N N", "behind an answer that is stuck", GET GET,
     .on_request = here_in_the_second, .exchanges = 2},
    {".II .I SS SS SS S .I .I EI . .. II. I N N", "the server drains", GET,
     .on_request = drain_first},
    {".II .I SS SS SS S .I .I EI . .. II. I N N", "in on_hangup", GET, .on_request = await_hangup,
     .outside = hang_up},

    /* the same with a body */
    {".II .I SS SS SS S .I .I .I . SS II. I N N", "part of the body has come", POST6 "abc",
     .on_request = before_reading, .rest = "def"},
    {".II .I SS SS SS S .I .I .I . SS II. I N N", "part of the body was read", POST6 "abc",
     .on_request = in_mid_body, .rest = "def"},
    {".II .I SS SS SS S .I .I AI . SS II. I N N", "more of the body is awaited", POST6 "abc",
     .on_request = wait_for_body, .outside = here_outside, .rest = "def"},
    {".II .I SS SS SS S .I .I .I . SS II. I N N", "in on_readable", POST6 "abc",
     .on_request = here_on_readable, .rest = "def"},
    {".II .I SS SS SS S .I .I EI . .. II. I N N", "the body was read", POST6 "abcdef",
     .on_request = after_reading},
    {".II .I SS SS SS S .I .I BI . SS II. I N N", "the body is malformed",
     "POST " PATH " HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
     .on_request = after_reading},
    {".II .I SS SS SS S .I .I TI . SS II. I N N", "the body is too large",
     "POST " PATH " HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nff\r\nx",
     .on_request = after_reading},
    {".II .I SS SS SS S .I .I CI . SS II. I N N", "the body was cut", POST6 "abc",
     .outside = cut_body},
    {".II .I SS SS SS S .I .I CI . SS II. I N N", "the body was cut by a reset", POST6 "abc",
     .outside = reset_body, .why = MH_FINISH_PEER_CLOSED},
    {".II .I SS SS SS S .I .I .I . SS II. I N N", "100-continue is awaited",
     "POST " PATH " HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 6\r\n\r\n",
     .on_request = before_reading, .rest = "abcdef"},

    /* the head is out */
    {"SSS SS .0 .0 .I . SS SS EI . SS II. I N N", "open, bytes left", GET, .on_request = counted},
    {"SSS SS R0 R0 RI . SS SS EI . SS II. I N N", "open, no bytes left", GET,
     .on_request = counted_full},
    {"SSS SS .0 .0 .I . SS SS EI . SS II. I N N", "open, chunked", GET, .on_request = uncounted},
    {"SSS SS .0 .0 .I . SS SS EI . SS II. I N N", "open, until close",
     "GET " PATH " HTTP/1.0\r\n\r\n", .on_request = uncounted},
    {"SSS SS 00 00 0I . SS SS EI . SS II. I N N", "open, to HEAD",
     "HEAD " PATH " HTTP/1.1\r\n" HOST "\r\n", .on_request = bodyless_200},
    {"SSS SS 00 00 0I . SS SS EI . SS II. I N N", "open, 204", GET, .on_request = bodyless_204},
    {"SSS SS 00 00 0I . SS SS EI . SS II. I N N", "open, 304", GET, .on_request = bodyless_304},
    {"SSS SS .0 .0 .I . SS SS EI . SS II. I N N", "open, MH_FULL", GET,
     .on_request = at_high_water},
    {"SSS SS .0 .0 .I . SS SS EI . SS II. I N N", "in on_writable", GET,
     .on_request = here_on_writable},

    /* the response has ended */
    {"SSS SS SS SS SS S SS SS SS . SS II. I N N", "ended", GET, .on_request = after_the_end},
    {"SSS SS SS SS SS S SS SS SS . SS II. I N N", "ended, and the peer does not read", GET,
     .on_request = answer_much_and_wait, .outside = here_outside},

    /* the exchange is to be finished, or the connection has gone */
    {"CCC CC CC CC CC C CC CC CC C CC II. I N N", "after mh_req_abort", GET,
     .on_request = after_abort, .why = MH_FINISH_ABORTED},
    {"CCC CC CC CC CC C CC CC CC C CC II. I N N", "after a short end", GET,
     .on_request = after_a_short_end, .why = MH_FINISH_ABORTED},
    {"CCC CC CC CC CC C CC CC CC C CC ICC I N N", "after mh_req_upgrade", GET,
     .on_request = after_upgrade, .why = MH_FINISH_UPGRADED},
    {"CCC CC CC CC CC C CC CC CC C CC ICC I N N", "the connection has gone", GET GET,
     .on_request = hold_the_second, .outside = leave, .why = MH_FINISH_PEER_CLOSED, .exchanges = 2},

    /* in on_finish */
    {"CCC CC CC CC CC C CC CC CC C CC ICC I N N", "done", GET, .on_request = done_then_here},
    {"CCC CC CC CC CC C CC CC CC C CC ICC I N N", "the peer closed", POST6,
     .on_request = await_then_here, .outside = leave, .why = MH_FINISH_PEER_CLOSED},
    {"CCC CC CC CC CC C CC CC CC C CC ICC I N N", "the peer was too slow", POST6,
     .on_request = await_then_here, .why = MH_FINISH_TIMEOUT, .body_timeout = 1},
    {"CCC CC CC CC CC C CC CC CC C CC ICC I N N", "aborted", GET, .on_request = abort_then_here,
     .why = MH_FINISH_ABORTED},
    {"CCC CC CC CC CC C CC CC CC C CC ICC I N N", "a file failed", GET,
     .on_request = fail_a_file_then_here, .why = MH_FINISH_FILE},
    {"CCC CC CC CC CC C CC CC CC C CC ICC I N N", "upgraded", GET, .on_request = upgrade_then_here,
     .why = MH_FINISH_UPGRADED},
};

enum { STATES = sizeof states / sizeof *states };

/* ---- tests ----------------------------------------------------------------------------------- */

static void the_table_has_a_cell_for_each_call_and_state(void) {
    for (size_t i = 0; i < STATES; i++) {
        CHECK(cell(&states[i], COLUMNS - 1) != 0);
        CHECK(cell(&states[i], COLUMNS) == 0);
    }
}

static void each_wrong_call_is_refused_and_changes_nothing(void) {
    for (size_t i = 0; i < STATES; i++) {
        outcome want = play(&states[i], 0, 0);
        REQUIRE(want.why == states[i].why);
        alarm(60); /* many plays: each state has the time of a test */
        for (size_t k = 0; k < n_calls; k++)
            if (cell(&states[i], calls[k].column) != '.') check_play(&states[i], &want, k, k + 1);
        free(want.bytes);
    }
}

static void all_wrong_calls_together_are_refused_and_change_nothing(void) {
    for (size_t i = 0; i < STATES; i++) {
        outcome want = play(&states[i], 0, 0);
        check_play(&states[i], &want, 0, n_calls);
        free(want.bytes);
    }
}

static void a_wrong_head_is_told_beforehand(void) {
    CHECK_INT(mh_res_check(200, text("OK"), five, 1), MH_OK);
    for (size_t i = 0; i < WRONG_HEADS; i++) {
        const struct wrong_head *h = &wrong_heads[i];
        if (h->length < 0) continue; /* it knows of none */
        if (mh_res_check(h->status, h->reason, h->fields, h->n) != MH_EINVAL)
            CHECK_FAIL_("mh_res_check, %s", h->name);
    }
}

int main(void) {
    mh_loop *other;
    if (mh_loop_new(&other, NULL) < 0 || mh_static_new(&foreign, other, "/", NULL) < 0) abort();
    list_calls();
    memset(big, 'b', sizeof big);
    RUN(the_table_has_a_cell_for_each_call_and_state);
    RUN(each_wrong_call_is_refused_and_changes_nothing);
    RUN(all_wrong_calls_together_are_refused_and_change_nothing);
    RUN(a_wrong_head_is_told_beforehand);
    mh_loop_free(other);
    return check_end();
}
