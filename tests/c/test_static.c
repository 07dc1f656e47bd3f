/* Static files: what a request for one is answered. */
#include "statics.h"

/* ---- whole files ----------------------------------------------------------------------------- */

static void ask_whole(stage *s) {
    answer a;
    ask(s, &a, "GET", "/s/a.txt", "");
    CHECK_INT(a.status, 200);
    CHECK_MEM(a.body, a.n, "0123456789");
    CHECK_FIELD(&a, "Content-Type", "text/plain; charset=utf-8");
    CHECK_FIELD(&a, "Content-Length", "10");
    CHECK_FIELD(&a, "Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK_FIELD(&a, "ETag", "\"ae1b981bc490a00-a\"");
    CHECK_FIELD(&a, "Accept-Ranges", "bytes");
    CHECK_FIELD(&a, "Vary", "Accept-Encoding");
    CHECK_FIELD(&a, "Cache-Control", "");
    CHECK_FIELD(&a, "Content-Encoding", "");
    answer_free(&a);
    ask(s, &a, "GET", "/s/big.bin", "");
    CHECK_INT(a.status, 200);
    CHECK(a.n == BIG && memcmp(a.body, big, BIG) == 0);
    CHECK_FIELD(&a, "Content-Type", "application/octet-stream");
    CHECK_FIELD(&a, "Vary", "");
    answer_free(&a);
    ask(s, &a, "GET", "/s/empty.txt", "");
    CHECK_INT(a.status, 200);
    CHECK_INT(a.n, 0);
    CHECK_FIELD(&a, "Content-Length", "0");
    answer_free(&a);
    ask(s, &a, "GET", "/s/in?query=1", "");
    CHECK_MEM(a.body, a.n, "0123456789");
    answer_free(&a);
    ask(s, &a, "GET", "/s/.well-known/x", "");
    CHECK_MEM(a.body, a.n, "known");
    answer_free(&a);
}

static void a_file_is_sent_with_what_is_known_of_it(void) { both_ways(ask_whole); }

static void ask_head(stage *s) {
    static const char *const names[] = {"/s/a.txt", "/s/big.bin", "/s/empty.txt", "/s/dir/"};
    for (size_t i = 0; i < 4; i++) {
        answer get, head;
        ask(s, &get, "GET", names[i], "");
        ask(s, &head, "HEAD", names[i], "");
        CHECK_INT(head.status, 200);
        CHECK_INT(head.n, 0);
        const char *date = strstr(get.head, "Date: ");
        if (date) memcpy(strstr(head.head, "Date: "), date, 35); /* a second may have passed */
        CHECK(strcmp(get.head, head.head) == 0);
        answer_free(&get);
        answer_free(&head);
    }
    check_status(s, "HEAD", "/s/nowhere", "", 404);
    check_status(s, "HEAD", "/s/dir", "", 301);
    check_status(s, "HEAD", "/s/a.txt", "Range: bytes=0-1\r\n", 200);
    check_status(s, "HEAD", "/s/a.txt", "If-None-Match: *\r\n", 304);
    check_status(s, "HEAD", "/s/a.txt", "If-Match: \"b\"\r\n", 412);
    check_status(s, "GET", "/s/a.txt", "", 200); /* nothing was left over */
}

static void head_is_get_without_its_content(void) { both_ways(ask_head); }

static void sizes_around_what_is_copied_arrive_whole(void) {
    static const size_t sizes[] = {1,          4000,           4096,           SMALL_MOST - 1,
                                   SMALL_MOST, SMALL_MOST + 1, 2 * SMALL_MOST, 300000};
    stage s;
    stage_init(&s);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[32];
        snprintf(name, sizeof name, "www/n%zu", sizes[i]);
        tree_put(&s.t, name, big, sizes[i]);
    }
    REQUIRE(stage_open(&s) == MH_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        answer a;
        char target[32];
        snprintf(target, sizeof target, "/s/n%zu", sizes[i]);
        ask(&s, &a, "GET", target, "");
        CHECK(a.n == sizes[i] && memcmp(a.body, big, a.n) == 0);
        answer_free(&a);
    }
    stage_close(&s);
}

static void pipelined_requests_are_answered_in_order(void) {
    static const char *const wanted[] = {"0123456789", "hello", "<p>index"};
    stage s;
    answer a;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    peer_send(&s.f, &s.p,
              "GET /s/a.txt HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
              "GET /s/dir/ HTTP/1.1\r\nHost: a\r\n\r\nGET /s/big.bin HTTP/1.1\r\nHost: a\r\n\r\n"
              "GET /s/a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        ANSWER(&s.f, &s.p, &a);
        CHECK_MEM(a.body, a.n, wanted[i]);
        answer_free(&a);
    }
    ANSWER(&s.f, &s.p, &a);
    CHECK(a.n == BIG && memcmp(a.body, big, BIG) == 0);
    answer_free(&a);
    CHECK_ANSWER(&s.f, &s.p, 200, "0123456789");
    stage_close(&s);
}

