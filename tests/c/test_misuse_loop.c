/* Wrong calls on a loop and on a server: bad arguments, bad configurations, calls at a wrong time,
 * calls in a child of the process. Each returns its error and changes nothing. What callbacks may
 * not call is test_misuse_callbacks.c's. */
#include "child.h"
#include "client.h"
#include "failing.h"
#include "fds.h"
#include "journal.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

/* ---- what must not change -------------------------------------------------------------------- */

/* A fixture with a counting allocator. */
typedef struct counted {
    fix f; /* first: the fixture's callbacks get it */
    failing mem;
} counted;

static void open_counted(counted *c) {
    fix_init(&c->f);
    failing_config(&c->mem, &c->f.loop_cfg);
    if (fix_open(&c->f) < 0) abort();
}

static void close_counted(counted *c) {
    fix_close(&c->f);
    CHECK_INT(c->mem.blocks, 0);
}

/* call must return want, and neither keep memory nor a descriptor. */
#define REFUSED(c, call, want)                                     \
    do {                                                           \
        size_t blocks_ = (c)->mem.blocks, bytes_ = (c)->mem.bytes; \
        int fds_ = count_fds();                                    \
        CHECK_INT(call, want);                                     \
        CHECK_INT((c)->mem.blocks, blocks_);                       \
        CHECK_INT((c)->mem.bytes, bytes_);                         \
        CHECK_INT(count_fds(), fds_);                              \
    } while (0)

/* ---- configurations -------------------------------------------------------------------------- */

static void a_loop_of_a_wrong_config_is_not_made(void) {
    static const struct {
        const char *name;
        size_t size;
        uint32_t initial_fds, max_events;
    } rows[] = {
        {"size 0", 0, 1024, 32},
        {"size of less than the first version's", sizeof(mh_loop_config) - 1, 1024, 32},
        {"initial_fds 0", sizeof(mh_loop_config), 0, 32},
        {"initial_fds over INT_MAX", sizeof(mh_loop_config), (uint32_t)INT32_MAX + 1, 32},
        {"max_events 0", sizeof(mh_loop_config), 1024, 0},
        {"max_events that epoll_wait refuses", sizeof(mh_loop_config), 1024, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        counted c;
        mh_loop *loop = (mh_loop *)&c;
        mh_loop_config cfg;
        failing_config(&c.mem, &cfg);
        cfg.size = rows[i].size;
        cfg.initial_fds = rows[i].initial_fds;
        cfg.max_events = rows[i].max_events;
        REFUSED(&c, mh_loop_new(&loop, &cfg), MH_EINVAL);
        if (loop) CHECK_FAIL_("%s", rows[i].name);
    }
}

#define FIELD(name) #name, offsetof(mh_config, name)

/* Of each limit what is just allowed and what is just not. */
static const struct {
    const char *name;
    size_t offset;
    uint32_t value;
    int result;
} limits[] = {
    {FIELD(max_connections), 0, MH_EINVAL},
    {FIELD(max_connections), 1, MH_OK},
    {FIELD(max_connections), UINT32_MAX, MH_OK},
    {FIELD(max_request_line), 15, MH_EINVAL},
    {FIELD(max_request_line), 16, MH_OK},
    {FIELD(max_request_line), 1 << 28, MH_OK},
    {FIELD(max_request_line), (1 << 28) + 1, MH_EINVAL},
    {FIELD(max_head), 15, MH_EINVAL},
    {FIELD(max_head), 16, MH_OK},
    {FIELD(max_head), 1 << 28, MH_OK},
    {FIELD(max_head), (1 << 28) + 1, MH_EINVAL},
    {FIELD(max_fields), 0, MH_EINVAL},
    {FIELD(max_fields), 1, MH_OK},
    {FIELD(max_fields), 65535, MH_OK},
    {FIELD(max_fields), 65536, MH_EINVAL},
    {FIELD(head_timeout), 0, MH_EINVAL},
    {FIELD(body_timeout), 0, MH_EINVAL},
    {FIELD(write_timeout), 0, MH_EINVAL},
    {FIELD(keepalive_timeout), 0, MH_OK},
    {FIELD(min_rate), 0, MH_OK},
    {FIELD(rate_window), 0, MH_EINVAL},
    {FIELD(rate_grace), 0, MH_OK},
    {FIELD(linger_timeout), 0, MH_EINVAL},
    {FIELD(linger_time), 0, MH_EINVAL},
    {FIELD(linger_max), 0, MH_OK},
    {FIELD(linger_max), 1 << 28, MH_OK},
    {FIELD(linger_max), (1 << 28) + 1, MH_EINVAL},
    {FIELD(unread_max), 0, MH_OK},
    {FIELD(unread_max), 1 << 28, MH_OK},
    {FIELD(unread_max), (1 << 28) + 1, MH_EINVAL},
    {FIELD(high_water), 0, MH_EINVAL},
    {FIELD(high_water), 16383, MH_EINVAL}, /* less than low_water */
    {FIELD(high_water), 16384, MH_OK},
    {FIELD(low_water), 0, MH_OK},
    {FIELD(low_water), 65537, MH_EINVAL},
    {FIELD(step_read), 0, MH_EINVAL},
    {FIELD(step_write), 0, MH_EINVAL},
    {FIELD(step_requests), 0, MH_EINVAL},
    {FIELD(accept_batch), 0, MH_EINVAL},
    {FIELD(accept_pause), 0, MH_EINVAL},
};

static void a_server_of_a_wrong_limit_is_not_made(void) {
    counted c;
    open_counted(&c);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        mh_config_init(&c.f.cfg);
        memcpy((char *)&c.f.cfg + limits[i].offset, &limits[i].value, sizeof limits[i].value);
        if (limits[i].result == MH_OK)
            CHECK_INT(fix_server(&c.f), MH_OK);
        else
            REFUSED(&c, fix_server(&c.f), limits[i].result);
        if (!c.f.srv != (limits[i].result < 0))
            CHECK_FAIL_("%s %u", limits[i].name, (unsigned)limits[i].value);
    }
    close_counted(&c);
}

