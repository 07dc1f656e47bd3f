/* The connection's state machine: the only file that knows both sockets and HTTP.
 *
 *   ACCEPT ---.                     .------------------------------------------------.
 *             v                     v                                                |
 *   IDLE --> HEAD --> BODY ----> HOST --> FLUSH --> IDLE (kept, nothing unread)      |
 *    ^         |       |  '--------------> |  |  '-> HEAD (kept, part of the next) --'
 *    |         |       (answered early)    |  '----> LINGER --> CLOSED
 *    |         '--> FLUSH (refused)        '-------> CLOSED
 *    '--- IDLE and HEAD are left for BODY or HOST as soon as a head is complete.
 *   Any state --> CLOSED: the peer reset, a deadline passed, mh_req_abort, no memory.
 *
 * A step calls a connection up to three times, so that no phase of it undoes another's batching:
 *   on_io     reads what is there, and leaves the rest to
 *   on_run    which parses heads and calls the host, and
 *   on_flush  which sends, finishes the exchanges whose last byte has left, and closes.
 *
 * Output and input go their own ways: a connection is IDLE or HEAD again while its last answers still wait in
 * out, so that pipelined answers leave together; it stays in FLUSH only if something holds up the next request.
 *
 * Who frees: only mh__conn_close, from these three, a timer, or the server. Inside a host's callback a
 * connection is at most doomed, so its caller can go on using it. */
#include "conn.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "head.h"

#define CONTAINER(ptr, member) ((mh__conn *)(void *)((char *)(ptr) - offsetof(mh__conn, member)))

enum { INPUT = EPOLLIN | EPOLLRDHUP };

static void want(mh__conn *c, uint32_t add, uint32_t drop) {
    uint32_t events = (c->events | add) & ~drop;
    if (events == c->events) return;
    c->events = events;
    mh__loop_set(c->srv->loop, c->fd, events);
}

/* The one place where the state changes; each state's deadline on input begins here. BODY's begins when the host
 * waits for bytes (mh__conn_await_body), and HOST has none. */
static void set_state(mh__conn *c, mh__conn_state state) {
    if (state == MH__CONN_HEAD && c->state == MH__CONN_HEAD) return; /* it trickles: one deadline */
    mh_server *srv = c->srv;
    c->state = (uint8_t)state;
    c->late = false;
    switch (state) {
    case MH__CONN_ACCEPT:
    case MH__CONN_HEAD: mh__timer_arm(srv->loop, &c->in_timer, srv->cls.head); break;
    case MH__CONN_IDLE: mh__timer_arm(srv->loop, &c->in_timer, srv->cls.keepalive); break;
    case MH__CONN_LINGER: mh__timer_arm(srv->loop, &c->in_timer, srv->cls.linger); break;
    case MH__CONN_BODY:
    case MH__CONN_HOST:
    case MH__CONN_FLUSH:
    case MH__CONN_CLOSED: mh__timer_stop(&c->in_timer); break;
    }
}

/* ---- the end ----------------------------------------------------------------------------------- */

/* Takes the first unfinished exchange off the list and tells the host. */
static void finish_first(mh__conn *c, int why) {
    mh_req *req = c->first;
    c->first = req->next;
    if (!c->first) c->tail = NULL;
    if (req == c->current) c->current = NULL;
    if (req == c->dropping) c->dropping = NULL;
    req->sent = mh_res_sent(req);
    req->conn = NULL;
    mh__req_finish(req, why);
}

void mh__conn_close(mh__conn *c, int why) {
    mh_server *srv = c->srv;
    set_state(c, MH__CONN_CLOSED);
    c->doomed = true;
    mh__timer_stop(&c->out_timer);
    mh__task_cancel(&c->run);
    mh__task_cancel(&c->flush);
    if (c->fd >= 0) {
        mh__loop_del(srv->loop, c->fd);
        if (c->reset) {
            struct linger rst = {.l_onoff = 1, .l_linger = 0};
            setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
        }
        close(c->fd);
        c->fd = -1;
    }
    /* The counts of what was sent are read before the queue forgets. */
    for (mh_req *req = c->first; req; req = req->next) req->sent = mh_res_sent(req);
    mh__outq_clear(&srv->out, &c->out);
    while (c->first) {
        mh_req *req = c->first;
        c->first = req->next;
        req->conn = NULL;
        mh__req_finish(req, why);
    }
    mh__input_clear(&srv->bufs, &c->in);
    if (c->next) c->next->prev = c->prev;
    *(c->prev ? &c->prev->next : &srv->conns) = c->next;
    mh__pool_put(&srv->conn_pool, c);
    mh__server_conn_gone(srv);
}

