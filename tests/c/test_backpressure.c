/* Large and slow responses: high and low water, budgets, files, and a reader that takes its time.
 */
#include "client.h"

#include <sys/mman.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

/* ---- a host that writes as long as it may ---------------------------------------------------- */

typedef struct stream {
    size_t left, piece;
    size_t pending_max;
    int fulls;
} stream;

static void stream_on(fix *f, mh_req *req) {
    static char letters[70000];
    stream *s = f->user;
    if (!letters[0])
        for (size_t i = 0; i < sizeof letters; i++)
            letters[i] = (char)('a' + i % 26);
    while (s->left > 0) {
        size_t n = s->left < s->piece ? s->left : s->piece;
        int r = mh_res_write(req, letters, n);
        if (r < 0) return;
        s->left -= n;
        if (mh_res_pending(req) > s->pending_max) s->pending_max = mh_res_pending(req);
        if (r != MH_FULL) continue;
        s->fulls++;
        return;
    }
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void stream_begin(fix *f, mh_req *req) {
    stream *s = f->user;
    bool counted = req_is(req, "/counted");
    CHECK_INT(
        mh_res_head(req, 200, text("OK"), NULL, 0, counted ? (int64_t)s->left : MH_LENGTH_UNKNOWN),
        MH_OK);
    stream_on(f, req);
}

static bool right_letters(const answer *a, size_t piece) {
    if (!a->body) return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->body[i] != (char)('a' + i % piece % 26)) return false;
    return true;
}

static void stream_run(const char *request, size_t piece, bool slow, bool tcp) {
    enum { ALL = 3000000 };
    stream s = {.left = ALL, .piece = piece};
    fix f;
    peer p;
    answer a;
    fix_init(&f);
    f.on_request = stream_begin;
    f.on_writable = stream_on;
    f.user = &s;
    REQUIRE(fix_open(&f) == MH_OK);
    if (tcp)
        peer_tcp(&p, &f, 4096);
    else
        peer_unix(&p, &f);
    peer_send(&f, &p, request);
    if (slow) UNTIL(&f, (peer_pull_some(&p, 1000), settle(&f), p.n >= 200000));
    ANSWER(&f, &p, &a);
    CHECK_INT(a.n, ALL);
    CHECK(a.whole);
    CHECK(right_letters(&a, piece));
    answer_free(&a);
    UNTIL(&f, f.finished == 1);
    CHECK_INT(f.why, MH_FINISH_DONE);
    CHECK(s.pending_max < f.cfg.high_water + piece + 64);
    CHECK_INT(f.writable, s.fulls);
    CHECK(s.fulls > 10);
    peer_close(&p);
    fix_close(&f);
}

static void a_host_that_waits_for_on_writable_sends_all(void) {
    stream_run(GET("/counted"), 16384, false, true);
    stream_run(GET("/counted"), 65536, false, true);
    stream_run(GET("/chunked"), 16384, false, true);
    stream_run(GET("/counted"), 16384, false, false);
}

static void a_slow_reader_gets_all(void) {
    stream_run(GET("/counted"), 16384, true, true);
    stream_run(GET("/chunked"), 65536, true, true);
    stream_run(GET("/chunked"), 65536, true, false);
}

