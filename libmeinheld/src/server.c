/* A server: configuration, what its connections share, draining, and the end. */
#include "server.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "conn.h"
#include "date.h"
#include "head.h"
#include "sized.h"

enum { CONNS_KEPT = 256, REQS_KEPT = 256, CHUNK_EXT_MOST = 4096 /* row 17 of docs/http.md */ };
enum { ACCEPT_CALM = 5000 /* ms; as meinheld.h says of MH_LOG_ACCEPT_GOES_ON */ };

void mh_handlers_init_sized(mh_handlers *h, size_t size) {
    const mh_handlers none = {.size = size};
    mh__sized_fill(h, size, &none, sizeof none);
}

void mh_config_init_sized(mh_config *cfg, size_t size) {
    const mh_config defaults = {
        .size = size,
        .max_connections = 100000,
        .max_request_line = 8192,
        .max_head = 32768,
        .max_fields = 100,
        .max_body = 16 << 20,
        .head_timeout = 10000,
        .body_timeout = 30000,
        .write_timeout = 60000,
        .keepalive_timeout = 5000,
        .min_rate = 240,
        .rate_window = 10000,
        .rate_grace = 5000,
        .linger_timeout = 2000,
        .linger_time = 30000,
        .linger_max = 64 << 20,
        .unread_max = 1 << 20,
        .high_water = 65536,
        .low_water = 16384,
        .step_read = 262144,
        .step_write = 262144,
        .step_requests = 16,
        .accept_batch = 64,
        .accept_pause = 100,
        .server_name = "meinheld/" MH_VERSION,
        .proxy_protocol = MH_PROXY_OFF,
        .proxy_from = "127.0.0.1, ::1",
        .drain_idle = 2000,
    };
    mh__sized_fill(cfg, size, &defaults, sizeof defaults);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* Heads, bodies and buffers are counted in 32 bits, with room to double. */
enum { LIMIT_MOST = 1 << 28 };

static bool in_range(uint32_t value, uint32_t least, uint32_t most) {
    return value >= least && value <= most;
}

static bool config_is_sound(const mh_config *cfg) {
    return in_range(cfg->max_connections, 1, UINT32_MAX) &&
           in_range(cfg->max_request_line, 16, LIMIT_MOST) &&
           in_range(cfg->max_head, 16, LIMIT_MOST) && in_range(cfg->max_fields, 1, UINT16_MAX) &&
           in_range(cfg->max_field, 0, LIMIT_MOST) && cfg->max_body <= INT64_MAX &&
           cfg->head_timeout > 0 && cfg->body_timeout > 0 && cfg->write_timeout > 0 &&
           cfg->linger_timeout > 0 && cfg->linger_time > 0 &&
           (cfg->min_rate == 0 || cfg->rate_window > 0) &&
           in_range(cfg->linger_max, 0, LIMIT_MOST) && in_range(cfg->unread_max, 0, LIMIT_MOST) &&
           in_range(cfg->high_water, 1, UINT32_MAX) && cfg->low_water <= cfg->high_water &&
           cfg->step_read > 0 && cfg->step_write > 0 && cfg->step_requests > 0 &&
           cfg->accept_batch > 0 && cfg->accept_pause > 0 && cfg->server_name &&
           cfg->proxy_protocol >= MH_PROXY_OFF && cfg->proxy_protocol <= MH_PROXY_AUTO &&
           cfg->proxy_from;
}

/* Who may send a PROXY header, from cfg's text. */
static int read_proxy_from(mh_server *srv) {
    const char *text = srv->cfg.proxy_from;
    int n = mh__networks_read(NULL, text);
    srv->cfg.proxy_from = NULL;
    if (n <= 0 || !srv->cfg.proxy_protocol) return n < 0 ? n : MH_OK;
    srv->proxy_from = mh__mem_alloc(mh__loop_mem(srv->loop), (size_t)n * sizeof *srv->proxy_from);
    if (!srv->proxy_from) return MH_ENOMEM;
    srv->n_proxy_from = (size_t)mh__networks_read(srv->proxy_from, text);
    return MH_OK;
}

static int copy_config(mh_server *srv, const mh_config *cfg) {
    mh_config_init(&srv->cfg);
    if (cfg) {
        if (cfg->size < sizeof *cfg) return MH_EINVAL; /* less than the first version's */
        srv->cfg = *cfg;
    }
    if (!config_is_sound(&srv->cfg)) return MH_EINVAL;
    size_t n = strlen(srv->cfg.server_name);
    const mh_str field[] = {{"Server", 6}, {srv->cfg.server_name, n}};
    mh__head_plan plan = {.status = 200, .reason = {"", 0}, .fields = field, .n = 1};
    if (mh__head_check(&plan, 0) < 0) return MH_EINVAL;
    srv->server_name = mh__mem_alloc(mh__loop_mem(srv->loop), n + 1);
    if (!srv->server_name) return MH_ENOMEM;
    memcpy(srv->server_name, srv->cfg.server_name, n + 1);
    srv->cfg.server_name = srv->server_name;
    srv->server_field = (mh_str){srv->server_name, n};
    return read_proxy_from(srv);
}

static int make_classes(mh_server *srv) {
    const mh_config *cfg = &srv->cfg;
    const struct {
        int *cls;
        uint32_t ms;
    } all[] = {
        {&srv->cls.head, cfg->head_timeout},
        {&srv->cls.body, mh__rate_patience(&srv->rate, cfg->body_timeout, false)},
        {&srv->cls.body_first, mh__rate_patience(&srv->rate, cfg->body_timeout, true)},
        {&srv->cls.write, mh__rate_patience(&srv->rate, cfg->write_timeout, false)},
        {&srv->cls.write_first, mh__rate_patience(&srv->rate, cfg->write_timeout, true)},
        {&srv->cls.keepalive, cfg->keepalive_timeout},
        {&srv->cls.linger, cfg->linger_timeout},
        {&srv->cls.linger_whole, cfg->linger_time},
        {&srv->cls.accept_rest, cfg->accept_pause},
        {&srv->cls.disk, 1},
        {&srv->cls.accept_calm, ACCEPT_CALM},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].cls = mh__loop_class(srv->loop, all[i].ms);
        if (*all[i].cls < 0) return *all[i].cls;
    }
    return MH_OK;
}

