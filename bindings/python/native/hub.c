/* A run: a loop, the server on it, its timers and watches, and the step that hands Python a
 * batch. */
#include "mhpy.h"

#include <stdlib.h>
#include <string.h>

typedef struct timer {
    mhpy *hub;
    uint64_t id; /* the loop's */
    int64_t name;
} timer;

enum { TABLES = sizeof(((mhpy *)0)->seen) / sizeof(mhpy__seen) };

/* The C library's allocator, counted. No lock: other threads wake the loop, but never post. */
static void *allocate(void *p, size_t n, void *user) {
    mhpy *hub = user;
    if (n == 0) {
        hub->blocks -= p != NULL;
        free(p);
        return NULL;
    }
    void *block = realloc(p, n);
    if (block && !p) hub->blocks++;
    return block;
}

static int configure(mhpy *hub, const mhpy_options *options) {
    mh_loop_config loop_config;
    mh_loop_config_init(&loop_config);
    loop_config.alloc = allocate;
    loop_config.alloc_user = hub;
    loop_config.initial_fds = options->initial_fds;
    loop_config.sigpipe_ignored = options->sigpipe_ignored;
    int rc = mh_loop_new(&hub->loop, &loop_config);
    if (rc < 0) return rc;

    hub->high_water = options->config.high_water;
    hub->proxied = options->config.proxy_protocol != MH_PROXY_OFF;
    mh_handlers on;
    mhpy__handlers(&on, hub);
    return mh_server_new(&hub->srv, hub->loop, &on, &options->config);
}

void mhpy_options_init(mhpy_options *options) {
    mh_loop_config loop_config;
    mh_loop_config_init(&loop_config);
    *options = (mhpy_options){.initial_fds = loop_config.initial_fds};
    mh_config_init(&options->config);
}

int mhpy_new(mhpy **out, const mhpy_options *options) {
    *out = NULL;
    mhpy *hub = calloc(1, sizeof *hub);
    if (!hub) return MH_ENOMEM;
    int rc = MH_ESYS;
    hub->hash_key = mhpy__hash_key();
    if (!hub->hash_key) goto fail;
    rc = configure(hub, options);
    if (rc < 0) goto fail;
    rc = MH_ENOMEM;
    if (!mhpy__reserve(hub, 0, 0)) goto fail;
    *out = hub;
    return MH_OK;

fail:
    mhpy_free(hub);
    return rc;
}

void mhpy_free(mhpy *hub) {
    if (!hub) return;
    mhpy__mail_close(hub->mail);
    mh_loop_free(hub->loop); /* the server too; what its callbacks append is thrown away */
    mhpy_mail_drop(hub->mail);
    for (uint32_t i = 0; i < hub->timers.n; i++)
        free(hub->timers.slots[i].thing);
    free(hub->timers.slots);
    free(hub->requests.slots);
    for (size_t i = 0; i < TABLES; i++)
        mhpy__seen_clear(&hub->seen[i]);
    mhpy__statics_clear(hub);
    mhpy__events_clear(&hub->ev);
    free(hub->names);
    free(hub->fields);
    free(hub->wildcard);
    free(hub);
}

int mhpy_errno(const mhpy *hub) { return hub ? mh_loop_errno(hub->loop) : 0; }

int mhpy_listen(mhpy *hub, int fd, int wildcard) {
    if (!hub) return MH_ECLOSED;
    bool *grown = realloc(hub->wildcard, (hub->listeners + 1) * sizeof *grown);
    if (!grown) return MH_ENOMEM;
    hub->wildcard = grown;
    int rc = mh_server_listen_fd(hub->srv, fd, 0);
    if (rc < 0) return rc;
    hub->wildcard[hub->listeners++] = wildcard != 0;
    return MH_OK;
}

/* Hands out what has been appended; later events begin at the front again, when Python has
 * copied these. */
static int hand_out(mhpy *hub, mhpy_batch *batch) {
    mhpy__events *ev = &hub->ev;
    int n = (int)ev->n;
    *batch = (mhpy_batch){ev->ints, ev->text ? ev->text : "", ev->text_n, ev->pieces};
    ev->n = 0;
    ev->text_n = 0;
    ev->pieces = 0;
    return n;
}

int mhpy_step(mhpy *hub, int timeout_ms, mhpy_batch *batch) {
    if (!hub) return MH_ECLOSED;
    int rc;
    do {
        /* What sending brings must not wait for what the step waits for. */
        mh_loop_flush(hub->loop);
        rc = mh_loop_step(hub->loop, hub->ev.n ? 0 : mhpy__mail_timeout(hub, timeout_ms));
        /* What threads have answered leaves before Python is asked, which may have to wait for its
         * lock. */
        mhpy_mail_deliver(hub);
        if (hub->ev.lost) return MH_ENOMEM;
        if (__atomic_exchange_n(&hub->woken, 0, __ATOMIC_ACQ_REL)) break;
    } while (rc >= 0 && timeout_ms < 0 && hub->ev.n == 0);
    /* A signal is Python's to handle once this returns; another error comes again if there are
     * events first. */
    if (rc < 0 && rc != MH_EINTR && hub->ev.n == 0) return rc;
    return hand_out(hub, batch);
}

