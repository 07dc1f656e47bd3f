/* The connection's state machine. With conn_in.c and conn_out.c, its input and its output, it is
 * all that knows both sockets and HTTP.
 *
 *   PROXY --> ACCEPT (its header is whole: once, where mh_config asks for one)
 *
 *   ACCEPT ---.                     .------------------------------------------------.
 *             v                     v                                                |
 *   IDLE --> HEAD --> BODY ----> HOST --> FLUSH --> IDLE (kept, nothing unread)      |
 *    ^         |       |  '--------------> |  |  '-> HEAD (kept, part of the next) --'
 *    |         |       (answered early)    |  '----> LINGER --> CLOSED
 *    |         '--> FLUSH (refused)        '-------> CLOSED
 *    '--- IDLE and HEAD are left for BODY or HOST as soon as a head is complete.
 *   PROXY --> FLUSH, refused as a head is.
 *   Any state --> CLOSED: the peer reset, a deadline passed, mh_req_abort, no memory.
 *
 * A step calls a connection up to three times, so that no phase of it undoes another's batching:
 *   on_io     reads what is there, and leaves the rest to
 *   on_run    which parses heads and calls the host, and
 *   on_flush  which sends, finishes the exchanges whose last byte has left, and closes.
 *
 * Output and input go their own ways: a connection is IDLE or HEAD again while its last answers
 * still wait in out, so that pipelined answers leave together; it stays in FLUSH only if something
 * holds up the next request.
 *
 * Who frees: only mh__conn_close, from these three, a timer, or the server. Inside a host's
 * callback a connection is at most doomed, so its caller can go on using it. */
#include "conn.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void mh__conn_want(mh__conn *c, uint32_t add, uint32_t drop) {
    uint32_t events = (c->events | add) & ~drop;
    if (events == c->events) return;
    c->events = events;
    mh__loop_set(c->srv->loop, c->fd, events);
}

/* The one place where the state changes; each state's deadline on input begins here. BODY's begins
 * when the host waits for bytes (mh__conn_await_body), and HOST has none. */
