/* A server: what its connections share (handlers, limits, pools, timeout classes), its listeners,
 * and the list of its connections. */
#ifndef MH_SERVER_H
#define MH_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "access.h"
#include "buf.h"
#include "chunked.h"
#include "log.h"
#include "loop.h"
#include "meinheld.h"
#include "network.h"
#include "outq.h"
#include "parser.h"
#include "rate.h"
#include "scan.h"

typedef struct mh__conn mh__conn;
typedef struct mh__listener mh__listener;

struct mh_server {
    mh__child child; /* first: the loop frees its servers through it */
    mh_loop *loop;
    mh_handlers on;
    mh_config cfg; /* server_name points to server_name below; proxy_from is not kept */
    char *server_name;
    mh__network *proxy_from; /* who may send a PROXY header; NULL: nobody, or none is asked for */
    size_t n_proxy_from;
    mh_str server_field; /* server_name, n == 0 to send none */
    mh__limits limits;
    mh__chunk_limits chunk_limits;
    mh__rate_rule rate;

    /* Timeout classes of the loop; first: the first wait of a body or a write has its grace on top.
     */
    struct {
        int head, body, body_first, write, write_first, keepalive, linger, linger_whole,
            accept_rest, accept_calm, disk;
    } cls;

    mh__bufs bufs;
    mh__outq_env out;
    mh__pool conn_pool, req_pool;
    mh__field *fields; /* scratch of limits.fields, for the head being parsed */

    mh__conn *conns; /* doubly linked */
    uint32_t n_conns;
    mh__listener *listeners;  /* in order of listening */
    bool paused;              /* at max_connections: no listener accepts */
    uint64_t accept_failures; /* of the bout of them in hand; 0: none */
    mh__timer accept_calm;    /* while it lasts: for how long none has failed */

    bool draining;
    bool closing_idle; /* it has lasted for cfg.drain_idle: whatever is idle now is closed */
    void (*drained)(mh_server *srv, void *user);
    void *drained_user;
    mh__task drain_task;  /* calls drained from a step */
    uint64_t drain_timer; /* aborts what is still open, by mh_loop_timer; 0: none */
    uint64_t idle_timer;  /* begins closing_idle; 0: none */

    int64_t date_at; /* seconds since 1970 that date shows */
    char date[29];

    bool ended;           /* being freed: no log is opened any more */
    mh__log *log;         /* the access log, NULL: off */
    int log_format;       /* MH_ACCESS_* */
    uint64_t stamp_until; /* ns, as mh__loop_clock_ns: when the second that stamp shows is over */
    size_t stamp_n;
    char stamp[MH__ACCESS_STAMP + MH__SCAN_PAD];
};

/* The Date of this step (RFC 9110 6.6.1). */
mh_str mh__server_date(mh_server *srv);
/* The local time as the access log wants it; now is mh__loop_clock_ns. */
mh_str mh__server_stamp(mh_server *srv, uint64_t now);
/* Calls on_log. The host may do anything in it but free the server, so nothing of what it could end
 * may be in use. */
void mh__server_tell(mh_server *srv, int what, int64_t detail);
/* A connection has gone: maybe accept again, maybe the drain is over. */
void mh__server_conn_gone(mh_server *srv);

/* ---- listen.c -------------------------------------------------------------------------------- */

/* srv->paused has changed: all listeners stop or go on accepting. */
void mh__listeners_update(mh_server *srv);
/* The timer of accept_calm: the bout is over. */
void mh__listeners_calm(mh_loop *loop, mh__timer *timer);
/* Accepts what waits now, before they are closed: a close resets whatever is in the backlog, and
 * its client has been told that it is connected. */
void mh__listeners_take_rest(mh_server *srv);
/* Closes them, and unlinks the unix paths that this process bound. */
void mh__listeners_close(mh_server *srv);

#endif