static void free_memory(mh_server *srv) {
    mh__mem *mem = mh__loop_mem(srv->loop);
    mh_server_trim(srv);
    mh__mem_free(mem, srv->fields);
    mh__mem_free(mem, srv->server_name);
    mh__mem_free(mem, srv->proxy_from);
    mh__mem_free(mem, srv);
}

/* Ends the access log. In a forked child the lines are the parent's to write. */
static void close_log(mh_server *srv) {
    bool ours = mh__loop_is_ours(srv->loop);
    uint64_t lost = mh__log_close(srv->log, ours);
    srv->log = NULL;
    srv->ended = true;
    if (ours && lost > 0) mh__server_tell(srv, MH_LOG_LINES_GO_ON, (int64_t)lost);
}

static void cancel_timers(mh_server *srv) {
    if (srv->drain_timer) mh_loop_cancel(srv->loop, srv->drain_timer);
    if (srv->idle_timer) mh_loop_cancel(srv->loop, srv->idle_timer);
    srv->drain_timer = srv->idle_timer = 0;
}

/* Ends everything; the loop does it too, for servers that are left when it is freed. */
static void destroy(mh__child *child) {
    mh_server *srv = (mh_server *)(void *)child;
    srv->draining = true;
    srv->drained = NULL;
    mh__listeners_close(srv);
    while (srv->conns)
        mh__conn_close(srv->conns, MH_FINISH_ABORTED);
    cancel_timers(srv);
    mh__task_cancel(&srv->drain_task);
    close_log(srv);
    mh__loop_disown(child);
    free_memory(srv);
}