static void a_server_of_a_wrong_config_is_not_made(void) {
    counted c;
    open_counted(&c);
    mh_config *cfg = &c.f.cfg;
    static const char *const bad_names[] = {NULL, "two\r\nlines", "a\x7f"};
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        cfg->server_name = bad_names[i];
        REFUSED(&c, fix_server(&c.f), MH_EINVAL);
        CHECK(c.f.srv == NULL);
    }
    static const size_t bad_sizes[] = {0, 1, sizeof(size_t), sizeof *cfg - 1};
    for (size_t i = 0; i < sizeof bad_sizes / sizeof *bad_sizes; i++) {
        mh_config_init(cfg);
        cfg->size = bad_sizes[i];
        REFUSED(&c, fix_server(&c.f), MH_EINVAL);
    }
    mh_config_init(cfg);
    cfg->max_body = (uint64_t)INT64_MAX + 1;
    REFUSED(&c, fix_server(&c.f), MH_EINVAL);
    cfg->max_body = INT64_MAX;
    CHECK_INT(fix_server(&c.f), MH_OK);
    cfg->max_body = cfg->rate_window = cfg->min_rate = 0; /* no rate, and no window to measure it */
    CHECK_INT(fix_server(&c.f), MH_OK);
    cfg->server_name = "";
    CHECK_INT(fix_server(&c.f), MH_OK);
    close_counted(&c);
}

static void ignore_request(mh_req *req, void *user) {
    (void)req;
    (void)user;
}

static void a_server_of_wrong_handlers_is_not_made(void) {
    counted c;
    open_counted(&c);
    mh_server *srv;
    mh_handlers h;
    REFUSED(&c, mh_server_new(&srv, c.f.loop, NULL, NULL), MH_EINVAL);
    CHECK(srv == NULL);
    mh_handlers_init(&h);
    REFUSED(&c, mh_server_new(&srv, c.f.loop, &h, NULL), MH_EINVAL); /* no on_request */
    h.on_request = ignore_request;
    static const size_t bad_sizes[] = {0, 1, sizeof(size_t), sizeof(size_t) + 4, sizeof h - 1};
    for (size_t i = 0; i < sizeof bad_sizes / sizeof *bad_sizes; i++) {
        h.size = bad_sizes[i];
        REFUSED(&c, mh_server_new(&srv, c.f.loop, &h, NULL), MH_EINVAL);
    }
    close_counted(&c);
}

