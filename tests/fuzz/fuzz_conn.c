/* Whole connections: bytes in, a scripted host, what comes out. The kernel is that of
 * tests/c/kernel.h, so there are no sockets and no time but the script's.
 *
 * The input is, in this order: a byte of flags, a byte that says which allocation fails (0: none),
 * the number of moves and of the host's deeds, a byte each, the moves (two bytes each), the deeds,
 * and then the bytes that the clients send. So "\0\0\0\0" and a request are that request, sent
 * whole, to a host that answers. Where the upper four bits of the flags say so, it has the
 * directory of files.h: the deed of an answer that does not read the body is then one of a file,
 * and of the moves that are a step some do something to the disk. Or else the clients are to send a
 * PROXY header before all else.
 *
 * Whatever the bytes: each exchange is finished once, what was lent comes back, no memory and no
 * descriptor stays behind, the loop comes to rest, and each client has got a sequence of responses
 * that is right to the byte at which it ends, one for each exchange and at most one refusal. What
 * is said to be of a file is. */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "failing.h"
#include "fds.h"
#include "files.h"
#include "kernel.h"
#include "meinheld.h"
#include "response.h"

enum { CLIENTS = 4, PARKED = 32, HEARD = 4096, MOST_STEPS = 200000, STREAM = 200000 };

enum {
    FLAG_SHARED = 1,
    FLAG_SMALL = 2,
    FLAG_NO_KEEPALIVE = 4,
    FLAG_CONNECT = 8,
    KINDS = 0xf0,
    KIND_PROXY = 0x40,
    KIND_FILES = 0x80 /* of KINDS; the others are the same as 0 */
};

/* An exchange that the host has not ended. */
typedef struct parked {
    mh_req *req; /* NULL: a free place */
    bool reading, streaming;
    size_t left; /* of its stream */
} parked;

typedef struct client {
    kernel_client *of;  /* NULL: not connected yet */
    bool heads[HEARD];  /* of each exchange that began: the method was HEAD */
    bool files[HEARD];  /* likewise: answered by mh_res_static */
    size_t begun, done; /* done: handed to the kernel, it is said */
    bool upgraded;
} client;

static struct {
    mh_loop *loop;
    mh_server *srv;
    bool has_files, proxied;
    mh_static *dir; /* NULL: none, or it could not be opened */
    client clients[CLIENTS];
    parked parked[PARKED];
    fuzz_input deeds;
    bool draining, starved, has_cut;
    bool called; /* by the library: in a callback */
    unsigned begun, finished, lent, returned;
} w;

static char filling[STREAM];

/* ---- the host -------------------------------------------------------------------------------- */

/* A result that the host of an exchange in this order may get; anything else is a fault. */
static int allowed(int r) {
    FUZZ_CHECK(r >= 0 || r == MH_ECLOSED || (r == MH_ENOMEM && w.starved));
    return r;
}

static mh_str text(const char *s) { return (mh_str){s, strlen(s)}; }

static void on_returned(void *user) {
    (void)user;
    w.returned++;
}

static void answer(mh_req *req) {
    static const mh_str fields[] = {{"X-Fuzz", 6}, {"yes", 3}};
    if (allowed(mh_res_simple(req, 200, text(""), fields, 1, text("hello"))) < 0) mh_req_abort(req);
}

static void park(mh_req *req, bool reading, size_t stream) {
    for (int i = 0; i < PARKED; i++) {
        if (w.parked[i].req) continue;
        w.parked[i] = (parked){req, reading, stream > 0, stream};
        return;
    }
    mh_req_abort(req);
}

static parked *parked_of(const mh_req *req) {
    for (int i = 0; i < PARKED; i++)
        if (w.parked[i].req == req) return &w.parked[i];
    return NULL;
}

/* Reads the body to its end, and answers then. */
static void read_on(mh_req *req) {
    char buf[700];
    int got;
    while ((got = mh_req_read(req, buf, sizeof buf)) > 0) {}
    parked *at = parked_of(req);
    if (got == MH_EAGAIN) {
        if (!at) park(req, true, 0);
        return;
    }
    if (at) at->req = NULL;
    FUZZ_CHECK(got == MH_EOS || got == MH_EBODY || got == MH_ETOOBIG || got == MH_ECLOSED ||
               (got == MH_ENOMEM && w.starved));
    if (got == MH_EBODY || got == MH_ETOOBIG) {
        FUZZ_CHECK(mh_req_read(req, buf, sizeof buf) == got); /* it stays */
        allowed(mh_res_simple(req, got == MH_EBODY ? 400 : 413, text(""), NULL, 0, text("bad")));
    } else if (got == MH_EOS) {
        answer(req);
    } else {
        mh_req_abort(req);
    }
}

