/* Static files: which paths lead to a file, and that none leads to what lies elsewhere. */
#include "statics.h"

#include "child.h"

/* ---- directories ----------------------------------------------------------------------------- */

static void check_location(stage *s, const char *target, const char *want) {
    answer a;
    ask(s, &a, "GET", target, "");
    if (a.status != 301) CHECK_FAIL_("%s: %d", target, a.status);
    CHECK_FIELD(&a, "Location", want);
    answer_free(&a);
}

static void ask_directories(stage *s) {
    answer a;
    ask(s, &a, "GET", "/s/dir/", "");
    CHECK_MEM(a.body, a.n, "<p>index");
    CHECK_FIELD(&a, "Content-Type", "text/html; charset=utf-8");
    answer_free(&a);
    check_location(s, "/s/dir", "./dir/");
    check_location(s, "/s/dir?a=b&c//d", "./dir/?a=b&c//d");
    check_location(s, "/s/dir?", "./dir/?");
    check_location(s, "/s/d%69r", "./d%69r/");
    check_location(s, "/s/a:b", "./a:b/"); /* which without ./ has a scheme */
    check_location(s, "http://a/s/dir", "./dir/");
    check_status(s, "GET", "/s/bare", "", 404); /* is not told */
    check_status(s, "GET", "/s/bare/", "", 404);
    check_status(s, "GET", "/s/bare/a.txt", "", 200);
    check_status(s, "GET", "/s/a.txt/", "", 404);
    check_status(s, "GET", "/s", "", 404); /* has no index */
    check_status(s, "GET", "/s/", "", 404);
}

static void a_directory_is_its_index(void) { both_ways(ask_directories); }

static void an_index_that_is_a_directory_is_none(void) {
    stage s;
    stage_init(&s);
    tree_mkdir(&s.t, "www/odd");
    tree_mkdir(&s.t, "www/odd/index.html");
    REQUIRE(stage_open(&s) == MH_OK);
    check_status(&s, "GET", "/s/odd/", "", 404);
    check_status(&s, "GET", "/s/odd", "", 404);
    stage_close(&s);
}