/* A host built against an earlier header, whose structs have less at their end. */
static void an_init_writes_no_more_than_the_struct_that_the_host_has(void) {
    enum { SHORTER = sizeof(size_t) + 4 };
    static const char kept[] = "\xee\xee\xee\xee";
    union {
        char bytes[sizeof(mh_config) + sizeof(mh_handlers) + sizeof(mh_loop_config)];
        mh_config cfg;
        mh_handlers h;
        mh_loop_config loop_cfg;
        mh_static_config static_cfg;
    } u;
    for (int i = 0; i < 4; i++) {
        memset(&u, 0xee, sizeof u);
        if (i == 0) mh_config_init_sized(&u.cfg, SHORTER);
        if (i == 1) mh_handlers_init_sized(&u.h, SHORTER);
        if (i == 2) mh_loop_config_init_sized(&u.loop_cfg, SHORTER);
        if (i == 3) mh_static_config_init_sized(&u.static_cfg, SHORTER);
        CHECK_INT(*(const size_t *)(const void *)&u, SHORTER);
        CHECK(memcmp(u.bytes + sizeof(size_t), kept, 4) != 0);
        CHECK(memcmp(u.bytes + SHORTER, kept, 4) == 0);
    }
}

static void an_init_empties_what_only_a_later_header_has(void) {
    struct {
        mh_config cfg;
        uint64_t more[2];
    } later = {.more = {UINT64_MAX, UINT64_MAX}};
    mh_config_init_sized(&later.cfg, sizeof later.cfg + sizeof later.more[0]);
    CHECK_INT(later.cfg.size, sizeof later.cfg + sizeof later.more[0]);
    CHECK_INT(later.cfg.max_fields, 100);
    CHECK(later.more[0] == 0);
    CHECK(later.more[1] == UINT64_MAX);
}

/* A host built against a later header, whose structs have more at their end. */
static void what_a_later_header_added_is_not_looked_at(void) {
    struct {
        mh_handlers h;
        uint64_t more;
    } handlers = {.more = UINT64_MAX};
    struct {
        mh_config cfg;
        uint64_t more;
    } config = {.more = UINT64_MAX};
    struct {
        mh_loop_config cfg;
        uint64_t more;
    } loop_config = {.more = UINT64_MAX};
    mh_loop *loop;
    mh_server *srv;
    mh_handlers_init(&handlers.h);
    mh_config_init(&config.cfg);
    mh_loop_config_init(&loop_config.cfg);
    handlers.h.on_request = ignore_request;
    handlers.h.size = sizeof handlers;
    config.cfg.size = sizeof config;
    loop_config.cfg.size = sizeof loop_config;
    REQUIRE(mh_loop_new(&loop, &loop_config.cfg) == MH_OK);
    CHECK_INT(mh_server_new(&srv, loop, &handlers.h, &config.cfg), MH_OK);
    mh_loop_free(loop);
}

/* ---- listeners ------------------------------------------------------------------------------- */

static int listening_socket(void) {
    struct sockaddr_in sa = {.sin_family = AF_INET};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 5) < 0) abort();
    return fd;
}

static void on_watch(mh_loop *loop, int fd, unsigned events, void *user) {
    (void)loop;
    (void)fd;
    note("%s%s", (const char *)user, events & MH_READ ? "+read" : "");
}

/* It stays the host's, also with own, and as it was. */
#define FD_REFUSED(c, fd, want)                                   \
    do {                                                          \
        int flags_ = fcntl(fd, F_GETFL);                          \
        REFUSED(c, mh_server_listen_fd((c)->f.srv, fd, 1), want); \
        CHECK_INT(fcntl(fd, F_GETFL), flags_);                    \
    } while (0)