static void http_1_0_is_served_too(void) {
    stage s;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    peer_send(&s.f, &s.p, "GET /s/a.txt HTTP/1.0\r\n\r\n");
    CHECK_ANSWER(&s.f, &s.p, 200, "0123456789");
    CHECK_CLOSED(&s.f, &s.p);
    stage_close(&s);
}

/* ---- conditions ------------------------------------------------------------------------------ */

#define TAG    "\"ae1b981bc490a00-a\""
#define DATED  "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"

static void ask_conditions(stage *s) {
    answer a;
    ask(s, &a, "GET", "/s/a.txt", "If-None-Match: W/" TAG "\r\n");
    CHECK_INT(a.status, 304);
    CHECK_FIELD(&a, "ETag", TAG);
    CHECK_FIELD(&a, "Vary", "Accept-Encoding");
    CHECK_FIELD(&a, "Content-Type", "");
    CHECK_FIELD(&a, "Content-Length", "");
    CHECK_FIELD(&a, "Last-Modified", "");
    answer_free(&a);
    check_status(s, "GET", "/s/a.txt", "If-None-Match: \"b\"\r\n", 200);
    check_status(s, "GET", "/s/a.txt", "If-Modified-Since: " DATED "\r\n", 304);
    check_status(s, "GET", "/s/a.txt", "If-Modified-Since: " BEFORE "\r\n", 200);
    check_status(s, "GET", "/s/a.txt", "If-Unmodified-Since: " BEFORE "\r\n", 412);
    check_status(s, "GET", "/s/a.txt", "If-Unmodified-Since: " DATED "\r\n", 200);
    check_status(s, "GET", "/s/a.txt", "If-Match: " TAG "\r\n", 200);
    check_status(s, "GET", "/s/a.txt", "If-Match: \"b\"\r\n", 412);
    check_status(s, "GET", "/s/nowhere", "If-None-Match: *\r\n", 404);
    check_status(s, "GET", "/s/nowhere", "If-Match: *\r\n", 404);
    check_status(s, "POST", "/s/a.txt", "If-None-Match: *\r\n", 405);
    check_status(s, "GET", "/s/dir/", "If-None-Match: *\r\n", 304);
}

static void conditions_are_heeded(void) { both_ways(ask_conditions); }

/* A second change may bear the same time: nobody can tell its content by that. */
static void a_file_that_has_just_changed_has_a_weak_tag_alone(void) {
    stage s;
    answer a;
    char tag[64], lines[200];
    struct timespec now;
    stage_init(&s);
    clock_gettime(CLOCK_REALTIME, &now);
    tree_set_time(&s.t, "www/a.txt", now.tv_sec + 1000, 5); /* ahead: it stays new for long */
    REQUIRE(stage_open(&s) == MH_OK);
    ask(&s, &a, "GET", "/s/a.txt", "");
    snprintf(tag, sizeof tag, "%s", answer_field(&a, "ETag"));
    CHECK(strncmp(tag, "W/\"", 3) == 0);
    CHECK_FIELD(&a, "Last-Modified", "");
    answer_free(&a);
    snprintf(lines, sizeof lines, "If-None-Match: %s\r\n", tag);
    check_status(&s, "GET", "/s/a.txt", lines, 304);
    snprintf(lines, sizeof lines, "If-Match: %s\r\n", tag);
    check_status(&s, "GET", "/s/a.txt", lines, 412);
    snprintf(lines, sizeof lines, "Range: bytes=0-1\r\nIf-Range: %s\r\n", tag + 2);
    check_status(&s, "GET", "/s/a.txt", lines, 200);
    check_status(&s, "GET", "/s/a.txt", "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
                 200);
    tree_set_time(&s.t, "www/a.txt", now.tv_sec - 5, 7); /* by now it has settled */
    ask(&s, &a, "GET", "/s/a.txt", "");
    CHECK(*answer_field(&a, "ETag") == '"');
    CHECK(*answer_field(&a, "Last-Modified") != '\0');
    answer_free(&a);
    stage_close(&s);
}

