/* Answers by mail: what another thread sends is carried out inside a step, and what it asks about
 * is told to it. The client is a real one; where nothing has to be waited for, the sender is the
 * thread of the hub itself, as the mail knows no difference. */
#include <pthread.h>

#include "hub.h"

static void open_mail(host *h) {
    open_host(h);
    h->mail = mhpy_mail_open(h->hub);
    CHECK(h->mail != NULL);
}

static mhpy_made *made_of(const char *text) {
    size_t pieces = 1;
    for (const char *p = text; *p; p++)
        pieces += *p == '\n';
    mhpy_made *made = mhpy_make(text, strlen(text), pieces);
    CHECK(made != NULL);
    return made;
}

static int mail_answer(host *h, int64_t name, const char *head, const char *body, int lend) {
    mhpy_made *made = made_of(head);
    int rc = mhpy_mail_answer(h->mail, (uint32_t)name, (uint32_t)(name >> 32), made, body,
                              strlen(body), lend);
    mhpy_unmake(made); /* what was sent with it keeps it */
    return rc;
}

/* Whether the client has got text at the end of what came, and has it taken. */
static bool got(host *h, const char *text) {
    size_t n = strlen(text);
    if (h->client.n < n || memcmp(h->client.in + h->client.n - n, text, n) != 0) return false;
    h->client.n = 0;
    return true;
}

/* ---- whole answers --------------------------------------------------------------------------- */

static void an_answer_by_mail_reaches_its_client(void) {
    host h;
    open_mail(&h);
    for (int lend = 0; lend < 2; lend++) {
        CHECK_INT(mail_answer(&h, ask(&h), "200 OK\nX\ny", "hello", lend), MH_OK);
        TURN_UNTIL(&h, got(&h, "Content-Length: 5\r\n\r\nhello"));
    }
    TURN_UNTIL(&h, h.finished == h.name); /* the body that was lent is given back */
    CHECK_INT(h.why, MH_FINISH_DONE);
    CHECK_INT(h.unsent, -1);
    close_host(&h);
}

static void an_answer_to_who_has_left_gives_back_what_was_lent(void) {
    host h;
    open_mail(&h);
    int64_t name = ask(&h);
    peer_close(&h.client);
    TURN_UNTIL(&h, h.finished == name); /* told though nobody has asked for it */
    CHECK_INT(h.why, MH_FINISH_PEER_CLOSED);
    h.finished = -1;
    CHECK_INT(mail_answer(&h, name, "200 OK", "hello", 0), MH_OK);
    for (int i = 0; i < 5; i++)
        turn(&h);
    CHECK_INT(h.finished, -1);
    CHECK_INT(mail_answer(&h, name, "200 OK", "hello", 1), MH_OK);
    TURN_UNTIL(&h, h.finished == name);
    CHECK_INT(h.unsent, -1);
    close_host(&h);
}

static void a_length_that_is_not_the_announced_is_sent_by_a_stream_alone(void) {
    static const char head[] = "200 OK\nContent-Length\n4";
    host h;
    open_mail(&h);
    int64_t name = ask(&h);
    CHECK_INT(mail_answer(&h, name, head, "hello", 0), MH_ERANGE);
    mhpy_stream *stream = mhpy_stream_new(h.mail, name);
    mhpy_made *made = made_of(head);
    CHECK_INT(mhpy_stream_answer(stream, made, "hello", 5), MH_FULL);
    TURN_UNTIL(&h, got(&h, "\r\n\r\nhell"));
    CHECK_INT(mhpy_stream_wait(stream), MH_ERANGE);
    mhpy_unmake(made);
    mhpy_stream_drop(stream);
    close_host(&h);
}

static void an_answer_that_fails_is_told_of(void) {
    host h;
    open_mail(&h);
    int64_t name = ask(&h);
    CHECK_INT(mail_answer(&h, name, "200 OK", "first", 0), MH_OK);
    CHECK_INT(mail_answer(&h, name, "200 OK", "second", 0), MH_OK);
    TURN_UNTIL(&h, h.unsent == name);
    CHECK_INT(h.code, MH_ESTATE);
    TURN_UNTIL(&h, peer_over(&h.client));
    close_host(&h);
}

static void mail_is_delivered_without_a_step(void) {
    host h;
    open_mail(&h);
    CHECK_INT(mail_answer(&h, ask(&h), "200 OK", "hello", 0), MH_OK);
    mhpy_mail_deliver(h.hub);
    peer_pull(&h.client);
    CHECK(got(&h, "\r\n\r\nhello"));
    mhpy_mail_deliver(NULL);
    close_host(&h);
}