static void a_wrong_listener_is_refused_and_its_descriptor_stays_as_it_was(void) {
    counted c;
    int fds[2];
    open_counted(&c);
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), watched = listening_socket();
    FD_REFUSED(&c, -1, MH_EINVAL);
    FD_REFUSED(&c, fds[0], MH_EINVAL);
    FD_REFUSED(&c, udp, MH_EINVAL);
    FD_REFUSED(&c, tcp, MH_EINVAL);
    CHECK_INT(mh_loop_watch(c.f.loop, watched, MH_READ, on_watch, "mine"), MH_OK);
    FD_REFUSED(&c, watched, MH_ESTATE);
    CHECK_INT(mh_loop_unwatch(c.f.loop, watched), MH_OK); /* it was not taken away */
    failing_at(&c.mem, 1);
    FD_REFUSED(&c, watched, MH_ENOMEM);
    CHECK_INT(mh_server_listen_fd(c.f.srv, watched, 1), MH_OK);
    FD_REFUSED(&c, watched, MH_ESTATE);                                          /* twice */
    REFUSED(&c, mh_server_listen_tcp(c.f.srv, "127.0.0.1", 0, 0, 2), MH_EINVAL); /* no such flag */
    CHECK(mh_server_port(c.f.srv, 2) > 0);
    CHECK_INT(mh_server_port(c.f.srv, 3), MH_EINVAL);
    CHECK_INT(mh_server_port(c.f.srv, UINT32_MAX), MH_EINVAL);
    close(fds[0]);
    close(fds[1]);
    close(udp);
    close(tcp);
    close_counted(&c);
}

/* ---- draining -------------------------------------------------------------------------------- */

static void on_drained(mh_server *srv, void *user) {
    (void)srv;
    ++*(int *)user;
}

static void check_drains(counted *c) {
    char path[80];
    int fd = listening_socket(), again = 0;
    mh_server *srv = c->f.srv;
    snprintf(path, sizeof path, "%s-2", c->f.path);
    REFUSED(c, mh_server_drain(srv, 0, on_drained, &again), MH_ESTATE);
    REFUSED(c, mh_server_drain(srv, 1, on_drained, &again), MH_ESTATE);
    REFUSED(c, mh_server_listen_tcp(srv, "127.0.0.1", 0, 0, 0), MH_ESTATE);
    REFUSED(c, mh_server_listen_unix(srv, path, 0600, 0), MH_ESTATE);
    CHECK_INT(access(path, F_OK), -1);
    FD_REFUSED(c, fd, MH_ESTATE);
    CHECK_INT(mh_server_port(srv, 0), MH_EINVAL);
    settle(&c->f);
    CHECK_INT(again, 0);
    CHECK_INT(close(fd), 0);
}

static void a_server_that_drains_takes_no_listener_and_no_second_drain(void) {
    counted c;
    peer p;
    int drained = 0;
    open_counted(&c);
    peer_unix(&p, &c.f);
    peer_send(&c.f, &p, GET);
    UNTIL(&c.f, c.f.req);
    failing_at(&c.mem, 1);
    REFUSED(&c, mh_server_drain(c.f.srv, 1000, on_drained, &drained), MH_ENOMEM);
    CHECK(mh_server_port(c.f.srv, 0) > 0); /* it listens still */
    CHECK_INT(mh_server_drain(c.f.srv, 0, on_drained, &drained), MH_OK);
    check_drains(&c);
    CHECK_INT(drained, 0);
    CHECK_INT(say(c.f.req, "last"), MH_OK);
    CHECK_ANSWER(&c.f, &p, 200, "last");
    peer_close(&p);
    UNTIL(&c.f, drained == 1);
    check_drains(&c); /* nor one that has drained */
    CHECK_INT(drained, 1);
    close_counted(&c);
}

/* ---- watches, timers, posts ------------------------------------------------------------------ */