static void the_directory_itself_has_an_index_too(void) {
    stage s;
    stage_init(&s);
    tree_say(&s.t, "www/index.html", "top");
    REQUIRE(stage_open(&s) == MH_OK);
    check_location(&s, "/s", "./s/");
    peer_send(&s.f, &s.p, "GET /s/ HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_ANSWER(&s.f, &s.p, 200, "top");
    stage_close(&s);
}

static void an_index_has_any_name_or_none(void) {
    static const char *const names[] = {"a.txt", "", NULL};
    for (int i = 0; i < 3; i++) {
        stage s;
        stage_init(&s);
        s.cfg.index = names[i];
        REQUIRE(stage_open(&s) == MH_OK);
        check_status(&s, "GET", "/s/bare/", "", i == 0 ? 200 : 404);
        check_status(&s, "GET", "/s/bare", "", i == 0 ? 301 : 404);
        check_status(&s, "GET", "/s/dir/", "", 404);
        check_status(&s, "GET", "/s/dir", "", 404);
        stage_close(&s);
    }
}

/* A host that maps whatever is asked for to a directory, or to a file. */
static void serve_mapped(fix *f, mh_req *req) {
    stage *s = (stage *)(void *)f;
    CHECK_INT(mh_res_static(req, s->dir, text(f->n ? "a.txt" : "dir")), MH_OK);
}

static void a_host_may_map_paths_with_a_slash_and_without(void) {
    stage s;
    stage_init(&s);
    s.f.on_request = serve_mapped;
    REQUIRE(stage_open(&s) == MH_OK);
    peer_send(&s.f, &s.p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_ANSWER(&s.f, &s.p, 200, "<p>index");
    check_location(&s, "/x", "./x/");
    s.f.n = 1;
    check_status(&s, "GET", "/", "", 200);
    check_status(&s, "GET", "/x/", "", 200);
    check_status(&s, "GET", "/x", "", 200);
    stage_close(&s);
}

/* ---- what is not there ----------------------------------------------------------------------- */

static void ask_hostile(stage *s) {
    static const char *const paths[] = {
        "/s/../secret",
        "/s/..%2fsecret",
        "/s/%2e%2e/secret",
        "/s/%2e%2e%2fsecret",
        "/s/.%2e/secret",
        "/s/..%5csecret",
        "/s/..\\secret",
        "/s/dir/../../secret",
        "/s/dir/..%2f..%2fsecret",
        "/s/%252e%252e/secret",
        "/s/..%252fsecret",
        "/s//secret",
        "/s//a.txt",
        "/s/dir//index.html",
        "/s/./a.txt",
        "/s/dir/./index.html",
        "/s/%2e/a.txt",
        "/s/out",
        "/s/outdir/secret",
        "/s/outdir/www/a.txt",
        "/s/null",
        "/s/.env",
        "/s/%2eenv",
        "/s/dir%2findex.html",
        "/s%2fa.txt",
        "/s/%2fa.txt",
        "/s/fifo",
        "/s/etc/passwd",
        "/s/%c0%ae%c0%ae/secret",
        "/s/..;/secret",
        "/s/a.txt%0a",
        "/s/a.txt%20",
        "/s/A.TXT",
        "/s/..",
        "/s/../",
        "/s/...",
        "/s/../../../../../../../../etc/passwd",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        check_status(s, "GET", paths[i], "", 404);
    check_status(s, "GET", "/s/a.txt", "", 200);
}

static void no_path_leads_out(void) { both_ways(ask_hostile); }

static void ask_long(stage *s) {
    char target[8000];
    size_t n = (size_t)snprintf(target, sizeof target, "/s/");
    memset(target + n, 'n', NAME_MAX + 1);
    target[n + NAME_MAX + 1] = '\0';
    check_status(s, "GET", target, "", 404);
    while (n + 4 < sizeof target)
        n += (size_t)snprintf(target + n, sizeof target - n, "d/");
    check_status(s, "GET", target, "", 404);
    for (size_t room = 4080; room < 4104; room++) { /* less and less of it for the index's name */
        n = (size_t)snprintf(target, sizeof target, "/s/");
        while (n + 4 < room)
            n += (size_t)snprintf(target + n, sizeof target - n, "dir/");
        snprintf(target + n, sizeof target - n, "%.*s/", (int)(room - n), "dddd");
        check_status(s, "GET", target, "", 404);
    }
    check_status(s, "GET", "/s/a.txt", "", 200);
}

static void long_paths_are_not_there(void) { both_ways(ask_long); }

static void ask_deep(stage *s) {
    char name[1000], target[1000];
    size_t n = (size_t)snprintf(name, sizeof name, "www");
    for (int i = 0; i < 200; i++) {
        n += (size_t)snprintf(name + n, sizeof name - n, "/d");
        tree_mkdir(&s->t, name);
    }
    snprintf(name + n, sizeof name - n, "/f");
    tree_say(&s->t, name, "deep");
    snprintf(target, sizeof target, "/s%s", name + 3);
    peer_send(&s->f, &s->p, "GET ");
    peer_send(&s->f, &s->p, target);
    peer_send(&s->f, &s->p, " HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_ANSWER(&s->f, &s->p, 200, "deep");
}

static void deep_paths_are_found(void) { both_ways(ask_deep); }

static void ask_unreadable(stage *s) {
    bool root = geteuid() == 0;
    tree_must_(chmod(s->t.root, 0755) == 0, "chmod");
    tree_must_(chmod(tree_path(&s->t, "www/a.txt"), 0) == 0, "chmod");
    tree_must_(chmod(tree_path(&s->t, "www/bare"), 0) == 0, "chmod");
    if (root && seteuid(65534) < 0) abort();
    check_status(s, "GET", "/s/a.txt", "", 404);
    check_status(s, "GET", "/s/bare/a.txt", "", 404);
    check_status(s, "GET", "/s/dir/index.html", "", 200);
    if (root && seteuid(0) < 0) abort();
    tree_must_(chmod(tree_path(&s->t, "www/bare"), 0755) == 0, "chmod");
}

static void what_may_not_be_read_is_not_there(void) { both_ways(ask_unreadable); }

static void a_socket_and_a_device_are_not_there(void) {
    stage s;
    stage_init(&s);
    bool made = mknod(tree_path(&s.t, "www/zero"), S_IFCHR | 0644, 0x105) == 0; /* root may */
    REQUIRE(stage_open(&s) == MH_OK);
    tree_must_(rename(s.f.path, tree_path(&s.t, "www/socket")) == 0, "rename");
    check_status(&s, "GET", "/s/socket", "", 404);
    if (made) check_status(&s, "GET", "/s/zero", "", 404);
    stage_close(&s);
}

/* ---- a sandbox ------------------------------------------------------------------------------- */

static void serve_without_openat2(mh_loop *loop) {
    stage s;
    (void)loop;
    if (!deny((uint32_t)SYS_openat2, EPERM)) return;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    check_status(&s, "GET", "/s/a.txt", "", 200);
    ask_hostile(&s);
    stage_close(&s);
}

static void a_sandbox_that_refuses_openat2_changes_nothing(void) {
    CHECK(in_child(NULL, serve_without_openat2));
}

int main(void) {
    fill_big();
    RUN(a_directory_is_its_index);
    RUN(an_index_that_is_a_directory_is_none);
    RUN(the_directory_itself_has_an_index_too);
    RUN(an_index_has_any_name_or_none);
    RUN(a_host_may_map_paths_with_a_slash_and_without);
    RUN(no_path_leads_out);
    RUN(long_paths_are_not_there);
    RUN(deep_paths_are_found);
    RUN(what_may_not_be_read_is_not_there);
    RUN(a_socket_and_a_device_are_not_there);
    RUN(a_sandbox_that_refuses_openat2_changes_nothing);
    return check_end();
}
