/* Calls from callbacks. Each kind of callback is a place, and each call that a host may make there
 * is an act: every act is done at every place, on the exchange that the callback is about and on
 * another, and all must end well: each exchange finishes once, each borrowed piece comes back once,
 * a third client is served, and nothing leaks. The six functions that may not be called from a
 * callback are refused at every place. */
#include "misuse_acts.h"

#include "fds.h"

#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST "\r\n"
#define POST "POST / HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nabc"

/* ---- places ---------------------------------------------------------------------------------- */

/* Called at each place, once. */
static void here(scene *s) {
    mh_req *req = s->on_other ? s->other : s->subject;
    if (s->reached++ > 0) return;
    REQUIRE(req);
    s->result = s->act->fn(s, req);
}

static void here_cb(fix *f, mh_req *req) {
    (void)req;
    here(scene_of(f));
}

static void at_request(scene *s) { s->f.on_request = here_cb; }

static void read_cb(fix *f, mh_req *req) {
    char buf[16];
    (void)f;
    while (mh_req_read(req, buf, sizeof buf) > 0)
        continue;
}

static void at_readable(scene *s) {
    s->f.on_request = read_cb;
    s->f.on_readable = here_cb;
}

static void send_more(scene *s) { peer_send(&s->f, &s->a, "def"); }

static void write_much_cb(fix *f, mh_req *req) { act_write_much(scene_of(f), req); }

static void at_writable(scene *s) {
    s->f.on_request = write_much_cb;
    s->f.on_writable = here_cb;
}

static void at_hangup(scene *s) { s->f.on_hangup = here_cb; }

static void hang_up(scene *s) { shutdown(s->a.fd, SHUT_WR); }

static void leave(scene *s) { peer_close(&s->a); }

static void finish_cb(fix *f, mh_req *req, int why) {
    scene *s = scene_of(f);
    (void)why;
    if (s->at_finish) here(s);
    if (req == s->subject) s->subject = NULL;
    if (req == s->other) s->other = NULL;
}

static void at_finish(scene *s) {
    s->f.on_request = say_hello;
    s->at_finish = true;
}

static void first_hello_cb(fix *f, mh_req *req) {
    if (f->begun == 2) say_hello(f, req); /* b's was the first */
}

/* on_finish of the first of two; the second is the subject. */
static void at_finish_before(scene *s) {
    s->f.on_request = first_hello_cb;
    s->at_finish = true;
}

/* Of a timer, and of a post. */
static void here_on_loop(mh_loop *loop, void *user) {
    (void)loop;
    here(user);
}

static void by_timer(scene *s) { mh_loop_timer(s->f.loop, 0, here_on_loop, s, NULL); }

static void by_post(scene *s) { mh_loop_post(s->f.loop, here_on_loop, s); }

static void on_ready(mh_loop *loop, int fd, unsigned events, void *user) {
    scene *s = user;
    char c;
    (void)loop;
    (void)events;
    if (read(fd, &c, 1) == 1) here(s);
}

static void by_watch(scene *s) {
    CHECK_INT(mh_loop_watch(s->f.loop, s->fds[0], MH_READ, on_ready, s), MH_OK);
    CHECK_INT(write(s->fds[1], "x", 1), 1);
}

static void come_back_here(void *user) {
    scene *s = user;
    s->done++;
    here(s);
}

static void borrow_here(scene *s, mh_req *req, size_t n) {
    const mh_str piece = {big, n};
    start(req);
    CHECK(mh_res_writev(req, &piece, 1, come_back_here, s) >= 0);
    s->owed++;
}

static void done_cb(fix *f, mh_req *req) { borrow_here(scene_of(f), req, 3); }

static void at_done(scene *s) { s->f.on_request = done_cb; }

static void done_then_more_cb(fix *f, mh_req *req) {
    scene *s = scene_of(f);
    done_cb(f, req);
    act_file(s, req); /* leaves in another call than the piece */
    borrow(s, req, "tail", 4);
}

static void at_done_before_more(scene *s) { s->f.on_request = done_then_more_cb; }

