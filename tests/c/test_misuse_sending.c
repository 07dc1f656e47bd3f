/* Callbacks that undo what is under way: done callbacks of borrowed pieces, which run in the middle
 * of a send, and on_finish, which runs in the middle of several. */
#include "client.h"
#include "failing.h"

#include <sys/mman.h>

#define GET  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"

typedef struct stage {
    fix f; /* first: the fixture's callbacks get it */
    failing mem;
    peer p;
    mh_req *subject;
    unsigned done; /* borrowed pieces that came back */
    int result;    /* of the call that matters */
    bool enough;
} stage;

static stage *stage_of(fix *f) { return (stage *)(void *)f; }

/* A stage whose only exchange is p's, answered by what on_request does. */
static stage *open_alone(fix_cb on_request, const char *request) {
    stage *s = calloc(1, sizeof *s);
    fix_init(&s->f);
    failing_config(&s->mem, &s->f.loop_cfg);
    s->f.on_request = on_request;
    if (fix_open(&s->f) < 0) abort();
    peer_unix(&s->p, &s->f);
    peer_send(&s->f, &s->p, request);
    return s;
}

static void close_alone(stage *s) {
    peer_close(&s->p);
    fix_close(&s->f);
    CHECK_INT(s->mem.blocks, 0);
    free(s);
}

/* The client's whole answer: a head and then this body. */
static void check_body(peer *p, const char *body) {
    peer_pull(p);
    const char *end = memmem(p->in, p->n, "\r\n\r\n", 4);
    REQUIRE(end);
    CHECK_MEM(end + 4, p->n - (size_t)(end + 4 - p->in), body);
}

static void done_aborts(void *user) {
    stage *s = user;
    s->result = mh_req_abort(s->subject);
}

static void abort_between(fix *f, mh_req *req) {
    stage *s = stage_of(f);
    const mh_str piece = {"abc", 3};
    s->subject = req;
    CHECK_INT(mh_res_head(req, 200, text(""), NULL, 0, 6), MH_OK);
    CHECK_INT(mh_res_writev(req, &piece, 1, done_aborts, s), MH_OK);
    int fd = memfd_create("def", MFD_CLOEXEC); /* leaves in another system call */
    CHECK_INT(write(fd, "def", 3), 3);
    CHECK_INT(mh_res_file(req, fd, 0, -1, 1), MH_OK);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void after_an_abort_by_a_done_callback_not_another_byte_leaves(void) {
    stage *s = open_alone(abort_between, GET);
    UNTIL(&s->f, s->f.finished == 1);
    CHECK_INT(s->result, MH_OK);
    CHECK_INT(s->f.why, MH_FINISH_ABORTED);
    check_body(&s->p, "abc");
    close_alone(s);
}

static void come_back(void *user) { ((stage *)user)->done++; }

/* The second piece is cut, and there is no memory for it when the first is queued already. */
static void done_fails_to_write(void *user) {
    stage *s = user;
    char *word = strdup("word");
    const mh_str pieces[] = {{word, 2}, {word, 4}};
    failing_at(&s->mem, 1);
    s->result = mh_res_writev(s->subject, pieces, 2, come_back, s);
    failing_at(&s->mem, 0);
    memset(word, '!', 4);
    free(word); /* done is not called on error */
}

static void fail_behind(fix *f, mh_req *req) {
    stage *s = stage_of(f);
    const mh_str piece = {"abc", 3};
    s->subject = req;
    CHECK_INT(mh_res_head(req, 200, text(""), NULL, 0, 6), MH_OK);
    CHECK_INT(mh_res_writev(req, &piece, 1, done_fails_to_write, s), MH_OK);
}

static void pieces_that_were_refused_are_not_looked_at_again(void) {
    stage *s = open_alone(fail_behind, GET);
    UNTIL(&s->f, s->f.finished == 1);
    CHECK_INT(s->result, MH_ENOMEM);
    CHECK_INT(s->done, 0);
    CHECK_INT(s->f.why, MH_FINISH_ABORTED);
    check_body(&s->p, "abc");
    close_alone(s);
}

static void done_borrows_again(void *user) {
    stage *s = user;
    const mh_str piece = {"word", 4};
    s->done++;
    if (s->enough) return;
    CHECK_INT(mh_res_writev(s->subject, &piece, 1, done_borrows_again, s), MH_OK);
}

static void borrow_on_and_on(fix *f, mh_req *req) {
    stage *s = stage_of(f);
    s->subject = req;
    CHECK_INT(mh_res_head(req, 200, text(""), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
    done_borrows_again(s);
}

/* To HEAD every piece is an empty one, and there is no end of them. */
static void a_chain_of_empty_pieces_does_not_hold_the_step(void) {
    stage *s = open_alone(borrow_on_and_on, HEAD);
    UNTIL(&s->f, s->subject);
    for (int i = 0; i < 10; i++) {
        unsigned before = s->done;
        CHECK(mh_loop_step(s->f.loop, 0) >= 0);
        CHECK(s->done > before);
    }
    s->enough = true;
    CHECK_INT(mh_res_end(s->subject), MH_OK);
    UNTIL(&s->f, s->f.finished == 1);
    CHECK_INT(s->f.why, MH_FINISH_DONE);
    close_alone(s);
}

static void answer_and_keep(fix *f, mh_req *req) {
    stage_of(f)->subject = req; /* in the end the last */
    say_hello(f, req);
}

static void abort_the_last(fix *f, mh_req *req, int why) {
    stage *s = stage_of(f);
    if (req != s->subject) s->result = mh_req_abort(s->subject);
    CHECK_INT(why, req == s->subject ? MH_FINISH_ABORTED : MH_FINISH_DONE);
}

/* Both answers have left together when the first is finished. */
static void an_exchange_that_on_finish_aborted_is_not_done(void) {
    stage *s = open_alone(answer_and_keep, GET GET);
    s->f.on_finish = abort_the_last;
    UNTIL(&s->f, s->f.finished == 2);
    CHECK_INT(s->result, MH_OK);
    CHECK_INT(s->f.whys[MH_FINISH_DONE], 1);
    CHECK_INT(s->f.whys[MH_FINISH_ABORTED], 1);
    close_alone(s);
}

int main(void) {
    RUN(after_an_abort_by_a_done_callback_not_another_byte_leaves);
    RUN(pieces_that_were_refused_are_not_looked_at_again);
    RUN(a_chain_of_empty_pieces_does_not_hold_the_step);
    RUN(an_exchange_that_on_finish_aborted_is_not_done);
    return check_end();
}
