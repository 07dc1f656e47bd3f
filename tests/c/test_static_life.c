/* Static files: other methods, clients that leave, files that change, and the handle. */
#include "statics.h"

/* ---- methods and bodies ---------------------------------------------------------------------- */

static void only_get_and_head_are_allowed(void) {
    static const char *const methods[] = {"POST",  "PUT", "DELETE", "OPTIONS",
                                          "PATCH", "get", "GETX"};
    stage s;
    answer a;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        ask(&s, &a, methods[i], "/s/a.txt", "");
        CHECK_INT(a.status, 405);
        CHECK_FIELD(&a, "Allow", "GET, HEAD");
        answer_free(&a);
    }
    check_status(&s, "POST", "/s/nowhere", "", 405);
    stage_close(&s);
}

static void a_body_that_nobody_reads_keeps_the_next_request_apart(void) {
    static const char *const methods[] = {"GET", "POST"};
    stage s;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    for (int i = 0; i < 2; i++) {
        answer a;
        char text[200];
        snprintf(text, sizeof text,
                 "%s /s/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n"
                 "GET /s/ HTTP/1.1\r\nHost: a\r\n\r\n",
                 methods[i]);
        peer_send(&s.f, &s.p, text);
        peer_send(&s.f, &s.p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        ANSWER(&s.f, &s.p, &a);
        CHECK_INT(a.status, i == 0 ? 200 : 405);
        answer_free(&a);
        CHECK_ANSWER(&s.f, &s.p, 200, "hello");
    }
    stage_close(&s);
}

/* ---- clients that leave, files that change --------------------------------------------------- */

static void a_client_that_leaves_takes_its_descriptors_along(void) {
    static const char *const lines[] = {"", "Range: bytes=0-400000,500000-900000,1-5\r\n"};
    stage s;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    settle(&s.f);
    int fds = count_fds();
    for (int i = 0; i < 4; i++) {
        peer p;
        char text[200];
        peer_unix(&p, &s.f);
        snprintf(text, sizeof text, "GET /s/big.bin HTTP/1.1\r\nHost: a\r\n%s\r\n", lines[i % 2]);
        peer_send(&s.f, &p, text);
        UNTIL(&s.f, peer_pull_some(&p, 1000) > 0);
        if (i >= 2) mh_req_abort(s.f.req);
        peer_close(&p);
        UNTIL(&s.f, s.f.finished == s.f.begun);
        settle(&s.f);
        CHECK_INT(count_fds(), fds);
    }
    stage_close(&s);
}

static void the_end_of_the_server_closes_what_is_being_sent(void) {
    stage s;
    int fds = count_fds();
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    peer_send(&s.f, &s.p,
              "GET /s/big.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-400000,500000-900000\r\n\r\n");
    UNTIL(&s.f, peer_pull_some(&s.p, 1000) > 0);
    stage_close(&s);
    CHECK_INT(count_fds(), fds);
}

/* What has been promised can't be kept: no client may take what came for the whole. */
static void a_file_that_shrinks_on_its_way_cuts_the_connection(void) {
    stage s;
    answer a;
    stage_init(&s);
    s.f.cfg.step_write = 1000;
    REQUIRE(stage_open(&s) == MH_OK);
    peer_send(&s.f, &s.p, "GET /s/big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&s.f, peer_pull_some(&s.p, 1000) > 0);
    tree_must_(truncate(tree_path(&s.t, "www/big.bin"), 5000) == 0, "truncate");
    ANSWER(&s.f, &s.p, &a);
    CHECK(!a.whole);
    CHECK_INT(s.f.whys[MH_FINISH_FILE], 1);
    answer_free(&a);
    stage_close(&s);
}

static void a_file_that_is_replaced_on_its_way_arrives_as_it_was(void) {
    stage s;
    answer a;
    stage_init(&s);
    s.f.cfg.step_write = 1000;
    REQUIRE(stage_open(&s) == MH_OK);
    peer_send(&s.f, &s.p, "GET /s/big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&s.f, peer_pull_some(&s.p, 1000) > 0);
    tree_must_(rename(tree_path(&s.t, "www/a.txt"), tree_path(&s.t, "www/big.bin")) == 0, "rename");
    mh_static_free(s.dir); /* which disturbs nobody */
    ANSWER(&s.f, &s.p, &a);
    CHECK(a.whole && a.n == BIG && memcmp(a.body, big, BIG) == 0);
    answer_free(&a);
    stage_close(&s);
}

static void the_directory_stays_the_one_that_was_opened(void) {
    stage s;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    tree_must_(rename(tree_path(&s.t, "www"), tree_path(&s.t, "moved")) == 0, "rename");
    tree_mkdir(&s.t, "www");
    tree_say(&s.t, "www/a.txt", "another");
    peer_send(&s.f, &s.p, "GET /s/a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_ANSWER(&s.f, &s.p, 200, "0123456789");
    stage_close(&s);
}

/* ---- the handle ------------------------------------------------------------------------------ */

#define TEXT(s) \
    { s, sizeof(s) - 1 }

static void the_hosts_fields_go_with_the_content(void) {
    static const mh_str fields[] = {TEXT("Cache-Control"), TEXT("max-age=60"), TEXT("X-A"),
                                    TEXT("b")};
    static const struct {
        const char *target, *lines, *want;
    } cases[] = {
        {"/s/a.txt", "", "max-age=60"},
        {"/s/a.txt", "If-None-Match: *\r\n", "max-age=60"},
        {"/s/a.txt", "Range: bytes=0-1\r\n", "max-age=60"},
        {"/s/a.txt", "Range: bytes=0-1,5-6\r\n", "max-age=60"},
        {"/s/a.txt", "If-Match: \"b\"\r\n", ""},
        {"/s/a.txt", "Range: bytes=10-\r\n", ""},
        {"/s/nowhere", "", ""},
        {"/s/dir", "", ""},
    };
    stage s;
    stage_init(&s);
    mh_str copy[4];
    memcpy(copy, fields, sizeof copy);
    s.cfg.fields = copy;
    s.cfg.n_fields = 2;
    REQUIRE(stage_open(&s) == MH_OK);
    memset(copy, 0, sizeof copy); /* it has its own */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        answer a;
        ask(&s, &a, "GET", cases[i].target, cases[i].lines);
        CHECK_FIELD(&a, "Cache-Control", cases[i].want);
        CHECK_FIELD(&a, "X-A", *cases[i].want ? "b" : "");
        answer_free(&a);
    }
    stage_close(&s);
}

static void what_cant_be_served_is_refused_at_once(void) {
    static const char *const indexes[] = {"a/b", "/", "..", ".", ".hidden", "../a"};
    static const mh_str bad[][2] = {
        {TEXT("ETag"), TEXT("\"a\"")},       {TEXT("content-type"), TEXT("a/b")},
        {TEXT("Content-Length"), TEXT("5")}, {TEXT("Location"), TEXT("/")},
        {TEXT("Connection"), TEXT("close")}, {TEXT("A b"), TEXT("c")},
        {TEXT("A"), TEXT("b\r\nC: d")}};
    stage s;
    char name[NAME_MAX + 2];
    mh_static *dir = (mh_static *)&s;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    int fds = count_fds();
    mh_loop *loop = s.f.loop;
    CHECK_INT(mh_static_new(&dir, loop, tree_path(&s.t, "nowhere"), NULL), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), ENOENT);
    CHECK(dir == NULL);
    CHECK_INT(mh_static_new(&dir, loop, tree_path(&s.t, "secret"), NULL), MH_ESYS);
    CHECK_INT(mh_loop_errno(loop), ENOTDIR);
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        s.cfg.index = indexes[i];
        CHECK_INT(mh_static_new(&dir, loop, s.t.root, &s.cfg), MH_EINVAL);
    }
    memset(name, 'n', sizeof name);
    name[NAME_MAX + 1] = '\0';
    s.cfg.index = name;
    CHECK_INT(mh_static_new(&dir, loop, s.t.root, &s.cfg), MH_EINVAL);
    s.cfg.index = NULL;
    s.cfg.n_fields = 1;
    CHECK_INT(mh_static_new(&dir, loop, s.t.root, &s.cfg), MH_EINVAL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        s.cfg.fields = bad[i];
        CHECK_INT(mh_static_new(&dir, loop, s.t.root, &s.cfg), MH_EINVAL);
    }
    s.cfg.n_fields = 0;
    s.cfg.size--;
    CHECK_INT(mh_static_new(&dir, loop, s.t.root, &s.cfg), MH_EINVAL);
    CHECK_INT(count_fds(), fds);
    mh_static_free(NULL);
    stage_close(&s);
}

static mh_static *foreign; /* of another loop */

static void serve_wrongly(fix *f, mh_req *req) {
    stage *s = (stage *)(void *)f;
    CHECK_INT(mh_res_static(req, foreign, text("a.txt")), MH_EINVAL);
    CHECK(!mh_res_started(req));
    if (req_is(req, "/gone")) {
        CHECK_INT(mh_req_abort(req), MH_OK);
        CHECK_INT(mh_res_static(req, s->dir, text("a.txt")), MH_ECLOSED);
        return;
    }
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, 2), MH_OK);
    CHECK_INT(mh_res_static(req, s->dir, text("a.txt")), MH_ESTATE);
    CHECK_INT(mh_res_write(req, "ok", 2), MH_OK);
    CHECK_INT(mh_res_static(req, s->dir, (mh_str){NULL, 0}), MH_ESTATE);
    CHECK_INT(mh_res_end(req), MH_OK);
    CHECK_INT(mh_res_static(req, s->dir, text("a.txt")), MH_ESTATE);
}