/* Nanoseconds count, and so does the size. */
static void each_content_has_its_own_tag(void) {
    stage s;
    answer a, b;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    ask(&s, &a, "GET", "/s/a.txt", "");
    tree_set_time(&s.t, "www/a.txt", TREE_TIME, 1);
    ask(&s, &b, "GET", "/s/a.txt", "");
    CHECK(strstr(b.head, answer_field(&a, "ETag")) == NULL);
    answer_free(&b);
    tree_say(&s.t, "www/a.txt", "012345678");
    ask(&s, &b, "GET", "/s/a.txt", "");
    CHECK(strstr(b.head, answer_field(&a, "ETag")) == NULL);
    answer_free(&a);
    answer_free(&b);
    stage_close(&s);
}

/* As reproducible builds leave it. */
static void a_file_whose_time_was_taken_away_has_no_validators(void) {
    stage s;
    answer a;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    for (time_t t = -1; t <= 1; t++) {
        tree_set_time(&s.t, "www/a.txt", t, 0);
        ask(&s, &a, "GET", "/s/a.txt", "If-Modified-Since: " DATED "\r\n");
        CHECK_INT(a.status, 200);
        CHECK_FIELD(&a, "ETag", "");
        CHECK_FIELD(&a, "Last-Modified", "");
        answer_free(&a);
    }
    stage_close(&s);
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static void ask_ranges(stage *s) {
    answer a;
    ask(s, &a, "GET", "/s/a.txt", "Range: bytes=2-4\r\n");
    CHECK_INT(a.status, 206);
    CHECK_MEM(a.body, a.n, "234");
    CHECK_FIELD(&a, "Content-Range", "bytes 2-4/10");
    CHECK_FIELD(&a, "Content-Type", "text/plain; charset=utf-8");
    CHECK_FIELD(&a, "ETag", TAG);
    answer_free(&a);
    ask(s, &a, "GET", "/s/a.txt", "Range: bytes=-3\r\nIf-Range: " TAG "\r\n");
    CHECK_INT(a.status, 206);
    CHECK_MEM(a.body, a.n, "789");
    answer_free(&a);
    ask(s, &a, "GET", "/s/a.txt", "Range: bytes=0-1,2-3\r\n"); /* joined: one */
    CHECK_INT(a.status, 206);
    CHECK_FIELD(&a, "Content-Range", "bytes 0-3/10");
    answer_free(&a);
    ask(s, &a, "GET", "/s/a.txt", "Range: bytes=10-\r\n");
    CHECK_INT(a.status, 416);
    CHECK_FIELD(&a, "Content-Range", "bytes */10");
    answer_free(&a);
    ask(s, &a, "GET", "/s/big.bin", "Range: bytes=100000-899999\r\n");
    CHECK_INT(a.status, 206);
    CHECK(a.n == 800000 && memcmp(a.body, big + 100000, a.n) == 0);
    answer_free(&a);
    check_status(s, "GET", "/s/a.txt", "Range: bytes=0-1\r\nIf-Range: \"b\"\r\n", 200);
    check_status(s, "GET", "/s/a.txt", "Range: bytes=0-1\r\nIf-Range: " DATED "\r\n", 206);
    check_status(s, "GET", "/s/a.txt", "Range: bytes=0-1\r\nIf-Range: " BEFORE "\r\n", 200);
    check_status(s, "GET", "/s/a.txt", "Range: lines=0-1\r\n", 200);
    check_status(s, "GET", "/s/a.txt", "Range: bytes=4-2\r\n", 200);
    check_status(s, "GET", "/s/a.txt", "Range: bytes=0-1\r\nRange: bytes=0-1\r\n", 200);
    check_status(s, "GET", "/s/a.txt", "Range: bytes=10-\r\nIf-None-Match: *\r\n", 304);
    check_status(s, "GET", "/s/empty.txt", "Range: bytes=0-\r\n", 200);
    check_status(s, "GET", "/s/nowhere", "Range: bytes=0-\r\n", 404);
}

static void a_range_is_answered_by_its_bytes(void) { both_ways(ask_ranges); }

/* Compares a multipart body with what it must be; the boundary is the answer's own. */
static void check_parts(const answer *a, const char *type, size_t size, const size_t (*parts)[2],
                        size_t n) {
    static const char prefix[] = "multipart/byteranges; boundary=";
    static const char digits[] = "0123456789";
    char boundary[64];
    const char *got = answer_field(a, "Content-Type");
    char *want = malloc(a->n + 4096), *q = want;
    REQUIRE(strncmp(got, prefix, sizeof prefix - 1) == 0 && want);
    snprintf(boundary, sizeof boundary, "%.60s", got + sizeof prefix - 1);
    for (size_t i = 0; i < n; i++) {
        q += sprintf(q, "\r\n--%s\r\nContent-Type: %s\r\nContent-Range: bytes %zu-%zu/%zu\r\n\r\n",
                     boundary, type, parts[i][0], parts[i][1], size);
        size_t length = parts[i][1] - parts[i][0] + 1;
        memcpy(q, (size == BIG ? big : digits) + parts[i][0], length);
        q += length;
    }
    q += sprintf(q, "\r\n--%s--\r\n", boundary);
    CHECK_INT(a->status, 206);
    CHECK_INT(a->n, q - want);
    CHECK(a->n == (size_t)(q - want) && memcmp(a->body, want, a->n) == 0);
    CHECK_FIELD(a, "Content-Range", "");
    free(want);
}

static void ask_several(stage *s) {
    answer a;
    ask(s, &a, "GET", "/s/a.txt", "Range: bytes=0-1,9-,4-5\r\n");
    check_parts(&a, "text/plain; charset=utf-8", 10, (const size_t[][2]){{0, 1}, {9, 9}, {4, 5}},
                3);
    answer_free(&a);
    ask(s, &a, "GET", "/s/big.bin", "Range: bytes=5-300004,-500000,0-3\r\n");
    check_parts(&a, "application/octet-stream", BIG,
                (const size_t[][2]){{5, 300004}, {BIG - 500000, BIG - 1}, {0, 3}}, 3);
    answer_free(&a);
    check_status(s, "GET", "/s/a.txt", "Range: bytes=5-9,0-9\r\n", 200);
    check_status(s, "GET", "/s/a.txt", "", 200);
}

static void several_ranges_are_several_parts(void) { both_ways(ask_several); }

static void two_answers_never_share_a_boundary(void) {
    stage s;
    answer a, b;
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    ask(&s, &a, "GET", "/s/a.txt", "Range: bytes=0-1,9-\r\n");
    ask(&s, &b, "GET", "/s/a.txt", "Range: bytes=0-1,9-\r\n");
    CHECK(memcmp(a.body, b.body, 40) != 0);
    answer_free(&a);
    answer_free(&b);
    stage_close(&s);
}

/* CVE-2011-3192: a head full of ranges costs what one range costs. */
static void a_flood_of_ranges_gets_the_file_once(void) {
    stage s;
    answer a;
    char lines[8000];
    stage_init(&s);
    REQUIRE(stage_open(&s) == MH_OK);
    size_t n = (size_t)snprintf(lines, sizeof lines, "Range: bytes=0-");
    while (n + 20 < sizeof lines)
        n += (size_t)snprintf(lines + n, sizeof lines - n, ",5-%zu", n);
    snprintf(lines + n, sizeof lines - n, "\r\n");
    ask(&s, &a, "GET", "/s/big.bin", lines);
    CHECK_INT(a.status, 200);
    CHECK_INT(a.n, BIG);
    answer_free(&a);
    stage_close(&s);
}

/* ---- precompressed --------------------------------------------------------------------------- */

static void check_coding(stage *s, const char *target, const char *accept, const char *body,
                         const char *coding) {
    answer a;
    char lines[100];
    snprintf(lines, sizeof lines, "Accept-Encoding: %s\r\n", accept);
    ask(s, &a, "GET", target, lines);
    CHECK_MEM(a.body, a.n, body);
    CHECK_FIELD(&a, "Content-Encoding", coding);
    if (check_failed) CHECK_FAIL_("%s, accepting %s", target, accept);
    answer_free(&a);
}

static void ask_coded(stage *s) {
    answer a;
    check_coding(s, "/s/p.css", "gzip, br", "brotli", "br");
    check_coding(s, "/s/p.css", "gzip", "gzipped", "gzip");
    check_coding(s, "/s/p.css", "br;q=0.1, gzip", "gzipped", "gzip");
    check_coding(s, "/s/p.css", "identity", "plain", "");
    check_coding(s, "/s/p.css", "br;q=0, gzip;q=0", "plain", "");
    check_coding(s, "/s/p.css", "zstd", "plain", "");
    check_coding(s, "/s/q.css", "gzip, br", "gzipped", "gzip"); /* there is no other */
    check_coding(s, "/s/old.css", "gzip", "plain", "");         /* it is older than the file */
    check_coding(s, "/s/same.css", "gzip", "gzipped", "gzip");  /* but not in seconds */
    check_coding(s, "/s/p.png", "gzip, br", "plain", "");       /* is packed already */
    check_coding(s, "/s/linked.css", "gzip, br", "plain", "");  /* the neighbour leads out */
    check_coding(s, "/s/odd.css", "gzip, br", "plain", "");     /* is a directory */
    check_coding(s, "/s/p.css.gz", "gzip", "gzipped", "");      /* is what was asked for */
    check_coding(s, "/s/packed/", "gzip", "gzipped", "gzip");
    check_status(s, "GET", "/s/alone.css", "Accept-Encoding: gzip\r\n", 404);
    ask(s, &a, "GET", "/s/p.css", "Accept-Encoding: gzip\r\n");
    CHECK_FIELD(&a, "Content-Type", "text/css; charset=utf-8");
    CHECK_FIELD(&a, "Vary", "Accept-Encoding");
    CHECK_FIELD(&a, "ETag", "\"ae1b981bc490a00-7-gz\"");
    answer_free(&a);
    check_status(s, "GET", "/s/p.css",
                 "Accept-Encoding: gzip\r\nIf-None-Match: \"ae1b981bc490a00-7-gz\"\r\n", 304);
    check_status(s, "GET", "/s/p.css",
                 "Accept-Encoding: br\r\nIf-None-Match: \"ae1b981bc490a00-7-gz\"\r\n", 200);
    ask(s, &a, "GET", "/s/p.css", "Accept-Encoding: gzip\r\nRange: bytes=0-3\r\n");
    CHECK_MEM(a.body, a.n, "gzip");
    CHECK_FIELD(&a, "Content-Range", "bytes 0-3/7");
    CHECK_FIELD(&a, "Content-Encoding", "gzip");
    answer_free(&a);
}

static void plant_coded(const tree *t) {
    static const char *const plain[] = {"p.css", "q.css",   "old.css",   "same.css",
                                        "p.png", "odd.css", "linked.css"};
    char name[64];
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        snprintf(name, sizeof name, "www/%s", plain[i]);
        tree_say(t, name, "plain");
    }
    tree_say(t, "www/p.css.br", "brotli");
    tree_say(t, "www/p.css.gz", "gzipped");
    tree_say(t, "www/q.css.gz", "gzipped");
    tree_say(t, "www/old.css.gz", "gzipped");
    tree_set_time(t, "www/old.css.gz", TREE_TIME - 1, 999999999);
    tree_say(t, "www/same.css.gz", "gzipped");
    tree_set_time(t, "www/same.css", TREE_TIME, 5);
    tree_say(t, "www/p.png.gz", "gzipped");
    tree_say(t, "www/alone.css.gz", "gzipped");
    tree_link(t, "www/linked.css.gz", "../secret");
    tree_mkdir(t, "www/odd.css.br");
    tree_mkdir(t, "www/packed");
    tree_say(t, "www/packed/index.html", "plain");
    tree_say(t, "www/packed/index.html.gz", "gzipped");
}