static void on_drained(mh_loop *loop, mh__task *task) {
    mh_server *srv = (mh_server *)(void *)((char *)task - offsetof(mh_server, drain_task));
    void (*done)(mh_server *, void *) = srv->drained;
    (void)loop;
    srv->drained = NULL;
    cancel_timers(srv);
    if (srv->log) mh__log_flush(srv->log);
    if (done) done(srv, srv->drained_user);
}

int mh_server_new(mh_server **out, mh_loop *loop, const mh_handlers *handlers,
                  const mh_config *cfg) {
    *out = NULL;
    if (!handlers || handlers->size < sizeof *handlers || !handlers->on_request) return MH_EINVAL;
    mh__mem *mem = mh__loop_mem(loop);
    mh_server *srv = mh__mem_zalloc(mem, sizeof *srv);
    if (!srv) return MH_ENOMEM;
    srv->loop = loop;
    srv->child.free = destroy;
    srv->drain_task.fn = on_drained;
    srv->accept_calm.fn = mh__listeners_calm;
    srv->on = *handlers;
    mh__bufs_init(&srv->bufs, mem);
    mh__outq_env_init(&srv->out, mem, mh__loop_sigpipe_ignored(loop));
    mh__pool_init(&srv->conn_pool, mem, sizeof(mh__conn), CONNS_KEPT);
    mh__pool_init(&srv->req_pool, mem, sizeof(mh_req), REQS_KEPT);
    int error = copy_config(srv, cfg);
    if (error < 0) goto fail;
    const mh_config *c = &srv->cfg;
    srv->limits = (mh__limits){c->max_request_line, c->max_head, c->max_fields, c->max_field};
    srv->chunk_limits = (mh__chunk_limits){CHUNK_EXT_MOST, c->max_head, c->max_fields};
    srv->rate = (mh__rate_rule){c->min_rate, c->rate_window, c->rate_grace};
    error = make_classes(srv);
    if (error < 0) goto fail;
    srv->fields = mh__mem_alloc(mem, c->max_fields * sizeof *srv->fields);
    error = MH_ENOMEM;
    if (!srv->fields) goto fail;
    mh__loop_adopt(loop, &srv->child);
    *out = srv;
    return MH_OK;
fail:
    free_memory(srv);
    return error;
}

int mh_server_free(mh_server *srv) {
    if (!srv) return MH_OK;
    mh_loop *loop = srv->loop;
    if (mh__loop_in_step(loop)) return MH_ESTATE;
    mh__loop_begin(loop);
    destroy(&srv->child);
    mh__loop_end(loop);
    return MH_OK;
}

/* ---- draining -------------------------------------------------------------------------------- */

static void close_idle(mh_server *srv) {
    srv->closing_idle = true;
    for (mh__conn *c = srv->conns; c; c = c->next)
        mh__conn_drain(c);
}

static void on_idle_over(mh_loop *loop, void *user) {
    mh_server *srv = user;
    (void)loop;
    srv->idle_timer = 0;
    close_idle(srv);
}

/* Where nothing is owed there is nothing that a peer could take for a whole answer. */
static void drain_late(mh_loop *loop, void *user) {
    mh_server *srv = user;
    (void)loop;
    srv->drain_timer = 0;
    for (mh__conn *c = srv->conns; c; c = c->next)
        mh__conn_doom(c, MH_FINISH_ABORTED, c->first || c->out.head);
}

static int arm_timers(mh_server *srv, uint32_t timeout_ms) {
    uint32_t idle_ms = srv->cfg.drain_idle;
    int error = MH_OK;
    if (timeout_ms > 0)
        error = mh_loop_timer(srv->loop, timeout_ms, drain_late, srv, &srv->drain_timer);
    if (error == MH_OK && idle_ms > 0)
        error = mh_loop_timer(srv->loop, idle_ms, on_idle_over, srv, &srv->idle_timer);
    if (error < 0) cancel_timers(srv);
    return error;
}