static void done_at_end_cb(fix *f, mh_req *req) {
    done_cb(f, req);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void at_done_of_the_end(scene *s) { s->f.on_request = done_at_end_cb; }

static void done_stuck_cb(fix *f, mh_req *req) { borrow_here(scene_of(f), req, sizeof big); }

static void at_done_unsent(scene *s) { s->f.on_request = done_stuck_cb; }

static void abort_it(scene *s) { CHECK_INT(mh_req_abort(s->subject), MH_OK); }

static void on_drained(mh_server *srv, void *user) {
    (void)srv;
    here(user);
}

/* Of a second server, without connections. */
static void by_drained(scene *s) {
    mh_handlers h;
    mh_server *srv;
    mh_handlers_init(&h);
    h.on_request = ignore_request;
    CHECK_INT(mh_server_new(&srv, s->f.loop, &h, NULL), MH_OK);
    CHECK_INT(mh_server_drain(srv, 0, on_drained, s), MH_OK);
}

static void here_refused_cb(fix *f, const mh_refused *what) {
    (void)what;
    here(scene_of(f));
}

/* Of another connection. */
static void refuse_another(scene *s) {
    int fd = unix_connect(s->f.path);
    s->f.on_refused = here_refused_cb;
    CHECK_INT(send(fd, "NONSENSE\r\n\r\n", 12, 0), 12);
    close(fd);
}

static void here_log_cb(fix *f, int what) {
    refuse_descriptors(false);
    if (what == MH_LOG_ACCEPT_FAILS) here(scene_of(f));
}

/* Of another connection, which is accepted a little later. */
static void accept_in_vain(scene *s) {
    int fd = unix_connect(s->f.path);
    s->f.on_log = here_log_cb;
    refuse_descriptors(true);
    settle(&s->f);
    close(fd);
}

static void parked_at_finish(scene *s) { s->at_finish = true; }

static void free_server(scene *s) {
    CHECK_INT(mh_server_free(s->f.srv), MH_OK);
    s->f.srv = NULL;
}

static const struct place {
    const char *name, *request;
    void (*before)(scene *s); /* a's request is sent: what its callbacks do */
    void (*after)(scene *s);  /* when that has settled; NULL: the place has been reached */
} places[] = {
    {"on_request", GET, at_request, NULL},
    {"on_request, a body waits", POST "def", at_request, NULL},
    {"on_request of the first of two", GET GET, at_request, NULL},
    {"on_readable", POST, at_readable, send_more},
    {"on_writable", GET, at_writable, NULL},
    {"on_hangup", GET, at_hangup, hang_up},
    {"on_finish", GET, at_finish, NULL},
    {"on_finish, another is open", GET GET, at_finish_before, NULL},
    {"on_finish, another has ended", GET GET, at_finish, NULL},
    {"on_finish, the peer closed", GET, parked_at_finish, leave},
    {"on_finish in mh_server_free", GET, parked_at_finish, free_server},
    {"on_refused", GET, NULL, refuse_another},
    {"on_log", GET, NULL, accept_in_vain},
    {"a timer", GET, NULL, by_timer},
    {"a post", GET, NULL, by_post},
    {"a watch", GET, NULL, by_watch},
    {"a drained callback", GET, NULL, by_drained},
    {"done", GET, at_done, NULL},
    {"done, until close", "GET / HTTP/1.0\r\n\r\n", at_done, NULL},
    {"done, to HEAD", "HEAD / HTTP/1.1\r\n" HOST "\r\n", at_done, NULL},
    {"done, more follows", GET, at_done_before_more, NULL},
    {"done of the last piece", GET GET, at_done_of_the_end, NULL},
    {"done, until close, of the last piece", "GET / HTTP/1.0\r\n\r\n", at_done_of_the_end, NULL},
    {"done, unsent: the peer closed", GET, at_done_unsent, leave},
    {"done, unsent: aborted", GET, at_done_unsent, abort_it},
    {"done in mh_server_free", GET, at_done_unsent, free_server},
};

/* ---- one scene ------------------------------------------------------------------------------- */

/* Every exchange of the scene goes through here. */
static void begin(fix *f, mh_req *req) {
    scene *s = scene_of(f);
    if (f->begun == 1)
        s->other = req;
    else
        s->subject = req; /* the last of a's */
    if (f->begun > 1 && s->on_request) s->on_request(f, req);
}

static bool may_return(const act *what, int result) {
    for (int i = 0; i < ERRORS; i++)
        if (what->errors[i] == result) return true;
    return result >= 0;
}

/* By right calls to the end, whatever state the act left it in. */
static void carry_on(mh_req *req) {
    if (req && say(req, "carried on") == MH_ESTATE) mh_res_end(req);
}

static bool pull_both(scene *s) {
    if (s->a.fd >= 0) peer_pull(&s->a);
    if (s->b.fd >= 0) peer_pull(&s->b);
    return true;
}

static bool is_over(scene *s) {
    fix *f = &s->f;
    pull_both(s);
    if (f->finished < f->begun) {
        carry_on(s->subject);
        carry_on(s->other);
    }
    return f->finished == f->begun;
}

/* A client that comes afterwards is served, unless the server drains. */
static void serve_a_third(scene *s) {
    fix *f = &s->f;
    peer c;
    int fd = unix_connect(f->path);
    if (fd < 0) return;
    peer_open_(&c, fd);
    s->on_request = say_hello;
    f->on_writable = f->on_readable = f->on_hangup = NULL;
    peer_send(f, &c, GET);
    CHECK_ANSWER(f, &c, 200, "hello");
    peer_close(&c);
}

static void open_scene(scene *s, const struct place *place) {
    fix *f = &s->f;
    fix_init(f);
    failing_config(&s->mem, &f->loop_cfg);
    f->cfg.accept_pause = 1;
    f->cfg.drain_idle = 1;
    s->log = memfd_create("log", MFD_CLOEXEC);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->fds) < 0 || fix_open(f) < 0) abort();
    if (mh_static_new(&s->dir, f->loop, ground.root, NULL) < 0) abort();
    if (place->before) place->before(s);
    s->on_request = f->on_request;
    f->on_request = begin;
    f->on_finish = finish_cb;
    peer_unix(&s->b, f);
    peer_send(f, &s->b, GET);
    UNTIL(f, s->other);
    peer_unix(&s->a, f);
}

