/* Calls from callbacks. Each kind of callback is a place, and each call that a host may make there
 * is an act: every act is done at every place, on the exchange that the callback is about and on
 * another, and all must end well: each exchange finishes once, each borrowed piece comes back once,
 * a third client is served, and nothing leaks. The six functions that may not be called from a
 * callback are refused at every place. */
#include "client.h"
#include "failing.h"
#include "fds.h"

#include <sys/mman.h>

#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST "\r\n"
#define POST "POST / HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nabc"

enum { BIG = 600000 /* more than a unix socket takes */ };

static char big[BIG];

typedef struct scene scene;

enum { ERRORS = 4 };

typedef struct act {
    const char *name;
    int (*fn)(scene *s, mh_req *req);
    int errors[ERRORS]; /* that it may return, whatever the place; the rest 0 */
} act;

struct scene {
    fix f; /* first: the fixture's callbacks get it */
    failing mem;
    peer a, b;
    const act *act;
    bool on_other;   /* the act is done on b's exchange, not on a's */
    mh_req *subject; /* a's exchange, while it is there */
    mh_req *other;   /* b's, likewise */
    unsigned reached, done, owed;
    int result, taken; /* what the act returned; what mh_req_upgrade did, or -1 */
    int fds[2];        /* a pair of sockets, one of them watched */
    bool at_finish;    /* on_finish is the place */
    fix_cb on_request; /* the place's; NULL: the exchange is parked */
};

static scene *scene_of(fix *f) { return (scene *)(void *)f; }

/* ---- acts ------------------------------------------------------------------------------------ */

static void come_back(void *user) { ((scene *)user)->done++; }

static int borrow(scene *s, mh_req *req, const void *p, size_t n) {
    const mh_str pieces[] = {{p, n}, {"", 0}};
    int result = mh_res_writev(req, pieces, 2, come_back, s);
    if (result >= 0 || result == MH_ERANGE) s->owed++;
    return result;
}

/* So that what follows is taken if anything is. */
static void start(mh_req *req) {
    if (!mh_res_started(req)) mh_res_head(req, 200, text(""), NULL, 0, MH_LENGTH_UNKNOWN);
}

static int act_nothing(scene *s, mh_req *req) {
    (void)s;
    (void)req;
    return MH_OK;
}

static int act_answer(scene *s, mh_req *req) {
    (void)s;
    return say(req, "hello");
}

static int act_answer_much(scene *s, mh_req *req) {
    (void)s;
    return mh_res_simple(req, 200, text(""), NULL, 0, (mh_str){big, sizeof big});
}

static int act_inform(scene *s, mh_req *req) {
    (void)s;
    return mh_res_inform(req, 103, NULL, 0);
}

static int act_write(scene *s, mh_req *req) {
    (void)s;
    start(req);
    return mh_res_write(req, "word", 4);
}

static int act_write_much(scene *s, mh_req *req) {
    (void)s;
    start(req);
    return mh_res_write(req, big, sizeof big);
}

static int act_borrow(scene *s, mh_req *req) {
    start(req);
    return borrow(s, req, big, sizeof big);
}

static int act_borrow_nothing(scene *s, mh_req *req) {
    start(req);
    return borrow(s, req, "", 0);
}

static int act_file(scene *s, mh_req *req) {
    int fd = memfd_create("abc", MFD_CLOEXEC);
    (void)s;
    if (fd < 0 || write(fd, "abc", 3) != 3) abort();
    start(req);
    return mh_res_file(req, fd, 0, -1, 1);
}

static int act_end(scene *s, mh_req *req) {
    (void)s;
    start(req);
    return mh_res_end(req);
}

static int act_end_short(scene *s, mh_req *req) {
    (void)s;
    if (!mh_res_started(req)) mh_res_head(req, 200, text(""), NULL, 0, 5);
    return mh_res_end(req);
}

static int act_read(scene *s, mh_req *req) {
    char buf[16];
    (void)s;
    return mh_req_read(req, buf, sizeof buf);
}

static int act_abort(scene *s, mh_req *req) {
    (void)s;
    return mh_req_abort(req);
}

static int act_answer_and_abort(scene *s, mh_req *req) {
    (void)s;
    say(req, "hello");
    return mh_req_abort(req);
}

static int act_upgrade(scene *s, mh_req *req) {
    char buf[64];
    size_t n = sizeof buf;
    return s->taken = mh_req_upgrade(req, buf, &n);
}

static int act_drain(scene *s, mh_req *req) {
    (void)req;
    return mh_server_drain(s->f.srv, 0, NULL, NULL);
}

static int act_drain_soon(scene *s, mh_req *req) {
    (void)req;
    return mh_server_drain(s->f.srv, 1, NULL, NULL);
}

static int act_listen(scene *s, mh_req *req) {
    (void)req;
    return mh_server_listen_tcp(s->f.srv, "127.0.0.1", 0, 0, 0);
}