/* Writes until it should wait, or all has been written. */
static void stream_on(mh_req *req, size_t left) {
    int r = MH_OK;
    while (left > 0 && r == MH_OK) {
        size_t n = left < 9000 ? left : 9000;
        r = allowed(mh_res_write(req, filling, n));
        left -= n;
    }
    parked *at = parked_of(req);
    if (r == MH_FULL && left > 0) {
        if (at)
            at->left = left;
        else
            park(req, false, left);
        return;
    }
    if (at) at->req = NULL;
    if (r < 0 || allowed(mh_res_end(req)) < 0) mh_req_abort(req);
}

static void borrow(mh_req *req, size_t n_pieces) {
    const mh_str pieces[] = {{filling, 5000}, {filling, 0}, {filling, 7}};
    int r = mh_res_writev(req, pieces, n_pieces, on_returned, NULL);
    if (r >= 0 || r == MH_ERANGE) w.lent++;
    if (r != MH_ERANGE) allowed(r);
    if (r < 0 && r != MH_ERANGE) mh_req_abort(req);
}

static void file(mh_req *req) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 9000) < 0) abort();
    if (allowed(mh_res_file(req, fd, 100, -1, 1)) < 0) mh_req_abort(req);
}

static client *client_of(const mh_req *req) { return mh_req_user(req); }

/* In the place of one that was opened before, whose answers are on their way. */
static void open_directory(void) {
    static const mh_str fields[] = {{"Cache-Control", 13}, {"no-cache", 8}};
    mh_static_config cfg;
    mh_static_config_init(&cfg);
    cfg.fields = fields;
    cfg.n_fields = 1;
    mh_static_free(w.dir);
    int r = mh_static_new(&w.dir, w.loop, files_directory(), &cfg);
    FUZZ_CHECK(r == MH_OK || (r == MH_ENOMEM && w.starved));
}

/* Answers with a file: the one that the request names below /s, or one of these. */
static void serve(mh_req *req, uint8_t deed) {
    static const char *const names[] = {NULL,    "/big.bin", "mid.bin", "a.txt",    "b.css",
                                        "c.css", "dir",      "/dir/",   "new.txt",  "old.txt",
                                        "",      "out.txt",  "a/%2e",   "empty.txt"};
    const char *name = names[deed % 16 % (sizeof names / sizeof *names)];
    mh_str path = name ? text(name) : (mh_str){NULL, 0};
    if (deed / 16 == 1) open_directory();
    if (!w.dir || (!name && mh_req_below(req, "/s", 2, &path) < 0)) {
        answer(req);
        return;
    }
    if (allowed(mh_res_static(req, w.dir, path)) < 0) {
        bool begun = mh_res_started(req);
        int r = mh_req_abort(req);
        FUZZ_CHECK(!begun || r == MH_ECLOSED); /* then that has been done already */
        return;
    }
    int r = mh_res_end(req);
    FUZZ_CHECK(r == MH_ESTATE || r == MH_ECLOSED); /* it was the whole answer */
    client *c = client_of(req);
    if (c->begun <= HEARD) c->files[c->begun - 1] = true; /* only the last was not answered */
}

static bool head(mh_req *req, int status, int64_t length) {
    if (allowed(mh_res_head(req, status, text(""), NULL, 0, length)) >= 0) return true;
    mh_req_abort(req);
    return false;
}

static void end(mh_req *req) {
    int r = mh_res_end(req);
    if (r != MH_ERANGE) allowed(r); /* short of its length: aborted */
}

/* A host that tries what it must not; nothing of it may show. */
static void misbehave(mh_req *req) {
    static const mh_str injected[] = {{"X", 1}, {"a\r\nY: b", 7}},
                        ours[] = {{"Connection", 10}, {"x", 1}};
    FUZZ_CHECK(mh_res_head(req, 200, text(""), injected, 1, 0) == MH_EINVAL);
    FUZZ_CHECK(mh_res_head(req, 200, text(""), ours, 1, 0) == MH_EINVAL);
    FUZZ_CHECK(mh_res_head(req, 99, text(""), NULL, 0, 0) == MH_EINVAL);
    FUZZ_CHECK(mh_res_write(req, "x", 1) == MH_ESTATE);
    FUZZ_CHECK(mh_res_end(req) == MH_ESTATE);
    if (w.called) FUZZ_CHECK(mh_loop_step(w.loop, 0) == MH_ESTATE);
    answer(req);
}