static void a_call_in_the_wrong_state_changes_nothing(void) {
    stage s;
    mh_loop *other;
    stage_init(&s);
    s.f.on_request = serve_wrongly;
    REQUIRE(stage_open(&s) == MH_OK && mh_loop_new(&other, NULL) == MH_OK);
    REQUIRE(mh_static_new(&foreign, other, s.t.root, NULL) == MH_OK);
    peer_send(&s.f, &s.p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_ANSWER(&s.f, &s.p, 200, "ok");
    peer_send(&s.f, &s.p, "GET /gone HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&s.f, peer_over(&s.p));
    stage_close(&s);
    mh_loop_free(other); /* and what is left of its directories */
}

/* The host answers what is parked when another exchange ends, with a handle of the loop's. */
static mh_req *parked;

static void park(fix *f, mh_req *req) {
    (void)f;
    if (req_is(req, "/parked")) parked = req;
}

static void answer_the_parked(fix *f, mh_req *req, int why) {
    stage *s = (stage *)(void *)f;
    (void)why;
    if (parked && parked != req) mh_res_static(parked, s->dir, text("a.txt"));
    parked = NULL;
}

static void the_handle_outlives_the_servers_callbacks(void) {
    stage s;
    peer other;
    stage_init(&s);
    s.f.on_request = park;
    s.f.on_finish = answer_the_parked;
    REQUIRE(stage_open(&s) == MH_OK);
    peer_unix(&other, &s.f);
    peer_send(&s.f, &s.p, "GET /parked HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&s.f, s.f.begun == 1);
    peer_send(&s.f, &other, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&s.f, s.f.begun == 2);
    peer_close(&other);
    stage_close(&s);
    CHECK(parked == NULL);
}

int main(void) {
    fill_big();
    RUN(only_get_and_head_are_allowed);
    RUN(a_body_that_nobody_reads_keeps_the_next_request_apart);
    RUN(a_client_that_leaves_takes_its_descriptors_along);
    RUN(the_end_of_the_server_closes_what_is_being_sent);
    RUN(a_file_that_shrinks_on_its_way_cuts_the_connection);
    RUN(a_file_that_is_replaced_on_its_way_arrives_as_it_was);
    RUN(the_directory_stays_the_one_that_was_opened);
    RUN(the_hosts_fields_go_with_the_content);
    RUN(what_cant_be_served_is_refused_at_once);
    RUN(a_call_in_the_wrong_state_changes_nothing);
    RUN(the_handle_outlives_the_servers_callbacks);
    return check_end();
}
