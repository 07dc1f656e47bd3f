/* A connection's PROXY header: from the first bytes of its input to whose requests those are that
 * follow. It comes once, before the first of them (row 46 of docs/http.md and those behind it). */
#include "conn.h"
#include "network.h"
#include "proxy.h"

/* Whoever can open a unix socket may speak for others: its mode says who that is. */
static bool may_speak_for_others(const mh__conn *c) {
    const mh_server *srv = c->srv;
    return c->is_unix || mh__networks_have(srv->proxy_from, srv->n_proxy_from, &c->peer);
}

int mh__conn_take_proxy(mh__conn *c) {
    mh__proxy header;
    uint32_t n = mh__input_n(&c->in);
    if (n == 0) return MH__HEAD_PART;
    if (!may_speak_for_others(c)) return 403;
    int size = mh__proxy_read(&header, c->srv->cfg.proxy_protocol, mh__input_at(&c->in), n);
    if (size <= 0) return size == 0 ? MH__HEAD_PART : 400;
    c->in.pos += (uint32_t)size;
    c->proxied = mh__proxy_name(&header);
    c->proxied_to = header.to;
    c->sender = c->peer;
    if (header.from.family != AF_UNSPEC) c->peer = header.from;
    return MH__HEAD_WHOLE;
}