static void a_wrong_watch_is_refused_and_an_older_one_stays(void) {
    counted c;
    int fds[2], own = listening_socket();
    open_counted(&c);
    mh_loop *loop = c.f.loop;
    int epoll = mh_loop_fd(loop);
    FILE *file = tmpfile();
    REQUIRE(file && pipe2(fds, O_CLOEXEC) == 0);
    CHECK_INT(mh_server_listen_fd(c.f.srv, own, 1), MH_OK);
    CHECK_INT(mh_loop_watch(loop, fds[0], MH_READ, on_watch, "old"), MH_OK);
    REFUSED(&c, mh_loop_watch(loop, -1, MH_READ, on_watch, "new"), MH_EINVAL);
    REFUSED(&c, mh_loop_watch(loop, fds[0], 8, on_watch, "new"), MH_EINVAL);
    REFUSED(&c, mh_loop_watch(loop, fds[0], MH_WRITE, NULL, "new"), MH_EINVAL);
    REFUSED(&c, mh_loop_watch(loop, own, MH_READ, on_watch, "new"), MH_ESTATE);
    REFUSED(&c, mh_loop_watch(loop, 2000000000, MH_READ, on_watch, "new"), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), EBADF);
    REFUSED(&c, mh_loop_watch(loop, fileno(file), MH_READ, on_watch, "new"), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), EPERM);
    REFUSED(&c, mh_loop_watch(loop, epoll, MH_READ, on_watch, "new"), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), EINVAL); /* epoll can't watch itself */
    REFUSED(&c, mh_loop_unwatch(loop, own), MH_ENOENT);
    REFUSED(&c, mh_loop_unwatch(loop, fileno(file)), MH_ENOENT);
    REFUSED(&c, mh_loop_unwatch(loop, -1), MH_ENOENT);
    REFUSED(&c, mh_loop_unwatch(loop, 1 << 30), MH_ENOENT);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK(mh_loop_step(loop, -1) >= 0);
    CHECK_JOURNAL("old+read");
    CHECK_INT(mh_loop_unwatch(loop, fds[0]), MH_OK);
    REFUSED(&c, mh_loop_unwatch(loop, fds[0]), MH_ENOENT);
    fclose(file);
    close(fds[0]);
    close(fds[1]);
    close_counted(&c);
}

/* The host must end a watch before it closes the descriptor. If it doesn't, the next connection of
 * that number is closed, and that is all. */
static void a_watch_of_a_closed_descriptor_harms_one_connection(void) {
    counted c;
    peer p;
    int fds[2];
    open_counted(&c);
    c.f.on_request = say_hello;
    peer_unix(&p, &c.f);
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    CHECK_INT(mh_loop_watch(c.f.loop, fds[0], MH_READ, on_watch, "closed"), MH_OK);
    close(fds[0]); /* accept takes the lowest number */
    UNTIL(&c.f, peer_over(&p));
    peer_close(&p);
    CHECK_INT(mh_server_connections(c.f.srv), 0);
    CHECK_INT(mh_loop_unwatch(c.f.loop, fds[0]), MH_OK);
    peer_unix(&p, &c.f);
    peer_send(&c.f, &p, GET);
    CHECK_ANSWER(&c.f, &p, 200, "hello");
    peer_close(&p);
    CHECK_JOURNAL("");
    close(fds[1]);
    close_counted(&c);
}

static void on_word(mh_loop *loop, void *user) {
    (void)loop;
    note("%s", (const char *)user);
}

static void wrong_timers_posts_and_ids_are_refused_and_the_others_run(void) {
    counted c;
    uint64_t ran, kept, cancelled, untouched = 7;
    open_counted(&c);
    mh_loop *loop = c.f.loop;
    CHECK_INT(mh_loop_timer(loop, 0, on_word, "ran", &ran), MH_OK);
    CHECK_INT(mh_loop_timer(loop, 1000000, on_word, "cancelled", &cancelled), MH_OK);
    CHECK(mh_loop_step(loop, 0) >= 0);
    CHECK_JOURNAL("ran");
    CHECK_INT(mh_loop_cancel(loop, cancelled), MH_OK);
    CHECK_INT(mh_loop_timer(loop, 0, on_word, "kept", &kept), MH_OK); /* in an old one's place */
    REFUSED(&c, mh_loop_timer(loop, 0, NULL, "no", &untouched), MH_EINVAL);
    REFUSED(&c, mh_loop_timer(loop, UINT64_MAX, on_word, "no", &untouched), MH_EINVAL);
    CHECK_INT(untouched, 7);
    REFUSED(&c, mh_loop_cancel(loop, ran), MH_ENOENT);
    REFUSED(&c, mh_loop_cancel(loop, cancelled), MH_ENOENT);
    REFUSED(&c, mh_loop_cancel(loop, 0), MH_ENOENT);
    REFUSED(&c, mh_loop_cancel(loop, UINT64_MAX), MH_ENOENT);
    REFUSED(&c, mh_loop_post(loop, NULL, "no"), MH_EINVAL);
    CHECK(mh_loop_step(loop, 0) >= 0);
    CHECK_JOURNAL("kept");
    REFUSED(&c, mh_loop_cancel(loop, kept), MH_ENOENT);
    close_counted(&c);
}

