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
    RUN(the_handle_outlives_the_servers_callbacks);
    return check_end();
}