static void on_event(mh_loop *loop, void *user) {
    (void)loop;
    (void)user;
}

static int act_timer(scene *s, mh_req *req) {
    uint64_t id;
    (void)req;
    CHECK_INT(mh_loop_timer(s->f.loop, 0, on_event, s, NULL), MH_OK);
    CHECK_INT(mh_loop_timer(s->f.loop, 1000000, on_event, s, &id), MH_OK);
    return mh_loop_cancel(s->f.loop, id);
}

static int act_post(scene *s, mh_req *req) {
    (void)req;
    CHECK_INT(mh_loop_wakeup(s->f.loop), MH_OK);
    return mh_loop_post(s->f.loop, on_event, s);
}

static void on_watch(mh_loop *loop, int fd, unsigned events, void *user) {
    (void)loop;
    (void)fd;
    (void)events;
    (void)user;
}

/* In a watch's callback this is the watch that is being called. */
static int act_unwatch(scene *s, mh_req *req) {
    (void)req;
    mh_loop_unwatch(s->f.loop, s->fds[0]);
    CHECK_INT(mh_loop_watch(s->f.loop, s->fds[0], MH_WRITE, on_watch, s), MH_OK);
    return mh_loop_unwatch(s->f.loop, s->fds[0]);
}

static int act_share(scene *s, mh_req *req) {
    (void)req;
    return mh_loop_fd(s->f.loop);
}

static void ignore_request(mh_req *req, void *user) {
    (void)req;
    (void)user;
}

static int act_new_server(scene *s, mh_req *req) {
    mh_handlers h;
    mh_server *srv;
    (void)req;
    mh_handlers_init(&h);
    h.on_request = ignore_request;
    int result = mh_server_new(&srv, s->f.loop, &h, NULL);
    if (result == MH_OK) result = mh_server_listen_tcp(srv, "127.0.0.1", 0, 0, 0);
    return result;
}

static int act_set_user(scene *s, mh_req *req) {
    mh_req_set_user(req, s);
    CHECK(mh_req_user(req) == s);
    CHECK(mh_req_loop(req) == s->f.loop);
    return MH_OK;
}

static const act acts[] = {
    {"nothing", act_nothing, {0}},
    {"answer", act_answer, {MH_ECLOSED, MH_ESTATE}},
    {"answer much", act_answer_much, {MH_ECLOSED, MH_ESTATE}},
    {"inform", act_inform, {MH_ECLOSED, MH_ESTATE}},
    {"write", act_write, {MH_ECLOSED, MH_ESTATE}},
    {"write much", act_write_much, {MH_ECLOSED, MH_ESTATE}},
    {"borrow", act_borrow, {MH_ECLOSED, MH_ESTATE}},
    {"borrow nothing", act_borrow_nothing, {MH_ECLOSED, MH_ESTATE}},
    {"file", act_file, {MH_ECLOSED, MH_ESTATE}},
    {"end", act_end, {MH_ECLOSED, MH_ESTATE}},
    {"end short", act_end_short, {MH_ECLOSED, MH_ESTATE, MH_ERANGE}},
    {"read", act_read, {MH_ECLOSED, MH_ESTATE, MH_EOS, MH_EAGAIN}},
    {"abort", act_abort, {MH_ECLOSED}},
    {"answer and abort", act_answer_and_abort, {MH_ECLOSED}},
    {"upgrade", act_upgrade, {MH_ECLOSED, MH_ESTATE, MH_EAGAIN}},
    {"drain", act_drain, {MH_ESTATE}},
    {"drain soon", act_drain_soon, {MH_ESTATE}},
    {"listen", act_listen, {MH_ESTATE}},
    {"timer", act_timer, {0}},
    {"post", act_post, {0}},
    {"unwatch", act_unwatch, {0}},
    {"share the loop", act_share, {0}},
    {"new server", act_new_server, {0}},
    {"set user", act_set_user, {0}},
};

/* ---- the six --------------------------------------------------------------------------------- */

static int act_six(scene *s, mh_req *req) {
    fix *f = &s->f;
    unsigned finished = f->finished;
    (void)req;
    CHECK_INT(mh_loop_step(f->loop, 0), MH_ESTATE);
    CHECK_INT(mh_loop_run(f->loop), MH_ESTATE);
    CHECK_INT(mh_loop_flush(f->loop), MH_ESTATE);
    CHECK_INT(mh_loop_flush_due(f->loop), MH_ESTATE);
    CHECK_INT(mh_server_free(f->srv), MH_ESTATE);
    mh_loop_free(f->loop);
    CHECK_INT(f->finished, finished);
    return MH_OK;
}

static const act the_six = {"the six", act_six, {0}};

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
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->fds) < 0 || fix_open(f) < 0) abort();
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
    RUN(each_act_at_each_place_ends_well);
    RUN(the_six_are_refused_at_each_place);
    return check_end();
}
