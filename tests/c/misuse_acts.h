/* All that a host may do in a callback, and a scene on which it does. Include it in one file of a
 * program. */
#ifndef MISUSE_ACTS_H
#define MISUSE_ACTS_H

#include "client.h"
#include "failing.h"
#include "tree.h"

#include <sys/mman.h>

enum { BIG = 600000 /* more than a unix socket takes */ };

static char big[BIG];

static tree ground; /* of all scenes: the files "small" and "big" */

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
    int log;           /* open for an access log */
    mh_static *dir;    /* ground; NULL: closed */
    int fds[2];        /* a pair of sockets, one of them watched */
    bool at_finish;    /* on_finish is the place */
    fix_cb on_request; /* the place's; NULL: the exchange is parked */
};

static inline scene *scene_of(fix *f) { return (scene *)(void *)f; }

/* ---- acts ------------------------------------------------------------------------------------ */

static inline void come_back(void *user) { ((scene *)user)->done++; }

static inline int borrow(scene *s, mh_req *req, const void *p, size_t n) {
    const mh_str pieces[] = {{p, n}, {"", 0}};
    int result = mh_res_writev(req, pieces, 2, come_back, s);
    if (result >= 0 || result == MH_ERANGE) s->owed++;
    return result;
}

/* So that what follows is taken if anything is. */
static inline void start(mh_req *req) {
    if (!mh_res_started(req)) mh_res_head(req, 200, text(""), NULL, 0, MH_LENGTH_UNKNOWN);
}

static inline int act_nothing(scene *s, mh_req *req) {
    (void)s;
    (void)req;
    return MH_OK;
}

static inline int act_answer(scene *s, mh_req *req) {
    (void)s;
    return say(req, "hello");
}

static inline int act_answer_much(scene *s, mh_req *req) {
    (void)s;
    return mh_res_simple(req, 200, text(""), NULL, 0, (mh_str){big, sizeof big});
}

static inline int act_inform(scene *s, mh_req *req) {
    (void)s;
    return mh_res_inform(req, 103, NULL, 0);
}

static inline int act_write(scene *s, mh_req *req) {
    (void)s;
    start(req);
    return mh_res_write(req, "word", 4);
}

static inline int act_write_much(scene *s, mh_req *req) {
    (void)s;
    start(req);
    return mh_res_write(req, big, sizeof big);
}

static inline int act_borrow(scene *s, mh_req *req) {
    start(req);
    return borrow(s, req, big, sizeof big);
}

static inline int act_borrow_nothing(scene *s, mh_req *req) {
    start(req);
    return borrow(s, req, "", 0);
}

static inline int act_file(scene *s, mh_req *req) {
    int fd = memfd_create("abc", MFD_CLOEXEC);
    (void)s;
    if (fd < 0 || write(fd, "abc", 3) != 3) abort();
    start(req);
    return mh_res_file(req, fd, 0, -1, 1);
}

static inline int act_static(scene *s, mh_req *req) {
    return mh_res_static(req, s->dir, text("small"));
}

static inline int act_static_much(scene *s, mh_req *req) {
    return mh_res_static(req, s->dir, text("/big"));
}

/* What is on its way is not disturbed. */
static inline int act_static_and_close(scene *s, mh_req *req) {
    int result = act_static_much(s, req);
    mh_static_free(s->dir);
    s->dir = NULL;
    return result;
}

/* The second is left to the loop. */
static inline int act_directory(scene *s, mh_req *req) {
    mh_static_config cfg;
    mh_static *first, *second;
    (void)req;
    mh_static_config_init_sized(&cfg, sizeof cfg);
    CHECK_INT(mh_static_new(&first, s->f.loop, "/", &cfg), MH_OK);
    CHECK_INT(mh_static_new(&second, s->f.loop, "/", NULL), MH_OK);
    mh_static_free(first);
    return MH_OK;
}

static inline int act_end(scene *s, mh_req *req) {
    (void)s;
    start(req);
    return mh_res_end(req);
}

static inline int act_end_short(scene *s, mh_req *req) {
    (void)s;
    if (!mh_res_started(req)) mh_res_head(req, 200, text(""), NULL, 0, 5);
    return mh_res_end(req);
}

static inline int act_read(scene *s, mh_req *req) {
    char buf[16];
    (void)s;
    return mh_req_read(req, buf, sizeof buf);
}

static inline int act_abort(scene *s, mh_req *req) {
    (void)s;
    return mh_req_abort(req);
}

static inline int act_answer_and_abort(scene *s, mh_req *req) {
    (void)s;
    say(req, "hello");
    return mh_req_abort(req);
}

static inline int act_upgrade(scene *s, mh_req *req) {
    char buf[64];
    size_t n = sizeof buf;
    return s->taken = mh_req_upgrade(req, buf, &n);
}

static inline int act_drain(scene *s, mh_req *req) {
    (void)req;
    return mh_server_drain(s->f.srv, 0, NULL, NULL);
}

static inline int act_drain_soon(scene *s, mh_req *req) {
    (void)req;
    return mh_server_drain(s->f.srv, 1, NULL, NULL);
}