static void a_response_until_close_ends_only_when_all_is_sent(void) {
    stream_run("GET / HTTP/1.0\r\n\r\n", 65536, true, true);
    stream_run("GET / HTTP/1.0\r\n\r\n", 65536, false, false);
    stream_run("GET /counted HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 65536, false, true);
}

/* What on_writable writes must leave, also if it stays below high water and the socket has room
 * again. */
static void write_more_and_wait(fix *f, mh_req *req) {
    f->n++;
    CHECK_INT(mh_res_write(req, "more", 4), MH_OK);
}

static void fill_it(fix *f, mh_req *req) {
    static char big[1 << 20];
    memset(big, 'b', sizeof big);
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
    CHECK_INT(mh_res_write(req, big, sizeof big), MH_FULL);
}

static void what_on_writable_writes_leaves_without_another_call(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = fill_it;
    f.on_writable = write_more_and_wait;
    f.cfg.step_write = 1 << 22;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    peer_send(&f, &p, GET("/"));
    settle(&f);
    UNTIL(&f, peer_pull(&p) && p.n > 10 && memcmp(p.in + p.n - 9, "4\r\nmore\r\n", 9) == 0);
    CHECK_INT(f.n, 1);
    CHECK_INT(mh_res_pending(f.req), 0);
    peer_close(&p);
    fix_close(&f);
}

static void end_now(fix *f, mh_req *req) {
    (void)f;
    CHECK_INT(mh_res_write(req, "tail", 4), MH_OK);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void an_end_inside_on_writable_loses_nothing_before_closing(void) {
    fix f;
    peer p;
    answer a;
    fix_init(&f);
    f.on_request = fill_it;
    f.on_writable = end_now;
    f.cfg.step_write = 1 << 22;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    peer_send(&f, &p, "GET / HTTP/1.0\r\n\r\n");
    ANSWER(&f, &p, &a);
    CHECK_INT(a.n, (1 << 20) + 4);
    if (a.n > 4) CHECK_MEM(a.body + a.n - 4, 4, "tail");
    answer_free(&a);
    CHECK_INT(f.why, MH_FINISH_DONE);
    peer_close(&p);
    fix_close(&f);
}

/* ---- borrowed pieces ------------------------------------------------------------------------- */

static void count(void *user) { ++*(int *)user; }

static void borrow_much(fix *f, mh_req *req) {
    static char big[1 << 20];
    const mh_str pieces[] = {{big, sizeof big}, {big, sizeof big}};
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, 4 << 20), MH_OK);
    CHECK_INT(mh_res_writev(req, pieces, 2, count, &f->n), MH_FULL);
    CHECK_INT(mh_res_writev(req, pieces, 2, count, &f->n), MH_FULL);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void borrowed_pieces_come_back_once_sent_or_not(void) {
    for (int gone = 0; gone < 2; gone++) {
        fix f;
        peer p;
        answer a;
        fix_init(&f);
        f.on_request = borrow_much;
        REQUIRE(fix_open(&f) == MH_OK);
        peer_tcp(&p, &f, 4096);
        peer_send(&f, &p, GET("/"));
        settle(&f);
        CHECK(f.n < 2);
        if (gone) {
            peer_reset(&p);
        } else {
            ANSWER(&f, &p, &a);
            CHECK_INT(a.n, 4 << 20);
            answer_free(&a);
        }
        UNTIL(&f, f.finished == 1);
        CHECK_INT(f.why, gone ? MH_FINISH_PEER_CLOSED : MH_FINISH_DONE);
        CHECK_INT(f.n, 2);
        peer_close(&p);
        fix_close(&f);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

typedef struct file_order {
    int fd, own;
    int64_t offset, len, declared;
} file_order;

static void send_a_file(fix *f, mh_req *req) {
    const file_order *o = f->user;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, o->declared), MH_OK);
    CHECK(mh_res_file(req, o->fd, o->offset, o->len, o->own) >= 0);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static int file_of(size_t n) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    char *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + i % 26);
    if (fd < 0 || write(fd, p, n) != (ssize_t)n) abort();
    free(p);
    return fd;
}

static void a_part_of_a_file_leaves_counted_and_chunked(void) {
    for (int i = 0; i < 4; i++) {
        file_order o = {file_of(3000000), i & 1, 26, i < 2 ? 2000000 : -1, 0};
        size_t want = i < 2 ? 2000000 : 2999974;
        o.declared = i & 1 ? (int64_t)want : MH_LENGTH_UNKNOWN;
        fix f;
        peer p;
        answer a;
        fix_init(&f);
        f.on_request = send_a_file;
        f.user = &o;
        REQUIRE(fix_open(&f) == MH_OK);
        peer_tcp(&p, &f, 4096);
        peer_send(&f, &p, GET("/"));
        ANSWER(&f, &p, &a);
        CHECK_INT(a.n, want);
        CHECK(right_letters(&a, 26));
        answer_free(&a);
        UNTIL(&f, f.finished == 1);
        CHECK_INT(fcntl(o.fd, F_GETFD) < 0, o.own);
        if (!o.own) close(o.fd);
        peer_close(&p);
        fix_close(&f);
    }
}