static void upgrade(mh_req *req) {
    static char rest[65536 * 4];
    size_t n = sizeof rest;
    int fd = mh_req_upgrade(req, rest, &n);
    if (fd == MH_EAGAIN || fd == MH_ESTATE || fd == MH_EINVAL) {
        answer(req);
        return;
    }
    if (allowed(fd) < 0) return;
    client_of(req)->upgraded = true;
    close(fd);
}

static void on_drained(mh_server *srv, void *user) {
    (void)srv;
    (void)user;
}

static void write_parts(mh_req *req, uint8_t deed) {
    switch (deed % 8) {
    case 0: /* chunked, or until close */
        if (!head(req, 200, MH_LENGTH_UNKNOWN)) return;
        allowed(mh_res_write(req, "one", 3));
        allowed(mh_res_write(req, "", 0));
        borrow(req, 1 + deed / 8 % 3);
        break;
    case 1: /* too much */
        if (!head(req, 200, 10)) return;
        borrow(req, 3);
        break;
    case 2: /* too little, unless it has no body */
        if (!head(req, 200, 10)) return;
        allowed(mh_res_write(req, "12345", 5));
        break;
    case 3:
        if (!head(req, deed & 8 ? 204 : 304, MH_LENGTH_UNKNOWN)) return;
        allowed(mh_res_write(req, "not sent", 8));
        break;
    case 4:
        if (!head(req, 200, deed & 8 ? 8900 : MH_LENGTH_UNKNOWN)) return;
        file(req);
        break;
    case 5:
        if (!head(req, 200, deed & 8 ? STREAM : MH_LENGTH_UNKNOWN)) return;
        stream_on(req, STREAM);
        return;
    case 6:
        allowed(mh_res_inform(req, 103, NULL, 0));
        answer(req);
        return;
    default:
        if (head(req, 200, MH_LENGTH_UNKNOWN))
            park(req, false, 0); /* open, and nothing follows yet */
        return;
    }
    end(req);
}

static void act(mh_req *req, uint8_t deed) {
    switch (deed % 8) {
    case 0:
        read_on(req);
        break;
    case 1: /* its body is not read */
        if (w.has_files)
            serve(req, deed / 8);
        else
            answer(req);
        break;
    case 2:
        park(req, false, 0);
        break;
    case 3:
        mh_req_abort(req);
        break;
    case 4:
        misbehave(req);
        break;
    case 5:
        upgrade(req);
        break;
    case 6:
        write_parts(req, deed / 8);
        break;
    default:
        if (!w.draining) mh_server_drain(w.srv, 500, on_drained, NULL);
        w.draining = true;
        answer(req);
        break;
    }
}

/* What to do with the one that was parked at `which` (of those there are). */
static void act_on_parked(unsigned which) {
    parked *at = &w.parked[which % PARKED];
    mh_req *req = at->req;
    if (!req) return;
    if (at->streaming) {
        stream_on(req, at->left);
        return;
    }
    at->req = NULL;
    if (mh_res_started(req)) {
        allowed(mh_res_write(req, "late", 4));
        end(req);
    } else {
        act(req, fuzz_byte(&w.deeds));
    }
}

/* Whose request it is: its socket's peer, whoever the PROXY header says that this is. */
static client *find_client(const mh_req *req) {
    char host[64];
    uint16_t port;
    FUZZ_CHECK(mh_req_peer(req, host, sizeof host, &port) >= 0);
    FUZZ_CHECK((mh_req_proxy_protocol(req) != NULL) == w.proxied);
    if (w.proxied) {
        FUZZ_CHECK(mh_req_proxy_to(req, host, sizeof host, &port) >= 0);
        FUZZ_CHECK(mh_req_proxy_sender(req, host, sizeof host, &port) > 0);
    }
    return &w.clients[port - kernel_port(w.clients[0].of)];
}

static void on_request(mh_req *req, void *user) {
    client *c = find_client(req);
    mh_str method = mh_req_method(req);
    (void)user;
    mh_req_set_user(req, c);
    w.begun++;
    FUZZ_CHECK(!c->upgraded);
    if (c->begun < HEARD) c->heads[c->begun] = wire_same(method.p, method.n, "HEAD");
    c->begun++;
    w.called = true;
    act(req, fuzz_byte(&w.deeds));
    w.called = false;
}

static void on_readable(mh_req *req, void *user) {
    (void)user;
    parked *at = parked_of(req);
    if (at && at->reading) read_on(req);
}