static inline int act_listen(scene *s, mh_req *req) {
    (void)req;
    return mh_server_listen_tcp(s->f.srv, "127.0.0.1", 0, 0, 0);
}

static inline int act_listen_unix(scene *s, mh_req *req) {
    char path[80];
    (void)req;
    snprintf(path, sizeof path, "%s-2", s->f.path);
    return mh_server_listen_unix(s->f.srv, path, 0600, 0);
}

static inline int act_listen_fd(scene *s, mh_req *req) {
    int fd = listening_fd(NULL), result = mh_server_listen_fd(s->f.srv, fd, 1);
    (void)req;
    if (result < 0) close(fd); /* it has stayed ours */
    return result;
}

static inline int act_log(scene *s, mh_req *req) {
    (void)req;
    return mh_server_access_log(s->f.srv, s->log, MH_ACCESS_JSON);
}

static inline int act_log_line(scene *s, mh_req *req) {
    act_log(s, req);
    return mh_server_log_line(s->f.srv, "a line", 6);
}

static inline int act_log_no_more(scene *s, mh_req *req) {
    act_log_line(s, req);
    return mh_server_access_log(s->f.srv, -1, MH_ACCESS_JSON);
}

static inline int act_trim(scene *s, mh_req *req) {
    (void)req;
    mh_server_trim(s->f.srv);
    return MH_OK;
}

static inline int act_trim_request(scene *s, mh_req *req) {
    (void)s;
    mh_req_trim(req);
    return MH_OK;
}

static inline int act_close(scene *s, mh_req *req) {
    (void)s;
    mh_req_close(req);
    return MH_OK;
}

static inline void on_event(mh_loop *loop, void *user) {
    (void)loop;
    (void)user;
}

static inline int act_timer(scene *s, mh_req *req) {
    uint64_t id;
    (void)req;
    CHECK_INT(mh_loop_timer(s->f.loop, 0, on_event, s, NULL), MH_OK);
    CHECK_INT(mh_loop_timer(s->f.loop, 1000000, on_event, s, &id), MH_OK);
    return mh_loop_cancel(s->f.loop, id);
}

static inline int act_post(scene *s, mh_req *req) {
    (void)req;
    CHECK_INT(mh_loop_wakeup(s->f.loop), MH_OK);
    return mh_loop_post(s->f.loop, on_event, s);
}

static inline void on_watch(mh_loop *loop, int fd, unsigned events, void *user) {
    (void)loop;
    (void)fd;
    (void)events;
    (void)user;
}

/* In a watch's callback this is the watch that is being called. */
static inline int act_unwatch(scene *s, mh_req *req) {
    (void)req;
    mh_loop_unwatch(s->f.loop, s->fds[0]);
    CHECK_INT(mh_loop_watch(s->f.loop, s->fds[0], MH_WRITE, on_watch, s), MH_OK);
    return mh_loop_unwatch(s->f.loop, s->fds[0]);
}

static inline int act_share(scene *s, mh_req *req) {
    (void)req;
    return mh_loop_fd(s->f.loop);
}

static inline void ignore_request(mh_req *req, void *user) {
    (void)req;
    (void)user;
}

static inline int act_new_server(scene *s, mh_req *req) {
    mh_handlers h;
    mh_config cfg;
    mh_server *srv;
    (void)req;
    mh_handlers_init_sized(&h, sizeof h);
    mh_config_init_sized(&cfg, sizeof cfg);
    h.on_request = ignore_request;
    int result = mh_server_new(&srv, s->f.loop, &h, &cfg);
    if (result == MH_OK) result = mh_server_listen_tcp(srv, "127.0.0.1", 0, 0, 0);
    return result;
}

static inline int act_set_user(scene *s, mh_req *req) {
    mh_req_set_user(req, s);
    CHECK(mh_req_user(req) == s);
    CHECK(mh_req_loop(req) == s->f.loop);
    return MH_OK;
}

/* It is another's to step, and to free. */
static inline int act_new_loop(scene *s, mh_req *req) {
    mh_loop_config cfg;
    mh_loop *loop;
    (void)s;
    (void)req;
    mh_loop_config_init_sized(&cfg, sizeof cfg);
    int result = mh_loop_new(&loop, &cfg);
    if (result == MH_OK) mh_loop_free(loop);
    return result;
}

/* Holds for the next run, of which there is none here. */
static inline int act_stop(scene *s, mh_req *req) {
    (void)req;
    mh_loop_stop(s->f.loop);
    return MH_OK;
}

/* ---- what is only asked ---------------------------------------------------------------------- */