static void a_client_gets_the_coding_that_it_takes(void) {
    for (int way = 0; way < 2; way++) {
        stage s;
        int fds = count_fds();
        choose_way(way);
        stage_init(&s);
        plant_coded(&s.t);
        REQUIRE(stage_open(&s) == MH_OK);
        ask_coded(&s);
        stage_close(&s);
        choose_way(0);
        CHECK_INT(count_fds(), fds);
    }
}

static void neighbours_can_be_left_alone(void) {
    stage s;
    answer a;
    stage_init(&s);
    plant_coded(&s.t);
    s.cfg.precompressed = 0;
    REQUIRE(stage_open(&s) == MH_OK);
    check_coding(&s, "/s/p.css", "gzip, br", "plain", "");
    ask(&s, &a, "GET", "/s/p.css", "");
    CHECK_FIELD(&a, "Vary", "");
    answer_free(&a);
    stage_close(&s);
}

int main(void) {
    fill_big();
    RUN(a_file_is_sent_with_what_is_known_of_it);
    RUN(head_is_get_without_its_content);
    RUN(sizes_around_what_is_copied_arrive_whole);
    RUN(pipelined_requests_are_answered_in_order);
    RUN(http_1_0_is_served_too);
    RUN(conditions_are_heeded);
    RUN(a_file_that_has_just_changed_has_a_weak_tag_alone);
    RUN(each_content_has_its_own_tag);
    RUN(a_file_whose_time_was_taken_away_has_no_validators);
    RUN(a_range_is_answered_by_its_bytes);
    RUN(several_ranges_are_several_parts);
    RUN(two_answers_never_share_a_boundary);
    RUN(a_flood_of_ranges_gets_the_file_once);
    RUN(a_client_gets_the_coding_that_it_takes);
    RUN(neighbours_can_be_left_alone);
    return check_end();
}