static void on_writable(mh_req *req, void *user) {
    (void)user;
    parked *at = parked_of(req);
    if (at && at->streaming) stream_on(req, at->left);
}

static void on_hangup(mh_req *req, void *user) {
    (void)user;
    if (fuzz_byte(&w.deeds) % 4 == 3) mh_req_abort(req);
}

static void on_finish(mh_req *req, int why, void *user) {
    (void)user;
    parked *at = parked_of(req);
    if (at) at->req = NULL;
    w.finished++;
    client_of(req)->done += why == MH_FINISH_DONE;
    FUZZ_CHECK(why != MH_FINISH_FILE || w.has_cut);
}

/* ---- the clients and their moves ------------------------------------------------------------- */

static void step(void) {
    int r = mh_loop_step(w.loop, 0);
    FUZZ_CHECK(r >= 0);
}

/* Steps until nothing happens any more; the clients take what comes, if they read. */
static void quiet(bool reading) {
    for (int idle = 0, steps = 0; idle < 3; steps++) {
        bool moved = mh_loop_step(w.loop, 0) > 0;
        for (int i = 0; reading && i < CLIENTS; i++)
            if (w.clients[i].of) moved |= kernel_take(w.clients[i].of, SIZE_MAX) > 0;
        idle = moved ? 0 : idle + 1;
        FUZZ_CHECK(steps < MOST_STEPS); /* it spins */
    }
}

static void move(uint8_t kind, uint8_t n, fuzz_input *wire) {
    client *c = &w.clients[kind / 16 % CLIENTS];
    if (!c->of) return;
    switch (kind % 16) {
    case 0:
    case 1: { /* some bytes, and a step, so that they are read by themselves */
        size_t most = kind % 16 == 0 ? n : (size_t)n * 64;
        if (most > fuzz_left(wire)) most = fuzz_left(wire);
        kernel_send(c->of, wire->p, most);
        wire->p += most;
        step();
        break;
    }
    case 2:
        quiet(false);
        break;
    case 3:
        kernel_window(c->of, (size_t)n * 100);
        break;
    case 4:
        kernel_take(c->of, (size_t)n * 10);
        break;
    case 5:
        kernel_pass_ms((uint64_t)n * 100);
        step();
        break;
    case 6:
        kernel_shut(c->of);
        break;
    case 7:
        kernel_leave(c->of);
        break;
    case 8:
        kernel_reset(c->of);
        break;
    case 9:
        act_on_parked(n);
        break;
    case 10:
        FUZZ_CHECK(mh_loop_flush(w.loop) == MH_OK);
        break;
    default:
        if (w.has_files && kind % 16 == 11) kernel_disk_busy(n % 2 == 1);
        if (w.has_files && kind % 16 == 12) {
            files_cut_big(n % 2 == 1);
            w.has_cut = true;
        }
        step();
        break;
    }
}

/* ---- what came out --------------------------------------------------------------------------- */

/* All that c has got: whole responses up to the one that is cut. Returns how many of its exchanges
 * have got a whole one. */