/* Reads and forgets n bytes. */
static void swallow(fix *f, peer *p, uint64_t n) {
    static char scrap[1 << 20];
    uint64_t end = real_ms() + 2 * UNTIL_MS;
    while (n > 0 && real_ms() < end) {
        ssize_t got = recv(p->fd, scrap, n < sizeof scrap ? (size_t)n : sizeof scrap, 0);
        if (got > 0)
            n -= (uint64_t)got;
        else
            mh_loop_step(f->loop, 0);
        if (got == 0) break;
    }
    CHECK_INT(n, 0);
}

/* The 4 GiB file is a hole; its end, beyond 31 and 32 bits, is what a client asks for, then 2 GiB
 * and a bit of it. */
static void a_file_over_2_and_4_gib_is_sent_in_full(void) {
    static const int64_t size = (INT64_C(1) << 32) + 100000, most = (INT64_C(1) << 31) + 70000;
    file_order o = {memfd_create("sparse", MFD_CLOEXEC), 0, size - 10, -1, 10};
    fix f;
    peer p;
    answer a;
    REQUIRE(ftruncate(o.fd, size) == 0 && pwrite(o.fd, "the end", 7, size - 7) == 7);
    fix_init(&f);
    f.on_request = send_a_file;
    f.user = &o;
    f.cfg.step_write = 1 << 30;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    peer_send(&f, &p, GET("/"));
    ANSWER(&f, &p, &a);
    CHECK_INT(a.n, 10);
    CHECK(memcmp(a.body + 3, "the end", 7) == 0);
    answer_free(&a);
    o = (file_order){o.fd, 0, size - most, -1, most};
    peer_send(&f, &p, GET("/"));
    UNTIL(&f, peer_pull_some(&p, 1) && p.n >= 4 && memcmp(p.in + p.n - 4, "\r\n\r\n", 4) == 0);
    p.n = 0;
    swallow(&f, &p, (uint64_t)most - 7);
    UNTIL(&f, peer_pull(&p) && p.n >= 7);
    CHECK_MEM(p.in, p.n, "the end");
    UNTIL(&f, f.finished == 2);
    CHECK_INT(f.sent, most);
    close(o.fd);
    peer_close(&p);
    fix_close(&f);
}

static void a_file_that_turns_out_shorter_aborts_the_connection(void) {
    file_order o = {file_of(1000), 1, 0, 2000, 2000};
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = send_a_file;
    f.user = &o;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, GET("/"));
    UNTIL(&f, peer_over(&p));
    CHECK(p.reset);
    CHECK_INT(f.whys[MH_FINISH_FILE], 1);
    peer_close(&p);
    fix_close(&f);
}

/* The first answer has left in full, the second is the file's, the third can't follow it. */
static void three_answers(fix *f, mh_req *req) {
    if (f->begun == 2) {
        send_a_file(f, req);
    } else {
        say_hello(f, req);
    }
}

static void each_answer_beside_a_file_that_fails_learns_its_own_end(void) {
    file_order o = {file_of(1000), 1, 0, 2000, 2000};
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = three_answers;
    f.user = &o;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, GET("/") GET("/") GET("/"));
    UNTIL(&f, peer_over(&p));
    CHECK(p.reset);
    CHECK_INT(f.begun, 3);
    CHECK_INT(f.whys[MH_FINISH_DONE], 1);
    CHECK_INT(f.whys[MH_FINISH_FILE], 1);
    CHECK_INT(f.whys[MH_FINISH_ABORTED], 1);
    peer_close(&p);
    fix_close(&f);
}