void mhpy_forget(mhpy *hub) {
    if (!hub) return;
    for (size_t i = 0; i < TABLES; i++)
        mhpy__seen_clear(&hub->seen[i]);
    memset(&hub->peers, 0, sizeof hub->peers);
}

int mhpy_wakeup(mhpy *hub) {
    if (!hub) return MH_ECLOSED;
    __atomic_store_n(&hub->woken, 1, __ATOMIC_RELEASE);
    return mh_loop_wakeup(hub->loop);
}

static void on_drained(mh_server *srv, void *user) {
    mhpy *hub = user;
    (void)srv;
    mhpy__event(&hub->ev, MHPY_DRAINED, 0, 0, 0);
}

int mhpy_drain(mhpy *hub, uint32_t timeout_ms) {
    if (!hub) return MH_ECLOSED;
    return mh_server_drain(hub->srv, timeout_ms, on_drained, hub);
}

static void on_watch(mh_loop *loop, int fd, unsigned events, void *user) {
    mhpy *hub = user;
    (void)loop;
    mhpy__event(&hub->ev, MHPY_WATCH, fd, events, 0);
}

int mhpy_unwatch(mhpy *hub, int fd) {
    if (!hub) return MH_ECLOSED;
    int rc = mh_loop_unwatch(hub->loop, fd);
    if (rc == MH_OK) hub->watches--;
    return rc;
}

int mhpy_watch(mhpy *hub, int fd, unsigned int events) {
    if (!hub) return MH_ECLOSED;
    if (!mhpy__reserve(hub, 0, 0)) return MH_ENOMEM;
    mhpy_unwatch(hub, fd); /* so that one that takes another's place is counted once */
    int rc = mh_loop_watch(hub->loop, fd, events, on_watch, hub);
    if (rc == MH_OK) hub->watches++;
    return rc;
}

static void timer_free(timer *t) {
    mhpy__names *timers = &t->hub->timers;
    mhpy__slot *slot = mhpy__name_find(timers, t->name);
    if (slot) mhpy__name_free(timers, slot);
    free(t);
}

static void on_timer(mh_loop *loop, void *user) {
    timer *t = user;
    (void)loop;
    mhpy__event(&t->hub->ev, MHPY_TIMER, t->name, 0, 0);
    timer_free(t);
}

int64_t mhpy_timer(mhpy *hub, uint64_t ms) {
    if (!hub) return MH_ECLOSED;
    if (!mhpy__reserve(hub, 0, 0)) return MH_ENOMEM;
    timer *t = malloc(sizeof *t);
    if (!t) return MH_ENOMEM;
    t->hub = hub;
    t->name = mhpy__name_new(&hub->timers, t);
    if (t->name < 0) {
        free(t);
        return MH_ENOMEM;
    }
    int rc = mh_loop_timer(hub->loop, ms, on_timer, t, &t->id);
    if (rc < 0) {
        timer_free(t);
        return rc;
    }
    return t->name;
}

int mhpy_cancel(mhpy *hub, int64_t name) {
    if (!hub) return MH_ECLOSED;
    mhpy__slot *slot = mhpy__name_find(&hub->timers, name);
    if (!slot) return MH_ENOENT;
    timer *t = slot->thing;
    mh_loop_cancel(hub->loop, t->id);
    timer_free(t);
    return MH_OK;
}

int mhpy_access_log(mhpy *hub, int fd, int format) {
    return hub ? mh_server_access_log(hub->srv, fd, format) : MH_ECLOSED;
}

int mhpy_log_line(mhpy *hub, const char *line, size_t line_n) {
    return hub ? mh_server_log_line(hub->srv, line, line_n) : MH_ECLOSED;
}

int mhpy_tell_ends(mhpy *hub) {
    if (!hub) return MH_ECLOSED;
    hub->tells_ends = true;
    if (mhpy__reserve(hub, 0, 0)) return MH_OK;
    hub->tells_ends = false;
    return MH_ENOMEM;
}

int mhpy_tell_count(mhpy *hub, uint64_t n) {
    if (!hub) return MH_ECLOSED;
    hub->uncounted = n;
    return MH_OK;
}

int mhpy_count(mhpy *hub, mhpy_counts *counts) {
    if (!hub) return MH_ECLOSED;
    *counts = (mhpy_counts){
        .blocks = hub->blocks,
        .connections = mh_server_connections(hub->srv),
        .requests = mhpy__name_count(&hub->requests),
        .timers = mhpy__name_count(&hub->timers),
    };
    return MH_OK;
}

int mhpy_trim(mhpy *hub) {
    if (!hub) return MH_ECLOSED;
    mh_server_trim(hub->srv);
    return MH_OK;
}