static size_t check_responses(const client *c) {
    size_t n, final = 0, whole = 0;
    const char *p = kernel_taken(c->of, &n);
    bool over = false;
    while (n > 0) {
        response r;
        FUZZ_CHECK(!over); /* nothing follows a response that said close */
        size_t head_n = read_head(&r, p, n);
        if (head_n == 0) return whole;
        p += head_n;
        n -= head_n;
        FUZZ_CHECK(final <= c->begun);
        if (r.status < 200) {
            FUZZ_CHECK(r.length < 0 && !r.chunked && final < c->begun);
            continue;
        }
        bool refused = final == c->begun; /* no exchange began */
        bool to_head = !refused && final < HEARD && c->heads[final];
        bool of_file = !refused && final < HEARD && c->files[final];
        FUZZ_CHECK(!refused || (r.close && r.status >= 400));
        FUZZ_CHECK(!(r.chunked && r.length >= 0));
        final++;
        over = r.close;
        size_t body = 0;
        if (to_head || r.status == 204 || r.status == 304) {
            if (r.status == 204) FUZZ_CHECK(r.length < 0 && !r.chunked);
        } else if (refused && r.length >= 0 && n == 0) { /* a refused HEAD */
        } else if (r.chunked) {
            body = chunked_length(p, n);
        } else if (r.length >= 0) {
            body = (size_t)r.length;
        } else {
            FUZZ_CHECK(r.close);
            body = n;
        }
        FUZZ_CHECK(!of_file || !to_head || r.range.n == 0); /* RFC 9110 14.2: of GET alone */
        if (of_file)
            files_check(r.status, r.type, r.range, (uint64_t)r.length,
                        (mh_str){p, body < n ? body : n});
        if (body > n) return whole;
        p += body;
        n -= body;
        whole += !refused;
    }
    return whole;
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void set_up(failing *mem, uint8_t flags) {
    mh_loop_config loop_cfg;
    mh_config cfg;
    mh_handlers on;
    failing_config(mem, &loop_cfg);
    mh_config_init(&cfg);
    if (flags & FLAG_SMALL) {
        cfg.max_request_line = 64;
        cfg.max_head = 512;
        cfg.max_fields = 8;
        cfg.max_body = 300;
        cfg.high_water = 600;
        cfg.low_water = 100;
        cfg.step_read = 97;
        cfg.step_write = 101;
        cfg.step_requests = 2;
        cfg.linger_max = cfg.unread_max = 200;
        cfg.max_connections = 3;
        cfg.accept_batch = 1;
        cfg.drain_idle = 0;
    }
    if (w.proxied) {
        cfg.proxy_protocol = MH_PROXY_AUTO;
        cfg.proxy_from = flags & FLAG_CONNECT ? "10.0.0.0/8" : "127.0.0.0/8";
    }
    if (flags & FLAG_NO_KEEPALIVE) cfg.keepalive_timeout = 0;
    cfg.accept_connect = (flags & FLAG_CONNECT) != 0;
    mh_handlers_init(&on);
    on.on_request = on_request;
    on.on_readable = on_readable;
    on.on_writable = on_writable;
    on.on_hangup = on_hangup;
    on.on_finish = on_finish;
    FUZZ_CHECK(mh_loop_new(&w.loop, &loop_cfg) == MH_OK);
    FUZZ_CHECK(mh_server_new(&w.srv, w.loop, &on, &cfg) == MH_OK);
    FUZZ_CHECK(mh_server_listen_fd(w.srv, kernel_listen(), 1) == MH_OK);
    if (flags & FLAG_SHARED) FUZZ_CHECK(mh_loop_fd(w.loop) >= 0);
    if (w.has_files) open_directory();
}

static fuzz_input take(fuzz_input *in, size_t n) {
    if (n > fuzz_left(in)) n = fuzz_left(in);
    fuzz_input part = {in->p, in->p + n};
    in->p += n;
    return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input wire = fuzz_input_of(data, size);
    uint8_t flags = fuzz_byte(&wire), starve = fuzz_byte(&wire);
    uint8_t n_moves = fuzz_byte(&wire), n_deeds = fuzz_byte(&wire);
    fuzz_input moves = take(&wire, (size_t)n_moves * 2);
    failing mem;
    memset(&w, 0, sizeof w);
    w.has_files = (flags & KINDS) == KIND_FILES;
    w.proxied = (flags & KINDS) == KIND_PROXY;
    if (w.has_files) files_directory(); /* it stays open */
    int fds = count_fds();
    w.deeds = take(&wire, n_deeds);
    kernel_start();
    set_up(&mem, flags);
    w.starved = starve > 0;
    failing_at(&mem, starve);
    for (int i = 0; i < (n_moves > 0 ? CLIENTS : 1); i++)
        w.clients[i].of = kernel_connect();
    while (fuzz_left(&moves) > 0) {
        uint8_t kind = fuzz_byte(&moves);
        move(kind, fuzz_byte(&moves), &wire);
    }
    kernel_send(w.clients[0].of, wire.p, fuzz_left(&wire));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CLIENTS; i++)
            if (w.clients[i].of) kernel_window(w.clients[i].of, 1 << 20);
        quiet(true);
        for (unsigned i = 0; i < PARKED; i++)
            act_on_parked(i);
    }
    for (uint64_t ms = 1; ms < 200000; ms *= 4) { /* every deadline comes, none is missed */
        kernel_pass_ms(ms);
        quiet(true);
    }
    for (int i = 0; i < CLIENTS; i++)
        if (w.clients[i].of && !w.clients[i].upgraded)
            FUZZ_CHECK(check_responses(&w.clients[i]) >= w.clients[i].done);
    mh_loop_free(w.loop);
    FUZZ_CHECK(w.finished == w.begun);
    FUZZ_CHECK(w.returned == w.lent);
    FUZZ_CHECK(mem.blocks == 0);
    FUZZ_CHECK(kernel_stop() == 0);
    files_cut_big(false);
    FUZZ_CHECK(count_fds() == fds);
    return 0;
}