/* All requests here are alike, to their end. */
static inline int act_ask_head(scene *s, mh_req *req) {
    mh_str name, value, below, method = mh_req_method(req), target = mh_req_target(req);
    mh_str path = mh_req_path(req), query = mh_req_query(req), host = mh_req_host(req);
    mh_str block = mh_req_field_block(req);
    size_t fields = mh_req_fields(req);
    (void)s;
    CHECK(method.n > 0 && memchr("GHP", method.p[0], 3));
    CHECK_MEM(target.p, target.n, "/");
    CHECK_MEM(path.p, path.n, "/");
    CHECK(query.p == NULL && query.n == 0);
    CHECK_MEM(host.p, host.n, fields > 0 ? "a" : "");
    CHECK_INT(block.n > 0 && block.p[0] == 'H', fields > 0);
    CHECK_INT(mh_req_field(req, 0, &name, &value), fields > 0 ? MH_OK : MH_EINVAL);
    CHECK_INT(mh_req_find(req, "host", 4, &value), fields > 0 ? MH_OK : MH_ENOENT);
    if (fields > 0) CHECK_MEM(value.p, value.n, "a");
    CHECK_INT(mh_req_below(req, "", 0, &below), MH_OK);
    CHECK_MEM(below.p, below.n, "/");
    CHECK_INT(mh_req_version(req), fields > 0 ? 11 : 10);
    return MH_OK;
}

static inline int act_ask(scene *s, mh_req *req) {
    char host[64];
    uint16_t port = 1;
    (void)s;
    CHECK_INT(mh_req_length(req), mh_req_method(req).p[0] == 'P' ? 6 : 0);
    CHECK_INT(mh_req_expects_continue(req), 0);
    CHECK_INT(mh_req_host_from_target(req), 0);
    CHECK_INT(mh_req_listener(req), 1);
    if (mh_req_length(req) == 0) CHECK(mh_req_complete(req));
    CHECK(mh_req_taken_us(req) < 60 * 1000000u);
    CHECK_INT(mh_req_peer(req, host, sizeof host, &port), 0); /* a unix socket's */
    CHECK_INT(port, 0);
    CHECK(mh_req_proxy_protocol(req) == NULL); /* no header was asked for */
    CHECK(mh_req_proxy_to(req, host, sizeof host, &port) < 0);
    CHECK(mh_req_proxy_sender(req, host, sizeof host, &port) < 0);
    CHECK(mh_res_pending(req) <= 2 * sizeof big && mh_res_sent(req) <= 2 * sizeof big);
    if (mh_res_started(req)) CHECK_INT(mh_res_status(req), 200);
    CHECK_INT(mh_req_fd(req) < 0, mh_req_local(req, host, sizeof host, &port) < 0);
    return mh_req_fd(req);
}

static inline int act_ask_others(scene *s, mh_req *req) {
    mh_loop *loop = s->f.loop;
    int port = mh_server_port(s->f.srv, 0);
    (void)req;
    CHECK(port > 0 || port == MH_EINVAL);
    CHECK(mh_server_connections(s->f.srv) <= 3);
    CHECK(mh_loop_now(loop) > 0);
    CHECK_INT(mh_loop_errno(loop), 0);
    CHECK_INT(mh_res_check(200, text("OK"), NULL, 0), MH_OK);
    CHECK(*mh_strerror(MH_ESTATE) && *mh_version());
    return MH_OK;
}

/* ---- the list of them ------------------------------------------------------------------------ */

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
    {"static", act_static, {MH_ECLOSED, MH_ESTATE}},
    {"static much", act_static_much, {MH_ECLOSED, MH_ESTATE}},
    {"static and close", act_static_and_close, {MH_ECLOSED, MH_ESTATE}},
    {"directory", act_directory, {0}},
    {"end", act_end, {MH_ECLOSED, MH_ESTATE}},
    {"end short", act_end_short, {MH_ECLOSED, MH_ESTATE, MH_ERANGE}},
    {"read", act_read, {MH_ECLOSED, MH_ESTATE, MH_EOS, MH_EAGAIN}},
    {"close", act_close, {0}},
    {"abort", act_abort, {MH_ECLOSED}},
    {"answer and abort", act_answer_and_abort, {MH_ECLOSED}},
    {"upgrade", act_upgrade, {MH_ECLOSED, MH_ESTATE, MH_EAGAIN}},
    {"drain", act_drain, {MH_ESTATE}},
    {"drain soon", act_drain_soon, {MH_ESTATE}},
    {"listen", act_listen, {MH_ESTATE}},
    {"listen on a path", act_listen_unix, {MH_ESTATE}},
    {"listen on a socket", act_listen_fd, {MH_ESTATE}},
    {"log", act_log, {MH_ESTATE}},
    {"log a line", act_log_line, {MH_ESTATE}},
    {"log no more", act_log_no_more, {MH_ESTATE}},
    {"trim", act_trim, {0}},
    {"trim the request", act_trim_request, {0}},
    {"timer", act_timer, {0}},
    {"post", act_post, {0}},
    {"unwatch", act_unwatch, {0}},
    {"share the loop", act_share, {0}},
    {"new server", act_new_server, {0}},
    {"new loop", act_new_loop, {0}},
    {"stop", act_stop, {0}},
    {"set user", act_set_user, {0}},
    {"ask for the head", act_ask_head, {0}},
    {"ask for more", act_ask, {MH_ECLOSED}},
    {"ask the others", act_ask_others, {0}},
};

/* ---- the six --------------------------------------------------------------------------------- */

static inline int act_six(scene *s, mh_req *req) {
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

#endif