void mh__conn_doom(mh__conn *c, int why, bool reset) {
    if (c->doomed) return;
    c->doomed = true;
    c->why = (uint8_t)why;
    c->reset = reset;
    mh__loop_run_task(c->srv->loop, &c->run);
}

/* All is sent and no request follows. */
static void end_connection(mh__conn *c) {
    bool linger = !c->eof && (c->linger || mh__input_n(&c->in) > 0);
    if (!linger || shutdown(c->fd, SHUT_WR) < 0) {
        mh__conn_close(c, MH_FINISH_DONE);
        return;
    }
    /* Closing with unread input would send RST, which makes the peer's kernel throw away the answer. */
    mh__input_clear(&c->srv->bufs, &c->in);
    c->dropped = 0;
    set_state(c, MH__CONN_LINGER);
    want(c, INPUT, 0);
}

/* After what is queued has been sent, the connection ends. */
static void end_after_output(mh__conn *c) {
    c->last = true;
    set_state(c, MH__CONN_FLUSH);
    mh__loop_flush_task(c->srv->loop, &c->flush);
}

/* Answers a request that never reaches the host. */
static void refuse(mh__conn *c, int status, bool is_head) {
    mh_server *srv = c->srv;
    mh_str reason = mh__reason(status);
    static const char type_name[] = "Content-Type", type[] = "text/plain";
    const mh_str fields[] = {{type_name, sizeof type_name - 1}, {type, sizeof type - 1}};
    mh__head_plan plan = {.status = status, .reason = reason, .fields = fields, .n = 1};
    mh__head_extra extra = {.date = mh__server_date(srv),
                            .server = srv->server_field,
                            .frame = MH__FRAME_LENGTH,
                            .length = reason.n + 1,
                            .connection = MH__CONN_CLOSE};
    int error = mh__head_check(&plan, srv->server_field.n);
    char *p = error == MH_OK ? mh__outq_reserve(&srv->out, &c->out, plan.size + reason.n + 1) : NULL;
    if (p) {
        size_t n = mh__head_write(p, &plan, &extra);
        if (!is_head) {
            memcpy(p + n, reason.p, reason.n);
            n += reason.n;
            p[n++] = '\n';
        }
        mh__outq_commit(&c->out, n);
    }
    c->linger = true;
    end_after_output(c);
}

/* ---- reading ----------------------------------------------------------------------------------- */

