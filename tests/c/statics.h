/* A stage for tests of static files over real sockets: a tree, a server that sends the files of
 * www in it below /s, and a client. Most tests run twice, with openat2 and preadv2 and without.
 * Include it in one file of a program. */
#ifndef STATICS_H
#define STATICS_H

#include "client.h"

#include "fds.h"
#include "filecalls.h"
#include "tree.h"

enum { BIG = 1 << 20, SMALL_MOST = 16384 };

/* What a large file holds. */
static char big[BIG];

static inline void fill_big(void) {
    uint32_t seed = 9110;
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)((seed = seed * 1103515245u + 12345u) >> 16);
}

typedef struct stage {
    fix f; /* first: the fixture's callbacks get it */
    tree t;
    mh_static_config cfg;
    mh_static *dir;
    peer p;
    int result; /* of the last mh_res_static */
} stage;

static const char *const ways[] = {"with openat2 and preadv2", "without"};

static inline void choose_way(int way) {
    filecalls_openat2_error = way == 0 ? 0 : ENOSYS;
    filecalls_preadv2_error = way == 0 ? 0 : EOPNOTSUPP;
}

/* Below /s there are files. */
static inline void serve(fix *f, mh_req *req) {
    stage *s = (stage *)(void *)f;
    mh_str path;
    if (mh_req_below(req, "/s", 2, &path) == MH_OK)
        s->result = mh_res_static(req, s->dir, path);
    else
        s->result = say(req, "hello");
    if (s->result < 0 && mh_res_started(req)) /* it has been aborted then */
        CHECK_INT(mh_req_abort(req), MH_ECLOSED);
    else if (s->result < 0)
        mh_req_abort(req);
}

static inline void plant(tree *t) {
    tree_make(t);
    tree_say(t, "secret", "secret");
    tree_mkdir(t, "www");
    tree_say(t, "www/a.txt", "0123456789");
    tree_say(t, "www/empty.txt", "");
    tree_put(t, "www/big.bin", big, sizeof big);
    tree_mkdir(t, "www/dir");
    tree_say(t, "www/dir/index.html", "<p>index");
    tree_mkdir(t, "www/bare");
    tree_say(t, "www/bare/a.txt", "bare");
    tree_mkdir(t, "www/a:b");
    tree_say(t, "www/a:b/index.html", "colon");
    tree_say(t, "www/.env", "secret");
    tree_mkdir(t, "www/.well-known");
    tree_say(t, "www/.well-known/x", "known");
    tree_link(t, "www/in", "a.txt");
    tree_link(t, "www/out", "../secret");
    tree_link(t, "www/outdir", "..");
    tree_link(t, "www/null", "/dev/null");
    tree_must_(mkfifo(tree_path(t, "www/fifo"), 0644) == 0, "mkfifo");
}

/* Without a tree. */
static inline void stage_set(stage *s) {
    memset(s, 0, sizeof *s);
    fix_init(&s->f);
    mh_static_config_init(&s->cfg);
    s->f.on_request = serve;
}

static inline void stage_init(stage *s) {
    stage_set(s);
    plant(&s->t);
}

static inline int stage_open(stage *s) {
    int error = fix_open(&s->f);
    if (error == MH_OK) error = mh_static_new(&s->dir, s->f.loop, tree_path(&s->t, "www"), &s->cfg);
    if (error == MH_OK) peer_unix(&s->p, &s->f);
    return error;
}

static inline void stage_close(stage *s) {
    peer_close(&s->p);
    fix_close(&s->f);
    tree_remove(&s->t);
}

/* Asks for target with further lines, and takes the answer. */
static inline void ask(stage *s, answer *a, const char *method, const char *target,
                       const char *lines) {
    char text[9000];
    bool to_head = strcmp(method, "HEAD") == 0;
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, target, lines);
    peer_send(&s->f, &s->p, text);
    UNTIL(&s->f, answer_take(&s->p, a, to_head));
    CHECK(a->whole);
}

#define CHECK_FIELD(a, name, want)                                                            \
    do {                                                                                      \
        const char *got_ = answer_field(a, name);                                             \
        if (strcmp(got_, want) != 0) CHECK_FAIL_("%s: \"%s\", not \"%s\"", name, got_, want); \
    } while (0)

static inline void check_status(stage *s, const char *method, const char *target, const char *lines,
                                int want) {
    answer a;
    ask(s, &a, method, target, lines);
    if (a.status != want)
        CHECK_FAIL_("%s %s %s: %d, not %d", method, target, lines, a.status, want);
    if (a.n > 0 && memmem(a.body, a.n, "secret", 6)) CHECK_FAIL_("%s told a secret", target);
    answer_free(&a);
}

/* Runs act on an open stage both ways. */
static inline void both_ways(void (*act)(stage *s)) {
    for (int way = 0; way < 2 && !check_failed; way++) {
        stage s;
        int fds = count_fds();
        choose_way(way);
        stage_init(&s);
        int error = stage_open(&s);
        CHECK_INT(error, MH_OK);
        if (error == MH_OK) act(&s);
        stage_close(&s);
        choose_way(0);
        CHECK_INT(count_fds(), fds);
        if (check_failed) CHECK_FAIL_("%s", ways[way]);
    }
}

#endif