/* ---- another process ------------------------------------------------------------------------- */

static counted parent;

static void refused_and_freed(mh_loop *loop) {
    counted *c = &parent;
    REFUSED(c, mh_loop_step(loop, 0), MH_EFORK);
    REFUSED(c, mh_loop_run(loop), MH_EFORK);
    REFUSED(c, mh_loop_flush(loop), MH_EFORK);
    REFUSED(c, mh_loop_flush_due(loop), MH_EFORK);
    REFUSED(c, mh_loop_fd(loop), MH_EFORK);
    REFUSED(c, mh_loop_watch(loop, 0, MH_READ, on_watch, "no"), MH_EFORK);
    REFUSED(c, mh_loop_post(loop, on_word, "no"), MH_EFORK);
    REFUSED(c, mh_loop_wakeup(loop), MH_EFORK);
    CHECK_INT(c->f.finished, 0);
    CHECK_INT(mh_server_free(c->f.srv), MH_OK);
    CHECK_INT(c->f.whys[MH_FINISH_ABORTED], 1);
    close_counted(c);
}

/* With an exchange open, half its answer queued. */
static void a_child_is_refused_and_its_freeing_leaves_the_parents_exchange(void) {
    counted *c = &parent;
    peer p;
    open_counted(c);
    peer_unix(&p, &c->f);
    peer_send(&c->f, &p, GET);
    UNTIL(&c->f, c->f.req);
    CHECK_INT(mh_res_head(c->f.req, 200, text("OK"), NULL, 0, 5), MH_OK);
    CHECK_INT(mh_res_write(c->f.req, "he", 2), MH_OK);
    CHECK(in_child(c->f.loop, refused_and_freed));
    CHECK_INT(mh_res_write(c->f.req, "llo", 3), MH_OK);
    CHECK_INT(mh_res_end(c->f.req), MH_OK);
    CHECK_ANSWER(&c->f, &p, 200, "hello");
    peer_close(&p);
    peer_unix(&p, &c->f); /* the path is there still */
    c->f.on_request = say_hello;
    peer_send(&c->f, &p, GET);
    CHECK_ANSWER(&c->f, &p, 200, "hello");
    peer_close(&p);
    close_counted(c);
}

int main(void) {
    RUN(a_loop_of_a_wrong_config_is_not_made);
    RUN(a_server_of_a_wrong_limit_is_not_made);
    RUN(a_server_of_a_wrong_config_is_not_made);
    RUN(a_server_of_wrong_handlers_is_not_made);
    RUN(an_init_writes_no_more_than_the_struct_that_the_host_has);
    RUN(an_init_empties_what_only_a_later_header_has);
    RUN(what_a_later_header_added_is_not_looked_at);
    RUN(a_wrong_listener_is_refused_and_its_descriptor_stays_as_it_was);
    RUN(a_server_that_drains_takes_no_listener_and_no_second_drain);
    RUN(a_wrong_watch_is_refused_and_an_older_one_stays);
    RUN(a_watch_of_a_closed_descriptor_harms_one_connection);
    RUN(wrong_timers_posts_and_ids_are_refused_and_the_others_run);
    RUN(a_child_is_refused_and_its_freeing_leaves_the_parents_exchange);
    return check_end();
}