static void wrong_files(fix *f, mh_req *req) {
    int fds[2], own = file_of(10);
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, 4), MH_OK);
    CHECK_INT(mh_res_file(req, -1, 0, -1, 0), MH_EINVAL);
    CHECK_INT(mh_res_file(req, fds[0], 0, -1, 1), MH_EINVAL); /* closed all the same */
    CHECK_INT(fcntl(fds[0], F_GETFD), -1);
    CHECK_INT(mh_res_file(req, own, 11, -1, 0), MH_EINVAL);
    CHECK_INT(mh_res_file(req, own, -1, -1, 0), MH_EINVAL);
    CHECK_INT(mh_res_file(req, own, 0, -2, 0), MH_EINVAL);
    CHECK_INT(mh_res_file(req, own, 10, -1, 0), MH_OK); /* nothing of it */
    CHECK_INT(mh_res_file(req, own, 6, -1, 0), MH_OK);
    CHECK_INT(mh_res_file(req, dup(own), 0, -1, 1), MH_ERANGE);
    CHECK_INT(mh_res_end(req), MH_OK);
    f->n = own;
    close(fds[1]);
}

static void wrong_files_are_refused_and_nothing_of_them_is_sent(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = wrong_files;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, GET("/"));
    UNTIL(&f, peer_pull(&p) && f.finished == 1);
    CHECK_INT(f.why, MH_FINISH_DONE);
    close(f.n);
    peer_close(&p);
    fix_close(&f);
}

/* ---- fairness -------------------------------------------------------------------------------- */

static void one_large_download_does_not_hold_up_another_connection(void) {
    file_order o = {memfd_create("sparse", MFD_CLOEXEC), 0, 0, -1, INT64_C(1) << 30};
    fix f;
    peer big, small;
    REQUIRE(ftruncate(o.fd, o.declared) == 0);
    fix_init(&f);
    f.on_request = send_a_file;
    f.user = &o;
    f.cfg.step_write = 4096;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&big, &f);
    peer_unix(&small, &f);
    peer_send(&f, &big, GET("/"));
    for (int i = 0; i < 3; i++)
        mh_loop_step(f.loop, 0);
    REQUIRE(f.begun == 1);
    uint64_t before = mh_res_pending(f.req);
    for (int i = 0; i < 5; i++) {
        mh_loop_step(f.loop, 0);
        CHECK(before - mh_res_pending(f.req) <=
              2 * 4096); /* at most a flush before the wait and one after */
        before = mh_res_pending(f.req);
    }
    o.declared = 1;
    o.len = 1;
    peer_send(&f, &small, GET("/"));
    for (int i = 0; i < 3; i++)
        mh_loop_step(f.loop, 0);
    CHECK_INT(f.begun, 2);
    CHECK_INT(f.finished, 1);
    close(o.fd);
    peer_close(&big);
    peer_close(&small);
    fix_close(&f);
}

static void pipelined_requests_of_one_connection_take_turns_with_others(void) {
    enum { MANY = 200 };
    fix f;
    peer many, one;
    fix_init(&f);
    f.on_request = say_hello;
    f.cfg.step_requests = 4;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&many, &f);
    settle(&f);
    char all[MANY * 40] = "";
    for (int i = 0; i < MANY; i++)
        strcat(all, GET("/"));
    REQUIRE(send(many.fd, all, strlen(all), 0) == (ssize_t)strlen(all));
    for (int i = 0; i < 4; i++) {
        unsigned before = f.begun;
        mh_loop_step(f.loop, 0);
        CHECK_INT(f.begun - before, 4);
    }
    peer_unix(&one, &f);
    REQUIRE(send(one.fd, GET("/"), strlen(GET("/")), 0) > 0);
    for (int i = 0; i < 3; i++)
        mh_loop_step(f.loop, 0);
    CHECK_ANSWER(&f, &one, 200, "hello");
    CHECK(f.begun < MANY);
    for (int i = 0; i < MANY; i++)
        CHECK_ANSWER(&f, &many, 200, "hello");
    CHECK_INT(f.begun, MANY + 1);
    peer_close(&many);
    peer_close(&one);
    fix_close(&f);
}

