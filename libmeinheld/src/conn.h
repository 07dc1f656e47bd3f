/* A connection and its exchanges, as the files around them share them: conn.c (the state machine),
 * conn_in.c and conn_out.c (its two directions), conn_proxy.c (the header that a proxy begins it
 * with), req.c and body.c (the request's side), res.c (the response's). */
#ifndef MH_CONN_H
#define MH_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "addr.h"
#include "framing.h"
#include "server.h"

/* Drawn in conn.c, changed in mh__conn_set_state only. */
typedef enum mh__conn_state {
    MH__CONN_ACCEPT, /* nothing has been read yet, or only a PROXY header */
    MH__CONN_PROXY,  /* no PROXY header has come yet, and no request is taken without */
    MH__CONN_IDLE,   /* kept alive between requests */
    MH__CONN_HEAD,   /* part of a head is there */
    MH__CONN_BODY,   /* an exchange is open, its request body is not complete */
    MH__CONN_HOST,   /* an exchange is open, its request is complete: the host's turn */
    MH__CONN_FLUSH,  /* the response has ended; output, or a body to drop, holds up what follows */
    MH__CONN_LINGER, /* all is sent and our side shut; input is dropped until the peer closes */
    MH__CONN_CLOSED  /* the socket is gone or about to be */
} mh__conn_state;

struct mh__conn {
    mh_server *srv;
    mh__conn *next, *prev; /* srv->conns */
    int fd;
    uint32_t events; /* what epoll is to report: EPOLLIN, EPOLLOUT, EPOLLRDHUP */
    uint8_t state;   /* mh__conn_state */
    uint8_t why;     /* MH_FINISH_* of what ends it, while it is to be closed */
    bool doomed;     /* to be closed by the run task: mh_req_abort, mh_req_upgrade, a failure */
    bool reset;      /* close with RST, so that a peer can't take a cut response for a whole one */
    bool eof;        /* the peer sent FIN */
    bool last;       /* no request is taken after the one in hand */
    bool linger;     /* drain before closing: the peer may still be sending */
    bool late;       /* the head's deadline passed while its bytes waited to be parsed */
    bool readable;   /* the run task is to call on_readable */
    bool hangup;     /* the run task is to call on_hangup */
    bool on_disk;    /* what is to be sent next is not in memory yet: out_timer looks again */
    bool running;    /* the run task is under way and will look again at what changes now */
    bool is_unix;    /* it is a unix socket, whatever peer is */
    uint16_t listener;
    mh__addr peer;       /* whose requests these are: of the socket, or as a PROXY header has it */
    mh__addr local;      /* our end, once asked for; AF_UNSPEC before */
    const char *proxied; /* mh__proxy_name of its PROXY header; NULL: none has come */
    mh__addr sender;     /* of the socket, if there was one */
    mh__addr proxied_to; /* where it says that the client connected to; AF_UNSPEC: nowhere */
    uint32_t read_left;  /* bytes of this step's read budget */
    uint32_t dropped;    /* bytes thrown away: of an unread body, or while lingering */
    mh__timer in_timer, out_timer;
    mh__task run, flush;
    mh__input in;
    mh__search search;
    mh__outq out;
    mh__rate in_rate, out_rate;
    uint64_t out_taken;   /* of out.sent: what the peer's side had taken when last looked at */
    mh_req *first, *tail; /* exchanges not yet finished, in order */
    size_t kept;          /* bytes that these hold besides their output: heads and structs */
    mh_req *current;      /* the open one, whose answer is owed: the tail, or NULL */
    uint64_t head_at;     /* ns, as mh__loop_ns: when what is there of a head was first seen, or in
                             PROXY when it was accepted */
    uint64_t refused_at;  /* out.queued where the body of a refusal began */
    uint16_t refused;     /* its status, until it has been logged; else 0 */
    mh_req *dropping; /* the tail, if it is answered and the rest of its body is being dropped */
};

/* The promise of docs/design.md: an idle kept-alive connection holds this struct and nothing else.
 */
_Static_assert(sizeof(mh__conn) <= 512, "an idle connection must stay small");

enum mh__res_state { MH__RES_NONE, MH__RES_OPEN, MH__RES_ENDED };

enum { MH__FIELDS_INLINE = 24 }; /* field lines kept in the request itself; more are allocated */

struct mh_req {
    mh__conn *conn; /* NULL once the connection has gone */
    mh_server *srv;
    mh_req *next; /* the exchange after it on the connection */
    void *user;
    uint64_t begun; /* ns, as mh__loop_ns: when its head began to come */
    mh__addr peer;  /* once the connection has gone */
    uint16_t listener;

    /* the request */
    mh__buf *buf;
    const char *p; /* the head's first byte, in buf */
    mh__head head;
    mh__framing framing;
    mh__field *fields;   /* few, or allocated */
    uint64_t body_left;  /* MH__BODY_LENGTH: bytes not yet read */
    uint64_t body_taken; /* decoded bytes handed out */
    mh__chunked chunked;
    int body_error; /* MH_EBODY, MH_ETOOBIG, MH_ECLOSED, or 0 */
    bool body_done;
    bool continued; /* 100 Continue was sent, or is not to be: bytes of the body are there or will
                       come */
    bool waiting;   /* mh_req_read said MH_EAGAIN */
    bool hung_up;   /* on_hangup was called */

    /* the response */
    uint8_t res; /* enum mh__res_state */
    uint16_t
        status;    /* of its head, 0 before that; what stands for it once the exchange has ended */
    bool is_head;  /* the method is HEAD */
    bool bodyless; /* HEAD, 204, 304: body bytes are dropped */
    bool res_chunked;
    bool res_counted; /* a Content-Length was sent: res_left counts down */
    bool full;        /* a write said MH_FULL */
    uint64_t res_left;
    uint64_t body_at; /* out.queued where the response's body began */
    uint64_t end_at;  /* out.queued where it ended */
    uint64_t sent;    /* mh_res_sent once the connection has gone */