void mh__conn_set_state(mh__conn *c, mh__conn_state state) {
    if (state == MH__CONN_HEAD && c->state == MH__CONN_HEAD) return; /* it trickles: one deadline */
    mh_server *srv = c->srv;
    c->state = (uint8_t)state;
    c->late = false;
    switch (state) {
    case MH__CONN_PROXY:
    case MH__CONN_HEAD:
        c->head_at = mh__loop_ns(srv->loop);
        mh__timer_arm(srv->loop, &c->in_timer, srv->cls.head);
        break;
    case MH__CONN_ACCEPT:
        mh__timer_arm(srv->loop, &c->in_timer, srv->cls.head);
        break;
    case MH__CONN_IDLE:
        mh__timer_arm(srv->loop, &c->in_timer, srv->cls.keepalive);
        break;
    case MH__CONN_LINGER:
        mh__timer_arm(srv->loop, &c->in_timer, srv->cls.linger);
        break;
    case MH__CONN_BODY:
    case MH__CONN_HOST:
    case MH__CONN_FLUSH:
    case MH__CONN_CLOSED:
        mh__timer_stop(&c->in_timer);
        break;
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

void mh__conn_close(mh__conn *c, int why) {
    mh_server *srv = c->srv;
    for (mh_req *req = c->first; req; req = req->next)
        req->sent = mh_res_sent(req); /* of a closed connection it tells what is kept here */
    mh__conn_set_state(c, MH__CONN_CLOSED);
    c->doomed = true;
    mh__timer_stop(&c->out_timer);
    mh__task_cancel(&c->run);
    mh__task_cancel(&c->flush);
    if (c->fd >= 0) {
        mh__loop_del(srv->loop, c->fd);
        /* An option of the socket, which a child shares: it would reset the parent's connection. */
        if (c->reset && mh__loop_is_ours(srv->loop)) {
            struct linger rst = {.l_onoff = 1, .l_linger = 0};
            setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
        }
        close(c->fd);
        c->fd = -1;
    }
    mh__outq_clear(&srv->out, &c->out);
    while (c->first) {
        mh_req *req = c->first;
        c->first = req->next;
        mh__conn_log_exchange(c, req, why);
        req->conn = NULL;
        mh__req_finish(req, why);
    }
    mh__conn_log_refused(c, why);
    mh__input_clear(&srv->bufs, &c->in);
    if (c->next) c->next->prev = c->prev;
    *(c->prev ? &c->prev->next : &srv->conns) = c->next;
    mh__pool_put(&srv->conn_pool, c);
    mh__server_conn_gone(srv);
}

void mh__conn_doom(mh__conn *c, int why, bool reset) {
    if (c->doomed) return;
    c->doomed = c->out.cut = true;
    c->why = (uint8_t)why;
    c->reset = reset;
    mh__loop_run_task(c->srv->loop, &c->run);
}

/* All is sent and no request follows. */
void mh__conn_end(mh__conn *c) {
    /* Closing with unread input would send RST, with which both kernels throw away what is left of
     * the answer. */
    bool linger = !c->eof && (c->linger || mh__input_n(&c->in) > 0 || mh__conn_has_unread(c));
    if (!linger || shutdown(c->fd, SHUT_WR) < 0) {
        mh__conn_close(c, MH_FINISH_DONE);
        return;
    }
    c->dropped = 0;
    mh__conn_set_state(c, MH__CONN_LINGER);
    mh__timer_arm(c->srv->loop, &c->out_timer, c->srv->cls.linger_whole);
    mh__conn_want(c, MH__CONN_INPUT, 0);
    mh__conn_log_refused(c, MH_FINISH_DONE); /* may call the host, so all is in order before */
    mh__input_clear(&c->srv->bufs, &c->in);
}

/* After what is queued has been sent, the connection ends. */
void mh__conn_end_after_output(mh__conn *c) {
    c->last = true;
    mh__conn_set_state(c, MH__CONN_FLUSH);
    mh__loop_flush_task(c->srv->loop, &c->flush);
}

int mh__conn_detach(mh__conn *c) {
    int fd = c->fd;
    mh__loop_del(c->srv->loop, fd);
    c->fd = -1;
    mh__conn_doom(c, MH_FINISH_UPGRADED, false);
    return fd;
}

/* ---- the beginning --------------------------------------------------------------------------- */

void mh__conn_new(mh_server *srv, int fd, const struct sockaddr_storage *peer, uint16_t listener) {
    mh__conn *c = mh__pool_get(&srv->conn_pool);
    if (!c) {
        close(fd);
        return;
    }
    *c = (mh__conn){.srv = srv,
                    .fd = fd,
                    .events = MH__CONN_INPUT,
                    .listener = listener,
                    .peer = mh__addr_of(peer),
                    .is_unix = peer->ss_family == AF_UNIX,
                    .in_timer.fn = mh__conn_on_in_timeout,
                    .out_timer.fn = mh__conn_on_out_timeout,
                    .run.fn = mh__conn_on_run,
                    .flush.fn = mh__conn_on_flush,
                    .next = srv->conns};
    mh__outq_init(&c->out);
    if (srv->conns) srv->conns->prev = c;
    srv->conns = c;
    srv->n_conns++;
    if (mh__loop_add(srv->loop, fd, c->events, mh__conn_on_io, c) < 0) {
        mh__conn_close(c, MH_FINISH_ABORTED);
        return;
    }
    mh__conn_set_state(c, srv->cfg.proxy_protocol ? MH__CONN_PROXY : MH__CONN_ACCEPT);
    mh__conn_fill(
        c); /* the request is often there already: no epoll_ctl for a connection closed at once */
}

void mh__conn_drain(mh__conn *c) {
    switch ((mh__conn_state)c->state) {
    case MH__CONN_ACCEPT:
    case MH__CONN_PROXY:
    case MH__CONN_IDLE:
        /* Part of a header has its deadline. A request that has come, or waits in the socket, is
         * answered with close. */
        if (c->state == MH__CONN_PROXY && mh__input_n(&c->in) > 0) return;
        if (mh__task_queued(&c->run) || mh__conn_has_unread(c)) return;
        mh__conn_end_after_output(c);
        return;
    case MH__CONN_BODY:
    case MH__CONN_HOST:
    case MH__CONN_FLUSH:
        c->last = c->linger = true;
        mh__loop_flush_task(c->srv->loop, &c->flush);
        return;
    case MH__CONN_HEAD:
    case MH__CONN_LINGER:
    case MH__CONN_CLOSED:
        return;
    }
}