/* A client that pipelines and never reads can't make the server queue answers without end. */
static void answers_to_a_client_that_does_not_read_are_bounded(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = say_hello;
    f.cfg.high_water = 2000;
    f.cfg.low_water = 1000;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 4096);
    static char all[400000 / 35 * 36];
    size_t unit = strlen(GET("/"));
    for (size_t n = 0; n + unit < sizeof all; n += unit)
        memcpy(all + n, GET("/"), unit);
    size_t sent = 0;
    for (int idle = 0; idle < 50;) {
        if (sent >= sizeof all / unit * unit - unit) sent = 0;
        ssize_t n = send(p.fd, all + sent, sizeof all / unit * unit - unit - sent, MSG_DONTWAIT);
        if (n > 0) sent += (size_t)n;
        unsigned before = f.begun;
        mh_loop_step(f.loop, 0);
        idle = n <= 0 && f.begun == before ? idle + 1 : 0;
    }
    CHECK(f.begun > 100);
    CHECK(f.begun - f.finished < 100);
    unsigned before = f.begun;
    UNTIL(&f, (peer_pull(&p), p.n = 0,
               f.begun > before + 100)); /* it goes on as soon as the client reads */
    peer_close(&p);
    fix_close(&f);
}

/* The largest block asked for since the server was opened. */
static void *watched_alloc(void *p, size_t n, void *user) {
    size_t *largest = user;
    if (n > *largest) *largest = n;
    if (n > 0) return realloc(p, n);
    free(p);
    return NULL;
}

static void say_4_kib(fix *f, mh_req *req) {
    static const char body[4096];
    (void)f;
    CHECK_INT(mh_res_simple(req, 200, text("OK"), NULL, 0, (mh_str){body, sizeof body}), MH_OK);
}

/* Answers that wait for the client keep their requests' buffer, so that it can't be used anew. */
static void pipelined_requests_are_read_by_one_buffer_at_a_time(void) {
    size_t largest = 0;
    fix f;
    peer p;
    fix_init(&f);
    f.loop_cfg.alloc = watched_alloc;
    f.loop_cfg.alloc_user = &largest;
    f.on_request = say_4_kib;
    f.cfg.step_requests = 1;
    f.cfg.high_water = 1u << 30;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    static char all[1 << 20];
    size_t unit = strlen(GET("/"));
    for (size_t n = 0; n + unit < sizeof all; n += unit)
        memcpy(all + n, GET("/"), unit);
    largest = 0;
    size_t sent = 0, end = sizeof all / unit * unit;
    for (int step = 0; step < 1000; step++) { /* many more than the socket takes answers */
        ssize_t n = send(p.fd, all + sent % unit, end - sent % unit, MSG_DONTWAIT);
        if (n > 0) sent += (size_t)n;
        mh_loop_step(f.loop, 0);
    }
    CHECK(f.begun > 500);
    CHECK(f.finished < f.begun - 100);
    CHECK(largest < 20000);
    peer_close(&p);
    fix_close(&f);
}

int main(void) {
    RUN(a_host_that_waits_for_on_writable_sends_all);
    RUN(a_slow_reader_gets_all);
    RUN(a_response_until_close_ends_only_when_all_is_sent);
    RUN(what_on_writable_writes_leaves_without_another_call);
    RUN(an_end_inside_on_writable_loses_nothing_before_closing);
    RUN(borrowed_pieces_come_back_once_sent_or_not);
    RUN(a_part_of_a_file_leaves_counted_and_chunked);
    RUN(a_file_over_2_and_4_gib_is_sent_in_full);
    RUN(a_file_that_turns_out_shorter_aborts_the_connection);
    RUN(each_answer_beside_a_file_that_fails_learns_its_own_end);
    RUN(wrong_files_are_refused_and_nothing_of_them_is_sent);
    RUN(one_large_download_does_not_hold_up_another_connection);
    RUN(pipelined_requests_of_one_connection_take_turns_with_others);
    RUN(answers_to_a_client_that_does_not_read_are_bounded);
    RUN(pipelined_requests_are_read_by_one_buffer_at_a_time);
    return check_end();
}