static void play(const struct place *place, const act *what, bool on_other) {
    int fds = count_fds(), failed = check_failed;
    scene *s = calloc(1, sizeof *s);
    fix *f = &s->f;
    check_failed = 0;
    s->act = what;
    s->on_other = on_other;
    s->taken = -1;
    open_scene(s, place);
    peer_send(f, &s->a, place->request);
    settle(f);
    if (place->after) place->after(s);
    if (f->srv) {
        UNTIL(f, pull_both(s) && s->reached > 0);
        settle(f);
        UNTIL(f, is_over(s));
        serve_a_third(s);
    }
    CHECK(s->reached > 0);
    if (!may_return(what, s->result)) CHECK_FAIL_("it returned %d", s->result);
    CHECK_INT(s->done, s->owed);
    mh_loop_unwatch(f->loop, s->fds[0]);
    close(s->fds[0]);
    close(s->fds[1]);
    peer_close(&s->a);
    peer_close(&s->b);
    if (s->taken >= 0) close(s->taken);
    fix_close(f);
    close(s->log);
    CHECK_INT(s->done, s->owed);
    CHECK_INT(s->mem.blocks, 0);
    CHECK_INT(count_fds(), fds);
    if (check_failed)
        CHECK_FAIL_("place \"%s\", act \"%s\"%s", place->name, what->name,
                    on_other ? " on the other" : "");
    check_failed |= failed;
    free(s);
}

/* ---- all of them ----------------------------------------------------------------------------- */

enum { PLACES = sizeof places / sizeof *places, ACTS = sizeof acts / sizeof *acts };

static void each_act_at_each_place_ends_well(void) {
    for (size_t i = 0; i < PLACES; i++) {
        alarm(60); /* many plays: each place has the time of a test */
        for (size_t k = 0; k < ACTS; k++) {
            play(&places[i], &acts[k], false);
            play(&places[i], &acts[k], true);
        }
    }
}

static void the_six_are_refused_at_each_place(void) {
    for (size_t i = 0; i < PLACES; i++)
        play(&places[i], &the_six, true);
}

int main(void) {
    memset(big, 'b', sizeof big);
    tree_make(&ground);
    tree_say(&ground, "small", "hello");
    tree_put(&ground, "big", big, sizeof big);
    RUN(each_act_at_each_place_ends_well);
    RUN(the_six_are_refused_at_each_place);
    tree_remove(&ground);
    return check_end();
}
