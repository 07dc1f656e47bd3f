/* A hub of the Python binding at a unix socket, as Python has one, and a client of it. A turn is a
 * step whose events are noted. Include it in one file of a program, after clock.h if the program
 * sets the clock. */
#ifndef HUB_H
#define HUB_H

#include "client.h"
#include "mhpy.h"

typedef struct host {
    mhpy_options options;
    mhpy *hub;
    mhpy_mail *mail; /* NULL: not opened */
    char path[64];
    int listener;
    int step_ms; /* how long a turn may wait; 0 where the clock is false */
    peer client;
    int64_t name;                      /* of the last request */
    unsigned requests, finishes, ends; /* how many: begun, of MHPY_FINISH, of MHPY_ENDED */
    int64_t finished, why;             /* the last MHPY_FINISH */
    int64_t unsent, code;              /* the last MHPY_UNSENT */
} host;

/* Defaults, to be changed before open_hub. */
static inline void init_host(host *h) {
    *h = (host){.step_ms = 5, .client.fd = -1, .name = -1, .finished = -1, .unsent = -1};
    mhpy_options_init(&h->options);
}

/* The hub and its listener. */
static inline void open_hub(host *h) {
    static unsigned number;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(h->path, sizeof h->path, "/tmp/mhpy-test-%d-%u.sock", (int)getpid(), number++);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", h->path);
    unlink(h->path);
    h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(h->listener, (struct sockaddr *)&sa, sizeof sa), 0);
    CHECK_INT(listen(h->listener, 64), 0);
    CHECK_INT(mhpy_new(&h->hub, &h->options), MH_OK);
    CHECK_INT(mhpy_listen(h->hub, h->listener, 0), MH_OK);
}

/* In place of the client that there was. */
static inline void connect_client(host *h) { peer_open_(&h->client, unix_connect(h->path)); }

/* All of it, as it is by default. */
static inline void open_host(host *h) {
    init_host(h);
    open_hub(h);
    connect_client(h);
}

/* What is closed already, and NULL, is left alone. */
static inline void close_host(host *h) {
    peer_close(&h->client);
    mhpy_free(h->hub);
    mhpy_mail_drop(h->mail);
    close(h->listener);
    unlink(h->path);
}

/* Takes a batch, notes what it says, and has the client read. */
static inline bool turn(host *h) {
    mhpy_batch batch;
    int n = mhpy_step(h->hub, h->step_ms, &batch);
    CHECK(n >= 0);
    for (int i = 0; i + MHPY_EVENT_INTS <= n; i += MHPY_EVENT_INTS) {
        const int64_t *event = batch.ints + i;
        if (event[0] > 0) { /* a head that is known */
            h->name = event[2] << 32 | event[1];
            h->requests++;
        } else if (event[0] == MHPY_REQUEST) {
            h->name = event[1];
            h->requests++;
            i += MHPY_EVENT_INTS;
        } else if (event[0] == MHPY_FINISH) {
            h->finished = event[1];
            h->why = event[2];
            h->finishes++;
        } else if (event[0] == MHPY_ENDED) {
            h->ends++;
            i += MHPY_EVENT_INTS;
        } else if (event[0] == MHPY_UNSENT) {
            h->unsent = event[1];
            h->code = event[2];
        }
    }
    peer_pull(&h->client);
    return true;
}

#define TURN_UNTIL(h, cond)                           \
    do {                                              \
        uint64_t end_ = real_ms() + UNTIL_MS;         \
        while (turn(h) && !(cond)) {                  \
            if (real_ms() > end_) {                   \
                CHECK_FAIL_("never came: %s", #cond); \
                break;                                \
            }                                         \
        }                                             \
    } while (0)

/* Has the client send what becomes one request, and returns its name. */
static inline int64_t ask_by(host *h, const char *sends) {
    unsigned before = h->requests;
    CHECK_INT(send(h->client.fd, sends, strlen(sends), MSG_NOSIGNAL), strlen(sends));
    TURN_UNTIL(h, h->requests > before);
    return h->name;
}

static inline int64_t ask(host *h) { return ask_by(h, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); }

static inline int say_hello_to(host *h, int64_t name) {
    return mhpy_answer(h->hub, name, "200 OK", 6, 1, "hello", 5, 0);
}

/* A directory that is everywhere, with two fields more. */
static const mhpy_static_options etc = {
    .directory = "/etc", .index = "index.html", .fields = "A\nb\nC\nd", .fields_n = 7, .pieces = 4};

#endif