static void an_abort_by_mail_resets_the_connection(void) {
    host h;
    open_mail(&h);
    CHECK_INT(mhpy_mail_abort(h.mail, ask(&h)), MH_OK);
    TURN_UNTIL(&h, peer_over(&h.client));
    CHECK_INT(h.client.n, 0);
    close_host(&h);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void a_stream_is_sent_piece_by_piece(void) {
    host h;
    open_mail(&h);
    mhpy_stream *stream = mhpy_stream_new(h.mail, ask(&h));
    mhpy_made *made = made_of("200 OK");
    CHECK_INT(mhpy_stream_head(stream, made), MH_OK);
    mhpy_unmake(made);
    CHECK_INT(mhpy_stream_write(stream, "one", 3, 0), MH_OK);
    TURN_UNTIL(&h, got(&h, "\r\n\r\n3\r\none\r\n"));
    CHECK_INT(mhpy_stream_write(stream, "two", 3, 1), MH_FULL); /* until it has left */
    turn(&h);
    CHECK_INT(mhpy_stream_wait(stream), MH_OK);
    CHECK_INT(mhpy_stream_end(stream), MH_OK);
    TURN_UNTIL(&h, got(&h, "3\r\ntwo\r\n0\r\n\r\n"));
    CHECK_INT(mhpy_stream_idle(stream), MH_ECLOSED);
    CHECK_INT(mhpy_stream_write(stream, "more", 4, 0), MH_ECLOSED);
    mhpy_stream_drop(stream);
    close_host(&h);
}

static void a_stream_over_its_length_is_cut_and_ended(void) {
    host h;
    open_mail(&h);
    mhpy_stream *stream = mhpy_stream_new(h.mail, ask(&h));
    mhpy_made *made = made_of("200 OK\nContent-Length\n4");
    CHECK_INT(mhpy_stream_head(stream, made), MH_OK);
    mhpy_unmake(made);
    CHECK_INT(mhpy_stream_write(stream, "123", 3, 0), MH_OK);
    CHECK_INT(mhpy_stream_write(stream, "456", 3, 0), MH_FULL);
    TURN_UNTIL(&h, got(&h, "\r\n\r\n1234"));
    CHECK_INT(mhpy_stream_wait(stream), MH_ERANGE);
    mhpy_stream_drop(stream);
    ask(&h); /* the connection goes on */
    close_host(&h);
}

static void a_stream_short_of_its_length_says_so_when_it_ends(void) {
    host h;
    open_mail(&h);
    mhpy_stream *stream = mhpy_stream_new(h.mail, ask(&h));
    mhpy_made *made = made_of("200 OK\nContent-Length\n4");
    CHECK_INT(mhpy_stream_head(stream, made), MH_OK);
    mhpy_unmake(made);
    CHECK_INT(mhpy_stream_write(stream, "123", 3, 0), MH_OK);
    CHECK_INT(mhpy_stream_end(stream), MH_FULL);
    TURN_UNTIL(&h, peer_over(&h.client));
    CHECK_INT(mhpy_stream_wait(stream), MH_ERANGE);
    mhpy_stream_drop(stream);
    close_host(&h);
}

static void a_stream_hears_that_its_client_has_left(void) {
    host h;
    open_mail(&h);
    mhpy_stream *stream = mhpy_stream_new(h.mail, ask(&h));
    CHECK_INT(mhpy_stream_idle(stream), MH_OK);
    turn(&h);
    peer_close(&h.client);
    TURN_UNTIL(&h, mhpy_stream_idle(stream) == MH_ECLOSED);
    mhpy_stream_drop(stream);
    /* And one of a request that has ended before. */
    stream = mhpy_stream_new(h.mail, h.name);
    TURN_UNTIL(&h, mhpy_stream_idle(stream) == MH_ECLOSED);
    CHECK_INT(mhpy_stream_wait(stream), MH_ECLOSED);
    mhpy_stream_drop(stream);
    close_host(&h);
}

static void a_stream_that_is_idle_hears_that_its_client_has_hung_up(void) {
    for (int before = 0; before < 2; before++) {
        host h;
        open_mail(&h);
        int64_t name = ask(&h);
        mhpy_stream *stream = before ? NULL : mhpy_stream_new(h.mail, name);
        turn(&h);
        CHECK_INT(shutdown(h.client.fd, SHUT_WR), 0);
        for (int i = 0; i < 5 && before; i++)
            turn(&h);
        if (before) stream = mhpy_stream_new(h.mail, name);
        TURN_UNTIL(&h, mhpy_stream_idle(stream) == MH_ECLOSED);
        mhpy_made *made = made_of("200 OK");
        CHECK_INT(mhpy_stream_head(stream, made), MH_OK); /* it may have done so by halves */
        mhpy_unmake(made);
        CHECK_INT(mhpy_stream_end(stream), MH_OK);
        TURN_UNTIL(&h, got(&h, "\r\n\r\n0\r\n\r\n"));
        mhpy_stream_drop(stream);
        close_host(&h);
    }
}

static void what_outlives_its_hub_is_told_so(void) {
    host h;
    open_mail(&h);
    int64_t name = ask(&h);
    mhpy_stream *opened = mhpy_stream_new(h.mail, name);
    turn(&h);
    mhpy_stream *sent = mhpy_stream_new(h.mail, name);
    mhpy_made *made = made_of("200 OK");
    CHECK_INT(mhpy_stream_head(sent, made), MH_OK); /* not carried out any more */
    mhpy_free(h.hub);
    h.hub = NULL;
    CHECK_INT(mhpy_stream_wait(opened), MH_ESTATE);
    CHECK_INT(mhpy_stream_wait(sent), MH_ESTATE);
    CHECK_INT(mhpy_stream_write(sent, "x", 1, 0), MH_ESTATE);
    CHECK_INT(mhpy_mail_abort(h.mail, name), MH_ESTATE);
    CHECK_INT(mail_answer(&h, name, "200 OK", "x", 0), MH_ESTATE);
    CHECK_INT(mhpy_mail_abort(NULL, name), MH_ESTATE);
    CHECK_INT(mhpy_mail_answer(NULL, 0, 0, made, "x", 1, 0), MH_ESTATE);
    CHECK(mhpy_stream_new(NULL, name) == NULL);
    CHECK(mhpy_mail_open(NULL) == NULL);
    mhpy_unmake(made);
    mhpy_stream_drop(opened);
    mhpy_mail_drop(h.mail);
    h.mail = NULL;
    mhpy_stream_drop(sent); /* the last that holds the mail */
    close_host(&h);
}

/* Another's answer is due to be sent when the second one of its request is refused, and sending
 * finds that the client has gone. */
static void an_answer_too_many_of_a_client_that_has_gone_is_refused(void) {
    static char large[1 << 25]; /* copying it takes longer than an answer may wait */
    host h;
    mhpy_batch batch;
    mhpy_counts counts;
    open_mail(&h);
    int64_t name = ask(&h);
    peer first = h.client;
    connect_client(&h);
    int64_t other = ask(&h);
    mhpy_made *made = made_of("200 OK");
    mhpy_stream *stream = mhpy_stream_new(h.mail, name);
    CHECK_INT(mail_answer(&h, other, "200 OK\nA\nb", "hello", 0), MH_OK);
    CHECK_INT(mhpy_stream_head(stream, made), MH_OK);
    CHECK_INT(mhpy_stream_write(stream, large, sizeof large, 0), MH_FULL);
    CHECK_INT(mail_answer(&h, name, "200 OK", "", 0), MH_OK);
    CHECK_INT(shutdown(first.fd, SHUT_RD), 0); /* of which sending alone is told */
    CHECK(mhpy_step(h.hub, 0, &batch) >= 0);
    CHECK(mhpy_step(h.hub, 0, &batch) >= 0);
    CHECK_INT(mhpy_count(h.hub, &counts), MH_OK);
    CHECK_INT(counts.requests, 0);
    mhpy_unmake(made);
    mhpy_stream_drop(stream);
    peer_close(&first);
    close_host(&h);
}

/* ---- another thread -------------------------------------------------------------------------- */

enum { PIECE = 10000, PIECES = 1000 };

typedef struct writer {
    pthread_t thread;
    mhpy_mail *mail;
    int64_t name;
    int result;          /* the last */
    atomic_uint written; /* pieces */
} writer;

static void *stream_all(void *arg) {
    static const char piece[PIECE];
    writer *w = arg;
    mhpy_made *made = made_of("200 OK\nContent-Length\n10000000");
    mhpy_stream *stream = mhpy_stream_new(w->mail, w->name);
    int rc = mhpy_stream_head(stream, made);
    for (int i = 0; i < PIECES && rc >= 0; i++) {
        rc = mhpy_stream_write(stream, piece, PIECE, i % 3 == 0);
        if (rc == MH_FULL) rc = mhpy_stream_wait(stream);
        w->written++;
    }
    if (rc >= 0) rc = mhpy_stream_end(stream);
    w->result = rc;
    mhpy_stream_drop(stream);
    mhpy_unmake(made);
    return NULL;
}

static void start_writer(host *h, writer *w) {
    *w = (writer){.mail = h->mail, .name = ask(h), .result = 1};
    CHECK_INT(pthread_create(&w->thread, NULL, stream_all, w), 0);
}

static void a_thread_waits_for_its_client_and_gets_all_of_it_through(void) {
    host h;
    writer w;
    open_mail(&h);
    start_writer(&h, &w);
    size_t all = 0;
    uint64_t end = real_ms() + UNTIL_MS;
    while (all < (size_t)PIECE * PIECES && real_ms() < end) {
        turn(&h);
        all += h.client.n;
        h.client.n = 0;
    }
    CHECK(all > (size_t)PIECE * PIECES);
    pthread_join(w.thread, NULL);
    CHECK_INT(w.result, MH_OK);
    close_host(&h);
}

static void a_thread_that_waits_goes_on_when_its_client_or_the_hub_ends(void) {
    for (int ends = 0; ends < 2; ends++) {
        host h;
        writer w;
        mhpy_batch batch;
        open_mail(&h);
        start_writer(&h, &w);
        /* Nobody reads, so what fits into the socket and below high water is all. */
        for (unsigned before = 1, still = 0; still < 20;
             still = w.written == before ? still + 1 : 0) {
            before = w.written;
            mhpy_step(h.hub, 5, &batch);
        }
        CHECK(w.written < PIECES);
        if (ends) {
            mhpy_free(h.hub);
            h.hub = NULL;
        } else {
            peer_close(&h.client);
            TURN_UNTIL(&h, h.finished == w.name);
        }
        pthread_join(w.thread, NULL);
        CHECK_INT(w.result, ends ? MH_ESTATE : MH_ECLOSED);
        close_host(&h);
    }
}

/* Each answers what is left over of the other, so both are always at it. */
enum { THREADS = 4, ANSWERS = 500 };

typedef struct crowd {
    host *h;
    pthread_mutex_t lock;
    int64_t names[ANSWERS];
    int n;
    bool over;
} crowd;

static void *answer_some(void *arg) {
    crowd *c = arg;
    for (bool over = false; !over;) {
        int64_t name = -1;
        pthread_mutex_lock(&c->lock);
        over = c->over;
        if (c->n > 0) name = c->names[--c->n];
        pthread_mutex_unlock(&c->lock);
        if (name >= 0) mail_answer(c->h, name, "200 OK", "hello", 0);
    }
    return NULL;
}

static void many_threads_lose_no_answer(void) {
    host h;
    open_mail(&h);
    crowd c = {.h = &h, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, answer_some, &c), 0);
    for (int i = 0; i < ANSWERS && !check_failed; i++) {
        int64_t name = ask(&h);
        pthread_mutex_lock(&c.lock);
        c.names[c.n++] = name;
        pthread_mutex_unlock(&c.lock);
        TURN_UNTIL(&h, got(&h, "\r\n\r\nhello"));
    }
    pthread_mutex_lock(&c.lock);
    c.over = true;
    pthread_mutex_unlock(&c.lock);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    close_host(&h);
}

int main(void) {
    RUN(an_answer_by_mail_reaches_its_client);
    RUN(an_answer_to_who_has_left_gives_back_what_was_lent);
    RUN(a_length_that_is_not_the_announced_is_sent_by_a_stream_alone);
    RUN(an_answer_that_fails_is_told_of);
    RUN(mail_is_delivered_without_a_step);
    RUN(an_abort_by_mail_resets_the_connection);
    RUN(a_stream_is_sent_piece_by_piece);
    RUN(a_stream_over_its_length_is_cut_and_ended);
    RUN(a_stream_short_of_its_length_says_so_when_it_ends);
    RUN(a_stream_hears_that_its_client_has_left);
    RUN(a_stream_that_is_idle_hears_that_its_client_has_hung_up);
    RUN(what_outlives_its_hub_is_told_so);
    RUN(an_answer_too_many_of_a_client_that_has_gone_is_refused);
    RUN(a_thread_waits_for_its_client_and_gets_all_of_it_through);
    RUN(a_thread_that_waits_goes_on_when_its_client_or_the_hub_ends);
    RUN(many_threads_lose_no_answer);
    return check_end();
}
