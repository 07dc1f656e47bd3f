/* A server inside somebody else's loop: poll() on mh_loop_fd, and step(0) when it is readable, are
 * all it needs. */
#include "client.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static unsigned wakeups;

/* One turn of the host's loop: at most ms. Whether the fd was readable. */
static bool turn(fix *f, int ms) {
    struct pollfd pfd = {.fd = mh_loop_fd(f->loop), .events = POLLIN};
    if (poll(&pfd, 1, ms) <= 0) return false;
    wakeups++;
    mh_loop_step(f->loop, 0);
    return true;
}

/* As UNTIL, but by the descriptor alone. A lost wakeup shows as a poll that waits in vain. */
#define TURN_UNTIL(f, cond)                           \
    do {                                              \
        uint64_t end_ = real_ms() + UNTIL_MS;         \
        while (!(cond)) {                             \
            if (real_ms() > end_) {                   \
                CHECK_FAIL_("never came: %s", #cond); \
                break;                                \
            }                                         \
            turn(f, 20);                              \
        }                                             \
    } while (0)

static void quiet(fix *f) {
    while (turn(f, 0)) {}
    wakeups = 0;
    uint64_t end = real_ms() + 300;
    for (uint64_t now; (now = real_ms()) < end;)
        turn(f, (int)(end - now));
    CHECK_INT(wakeups, 0);
}

static void begin(fix *f, peer *p) {
    if (fix_open(f) < 0 || mh_loop_fd(f->loop) < 0) abort();
    peer_tcp(p, f, 0);
}

static void finish(fix *f, peer *p) {
    peer_close(p);
    fix_close(f);
}

static void tell(peer *p, const char *s) {
    CHECK_INT(send(p->fd, s, strlen(s), MSG_NOSIGNAL), strlen(s));
}

static void requests_are_served_by_polling_the_descriptor(void) {
    fix f;
    peer p;
    answer a;
    fix_init(&f);
    f.on_request = say_hello;
    begin(&f, &p);
    for (int i = 0; i < 3; i++) {
        tell(&p, GET GET);
        for (int k = 0; k < 2; k++) {
            TURN_UNTIL(&f, answer_take(&p, &a, false));
            CHECK_MEM(a.body, a.n, "hello");
            answer_free(&a);
        }
    }
    quiet(&f);
    finish(&f, &p);
}

static void an_answer_outside_of_a_step_makes_it_readable(void) {
    fix f;
    peer p;
    answer a;
    fix_init(&f);
    begin(&f, &p);
    tell(&p, GET);
    TURN_UNTIL(&f, f.req);
    quiet(&f);
    CHECK_INT(say(f.req, "outside"), MH_OK);
    CHECK(turn(&f, 0));
    TURN_UNTIL(&f, answer_take(&p, &a, false));
    CHECK_MEM(a.body, a.n, "outside");
    answer_free(&a);
    quiet(&f);
    /* the watch for the next request was armed outside as well */
    tell(&p, GET);
    TURN_UNTIL(&f, f.req);
    CHECK_INT(mh_req_abort(f.req), MH_OK);
    CHECK(turn(&f, 0));
    CHECK_INT(f.finished, 2);
    finish(&f, &p);
}

static void pieces_written_outside_leave_one_by_one(void) {
    fix f;
    peer p;
    fix_init(&f);
    begin(&f, &p);
    tell(&p, "GET / HTTP/1.0\r\n\r\n");
    TURN_UNTIL(&f, f.req);
    CHECK_INT(mh_res_head(f.req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
    for (int i = 0; i < 10; i++) {
        p.n = 0;
        CHECK_INT(mh_res_write(f.req, "piece", 5), MH_OK);
        TURN_UNTIL(&f, peer_pull(&p) && p.n >= 5 && memcmp(p.in + p.n - 5, "piece", 5) == 0);
        while (turn(&f, 0)) {}
    }
    CHECK_INT(mh_res_end(f.req), MH_OK);
    TURN_UNTIL(&f, peer_over(&p));
    CHECK_INT(f.finished, 1);
    finish(&f, &p);
}

static void stream_on(fix *f, mh_req *req) {
    static char piece[30000];
    while (f->n < 100) {
        f->n++;
        if (mh_res_write(req, piece, sizeof piece) == MH_FULL) return;
    }
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void stream_begin(fix *f, mh_req *req) {
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
    stream_on(f, req);
}

static void a_large_response_goes_on_by_the_descriptor_alone(void) {
    fix f;
    peer p;
    answer a;
    fix_init(&f);
    f.on_request = stream_begin;
    f.on_writable = stream_on;
    f.cfg.step_write = 5000; /* work is left over after most steps */
    begin(&f, &p);
    tell(&p, GET);
    TURN_UNTIL(&f, answer_take(&p, &a, false));
    CHECK_INT(a.n, 3000000);
    answer_free(&a);
    quiet(&f);
    finish(&f, &p);
}

static void a_body_read_outside_of_steps_comes_in_full(void) {
    enum { ALL = 300000 };
    static char body[ALL], buf[1000];
    fix f;
    peer p;
    fix_init(&f);
    f.cfg.step_read = 3000;
    begin(&f, &p);
    tell(&p, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    TURN_UNTIL(&f, f.req);
    size_t sent = 0, got = 0;
    uint64_t end = real_ms() + UNTIL_MS;
    while (got < ALL && real_ms() < end) {
        ssize_t n = send(p.fd, body + sent, ALL - sent, MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        int r;
        while ((r = mh_req_read(f.req, buf, sizeof buf)) > 0)
            got += (size_t)r;
        unsigned before = f.readable;
        if (r == MH_EAGAIN) TURN_UNTIL(&f, f.readable > before);
    }
    CHECK_INT(got, ALL);
    CHECK_INT(mh_req_read(f.req, buf, 1), MH_EOS);
    finish(&f, &p);
}

static void deadlines_make_it_readable(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = say_hello;
    f.cfg.keepalive_timeout = 50;
    begin(&f, &p);
    tell(&p, GET);
    TURN_UNTIL(&f, f.finished == 1);
    TURN_UNTIL(&f, peer_over(&p));
    CHECK(p.eof);
    finish(&f, &p);
}

static void on_drained(mh_server *srv, void *user) {
    (void)srv;
    ++*(int *)user;
}

static void a_drain_begun_outside_is_finished_by_the_descriptor(void) {
    fix f;
    peer p;
    int drained = 0;
    fix_init(&f);
    f.cfg.drain_idle = 1;
    f.on_request = say_hello;
    begin(&f, &p);
    tell(&p, GET);
    TURN_UNTIL(&f, f.finished == 1);
    quiet(&f);
    CHECK_INT(mh_server_drain(f.srv, 0, on_drained, &drained), MH_OK);
    TURN_UNTIL(&f, drained);
    CHECK_INT(drained, 1);
    finish(&f, &p);
}

int main(void) {
    RUN(requests_are_served_by_polling_the_descriptor);
    RUN(an_answer_outside_of_a_step_makes_it_readable);
    RUN(pieces_written_outside_leave_one_by_one);
    RUN(a_large_response_goes_on_by_the_descriptor_alone);
    RUN(a_body_read_outside_of_steps_comes_in_full);
    RUN(deadlines_make_it_readable);
    RUN(a_drain_begun_outside_is_finished_by_the_descriptor);
    return check_end();
}
