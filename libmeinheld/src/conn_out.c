/* A connection's output: from the queue to the socket, exchanges finished when their last byte has
 * left, and a peer that doesn't take it given up. */
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "conn.h"

bool mh__conn_is_full(const mh__conn *c) {
    return mh__outq_pending(&c->out) + c->kept >= c->srv->cfg.high_water;
}

void mh__conn_written(mh__conn *c) {
    if (!mh__conn_waits_to_send(c)) mh__loop_flush_task(c->srv->loop, &c->flush);
}

/* Takes the first unfinished exchange off the list and tells the host. */
static void finish_first(mh__conn *c, int why) {
    mh_req *req = c->first;
    c->first = req->next;
    if (!c->first) c->tail = NULL;
    if (req == c->current) c->current = NULL;
    if (req == c->dropping) c->dropping = NULL;
    c->kept -= sizeof *req + req->head.size;
    req->sent = mh_res_sent(req);
    mh__conn_log_exchange(c, req, why);
    req->conn = NULL;
    mh__req_finish(req, why);
}

/* Until a callback dooms the connection: what is unfinished then ends with it. */
static void finish_sent(mh__conn *c) {
    while (!c->doomed && c->first && c->first->res == MH__RES_ENDED && c->first != c->dropping &&
           c->out.sent >= c->first->end_at) {
        finish_first(c, MH_FINISH_DONE);
    }
}

/* The file of the first exchange has failed: nothing right can follow, of this one or a later. */
static void end_by_file(mh__conn *c) {
    if (c->doomed) return; /* by on_finish: its run task is queued */
    c->out.cut = true;     /* so that no callback's flush takes up the file again */
    c->reset = true;
    finish_first(c, MH_FINISH_FILE);
    mh__conn_close(c, MH_FINISH_ABORTED);
}

/* Counts what the peer's side has taken since the last look, and says whether that was anything.
 * What our kernel has taken says little of TCP: it may be megabytes ahead, and then silent for long
 * while a fair reader catches up. A unix socket holds little, and counts in memory, not in bytes.
 */
static bool peer_took_some(mh__conn *c) {
    int unsent = 0;
    if (!c->is_unix && (ioctl(c->fd, SIOCOUTQ, &unsent) < 0 || unsent < 0)) unsent = 0;
    uint64_t taken = c->out.sent - (uint64_t)unsent, before = c->out_taken;
    if (taken <= before) return false;
    c->out_taken = taken;
    mh__rate_count(&c->out_rate, taken - before);
    return true;
}

/* The socket is full: wait, but not for ever. False if the peer is too slow. */
static bool await_output(mh__conn *c) {
    mh_server *srv = c->srv;
    uint64_t now = mh_loop_now(srv->loop);
    bool waited = (c->events & EPOLLOUT) != 0, took = peer_took_some(c);
    mh__rate_wait(&c->out_rate, &srv->rate, now);
    if (!mh__rate_pass(&c->out_rate, &srv->rate, now)) return false;
    if (took || !waited)
        mh__timer_arm(srv->loop, &c->out_timer,
                      c->out_rate.judged ? srv->cls.write : srv->cls.write_first);
    mh__conn_want(c, EPOLLOUT, 0);
    return true;
}

/* The peer waits for our disk: that is no fault of its own. */
static void await_disk(mh__conn *c) {
    mh_server *srv = c->srv;
    c->on_disk = true;
    mh__rate_pause(&c->out_rate, mh_loop_now(srv->loop));
    mh__conn_want(c, 0, EPOLLOUT);
    mh__timer_arm(srv->loop, &c->out_timer, srv->cls.disk);
}

static void output_done(mh__conn *c) {
    mh__timer_stop(&c->out_timer);
    mh__rate_pause(&c->out_rate, mh_loop_now(c->srv->loop));
    mh__conn_want(c, 0, EPOLLOUT);
    /* A callback has answered, or drained the server: the coming flush finishes and ends. LINGER
     * must see none, since out_timer is then its own. */
    if (mh__task_queued(&c->flush)) return;
    if (c->state == MH__CONN_FLUSH && c->last && !c->dropping) {
        mh__conn_end(c);
    } else if (c->state == MH__CONN_IDLE) {
        mh__conn_set_state(c, MH__CONN_IDLE); /* it is idle from now, not from when a slow host had
                                                 queued the answer */
    }
}

void mh__conn_on_flush(mh_loop *loop, mh__task *task) {
    mh__conn *c = MH__CONN_OF(task, flush);
    mh_server *srv = c->srv;
    if (c->doomed) return; /* its run task is queued */
    c->on_disk = false;
    c->out.last = c->state == MH__CONN_FLUSH && c->last && !c->dropping;
    enum mh__outq_result result =
        c->out.head ? mh__outq_send(&srv->out, &c->out, c->fd, srv->cfg.step_write)
                    : MH__OUTQ_EMPTY;
    if (c->doomed) return; /* by a done callback */
    if (result == MH__OUTQ_GONE) {
        c->reset = true;
        mh__conn_close(c, MH_FINISH_PEER_CLOSED);
        return;
    }
    finish_sent(c);
    if (result == MH__OUTQ_FILE) {
        end_by_file(c);
        return;
    }
    mh_req *req = c->current;
    if (req && req->full && mh__outq_pending(&c->out) <= srv->cfg.low_water && !c->doomed) {
        req->full = false;
        if (srv->on.on_writable) srv->on.on_writable(req, srv->on.user);
    }
    if (c->doomed) return; /* by on_finish or on_writable */
    if (c->state == MH__CONN_FLUSH && !c->last && !mh__conn_is_full(c))
        mh__loop_run_task(loop, &c->run);
    /* A callback has written more: it leaves in a coming step, and nothing ends before that. */
    if (result == MH__OUTQ_EMPTY && c->out.head) result = MH__OUTQ_BUDGET;
    switch (result) {
    case MH__OUTQ_AGAIN:
        if (!await_output(c)) {
            c->reset = true;
            mh__conn_close(c, MH_FINISH_TIMEOUT);
        }
        break;
    case MH__OUTQ_DISK:
        await_disk(c);
        break;
    case MH__OUTQ_BUDGET:
        mh__timer_stop(&c->out_timer);
        mh__conn_want(c, 0, EPOLLOUT);
        mh__loop_run_task(loop, &c->run);
        break;
    default:
        output_done(c);
        break;
    }
}

/* Whether the socket takes more, of which epoll will tell or has told: after a long callback a
 * deadline may come before the flush. */
static bool room_waits(const mh__conn *c) {
    struct pollfd p = {.fd = c->fd, .events = POLLOUT};
    return poll(&p, 1, 0) > 0 && (p.revents & POLLOUT);
}

void mh__conn_on_out_timeout(mh_loop *loop, mh__timer *timer) {
    mh__conn *c = MH__CONN_OF(timer, out_timer);
    if (c->doomed) return; /* its run task closes it */
    if (c->on_disk) {
        mh__loop_flush_task(loop, &c->flush);
        return;
    }
    if (c->state == MH__CONN_LINGER) { /* drained for long enough */
        mh__conn_close(c, MH_FINISH_DONE);
        return;
    }
    /* The peer waits for us, or the kernel's store is not used up yet. */
    if (room_waits(c) || (peer_took_some(c) && await_output(c))) {
        mh__timer_arm(loop, timer, c->srv->cls.write);
        return;
    }
    c->reset = true;
    mh__conn_close(c, MH_FINISH_TIMEOUT);
}