int mh_server_drain(mh_server *srv, uint32_t timeout_ms, void (*done)(mh_server *, void *),
                    void *user) {
    if (srv->draining) return MH_ESTATE;
    int error = arm_timers(srv, timeout_ms);
    if (error < 0) return error;
    mh__listeners_take_rest(srv);
    srv->draining = true;
    srv->drained = done;
    srv->drained_user = user;
    mh__listeners_close(srv);
    if (!srv->idle_timer) close_idle(srv);
    if (srv->n_conns == 0) mh__loop_run_task(srv->loop, &srv->drain_task);
    return MH_OK;
}

/* ---- the access log -------------------------------------------------------------------------- */

static void on_trouble(void *user, int error, uint64_t lost) {
    if (error)
        mh__server_tell(user, MH_LOG_LINES_STUCK, error);
    else
        mh__server_tell(user, MH_LOG_LINES_GO_ON, (int64_t)lost);
}

int mh_server_access_log(mh_server *srv, int fd, int format) {
    if (srv->ended) return MH_ESTATE;
    if (fd < -1 || format < MH_ACCESS_COMBINED || format > MH_ACCESS_LINES) return MH_EINVAL;
    if (fd == -1) {
        mh__log_close(srv->log, true);
        srv->log = NULL;
        return MH_OK;
    }
    int error = srv->log ? mh__log_move(srv->log, fd)
                         : mh__log_open(&srv->log, srv->loop, fd, MH__ACCESS_MOST, on_trouble, srv);
    if (error < 0) return error;
    srv->log_format = format;
    srv->stamp_until = 0;
    return MH_OK;
}

int mh_server_log_line(mh_server *srv, const char *p, size_t n) {
    if (!srv->log) return MH_ESTATE;
    if (n >= MH__ACCESS_MOST || memchr(p, '\n', n)) return MH_EINVAL;
    char *at = mh__log_room(srv->log);
    if (!at) return MH_EAGAIN;
    memcpy(at, p, n);
    at[n] = '\n';
    mh__log_commit(srv->log, n + 1);
    return MH_OK;
}

/* Most lines need no look at the wall clock: how long its second lasts is told by the other. */
mh_str mh__server_stamp(mh_server *srv, uint64_t now) {
    if (now >= srv->stamp_until) {
        struct timespec wall;
        clock_gettime(CLOCK_REALTIME_COARSE, &wall);
        srv->stamp_until = now + 1000000000u - (uint64_t)wall.tv_nsec;
        srv->stamp_n = mh__access_stamp(srv->stamp, srv->log_format, wall.tv_sec);
    }
    return (mh_str){srv->stamp, srv->stamp_n};
}

void mh__server_tell(mh_server *srv, int what, int64_t detail) {
    if (srv->on.on_log) srv->on.on_log(srv, what, detail, srv->on.user);
}

/* ---- for the connections --------------------------------------------------------------------- */

mh_str mh__server_date(mh_server *srv) {
    int64_t now = mh__loop_wall(srv->loop);
    if (now != srv->date_at) {
        srv->date_at = now;
        mh__date_write(srv->date, now);
    }
    return (mh_str){srv->date, sizeof srv->date};
}

void mh__server_conn_gone(mh_server *srv) {
    srv->n_conns--;
    if (srv->draining) {
        if (srv->n_conns > 0) return;
        if (srv->drained || srv->drain_timer || srv->idle_timer)
            mh__loop_run_task(srv->loop, &srv->drain_task);
    } else if (srv->paused && srv->n_conns < srv->cfg.max_connections) {
        srv->paused = false;
        mh__listeners_update(srv);
    }
}

uint32_t mh_server_connections(const mh_server *srv) { return srv->n_conns; }

void mh_server_trim(mh_server *srv) {
    mh__bufs_clear(&srv->bufs);
    mh__outq_env_clear(&srv->out);
    mh__pool_clear(&srv->conn_pool);
    mh__pool_clear(&srv->req_pool);
}