/* Reads once what the socket has into c->in, for a head to be parsed. May close c: its caller returns. */
static void fill(mh__conn *c) {
    mh_server *srv = c->srv;
    if (!mh__input_reserve(&srv->bufs, &c->in, 1)) {
        mh__conn_close(c, MH_FINISH_ABORTED);
        return;
    }
    ssize_t n;
    do {
        n = recv(c->fd, c->in.buf->data + c->in.end, mh__input_room(&c->in), MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        c->in.end += (uint32_t)n;
    } else if (n == 0) {
        c->eof = true;
        want(c, 0, INPUT);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        mh__input_release(&srv->bufs, &c->in);
        return;
    } else {
        mh__conn_close(c, MH_FINISH_PEER_CLOSED);
        return;
    }
    if (c->state == MH__CONN_HOST) {
        if (!c->eof) return; /* pipelined; its turn comes */
        c->hangup = true;
    }
    mh__loop_run_task(srv->loop, &c->run);
}

/* LINGER: throws away what still comes. */
static void drain_input(mh__conn *c) {
    char scrap[8192];
    for (int i = 0; i < 8; i++) {
        ssize_t n = recv(c->fd, scrap, sizeof scrap, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
        if (n > 0) c->dropped += (uint32_t)n;
        if (n <= 0 || c->dropped > c->srv->cfg.linger_max) {
            mh__conn_close(c, MH_FINISH_DONE);
            return;
        }
        if ((size_t)n < sizeof scrap) return;
    }
}

/* Input that nobody asked for: not to be told again, or the loop would spin (level-triggered). */
static void leave_unread(mh__conn *c, uint32_t events) {
    want(c, 0, EPOLLIN);
    if (c->state == MH__CONN_FLUSH) c->linger = true; /* closing on it would reset the answer */
    if (!(events & EPOLLRDHUP)) return;
    want(c, 0, EPOLLRDHUP);
    if (!c->current) return;
    c->hangup = true;
    mh__loop_run_task(c->srv->loop, &c->run);
}

static void on_input(mh__conn *c, uint32_t events) {
    switch ((mh__conn_state)c->state) {
    case MH__CONN_ACCEPT:
    case MH__CONN_IDLE:
    case MH__CONN_HEAD: fill(c); break;
    case MH__CONN_HOST:
        if (mh__input_n(&c->in) > 0 && mh__input_room(&c->in) == 0) {
            leave_unread(c, events); /* the bound on pipelined input: one buffer */
        } else {
            fill(c);
        }
        break;
    case MH__CONN_BODY:
    case MH__CONN_FLUSH:
        if (c->dropping || (c->current && c->current->waiting)) {
            /* Read by who needs it, straight to where it is needed. */
            c->readable = true;
            mh__conn_body_came(c);
            mh__loop_run_task(c->srv->loop, &c->run);
        } else {
            leave_unread(c, events);
        }
        break;
    case MH__CONN_LINGER: drain_input(c); break;
    case MH__CONN_CLOSED: break;
    }
}

static void on_io(mh_loop *loop, int fd, uint32_t events, void *user) {
    mh__conn *c = user;
    (void)fd;
    if (events & (EPOLLERR | EPOLLHUP)) { /* can't be masked: would be told for ever */
        mh__conn_close(c, MH_FINISH_PEER_CLOSED);
        return;
    }
    if (events & EPOLLOUT) mh__loop_flush_task(loop, &c->flush);
    if (events & INPUT) on_input(c, events);
}

/* ---- the socket, on behalf of req.c --------------------------------------------------------------- */

void mh__conn_await_body(mh__conn *c) {
    mh_server *srv = c->srv;
    if (c->read_left == 0) { /* this step's share is used up: go on in the next */
        c->readable = true;
        mh__loop_run_task(srv->loop, &c->run);
        return;
    }
    uint64_t now = mh_loop_now(srv->loop);
    bool first = c->in_rate.end == 0;
    mh__rate_wait(&c->in_rate, &srv->rate, now);
    if (!mh__rate_pass(&c->in_rate, &srv->rate, now)) {
        mh__conn_doom(c, MH_FINISH_TIMEOUT, true);
        return;
    }
    if (!mh__timer_armed(&c->in_timer)) /* asking again is not the peer's doing */
        mh__timer_arm(srv->loop, &c->in_timer, first ? srv->cls.body_first : srv->cls.body);
    want(c, INPUT, 0);
}

void mh__conn_body_came(mh__conn *c) {
    mh__timer_stop(&c->in_timer);
    mh__rate_pause(&c->in_rate, mh_loop_now(c->srv->loop));
}

ssize_t mh__conn_recv(mh__conn *c, void *buf, size_t n) {
    if (n > c->read_left) n = c->read_left;
    if (n == 0) return MH_EAGAIN;
    ssize_t got;
    do {
        got = recv(c->fd, buf, n, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        c->read_left -= (uint32_t)got;
        c->in_rate.bytes += (uint64_t)got;
        return got;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return MH_EAGAIN;
    c->eof = true;
    want(c, 0, INPUT);
    return MH_ECLOSED;
}

void mh__conn_body_complete(mh__conn *c) {
    if (c->state == MH__CONN_BODY) set_state(c, MH__CONN_HOST);
}

int mh__conn_detach(mh__conn *c) {
    int fd = c->fd;
    mh__loop_del(c->srv->loop, fd);
    c->fd = -1;
    mh__conn_doom(c, MH_FINISH_UPGRADED, false);
    return fd;
}

/* ---- requests ---------------------------------------------------------------------------------- */

/* Hands a parsed request to the host. */
static void begin_exchange(mh__conn *c, const mh__head *head, const mh__framing *framing) {
    mh_server *srv = c->srv;
    mh_req *req = mh__req_new(c, head, framing);
    if (!req) {
        mh__conn_doom(c, MH_FINISH_ABORTED, true);
        return;
    }
    *(c->tail ? &c->tail->next : &c->first) = req;
    c->tail = c->current = req;
    c->search = (mh__search){0};
    c->in_rate = (mh__rate){0};
    c->read_left = srv->cfg.step_read;
    c->dropped = 0;
    set_state(c, req->body_done ? MH__CONN_HOST : MH__CONN_BODY);
    want(c, EPOLLRDHUP, 0); /* a FIN that was told to the exchange before is told to each that is parked */
    srv->on.on_request(req, srv->on.user);
}

/* What there is instead of a complete head: wait for more, or end. */
static void no_head_yet(mh__conn *c) {
    if (c->eof || (c->srv->draining && mh__input_n(&c->in) == 0)) {
        end_after_output(c);
    } else if (c->late) {
        refuse(c, 408, false);
    } else if (mh__input_n(&c->in) > 0) {
        set_state(c, MH__CONN_HEAD);
        want(c, INPUT, 0);
    } else {
        mh__input_release(&c->srv->bufs, &c->in);
        want(c, INPUT, 0);
    }
}

/* Takes the next request off the input. False if there is none, or none will be. */
static bool take_request(mh__conn *c) {
    mh_server *srv = c->srv;
    uint32_t n = mh__input_n(&c->in);
    const char *p = mh__input_at(&c->in);
    mh__head head;
    mh__framing framing;
    int status = MH__HEAD_PART;
    if (n > 0) status = mh__take_head(&head, srv->fields, &c->search, p, n, &srv->limits);
    if (status == MH__HEAD_PART) {
        no_head_yet(c);
        return false;
    }
    bool is_head = false;
    if (status == MH__HEAD_WHOLE) {
        is_head = head.method.n == 4 && memcmp(p + head.method.off, "HEAD", 4) == 0;
        status = mh__frame(&framing, p, &head, srv->fields, srv->cfg.accept_connect != 0);
        if (status == 0 && framing.length > srv->cfg.max_body) status = 413;
    }
    if (status != 0) {
        refuse(c, status, is_head);
        return false;
    }
    begin_exchange(c, &head, &framing);
    return !c->doomed;
}

/* The body that the host left is complete, or given up: its exchange may be finished now. */
static void end_dropping(mh__conn *c, bool complete) {
    if (!complete) c->last = c->linger = true;
    c->dropping = NULL;
    mh__timer_stop(&c->in_timer);
    mh__loop_flush_task(c->srv->loop, &c->flush);
}

/* Drops more of it. True when it is complete, or given up. */
static bool drop_body(mh__conn *c) {
    int got = mh__req_drop_body(c->dropping);
    if (got == MH_EAGAIN) {
        mh__conn_await_body(c);
        return false;
    }
    end_dropping(c, got == MH_EOS);
    return true;
}

/* FLUSH: whether the next request's turn has come. */
static bool may_go_on(mh__conn *c) {
    if (c->dropping && !drop_body(c)) return false;
    if (c->last || mh__outq_pending(&c->out) >= c->srv->cfg.high_water) return false;
    set_state(c, MH__CONN_IDLE);
    return true;
}

/* Serves what has been read, at most step_requests of it. */
static void serve(mh__conn *c) {
    uint32_t left = c->srv->cfg.step_requests;
    while (!c->doomed) {
        switch ((mh__conn_state)c->state) {
        case MH__CONN_FLUSH:
            if (!may_go_on(c)) return;
            break;
        case MH__CONN_ACCEPT:
        case MH__CONN_IDLE:
        case MH__CONN_HEAD:
            if (left-- == 0) { /* to the back of the queue */
                mh__loop_run_task(c->srv->loop, &c->run);
                return;
            }
            if (!take_request(c)) return;
            break;
        case MH__CONN_BODY:
        case MH__CONN_HOST:
        case MH__CONN_LINGER:
        case MH__CONN_CLOSED: return;
        }
    }
}

/* Tells the host of the open exchange what has happened to it. */
static void tell_host(mh__conn *c) {
    mh_server *srv = c->srv;
    if (c->hangup) {
        c->hangup = false;
        mh_req *req = c->current;
        if (req && !req->hung_up && srv->on.on_hangup) {
            req->hung_up = true;
            srv->on.on_hangup(req, srv->on.user);
        }
    }
    if (c->readable) {
        c->readable = false;
        c->read_left = srv->cfg.step_read;
        mh_req *req = c->current;
        if (req && req->waiting && !c->doomed) {
            req->waiting = false;
            if (srv->on.on_readable) srv->on.on_readable(req, srv->on.user);
        }
    }
}

static void on_run(mh_loop *loop, mh__task *task) {
    mh__conn *c = CONTAINER(task, run);
    c->running = true;
    tell_host(c);
    serve(c);
    c->running = false;
    if (c->doomed) {
        mh__conn_close(c, c->why);
        return;
    }
    /* The rest of what a flush left because its share was used up. */
    if (c->out.head && !(c->events & EPOLLOUT)) mh__loop_flush_task(loop, &c->flush);
}

void mh__conn_answered(mh__conn *c) {
    mh_server *srv = c->srv;
    mh_req *req = c->current;
    c->current = NULL;
    req->waiting = false;
    req->end_at = c->out.queued;
    if (!req->body_done) {
        if (c->last || !mh__req_body_reusable(req)) {
            c->last = c->linger = true;
        } else {
            c->dropping = req;
        }
    }
    set_state(c, MH__CONN_FLUSH);
    mh__loop_flush_task(srv->loop, &c->flush);
    mh__loop_answered(srv->loop);
    if (c->running) return;
    bool next = c->dropping || c->eof || mh__input_n(&c->in) > 0;
    if (next) {
        mh__loop_run_task(srv->loop, &c->run);
    } else if (may_go_on(c)) {
        no_head_yet(c);
    }
}

/* ---- sending ----------------------------------------------------------------------------------- */

void mh__conn_written(mh__conn *c) {
    /* While the socket is full, EPOLLOUT brings the flush. */
    if (!(c->events & EPOLLOUT)) mh__loop_flush_task(c->srv->loop, &c->flush);
}

static void finish_sent(mh__conn *c) {
    while (c->first && c->first->res == MH__RES_ENDED && c->first != c->dropping &&
           c->out.sent >= c->first->end_at) {
        finish_first(c, MH_FINISH_DONE);
    }
}

/* The socket is full: wait, but not for ever. False if the peer is too slow. */
static bool await_output(mh__conn *c, uint64_t sent) {
    mh_server *srv = c->srv;
    uint64_t now = mh_loop_now(srv->loop);
    bool waited = (c->events & EPOLLOUT) != 0;
    bool first = c->out_rate.end == 0;
    mh__rate_wait(&c->out_rate, &srv->rate, now);
    if (!mh__rate_pass(&c->out_rate, &srv->rate, now)) return false;
    if (sent > 0 || !waited)
        mh__timer_arm(srv->loop, &c->out_timer, first ? srv->cls.write_first : srv->cls.write);
    want(c, EPOLLOUT, 0);
    return true;
}

static void output_done(mh__conn *c) {
    mh__timer_stop(&c->out_timer);
    mh__rate_pause(&c->out_rate, mh_loop_now(c->srv->loop));
    want(c, 0, EPOLLOUT);
    if (c->state == MH__CONN_FLUSH && c->last && !c->dropping) {
        end_connection(c);
    } else if (c->state == MH__CONN_IDLE) {
        set_state(c, MH__CONN_IDLE); /* it is idle from now, not from when a slow host had queued the answer */
    }
}

static void on_flush(mh_loop *loop, mh__task *task) {
    mh__conn *c = CONTAINER(task, flush);
    mh_server *srv = c->srv;
    if (c->doomed) return; /* its run task is queued */
    uint64_t before = c->out.sent;
    c->out.last = c->state == MH__CONN_FLUSH && c->last && !c->dropping;
    enum mh__outq_result result =
        c->out.head ? mh__outq_send(&srv->out, &c->out, c->fd, srv->cfg.step_write) : MH__OUTQ_EMPTY;
    uint64_t sent = c->out.sent - before;
    mh__rate_count(&c->out_rate, sent);
    if (result == MH__OUTQ_GONE || result == MH__OUTQ_FILE) {
        c->reset = true;
        mh__conn_close(c, result == MH__OUTQ_GONE ? MH_FINISH_PEER_CLOSED : MH_FINISH_ABORTED);
        return;
    }
    finish_sent(c);
    mh_req *req = c->current;
    if (req && req->full && mh__outq_pending(&c->out) <= srv->cfg.low_water && !c->doomed) {
        req->full = false;
        if (srv->on.on_writable) srv->on.on_writable(req, srv->on.user);
    }
    if (c->doomed) return;
    if (c->state == MH__CONN_FLUSH && !c->last && mh__outq_pending(&c->out) < srv->cfg.high_water)
        mh__loop_run_task(loop, &c->run);
    /* A callback has written more: it leaves in a coming step, and nothing ends before that. */
    if (result == MH__OUTQ_EMPTY && c->out.head) result = MH__OUTQ_BUDGET;
    switch (result) {
    case MH__OUTQ_AGAIN:
        if (!await_output(c, sent)) {
            c->reset = true;
            mh__conn_close(c, MH_FINISH_TIMEOUT);
        }
        break;
    case MH__OUTQ_BUDGET:
        mh__timer_stop(&c->out_timer);
        want(c, 0, EPOLLOUT);
        mh__loop_run_task(loop, &c->run);
        break;
    default: output_done(c); break;
    }
}

/* ---- deadlines --------------------------------------------------------------------------------- */

static void on_in_timeout(mh_loop *loop, mh__timer *timer) {
    mh__conn *c = CONTAINER(timer, in_timer);
    (void)loop;
    if (c->doomed) return; /* its run task closes it */
    switch ((mh__conn_state)c->state) {
    case MH__CONN_ACCEPT:
    case MH__CONN_IDLE:
        if (mh__input_n(&c->in) > 0 || c->eof) return; /* it came in this very step */
        if (c->out.head) { /* out_timer watches over it */
            set_state(c, MH__CONN_IDLE);
            return;
        }
        mh__conn_close(c, MH_FINISH_TIMEOUT);
        return;
    case MH__CONN_HEAD:
        if (mh__task_queued(&c->run)) { /* more came in this step: perhaps the rest */
            c->late = true;
        } else {
            refuse(c, 408, false);
        }
        return;
    case MH__CONN_BODY:
    case MH__CONN_HOST:
    case MH__CONN_FLUSH:
        if (c->readable) return;
        if (c->dropping) { /* the request is answered: no reason to cut that short */
            end_dropping(c, false);
            return;
        }
        c->reset = true;
        mh__conn_close(c, MH_FINISH_TIMEOUT);
        return;
    case MH__CONN_LINGER:
    case MH__CONN_CLOSED: mh__conn_close(c, MH_FINISH_DONE); return;
    }
}

static void on_out_timeout(mh_loop *loop, mh__timer *timer) {
    mh__conn *c = CONTAINER(timer, out_timer);
    (void)loop;
    if (c->doomed) return; /* its run task closes it */
    c->reset = true;
    mh__conn_close(c, MH_FINISH_TIMEOUT);
}

/* ---- the beginning ----------------------------------------------------------------------------- */

mh__peer mh__peer_of(const struct sockaddr_storage *sa) {
    mh__peer peer = {.family = sa->ss_family};
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        peer.port = in->sin_port;
        memcpy(peer.addr, &in->sin_addr, sizeof in->sin_addr);
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        peer.port = in6->sin6_port;
        memcpy(peer.addr, &in6->sin6_addr, sizeof in6->sin6_addr);
    }
    return peer;
}

void mh__conn_new(mh_server *srv, int fd, const struct sockaddr_storage *peer, uint16_t listener) {
    mh__conn *c = mh__pool_get(&srv->conn_pool);
    if (!c) {
        close(fd);
        return;
    }
    *c = (mh__conn){.srv = srv,
                    .fd = fd,
                    .events = INPUT,
                    .listener = listener,
                    .peer = mh__peer_of(peer),
                    .in_timer.fn = on_in_timeout,
                    .out_timer.fn = on_out_timeout,
                    .run.fn = on_run,
                    .flush.fn = on_flush,
                    .next = srv->conns};
    mh__outq_init(&c->out);
    if (srv->conns) srv->conns->prev = c;
    srv->conns = c;
    srv->n_conns++;
    if (mh__loop_add(srv->loop, fd, c->events, on_io, c) < 0) {
        mh__conn_close(c, MH_FINISH_ABORTED);
        return;
    }
    set_state(c, MH__CONN_ACCEPT);
    fill(c); /* the request is often there already: no epoll_ctl for a connection closed at once */
}

void mh__conn_drain(mh__conn *c) {
    switch ((mh__conn_state)c->state) {
    case MH__CONN_ACCEPT:
    case MH__CONN_IDLE:
        if (mh__task_queued(&c->run)) return; /* a request has come: it is answered with close */
        end_after_output(c);
        return;
    case MH__CONN_BODY:
    case MH__CONN_HOST:
    case MH__CONN_FLUSH:
        c->last = c->linger = true;
        mh__loop_flush_task(c->srv->loop, &c->flush);
        return;
    case MH__CONN_HEAD:
    case MH__CONN_LINGER:
    case MH__CONN_CLOSED: return;
    }
}