    mh__field few[MH__FIELDS_INLINE];
};

/* ---- conn.c ---------------------------------------------------------------------------------- */

/* A connection on an accepted, non-blocking socket, which it owns, also on failure. */
void mh__conn_new(mh_server *srv, int fd, const struct sockaddr_storage *peer, uint16_t listener);
/* Ends all its exchanges, closes the socket and frees it. Never inside a host's callback. */
void mh__conn_close(mh__conn *c, int why);
/* To be closed by a coming step; calls on its exchanges answer MH_ECLOSED from now on. */
void mh__conn_doom(mh__conn *c, int why, bool reset);
/* All is sent and no request follows: closes it, or lingers. */
void mh__conn_end(mh__conn *c);
/* The same after what is queued has been sent. */
void mh__conn_end_after_output(mh__conn *c);
/* A drain closes the idle: this one if it is, else after its exchange. */
void mh__conn_drain(mh__conn *c);
/* Gives the socket away and dooms the connection. Returns the descriptor. */
int mh__conn_detach(mh__conn *c);
/* Changes the state, and with it the deadline on input. */
void mh__conn_set_state(mh__conn *c, mh__conn_state state);
/* Changes what epoll is to report. */
void mh__conn_want(mh__conn *c, uint32_t add, uint32_t drop);

/* The connection whose member, a task or timer, ptr is. */
#define MH__CONN_OF(ptr, member) ((mh__conn *)(void *)((char *)(ptr)-offsetof(mh__conn, member)))

enum { MH__CONN_INPUT = EPOLLIN | EPOLLRDHUP };

/* ---- conn_in.c ------------------------------------------------------------------------------- */

/* The callbacks of its descriptor, its run task and its timer on input. */
void mh__conn_on_io(mh_loop *loop, int fd, uint32_t events, void *user);
void mh__conn_on_run(mh_loop *loop, mh__task *task);
void mh__conn_on_in_timeout(mh_loop *loop, mh__timer *timer);
/* Reads once what the socket has into c->in, for a head to be parsed. May close c: its caller
 * returns. */
void mh__conn_fill(mh__conn *c);
/* Whether bytes wait in the socket. */
bool mh__conn_has_unread(const mh__conn *c);
/* The response of the open exchange has ended. */
void mh__conn_answered(mh__conn *c);
/* More of the body in hand is waited for. False if the peer is too slow. */
bool mh__conn_await_body(mh__conn *c);
/* It waits no more. */
void mh__conn_body_came(mh__conn *c);
/* Reads body bytes from the socket, at most n and this step's share. Returns their number,
 * MH_EAGAIN, or MH_ECLOSED when the peer sent FIN or reset. */
ssize_t mh__conn_recv(mh__conn *c, void *buf, size_t n);
/* The last byte of the open exchange's body has been read. */
void mh__conn_body_complete(mh__conn *c);

/* ---- conn_proxy.c ---------------------------------------------------------------------------- */

/* PROXY: takes the header off the input, and what it says for the connection's. Returns
 * MH__HEAD_WHOLE, MH__HEAD_PART when more is needed, or the status that refuses it: 400, or 403 if
 * the peer may not send one. */
int mh__conn_take_proxy(mh__conn *c);

/* ---- conn_out.c ------------------------------------------------------------------------------ */

/* The callbacks of its flush task and its timer on output. */
void mh__conn_on_flush(mh_loop *loop, mh__task *task);
void mh__conn_on_out_timeout(mh_loop *loop, mh__timer *timer);
/* Whether it holds so much for its peer, in output and in exchanges not yet finished, that the next
 * request has to wait: a client that sends and doesn't read can't grow memory. */
bool mh__conn_is_full(const mh__conn *c);
/* Whether its flush will be brought by EPOLLOUT, since the socket is full, or by out_timer, since
 * the disk is reading what comes next: trying before that is of no use. */
static inline bool mh__conn_waits_to_send(const mh__conn *c) {
    return (c->events & EPOLLOUT) || c->on_disk;
}
/* Something was queued on c->out. */
void mh__conn_written(mh__conn *c);

/* ---- conn_log.c ------------------------------------------------------------------------------ */

/* An exchange ends now, why as for on_finish: its status is final, its peer is kept, and its line
 * is written to the access log, if there is one. req->sent is set. */
void mh__conn_log_exchange(mh__conn *c, mh_req *req, int why);
/* The same for a request that was refused, if there is one that has not been logged, of which the
 * host is told too. */
void mh__conn_log_refused(mh__conn *c, int why);

/* ---- req.c ----------------------------------------------------------------------------------- */

/* The exchange of the head at c->in, parsed into head and srv->fields. NULL: no memory. */
mh_req *mh__req_new(mh__conn *c, const mh__head *head, const mh__framing *framing);
/* on_finish, then frees it. */
void mh__req_finish(mh_req *req, int why);

/* ---- body.c ---------------------------------------------------------------------------------- */

/* Reads and drops body bytes, at most c->read_left: MH_EOS when the body is complete, else as
 * mh_req_read. */
int mh__req_drop_body(mh_req *req);
/* Whether the connection can serve another request after this one, as far as its body goes. */
bool mh__req_body_reusable(const mh_req *req);

/* ---- res.c ----------------------------------------------------------------------------------- */

/* Queues the answer to a request that never reaches the host. Without memory for it, the connection
 * just closes. */
void mh__res_refuse(mh__conn *c, int status, bool is_head);

#endif
