/* A connection's input: from the socket to heads, from heads to the host, one request after the
 * other; and the socket's side of reading a body (body.c). */
#include "conn.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Whether what has come of a request says HEAD: its answer then has no body, even if the rest makes
 * no sense or never comes (RFC 9110 9.3.2). */
static bool says_head(const mh__conn *c) {
    uint32_t start = c->search.start;
    return mh__input_n(&c->in) >= start + 5 &&
           memcmp(mh__input_at(&c->in) + start, "HEAD ", 5) == 0;
}

/* When the head in hand began to come: seen before, or in this step. */
static uint64_t head_began(const mh__conn *c) {
    return c->state == MH__CONN_HEAD ? c->head_at : mh__loop_ns(c->srv->loop);
}

/* Answers a request that never reaches the host. */
static void refuse(mh__conn *c, int status) {
    /* Before the PROXY header no byte is a request's. */
    bool in_request = c->state != MH__CONN_PROXY;
    if (in_request) c->head_at = head_began(c);
    mh__res_refuse(c, status, in_request && says_head(c));
    c->linger = true;
    mh__conn_end_after_output(c);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Reads once what the socket has into c->in, for a head to be parsed. May close c: its caller
 * returns. */
void mh__conn_fill(mh__conn *c) {
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
        mh__conn_want(c, 0, MH__CONN_INPUT);
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

bool mh__conn_has_unread(const mh__conn *c) {
    int n = 0;
    return ioctl(c->fd, FIONREAD, &n) == 0 && n > 0;
}

/* Whether bytes wait in the socket, of which epoll will tell: a step takes a bounded number of
 * events, so after a long callback a deadline may pass before its connection's turn has come. */
static bool input_waits(const mh__conn *c) {
    return (c->events & EPOLLIN) && mh__conn_has_unread(c);
}

/* LINGER: throws away what still comes, as long as it goes on coming (RFC 9112 9.6). out_timer,
 * since all is sent, bounds it as a whole. */
static void drain_input(mh__conn *c) {
    char scrap[8192];
    for (int i = 0; i < 8; i++) {
        ssize_t n = recv(c->fd, scrap, sizeof scrap, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) break;
        if (n > 0) c->dropped += (uint32_t)n;
        if (n <= 0 || c->dropped > c->srv->cfg.linger_max) {
            mh__conn_close(c, MH_FINISH_DONE);
            return;
        }
        if ((size_t)n < sizeof scrap) break;
    }
    mh__timer_arm(c->srv->loop, &c->in_timer, c->srv->cls.linger);
}

/* Input that nobody asked for: not to be told again, or the loop would spin (level-triggered). */
static void leave_unread(mh__conn *c, uint32_t events) {
    mh__conn_want(c, 0, EPOLLIN);
    if (c->state == MH__CONN_FLUSH) c->linger = true; /* closing on it would reset the answer */
    if (!(events & EPOLLRDHUP)) return;
    mh__conn_want(c, 0, EPOLLRDHUP);
    if (!c->current) return;
    c->hangup = true;
    mh__loop_run_task(c->srv->loop, &c->run);
}

/* The bound on pipelined input: one buffer. */
static bool buffer_is_full(const mh__conn *c) {
    return mh__input_n(&c->in) > 0 && mh__input_room(&c->in) == 0;
}

static void on_input(mh__conn *c, uint32_t events) {
    switch ((mh__conn_state)c->state) {
    case MH__CONN_ACCEPT:
    case MH__CONN_PROXY:
    case MH__CONN_IDLE:
    case MH__CONN_HEAD:
        /* Only a part of a head needs a larger buffer; requests that step_requests held up don't.
         */
        if (!buffer_is_full(c) || !mh__task_queued(&c->run)) mh__conn_fill(c);
        break;
    case MH__CONN_HOST:
        if (buffer_is_full(c)) {
            leave_unread(c, events);
        } else {
            mh__conn_fill(c);
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
    case MH__CONN_LINGER: /* dealt with before: mh__conn_on_io */
    case MH__CONN_CLOSED: /* watched no more */
        break;
    }
}

void mh__conn_on_io(mh_loop *loop, int fd, uint32_t events, void *user) {
    mh__conn *c = user;
    (void)fd;
    /* Both sides shut: what has come goes first, or closing would still reset the answer. */
    if (c->state == MH__CONN_LINGER && !(events & EPOLLERR)) {
        drain_input(c);
        return;
    }
    if (events & (EPOLLERR | EPOLLHUP)) { /* can't be masked: would be told for ever */
        mh__conn_close(c, MH_FINISH_PEER_CLOSED);
        return;
    }
    if (events & EPOLLOUT) mh__loop_flush_task(loop, &c->flush);
    if (events & MH__CONN_INPUT) on_input(c, events);
}

/* ---- the socket, on behalf of body.c --------------------------------------------------------- */

bool mh__conn_await_body(mh__conn *c) {
    mh_server *srv = c->srv;
    if (c->read_left == 0) { /* this step's share is used up: go on in the next */
        c->readable = true;
        mh__loop_run_task(srv->loop, &c->run);
        return true;
    }
    uint64_t now = mh_loop_now(srv->loop);
    mh__rate_wait(&c->in_rate, &srv->rate, now);
    if (!mh__rate_pass(&c->in_rate, &srv->rate, now)) return false;
    if (!mh__timer_armed(&c->in_timer)) /* asking again is not the peer's doing */
        mh__timer_arm(srv->loop, &c->in_timer,
                      c->in_rate.judged ? srv->cls.body : srv->cls.body_first);
    mh__conn_want(c, MH__CONN_INPUT, 0);
    return true;
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
        mh__rate_count(&c->in_rate, (uint64_t)got);
        return got;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return MH_EAGAIN;
    c->eof = true;
    mh__conn_want(c, 0, MH__CONN_INPUT);
    return MH_ECLOSED;
}

void mh__conn_body_complete(mh__conn *c) {
    if (c->state == MH__CONN_BODY) mh__conn_set_state(c, MH__CONN_HOST);
}

/* ---- requests -------------------------------------------------------------------------------- */

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
    c->kept += sizeof *req + head->size;
    req->begun = head_began(c);
    c->search = (mh__search){0};
    c->in_rate = (mh__rate){0};
    c->read_left = srv->cfg.step_read;
    c->dropped = 0;
    mh__conn_set_state(c, req->body_done ? MH__CONN_HOST : MH__CONN_BODY);
    mh__conn_want(
        c, EPOLLRDHUP,
        0); /* a FIN that was told to the exchange before is told to each that is parked */
    srv->on.on_request(req, srv->on.user);
}

/* What there is instead of a complete head, or PROXY header: wait for more, or end. */
static void no_head_yet(mh__conn *c) {
    if (c->eof || (c->srv->closing_idle && mh__input_n(&c->in) == 0)) {
        mh__conn_end_after_output(c);
    } else if (c->late && !input_waits(c)) {
        refuse(c, 408);
    } else if (mh__input_n(&c->in) > 0) {
        if (c->state != MH__CONN_PROXY) mh__conn_set_state(c, MH__CONN_HEAD);
        mh__conn_want(c, MH__CONN_INPUT, 0);
    } else {
        mh__input_release(&c->srv->bufs, &c->in);
        mh__conn_want(c, MH__CONN_INPUT, 0);
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
    if (status == MH__HEAD_WHOLE) {
        status = mh__frame(&framing, p, &head, srv->fields, srv->cfg.accept_connect != 0);
        if (status == 0 && framing.length > srv->cfg.max_body) status = 413;
    }
    if (status != 0) {
        refuse(c, status);
        return false;
    }
    begin_exchange(c, &head, &framing);
    return !c->doomed;
}

/* Takes the PROXY header off the input. False if it is not there, or never will be. */
static bool take_proxy(mh__conn *c) {
    int status = mh__conn_take_proxy(c);
    if (status == MH__HEAD_PART) {
        no_head_yet(c);
    } else if (status == MH__HEAD_WHOLE) {
        mh__conn_set_state(c, MH__CONN_ACCEPT);
        return true;
    } else {
        refuse(c, status);
    }
    return false;
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
    if (got == MH_EAGAIN && mh__conn_await_body(c)) return false;
    end_dropping(c, got == MH_EOS);
    return true;
}

/* FLUSH: whether the next request's turn has come. */
static bool may_go_on(mh__conn *c) {
    if (c->dropping && !drop_body(c)) return false;
    if (c->last || mh__conn_is_full(c)) return false;
    mh__conn_set_state(c, MH__CONN_IDLE);
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
        case MH__CONN_PROXY:
            if (!take_proxy(c)) return;
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
        case MH__CONN_CLOSED:
            return;
        }
    }
}

/* Tells the host of the open exchange what has happened to it. */
static void tell_host(mh__conn *c) {
    mh_server *srv = c->srv;
    if (c->hangup) {
        c->hangup = false;
        mh_req *req = c->current;
        if (req && !req->hung_up && srv->on.on_hangup && !c->doomed) {
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

void mh__conn_on_run(mh_loop *loop, mh__task *task) {
    mh__conn *c = MH__CONN_OF(task, run);
    c->running = true;
    tell_host(c);
    serve(c);
    c->running = false;
    if (c->doomed) {
        mh__conn_close(c, c->why);
        return;
    }
    /* The rest of what a flush left because its share was used up. */
    if (c->out.head && !mh__conn_waits_to_send(c)) mh__loop_flush_task(loop, &c->flush);
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
    mh__conn_set_state(c, MH__CONN_FLUSH);
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

/* ---- deadlines ------------------------------------------------------------------------------- */

void mh__conn_on_in_timeout(mh_loop *loop, mh__timer *timer) {
    mh__conn *c = MH__CONN_OF(timer, in_timer);
    (void)loop;
    if (c->doomed) return; /* its run task closes it */
    switch ((mh__conn_state)c->state) {
    case MH__CONN_ACCEPT:
    case MH__CONN_IDLE:
        if (mh__input_n(&c->in) > 0 || c->eof) return; /* it came in this very step */
        if (input_waits(c)) return;
        if (c->out.head) { /* out_timer watches over it */
            mh__conn_set_state(c, MH__CONN_IDLE);
            return;
        }
        mh__conn_close(c, MH_FINISH_TIMEOUT);
        return;
    case MH__CONN_PROXY:
        if (mh__input_n(&c->in) == 0 && !mh__task_queued(&c->run) && !input_waits(c)) {
            mh__conn_close(c, MH_FINISH_TIMEOUT);
            return;
        }
        /* fall through */
    case MH__CONN_HEAD:
        if (mh__task_queued(&c->run) || input_waits(c)) { /* more came: perhaps the rest */
            c->late = true;
        } else {
            refuse(c, 408);
        }
        return;
    case MH__CONN_BODY:
    case MH__CONN_HOST:
    case MH__CONN_FLUSH:
        if (c->readable || input_waits(c)) return;
        if (c->dropping) { /* the request is answered: no reason to cut that short */
            end_dropping(c, false);
            return;
        }
        c->reset = true;
        mh__conn_close(c, MH_FINISH_TIMEOUT);
        return;
    case MH__CONN_LINGER:
        if (input_waits(c)) return;
        mh__conn_close(c, MH_FINISH_DONE);
        return;
    case MH__CONN_CLOSED:
        return;
    }
}
